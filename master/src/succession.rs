//! Upgrade, from the side of the master that goes: it executes the program as it is now, hands over everything that
//! outlives a master, and leaves when the new one is in charge. Until then it can go on as if nothing had been.
//!
//! The old one holds on to all that it hands over, so a new one that fails costs nothing. What both have, the listening
//! sockets above all, both serve in between; what only one may have, the pid file and the control socket, changes hands
//! in one step, when every process of the new one is ready.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use workhive_ipc::{Received, Row, ToPredecessor, ToSuccessor, ToWorker, route, succession};

use crate::clock::Span;
use crate::control::ClientId;
use crate::exec::{Image, describe_failure};
use crate::handed::{Written, WrittenCount, WrittenKept, WrittenShared, WrittenSocket};
use crate::life::STOP;
use crate::link::{Link, Sent};
use crate::master::{Master, Mood, Timer, end_of, link_of};
use crate::protocol::Reply;
use crate::router::is_link;
use crate::slot::describe;
use crate::sys;
use crate::takeover::Predecessor;

/// How much longer than a process of its own a new master may take to become ready.
const MARGIN: Duration = Duration::from_secs(2);

/// The master before this one, and the one after.
#[derive(Debug, Default)]
pub(crate) struct Succession {
    wanted: bool,
    waiting: Vec<ClientId>,
    successor: Option<Successor>,
    pub(crate) predecessor: Option<Predecessor>,
}

/// The master that is to take this one's place.
#[derive(Debug)]
struct Successor {
    /// From the same numbers as processes.
    id: usize,
    pid: Pid,
    pidfd: OwnedFd,
    /// None once it has closed its end.
    link: Option<Link<ToSuccessor, ToPredecessor>>,
    started: Instant,
    stage: Stage,
    failure: Option<String>,
    /// It was told to stop.
    told: bool,
    /// Its processes that are connected to our router.
    routed: Vec<route::Process>,
    /// Streams to them that no router has taken yet.
    streams: Vec<(route::Process, OwnedFd)>,
    /// Where it says what it could not be.
    row: Row,
    clients: Vec<ClientId>,
}

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Starting,
    /// It was told to take over.
    TakingOver,
    /// It has taken over.
    InCharge,
}

impl Succession {
    /// True while it is not decided who will be in charge.
    pub(crate) fn is_under_way(&self) -> bool {
        let successor = self.successor.as_ref();
        successor.is_some_and(|successor| successor.stage != Stage::InCharge)
    }

    fn successor(&mut self, id: usize) -> Option<&mut Successor> {
        self.successor
            .as_mut()
            .filter(|successor| successor.id == id)
    }
}

impl Master {
    /// Somebody wants this program's new version to take over.
    pub(crate) fn request_upgrade(&mut self, client: Option<ClientId>) {
        let refused = if self.is_stopping() {
            Some("the hive is stopping")
        } else if std::process::id() == 1 {
            Some(
                "the master is process 1, and with it everything in this container would end; start a container with \
                 the new version instead",
            )
        } else {
            None
        };
        if let Some(why) = refused {
            log::warn!("no upgrade: {why}");
            if let Some(client) = client {
                self.reply(client, &Reply::failed(why));
            }
            return;
        }
        log::info!("upgrade: wanted");
        self.succession.wanted = true;
        self.succession.waiting.extend(client);
    }

