//! What one process says to another.

mod control;
mod stats;

pub use control::{Channel, ChannelError, ListenOutcome, MasterEnd, Received, ToMaster, ToWorker, WorkerEnd, pair};
pub use stats::{Counters, Row, SlotState, StatsPage};
