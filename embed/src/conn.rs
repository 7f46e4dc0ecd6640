//! Connections.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{c_char, c_void};
use std::io::Write as _;
use std::mem::ManuallyDrop;

use workhive::{Frame, Handle, Message, Protocol, Raw, Text, WebSocket};
use workhive_worker::Untyped;

use crate::boundary;
use crate::bytes::{self, Out, Shelf, show, wh_bytes};
use crate::callback::{MAX_WHY, User, failed, wh_destroy_fn};
use crate::codes::{
    WH_ERR_CALLBACK, WH_ERR_CLOSE_CODE, WH_ERR_PROTOCOL, WH_ERR_TOO_LONG, WH_ERR_VALUE, wh_result,
};
use crate::error::{Failure, Outcome};
use crate::handles::connection;
use crate::protocol::{Foreign, take_refusal};

/// A connection of this process. A handle that stays safe when it has ended (WH_ERR_GONE) and never names another one;
/// 0 is none.
pub type wh_conn = u64;

/// `kind`: UTF-8 text; on WebSockets a text frame.
pub const WH_TEXT: i32 = 0;
/// `kind`: any bytes; on WebSockets a binary frame.
pub const WH_BINARY: i32 = 1;

/// Closed by the peer, in the protocol's words or by the end of its stream.
pub const WH_CLOSED_PEER: u32 = 1;
/// Closed by this side, by wh_conn_close or wh_conn_end.
pub const WH_CLOSED_LOCAL: u32 = 2;
/// Dropped by this side, by wh_conn_destroy.
pub const WH_CLOSED_DESTROYED: u32 = 3;
/// Ended by the protocol in good order: the response said "Connection: close", or a keep-alive time was over.
pub const WH_CLOSED_PROTOCOL: u32 = 4;
/// Something went wrong; on_error was called before.
pub const WH_CLOSED_ERROR: u32 = 5;
/// The process drained or stopped.
pub const WH_CLOSED_DRAINED: u32 = 6;

/// The peer broke the protocol.
pub const WH_ERROR_PROTOCOL: u32 = 1;
/// The system reported an error.
pub const WH_ERROR_IO: u32 = 2;
/// Nothing was received for WH_IDLE_TIMEOUT.
pub const WH_ERROR_IDLE: u32 = 3;
/// A callback failed.
pub const WH_ERROR_CALLBACK: u32 = 4;
/// The library panicked in a callback. Please report it.
pub const WH_ERROR_PANIC: u32 = 5;
/// The peer was too slow for the protocol.
pub const WH_ERROR_SLOW: u32 = 6;

/// How a connection has ended; lent to on_close.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct wh_close_info {
    /// One of WH_CLOSED_*.
    pub reason: u32,
    /// The code with which the peer said goodbye (WebSocket; 1005 for a close frame without one); 0 if it did not.
    pub peer_code: u16,
    /// Its reason, in UTF-8.
    pub peer_reason: wh_bytes,
    /// The reason in words.
    pub text: wh_bytes,
}

/// What a connection has done. Grows at its end only.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct wh_conn_stats {
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes that the system has taken for sending.
    pub bytes_out: u64,
    /// Messages received.
    pub messages_in: u64,
    /// Bytes that wait to be sent.
    pub queued: u64,
}

thread_local! {
    /// What hosts have hung on their connections. Left as it is when the thread ends: see [`User`].
    static DATA: RefCell<ManuallyDrop<HashMap<u64, User>>> = RefCell::default();
}

/// The connection is no more: what hung on it is destroyed.
pub(crate) fn forget(number: wh_conn) {
    // Dropped with the table free.
    let _gone = DATA.with_borrow_mut(|data| data.remove(&number));
}

/// A connection that is known, be it in its last callback.
fn known(conn: wh_conn) -> Outcome<Handle<Untyped>> {
    let handle = connection(conn)?;
    if handle.protocol().is_some() {
        Ok(handle)
    } else {
        Err(Failure::gone())
    }
}

/// A connection that messages can be sent to.
pub(crate) fn open(conn: wh_conn) -> Outcome<Handle<Untyped>> {
    let handle = connection(conn)?;
    if handle.is_open() {
        Ok(handle)
    } else {
        Err(Failure::gone())
    }
}

