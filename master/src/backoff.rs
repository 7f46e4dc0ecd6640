//! How long a slot waits before the next attempt.

use std::time::Duration;

use crate::sys;

/// The first wait.
const FIRST: Duration = Duration::from_millis(100);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(30);

/// A process that has lived this long since it was ready has proved that it works.
pub(crate) const STABLE: Duration = Duration::from_secs(1);

/// Failed attempts of one slot after which a group that was never ready is given up.
pub(crate) const ATTEMPTS: u32 = 5;

/// Counts the failures of one slot in a row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Backoff {
    failures: u32,
    lenient: bool,
}

impl Backoff {
    /// Whose first failure costs no wait: for a process without which the others do less than they should.
    pub(crate) fn lenient() -> Self {
        Self {
            failures: 0,
            lenient: true,
        }
    }

    /// One more failure: how long to wait now. `random` spreads slots that failed together: equal waits would make
    /// them fail together for ever, all hitting at once whatever they fail at.
    pub(crate) fn fail(&mut self, random: u64) -> Duration {
        let doublings = if self.lenient {
            self.failures.checked_sub(1)
        } else {
            Some(self.failures)
        };
        self.failures = self.failures.saturating_add(1);
        let Some(doublings) = doublings else {
            return Duration::ZERO;
        };
        let doubled = FIRST.saturating_mul(1_u32.checked_shl(doublings).unwrap_or(u32::MAX));
        // 0 to 255 thousandths more; at the cap, as much less.
        let part = u32::try_from(random % 256).unwrap_or(0);
        if doubled >= LONGEST {
            LONGEST.saturating_sub(LONGEST / 1000 * part)
        } else {
            (doubled + doubled / 1000 * part).min(LONGEST)
        }
    }

    /// The slot works again.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// Failures in a row.
    pub(crate) fn failures(self) -> u32 {
        self.failures
    }
}

/// A number that differs between processes and between calls; for spreading and for telling runs apart, not for secrets.
///
/// It comes straight from the system: the standard library's hash keys, once drawn here, would be those of all processes
/// that are forked later. For the same reason the master has no hash tables.
pub(crate) fn random() -> u64 {
    sys::random()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_from_a_tenth_of_a_second_to_half_a_minute() {
        let mut backoff = Backoff::default();
        let waits: Vec<u128> = (0..12).map(|_| backoff.fail(0).as_millis()).collect();
        assert_eq!(
            waits,
            [
                100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000, 30_000
            ]
        );
    }

    #[test]
    fn jitter_stays_within_a_quarter_and_within_the_bounds() {
        for random in 0..256 {
            let mut backoff = Backoff::default();
            for _ in 0..70 {
                let wait = backoff.fail(random);
                assert!((FIRST..=LONGEST).contains(&wait), "{wait:?}");
            }
            assert_eq!(backoff.failures(), 70);
        }
    }

    #[test]
    fn success_starts_over() {
        let mut backoff = Backoff::default();
        backoff.fail(0);
        backoff.fail(0);
        backoff.reset();
        assert_eq!(backoff.fail(0), FIRST);
    }

    #[test]
    fn the_first_failure_of_a_lenient_one_costs_nothing() {
        let mut backoff = Backoff::lenient();
        for _ in 0..2 {
            let waits: Vec<u128> = (0..4).map(|_| backoff.fail(0).as_millis()).collect();
            assert_eq!(waits, [0, 100, 200, 400]);
            assert_eq!(backoff.failures(), 4);
            backoff.reset();
        }
    }

    #[test]
    fn random_numbers_differ() {
        assert_ne!(random(), random());
    }
}
