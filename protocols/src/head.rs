//! The head of an HTTP/1 request: where it ends, its first line, its header fields.
//!
//! Shared by HTTP and by the WebSocket handshake. Nothing here allocates for an ordinary request.

use std::borrow::Cow;

use httparse::Status;
use memchr::memchr;

use crate::{Answer, ProtocolError};

/// Heads with no more fields than this are checked on the stack.
const FIELDS_ON_STACK: usize = 32;

/// An error that is answered with 400.
pub(crate) fn bad(rule: &'static str, found: impl Into<Cow<'static, str>>) -> ProtocolError {
    ProtocolError::peer(Answer::Status(400), rule, found)
}

/// A few bytes of the peer's, fit for a log.
pub(crate) fn excerpt(bytes: &[u8]) -> String {
    const LONGEST: usize = 64;
    let short = bytes.get(..LONGEST).unwrap_or(bytes);
    let more = if short.len() < bytes.len() { "..." } else { "" };
    format!("`{}{more}`", short.escape_ascii())
}

/// How far the search for the end of a head has come. Each byte is looked at once, however the head is cut.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Scan {
    /// Bytes that were searched.
    seen: usize,
    /// Where the current line starts.
    line: usize,
    /// Lines that are complete.
    lines: usize,
    /// Where the second line starts.
    fields: usize,
}

/// A complete head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Bytes up to and with the empty line.
    pub(crate) len: usize,
    /// Where the header fields begin.
    pub(crate) fields: usize,
    /// How many field lines there are.
    pub(crate) count: usize,
}

impl Scan {
    /// Searches what is new in `input`, which must begin with the head. `Ok(None)`: it is not complete.
    pub(crate) fn advance(
        &mut self,
        input: &[u8],
        max_head: usize,
        max_headers: usize,
    ) -> Result<Option<Extent>, ProtocolError> {
        let window = input.get(..max_head).unwrap_or(input);
        while let Some(offset) = window
            .get(self.seen..)
            .and_then(|fresh| memchr(b'\n', fresh))
        {
            let lf = self.seen.saturating_add(offset);
            let line = window.get(self.line..lf).unwrap_or_default();
            let Some((b'\r', line)) = line.split_last() else {
                return Err(bad(
                    "lines of a head end with CRLF (RFC 9112 2.2)",
                    "a bare LF",
                ));
            };
            let next = lf.saturating_add(1);
            if line.is_empty() {
                // The first line is never empty here: its first byte has been checked.
                return Ok(Some(Extent {
                    len: next,
                    fields: self.fields,
                    count: self.lines.saturating_sub(1),
                }));
            }
            if self.lines == 0 {
                self.fields = next;
            }
            if self.lines > max_headers {
                return Err(ProtocolError::peer(
                    Answer::Status(431),
                    "a head has not more than max_headers fields",
                    format!("more than {max_headers}"),
                ));
            }
            self.lines = self.lines.saturating_add(1);
            self.line = next;
            self.seen = next;
        }
        self.seen = window.len();
        if input.len() >= max_head {
            return Err(ProtocolError::peer(
                Answer::Status(431),
                "a head is not longer than max_head",
                format!("more than {max_head} bytes"),
            ));
        }
        Ok(None)
    }

    /// True before the first byte.
    pub(crate) fn is_fresh(&self) -> bool {
        self.seen == 0
    }
}

/// True for the characters of a method or a field name (RFC 9110 5.6.2).
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| is_token_byte(byte))
}

/// One character of a token.
pub(crate) fn is_token_byte(byte: u8) -> bool {
    const TOKEN: [bool; 256] = alphanumeric_and(b"!#$%&'*+-.^_`|~");
    TOKEN.get(usize::from(byte)) == Some(&true)
}

/// A table of the characters in `others`, letters and digits: these are looked up for every byte of a head.
const fn alphanumeric_and(others: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte: u8 = 0;
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_alphanumeric();
        byte += 1;
    }
    let mut i = 0;
    while i < others.len() {
        table[others[i] as usize] = true;
        i += 1;
    }
    table
}

/// True if `value` can stand in a field without ending it (RFC 9110 5.5).
pub(crate) fn is_field_value(value: &[u8]) -> bool {
    value
        .iter()
        .all(|&byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f))
}

/// The parts of a request line, as places in it. Empty ranges stand for parts that are not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RequestLine {
    method_end: usize,
    target_end: usize,
    authority: (usize, usize),
    path: (usize, usize),
    /// 0 for HTTP/1.0, 1 for HTTP/1.1 and whatever 1.x may come.
    pub(crate) minor: u8,
}

