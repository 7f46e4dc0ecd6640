//! What callbacks return, and the typed errors inside it.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use workhive_protocols::EncodeError;

use crate::{Address, AddressError, Holder};

/// What every callback returns: `Err` closes the connection it was called for, and nothing else.
pub type Result<T = (), E = Error> = std::result::Result<T, E>;

/// Any error, made by `?` out of every type that implements [`std::error::Error`]. A text becomes one by
/// [`Error::msg`], and so does a boxed error: `Error::msg(error.to_string())`.
///
/// The errors of this crate can be found again with [`Error::downcast_ref`]: [`SendError`], [`ListenError`],
/// [`UidError`], [`BlockingError`].
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

/// A uid could not be bound or addressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum UidError {
    /// A uid has 1 to 255 bytes.
    Length {
        /// This one's.
        len: usize,
    },
    /// The connection has another uid already; `unbind_uid` first.
    Bound,
    /// The connection has ended.
    Gone,
    /// The hive has several worker processes, and this version routes within one only.
    ManyProcesses,
    /// This thread runs no worker loop.
    NotOnLoop,
}

impl fmt::Display for UidError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { len } => write!(f, "a uid has 1 to 255 bytes, this one has {len}"),
            Self::Bound => {
                f.write_str("the connection has another uid already: call unbind_uid first")
            }
            Self::Gone => f.write_str("the connection has ended"),
            Self::ManyProcesses => f.write_str(
                "uids are routed within one process: run the hive with a single worker process (--count 1)",
            ),
            Self::NotOnLoop => f.write_str("this thread runs no worker loop"),
        }
    }
}

impl StdError for UidError {}

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