    /// Begins with an upgrade that is wanted, when nothing else is under way.
    pub(crate) fn go_on_upgrading(&mut self) {
        let free = matches!(self.mood, Mood::Running)
            && !self.reload.is_under_way()
            && !self.scaling.is_under_way()
            && self.succession.successor.is_none()
            && self.succession.predecessor.is_none();
        if !free || !std::mem::take(&mut self.succession.wanted) {
            return;
        }
        let clients = std::mem::take(&mut self.succession.waiting);
        let id = self.new_id();
        match self.start_successor(id) {
            Ok(successor) => {
                log::info!(
                    "upgrade: started {}, pid {}",
                    self.invocation.program.display(),
                    successor.pid
                );
                let groups = self.groups.iter().enumerate();
                let longest = groups
                    .filter(|(group, _)| self.routing.group() != Some(*group))
                    .map(|(_, running)| running.definition.boot_timeout)
                    .max();
                // The router first, then the others, each with as much time.
                let limit = longest.unwrap_or_default() * 2 + MARGIN;
                self.timers
                    .at(Instant::now() + limit, Timer::Succession(id));
                self.succession.successor = Some(Successor {
                    clients,
                    ..successor
                });
            }
            Err(error) => {
                let program = self.invocation.program.display().to_string();
                self.upgrade_failed(clients, &format!("cannot start {program}: {error}"));
            }
        }
    }

    fn start_successor(&mut self, id: usize) -> io::Result<Successor> {
        let index = self
            .free_row()
            .ok_or_else(|| io::Error::other("too many processes have not ended yet"))?;
        let started = self.start_successor_with(id, index);
        if started.is_err() {
            self.free_rows.push_front(index);
        }
        started
    }

    fn start_successor_with(&mut self, id: usize, index: usize) -> io::Result<Successor> {
        let row = self.page.row(index).ok_or(io::ErrorKind::NotFound)?;
        row.assign(u16::MAX, "upgrade", 0, 0);
        let mut image = Image::new(&self.invocation)?;
        image.report_in(row.clone());
        let (ours, theirs) = succession()?;
        let written = Written {
            pid: std::process::id(),
            epoch: self.epoch,
            next_id: self.next_id,
            router: self.routing.group().is_some(),
            path: self.identity.pid_file.clone(),
            descriptors: self.usual_descriptors,
            counts: self.write_counts(),
            link: image.give(theirs),
            pid_file: image.give(self.pid_file.file()?),
            control: image.give(self.control.socket()?),
            push: self.routing.socket()?.map(|socket| image.give(socket)),
            groups: self.write_groups(&mut image)?,
            shared: self.write_shared(&mut image)?,
            kept: self.write_kept(&mut image)?,
        };
        written.give_to(&mut image)?;
        self.notifier.pass_on(&mut image);
        let mask = Self::block_signals()?;
        image.set_mask(crate::signals::without_held(mask));
        let started = image.spawn();
        crate::spawn::unblock(mask);
        let pid = started?;
        let watched = sys::pidfd_open(pid).and_then(|pidfd| {
            self.watch_fd(&pidfd, end_of(id))?;
            self.watch_fd(&ours, link_of(id))?;
            Ok(pidfd)
        });
        let pidfd = watched.inspect_err(|_| {
            // It has not been reaped, so the number is its own; and nobody would ever learn of its end.
            let _ = nix::sys::signal::kill(pid, Signal::SIGKILL);
            let _ = nix::sys::wait::waitpid(pid, None);
        })?;
        Ok(Successor {
            id,
            pid,
            pidfd,
            link: Some(Link::new(ours)),
            started: Instant::now(),
            stage: Stage::Starting,
            failure: None,
            told: false,
            routed: Vec::new(),
            streams: Vec::new(),
            row,
            clients: Vec::new(),
        })
    }

    fn write_counts(&self) -> Vec<WrittenCount> {
        let groups = self.groups.iter();
        let counts = groups.map(|running| WrittenCount {
            group: running.definition.name.clone(),
            configured: running.configured,
            count: running.definition.count,
            notifies: running.notifies,
        });
        counts.collect()
    }

    fn write_groups(&self, image: &mut Image) -> io::Result<Vec<WrittenSocket>> {
        let mut written = Vec::new();
        for running in &self.groups {
            for (asked, bound, reuse_port) in running.listeners.all(&running.definition) {
                written.push(WrittenSocket {
                    group: running.definition.name.clone(),
                    asked: asked.to_string(),
                    address: bound.address.to_string(),
                    reuse_port,
                    file: bound.file().cloned(),
                    fd: image.give(bound.socket.try_clone()?),
                });
            }
        }
        Ok(written)
    }

