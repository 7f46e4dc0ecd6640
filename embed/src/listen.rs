//! Listeners that a running process opens by itself.
#![expect(
    clippy::redundant_closure_for_method_calls,
    reason = "the methods themselves are of one lifetime, not of any"
)]

use std::ffi::c_char;

use workhive::Process;

use crate::boundary;
use crate::bytes;
use crate::codes::{WH_ERR_ADDRESS, WH_ERR_OPTION, WH_ERR_STATE, wh_result};
use crate::error::{Failure, Outcome};
use crate::worker::{self, wh_worker};

/// Opens a listener in this process: in on_worker_start, or later. WH_REUSE_PORT and WH_SHARED say what happens if each
/// process of a group does so.
/// Errors: WH_ERR_IN_USE, whose text names who listens there and the remedies; WH_ERR_ACCESS; WH_ERR_LISTEN;
/// WH_ERR_OPTION for options and functions that only groups have; WH_ERR_ADDRESS for a worker without an address;
/// WH_ERR_STATE in a process without a loop.
/// Thread: the loop's. Ownership: on WH_OK the worker is the library's, and its handle is none any more; otherwise it
/// stays the caller's.
#[unsafe(no_mangle)]
pub extern "C" fn wh_listen(worker: wh_worker) -> wh_result {
    boundary::on_loop(|| {
        let sketch = worker::sketch(worker)?;
        if sketch.address.is_none() {
            return Err(Failure::known(
                WH_ERR_ADDRESS,
                "the worker was made without an address: there is nowhere to listen",
            ));
        }
        if sketch.events.of_process() {
            return Err(Failure::known(
                WH_ERR_OPTION,
                "a listener inside of a process has no on_worker_* and on_uid_* functions",
            ));
        }
        // A worker's group has a process at least: its own.
        if Process::here(|process| process.count()) == 0 {
            return Err(Failure::known(
                WH_ERR_STATE,
                "no loop runs in this process, or on this thread: call wh_listen in on_worker_start, or later",
            ));
        }
        sketch.listen()?;
        worker::take(worker)
    })
}

/// Without its scheme: places are told apart by what stands behind it.
fn place(address: &str) -> &str {
    match address.split_once("://") {
        Some(("unix", _)) | None => address,
        Some((_, place)) => place,
    }
}

unsafe fn at(
    address: *const c_char,
    len: usize,
    what: impl FnOnce(&mut Process<'_, ()>, &str) -> workhive::Result,
) -> Outcome {
    // SAFETY: passed on.
    let address = unsafe { bytes::text(address, len) }?;
    Ok(Process::here(|process| what(process, place(address)))?)
}

/// Closes the listener of this process at an address; its connections stay.
/// Errors: WH_ERR_NOT_LISTENING, WH_ERR_ADDRESS. Thread: the loop's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_unlisten(address: *const c_char, len: usize) -> wh_result {
    // SAFETY: the caller's promise.
    boundary::on_loop(|| unsafe { at(address, len, |process, place| process.unlisten(place)) })
}

/// Lets new connections wait in the accept queue of the listener at an address.
/// Errors: WH_ERR_NOT_LISTENING, WH_ERR_ADDRESS. Thread: the loop's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_pause_accept(address: *const c_char, len: usize) -> wh_result {
    // SAFETY: the caller's promise.
    boundary::on_loop(|| unsafe { at(address, len, |process, place| process.pause_accept(place)) })
}

/// Accepts again.
/// Errors: WH_ERR_NOT_LISTENING, WH_ERR_ADDRESS. Thread: the loop's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_resume_accept(address: *const c_char, len: usize) -> wh_result {
    // SAFETY: the caller's promise.
    boundary::on_loop(|| unsafe { at(address, len, |process, place| process.resume_accept(place)) })
}
