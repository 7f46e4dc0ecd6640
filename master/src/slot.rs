//! The master's books: its processes, and the slots that they fill.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::wait::WaitStatus;
use nix::unistd::Pid;
use workhive_ipc::{Row, SlotState};

use crate::Group;
use crate::backoff::{Backoff, STABLE};
use crate::clock::Span;
use crate::credentials::Credentials;
use crate::foreign::Output;
use crate::kept::{Kept, Opened};
use crate::link::Link;
use crate::listeners::GroupListeners;
use crate::recycle::Limits;
use crate::steer::Steering;
use crate::wake::Absence;
use crate::watch::Overdue;

/// Names a process in the master's books. Never used twice, unlike a pid.
pub(crate) type ProcessId = usize;

/// Names a slot: the group's place in the list, and the slot in the group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SlotId {
    pub(crate) group: usize,
    pub(crate) slot: u16,
}

/// One process that has been forked and not yet reaped.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) slot: SlotId,
    pub(crate) generation: u32,
    /// Its name in routing.
    pub(crate) name: workhive_ipc::route::Process,
    pub(crate) pid: Pid,
    pub(crate) pidfd: OwnedFd,
    /// `None` once the process has closed its end, and for a program that knows nothing of workhive.
    pub(crate) link: Option<Link>,
    pub(crate) foreign: bool,
    /// What the program of somebody else prints.
    pub(crate) output: Option<Output>,
    pub(crate) row: Row,
    pub(crate) started: Instant,
    pub(crate) ready: Option<Instant>,
    pub(crate) phase: Phase,
    /// It routes for itself, having been the only worker process.
    pub(crate) alone: bool,
    /// What it has said of a drain.
    pub(crate) drains: Drains,
    /// Why it could not start, in its own words or in ours.
    pub(crate) failure: Option<String>,
    /// Where it listens by its own doing, by the address as it wrote it.
    pub(crate) listening: BTreeMap<String, Opened>,
    /// When it has done enough.
    pub(crate) limits: Limits,
    /// The deadline that it had missed when it was last looked at.
    pub(crate) overdue: Overdue,
    pub(crate) absence: Absence,
}

/// What a process has said of a drain.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Drains {
    #[default]
    Silent,
    /// That it does by its own decision.
    Leaves,
    /// That it does as it was told.
    Heard,
}

/// How far a process has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Starting,
    Ready,
    /// Told to finish.
    Draining,
    /// Told to end now.
    Stopping,
    /// Sent SIGKILL.
    Killed,
    /// Gone. What it said before is heard, but it cannot become anything any more.
    Ended,
}

impl Process {
    pub(crate) fn set_phase(&mut self, phase: Phase) {
        self.phase = phase;
        self.row.set_state(match phase {
            Phase::Starting => SlotState::Starting,
            Phase::Ready => SlotState::Ready,
            Phase::Draining => SlotState::Draining,
            Phase::Stopping | Phase::Killed | Phase::Ended => SlotState::Stopping,
        });
    }

    /// True for a program that knows nothing of workhive.
    pub(crate) fn is_foreign(&self) -> bool {
        self.foreign
    }

    /// True for the program of somebody else, whether or not it knows of workhive: it has a process group of its own, and
    /// what it prints is read.
    pub(crate) fn is_command(&self) -> bool {
        self.output.is_some()
    }

    /// True if it has proved that it works.
    pub(crate) fn was_stable(&self, now: Instant) -> bool {
        self.ready
            .is_some_and(|ready| now.saturating_duration_since(ready) >= STABLE)
    }

    /// True if it has ended, whether or not it has been reaped.
    pub(crate) fn has_ended(&self) -> bool {
        // A process descriptor is readable once its process has ended (pidfd_open(2)).
        let mut fds = [PollFd::new(self.pidfd.as_fd(), PollFlags::POLLIN)];
        matches!(poll(&mut fds, PollTimeout::ZERO), Ok(1))
    }

    pub(crate) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.started)
    }
}

/// One of a group's `count` places.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    /// The process that serves, or is to serve.
    pub(crate) current: Option<ProcessId>,
    /// During a reload: the one that will take over once it is ready.
    pub(crate) next: Option<ProcessId>,
    /// Those that have been replaced and finish what they have in hand, the oldest first.
    pub(crate) old: Vec<ProcessId>,
    /// The generation of the next process.
    pub(crate) generation: u32,
    pub(crate) backoff: Backoff,
    /// True while a timer or an order for the next process is under way.
    pub(crate) awaited: bool,
    /// True from the moment that its process accepts no more until the next one does.
    pub(crate) down: bool,
    /// How often a process of this slot ended unasked.
    pub(crate) restarts: u64,
    pub(crate) last_exit: Option<String>,
    pub(crate) kept: Kept,
    /// Why the current process is being replaced outside of a reload, if it is.
    pub(crate) replacing: Option<String>,
    /// How often that has been done, and why the last time.
    pub(crate) recycled: u64,
    pub(crate) last_recycle: Option<String>,
    /// Since it could not be done.
    pub(crate) recycle_not_before: Option<Instant>,
}

