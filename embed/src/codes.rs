//! The codes that functions return. Their numbers never move; gaps are reserved.

use std::ffi::{CStr, c_char};

/// What every function returns: WH_OK, WH_PENDING where that is said, or an error.
pub type wh_result = i32;

/// The number of this interface. It changes only with something that old programs cannot use.
pub const WH_ABI_VERSION: u32 = 1;

/// It is done.
pub const WH_OK: i32 = 0;
/// It is not done yet: something tells later.
pub const WH_PENDING: i32 = 1;

/// A pointer is NULL that must not be, or one is with a length that is not 0.
pub const WH_ERR_NULL: i32 = 100;
/// The handle was never given out, was freed, or is one of another kind.
pub const WH_ERR_HANDLE: i32 = 101;
/// Called on another thread than the loop's.
pub const WH_ERR_THREAD: i32 = 102;
/// Not now: in the wrong order, inside the wrong callback, or where no loop runs.
pub const WH_ERR_STATE: i32 = 103;
/// A length that cannot be.
pub const WH_ERR_LENGTH: i32 = 104;
/// A value out of its range.
pub const WH_ERR_VALUE: i32 = 105;
/// No such option, or not for this worker.
pub const WH_ERR_OPTION: i32 = 106;
/// A bug of the library: it panicked. Please report it.
pub const WH_ERR_PANIC: i32 = 107;
/// For packages to use: the library that was loaded has another WH_ABI_VERSION. The library itself does not return it.
pub const WH_ERR_ABI: i32 = 108;
/// Text that must be UTF-8 is not.
pub const WH_ERR_UTF8: i32 = 109;
/// A callback failed: for callbacks to return; and the encode of a protocol of one's own has failed.
pub const WH_ERR_CALLBACK: i32 = 110;

/// The connection, or whoever was to be told, is no more.
pub const WH_ERR_GONE: i32 = 200;
/// The send buffer cannot take it; nothing of it is sent.
pub const WH_ERR_FULL: i32 = 201;
/// Longer than the protocol, or routing, can carry.
pub const WH_ERR_TOO_LONG: i32 = 202;
/// The protocol cannot say that: a response to no request, a line break inside a line.
pub const WH_ERR_PROTOCOL: i32 = 203;

/// Text that is no address.
pub const WH_ERR_ADDRESS: i32 = 300;
/// An address with a scheme that is not known.
pub const WH_ERR_SCHEME: i32 = 301;
/// Somebody listens there already.
pub const WH_ERR_IN_USE: i32 = 302;
/// The system does not allow it.
pub const WH_ERR_ACCESS: i32 = 303;
/// The listener cannot be opened for another reason.
pub const WH_ERR_LISTEN: i32 = 304;
/// This process does not listen there.
pub const WH_ERR_NOT_LISTENING: i32 = 305;

/// A uid, room or topic has 1 to 255 bytes.
pub const WH_ERR_NAME: i32 = 400;
/// The connection has as many uids, or is in as many rooms, as its listener allows.
pub const WH_ERR_TOO_MANY: i32 = 401;
/// The connection does not have this uid, or is not in this room.
pub const WH_ERR_NOT_BOUND: i32 = 402;
/// Too much waits already: try later.
pub const WH_ERR_BUSY: i32 = 403;
/// The id belongs to another hive, or to this one before it was started anew.
pub const WH_ERR_OTHER_HIVE: i32 = 404;
/// Applications close with 1000 or 3000 to 4999.
pub const WH_ERR_CLOSE_CODE: i32 = 405;

/// Reserved: a command line that makes no sense is printed, and ends in WH_ROLE_OVER with exit code 2.
pub const WH_ERR_USAGE: i32 = 500;
/// No seat was handed to this process.
pub const WH_ERR_NO_SEAT: i32 = 501;
/// Reserved: a fork that fails is printed or logged, and ends in WH_ROLE_OVER with exit code 1.
pub const WH_ERR_FORK: i32 = 502;
/// The hive has been started already.
pub const WH_ERR_RUNNING: i32 = 503;
/// The system refused something else.
pub const WH_ERR_SYSTEM: i32 = 504;

