//! Connections that nobody was told of but one who cannot take them.
//!
//! Of those who wait at a shared socket the kernel wakes one for each new connection (`EPOLLEXCLUSIVE`). If that one
//! dies, is stopped, or is held up by something else before it accepts, nobody else learns of the connection until the
//! next one comes. So another process is told to look.

use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use workhive_ipc::ToWorker;

use crate::master::Master;
use crate::slot::{Phase, Process, ProcessId};

/// For how long a process may be at one thing before others look after what it was woken for.
const BUSY: Duration = Duration::from_secs(1);

/// Whether a process accepted when it was last looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Absence {
    stopped: bool,
    /// The deadline of the turn that takes so long; 0 if none does.
    turn: u64,
}

impl Absence {
    /// One look, in milliseconds of the monotonic clock; true if others are to look: once when the process is stopped,
    /// once when a turn takes long. What comes after that the kernel gives to others by itself, since it does not wait.
    /// `limit` is the time after whose beginning a turn is past its deadline.
    fn look(&mut self, deadline: u64, limit: Duration, now: u64, stopped: bool) -> bool {
        let limit = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        let busy = u64::try_from(BUSY.as_millis()).unwrap_or(u64::MAX);
        let since = deadline.saturating_sub(limit);
        let turn = if deadline != 0 && since.saturating_add(busy) <= now {
            deadline
        } else {
            0
        };
        let before = std::mem::replace(self, Self { stopped, turn });
        (stopped && !before.stopped) || (turn != 0 && turn != before.turn)
    }
}

impl Process {
    /// Looks whether the process accepts; true if others are to look after what it was woken for.
    pub(crate) fn look_for(&mut self, deadline: u64, limit: Duration, now: u64) -> bool {
        let stopped = self.is_stopped();
        self.phase == Phase::Ready && self.absence.look(deadline, limit, now, stopped)
    }

    /// True if somebody has stopped it. It is not reaped by this, and the answer is the same the next time.
    fn is_stopped(&self) -> bool {
        let flags = WaitPidFlag::WSTOPPED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        let state = waitid(Id::PIDFd(self.pidfd.as_fd()), flags);
        matches!(state, Ok(WaitStatus::Stopped(..)))
    }
}

impl Master {
    /// A process takes nothing from the sockets that it shares, for now or for ever: another one is to look at each.
    pub(crate) fn pass_on(&mut self, id: ProcessId) {
        let Some(process) = self.processes.get(&id).filter(|_| !self.is_stopping()) else {
            return;
        };
        let group = process.slot.group;
        let mut told = BTreeSet::new();
        if self.groups[group].listeners.is_shared() {
            let slots = self.groups[group].slots.iter();
            let siblings = slots.filter_map(|slot| slot.current);
            told.extend(self.one_who_accepts(id, siblings));
        }
        for users in self.shared.users_beside(id) {
            told.extend(self.one_who_accepts(id, users.iter().copied()));
        }
        for other in told {
            self.send(other, ToWorker::Look, None);
        }
    }

    /// One of several that is ready and can take something, other than this one.
    fn one_who_accepts(
        &self,
        but: ProcessId,
        mut among: impl Iterator<Item = ProcessId>,
    ) -> Option<ProcessId> {
        among.find(|id| {
            self.processes.get(id).is_some_and(|process| {
                *id != but
                    && process.phase == Phase::Ready
                    && process.link.is_some()
                    && process.absence == Absence::default()
                    && !process.has_ended()
                    && !process.is_stopped()
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    #[test]
    fn others_look_once_when_a_process_is_stopped() {
        let mut absence = Absence::default();
        assert!(!absence.look(0, MINUTE, 5000, false));
        assert!(absence.look(0, MINUTE, 6000, true));
        assert!(!absence.look(0, MINUTE, 7000, true));
        assert!(!absence.look(0, MINUTE, 8000, false));
        assert!(absence.look(0, MINUTE, 9000, true));
    }

    #[test]
    fn others_look_once_for_each_turn_that_takes_long() {
        let mut absence = Absence::default();
        // A turn that began at 10,000.
        assert!(!absence.look(70_000, MINUTE, 10_999, false));
        assert!(absence.look(70_000, MINUTE, 11_000, false));
        assert!(!absence.look(70_000, MINUTE, 12_000, false));
        // The next, which began at 12,500; and then it waits.
        assert!(!absence.look(72_500, MINUTE, 13_000, false));
        assert!(absence.look(72_500, MINUTE, 13_500, false));
        assert!(!absence.look(0, MINUTE, 14_500, false));
    }

    #[test]
    fn a_turn_is_long_only_by_its_own_time() {
        let short = Duration::from_millis(500);
        let mut absence = Absence::default();
        // It began at 10,000 and is past its deadline soon.
        assert!(!absence.look(10_500, short, 10_900, false));
        assert!(absence.look(10_500, short, 11_000, false));
    }
}
