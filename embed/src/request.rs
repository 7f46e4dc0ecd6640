//! An HTTP request, lent to the callback that answers it.

use std::cell::{Cell, RefCell};
use std::ffi::{c_char, c_void};

use workhive::Request;
use workhive::codec::Headers;

use crate::boundary;
use crate::bytes::{self, Out, wh_bytes};
use crate::codes::wh_result;
use crate::error::Outcome;
use crate::lent::Slot;

/// A request: lent to on_request, and to nothing else.
#[derive(Debug)]
pub struct wh_request {
    _private: (),
}

/// The parts of a request or of a handshake. They are lent, for as long as the request is. Grows at its end only.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct wh_request_view {
    /// "GET"; methods are case-sensitive.
    pub method: wh_bytes,
    /// As it was sent: "/path?query".
    pub target: wh_bytes,
    /// The path, not decoded, without the query.
    pub path: wh_bytes,
    /// What stands behind the "?", not decoded; data is NULL if there is no "?".
    pub query: wh_bytes,
    /// The body, with any chunking removed; empty for handshakes.
    pub body: wh_bytes,
    /// 1.
    pub version_major: u8,
    /// 0 or 1.
    pub version_minor: u8,
    /// 1 if the peer wants to use the connection again.
    pub keep_alive: u8,
    /// 0: room for more of these.
    pub reserved: [u8; 5],
}

thread_local! {
    static REQUEST: Slot = const { Slot::new(1) };
    /// The lines of the headers of what is lent now, once somebody has asked for them.
    static LINES: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static HAS_LINES: Cell<bool> = const { Cell::new(false) };
}

/// Lends a request while `use_it` runs.
pub(crate) fn lend<R>(request: &Request<'_>, use_it: impl FnOnce(*const wh_request) -> R) -> R {
    HAS_LINES.set(false);
    REQUEST.with(|slot| slot.lend(request, |tag| use_it(tag.cast_const().cast())))
}

fn with<R>(
    request: *const wh_request,
    look: impl FnOnce(&Request<'_>) -> Outcome<R>,
) -> Outcome<R> {
    let place = REQUEST.with(|slot| slot.get(request.cast::<c_void>()))?;
    // SAFETY: this slot only ever lends requests, and for longer than the callback that calls us runs.
    look(unsafe { place.cast::<Request<'_>>().as_ref() })
}

/// All fields as lines, made once for what is lent now.
pub(crate) fn lines(headers: Headers<'_>) -> wh_bytes {
    LINES.with_borrow_mut(|lines| {
        if !HAS_LINES.replace(true) {
            lines.clear();
            for (name, value) in headers {
                lines.extend_from_slice(name.as_bytes());
                lines.extend_from_slice(b": ");
                lines.extend_from_slice(value);
                lines.push(b'\n');
            }
        }
        wh_bytes::of(lines)
    })
}

/// Whatever is lent from now on has other lines.
pub(crate) fn forget_lines() {
    HAS_LINES.set(false);
}

/// The first field of a name, in any case.
pub(crate) fn field(mut headers: Headers<'_>, name: &[u8]) -> wh_bytes {
    let found = headers.find(|(known, _)| known.as_bytes().eq_ignore_ascii_case(name));
    wh_bytes::of_option(found.map(|(_, value)| value))
}

/// The parts of a request.
/// `size`: `sizeof(wh_request_view)`. Errors: WH_ERR_STATE when the callback it was lent to has returned.
/// Thread: the loop's. Lifetime: what `out` points to is good until on_request returns.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_request_read(
    request: *const wh_request,
    out: *mut wh_request_view,
    size: usize,
) -> wh_result {
    boundary::looking(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::new(out) }?;
        with(request, |request| {
            let (version_major, version_minor) = request.version();
            let view = wh_request_view {
                method: wh_bytes::of(request.method().as_str().as_bytes()),
                target: wh_bytes::of(request.target().as_bytes()),
                path: wh_bytes::of(request.path().as_bytes()),
                query: wh_bytes::of_option(request.query().map(str::as_bytes)),
                body: wh_bytes::of(request.body()),
                version_major,
                version_minor,
                keep_alive: u8::from(request.keep_alive()),
                reserved: [0; 5],
            };
            out.set_up_to(view, size)
        })
    })
}

/// The first header field of a name, in any case; data is NULL if there is none.
/// Errors: WH_ERR_STATE when the callback it was lent to has returned.
/// Thread: the loop's. Lifetime: what `out` points to is good until on_request returns.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_request_header(
    request: *const wh_request,
    name: *const c_char,
    len: usize,
    out: *mut wh_bytes,
) -> wh_result {
    boundary::looking(|| {
        // SAFETY: the caller's promises.
        let (name, out) = unsafe { (bytes::bytes(name.cast(), len)?, Out::new(out)?) };
        with(request, |request| {
            out.set(field(request.headers(), name));
            Ok(())
        })
    })
}

/// All header fields as lines, "name: value\n", in the order in which they came.
/// Errors: WH_ERR_STATE when the callback it was lent to has returned.
/// Thread: the loop's. Lifetime: what `out` points to is good until on_request returns.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_request_headers(
    request: *const wh_request,
    out: *mut wh_bytes,
) -> wh_result {
    boundary::looking(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::new(out) }?;
        with(request, |request| {
            out.set(lines(request.headers()));
            Ok(())
        })
    })
}
