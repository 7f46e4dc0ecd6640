//! The supervisor of a hive: a master process that forks workers, keeps them running, and replaces them without
//! losing a connection; and the command line by which it is told to.

#![deny(unsafe_code)]

pub mod app;
mod backoff;
mod child;
mod cli;
mod clock;
mod control;
mod count;
mod credentials;
mod daemon;
mod error;
mod exit;
mod group;
mod identity;
mod life;
mod listeners;
mod logger;
mod master;
mod pidfile;
mod protocol;
mod reload;
mod report;
mod run;
mod slot;
mod spawn;
mod stop;
#[allow(unsafe_code)]
// fork, process descriptors, signal dispositions: the only island in this crate.
mod sys;
mod table;
mod timers;
mod watch;
mod worker;

pub use cli::{Args, Cli, UsageError};
pub use exit::Exit;
pub use group::Group;
pub use run::run_all;
pub use worker::Worker;

pub use workhive_protocols::{
    Chunk, Frame, Handshake, Http, HttpConfig, Message, Method, Protocol, Raw, Reply, Request,
    Response, Text, Verdict, WebSocket, WebSocketConfig,
};
pub use workhive_worker::{
    Address, BlockingError, CloseReason, Conn, ConnectionError, ConnectionId, Error, Handle, Hive,
    Holder, ListenError, Listener, Mailbox, Outcome, Peer, Pending, Place, Process, Program,
    Result, SendError, TimerId, Uid, UidError,
};

/// What a protocol of one's own is made of; see [`Protocol`].
pub mod codec {
    pub use workhive_protocols::{
        Answer, Blame, EncodeError, Event, Flow, Goodbye, HttpDate, NoOpening, Protocol,
        ProtocolError, Step, Wire,
    };
}
