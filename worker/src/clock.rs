//! The time of a turn.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use workhive_protocols::HttpDate;

/// The clock of a loop: read once a turn, so that a turn has one time and asking costs nothing.
#[derive(Debug)]
pub(crate) struct Clock {
    start: Instant,
    now: Instant,
    /// The second that `date` shows.
    date_second: u64,
    date: HttpDate,
    /// `now` up to which the date is right.
    date_until: Instant,
}

impl Clock {
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        let mut clock = Self {
            start: now,
            now,
            date_second: u64::MAX,
            date: *b"Thu, 01 Jan 1970 00:00:00 GMT",
            date_until: now,
        };
        clock.update();
        clock
    }

    /// Reads the time. The date is made anew only when its second is over.
    pub(crate) fn update(&mut self) {
        self.now = Instant::now();
        if self.now >= self.date_until {
            self.update_date();
        }
    }

    fn update_date(&mut self) {
        let wall = SystemTime::now();
        let since = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
        // The date stands until the next full second of the wall clock.
        self.date_until =
            self.now + Duration::from_nanos(1_000_000_000 - u64::from(since.subsec_nanos()));
        if since.as_secs() != self.date_second {
            self.date_second = since.as_secs();
            let text = httpdate::fmt_http_date(wall);
            // An IMF-fixdate always has 29 bytes; should it not, the old date is better than a panic.
            if let Ok(date) = text.as_bytes().try_into() {
                self.date = date;
            }
        }
    }

    pub(crate) fn now(&self) -> Instant {
        self.now
    }

    pub(crate) fn date(&self) -> &HttpDate {
        &self.date
    }

    /// Milliseconds from the start of the loop to `at`; 0 for what was before.
    pub(crate) fn millis(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.start).as_millis()).unwrap_or(u64::MAX)
    }

    /// The moment `millis` after the start of the loop.
    pub(crate) fn at(&self, millis: u64) -> Instant {
        self.start + Duration::from_millis(millis)
    }

    pub(crate) fn now_millis(&self) -> u64 {
        self.millis(self.now)
    }
}

/// How long turns take: the longest of them in this stretch of time and in the one before.
#[derive(Debug, Default)]
pub(crate) struct Lag {
    /// When this stretch began, in milliseconds of the loop's clock.
    began: u64,
    longest: Duration,
    before: Duration,
}

/// Length of a stretch, in milliseconds.
const STRETCH: u64 = 5000;

impl Lag {
    /// A turn has taken so long, and has ended in this millisecond. Returns the longest of late, if there is a new one.
    pub(crate) fn note(&mut self, now: u64, turn: Duration) -> Option<Duration> {
        let past = now.saturating_sub(self.began);
        if past >= STRETCH {
            let recent = past < 2 * STRETCH;
            self.before = if recent { self.longest } else { Duration::ZERO };
            self.longest = Duration::ZERO;
            self.began = now;
        }
        let grows = turn > self.longest;
        self.longest = self.longest.max(turn);
        (past >= STRETCH || grows).then(|| self.longest.max(self.before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_turn_is_remembered_for_two_stretches_at_most() {
        let [short, long] = [1, 30].map(Duration::from_millis);
        let mut lag = Lag::default();
        assert_eq!(lag.note(1, short), Some(short));
        assert_eq!(lag.note(2, long), Some(long));
        assert_eq!(lag.note(3, short), None);
        assert_eq!(lag.note(STRETCH, short), Some(long));
        assert_eq!(lag.note(STRETCH + 1, short), None);
        assert_eq!(lag.note(2 * STRETCH, short), Some(short));
        assert_eq!(lag.note(2 * STRETCH + 1, long), Some(long));
        // Nothing happened for a while.
        assert_eq!(lag.note(9 * STRETCH, short), Some(short));
    }
}
