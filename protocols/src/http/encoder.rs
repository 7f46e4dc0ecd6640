//! From answers to bytes.

use std::borrow::Cow;
use std::time::Instant;

use super::status::has_no_body;
use super::{Chunk, Lines, Reply, reason};
use crate::head::{is_field_value, is_token};
use crate::{Answer, EncodeError, Flow, Goodbye, HttpDate, ProtocolError, Wire};

/// The sending side of an [`Http`](super::Http) connection: whose turn it is, and how the answer must look.
#[derive(Debug)]
pub struct HttpEncoder {
    turn: Turn,
    draining: bool,
}

#[derive(Debug, Clone, Copy)]
enum Turn {
    /// It is the peer's turn, since then.
    Idle(Instant),
    /// A request waits for its answer.
    Owed(Exchange),
    /// An answer is being streamed.
    Streaming { keep_alive: bool, form: Form },
    /// Nothing can be said any more.
    Over,
}

/// How the pieces of a streamed body are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Chunked,
    /// For HTTP/1.0: the body ends with the connection.
    Bare,
    /// The response has no body: HEAD, 204.
    Nothing,
}

/// What must be known of a request to answer it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Exchange {
    pub(super) head: bool,
    pub(super) minor: u8,
    pub(super) keep_alive: bool,
}

