//! What processes and the router say to each other.
//!
//! Variants are only ever added at the end: their order is their number on the wire. Names (uids, rooms, topics) and
//! payloads are bytes of the application, carried as they are.

use bincode::{BorrowDecode, Decode, Encode};

use crate::route::frame::{self, Direction, FrameError};
use crate::route::{ConnectionId, Process};

/// Longest uid, room or topic, in bytes. The shortest has one.
pub const MAX_NAME: usize = 255;

/// The tag of a pushed payload that is text.
pub const TEXT: u8 = 0;

/// The tag of a pushed payload that is not.
pub const BINARY: u8 = 1;

/// Longest reason for closing a connection, in bytes.
pub const MAX_REASON: usize = 255;

/// Most connections that one push can leave out.
pub const MAX_EXCLUDED: usize = 1024;

/// Most uids or rooms that one request can name.
pub const MAX_TARGETS: usize = 16 * 1024;

/// Most bytes that the names in one request can have together.
pub const MAX_TARGET_BYTES: usize = 512 * 1024;

/// Most entries in one page of a listing.
pub const MAX_PAGE: usize = 1000;

/// Longest session data of a connection, in bytes.
pub const MAX_SESSION: usize = 64 * 1024;

/// Most uids and rooms in one frame of a snapshot.
pub(crate) const SNAPSHOT_ITEMS: usize = 512;

