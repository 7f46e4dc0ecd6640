//! The end of a process as its master sees it, and what becomes of its slot.

use std::os::fd::AsFd;
use std::path::Path;
use std::time::Instant;

use nix::errno::Errno;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};

use crate::Spawn;
use crate::backoff::{ATTEMPTS, STABLE, random};
use crate::clock::Span;
use crate::error::StartError;
use crate::exec::describe_failure;
use crate::life::STOP;
use crate::master::{Master, Order, Timer};
use crate::slot::{Drains, Ending, Phase, Process, ProcessId, SlotId, describe};

impl Master {
    /// A process drains by its own decision (it got SIGTERM from somebody, or has served its time): its slot is to be
    /// filled at once, not only when it is gone.
    pub(crate) fn on_self_drain(&mut self, id: ProcessId) {
        let Some(process) = self.processes.get_mut(&id) else {
            return;
        };
        if process.phase == Phase::Draining {
            process.drains = Drains::Heard;
            self.go_on_reloading();
            return;
        }
        process.drains = Drains::Leaves;
        if process.phase != Phase::Ready {
            return;
        }
        process.set_phase(Phase::Draining);
        let stable = process.was_stable(Instant::now());
        let at = process.slot;
        let running = &mut self.groups[at.group];
        self.timers.at(
            Instant::now() + running.definition.drain + STOP,
            Timer::Kill(id),
        );
        let slot = &mut running.slots[usize::from(at.slot)];
        if slot.current != Some(id) {
            return;
        }
        slot.current = None;
        slot.old.push(id);
        log::info!(
            "{}: pid {} drains by its own decision",
            self.place(at),
            self.processes[&id].pid
        );
        self.borrower_left(id, None);
        self.slot_down(at);
        self.refill(at, stable, End::Left);
    }

    /// A process has ended: reaps it and decides what becomes of its slot.
    pub(crate) fn on_end(&mut self, id: ProcessId) {
        if self.group_goes_on(id) {
            return;
        }
        let Some(process) = self.processes.get(&id) else {
            return;
        };
        let status = match waitid(
            Id::PIDFd(process.pidfd.as_fd()),
            WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG,
        ) {
            Ok(WaitStatus::StillAlive) | Err(Errno::EINTR) => return,
            Ok(status) => Some(status),
            // Somebody else has reaped it: it is gone all the same.
            Err(errno) => {
                log::error!("cannot wait for process {}: {errno}", process.pid);
                None
            }
        };
        self.note_boot_error(id);
        // What it said last: why it could not start, a socket to keep. It is heard, but makes it nothing any more: a
        // dead process that became ready would take a living one's place.
        if let Some(process) = self.processes.get_mut(&id) {
            process.set_phase(Phase::Ended);
        }
        while self.on_one_message(id) {}
        self.read_output(id);
        self.borrower_left(id, None);
        self.pass_on(id);
        self.unlist(id);
        let Some(mut process) = self.processes.remove(&id) else {
            return;
        };
        self.unwatch_fd(&process.pidfd);
        if let Some(link) = process.link.take() {
            self.unwatch_fd(&link);
        }
        if let Some(output) = process.output.take() {
            self.unwatch_fd(&output);
        }
        self.free_rows.push_back(process.row.index());
        process.row.clear();
        if !self.is_router(process.slot) {
            self.tell_router_of_end(process.name);
            self.tell_predecessor_of_end(process.name);
        }
        self.release_router();

        let now = Instant::now();
        let at = process.slot;
        let mut how = status.map_or_else(|| "ended".to_owned(), describe);
        // It may have drained and ended before we heard of it.
        let left = process.drains == Drains::Leaves
            && process.ready.is_some()
            && matches!(status, Some(WaitStatus::Exited(_, 0)));
        if left {
            how = format!("drained by its own decision and {how}");
        }
        let ending = Ending::new(self.with_program(how, &process), process.failure.take());
        let place = self.place(at);
        let (pid, age) = (process.pid, process.age(now));
        let stopping = self.is_stopping();
        let slot = &mut self.groups[at.group].slots[usize::from(at.slot)];
        if let Some(index) = slot.old.iter().position(|old| *old == id) {
            slot.old.remove(index);
            log::info!("{place}: replaced pid {pid} {}", ending.told(age, None));
            self.settle_kept(at);
            self.settle_retired(at);
            self.resume_reload(at);
            self.go_on_reloading();
        } else if slot.next == Some(id) {
            slot.next = None;
            let empty = slot.current.is_none();
            if stopping {
                log::info!("{place}: pid {pid} {}", ending.told(age, None));
            } else {
                log::error!("{place}: pid {pid} ended before it was ready");
            }
            self.replacement_failed(at, &format!("{place} {ending}"));
            if empty && !stopping {
                self.attempt_failed(at, &ending);
            }
        } else if slot.current == Some(id) {
            slot.current = None;
            let last = slot.last_exit.replace(ending.to_string());
            let told = ending.told(age, last.as_deref());
            if stopping || left {
                log::info!("{place}: pid {pid} {told}");
            } else {
                log::warn!("{place}: pid {pid} {told}");
                slot.restarts += 1;
            }
            self.slot_down(at);
            let slot = &self.groups[at.group].slots[usize::from(at.slot)];
            if slot.next.is_some() {
                // The next one is on its way and takes the slot when it is ready.
                return;
            }
            let end = if left {
                End::Left
            } else {
                End::Failed(&ending)
            };
            self.refill(at, process.was_stable(now), end);
        }
    }

