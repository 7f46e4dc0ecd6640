//! What callbacks return, and the typed errors inside it.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use workhive_ipc::route::{AgentError, ConnectionId};
use workhive_protocols::EncodeError;

use crate::{Address, AddressError, Holder};

/// What every callback returns: `Err` closes the connection it was called for, and nothing else.
pub type Result<T = (), E = Error> = std::result::Result<T, E>;

/// Any error, made by `?` out of every type that implements [`std::error::Error`]. A text becomes one by
/// [`Error::msg`], and so does a boxed error: `Error::msg(error.to_string())`.
///
/// The errors of this crate can be found again with [`Error::downcast_ref`]: [`SendError`], [`ListenError`],
/// [`RouteError`], [`BlockingError`].
///
/// ```
/// # mod workhive { pub use workhive_protocols::*; pub use workhive_worker::*; }
/// use workhive::{Error, Result, SendError};
///
/// fn port(text: &str) -> Result<u16> {
///     Ok(text.parse()?)
/// }
/// let error = port("many").unwrap_err();
/// assert_eq!(error.to_string(), "invalid digit found in string");
/// assert!(error.downcast_ref::<SendError>().is_none());
/// assert_eq!(Error::msg("no such user").to_string(), "no such user");
/// ```
pub struct Error {
    inner: Box<dyn StdError + Send + Sync + 'static>,
}

impl Error {
    /// An error that is nothing but a text.
    pub fn msg(text: impl Into<String>) -> Self {
        Self {
            inner: text.into().into(),
        }
    }

    /// The error as what it was, if it was an `E`.
    pub fn downcast_ref<E: StdError + 'static>(&self) -> Option<&E> {
        self.inner.downcast_ref()
    }

    /// The error as the standard library's trait object, with its sources.
    pub fn as_std(&self) -> &(dyn StdError + 'static) {
        self.inner.as_ref()
    }
}

// `Error` does not implement `std::error::Error` itself: this conversion, which makes `?` work, would then overlap
// with the identity conversion.
impl<E: StdError + Send + Sync + 'static> From<E> for Error {
    fn from(error: E) -> Self {
        Self {
            inner: Box::new(error),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)?;
        let mut source = self.inner.source();
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

/// A message was not taken; nothing of it will be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// The send buffer cannot take it: the peer reads more slowly than we send. Drop it, or send it again from
    /// `on_buffer_drain`.
    Full {
        /// Bytes that wait to be sent already.
        queued: usize,
        /// Bytes of the message on the wire.
        len: usize,
        /// The limit, set by `max_send_buffer`.
        max: usize,
    },
    /// The connection has ended, or is ending.
    Gone,
    /// The protocol refused the message.
    Encode(EncodeError),
    /// The call came from a thread that runs no worker loop, or from inside a codec. Use a
    /// [`Mailbox`](crate::Mailbox) from other threads.
    NotOnLoop,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full { queued, len, max } => write!(
                f,
                "the send buffer has {queued} bytes waiting and takes at most {max}: {len} more do not fit"
            ),
            Self::Gone => f.write_str("the connection has ended"),
            Self::Encode(error) => error.fmt(f),
            Self::NotOnLoop => f.write_str(
                "this thread runs no worker loop, or is inside a codec; use a Mailbox from other threads",
            ),
        }
    }
}

impl StdError for SendError {}

/// A listener could not be opened, or not be found.
#[derive(Debug)]
#[non_exhaustive]
pub enum ListenError {
    /// Somebody listens there already.
    AddressInUse {
        /// Where.
        address: Address,
        /// Who, where that could be found out.
        holder: Option<Holder>,
        /// Whether this listener asked for `reuse_port`.
        reuse_port: bool,
    },
    /// The address is no address.
    Address(AddressError),
    /// The scheme in the address names another protocol.
    Scheme {
        /// What the address says.
        found: String,
        /// What the listener speaks.
        expected: &'static str,
    },
    /// The system refused.
    Os {
        /// Where.
        address: Address,
        /// Why.
        error: std::io::Error,
    },
    /// The master did not answer.
    NoMaster {
        /// Where.
        address: Address,
        /// Why.
        why: String,
    },
    /// This process does not listen there.
    Unknown {
        /// Where.
        address: Address,
    },
    /// Two settings exclude each other, or a setting is missing.
    Misuse {
        /// Which.
        rule: &'static str,
    },
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddressInUse {
                address,
                holder,
                reuse_port,
            } => {
                write!(
                    f,
                    "Address already in use (EADDRINUSE): {address} is held by "
                )?;
                match holder {
                    Some(holder) => holder.fmt(f)?,
                    None => f.write_str("a process that could not be identified")?,
                }
                match holder {
                    Some(Holder::Here { .. }) => f.write_str(
                        "; a process has one listener at an address: unlisten that one first, or choose another address",
                    ),
                    Some(Holder::Sibling { .. }) if !reuse_port => f.write_str(
                        "; either let every process have a socket of its own with .reuse_port(true), \
                         or let all share one with .shared(true)",
                    ),
                    _ => f.write_str("; stop that process, or choose another address"),
                }
            }
            Self::Address(error) => error.fmt(f),
            Self::Scheme { found, expected } => write!(
                f,
                "the address says \"{found}://\", but this listener speaks {expected}"
            ),
            Self::Os { address, error } => write!(f, "cannot listen at {address}: {error}"),
            Self::NoMaster { address, why } => {
                write!(
                    f,
                    "cannot listen at {address}: no answer from the master: {why}"
                )
            }
            Self::Unknown { address } => write!(f, "this process does not listen at {address}"),
            Self::Misuse { rule } => f.write_str(rule),
        }
    }
}

