//! What is to be done later.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

/// A heap of things due. There is no cancelling: who acts on a timer looks whether it still means anything.
#[derive(Debug)]
pub(crate) struct Timers<T> {
    heap: BinaryHeap<Reverse<(Instant, u64, Order<T>)>>,
    sequence: u64,
}

/// Rides along in the heap without taking part in its order.
#[derive(Debug)]
struct Order<T>(T);

impl<T> PartialEq for Order<T> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
impl<T> Eq for Order<T> {}
impl<T> PartialOrd for Order<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<T> Ord for Order<T> {
    fn cmp(&self, _: &Self) -> std::cmp::Ordering {
        std::cmp::Ordering::Equal
    }
}

impl<T> Timers<T> {
    pub(crate) fn new() -> Self {
        Self {
            heap: BinaryHeap::new(),
            sequence: 0,
        }
    }

    /// `what` is due at `at`.
    pub(crate) fn at(&mut self, at: Instant, what: T) {
        self.sequence += 1;
        self.heap.push(Reverse((at, self.sequence, Order(what))));
    }

    /// The next thing due by `now`, in order of time, then in the order in which they were set.
    pub(crate) fn due(&mut self, now: Instant) -> Option<T> {
        match self.heap.peek() {
            Some(Reverse((at, ..))) if *at <= now => {
                self.heap.pop().map(|Reverse((_, _, Order(what)))| what)
            }
            _ => None,
        }
    }

    /// How long until something is due; `None` if nothing is.
    pub(crate) fn wait(&self, now: Instant) -> Option<Duration> {
        self.heap
            .peek()
            .map(|Reverse((at, ..))| at.saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_come_due_in_order() {
        let start = Instant::now();
        let mut timers = Timers::new();
        timers.at(start + Duration::from_secs(2), "second");
        timers.at(start + Duration::from_secs(1), "first");
        timers.at(start + Duration::from_secs(2), "third");
        assert_eq!(timers.wait(start), Some(Duration::from_secs(1)));
        assert_eq!(timers.due(start), None);
        let later = start + Duration::from_secs(2);
        assert_eq!(timers.due(later), Some("first"));
        assert_eq!(timers.due(later), Some("second"));
        assert_eq!(timers.due(later), Some("third"));
        assert_eq!(timers.due(later), None);
        assert_eq!(timers.wait(later), None);
    }
}
