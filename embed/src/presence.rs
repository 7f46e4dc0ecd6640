//! Who is there: questions to the whole hive.

use std::ffi::c_void;

use workhive::{Count, Hive, Names, Presence};

use crate::boundary;
use crate::bytes::{self, wh_bytes};
use crate::callback::{Callback, User, call, wh_destroy_fn};
use crate::codes::{WH_ERR_VALUE, WH_OK, wh_result};
use crate::error::{Failure, Outcome};

/// The uid has a connection.
pub const WH_ONLINE: i32 = 1;
/// It has none.
pub const WH_OFFLINE: i32 = 2;
/// The router has just been restarted, or cannot be reached.
pub const WH_UNKNOWN: i32 = 3;

/// One of WH_ONLINE, WH_OFFLINE, WH_UNKNOWN.
pub type wh_presence_fn = Option<unsafe extern "C" fn(user: *mut c_void, presence: i32)>;
/// So many connections; `partial` is 1 if there may be more, since not every process has answered.
pub type wh_count_fn = Option<unsafe extern "C" fn(user: *mut c_void, count: u64, partial: i32)>;
/// A page of names, which are lent. `next`: where the next page begins, -1 after the last. `partial`: 1 if some may be
/// missing.
pub type wh_names_fn = Option<
    unsafe extern "C" fn(
        user: *mut c_void,
        names: *const wh_bytes,
        count: usize,
        next: i64,
        partial: i32,
    ),
>;

/// How much there is in the hive.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct wh_totals {
    /// Uids with at least one connection.
    pub uids: u64,
    /// Rooms with at least one member.
    pub rooms: u64,
    /// Topics with at least one subscribed process.
    pub topics: u64,
    /// Worker processes.
    pub processes: u64,
}

/// `totals` is lent. `partial`: 1 if there may be more.
pub type wh_totals_fn =
    Option<unsafe extern "C" fn(user: *mut c_void, totals: *const wh_totals, partial: i32)>;

type OnTotals = unsafe extern "C" fn(user: *mut c_void, totals: *const wh_totals, partial: i32);
type OnPresence = unsafe extern "C" fn(user: *mut c_void, presence: i32);
type OnCount = unsafe extern "C" fn(user: *mut c_void, count: u64, partial: i32);
type OnNames = unsafe extern "C" fn(
    user: *mut c_void,
    names: *const wh_bytes,
    count: usize,
    next: i64,
    partial: i32,
);

fn tell_count(callback: &Callback<OnCount>, count: Count) -> workhive::Result {
    call(|| {
        // SAFETY: the host's own function with its own pointer.
        unsafe {
            (callback.function)(callback.user(), count.connections, i32::from(count.partial));
        }
        WH_OK
    })
}

fn tell_names(callback: &Callback<OnNames>, page: &Names) -> workhive::Result {
    let names: Vec<wh_bytes> = page.names.iter().map(|name| wh_bytes::of(name)).collect();
    call(|| {
        // SAFETY: the host's own function; the names are good until it returns.
        unsafe {
            (callback.function)(
                callback.user(),
                names.as_ptr(),
                names.len(),
                page.next.map_or(-1, i64::from),
                i32::from(page.partial),
            );
        }
        WH_OK
    })
}

/// Where a page begins.
fn page(from: i64) -> Outcome<u32> {
    match u32::try_from(from) {
        Ok(from) => Ok(from),
        Err(_) if from == -1 => Ok(0),
        Err(_) => Err(Failure::made(
            WH_ERR_VALUE,
            format!("{from} is where no page begins: give -1, or what the page before said"),
        )),
    }
}

