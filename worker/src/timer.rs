//! Timers of the application: exact to the millisecond, cheap by the million.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use slab::Slab;

/// A timer that was started with [`Process::after`](crate::Process::after) or
/// [`Process::every`](crate::Process::every).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TimerId {
    index: u32,
    serial: u32,
}

/// What a timer does. The loop takes it out of the table while it runs, so that it may start and cancel timers.
pub(crate) enum Task<T> {
    Once(T),
    Every(Duration, T),
}

/// What became of a cancellation.
pub(crate) enum Cancelled<T> {
    /// The timer was over already.
    Over,
    /// It is stopped. Its task is handed back, unless it is running just now, so that what it captured is dropped by
    /// the caller, outside of the loop's borrow.
    Stopped(Option<Task<T>>),
}

impl<T> Cancelled<T> {
    pub(crate) fn found(&self) -> bool {
        matches!(self, Self::Stopped(_))
    }
}

struct Timer<T> {
    serial: u32,
    /// None while it runs.
    task: Option<Task<T>>,
}

/// All timers of a loop. A heap gives the next one; a cancelled timer's entry stays in the heap until it comes up, or
/// until such entries are the majority.
pub(crate) struct Timers<T> {
    heap: BinaryHeap<Reverse<(Instant, u32, u32)>>,
    table: Slab<Timer<T>>,
    serial: u32,
    stale: usize,
}

