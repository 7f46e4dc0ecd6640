//! Warnings about what may happen very often.

use std::time::{Duration, Instant};

/// How often the same is said again.
const AGAIN: Duration = Duration::from_mins(1);

/// Counts what is to be warned of: said the first time, then counted, and said again at most once a minute with how
/// often it has happened since.
#[derive(Debug, Default)]
pub(super) struct Counted {
    unsaid: u64,
    said: Option<Instant>,
}

impl Counted {
    /// It has happened. `Some` if it is to be said: so often since the last time, this one included.
    pub(super) fn note(&mut self, now: Instant) -> Option<u64> {
        self.unsaid += 1;
        let quiet = self
            .said
            .is_some_and(|said| now.saturating_duration_since(said) < AGAIN);
        if quiet {
            return None;
        }
        self.said = Some(now);
        Some(std::mem::take(&mut self.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_said_and_the_rest_once_a_minute() {
        let start = Instant::now();
        let mut counted = Counted::default();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(counted.note(at(0)), Some(1));
        for second in 1..60 {
            assert_eq!(counted.note(at(second)), None);
        }
        assert_eq!(counted.note(at(60)), Some(60));
        assert_eq!(counted.note(at(61)), None);
        assert_eq!(counted.note(at(600)), Some(2));
    }
}
