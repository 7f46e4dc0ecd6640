//! Push to any uid from any process: what processes and the router say to each other, and what each does about it.
//!
//! Each worker process has an [`Agent`], which knows the process's own connections; the router has a [`Core`], which
//! knows what each process has. Between them is a stream for each process, of which a [`Link`] is one end. All of it
//! is without sockets and clocks: bytes go in, bytes and events come out, and time is a parameter. A hive with one
//! worker process has both in that process, as [`Local`].
//!
//! A program that is no part of the hive has a [`Client`], which has a socket and waits for answers.
//!
//! The promises:
//!
//! - A registration that is in force ([`Registered::InForce`], [`Event::Registered`]) is reached by every push issued
//!   after that, exactly once.
//! - All who receive two pushes to a uid, a room or all, receive them in the same order.
//! - An [`Outcome`] is what the owners of the connections say. What cannot be known is said to be unknown.
//! - A [`ConnectionId`] of a past process or connection never reaches a later one.
//! - Queues are bounded in bytes; what does not fit is refused and counted. No process waits for another.
//! - A process that talks nonsense loses its link, and nobody else notices.

#![forbid(unsafe_code)]

mod agent;
mod awaited;
mod client;
mod client_error;
mod client_exchange;
mod core;
mod deliver;
mod directory;
mod events;
mod frame;
mod id;
mod inbox;
mod link;
mod local;
mod members;
mod message;
mod names;
mod outbox;
mod presence;
mod registry;
mod request;
mod scatter;
mod stream;
mod tables;

pub use self::core::{Core, CoreConfig, LinkId};
pub use agent::{Agent, AgentConfig, AgentCounters};
pub use client::{Client, Message};
pub use client_error::{ClientError, Loss};
pub use events::{Connected, CoreCounters, CoreEvent, Misuse};
pub use frame::{Decoder, Direction, Frame, FrameError, HEADER, MAX_BODY};
pub use id::{ConnectionId, ConnectionIdError, Process};
pub use link::{Link, LinkLimits, Outgoing};
pub use local::Local;
pub use message::{
    Action, Answer, BINARY, FromRouter, MAX_EXCLUDED, MAX_NAME, MAX_PAGE, MAX_REASON, MAX_SESSION,
    MAX_TARGET_BYTES, MAX_TARGETS, Member, Outcome, Query, Scope, SnapshotUid, TEXT, Table, Target,
    ToRouter,
};
pub use request::{AgentError, Event, Push, PushId, QueryId, Receipt, Registered, Ticket};
pub use tables::Key;
