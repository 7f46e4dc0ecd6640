//! The opening handshake, RFC 6455 section 4.2.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1_smol::Sha1;

use crate::head::{
    Extent, Headers, RequestLine, bad, check_fields, excerpt, is_field_value, is_host, is_token,
    list,
};
use crate::{Answer, EncodeError, ProtocolError};

/// RFC 6455 1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The base64 of a SHA-1.
pub(super) type Accept = [u8; 28];

/// The request that asks for a WebSocket: complete, and correct as far as the protocol goes. Whether this origin,
/// path or cookie is welcome is for the application to say, with a [`Verdict`], in `on_websocket_connect`: see
/// "WebSocket" in the guide, the front page of the crate workhive.
///
/// # Driving the codec
///
/// What the loop does before it calls `on_websocket_connect`, and after:
///
/// ```
/// # mod workhive { pub use workhive_protocols::*; pub mod codec { pub use workhive_protocols::*; } }
/// use std::{rc::Rc, time::{Instant, SystemTime}};
/// use workhive::codec::{Event, Wire, http_date};
/// use workhive::{Protocol, Verdict, WebSocket, WebSocketConfig};
///
/// let (mut out, now, date) = (Vec::new(), Instant::now(), http_date(SystemTime::UNIX_EPOCH));
/// let (mut decoder, mut encoder) = WebSocket::open(&Rc::new(WebSocketConfig::default()), now);
/// let mut wire = Wire::new(&mut out, now, &date);
/// let mut input = *b"GET /chat?room=1 HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\n\
///     Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
///     Origin: http://example.com\r\nSec-WebSocket-Protocol: chat, superchat\r\n\
///     Sec-WebSocket-Version: 13\r\n\r\n";
///
/// let step = WebSocket::decode(&mut decoder, &mut encoder, &mut input, &mut wire)?;
/// let Event::Opening(handshake) = step.event else { panic!("it is complete") };
/// assert_eq!((handshake.path(), handshake.query()), ("/chat", Some("room=1")));
/// assert_eq!(handshake.target(), "/chat?room=1");
/// assert_eq!(handshake.query_pairs().next(), Some(("room".into(), "1".into())));
/// assert_eq!(handshake.host(), Some("example.com"));
/// assert_eq!(handshake.origin(), Some("http://example.com"));
/// assert_eq!(handshake.protocols().collect::<Vec<_>>(), ["chat", "superchat"]);
/// assert_eq!(handshake.header("upgrade"), Some("websocket"));
/// assert_eq!(handshake.headers().count(), 7);
///
/// WebSocket::answer(&mut encoder, Verdict::accept().subprotocol("chat"), &mut wire)?;
/// assert!(out.starts_with(b"HTTP/1.1 101 Switching Protocols\r\n"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handshake<'a> {
    parts: RequestLine,
    line: &'a str,
    headers: Headers<'a>,
}

impl<'a> Handshake<'a> {
    /// The request target as it was sent: `/path?query`, or an absolute `http://host/path`.
    pub fn target(&self) -> &'a str {
        self.parts.target(self.line)
    }

    /// The path, not decoded, without the query.
    pub fn path(&self) -> &'a str {
        self.parts.path(self.line)
    }

    /// What stands behind the `?`, not decoded; [`query_pairs`](Self::query_pairs) decodes it.
    pub fn query(&self) -> Option<&'a str> {
        self.parts.query(self.line)
    }

    /// The query, decoded: as [`Request::query_pairs`](crate::Request::query_pairs).
    pub fn query_pairs(&self) -> impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)> + use<'a> {
        form_urlencoded::parse(self.query().unwrap_or_default().as_bytes())
    }

    /// The first field of this name (in any case), if its value is UTF-8.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        str::from_utf8(self.headers.clone().find(name)?).ok()
    }

    /// All header fields in their order, with raw values.
    pub fn headers(&self) -> Headers<'a> {
        self.headers.clone()
    }

    /// The host and port that are asked for.
    pub fn host(&self) -> Option<&'a str> {
        self.parts
            .authority(self.line)
            .or_else(|| self.header("host"))
    }

    /// The page that wants the connection. Browsers always say it, and cannot be made to lie.
    pub fn origin(&self) -> Option<&'a str> {
        self.header("origin")
    }

    /// The subprotocols that the peer speaks, best first.
    pub fn protocols(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.headers()
            .filter(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-protocol"))
            .flat_map(|(_, value)| list(value))
            .filter_map(|name| str::from_utf8(name).ok())
    }
}

