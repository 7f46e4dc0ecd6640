//! Stuck processes: those that are past the deadline that they set themselves.

use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

use crate::master::{Master, Timer};
use crate::slot::{Phase, Process};

const EVERY: Duration = Duration::from_secs(1);

impl Master {
    pub(crate) fn watch_later(&mut self) {
        self.timers.at(Instant::now() + EVERY, Timer::Watch);
    }

    /// Kills the processes whose loop has not come back in time, after a look at what they do.
    pub(crate) fn watch(&mut self) {
        let now = Instant::now();
        // If the master itself was stopped (SIGSTOP, a suspended machine), so were the others, and deserve a chance
        // to come back first.
        let late = self
            .watched
            .is_some_and(|last| now.saturating_duration_since(last) > EVERY * 3);
        self.watched = Some(now);
        if late {
            for process in self.processes.values_mut() {
                process.overdue = Overdue::default();
            }
            return;
        }
        let Some(now_ms) = monotonic_ms() else {
            return;
        };
        let mut stuck = Vec::new();
        for (id, process) in &mut self.processes {
            if matches!(
                process.phase,
                Phase::Starting | Phase::Killed | Phase::Ended
            ) {
                continue;
            }
            let deadline = process.row.counters().heartbeat_deadline_ms;
            let pid = process.pid;
            if process.overdue.look(deadline, now_ms, || is_stopped(pid)) {
                stuck.push(*id);
            }
        }
        for id in stuck {
            if let Some(process) = self.processes.get_mut(&id) {
                let seen = autopsy(process);
                process.failure = Some("it was stuck".to_owned());
                let (at, pid) = (process.slot, process.pid);
                log::error!(
                    "{}: pid {pid} is stuck and is killed: {seen}",
                    self.place(at)
                );
            }
            // Its queue need not wait for its end.
            if let Some(at) = self.current_slot(id) {
                self.slot_down(at);
            }
            self.kill(id);
        }
    }
}

/// The clock by which processes set their deadlines.
pub(crate) fn monotonic_ms() -> Option<u64> {
    let clock = clock_gettime(ClockId::CLOCK_MONOTONIC).ok()?;
    u64::try_from(Duration::from(clock).as_millis()).ok()
}

/// The deadline that a process had missed at the last look.
///
/// It takes two looks in a row to call it stuck: one that was stopped (SIGSTOP) in the middle of its work has missed
/// its deadline when it goes on, and gets from one look to the next to show that it comes back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Overdue(Option<u64>);

impl Overdue {
    /// One look, in milliseconds of the monotonic clock; true if the process is stuck. A deadline of 0 is none.
    fn look(&mut self, deadline: u64, now: u64, is_stopped: impl FnOnce() -> bool) -> bool {
        let missed = (deadline != 0 && deadline < now && !is_stopped()).then_some(deadline);
        let before = std::mem::replace(&mut self.0, missed);
        missed.is_some() && missed == before
    }
}

/// A process in state T or t: somebody has stopped it, on purpose.
pub(crate) fn is_stopped(pid: Pid) -> bool {
    // proc(5): the state follows the name, which is in parentheses and may hold any character.
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .ok()
        .and_then(|stat| {
            Some(
                stat.rsplit_once(')')?
                    .1
                    .trim_start()
                    .starts_with(['T', 't']),
            )
        })
        .unwrap_or(false)
}

/// Where in the kernel it is, as far as /proc tells.
fn autopsy(process: &Process) -> String {
    let read = |name: &str| {
        std::fs::read_to_string(format!("/proc/{}/{name}", process.pid))
            .map(|text| text.trim().replace('\n', " < "))
            .unwrap_or_default()
    };
    format!(
        "wchan [{}], syscall [{}], stack [{}]",
        read("wchan"),
        read("syscall"),
        read("stack")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs() -> bool {
        false
    }

    fn stopped() -> bool {
        true
    }

    #[test]
    fn a_process_is_stuck_when_it_misses_one_deadline_at_two_looks() {
        let mut overdue = Overdue::default();
        assert!(!overdue.look(1000, 999, runs));
        assert!(!overdue.look(1000, 1999, runs));
        assert!(overdue.look(1000, 2999, runs));
    }

    #[test]
    fn a_process_that_was_stopped_in_its_work_may_come_back() {
        let mut overdue = Overdue::default();
        assert!(!overdue.look(1000, 5000, stopped));
        // It goes on just before the look.
        assert!(!overdue.look(1000, 6000, runs));
        // It has come back, and is at something new.
        assert!(!overdue.look(66_000, 7000, runs));
        assert!(!overdue.look(0, 8000, runs));
    }

    #[test]
    fn looks_at_a_stopped_process_do_not_count() {
        let mut overdue = Overdue::default();
        for _ in 0..3 {
            assert!(!overdue.look(1000, 5000, runs));
            assert!(!overdue.look(1000, 6000, stopped));
        }
    }

    #[test]
    fn two_deadlines_missed_once_each_are_slow_and_not_stuck() {
        let mut overdue = Overdue::default();
        assert!(!overdue.look(1000, 1500, runs));
        assert!(!overdue.look(2000, 2500, runs));
    }
}
