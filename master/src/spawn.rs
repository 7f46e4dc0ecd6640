//! Making new processes.

use std::collections::BTreeMap;
use std::io;
use std::time::Instant;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid};
use workhive_ipc::{MasterEnd, Row, pair};
use workhive_worker::{Place, Seat};

use crate::child::{ChildSeed, held_back};
use crate::clock::unix_ms;
use crate::exec::Image;
use crate::foreign::Output;
use crate::link::Link;
use crate::master::{Master, Order, Timer, end_of, link_of, output_of};
use crate::recycle::Limits;
use crate::slot::{Drains, Ending, Phase, Process, ProcessId, SlotId};
use crate::wake::Absence;
use crate::watch::Overdue;
use crate::{Spawn, seated, sys};

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
        match self.make(at) {
            Ok(Made::Child(seed)) => return Some(seed),
            Ok(Made::Parent(id)) => {
                let slot = &mut self.groups[at.group].slots[usize::from(at.slot)];
                if beside {
                    slot.next = Some(id);
                } else {
                    slot.current = Some(id);
                }
                let limit = self.groups[at.group].definition.boot_timeout;
                self.timers.at(Instant::now() + limit, Timer::Boot(id));
                self.introduce(id);
                self.look_later_if_foreign(id);
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

    fn make(&mut self, at: SlotId) -> io::Result<Made> {
        let index = self.free_row().ok_or_else(|| {
            io::Error::other("too many replaced processes have not ended yet; they will be killed when their time is up")
        })?;
        let made = self.make_with(at, index);
        if made.is_err() {
            self.free_rows.push_front(index);
        }
        made
    }

    pub(crate) fn free_row(&mut self) -> Option<usize> {
        if self.free_rows.is_empty() && self.fresh_row < self.page.len() {
            self.free_rows.push_back(self.fresh_row);
            self.fresh_row += 1;
        }
        self.free_rows.pop_front()
    }

    fn make_with(&mut self, at: SlotId, index: usize) -> io::Result<Made> {
        let row = self.page.row(index).ok_or(io::ErrorKind::NotFound)?;
        let running = &mut self.groups[at.group];
        let foreign = running.definition.is_foreign();
        let slot = &mut running.slots[usize::from(at.slot)];
        let birth = Birth {
            slot: at,
            generation: slot.generation,
            name: workhive_ipc::route::Process {
                epoch: self.epoch,
                slot: u16::try_from(index).unwrap_or(u16::MAX),
                generation: u32::try_from(self.next_id).unwrap_or(u32::MAX),
            },
            alone: self.routing.is_inside() && !foreign,
            started: Instant::now(),
        };
        slot.generation = slot.generation.wrapping_add(1);
        row.assign(
            u16::try_from(at.group).unwrap_or(u16::MAX),
            &running.definition.name,
            at.slot,
            birth.generation,
        );
        row.set_started_at(unix_ms());
        let made = match (&running.definition.command, running.definition.spawn) {
            (Some(command), _) if command.attaches => self.run_attached(birth, &row),
            (Some(_), _) => self.run_command(birth, &row),
            (None, Spawn::Exec) => self.execute(birth, &row),
            (None, Spawn::Fork) => self.fork(birth, &row),
        };
        if made.is_err() {
            row.clear();
        }
        made
    }

    /// The seat of a process that is to be, and the master's end of its link.
    fn seat(&self, birth: Birth, row: &Row) -> io::Result<(Seat, MasterEnd)> {
        let running = self.running(birth.slot);
        let (link, control) = pair()?;
        let seat = Seat {
            place: Place {
                group: running.definition.name.clone(),
                slot: birth.slot.slot,
                generation: birth.generation,
                count: running.definition.count,
                process: birth.name,
                alone: birth.alone,
            },
            listener: running.listeners.for_slot(birth.slot.slot)?,
            control,
            row: row.clone(),
            drain: running.definition.drain,
            stuck: running.definition.stuck_after,
            clients: self.routing.socket_for(birth.slot)?,
        };
        Ok((seat, link))
    }

    /// A process that goes on as a copy of this one.
    fn fork(&mut self, birth: Birth, row: &Row) -> io::Result<Made> {
        let (seat, link) = self.seat(birth, row)?;
        let running = self.running(birth.slot);
        let mut seed = Box::new(ChildSeed {
            program: running.definition.program.clone(),
            seat,
            chores: running.definition.manners.prepare(birth.slot.slot)?,
            credentials: running.credentials.clone(),
            mask: SigSet::empty(),
        });
        seed.mask = Self::block_signals()?;
        let mask = seed.mask;
        let forked = self.home.fork();
        if let Ok(ForkResult::Child) = forked {
            row.set_pid(std::process::id());
            return Ok(Made::Child(seed));
        }
        // From here on this is the master. Its copies of the child's descriptors go first.
        drop(seed);
        let adopted = match forked {
            Ok(ForkResult::Parent { child }) => self.adopt(birth, child, Ends::Link(link), row),
            Ok(ForkResult::Child) => Err(io::Error::other("the child has left above")),
            Err(error) => Err(error),
        };
        unblock(mask);
        adopted.map(Made::Parent)
    }

    /// A process in which this program starts anew.
    fn execute(&mut self, birth: Birth, row: &Row) -> io::Result<Made> {
        let (seat, link) = self.seat(birth, row)?;
        let mut image = Image::new(&self.invocation)?;
        let running = self.running(birth.slot);
        let chores = running.definition.manners.prepare(birth.slot.slot)?;
        image.settle(chores.but_directory(), &running.credentials);
        let directory = running.definition.manners.directory.as_deref();
        seated::write(seat, &self.page, directory, &mut image)?;
        self.start_image(birth, image, Ends::Link(link), row)
    }

    /// A process in which a program starts that knows nothing of us.
    fn run_command(&mut self, birth: Birth, row: &Row) -> io::Result<Made> {
        let (image, output) = self.command_image(birth.slot, row)?;
        self.start_image(birth, image, Ends::Output(output), row)
    }

    /// A process in which a program starts that takes a seat by itself.
    fn run_attached(&mut self, birth: Birth, row: &Row) -> io::Result<Made> {
        let (seat, link) = self.seat(birth, row)?;
        let (mut image, output) = self.command_image(birth.slot, row)?;
        seated::write_attached(seat, &self.page, &mut image)?;
        self.start_image(birth, image, Ends::Both(link, output), row)
    }

    fn start_image(
        &mut self,
        birth: Birth,
        mut image: Image,
        ends: Ends,
        row: &Row,
    ) -> io::Result<Made> {
        let mask = Self::block_signals()?;
        // What the master blocks for itself, programs that know nothing of it find as it was.
        let for_program = match ends {
            Ends::Link(_) if self.home.workers_handle_signals() => held_back(mask),
            Ends::Link(_) => {
                image.leave_signals();
                crate::signals::without_held(mask)
            }
            Ends::Output(_) | Ends::Both(..) => crate::signals::without_held(mask),
        };
        image.set_mask(for_program);
        let adopted = image
            .spawn()
            .and_then(|child| self.adopt(birth, child, ends, row));
        unblock(mask);
        adopted.map(Made::Parent)
    }

    /// Takes a new child into the books.
    fn adopt(&mut self, birth: Birth, pid: Pid, ends: Ends, row: &Row) -> io::Result<ProcessId> {
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
        let (link, output) = match ends {
            Ends::Link(link) => (Some(Link::new(link)), None),
            Ends::Output(output) => (None, Some(output)),
            Ends::Both(link, output) => (Some(Link::new(link)), Some(output)),
        };
        let foreign = link.is_none();
        let mut process = Process {
            slot,
            generation,
            name,
            pid,
            pidfd,
            link,
            foreign,
            output,
            row: row.clone(),
            started,
            ready: None,
            phase: Phase::Starting,
            alone,
            drains: Drains::default(),
            failure: None,
            listening: BTreeMap::new(),
            limits: Limits::of(&self.groups[slot.group].definition),
            overdue: Overdue::default(),
            absence: Absence::default(),
        };
        let polled = self
            .watch_fd(&process.pidfd, end_of(id))
            .and_then(|()| match &process.link {
                Some(link) => self.watch_fd(link, link_of(id)),
                None => Ok(()),
            })
            .and_then(|()| match &process.output {
                Some(output) => self.watch_fd(output, output_of(id)),
                None => Ok(()),
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
enum Made {
    Parent(ProcessId),
    Child(Box<ChildSeed>),
}

/// How the master hears from a process.
enum Ends {
    Link(MasterEnd),
    Output(Output),
    /// And what it prints.
    Both(MasterEnd, Output),
}

pub(crate) fn unblock(mask: SigSet) {
    if let Err(errno) = mask.thread_set_mask() {
        // Cannot happen with a mask that the kernel itself gave (pthread_sigmask(3)).
        log::error!("cannot unblock signals: {errno}");
    }
}