impl HttpEncoder {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            turn: Turn::Idle(now),
            draining: false,
        }
    }

    /// A request was handed over.
    pub(super) fn owe(&mut self, exchange: Exchange) {
        self.turn = Turn::Owed(exchange);
    }

    pub(super) fn is_busy(&self) -> bool {
        matches!(self.turn, Turn::Owed(_) | Turn::Streaming { .. })
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.turn, Turn::Over)
    }

    pub(super) fn idle_since(&self) -> Option<Instant> {
        match self.turn {
            Turn::Idle(since) => Some(since),
            _ => None,
        }
    }

    pub(super) fn end(&mut self) {
        self.turn = Turn::Over;
    }

    pub(super) fn drain(&mut self) {
        self.draining = true;
    }

    /// Answers a request that broke a rule; no other answer follows.
    pub(super) fn fail(&mut self, error: &ProtocolError, is_head: bool, wire: &mut Wire<'_>) {
        if let Answer::Status(status) = error.answer {
            refuse(wire, status, error.rule, is_head);
        }
        self.end();
    }

    pub(super) fn goodbye(&mut self, goodbye: &Goodbye, wire: &mut Wire<'_>) {
        let status = match goodbye {
            Goodbye::Failure => Some(500),
            Goodbye::Restart => Some(503),
            _ => None,
        };
        match (self.turn, status) {
            (Turn::Owed(exchange), Some(status)) => {
                refuse(wire, status, reason(status), exchange.head);
            }
            // No last chunk: the peer must see that the body is cut off.
            (Turn::Streaming { .. }, _) => wire.raise(Flow::Close),
            _ => {}
        }
        self.end();
    }

    pub(super) fn reply(
        &mut self,
        reply: &Reply<'_>,
        wire: &mut Wire<'_>,
    ) -> Result<(), EncodeError> {
        let (content_type, body) = match reply {
            Reply::Response(response) => {
                let head = Head {
                    status: response.status,
                    content_type: response.content_type.as_deref(),
                    fields: Fields::List(&response.headers),
                };
                return self.response(&head, response.content(), response.stream, wire);
            }
            Reply::Lines(lines) => {
                let head = Head {
                    status: lines.status,
                    content_type: None,
                    fields: Fields::Lines(*lines),
                };
                return self.response(&head, lines.body, lines.stream, wire);
            }
            Reply::Chunk(chunk) => return self.chunk(chunk, wire),
            Reply::Text(text) => ("text/html; charset=utf-8", text.as_bytes()),
            Reply::Bytes(bytes) => ("application/octet-stream", bytes.as_ref()),
        };
        let head = Head {
            status: 200,
            content_type: Some(content_type),
            fields: Fields::List(&[]),
        };
        let exchange = self.owed()?;
        self.whole(&head, body, exchange, wire);
        Ok(())
    }

    fn owed(&self) -> Result<Exchange, EncodeError> {
        match self.turn {
            Turn::Owed(exchange) => Ok(exchange),
            Turn::Idle(_) => Err(misuse("no request waits for an answer")),
            Turn::Streaming { .. } => Err(misuse(
                "the response is being streamed: only chunks can follow",
            )),
            Turn::Over => Err(EncodeError::NotOpen),
        }
    }

    fn response(
        &mut self,
        head: &Head<'_>,
        body: &[u8],
        stream: bool,
        wire: &mut Wire<'_>,
    ) -> Result<(), EncodeError> {
        let mut exchange = self.owed()?;
        let own = head.check(body, stream, exchange.head)?;
        exchange.keep_alive &= !own.close;
        if head.status < 200 {
            // RFC 9110 15.2: not for HTTP/1.0, and not the answer yet.
            if exchange.minor > 0 {
                head.write(wire.out, None);
                wire.out.extend_from_slice(b"\r\n");
            }
            return Ok(());
        }
        if stream {
            self.begin(head, body, exchange, own.date, wire);
        } else {
            self.whole_with(head, body, exchange, &own, wire);
        }
        Ok(())
    }

    fn whole(&mut self, head: &Head<'_>, body: &[u8], exchange: Exchange, wire: &mut Wire<'_>) {
        self.whole_with(head, body, exchange, &Own::default(), wire);
    }

    fn whole_with(
        &mut self,
        head: &Head<'_>,
        body: &[u8],
        exchange: Exchange,
        own: &Own,
        wire: &mut Wire<'_>,
    ) {
        let keep_alive = exchange.keep_alive && !self.draining;
        // One growth of the buffer at most.
        wire.out.reserve(body.len().saturating_add(256));
        head.write(wire.out, (!own.date).then_some(wire.date));
        connection(wire.out, exchange.minor, keep_alive);
        // RFC 9110 8.6: a length where there can be no body is forbidden for 204, and a riddle for 304.
        if !matches!(head.status, 204 | 304) {
            let len = if head.status == 205 { 0 } else { body.len() };
            wire.out.extend_from_slice(b"Content-Length: ");
            decimal(wire.out, own.length.unwrap_or(len));
            wire.out.extend_from_slice(b"\r\n");
        }
        wire.out.extend_from_slice(b"\r\n");
        if !exchange.head && !has_no_body(head.status) {
            wire.out.extend_from_slice(body);
        }
        self.finish(keep_alive, wire);
    }

    fn begin(
        &mut self,
        head: &Head<'_>,
        body: &[u8],
        exchange: Exchange,
        own_date: bool,
        wire: &mut Wire<'_>,
    ) {
        let nothing = has_no_body(head.status);
        let bare = exchange.minor == 0 && !nothing;
        let keep_alive = exchange.keep_alive && !self.draining && !bare;
        head.write(wire.out, (!own_date).then_some(wire.date));
        connection(wire.out, exchange.minor, keep_alive);
        if !nothing && !bare {
            wire.out
                .extend_from_slice(b"Transfer-Encoding: chunked\r\n");
        }
        if head.status == 205 {
            wire.out.extend_from_slice(b"Content-Length: 0\r\n");
        }
        wire.out.extend_from_slice(b"\r\n");
        let form = match (nothing || exchange.head, bare) {
            (true, _) => Form::Nothing,
            (false, true) => Form::Bare,
            (false, false) => Form::Chunked,
        };
        self.turn = Turn::Streaming { keep_alive, form };
        form.write(wire.out, body);
    }

    /// Appends a piece of a streamed body.
    pub(super) fn chunk(
        &mut self,
        chunk: &Chunk<'_>,
        wire: &mut Wire<'_>,
    ) -> Result<(), EncodeError> {
        let Turn::Streaming { keep_alive, form } = self.turn else {
            return Err(if self.is_over() {
                EncodeError::NotOpen
            } else {
                misuse("a chunk follows a response made with stream()")
            });
        };
        form.write(wire.out, &chunk.data);
        if chunk.last {
            if form == Form::Chunked {
                wire.out.extend_from_slice(b"0\r\n\r\n");
            }
            self.finish(keep_alive && !self.draining, wire);
        }
        Ok(())
    }

    fn finish(&mut self, keep_alive: bool, wire: &mut Wire<'_>) {
        if keep_alive {
            self.turn = Turn::Idle(wire.now);
        } else {
            self.turn = Turn::Over;
            wire.raise(Flow::End);
        }
    }
}

