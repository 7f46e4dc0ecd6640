//! Functions of the host, and what they were given to carry.

use std::cell::Cell;
use std::ffi::{c_char, c_void};

use workhive::Error;

use crate::boundary;
use crate::bytes;
use crate::codes::{WH_ERR_NULL, WH_ERR_STATE, WH_OK, wh_result};
use crate::conn::wh_conn;
use crate::error::{Failure, Outcome};
use crate::opening::wh_opening;
use crate::request::wh_request;

/// Called exactly once with `user`, when the library will never call the function again that came with it; also when
/// the call that took them has failed. May be NULL.
pub type wh_destroy_fn = Option<unsafe extern "C" fn(user: *mut c_void)>;
/// Of the process: returns WH_OK, or anything else if it has failed.
pub type wh_worker_fn = Option<unsafe extern "C" fn(user: *mut c_void) -> i32>;
/// Of a connection.
pub type wh_conn_fn = Option<unsafe extern "C" fn(user: *mut c_void, conn: wh_conn) -> i32>;
/// A message. `data` is lent. `is_text`: 1 for a text frame of a WebSocket, which is valid UTF-8, and for lines and
/// frames that are valid UTF-8; else 0.
pub type wh_message_fn = Option<
    unsafe extern "C" fn(
        user: *mut c_void,
        conn: wh_conn,
        data: *const u8,
        len: usize,
        is_text: i32,
    ) -> i32,
>;
/// An HTTP request, which is lent.
pub type wh_request_fn = Option<
    unsafe extern "C" fn(user: *mut c_void, conn: wh_conn, request: *const wh_request) -> i32,
>;
/// A WebSocket handshake, which is lent.
pub type wh_opening_fn =
    Option<unsafe extern "C" fn(user: *mut c_void, conn: wh_conn, opening: *mut wh_opening) -> i32>;
/// The end of a connection. `info` is lent.
pub type wh_close_fn = Option<
    unsafe extern "C" fn(
        user: *mut c_void,
        conn: wh_conn,
        info: *const crate::conn::wh_close_info,
    ) -> i32,
>;
/// An error of a connection, one of WH_ERROR_* with its text.
pub type wh_error_fn = Option<
    unsafe extern "C" fn(
        user: *mut c_void,
        conn: wh_conn,
        kind: u32,
        text: *const c_char,
        len: usize,
    ) -> i32,
>;
/// A uid that comes or goes.
pub type wh_uid_fn =
    Option<unsafe extern "C" fn(user: *mut c_void, uid: *const u8, len: usize) -> i32>;

/// What a function is to be given, until it is destroyed.
///
/// One that is still there when its thread ends is not: the process may be ending too, and the host be gone already, its
/// interpreter above all. So tables of them are left as they are, and what goes with the loop is not told.
#[derive(Debug)]
pub(crate) struct User {
    pub(crate) pointer: *mut c_void,
    destroy: wh_destroy_fn,
}

impl User {
    /// To be made before anything can fail.
    pub(crate) fn new(pointer: *mut c_void, destroy: wh_destroy_fn) -> Self {
        Self { pointer, destroy }
    }
}

impl Drop for User {
    fn drop(&mut self) {
        if let Some(destroy) = self.destroy
            && !IS_ENDING.get()
        {
            DEPTH.set(DEPTH.get() + 1);
            // SAFETY: the host's own function with the host's own pointer, once.
            unsafe { destroy(self.pointer) };
            DEPTH.set(DEPTH.get() - 1);
        }
    }
}

// SAFETY: only functions that may run on any thread, by the words of the header, are given one from another thread.
unsafe impl Send for User {}

// SAFETY: as above; the pointer is never changed.
unsafe impl Sync for User {}

/// A function with its user.
#[derive(Debug)]
pub(crate) struct Callback<F> {
    pub(crate) function: F,
    user: User,
}

impl<F: Copy> Callback<F> {
    /// A function that must be there.
    pub(crate) fn new(function: Option<F>, user: User) -> Outcome<Self> {
        match function {
            Some(function) => Ok(Self { function, user }),
            None => Err(Failure::known(WH_ERR_NULL, "the function is NULL")),
        }
    }

    /// One that may be left out.
    pub(crate) fn optional(function: Option<F>, user: User) -> Option<Self> {
        function.map(|function| Self { function, user })
    }

    pub(crate) fn user(&self) -> *mut c_void {
        self.user.pointer
    }
}