impl RequestLine {
    /// Takes a first line (without its CRLF) apart: RFC 9112 section 3.
    pub(crate) fn parse(line: &[u8]) -> Result<(&str, Self), ProtocolError> {
        const SHAPE: &str = "a request line is `method SP target SP HTTP/1.x` (RFC 9112 3)";
        let shape = || bad(SHAPE, excerpt(line));
        let text = str::from_utf8(line).map_err(|_| shape())?;
        let (method, rest) = text.split_once(' ').ok_or_else(shape)?;
        let (target, version) = rest.split_once(' ').ok_or_else(shape)?;
        if !is_token(method.as_bytes()) || target.is_empty() {
            return Err(shape());
        }
        let minor = match version.as_bytes() {
            b"HTTP/1.1" => 1,
            b"HTTP/1.0" => 0,
            [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
                if major.is_ascii_digit() && minor.is_ascii_digit() =>
            {
                if *major != b'1' {
                    return Err(ProtocolError::peer(
                        Answer::Status(505),
                        "only HTTP/1.x is spoken here (RFC 9110 15.6.6)",
                        version.to_owned(),
                    ));
                }
                1
            }
            _ => return Err(shape()),
        };
        if !target
            .bytes()
            .all(|byte| byte > b' ' && byte != 0x7f && byte != b'#')
        {
            return Err(bad(
                "a target has no controls, spaces or fragments (RFC 9112 3.2)",
                excerpt(target.as_bytes()),
            ));
        }
        let mut parsed = Self {
            method_end: method.len(),
            target_end: method.len() + 1 + target.len(),
            authority: (0, 0),
            path: (0, 0),
            minor,
        };
        parsed.split_target(text, method, target)?;
        Ok((text, parsed))
    }

    fn split_target(
        &mut self,
        line: &str,
        method: &str,
        target: &str,
    ) -> Result<(), ProtocolError> {
        if method == "CONNECT" {
            return Err(ProtocolError::peer(
                Answer::Status(501),
                "this server is no proxy (RFC 9110 9.3.6)",
                "CONNECT",
            ));
        }
        let start = self.method_end + 1;
        let mut path_start = start;
        if !target.starts_with('/') {
            if target == "*" && method == "OPTIONS" {
                self.path = (start, self.target_end);
                return Ok(());
            }
            let rest = strip_scheme(target).ok_or_else(|| {
                bad(
                    "a target is a path, an http URL, or `*` for OPTIONS (RFC 9112 3.2)",
                    excerpt(target.as_bytes()),
                )
            })?;
            let len = rest.find(['/', '?']).unwrap_or(rest.len());
            let authority = self.target_end - rest.len();
            path_start = authority + len;
            self.authority = (authority, path_start);
            if !is_host(rest.get(..len).unwrap_or_default().as_bytes()) {
                return Err(bad(
                    "the authority of a target is host[:port] (RFC 9110 4.2)",
                    excerpt(target.as_bytes()),
                ));
            }
        }
        let after = line.get(path_start..self.target_end).unwrap_or_default();
        let len = memchr(b'?', after.as_bytes()).unwrap_or(after.len());
        self.path = (path_start, path_start + len);
        Ok(())
    }

    pub(crate) fn method<'a>(&self, line: &'a str) -> &'a str {
        line.get(..self.method_end).unwrap_or_default()
    }

    pub(crate) fn target<'a>(&self, line: &'a str) -> &'a str {
        line.get(self.method_end + 1..self.target_end)
            .unwrap_or_default()
    }

    /// An http URL without a path asks for `/` (RFC 9110 4.2.3).
    pub(crate) fn path<'a>(&self, line: &'a str) -> &'a str {
        match line.get(self.path.0..self.path.1) {
            None | Some("") => "/",
            Some(path) => path,
        }
    }

    pub(crate) fn query<'a>(&self, line: &'a str) -> Option<&'a str> {
        line.get(self.path.1..self.target_end)?.strip_prefix('?')
    }

    pub(crate) fn authority<'a>(&self, line: &'a str) -> Option<&'a str> {
        line.get(self.authority.0..self.authority.1)
            .filter(|authority| !authority.is_empty())
    }
}

fn strip_scheme(target: &str) -> Option<&str> {
    ["http://", "https://"].into_iter().find_map(|scheme| {
        let (start, rest) = target.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some(rest)
    })
}

