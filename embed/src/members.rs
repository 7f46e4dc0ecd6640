//! Which connections there are in the hive, and what they have set.

use std::ffi::{c_char, c_void};

use workhive::{ConnectionId, Hive, Members, RouteError};

use crate::boundary;
use crate::bytes::{self, wh_bytes};
use crate::callback::{Callback, User, call, wh_destroy_fn};
use crate::codes::{WH_OK, wh_result};
use crate::error::Outcome;
use crate::push::connection_id;

/// A connection in a listing.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct wh_member {
    /// Its id, as of wh_conn_id.
    pub id: wh_bytes,
    /// Its uids.
    pub uids: *const wh_bytes,
    /// How many they are.
    pub uid_count: usize,
}

/// A page of connections, at most 1,000, which are lent. `more`: 1 if there are more; ask again with the id of the last of
/// these. `partial`: 1 if some may be missing, since not every process has answered.
pub type wh_members_fn = Option<
    unsafe extern "C" fn(
        user: *mut c_void,
        members: *const wh_member,
        count: usize,
        more: i32,
        partial: i32,
    ),
>;
/// Session data, which are lent. `data` is NULL if there is no such connection; `len` is 0 if it has set none. `partial`: 1 if
/// the connection may exist all the same: its process has not answered.
pub type wh_session_fn =
    Option<unsafe extern "C" fn(user: *mut c_void, data: *const u8, len: usize, partial: i32)>;

type OnMembers = unsafe extern "C" fn(
    user: *mut c_void,
    members: *const wh_member,
    count: usize,
    more: i32,
    partial: i32,
);
type OnSession = unsafe extern "C" fn(user: *mut c_void, data: *const u8, len: usize, partial: i32);

fn tell(callback: &Callback<OnMembers>, page: &Members) -> workhive::Result {
    let ids: Vec<String> = page
        .members
        .iter()
        .map(|member| member.id.to_string())
        .collect();
    let uids: Vec<Vec<wh_bytes>> = page
        .members
        .iter()
        .map(|member| member.uids.iter().map(|uid| wh_bytes::of(uid)).collect())
        .collect();
    let members: Vec<wh_member> = ids
        .iter()
        .zip(&uids)
        .map(|(id, uids)| wh_member {
            id: wh_bytes::of(id.as_bytes()),
            uids: uids.as_ptr(),
            uid_count: uids.len(),
        })
        .collect();
    call(|| {
        // SAFETY: the host's own function; what it is shown is good until it returns.
        unsafe {
            (callback.function)(
                callback.user(),
                members.as_ptr(),
                members.len(),
                i32::from(page.more),
                i32::from(page.partial),
            );
        }
        WH_OK
    })
}

/// Asks for a page of connections: those behind `after`, if that is not empty.
///
/// # Safety
/// There are `len` bytes at `after`.
unsafe fn ask(
    function: Option<OnMembers>,
    user: User,
    after: *const c_char,
    len: usize,
    ask: impl FnOnce(
        Option<ConnectionId>,
        Box<dyn FnOnce(Members) -> workhive::Result>,
    ) -> Result<(), RouteError>,
) -> Outcome {
    // SAFETY: passed on.
    let after = unsafe { bytes::bytes(after.cast(), len) }?;
    let after = match after {
        [] => None,
        id => Some(connection_id(id)?),
    };
    let callback = Callback::new(function, user)?;
    Ok(ask(after, Box::new(move |page| tell(&callback, &page)))?)
}

/// Asks for the connections of a uid, a page of them.
/// `after`: NULL and 0 for the first page, else the id of the last connection of the page before. The answer comes later, once.
/// Errors: WH_ERR_NAME, WH_ERR_BUSY, WH_ERR_NULL, WH_ERR_VALUE for text that is no id. Thread: the loop's. Ownership: all bytes
/// are copied. `user` belongs to the library until it calls `destroy`, which it also does if this call fails.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_members_of_uid(
    uid: *const u8,
    uid_len: usize,
    after: *const c_char,
    after_len: usize,
    function: wh_members_fn,
    user: *mut c_void,
    destroy: wh_destroy_fn,
) -> wh_result {
    let user = User::new(user, destroy);
    boundary::on_loop(move || {
        // SAFETY: the caller's promises.
        unsafe {
            let uid = bytes::bytes(uid, uid_len)?;
            ask(function, user, after, after_len, |after, then| {
                Hive::new().connections_of_uid(uid, after, then)
            })
        }
    })
}

/// Asks for the members of a room, as wh_members_of_uid does for a uid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_members_of_room(
    room: *const u8,
    room_len: usize,
    after: *const c_char,
    after_len: usize,
    function: wh_members_fn,
    user: *mut c_void,
    destroy: wh_destroy_fn,
) -> wh_result {
    let user = User::new(user, destroy);
    boundary::on_loop(move || {
        // SAFETY: the caller's promises.
        unsafe {
            let room = bytes::bytes(room, room_len)?;
            ask(function, user, after, after_len, |after, then| {
                Hive::new().room_members(room, after, then)
            })
        }
    })
}

/// Asks for all connections that wh_send_to_all reaches, as wh_members_of_uid does for a uid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_members_of_all(
    after: *const c_char,
    after_len: usize,
    function: wh_members_fn,
    user: *mut c_void,
    destroy: wh_destroy_fn,
) -> wh_result {
    let user = User::new(user, destroy);
    boundary::on_loop(move || {
        // SAFETY: the caller's promises.
        unsafe {
            ask(function, user, after, after_len, |after, then| {
                Hive::new().connections(after, then)
            })
        }
    })
}

/// Asks what a connection, in whichever process it is, has set with wh_conn_set_session. The answer comes later, once.
/// `id`: as of wh_conn_id. Errors: WH_ERR_VALUE for text that is no id, WH_ERR_OTHER_HIVE, WH_ERR_BUSY, WH_ERR_NULL. Thread: the
/// loop's. Ownership: as wh_members_of_uid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_session_of(
    id: *const c_char,
    id_len: usize,
    function: wh_session_fn,
    user: *mut c_void,
    destroy: wh_destroy_fn,
) -> wh_result {
    let user = User::new(user, destroy);
    boundary::on_loop(move || {
        // SAFETY: the caller's promise.
        let id = connection_id(unsafe { bytes::bytes(id.cast(), id_len) }?)?;
        let callback = Callback::<OnSession>::new(function, user)?;
        Ok(Hive::new().session(id, move |session| {
            let data = wh_bytes::of_option(session.data.as_deref());
            call(|| {
                // SAFETY: the host's own function; the data are good until it returns.
                unsafe {
                    (callback.function)(
                        callback.user(),
                        data.data,
                        data.len,
                        i32::from(session.partial),
                    );
                }
                WH_OK
            })
        })?)
    })
}
