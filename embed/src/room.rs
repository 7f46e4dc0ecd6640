//! What a connection is in the hive: its uids, its rooms, its session data.

use std::cell::Cell;
use std::ffi::c_void;
use std::rc::Rc;

use workhive::Handle;
use workhive_worker::Untyped;

use crate::boundary;
use crate::bytes::{self, Out, Shelf, show, show_list, wh_bytes};
use crate::callback::{Callback, User, call, is_ending, wh_destroy_fn};
use crate::codes::{WH_ERR_GONE, WH_OK, wh_result};
use crate::conn::wh_conn;
use crate::error::{Failure, Outcome};
use crate::handles::connection;

/// Something that was asked for is in force: `result` is WH_OK; or WH_ERR_GONE: the connection ended first.
pub type wh_done_fn = Option<unsafe extern "C" fn(user: *mut c_void, result: wh_result)>;

type OnDone = unsafe extern "C" fn(user: *mut c_void, result: wh_result);

/// Calls the host once: when it is done, or when it is dropped because it never will be.
struct Done {
    callback: Callback<OnDone>,
    result: wh_result,
    /// False until the call that took it has succeeded: one that failed says so by itself.
    is_promised: Rc<Cell<bool>>,
}

impl Drop for Done {
    fn drop(&mut self) {
        if self.is_promised.get() && !is_ending() {
            let Self {
                callback, result, ..
            } = self;
            let told = call(|| {
                // SAFETY: the host's own function with its own pointer.
                unsafe { (callback.function)(callback.user(), *result) };
                WH_OK
            });
            drop(told);
        }
    }
}

/// Asks for something that is in force later, with or without a function that is told.
fn then(
    function: Option<OnDone>,
    user: User,
    plain: impl FnOnce() -> workhive::Result,
    telling: impl FnOnce(Box<dyn FnOnce() -> workhive::Result>) -> workhive::Result,
) -> Outcome {
    let Some(callback) = Callback::optional(function, user) else {
        return Ok(plain()?);
    };
    let is_promised = Rc::new(Cell::new(false));
    let mut done = Done {
        callback,
        result: WH_ERR_GONE,
        is_promised: Rc::clone(&is_promised),
    };
    telling(Box::new(move || {
        done.result = WH_OK;
        drop(done);
        Ok(())
    }))?;
    is_promised.set(true);
    Ok(())
}

fn known(conn: wh_conn) -> Outcome<Handle<Untyped>> {
    let handle = connection(conn)?;
    handle.protocol().map(|_| handle).ok_or(Failure::gone())
}

/// Makes the connection one of those that messages to `uid` reach. A uid, 1 to 255 bytes, may have any number of connections
/// in any processes; a connection has one uid, or up to WH_MAX_UIDS. The same uid again changes nothing.
/// `done` (may be NULL) is called when every message that is sent to the uid from then on, by whatever process, will reach the
/// connection.
/// Errors: WH_ERR_NAME, WH_ERR_TOO_MANY, WH_ERR_GONE, WH_ERR_BUSY; `done` is not called then.
/// Thread: the loop's. Ownership: the uid is copied. `user` belongs to the library until it calls `destroy`, which it also
/// does if this call fails.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_conn_bind_uid(
    conn: wh_conn,
    uid: *const u8,
    len: usize,
    done: wh_done_fn,
    user: *mut c_void,
    destroy: wh_destroy_fn,
) -> wh_result {
    let user = User::new(user, destroy);
    boundary::on_loop(move || {
        // SAFETY: the caller's promise.
        let uid = unsafe { bytes::bytes(uid, len) }?;
        let handle = known(conn)?;
        then(
            done,
            user,
            || handle.bind_uid(uid),
            |told| handle.bind_uid_then(uid, told),
        )
    })
}

/// Binds a uid that only one connection is to have: the one that had claimed it before, wherever in the hive, is closed with
/// code 4001.
/// Errors: as wh_conn_bind_uid. Thread: the loop's. Ownership: the uid is copied.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_conn_claim_uid(conn: wh_conn, uid: *const u8, len: usize) -> wh_result {
    boundary::on_loop(|| {
        // SAFETY: the caller's promise.
        let uid = unsafe { bytes::bytes(uid, len) }?;
        Ok(known(conn)?.claim_uid(uid)?)
    })
}