    fn write_shared(&self, image: &mut Image) -> io::Result<Vec<WrittenShared>> {
        let shared = self.shared.all().map(|(asked, bound, said)| {
            Ok(WrittenShared {
                asked: asked.to_string(),
                address: bound.address.to_string(),
                said: said.cloned(),
                file: bound.file().cloned(),
                fd: image.give(bound.socket.try_clone()?),
            })
        });
        shared.collect()
    }

    fn write_kept(&self, image: &mut Image) -> io::Result<Vec<WrittenKept>> {
        let mut written = Vec::new();
        for running in &self.groups {
            for (number, slot) in (0..).zip(&running.slots) {
                for (asked, opened, socket, file) in slot.kept.all() {
                    written.push(WrittenKept {
                        group: running.definition.name.clone(),
                        slot: number,
                        asked: asked.to_owned(),
                        opened: opened.clone(),
                        file: file.cloned(),
                        fd: image.give(socket.try_clone_to_owned()?),
                    });
                }
            }
        }
        Ok(written)
    }

    fn upgrade_failed(&mut self, clients: Vec<ClientId>, why: &str) {
        let text = if self.is_stopping() {
            let text = format!("no upgrade, the hive is stopping: {why}");
            log::info!("{text}");
            text
        } else {
            let text = format!("the upgrade failed, everything stays as it was: {why}");
            log::error!("{text}");
            text
        };
        for client in clients {
            self.reply(client, &Reply::failed(&text));
        }
        self.steer_anew();
        self.start_pending_reload();
    }

    /// True if this number is the successor's.
    pub(crate) fn is_successor(&self, id: usize) -> bool {
        let successor = self.succession.successor.as_ref();
        successor.is_some_and(|successor| successor.id == id)
    }

    /// The new master has said something.
    pub(crate) fn on_successor(&mut self, id: usize) {
        loop {
            let Some(successor) = self.succession.successor(id) else {
                return;
            };
            let Some(link) = &successor.link else {
                return;
            };
            match link.recv() {
                Ok(Received::Message(ToPredecessor::Ready, _)) => self.hand_over(id),
                Ok(Received::Message(ToPredecessor::TookOver, _)) => self.leave(id),
                Ok(Received::Message(ToPredecessor::Link { process }, stream)) => {
                    self.link_for_successor(process, stream);
                }
                Ok(Received::Message(ToPredecessor::Stop { graceful }, _)) => {
                    log::info!("the new master stops, and this one with it");
                    self.stop(graceful);
                }
                Ok(Received::Message(ToPredecessor::Ended { process }, _)) => {
                    self.successors_process_ended(process);
                }
                Ok(Received::Message(ToPredecessor::Failed { reason }, _)) => {
                    successor.failure = Some(reason);
                }
                Ok(Received::Empty) => return,
                Ok(Received::Closed) => {
                    // Its descriptor tells how it ended.
                    if let Some(link) = successor.link.take() {
                        self.unwatch_fd(&link);
                    }
                    return;
                }
                Err(error) => {
                    successor.failure = Some(error.to_string());
                    self.end_successor(true);
                    return;
                }
            }
        }
    }

    /// The new master is ready: what only one may have is its own from now on.
    fn hand_over(&mut self, id: usize) {
        let stopping = self.is_stopping();
        let Some(successor) = self.succession.successor(id) else {
            return;
        };
        if stopping || successor.stage != Stage::Starting {
            return;
        }
        successor.stage = Stage::TakingOver;
        self.disown();
        self.tell_successor(ToSuccessor::TakeOver, None);
    }

    fn disown(&mut self) {
        self.pid_file.disown();
        self.control.disown(self.poll.registry());
        self.shared
            .bound_mut()
            .for_each(crate::bound::Bound::disown);
        for running in &mut self.groups {
            running
                .listeners
                .bound_mut()
                .for_each(crate::bound::Bound::disown);
            for slot in &mut running.slots {
                slot.kept.disown();
            }
        }
        if let Some(file) = self.routing.file_mut() {
            file.disown();
        }
    }