/// Whom a push is for. A connection that is meant twice gets it once.
#[derive(Debug, Clone, PartialEq, Eq, Encode, BorrowDecode)]
pub enum Target<'a> {
    /// Every connection of this uid.
    Uid(&'a [u8]),
    /// Every connection of these uids.
    Uids(Vec<&'a [u8]>),
    /// Every member of this room.
    Room(&'a [u8]),
    /// Every member of at least one of these rooms.
    Rooms(Vec<&'a [u8]>),
    /// Every connection.
    All,
    /// This connection.
    Connection(ConnectionId),
}

/// What a push does with the connections it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, BorrowDecode)]
pub enum Action<'a> {
    /// They get the payload.
    Message {
        /// A byte from the sender to the connections' owners, such as whether the payload is text.
        tag: u8,
    },
    /// They are closed.
    Close {
        /// What their protocol is told, if it has close codes.
        code: u16,
        /// At most [`MAX_REASON`] bytes.
        reason: &'a str,
    },
    /// They become members of a room.
    Join(&'a [u8]),
    /// They stop being members of a room. With the room itself as target, this ends the room.
    Leave(&'a [u8]),
}

/// Of which connections something is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, BorrowDecode)]
pub enum Scope<'a> {
    /// The connections of a uid.
    Uid(&'a [u8]),
    /// The members of a room.
    Room(&'a [u8]),
    /// All of them.
    All,
}

/// One of the tables that the router keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum Table {
    /// Which processes have connections of a uid.
    Uids,
    /// Which processes have members of a room.
    Rooms,
    /// Which processes subscribe to a topic.
    Topics,
}

/// What can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Encode, BorrowDecode)]
pub enum Query<'a> {
    /// Which of these uids have a connection. Answered by the router itself.
    Online(Vec<&'a [u8]>),
    /// How many uids, rooms, topics and processes there are. Answered by the router itself.
    Totals,
    /// The names in a table, in no particular order. Answered by the router itself.
    Names {
        /// Which.
        table: Table,
        /// Where to go on: 0, or what the page before said. Only good as long as the router lives.
        from: u32,
        /// At most so many, and at most [`MAX_PAGE`].
        limit: u16,
    },
    /// How many connections. Answered by their owners.
    Count(Scope<'a>),
    /// Which connections, in the order of their ids, with their uids. Answered by their owners.
    Members {
        /// Of whom.
        scope: Scope<'a>,
        /// Only those whose ids come after this one.
        after: Option<ConnectionId>,
        /// At most so many, and at most [`MAX_PAGE`].
        limit: u16,
    },
    /// The session data of a connection. Answered by its owner.
    Session(ConnectionId),
}

/// What a query brings back.
///
/// `partial` means that it may not be all: an owner did not answer in time or has just died, or the router has just
/// been restarted and not every process has told it yet what it has.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Answer {
    /// To [`Query::Online`]: one for each uid, in the order of the question.
    Online {
        /// Whether it is.
        online: Vec<bool>,
        /// A false may be wrong.
        partial: bool,
    },
    /// To [`Query::Totals`].
    Totals {
        /// Uids with at least one connection.
        uids: u64,
        /// Rooms with at least one member.
        rooms: u64,
        /// Topics with at least one subscribed process.
        topics: u64,
        /// Connected worker processes.
        processes: u64,
        /// More may exist.
        partial: bool,
    },
    /// To [`Query::Names`].
    Names {
        /// One page.
        names: Vec<Vec<u8>>,
        /// Where the next page begins; None after the last.
        next: Option<u32>,
        /// More may exist.
        partial: bool,
    },
    /// To [`Query::Count`].
    Count {
        /// How many.
        connections: u64,
        /// More may exist.
        partial: bool,
    },
    /// To [`Query::Members`].
    Members {
        /// One page, in the order of the ids.
        members: Vec<Member>,
        /// Whether there are more after the last of these.
        more: bool,
        /// Some may be missing.
        partial: bool,
    },
    /// To [`Query::Session`].
    Session {
        /// None if the connection does not exist.
        data: Option<Vec<u8>>,
        /// The connection may exist.
        partial: bool,
    },
}

/// A connection in a listing.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Member {
    /// Which.
    pub id: ConnectionId,
    /// Its uids.
    pub uids: Vec<Vec<u8>>,
}

/// What became of a push: the sum of what the owners of its targets say.
///
/// ```
/// use workhive_ipc::route::Outcome;
///
/// let outcome = Outcome { delivered: 2, ..Outcome::default() };
/// assert!(outcome.is_delivered() && !outcome.is_offline());
/// assert!(Outcome::default().is_offline());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub struct Outcome {
    /// Connections that took it.
    pub delivered: u32,
    /// Connections that did not, because their send buffer was full; and processes to which it was not even sent,
    /// because the router's queue for them was: each of those counts as one, however many connections it has.
    pub refused: u32,
    /// An owner died or did not answer in time: more connections may have it than `delivered` says.
    pub unknown: bool,
    /// Nobody was asked, and nobody has it: it did not leave this process while the router was away, or too many
    /// pushes already waited for their outcome.
    pub unrouted: bool,
}

impl Outcome {
    /// At least one live connection has it in its send buffer.
    pub fn is_delivered(self) -> bool {
        self.delivered > 0
    }

    /// Certainly, there was no connection to deliver it to.
    pub fn is_offline(self) -> bool {
        self == Self::default()
    }

    pub(crate) const UNKNOWN: Self = Self {
        delivered: 0,
        refused: 0,
        unknown: true,
        unrouted: false,
    };

    pub(crate) const UNROUTED: Self = Self {
        delivered: 0,
        refused: 0,
        unknown: false,
        unrouted: true,
    };

    pub(crate) fn add(&mut self, delivered: u32, refused: u32) {
        self.delivered = self.delivered.saturating_add(delivered);
        self.refused = self.refused.saturating_add(refused);
    }
}

/// A uid in a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, BorrowDecode)]
pub struct SnapshotUid<'a> {
    /// The uid.
    pub uid: &'a [u8],
    /// The connection that has it for itself alone.
    pub single: Option<u64>,
}

/// What a process tells the router. One that has said [`Hello`](Self::Hello) may say anything; one that has said
/// [`HelloClient`](Self::HelloClient) only what needs no connections of its own.
#[derive(Debug, Clone, PartialEq, Eq, Encode, BorrowDecode)]
pub enum ToRouter<'a> {
    /// The first frame of a worker process. Its snapshot follows, up to `Synced`.
    Hello {
        /// Who it is.
        process: Process,
    },
    /// The first frame of a program that only pushes and asks.
    HelloClient,
    /// Some of what the process has. All of it has the registration number of the `Synced` that ends the snapshot.
    Snapshot {
        /// Uids with at least one connection.
        uids: Vec<SnapshotUid<'a>>,
        /// Rooms with at least one member.
        rooms: Vec<&'a [u8]>,
        /// Subscribed topics.
        topics: Vec<&'a [u8]>,
    },
    /// The snapshot is complete. Acknowledged.
    Synced {
        /// The last registration number that the process has used.
        seq: u64,
    },
    /// The first connection here got a uid, or joined a room; or a topic was subscribed to. Acknowledged.
    Add {
        /// The registration number, larger than any before.
        seq: u64,
        /// Which table.
        table: Table,
        /// The uid, room or topic.
        name: &'a [u8],
        /// For a uid: this connection wants it for itself alone. Said for every such connection, not only the first.
        single: Option<u64>,
    },
    /// The last connection here lost it. Acknowledged.
    Remove {
        /// The registration number, larger than any before.
        seq: u64,
        /// Which table.
        table: Table,
        /// The uid, room or topic.
        name: &'a [u8],
    },
    /// Something was delivered for a name that this process does not have.
    Miss {
        /// The last registration number: a newer row is not meant.
        seq: u64,
        /// Which table.
        table: Table,
        /// The uid or room.
        name: &'a [u8],
    },
    /// Whether to be told when uids come online and go offline.
    Watch {
        /// Whether.
        on: bool,
    },
    /// Do something with connections, wherever they are. Its payload is the message.
    Push {
        /// Comes back with the outcome; 0 if none is wanted.
        id: u64,
        /// With which.
        target: Target<'a>,
        /// Except these.
        exclude: Vec<ConnectionId>,
        /// What.
        action: Action<'a>,
    },
    /// What became of a `Deliver`.
    Report {
        /// The number that came with it.
        ask: u64,
        /// Connections that took it.
        delivered: u32,
        /// Connections that could not.
        refused: u32,
    },
    /// A payload for every process that subscribes to a topic.
    Publish {
        /// Which.
        topic: &'a [u8],
        /// A byte from the sender to the subscribers.
        tag: u8,
    },
    /// A question.
    Query {
        /// Comes back with the answer.
        id: u64,
        /// What.
        query: Query<'a>,
    },
    /// The answer to an `Ask`.
    Answer {
        /// The number that came with it.
        ask: u64,
        /// What.
        answer: Answer,
    },
}