/// Undoes wh_conn_bind_uid and wh_conn_claim_uid.
/// Errors: WH_ERR_NOT_BOUND, WH_ERR_GONE. Thread: the loop's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_conn_unbind_uid(
    conn: wh_conn,
    uid: *const u8,
    len: usize,
) -> wh_result {
    boundary::on_loop(|| {
        // SAFETY: the caller's promise.
        let uid = unsafe { bytes::bytes(uid, len) }?;
        Ok(known(conn)?.unbind_uid(uid)?)
    })
}

/// The uid of the connection; the first one, if it has several; data is NULL if it has none. In on_close it is still known.
/// Errors: WH_ERR_GONE. Thread: the loop's. Lifetime: until this thread's next call of the same function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_conn_uid(conn: wh_conn, out: *mut wh_bytes) -> wh_result {
    boundary::looking(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::new(out) }?;
        let uids = known(conn)?.uids();
        out.set(match uids.first() {
            Some(uid) => show(Shelf::Uid, |bytes| bytes.extend_from_slice(uid)),
            None => wh_bytes::NONE,
        });
        Ok(())
    })
}

/// All uids of the connection, in no particular order. In on_close they are still known.
/// Errors: WH_ERR_GONE. Thread: the loop's. Lifetime: until this thread's next call of the same function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_conn_uids(
    conn: wh_conn,
    out: *mut *const wh_bytes,
    count: *mut usize,
) -> wh_result {
    boundary::looking(|| {
        // SAFETY: the caller's promises.
        let (out, count) = unsafe { (Out::new(out)?, Out::new(count)?) };
        let (list, len) = show_list(Shelf::Uids, &known(conn)?.uids());
        out.set(list);
        count.set(len);
        Ok(())
    })
}

/// Makes the connection a member of a room, 1 to 255 bytes: wh_send_to_room reaches it from any process. A connection can be
/// in 128 rooms, or WH_MAX_ROOMS. The same room again changes nothing.
/// `done` (may be NULL) is called when it is in force.
/// Errors and ownership: as wh_conn_bind_uid. Thread: the loop's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_conn_join_room(
    conn: wh_conn,
    room: *const u8,
    len: usize,
    done: wh_done_fn,
    user: *mut c_void,
    destroy: wh_destroy_fn,
) -> wh_result {
    let user = User::new(user, destroy);
    boundary::on_loop(move || {
        // SAFETY: the caller's promise.
        let room = unsafe { bytes::bytes(room, len) }?;
        let handle = known(conn)?;
        then(
            done,
            user,
            || handle.join_room(room),
            |told| handle.join_room_then(room, told),
        )
    })
}

/// Takes the connection from a room.
/// Errors: WH_ERR_NOT_BOUND if it is not in it, WH_ERR_GONE. Thread: the loop's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_conn_leave_room(
    conn: wh_conn,
    room: *const u8,
    len: usize,
) -> wh_result {
    boundary::on_loop(|| {
        // SAFETY: the caller's promise.
        let room = unsafe { bytes::bytes(room, len) }?;
        Ok(known(conn)?.leave_room(room)?)
    })
}

/// The rooms of the connection, in no particular order. In on_close they are still known.
/// Errors: WH_ERR_GONE. Thread: the loop's. Lifetime: until this thread's next call of the same function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_conn_rooms(
    conn: wh_conn,
    out: *mut *const wh_bytes,
    count: *mut usize,
) -> wh_result {
    boundary::looking(|| {
        // SAFETY: the caller's promises.
        let (out, count) = unsafe { (Out::new(out)?, Out::new(count)?) };
        let (list, len) = show_list(Shelf::Rooms, &known(conn)?.rooms());
        out.set(list);
        count.set(len);
        Ok(())
    })
}

/// Sets data of the connection that any process can ask for. Up to 64 KiB.
/// Errors: WH_ERR_TOO_LONG, WH_ERR_GONE. Thread: the loop's. Ownership: the bytes are copied.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_conn_set_session(
    conn: wh_conn,
    data: *const u8,
    len: usize,
) -> wh_result {
    boundary::on_loop(|| {
        // SAFETY: the caller's promise.
        let data = unsafe { bytes::bytes(data, len) }?;
        Ok(known(conn)?.set_session(data)?)
    })
}

/// What was set with wh_conn_set_session; data is NULL if nothing was. In on_close it is still known.
/// Errors: WH_ERR_GONE. Thread: the loop's. Lifetime: until this thread's next call of the same function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_conn_session(conn: wh_conn, out: *mut wh_bytes) -> wh_result {
    boundary::looking(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::new(out) }?;
        out.set(match known(conn)?.session() {
            Some(data) => show(Shelf::Session, |bytes| bytes.extend_from_slice(&data)),
            None => wh_bytes::NONE,
        });
        Ok(())
    })
}
