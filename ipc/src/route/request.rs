//! What a process asks of its agent, and what it hears from it.

use std::fmt;

use crate::route::ConnectionId;
use crate::route::frame::FrameError;
use crate::route::message::{
    Action, Answer, MAX_EXCLUDED, MAX_NAME, MAX_REASON, MAX_SESSION, Outcome, Target,
};

/// Something to be done with connections, wherever they are.
///
/// ```
/// use workhive_ipc::route::{Push, Target};
///
/// let room = Push::message(Target::Room(b"lobby"), 0, b"hello").with_outcome();
/// let dismiss = Push::leave(Target::Room(b"lobby"), b"lobby");
/// let kick = Push::close(Target::Uid(b"u1"), 4000, "elsewhere");
/// # let _ = (room, dismiss, kick);
/// ```
#[derive(Debug, Clone)]
pub struct Push<'a> {
    pub(super) target: Target<'a>,
    pub(super) exclude: Vec<ConnectionId>,
    pub(super) action: Action<'a>,
    pub(super) payload: &'a [u8],
    pub(super) outcome: bool,
}

impl<'a> Push<'a> {
    /// A message. The tag is a byte for the owners of the connections, such as whether the payload is text.
    pub fn message(target: Target<'a>, tag: u8, payload: &'a [u8]) -> Self {
        Self::new(target, Action::Message { tag }, payload)
    }

    /// Closes the connections.
    pub fn close(target: Target<'a>, code: u16, reason: &'a str) -> Self {
        Self::new(target, Action::Close { code, reason }, b"")
    }

    /// Makes the connections members of a room.
    pub fn join(target: Target<'a>, room: &'a [u8]) -> Self {
        Self::new(target, Action::Join(room), b"")
    }

    /// Takes the connections from a room.
    pub fn leave(target: Target<'a>, room: &'a [u8]) -> Self {
        Self::new(target, Action::Leave(room), b"")
    }

    fn new(target: Target<'a>, action: Action<'a>, payload: &'a [u8]) -> Self {
        Self {
            target,
            exclude: Vec::new(),
            action,
            payload,
            outcome: false,
        }
    }

    /// Leaves out a connection, such as the sender.
    pub fn except(mut self, id: ConnectionId) -> Self {
        self.exclude.push(id);
        self
    }

    /// Asks what becomes of it.
    pub fn with_outcome(mut self) -> Self {
        self.outcome = true;
        self
    }

    pub(super) fn without_outcome(mut self) -> Self {
        self.outcome = false;
        self
    }
}

/// A push whose outcome will come. Never given twice by one agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PushId(pub(super) u64);

/// A question whose answer will come. Never given twice by one agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueryId(pub(super) u64);

/// A registration that the router has yet to acknowledge. Later ones compare greater; those that are acknowledged
/// together may be equal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub(super) u64);

/// Whether a registration is in force, so that every push issued from now on reaches it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registered {
    /// It is.
    InForce,
    /// It will be when [`Event::Registered`] brings this ticket, or a greater one.
    Pending(Ticket),
}

/// For telling what became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    pub(super) ask: u64,
    /// The link on which it came: another router counts anew.
    pub(super) link: u64,
}

/// What an agent has to say.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a, K> {
    /// Send the payload to these connections, then say with [`Agent::report`](crate::route::Agent::report) how many
    /// took it.
    Deliver {
        /// At least one; each once.
        to: &'a [K],
        /// The sender's.
        tag: u8,
        /// As the sender gave it.
        payload: &'a [u8],
        /// For the report.
        receipt: Receipt,
    },
    /// Close these connections.
    Close {
        /// At least one; each once.
        to: &'a [K],
        /// What their protocol is told, if it has close codes.
        code: u16,
        /// Why.
        reason: String,
    },
    /// Close this connection: another one has its uid now, and it has it no longer.
    Kicked {
        /// Which.
        key: K,
        /// The uid.
        uid: Vec<u8>,
    },
    /// All registrations up to this one are in force.
    Registered(Ticket),
    /// What became of a push.
    Outcome {
        /// Which.
        push: PushId,
        /// What.
        outcome: Outcome,
    },
    /// The answer to a question.
    Answer {
        /// Which.
        query: QueryId,
        /// None if the router was away or did not answer.
        answer: Option<Answer>,
    },
    /// A payload on a topic to which this process subscribes.
    Topic {
        /// Which.
        topic: Vec<u8>,
        /// The sender's.
        tag: u8,
        /// As the sender gave it.
        payload: &'a [u8],
    },
    /// A uid has its first connection on this host, or has had none for the linger time. Told while watching.
    Presence {
        /// Which.
        uid: Vec<u8>,
        /// Which of the two.
        online: bool,
    },
    /// The router knows all that this process has. After the first time: it was away, and news may have been missed.
    Synced,
    /// The router ends the link, for this reason.
    Bye(String),
    /// The link cannot go on: close it, and call [`Agent::disconnected`](crate::route::Agent::disconnected).
    Broken(FrameError),
}

/// Why something cannot be asked of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentError {
    /// The connection is not open, as far as the agent was told.
    NotOpen,
    /// A uid, room or topic has 1 to 255 bytes.
    Name {
        /// This has so many.
        length: usize,
    },
    /// The connection has as many uids as one may have.
    TooManyUids {
        /// So many.
        limit: usize,
    },
    /// The connection is in as many rooms as one may be.
    TooManyRooms {
        /// So many.
        limit: usize,
    },
    /// The payload, the reason, the session data, or the list of targets is too long for one frame.
    TooLong,
    /// Too much waits to be sent to the router already. Try later.
    Full,
    /// The router is away, and as much waits for it as may. Try later.
    Away,
    /// Only a worker process has connections.
    NotAWorker,
}

impl fmt::Display for AgentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOpen => f.write_str("the connection is not open"),
            Self::Name { length } => write!(
                f,
                "a uid, room or topic has 1 to {MAX_NAME} bytes, this one has {length}"
            ),
            Self::TooManyUids { limit } => write!(f, "a connection may have {limit} uids"),
            Self::TooManyRooms { limit } => write!(f, "a connection may be in {limit} rooms"),
            Self::TooLong => write!(
                f,
                "too long: a reason may have {MAX_REASON} bytes, session data {MAX_SESSION}, a push leave out \
                 {MAX_EXCLUDED} connections, and a payload and the targets have the link's limits"
            ),
            Self::Full => f.write_str("too much waits for the router; try later"),
            Self::Away => f.write_str("the router is away; try later"),
            Self::NotAWorker => f.write_str("only a worker process has connections"),
        }
    }
}

impl std::error::Error for AgentError {}
