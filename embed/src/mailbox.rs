//! Mail to the loop from other threads.

use std::ffi::c_void;
use std::sync::{Mutex, PoisonError};

use workhive::{Mailbox, Process};

use crate::boundary;
use crate::bytes::Out;
use crate::callback::{Callback, Plain, User, call, wh_destroy_fn, wh_worker_fn};
use crate::codes::{WH_ERR_GONE, wh_result};
use crate::error::{Failure, Outcome};
use crate::handles::{Kind, Table};

/// A way to a worker's loop from any thread. A handle; 0 is none.
pub type wh_mailbox = u64;

/// None once its loop is over.
type Slot = Option<Mailbox<()>>;

/// Of all threads. A process that forks has only one thread, so nobody else can hold it then.
static MAILBOXES: Mutex<Table<Slot>> = Mutex::new(Table::new(Kind::Mailbox));

/// The loop is over: letters that were posted meanwhile go with the last that could post another.
pub(crate) fn close() {
    let closed = with(|all| Ok(all.values().filter_map(Slot::take).collect::<Vec<_>>()));
    drop(closed);
}

fn with<R>(what: impl FnOnce(&mut Table<Slot>) -> Outcome<R>) -> Outcome<R> {
    // What is done with the table cannot leave it half changed.
    what(&mut MAILBOXES.lock().unwrap_or_else(PoisonError::into_inner))
}

/// A mailbox of this process's loop.
/// Errors: WH_ERR_STATE in a process without a loop.
/// Thread: the loop's. Ownership: the handle is the caller's until wh_mailbox_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_mailbox_new(out: *mut wh_mailbox) -> wh_result {
    boundary::on_loop(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::new(out) }?;
        let mailbox = Process::here(|process| process.mailbox())?;
        out.set(with(|all| Ok(all.insert(Some(mailbox))))?);
        Ok(())
    })
}

/// Has the loop call `function`, soon. If it fails, that is logged.
/// Errors: WH_ERR_BUSY if 65,536 letters wait already, WH_ERR_GONE if the loop is no more, WH_ERR_HANDLE.
/// Thread: any. Ownership: `user` belongs to the library until it calls `destroy`, on the loop after the call; or, if this
/// call fails, here and now on this thread. Letters that wait when the loop ends are destroyed without a call, on the loop or
/// on the thread that posts at that moment.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_mailbox_post(
    mailbox: wh_mailbox,
    function: wh_worker_fn,
    user: *mut c_void,
    destroy: wh_destroy_fn,
) -> wh_result {
    let user = User::new(user, destroy);
    boundary::anywhere(move || {
        boundary::check_process()?;
        let callback = Callback::<Plain>::new(function, user)?;
        let mailbox = with(|all| all.get(mailbox).cloned())?;
        let mailbox = mailbox.ok_or(Failure::known(WH_ERR_GONE, "the loop is over"))?;
        mailbox.post(move |_| {
            let callback = callback;
            // SAFETY: the host's own function with its own pointer.
            call(|| unsafe { (callback.function)(callback.user()) })
        })?;
        Ok(())
    })
}

/// Ends a mailbox. Letters that were posted are still delivered.
/// Thread: any.
#[unsafe(no_mangle)]
pub extern "C" fn wh_mailbox_free(mailbox: wh_mailbox) -> wh_result {
    boundary::anywhere(|| with(|all| all.remove(mailbox)).map(drop))
}
