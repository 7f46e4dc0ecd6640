//! Waiting for a condition.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long a test waits for anything before it fails. Far longer than anything takes: a test must not fail because
/// its machine is busy.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// How often a condition is looked at.
const INTERVAL: Duration = Duration::from_millis(5);

/// Waits until `look` finds something, and returns it. Only for what no event tells: processes that are not our
/// children, counters in `/proc`.
///
/// # Panics
/// If nothing is found within [`DEADLINE`]; `what` says what was waited for.
#[track_caller]
pub fn eventually<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    within(DEADLINE, look).unwrap_or_else(|| panic!("{DEADLINE:?} have passed without: {what}"))
}

/// As [`eventually`], with a limit of its own, and `None` when that is over.
pub fn within<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() >= end {
            return None;
        }
        std::thread::sleep(INTERVAL);
    }
}

/// Raises a flag when it is dropped, also by a panic: scoped threads that wait for the flag would be waited for otherwise,
/// for ever.
#[derive(Debug)]
pub struct Raise<'f>(pub &'f AtomicBool);

impl Drop for Raise<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
