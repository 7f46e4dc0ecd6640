//! Processes that have done enough: so many messages, so long a life, so much memory. They are replaced as by a reload,
//! one at a time in each group.

use std::fs;
use std::time::{Duration, Instant};

use nix::unistd::Pid;

use crate::Group;
use crate::backoff::random;
use crate::clock::Span;
use crate::master::{Master, Mood};
use crate::reload::OLD;
use crate::slot::{Phase, ProcessId, SlotId};

/// After which time a slot is tried again whose process could not be replaced.
pub(crate) const AGAIN: Duration = Duration::from_secs(30);

/// What one process may do before it is replaced: its group's limits, and up to a tenth more, so that processes which
/// started together are not all replaced together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    messages: Option<u64>,
    lifetime: Option<Duration>,
    /// In bytes.
    memory: Option<u64>,
    /// It had more than that at the last look. Once can be a peak.
    fat: bool,
}

impl Limits {
    pub(crate) fn of(group: &Group) -> Self {
        let more = |limit: u64| limit.saturating_add(limit.saturating_mul(part()) / 1000);
        let longer = |limit: Duration| limit + limit / 1000 * u32::try_from(part()).unwrap_or(0);
        Self {
            messages: group.max_requests.map(more),
            lifetime: group.max_lifetime.map(longer),
            memory: group.max_memory.map(more),
            fat: false,
        }
    }

    fn is_none(&self) -> bool {
        self.messages.is_none() && self.lifetime.is_none() && self.memory.is_none()
    }

    /// Which limit is reached, in words.
    fn look(
        &mut self,
        messages: u64,
        age: Duration,
        memory: impl FnOnce() -> Option<u64>,
    ) -> Option<String> {
        if self.messages.is_some_and(|limit| messages >= limit) {
            return Some(format!("it has served {messages} messages"));
        }
        if self.lifetime.is_some_and(|limit| age >= limit) {
            return Some(format!("it is {} old", Span(age)));
        }
        let limit = self.memory?;
        let bytes = memory().filter(|bytes| *bytes >= limit);
        let before = std::mem::replace(&mut self.fat, bytes.is_some());
        let bytes = bytes.filter(|_| before)?;
        Some(format!("it uses {} MiB of memory", bytes >> 20))
    }
}

/// 0 to 100 thousandths.
fn part() -> u64 {
    random() % 101
}

/// What a process has in memory, in bytes. Never waits for the process, whatever that is at.
pub(crate) fn memory(pid: Pid) -> Option<u64> {
    // proc(5): statm is in pages; the second number is what is resident.
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(pages * page_size())
}

fn page_size() -> u64 {
    let size = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE);
    size.ok()
        .flatten()
        .and_then(|bytes| u64::try_from(bytes).ok())
        .unwrap_or(4096)
}

impl Master {
    /// Replaces, in each group, one process that has done enough.
    pub(crate) fn recycle(&mut self) {
        let busy = self.reload.is_under_way() || self.scaling.is_under_way();
        if busy || !matches!(self.mood, Mood::Running) {
            return;
        }
        for group in 0..self.groups.len() {
            let slots = &self.groups[group].slots;
            if slots
                .iter()
                .any(|slot| slot.next.is_some() || slot.replacing.is_some())
            {
                continue;
            }
            let now = Instant::now();
            let free = slots.iter().filter(|slot| {
                slot.old.len() < OLD && slot.recycle_not_before.is_none_or(|at| at <= now)
            });
            let mut ids: Vec<ProcessId> = free.filter_map(|slot| slot.current).collect();
            // The oldest first, or a slot that is always due would leave the others no turn.
            ids.sort_unstable();
            let done = ids.into_iter().find_map(|id| self.has_done_enough(id, now));
            if let Some((at, why)) = done {
                log::info!("{}: is replaced: {why}", self.place(at));
                self.replace(at, why);
            }
        }
    }

    fn has_done_enough(&mut self, id: ProcessId, now: Instant) -> Option<(SlotId, String)> {
        let process = self.processes.get_mut(&id)?;
        if process.phase != Phase::Ready || process.limits.is_none() {
            return None;
        }
        let (messages, age, pid) = (
            process.row.counters().messages,
            process.age(now),
            process.pid,
        );
        let why = process.limits.look(messages, age, || memory(pid))?;
        Some((process.slot, why))
    }
}

#[cfg(test)]
mod tests {
    use workhive_worker::Program;

    use super::*;

    fn limits(messages: u64, seconds: u64, memory: u64) -> Limits {
        let group = Group::new("a", Program::new("none", |_| 0))
            .max_requests(messages)
            .max_lifetime(Duration::from_secs(seconds))
            .max_memory(memory);
        Limits::of(&group)
    }

    #[test]
    fn limits_are_spread_by_a_tenth_upwards() {
        for _ in 0..100 {
            let limits = limits(1000, 60, 1 << 30);
            assert!((1000..=1100).contains(&limits.messages.unwrap()));
            let lifetime = limits.lifetime.unwrap();
            assert!(lifetime >= Duration::from_mins(1) && lifetime <= Duration::from_secs(66));
            assert!((1 << 30..=(1 << 30) / 10 * 11 + 10).contains(&limits.memory.unwrap()));
        }
        let one = Limits::of(&Group::new("a", Program::new("none", |_| 0)).max_requests(1));
        assert_eq!(one.messages, Some(1));
        assert!(Limits::of(&Group::new("a", Program::new("none", |_| 0))).is_none());
    }

    #[test]
    fn each_limit_is_told_in_words() {
        let mut limits = limits(1000, 60, 1 << 30);
        assert_eq!(limits.look(999, Duration::from_secs(59), || Some(1)), None);
        let why = limits.look(1101, Duration::ZERO, || None).unwrap();
        assert_eq!(why, "it has served 1101 messages");
        let why = limits.look(0, Duration::from_secs(67), || None).unwrap();
        assert_eq!(why, "it is 1m 7s old");
    }

    #[test]
    fn memory_must_be_too_much_at_two_looks_in_a_row() {
        let mut limits = limits(1000, 60, 1 << 20);
        for bytes in [2 << 20, 1, 2 << 20] {
            assert_eq!(limits.look(0, Duration::ZERO, || Some(bytes)), None);
        }
        let why = limits.look(0, Duration::ZERO, || Some(3 << 20)).unwrap();
        assert_eq!(why, "it uses 3 MiB of memory");
    }

    #[test]
    fn this_process_has_some_memory() {
        assert!(memory(Pid::this()).unwrap() > 100_000);
    }
}
