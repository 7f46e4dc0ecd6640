//! The life of a process as its master sees it: ready, at work, gone.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use workhive_ipc::{ChannelError, ListenOutcome, Received, ToMaster, ToWorker};

use crate::backoff::ATTEMPTS;
use crate::bound::{chosen, parse, takes_rights};
use crate::foreign::kill_group;
use crate::kept::Opened;
use crate::master::{Master, Mood, Timer, link_of};
use crate::slot::{Phase, ProcessId, SlotId};
use crate::sys;

/// How long a process may take to end: one that was told to end now, and one whose drain is over. `on_worker_stop`
/// runs in this time.
pub(crate) const STOP: Duration = Duration::from_secs(2);

/// Messages taken from one process in one turn, so that a loud one cannot keep the others waiting.
const MESSAGES: usize = 64;

/// Most listeners of its own that one process has in the books.
const MAX_LISTENING: usize = 1024;

impl Master {
    /// Something has come from a process.
    pub(crate) fn on_link(&mut self, id: ProcessId) {
        for _ in 0..MESSAGES {
            if !self.on_one_message(id) {
                return;
            }
        }
        // Readiness is told once (epoll's edge-triggered mode): asking again makes it be told again.
        if let Some(link) = self
            .processes
            .get(&id)
            .and_then(|process| process.link.as_ref())
        {
            self.unwatch_fd(link);
            if let Err(error) = self.watch_fd(link, link_of(id)) {
                log::error!("cannot poll the link of process {id}: {error}");
            }
        }
    }

    /// Takes one message; false if there is none.
    pub(crate) fn on_one_message(&mut self, id: ProcessId) -> bool {
        let Some(process) = self.processes.get_mut(&id) else {
            return false;
        };
        let Some(link) = &mut process.link else {
            return false;
        };
        match link.recv() {
            Ok(Received::Message(message, fd)) => {
                self.on_message(id, message, fd);
                true
            }
            Ok(Received::Empty) => false,
            Ok(Received::Closed) => {
                // It is ending, as a rule; its descriptor will tell. If it lives on, it can no longer be told anything.
                // One that drains has its deadline already.
                let bounded = !matches!(process.phase, Phase::Starting | Phase::Ready);
                if let Some(link) = process.link.take() {
                    self.unwatch_fd(&link);
                }
                if !bounded {
                    self.timers.at(Instant::now() + STOP, Timer::Kill(id));
                }
                false
            }
            Err(error @ ChannelError::Envelope(_)) => {
                log::error!("process {} sent what is no message: {error}", process.pid);
                true
            }
            Err(error) => {
                log::error!("the link to process {} failed: {error}", process.pid);
                false
            }
        }
    }

    fn on_message(&mut self, id: ProcessId, message: ToMaster, fd: Option<OwnedFd>) {
        let Some(process) = self.processes.get_mut(&id) else {
            return;
        };
        let at = process.slot;
        match message {
            ToMaster::Ready => self.on_ready(id),
            ToMaster::BootFailed { reason } => process.failure = Some(reason),
            ToMaster::Draining => self.on_self_drain(id),
            ToMaster::Listening {
                address,
                reuse_port,
                protocol,
            } => {
                let opened = Opened {
                    address: address.clone(),
                    protocol,
                    reuse_port,
                };
                self.on_listening(id, address, opened, fd);
            }
            ToMaster::Unlistened { address } => {
                process.listening.remove(&address);
                self.borrower_left(id, Some(&address));
                self.groups[at.group].slots[usize::from(at.slot)]
                    .kept
                    .release(id, &address);
                if let Ok(address) = parse(&address) {
                    let processes = &self.processes;
                    self.shared
                        .release(id, &address, |other| processes.contains_key(&other));
                }
            }
            // Nobody is left to take the answer.
            ToMaster::RequestShared { .. } | ToMaster::RequestKept { .. }
                if process.phase == Phase::Ended => {}
            ToMaster::RequestShared {
                id: request,
                address,
                backlog,
            } => {
                let answer = match self.shared_socket(id, &address, backlog) {
                    Ok(socket) => (ListenOutcome::Granted, Some(socket)),
                    Err(error) => refused(&error),
                };
                self.answer_request(id, request, answer);
            }
            ToMaster::RequestKept {
                id: request,
                address,
            } => {
                let answer = match self.kept_socket(id, &address) {
                    Ok(Some(socket)) => (ListenOutcome::Granted, Some(socket)),
                    Ok(None) => (ListenOutcome::NotKept, None),
                    Err(error) => refused(&error),
                };
                self.answer_request(id, request, answer);
            }
            ToMaster::StopAll { graceful } => {
                log::info!("{} asks for the end of the hive", self.place(at));
                self.stop(graceful);
            }
            ToMaster::ReloadAll => {
                log::info!("{} asks for a reload", self.place(at));
                self.request_reload(None);
            }
            ToMaster::RequestRouter => self.on_request_router(id),
            ToMaster::Connections {
                id: request,
                rows,
                next,
            } => self.on_connections(id, request, rows, next),
        }
    }

