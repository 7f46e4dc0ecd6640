//! A request as the application sees it.

use std::borrow::Cow;

use super::Method;
use crate::head::{Headers, RequestLine};

/// One HTTP request, complete with its body.
///
/// It borrows from the connection's input where it can; nothing of it stays behind when it is dropped. What is needed
/// after the callback is taken out as a value of its own (`to_owned`, [`into_body`](Request::into_body)).
///
/// `on_message` of an HTTP listener is given one: see "HTTP" in the guide, the front page of the crate workhive.
///
/// # Driving the codec
///
/// What the loop does, by hand, and what is then in the request:
///
/// ```
/// # mod workhive { pub use workhive_protocols::*; pub mod codec { pub use workhive_protocols::*; } }
/// use std::{rc::Rc, time::{Instant, SystemTime}};
/// use workhive::codec::{Event, Wire, http_date};
/// use workhive::{Http, HttpConfig, Method, Protocol};
///
/// let (mut out, now, date) = (Vec::new(), Instant::now(), http_date(SystemTime::UNIX_EPOCH));
/// let (mut decoder, mut encoder) = Http::open(&Rc::new(HttpConfig::default()), now);
/// let mut wire = Wire::new(&mut out, now, &date);
/// let mut input = *b"PUT /stock?id=7 HTTP/1.1\r\nHost: shop\r\nContent-Length: 3\r\n\r\n88%";
///
/// let step = Http::decode(&mut decoder, &mut encoder, &mut input, &mut wire)?;
/// let Event::Message(request) = step.event else { panic!("it is complete") };
/// assert_eq!((request.method(), request.path()), (Method::Put, "/stock"));
/// assert_eq!(request.query(), Some("id=7"));
/// assert_eq!(request.query_pairs().next(), Some(("id".into(), "7".into())));
/// assert_eq!(request.target(), "/stock?id=7");
/// assert_eq!(request.version(), (1, 1));
/// assert_eq!(request.host(), Some("shop"));
/// assert_eq!(request.header("content-length"), Some("3"));
/// assert_eq!(request.headers().count(), 2);
/// assert_eq!(request.body(), b"88%");
/// assert_eq!(request.text(), Some("88%"));
/// assert_eq!(request.trailers().count(), 0);
/// assert!(request.keep_alive());
/// # Ok::<(), workhive::codec::ProtocolError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request<'a> {
    pub(super) parts: RequestLine,
    /// The request line, without its CRLF.
    pub(super) line: Cow<'a, str>,
    /// The field lines and the empty line behind them.
    pub(super) fields: Cow<'a, [u8]>,
    pub(super) body: Cow<'a, [u8]>,
    /// Like `fields`, and empty for all but chunked bodies.
    pub(super) trailers: Vec<u8>,
    pub(super) keep_alive: bool,
}

impl Request<'_> {
    /// The method.
    pub fn method(&self) -> Method<'_> {
        Method::from(self.parts.method(&self.line))
    }

    /// The request target as it was sent: `/path?query`, an absolute `http://host/path`, or `*` for `OPTIONS`.
    pub fn target(&self) -> &str {
        self.parts.target(&self.line)
    }

    /// The path, not decoded, without the query. It begins with `/`; only `OPTIONS *` has the path `*`.
    pub fn path(&self) -> &str {
        self.parts.path(&self.line)
    }

    /// What stands behind the `?`, not decoded; [`query_pairs`](Self::query_pairs) decodes it.
    pub fn query(&self) -> Option<&str> {
        self.parts.query(&self.line)
    }

    /// The query as browsers write forms (`name=value&name=value`): pairs in their order, with `+` and `%20`
    /// decoded. A name without `=` has an empty value. Whatever is no percent-encoding stays as it is, and bytes that
    /// are not UTF-8 become U+FFFD: look into [`query`](Self::query) where that makes a difference.
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; }
    /// use workhive::{Request, Response};
    ///
    /// fn greet(request: &Request<'_>) -> Response {
    ///     let name = request.query_pairs().find(|(name, _)| name == "name");
    ///     match name {
    ///         Some((_, name)) => Response::text(format!("Hello, {name}!")),
    ///         None => Response::status(400),
    ///     }
    /// }
    /// ```
    pub fn query_pairs(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        form_urlencoded::parse(self.query().unwrap_or_default().as_bytes())
    }

    /// The version, as major and minor number. A request that says 1.2 or more counts as 1.1 (RFC 9110 2.5).
    pub fn version(&self) -> (u8, u8) {
        (1, self.parts.minor)
    }

    /// The host and port that are asked for: of an absolute target, else of `Host`. Only HTTP/1.0 may leave it out.
    pub fn host(&self) -> Option<&str> {
        self.parts
            .authority(&self.line)
            .or_else(|| self.header("host"))
    }

    /// The first field of this name (in any case), if its value is UTF-8. [`headers`](Self::headers) has them all.
    pub fn header(&self, name: &str) -> Option<&str> {
        str::from_utf8(self.headers().find(name)?).ok()
    }

    /// All header fields in their order, with raw values.
    pub fn headers(&self) -> Headers<'_> {
        Headers::new(&self.fields)
    }

    /// The fields behind a chunked body, without those that have no business there (RFC 9110 6.5.1).
    pub fn trailers(&self) -> Headers<'_> {
        Headers::new(&self.trailers)
    }

    /// The body, with any chunking removed.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The body, if it is UTF-8.
    pub fn text(&self) -> Option<&str> {
        str::from_utf8(&self.body).ok()
    }

    /// The body as bytes of their own; this copies only if the body is still borrowed.
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; }
    /// fn store(request: workhive::Request<'_>) -> Vec<u8> {
    ///     request.into_body()
    /// }
    /// ```
    pub fn into_body(self) -> Vec<u8> {
        self.body.into_owned()
    }

    /// True if the peer wants to use the connection again after this request.
    pub fn keep_alive(&self) -> bool {
        self.keep_alive
    }
}
