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
//! These verbs find the hive by the program's name and the first address. A program whose address is an option needs
//! that option again (`./hello stop --at 127.0.0.1:9000`), or a `--pid-file` that is the same each time.
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
//! A protocol of one's own implements [`Protocol`], whose page has one from beginning to end.
//!
//! ```
//! use workhive::{Frame, Raw, Text, Worker};
//!
//! let lines = Worker::<Text>::new("127.0.0.1:7001")
//!     .configure(|text| text.max_message = 4096)
//!     .on_message(|conn, line| conn.send(line.as_text()?.to_uppercase()));
//! let frames = Worker::<Frame>::new("127.0.0.1:7002")
//!     .on_message(|conn, frame| conn.send(format!("{} bytes", frame.len())));
//! let bytes = Worker::<Raw>::new("127.0.0.1:7003").on_message(|conn, bytes| conn.send(bytes));
//! ```
//!
//! One listener speaks one protocol: a page and the WebSocket that it opens have two ports, as in the example
//! `http_and_websocket`.
//!
//! # HTTP
//!
//! Every request gets one answer, at once or later; until then the next request of that client waits. Requests that
//! break the rules, are too long or too slow are answered by the protocol itself.
//!
//! ```no_run
//! use workhive::{Http, Method, Response, Worker};
//!
//! fn main() -> workhive::Exit {
//!     Worker::<Http>::new("127.0.0.1:8080")
//!         .configure(|http| http.max_message = 64 * 1024)
//!         .on_message(|conn, request| match (request.method(), request.path()) {
//!             // GET /search?q=caf%C3%A9+au+lait
//!             (Method::Get, "/search") => {
//!                 let wanted = request.query_pairs().find(|(name, _)| name == "q");
//!                 match wanted {
//!                     Some((_, text)) => conn.send(Response::text(format!("nothing about {text}\n"))),
//!                     None => conn.send(Response::status(400)),
//!                 }
//!             }
//!             (Method::Post, "/notes") if request.header("authorization").is_none() => {
//!                 conn.send(Response::status(401).header("www-authenticate", "Bearer"))
//!             }
//!             (Method::Post, "/notes") => {
//!                 let len = request.body().len();
//!                 conn.send(Response::json(format!("{{\"bytes\":{len}}}")).with_status(201))
//!             }
//!             _ => conn.send(Response::status(404)),
//!         })
//!         .run()
//! }
//! ```
//!
//! # Streaming a response
//!
//! [`Response::stream`] sends the head; [`Chunk`]s follow whenever there is something to say, the last made by
//! [`Chunk::last`] or [`Chunk::and_last`]. Here a timer says it, and cancels itself when it has said all, or when the
//! client is gone: a timer does not end with a connection.
//!
//! ```no_run
//! use std::cell::Cell;
//! use std::rc::Rc;
//! use std::time::Duration;
//! use workhive::{Chunk, Http, Response, Worker};
//!
//! fn main() -> workhive::Exit {
//!     Worker::<Http>::new("127.0.0.1:8080")
//!         .on_message(|conn, _request| {
//!             conn.send(Response::new(200).content_type("text/event-stream").stream())?;
//!             let client = conn.handle();
//!             // The timer learns its own id when it has been started.
//!             let timer = Rc::new(Cell::new(None));
//!             let own = Rc::clone(&timer);
//!             let mut left = 10;
//!             let started = conn.process().every(Duration::from_secs(1), move |process| {
//!                 left -= 1;
//!                 let event = Chunk::from(format!("data: {left} to go\n\n"));
//!                 let event = if left == 0 { event.and_last() } else { event };
//!                 let sent = client.send(event);
//!                 if (left == 0 || sent.is_err())
//!                     && let Some(timer) = own.get()
//!                 {
//!                     process.cancel(timer);
//!                 }
//!                 Ok(())
//!             })?;
//!             timer.set(Some(started));
//!             Ok(())
//!         })
//!         .run()
//! }
//! ```
//!
//! How to send what is long rather than slow, such as a file, is under "Sending much" below.
//!
//! # WebSocket
//!
//! A handshake that obeys the protocol is accepted, unless [`on_websocket_connect`](Worker::on_websocket_connect) looks
//! at the [`Handshake`] and returns another [`Verdict`]. Messages can be sent from
//! [`on_websocket_connected`](Worker::on_websocket_connected) on. Pings are answered and closing handshakes completed
//! without further words.
//!
//! ```no_run
//! use workhive::{Verdict, WebSocket, Worker};
//!
//! fn main() -> workhive::Exit {
//!     Worker::<WebSocket>::new("127.0.0.1:8081")
//!         .data(String::new)
//!         .on_websocket_connect(|conn, handshake| {
//!             if handshake.origin().is_some_and(|origin| origin != "https://example.com") {
//!                 return Ok(Verdict::refuse(403).body("not from this page"));
//!             }
//!             let room = handshake.query_pairs().find(|(name, _)| name == "room");
//!             match room {
//!                 Some((_, room)) => *conn.data_mut() = room.into_owned(),
//!                 None => return Ok(Verdict::refuse(404)),
//!             }
//!             Ok(Verdict::accept())
//!         })
//!         .on_websocket_connected(|conn| {
//!             let welcome = format!("welcome to {}", conn.data());
//!             conn.send(welcome)
//!         })
//!         .on_message(|conn, message| match message.as_text()? {
//!             "bye" => {
//!                 conn.close_with(1000, "see you");
//!                 Ok(())
//!             }
//!             text => conn.send(text), // a text frame; bytes would be a binary one
//!         })
//!         .run()
//! }
//! ```
//!
//! Silent clients are pinged every 25 s ([`WebSocketConfig::ping_interval`]) and dropped if nothing comes back. A
//! client that answers pings and says nothing else stays, unless [`idle_timeout`](Worker::idle_timeout) is set: pings
//! and pongs do not count as activity there, only messages do.
//!
//! # Sending much: backpressure
//!
//! A message that was sent leaves at the end of the loop's turn, together with all others for that connection. What the
//! peer does not take waits in a buffer of at most [`max_send_buffer`](Worker::max_send_buffer) bytes, 1 MiB unless
//! set; a send that does not fit there is refused whole with [`SendError::Full`]. A callback that returns this error
//! ends the connection, which is right for a peer that is too slow. To send more than fits, send until it is refused,
//! keep what was refused, and go on in [`on_buffer_drain`](Worker::on_buffer_drain), which is called when the buffer is
//! empty again:
//!
//! ```no_run
//! use std::fs::File;
//! use std::io::Read;
//! use workhive::{Chunk, Conn, Http, Response, Result, SendError, Worker};
//!
//! /// What is being sent on a connection.
//! struct Download {
//!     file: File,
//!     /// What was read and not yet sent.
//!     piece: Vec<u8>,
//! }
//!
//! fn go_on(conn: &mut Conn<'_, Http, (), Option<Download>>) -> Result {
//!     let client = conn.handle();
//!     while let Some(Download { file, piece }) = conn.data_mut() {
//!         if piece.is_empty() && file.take(64 * 1024).read_to_end(piece)? == 0 {
//!             *conn.data_mut() = None;
//!             return client.send(Chunk::last());
//!         }
//!         match client.send(Chunk::from(&*piece)) {
//!             Ok(()) => piece.clear(),
//!             Err(error) => match error.downcast_ref() {
//!                 Some(SendError::Full { .. }) => return Ok(()), // on_buffer_drain goes on
//!                 _ => return Err(error),
//!             },
//!         }
//!     }
//!     Ok(())
//! }
//!
//! fn main() -> workhive::Exit {
//!     Worker::<Http>::new("127.0.0.1:8080")
//!         .data(|| None)
//!         .on_message(|conn, _request| {
//!             let file = File::open("backup.tar")?;
//!             *conn.data_mut() = Some(Download { file, piece: Vec::new() });
//!             conn.send(Response::new(200).content_type("application/x-tar").stream())?;
//!             go_on(conn)
//!         })
//!         .on_buffer_drain(go_on)
//!         .run()
//! }
//! ```
//!
//! (A file on a slow disk is better read by [`Conn::blocking`].)
//!
//! In the other direction, a connection with much waiting for it is not read from, so that a peer which never reads
//! cannot make this side work without end. [`Conn::pause_recv`] does the same on purpose: nothing is read and
//! `on_message` is not called until [`Conn::resume_recv`], and the peer is slowed down by its own full buffer. Here it
//! keeps the answers in the order of the questions:
//!
//! ```no_run
//! use workhive::{Text, Worker};
//!
//! fn main() -> workhive::Exit {
//!     Worker::<Text>::new("127.0.0.1:5678")
//!         .on_message(|conn, line| {
//!             let path = line.as_text()?.to_owned();
//!             conn.pause_recv();
//!             conn.blocking(
//!                 move || std::fs::metadata(path).map_or(0, |file| file.len()),
//!                 |conn, bytes| {
//!                     conn.resume_recv();
//!                     conn.send(format!("{} bytes", bytes?))
//!                 },
//!             )
//!         })
//!         .run()
//! }
//! ```
//!
//! # Callbacks
//!
//! A process has one thread and one loop, which calls one callback at a time. So nothing needs a lock, and nothing may
//! block: what takes long goes to [`Conn::blocking`].
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
//! An `Err` from the callback of a connection, and a panic too, ends that one connection (a WebSocket client is told
//! 1011, an HTTP client gets a 500), is logged, and reaches nobody else. Errors of timers, of a push's outcome and of
//! letters to a [`Mailbox`] belong to no connection: they are only logged.
//!
//! # Errors
//!
//! Callbacks return [`Result`]. `?` works with every type that implements [`std::error::Error`]; an error that is only
//! a text is [`Error::msg`]. A `Box<dyn std::error::Error>` does not implement that trait and is turned into its text:
//!
//! ```
//! use workhive::{Error, Message, Result};
//!
//! fn parse(text: &str) -> std::result::Result<u64, Box<dyn std::error::Error>> {
//!     Ok(text.parse()?)
//! }
//!
//! fn amount(line: &Message<'_>) -> Result<u64> {
//!     let text = line.as_text()?;
//!     let amount = parse(text).map_err(|error| Error::msg(error.to_string()))?;
//!     if amount == 0 {
//!         return Err(Error::msg("nothing is no amount"));
//!     }
//!     Ok(amount)
//! }
//! # assert_eq!(amount(&"7".into()).ok(), Some(7));
//! # assert!(amount(&"0".into()).is_err() && amount(&"x".into()).is_err());
//! ```
//!
//! What an error was is found out with [`Error::downcast_ref`].
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
//! It also helps when a message borrows from the connection itself: `conn.send(conn.data().as_str())` borrows `conn`
//! twice, and does not compile, where this does:
//!
//! ```
//! use workhive::{Text, Worker};
//!
//! let echo = Worker::<Text>::new("127.0.0.1:5678")
//!     .data(|| String::from("hello"))
//!     .on_connect(|conn| {
//!         let me = conn.handle();
//!         me.send(conn.data().as_str())
//!     });
//! ```
//!
//! State is per process. With `count` above 1 each process has its own. Messages reach connections in any process, see
//! below; what must see the same state belongs into one process.
//!
//! # Push to a user, a room, everybody
//!
//! [`Conn::bind_uid`] says who a connection belongs to, [`Conn::join_room`] puts it into a room, and [`Hive`], which
//! [`Conn::hive`] and [`Process::hive`] give, reaches them in whichever process they are:
//!
//! ```no_run
//! use workhive::{WebSocket, Worker};
//!
//! fn main() -> workhive::Exit {
//!     Worker::<WebSocket>::new("0.0.0.0:8000")
//!         .count(4)
//!         .on_message(|conn, message| {
//!             let text = message.as_text()?;
//!             // The first message is the name.
//!             let Some(name) = conn.uid() else {
//!                 conn.bind_uid(text)?;
//!                 conn.join_room("lobby")?;
//!                 return Ok(conn.hive().send_to_room("lobby", format!("{text} is here"))?);
//!             };
//!             // "bob: hello" is for bob alone.
//!             if let Some((to, words)) = text.split_once(": ") {
//!                 let me = conn.handle();
//!                 let hive = conn.hive().on_outcome(move |outcome| {
//!                     if outcome.is_delivered() { Ok(()) } else { me.send("nobody of that name is here") }
//!                 });
//!                 return Ok(hive.send_to_uid(to, format!("{name}: {words}"))?);
//!             }
//!             let others = conn.hive().except(conn.id());
//!             Ok(others.send_to_room("lobby", format!("{name}: {text}"))?)
//!         })
//!         .run()
//! }
//! ```
//!
//! What is promised, and what is not:
//!
//! - Messages to a uid, a room or all reach each connection once, and everybody who gets two of them gets them in the
//!   same order, also the sender's own connections.
//! - [`Conn::bind_uid_then`] and [`Conn::join_room_then`] tell when a registration is in force: whatever any process sends
//!   after that is delivered.
//! - The [`Outcome`] of a message counts the connections whose send buffer took it. Whether the peer has read it, only
//!   an answer of the peer's can tell. Messages for a uid that is not online are not kept.
//! - Nothing blocks. Outcomes and the answers to questions ([`Hive::is_uid_online`], [`Hive::room_members`]..) come
//!   later, on the loop, always and once.
//! - A hive of several processes has one more, the router, which the master watches like the others. If it dies, the
//!   next one learns from the workers who is where within milliseconds; messages that were on their way have an unknown
//!   outcome, and none is delivered twice.
//! - Uids and rooms are bytes, 1 to 255 of any value. A connection has one uid and up to 128 rooms, unless its listener
//!   says otherwise.
//!
//! Programs that run beside the hive push through its socket: `workhive push send` from a shell, and
//! `workhive_ipc::route::Client` from Rust.
//!
//! [`Process::subscribe`] and [`Hive::publish`] carry messages between processes rather than to connections: for caches,
//! settings, counters.
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
//! They can also stand in the file of `--config`, in its table `[options]`; those on the command line win.
//!
//! # Time, and work that blocks
//!
//! [`Process::after`] and [`Process::every`] start timers. [`Conn::blocking`] runs a blocking call on a thread and
//! comes back to the connection with its result; [`Process::blocking`] does it for the process. A [`Mailbox`] lets any
//! thread post work to the loop. Callbacks of connections reach the process by [`Conn::process`].
//!
//! ```no_run
//! use workhive::{Http, Response, Worker};
//!
//! fn main() -> workhive::Exit {
//!     Worker::<Http>::new("127.0.0.1:8080")
//!         .on_message(|conn, _request| {
//!             conn.blocking(
//!                 || std::fs::read_to_string("motd.txt"),
//!                 // The outer `?` is for work that panicked, the inner for what it returned: both are a 500.
//!                 |conn, text| conn.send(Response::text(text??)),
//!             )
//!         })
//!         .run()
//! }
//! ```
//!
//! # Logging
//!
//! The log is written through the facade of the crate `log`, which is also here as [`workhive::log`](log): what a
//! program logs goes to the same place in the same form, with time, level, group, slot and process id.
//!
//! ```no_run
//! use workhive::{Text, Worker, log};
//!
//! fn main() -> workhive::Exit {
//!     Worker::<Text>::new("127.0.0.1:5678")
//!         .on_connect(|conn| {
//!             log::info!("{} is here", conn.remote_addr());
//!             Ok(())
//!         })
//!         .run()
//! }
//! ```
//!
//! ```text
//! 2026-01-02T03:04:05.678Z INFO text[0] 1234 127.0.0.1:40312 is here
//! ```
//!
//! With `--log-format json` each line is an object with `time`, `level`, `place`, `pid`, `target` and `message`.
//!
//! It goes to standard error, or to the file of `--log-file`; a daemon without one logs beside its pid file. What is
//! printed with `println!` goes to standard output as it is; with `-d` standard output and standard error lead to the
//! log file too. A logger that the program installs before it runs the hive is left in its place.
//!
//! | level (`--log-level`, `info` unless given) | what |
//! |---|---|
//! | error | panics; processes that crash or cannot start; a system that refuses |
//! | warn | callbacks, timers, outcomes and letters that returned an `Err`; what the hive puts up with |
//! | info | start, reload, stop, and processes that come and go |
//! | debug | peers that broke the protocol, were too slow, or went away: their fault, and there are many |
//!
//! A panic is logged with its place, and with its stack if `RUST_BACKTRACE` is set.
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
//! # Half-closed peers
//!
//! A peer may close its sending side and still read (`shutdown(2)`, `nc -N`). What waits for it is still sent, an HTTP
//! client still gets the answer that it is owed, if it comes within the [`send_timeout`](Worker::send_timeout), and so
//! does a connection whose own blocking work, started with [`Conn::blocking`], is outstanding. Otherwise the connection
//! ends at the end of the turn: an answer that comes later, from a timer or another connection, finds nobody.
//! [`Worker::half_open`] keeps such connections until the application ends them.
//!
//! # Reload, stop and crash
//!
//! On `reload` each slot gets a new process first; when it is ready, the old one drains: it takes nothing new, answers
//! what it has in hand, lets HTTP clients go after their next response, tells WebSocket clients 1012 (service restart)
//! spread over the drain time, and ends. If the new process cannot start, the old one stays and the reload is reported
//! failed. `stop -g` and SIGTERM drain in the same way; `stop` and Ctrl+C do not wait. A process that dies is replaced
//! at once, or after a growing pause if it had not been up for a second. If the master dies, its processes drain.
//!
//! # Copies, or the program anew
//!
//! A process is a copy of the master, made by fork(2): it is there within a millisecond and shares the memory of all that
//! was loaded before [`run_all`]. But only a program with one thread can do that, and a reload gives copies of the program
//! that was started. With [`Spawn::Exec`], or `--spawn exec`, each process is the program file executed anew, with the
//! same arguments: `main` runs in every process, up to `run_all`, which finds that this process has a place in a hive and
//! takes it. So a reload runs the file as it is then; one that is broken fails the reload, and the old processes stay.
//!
//! ```no_run
//! use workhive::{Group, Spawn, Text, Worker};
//!
//! fn main() -> workhive::Exit {
//!     // In every process, and with its rights: what only root may read is out of reach here if there is a `user`.
//!     let greeting = std::env::var("GREETING").unwrap_or_else(|_| "hello".to_owned());
//!     let group: Group = Worker::<Text>::new("127.0.0.1:5678")
//!         .on_message(move |conn, _line| conn.send(&*greeting))
//!         .into();
//!     workhive::run_all([group.spawn(Spawn::Exec)])
//! }
//! ```
//!
//! # Reload and state
//!
//! The state of a process is not handed to its replacement. While the old process drains, its connections stay there
//! with the old state, and new ones go to the new process with a new state. Messages reach both; only a hive of one
//! process, which has no router beside it, closes connections with a uid at once, so that they come back where messages
//! go. Where everybody must see one state, either keep that time short with [`Worker::drain`], so that clients come back
//! soon, or keep the process and let a reload only tell it:
//!
//! ```no_run
//! use workhive::{Text, Worker};
//!
//! fn main() -> workhive::Exit {
//!     Worker::<Text>::new("127.0.0.1:5678")
//!         .state(|_place| Ok(std::fs::read_to_string("greeting.txt")?))
//!         .reloadable(false)
//!         .on_worker_reload(|worker| {
//!             *worker.state_mut() = std::fs::read_to_string("greeting.txt")?;
//!             Ok(())
//!         })
//!         .on_connect(|conn| {
//!             let me = conn.handle();
//!             me.send(conn.state().trim())
//!         })
//!         .run()
//! }
//! ```
//!
//! A new version of the program needs `upgrade` then.