/// What is to be sent, as `kind` has it.
pub(crate) fn message(kind: i32, data: &[u8]) -> Outcome<Message<'_>> {
    match kind {
        WH_BINARY => Ok(Message::from(data)),
        WH_TEXT => Ok(Message::from(bytes::as_text(data)?)),
        other => Err(Failure::made(
            WH_ERR_VALUE,
            format!("a message is WH_TEXT (0) or WH_BINARY (1), not {other}"),
        )),
    }
}

fn send_as<P>(handle: Handle<Untyped>, message: Message<'_>) -> Outcome
where
    P: for<'a> Protocol<Outgoing<'a> = Message<'a>>,
{
    let handle = handle.typed::<P>().ok_or(Failure::gone())?;
    Ok(handle.send(message)?)
}

/// Sends a message. It leaves at the end of the turn, in one write with all that was sent before it.
/// `kind`: WH_TEXT or WH_BINARY.
/// Errors: WH_ERR_FULL, of which on_buffer_full tells too, and nothing of it is sent; WH_ERR_GONE; WH_ERR_UTF8 for text
/// on a WebSocket that is not UTF-8; WH_ERR_TOO_LONG; WH_ERR_PROTOCOL for what the protocol cannot say, such as a line
/// break inside a line, and for http, which has wh_conn_respond; WH_ERR_STATE before a WebSocket's handshake was
/// answered; WH_ERR_CALLBACK if the encode of a protocol of one's own has failed.
/// Thread: the loop's. Ownership: the bytes are copied.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_conn_send(
    conn: wh_conn,
    kind: i32,
    data: *const u8,
    len: usize,
) -> wh_result {
    boundary::on_loop(|| {
        // SAFETY: the caller's promise.
        let data = unsafe { bytes::bytes(data, len) }?;
        bytes::check_room(len)?;
        let handle = connection(conn)?;
        match (handle.protocol(), kind) {
            (None, _) => Err(Failure::gone()),
            (Some("websocket"), _) => send_as::<WebSocket>(handle, message(kind, data)?),
            (Some("http"), _) => Err(Failure::known(
                WH_ERR_PROTOCOL,
                "http connections send responses: use wh_conn_respond",
            )),
            // The others make no difference between the two kinds.
            (Some(protocol), WH_TEXT | WH_BINARY) => {
                let message = Message::from(data);
                match protocol {
                    "text" => send_as::<Text>(handle, message),
                    "frame" => send_as::<Frame>(handle, message),
                    "tcp" => send_as::<Raw>(handle, message),
                    _ => send_as::<Foreign>(handle, message)
                        .map_err(|failure| take_refusal().unwrap_or(failure)),
                }
            }
            _ => message(kind, data).map(drop),
        }
    })
}

/// Says the protocol's goodbye (WebSocket: close frame 1000), sends all that waits, then closes.
/// Errors: WH_ERR_GONE. Thread: the loop's.
#[unsafe(no_mangle)]
pub extern "C" fn wh_conn_close(conn: wh_conn) -> wh_result {
    boundary::on_loop(|| {
        open(conn)?.close();
        Ok(())
    })
}

/// The same with a code and a reason of the application's: for WebSockets, 1000 or 3000 to 4999, and up to 123 bytes of
/// UTF-8. Other protocols just close.
/// Errors: WH_ERR_GONE, WH_ERR_CLOSE_CODE, WH_ERR_TOO_LONG, WH_ERR_UTF8. Thread: the loop's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_conn_close_with(
    conn: wh_conn,
    code: u16,
    reason: *const c_char,
    len: usize,
) -> wh_result {
    boundary::on_loop(|| {
        // SAFETY: the caller's promise.
        let reason = unsafe { bytes::text(reason, len) }?;
        if code != 1000 && !(3000..5000).contains(&code) {
            return Err(Failure::made(
                WH_ERR_CLOSE_CODE,
                format!("an application closes with code 1000 or 3000 to 4999, not with {code}"),
            ));
        }
        if reason.len() > 123 {
            return Err(Failure::made(
                WH_ERR_TOO_LONG,
                format!(
                    "a reason has at most 123 bytes, this one has {}",
                    reason.len()
                ),
            ));
        }
        open(conn)?.close_with(code, reason);
        Ok(())
    })
}

