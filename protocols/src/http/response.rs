//! What an application answers.

use std::borrow::Cow;

use super::{Lines, reason};
use crate::Message;

/// The body of a response: made from text or bytes, owned or `'static`.
///
/// ```
/// # mod workhive { pub use workhive_protocols::*; pub mod codec { pub use workhive_protocols::*; } }
/// use workhive::codec::Body;
///
/// let _: [Body; 3] = ["static".into(), String::from("owned").into(), vec![1, 2, 3].into()];
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Body(pub(super) Cow<'static, [u8]>);

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Self(Cow::Borrowed(text.as_bytes()))
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self(Cow::Owned(text.into_bytes()))
    }
}

impl From<Cow<'static, str>> for Body {
    fn from(text: Cow<'static, str>) -> Self {
        match text {
            Cow::Borrowed(text) => text.into(),
            Cow::Owned(text) => text.into(),
        }
    }
}

impl From<&'static [u8]> for Body {
    fn from(bytes: &'static [u8]) -> Self {
        Self(Cow::Borrowed(bytes))
    }
}

impl<const N: usize> From<&'static [u8; N]> for Body {
    fn from(bytes: &'static [u8; N]) -> Self {
        Self(Cow::Borrowed(bytes))
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Cow::Owned(bytes))
    }
}

/// One HTTP response, to be sent once for every request: see "HTTP" in the guide, the front page of the crate workhive.
///
/// `Content-Length`, `Transfer-Encoding`, `Connection` and `Date` are written by the codec. Of the header fields
/// that one may want to set nevertheless, `Connection: close` ends the connection after this response, `Date`
/// replaces ours, and `Content-Length` is left out if it says what is true; all else is
/// [`EncodeError::Misuse`](crate::EncodeError::Misuse) when the response is sent, as are names and values that
/// would break out of their line.
///
/// ```
/// # mod workhive { pub use workhive_protocols::*; }
/// use workhive::Response;
///
/// let page = Response::html("<p>88%</p>").header("cache-control", "no-store");
/// assert_eq!(page.code(), 200);
/// assert_eq!(page.content(), b"<p>88%</p>");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    pub(super) status: u16,
    pub(super) content_type: Option<Cow<'static, str>>,
    pub(super) headers: Vec<(Cow<'static, str>, Cow<'static, str>)>,
    pub(super) body: Body,
    pub(super) stream: bool,
}

impl Response {
    /// An empty response.
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; }
    /// let response = workhive::Response::new(204);
    /// assert!(response.content().is_empty());
    /// ```
    pub const fn new(status: u16) -> Self {
        Self {
            status,
            content_type: None,
            headers: Vec::new(),
            body: Body(Cow::Borrowed(&[])),
            stream: false,
        }
    }

    /// 200 with `text/plain; charset=utf-8`.
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; }
    /// assert_eq!(workhive::Response::text("Hello, World!").content(), b"Hello, World!");
    /// ```
    pub fn text(body: impl Into<Cow<'static, str>>) -> Self {
        Self::new(200)
            .content_type("text/plain; charset=utf-8")
            .body(body.into())
    }

    /// 200 with `text/html; charset=utf-8`.
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; }
    /// let page = workhive::Response::html(format!("<p>{}</p>", 88));
    /// assert_eq!(page.content(), b"<p>88</p>");
    /// ```
    pub fn html(body: impl Into<Cow<'static, str>>) -> Self {
        Self::new(200)
            .content_type("text/html; charset=utf-8")
            .body(body.into())
    }

    /// 200 with `application/json`; `text` is sent as it is.
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; }
    /// assert_eq!(workhive::Response::json("[1]").content(), b"[1]");
    /// ```
    pub fn json(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(200)
            .content_type("application/json")
            .body(text.into())
    }

    /// 200 with any content type.
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; }
    /// let icon = workhive::Response::bytes("image/png", b"\x89PNG");
    /// assert_eq!(icon.content().len(), 4);
    /// ```
    pub fn bytes(content_type: impl Into<Cow<'static, str>>, body: impl Into<Body>) -> Self {
        Self::new(200).content_type(content_type).body(body)
    }

    /// A response whose body is the status's standard phrase, as plain text; empty where it has none.
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; }
    /// assert_eq!(workhive::Response::status(404).content(), b"Not Found");
    /// ```
    pub fn status(status: u16) -> Self {
        let phrase = reason(status);
        if phrase.is_empty() || super::status::has_no_body(status) {
            return Self::new(status);
        }
        Self::text(phrase).with_status(status)
    }

    /// Replaces the status.
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; }
    /// assert_eq!(workhive::Response::json("{}").with_status(201).code(), 201);
    /// ```
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// Replaces the content type.
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; }
    /// let feed = workhive::Response::new(200).content_type("text/event-stream").stream();
    /// # assert_eq!(feed.code(), 200);
    /// ```
    pub fn content_type(mut self, content_type: impl Into<Cow<'static, str>>) -> Self {
        self.content_type = Some(content_type.into());
        self
    }

    /// Adds a header field. The same name may be added more than once (`Set-Cookie`).
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; }
    /// let moved = workhive::Response::new(303).header("location", "/done");
    /// # assert_eq!(moved.code(), 303);
    /// ```
    pub fn header(
        mut self,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<Cow<'static, str>>,
    ) -> Self {
        let (name, value) = (name.into(), value.into());
        if name.eq_ignore_ascii_case("content-type") {
            return self.content_type(value);
        }
        self.headers.push((name, value));
        self
    }

    /// Replaces the body.
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; }
    /// let response = workhive::Response::new(202).body("queued");
    /// assert_eq!(response.content(), b"queued");
    /// ```
    pub fn body(mut self, body: impl Into<Body>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends the head (and what body there is) now; [`Chunk`]s follow, the last of them made by [`Chunk::last`].
    /// Peers that speak HTTP/1.0 get the chunks bare, and the end of the connection as their end.
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; }
    /// use workhive::{Chunk, Response};
    ///
    /// let head = Response::new(200).content_type("text/event-stream").stream();
    /// let event = Chunk::from("data: 88%\n\n");
    /// let end = Chunk::last();
    /// # let _ = (head, event, end);
    /// ```
    pub fn stream(mut self) -> Self {
        self.stream = true;
        self
    }

    /// The status.
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; }
    /// assert_eq!(workhive::Response::new(200).code(), 200);
    /// ```
    pub fn code(&self) -> u16 {
        self.status
    }

    /// The body.
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; }
    /// assert_eq!(workhive::Response::text("hi").content(), b"hi");
    /// ```
    pub fn content(&self) -> &[u8] {
        &self.body.0
    }
}

