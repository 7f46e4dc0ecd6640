//! What one process of a hive says to another.
//!
//! A [`Channel`] is the link between the master and one worker: whole messages, at times with a file descriptor.
//! A [`StatsPage`] is memory that all of them share, one [`Row`] for each process: the master and the command line
//! learn from it how a worker fares without asking it, so a worker that hangs cannot hide.
//!
//! In [`route`] is the core of the router, which knows which process has whom, and its counterpart in each process.
//!
//! Everything here is for processes of one hive among themselves. What network clients sent passes through as the
//! payload of a push, which nothing here looks into.

mod channel;
mod control;
mod envelope;
mod glimpse;
pub mod route;
mod stats;
mod sys;

pub use channel::{
    Channel, ChannelError, MasterEnd, NewEnd, OldEnd, Received, WorkerEnd, pair, succession,
};
pub use control::{ConnectionRow, ListenOutcome, ToMaster, ToPredecessor, ToSuccessor, ToWorker};
pub use envelope::{Control, EnvelopeError, MAX_FRAME};
pub use glimpse::{Glimpse, Sight};
pub use stats::{Counters, Row, SlotState, StatsPage};