/// Sends all that waits, half-closes, and lingers until the peer has closed too; without a goodbye.
/// Errors: WH_ERR_GONE. Thread: the loop's.
#[unsafe(no_mangle)]
pub extern "C" fn wh_conn_end(conn: wh_conn) -> wh_result {
    boundary::on_loop(|| {
        known(conn)?.end();
        Ok(())
    })
}

/// Closes the socket at once. What waits to be sent is lost.
/// Errors: WH_ERR_GONE. Thread: the loop's.
#[unsafe(no_mangle)]
pub extern "C" fn wh_conn_destroy(conn: wh_conn) -> wh_result {
    boundary::on_loop(|| {
        known(conn)?.destroy();
        Ok(())
    })
}

/// Stops reading, and calling on_message, until wh_conn_resume. The peer is slowed down by its own full send buffer.
/// Errors: WH_ERR_GONE. Thread: the loop's.
#[unsafe(no_mangle)]
pub extern "C" fn wh_conn_pause(conn: wh_conn) -> wh_result {
    boundary::on_loop(|| {
        open(conn)?.pause_recv();
        Ok(())
    })
}

/// Goes on reading.
/// Errors: WH_ERR_GONE. Thread: the loop's.
#[unsafe(no_mangle)]
pub extern "C" fn wh_conn_resume(conn: wh_conn) -> wh_result {
    boundary::on_loop(|| {
        open(conn)?.resume_recv();
        Ok(())
    })
}

/// Something goes on for this connection outside of its callbacks: until wh_conn_release a peer that has closed its sending
/// side still gets its answer, and a draining process waits. Counted.
/// Errors: WH_ERR_GONE. Thread: the loop's.
#[unsafe(no_mangle)]
pub extern "C" fn wh_conn_hold(conn: wh_conn) -> wh_result {
    boundary::on_loop(|| {
        if connection(conn)?.hold() {
            Ok(())
        } else {
            Err(Failure::gone())
        }
    })
}

/// Undoes one wh_conn_hold.
/// Errors: WH_ERR_GONE. Thread: the loop's.
#[unsafe(no_mangle)]
pub extern "C" fn wh_conn_release(conn: wh_conn) -> wh_result {
    boundary::on_loop(|| {
        known(conn)?.release();
        Ok(())
    })
}

/// What went on for this connection outside of its callbacks has failed: at the end of the turn it ends as if a callback of
/// it had failed with this text, of which each line becomes a line of the log.
/// Errors: WH_ERR_GONE. Thread: the loop's. Ownership: the text is copied.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_conn_fail(conn: wh_conn, text: *const c_char, len: usize) -> wh_result {
    boundary::on_loop(|| {
        // SAFETY: the caller's promise.
        let text = unsafe { bytes::bytes(text.cast(), len) }?;
        let text = text.get(..MAX_WHY).unwrap_or(text);
        let why = String::from_utf8_lossy(text).into_owned();
        open(conn)?.fail(failed(WH_ERR_CALLBACK, Some(why)));
        Ok(())
    })
}

/// From now on the bytes received on `from` go to `to` as they are, without either protocol; reading rests while the
/// other's buffer is full. When one of the two ends, the other is ended too.
/// Errors: WH_ERR_GONE. Thread: the loop's.
#[unsafe(no_mangle)]
pub extern "C" fn wh_conn_pipe(from: wh_conn, to: wh_conn) -> wh_result {
    boundary::on_loop(|| {
        connection(from)?.pipe(connection(to)?)?;
        Ok(())
    })
}

/// `out` becomes 1 while messages can be sent, else 0; an ended connection is no error.
/// Thread: the loop's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_conn_is_open(conn: wh_conn, out: *mut i32) -> wh_result {
    boundary::looking(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::new(out) }?;
        out.set(i32::from(connection(conn)?.is_open()));
        Ok(())
    })
}

/// The protocol: "tcp", "text", "frame", "http", "websocket", or the scheme of one's own.
/// Errors: WH_ERR_GONE. Thread: the loop's. Lifetime: static.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_conn_protocol(conn: wh_conn, out: *mut wh_bytes) -> wh_result {
    boundary::looking(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::new(out) }?;
        let name = connection(conn)?.protocol().ok_or(Failure::gone())?;
        out.set(wh_bytes::of(name.as_bytes()));
        Ok(())
    })
}

