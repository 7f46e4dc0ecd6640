//! A thread of its own for each test.

use std::sync::{Mutex, PoisonError};
use std::thread;

/// The thread of the first call is the loop's, for the whole process: one test at a time, on a thread of its own that
/// takes all with it.
pub(crate) fn alone(test: impl FnOnce() + Send + 'static) {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Err(panic) = thread::spawn(test).join() {
        std::panic::resume_unwind(panic);
    }
}
