//! Why a hive did not start.

use std::fmt;
use std::io;
use std::path::PathBuf;

use workhive_worker::Address;

use crate::Exit;

/// Why a hive did not start. Each says what to do next.
#[derive(Debug)]
pub(crate) enum StartError {
    /// The groups make no sense.
    Invalid(String),
    /// A hive with this pid file runs already.
    Running(Option<u32>),
    /// The pid file cannot be written.
    PidFile { path: PathBuf, error: io::Error },
    /// The control socket cannot be made.
    Control { path: PathBuf, error: io::Error },
    /// The socket for programs of this machine cannot be made.
    PushSocket { path: PathBuf, error: io::Error },
    /// The log file cannot be opened.
    LogFile { path: PathBuf, error: io::Error },
    /// A listener cannot be bound.
    Listen {
        listener: String,
        group: String,
        address: Address,
        error: io::Error,
        holder: Option<String>,
    },
    /// The processes cannot run as this user.
    User(String),
    /// The machine does not have what the groups are to have.
    Surroundings(String),
    /// Forking would be unsound.
    Threads(u64),
    /// A copy of this process would be one of the host's loop, too.
    Nested,
    /// No process of this group could start.
    Boot {
        group: String,
        attempts: u32,
        reason: String,
    },
    /// Something else that the system refused.
    System {
        what: &'static str,
        error: io::Error,
    },
}

impl StartError {
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Invalid(_) => Exit::USAGE,
            _ => Exit::FAILURE,
        }
    }

    /// For `map_err`: what the system refused.
    pub(crate) fn system<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> Self {
        move |error| Self::System {
            what,
            error: error.into(),
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(reason) | Self::User(reason) | Self::Surroundings(reason) => {
                f.write_str(reason)
            }
            Self::Running(Some(pid)) => write!(f, "already running (pid {pid})"),
            Self::Running(None) => f.write_str("already running"),
            Self::PidFile { path, error } => {
                write!(
                    f,
                    "cannot write the pid file {}: {error}; choose another by --pid-file",
                    path.display()
                )
            }
            Self::Control { path, error } => {
                write!(
                    f,
                    "cannot make the control socket {}: {error}; choose another place by --pid-file",
                    path.display()
                )
            }
            Self::PushSocket { path, error } => {
                write!(
                    f,
                    "cannot make the push socket {}: {error}; choose another place by --pid-file",
                    path.display()
                )
            }
            Self::LogFile { path, error } => {
                write!(f, "cannot open the log file {}: {error}", path.display())
            }
            Self::Listen {
                listener,
                group,
                address,
                error,
                holder,
            } => {
                write!(f, "cannot listen at {listener} for group \"{group}\": ")?;
                match (error.kind(), holder) {
                    (io::ErrorKind::AddrInUse, Some(holder)) => {
                        write!(
                            f,
                            "the address is in use by {holder}; stop it, or choose another address"
                        )
                    }
                    (io::ErrorKind::AddrInUse, None) => f.write_str(
                        "the address is in use; stop who listens there, or choose another address",
                    ),
                    (io::ErrorKind::PermissionDenied, _) if is_privileged(address) => write!(
                        f,
                        "{error}; ports below 1024 need root or CAP_NET_BIND_SERVICE (or a lower \
                         net.ipv4.ip_unprivileged_port_start)"
                    ),
                    (io::ErrorKind::AddrNotAvailable, _) => {
                        write!(
                            f,
                            "{error}; this machine does not have that address, 0.0.0.0 means all it has"
                        )
                    }
                    _ => write!(f, "{error}"),
                }
            }
            Self::Threads(threads) => write!(
                f,
                "the program has {threads} threads, and only a single-threaded process can fork; start threads in \
                 on_worker_start, not before the hive starts, or use --spawn exec"
            ),
            Self::Nested => f.write_str(
                "a master that is run by the program's own loop cannot fork its processes, only execute them: use \
                 --spawn exec",
            ),
            Self::Boot {
                group,
                attempts,
                reason,
            } => {
                write!(
                    f,
                    "group \"{group}\" could not start in {attempts} attempts: {reason}"
                )
            }
            Self::System { what, error } => write!(f, "cannot {what}: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

fn is_privileged(address: &Address) -> bool {
    matches!(address, Address::Tcp(address) if address.port() < 1024)
}
