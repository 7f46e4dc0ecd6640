//! One connection, as the loop sees it: a socket, buffers, a phase. No types of the protocol.

use std::any::{Any, TypeId};
use std::fmt;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use nix::sys::socket::{MsgFlags, recv};
use workhive_protocols::{EncodeError, Goodbye, Message, Protocol, Wire};

use crate::driver::Driver;
use crate::error::ConnectionError;
use crate::route::Past;
use crate::wheel::{Armed, NEVER};

/// Which connection: its row in the table, and a sequence number that never comes back. A key of a connection that
/// has ended matches no later one in the same row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) index: u32,
    pub(crate) seq: u64,
}

/// Where a connection stands on its way out. It only ever moves downwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Messages go both ways.
    Open,
    /// We have said goodbye and wait for the peer's; its messages no longer count.
    Goodbye,
    /// What is in the buffer is sent, then we half-close.
    Ending,
    /// We have half-closed and read away what the peer still sends, so that no RST destroys our last bytes.
    Lingering,
    /// The socket is gone; `on_close` is owed.
    Closed,
}

/// The other side of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Peer {
    /// A TCP peer.
    Tcp(SocketAddr),
    /// A peer on a Unix socket; clients rarely bind theirs to a path.
    Unix(Option<PathBuf>),
}

impl Peer {
    /// The IP address and port; None for Unix sockets.
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(Some(path)) => write!(f, "unix:{}", path.display()),
            Self::Unix(None) => f.write_str("unix:"),
        }
    }
}

/// Why a connection ended; see [`Conn::close_reason`](crate::Conn::close_reason).
#[derive(Debug)]
#[non_exhaustive]
pub enum CloseReason {
    /// The peer closed it, in the protocol's words or by the end of its stream.
    Peer,
    /// This side closed it by `close` or `end`.
    Local,
    /// This side dropped it by `destroy`.
    Destroyed,
    /// The protocol ended it in good order: the response said `Connection: close`, or a keep-alive time was over.
    Protocol,
    /// Something went wrong.
    Error(ConnectionError),
    /// The process drained or stopped.
    Drained,
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer => f.write_str("closed by the peer"),
            Self::Local => f.write_str("closed by the application"),
            Self::Destroyed => f.write_str("dropped by the application"),
            Self::Protocol => f.write_str("ended by the protocol"),
            Self::Error(error) => error.fmt(f),
            Self::Drained => f.write_str("the process is going away"),
        }
    }
}

/// What all connections of a listener have in common.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    pub(crate) protocol: &'static str,
    pub(crate) spread: bool,
    /// A send that would leave more than this waiting is refused.
    pub(crate) max_send_buffer: usize,
    /// With more than this waiting, the peer's own messages are left in the socket.
    pub(crate) high_water: usize,
    /// Unfinished bytes that a codec may leave with the loop.
    pub(crate) max_input: usize,
    /// Nothing but pings and pongs for this long ends the connection.
    pub(crate) idle_timeout: Option<Duration>,
    /// How long a message may stay unfinished without another byte.
    pub(crate) message_timeout: Duration,
    /// The connection stays when the peer has closed its sending side.
    pub(crate) half_open: bool,
    /// How long a connection lingers after the half-close.
    pub(crate) linger: Duration,
    /// How long the peer may take none of what waits for it.
    pub(crate) send_timeout: Duration,
    /// How long the last bytes may take to leave.
    pub(crate) flush_timeout: Duration,
    /// A push to all reaches the connection from the beginning.
    pub(crate) routed: bool,
    /// Uids that it may have.
    pub(crate) max_uids: usize,
    /// Rooms in which it may be.
    pub(crate) max_rooms: u16,
}

/// Bits of [`Entry::flags`].
pub(crate) mod flag {
    /// In the list of connections to be flushed at the end of the turn.
    pub(crate) const DIRTY: u16 = 1;
    /// In the list of connections to be run again next turn.
    pub(crate) const AGAIN: u16 = 1 << 1;
    /// The application has paused reading.
    pub(crate) const PAUSED: u16 = 1 << 2;
    /// Reading rests until the send buffer is empty: the peer does not read what we send.
    pub(crate) const HELD: u16 = 1 << 3;
    /// The codec waits for the application's answer.
    pub(crate) const WAIT: u16 = 1 << 4;
    /// The socket may have bytes that we have not read (edge-triggered: nobody will tell us again).
    pub(crate) const READABLE: u16 = 1 << 5;
    /// The peer has half-closed or reset: read on until the end, even after a short read.
    pub(crate) const HUP: u16 = 1 << 6;
    /// We have read the end of the peer's stream.
    pub(crate) const EOF: u16 = 1 << 7;
    /// The kernel took less than we had; it will tell us when it takes more.
    pub(crate) const BLOCKED: u16 = 1 << 8;
    /// A send was refused since the buffer was last empty.
    pub(crate) const FULL: u16 = 1 << 9;
    /// Close without lingering once the buffer is empty: both sides have said goodbye.
    pub(crate) const CLOSE: u16 = 1 << 10;
    /// `on_buffer_drain` is owed: the application may send more from it.
    pub(crate) const NOTICED: u16 = 1 << 11;
    /// The process drains: a time is set for this connection's goodbye.
    pub(crate) const DRAINING: u16 = 1 << 12;
}

