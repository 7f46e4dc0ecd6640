//! What can go wrong, whose fault it is, and what the peer was told.

use std::borrow::Cow;
use std::fmt;

/// Who is to blame for an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// The peer broke a rule of the protocol.
    Peer,
    /// The peer was too slow, or silent.
    Time,
    /// The codec itself is wrong. Please report it.
    Ours,
}

/// What the peer was told in the protocol's own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Nothing: this protocol has no words for it.
    None,
    /// An HTTP response with this status (RFC 9110 section 15).
    Status(u16),
    /// A WebSocket close frame with this code (RFC 6455 section 7.4).
    Close(u16),
}

/// A connection cannot go on. The answer for the peer already stands in the output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProtocolError {
    /// Whose fault it is.
    pub blame: Blame,
    /// What the peer was told.
    pub answer: Answer,
    /// The rule that was broken, with its source where it has one (`RFC 6455 5.1`).
    pub rule: &'static str,
    /// What was found instead, with its value; empty if the rule says it all.
    pub found: Cow<'static, str>,
}

impl ProtocolError {
    /// The peer broke `rule`.
    pub fn peer(answer: Answer, rule: &'static str, found: impl Into<Cow<'static, str>>) -> Self {
        Self {
            blame: Blame::Peer,
            answer,
            rule,
            found: found.into(),
        }
    }

    /// The peer was too slow for `rule`.
    pub fn time(answer: Answer, rule: &'static str, found: impl Into<Cow<'static, str>>) -> Self {
        Self {
            blame: Blame::Time,
            answer,
            rule,
            found: found.into(),
        }
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.rule)?;
        if !self.found.is_empty() {
            write!(f, ": {}", self.found)?;
        }
        match self.answer {
            Answer::None => Ok(()),
            Answer::Status(status) => write!(f, " (answered {status})"),
            Answer::Close(code) => write!(f, " (closed with {code})"),
        }
    }
}

impl std::error::Error for ProtocolError {}

/// A message could not be encoded; nothing was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncodeError {
    /// The caller broke a rule of the protocol: a second answer to one request, a line break inside a line.
    Misuse {
        /// The rule.
        rule: &'static str,
    },
    /// The message is longer than the protocol can express.
    TooLong {
        /// Its length in bytes.
        len: usize,
        /// The longest that can be sent.
        max: usize,
    },
    /// The handshake is not complete, or a goodbye has been said: there is nobody to send to.
    NotOpen,
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Misuse { rule } => f.write_str(rule),
            Self::TooLong { len, max } => {
                write!(f, "the message has {len} bytes, at most {max} can be sent")
            }
            Self::NotOpen => f.write_str("the connection is not open for messages"),
        }
    }
}

impl std::error::Error for EncodeError {}