/// The other side: "127.0.0.1:5000", `[::1]:5000`, "unix:/path" or "unix:".
/// Errors: WH_ERR_GONE. Thread: the loop's. Lifetime: until this thread's next call of the same function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_conn_remote_addr(conn: wh_conn, out: *mut wh_bytes) -> wh_result {
    boundary::looking(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::new(out) }?;
        let peer = connection(conn)?.remote_addr().ok_or(Failure::gone())?;
        out.set(show(Shelf::Remote, |buffer| {
            // Writing to a Vec does not fail.
            let _ = write!(buffer, "{peer}");
        }));
        Ok(())
    })
}

/// This side, in the same form.
/// Errors: WH_ERR_GONE, also in on_close. Thread: the loop's. Lifetime: until this thread's next call of the same function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_conn_local_addr(conn: wh_conn, out: *mut wh_bytes) -> wh_result {
    boundary::looking(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::new(out) }?;
        let local = connection(conn)?.local_addr().ok_or(Failure::gone())?;
        out.set(show(Shelf::Local, |buffer| {
            // Writing to a Vec does not fail.
            let _ = write!(buffer, "{local}");
        }));
        Ok(())
    })
}

/// The id of the connection in the whole hive, as text: to be kept, sent elsewhere, and given to wh_send_to_connection.
/// It is never used again.
/// Errors: WH_ERR_GONE. Thread: the loop's. Lifetime: until this thread's next call of the same function.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_conn_id(conn: wh_conn, out: *mut wh_bytes) -> wh_result {
    boundary::looking(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::new(out) }?;
        let id = known(conn)?.id();
        out.set(show(Shelf::Id, |buffer| {
            // Writing to a Vec does not fail.
            let _ = write!(buffer, "{id}");
        }));
        Ok(())
    })
}

/// How many bytes wait to be sent.
/// Errors: WH_ERR_GONE. Thread: the loop's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_conn_send_queue(conn: wh_conn, out: *mut u64) -> wh_result {
    boundary::looking(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::new(out) }?;
        out.set(known(conn)?.send_queue_len() as u64);
        Ok(())
    })
}

/// What the connection has done so far.
/// `size`: `sizeof(wh_conn_stats)`. Errors: WH_ERR_GONE. Thread: the loop's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_conn_stats_of(
    conn: wh_conn,
    out: *mut wh_conn_stats,
    size: usize,
) -> wh_result {
    boundary::looking(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::new(out) }?;
        let handle = known(conn)?;
        let stats = wh_conn_stats {
            bytes_in: handle.bytes_read(),
            bytes_out: handle.bytes_written(),
            messages_in: handle.messages(),
            queued: handle.send_queue_len() as u64,
        };
        out.set_up_to(stats, size)
    })
}

/// Hangs a pointer on the connection, in place of the one before, which is destroyed. It is destroyed when on_close has
/// returned. NULL without a `destroy` takes it away.
/// Errors: WH_ERR_GONE. Thread: the loop's. Ownership: `data` belongs to the library until it calls `destroy`, which it
/// also does if this call fails.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_conn_set_data(
    conn: wh_conn,
    data: *mut c_void,
    destroy: wh_destroy_fn,
) -> wh_result {
    let is_nothing = data.is_null() && destroy.is_none();
    let user = User::new(data, destroy);
    boundary::on_loop(move || {
        known(conn)?;
        // Dropped with the table free.
        let _before = DATA.with_borrow_mut(|all| {
            if is_nothing {
                all.remove(&conn)
            } else {
                all.insert(conn, user)
            }
        });
        Ok(())
    })
}

/// What hangs on the connection; NULL if nothing does.
/// Errors: WH_ERR_GONE. Thread: the loop's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_conn_data(conn: wh_conn, out: *mut *mut c_void) -> wh_result {
    boundary::looking(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::new(out) }?;
        known(conn)?;
        let found = DATA.with_borrow(|all| all.get(&conn).map(|user| user.pointer));
        out.set(found.unwrap_or(std::ptr::null_mut()));
        Ok(())
    })
}
