//! Upgrade, from the side of the master that comes: it starts with what it was handed, and when every process is ready
//! the pid file, the control socket and the files of all sockets become its own.

use std::os::fd::OwnedFd;
use std::time::Instant;

use workhive_ipc::{ChannelError, Received, ToPredecessor, ToSuccessor, route};

use crate::bound::Bound;
use crate::error::StartError;
use crate::handed::{Estate, Handed};
use crate::link::{Link, Sent};
use crate::master::{CONTROL, Master, Mood, Order, Timer, link_of};
use crate::slot::{ProcessId, SlotId};

/// More processes and clients than the old master can number while there are two.
const NUMBERS: usize = 1 << 20;

/// The master whose place this one takes.
#[derive(Debug)]
pub(crate) struct Predecessor {
    /// From the same numbers as processes.
    id: usize,
    pid: u32,
    link: Link<ToPredecessor, ToSuccessor>,
    stage: Stage,
    /// It has a router, which is that of both.
    router: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Starting,
    /// It was told that we are ready.
    Ready,
    /// We are in charge.
    Done,
}

impl Master {
    /// The master before this one waits to be told that we are ready.
    pub(crate) fn succeed(&mut self, estate: Estate) -> Result<(), StartError> {
        let Estate { pid, link, .. } = estate;
        if estate.router
            && let Some(group) = self.routing.group()
        {
            self.orders.retain(|order| order.slot.group != group);
        }
        // It is the same hive: what the old processes said of themselves goes on to hold, and no number comes back.
        self.usual_descriptors = estate.descriptors;
        self.epoch = estate.epoch;
        self.next_id = estate.next_id + NUMBERS;
        let id = self.new_id();
        self.watch_fd(&link, link_of(id))
            .map_err(StartError::system("poll the link to the old master"))?;
        self.succession.predecessor = Some(Predecessor {
            id,
            pid,
            link: Link::new(link),
            stage: Stage::Starting,
            // One process alone routes for itself.
            router: estate.router && self.routing.group().is_some(),
        });
        Ok(())
    }

    /// Sockets that the processes of the master before this one shared, or had opened by themselves.
    pub(crate) fn inherit(&mut self, estate: &mut Estate) {
        for shared in estate.shared.drain(..) {
            self.shared.take(shared);
        }
        for kept in estate.kept.drain(..) {
            let mut groups = self.groups.iter_mut();
            let running = groups.find(|running| running.definition.name == kept.group);
            if let Some(slot) =
                running.and_then(|running| running.slots.get_mut(usize::from(kept.slot)))
            {
                slot.kept.take(kept);
            }
        }
    }

    /// True while the old master is in charge.
    pub(crate) fn is_heir(&self) -> bool {
        let predecessor = self.succession.predecessor.as_ref();
        predecessor.is_some_and(|predecessor| predecessor.stage != Stage::Done)
    }

    /// Every process is ready: takes over as soon as the old master lets go. False if there is none.
    pub(crate) fn claim(&mut self) -> bool {
        let Some(predecessor) = &mut self.succession.predecessor else {
            return false;
        };
        if predecessor.stage == Stage::Starting {
            predecessor.stage = Stage::Ready;
            if !self.tell_predecessor(ToPredecessor::Ready, None) {
                self.take_over();
            }
        }
        true
    }

    /// The master before this one, if that one still has something in hand.
    pub(crate) fn predecessor_drains(&self) -> Option<u32> {
        let predecessor = self.succession.predecessor.as_ref();
        predecessor
            .filter(|predecessor| predecessor.stage == Stage::Done)
            .map(|predecessor| predecessor.pid)
    }

    /// The hive stops, and what is left of the master before this one with it.
    pub(crate) fn stop_predecessor(&mut self, graceful: bool) {
        if self.predecessor_drains().is_some() {
            self.tell_predecessor(ToPredecessor::Stop { graceful }, None);
        }
    }

    /// True if this number is the predecessor's.
    pub(crate) fn is_predecessor(&self, id: usize) -> bool {
        let predecessor = self.succession.predecessor.as_ref();
        predecessor.is_some_and(|predecessor| predecessor.id == id)
    }

    /// The old master has said something, or has ended.
    pub(crate) fn on_predecessor(&mut self) {
        loop {
            let Some(predecessor) = &self.succession.predecessor else {
                return;
            };
            match predecessor.link.recv() {
                Ok(Received::Message(ToSuccessor::TakeOver, _)) => self.take_over(),
                Ok(Received::Empty) => return,
                Ok(Received::Closed) => return self.on_predecessor_end(),
                Err(error) => {
                    log::error!("the link to the old master failed: {error}");
                    return self.on_predecessor_end();
                }
            }
        }
    }