/// An application's answer to a [`Handshake`], returned from `on_websocket_connect`: see "WebSocket" in the guide, the
/// front page of the crate workhive. The default accepts.
///
/// ```
/// # mod workhive { pub use workhive_protocols::*; }
/// use workhive::Verdict;
///
/// let welcome = Verdict::accept().subprotocol("chat").header("x-node", "3");
/// let unknown = Verdict::refuse(403).body("log in first");
/// # let _ = (welcome, unknown);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    pub(super) subprotocol: Option<Cow<'static, str>>,
    pub(super) headers: Vec<(Cow<'static, str>, Cow<'static, str>)>,
    pub(super) refuse: Option<(u16, Cow<'static, str>)>,
}

impl Verdict {
    /// The connection becomes a WebSocket.
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; }
    /// assert_eq!(workhive::Verdict::accept(), Default::default());
    /// ```
    pub fn accept() -> Self {
        Self::default()
    }

    /// The peer gets an HTTP response with this status (300 to 599), and the connection ends.
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; }
    /// let verdict = workhive::Verdict::refuse(401).header("www-authenticate", "Bearer");
    /// # let _ = verdict;
    /// ```
    pub fn refuse(status: u16) -> Self {
        Self {
            refuse: Some((status, Cow::Borrowed(crate::reason(status)))),
            ..Self::default()
        }
    }

    /// One line of text for the peer, with a refusal; without one it has no effect.
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; }
    /// let verdict = workhive::Verdict::refuse(403).body("this room is full");
    /// # let _ = verdict;
    /// ```
    pub fn body(mut self, line: impl Into<Cow<'static, str>>) -> Self {
        if let Some((_, body)) = &mut self.refuse {
            *body = line.into();
        }
        self
    }

    /// Chooses a subprotocol. It must be one of those that the peer offered, or answering is
    /// [`EncodeError::Misuse`].
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; }
    /// let verdict = workhive::Verdict::accept().subprotocol("graphql-ws");
    /// # let _ = verdict;
    /// ```
    pub fn subprotocol(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.subprotocol = Some(name.into());
        self
    }

    /// Adds a header field to the answer, such as `Set-Cookie`. Names and values that would break out of their line
    /// and fields that belong to the handshake are [`EncodeError::Misuse`].
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; }
    /// let verdict = workhive::Verdict::accept().header("set-cookie", "seen=1");
    /// # let _ = verdict;
    /// ```
    pub fn header(
        mut self,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<Cow<'static, str>>,
    ) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Everything that could be wrong with a verdict, before its first byte is written.
    pub(super) fn check(&self, asked: &Asked) -> Result<(), EncodeError> {
        const OURS: [&str; 7] = [
            "connection",
            "content-length",
            "date",
            "sec-websocket-accept",
            "sec-websocket-extensions",
            "sec-websocket-protocol",
            "transfer-encoding",
        ];
        let misuse = |rule| Err(EncodeError::Misuse { rule });
        if let Some((status, _)) = self.refuse
            && !(300..=599).contains(&status)
        {
            return misuse("a refusal has a status of 300 to 599");
        }
        if let Some(subprotocol) = &self.subprotocol
            && !asked.offers(subprotocol)
        {
            return misuse("a subprotocol is one that the peer offered (RFC 6455 4.2.2)");
        }
        for (name, value) in &self.headers {
            if !is_token(name.as_bytes()) {
                return misuse("a field name is a token (RFC 9110 5.6.2)");
            }
            if !is_field_value(value.as_bytes()) {
                return misuse("a field value has no line breaks or other controls");
            }
            let upgrade = self.refuse.is_none() && name.eq_ignore_ascii_case("upgrade");
            if upgrade || OURS.iter().any(|ours| name.eq_ignore_ascii_case(ours)) {
                return misuse("this field is written by the codec");
            }
        }
        Ok(())
    }
}

/// What must be known of a handshake until it is answered.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) accept: Accept,
    /// The subprotocols on offer, one after another with commas.
    offers: String,
}

impl Asked {
    fn offers(&self, subprotocol: &str) -> bool {
        list(self.offers.as_bytes()).any(|offer| offer == subprotocol.as_bytes())
    }
}

