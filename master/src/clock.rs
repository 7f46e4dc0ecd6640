//! Wall-clock time in text, without a time zone: always UTC.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Milliseconds of Unix time now.
pub(crate) fn unix_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Unix time in milliseconds, shown as `2026-01-02T03:04:05.678Z`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timestamp(pub(crate) u64);

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, ms) = (self.0 / 1000, self.0 % 1000);
        let (days, second) = (seconds / 86_400, seconds % 86_400);
        let (year, month, day) = civil(days);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{ms:03}Z",
            second / 3600,
            second / 60 % 60,
            second % 60
        )
    }
}

/// Year, month and day of the `days`-th day since 1970-01-01, in the Gregorian calendar: Howard Hinnant,
/// "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

/// A duration as people say it: `1.8 ms`, `3.2 s`, `5m 12s`, `3h 2m`, `12d 4h`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span(pub(crate) Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        if seconds == 0 {
            write!(f, "{:.1} ms", self.0.as_secs_f64() * 1000.0)
        } else if seconds < 60 {
            write!(f, "{:.1} s", self.0.as_secs_f64())
        } else if seconds < 3600 {
            write!(f, "{}m {}s", seconds / 60, seconds % 60)
        } else if seconds < 86_400 {
            write!(f, "{}h {}m", seconds / 3600, seconds / 60 % 60)
        } else {
            write!(f, "{}d {}h", seconds / 86_400, seconds / 3600 % 24)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_agree_with_the_calendar() {
        // From `date -u -d @N +%FT%TZ`.
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199, "2024-02-29T23:59:59.000Z"),
            (1_767_323_045, "2026-01-02T03:04:05.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(Timestamp(seconds * 1000).to_string(), text);
        }
        assert_eq!(Timestamp(678).to_string(), "1970-01-01T00:00:00.678Z");
    }

    #[test]
    fn spans_are_short() {
        for (ms, text) in [
            (1, "1.0 ms"),
            (1_500, "1.5 s"),
            (312_000, "5m 12s"),
            (10_920_000, "3h 2m"),
            (1_051_200_000, "12d 4h"),
        ] {
            assert_eq!(Span(Duration::from_millis(ms)).to_string(), text);
        }
    }
}