impl StdError for ListenError {}

impl From<AddressError> for ListenError {
    fn from(error: AddressError) -> Self {
        Self::Address(error)
    }
}

/// Something could not be sent, bound or asked; nothing was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RouteError {
    /// A uid, room or topic has 1 to 255 bytes.
    Length {
        /// Which of them.
        what: &'static str,
        /// This one's length.
        len: usize,
    },
    /// The connection has as many uids as its listener allows.
    TooManyUids {
        /// So many.
        limit: usize,
    },
    /// The connection is in as many rooms as its listener allows.
    TooManyRooms {
        /// So many.
        limit: usize,
    },
    /// The connection does not have this uid.
    NotBound,
    /// The connection is not in this room.
    NotInRoom,
    /// The id belongs to another hive, or to this one before it was started anew: there can be no such connection.
    OtherHive {
        /// Which.
        id: ConnectionId,
    },
    /// Applications close with 1000 or 3000 to 4999 (RFC 6455 section 7.4).
    CloseCode {
        /// What was given.
        code: u16,
    },
    /// The message, the reason, the session data or the list of targets is too long, or too many are left out.
    TooLong,
    /// Too much waits to be routed already. Try later, or tell your peer that you are busy.
    Full,
    /// The connection has ended.
    Gone,
    /// This thread runs no worker loop, or is inside a codec.
    NotOnLoop,
}

impl fmt::Display for RouteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { what, len } => {
                write!(f, "a {what} has 1 to 255 bytes, this one has {len}")
            }
            Self::TooManyUids { limit: 1 } => {
                f.write_str("the connection has another uid already: call unbind_uid first")
            }
            Self::TooManyUids { limit } => write!(
                f,
                "the connection has {limit} uids already, as many as its listener allows"
            ),
            Self::TooManyRooms { limit } => write!(
                f,
                "the connection is in {limit} rooms already, as many as its listener allows"
            ),
            Self::NotBound => f.write_str("the connection does not have this uid"),
            Self::NotInRoom => f.write_str("the connection is not in this room"),
            Self::OtherHive { id } => write!(
                f,
                "{id} is no connection of this hive since it was started"
            ),
            Self::CloseCode { code } => write!(
                f,
                "an application closes with code 1000 or 3000 to 4999, not with {code}"
            ),
            Self::TooLong => f.write_str(
                "too long: a message may have 10 MiB, a reason 123 bytes, session data 64 KiB, a list of targets \
                 16,384 names with 512 KiB, and 1,024 connections may be left out",
            ),
            Self::Full => f.write_str("too much waits to be routed; try later"),
            Self::Gone => f.write_str("the connection has ended"),
            Self::NotOnLoop => {
                f.write_str("this thread runs no worker loop, or is inside a codec")
            }
        }
    }
}

impl StdError for RouteError {}

impl From<AgentError> for RouteError {
    fn from(error: AgentError) -> Self {
        match error {
            AgentError::NotOpen => Self::Gone,
            AgentError::Name { length } => Self::Length {
                what: "name",
                len: length,
            },
            AgentError::TooManyUids { limit } => Self::TooManyUids { limit },
            AgentError::TooManyRooms { limit } => Self::TooManyRooms { limit },
            AgentError::TooLong => Self::TooLong,
            AgentError::Full | AgentError::Away => Self::Full,
            AgentError::NotAWorker => Self::NotOnLoop,
        }
    }
}

/// Blocking work, or a message from another thread, was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BlockingError {
    /// Everything that may wait is waiting. Try later, or answer the peer that you are busy.
    Full {
        /// How many may wait.
        max: usize,
    },
    /// The threads could not be started.
    Threads {
        /// Why.
        why: String,
    },
    /// The work panicked; it has no result.
    Panicked {
        /// What the panic said.
        what: String,
    },
    /// The process is ending.
    Ended,
}

impl fmt::Display for BlockingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full { max } => write!(f, "{max} pieces of work wait already"),
            Self::Threads { why } => write!(f, "no thread could be started: {why}"),
            Self::Panicked { what } => write!(f, "the blocking work panicked: {what}"),
            Self::Ended => f.write_str("the worker process is ending"),
        }
    }
}

impl StdError for BlockingError {}

/// A connection could not go on. What `on_error` gets, and what a [`CloseReason`](crate::CloseReason) names.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectionError {
    /// The peer broke the protocol, or was too slow for it.
    Protocol(workhive_protocols::ProtocolError),
    /// The system reported an error: `ECONNRESET`, `ETIMEDOUT`, `EPIPE`...
    Io(std::io::Error),
    /// A callback returned an error.
    Callback {
        /// Which callback.
        callback: &'static str,
        /// What it returned.
        error: Error,
    },
    /// A callback panicked.
    Panic {
        /// Which callback.
        callback: &'static str,
        /// What the panic said.
        what: String,
    },
    /// Nothing was received for the listener's `idle_timeout`.
    Idle {
        /// That time.
        after: Duration,
    },
}

impl fmt::Display for ConnectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Protocol(error) => error.fmt(f),
            Self::Io(error) => error.fmt(f),
            Self::Callback { callback, error } => {
                write!(f, "{callback} returned an error: {error}")
            }
            Self::Panic { callback, what } => write!(f, "{callback} panicked: {what}"),
            Self::Idle { after } => write!(f, "nothing was received for {after:?}"),
        }
    }
}

impl StdError for ConnectionError {}
