//! From bytes to requests.

use std::borrow::Cow;
use std::rc::Rc;
use std::time::Instant;

use super::chunked::Chunked;
use super::encoder::Exchange;
use super::{HttpConfig, HttpEncoder, Request};
use crate::buffer::append_declared;
use crate::head::{
    Extent, RequestLine, Scan, bad, check_fields, excerpt, is_host, is_token_byte, list,
};
use crate::{Answer, Event, NoOpening, ProtocolError, Step, Wire};

/// The receiving side of an [`Http`](super::Http) connection.
///
/// An unfinished head stays in the caller's buffer. An unfinished body is kept here, with its head, and handed over
/// whole with the request.
#[derive(Debug)]
pub struct HttpDecoder {
    config: Rc<HttpConfig>,
    scan: Scan,
    /// RFC 9112 2.2: one empty line before a request is ignored.
    blank_skipped: bool,
    /// When the first byte of the current head came.
    head_since: Option<Instant>,
    /// The request whose body is being received.
    unfinished: Option<Box<Unfinished>>,
}

#[derive(Debug)]
struct Unfinished {
    parts: RequestLine,
    line: String,
    fields: Vec<u8>,
    body: Vec<u8>,
    rest: Rest,
    exchange: Exchange,
    /// When the body last grew.
    progress: Instant,
}

/// What is still to come of a body.
#[derive(Debug)]
enum Rest {
    Length(usize),
    Chunked(Chunked),
}

/// What the fields of a head say about what follows.
#[derive(Debug, Default)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "independent facts about a head, each true or not"
)]
struct Rules {
    host: bool,
    length: Option<u64>,
    chunked: Option<Result<(), ProtocolError>>,
    close: bool,
    keep_alive: bool,
    expects: bool,
}

impl HttpDecoder {
    pub(super) fn new(config: Rc<HttpConfig>) -> Self {
        Self {
            config,
            scan: Scan::default(),
            blank_skipped: false,
            head_since: None,
            unfinished: None,
        }
    }