    /// The socket at an address that processes share by request.
    fn shared_socket(&mut self, id: ProcessId, address: &str, backlog: u32) -> io::Result<OwnedFd> {
        let process = &self.processes[&id];
        let address = parse(address)?;
        let running = &self.groups[process.slot.group];
        if takes_rights(&address) && running.credentials.another_user().is_some() {
            log::warn!(
                "{}: not bound for it: {address}. Its processes run as another user, without the right to bind there; give \
                 the address to a group, or choose a port from 1024 on",
                running.place(process.slot.slot)
            );
            return Err(io::Error::from_raw_os_error(libc::EACCES));
        }
        self.shared.get(id, &address, backlog)?.try_clone_to_owned()
    }

    /// The socket that a process before this one of its slot has opened at an address, if one has.
    fn kept_socket(&mut self, id: ProcessId, address: &str) -> io::Result<Option<OwnedFd>> {
        let process = &self.processes[&id];
        let at = process.slot;
        let slot = &mut self.groups[at.group].slots[usize::from(at.slot)];
        let kept = slot.kept.claim(id, address);
        kept.map(|socket| socket.try_clone_to_owned()).transpose()
    }

    /// A process has opened a listener. If the socket comes along, it is kept for those that come after it.
    fn on_listening(
        &mut self,
        id: ProcessId,
        address: String,
        mut opened: Opened,
        fd: Option<OwnedFd>,
    ) {
        let Some(process) = self.processes.get_mut(&id) else {
            return;
        };
        let at = process.slot;
        let running = &mut self.groups[at.group];
        let place = running.place(at.slot);
        let maker = running.credentials.another_user();
        let kept = &mut running.slots[usize::from(at.slot)].kept;
        let Ok(parsed) = parse(&address) else {
            log::error!("{place}: \"{address}\", where it says that it listens, is no address");
            return;
        };
        if let Some(socket) = fd {
            if let Some(chosen) = chosen(&parsed, &socket) {
                opened.address = chosen.to_string();
            }
            if !kept.keep(id, address.clone(), opened.clone(), socket, maker) {
                log::warn!(
                    "{place}: too many sockets are kept for it; this one will not outlive it"
                );
            }
        } else if !self
            .shared
            .opened(id, &running.definition.name, &parsed, &mut opened)
            && let Some(known) = kept.address(&address)
        {
            known.clone_into(&mut opened.address);
        }
        if process.listening.len() < MAX_LISTENING {
            process.listening.insert(address, opened);
        }
    }

    pub(crate) fn on_ready(&mut self, id: ProcessId) {
        let now = Instant::now();
        let Some(process) = self.processes.get_mut(&id) else {
            return;
        };
        let ended = process.has_ended();
        process.ready.get_or_insert(now);
        if ended || process.phase != Phase::Starting {
            return;
        }
        process.set_phase(Phase::Ready);
        let at = process.slot;
        log::info!(
            "group={} slot={} ready in {:.1} ms (pid {}, generation {})",
            self.groups[at.group].definition.name,
            at.slot,
            process.age(now).as_secs_f64() * 1000.0,
            process.pid,
            process.generation
        );
        let running = &mut self.groups[at.group];
        running.proven = true;
        let slot = &mut running.slots[usize::from(at.slot)];
        if slot.next == Some(id) {
            slot.next = None;
            let replaced = slot.current.replace(id);
            // The one it replaces may have failed before: that is no failure of this one.
            slot.backoff.reset();
            self.reloaded(at, replaced);
        }
        if self.current_slot(id) == Some(at) {
            self.slot_up(at);
        }
        self.settle_kept(at);
        self.settle_start();
    }

    /// The slot whose current process this is.
    pub(crate) fn current_slot(&self, id: ProcessId) -> Option<SlotId> {
        let at = self.processes.get(&id)?.slot;
        let slot = &self.groups[at.group].slots[usize::from(at.slot)];
        (slot.current == Some(id)).then_some(at)
    }