    /// True while the router is the old master's: there is one for both, so that whoever is connected anywhere is known
    /// everywhere.
    pub(crate) fn borrows_router(&self) -> bool {
        let predecessor = self.succession.predecessor.as_ref();
        predecessor.is_some_and(|predecessor| predecessor.router)
    }

    /// Hands a stream to the old master's router; false if it is gone.
    pub(crate) fn link_by_predecessor(&mut self, process: route::Process, stream: OwnedFd) -> bool {
        self.tell_predecessor(ToPredecessor::Link { process }, Some(stream))
    }

    /// A process of this master has ended: the router that is borrowed is to know.
    pub(crate) fn tell_predecessor_of_end(&mut self, process: route::Process) {
        if self.borrows_router() {
            self.tell_predecessor(ToPredecessor::Ended { process }, None);
        }
    }

    /// The old master is gone. If that was before we were ready, there is nothing to wait for then.
    fn on_predecessor_end(&mut self) {
        let Some(predecessor) = self.succession.predecessor.take() else {
            return;
        };
        self.unwatch_fd(&predecessor.link);
        if let Some(group) = self.routing.group().filter(|_| predecessor.router) {
            // The router has gone with it: now this master makes its own, which gets a stream to everybody.
            self.groups[group].proven = true;
            let slot = SlotId { group, slot: 0 };
            self.orders.push_front(Order {
                slot,
                beside: false,
            });
        }
        match predecessor.stage {
            Stage::Done => {
                log::info!(
                    "upgrade: the old master, pid {}, has ended",
                    predecessor.pid
                );
                // Before, a service manager may not have listened to this one.
                self.tell_ready();
            }
            Stage::Starting | Stage::Ready => {
                log::warn!("upgrade: the old master, pid {}, has died", predecessor.pid);
                self.own_all();
                if predecessor.stage == Stage::Ready {
                    self.be_in_charge(predecessor.pid);
                }
            }
        }
    }

    /// From now on this is the hive's master.
    fn take_over(&mut self) {
        if self.is_stopping() {
            return;
        }
        let Some(predecessor) = &mut self.succession.predecessor else {
            return;
        };
        if predecessor.stage == Stage::Done {
            return;
        }
        predecessor.stage = Stage::Done;
        let pid = predecessor.pid;
        self.own_all();
        self.be_in_charge(pid);
        self.tell_predecessor(ToPredecessor::TookOver, None);
    }

    fn own_all(&mut self) {
        self.own();
        if let Err(error) = self.control.register(self.poll.registry(), CONTROL) {
            log::error!("cannot poll the control socket: {error}");
        }
        self.handed = Handed::default();
        self.steer_anew();
    }

    /// The pid file, the control socket and the files of all sockets are this master's.
    pub(crate) fn own(&mut self) {
        if let Err(error) = self.pid_file.own() {
            log::error!("cannot write the pid file: {error}");
        }
        if let Err(error) = self.control.own() {
            log::error!("cannot listen at the control socket: {error}");
        }
        self.shared.bound_mut().for_each(Bound::own);
        for running in &mut self.groups {
            running.listeners.bound_mut().for_each(Bound::own);
            for slot in &mut running.slots {
                slot.kept.own();
            }
        }
        if let Some(file) = self.routing.file_mut() {
            file.own();
        }
    }

    fn be_in_charge(&mut self, pid: u32) {
        self.mood = Mood::Running;
        log::info!("upgrade: took over from pid {pid}");
        self.announce();
        self.start_pending_reload();
    }

    /// This hive cannot start: the old master is to know why.
    pub(crate) fn tell_failure(&mut self, reason: &StartError) {
        if self.is_heir() {
            self.tell_predecessor(ToPredecessor::failed(reason.to_string()), None);
        }
    }

    fn tell_predecessor(&mut self, message: ToPredecessor, fd: Option<OwnedFd>) -> bool {
        let Some(predecessor) = &mut self.succession.predecessor else {
            return false;
        };
        let (id, sent) = (predecessor.id, predecessor.link.send(message, fd));
        self.sent_to_predecessor(id, &sent)
    }

    /// It is time to try again what the old master did not take.
    pub(crate) fn resend_to_predecessor(&mut self, id: ProcessId) {
        if let Some(predecessor) = &mut self.succession.predecessor
            && predecessor.id == id
        {
            let sent = predecessor.link.retry();
            self.sent_to_predecessor(id, &sent);
        }
    }

    fn sent_to_predecessor(&mut self, id: ProcessId, sent: &Result<Sent, ChannelError>) -> bool {
        match sent {
            Ok(Sent::Done) => true,
            Ok(Sent::Later(pause)) => {
                self.timers.at(Instant::now() + *pause, Timer::Resend(id));
                true
            }
            // It has died, which is seen where its words come from.
            Err(_) => false,
        }
    }
}
