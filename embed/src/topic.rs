//! Messages between processes.

use std::ffi::c_void;

use workhive::{Hive, Process};

use crate::boundary;
use crate::bytes;
use crate::callback::{Callback, User, call, wh_destroy_fn};
use crate::codes::{WH_ERR_NOT_BOUND, WH_OK, wh_result};
use crate::conn::message;
use crate::error::Failure;

/// A message on a topic, which is lent. `is_text`: 1 if it was published as WH_TEXT.
pub type wh_topic_fn =
    Option<unsafe extern "C" fn(user: *mut c_void, data: *const u8, len: usize, is_text: i32)>;
type OnTopic = unsafe extern "C" fn(user: *mut c_void, data: *const u8, len: usize, is_text: i32);

/// Calls `function` in this process with every message that is published on a topic, 1 to 255 bytes, by whatever process of
/// the hive. A process has one subscription to a topic: another one replaces it.
/// Errors: WH_ERR_NAME, WH_ERR_BUSY, WH_ERR_NULL, WH_ERR_STATE in a process without a loop.
/// Thread: the loop's. Ownership: the topic is copied. `user` belongs to the library until it calls `destroy`, which it also
/// does if this call fails.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_subscribe(
    topic: *const u8,
    len: usize,
    function: wh_topic_fn,
    user: *mut c_void,
    destroy: wh_destroy_fn,
) -> wh_result {
    let user = User::new(user, destroy);
    boundary::on_loop(move || {
        // SAFETY: the caller's promise.
        let topic = unsafe { bytes::bytes(topic, len) }?;
        let callback = Callback::<OnTopic>::new(function, user)?;
        Process::here(|process| {
            process.subscribe(topic, move |_, message| {
                let bytes = message.as_bytes();
                let is_text = i32::from(message.is_text());
                call(|| {
                    // SAFETY: the host's own function; the bytes are good until it returns.
                    unsafe {
                        (callback.function)(callback.user(), bytes.as_ptr(), bytes.len(), is_text);
                    }
                    WH_OK
                })
            })
        })?;
        Ok(())
    })
}

/// Ends this process's subscription to a topic.
/// Errors: WH_ERR_NOT_BOUND if there is none. Thread: the loop's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_unsubscribe(topic: *const u8, len: usize) -> wh_result {
    boundary::on_loop(|| {
        // SAFETY: the caller's promise.
        let topic = unsafe { bytes::bytes(topic, len) }?;
        if Process::here(|process| process.unsubscribe(topic)) {
            Ok(())
        } else {
            Err(Failure::known(
                WH_ERR_NOT_BOUND,
                "this process has not subscribed to the topic",
            ))
        }
    })
}

/// Sends a message to every process of the hive that has subscribed to a topic, this one included.
/// Errors: WH_ERR_NAME, WH_ERR_TOO_LONG, WH_ERR_BUSY, WH_ERR_UTF8, WH_ERR_STATE in a process without a loop.
/// Thread: the loop's. Ownership: topic and message are copied.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_publish(
    topic: *const u8,
    topic_len: usize,
    kind: i32,
    data: *const u8,
    len: usize,
) -> wh_result {
    boundary::on_loop(|| {
        // SAFETY: the caller's promises.
        let (topic, data) = unsafe { (bytes::bytes(topic, topic_len)?, bytes::bytes(data, len)?) };
        Ok(Hive::new().publish(topic, message(kind, data)?)?)
    })
}