#![deny(unsafe_code)]

pub mod app;
mod ask;
mod attach;
mod backoff;
mod bound;
mod child;
mod cli;
mod clock;
mod config;
mod connections;
mod control;
mod count;
mod cpus;
mod credentials;
mod daemon;
mod dispositions;
mod end;
mod error;
mod exec;
mod exit;
mod foreign;
mod group;
mod handed;
pub mod host;
mod hosted;
mod identity;
mod kept;
mod lend;
mod life;
mod line;
mod link;
mod listeners;
mod listing;
mod local_socket;
mod logger;
mod manners;
mod master;
mod nested;
mod notify;
mod options;
mod own;
mod pages;
mod pidfile;
mod protocol;
mod recycle;
mod reload;
mod report;
mod resources;
mod router;
mod run;
mod scale;
mod seated;
mod settings;
mod shared;
mod signals;
mod slot;
mod spawn;
mod start;
mod steer;
mod stop;
mod succession;
#[expect(
    unsafe_code,
    reason = "the island for fork, process descriptors, signal dispositions"
)]
mod sys;
mod table;
mod takeover;
mod timers;
mod title;
mod view;
mod wake;
mod watch;
mod worker;

pub use log;

pub use cli::{Args, Cli, UsageError};
pub use exit::Exit;
pub use group::{Group, Spawn};
pub use run::run_all;
pub use worker::Worker;

pub use workhive_protocols::{
    Chunk, Frame, Handshake, Http, HttpConfig, Message, Method, Protocol, Raw, Reply, Request,
    Response, Text, Verdict, WebSocket, WebSocketConfig,
};
pub use workhive_worker::{
    Address, BlockingError, CloseReason, Conn, ConnectionError, ConnectionId, ConnectionIdError,
    Count, Error, Handle, Hive, Holder, ListenError, Listener, Mailbox, Member, Members, Names,
    Outcome, Peer, Place, Presence, Process, Program, Result, RouteError, SendError, Session,
    TimerId, Totals, Uid,
};

/// What a protocol of one's own is made of, see [`Protocol`], and types that are rarely named.
pub mod codec {
    pub use workhive_protocols::{
        Answer, Blame, Body, EncodeError, Event, Flow, FrameConfig, Goodbye, Headers, HttpDate,
        Lines, NoOpening, NotText, Protocol, ProtocolError, RawConfig, Step, TextConfig, Wire,
        http_date, reason,
    };
}