    /// The new master is in charge: this one finishes what it has in hand, and ends.
    fn leave(&mut self, id: usize) {
        let Some(successor) = self.succession.successor(id) else {
            return;
        };
        if successor.stage != Stage::TakingOver {
            return;
        }
        successor.stage = Stage::InCharge;
        let clients = std::mem::take(&mut successor.clients);
        let (pid, took) = (successor.pid, successor.started.elapsed());
        let text = format!("pid {pid} has taken over after {}", Span(took));
        log::info!("upgrade: {text}");
        for client in clients {
            self.reply(client, &Reply::done(&text));
        }
        self.answer_the_rest();
        self.pid_file.release();
        self.notifier.main_pid(pid);
        self.stop(true);
    }

    /// Whoever still waits for something of this master has got it by the upgrade, or has to ask the new one.
    fn answer_the_rest(&mut self) {
        for client in self.reload.take_waiting() {
            let text = "an upgrade has replaced every process";
            self.reply(client, &Reply::done(text));
        }
        let waiting = std::mem::take(&mut self.succession.waiting);
        for client in waiting.into_iter().chain(self.scaling.take_waiting()) {
            let text = "an upgrade has taken place meanwhile: ask again";
            self.reply(client, &Reply::failed(text));
        }
    }

    /// A process of the new master is to be connected to the router, which is that of both until this master ends.
    fn link_for_successor(&mut self, process: route::Process, stream: Option<OwnedFd>) {
        let Some(stream) = stream else {
            return;
        };
        if let Some(successor) = &mut self.succession.successor
            && !successor.routed.contains(&process)
        {
            successor.routed.push(process);
        }
        match self.router() {
            Some(router) => {
                self.take_back(router, |message| is_link(message, process));
                self.send(router, ToWorker::Link { process }, Some(stream));
            }
            // For the next one. Closed, it would be asked for again at once, and again.
            None => {
                if let Some(successor) = &mut self.succession.successor {
                    successor.streams.retain(|(to, _)| *to != process);
                    successor.streams.push((process, stream));
                }
            }
        }
    }

    /// There is a router again: it gets the streams that have waited for it.
    pub(crate) fn link_waiting_for_successor(&mut self) {
        let successor = self.succession.successor.as_mut();
        let streams = successor.map(|successor| std::mem::take(&mut successor.streams));
        for (process, stream) in streams.unwrap_or_default() {
            self.link_for_successor(process, Some(stream));
        }
    }

    fn successors_process_ended(&mut self, process: route::Process) {
        if let Some(successor) = &mut self.succession.successor {
            successor.routed.retain(|routed| *routed != process);
            successor.streams.retain(|(to, _)| *to != process);
        }
        self.tell_router_of_end(process);
    }

    /// Processes of the new master that the router has to know of.
    pub(crate) fn routed_for_successor(&self) -> Vec<route::Process> {
        let successor = self.succession.successor.as_ref();
        successor.map_or_else(Vec::new, |successor| successor.routed.clone())
    }

    fn tell_successor(&mut self, message: ToSuccessor, fd: Option<OwnedFd>) -> bool {
        let Some(successor) = &mut self.succession.successor else {
            return false;
        };
        let id = successor.id;
        let Some(link) = &mut successor.link else {
            return false;
        };
        let sent = link.send(message, fd);
        self.sent_to_successor(id, sent)
    }

    /// It is time to try again what the new master did not take.
    pub(crate) fn resend_to_successor(&mut self, id: usize) {
        if let Some(successor) = self.succession.successor(id)
            && let Some(link) = &mut successor.link
        {
            let sent = link.retry();
            self.sent_to_successor(id, sent);
        }
    }

    fn sent_to_successor(
        &mut self,
        id: usize,
        sent: Result<Sent, workhive_ipc::ChannelError>,
    ) -> bool {
        match sent {
            Ok(Sent::Done) => true,
            Ok(Sent::Later(pause)) => {
                self.timers.at(Instant::now() + pause, Timer::Resend(id));
                true
            }
            // It has ended, or soon will: its descriptor tells.
            Err(error) => {
                log::debug!("the new master cannot be told: {error}");
                false
            }
        }
    }

