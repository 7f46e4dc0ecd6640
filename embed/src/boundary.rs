//! What stands around every function: the right thread, no panic beyond it, the text of the last error.

use std::cell::{Cell, RefCell};
use std::ffi::c_char;
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::codes::{WH_ERR_PANIC, WH_ERR_STATE, WH_ERR_SYSTEM, WH_ERR_THREAD, WH_OK, wh_result};
use crate::error::{Failure, Outcome, Text};
use crate::sys;

/// The thread that everything belongs to, by its mark; 0 while there is nothing to belong.
static OWNER: AtomicUsize = AtomicUsize::new(0);

/// How often the process, and those it is a copy of, had been forked off when its loop was made.
static SETTLED: AtomicUsize = AtomicUsize::new(NOWHERE);
const NOWHERE: usize = usize::MAX;

thread_local! {
    static MARK: Mark = const { Mark(0) };
    /// True while a protocol of the host's own encodes or decodes: the loop is in the middle of something.
    static IN_CODEC: Cell<bool> = const { Cell::new(false) };
    static LAST: RefCell<Last> = const { RefCell::new(Last::new()) };
}

/// Its address tells the threads that live apart, in a forked process too.
struct Mark(#[expect(dead_code, reason = "of some size, so that its address is its own")] u8);

impl Drop for Mark {
    fn drop(&mut self) {
        // The thread ends: what it had is nobody's any more.
        let mine = std::ptr::from_ref(self).addr();
        let _ = OWNER.compare_exchange(mine, 0, Ordering::AcqRel, Ordering::Relaxed);
    }
}

/// 0 on a thread that is ending.
fn mark() -> usize {
    MARK.try_with(|mark| std::ptr::from_ref(mark).addr())
        .unwrap_or(0)
}

struct Last {
    /// Ends in a zero byte, unless it is empty.
    text: Vec<u8>,
}

impl Last {
    const fn new() -> Self {
        Self { text: Vec::new() }
    }
}

/// For functions that any thread may call.
pub(crate) fn anywhere(body: impl FnOnce() -> Outcome) -> wh_result {
    told(catch_unwind(AssertUnwindSafe(body)))
}

/// For functions of the loop's thread that do something to the loop: a host may be between two turns of it.
pub(crate) fn on_loop(body: impl FnOnce() -> Outcome) -> wh_result {
    looking(|| {
        workhive_worker::touch();
        body()
    })
}

/// For functions of the loop's thread that only look, or that run the loop.
pub(crate) fn looking(body: impl FnOnce() -> Outcome) -> wh_result {
    freeing(|| {
        check_process()?;
        body()
    })
}

/// For functions of the loop's thread that may be called in a copy of the process, which frees what it has copied.
pub(crate) fn freeing(body: impl FnOnce() -> Outcome) -> wh_result {
    told(catch_unwind(AssertUnwindSafe(|| {
        check_thread()?;
        body()
    })))
}

/// This process has a loop from now on; copies of it have not.
pub(crate) fn settle() -> Outcome {
    static WATCHED: OnceLock<i32> = OnceLock::new();
    let failed = *WATCHED.get_or_init(sys::count_forks);
    if failed != 0 {
        return Err(Failure::made(
            WH_ERR_SYSTEM,
            format!(
                "pthread_atfork has failed: {}",
                std::io::Error::from_raw_os_error(failed)
            ),
        ));
    }
    SETTLED.store(sys::forks(), Ordering::Release);
    Ok(())
}

/// The loop is over: another hive may be started, and forked.
pub(crate) fn unsettle() {
    SETTLED.store(NOWHERE, Ordering::Release);
}

/// True while a loop runs in this process.
pub(crate) fn is_settled() -> bool {
    SETTLED.load(Ordering::Acquire) != NOWHERE
}

/// True in a process that the host has forked off a worker, or off a nested master: the sockets and the loop are those of
/// the process that it is a copy of.
pub(crate) fn is_copy() -> bool {
    let settled = SETTLED.load(Ordering::Acquire);
    settled != NOWHERE && settled != sys::forks()
}

/// Refuses what would be done to the process that this one is a copy of.
pub(crate) fn check_process() -> Outcome {
    if is_copy() {
        return Err(Failure::known(
            WH_ERR_STATE,
            "this process is a copy of one with a loop, whose connections are not its own: only what it has can be freed",
        ));
    }
    Ok(())
}

/// For functions with which everything begins: this thread becomes the loop's, if there is none.
pub(crate) fn beginning(body: impl FnOnce() -> Outcome) -> wh_result {
    looking(|| {
        match OWNER.compare_exchange(0, mark(), Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => body().inspect_err(|_| disown()),
            Err(owner) if owner == mark() => body(),
            // It has come first by a moment.
            Err(_) => Err(wrong_thread()),
        }
    })
}

/// For functions that may be called inside a protocol's own callbacks.
pub(crate) fn in_codec(body: impl FnOnce() -> Outcome) -> wh_result {
    told(catch_unwind(AssertUnwindSafe(|| {
        let owner = OWNER.load(Ordering::Acquire);
        if owner != 0 && owner != mark() {
            return Err(wrong_thread());
        }
        body()
    })))
}

fn check_thread() -> Outcome {
    let owner = OWNER.load(Ordering::Acquire);
    if owner != 0 && owner != mark() {
        return Err(wrong_thread());
    }
    if IN_CODEC.get() {
        return Err(Failure::known(
            WH_ERR_STATE,
            "inside of encode, decode and input only wh_sink_write, wh_log and wh_fail_text may be called",
        ));
    }
    Ok(())
}

const fn wrong_thread() -> Failure {
    Failure::known(
        WH_ERR_THREAD,
        "called on another thread than the loop's; use a mailbox there",
    )
}

/// Nothing is left that belongs to a thread: another one may begin.
pub(crate) fn disown() {
    let _ = OWNER.compare_exchange(mark(), 0, Ordering::AcqRel, Ordering::Relaxed);
}

/// Runs a codec of the host's own.
pub(crate) fn codec<R>(run: impl FnOnce() -> R) -> R {
    let before = IN_CODEC.replace(true);
    let result = run();
    IN_CODEC.set(before);
    result
}

fn told(result: std::thread::Result<Outcome>) -> wh_result {
    match result {
        Ok(Ok(())) => WH_OK,
        Ok(Err(failure)) => {
            remember(&failure.text);
            failure.code
        }
        Err(panic) => {
            let what = panic
                .downcast_ref::<&str>()
                .copied()
                .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
                .unwrap_or("something that is no text");
            remember(&Text::Made(format!("the library panicked: {what}")));
            WH_ERR_PANIC
        }
    }
}

fn remember(text: &Text) {
    // On a thread that is ending nobody asks any more.
    let _ = LAST.try_with(|last| {
        let Ok(mut last) = last.try_borrow_mut() else {
            return;
        };
        last.text.clear();
        match text {
            Text::Known(text) => last.text.extend_from_slice(text.as_bytes()),
            Text::Made(text) => last.text.extend_from_slice(text.as_bytes()),
            Text::Send(error) => {
                let mut words =
                    String::from_utf8(std::mem::take(&mut last.text)).unwrap_or_default();
                // Writing to a String does not fail.
                let _ = write!(words, "{error}");
                last.text = words.into_bytes();
            }
        }
        // It is to be read up to its first zero byte.
        last.text.retain(|byte| *byte != 0);
        last.text.push(0);
    });
}

/// The text of this thread's last error, in UTF-8; "" if there was none. A call that succeeds leaves it as it is.
/// `len`: where its length goes, without the zero byte at its end; may be NULL.
/// Thread: any; each has its own. Lifetime: until the next call of this thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_last_error(len: *mut usize) -> *const c_char {
    let (text, length) = LAST
        .try_with(|last| match last.try_borrow() {
            Ok(last) if !last.text.is_empty() => (last.text.as_ptr(), last.text.len() - 1),
            _ => (c"".as_ptr().cast(), 0),
        })
        .unwrap_or((c"".as_ptr().cast(), 0));
    if !len.is_null() {
        // SAFETY: the caller's promise: a place for a length, or NULL.
        unsafe { len.write(length) };
    }
    text.cast()
}
