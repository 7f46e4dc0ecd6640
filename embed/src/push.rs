//! What is sent to whom, in whichever process they are.

use std::ffi::{c_char, c_void};

use workhive::{ConnectionId, Hive};

use crate::boundary;
use crate::bytes::{self, wh_bytes};
use crate::callback::{Callback, User, call, wh_destroy_fn};
use crate::codes::{WH_ERR_VALUE, WH_OK, wh_result};
use crate::conn::message;
use crate::error::{Failure, Outcome};

/// What became of a message, told by the processes that own the connections.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct wh_outcome {
    /// Connections that have it in their send buffer.
    pub delivered: u64,
    /// Connections that have not, because their send buffer was full; a process that was not reached counts as one.
    pub refused: u64,
    /// 1 if a process died or did not answer in time: more connections may have it.
    pub unknown: u64,
    /// 1 if at least one connection has it.
    pub is_delivered: i32,
    /// 1 if nobody was asked, and nobody has it: the router was away, or too many messages waited for their outcome.
    pub is_unrouted: i32,
}

/// Told what became of a message, once, later. `outcome` is lent.
pub type wh_outcome_fn =
    Option<unsafe extern "C" fn(user: *mut c_void, outcome: *const wh_outcome)>;
type OnOutcome = unsafe extern "C" fn(user: *mut c_void, outcome: *const wh_outcome);

/// A hive that tells `function` what becomes of what it is told to send.
fn telling(function: Option<OnOutcome>, user: User) -> Hive {
    let Some(callback) = Callback::optional(function, user) else {
        return Hive::new();
    };
    Hive::new().on_outcome(move |outcome| {
        let told = wh_outcome {
            delivered: u64::from(outcome.delivered),
            refused: u64::from(outcome.refused),
            unknown: u64::from(outcome.unknown),
            is_delivered: i32::from(outcome.is_delivered()),
            is_unrouted: i32::from(outcome.unrouted),
        };
        call(|| {
            // SAFETY: the host's own function; what it is shown is good until it returns.
            unsafe { (callback.function)(callback.user(), &raw const told) };
            WH_OK
        })
    })
}

pub(crate) fn connection_id(text: &[u8]) -> Outcome<ConnectionId> {
    let parsed = str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| {
        Failure::made(
            WH_ERR_VALUE,
            format!(
                "\"{}\" is no id of a connection, as wh_conn_id has them",
                text.get(..64).unwrap_or(text).escape_ascii()
            ),
        )
    })
}

fn without(hive: Hive, except: &[&[u8]]) -> Outcome<Hive> {
    except
        .iter()
        .try_fold(hive, |hive, id| Ok(hive.except(connection_id(id)?)))
}

/// Sends to every connection of a uid, in the natural form of each connection's protocol.
/// `kind`: WH_TEXT or WH_BINARY.
/// `except`: ids (wh_conn_id) of connections that are left out, such as the one that speaks; up to 1,024; NULL and 0 for none.
/// `function` (may be NULL) is told the outcome.
/// Errors: WH_ERR_NAME, WH_ERR_TOO_LONG, WH_ERR_BUSY, WH_ERR_UTF8, WH_ERR_VALUE, WH_ERR_STATE in a process without a loop;
/// nothing is sent then. That nobody is there is no error, but an outcome.
/// Thread: the loop's. Ownership: all bytes are copied. `user` belongs to the library until it calls `destroy`, which it also
/// does if this call fails.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_send_to_uid(
    uid: *const u8,
    uid_len: usize,
    kind: i32,
    data: *const u8,
    len: usize,
    except: *const wh_bytes,
    except_count: usize,
    function: wh_outcome_fn,
    user: *mut c_void,
    destroy: wh_destroy_fn,
) -> wh_result {
    let user = User::new(user, destroy);
    boundary::on_loop(move || {
        // SAFETY: the caller's promises.
        let (uid, data, except) = unsafe {
            (
                bytes::bytes(uid, uid_len)?,
                bytes::bytes(data, len)?,
                bytes::list(except, except_count)?,
            )
        };
        let message = message(kind, data)?;
        let hive = without(telling(function, user), &except)?;
        Ok(hive.send_to_uid(uid, message)?)
    })
}