/// Asks whether a uid has a connection, anywhere in the hive. The answer comes later, once.
/// Errors: WH_ERR_NAME, WH_ERR_BUSY, WH_ERR_NULL. Thread: the loop's. Ownership: the uid is copied. `user` belongs to the
/// library until it calls `destroy`, which it also does if this call fails.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_is_uid_online(
    uid: *const u8,
    len: usize,
    function: wh_presence_fn,
    user: *mut c_void,
    destroy: wh_destroy_fn,
) -> wh_result {
    let user = User::new(user, destroy);
    boundary::on_loop(move || {
        // SAFETY: the caller's promise.
        let uid = unsafe { bytes::bytes(uid, len) }?;
        let callback = Callback::<OnPresence>::new(function, user)?;
        Ok(Hive::new().is_uid_online(uid, move |presence| {
            let number = match presence {
                Presence::Online => WH_ONLINE,
                Presence::Offline => WH_OFFLINE,
                Presence::Unknown => WH_UNKNOWN,
            };
            call(|| {
                // SAFETY: the host's own function with its own pointer.
                unsafe { (callback.function)(callback.user(), number) };
                WH_OK
            })
        })?)
    })
}

/// Asks how many members a room has. The answer comes later, once.
/// Errors, thread and ownership: as wh_is_uid_online.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_room_size(
    room: *const u8,
    len: usize,
    function: wh_count_fn,
    user: *mut c_void,
    destroy: wh_destroy_fn,
) -> wh_result {
    let user = User::new(user, destroy);
    boundary::on_loop(move || {
        // SAFETY: the caller's promise.
        let room = unsafe { bytes::bytes(room, len) }?;
        let callback = Callback::new(function, user)?;
        Ok(Hive::new().room_size(room, move |count| tell_count(&callback, count))?)
    })
}

/// Asks how many connections wh_send_to_all reaches. The answer comes later, once.
/// Errors, thread and ownership: as wh_is_uid_online.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_online_count(
    function: wh_count_fn,
    user: *mut c_void,
    destroy: wh_destroy_fn,
) -> wh_result {
    let user = User::new(user, destroy);
    boundary::on_loop(move || {
        let callback = Callback::new(function, user)?;
        Ok(Hive::new().online_count(move |count| tell_count(&callback, count))?)
    })
}

/// Asks how many uids, rooms, topics and processes there are in the hive. The answer comes later, once.
/// Errors, thread and ownership: as wh_is_uid_online.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_totals_of_hive(
    function: wh_totals_fn,
    user: *mut c_void,
    destroy: wh_destroy_fn,
) -> wh_result {
    let user = User::new(user, destroy);
    boundary::on_loop(move || {
        let callback = Callback::<OnTotals>::new(function, user)?;
        Ok(Hive::new().totals(move |totals| {
            let told = wh_totals {
                uids: totals.uids,
                rooms: totals.rooms,
                topics: totals.topics,
                processes: totals.processes,
            };
            call(|| {
                // SAFETY: the host's own function; what it is shown is good until it returns.
                unsafe {
                    (callback.function)(
                        callback.user(),
                        &raw const told,
                        i32::from(totals.partial),
                    );
                }
                WH_OK
            })
        })?)
    })
}

/// Asks for the uids that are online, a page of up to 1,000, in no particular order.
/// `from`: -1 for the first page, else what the page before said. The answer comes later, once.
/// Errors: WH_ERR_VALUE, and as wh_is_uid_online. Thread and ownership: as wh_is_uid_online.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_uids(
    from: i64,
    function: wh_names_fn,
    user: *mut c_void,
    destroy: wh_destroy_fn,
) -> wh_result {
    let user = User::new(user, destroy);
    boundary::on_loop(move || {
        let callback = Callback::new(function, user)?;
        Ok(Hive::new().uids(page(from)?, move |page| tell_names(&callback, &page))?)
    })
}

/// Asks for the rooms that have members, as wh_uids does for uids.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_rooms(
    from: i64,
    function: wh_names_fn,
    user: *mut c_void,
    destroy: wh_destroy_fn,
) -> wh_result {
    let user = User::new(user, destroy);
    boundary::on_loop(move || {
        let callback = Callback::new(function, user)?;
        Ok(Hive::new().rooms(page(from)?, move |page| tell_names(&callback, &page))?)
    })
}
