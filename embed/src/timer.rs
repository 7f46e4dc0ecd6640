//! Timers of a running worker.

use std::cell::{Cell, RefCell};
use std::ffi::c_void;
use std::rc::Rc;
use std::time::Duration;

use workhive::{Process, TimerId};

use crate::boundary;
use crate::bytes::Out;
use crate::callback::{Callback, Plain, User, call, wh_destroy_fn, wh_worker_fn};
use crate::codes::wh_result;
use crate::error::Outcome;
use crate::handles::{Kind, Table};

/// A timer. A handle; 0 is none.
pub type wh_timer = u64;

thread_local! {
    static TIMERS: RefCell<Table<Rc<Cell<Option<TimerId>>>>> = const { RefCell::new(Table::new(Kind::Timer)) };
}

/// What a timer carries: when it goes, the handle is none any more.
struct Ticking {
    callback: Callback<Plain>,
    handle: wh_timer,
}

impl Ticking {
    fn tick(&self) -> workhive::Result {
        // SAFETY: the host's own function with its own pointer.
        call(|| unsafe { (self.callback.function)(self.callback.user()) })
    }
}

impl Drop for Ticking {
    fn drop(&mut self) {
        // On a thread that is ending the table may be gone.
        let _ = TIMERS.try_with(|timers| {
            if let Ok(mut timers) = timers.try_borrow_mut() {
                let _gone = timers.remove(self.handle);
            }
        });
    }
}

fn start(
    function: Option<Plain>,
    user: User,
    out: *mut wh_timer,
    start: impl FnOnce(Ticking) -> workhive::Result<TimerId>,
) -> Outcome {
    let callback = Callback::new(function, user)?;
    // SAFETY: the promise of those who call this.
    let out = unsafe { Out::new(out) }?;
    let id = Rc::new(Cell::new(None));
    let handle = TIMERS.with_borrow_mut(|timers| timers.insert(Rc::clone(&id)));
    id.set(Some(start(Ticking { callback, handle })?));
    out.set(handle);
    Ok(())
}

/// Calls `function` once, after `ms` milliseconds. If it fails, that is logged.
/// Errors: WH_ERR_STATE in a process without a loop.
/// Thread: the loop's. Ownership: `user` belongs to the library until it calls `destroy`, when the timer is over, or if
/// this call fails.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_timer_after(
    ms: u64,
    function: wh_worker_fn,
    user: *mut c_void,
    destroy: wh_destroy_fn,
    out: *mut wh_timer,
) -> wh_result {
    let user = User::new(user, destroy);
    boundary::on_loop(move || {
        start(function, user, out, |ticking| {
            Process::here(|process| {
                process.after(Duration::from_millis(ms), move |_| ticking.tick())
            })
        })
    })
}

/// Calls `function` every `ms` milliseconds (0 counts as 1), first after one such time. It does not drift; times that
/// the loop missed are skipped. It goes on when the function fails, which is logged.
/// Errors: WH_ERR_STATE in a process without a loop.
/// Thread: the loop's. Ownership: as for wh_timer_after; the timer is over when it is cancelled.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_timer_every(
    ms: u64,
    function: wh_worker_fn,
    user: *mut c_void,
    destroy: wh_destroy_fn,
    out: *mut wh_timer,
) -> wh_result {
    let user = User::new(user, destroy);
    boundary::on_loop(move || {
        start(function, user, out, |ticking| {
            Process::here(|process| {
                process.every(Duration::from_millis(ms), move |_| ticking.tick())
            })
        })
    })
}

/// Stops a timer; also from inside its own function.
/// Errors: WH_ERR_HANDLE if it is over. Thread: the loop's.
#[unsafe(no_mangle)]
pub extern "C" fn wh_timer_cancel(timer: wh_timer) -> wh_result {
    boundary::on_loop(|| {
        let id = TIMERS.with_borrow_mut(|timers| timers.remove(timer))?;
        if let Some(id) = id.get() {
            Process::here(|process| process.cancel(id));
        }
        Ok(())
    })
}