/// Sends to every connection of these uids; one that has two of them gets it once. Up to 16,384 uids with 512 KiB together.
/// `except`: ids (wh_conn_id) of connections that are left out, such as the one that speaks; up to 1,024; NULL and 0 for none.
/// `function` (may be NULL) is told the outcome.
/// Errors: WH_ERR_NAME, WH_ERR_TOO_LONG, WH_ERR_BUSY, WH_ERR_UTF8, WH_ERR_VALUE, WH_ERR_STATE in a process without a loop;
/// nothing is sent then. That nobody is there is no error, but an outcome.
/// Thread: the loop's. Ownership: all bytes are copied. `user` belongs to the library until it calls `destroy`, which it also
/// does if this call fails.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_send_to_uids(
    uids: *const wh_bytes,
    count: usize,
    kind: i32,
    data: *const u8,
    len: usize,
    except: *const wh_bytes,
    except_count: usize,
    function: wh_outcome_fn,
    user: *mut c_void,
    destroy: wh_destroy_fn,
) -> wh_result {
    let user = User::new(user, destroy);
    boundary::on_loop(move || {
        // SAFETY: the caller's promises.
        let (uids, data, except) = unsafe {
            (
                bytes::list(uids, count)?,
                bytes::bytes(data, len)?,
                bytes::list(except, except_count)?,
            )
        };
        let message = message(kind, data)?;
        let hive = without(telling(function, user), &except)?;
        Ok(hive.send_to_uids(uids, message)?)
    })
}

/// Sends to every member of a room.
/// `except`: ids (wh_conn_id) of connections that are left out, such as the one that speaks; up to 1,024; NULL and 0 for none.
/// `function` (may be NULL) is told the outcome.
/// Errors: WH_ERR_NAME, WH_ERR_TOO_LONG, WH_ERR_BUSY, WH_ERR_UTF8, WH_ERR_VALUE, WH_ERR_STATE in a process without a loop;
/// nothing is sent then. That nobody is there is no error, but an outcome.
/// Thread: the loop's. Ownership: all bytes are copied. `user` belongs to the library until it calls `destroy`, which it also
/// does if this call fails.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_send_to_room(
    room: *const u8,
    room_len: usize,
    kind: i32,
    data: *const u8,
    len: usize,
    except: *const wh_bytes,
    except_count: usize,
    function: wh_outcome_fn,
    user: *mut c_void,
    destroy: wh_destroy_fn,
) -> wh_result {
    let user = User::new(user, destroy);
    boundary::on_loop(move || {
        // SAFETY: the caller's promises.
        let (room, data, except) = unsafe {
            (
                bytes::bytes(room, room_len)?,
                bytes::bytes(data, len)?,
                bytes::list(except, except_count)?,
            )
        };
        let message = message(kind, data)?;
        let hive = without(telling(function, user), &except)?;
        Ok(hive.send_to_room(room, message)?)
    })
}

/// Sends to every member of these rooms; a member of two gets it once. As many as for wh_send_to_uids.
/// `except`: ids (wh_conn_id) of connections that are left out, such as the one that speaks; up to 1,024; NULL and 0 for none.
/// `function` (may be NULL) is told the outcome.
/// Errors: WH_ERR_NAME, WH_ERR_TOO_LONG, WH_ERR_BUSY, WH_ERR_UTF8, WH_ERR_VALUE, WH_ERR_STATE in a process without a loop;
/// nothing is sent then. That nobody is there is no error, but an outcome.
/// Thread: the loop's. Ownership: all bytes are copied. `user` belongs to the library until it calls `destroy`, which it also
/// does if this call fails.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_send_to_rooms(
    rooms: *const wh_bytes,
    count: usize,
    kind: i32,
    data: *const u8,
    len: usize,
    except: *const wh_bytes,
    except_count: usize,
    function: wh_outcome_fn,
    user: *mut c_void,
    destroy: wh_destroy_fn,
) -> wh_result {
    let user = User::new(user, destroy);
    boundary::on_loop(move || {
        // SAFETY: the caller's promises.
        let (rooms, data, except) = unsafe {
            (
                bytes::list(rooms, count)?,
                bytes::bytes(data, len)?,
                bytes::list(except, except_count)?,
            )
        };
        let message = message(kind, data)?;
        let hive = without(telling(function, user), &except)?;
        Ok(hive.send_to_rooms(rooms, message)?)
    })
}