impl Slot {
    /// What keeps the slot from being filled, if its last attempt has failed.
    pub(crate) fn trouble(&self) -> Option<&str> {
        let failed = self.backoff.failures() > 0;
        failed.then(|| self.last_exit.as_deref().unwrap_or("its process has ended"))
    }
}

/// One group, running.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) definition: Group,
    pub(crate) credentials: Credentials,
    pub(crate) listeners: GroupListeners,
    pub(crate) slots: Vec<Slot>,
    pub(crate) steering: Steering,
    /// True once any of its processes has been ready.
    pub(crate) proven: bool,
    /// How many processes it was started with.
    pub(crate) configured: u16,
    /// Failed attempts before that.
    pub(crate) failures: u32,
    /// Its program has said that it is ready: from then on it is waited for.
    pub(crate) notifies: bool,
}

impl Running {
    pub(crate) fn new(
        definition: Group,
        credentials: Credentials,
        listeners: GroupListeners,
    ) -> Self {
        let command = definition.command.as_ref();
        let notifies = command.is_some_and(|command| command.notifies);
        // Sockets of slots that the group has no more are served by the others.
        let sockets = listeners.sockets().0;
        let slots = (0..sockets.max(usize::from(definition.count)))
            .map(|slot| Slot {
                down: slot >= usize::from(definition.count),
                ..Slot::default()
            })
            .collect();
        Self {
            configured: definition.count,
            definition,
            credentials,
            listeners,
            slots,
            steering: Steering::default(),
            proven: false,
            failures: 0,
            notifies,
        }
    }

    /// Makes the sockets that this many processes need.
    pub(crate) fn grow_listeners(&mut self, count: u16) -> io::Result<()> {
        self.listeners.grow(count, self.definition.backlog)
    }

    /// The slots that are to be filled: there may be more, whose sockets the others serve.
    pub(crate) fn wanted_slots(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter().take(usize::from(self.definition.count))
    }

    /// `push[2]`.
    pub(crate) fn place(&self, slot: u16) -> String {
        format!("{}[{slot}]", self.definition.name)
    }
}

/// How a process ended, or why there is none, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ending {
    how: String,
    /// In the words of the process, or in ours.
    reason: Option<String>,
}

impl Ending {
    pub(crate) fn new(how: impl Into<String>, reason: Option<String>) -> Self {
        Self {
            how: how.into(),
            reason,
        }
    }

    /// What is worth knowing about it.
    pub(crate) fn why(&self) -> &str {
        self.reason.as_deref().unwrap_or(&self.how)
    }

    /// The end of a process that had this age. The reason is not said again if the slot's `last` process had the same.
    pub(crate) fn told(&self, age: Duration, last: Option<&str>) -> String {
        let age = Span(age);
        match &self.reason {
            None => format!("{} after {age}", self.how),
            Some(_) if last == Some(&*self.to_string()) => {
                format!("{} after {age}, for the same reason", self.how)
            }
            Some(reason) => format!("{} after {age}: {reason}", self.how),
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            None => f.write_str(&self.how),
            Some(reason) => write!(f, "{}: {reason}", self.how),
        }
    }
}

/// `1 process`, `2 processes`.
pub(crate) fn processes(count: usize) -> String {
    format!(
        "{count} {}",
        if count == 1 { "process" } else { "processes" }
    )
}

/// How a process ended, in a few words.
pub(crate) fn describe(status: WaitStatus) -> String {
    match status {
        WaitStatus::Exited(_, code) => format!("exited with code {code}"),
        WaitStatus::Signaled(_, signal, core) => {
            format!(
                "was killed by {signal}{}",
                if core { " (core dumped)" } else { "" }
            )
        }
        other => format!("ended ({other:?})"),
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::signal::Signal;

    use super::*;

    #[test]
    fn a_reason_is_said_once() {
        let age = Duration::from_millis(54);
        let ending = Ending::new("exited with code 1", Some("no database".to_owned()));
        assert_eq!(ending.why(), "no database");
        assert_eq!(
            ending.told(age, Some("was killed by SIGKILL")),
            "exited with code 1 after 54.0 ms: no database"
        );
        assert_eq!(
            ending.told(age, Some("exited with code 1: no database")),
            "exited with code 1 after 54.0 ms, for the same reason"
        );
        let ending = Ending::new("exited with code 7", None);
        assert_eq!(ending.why(), "exited with code 7");
        assert_eq!(
            ending.told(age, Some("exited with code 7")),
            "exited with code 7 after 54.0 ms"
        );
    }

    #[test]
    fn one_process_is_no_processes() {
        assert_eq!(processes(1), "1 process");
        assert_eq!(processes(0), "0 processes");
        assert_eq!(processes(2), "2 processes");
    }

    #[test]
    fn ends_are_told_in_words() {
        let pid = Pid::from_raw(7);
        assert_eq!(describe(WaitStatus::Exited(pid, 3)), "exited with code 3");
        assert_eq!(
            describe(WaitStatus::Signaled(pid, Signal::SIGKILL, false)),
            "was killed by SIGKILL"
        );
        assert_eq!(
            describe(WaitStatus::Signaled(pid, Signal::SIGSEGV, true)),
            "was killed by SIGSEGV (core dumped)"
        );
    }
}
