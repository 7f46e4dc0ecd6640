//! The state of this thread's loop, and everything that can be done to a connection from outside its callbacks.
//!
//! The core lives in a thread-local cell. It is borrowed for the length of one operation and never while user code
//! runs: callbacks, and destructors of what users gave us, are always called with the core free. That is why a
//! [`Handle`](crate::Handle) can be a small copyable id that works from anywhere on the loop's thread.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::time::Instant;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, send, shutdown};
use slab::Slab;
use workhive_ipc::{Counters, Row};
use workhive_protocols::{EncodeError, Flow, Goodbye, Message, Wire};

use crate::clock::Clock;
use crate::drain::Drain;
use crate::entry::{AnyEncoder, CloseReason, Entry, Key, Phase, SharedPush, flag};
use crate::error::{ConnectionError, SendError};
use crate::link::Link;
use crate::listening::Listening;
use crate::pool::{Mail, Pool};
use crate::process::ErasedTask;
use crate::route::Routing;
use crate::seat::Place;
use crate::timer::{TimerId, Timers};
use crate::wheel::Wheel;

thread_local! {
    static CORE: RefCell<Option<Core>> = const { RefCell::new(None) };
}

/// Does something with this thread's core. None if this thread runs no loop, or is inside another operation (a codec
/// that sends).
pub(crate) fn with<R>(what: impl FnOnce(&mut Core) -> R) -> Option<R> {
    CORE.with(|cell| {
        let mut core = cell.try_borrow_mut().ok()?;
        core.as_mut().map(what)
    })
}

/// Makes `core` this thread's; the one before, if any, is returned.
pub(crate) fn install(core: Option<Core>) -> Option<Core> {
    CORE.with(|cell| match cell.try_borrow_mut() {
        Ok(mut place) => std::mem::replace(&mut *place, core),
        Err(_) => core,
    })
}

/// The entry of a key that still names one. Beside `Core::entry`, for code that needs other fields of the core too.
pub(crate) fn find(entries: &mut Slab<Entry>, key: Key) -> Option<&mut Entry> {
    entries
        .get_mut(key.index as usize)
        .filter(|entry| entry.seq == key.seq)
}

/// Something that a callback is owed, to be called once the core is free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notice {
    /// A send was refused.
    BufferFull,
    /// The buffer is empty again after that.
    BufferDrain,
}

pub(crate) struct Core {
    pub(crate) clock: Clock,
    pub(crate) registry: Registry,
    pub(crate) place: Rc<Place>,
    pub(crate) row: Row,
    pub(crate) counters: Counters,
    pub(crate) entries: Slab<Entry>,
    next_seq: u64,
    /// Connections with output or a new deadline: visited at the end of the turn. Each is in here once.
    pub(crate) dirty: Vec<Key>,
    /// Connections that have more to do without waiting for the kernel: run in the next turn.
    pub(crate) again: Vec<Key>,
    /// Connections that have ended and whose `on_close` is owed.
    pub(crate) closed: VecDeque<Key>,
    pub(crate) notices: VecDeque<(Key, Notice)>,
    /// Send buffers of connections that have nothing to send.
    spare: Vec<Vec<u8>>,
    pub(crate) wheel: Wheel<Key>,
    pub(crate) timers: Timers<ErasedTask>,
    /// The timer whose callback runs.
    pub(crate) running: Option<TimerId>,
    pub(crate) listening: Listening,
    /// Who is piped into whom: target to sources.
    pub(crate) feeders: HashMap<Key, Vec<Key>>,
    pub(crate) routing: Routing,
    pub(crate) pool: Pool,
    pub(crate) mail: Mail,
    pub(crate) link: Link,
    pub(crate) drain: Option<Drain>,
}

/// Send buffers kept for reuse: how many, and how large each may be.
const SPARE_BUFFERS: usize = 256;
const SPARE_CAPACITY: usize = 64 * 1024;

