//! Why a client did not get what it asked for.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::route::frame::FrameError;
use crate::route::request::AgentError;

/// Why a [`Client`](crate::route::Client) did not get what it asked for. Its text says what to do.
///
/// ```
/// use workhive_ipc::route::{Client, ClientError};
///
/// let error = Client::connect("/nowhere/push.sock").unwrap_err();
/// assert!(matches!(&error, ClientError::Connect { path, .. } if path.ends_with("push.sock")));
/// assert!(error.to_string().contains("is the hive running?"));
/// ```
#[derive(Debug)]
pub enum ClientError {
    /// The socket cannot be connected to.
    Connect {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The hive did not answer in time. What was asked may be done or not.
    Timeout {
        /// Its socket.
        path: PathBuf,
        /// How long it had.
        after: Duration,
    },
    /// The connection has ended. What was on its way may be done or not. The next call connects anew.
    Lost {
        /// The hive's socket.
        path: PathBuf,
        /// Why.
        why: Loss,
    },
    /// It cannot be asked like this.
    Request(AgentError),
    /// So many pushes were sent and not waited for.
    TooMany {
        /// How many.
        limit: usize,
    },
    /// This push was not sent by this client, or has been waited for.
    NotSent,
    /// The router was started a moment ago, and not every process has told it yet what it has; or a process did not
    /// answer. Try later; [`Client::query`](crate::route::Client::query) says what is known.
    Incomplete {
        /// The hive's socket.
        path: PathBuf,
    },
}

/// Why a connection has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loss {
    /// It was closed by the other side, as when the router ends.
    Ended,
    /// It was closed before anything was heard: nothing was asked of a router.
    Unheard,
    /// The router has sent this client away, for this reason.
    Dismissed(String),
    /// What came was not from a router of this version.
    Nonsense(FrameError),
    /// The answer was to another question.
    Answer,
    /// The socket failed.
    Io(io::ErrorKind),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect { path, source } => {
                let path = path.display();
                match source.kind() {
                    io::ErrorKind::NotFound => write!(
                        f,
                        "there is no socket {path}: is the hive running? is this its path?"
                    ),
                    io::ErrorKind::ConnectionRefused => {
                        write!(f, "nobody listens at {path} any more: has the hive ended?")
                    }
                    io::ErrorKind::PermissionDenied => write!(
                        f,
                        "this user may not connect to {path}: be the hive's user, or root"
                    ),
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                        write!(f, "the hive at {path} accepts no connection: is it stuck?")
                    }
                    _ => write!(f, "cannot connect to the hive at {path}: {source}"),
                }
            }
            Self::Timeout { path, after } => write!(
                f,
                "the hive at {} has not answered for {after:?}: is it stuck, or overloaded?",
                path.display()
            ),
            Self::Lost { path, why } => {
                write!(
                    f,
                    "the connection to the hive at {} has ended: {why}",
                    path.display()
                )
            }
            Self::Request(error) => error.fmt(f),
            Self::TooMany { limit } => write!(
                f,
                "{limit} pushes have been sent whose outcomes nobody has waited for"
            ),
            Self::NotSent => {
                f.write_str("this push was not sent here, or has been waited for already")
            }
            Self::Incomplete { path } => write!(
                f,
                "the router of the hive at {} does not know everything at the moment; try later",
                path.display()
            ),
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended => f.write_str("it was closed; what was on its way may be done or not"),
            Self::Unheard => f.write_str(
                "it was closed at once: the router is ending, has too many clients, or this user may not use it",
            ),
            Self::Dismissed(reason) => write!(f, "the router says: {reason}"),
            Self::Nonsense(error) => {
                write!(f, "no router of this version is there: {error}")
            }
            Self::Answer => f.write_str("the router answered another question"),
            Self::Io(kind) => write!(f, "{kind}"),
        }
    }
}

impl std::error::Error for ClientError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Connect { source, .. } => Some(source),
            Self::Request(error) => Some(error),
            Self::Lost {
                why: Loss::Nonsense(error),
                ..
            } => Some(error),
            _ => None,
        }
    }
}
