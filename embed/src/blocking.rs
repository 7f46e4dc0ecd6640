//! Work that blocks, on threads beside the loop.

use std::ffi::c_void;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use workhive::Process;

use crate::boundary;
use crate::callback::{Callback, Plain, User, call, wh_destroy_fn, wh_worker_fn};
use crate::codes::{WH_ERR_NULL, wh_result};
use crate::error::Failure;

/// Work on a thread of the pool. It may call only what any thread may.
pub type wh_work_fn = Option<unsafe extern "C" fn(user: *mut c_void)>;

type Work = unsafe extern "C" fn(user: *mut c_void);

/// How far a piece of work has come.
#[derive(Default)]
struct Progress {
    is_accepted: AtomicBool,
    is_done: AtomicBool,
}

/// The work, and the pointer that both functions share.
struct Job {
    work: Work,
    user: *mut c_void,
    progress: Arc<Progress>,
}

// SAFETY: the header says that `work` is called on another thread, with this pointer.
unsafe impl Send for Job {}

impl Job {
    fn run(&self) {
        // SAFETY: the host's own function with its own pointer, which is not destroyed before it has returned.
        unsafe { (self.work)(self.user) };
        self.progress.is_done.store(true, Ordering::Release);
    }
}

/// What is done afterwards.
struct Then {
    callback: Option<Callback<Plain>>,
    progress: Arc<Progress>,
}

impl Drop for Then {
    fn drop(&mut self) {
        // The loop ends, and the work goes on: what it works with must stay.
        let Progress {
            is_accepted,
            is_done,
        } = &*self.progress;
        if is_accepted.load(Ordering::Acquire) && !is_done.load(Ordering::Acquire) {
            std::mem::forget(self.callback.take());
        }
    }
}

/// Runs `work` on a small pool of threads, for calls that block, and `then` (may be NULL) back on the loop, both with
/// `user`. If `then` fails, that is logged.
/// Errors: WH_ERR_BUSY if 1,024 pieces of work wait already; WH_ERR_STATE in a process without a loop.
/// Thread: the loop's. Ownership: `user` belongs to the library until it calls `destroy`, on the loop, after `then`, or if
/// this call fails. A process that ends does not wait for work that runs, and leaves its `user` as it is.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_blocking(
    work: wh_work_fn,
    then: wh_worker_fn,
    user: *mut c_void,
    destroy: wh_destroy_fn,
) -> wh_result {
    let owned = User::new(user, destroy);
    boundary::on_loop(move || {
        let Some(work) = work else {
            return Err(Failure::known(WH_ERR_NULL, "the work is NULL"));
        };
        let progress = Arc::new(Progress::default());
        let job = Job {
            work,
            user,
            progress: Arc::clone(&progress),
        };
        let then = Then {
            callback: Callback::<Plain>::optional(Some(then.unwrap_or(nothing)), owned),
            progress: Arc::clone(&progress),
        };
        Process::here(|process| {
            process.blocking(
                move || job.run(),
                move |_, done| {
                    done?;
                    match &then.callback {
                        // SAFETY: the host's own function with its own pointer.
                        Some(then) => call(|| unsafe { (then.function)(then.user()) }),
                        None => Ok(()),
                    }
                },
            )
        })?;
        progress.is_accepted.store(true, Ordering::Release);
        Ok(())
    })
}

unsafe extern "C" fn nothing(_user: *mut c_void) -> i32 {
    0
}