impl<T> Timers<T> {
    pub(crate) fn new() -> Self {
        Self {
            heap: BinaryHeap::new(),
            table: Slab::new(),
            serial: 0,
            stale: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// Starts a timer. None if there are 2^32 of them.
    pub(crate) fn add(&mut self, at: Instant, task: Task<T>) -> Option<TimerId> {
        let index = u32::try_from(self.table.vacant_key()).ok()?;
        self.serial = self.serial.wrapping_add(1);
        let serial = self.serial;
        self.table.insert(Timer {
            serial,
            task: Some(task),
        });
        self.heap.push(Reverse((at, index, serial)));
        Some(TimerId { index, serial })
    }

    /// Stops a timer, also from inside its own callback.
    pub(crate) fn cancel(&mut self, id: TimerId) -> Cancelled<T> {
        if !self.is_live(id.index, id.serial) {
            return Cancelled::Over;
        }
        let timer = self.table.remove(id.index as usize);
        self.stale += 1;
        if self.stale > 64 && self.stale > self.heap.len() / 2 {
            self.sweep();
        }
        Cancelled::Stopped(timer.task)
    }

    fn is_live(&self, index: u32, serial: u32) -> bool {
        self.table
            .get(index as usize)
            .is_some_and(|timer| timer.serial == serial)
    }

    fn sweep(&mut self) {
        let table = &self.table;
        self.heap.retain(|Reverse((_, index, serial))| {
            table
                .get(*index as usize)
                .is_some_and(|timer| timer.serial == *serial)
        });
        self.stale = 0;
    }

    /// When the next timer is due.
    pub(crate) fn next(&mut self) -> Option<Instant> {
        loop {
            let Reverse((at, index, serial)) = *self.heap.peek()?;
            if self.is_live(index, serial) {
                return Some(at);
            }
            // A cancelled one, which nobody would ever take out if it were the last.
            self.heap.pop();
            self.stale = self.stale.saturating_sub(1);
        }
    }

    /// Takes the next timer that is due. The caller runs it and then calls [`Timers::done`].
    pub(crate) fn pop(&mut self, now: Instant) -> Option<(TimerId, Instant, Task<T>)> {
        loop {
            let Reverse((at, index, serial)) = *self.heap.peek()?;
            if at > now {
                return None;
            }
            self.heap.pop();
            match self.table.get_mut(index as usize) {
                Some(timer) if timer.serial == serial => {
                    if let Some(task) = timer.task.take() {
                        return Some((TimerId { index, serial }, at, task));
                    }
                }
                _ => self.stale = self.stale.saturating_sub(1),
            }
        }
    }

    /// After a timer has run: a repeating one is entered again, unless it was cancelled meanwhile.
    ///
    /// The next time is counted from when it was due, not from when it ran, so that `every` does not drift; times
    /// that have passed meanwhile are skipped, not made up for.
    pub(crate) fn done(
        &mut self,
        id: TimerId,
        due: Instant,
        now: Instant,
        task: Task<T>,
    ) -> Option<Task<T>> {
        if !self.is_live(id.index, id.serial) {
            return Some(task);
        }
        let Task::Every(period, _) = task else {
            self.table.remove(id.index as usize);
            return Some(task);
        };
        let mut next = due + period;
        if next <= now {
            let behind = now.duration_since(due).as_nanos() / period.as_nanos().max(1);
            next = due + period.saturating_mul(u32::try_from(behind + 1).unwrap_or(u32::MAX));
        }
        self.heap.push(Reverse((next, id.index, id.serial)));
        if let Some(timer) = self.table.get_mut(id.index as usize) {
            timer.task = Some(task);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_due(timers: &mut Timers<u32>, now: Instant) -> Vec<u32> {
        let mut seen = Vec::new();
        while let Some((id, due, task)) = timers.pop(now) {
            let (Task::Once(name) | Task::Every(_, name)) = &task;
            seen.push(*name);
            timers.done(id, due, now, task);
        }
        seen
    }

    #[test]
    fn timers_run_in_the_order_of_their_times() {
        let start = Instant::now();
        let mut timers = Timers::new();
        for (name, after) in [(3, 30), (1, 10), (2, 20)] {
            timers.add(start + Duration::from_millis(after), Task::Once(name));
        }
        assert_eq!(
            run_due(&mut timers, start + Duration::from_millis(20)),
            [1, 2]
        );
        assert_eq!(run_due(&mut timers, start + Duration::from_millis(30)), [3]);
        assert_eq!(timers.len(), 0);
    }

    #[test]
    fn a_repeating_timer_does_not_drift_and_skips_what_it_missed() {
        let start = Instant::now();
        let mut timers = Timers::new();
        let period = Duration::from_millis(10);
        timers.add(start + period, Task::Every(period, 1));
        assert_eq!(run_due(&mut timers, start + Duration::from_millis(14)), [1]);
        assert_eq!(timers.next(), Some(start + Duration::from_millis(20)));
        assert_eq!(run_due(&mut timers, start + Duration::from_millis(57)), [1]);
        assert_eq!(timers.next(), Some(start + Duration::from_millis(60)));
    }

    #[test]
    fn a_cancelled_timer_does_not_run_and_its_id_is_never_another_timer() {
        let start = Instant::now();
        let mut timers = Timers::new();
        let first = timers.add(start, Task::Once(1)).expect("room");
        assert!(timers.cancel(first).found());
        assert!(!timers.cancel(first).found());
        let second = timers.add(start, Task::Once(2)).expect("room");
        assert!(!timers.cancel(first).found());
        assert_eq!(run_due(&mut timers, start), [2]);
        assert!(!timers.cancel(second).found());
    }

    #[test]
    fn cancelled_timers_are_nothing_to_wait_for() {
        let start = Instant::now();
        let mut timers = Timers::new();
        let at = |millis| start + Duration::from_millis(millis);
        let first = timers.add(at(1), Task::Once(1)).expect("room");
        let second = timers.add(at(2), Task::Once(2)).expect("room");
        timers.add(at(3), Task::Once(3));
        assert!(timers.cancel(second).found());
        assert!(timers.cancel(first).found());
        assert_eq!(timers.next(), Some(at(3)));
        assert_eq!(run_due(&mut timers, at(3)), [3]);
        let last = timers.add(at(4), Task::Once(4)).expect("room");
        assert!(timers.cancel(last).found());
        assert_eq!(timers.next(), None);
        assert!(timers.heap.is_empty());
    }

    #[test]
    fn a_million_timers_started_and_cancelled_leave_nothing_behind() {
        let start = Instant::now();
        let mut timers = Timers::new();
        for n in 0..1_000_000u32 {
            let at = start + Duration::from_millis(u64::from(n % 1000) + 1);
            let id = timers.add(at, Task::Once(n)).expect("room");
            if n % 10 != 0 {
                assert!(timers.cancel(id).found());
            }
        }
        assert_eq!(timers.len(), 100_000);
        assert!(
            timers.heap.len() <= 300_000,
            "{} entries",
            timers.heap.len()
        );
        let ran = run_due(&mut timers, start + Duration::from_secs(2));
        assert_eq!(ran.len(), 100_000);
        assert!(timers.heap.is_empty());
    }
}
