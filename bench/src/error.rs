//! Why a benchmark could not give a number.

use std::fmt;
use std::io;

/// Every way a run can fail. Speed is never among them: a slow server is a result, a wrong one is not.
#[derive(Debug)]
pub(crate) enum BenchError {
    /// The operating system refused something the bench itself needs.
    Io {
        /// What was being done, as "opening the listener".
        doing: String,
        /// The system's reason.
        source: io::Error,
    },
    /// The server under test did not start, or did not end when told to.
    Server(String),
    /// A connection ended, or could not be made, while it should have lived.
    Broken {
        /// The connection's number, as the generator counts them.
        connection: usize,
        /// How it ended.
        reason: String,
    },
    /// An answer came that is not the answer to the question.
    Wrong {
        /// The connection's number, as the generator counts them.
        connection: usize,
        /// What was wrong with it.
        reason: String,
    },
}

impl BenchError {
    /// Gives an `io::Error` the words that make it readable: for use in `map_err`.
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }

    /// The same for errors of `nix`, which are bare error numbers.
    pub(crate) fn sys(doing: impl Into<String>) -> impl FnOnce(nix::Error) -> Self {
        let doing = doing.into();
        move |errno| Self::Io {
            doing,
            source: errno.into(),
        }
    }
}

impl fmt::Display for BenchError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { doing, source } => write!(out, "{doing}: {source}"),
            Self::Server(reason) => write!(out, "server: {reason}"),
            Self::Broken { connection, reason } => write!(out, "connection {connection}: {reason}"),
            Self::Wrong { connection, reason } => {
                write!(out, "connection {connection}: wrong answer: {reason}")
            }
        }
    }
}

impl std::error::Error for BenchError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
