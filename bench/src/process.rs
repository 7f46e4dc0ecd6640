//! A server in a process of its own, with all that it starts, which ends when the guard goes.

use std::ffi::OsString;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::error::BenchError;

/// How long a server may take to end after SIGTERM. Longer than any drain that has nothing left to drain.
const STOP: Duration = Duration::from_secs(15);
/// Lines of a failed server's log that are shown.
const TAIL: usize = 20;

/// A directory for a server's pid file and log, removed with the server.
pub(crate) fn place() -> Result<TempDir, BenchError> {
    TempDir::with_prefix("workhive-bench-")
        .map_err(BenchError::io("making a directory for the server"))
}

/// A running server. Dropping it ends the server and everything that it started.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    name: String,
    place: TempDir,
    ended: bool,
}

impl Running {
    /// Starts this program again with these arguments. Its log goes to a file in `place`, or through a pipe for who
    /// wants to read along.
    pub(crate) fn start(
        name: impl Into<String>,
        arguments: impl IntoIterator<Item = OsString>,
        place: TempDir,
        piped_log: bool,
    ) -> Result<Self, BenchError> {
        let made = BenchError::io("making the server's log");
        let (out, log) = if piped_log {
            (Stdio::null(), Stdio::piped())
        } else {
            let file = File::create(log_path(&place)).map_err(made)?;
            let twin = file
                .try_clone()
                .map_err(BenchError::io("making the server's log"))?;
            (twin.into(), file.into())
        };
        let program = std::env::current_exe().map_err(BenchError::io("finding this program"))?;
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(log)
            // Of its own, so that an interrupt at the terminal reaches only the bench, which then ends the server.
            .process_group(0)
            .spawn()
            .map_err(BenchError::io("starting the server"))?;
        Ok(Self {
            child,
            name: name.into(),
            place,
            ended: false,
        })
    }

    /// The process that was started.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// That process and all that it has started, itself first.
    pub(crate) fn family(&self) -> Vec<u32> {
        let mut family = vec![self.pid()];
        family.extend(descendants(self.pid()));
        family
    }

    /// The log, when it was asked for through a pipe; once.
    pub(crate) fn take_log(&mut self) -> Option<ChildStderr> {
        self.child.stderr.take()
    }

    /// The log so far, when it goes to a file.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(log_path(&self.place)).unwrap_or_default()
    }

    /// An error that says so if the process has ended by itself.
    pub(crate) fn check(&mut self) -> Result<(), BenchError> {
        match self.child.try_wait() {
            Ok(Some(status)) => Err(self.failed(&format!("ended by itself ({status})"))),
            _ => Ok(()),
        }
    }

    /// An error about this server, with its name and the end of its log.
    pub(crate) fn failed(&self, what: &str) -> BenchError {
        let log = tail_of(self.log().lines());
        BenchError::Server(format!("{} {what}{log}", self.name))
    }

    /// An error of a run against this server, with the server's name and the end of its log.
    pub(crate) fn explain(&self, error: &BenchError) -> BenchError {
        let log = tail_of(self.log().lines());
        BenchError::Server(format!("{}: {error}{log}", self.name))
    }

    /// Ends the server as an operator would, and says so if it had to be forced.
    pub(crate) fn stop(mut self) -> Result<(), BenchError> {
        self.check()?;
        if self.end() {
            Ok(())
        } else {
            Err(self.failed(&format!(
                "did not end within {} s of SIGTERM and was killed",
                STOP.as_secs()
            )))
        }
    }

    /// SIGTERM, a wait, then SIGKILL to whatever is left. True if nothing was left.
    fn end(&mut self) -> bool {
        self.ended = true;
        let mut family = descendants(self.pid());
        signal(self.pid(), Signal::SIGTERM);
        let deadline = Instant::now() + STOP;
        let mut done = false;
        while !done && Instant::now() < deadline {
            match self.child.try_wait() {
                Ok(None) => sleep(Duration::from_millis(2)),
                _ => done = true,
            }
        }
        if !done {
            family.extend(descendants(self.pid()));
            // The group has only what this server started: nobody else is put into it.
            let _ = nix::sys::signal::killpg(pid_of(self.pid()), Signal::SIGKILL);
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        // Children that outlived their master belong to init now, and are told from strangers by their group.
        family.retain(|&pid| group_of(pid) == Some(self.pid()));
        let clean = family.is_empty();
        for pid in family {
            signal(pid, Signal::SIGKILL);
        }
        done && clean
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.ended {
            self.end();
        }
    }
}

/// The last lines of a log, set off for an error.
pub(crate) fn tail_of<'a>(lines: impl DoubleEndedIterator<Item = &'a str>) -> String {
    let mut last: Vec<&str> = lines.rev().take(TAIL).collect();
    last.reverse();
    last.iter()
        .fold(String::new(), |text, line| text + "\n  | " + line)
}

fn log_path(place: &TempDir) -> PathBuf {
    place.path().join("log")
}

/// A loopback port that was free a moment ago.
pub(crate) fn free_address() -> Result<SocketAddr, BenchError> {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .map_err(BenchError::io("looking for a free port"))
}

/// The processes that `pid` has started and not yet waited for.
pub(crate) fn children(pid: u32) -> std::io::Result<Vec<u32>> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    Ok(list
        .split_whitespace()
        .filter_map(|text| text.parse().ok())
        .collect())
}

fn descendants(pid: u32) -> Vec<u32> {
    let mut found = children(pid).unwrap_or_default();
    let mut next = 0;
    while let Some(&one) = found.get(next) {
        found.extend(children(one).unwrap_or_default());
        next += 1;
    }
    found
}

/// The process group of a process that runs; none for one that is gone or has ended.
fn group_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    let group = fields.nth(1)?.parse().ok()?;
    (state != "Z" && state != "X").then_some(group)
}

/// Sends a signal; a process that is gone already is no error.
pub(crate) fn signal(pid: u32, signal: Signal) {
    let _ = kill(pid_of(pid), signal);
}

/// The form in which system calls want a process id.
pub(crate) fn pid_of(pid: u32) -> Pid {
    Pid::from_raw(i32::try_from(pid).expect("process ids of Linux are below 2^22"))
}
