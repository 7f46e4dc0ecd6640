//! Wire protocols as state machines: bytes in, events and bytes out.
//!
//! This crate never opens a socket, never reads a clock (time is a parameter), never spawns, never logs, and has
//! no `unsafe`. Whoever owns the socket feeds bytes to [`Protocol::decode`], hands the events to the application,
//! and writes out what [`Protocol::encode`] and the decoder left in [`Wire::out`].
//!
//! | protocol | messages are | limits in |
//! |---|---|---|
//! | [`Text`] | lines | [`TextConfig`] |
//! | [`Frame`] | bodies behind a 32-bit length | [`FrameConfig`] |
//! | [`Raw`] | whatever a read brought | nothing |
//! | [`Http`] | requests, one answer each | [`HttpConfig`] |
//! | [`WebSocket`] | text and binary messages | [`WebSocketConfig`] |
#![forbid(unsafe_code)]

mod buffer;
mod codec;
mod error;
mod frame;
mod head;
mod http;
mod message;
mod raw;
mod text;
mod websocket;

pub use codec::{Event, Flow, Goodbye, HttpDate, NoOpening, Protocol, Step, Wire, http_date};
pub use error::{Answer, Blame, EncodeError, ProtocolError};
pub use frame::{Frame, FrameConfig, FrameDecoder};
pub use head::Headers;
pub use http::{
    Body, Chunk, Http, HttpConfig, HttpDecoder, HttpEncoder, Lines, Method, Reply, Request,
    Response, reason,
};
pub use message::{Message, NotText};
pub use raw::{Raw, RawConfig};
pub use text::{Text, TextConfig, TextDecoder};
pub use websocket::{
    Handshake, Verdict, WebSocket, WebSocketConfig, WebSocketDecoder, WebSocketEncoder,
};

/// The default limit of every protocol for one message: 10 MiB.
const MAX_MESSAGE: usize = 10 * 1024 * 1024;
/// The default limit for the head of a request: 16 KiB.
const MAX_HEAD: usize = 16 * 1024;
/// The default limit for the number of header fields.
const MAX_HEADERS: usize = 100;