    /// How a process has ended; before it was ready and without a word, with the program that it executed. That another
    /// file was put in its place shows in nothing else.
    fn with_program(&self, how: String, process: &Process) -> String {
        let definition = &self.groups[process.slot.group].definition;
        let program = match &definition.command {
            Some(command) => Path::new(&command.program),
            None if definition.spawn == Spawn::Exec => &*self.invocation.program,
            None => return how,
        };
        if process.ready.is_some() || process.failure.is_some() {
            return how;
        }
        format!("{how} ({})", program.display())
    }

    /// A process that never ran any code of its own has left in the stats page why it could not.
    fn note_boot_error(&mut self, id: ProcessId) {
        let Some(process) = self.processes.get_mut(&id) else {
            return;
        };
        if let Some((step, errno)) = process.row.boot_error() {
            let program = match &self.groups[process.slot.group].definition.command {
                Some(command) => Path::new(&command.program),
                None => &self.invocation.program,
            };
            let manners = &self.groups[process.slot.group].definition.manners;
            let chores = manners.prepare(process.slot.slot).ok();
            process.failure = Some(describe_failure(step, errno, program, chores.as_ref()));
        }
    }

    /// Fills a slot again: at once if its process has proved that it works, else after a wait.
    fn refill(&mut self, at: SlotId, stable: bool, end: End<'_>) {
        if !self.is_wanted(at) {
            return;
        }
        if stable {
            let slot = &mut self.groups[at.group].slots[usize::from(at.slot)];
            slot.backoff.reset();
            slot.awaited = true;
            self.orders.push_back(Order {
                slot: at,
                beside: false,
            });
        } else {
            match end {
                End::Left => self.rest(at),
                End::Failed(ending) => self.attempt_failed(at, ending),
            }
        }
    }

    /// A process has left its slot as soon as it was ready. That is no failure; but a program all of whose processes
    /// do that must not fork without pause.
    fn rest(&mut self, at: SlotId) {
        let place = self.place(at);
        let running = &mut self.groups[at.group];
        running.proven = true;
        let slot = &mut running.slots[usize::from(at.slot)];
        let wait = slot.backoff.fail(random());
        log::info!(
            "{place}: the last process left within {} of being ready; the next one starts in {}",
            Span(STABLE),
            Span(wait)
        );
        slot.awaited = true;
        self.timers.at(Instant::now() + wait, Timer::Respawn(at));
        self.settle_start();
    }

    /// An attempt to fill a slot has failed: tries again later, or gives the hive up if nothing of the group ever
    /// worked.
    pub(crate) fn attempt_failed(&mut self, at: SlotId, ending: &Ending) {
        let place = self.place(at);
        let running = &mut self.groups[at.group];
        let count = u32::from(running.definition.count);
        let slot = &mut running.slots[usize::from(at.slot)];
        slot.last_exit = Some(ending.to_string());
        let wait = slot.backoff.fail(random());
        self.slot_down(at);
        let running = &mut self.groups[at.group];
        let slot = &mut running.slots[usize::from(at.slot)];
        if !running.proven {
            running.failures += 1;
            if slot.backoff.failures() >= ATTEMPTS || running.failures >= (count * 2).max(20) {
                let group = running.definition.name.clone();
                let attempts = running.failures;
                self.fail(StartError::Boot {
                    group,
                    attempts,
                    reason: ending.why().to_owned(),
                });
                return;
            }
        }
        let when = if wait.is_zero() {
            "at once".to_owned()
        } else {
            format!("in {}", Span(wait))
        };
        log::warn!(
            "{place}: failure {} in a row; next attempt {when}",
            slot.backoff.failures()
        );
        slot.awaited = true;
        self.timers.at(Instant::now() + wait, Timer::Respawn(at));
        self.settle_start();
    }

    pub(crate) fn on_boot_timeout(&mut self, id: ProcessId) {
        if let Some(process) = self.processes.get_mut(&id)
            && process.phase == Phase::Starting
        {
            let running = &self.groups[process.slot.group];
            let limit = running.definition.boot_timeout;
            let mut why = format!("not ready within {}", Span(limit));
            if process.is_foreign() && running.notifies {
                why.push_str(": it has not said READY=1 to NOTIFY_SOCKET, sd_notify(3)");
            }
            process.failure = Some(why);
            self.kill(id);
        }
    }
}

/// How a process of a slot has come to its end.
#[derive(Debug, Clone, Copy)]
enum End<'a> {
    /// By its own decision, after it had been ready.
    Left,
    /// Otherwise.
    Failed(&'a Ending),
}
