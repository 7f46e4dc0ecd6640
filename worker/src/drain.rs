//! Finish what is in hand, take nothing new.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use workhive_ipc::SlotState;
use workhive_protocols::Goodbye;

use crate::core::{Core, find, with};
use crate::entry::{CloseReason, Key, Phase, flag};
use crate::listening;
use crate::route;
use crate::turn::contained;
use crate::wheel::NEVER;

/// How soon a connection that was busy when its time came is looked at again, in milliseconds.
const LOOK_AGAIN_MS: u64 = 50;

/// Over how long goodbyes are spread that should come at once.
const AT_ONCE: Duration = Duration::from_millis(100);

/// What wants to know when this process begins to drain.
static NOTICE: OnceLock<fn()> = OnceLock::new();

/// Calls `notice` in this process when it begins to drain; the first one that is given counts.
///
/// ```
/// workhive_worker::on_drain(|| eprintln!("nothing new from now on"));
/// ```
pub fn on_drain(notice: fn()) {
    NOTICE.get_or_init(|| notice);
}

/// A drain that has begun.
#[derive(Debug)]
pub(crate) struct Drain {
    end: Instant,
    /// From when on even connections in the middle of a message are told goodbye.
    last_call: Instant,
    window: Duration,
    random: Random,
}

impl Drain {
    fn new(now: Instant, window: Duration) -> Self {
        Self {
            end: now + window,
            last_call: now + window * 9 / 10,
            window,
            random: Random::new(),
        }
    }

    /// When the process ends, whoever is still connected.
    pub(crate) fn end(&self) -> Instant {
        self.end
    }

    /// When a connection is told goodbye if it is idle then, as a delay from now.
    ///
    /// Protocols whose clients live long are spread over the window, so that they do not all come back at once. For
    /// the others a moment is enough in which a request that is on its way is still served.
    fn delay(&mut self, spread: bool) -> Duration {
        if spread {
            self.random.up_to(self.window * 8 / 10)
        } else {
            let moment = Duration::from_secs(1).min(self.window / 4);
            moment + self.random.up_to(moment)
        }
    }
}

/// Begins to drain: listeners are closed (their queues first accepted), codecs announce the end, and every connection
/// gets its time. A second drain can only make the window shorter. `begin` starts the last accepted connections.
pub(crate) fn start(window: Duration, begin: &mut dyn FnMut(Key)) {
    let first = with(|core| {
        let drain = Drain::new(core.clock.now(), window);
        match &mut core.drain {
            Some(running) if running.end <= drain.end => None,
            Some(running) => {
                *running = drain;
                Some(false)
            }
            none => {
                *none = Some(drain);
                core.row.set_state(SlotState::Draining);
                if let Some(notice) = NOTICE.get() {
                    notice();
                }
                Some(true)
            }
        }
    })
    .flatten();
    match first {
        None => return,
        Some(true) => {
            route::drain();
            listening::close_all(begin);
        }
        Some(false) => {}
    }
    for key in with(|core| core.keys()).unwrap_or_default() {
        contained(key, || {
            with(|core| core.schedule_goodbye(key));
        });
    }
}

impl Core {
    fn schedule_goodbye(&mut self, key: Key) {
        let now = self.clock.now();
        // Alone in its hive, a process that is replaced no longer gets what is pushed to its uids: their clients should
        // come to the new one soon.
        let wanted_elsewhere = self.place.alone && self.has_uid(key);
        let Some(drain) = &mut self.drain else {
            return;
        };
        let Some(entry) = find(&mut self.entries, key) else {
            return;
        };
        entry.encoder.drain();
        entry.set(flag::DRAINING);
        let delay = if wanted_elsewhere {
            drain.random.up_to(AT_ONCE)
        } else {
            drain.delay(entry.limits.spread)
        };
        entry.drain_at = self.clock.millis(now + delay);
        self.mark_dirty(key);
    }

    /// A connection's time has come. True for an idle one, to be told [goodbye](Self::leave_to_others); a busy one gets
    /// a little more time.
    pub(crate) fn is_to_leave(&mut self, key: Key) -> bool {
        let now = self.clock.now();
        let Some(drain) = &self.drain else {
            return false;
        };
        let last_call = now >= drain.last_call;
        let Some(entry) = find(&mut self.entries, key).filter(|entry| entry.phase == Phase::Open)
        else {
            return false;
        };
        let busy = entry.queued() > 0
            || entry.work > 0
            || !entry.input.is_empty()
            || entry.has_unread()
            || entry.encoder.owes_answer()
            || !entry
                .driver
                .as_ref()
                .is_none_or(|driver| driver.is_idle(entry.encoder.as_mut()));
        if busy && !last_call {
            entry.drain_at = self.clock.now_millis() + LOOK_AGAIN_MS;
            self.mark_dirty(key);
            false
        } else {
            entry.drain_at = NEVER;
            true
        }
    }

    /// The protocol's goodbye: another process serves.
    pub(crate) fn leave_to_others(&mut self, key: Key) {
        self.goodbye(key, &Goodbye::Restart, CloseReason::Drained);
    }

    /// Says goodbye at once, with one write for it.
    pub(crate) fn drop_now(&mut self, key: Key) {
        self.leave_to_others(key);
        self.flush(key);
        self.destroy(key, CloseReason::Drained);
    }
}

/// Jitter. The standard library's hash keys are random once per process; a forked child inherits them, so its id is
/// mixed in.
#[derive(Debug)]
struct Random {
    keys: RandomState,
    count: u64,
}

impl Random {
    fn new() -> Self {
        Self {
            keys: RandomState::new(),
            count: 0,
        }
    }

    fn up_to(&mut self, limit: Duration) -> Duration {
        self.count += 1;
        let mut hasher = self.keys.build_hasher();
        hasher.write_u32(std::process::id());
        hasher.write_u64(self.count);
        let millis = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(hasher.finish() % (millis.saturating_add(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lived_clients_are_spread_over_the_window_and_others_get_a_moment() {
        let window = Duration::from_secs(10);
        let mut drain = Drain::new(Instant::now(), window);
        let spread: Vec<_> = (0..1000).map(|_| drain.delay(true)).collect();
        assert!(spread.iter().all(|delay| *delay <= window * 8 / 10));
        let early = spread
            .iter()
            .filter(|delay| **delay < window * 4 / 10)
            .count();
        assert!(
            (350..650).contains(&early),
            "{early} of 1000 in the first half"
        );
        for _ in 0..1000 {
            let delay = drain.delay(false);
            assert!(delay >= Duration::from_secs(1) && delay <= Duration::from_secs(2));
        }
    }

    #[test]
    fn a_short_window_leaves_room_for_everybody() {
        let window = Duration::from_millis(400);
        let mut drain = Drain::new(Instant::now(), window);
        for _ in 0..1000 {
            assert!(drain.delay(false) <= window / 2);
            assert!(drain.delay(true) < window);
        }
    }
}
