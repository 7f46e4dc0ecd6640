//! Workers: what processes are to do, before they do it.

use std::cell::RefCell;
use std::ffi::{c_char, c_void};
use std::mem::ManuallyDrop;
use std::rc::Rc;

use workhive::Address;

use crate::boundary;
use crate::bytes::{self, Out};
use crate::callback::{
    Callback, User, wh_close_fn, wh_conn_fn, wh_destroy_fn, wh_error_fn, wh_message_fn,
    wh_opening_fn, wh_request_fn, wh_uid_fn, wh_worker_fn,
};
use crate::codes::{WH_ERR_OPTION, wh_result};
use crate::define::Sketch;
use crate::error::{Failure, Outcome};
use crate::events::Events;
use crate::handles::{Kind, Table};
use crate::options::Options;
use crate::protocol::Speech;

/// What a group of processes is to do, or a listener inside a running process. A handle; 0 is none.
pub type wh_worker = u64;

thread_local! {
    /// Left as it is when the thread ends: see [`User`].
    static WORKERS: RefCell<ManuallyDrop<Table<Rc<RefCell<Sketch>>>>> =
        const { RefCell::new(ManuallyDrop::new(Table::new(Kind::Worker))) };
}

/// A copy of what was said of a worker so far.
pub(crate) fn sketch(worker: wh_worker) -> Outcome<Sketch> {
    WORKERS.with_borrow(|workers| Ok(workers.get(worker)?.borrow().clone()))
}

/// The handle is none from now on.
pub(crate) fn take(worker: wh_worker) -> Outcome {
    // Dropped with nothing borrowed: it calls the host.
    let taken = WORKERS.with_borrow_mut(|workers| workers.remove(worker))?;
    drop(taken);
    Ok(())
}

pub(crate) fn none_left() -> bool {
    WORKERS.with_borrow(|workers| workers.is_empty())
}

fn change<R>(worker: wh_worker, change: impl FnOnce(&mut Sketch) -> Outcome<R>) -> Outcome<R> {
    let sketch = WORKERS.with_borrow(|workers| workers.get(worker).map(Rc::clone))?;
    let mut sketch = sketch.borrow_mut();
    change(&mut sketch)
}

fn read_address(text: &str) -> Outcome<(Speech, Option<String>)> {
    if text.is_empty() {
        return Ok((Speech::Tcp, None));
    }
    let (speech, address) = match text.split_once("://") {
        Some(("unix", _)) | None => (Speech::Tcp, text),
        Some((scheme, address)) => (Speech::of(scheme)?, address),
    };
    address.parse::<Address>()?;
    Ok((speech, Some(address.to_owned())))
}

/// A worker that is to listen at an address: a scheme, "://" and a place, as in "websocket://0.0.0.0:1234". Schemes:
/// websocket (or ws), http, text, frame, tcp, and those of wh_protocol_register. Places: "127.0.0.1:8080", `[::]:8080`,
/// "localhost:8080", "unix:/path"; port 0 lets the system choose. Without a scheme it is tcp. An empty address makes a
/// worker without a listener of its own.
/// Errors: WH_ERR_SCHEME, WH_ERR_ADDRESS.
/// Thread: the loop's; the first call makes this thread the loop's. Ownership: the handle is the caller's, until
/// wh_hive_add or wh_listen have taken the worker over, or wh_worker_free has ended it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_worker_new(
    address: *const c_char,
    len: usize,
    out: *mut wh_worker,
) -> wh_result {
    boundary::beginning(|| {
        // SAFETY: the caller's promises.
        let (address, out) = unsafe { (bytes::text(address, len)?, Out::new(out)?) };
        let (speech, address) = read_address(address)?;
        let sketch = Sketch {
            speech,
            address,
            options: Options::default(),
            events: Events::default(),
        };
        out.set(WORKERS.with_borrow_mut(|workers| workers.insert(Rc::new(RefCell::new(sketch)))));
        Ok(())
    })
}

/// Ends a worker that was given neither to wh_hive_add nor to wh_listen; the functions that it was to call are destroyed.
/// Thread: the loop's.
#[unsafe(no_mangle)]
pub extern "C" fn wh_worker_free(worker: wh_worker) -> wh_result {
    boundary::freeing(|| {
        take(worker)?;
        crate::hive::disown_if_empty();
        Ok(())
    })
}

