//! Uids that went offline a moment ago, and may be back in the next.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::route::names::Name;

/// Turns appearances and disappearances of uids into news. A uid that comes back within the linger time, as one does
/// when its user reloads a page, has never been away.
#[derive(Debug)]
pub(crate) struct Presence {
    linger: Duration,
    /// Uids that have disappeared, each with the stamp of its entry in `queue`.
    away: HashMap<Name, u64>,
    /// In the order of their deadlines; one whose stamp is not that in `away` has come back.
    queue: VecDeque<(Instant, u64, Name)>,
    stamp: u64,
}

/// Disappearances that may linger at a time; beyond that they are news at once.
const MOST: usize = 1 << 20;

impl Presence {
    pub(crate) fn new(linger: Duration) -> Self {
        Self {
            linger,
            away: HashMap::new(),
            queue: VecDeque::new(),
            stamp: 0,
        }
    }

    /// A uid has its first connection. True if that is news.
    pub(crate) fn appeared(&mut self, uid: &[u8]) -> bool {
        self.away.remove(uid).is_none()
    }

    /// A uid has lost its last connection. True if that is news already.
    pub(crate) fn vanished(&mut self, uid: Name, now: Instant) -> bool {
        if self.linger.is_zero() || self.queue.len() >= MOST {
            return true;
        }
        self.stamp += 1;
        self.away.insert(uid.clone(), self.stamp);
        self.queue.push_back((now + self.linger, self.stamp, uid));
        false
    }

    /// The next uid that has now been away for long enough.
    pub(crate) fn due(&mut self, now: Instant) -> Option<Name> {
        while self.queue.front().is_some_and(|(at, _, _)| *at <= now) {
            let (_, stamp, uid) = self.queue.pop_front()?;
            if self.away.get(&uid) == Some(&stamp) {
                self.away.remove(&uid);
                return Some(uid);
            }
        }
        None
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.queue.front().map(|(at, _, _)| *at)
    }

    /// Nobody wants to know.
    pub(crate) fn clear(&mut self) {
        self.away.clear();
        self.queue.clear();
    }
}