/// Sends to every connection of the hive whose listener is WH_ROUTED, and to those others that have a uid, a room or session
/// data.
/// `except`: ids (wh_conn_id) of connections that are left out, such as the one that speaks; up to 1,024; NULL and 0 for none.
/// `function` (may be NULL) is told the outcome.
/// Errors: WH_ERR_NAME, WH_ERR_TOO_LONG, WH_ERR_BUSY, WH_ERR_UTF8, WH_ERR_VALUE, WH_ERR_STATE in a process without a loop;
/// nothing is sent then. That nobody is there is no error, but an outcome.
/// Thread: the loop's. Ownership: all bytes are copied. `user` belongs to the library until it calls `destroy`, which it also
/// does if this call fails.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_send_to_all(
    kind: i32,
    data: *const u8,
    len: usize,
    except: *const wh_bytes,
    except_count: usize,
    function: wh_outcome_fn,
    user: *mut c_void,
    destroy: wh_destroy_fn,
) -> wh_result {
    let user = User::new(user, destroy);
    boundary::on_loop(move || {
        // SAFETY: the caller's promises.
        let (data, except) =
            unsafe { (bytes::bytes(data, len)?, bytes::list(except, except_count)?) };
        let message = message(kind, data)?;
        let hive = without(telling(function, user), &except)?;
        Ok(hive.send_to_all(message)?)
    })
}

/// Sends to one connection, in whichever process it is, by its id of wh_conn_id. One that has ended makes the outcome that
/// nobody got it. `function` (may be NULL) is told the outcome.
/// Errors: WH_ERR_VALUE for text that is no id, WH_ERR_OTHER_HIVE for one of another hive, or of this one before it was
/// started anew; and as wh_send_to_uid. Thread: the loop's. Ownership: as wh_send_to_uid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_send_to_connection(
    id: *const c_char,
    id_len: usize,
    kind: i32,
    data: *const u8,
    len: usize,
    function: wh_outcome_fn,
    user: *mut c_void,
    destroy: wh_destroy_fn,
) -> wh_result {
    let user = User::new(user, destroy);
    boundary::on_loop(move || {
        // SAFETY: the caller's promises.
        let (id, data) = unsafe { (bytes::bytes(id.cast(), id_len)?, bytes::bytes(data, len)?) };
        let (id, message) = (connection_id(id)?, message(kind, data)?);
        Ok(telling(function, user).send_to_connection(id, message)?)
    })
}

/// Closes every connection of a uid. `code`: 1000 or 3000 to 4999, with a reason of up to 123 bytes of UTF-8.
/// Errors: WH_ERR_CLOSE_CODE, WH_ERR_TOO_LONG, WH_ERR_UTF8, and as wh_send_to_uid. Thread: the loop's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_close_uid(
    uid: *const u8,
    uid_len: usize,
    code: u16,
    reason: *const c_char,
    len: usize,
) -> wh_result {
    boundary::on_loop(|| {
        // SAFETY: the caller's promises.
        let (uid, reason) = unsafe { (bytes::bytes(uid, uid_len)?, bytes::text(reason, len)?) };
        Ok(Hive::new().close_uid(uid, code, reason)?)
    })
}