    pub(super) fn step<'a>(
        &mut self,
        encoder: &mut HttpEncoder,
        input: &'a [u8],
        wire: &mut Wire<'_>,
    ) -> Result<Step<Request<'a>, NoOpening>, ProtocolError> {
        if encoder.is_over() {
            return Ok(Step::new(input.len(), Event::Finished));
        }
        if encoder.is_busy() {
            return Ok(Step::new(0, Event::Wait));
        }
        if self.unfinished.is_some() {
            return self.body_step(encoder, input, wire);
        }
        let Some(&first) = input.first() else {
            return Ok(Step::new(0, Event::Partial));
        };
        self.head_since.get_or_insert(wire.now);
        if self.scan.is_fresh() {
            if first == b'\r' && !self.blank_skipped {
                return self.skip_blank(input);
            }
            // Fails a TLS hello or a stray line break at once, instead of waiting for the end of a head.
            if !is_token_byte(first) {
                return Err(bad(
                    "a request begins with its method (RFC 9112 3)",
                    excerpt(&[first]),
                ));
            }
        }
        let found = self
            .scan
            .advance(input, self.config.max_head, self.config.max_headers)?;
        match found {
            None => Ok(Step::new(0, Event::Partial)),
            Some(extent) => self.head_step(encoder, input, extent, wire),
        }
    }

    fn skip_blank<'a>(
        &mut self,
        input: &[u8],
    ) -> Result<Step<Request<'a>, NoOpening>, ProtocolError> {
        match input.get(1) {
            None => Ok(Step::new(0, Event::Partial)),
            Some(b'\n') => {
                self.blank_skipped = true;
                // Old browsers send one after a body: the connection is idle again, not slow with a head.
                self.head_since = None;
                Ok(Step::new(2, Event::Progress))
            }
            Some(_) => Err(bad(
                "a request begins with its method (RFC 9112 3)",
                "a bare CR",
            )),
        }
    }

    fn head_step<'a>(
        &mut self,
        encoder: &mut HttpEncoder,
        input: &'a [u8],
        extent: Extent,
        wire: &mut Wire<'_>,
    ) -> Result<Step<Request<'a>, NoOpening>, ProtocolError> {
        let (head, behind) = input.split_at_checked(extent.len).unwrap_or((input, &[]));
        let (line, fields) = head.split_at_checked(extent.fields).unwrap_or((head, &[]));
        let (line, parts) = RequestLine::parse(line.strip_suffix(b"\r\n").unwrap_or(line))?;
        let rules = Rules::read(fields, extent.count, parts.minor)?;
        let exchange = Exchange {
            head: parts.method(line) == "HEAD",
            minor: parts.minor,
            keep_alive: !rules.close && (parts.minor > 0 || rules.keep_alive),
        };
        let rest = self.body_rule(&rules)?;

        self.scan = Scan::default();
        self.blank_skipped = false;
        self.head_since = None;
        if let Rest::Length(len) = rest
            && let Some(body) = behind.get(..len)
        {
            encoder.owe(exchange);
            return Ok(Step::new(
                extent.len.saturating_add(len),
                Event::Message(Request {
                    parts,
                    line: Cow::Borrowed(line),
                    fields: Cow::Borrowed(fields),
                    body: Cow::Borrowed(body),
                    trailers: Vec::new(),
                    keep_alive: exchange.keep_alive,
                }),
            ));
        }
        // RFC 9110 10.1.1: a peer that did not wait gets no 100, and HTTP/1.0 does not know it.
        if rules.expects && parts.minor > 0 && behind.is_empty() {
            wire.out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        self.unfinished = Some(Box::new(Unfinished {
            parts,
            line: line.to_owned(),
            fields: fields.to_owned(),
            body: Vec::new(),
            rest,
            exchange,
            progress: wire.now,
        }));
        Ok(Step::new(extent.len, Event::Progress))
    }

    /// RFC 9112 section 6.3.
    fn body_rule(&self, rules: &Rules) -> Result<Rest, ProtocolError> {
        if let Some(chunked) = &rules.chunked {
            if rules.length.is_some() {
                return Err(bad(
                    "Content-Length and Transfer-Encoding exclude each other (RFC 9112 6.3)",
                    "",
                ));
            }
            chunked.clone()?;
            return Ok(Rest::Chunked(Chunked::new()));
        }
        let declared = rules.length.unwrap_or(0);
        match usize::try_from(declared) {
            Ok(len) if len <= self.config.max_message => Ok(Rest::Length(len)),
            _ => Err(ProtocolError::peer(
                Answer::Status(413),
                "a body is not longer than max_message",
                format!("{declared} bytes, at most {}", self.config.max_message),
            )),
        }
    }

    fn body_step<'a>(
        &mut self,
        encoder: &mut HttpEncoder,
        input: &[u8],
        wire: &mut Wire<'_>,
    ) -> Result<Step<Request<'a>, NoOpening>, ProtocolError> {
        let Some(mut request) = self.unfinished.take() else {
            return Ok(Step::new(0, Event::Partial));
        };
        if !input.is_empty() {
            request.progress = wire.now;
        }
        let (taken, complete) = request.take(input, &self.config)?;
        if !complete {
            self.unfinished = Some(request);
            return Ok(Step::new(taken, Event::Partial));
        }
        let trailers = match request.rest {
            Rest::Length(_) => Vec::new(),
            Rest::Chunked(chunked) => chunked.into_trailers()?,
        };
        encoder.owe(request.exchange);
        Ok(Step::new(
            taken,
            Event::Message(Request {
                parts: request.parts,
                line: Cow::Owned(request.line),
                fields: Cow::Owned(request.fields),
                body: Cow::Owned(request.body),
                trailers,
                keep_alive: request.exchange.keep_alive,
            }),
        ))
    }

    /// The answer to a HEAD request has no body, even if it is an error: the peer would not read it.
    pub(super) fn method_is_head(&self, input: &[u8]) -> bool {
        match &self.unfinished {
            Some(request) => request.exchange.head,
            None => input.starts_with(b"HEAD "),
        }
    }

    pub(super) fn is_between_requests(&self) -> bool {
        self.head_since.is_none() && self.unfinished.is_none()
    }

    pub(super) fn deadline(&self, encoder: &HttpEncoder) -> Option<Instant> {
        if let Some(request) = &self.unfinished {
            return request.progress.checked_add(self.config.body_timeout);
        }
        if let Some(since) = self.head_since {
            return since.checked_add(self.config.header_timeout);
        }
        encoder
            .idle_since()?
            .checked_add(self.config.keep_alive_timeout)
    }

    pub(super) fn too_slow(&self) -> ProtocolError {
        let (rule, limit) = if self.unfinished.is_some() {
            (
                "a body keeps coming: body_timeout",
                self.config.body_timeout,
            )
        } else {
            (
                "a head is complete within header_timeout",
                self.config.header_timeout,
            )
        };
        ProtocolError::time(Answer::Status(408), rule, format!("{limit:?} have passed"))
    }
}