/// True once the thread is ending: the host is not called any more.
pub(crate) fn is_ending() -> bool {
    IS_ENDING.get()
}

/// The function of a callback without the possibility that it is none.
pub(crate) type Plain = unsafe extern "C" fn(user: *mut c_void) -> i32;
pub(crate) type OfConn = unsafe extern "C" fn(user: *mut c_void, conn: wh_conn) -> i32;
pub(crate) type OnMessage = unsafe extern "C" fn(
    user: *mut c_void,
    conn: wh_conn,
    data: *const u8,
    len: usize,
    is_text: i32,
) -> i32;
pub(crate) type OnRequest =
    unsafe extern "C" fn(user: *mut c_void, conn: wh_conn, request: *const wh_request) -> i32;
pub(crate) type OnOpening =
    unsafe extern "C" fn(user: *mut c_void, conn: wh_conn, opening: *mut wh_opening) -> i32;
pub(crate) type OnClose = unsafe extern "C" fn(
    user: *mut c_void,
    conn: wh_conn,
    info: *const crate::conn::wh_close_info,
) -> i32;
pub(crate) type OnError = unsafe extern "C" fn(
    user: *mut c_void,
    conn: wh_conn,
    kind: u32,
    text: *const c_char,
    len: usize,
) -> i32;
pub(crate) type OnUid = unsafe extern "C" fn(user: *mut c_void, uid: *const u8, len: usize) -> i32;

/// Says, by its end, that the thread ends.
struct End;

impl Drop for End {
    fn drop(&mut self) {
        IS_ENDING.set(true);
    }
}

/// To be called when the loop is there: what was there last on a thread goes first.
pub(crate) fn notice_end() {
    END.with(|_| ());
}

/// How much of a text is kept: more than any traceback that somebody would read.
pub(crate) const MAX_WHY: usize = 1024 * 1024;

thread_local! {
    static END: End = const { End };
    static IS_ENDING: Cell<bool> = const { Cell::new(false) };
    /// Why the callback that runs is about to fail.
    static WHY: Cell<Option<String>> = const { Cell::new(None) };
    /// How many callbacks run, one inside another.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// Calls a function of the host that returns whether it has failed.
pub(crate) fn call(function: impl FnOnce() -> wh_result) -> Result<(), Error> {
    match call_for(function) {
        (WH_OK, _) => Ok(()),
        (code, why) => Err(failed(code, why)),
    }
}

/// The same, for functions that return more than that: their number, and why it is so.
pub(crate) fn call_for<R>(function: impl FnOnce() -> R) -> (R, Option<String>) {
    let before = WHY.take();
    DEPTH.set(DEPTH.get() + 1);
    let code = function();
    DEPTH.set(DEPTH.get() - 1);
    (code, WHY.replace(before))
}

/// True inside a callback.
pub(crate) fn is_inside() -> bool {
    DEPTH.get() > 0
}

/// A callback has failed. Of a long text, such as a traceback, each line goes to the log by itself, but the last one, which
/// says what happened: it is in the sentence that follows.
pub(crate) fn failed(code: wh_result, why: Option<String>) -> Error {
    let Some(why) = why else {
        return Error::msg(format!("the callback returned {code}"));
    };
    let text = why.trim_end();
    match text.rsplit_once('\n') {
        None => Error::msg(text),
        Some((before, last)) => {
            for line in before.lines() {
                log::warn!("{line}");
            }
            Error::msg(last.trim_end())
        }
    }
}

/// Says why the callback that runs is about to fail: it should then return anything but WH_OK. A whole traceback may
/// be given, up to 1 MiB of it; each of its lines becomes a line of the log. Said again, the new text replaces the old one.
/// Errors: WH_ERR_STATE outside of callbacks.
/// Thread: the loop's; also inside encode, decode and input. Ownership: the text is copied.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_fail_text(text: *const c_char, len: usize) -> wh_result {
    boundary::in_codec(|| {
        // SAFETY: the caller's promise.
        let text = unsafe { bytes::bytes(text.cast(), len) }?;
        if !is_inside() {
            return Err(Failure::known(
                WH_ERR_STATE,
                "no callback runs that could fail",
            ));
        }
        let text = text.get(..MAX_WHY).unwrap_or(text);
        WHY.set(Some(String::from_utf8_lossy(text).into_owned()));
        Ok(())
    })
}