/// Checks a complete head against RFC 6455 section 4.2.1.
pub(super) fn read(head: &[u8], extent: Extent) -> Result<(Handshake<'_>, Asked), ProtocolError> {
    let (line, fields) = head.split_at_checked(extent.fields).unwrap_or((head, &[]));
    let (line, parts) = RequestLine::parse(line.strip_suffix(b"\r\n").unwrap_or(line))?;
    if parts.method(line) != "GET" || parts.minor == 0 {
        return Err(bad(
            "a handshake is a GET of HTTP/1.1 (RFC 6455 4.2.1)",
            excerpt(line.as_bytes()),
        ));
    }
    let mut claims = Claims::default();
    check_fields(fields, extent.count, |name, value| {
        claims.field(name, value)
    })?;
    let key = claims.verify()?;
    let handshake = Handshake {
        parts,
        line,
        headers: Headers::new(fields),
    };
    let offers: Vec<&str> = handshake.protocols().collect();
    let asked = Asked {
        accept: accept(&key),
        offers: offers.join(","),
    };
    Ok((handshake, asked))
}

/// What the fields of a handshake say.
#[derive(Debug, Default)]
struct Claims {
    host: bool,
    upgrade: bool,
    connection: bool,
    /// The only one so far.
    key: Option<[u8; 24]>,
    version: Option<bool>,
}

impl Claims {
    fn field(&mut self, name: &str, value: &[u8]) -> Result<(), ProtocolError> {
        let is = |wanted: &str| name.eq_ignore_ascii_case(wanted);
        let names = |wanted: &[u8]| list(value).any(|name| name.eq_ignore_ascii_case(wanted));
        if is("host") {
            if self.host || !is_host(value) {
                return Err(bad(
                    "there is one Host, and it is host[:port] (RFC 9112 3.2)",
                    excerpt(value),
                ));
            }
            self.host = true;
        } else if is("upgrade") {
            self.upgrade |= names(b"websocket");
        } else if is("connection") {
            self.connection |= names(b"upgrade");
        } else if is("sec-websocket-key") {
            if self.key.is_some() {
                return Err(bad("there is one Sec-WebSocket-Key (RFC 6455 4.1)", ""));
            }
            self.key = Some(read_key(value)?);
        } else if is("sec-websocket-version") {
            if self.version.is_some() {
                return Err(bad("there is one Sec-WebSocket-Version (RFC 6455 4.1)", ""));
            }
            self.version = Some(value == b"13");
        } else if is("transfer-encoding") || (is("content-length") && value != b"0") {
            // Its body would be read as frames.
            return Err(bad(
                "a handshake has no body (RFC 6455 4.1)",
                excerpt(value),
            ));
        }
        Ok(())
    }

    /// All that must be there is there; the key.
    fn verify(self) -> Result<[u8; 24], ProtocolError> {
        if !self.host {
            return Err(bad("HTTP/1.1 requests have a Host (RFC 9112 3.2)", "none"));
        }
        if !self.upgrade {
            return Err(bad("Upgrade names websocket (RFC 6455 4.2.1)", ""));
        }
        if !self.connection {
            return Err(bad("Connection names Upgrade (RFC 6455 4.2.1)", ""));
        }
        if self.version != Some(true) {
            return Err(ProtocolError::peer(
                Answer::Status(426),
                "Sec-WebSocket-Version is 13 (RFC 6455 4.2.2)",
                if self.version.is_none() {
                    "none"
                } else {
                    "another"
                },
            ));
        }
        self.key
            .ok_or_else(|| bad("there is one Sec-WebSocket-Key (RFC 6455 4.2.1)", "none"))
    }
}

/// A key is the base64 of 16 bytes: 24 characters, the last two of them padding.
fn read_key(value: &[u8]) -> Result<[u8; 24], ProtocolError> {
    let mut decoded = [0; 18];
    match (
        <[u8; 24]>::try_from(value),
        STANDARD.decode_slice(value, &mut decoded),
    ) {
        (Ok(key), Ok(16)) => Ok(key),
        _ => Err(bad(
            "Sec-WebSocket-Key is the base64 of 16 bytes (RFC 6455 4.2.1)",
            excerpt(value),
        )),
    }
}

/// RFC 6455 section 4.2.2, step 5.
fn accept(key: &[u8; 24]) -> Accept {
    let mut hash = Sha1::new();
    hash.update(key);
    hash.update(GUID);
    let mut accept = [0; 28];
    // Twenty bytes are 28 characters: it fits.
    let _ = STANDARD.encode_slice(hash.digest().bytes(), &mut accept);
    accept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc_is_accepted_with_its_accept() {
        let key = read_key(b"dGhlIHNhbXBsZSBub25jZQ==").unwrap();
        assert_eq!(&accept(&key), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