impl Form {
    fn write(self, out: &mut Vec<u8>, data: &[u8]) {
        if data.is_empty() || self == Self::Nothing {
            return;
        }
        if self == Self::Bare {
            out.extend_from_slice(data);
            return;
        }
        hexadecimal(out, data.len());
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(data);
        out.extend_from_slice(b"\r\n");
    }
}

/// What the application chose for fields that are ours otherwise.
#[derive(Debug, Default)]
struct Own {
    date: bool,
    close: bool,
    /// The length of the body that GET would have had; for HEAD only.
    length: Option<usize>,
}

impl Own {
    /// Takes note of a field, and refuses one that cannot be.
    fn note(
        &mut self,
        name: &str,
        value: &str,
        body: &[u8],
        stream: bool,
        is_head: bool,
    ) -> Result<(), EncodeError> {
        if !is_token(name.as_bytes()) {
            return Err(misuse("a field name is a token (RFC 9110 5.6.2)"));
        }
        if !is_field_value(value.as_bytes()) {
            return Err(misuse("a field value has no line breaks or other controls"));
        }
        if name.eq_ignore_ascii_case("date") {
            self.date = true;
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(misuse("Transfer-Encoding is written by the codec"));
        } else if name.eq_ignore_ascii_case("connection") {
            match value.trim() {
                close if close.eq_ignore_ascii_case("close") => self.close = true,
                keep if keep.eq_ignore_ascii_case("keep-alive") => {}
                _ => return Err(misuse("Connection can be `close`, nothing else")),
            }
        } else if name.eq_ignore_ascii_case("content-length") {
            let actual = body.len();
            match value.trim().parse() {
                Ok(length) if length == actual && !stream => {}
                Ok(length) if is_head && actual == 0 && !stream => {
                    self.length = Some(length);
                }
                _ => return Err(misuse("Content-Length is written by the codec")),
            }
        }
        Ok(())
    }
}

fn misuse(rule: &'static str) -> EncodeError {
    EncodeError::Misuse { rule }
}

/// Fields of a response that `Head::write` leaves to the codec.
fn is_ours(name: &str) -> bool {
    name.eq_ignore_ascii_case("content-length") || name.eq_ignore_ascii_case("connection")
}

/// Status line and the fields that do not depend on the connection.
struct Head<'a> {
    status: u16,
    content_type: Option<&'a str>,
    fields: Fields<'a>,
}

/// Header fields, however they came.
#[derive(Clone, Copy)]
enum Fields<'a> {
    List(&'a [(Cow<'static, str>, Cow<'static, str>)]),
    Lines(Lines<'a>),
}

impl Fields<'_> {
    fn each(
        self,
        mut visit: impl FnMut(&str, &str) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        match self {
            Self::List(list) => list.iter().try_for_each(|(name, value)| visit(name, value)),
            Self::Lines(lines) => lines.fields().try_for_each(|field| match field {
                Some((name, value)) => visit(name, value),
                None => Err(misuse("a field line is `name: value` (RFC 9112 5)")),
            }),
        }
    }
}