/// What the router tells a process.
#[derive(Debug, Clone, PartialEq, Eq, Encode, BorrowDecode)]
pub enum FromRouter<'a> {
    /// Registrations up to this number are in force: every push issued from now on reaches them.
    Ack {
        /// The number.
        seq: u64,
    },
    /// Do something with connections of this process. Its payload is the message.
    Deliver {
        /// For the `Report`; 0 if none is wanted.
        ask: u64,
        /// The router does not know whether the process has any of them: a miss is no news.
        probe: bool,
        /// With which.
        target: Target<'a>,
        /// Except these.
        exclude: Vec<ConnectionId>,
        /// What.
        action: Action<'a>,
    },
    /// What became of a push.
    Outcome {
        /// The push's.
        id: u64,
        /// What.
        outcome: Outcome,
    },
    /// Another connection has the uid now: close this one.
    Kick {
        /// Exactly this one.
        connection: ConnectionId,
        /// Why.
        uid: &'a [u8],
    },
    /// A uid came online, or has been offline for the linger time.
    Presence {
        /// Which.
        uid: &'a [u8],
        /// Which of the two.
        online: bool,
    },
    /// A payload on a topic.
    Topic {
        /// Which.
        topic: &'a [u8],
        /// The sender's.
        tag: u8,
    },
    /// A question about connections of this process.
    Ask {
        /// For the answer.
        ask: u64,
        /// What: a `Count`, `Members` or `Session`.
        query: Query<'a>,
    },
    /// The answer to a query.
    Answer {
        /// The query's.
        id: u64,
        /// What.
        answer: Answer,
    },
    /// The link ends, because of something that was said on it.
    Bye {
        /// Why, for the log.
        reason: &'a str,
    },
}

