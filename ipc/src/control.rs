//! What the master and a worker say to each other.
//!
//! Variants are only ever added at the end: their order is their number on the wire, and during an upgrade an old
//! master talks to new workers.

use bincode::{Decode, Encode};

use crate::route::Process;

/// Longest text in a message, in bytes: reasons longer than this are cut by [`ToMaster::boot_failed`].
const MAX_TEXT: usize = 4096;

/// What a worker tells the master.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum ToMaster {
    /// `on_worker_start` has returned and the listeners accept.
    Ready,
    /// The process could not start and exits with 1. Made by [`ToMaster::boot_failed`].
    BootFailed {
        /// Why.
        reason: String,
    },
    /// The process listens at an address of its own: said after every listener that it opened. A socket that is new
    /// comes along, for safe keeping; one that the master gave (kept or shared) does not.
    Listening {
        /// Where.
        address: String,
        /// Whether the address is shared by `SO_REUSEPORT`.
        reuse_port: bool,
        /// What is spoken there, as in tables: `http`.
        protocol: String,
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
    /// The process drains, and accepts nothing more: because it was told to; or else by its own decision, and then its slot
    /// is filled anew at once.
    Draining,
    /// The program wants the whole hive to end (`stop_all`).
    StopAll {
        /// Whether what is in hand may be finished.
        graceful: bool,
    },
    /// The program wants the whole hive to reload.
    ReloadAll,
    /// The process has lost its stream to the router and wants another. Answered by [`ToWorker::Router`], at once or
    /// when the router is back.
    RequestRouter,
    /// One page of the answer to [`ToWorker::ListConnections`], in the order of the connections' age, oldest first.
    Connections {
        /// The request's.
        id: u32,
        /// As many as fit.
        rows: Vec<ConnectionRow>,
        /// More come after this one: to be asked for. None if these were the last.
        next: Option<u64>,
    },
}

/// A connection in a listing.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ConnectionRow {
    /// Its number within its process; [`Process::connection`] makes its id of it.
    pub sequence: u64,
    /// `tcp` or `unix`.
    pub transport: String,
    /// As in tables: `websocket`.
    pub protocol: String,
    /// Where it stands: `open`, `goodbye`, `ending` or `lingering`; with `paused` or `blocked` behind it.
    pub state: String,
    /// This side's address.
    pub local: String,
    /// The other side's.
    pub remote: String,
    /// The first of its uids, made printable and cut.
    pub uid: Option<String>,
    /// Bytes read and not decoded yet.
    pub unread: u64,
    /// Bytes that wait to be sent.
    pub unsent: u64,
    /// Bytes received so far.
    pub bytes_read: u64,
    /// Bytes sent so far.
    pub bytes_written: u64,
    /// Messages received so far.
    pub messages: u64,
    /// Milliseconds since the peer last said something that counts.
    pub idle_ms: u64,
}

impl ToMaster {
    /// A [`ToMaster::BootFailed`] whose reason is short enough to be sent: it is cut at 4096 bytes.
    ///
    /// ```
    /// use workhive_ipc::ToMaster;
    ///
    /// let ToMaster::BootFailed { reason } = ToMaster::boot_failed("x".repeat(10_000)) else { panic!() };
    /// assert_eq!(reason.len(), 4096);
    /// ```
    pub fn boot_failed(reason: impl Into<String>) -> Self {
        let reason = short(reason.into());
        Self::BootFailed { reason }
    }
}

/// What the master tells a worker.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
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
    /// To a worker process: a stream to the router comes along. One that it had before is of no use any more.
    Router,
    /// A listening socket comes along whose own process is down or stuck: accept from it too, as from the listener at
    /// this address, until [`AcceptNoMore`](Self::AcceptNoMore). A process that has no such listener lets go of it.
    AcceptFrom {
        /// For the message that ends it.
        id: u32,
        /// Which listener's it is, as it was asked for.
        address: String,
    },
    /// Let go of the socket that came with [`AcceptFrom`](Self::AcceptFrom): its own process is back.
    AcceptNoMore {
        /// Of that message.
        id: u32,
    },
    /// Asks for the connections, a page at a time: those with numbers from here on.
    ListConnections {
        /// Comes back in the answer.
        id: u32,
        /// 0, or the `next` of the page before.
        from: u64,
    },
    /// To a router, before its first [`Link`](Self::Link): these worker processes live and may have connections that it
    /// does not know of. Until each has said what it has, nobody can be said to be offline. One without any is the last:
    /// all have been named, and programs of this machine can be let in.
    Expect {
        /// Who.
        processes: Vec<Process>,
    },
    /// To the router: a stream to this process comes along. Whatever says hello on it is this process.
    Link {
        /// Who is at the other end.
        process: Process,
    },
    /// To the router: this process has ended.
    Ended {
        /// Which.
        process: Process,
    },
    /// Look whether connections wait at the sockets that other processes accept from too: one of these was woken for a
    /// connection, perhaps, and has not taken it.
    Look,
}

/// What became of a request for a listener.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
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

/// What a master tells the one that is to take its place, during an upgrade.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum ToSuccessor {
    /// All is yours: the pid file, the control socket, the sockets' files. The answer to [`ToPredecessor::Ready`].
    TakeOver,
}

/// What a master that is to take another's place tells that one.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum ToPredecessor {
    /// Every process of mine is ready.
    Ready,
    /// I have taken over.
    TookOver,
    /// For your router, which is that of both as long as you live: a stream to this process of mine comes along.
    Link {
        /// Who is at the other end.
        process: Process,
    },
    /// This process of mine has ended.
    Ended {
        /// Which.
        process: Process,
    },
    /// I have taken over and am told to stop: so are you.
    Stop {
        /// Whether what is in hand may be finished.
        graceful: bool,
    },
    /// I cannot start, and end.
    Failed {
        /// Why, in at most 4096 bytes.
        reason: String,
    },
}

impl ToPredecessor {
    /// A [`ToPredecessor::Failed`] whose reason is short enough to be sent: it is cut at 4096 bytes.
    ///
    /// ```
    /// use workhive_ipc::ToPredecessor;
    ///
    /// let failed = ToPredecessor::failed("the port is taken");
    /// assert_eq!(failed, ToPredecessor::Failed { reason: "the port is taken".to_owned() });
    /// ```
    pub fn failed(reason: impl Into<String>) -> Self {
        let reason = short(reason.into());
        Self::Failed { reason }
    }
}

fn short(mut reason: String) -> String {
    reason.truncate(reason.floor_char_boundary(MAX_TEXT));
    reason
}
