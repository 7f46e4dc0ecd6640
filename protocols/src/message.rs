//! A payload, text or binary.

use std::borrow::Cow;
use std::fmt;

/// A payload as it was received, or as it is to be sent: text (UTF-8) or binary.
///
/// Received messages borrow from the connection's input; `into_owned` keeps one longer. Everything that looks like a
/// payload converts: `&str`, `String`, `&[u8]`, `Vec<u8>`.
///
/// ```
/// # mod workhive { pub use workhive_protocols::*; }
/// use workhive::Message;
///
/// let message = Message::from("88%");
/// assert_eq!(message.as_text(), Ok("88%"));
/// assert_eq!(Message::from(&[1u8, 2][..]).len(), 2);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Message<'a> {
    /// UTF-8 text.
    Text(Cow<'a, str>),
    /// Any bytes.
    Binary(Cow<'a, [u8]>),
}

impl<'a> Message<'a> {
    /// Text if `bytes` are UTF-8, else binary.
    pub fn from_wire(bytes: &'a [u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(Cow::Borrowed(text)),
            Err(_) => Self::Binary(Cow::Borrowed(bytes)),
        }
    }

    /// The text; an error if this is a binary message.
    pub fn as_text(&self) -> Result<&str, NotText> {
        match self {
            Self::Text(text) => Ok(text),
            Self::Binary(bytes) => Err(NotText { len: bytes.len() }),
        }
    }

    /// The bytes, whichever kind it is.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }

    /// True for text.
    pub fn is_text(&self) -> bool {
        matches!(self, Self::Text(_))
    }

    /// Length of the payload in bytes.
    pub fn len(&self) -> usize {
        self.as_bytes().len()
    }

    /// True if the payload has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The same message, borrowed: to send what was received to several peers.
    pub fn reborrow(&self) -> Message<'_> {
        match self {
            Self::Text(text) => Message::Text(Cow::Borrowed(text)),
            Self::Binary(bytes) => Message::Binary(Cow::Borrowed(bytes)),
        }
    }

    /// The same message with bytes of its own.
    pub fn into_owned(self) -> Message<'static> {
        match self {
            Self::Text(text) => Message::Text(Cow::Owned(text.into_owned())),
            Self::Binary(bytes) => Message::Binary(Cow::Owned(bytes.into_owned())),
        }
    }
}

impl AsRef<[u8]> for Message<'_> {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl<'a> From<&'a str> for Message<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl<'a> From<&'a String> for Message<'a> {
    fn from(text: &'a String) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Message<'_> {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl<'a> From<&'a [u8]> for Message<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Binary(Cow::Borrowed(bytes))
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Message<'a> {
    fn from(bytes: &'a [u8; N]) -> Self {
        Self::Binary(Cow::Borrowed(bytes))
    }
}

impl<'a> From<&'a Vec<u8>> for Message<'a> {
    fn from(bytes: &'a Vec<u8>) -> Self {
        Self::Binary(Cow::Borrowed(bytes))
    }
}

impl From<Vec<u8>> for Message<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Binary(Cow::Owned(bytes))
    }
}

impl<'a> From<&'a Message<'_>> for Message<'a> {
    fn from(message: &'a Message<'_>) -> Self {
        message.reborrow()
    }
}

/// A text message was expected and a binary one came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotText {
    len: usize,
}

impl fmt::Display for NotText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a text message was expected, a binary one of {} bytes came",
            self.len
        )
    }
}

impl std::error::Error for NotText {}
