//! Making new processes.

use std::collections::BTreeMap;
use std::io;
use std::time::Instant;

use nix::sys::signal::Signal;
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid};
use workhive_ipc::{MasterEnd, Row, pair};
use workhive_worker::{Place, Seat};

use crate::child::ChildSeed;
use crate::clock::unix_ms;
use crate::link::Link;
use crate::master::{Master, Order, Timer};
use crate::recycle::Limits;
use crate::slot::{Ending, Phase, Process, ProcessId, SlotId};
use crate::sys;
use crate::watch::Overdue;

impl Master {
    /// Fills a slot. In the new process, and only there, the result is its seed.
    pub(crate) fn spawn(&mut self, order: Order) -> Option<Box<ChildSeed>> {
        let Order { slot: at, beside } = order;
        if !self.is_wanted(at) {
            return None;
        }
        let slot = &mut self.groups[at.group].slots[usize::from(at.slot)];
        let wanted = if beside {
            slot.next.is_none()
        } else {
            slot.awaited = false;
            slot.current.is_none() && slot.next.is_none()
        };
        if !wanted {
            return None;
        }
        match self.fork(at) {
            Ok(Forked::Child(seed)) => return Some(seed),
            Ok(Forked::Parent(id)) => {
                let slot = &mut self.groups[at.group].slots[usize::from(at.slot)];
                if beside {
                    slot.next = Some(id);
                } else {
                    slot.current = Some(id);
                }
                let limit = self.groups[at.group].definition.boot_timeout;
                self.timers.at(Instant::now() + limit, Timer::Boot(id));
                self.introduce(id);
            }
            Err(error) => {
                let reason = format!("cannot make a process: {error}");
                let ending = Ending::new(&*reason, None);
                log::error!("{}: {reason}", self.place(at));
                if beside {
                    let slot = &self.groups[at.group].slots[usize::from(at.slot)];
                    let lost = slot.current.is_none() && !slot.awaited;
                    self.replacement_failed(at, &reason);
                    if lost {
                        self.attempt_failed(at, &ending);
                    }
                } else {
                    self.attempt_failed(at, &ending);
                }
            }
        }
        None
    }

    fn fork(&mut self, at: SlotId) -> io::Result<Forked> {
        let row_index = self.free_row().ok_or_else(|| {
            io::Error::other("too many replaced processes have not ended yet; they will be killed when their time is up")
        })?;
        let made = self.fork_with(at, row_index);
        if made.is_err() {
            self.free_rows.push_front(row_index);
        }
        made
    }

    fn free_row(&mut self) -> Option<usize> {
        if self.free_rows.is_empty() && self.fresh_row < self.page.len() {
            self.free_rows.push_back(self.fresh_row);
            self.fresh_row += 1;
        }
        self.free_rows.pop_front()
    }

