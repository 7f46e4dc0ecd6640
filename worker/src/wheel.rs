//! Deadlines of connections: coarse, cheap to move, one per connection.

use std::collections::BTreeMap;

/// Milliseconds of one tick. A deadline fires at the end of its tick: at most this much late, never early.
const TICK_MS: u64 = 64;

/// A key is entered at most this many ticks ahead, about a minute, and again when it comes up. So the entries of
/// connections that have ended are gone after a minute, however long their timeouts were.
const FAR: u64 = 1000;

/// "No deadline", for [`Armed`] and for milliseconds.
pub(crate) const NEVER: u64 = u64::MAX;

/// Which tick a connection is entered for; [`NEVER`] if it is in no bucket.
pub(crate) type Armed = u64;

/// Buckets of keys, one per tick that has any.
///
/// Most deadlines are pushed back long before they fire (every message renews the idle timeout). So a connection
/// stays in the bucket where it is when its deadline moves to a later time, and is moved only when that bucket comes
/// up. It is entered a second time only if its deadline becomes earlier; the old entry is then stale, which
/// [`Wheel::pop`]'s caller sees by comparing the tick with the connection's own [`Armed`].
#[derive(Debug)]
pub(crate) struct Wheel<K> {
    buckets: BTreeMap<u64, Vec<K>>,
}

impl<K> Wheel<K> {
    pub(crate) fn new() -> Self {
        Self {
            buckets: BTreeMap::new(),
        }
    }

    /// Sees to it that `key` comes up at `deadline` (milliseconds) or before, and returns its new tick.
    pub(crate) fn arm(&mut self, key: K, deadline: u64, now: u64, armed: Armed) -> Armed {
        if deadline == NEVER {
            return armed;
        }
        let tick = (deadline / TICK_MS).min(now / TICK_MS + FAR);
        if armed <= tick {
            return armed;
        }
        self.buckets.entry(tick).or_default().push(key);
        tick
    }

    /// The keys of the oldest bucket that is over at `now` (milliseconds), with its tick.
    pub(crate) fn pop(&mut self, now: u64) -> Option<(Armed, Vec<K>)> {
        let entry = self.buckets.first_entry()?;
        if (*entry.key() + 1) * TICK_MS > now {
            return None;
        }
        Some(entry.remove_entry())
    }

    /// When the next bucket is over, in milliseconds.
    pub(crate) fn next(&self) -> Option<u64> {
        self.buckets
            .first_key_value()
            .map(|(tick, _)| (tick + 1) * TICK_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_comes_up_after_its_deadline_and_never_before() {
        let mut wheel = Wheel::new();
        let armed = wheel.arm("a", 1000, 0, NEVER);
        assert!(wheel.pop(1000).is_none());
        let due = wheel.next().expect("one bucket");
        assert!((1000..1000 + TICK_MS).contains(&(due - 1)));
        assert_eq!(wheel.pop(due), Some((armed, vec!["a"])));
        assert!(wheel.next().is_none());
    }

    #[test]
    fn a_later_deadline_leaves_the_entry_where_it_is() {
        let mut wheel = Wheel::new();
        let armed = wheel.arm(7, 1000, 0, NEVER);
        assert_eq!(wheel.arm(7, 60_000, 0, armed), armed);
        assert_eq!(wheel.pop(2000), Some((armed, vec![7])));
    }

    #[test]
    fn an_earlier_deadline_enters_the_key_again() {
        let mut wheel = Wheel::new();
        let late = wheel.arm(7, 60_000, 0, NEVER);
        let early = wheel.arm(7, 1000, 0, late);
        assert!(early < late);
        assert_eq!(wheel.pop(2000), Some((early, vec![7])));
        assert_eq!(
            wheel.pop(100_000),
            Some((late, vec![7])),
            "stale, told by its tick"
        );
    }

    #[test]
    fn a_far_deadline_is_entered_a_minute_ahead_only() {
        let mut wheel = Wheel::new();
        let day = 24 * 3600 * 1000;
        let armed = wheel.arm(7, day, 5000, NEVER);
        assert_eq!(armed, 5000 / TICK_MS + FAR);
        assert_eq!(wheel.pop(5000 + 70_000), Some((armed, vec![7])));
    }

    #[test]
    fn no_deadline_is_no_entry() {
        let mut wheel = Wheel::new();
        assert_eq!(wheel.arm(1, NEVER, 0, NEVER), NEVER);
        assert!(wheel.next().is_none());
    }
}