pub(crate) struct Entry {
    pub(crate) seq: u64,
    /// None once the phase is `Closed`.
    pub(crate) socket: Option<OwnedFd>,
    pub(crate) phase: Phase,
    pub(crate) flags: u16,
    /// None while one of its callbacks runs.
    pub(crate) driver: Option<Box<dyn Driver>>,
    pub(crate) encoder: Box<dyn AnyEncoder>,
    /// Invariant: `sent <= out.len()`; both are 0 once everything has been sent.
    pub(crate) out: Vec<u8>,
    pub(crate) sent: usize,
    /// Bytes that the codec has not consumed yet. Owned only while there are any.
    pub(crate) input: Vec<u8>,
    /// Milliseconds of the loop's clock.
    pub(crate) deadline: u64,
    pub(crate) armed: Armed,
    pub(crate) last_read: u64,
    pub(crate) last_write: u64,
    /// When the peer last said something that counts, pings and pongs not included.
    pub(crate) last_active: u64,
    /// Pieces of blocking work of this connection whose results are still to come.
    pub(crate) work: u32,
    pub(crate) drain_at: u64,
    pub(crate) bytes_read: u64,
    pub(crate) bytes_written: u64,
    pub(crate) messages: u64,
    pub(crate) limits: Rc<Limits>,
    pub(crate) peer: Peer,
    /// What it was in the hive, once it has begun to end, if it was anything.
    pub(crate) past: Option<Box<Past>>,
    pub(crate) pipe: Option<Key>,
    pub(crate) reason: Option<Box<CloseReason>>,
}

impl Entry {
    pub(crate) fn new(
        seq: u64,
        socket: OwnedFd,
        peer: Peer,
        limits: Rc<Limits>,
        driver: Box<dyn Driver>,
        encoder: Box<dyn AnyEncoder>,
        now: u64,
    ) -> Self {
        Self {
            seq,
            socket: Some(socket),
            phase: Phase::Open,
            flags: 0,
            driver: Some(driver),
            encoder,
            out: Vec::new(),
            sent: 0,
            input: Vec::new(),
            deadline: NEVER,
            armed: NEVER,
            last_read: now,
            last_write: now,
            last_active: now,
            work: 0,
            drain_at: NEVER,
            bytes_read: 0,
            bytes_written: 0,
            messages: 0,
            limits,
            peer,
            past: None,
            pipe: None,
            reason: None,
        }
    }

    pub(crate) fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    pub(crate) fn set(&mut self, flag: u16) {
        self.flags |= flag;
    }

    pub(crate) fn clear(&mut self, flag: u16) {
        self.flags &= !flag;
    }

    /// Bytes that wait to be sent.
    pub(crate) fn queued(&self) -> usize {
        self.out.len() - self.sent
    }

    /// True while the peer's silence, or what looks like it, is our own doing: we do not read, or have not yet read
    /// what may have come, or it is busy taking what we send.
    pub(crate) fn is_excused(&self) -> bool {
        self.flags & (flag::PAUSED | flag::HELD | flag::BLOCKED | flag::AGAIN) != 0
    }

    /// True if somebody on this side still has something for the peer.
    pub(crate) fn has_more(&self) -> bool {
        self.queued() > 0
            || self.has(flag::NOTICED)
            || self.work > 0
            || self.limits.half_open
            || self.encoder.owes_answer()
    }

    /// True if something has come from the peer that was not read: this process may have had no CPU since.
    pub(crate) fn has_unread(&self) -> bool {
        let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        self.socket
            .as_ref()
            .is_some_and(|socket| matches!(recv(socket.as_raw_fd(), &mut [0], flags), Ok(1..)))
    }

    /// When the peer will have taken nothing for too long, in milliseconds; [`NEVER`] while it does, or need not.
    pub(crate) fn send_deadline(&self) -> u64 {
        let since = if self.has(flag::BLOCKED) {
            self.last_write
        } else if self.has(flag::EOF) && !self.limits.half_open && self.work == 0 {
            // It has said all it will say, and an answer is owed that may never come.
            self.last_write.max(self.last_read)
        } else {
            return NEVER;
        };
        since.saturating_add(millis(self.limits.send_timeout))
    }

