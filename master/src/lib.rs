//! workhive: network services of many processes, without locks.
//!
//! A program describes what its processes do; [`Worker::run`] does the rest: it reads the command line, forks the
//! processes, watches over them, replaces and drains them. This page is the guide; the types have the details.
//!
//! # A first server
//!
//! ```no_run
//! use workhive::{Http, Method, Response, Worker};
//!
//! fn main() -> workhive::Exit {
//!     Worker::<Http>::new("127.0.0.1:8080")
//!         .count(4)
//!         .on_message(|conn, request| match (request.method(), request.path()) {
//!             (Method::Get, "/") => conn.send(Response::text("Hello, World!")),
//!             _ => conn.send(Response::status(404)),
//!         })
//!         .run()
//! }
//! ```
//!
//! The program is its own command line: `./hello` or `./hello start` runs it, `start -d` makes it a daemon, `stop`,
//! `reload`, `status` and `restart` speak to it while it runs, `--count 8` changes the number of processes and
//! `--help` lists the rest.
//!
//! # Words
//!
//! A **hive** is one master with all its processes. A **group** is the `count` processes of one [`Worker`]; each fills
//! a **slot**. A **listener** is a listening socket, a **connection** one peer, a **message** one decoded unit of a
//! protocol.
//!
//! # Protocols and messages
//!
//! The type parameter of [`Worker`] and [`Listener`] is the protocol. It decides what `on_message` is given and what
//! [`Conn::send`] takes:
//!
//! | protocol | a message is | `send` takes | limits in |
//! |---|---|---|---|
//! | [`Text`] | a line, without its end, as [`Message`] | text or bytes, without line ends | [`codec::TextConfig`] |
//! | [`Frame`] | a frame's payload, as [`Message`] | text or bytes | [`codec::FrameConfig`] |
//! | [`Raw`] | whatever was read, as [`Message`] | bytes | [`codec::RawConfig`] |
//! | [`WebSocket`] | a text or binary message, as [`Message`] | `&str` and `String` as text, bytes as binary | [`WebSocketConfig`] |
//! | [`Http`] | a [`Request`] with its body | a [`Response`], text, or a [`Chunk`] of a stream | [`HttpConfig`] |
//!
//! A [`Message`] is text or binary; [`Message::as_text`] and [`Message::as_bytes`] look inside. It borrows from the
//! connection's input: [`Message::into_owned`] keeps one. Limits and timeouts are set with [`Worker::configure`].
//! A protocol of one's own implements [`Protocol`]; the example `custom_protocol` does.
//!
//! # Callbacks
//!
//! A process has one thread and one loop, which calls one callback at a time. So nothing needs a lock, and nothing may
//! block: what takes long goes to [`Process::blocking`].
//!
//! | set with | called |
//! |---|---|
//! | [`on_worker_start`](Worker::on_worker_start) | in each process, before it accepts |
//! | [`on_connect`](Worker::on_connect) | when a connection was accepted |
//! | [`on_websocket_connect`](Worker::on_websocket_connect) | with the request of a handshake, before its answer |
//! | [`on_websocket_connected`](Worker::on_websocket_connected) | when messages can be sent to a WebSocket client |
//! | [`on_message`](Worker::on_message) | for every message |
//! | [`on_close`](Worker::on_close) | once for every connection, when it has ended, with the [reason](Conn::close_reason) |
//! | [`on_error`](Worker::on_error) | when a connection cannot go on |
//! | [`on_buffer_full`](Worker::on_buffer_full), [`on_buffer_drain`](Worker::on_buffer_drain) | when a send was refused, and when there is room again |
//! | [`on_worker_stop`](Worker::on_worker_stop) | when a process ends in good order |
//!
//! They return [`Result`]: `?` works with every error. An `Err`, and a panic too, ends that one connection (a
//! WebSocket client is told 1011, an HTTP client gets a 500), is logged, and reaches nobody else.
//!
//! # State
//!
//! Each process makes a state of its own with [`Worker::state`], and each connection has data of its own with
//! [`Worker::data`]. Both are plain values, reached through the callback's first argument. They are set before the
//! callbacks, whose types they change.
//!
//! ```
//! use std::collections::HashMap;
//! use workhive::{Handle, Text, Worker};
//!
//! /// Who is in the room, by name.
//! type Room = HashMap<String, Handle<Text>>;
//!
//! let chat = Worker::<Text>::new("127.0.0.1:5678")
//!     .state(|_place| Ok(Room::new()))
//!     .data(String::new)
//!     .on_connect(|conn| conn.send("your name?"))
//!     .on_message(|conn, line| {
//!         let line = line.as_text()?;
//!         if conn.data().is_empty() {
//!             let me = conn.handle();
//!             *conn.data_mut() = line.to_owned();
//!             conn.state_mut().insert(line.to_owned(), me);
//!             return Ok(());
//!         }
//!         let text = format!("{}: {line}", conn.data());
//!         for (name, other) in conn.state() {
//!             // Somebody who reads too slowly must not end the one who speaks.
//!             if name != conn.data() && other.send(&text).is_err() {
//!                 other.close();
//!             }
//!         }
//!         Ok(())
//!     })
//!     .on_close(|conn| {
//!         let name = conn.data().clone();
//!         conn.state_mut().remove(&name);
//!         Ok(())
//!     });
//! ```
//!
//! A [`Handle`] is a small copyable id of a connection, for the time after the callback: it can be kept in the state,
//! moved into timers, and used when the connection is long gone, which is then an error and never somebody else.
//!
//! State is per process. With `count` above 1 each process has its own: connections that must see each other's state
//! belong into one process.
//!
//! # Push to a user
//!
//! [`Conn::bind_uid`] says who a connection belongs to; [`Hive::send_to_uid`] reaches all connections of that user id,
//! whatever their protocols, and tells what became of it. In this version user ids are routed within one process.
//!
//! # Several listeners, several groups
//!
//! A process opens further listeners with [`Process::listen`], usually in `on_worker_start`; they share its state. See
//! [`Listener::reuse_port`] and [`Listener::shared`] for what happens when every process of a group does that, and
//! [`ListenError::AddressInUse`] for what happens otherwise.
//!
//! Several groups run in one hive with [`run_all`]:
//!
//! ```no_run
//! use workhive::{Group, Http, Response, Text, Worker};
//!
//! fn main() -> workhive::Exit {
//!     let api: Group = Worker::<Http>::new("127.0.0.1:8080")
//!         .name("api")
//!         .count(2)
//!         .on_message(|conn, _request| conn.send(Response::json("{}")))
//!         .into();
//!     let echo: Group = Worker::<Text>::new("127.0.0.1:5678")
//!         .name("echo")
//!         .on_message(|conn, line| conn.send(line))
//!         .into();
//!     workhive::run_all([api, echo])
//! }
//! ```
//!
//! # Options of one's own
//!
//! [`Cli`] adds flags and options to the standard command line:
//!
//! ```no_run
//! use workhive::{Cli, Text, Worker};
//!
//! fn main() -> workhive::Exit {
//!     let cli = Cli::new("shout").option("at", "ADDR", "127.0.0.1:5678", "Where to listen");
//!     let args = match cli.parse() {
//!         Ok(args) => args,
//!         Err(exit) => return exit,
//!     };
//!     let shout = Worker::<Text>::new(args.value("at"))
//!         .on_message(|conn, line| conn.send(line.as_text()?.to_uppercase()));
//!     args.run_all([shout])
//! }
//! ```
//!
//! # Time, and work that blocks
//!
//! [`Process::after`] and [`Process::every`] start timers, [`Process::blocking`] runs a blocking call on a thread and
//! comes back to the loop with its result, and a [`Mailbox`] lets any thread post work to the loop. Callbacks of
//! connections reach the process by [`Conn::process`].
//!
//! # Ends
//!
//! | call | does |
//! |---|---|
//! | [`close`](Conn::close) | says the protocol's goodbye, sends what waits, closes |
//! | [`close_with`](Conn::close_with) | the same with a WebSocket close code and reason |
//! | [`end`](Conn::end) | sends what waits and closes, without a goodbye |
//! | [`destroy`](Conn::destroy) | closes now; what waits is lost |
//!
//! A message that was sent leaves at the end of the loop's turn, together with all others for that connection. What the
//! peer does not take waits in a buffer; a send that does not fit there is refused whole with [`SendError::Full`].
//!
//! # Reload, stop and crash
//!
//! On `reload` each slot gets a new process first; when it is ready, the old one drains: it takes nothing new, answers
//! what it has in hand, lets HTTP clients go after their next response, tells WebSocket clients 1012 (service restart)
//! spread over the drain time, and ends. If the new process cannot start, the old one stays and the reload is reported
//! failed. `stop -g` and SIGTERM drain in the same way; `stop` and Ctrl+C do not wait. A process that dies is replaced
//! at once, or after a growing pause if it had not been up for a second. If the master dies, its processes drain.

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

pub use log;

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

/// What a protocol of one's own is made of, see [`Protocol`], and types that are rarely named.
pub mod codec {
    pub use workhive_protocols::{
        Answer, Blame, Body, EncodeError, Event, Flow, FrameConfig, Goodbye, Headers, HttpDate,
        NoOpening, NotText, Protocol, ProtocolError, RawConfig, Step, TextConfig, Wire, http_date,
        reason,
    };
}
