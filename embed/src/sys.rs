//! What libc tells of the process, and does for it.

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

/// Opens /dev/null where standard input, output and error are closed, as a Rust `main` does: otherwise the next files of the
/// library would be these, and what is printed would go into them.
pub(crate) fn fill_standard() {
    for fd in 0..3 {
        // SAFETY: it only asks.
        if unsafe { libc::fcntl(fd, libc::F_GETFD) } == -1 {
            // The lowest that is free, which is this one: those below are open. It stays so for the process's life.
            // SAFETY: a text that ends in a zero byte.
            unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) };
        }
    }
}