    /// The new master has ended.
    pub(crate) fn on_successor_end(&mut self, id: usize) {
        // What it said last: why it could not start.
        self.on_successor(id);
        let Some(successor) = self.succession.successor(id) else {
            return;
        };
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG;
        let how = match waitid(Id::PIDFd(successor.pidfd.as_fd()), flags) {
            Ok(WaitStatus::StillAlive) | Err(nix::errno::Errno::EINTR) => return,
            Ok(status) => describe(status),
            Err(errno) => format!("is gone ({errno})"),
        };
        for process in self.routed_for_successor() {
            self.successors_process_ended(process);
        }
        let Some(successor) = self.succession.successor.take() else {
            return;
        };
        let boot_error = successor.row.boot_error();
        successor.row.clear();
        self.free_rows.push_back(successor.row.index());
        self.unwatch_fd(&successor.pidfd);
        if let Some(link) = &successor.link {
            self.unwatch_fd(link);
        }
        if successor.stage == Stage::InCharge {
            log::error!(
                "upgrade: pid {}, which had taken over, {how}",
                successor.pid
            );
            // Nothing is left to be in charge of: this one is on its way out.
            self.succession.successor = Some(Successor {
                link: None,
                ..successor
            });
            return;
        }
        if successor.stage == Stage::TakingOver {
            self.own_again();
        }
        let failure = successor.failure.or_else(|| {
            let (step, errno) = boot_error?;
            Some(describe_failure(
                step,
                errno,
                &self.invocation.program,
                None,
            ))
        });
        let why = match failure {
            Some(reason) => format!("the new master {how}: {reason}"),
            None => format!("the new master {how}"),
        };
        self.upgrade_failed(successor.clients, &why);
    }

    /// The new master died in the very moment in which it was to take over.
    fn own_again(&mut self) {
        self.own();
        if let Err(error) = self
            .control
            .register(self.poll.registry(), crate::master::CONTROL)
        {
            log::error!("cannot poll the control socket: {error}");
        }
    }

    /// The new master has had its time.
    pub(crate) fn on_succession_timeout(&mut self, id: usize) {
        let Some(successor) = self.succession.successor(id) else {
            return;
        };
        if successor.stage == Stage::InCharge {
            return;
        }
        let text = format!("was not ready within {}", Span(successor.started.elapsed()));
        successor.failure.get_or_insert(text);
        if !successor.told {
            // It ends what it has started, processes that hang included.
            self.end_successor(true);
        } else if let Err(error) = sys::pidfd_send(successor.pidfd.as_fd(), Signal::SIGKILL) {
            log::error!("cannot kill process {}: {error}", successor.pid);
        }
    }

    /// This hive stops before it is decided: the new one is to stop too, with all that it has.
    fn end_successor(&mut self, graceful: bool) {
        let window = if graceful {
            self.longest_stop()
        } else {
            STOP * 2
        };
        let Some(successor) = &mut self.succession.successor else {
            return;
        };
        if successor.stage == Stage::InCharge {
            return;
        }
        let id = successor.id;
        successor.told = true;
        // Its processes may serve already.
        let signal = if graceful {
            Signal::SIGTERM
        } else {
            Signal::SIGINT
        };
        if let Err(error) = sys::pidfd_send(successor.pidfd.as_fd(), signal) {
            log::error!("cannot stop process {}: {error}", successor.pid);
        }
        self.timers
            .at(Instant::now() + window, Timer::Succession(id));
    }

    /// Nobody waits for an upgrade any more: the hive stops.
    pub(crate) fn cancel_upgrade(&mut self, graceful: bool) {
        self.succession.wanted = false;
        for client in std::mem::take(&mut self.succession.waiting) {
            self.reply(client, &Reply::failed("the hive is stopping"));
        }
        self.end_successor(graceful);
    }
}