    fn fork_with(&mut self, at: SlotId, row_index: usize) -> io::Result<Forked> {
        let row = self.page.row(row_index).ok_or(io::ErrorKind::NotFound)?;
        let alone = self.routing.is_inside();
        let clients = self.routing.socket_for(at)?;
        let running = &mut self.groups[at.group];
        let slot = &mut running.slots[usize::from(at.slot)];
        let generation = slot.generation;
        let (link, control) = pair()?;
        let process = workhive_ipc::route::Process {
            epoch: self.epoch,
            slot: u16::try_from(row_index).unwrap_or(u16::MAX),
            generation: u32::try_from(self.next_id).unwrap_or(u32::MAX),
        };
        let seat = Seat {
            place: Place {
                group: running.definition.name.clone(),
                slot: at.slot,
                generation,
                count: running.definition.count,
                process,
                alone,
            },
            listener: running.listeners.for_slot(at.slot)?,
            control,
            row: row.clone(),
            drain: running.definition.drain,
            stuck: running.definition.stuck_after,
            clients,
        };
        slot.generation = slot.generation.wrapping_add(1);
        row.assign(
            u16::try_from(at.group).unwrap_or(u16::MAX),
            &running.definition.name,
            at.slot,
            generation,
        );
        row.set_started_at(unix_ms());
        let mut seed = Box::new(ChildSeed {
            program: running.definition.program.clone(),
            seat,
            chores: running.definition.manners.prepare(at.slot)?,
            credentials: running.credentials.clone(),
            mask: nix::sys::signal::SigSet::empty(),
        });
        let birth = Birth {
            slot: at,
            generation,
            name: process,
            alone,
            started: Instant::now(),
        };
        seed.mask = Self::block_signals()?;
        let mask = seed.mask;
        let forked = sys::fork();
        if let Ok(ForkResult::Child) = forked {
            row.set_pid(std::process::id());
            return Ok(Forked::Child(seed));
        }
        // From here on this is the master. Its copies of the child's descriptors go first.
        drop(seed);
        let adopted = match forked {
            Ok(ForkResult::Parent { child }) => self.adopt(birth, child, link, &row),
            Ok(ForkResult::Child) => Err(io::Error::other("the child has left above")),
            Err(error) => Err(error),
        };
        if adopted.is_err() {
            row.clear();
        }
        if let Err(errno) = mask.thread_set_mask() {
            // Cannot happen with a mask that the kernel itself gave (pthread_sigmask(3)).
            log::error!("cannot unblock signals: {errno}");
        }
        adopted.map(Forked::Parent)
    }

    /// Takes a new child into the books.
    fn adopt(
        &mut self,
        birth: Birth,
        pid: Pid,
        link: MasterEnd,
        row: &Row,
    ) -> io::Result<ProcessId> {
        let id = self.new_id();
        row.set_pid(u32::try_from(pid.as_raw()).unwrap_or(0));
        let pidfd = match sys::pidfd_open(pid) {
            Ok(pidfd) => pidfd,
            Err(error) => {
                // Without a descriptor we would never learn of its end. It has not been reaped, so the number is
                // still its own, and nothing but SIGKILL can be pending for so young a process.
                let _ = nix::sys::signal::kill(pid, Signal::SIGKILL);
                let _ = waitpid(pid, None);
                return Err(error);
            }
        };
        let Birth {
            slot,
            generation,
            name,
            alone,
            started,
        } = birth;
        let mut process = Process {
            slot,
            generation,
            name,
            pid,
            pidfd,
            link: Some(Link::new(link)),
            row: row.clone(),
            started,
            ready: None,
            phase: Phase::Starting,
            alone,
            leaves: false,
            failure: None,
            listening: BTreeMap::new(),
            limits: Limits::of(&self.groups[slot.group].definition),
            overdue: Overdue::default(),
        };
        let polled = self.watch_fd(&process.pidfd, id * 2).and_then(|()| {
            process
                .link
                .as_ref()
                .map_or(Ok(()), |link| self.watch_fd(link, id * 2 + 1))
        });
        if let Err(error) = polled {
            self.unwatch_fd(&process.pidfd);
            let _ = sys::pidfd_send(std::os::fd::AsFd::as_fd(&process.pidfd), Signal::SIGKILL);
            let _ = waitpid(pid, None);
            return Err(error);
        }
        process.set_phase(Phase::Starting);
        log::debug!(
            "{}: started pid {pid}, generation {generation}",
            self.place(slot)
        );
        self.processes.insert(id, process);
        Ok(id)
    }

    pub(crate) fn new_id(&mut self) -> usize {
        let id = self.next_id;
        self.next_id += 1;
        id
    }
}

/// What is known of a process before it is there.
#[derive(Clone, Copy)]
struct Birth {
    slot: SlotId,
    generation: u32,
    name: workhive_ipc::route::Process,
    alone: bool,
    started: Instant,
}

/// On which side of a fork one is.
enum Forked {
    Parent(ProcessId),
    Child(Box<ChildSeed>),
}
