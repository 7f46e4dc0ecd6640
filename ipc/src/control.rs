//! The link between the master and one worker. (signatures; bodies follow)
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// What a worker tells the master.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToMaster {
    /// `on_worker_start` has returned and the listeners accept.
    Ready,
    /// The process could not start and exits with 1.
    BootFailed {
        /// Why.
        reason: String,
    },
    /// The process listens at an address of its own. With `reuse_port` the socket comes along, for safe keeping.
    Listening {
        /// Where.
        address: String,
        /// Whether the address is shared by `SO_REUSEPORT`.
        reuse_port: bool,
    },
    /// It no longer does; a socket kept for it can go.
    Unlistened {
        /// Where.
        address: String,
    },
    /// Asks for the hive's one socket at an address; the master binds it for the first who asks.
    RequestShared {
        /// Comes back in the answer.
        id: u32,
        /// Where.
        address: String,
        /// Length of the accept queue, in connections.
        backlog: u32,
    },
    /// Asks for the socket that this slot's previous process gave to be kept.
    RequestKept {
        /// Comes back in the answer.
        id: u32,
        /// Where.
        address: String,
    },
    /// The process drains, by its own decision.
    Draining,
}

/// What the master tells a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToWorker {
    /// End now; `on_worker_stop` still runs.
    Stop,
    /// Finish what is in hand within the window, then end.
    Drain {
        /// Milliseconds.
        window_ms: u32,
    },
    /// The hive reloads and this group is not reloadable: run `on_worker_reload`.
    Reload,
    /// The answer to `RequestShared` and `RequestKept`; a granted socket comes along.
    Listener {
        /// The request's.
        id: u32,
        /// What became of it.
        outcome: ListenOutcome,
    },
}

/// What became of a request for a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenOutcome {
    /// The socket comes with this message.
    Granted,
    /// Nothing is kept for this slot at this address.
    NotKept,
    /// The master could not bind it.
    Refused {
        /// The error number, errno(3).
        errno: i32,
    },
}
