//! A WebSocket handshake, lent to the callback that may refuse it.

use std::cell::RefCell;
use std::ffi::{c_char, c_void};

use workhive::{Handshake, Result, Verdict};

use crate::boundary;
use crate::bytes::{self, Out, wh_bytes};
use crate::codes::{WH_ERR_VALUE, wh_result};
use crate::error::{Failure, Outcome};
use crate::lent::Slot;
use crate::request::{self, wh_request_view};

/// A handshake: lent to on_websocket_connect, and to nothing else.
#[derive(Debug)]
pub struct wh_opening {
    _private: (),
}

/// What is asked, and what is to be answered.
struct Opening<'a> {
    handshake: Handshake<'a>,
    answer: RefCell<Answer>,
}

#[derive(Default)]
struct Answer {
    /// The status, and a line of text; none for the status's own words.
    refusal: Option<(u16, Option<String>)>,
    subprotocol: Option<String>,
    headers: Vec<(String, String)>,
}

impl Answer {
    fn verdict(self) -> Verdict {
        let mut verdict = match self.refusal {
            Some((status, None)) => Verdict::refuse(status),
            Some((status, Some(line))) => Verdict::refuse(status).body(line),
            None => Verdict::accept(),
        };
        if let Some(name) = self.subprotocol {
            verdict = verdict.subprotocol(name);
        }
        for (name, value) in self.headers {
            verdict = verdict.header(name, value);
        }
        verdict
    }
}

thread_local! {
    static OPENING: Slot = const { Slot::new(2) };
}

/// Lends a handshake while `ask` runs, and returns the verdict.
pub(crate) fn lend(
    handshake: Handshake<'_>,
    ask: impl FnOnce(*mut wh_opening) -> Result,
) -> Result<Verdict> {
    let opening = Opening {
        handshake,
        answer: RefCell::default(),
    };
    request::forget_lines();
    OPENING.with(|slot| slot.lend(&opening, |tag| ask(tag.cast())))?;
    Ok(opening.answer.into_inner().verdict())
}

fn with<R>(
    opening: *const wh_opening,
    look: impl FnOnce(&Opening<'_>) -> Outcome<R>,
) -> Outcome<R> {
    let place = OPENING.with(|slot| slot.get(opening.cast::<c_void>()))?;
    // SAFETY: this slot only ever lends openings, and for longer than the callback that calls us runs.
    look(unsafe { place.cast::<Opening<'_>>().as_ref() })
}

/// The parts of a handshake; the method is GET, the body empty.
/// `size`: `sizeof(wh_request_view)`. Errors: WH_ERR_STATE when the callback it was lent to has returned.
/// Thread: the loop's. Lifetime: what `out` points to is good until on_websocket_connect returns.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_opening_read(
    opening: *const wh_opening,
    out: *mut wh_request_view,
    size: usize,
) -> wh_result {
    boundary::looking(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::new(out) }?;
        with(opening, |opening| {
            let handshake = &opening.handshake;
            let view = wh_request_view {
                method: wh_bytes::of(b"GET"),
                target: wh_bytes::of(handshake.target().as_bytes()),
                path: wh_bytes::of(handshake.path().as_bytes()),
                query: wh_bytes::of_option(handshake.query().map(str::as_bytes)),
                body: wh_bytes::of(b""),
                version_major: 1,
                version_minor: 1,
                keep_alive: 1,
                reserved: [0; 5],
            };
            out.set_up_to(view, size)
        })
    })
}

/// The first header field of a name, in any case; data is NULL if there is none.
/// Errors: WH_ERR_STATE when the callback it was lent to has returned.
/// Thread: the loop's. Lifetime: what `out` points to is good until on_websocket_connect returns.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_opening_header(
    opening: *const wh_opening,
    name: *const c_char,
    len: usize,
    out: *mut wh_bytes,
) -> wh_result {
    boundary::looking(|| {
        // SAFETY: the caller's promises.
        let (name, out) = unsafe { (bytes::bytes(name.cast(), len)?, Out::new(out)?) };
        with(opening, |opening| {
            out.set(request::field(opening.handshake.headers(), name));
            Ok(())
        })
    })
}

/// All header fields as lines, "name: value\n", in the order in which they came.
/// Errors: WH_ERR_STATE when the callback it was lent to has returned.
/// Thread: the loop's. Lifetime: what `out` points to is good until on_websocket_connect returns.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_opening_headers(
    opening: *const wh_opening,
    out: *mut wh_bytes,
) -> wh_result {
    boundary::looking(|| {
        // SAFETY: the caller's promise.
        let out = unsafe { Out::new(out) }?;
        with(opening, |opening| {
            out.set(request::lines(opening.handshake.headers()));
            Ok(())
        })
    })
}

/// The peer is to get an HTTP response with this status, 300 to 599, instead of a WebSocket, and a line of text as its
/// body; the status's own words if `len` is 0. The connection ends then.
/// Errors: WH_ERR_VALUE for another status, WH_ERR_STATE when the callback it was lent to has returned.
/// Thread: the loop's. Ownership: the text is copied.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_opening_refuse(
    opening: *mut wh_opening,
    status: u16,
    body: *const c_char,
    len: usize,
) -> wh_result {
    boundary::looking(|| {
        // SAFETY: the caller's promise.
        let body = unsafe { bytes::text(body, len) }?;
        if !(300..=599).contains(&status) {
            return Err(Failure::made(
                WH_ERR_VALUE,
                format!("a refusal has a status of 300 to 599, not {status}"),
            ));
        }
        with(opening, |opening| {
            let line = (!body.is_empty()).then(|| body.to_owned());
            opening.answer.borrow_mut().refusal = Some((status, line));
            Ok(())
        })
    })
}

/// Chooses a subprotocol. One that the peer has not offered makes the handshake fail.
/// Errors: WH_ERR_STATE when the callback it was lent to has returned.
/// Thread: the loop's. Ownership: the name is copied.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_opening_subprotocol(
    opening: *mut wh_opening,
    name: *const c_char,
    len: usize,
) -> wh_result {
    boundary::looking(|| {
        // SAFETY: the caller's promise.
        let name = unsafe { bytes::text(name, len) }?;
        with(opening, |opening| {
            opening.answer.borrow_mut().subprotocol = Some(name.to_owned());
            Ok(())
        })
    })
}

/// Adds a header field to the answer, such as Set-Cookie. One that would break out of its line, or belongs to the
/// handshake itself, makes the handshake fail.
/// Errors: WH_ERR_STATE when the callback it was lent to has returned.
/// Thread: the loop's. Ownership: both texts are copied.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_opening_add_header(
    opening: *mut wh_opening,
    name: *const c_char,
    name_len: usize,
    value: *const c_char,
    value_len: usize,
) -> wh_result {
    boundary::looking(|| {
        // SAFETY: the caller's promises.
        let (name, value) =
            unsafe { (bytes::text(name, name_len)?, bytes::text(value, value_len)?) };
        with(opening, |opening| {
            let header = (name.to_owned(), value.to_owned());
            opening.answer.borrow_mut().headers.push(header);
            Ok(())
        })
    })
}