/// A piece of the body of a streamed response. An empty piece sends nothing; the end is [`Chunk::last`].
///
/// It is sent like a response, after the one that began the [`stream`](Response::stream): see "Streaming a response" in
/// the guide, the front page of the crate workhive.
///
/// ```
/// # mod workhive { pub use workhive_protocols::*; }
/// use workhive::Chunk;
///
/// let (_middle, _end) = (Chunk::from("88%\n"), Chunk::from(b"\xff").and_last());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk<'a> {
    pub(super) data: Cow<'a, [u8]>,
    pub(super) last: bool,
}

impl<'a> Chunk<'a> {
    /// The end of the body.
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; }
    /// let end = workhive::Chunk::last();
    /// # let _ = end;
    /// ```
    pub const fn last() -> Self {
        Self {
            data: Cow::Borrowed(&[]),
            last: true,
        }
    }

    /// This piece, and with it the end of the body.
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; }
    /// let end = workhive::Chunk::from("bye").and_last();
    /// # let _ = end;
    /// ```
    pub fn and_last(mut self) -> Self {
        self.last = true;
        self
    }

    fn piece(data: Cow<'a, [u8]>) -> Self {
        Self { data, last: false }
    }
}

impl<'a> From<&'a str> for Chunk<'a> {
    fn from(text: &'a str) -> Self {
        Self::piece(Cow::Borrowed(text.as_bytes()))
    }
}

impl<'a> From<&'a String> for Chunk<'a> {
    fn from(text: &'a String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<String> for Chunk<'_> {
    fn from(text: String) -> Self {
        Self::piece(Cow::Owned(text.into_bytes()))
    }
}

impl<'a> From<&'a [u8]> for Chunk<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::piece(Cow::Borrowed(bytes))
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Chunk<'a> {
    fn from(bytes: &'a [u8; N]) -> Self {
        Self::piece(Cow::Borrowed(bytes))
    }
}

impl<'a> From<&'a Vec<u8>> for Chunk<'a> {
    fn from(bytes: &'a Vec<u8>) -> Self {
        Self::piece(Cow::Borrowed(bytes))
    }
}

impl From<Vec<u8>> for Chunk<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Self::piece(Cow::Owned(bytes))
    }
}

/// Whatever answers a request: a [`Response`], a [`Chunk`] of one that is streamed, or bare text, which is sent as
/// 200 with `text/html; charset=utf-8`.
///
/// ```
/// # mod workhive { pub use workhive_protocols::*; }
/// use workhive::{Reply, Response};
///
/// let _: [Reply; 3] = ["<p>hi</p>".into(), Response::status(404).into(), b"\xff".into()];
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply<'a> {
    /// A response of its own.
    Response(Response),
    /// One whose fields are lines already.
    Lines(Lines<'a>),
    /// A piece of the response that is being streamed.
    Chunk(Chunk<'a>),
    /// 200, HTML.
    Text(Cow<'a, str>),
    /// 200, `application/octet-stream`.
    Bytes(Cow<'a, [u8]>),
}

impl From<Response> for Reply<'_> {
    fn from(response: Response) -> Self {
        Self::Response(response)
    }
}

impl<'a> From<Lines<'a>> for Reply<'a> {
    fn from(lines: Lines<'a>) -> Self {
        Self::Lines(lines)
    }
}

impl<'a> From<Chunk<'a>> for Reply<'a> {
    fn from(chunk: Chunk<'a>) -> Self {
        Self::Chunk(chunk)
    }
}

impl<'a> From<&'a str> for Reply<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl<'a> From<&'a String> for Reply<'a> {
    fn from(text: &'a String) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Reply<'_> {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl<'a> From<&'a [u8]> for Reply<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(Cow::Borrowed(bytes))
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Reply<'a> {
    fn from(bytes: &'a [u8; N]) -> Self {
        Self::Bytes(Cow::Borrowed(bytes))
    }
}

impl<'a> From<&'a Vec<u8>> for Reply<'a> {
    fn from(bytes: &'a Vec<u8>) -> Self {
        Self::Bytes(Cow::Borrowed(bytes))
    }
}

impl From<Vec<u8>> for Reply<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(Cow::Owned(bytes))
    }
}

impl<'a> From<Message<'a>> for Reply<'a> {
    fn from(message: Message<'a>) -> Self {
        match message {
            Message::Text(text) => Self::Text(text),
            Message::Binary(bytes) => Self::Bytes(bytes),
        }
    }
}