/// Closes one connection, in whichever process it is, by its id of wh_conn_id. `code`: 1000 or 3000 to 4999, with a reason of up to 123 bytes of UTF-8.
/// Errors: WH_ERR_CLOSE_CODE, WH_ERR_TOO_LONG, WH_ERR_UTF8, and as wh_send_to_uid. Thread: the loop's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_close_connection(
    id: *const c_char,
    id_len: usize,
    code: u16,
    reason: *const c_char,
    len: usize,
) -> wh_result {
    boundary::on_loop(|| {
        // SAFETY: the caller's promises.
        let (id, reason) = unsafe { (bytes::bytes(id.cast(), id_len)?, bytes::text(reason, len)?) };
        Ok(Hive::new().close_connection(connection_id(id)?, code, reason)?)
    })
}

/// Closes every member of a room. `code`: 1000 or 3000 to 4999, with a reason of up to 123 bytes of UTF-8.
/// Errors: WH_ERR_CLOSE_CODE, WH_ERR_TOO_LONG, WH_ERR_UTF8, and as wh_send_to_uid. Thread: the loop's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_close_room(
    room: *const u8,
    room_len: usize,
    code: u16,
    reason: *const c_char,
    len: usize,
) -> wh_result {
    boundary::on_loop(|| {
        // SAFETY: the caller's promises.
        let (room, reason) = unsafe { (bytes::bytes(room, room_len)?, bytes::text(reason, len)?) };
        Ok(Hive::new().close_room(room, code, reason)?)
    })
}

/// Makes every connection of a uid a member of a room.
/// Errors: as wh_send_to_uid. Thread: the loop's. Ownership: both names are copied.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_join_uid(
    uid: *const u8,
    uid_len: usize,
    room: *const u8,
    room_len: usize,
) -> wh_result {
    boundary::on_loop(|| {
        // SAFETY: the caller's promises.
        let (uid, room) = unsafe { (bytes::bytes(uid, uid_len)?, bytes::bytes(room, room_len)?) };
        Ok(Hive::new().join_uid(uid, room)?)
    })
}

/// Takes every connection of a uid from a room.
/// Errors: as wh_send_to_uid. Thread: the loop's. Ownership: both names are copied.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_leave_uid(
    uid: *const u8,
    uid_len: usize,
    room: *const u8,
    room_len: usize,
) -> wh_result {
    boundary::on_loop(|| {
        // SAFETY: the caller's promises.
        let (uid, room) = unsafe { (bytes::bytes(uid, uid_len)?, bytes::bytes(room, room_len)?) };
        Ok(Hive::new().leave_uid(uid, room)?)
    })
}

/// Makes one connection, in whichever process it is, a member of a room. `id`: as of wh_conn_id.
/// Errors: as wh_send_to_connection. Thread: the loop's. Ownership: both texts are copied.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_join_connection(
    id: *const c_char,
    id_len: usize,
    room: *const u8,
    room_len: usize,
) -> wh_result {
    boundary::on_loop(|| {
        // SAFETY: the caller's promises.
        let (id, room) = unsafe {
            (
                bytes::bytes(id.cast(), id_len)?,
                bytes::bytes(room, room_len)?,
            )
        };
        Ok(Hive::new().join_connection(connection_id(id)?, room)?)
    })
}

/// Takes one connection, in whichever process it is, from a room. `id`: as of wh_conn_id.
/// Errors: as wh_send_to_connection. Thread: the loop's. Ownership: both texts are copied.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_leave_connection(
    id: *const c_char,
    id_len: usize,
    room: *const u8,
    room_len: usize,
) -> wh_result {
    boundary::on_loop(|| {
        // SAFETY: the caller's promises.
        let (id, room) = unsafe {
            (
                bytes::bytes(id.cast(), id_len)?,
                bytes::bytes(room, room_len)?,
            )
        };
        Ok(Hive::new().leave_connection(connection_id(id)?, room)?)
    })
}

/// Ends a room: all its members leave it. Their connections stay.
/// Errors: as wh_send_to_uid. Thread: the loop's. Ownership: the name is copied.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_dismiss_room(room: *const u8, room_len: usize) -> wh_result {
    boundary::on_loop(|| {
        // SAFETY: the caller's promise.
        let room = unsafe { bytes::bytes(room, room_len) }?;
        Ok(Hive::new().dismiss_room(room)?)
    })
}