/// All codes with their names, in order.
const NAMES: &[(wh_result, &CStr)] = &[
    (WH_OK, c"WH_OK"),
    (WH_PENDING, c"WH_PENDING"),
    (WH_ERR_NULL, c"WH_ERR_NULL"),
    (WH_ERR_HANDLE, c"WH_ERR_HANDLE"),
    (WH_ERR_THREAD, c"WH_ERR_THREAD"),
    (WH_ERR_STATE, c"WH_ERR_STATE"),
    (WH_ERR_LENGTH, c"WH_ERR_LENGTH"),
    (WH_ERR_VALUE, c"WH_ERR_VALUE"),
    (WH_ERR_OPTION, c"WH_ERR_OPTION"),
    (WH_ERR_PANIC, c"WH_ERR_PANIC"),
    (WH_ERR_ABI, c"WH_ERR_ABI"),
    (WH_ERR_UTF8, c"WH_ERR_UTF8"),
    (WH_ERR_CALLBACK, c"WH_ERR_CALLBACK"),
    (WH_ERR_GONE, c"WH_ERR_GONE"),
    (WH_ERR_FULL, c"WH_ERR_FULL"),
    (WH_ERR_TOO_LONG, c"WH_ERR_TOO_LONG"),
    (WH_ERR_PROTOCOL, c"WH_ERR_PROTOCOL"),
    (WH_ERR_ADDRESS, c"WH_ERR_ADDRESS"),
    (WH_ERR_SCHEME, c"WH_ERR_SCHEME"),
    (WH_ERR_IN_USE, c"WH_ERR_IN_USE"),
    (WH_ERR_ACCESS, c"WH_ERR_ACCESS"),
    (WH_ERR_LISTEN, c"WH_ERR_LISTEN"),
    (WH_ERR_NOT_LISTENING, c"WH_ERR_NOT_LISTENING"),
    (WH_ERR_NAME, c"WH_ERR_NAME"),
    (WH_ERR_TOO_MANY, c"WH_ERR_TOO_MANY"),
    (WH_ERR_NOT_BOUND, c"WH_ERR_NOT_BOUND"),
    (WH_ERR_BUSY, c"WH_ERR_BUSY"),
    (WH_ERR_OTHER_HIVE, c"WH_ERR_OTHER_HIVE"),
    (WH_ERR_CLOSE_CODE, c"WH_ERR_CLOSE_CODE"),
    (WH_ERR_USAGE, c"WH_ERR_USAGE"),
    (WH_ERR_NO_SEAT, c"WH_ERR_NO_SEAT"),
    (WH_ERR_FORK, c"WH_ERR_FORK"),
    (WH_ERR_RUNNING, c"WH_ERR_RUNNING"),
    (WH_ERR_SYSTEM, c"WH_ERR_SYSTEM"),
];

/// The library's WH_ABI_VERSION, to be compared with the header's when the library is loaded. The first call also takes note
/// of the process's command line, which is what is executed with WH_SPAWN_EXEC: hosts that give themselves another title
/// hide it later.
/// Thread: any.
#[unsafe(no_mangle)]
pub extern "C" fn wh_abi_version() -> u32 {
    let _ = std::panic::catch_unwind(workhive::host::remember);
    WH_ABI_VERSION
}

/// The library's version, such as "0.1.0".
/// Thread: any. Lifetime: static; ends in a zero byte.
#[unsafe(no_mangle)]
pub extern "C" fn wh_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// The name of a code, such as "WH_ERR_NULL"; "unknown" for numbers that are none.
/// Thread: any. Lifetime: static; ends in a zero byte.
#[unsafe(no_mangle)]
pub extern "C" fn wh_result_name(code: wh_result) -> *const c_char {
    NAMES
        .iter()
        .find(|(number, _)| *number == code)
        .map_or(c"unknown", |(_, name)| *name)
        .as_ptr()
}