/// Sets an option that is a number, one of those below WH_NAME.
/// Errors: WH_ERR_OPTION if there is none, or not for this protocol; WH_ERR_VALUE if it is out of range.
/// Thread: the loop's.
#[unsafe(no_mangle)]
pub extern "C" fn wh_worker_set_int(worker: wh_worker, option: u32, value: i64) -> wh_result {
    boundary::looking(|| {
        change(worker, |sketch| {
            let speech = sketch.speech.clone();
            sketch.options.set_number(option, value, &speech)
        })
    })
}

/// Sets an option that is a text, one of those from WH_NAME on.
/// Errors: WH_ERR_OPTION if there is none.
/// Thread: the loop's. Ownership: the text is copied.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_worker_set_text(
    worker: wh_worker,
    option: u32,
    text: *const c_char,
    len: usize,
) -> wh_result {
    boundary::looking(|| {
        // SAFETY: the caller's promise.
        let text = unsafe { bytes::text(text, len) }?;
        change(worker, |sketch| sketch.options.set_text(option, text))
    })
}

/// Sets one of a worker's functions, and returns the one before, to be dropped with nothing borrowed.
fn on<F: Copy>(
    worker: wh_worker,
    function: Option<F>,
    user: User,
    which: impl FnOnce(&mut Sketch) -> Outcome<&mut Option<Rc<Callback<F>>>>,
) -> Outcome {
    // Whichever of the two is left over is dropped at the end, with nothing borrowed: it calls the host.
    let mut callback = Some(Rc::new(Callback::new(function, user)?));
    change(worker, |sketch| {
        std::mem::swap(which(sketch)?, &mut callback);
        Ok(())
    })
}

fn only_for(is_it: bool, function: &str, speech: &Speech) -> Outcome {
    if is_it {
        return Ok(());
    }
    Err(Failure::made(
        WH_ERR_OPTION,
        format!("a worker that speaks {} has no {function}", speech.name()),
    ))
}

/// Called in each process before it accepts. If it returns WH_PENDING, the process is ready, and accepts, when wh_ready
/// is called. Anything else but WH_OK: it cannot start; if no process of the group ever can, the hive ends with this reason.
/// Setting it again replaces the function, and destroys the one before. Thread: the loop's, as the calls. Ownership: `user`
/// belongs to the library until it calls `destroy`, which it also does if this call fails.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_on_worker_start(
    worker: wh_worker,
    function: wh_worker_fn,
    user: *mut c_void,
    destroy: wh_destroy_fn,
) -> wh_result {
    let user = User::new(user, destroy);
    boundary::looking(move || {
        on(worker, function, user, |sketch| {
            Ok(&mut sketch.events.start)
        })
    })
}

/// Called in each process that ends in good order, after its last connection.
/// Setting it again replaces the function, and destroys the one before. Thread: the loop's, as the calls. Ownership: `user`
/// belongs to the library until it calls `destroy`, which it also does if this call fails.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_on_worker_stop(
    worker: wh_worker,
    function: wh_worker_fn,
    user: *mut c_void,
    destroy: wh_destroy_fn,
) -> wh_result {
    let user = User::new(user, destroy);
    boundary::looking(move || on(worker, function, user, |sketch| Ok(&mut sketch.events.stop)))
}

/// Called when the hive is reloaded, in groups with WH_RELOADABLE 0.
/// Setting it again replaces the function, and destroys the one before. Thread: the loop's, as the calls. Ownership: `user`
/// belongs to the library until it calls `destroy`, which it also does if this call fails.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_on_worker_reload(
    worker: wh_worker,
    function: wh_worker_fn,
    user: *mut c_void,
    destroy: wh_destroy_fn,
) -> wh_result {
    let user = User::new(user, destroy);
    boundary::looking(move || {
        on(worker, function, user, |sketch| {
            Ok(&mut sketch.events.reload)
        })
    })
}

