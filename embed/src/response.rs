//! What answers an HTTP request.

use std::ffi::c_char;

use workhive::codec::Lines;
use workhive::{Chunk, Http, Reply};

use crate::boundary;
use crate::bytes;
use crate::codes::{WH_ERR_PROTOCOL, wh_result};
use crate::conn::wh_conn;
use crate::error::{Failure, Outcome};
use crate::handles::connection;

fn reply(conn: wh_conn, reply: Reply<'_>) -> Outcome {
    let handle = connection(conn)?;
    match handle.typed::<Http>() {
        Some(handle) => Ok(handle.send(reply)?),
        None if handle.protocol().is_none() => Err(Failure::gone()),
        None => Err(Failure::known(
            WH_ERR_PROTOCOL,
            "only http connections send responses: use wh_conn_send",
        )),
    }
}

/// Answers the request of a connection that waits for its answer. Every request gets one.
/// `status`: 100 to 599. `headers`: lines "Name: value", each ended by LF or CRLF. Content-Length, Transfer-Encoding and Date
/// are written by the library: a Content-Length must say what is true, a Date replaces the library's, "Connection: close"
/// ends the connection after this response. Whoever makes lines of foreign text must refuse CR, LF and NUL in it.
/// Errors: WH_ERR_PROTOCOL if no request waits, or for a status or headers that cannot be; WH_ERR_UTF8; WH_ERR_GONE.
/// Thread: the loop's. Ownership: headers and body are copied.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_conn_respond(
    conn: wh_conn,
    status: u16,
    headers: *const c_char,
    headers_len: usize,
    body: *const u8,
    body_len: usize,
) -> wh_result {
    boundary::on_loop(|| {
        // SAFETY: the caller's promises.
        let (headers, body) = unsafe {
            (
                bytes::text(headers, headers_len)?,
                bytes::bytes(body, body_len)?,
            )
        };
        bytes::check_room(body_len)?;
        reply(conn, Lines::new(status, headers, body).into())
    })
}

/// Begins a response whose body comes in chunks, by wh_conn_chunk.
/// Arguments and errors: as wh_conn_respond. Thread: the loop's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_conn_respond_stream(
    conn: wh_conn,
    status: u16,
    headers: *const c_char,
    headers_len: usize,
) -> wh_result {
    boundary::on_loop(|| {
        // SAFETY: the caller's promise.
        let headers = unsafe { bytes::text(headers, headers_len) }?;
        reply(conn, Lines::new(status, headers, &[]).stream().into())
    })
}

/// Sends a piece of the body of a response begun with wh_conn_respond_stream. An empty one sends nothing.
/// `last`: not 0 for the last piece; the body ends behind it.
/// Errors: WH_ERR_FULL: wait for on_buffer_drain; WH_ERR_PROTOCOL if no response is being streamed; WH_ERR_GONE.
/// Thread: the loop's. Ownership: the bytes are copied.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_conn_chunk(
    conn: wh_conn,
    data: *const u8,
    len: usize,
    last: i32,
) -> wh_result {
    boundary::on_loop(|| {
        // SAFETY: the caller's promise.
        let chunk = Chunk::from(unsafe { bytes::bytes(data, len) }?);
        bytes::check_room(len)?;
        let chunk = if last == 0 { chunk } else { chunk.and_last() };
        reply(conn, chunk.into())
    })
}