    /// When the peer will have said nothing for too long, in milliseconds, and how long that is.
    pub(crate) fn silence_deadline(&self) -> (u64, Duration) {
        let idle = self
            .limits
            .idle_timeout
            .map_or((NEVER, Duration::ZERO), |idle| {
                (self.last_active.saturating_add(millis(idle)), idle)
            });
        if self.input.is_empty() {
            return idle;
        }
        let unfinished = self.limits.message_timeout;
        idle.min((
            self.last_read.saturating_add(millis(unfinished)),
            unfinished,
        ))
    }

    /// True if the peer's bytes may be decoded now.
    pub(crate) fn may_decode(&self) -> bool {
        self.phase <= Phase::Goodbye && self.flags & (flag::PAUSED | flag::HELD | flag::WAIT) == 0
    }
}

/// A pushed payload as it is on the wire of each protocol, encoded when the first connection of the protocol gets it.
#[derive(Default)]
pub(crate) struct SharedPush {
    /// Few: a process has as many as it has kinds of listeners.
    encoded: Vec<(TypeId, Encoded)>,
}

enum Encoded {
    /// The same for all.
    Once(Vec<u8>),
    /// The protocol refuses it.
    Never(EncodeError),
    /// Each connection's encoder has to make its own.
    Each,
}

impl SharedPush {
    fn of<P: Protocol>(&mut self, payload: &Message<'_>) -> &Encoded {
        let protocol = TypeId::of::<P>();
        let found = self.encoded.iter().position(|(of, _)| *of == protocol);
        let index = found.unwrap_or_else(|| {
            let mut frame = Vec::with_capacity(payload.len() + 16);
            let encoded = match P::shared_push(payload, &mut frame) {
                Some(Ok(())) => Encoded::Once(frame),
                Some(Err(error)) => Encoded::Never(error),
                None => Encoded::Each,
            };
            self.encoded.push((protocol, encoded));
            self.encoded.len() - 1
        });
        &self.encoded[index].1
    }
}

/// The encoder of any protocol, for those who send without knowing the protocol.
pub(crate) trait AnyEncoder {
    fn as_any(&mut self) -> &mut dyn Any;
    fn push(&mut self, payload: Message<'_>, wire: &mut Wire<'_>) -> Result<(), EncodeError>;
    fn push_shared(
        &mut self,
        payload: &Message<'_>,
        shared: &mut SharedPush,
        wire: &mut Wire<'_>,
    ) -> Result<(), EncodeError>;
    fn goodbye(&mut self, goodbye: &Goodbye, wire: &mut Wire<'_>);
    fn awaits_goodbye(&self) -> bool;
    fn drain(&mut self);
    fn owes_answer(&self) -> bool;
}

pub(crate) struct EncoderOf<P: Protocol>(pub(crate) P::Encoder);

impl<P: Protocol> AnyEncoder for EncoderOf<P> {
    fn as_any(&mut self) -> &mut dyn Any {
        self
    }

    fn push(&mut self, payload: Message<'_>, wire: &mut Wire<'_>) -> Result<(), EncodeError> {
        P::push(&mut self.0, payload, wire)
    }

    fn push_shared(
        &mut self,
        payload: &Message<'_>,
        shared: &mut SharedPush,
        wire: &mut Wire<'_>,
    ) -> Result<(), EncodeError> {
        match shared.of::<P>(payload) {
            Encoded::Each => P::push(&mut self.0, payload.reborrow(), wire),
            Encoded::Once(frame) => {
                P::takes_push(&self.0)?;
                wire.out.extend_from_slice(frame);
                Ok(())
            }
            Encoded::Never(error) => Err(*error),
        }
    }

    fn goodbye(&mut self, goodbye: &Goodbye, wire: &mut Wire<'_>) {
        P::goodbye(&mut self.0, goodbye, wire);
    }

    fn awaits_goodbye(&self) -> bool {
        P::awaits_goodbye(&self.0)
    }

    fn drain(&mut self) {
        P::drain(&mut self.0);
    }

    fn owes_answer(&self) -> bool {
        P::owes_answer(&self.0)
    }
}

/// The encoder as what it is. None cannot happen for a key that belongs to a connection of protocol `P`.
pub(crate) fn encoder_of<P: Protocol>(encoder: &mut dyn AnyEncoder) -> Option<&mut P::Encoder> {
    encoder
        .as_any()
        .downcast_mut::<EncoderOf<P>>()
        .map(|encoder| &mut encoder.0)
}

/// A time in the unit of the loop's clock.
fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(NEVER)
}

/// The earlier of two deadlines, the first of which is in milliseconds already.
pub(crate) fn earlier(millis: u64, other: Option<Instant>, clock: &crate::clock::Clock) -> u64 {
    match other {
        Some(at) => millis.min(clock.millis(at)),
        None => millis,
    }
}