impl Core {
    #[expect(
        clippy::too_many_arguments,
        reason = "one caller, which makes them all"
    )]
    pub(crate) fn new(
        registry: Registry,
        place: Rc<Place>,
        row: Row,
        link: Link,
        pool: Pool,
        mail: Mail,
        clock: Clock,
        routing: Routing,
    ) -> Self {
        Self {
            clock,
            registry,
            place,
            row,
            counters: Counters::default(),
            entries: Slab::new(),
            next_seq: 1,
            dirty: Vec::new(),
            again: Vec::new(),
            closed: VecDeque::new(),
            notices: VecDeque::new(),
            spare: Vec::new(),
            wheel: Wheel::new(),
            timers: Timers::new(),
            running: None,
            listening: Listening::new(),
            feeders: HashMap::new(),
            routing,
            pool,
            mail,
            link,
            drain: None,
        }
    }

    pub(crate) fn entry(&mut self, key: Key) -> Option<&mut Entry> {
        find(&mut self.entries, key)
    }

    /// The key of the connection that an event's token names, if it still exists.
    pub(crate) fn key_of(&self, token: Token) -> Option<Key> {
        let index = token.0 & 0xffff_ffff;
        let entry = self.entries.get(index)?;
        (seq_bits(entry.seq) == token.0 >> 32).then_some(Key {
            index: u32::try_from(index).ok()?,
            seq: entry.seq,
        })
    }

    /// Enters an accepted connection into the table and watches its socket. Edge-triggered for both directions, so
    /// that one `epoll_ctl` serves for the connection's whole life.
    /// A connection that cannot be watched is handed back, to be dropped with the core free.
    pub(crate) fn insert(
        &mut self,
        make: impl FnOnce(u64, u64) -> Entry,
    ) -> Result<Key, (io::Error, Box<Entry>)> {
        let index = self.entries.vacant_key();
        let entry = make(self.next_seq, self.clock.now_millis());
        let Ok(row) = u32::try_from(index) else {
            let error = io::Error::other("2^32 connections are open");
            return Err((error, Box::new(entry)));
        };
        let key = Key {
            index: row,
            seq: self.next_seq,
        };
        if let Some(socket) = &entry.socket
            && let Err(error) = self.registry.register(
                &mut SourceFd(&socket.as_raw_fd()),
                Token((seq_bits(key.seq) << 32) | index),
                Interest::READABLE | Interest::WRITABLE,
            )
        {
            return Err((error, Box::new(entry)));
        }
        self.next_seq += 1;
        if entry.limits.routed {
            self.routing.side.agent().open(key);
        }
        self.entries.insert(entry);
        self.counters.connections += 1;
        self.counters.accepted += 1;
        Ok(key)
    }

    /// Takes a connection out of the table, after its `on_close`.
    pub(crate) fn remove(&mut self, key: Key) -> Option<Entry> {
        self.entry(key)?;
        self.counters.connections = self.counters.connections.saturating_sub(1);
        Some(self.entries.remove(key.index as usize))
    }

    pub(crate) fn mark_dirty(&mut self, key: Key) {
        if let Some(entry) = self.entry(key)
            && !entry.has(flag::DIRTY)
        {
            entry.set(flag::DIRTY);
            self.dirty.push(key);
        }
    }

    pub(crate) fn run_again(&mut self, key: Key) {
        if let Some(entry) = self.entry(key)
            && !entry.has(flag::AGAIN)
        {
            entry.set(flag::AGAIN);
            self.again.push(key);
        }
    }

    /// Runs `encode` on the connection's encoder and takes what it wrote, unless it does not fit: then nothing of it
    /// is sent, the failure is counted and `on_buffer_full` is owed.
    ///
    /// A message that meets an empty buffer always fits: a limit on what *waits* must not forbid a single message
    /// that the protocol allows.
    pub(crate) fn send(
        &mut self,
        key: Key,
        must_take: bool,
        encode: impl FnOnce(&mut dyn AnyEncoder, &mut Wire<'_>) -> Result<(), EncodeError>,
    ) -> Result<(), SendError> {
        let spare = self.spare_buffer(key);
        let Some(entry) = find(&mut self.entries, key).filter(|entry| entry.phase == Phase::Open)
        else {
            self.counters.send_failures += 1;
            return Err(SendError::Gone);
        };
        if let Some(buffer) = spare {
            entry.out = buffer;
        }
        let before = entry.out.len();
        let queued = entry.queued();
        let mut wire = Wire::new(&mut entry.out, self.clock.now(), self.clock.date());
        let result = encode(entry.encoder.as_mut(), &mut wire);
        let flow = wire.flow;
        let len = entry.out.len().saturating_sub(before);
        let max = entry.limits.max_send_buffer;
        let outcome = match result {
            Err(error) => Err(SendError::Encode(error)),
            Ok(()) if queued > 0 && queued + len > max && !must_take => {
                Err(SendError::Full { queued, len, max })
            }
            Ok(()) => Ok(()),
        };
        if let Err(error) = outcome {
            entry.out.truncate(before);
            if matches!(error, SendError::Full { .. }) && !entry.has(flag::FULL) {
                entry.set(flag::FULL);
                self.notices.push_back((key, Notice::BufferFull));
            }
            self.counters.send_failures += 1;
            self.mark_dirty(key);
            return Err(error);
        }
        let waits = entry.has(flag::WAIT);
        entry.clear(flag::WAIT);
        self.apply(key, flow);
        if waits {
            self.run_again(key);
        }
        self.mark_dirty(key);
        Ok(())
    }

    /// Sends a pushed payload in the natural form of the connection's protocol.
    pub(crate) fn push(&mut self, key: Key, payload: &Message<'_>) -> Result<(), SendError> {
        self.send(key, false, |encoder, wire| {
            encoder.push(payload.reborrow(), wire)
        })
    }

    /// The same for one of many: what all connections of a protocol get is encoded once.
    pub(crate) fn push_shared(
        &mut self,
        key: Key,
        payload: &Message<'_>,
        shared: &mut SharedPush,
    ) -> Result<(), SendError> {
        self.send(key, false, |encoder, wire| {
            encoder.push_shared(payload, shared, wire)
        })
    }

    /// A buffer for a connection that has none, out of those that others have given back.
    pub(crate) fn spare_buffer(&mut self, key: Key) -> Option<Vec<u8>> {
        let entry = self.entries.get(key.index as usize)?;
        if entry.out.capacity() == 0 {
            self.spare.pop()
        } else {
            None
        }
    }

    /// Takes the buffer of a connection that has nothing to send.
    pub(crate) fn give_back(&mut self, key: Key) {
        let Some(entry) = find(&mut self.entries, key) else {
            return;
        };
        if entry.out.is_empty() && entry.out.capacity() > 0 {
            let buffer = std::mem::take(&mut entry.out);
            if self.spare.len() < SPARE_BUFFERS && buffer.capacity() <= SPARE_CAPACITY {
                self.spare.push(buffer);
            }
        }
    }

    /// Obeys a codec's word on what becomes of the connection.
    pub(crate) fn apply(&mut self, key: Key, flow: Flow) {
        match flow {
            Flow::Open => {}
            Flow::End => self.end(key, CloseReason::Protocol),
            Flow::Close => {
                if let Some(entry) = self.entry(key) {
                    entry.set(flag::CLOSE);
                }
                self.end(key, CloseReason::Protocol);
            }
        }
    }

    /// Says the protocol's goodbye and ends the connection once it, and all before it, has been sent.
    pub(crate) fn goodbye(&mut self, key: Key, goodbye: &Goodbye, reason: CloseReason) {
        let spare = self.spare_buffer(key);
        let Some(entry) = find(&mut self.entries, key).filter(|entry| entry.phase == Phase::Open)
        else {
            return;
        };
        if let Some(buffer) = spare {
            entry.out = buffer;
        }
        let mut wire = Wire::new(&mut entry.out, self.clock.now(), self.clock.date());
        entry.encoder.goodbye(goodbye, &mut wire);
        let flow = wire.flow;
        if flow == Flow::Close {
            entry.set(flag::CLOSE);
        }
        if !entry.encoder.awaits_goodbye() || entry.has(flag::EOF) {
            self.end(key, reason);
            return;
        }
        entry.reason.get_or_insert_with(|| Box::new(reason));
        entry.phase = Phase::Goodbye;
        // Whatever kept us from reading: the peer's goodbye stands behind it.
        entry.clear(flag::PAUSED | flag::HELD | flag::WAIT);
        let limit = self.clock.now() + entry.limits.flush_timeout;
        entry.deadline = self.clock.millis(limit);
        self.leave(key);
        self.run_again(key);
        self.mark_dirty(key);
    }

    /// Sends what is in the buffer, half-closes, lingers, closes.
    pub(crate) fn end(&mut self, key: Key, reason: CloseReason) {
        let now = self.clock.now();
        let Some(entry) = find(&mut self.entries, key).filter(|entry| entry.phase < Phase::Ending)
        else {
            return;
        };
        entry.reason.get_or_insert_with(|| Box::new(reason));
        entry.phase = Phase::Ending;
        entry.input = Vec::new();
        entry.deadline = self.clock.millis(now + entry.limits.flush_timeout);
        self.leave(key);
        self.mark_dirty(key);
    }

    /// Closes the socket now; what has not been sent is lost.
    pub(crate) fn destroy(&mut self, key: Key, reason: CloseReason) {
        let Some(entry) = self.entry(key) else {
            return;
        };
        if entry.phase == Phase::Closed {
            return;
        }
        entry.phase = Phase::Closed;
        entry.reason.get_or_insert_with(|| Box::new(reason));
        // Closing the only descriptor also takes it out of epoll (epoll(7), questions and answers).
        entry.socket = None;
        entry.out = Vec::new();
        entry.sent = 0;
        entry.input = Vec::new();
        self.closed.push_back(key);
        self.leave(key);
        if let Some(target) = self.unpipe(key)
            && !self.feeders.contains_key(&target)
        {
            self.end(target, CloseReason::Local);
        }
        for source in self.feeders.remove(&key).unwrap_or_default() {
            if let Some(entry) = self.entry(source) {
                entry.pipe = None;
                entry.clear(flag::HELD);
            }
            self.end(source, CloseReason::Local);
        }
    }

    /// One write of all that waits, and what follows from it.
    pub(crate) fn flush(&mut self, key: Key) {
        let now = self.clock.now_millis();
        let Some(entry) = find(&mut self.entries, key) else {
            return;
        };
        let Some(socket) = &entry.socket else {
            return;
        };
        while entry.sent < entry.out.len() {
            match send(
                socket.as_raw_fd(),
                &entry.out[entry.sent..],
                MsgFlags::MSG_NOSIGNAL,
            ) {
                Ok(len) => {
                    entry.sent += len;
                    entry.last_write = now;
                    if entry.phase > Phase::Open {
                        // The last bytes may take long, if only they move.
                        entry.deadline = now.saturating_add(flush_timeout(entry));
                    }
                    entry.bytes_written += len as u64;
                    self.counters.bytes_written += len as u64;
                }
                Err(Errno::EAGAIN) => {
                    if !entry.has(flag::BLOCKED) {
                        entry.set(flag::BLOCKED);
                        entry.last_write = now;
                    }
                    if entry.sent >= entry.out.len() / 2 {
                        entry.out.drain(..entry.sent);
                        entry.sent = 0;
                    }
                    return;
                }
                Err(Errno::EINTR) => {}
                Err(error) => {
                    let error = ConnectionError::Io(error.into());
                    self.destroy(key, CloseReason::Error(error));
                    return;
                }
            }
        }
        entry.clear(flag::BLOCKED);
        entry.sent = 0;
        entry.out.clear();
        self.drained(key);
    }

    /// The send buffer is empty.
    fn drained(&mut self, key: Key) {
        self.give_back(key);
        let now = self.clock.now();
        let Some(entry) = find(&mut self.entries, key) else {
            return;
        };
        if entry.has(flag::FULL) && entry.phase == Phase::Open {
            entry.clear(flag::FULL);
            entry.set(flag::NOTICED);
            self.notices.push_back((key, Notice::BufferDrain));
        }
        let held = entry.has(flag::HELD) && entry.pipe.is_none();
        if held {
            entry.clear(flag::HELD);
        }
        if entry.phase == Phase::Ending {
            if entry.has(flag::CLOSE | flag::EOF) {
                self.destroy(key, CloseReason::Local);
                return;
            }
            // A failure means that the peer is gone already; the read that follows will say so.
            if let Some(socket) = &entry.socket {
                let _ = shutdown(socket.as_raw_fd(), nix::sys::socket::Shutdown::Write);
            }
            entry.phase = Phase::Lingering;
            entry.deadline = self.clock.millis(now + entry.limits.linger);
            entry.set(flag::READABLE);
            self.run_again(key);
        } else if held {
            self.run_again(key);
        }
        self.wake_feeders(key);
    }

    /// Whoever is piped into this connection and was held back may go on.
    fn wake_feeders(&mut self, key: Key) {
        if self.feeders.is_empty() {
            return;
        }
        for feeder in self.feeders.get(&key).cloned().unwrap_or_default() {
            if let Some(entry) = self.entry(feeder)
                && entry.has(flag::HELD)
            {
                entry.clear(flag::HELD);
                self.run_again(feeder);
            }
        }
    }

    /// Lets a connection's bytes go to another one; see [`Conn::pipe`](crate::Conn::pipe).
    pub(crate) fn pipe(&mut self, source: Key, target: Key) -> Result<(), SendError> {
        let open =
            |entry: Option<&mut Entry>| entry.is_some_and(|entry| entry.phase == Phase::Open);
        if !open(self.entry(target)) || !open(self.entry(source)) {
            return Err(SendError::Gone);
        }
        self.unpipe(source);
        self.feeders.entry(target).or_default().push(source);
        if let Some(entry) = self.entry(source) {
            entry.pipe = Some(target);
        }
        self.run_again(source);
        Ok(())
    }

    /// Forgets where a connection's bytes go.
    fn unpipe(&mut self, source: Key) -> Option<Key> {
        let target = self.entry(source)?.pipe.take()?;
        if let Some(sources) = self.feeders.get_mut(&target) {
            sources.retain(|other| *other != source);
            if sources.is_empty() {
                self.feeders.remove(&target);
            }
        }
        Some(target)
    }

    /// Appends bytes as they are to another connection's output. False if it is gone.
    pub(crate) fn feed(&mut self, source: Key, target: Key, bytes: &[u8]) -> bool {
        let spare = self.spare_buffer(target);
        let Some(entry) = self.entry(target) else {
            return false;
        };
        if entry.phase != Phase::Open {
            return false;
        }
        if let Some(buffer) = spare {
            entry.out = buffer;
        }
        entry.out.extend_from_slice(bytes);
        let hold = entry.queued() > entry.limits.high_water;
        self.mark_dirty(target);
        if hold && let Some(entry) = self.entry(source) {
            entry.set(flag::HELD);
        }
        true
    }

    /// Moves a connection's deadline and sees to it that the wheel brings it up.
    pub(crate) fn set_deadline(&mut self, key: Key, deadline: u64) {
        if let Some(entry) = find(&mut self.entries, key) {
            entry.deadline = deadline;
            let now = self.clock.now_millis();
            entry.armed = self.wheel.arm(key, deadline, now, entry.armed);
        }
    }

    /// When the loop must wake up by itself; None if only for the kernel.
    pub(crate) fn next_wake(&self) -> Option<Instant> {
        let wheel = self.wheel.next().map(|millis| self.clock.at(millis));
        let drain = self.drain.as_ref().map(Drain::end);
        [
            self.timers.next(),
            wheel,
            drain,
            self.listening.next_retry(),
            self.routing.next_deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// The keys of all connections that are not closed.
    pub(crate) fn keys(&self) -> Vec<Key> {
        self.entries
            .iter()
            .filter(|(_, entry)| entry.phase != Phase::Closed)
            .filter_map(|(index, entry)| {
                Some(Key {
                    index: u32::try_from(index).ok()?,
                    seq: entry.seq,
                })
            })
            .collect()
    }

    /// Reads from a connection's socket. None if it has none any more.
    pub(crate) fn read(&mut self, key: Key, scratch: &mut [u8]) -> Option<Read> {
        let now = self.clock.now_millis();
        let entry = find(&mut self.entries, key)?;
        let socket = entry.socket.as_ref()?;
        loop {
            match nix::unistd::read(socket, scratch) {
                Ok(0) => {
                    entry.clear(flag::READABLE);
                    entry.set(flag::EOF);
                    entry.last_read = now;
                    return Some(Read::End);
                }
                Ok(len) => {
                    // A short read of a stream means that it is empty (epoll(7)), unless its end comes next.
                    if len < scratch.len() && !entry.has(flag::HUP) {
                        entry.clear(flag::READABLE);
                    }
                    entry.bytes_read += len as u64;
                    entry.last_read = now;
                    self.counters.bytes_read += len as u64;
                    return Some(Read::Bytes(len));
                }
                Err(Errno::EAGAIN) => {
                    entry.clear(flag::READABLE);
                    return Some(Read::Nothing);
                }
                Err(Errno::EINTR) => {}
                Err(error) => return Some(Read::Error(error.into())),
            }
        }
    }
}

/// What a read brought.
#[derive(Debug)]
pub(crate) enum Read {
    Bytes(usize),
    Nothing,
    End,
    Error(io::Error),
}

fn flush_timeout(entry: &Entry) -> u64 {
    u64::try_from(entry.limits.flush_timeout.as_millis()).unwrap_or(u64::MAX)
}

/// The part of a sequence number that fits into a token beside the row: 30 bits, so that the two upper bits are free
/// for tokens that are no connections.
fn seq_bits(seq: u64) -> usize {
    usize::try_from(seq & 0x3fff_ffff).unwrap_or(0)
}
