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
