//! Programs that know nothing of workhive: they are handed their sockets as `sd_listen_fds(3)` has it, may say that they
//! are ready as `sd_notify(3)` has it, are told to finish by a signal, and what they print goes to the log.

use std::fs::File;
use std::io::{self, IoSliceMut, Read};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, killpg};
use nix::sys::socket::sockopt::PassCred;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, UnixAddr, recvmsg, setsockopt};
use nix::unistd::{Pid, getpgid};
use workhive_ipc::{Row, ToWorker};

use crate::credentials::Credentials;
use crate::exec::{Image, Invocation, find};
use crate::group::Command;
use crate::identity::Identity;
use crate::local_socket::LocalSocket;
use crate::master::{Master, Timer, output_of};
use crate::slot::{Phase, Process, ProcessId, SlotId};
use crate::watch::monotonic_ms;
use crate::{logger, sys};

/// How long a program that does not say when it is ready has to live to count as ready.
const ALIVE: Duration = Duration::from_secs(1);

/// How often the rest of a program's processes is looked at when the first has finished before them.
const GROUP: Duration = Duration::from_millis(100);

/// Longest line of a program's output, in bytes; a longer one is logged in pieces.
const MAX_LINE: usize = 8 * 1024;

/// What is read from one program at one time, in bytes and in lines: a loud one must not keep the others waiting.
const MAX_READ: usize = 64 * 1024;
const MAX_LINES: usize = 512;

/// Notices taken at one time.
const MAX_NOTICES: usize = 64;

/// Most descriptors that come with one notice.
const MAX_DESCRIPTORS: usize = 253;

/// Longest notice, in bytes; the rest is cut.
const MAX_NOTICE: usize = 4096;

/// What a program prints, on standard output and on standard error, in lines. Empty ones are left out.
#[derive(Debug)]
pub(crate) struct Output {
    pipe: File,
    line: Vec<u8>,
}

