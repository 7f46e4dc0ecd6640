//! Which process this is, and what it has done.

use std::cell::RefCell;

use workhive_worker::{Place, Seat};

use crate::boundary;
use crate::bytes::{Out, Shelf, show, wh_bytes};
use crate::codes::{WH_ERR_STATE, wh_result};
use crate::error::{Failure, Outcome};
use crate::hive::{self, wh_hive};

/// Which worker process this is.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct wh_place {
    /// The group's name; lent until this thread's next wh_place_of.
    pub group: wh_bytes,
    /// Which of the group's places, from 0. A timer that must run once in the group belongs into slot 0.
    pub slot: u32,
    /// How many places the group had when this process was started.
    pub count: u32,
    /// How often the place had been filled before.
    pub generation: u32,
    /// The process id.
    pub pid: u32,
}

/// What a process has done. Grows at its end only.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct wh_stats {
    /// Connections open now.
    pub connections: u64,
    /// Connections accepted.
    pub accepted: u64,
    /// Messages received.
    pub messages_in: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes that the system has taken for sending.
    pub bytes_out: u64,
    /// Sends that were refused: no room, or nobody there.
    pub send_failures: u64,
    /// Timers set now.
    pub timers: u64,
}

type Counters = Box<dyn Fn() -> wh_stats>;

thread_local! {
    static SEAT: RefCell<Option<(Place, Counters)>> = const { RefCell::new(None) };
}

/// This process is a worker from now on.
pub(crate) fn sit(seat: &Seat) {
    let row = seat.row.clone();
    let counters = move || {
        let counters = row.counters();
        wh_stats {
            connections: counters.connections,
            accepted: counters.accepted,
            messages_in: counters.messages,
            bytes_in: counters.bytes_read,
            bytes_out: counters.bytes_written,
            send_failures: counters.send_failures,
            timers: counters.timers,
        }
    };
    SEAT.set(Some((seat.place.clone(), Box::new(counters))));
}

fn seated<R>(hive: wh_hive, look: impl FnOnce(&Place, &Counters) -> Outcome<R>) -> Outcome<R> {
    hive::with(hive, |_| Ok(()))?;
    SEAT.with_borrow(|seat| match seat {
        Some((place, counters)) => look(place, counters),
        None => Err(Failure::known(
            WH_ERR_STATE,
            "this process is no worker, or not yet",
        )),
    })
}

/// Which worker this process is.
/// Errors: WH_ERR_STATE if it is none. Thread: the loop's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_place_of(hive: wh_hive, out: *mut wh_place) -> wh_result {
    boundary::looking(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::new(out) }?;
        seated(hive, |place, _| {
            out.set(wh_place {
                group: show(Shelf::Place, |bytes| {
                    bytes.extend_from_slice(place.group.as_bytes());
                }),
                slot: u32::from(place.slot),
                count: u32::from(place.count),
                generation: place.generation,
                pid: std::process::id(),
            });
            Ok(())
        })
    })
}

/// What this process has done, as of the end of its last turn.
/// `size`: `sizeof(wh_stats)`. Errors: WH_ERR_STATE if it is no worker. Thread: the loop's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_stats_of(hive: wh_hive, out: *mut wh_stats, size: usize) -> wh_result {
    boundary::looking(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::new(out) }?;
        seated(hive, |_, counters| out.set_up_to(counters(), size))
    })
}