impl<'a> ToRouter<'a> {
    /// Appends the message to `wire` as one frame.
    pub fn append(&self, payload: &[u8], wire: &mut Vec<u8>) -> Result<(), FrameError> {
        frame::append(wire, Direction::ToRouter, self, payload)
    }

    /// The message in a frame's body.
    pub fn from_body(body: &'a [u8]) -> Result<Self, FrameError> {
        frame::decode_body(body)
    }
}

impl<'a> FromRouter<'a> {
    /// Appends the message to `wire` as one frame.
    pub fn append(&self, payload: &[u8], wire: &mut Vec<u8>) -> Result<(), FrameError> {
        frame::append(wire, Direction::FromRouter, self, payload)
    }

    /// The message in a frame's body.
    pub fn from_body(body: &'a [u8]) -> Result<Self, FrameError> {
        frame::decode_body(body)
    }
}

/// Whether it can be a uid, a room or a topic.
pub(crate) fn is_name(name: &[u8]) -> bool {
    (1..=MAX_NAME).contains(&name.len())
}

/// Whether so many names of so many bytes fit into one request.
pub(crate) fn are_names(names: &[&[u8]]) -> bool {
    names.len() <= MAX_TARGETS
        && names.iter().all(|name| is_name(name))
        && names.iter().map(|name| name.len()).sum::<usize>() <= MAX_TARGET_BYTES
}

impl Target<'_> {
    /// Whether all names in it can exist, and are not too many.
    pub(crate) fn is_valid(&self) -> bool {
        match self {
            Self::Uid(name) | Self::Room(name) => is_name(name),
            Self::Uids(names) | Self::Rooms(names) => are_names(names),
            Self::All | Self::Connection(_) => true,
        }
    }
}

impl Action<'_> {
    pub(crate) fn is_valid(&self) -> bool {
        match self {
            Self::Message { .. } => true,
            Self::Close { reason, .. } => reason.len() <= MAX_REASON,
            Self::Join(room) | Self::Leave(room) => is_name(room),
        }
    }
}

impl Query<'_> {
    pub(crate) fn is_valid(&self) -> bool {
        match self {
            Self::Online(uids) => are_names(uids),
            Self::Totals | Self::Names { .. } | Self::Session(_) => true,
            Self::Count(scope) | Self::Members { scope, .. } => match scope {
                Scope::Uid(name) | Scope::Room(name) => is_name(name),
                Scope::All => true,
            },
        }
    }
}

/// A page's size: what was asked for, within bounds.
pub(crate) fn page(limit: u16) -> usize {
    usize::from(limit).clamp(1, MAX_PAGE)
}

/// Bytes that the entries of one page may take together.
const PAGE_BYTES: usize = 512 * 1024;

/// Cuts a page to so many entries, and to what fits into a frame; true if something was cut. One always stays.
pub(crate) fn trim_page(members: &mut Vec<Member>, limit: usize) -> bool {
    let mut bytes = 0;
    let fit = members.iter().take(limit).take_while(|member| {
        // What they take in memory when they are decoded, which is more than on the wire.
        let before = bytes;
        bytes += 64 + member.uids.iter().map(|uid| 24 + uid.len()).sum::<usize>();
        before == 0 || bytes <= PAGE_BYTES
    });
    let fit = fit.count();
    let cut = fit < members.len();
    members.truncate(fit);
    cut
}