    /// When a slot's current process is ready and alone, sockets that it did not claim have no use any more.
    pub(crate) fn settle_kept(&mut self, at: SlotId) {
        let slot = &mut self.groups[at.group].slots[usize::from(at.slot)];
        let Some(current) = slot
            .current
            .filter(|_| slot.old.is_empty() && slot.next.is_none())
        else {
            return;
        };
        if self
            .processes
            .get(&current)
            .is_some_and(|process| process.phase == Phase::Ready)
        {
            for address in slot.kept.retain(current) {
                log::info!("{}: nobody listens at {address} any more", self.place(at));
            }
        }
    }

    /// The hive has started when every slot is ready, or has used up its attempts while others of its group work.
    pub(crate) fn settle_start(&mut self) {
        if !matches!(self.mood, Mood::Starting) {
            return;
        }
        let borrowed = self
            .borrows_router()
            .then(|| self.routing.group())
            .flatten();
        let mut groups = self.groups.iter().enumerate();
        let settled = groups.all(|(group, running)| {
            if borrowed == Some(group) {
                return true;
            }
            running.proven
                && running.wanted_slots().all(|slot| {
                    let current = slot.current.and_then(|id| self.processes.get(&id));
                    current.is_some_and(|process| process.phase == Phase::Ready)
                        || slot.backoff.failures() >= ATTEMPTS
                })
        });
        if settled && !self.claim() {
            self.mood = Mood::Running;
            self.announce();
            self.start_pending_reload();
        }
    }

    /// A process that was told to go before it was ready has had the time to become so.
    pub(crate) fn on_late(&mut self, id: ProcessId) {
        if let Some(process) = self.processes.get(&id)
            && process.ready.is_none()
        {
            self.kill(id);
        }
    }

    pub(crate) fn on_kill_timeout(&mut self, id: ProcessId) {
        if let Some(process) = self.processes.get(&id)
            && process.phase != Phase::Killed
        {
            log::warn!(
                "{}: pid {} has not ended in time and is killed",
                self.place(process.slot),
                process.pid
            );
            self.kill(id);
        }
    }

    /// SIGKILL. The end is seen like any other.
    pub(crate) fn kill(&mut self, id: ProcessId) {
        if let Some(process) = self.processes.get_mut(&id)
            && process.phase != Phase::Ended
        {
            process.set_phase(Phase::Killed);
            if process.is_command() {
                kill_group(process.pid);
            }
            if let Err(error) = sys::pidfd_send(process.pidfd.as_fd(), Signal::SIGKILL) {
                log::error!("cannot kill process {}: {error}", process.pid);
            }
            self.borrower_left(id, None);
        }
    }

    /// Tells a process to finish within its group's drain, and kills it when that is over.
    pub(crate) fn drain(&mut self, id: ProcessId) {
        let Some(process) = self.processes.get_mut(&id) else {
            return;
        };
        if !matches!(process.phase, Phase::Starting | Phase::Ready) {
            return;
        }
        // It may be accepting already without our having heard of it, and then it has something in hand. If not, there is
        // nothing to wait for.
        if process.phase == Phase::Starting {
            let late = Timer::Late(id);
            self.timers.at(Instant::now() + STOP, late);
        }
        process.set_phase(Phase::Draining);
        let window = self.groups[process.slot.group].definition.drain;
        let window_ms = u32::try_from(window.as_millis()).unwrap_or(u32::MAX);
        self.tell_to_go(id, ToWorker::Drain { window_ms });
        self.borrower_left(id, None);
        self.timers
            .at(Instant::now() + window + STOP, Timer::Kill(id));
    }

    /// Tells a process to end now, and kills it soon.
    pub(crate) fn end(&mut self, id: ProcessId) {
        let Some(process) = self.processes.get_mut(&id) else {
            return;
        };
        if matches!(
            process.phase,
            Phase::Stopping | Phase::Killed | Phase::Ended
        ) {
            return;
        }
        process.set_phase(Phase::Stopping);
        self.tell_to_go(id, ToWorker::Stop);
        self.borrower_left(id, None);
        self.timers.at(Instant::now() + STOP, Timer::Kill(id));
    }

    /// Answers a process that asked for a listening socket.
    fn answer_request(
        &mut self,
        id: ProcessId,
        request: u32,
        (outcome, socket): (ListenOutcome, Option<OwnedFd>),
    ) {
        let answer = ToWorker::Listener {
            id: request,
            outcome,
        };
        self.send(id, answer, socket);
    }
}

fn refused(error: &io::Error) -> (ListenOutcome, Option<OwnedFd>) {
    let errno = error.raw_os_error().unwrap_or(libc::EINVAL);
    (ListenOutcome::Refused { errno }, None)
}
