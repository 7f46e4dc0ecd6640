//! A response whose header fields are lines of text already.

use memchr::memchr;

/// A response for those whose header fields come as lines, from programs of other languages above all: nothing is copied
/// until it is written to the connection.
///
/// What [`Response`](crate::Response) says of fields holds here too.
///
/// ```
/// # mod workhive { pub use workhive_protocols::*; pub mod codec { pub use workhive_protocols::*; } }
/// use workhive::Reply;
/// use workhive::codec::Lines;
///
/// let page = Lines::new(200, "Content-Type: text/plain\nX-Shelf: 7\n", b"88%");
/// assert_eq!(page.fields().next(), Some(Some(("Content-Type", "text/plain"))));
/// let _: Reply<'_> = page.into();
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lines<'a> {
    pub(super) status: u16,
    pub(super) text: &'a str,
    pub(super) body: &'a [u8],
    pub(super) stream: bool,
}

impl<'a> Lines<'a> {
    /// A response with these fields, `name: value` each, in lines that end with LF or CRLF; the last may go without.
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; pub mod codec { pub use workhive_protocols::*; } }
    /// let empty = workhive::codec::Lines::new(204, "", b"");
    /// assert_eq!(empty.fields().count(), 0);
    /// ```
    pub const fn new(status: u16, fields: &'a str, body: &'a [u8]) -> Self {
        Self {
            status,
            text: fields,
            body,
            stream: false,
        }
    }

    /// As [`Response::stream`](crate::Response::stream).
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; pub mod codec { pub use workhive_protocols::*; } }
    /// let feed = workhive::codec::Lines::new(200, "Content-Type: text/event-stream\n", b"").stream();
    /// # let _ = feed;
    /// ```
    pub const fn stream(mut self) -> Self {
        self.stream = true;
        self
    }

    /// The fields in their order, without the whitespace around values; None for a line that has no colon.
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; pub mod codec { pub use workhive_protocols::*; } }
    /// let response = workhive::codec::Lines::new(200, "a: 1\r\nnonsense", b"");
    /// assert_eq!(response.fields().collect::<Vec<_>>(), [Some(("a", "1")), None]);
    /// ```
    pub fn fields(&self) -> impl Iterator<Item = Option<(&'a str, &'a str)>> + use<'a> {
        let mut rest = self.text;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let (line, after) = split(rest, b'\n').unwrap_or((rest, ""));
            rest = after;
            let field = split(line.strip_suffix('\r').unwrap_or(line), b':');
            Some(field.map(|(name, value)| (name, value.trim_matches([' ', '\t']))))
        })
    }
}

/// What stands before and behind an ASCII character; as `split_once`, and faster: this is done for every response.
fn split(text: &str, at: u8) -> Option<(&str, &str)> {
    let place = memchr(at, text.as_bytes())?;
    Some((text.get(..place)?, text.get(place.saturating_add(1)..)?))
}
