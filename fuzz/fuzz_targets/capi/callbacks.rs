//! Functions that the library calls: each may make more calls, and fail.

use std::cell::Cell;
use std::ffi::{c_char, c_void};

use workhive_embed::callback::wh_fail_text;
use workhive_embed::codes::{WH_ERR_CALLBACK, WH_OK, WH_PENDING};
use workhive_embed::conn::{wh_close_info, wh_conn};
use workhive_embed::members::wh_member;
use workhive_embed::opening::wh_opening;
use workhive_embed::presence::wh_totals;
use workhive_embed::protocol::wh_sink_write;
use workhive_embed::push::wh_outcome;
use workhive_embed::request::wh_request;
use workhive_embed::{bytes::wh_bytes, codes::wh_result};

use crate::arguments::{byte, bytes};
use crate::calls::{self, check};
use crate::users::used;

thread_local! {
    static DEPTH: Cell<u8> = const { Cell::new(0) };
}

/// Makes a few calls, and says how it went.
pub fn act() -> i32 {
    if DEPTH.get() >= 2 {
        return WH_OK;
    }
    DEPTH.set(DEPTH.get() + 1);
    for _ in 0..byte() % 4 {
        calls::any();
    }
    DEPTH.set(DEPTH.get() - 1);
    match byte() {
        1 => WH_PENDING,
        2 => WH_ERR_CALLBACK,
        3 => {
            let (text, len) = bytes();
            // SAFETY: as `bytes` makes them.
            check(unsafe { wh_fail_text(text.cast(), len) });
            -7
        }
        _ => WH_OK,
    }
}

pub unsafe extern "C" fn process(user: *mut c_void) -> i32 {
    used(user);
    act()
}

pub unsafe extern "C" fn conn(user: *mut c_void, conn: wh_conn) -> i32 {
    used(user);
    calls::seen(conn);
    act()
}

pub unsafe extern "C" fn message(
    user: *mut c_void,
    conn: wh_conn,
    data: *const u8,
    len: usize,
    is_text: i32,
) -> i32 {
    used(user);
    calls::seen(conn);
    // SAFETY: the library lends them.
    let data = unsafe { std::slice::from_raw_parts(data, len) };
    assert!(is_text == 0 || std::str::from_utf8(data).is_ok());
    act()
}

pub unsafe extern "C" fn request(
    user: *mut c_void,
    conn: wh_conn,
    request: *const wh_request,
) -> i32 {
    used(user);
    calls::seen(conn);
    calls::look_at_request(request);
    calls::lent(request.addr(), 0);
    act()
}

pub unsafe extern "C" fn opening(
    user: *mut c_void,
    conn: wh_conn,
    opening: *mut wh_opening,
) -> i32 {
    used(user);
    calls::seen(conn);
    calls::look_at_opening(opening);
    calls::lent(0, opening.addr());
    act()
}

pub unsafe extern "C" fn close(
    user: *mut c_void,
    conn: wh_conn,
    info: *const wh_close_info,
) -> i32 {
    used(user);
    calls::seen(conn);
    // SAFETY: the library lends it.
    let info = unsafe { *info };
    assert!((1..=6).contains(&info.reason));
    // SAFETY: likewise.
    let text = unsafe { std::slice::from_raw_parts(info.text.data, info.text.len) };
    assert!(!text.is_empty() && std::str::from_utf8(text).is_ok());
    act()
}

pub unsafe extern "C" fn error(
    user: *mut c_void,
    conn: wh_conn,
    kind: u32,
    text: *const c_char,
    len: usize,
) -> i32 {
    used(user);
    calls::seen(conn);
    assert!((1..=6).contains(&kind));
    // SAFETY: the library lends it.
    let text = unsafe { std::slice::from_raw_parts(text.cast::<u8>(), len) };
    assert!(std::str::from_utf8(text).is_ok());
    act()
}

pub unsafe extern "C" fn uid(user: *mut c_void, _uid: *const u8, len: usize) -> i32 {
    used(user);
    assert!((1..=255).contains(&len));
    act()
}

pub unsafe extern "C" fn done(user: *mut c_void, result: wh_result) {
    used(user);
    check(result);
    act();
}

pub unsafe extern "C" fn outcome(user: *mut c_void, _outcome: *const wh_outcome) {
    used(user);
    act();
}

pub unsafe extern "C" fn presence(user: *mut c_void, presence: i32) {
    used(user);
    assert!((1..=3).contains(&presence));
    act();
}

pub unsafe extern "C" fn count(user: *mut c_void, _count: u64, _partial: i32) {
    used(user);
    act();
}

pub unsafe extern "C" fn totals(user: *mut c_void, _totals: *const wh_totals, _partial: i32) {
    used(user);
    act();
}

pub unsafe extern "C" fn names(
    user: *mut c_void,
    _names: *const wh_bytes,
    _count: usize,
    _next: i64,
    _partial: i32,
) {
    used(user);
    act();
}

pub unsafe extern "C" fn members(
    user: *mut c_void,
    _members: *const wh_member,
    _count: usize,
    _more: i32,
    _partial: i32,
) {
    used(user);
    act();
}

pub unsafe extern "C" fn session(user: *mut c_void, _data: *const u8, _len: usize, _partial: i32) {
    used(user);
    act();
}

pub unsafe extern "C" fn topic(user: *mut c_void, _data: *const u8, _len: usize, _is_text: i32) {
    used(user);
    act();
}

pub unsafe extern "C" fn log(user: *mut c_void, level: u32, _text: *const c_char, _len: usize) {
    used(user);
    assert!((1..=5).contains(&level));
}

pub unsafe extern "C" fn fork(user: *mut c_void) -> i64 {
    used(user);
    -1
}

/// On a thread of the pool.
pub unsafe extern "C" fn work(_user: *mut c_void) {}

pub unsafe extern "C" fn input(_user: *mut c_void, _data: *const u8, len: usize) -> i64 {
    let len = i64::try_from(len).expect("not that long");
    match byte() {
        0..=199 => len,
        200..=219 => 0,
        220..=229 => len + 10,
        230..=239 => 1,
        240 => i64::MAX,
        241 => i64::MIN,
        _ => -1,
    }
}

/// Encodes and decodes: copies, and now and then more, or not.
pub unsafe extern "C" fn code(
    _user: *mut c_void,
    data: *const u8,
    len: usize,
    sink: *mut c_void,
) -> i32 {
    match byte() {
        255 => return 1,
        254 => {
            // All but a few functions are refused here.
            calls::any();
        }
        _ => {}
    }
    // SAFETY: the library lends both.
    check(unsafe { wh_sink_write(sink, data, len) });
    WH_OK
}
