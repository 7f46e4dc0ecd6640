//! The hive's log.

use std::cell::Cell;
use std::ffi::{c_char, c_void};
use std::io::Write as _;

use log::Level;

use crate::boundary;
use crate::bytes;
use crate::callback::{Callback, call_for};
use crate::codes::{WH_ERR_VALUE, wh_result};
use crate::error::Failure;

/// Something failed that somebody should look after.
pub const WH_LOG_ERROR: u32 = 1;
/// Something failed that the library could bear.
pub const WH_LOG_WARN: u32 = 2;
/// What happens.
pub const WH_LOG_INFO: u32 = 3;
/// What happens in detail.
pub const WH_LOG_DEBUG: u32 = 4;
/// What happens in every detail.
pub const WH_LOG_TRACE: u32 = 5;

/// A line of the log. `text` is lent, UTF-8, without an end of line.
pub type wh_log_fn =
    Option<unsafe extern "C" fn(user: *mut c_void, level: u32, text: *const c_char, len: usize)>;
pub(crate) type Log =
    unsafe extern "C" fn(user: *mut c_void, level: u32, text: *const c_char, len: usize);

const LEVELS: [(u32, Level); 5] = [
    (WH_LOG_ERROR, Level::Error),
    (WH_LOG_WARN, Level::Warn),
    (WH_LOG_INFO, Level::Info),
    (WH_LOG_DEBUG, Level::Debug),
    (WH_LOG_TRACE, Level::Trace),
];

thread_local! {
    static IS_INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Tells the host a line. One that is logged by its own function, on the same thread, goes to standard error instead.
pub(crate) fn call(callback: &Callback<Log>, level: Level, text: &str) {
    if IS_INSIDE.replace(true) {
        // Without a standard error there is nowhere else to say it.
        let _ = writeln!(std::io::stderr(), "{level} {text}");
        return;
    }
    let number = LEVELS.iter().find(|(_, known)| *known == level);
    let number = number.map_or(WH_LOG_ERROR, |(number, _)| *number);
    let told = call_for(|| {
        // SAFETY: the host's own function with its own pointer; the text is good until it returns.
        unsafe { (callback.function)(callback.user(), number, text.as_ptr().cast(), text.len()) };
    });
    drop(told);
    IS_INSIDE.set(false);
}

/// Writes to the hive's log; each line of the text becomes one of the log. What is no UTF-8 becomes U+FFFD. Before a hive is
/// started there is no log, and nothing is written.
/// `level`: one of WH_LOG_*. Errors: WH_ERR_VALUE for another level.
/// Thread: any. Ownership: the text is copied.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_log(level: u32, text: *const c_char, len: usize) -> wh_result {
    boundary::anywhere(|| {
        // SAFETY: the caller's promise.
        let text = unsafe { bytes::bytes(text.cast(), len) }?;
        let Some((_, level)) = LEVELS.iter().find(|(number, _)| *number == level) else {
            return Err(Failure::made(
                WH_ERR_VALUE,
                format!("a level is WH_LOG_ERROR (1) to WH_LOG_TRACE (5), not {level}"),
            ));
        };
        for line in String::from_utf8_lossy(text).lines() {
            log::log!(*level, "{line}");
        }
        Ok(())
    })
}