/// Called when a uid gets its first connection in the whole hive, in each process of the group; twice, perhaps, while the hive
/// reloads. The uid is lent.
/// Setting it again replaces the function, and destroys the one before. Thread: the loop's, as the calls. Ownership: `user`
/// belongs to the library until it calls `destroy`, which it also does if this call fails.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_on_uid_online(
    worker: wh_worker,
    function: wh_uid_fn,
    user: *mut c_void,
    destroy: wh_destroy_fn,
) -> wh_result {
    let user = User::new(user, destroy);
    boundary::looking(move || {
        on(worker, function, user, |sketch| {
            Ok(&mut sketch.events.online)
        })
    })
}

/// Called when a uid has had no connection in the whole hive for two seconds, in each process of the group. The uid is lent.
/// Setting it again replaces the function, and destroys the one before. Thread: the loop's, as the calls. Ownership: `user`
/// belongs to the library until it calls `destroy`, which it also does if this call fails.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_on_uid_offline(
    worker: wh_worker,
    function: wh_uid_fn,
    user: *mut c_void,
    destroy: wh_destroy_fn,
) -> wh_result {
    let user = User::new(user, destroy);
    boundary::looking(move || {
        on(worker, function, user, |sketch| {
            Ok(&mut sketch.events.offline)
        })
    })
}

/// Called when a connection has been accepted, before anything was received. On a WebSocket nothing can be sent yet: see
/// wh_on_websocket_connected.
/// Setting it again replaces the function, and destroys the one before. Thread: the loop's, as the calls. Ownership: `user`
/// belongs to the library until it calls `destroy`, which it also does if this call fails.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_on_connect(
    worker: wh_worker,
    function: wh_conn_fn,
    user: *mut c_void,
    destroy: wh_destroy_fn,
) -> wh_result {
    let user = User::new(user, destroy);
    boundary::looking(move || {
        on(worker, function, user, |sketch| {
            Ok(&mut sketch.events.connect)
        })
    })
}

/// Called for every message, in the order in which they came. Not for http. The bytes are lent.
/// Errors: WH_ERR_OPTION for workers of other protocols.
/// Setting it again replaces the function, and destroys the one before. Thread: the loop's, as the calls. Ownership: `user`
/// belongs to the library until it calls `destroy`, which it also does if this call fails.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_on_message(
    worker: wh_worker,
    function: wh_message_fn,
    user: *mut c_void,
    destroy: wh_destroy_fn,
) -> wh_result {
    let user = User::new(user, destroy);
    boundary::looking(move || {
        on(worker, function, user, |sketch| {
            only_for(
                !matches!(sketch.speech, Speech::Http),
                "on_message: set on_request",
                &sketch.speech,
            )?;
            Ok(&mut sketch.events.message)
        })
    })
}

/// Called for every HTTP request, complete with its body. Each gets one answer, by wh_conn_respond, at once or later. The
/// request is lent.
/// Errors: WH_ERR_OPTION for workers of other protocols.
/// Setting it again replaces the function, and destroys the one before. Thread: the loop's, as the calls. Ownership: `user`
/// belongs to the library until it calls `destroy`, which it also does if this call fails.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_on_request(
    worker: wh_worker,
    function: wh_request_fn,
    user: *mut c_void,
    destroy: wh_destroy_fn,
) -> wh_result {
    let user = User::new(user, destroy);
    boundary::looking(move || {
        on(worker, function, user, |sketch| {
            only_for(
                matches!(sketch.speech, Speech::Http),
                "on_request: set on_message",
                &sketch.speech,
            )?;
            Ok(&mut sketch.events.request)
        })
    })
}

/// Called exactly once for every connection that was accepted, when it has ended. Nothing can be sent any more, but what it was
/// (uids, rooms, data) is still known. The information is lent.
/// Setting it again replaces the function, and destroys the one before. Thread: the loop's, as the calls. Ownership: `user`
/// belongs to the library until it calls `destroy`, which it also does if this call fails.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_on_close(
    worker: wh_worker,
    function: wh_close_fn,
    user: *mut c_void,
    destroy: wh_destroy_fn,
) -> wh_result {
    let user = User::new(user, destroy);
    boundary::looking(move || {
        on(worker, function, user, |sketch| {
            Ok(&mut sketch.events.close)
        })
    })
}