impl Head<'_> {
    /// Everything that could be wrong with a response, before its first byte is written.
    fn check(&self, body: &[u8], stream: bool, is_head: bool) -> Result<Own, EncodeError> {
        if !(100..=599).contains(&self.status) || self.status == 101 {
            return Err(misuse("a status is 100 to 599, and 101 is not for HTTP"));
        }
        if let Some(content_type) = self.content_type
            && !is_field_value(content_type.as_bytes())
        {
            return Err(misuse("a field value has no line breaks or other controls"));
        }
        let mut own = Own::default();
        self.fields
            .each(|name, value| own.note(name, value, body, stream, is_head))?;
        Ok(own)
    }

    fn write(&self, out: &mut Vec<u8>, date: Option<&HttpDate>) {
        if self.status == 200 {
            out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        } else {
            out.extend_from_slice(b"HTTP/1.1 ");
            decimal(out, usize::from(self.status));
            out.push(b' ');
            out.extend_from_slice(reason(self.status).as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        if let Some(content_type) = self.content_type {
            field(out, "Content-Type", content_type);
        }
        // They have been checked.
        let _ = self.fields.each(|name, value| {
            if !is_ours(name) {
                field(out, name, value);
            }
            Ok(())
        });
        if let Some(date) = date {
            out.extend_from_slice(b"Date: ");
            out.extend_from_slice(date);
            out.extend_from_slice(b"\r\n");
        }
    }
}

fn field(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// RFC 9112 section 9.3: said only where it is not the version's default.
fn connection(out: &mut Vec<u8>, minor: u8, keep_alive: bool) {
    match (keep_alive, minor) {
        (false, _) => out.extend_from_slice(b"Connection: close\r\n"),
        (true, 0) => out.extend_from_slice(b"Connection: keep-alive\r\n"),
        (true, _) => {}
    }
}

fn decimal(out: &mut Vec<u8>, value: usize) {
    digits::<10>(out, value);
}

fn hexadecimal(out: &mut Vec<u8>, value: usize) {
    digits::<16>(out, value);
}

fn digits<const BASE: usize>(out: &mut Vec<u8>, mut value: usize) {
    // 64 bits are 20 decimal digits at most.
    let mut buffer = [0; 20];
    let mut used = 0;
    for slot in buffer.iter_mut().rev() {
        *slot = *b"0123456789abcdef".get(value % BASE).unwrap_or(&b'0');
        value /= BASE;
        used += 1;
        if value == 0 {
            break;
        }
    }
    let start = buffer.len() - used;
    out.extend_from_slice(buffer.get(start..).unwrap_or_default());
}

/// A complete response that ends the connection, with one line of text as its body.
pub(crate) fn refuse(wire: &mut Wire<'_>, status: u16, line: &str, without_body: bool) {
    refuse_with(wire, status, &[], line, without_body);
}

/// [`refuse`] with more header fields, which must have been checked.
pub(crate) fn refuse_with(
    wire: &mut Wire<'_>,
    status: u16,
    headers: &[(Cow<'static, str>, Cow<'static, str>)],
    line: &str,
    without_body: bool,
) {
    let typed = headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    let head = Head {
        status,
        content_type: (!typed).then_some("text/plain; charset=utf-8"),
        fields: Fields::List(headers),
    };
    head.write(wire.out, Some(wire.date));
    if status == 426 {
        // RFC 9110 7.8: whoever sends Upgrade names it here.
        wire.out.extend_from_slice(b"Connection: Upgrade\r\n");
    }
    connection(wire.out, 1, false);
    wire.out.extend_from_slice(b"Content-Length: ");
    decimal(wire.out, line.len().saturating_add(1));
    wire.out.extend_from_slice(b"\r\n\r\n");
    if !without_body {
        wire.out.extend_from_slice(line.as_bytes());
        wire.out.push(b'\n');
    }
    wire.raise(Flow::End);
}