impl Output {
    /// The pipe's two ends: ours does not wait.
    fn new() -> io::Result<(Self, OwnedFd)> {
        let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
        fcntl(&read, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        let output = Self {
            pipe: read.into(),
            line: Vec::new(),
        };
        Ok((output, write))
    }

    /// Takes what there is; true if there may be more.
    fn read(&mut self, mut each: impl FnMut(&str)) -> bool {
        let mut buffer = [0; 4096];
        let (mut taken, mut lines) = (0, 0);
        while taken < MAX_READ && lines < MAX_LINES {
            match self.pipe.read(&mut buffer) {
                Ok(0) => return false,
                Ok(length) => {
                    taken += length;
                    self.line.extend_from_slice(&buffer[..length]);
                    self.lines(&mut |line| {
                        lines += 1;
                        each(line);
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        true
    }

    fn lines(&mut self, each: &mut impl FnMut(&str)) {
        let mut start = 0;
        while let Some(end) = self.line[start..].iter().position(|byte| *byte == b'\n') {
            let line = &self.line[start..start + end];
            say(line.strip_suffix(b"\r").unwrap_or(line), each);
            start += end + 1;
        }
        self.line.drain(..start);
        if self.line.len() >= MAX_LINE {
            self.finish(each);
        }
    }

    /// The program has ended, perhaps in the middle of a line.
    fn finish(&mut self, each: &mut impl FnMut(&str)) {
        let line = std::mem::take(&mut self.line);
        say(&line, each);
    }
}

fn say(line: &[u8], each: &mut impl FnMut(&str)) {
    for piece in line.chunks(MAX_LINE) {
        each(&String::from_utf8_lossy(piece));
    }
}

impl AsRawFd for Output {
    fn as_raw_fd(&self) -> RawFd {
        self.pipe.as_raw_fd()
    }
}

/// Where programs say that they are ready: a datagram socket, at a path that they find in `NOTIFY_SOCKET`. Each master has
/// its own: during an upgrade there are two, and what a program says is for the one that has started it.
#[derive(Debug)]
pub(crate) struct Notices {
    socket: std::os::unix::net::UnixDatagram,
    file: LocalSocket,
}

impl Notices {
    /// Listens for programs that run as this user, or as the one that they are to become.
    pub(crate) fn bind(identity: &Identity, credentials: &Credentials) -> io::Result<Self> {
        clean(&identity.notify_socket);
        let own = format!("{}.sock", std::process::id());
        let path = identity.notify_socket.with_extension(own);
        let (file, socket) = LocalSocket::bind_datagrams(&path)?;
        if let Some(user) = credentials.another_user() {
            file.give_to(user)?;
            identity.open_directory()?;
        }
        // The kernel says who speaks, and lets nobody without rights lie (unix(7)).
        setsockopt(&socket, PassCred, &true)?;
        Ok(Self { socket, file })
    }

    fn path(&self) -> &Path {
        self.file.path()
    }

    /// The next notice, and the process that it is from.
    fn next(&self) -> Option<(Pid, Vec<u8>)> {
        loop {
            let mut buffer = [0; MAX_NOTICE];
            let mut slices = [IoSliceMut::new(&mut buffer)];
            // Room for who it is, and for as many descriptors as can come along (unix(7)): were some left out, nix
            // would not tell who it is.
            let mut control = nix::cmsg_space!(libc::ucred, [RawFd; MAX_DESCRIPTORS]);
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
            let received = recvmsg::<UnixAddr>(
                self.socket.as_raw_fd(),
                &mut slices,
                Some(&mut control),
                flags,
            );
            let (pid, length) = match received {
                Ok(received) => {
                    let mut pid = None;
                    for message in received.cmsgs().into_iter().flatten() {
                        match message {
                            ControlMessageOwned::ScmCredentials(who) => pid = Some(who.pid()),
                            // They are not kept. Whoever waits for the end of one (sd_notify_barrier(3)) knows
                            // that all it has said before was heard.
                            ControlMessageOwned::ScmRights(fds) => {
                                fds.into_iter().for_each(sys::discard);
                            }
                            _ => {}
                        }
                    }
                    (pid, received.bytes)
                }
                Err(nix::errno::Errno::EINTR) => continue,
                Err(_) => return None,
            };
            let pid = Pid::from_raw(pid.unwrap_or(0));
            return Some((pid, buffer[..length].to_vec()));
        }
    }
}

impl AsRawFd for Notices {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// Removes the sockets of masters that were killed, which share this path but for the number before its extension.
fn clean(path: &Path) {
    let (Some(directory), Some(stem)) = (path.parent(), path.file_stem()) else {
        return;
    };
    for found in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let file = found.path();
        let of_master = file.extension() == path.extension()
            && file.file_stem().map(Path::new).is_some_and(|name| {
                let number = name.extension().and_then(|number| number.to_str());
                name.file_stem() == Some(stem)
                    && number.is_some_and(|number| number.parse::<u32>().is_ok())
            });
        if of_master && let Err(error) = LocalSocket::remove_left_over(&file) {
            log::debug!("{} stays: {error}", file.display());
        }
    }
}

/// Ends whatever runs in the process group of a program. The caller knows that the program has not been reaped, so the
/// number is its own; a program so young that it has no group yet has started nothing.
pub(crate) fn kill_group(leader: Pid) {
    let _ = killpg(leader, Signal::SIGKILL);
}

/// True if anything but its leader runs in a process group. To be asked before the leader is reaped.
fn group_lives(leader: Pid) -> bool {
    let of_group = |entry: std::fs::DirEntry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        // proc(5): state, parent and group follow the name, which is in parentheses and may hold any character.
        let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
        let (state, group) = (fields.next()?, fields.nth(1)?);
        let dead = matches!(state, "Z" | "X");
        (pid != leader.as_raw() && !dead && group.parse() == Ok(leader.as_raw())).then_some(())
    };
    let mut processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    processes.find_map(of_group).is_some()
}

impl Master {
    /// What a slot's program is given, and our end of its output.
    pub(crate) fn command_image(&self, at: SlotId, row: &Row) -> io::Result<(Image, Output)> {
        let running = self.running(at);
        let command = running
            .definition
            .command
            .as_ref()
            .ok_or(io::ErrorKind::NotFound)?;
        let invocation = command.invocation(self.invocation.directory.as_deref())?;
        let mut image = Image::new(&invocation)?;
        if !command.attaches {
            self.hand_sockets(at, &mut image)?;
        }
        image.set("WORKHIVE_GROUP", &running.definition.name);
        image.set("WORKHIVE_SLOT", at.slot.to_string());
        image.set("WORKHIVE_COUNT", running.definition.count.to_string());
        let chores = running.definition.manners.prepare(at.slot)?;
        // It may well use select(2), or close all that it could have open.
        let chores = chores.with_usual_descriptors(self.usual_descriptors);
        image.settle(chores, &running.credentials);
        image.report_in(row.clone());
        let (output, theirs) = Output::new()?;
        image.foreign(theirs, command.stop_signal)?;
        Ok((image, output))
    }

    /// Gives a program its sockets, and lets it say that it is ready.
    fn hand_sockets(&self, at: SlotId, image: &mut Image) -> io::Result<()> {
        let running = self.running(at);
        let mut names = Vec::new();
        for inherited in running.listeners.all_for_slot(at.slot)? {
            // A colon would end the name, sd_listen_fds_with_names(3).
            names.push(running.definition.name.replace(':', "_"));
            image.give(inherited.socket);
        }
        image.set("LISTEN_FDS", names.len().to_string());
        image.set("LISTEN_FDNAMES", names.join(":"));
        image.set_pid("LISTEN_PID");
        if let Some(notices) = &self.notices {
            image.set("NOTIFY_SOCKET", notices.path().as_os_str());
            let stuck = running.definition.stuck_after.as_micros();
            image.set("WATCHDOG_USEC", stuck.to_string());
            image.set_pid("WATCHDOG_PID");
        }
        Ok(())
    }

    /// A program's first process has ended. What it has started goes with it, at once if it died, and when it has finished
    /// if it was told to; true if that is waited for.
    pub(crate) fn group_goes_on(&mut self, id: ProcessId) -> bool {
        let Some(process) = self.processes.get(&id) else {
            return false;
        };
        if !process.is_command() || !process.has_ended() {
            return false;
        }
        let finishes = matches!(process.phase, Phase::Draining | Phase::Stopping);
        if finishes && group_lives(process.pid) {
            self.timers.at(Instant::now() + GROUP, Timer::Group(id));
            return true;
        }
        // Not reaped yet, its number is still its group's.
        kill_group(process.pid);
        false
    }

    /// Takes note of when a new program is to count as ready.
    pub(crate) fn look_later_if_foreign(&mut self, id: ProcessId) {
        if self.processes.get(&id).is_some_and(Process::is_foreign) {
            self.timers.at(Instant::now() + ALIVE, Timer::Alive(id));
        }
    }

    /// A program has lived for a while.
    pub(crate) fn on_alive(&mut self, id: ProcessId) {
        if let Some(process) = self.processes.get(&id)
            && !self.running(process.slot).notifies
        {
            self.on_ready(id);
        }
    }

    /// A program has printed something.
    pub(crate) fn on_output(&mut self, id: ProcessId) {
        let more = self.read_output(id);
        // Readiness is told once (epoll's edge-triggered mode): asking again makes it be told again.
        if more
            && let Some(output) = self
                .processes
                .get(&id)
                .and_then(|process| process.output.as_ref())
        {
            self.unwatch_fd(output);
            if let Err(error) = self.watch_fd(output, output_of(id)) {
                log::error!("cannot poll the output of process {id}: {error}");
            }
        }
    }

    /// Logs what a program has printed; true if there may be more.
    pub(crate) fn read_output(&mut self, id: ProcessId) -> bool {
        let Some(process) = self.processes.get_mut(&id) else {
            return false;
        };
        let place = self.groups[process.slot.group].place(process.slot.slot);
        let pid = u32::try_from(process.pid.as_raw()).unwrap_or(0);
        let ended = process.phase == Phase::Ended;
        let Some(output) = &mut process.output else {
            return false;
        };
        let mut each = |line: &str| logger::said(&place, pid, line);
        let more = output.read(&mut each);
        if ended {
            output.finish(&mut each);
        }
        more
    }

    /// Programs have said something about themselves.
    pub(crate) fn on_notices(&mut self) {
        for _ in 0..MAX_NOTICES {
            let Some((pid, text)) = self.notices.as_ref().and_then(Notices::next) else {
                return;
            };
            match self.speaker(pid) {
                Some(id) => self.on_notice(id, &text),
                None if getpgid(Some(pid)) == Err(nix::errno::Errno::ESRCH) => log::warn!(
                    "process {pid} said something and is gone: whose it was cannot be told. Let the program itself speak, \
                     or wait until it was heard, as systemd-notify does: sd_notify_barrier(3)"
                ),
                None => log::debug!("a notice from process {pid}, which is none of this hive"),
            }
        }
        // There may be more, and readiness is told once.
        if let Some(notices) = &self.notices {
            self.unwatch_fd(notices);
            if let Err(error) = self.watch_fd(notices, crate::master::NOTICES.0) {
                log::error!("cannot poll for notices: {error}");
            }
        }
    }

    /// Whose process this is: a program's own, or one that it has started.
    fn speaker(&self, pid: Pid) -> Option<ProcessId> {
        // Nobody's number: the speaker is in another pid namespace. To getpgid(2) it would be ours.
        if pid.as_raw() <= 0 {
            return None;
        }
        let of = |wanted: Pid| {
            let mut processes = self.processes.iter();
            let found =
                processes.find(|(_, process)| process.is_foreign() && process.pid == wanted);
            found.map(|(id, _)| *id)
        };
        of(pid).or_else(|| of(getpgid(Some(pid)).ok()?))
    }

    fn on_notice(&mut self, id: ProcessId, text: &[u8]) {
        for line in text.split(|byte| *byte == b'\n') {
            let Some(process) = self.processes.get(&id) else {
                return;
            };
            let at = process.slot;
            match line {
                b"READY=1" => {
                    self.groups[at.group].notifies = true;
                    self.on_ready(id);
                }
                b"STOPPING=1" => {
                    // It may be silent while it does.
                    process.row.set_deadline(0);
                    self.on_self_drain(id);
                }
                // One that is to go has its time for that, and no other.
                b"WATCHDOG=1" if matches!(process.phase, Phase::Starting | Phase::Ready) => {
                    // From now on it has to go on saying so.
                    let stuck = self.running(at).definition.stuck_after.as_millis();
                    let stuck = u64::try_from(stuck).unwrap_or(u64::MAX);
                    if let Some(now) = monotonic_ms() {
                        process.row.set_deadline(now.saturating_add(stuck));
                    }
                }
                _ => {
                    if let Some(status) = line.strip_prefix(b"STATUS=") {
                        let status = String::from_utf8_lossy(status);
                        log::info!("{}: pid {} says: {status}", self.place(at), process.pid);
                    }
                }
            }
        }
    }

    /// Tells a process to go, in the way that it understands.
    pub(crate) fn tell_to_go(&mut self, id: ProcessId, message: ToWorker) {
        let Some(process) = self.processes.get(&id) else {
            return;
        };
        if !process.is_foreign() {
            self.send(id, message, None);
            return;
        }
        // What it drains for may take longer than the time after which silence means that it is stuck.
        process.row.set_deadline(0);
        let command = self.running(process.slot).definition.command.as_ref();
        let signal = command.map_or(Signal::SIGTERM, |command| command.stop_signal);
        // All of its group: the server may be the child of a script. Not reaped yet, its number is its group's.
        if killpg(process.pid, signal).is_ok() {
            return;
        }
        // It has not made itself a group yet.
        if let Err(error) = sys::pidfd_send(std::os::fd::AsFd::as_fd(&process.pidfd), signal) {
            log::error!("cannot send {signal} to process {}: {error}", process.pid);
        }
    }
}

impl Command {
    /// How it is executed: its file is looked for anew each time, so that a reload runs the one that is there then.
    pub(crate) fn invocation(&self, directory: Option<&Path>) -> io::Result<Invocation> {
        let program = find(Path::new(&self.program)).map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("cannot execute {}: {error}", self.program.display()),
            )
        })?;
        // As it is found from here: its working directory may be another.
        let program = std::path::absolute(program)?;
        let mut args = vec![self.program.clone()];
        args.extend(self.args.iter().cloned());
        Ok(Invocation {
            program,
            args,
            directory: directory.map(PathBuf::from),
        })
    }

    /// Its file's name, for tables.
    pub(crate) fn name(&self) -> String {
        let path = Path::new(&self.program);
        let stem = path.file_stem().unwrap_or(path.as_os_str());
        String::from_utf8_lossy(stem.as_bytes()).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn output_comes_in_lines_and_a_long_one_in_pieces() {
        let (mut output, theirs) = Output::new().unwrap();
        let mut theirs = File::from(theirs);
        let mut lines = Vec::new();
        theirs.write_all(b"one\r\ntw").unwrap();
        assert!(!output.read(|line| lines.push(line.to_owned())));
        theirs.write_all(b"o\n\nthree").unwrap();
        output.read(|line| lines.push(line.to_owned()));
        // Empty lines say nothing.
        assert_eq!(lines, ["one", "two"]);
        output.finish(&mut |line| lines.push(line.to_owned()));
        assert_eq!(lines[2], "three");
        theirs.write_all(&[b'x'; MAX_LINE + 10]).unwrap();
        theirs.write_all(b"\n").unwrap();
        lines.clear();
        output.read(|line| lines.push(line.to_owned()));
        let lengths: usize = lines.iter().map(String::len).sum();
        assert_eq!(lengths, MAX_LINE + 10);
        assert!(lines.iter().all(|line| line.len() <= MAX_LINE + 4096));
    }
}