impl Unfinished {
    fn take(&mut self, input: &[u8], config: &HttpConfig) -> Result<(usize, bool), ProtocolError> {
        match &mut self.rest {
            Rest::Length(left) => {
                let take = (*left).min(input.len());
                let data = input.get(..take).unwrap_or_default();
                append_declared(&mut self.body, data, *left);
                *left = left.saturating_sub(take);
                Ok((take, *left == 0))
            }
            Rest::Chunked(chunked) => chunked.feed(input, &mut self.body, config),
        }
    }
}

impl Rules {
    fn read(fields: &[u8], count: usize, minor: u8) -> Result<Self, ProtocolError> {
        let mut rules = Self::default();
        check_fields(fields, count, |name, value| rules.field(name, value, minor))?;
        if minor > 0 && !rules.host {
            return Err(bad("HTTP/1.1 requests have a Host (RFC 9112 3.2)", "none"));
        }
        Ok(rules)
    }

    fn field(&mut self, name: &str, value: &[u8], minor: u8) -> Result<(), ProtocolError> {
        // The length tells most fields apart, so that a request with many is not compared with all names.
        match name.len() {
            4 if name.eq_ignore_ascii_case("host") => self.host(value),
            6 if name.eq_ignore_ascii_case("expect") => self.expect(value, minor),
            10 if name.eq_ignore_ascii_case("connection") => {
                for option in list(value) {
                    self.close |= option.eq_ignore_ascii_case(b"close");
                    self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                }
                Ok(())
            }
            14 if name.eq_ignore_ascii_case("content-length") => self.length(value),
            17 if name.eq_ignore_ascii_case("transfer-encoding") => {
                self.transfer_encoding(value, minor)
            }
            _ => Ok(()),
        }
    }

    fn host(&mut self, value: &[u8]) -> Result<(), ProtocolError> {
        if self.host {
            return Err(bad("there is one Host (RFC 9112 3.2)", "another one"));
        }
        if !is_host(value) {
            return Err(bad("Host is host[:port] (RFC 9110 7.2)", excerpt(value)));
        }
        self.host = true;
        Ok(())
    }

    /// RFC 9112 6.3 would allow repeated equal lengths; no honest client sends them.
    fn length(&mut self, value: &[u8]) -> Result<(), ProtocolError> {
        if self.length.is_some() {
            return Err(bad(
                "there is one Content-Length (RFC 9112 6.3)",
                "another one",
            ));
        }
        if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
            return Err(bad(
                "Content-Length is digits (RFC 9110 8.6)",
                excerpt(value),
            ));
        }
        // Digits only, so that all that can go wrong is a number that is too large for any limit.
        let digits = str::from_utf8(value).unwrap_or_default();
        self.length = Some(digits.parse().unwrap_or(u64::MAX));
        Ok(())
    }

    /// RFC 9112 section 6.1. What is merely unknown is remembered, so that worse errors come first.
    fn transfer_encoding(&mut self, value: &[u8], minor: u8) -> Result<(), ProtocolError> {
        if minor == 0 {
            return Err(bad(
                "HTTP/1.0 has no Transfer-Encoding (RFC 9112 6.1)",
                excerpt(value),
            ));
        }
        let codings = list(value).count();
        let chunked = list(value)
            .filter(|coding| coding.eq_ignore_ascii_case(b"chunked"))
            .count();
        let chunked_is_last = list(value)
            .last()
            .is_some_and(|coding| coding.eq_ignore_ascii_case(b"chunked"));
        if self.chunked.is_some()
            || codings == 0
            || chunked > 1
            || (chunked == 1 && !chunked_is_last)
            // `chunked,` and the like: the next hop may read something else into it.
            || (codings == 1 && chunked == 1 && value.len() != "chunked".len())
        {
            return Err(bad(
                "chunked is the last transfer coding, and applied once (RFC 9112 6.1)",
                excerpt(value),
            ));
        }
        self.chunked = Some(if codings == 1 && chunked == 1 {
            Ok(())
        } else {
            Err(ProtocolError::peer(
                Answer::Status(501),
                "chunked is the only transfer coding known here (RFC 9112 6.1)",
                excerpt(value),
            ))
        });
        Ok(())
    }

    /// RFC 9110 section 10.1.1.
    fn expect(&mut self, value: &[u8], minor: u8) -> Result<(), ProtocolError> {
        if value.eq_ignore_ascii_case(b"100-continue") {
            self.expects = true;
        } else if minor > 0 {
            return Err(ProtocolError::peer(
                Answer::Status(417),
                "100-continue is the only expectation known here (RFC 9110 10.1.1)",
                excerpt(value),
            ));
        }
        Ok(())
    }
}
