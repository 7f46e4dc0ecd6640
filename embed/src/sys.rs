//! How often the process was forked, as libc tells.

use std::sync::atomic::{AtomicUsize, Ordering};

static FORKS: AtomicUsize = AtomicUsize::new(0);

extern "C" fn count() {
    // All that may be done in the copy of a process with threads (signal-safety(7)).
    FORKS.fetch_add(1, Ordering::Release);
}

/// Counts from now on; 0, or why that cannot be.
pub(crate) fn count_forks() -> i32 {
    // SAFETY: the function is there as long as the library; libc forgets it when that is unloaded.
    unsafe { libc::pthread_atfork(None, None, Some(count)) }
}

/// How often this process, and those it is a copy of, have been forked off since.
pub(crate) fn forks() -> usize {
    FORKS.load(Ordering::Acquire)
}