/// Called when a connection cannot go on: the peer broke the protocol, or was too slow; the system reported an error; a
/// callback failed. on_close follows. The text is lent.
/// Setting it again replaces the function, and destroys the one before. Thread: the loop's, as the calls. Ownership: `user`
/// belongs to the library until it calls `destroy`, which it also does if this call fails.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_on_error(
    worker: wh_worker,
    function: wh_error_fn,
    user: *mut c_void,
    destroy: wh_destroy_fn,
) -> wh_result {
    let user = User::new(user, destroy);
    boundary::looking(move || {
        on(worker, function, user, |sketch| {
            Ok(&mut sketch.events.error)
        })
    })
}

/// Called when a send was refused because too much waits already; once, until the buffer was empty again.
/// Setting it again replaces the function, and destroys the one before. Thread: the loop's, as the calls. Ownership: `user`
/// belongs to the library until it calls `destroy`, which it also does if this call fails.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_on_buffer_full(
    worker: wh_worker,
    function: wh_conn_fn,
    user: *mut c_void,
    destroy: wh_destroy_fn,
) -> wh_result {
    let user = User::new(user, destroy);
    boundary::looking(move || {
        on(worker, function, user, |sketch| {
            Ok(&mut sketch.events.buffer_full)
        })
    })
}

/// Called when the buffer has become empty after a refused send.
/// Setting it again replaces the function, and destroys the one before. Thread: the loop's, as the calls. Ownership: `user`
/// belongs to the library until it calls `destroy`, which it also does if this call fails.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_on_buffer_drain(
    worker: wh_worker,
    function: wh_conn_fn,
    user: *mut c_void,
    destroy: wh_destroy_fn,
) -> wh_result {
    let user = User::new(user, destroy);
    boundary::looking(move || {
        on(worker, function, user, |sketch| {
            Ok(&mut sketch.events.buffer_drain)
        })
    })
}

/// Called when this process is about to say goodbye to a connection because it goes away, after a reload above all. What is
/// sent here leaves before the goodbye of the protocol.
/// Setting it again replaces the function, and destroys the one before. Thread: the loop's, as the calls. Ownership: `user`
/// belongs to the library until it calls `destroy`, which it also does if this call fails.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_on_goodbye(
    worker: wh_worker,
    function: wh_conn_fn,
    user: *mut c_void,
    destroy: wh_destroy_fn,
) -> wh_result {
    let user = User::new(user, destroy);
    boundary::looking(move || {
        on(worker, function, user, |sketch| {
            Ok(&mut sketch.events.goodbye)
        })
    })
}

/// Called with the request of a WebSocket handshake, before it is answered. It may refuse it, by wh_opening_refuse. The
/// handshake is lent. For websocket.
/// Errors: WH_ERR_OPTION for workers of other protocols.
/// Setting it again replaces the function, and destroys the one before. Thread: the loop's, as the calls. Ownership: `user`
/// belongs to the library until it calls `destroy`, which it also does if this call fails.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_on_websocket_connect(
    worker: wh_worker,
    function: wh_opening_fn,
    user: *mut c_void,
    destroy: wh_destroy_fn,
) -> wh_result {
    let user = User::new(user, destroy);
    boundary::looking(move || {
        on(worker, function, user, |sketch| {
            only_for(
                matches!(sketch.speech, Speech::WebSocket),
                "on_websocket_connect",
                &sketch.speech,
            )?;
            Ok(&mut sketch.events.opening)
        })
    })
}

/// Called when a WebSocket handshake has been answered: from now on messages can be sent. For websocket.
/// Errors: WH_ERR_OPTION for workers of other protocols.
/// Setting it again replaces the function, and destroys the one before. Thread: the loop's, as the calls. Ownership: `user`
/// belongs to the library until it calls `destroy`, which it also does if this call fails.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_on_websocket_connected(
    worker: wh_worker,
    function: wh_conn_fn,
    user: *mut c_void,
    destroy: wh_destroy_fn,
) -> wh_result {
    let user = User::new(user, destroy);
    boundary::looking(move || {
        on(worker, function, user, |sketch| {
            only_for(
                matches!(sketch.speech, Speech::WebSocket),
                "on_websocket_connected",
                &sketch.speech,
            )?;
            Ok(&mut sketch.events.opened)
        })
    })
}
