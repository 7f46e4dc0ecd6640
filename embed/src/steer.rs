//! What tells a hive, or a process of it, to be ready, to reload, to end.
#![expect(
    clippy::redundant_closure_for_method_calls,
    reason = "the methods themselves are of one lifetime, not of any"
)]

use std::ffi::c_char;

use workhive::Process;

use crate::boundary;
use crate::bytes;
use crate::callback::MAX_WHY;
use crate::codes::wh_result;
use crate::error::Outcome;
use crate::hive::wh_hive;
use crate::run::{Role, signal_master};

fn to_role(hive: wh_hive, signal: i32, worker: impl FnOnce(&mut Process<'_, ()>)) -> Outcome {
    match Role::of(hive)? {
        Role::Worker => {
            Process::here(worker);
            Ok(())
        }
        Role::Master => signal_master(hive, signal),
    }
}

/// Ends a start that on_worker_start has left open by WH_PENDING: the process is ready, and accepts; or it cannot start, for
/// the reason in `why_not`, if that is not NULL. The time that a process has to boot includes it.
/// Errors: WH_ERR_STATE if no worker runs in this process. Otherwise, said too often, it does nothing.
/// Thread: the loop's. Ownership: the text is copied.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_ready(hive: wh_hive, why_not: *const c_char, len: usize) -> wh_result {
    boundary::on_loop(|| {
        // SAFETY: the caller's promise.
        let text = unsafe { bytes::bytes(why_not.cast(), len) }?;
        let text = text.get(..MAX_WHY).unwrap_or(text);
        let reason = (!why_not.is_null()).then(|| String::from_utf8_lossy(text).into_owned());
        to_role(hive, 0, |process| match reason {
            Some(reason) => process.not_ready(reason),
            None => process.ready(),
        })
    })
}

/// Does what the signal would do to this process, for hosts that handle signals themselves (WH_SIGNALS_HOST): SIGTERM and
/// SIGQUIT let a worker drain; a nested master obeys TERM, QUIT, INT, HUP, USR1, USR2, TTIN and TTOU. Others do nothing.
/// Errors: WH_ERR_STATE if nothing runs in this process. Thread: the loop's; not inside a signal handler.
#[unsafe(no_mangle)]
pub extern "C" fn wh_signal(hive: wh_hive, signo: i32) -> wh_result {
    boundary::on_loop(|| {
        to_role(hive, signo, |process| {
            if signo == libc::SIGTERM || signo == libc::SIGQUIT {
                process.stop();
            }
        })
    })
}

/// Ends this process gracefully: a worker drains, and the master starts another; a nested master stops the hive.
/// Errors: WH_ERR_STATE if nothing runs in this process. Thread: the loop's.
#[unsafe(no_mangle)]
pub extern "C" fn wh_stop(hive: wh_hive) -> wh_result {
    boundary::on_loop(|| to_role(hive, libc::SIGTERM, |process| process.stop()))
}

/// Ends the whole hive gracefully.
/// Errors: WH_ERR_STATE if nothing runs in this process. Thread: the loop's.
#[unsafe(no_mangle)]
pub extern "C" fn wh_stop_all(hive: wh_hive) -> wh_result {
    boundary::on_loop(|| to_role(hive, libc::SIGTERM, |process| process.stop_all()))
}

/// Reloads the whole hive, as SIGUSR1 to its master does.
/// Errors: WH_ERR_STATE if nothing runs in this process. Thread: the loop's.
#[unsafe(no_mangle)]
pub extern "C" fn wh_reload_all(hive: wh_hive) -> wh_result {
    boundary::on_loop(|| to_role(hive, libc::SIGUSR1, |process| process.reload_all()))
}