/// True for `host[:port]` as RFC 9110 section 7.2 has it. Two things are refused that its grammar allows and that
/// only ever occur in attacks: an empty host, and a comma.
pub(crate) fn is_host(value: &[u8]) -> bool {
    let (host, port) = if let Some(rest) = value.strip_prefix(b"[") {
        let Some(close) = memchr(b']', rest) else {
            return false;
        };
        let (address, after) = rest.split_at(close);
        let plausible = |&byte: &u8| byte.is_ascii_hexdigit() || b":.".contains(&byte);
        if address.is_empty() || !address.iter().all(plausible) {
            return false;
        }
        (None, after.get(1..).unwrap_or_default())
    } else {
        let end = memchr(b':', value).unwrap_or(value.len());
        let (host, port) = value.split_at(end);
        (Some(host), port)
    };
    if host.is_some_and(|host| host.is_empty() || !is_reg_name(host)) {
        return false;
    }
    match port.split_first() {
        None => true,
        Some((b':', digits)) => {
            digits.iter().all(u8::is_ascii_digit)
                && (digits.is_empty()
                    || str::from_utf8(digits).is_ok_and(|d| d.parse::<u16>().is_ok()))
        }
        Some(_) => false,
    }
}

/// A registered name or an IPv4 address, RFC 3986 section 3.2.2.
fn is_reg_name(mut host: &[u8]) -> bool {
    const PLAIN: [bool; 256] = alphanumeric_and(b"-.~_!$&'()*+;=");
    let plain = |byte: u8| PLAIN.get(usize::from(byte)) == Some(&true);
    while let Some((&byte, rest)) = host.split_first() {
        host = rest;
        if byte == b'%' {
            let Some((hex, rest)) = host.split_first_chunk::<2>() else {
                return false;
            };
            if !hex.iter().all(u8::is_ascii_hexdigit) {
                return false;
            }
            host = rest;
        } else if !plain(byte) {
            return false;
        }
    }
    true
}

/// Checks a block of header fields that ends with its empty line, and shows every field to `visit`.
pub(crate) fn check_fields(
    block: &[u8],
    count: usize,
    mut visit: impl FnMut(&str, &[u8]) -> Result<(), ProtocolError>,
) -> Result<(), ProtocolError> {
    let mut stack = [httparse::EMPTY_HEADER; FIELDS_ON_STACK];
    let mut heap = Vec::new();
    let slots = if let Some(slots) = stack.get_mut(..count) {
        slots
    } else {
        heap.resize(count, httparse::EMPTY_HEADER);
        heap.as_mut_slice()
    };
    match httparse::parse_headers(block, slots) {
        Ok(Status::Complete((len, fields))) if len == block.len() => fields
            .iter()
            .try_for_each(|field| visit(field.name, field.value)),
        Err(httparse::Error::HeaderValue) => Err(bad(
            "field values have no control characters (RFC 9110 5.5)",
            "",
        )),
        // All lines end with CRLF and the last is empty, so the rest is about names: whitespace around them (which
        // is also what a folded line looks like), characters that are not allowed, or no colon at all.
        _ => Err(bad(
            "a field line is `name: value`, never folded (RFC 9112 5)",
            "",
        )),
    }
}

/// The fields of a head in their order; names are ASCII, values are raw bytes without the whitespace around them.
///
/// Made by the `headers` function of a request or a handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Headers<'a> {
    /// What is left of a block that was checked before.
    block: &'a [u8],
}

impl<'a> Headers<'a> {
    pub(crate) fn new(block: &'a [u8]) -> Self {
        Self { block }
    }

    /// The first value of a field; names are compared without case.
    pub(crate) fn find(self, wanted: &str) -> Option<&'a [u8]> {
        self.into_iter()
            .find_map(|(name, value)| name.eq_ignore_ascii_case(wanted).then_some(value))
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a str, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let end = memchr(b'\n', self.block)?;
        let (line, rest) = self.block.split_at_checked(end.saturating_add(1))?;
        let colon = memchr(b':', line)?;
        let (name, value) = line.split_at_checked(colon)?;
        self.block = rest;
        Some((str::from_utf8(name).ok()?, value.get(1..)?.trim_ascii()))
    }
}

/// The elements of a comma-separated list (RFC 9110 5.6.1), without the empty ones.
pub(crate) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|&byte| byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty())
}
