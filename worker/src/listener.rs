//! What a listener is: where it listens, what it speaks, what it calls.

use std::fmt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use workhive_protocols::{Handshake, Protocol, Verdict, WebSocket};

use crate::conn::Conn;
use crate::driver::{Driver, Typed};
use crate::entry::{AnyEncoder, EncoderOf, Limits};
use crate::error::{ConnectionError, ListenError, Result};
use crate::{Address, Place};

type Plain<P, S, D> = Box<dyn Fn(&mut Conn<'_, P, S, D>) -> Result>;
type OnMessage<P, S, D> =
    Box<dyn Fn(&mut Conn<'_, P, S, D>, <P as Protocol>::Message<'_>) -> Result>;
type OnOpening<P, S, D> = Box<
    dyn Fn(
        &mut Conn<'_, P, S, D>,
        <P as Protocol>::Opening<'_>,
    ) -> Result<<P as Protocol>::Verdict>,
>;
type OnError<P, S, D> = Box<dyn Fn(&mut Conn<'_, P, S, D>, &ConnectionError) -> Result>;

pub(crate) struct Callbacks<P: Protocol, S, D> {
    pub(crate) connect: Option<Plain<P, S, D>>,
    pub(crate) opening: Option<OnOpening<P, S, D>>,
    pub(crate) opened: Option<Plain<P, S, D>>,
    pub(crate) message: Option<OnMessage<P, S, D>>,
    pub(crate) close: Option<Plain<P, S, D>>,
    pub(crate) error: Option<OnError<P, S, D>>,
    pub(crate) buffer_full: Option<Plain<P, S, D>>,
    pub(crate) buffer_drain: Option<Plain<P, S, D>>,
    pub(crate) goodbye: Option<Plain<P, S, D>>,
}

impl<P: Protocol, S, D> Callbacks<P, S, D> {
    fn new() -> Self {
        Self {
            connect: None,
            opening: None,
            opened: None,
            message: None,
            close: None,
            error: None,
            buffer_full: None,
            buffer_drain: None,
            goodbye: None,
        }
    }

    fn is_empty(&self) -> bool {
        self.connect.is_none()
            && self.opening.is_none()
            && self.opened.is_none()
            && self.message.is_none()
            && self.close.is_none()
            && self.error.is_none()
            && self.buffer_full.is_none()
            && self.buffer_drain.is_none()
            && self.goodbye.is_none()
    }
}

/// How a listening socket is shared between processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sharing {
    Plain,
    ReusePort,
    Shared,
}

/// A listener of protocol `P`, in a worker whose state is `S`, with data of type `D` on every connection.
///
/// It is used in two ways: as the group's own listener (inside `Worker`), and for further listeners that a running
/// process opens with [`Process::listen`](crate::Process::listen).
///
/// ```
/// # mod workhive { pub use workhive_protocols::*; pub use workhive_worker::*; }
/// use workhive::Listener;
/// use workhive::Text;
///
/// let echo: Listener<Text> = Listener::<Text>::new("127.0.0.1:5678")
///     .reuse_port(true)
///     .on_message(|conn, line| conn.send(line));
/// ```
///
/// Callbacks return a [`Result`]: `Err` (and a panic) ends that one connection with the protocol's
/// proper goodbye and is logged. Callbacks run one at a time on the process's only loop; what they need for longer
/// than one call stands in the worker's state ([`Conn::state_mut`]) or in the connection's data ([`Conn::data_mut`]).
pub struct Listener<P: Protocol, S = (), D = ()> {
    pub(crate) address: String,
    pub(crate) sharing: Sharing,
    pub(crate) backlog: u32,
    pub(crate) limits: Limits,
    pub(crate) config: P::Config,
    pub(crate) callbacks: Callbacks<P, S, D>,
    pub(crate) data: Box<dyn Fn() -> D>,
    pub(crate) misuse: Option<&'static str>,
}

/// Length of the accept queue unless `backlog` says otherwise, in connections. The kernel caps it at
/// `net.core.somaxconn`.
pub const DEFAULT_BACKLOG: u32 = 4096;

const MIB: usize = 1024 * 1024;

impl<P: Protocol> Listener<P> {
    /// A listener at `address`: `127.0.0.1:8080`, `[::]:8080`, `unix:/run/app.sock`; with or without the protocol's
    /// scheme in front (`http://127.0.0.1:8080`). Port 0 lets the system choose.
    ///
    /// The address is checked when the listener is opened.
    pub fn new<S>(address: impl Into<String>) -> Listener<P, S> {
        Listener {
            address: address.into(),
            sharing: Sharing::Plain,
            backlog: DEFAULT_BACKLOG,
            limits: Limits {
                protocol: P::NAME,
                spread: P::SPREAD,
                max_send_buffer: MIB,
                high_water: MIB / 4,
                max_input: 0, // known when the configuration is
                idle_timeout: None,
                message_timeout: Duration::from_mins(1),
                half_open: false,
                linger: Duration::from_secs(1),
                send_timeout: Duration::from_mins(1),
                flush_timeout: Duration::from_secs(10),
                routed: P::ROUTED,
                max_uids: 1,
                max_rooms: 128,
            },
            config: P::Config::default(),
            callbacks: Callbacks::new(),
            data: Box::new(|| ()),
            misuse: None,
        }
    }
}

impl<P: Protocol, S: 'static, D: 'static> Listener<P, S, D> {
    /// With `true`, several processes may each open this listener, each with a socket of its own; the kernel spreads
    /// new connections over them by a hash of their addresses (`SO_REUSEPORT`, socket(7)). The master keeps a
    /// duplicate, so that nothing queued is lost when a process is replaced.
    pub fn reuse_port(mut self, yes: bool) -> Self {
        self.set_sharing(Sharing::ReusePort, yes);
        self
    }

    /// With `true`, all processes that open this listener accept from one socket, which the master binds for the
    /// first of them. Cannot be combined with `reuse_port`.
    pub fn shared(mut self, yes: bool) -> Self {
        self.set_sharing(Sharing::Shared, yes);
        self
    }

    fn set_sharing(&mut self, sharing: Sharing, yes: bool) {
        if !yes {
            if self.sharing == sharing {
                self.sharing = Sharing::Plain;
            }
        } else if self.sharing != Sharing::Plain && self.sharing != sharing {
            self.misuse = Some("reuse_port(true) and shared(true) exclude each other: choose one");
        } else {
            self.sharing = sharing;
        }
    }

    /// Length of the accept queue in connections; 4096 unless set.
    pub fn backlog(mut self, connections: u32) -> Self {
        self.backlog = connections;
        self
    }

    /// What the protocol is called in addresses, tables and logs; its own name unless set. For a protocol that stands for
    /// several, such as those that programs of other languages define.
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; pub use workhive_worker::*; }
    /// # use workhive::Listener;
    /// # use workhive::Raw;
    /// let listener: Listener<Raw> = Listener::<Raw>::new("redis://127.0.0.1:6379").called("redis");
    /// assert!(listener.parse_address().is_ok());
    /// ```
    pub fn called(mut self, protocol: &'static str) -> Self {
        self.limits.protocol = protocol;
        self
    }

    /// Changes the protocol's limits and options.
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; pub use workhive_worker::*; }
    /// # use workhive::Listener;
    /// # use workhive::Http;
    /// let listener: Listener<Http> =
    ///     Listener::<Http>::new("127.0.0.1:0").configure(|http| http.max_message = 1024);
    /// ```
    pub fn configure(mut self, change: impl FnOnce(&mut P::Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// How many bytes may wait to be sent on one connection; 1 MiB unless set. A send that does not fit is refused
    /// whole, unless nothing waits at all. From a quarter of this on, the peer's own messages are left unread until
    /// it has read ours.
    pub fn max_send_buffer(mut self, bytes: usize) -> Self {
        self.limits.max_send_buffer = bytes;
        self.limits.high_water = bytes / 4;
        self
    }

    /// Whether [`send_to_all`](crate::Hive::send_to_all) and [`send_to_connection`](crate::Hive::send_to_connection) reach
    /// the connections of this listener; true unless set, false for HTTP. Where it is false they are reached once they
    /// have a uid, a room or session data. Say false for a port that serves programs rather than clients.
    pub fn routed(mut self, yes: bool) -> Self {
        self.limits.routed = yes;
        self
    }

    /// How many uids a connection may have; one unless set. Up to 65,535.
    pub fn max_uids(mut self, uids: u16) -> Self {
        self.limits.max_uids = usize::from(uids);
        self
    }

    /// In how many rooms a connection may be; 128 unless set. Up to 65,535.
    pub fn max_rooms(mut self, rooms: u16) -> Self {
        self.limits.max_rooms = rooms;
        self
    }

    /// Ends connections from which no message, and no part of one, was received for this long; never, unless set.
    /// WebSocket's pings and pongs do not count: a client that only keeps its connection alive is idle. HTTP's and
    /// WebSocket's own timeouts are set by [`configure`](Self::configure).
    pub fn idle_timeout(mut self, after: Duration) -> Self {
        self.limits.idle_timeout = Some(after);
        self
    }

    /// Drops connections whose peer takes none of what waits for it for this long; 60 s unless set.
    pub fn send_timeout(mut self, after: Duration) -> Self {
        self.limits.send_timeout = after;
        self
    }

    /// Ends connections that leave a message unfinished without sending another byte for this long; a minute unless
    /// set. For [`Text`](workhive_protocols::Text), [`Frame`](workhive_protocols::Frame) and protocols of one's own;
    /// HTTP and WebSocket have timeouts of their own.
    pub fn message_timeout(mut self, after: Duration) -> Self {
        self.limits.message_timeout = after;
        self
    }

    /// With `true`, a connection stays when the peer has closed its sending side, until this side ends it. Otherwise it
    /// ends as soon as what waits for the peer has been sent, and what it is owed has been answered: an HTTP response, a
    /// result of [`Conn::blocking`].
    pub fn half_open(mut self, yes: bool) -> Self {
        self.limits.half_open = yes;
        self
    }

    /// How long a connection that this side has half-closed waits for the peer's end; 1 s unless set.
    pub fn linger(mut self, time: Duration) -> Self {
        self.limits.linger = time;
        self
    }

    /// Gives every connection data of its own, made by `make` when it is accepted. To be called before the callbacks
    /// are set, since it changes their type.
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; pub use workhive_worker::*; }
    /// # use workhive::Listener;
    /// # use workhive::Text;
    /// let counting: Listener<Text, (), u32> = Listener::<Text>::new("127.0.0.1:0")
    ///     .data(|| 0u32)
    ///     .on_message(|conn, _line| {
    ///         *conn.data_mut() += 1;
    ///         conn.send(format!("line {}", conn.data()))
    ///     });
    /// ```
    pub fn data<E: 'static>(self, make: impl Fn() -> E + 'static) -> Listener<P, S, E> {
        let misuse = if self.callbacks.is_empty() {
            self.misuse
        } else {
            Some("data(..) must be called before the callbacks are set: it changes their type")
        };
        Listener {
            address: self.address,
            sharing: self.sharing,
            backlog: self.backlog,
            limits: self.limits,
            config: self.config,
            callbacks: Callbacks::new(),
            data: Box::new(make),
            misuse,
        }
    }

    /// The same listener in a worker whose state is `T`; an error later if callbacks are set already.
    pub fn with_state<T: 'static>(self) -> Listener<P, T, D> {
        let misuse = if self.callbacks.is_empty() {
            self.misuse
        } else {
            Some("state(..) must be called before the callbacks are set: it changes their type")
        };
        Listener {
            address: self.address,
            sharing: self.sharing,
            backlog: self.backlog,
            limits: self.limits,
            config: self.config,
            callbacks: Callbacks::new(),
            data: self.data,
            misuse,
        }
    }

    /// Called when a connection has been accepted, before anything was received. On a WebSocket nothing can be sent
    /// yet: see [`on_websocket_connected`](Listener::on_websocket_connected).
    pub fn on_connect(
        mut self,
        callback: impl Fn(&mut Conn<'_, P, S, D>) -> Result + 'static,
    ) -> Self {
        self.callbacks.connect = Some(Box::new(callback));
        self
    }

    /// Called for every message, in the order in which they came.
    pub fn on_message(
        mut self,
        callback: impl Fn(&mut Conn<'_, P, S, D>, P::Message<'_>) -> Result + 'static,
    ) -> Self {
        self.callbacks.message = Some(Box::new(callback));
        self
    }

    /// Called exactly once for every connection that was accepted, when it has ended for whatever
    /// [reason](Conn::close_reason). Nothing can be sent any more.
    pub fn on_close(
        mut self,
        callback: impl Fn(&mut Conn<'_, P, S, D>) -> Result + 'static,
    ) -> Self {
        self.callbacks.close = Some(Box::new(callback));
        self
    }

    /// Called when a connection cannot go on: the peer broke the protocol or was too slow, the system reported an
    /// error, or a callback failed. `on_close` follows.
    pub fn on_error(
        mut self,
        callback: impl Fn(&mut Conn<'_, P, S, D>, &ConnectionError) -> Result + 'static,
    ) -> Self {
        self.callbacks.error = Some(Box::new(callback));
        self
    }

    /// Called when a send was refused because too much waits already; once, until the buffer was empty again.
    pub fn on_buffer_full(
        mut self,
        callback: impl Fn(&mut Conn<'_, P, S, D>) -> Result + 'static,
    ) -> Self {
        self.callbacks.buffer_full = Some(Box::new(callback));
        self
    }

    /// Called when the buffer has become empty after a refused send: now it takes messages again.
    pub fn on_buffer_drain(
        mut self,
        callback: impl Fn(&mut Conn<'_, P, S, D>) -> Result + 'static,
    ) -> Self {
        self.callbacks.buffer_drain = Some(Box::new(callback));
        self
    }

    /// Called when this process is about to say goodbye to a connection because it goes away, after a reload above all:
    /// the place to tell the client, in the application's words, when and where to come back. What is sent here leaves
    /// before the protocol's own goodbye (WebSocket: close frame 1012), which follows whether this succeeds or not.
    ///
    /// Called at most once for a connection; not if it ends before its time has come, nor for a WebSocket whose
    /// handshake was not answered yet. A client that speaks HTTP can be told nothing that it has not asked for: it is
    /// called for one whose request is still unanswered, or whose response is under way, when the drain is nearly over.
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; pub use workhive_worker::*; }
    /// # use workhive::Listener;
    /// # use workhive::WebSocket;
    /// let listener: Listener<WebSocket> = Listener::<WebSocket>::new("127.0.0.1:0")
    ///     .on_goodbye(|conn| conn.send(r#"{"type":"reconnect","after":3}"#));
    /// ```
    pub fn on_goodbye(
        mut self,
        callback: impl Fn(&mut Conn<'_, P, S, D>) -> Result + 'static,
    ) -> Self {
        self.callbacks.goodbye = Some(Box::new(callback));
        self
    }

    /// The address, with its scheme checked against the protocol.
    pub fn parse_address(&self) -> Result<Address, ListenError> {
        if let Some(rule) = self.misuse {
            return Err(ListenError::Misuse { rule });
        }
        let (scheme, address) = Address::parse(&self.address)?;
        match scheme {
            Some(found) if found != self.limits.protocol => Err(ListenError::Scheme {
                found: found.to_owned(),
                expected: self.limits.protocol,
            }),
            _ => Ok(address),
        }
    }

    /// A setting that was misused, to be reported before any process is started.
    pub fn misuse(&self) -> Option<&'static str> {
        self.misuse
    }

    /// The protocol's name: see [`called`](Self::called).
    pub(crate) fn protocol(&self) -> &'static str {
        self.limits.protocol
    }

    /// Whether `reuse_port(true)` was said.
    pub fn is_reuse_port(&self) -> bool {
        self.sharing == Sharing::ReusePort
    }

    /// The length of the accept queue, in connections.
    pub fn backlog_len(&self) -> u32 {
        self.backlog
    }

    pub(crate) fn into_plan(mut self) -> Rc<Plan<P, S, D>> {
        // What was read but may not be decoded yet, while reading rests, comes on top.
        self.limits.max_input =
            P::max_unfinished(&self.config).saturating_add(2 * crate::turn::SCRATCH);
        Rc::new(Plan {
            config: Rc::new(self.config),
            limits: Rc::new(self.limits),
            callbacks: self.callbacks,
            data: self.data,
        })
    }
}

impl<S: 'static, D: 'static> Listener<WebSocket, S, D> {
    /// Called with the request of a WebSocket handshake, before it is answered (RFC 6455 section 4.2): the place to
    /// look at path, cookies, `Origin`, and to refuse with [`Verdict::refuse`]. Without it every handshake that obeys
    /// the RFC is accepted.
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; pub use workhive_worker::*; }
    /// # use workhive::Listener;
    /// # use workhive::{Verdict, WebSocket};
    /// let listener: Listener<WebSocket> = Listener::<WebSocket>::new("127.0.0.1:0")
    ///     .on_websocket_connect(|_conn, request| {
    ///         Ok(if request.path() == "/chat" { Verdict::accept() } else { Verdict::refuse(404) })
    ///     });
    /// ```
    pub fn on_websocket_connect(
        mut self,
        callback: impl Fn(&mut Conn<'_, WebSocket, S, D>, Handshake<'_>) -> Result<Verdict> + 'static,
    ) -> Self {
        self.callbacks.opening = Some(Box::new(callback));
        self
    }

    /// Called when the handshake has been answered: from now on messages can be sent.
    pub fn on_websocket_connected(
        mut self,
        callback: impl Fn(&mut Conn<'_, WebSocket, S, D>) -> Result + 'static,
    ) -> Self {
        self.callbacks.opened = Some(Box::new(callback));
        self
    }
}

impl<P: Protocol, S, D> fmt::Debug for Listener<P, S, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener")
            .field("protocol", &P::NAME)
            .field("address", &self.address)
            .field("sharing", &self.sharing)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// A listener that is open: what its connections have in common.
pub(crate) struct Plan<P: Protocol, S, D> {
    pub(crate) config: Rc<P::Config>,
    pub(crate) limits: Rc<Limits>,
    pub(crate) callbacks: Callbacks<P, S, D>,
    pub(crate) data: Box<dyn Fn() -> D>,
}

/// A [`Plan`] without its types.
pub(crate) trait AnyPlan {
    fn limits(&self) -> Rc<Limits>;
    fn connect(self: Rc<Self>, now: Instant) -> (Box<dyn Driver>, Box<dyn AnyEncoder>);
}

impl<P: Protocol, S: 'static, D: 'static> AnyPlan for Plan<P, S, D> {
    fn limits(&self) -> Rc<Limits> {
        Rc::clone(&self.limits)
    }

    fn connect(self: Rc<Self>, now: Instant) -> (Box<dyn Driver>, Box<dyn AnyEncoder>) {
        let (decoder, encoder) = P::open(&self.config, now);
        let data = (self.data)();
        (
            Box::new(Typed::new(decoder, data, self)),
            Box::new(EncoderOf::<P>(encoder)),
        )
    }
}

/// What a group's process makes once, at its start; the argument is its place in the hive.
pub(crate) type MakeState<S> = Box<dyn Fn(&Place) -> Result<S>>;
