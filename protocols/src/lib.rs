//! Wire protocols as state machines: bytes in, events and bytes out.
//!
//! This crate never opens a socket, never reads a clock (time is a parameter), never spawns, never logs, and has
//! no `unsafe`. Whoever owns the socket feeds bytes to [`Protocol::decode`], hands the events to the application,
//! and writes out what [`Protocol::encode`] and the decoder left in [`Wire::out`].
#![forbid(unsafe_code)]

mod codec;
mod error;
mod message;

pub use codec::{Event, Flow, Goodbye, HttpDate, NoOpening, Protocol, Step, Wire};
pub use error::{Answer, Blame, EncodeError, ProtocolError};
pub use message::{Message, NotText};
