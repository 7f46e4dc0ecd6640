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
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use slab::Slab;
use workhive_ipc::{Counters, Glimpse, Row};
use workhive_protocols::{Flow, Goodbye, Wire};

use crate::clock::Clock;
use crate::drain::Drain;
use crate::entry::{CloseReason, Entry, Key, Phase, flag};
use crate::error::ConnectionError;
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

/// When the process says that it is ready.
#[derive(Debug, Default)]
pub(crate) enum Readiness {
    /// When `on_worker_start` has returned.
    #[default]
    AtOnce,
    /// When the application says so.
    Deferred,
    /// It has said so, or why it will not be.
    Given(Result<(), String>),
}

/// To be called before anything is done to the loop from outside of a turn, where a host may be between two: sees to it
/// that the next turn comes at once, and that this one's time is the present. Does nothing inside of callbacks, or on
/// threads without a loop.
///
/// ```
/// workhive_worker::touch(); // this thread runs no loop
/// ```
pub fn touch() {
    with(|core| {
        if core.in_turn {
            return;
        }
        core.clock.update();
        if !core.touched {
            core.touched = true;
            core.mail.wake();
        }
    });
}

pub(crate) struct Core {
    pub(crate) clock: Clock,
    pub(crate) registry: Registry,
    pub(crate) place: Rc<Place>,
    pub(crate) row: Row,
    pub(crate) counters: Counters,
    /// What is decoded now. In a place of its own, which does not move with the core.
    pub(crate) glimpse: Box<Glimpse>,
    pub(crate) entries: Slab<Entry>,
    /// Goes on from one loop of a process to the next.
    next_seq: u64,
    /// Connections with output or a new deadline: visited at the end of the turn. Each is in here once.
    pub(crate) dirty: Vec<Key>,
    /// Connections that have more to do without waiting for the kernel: run in the next turn.
    pub(crate) again: Vec<Key>,
    /// Connections that have ended and whose `on_close` is owed.
    pub(crate) closed: VecDeque<Key>,
    pub(crate) notices: VecDeque<(Key, Notice)>,
    /// Connections of which something has failed that went on after its callback.
    pub(crate) failures: VecDeque<(Key, ConnectionError)>,
    /// False while a host does other things between two turns.
    pub(crate) in_turn: bool,
    /// Something was done since the last turn, and the host will call.
    pub(crate) touched: bool,
    pub(crate) readiness: Readiness,
    /// Send buffers of connections that have nothing to send.
    pub(crate) spare: Vec<Vec<u8>>,
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

/// The last number of a connection of the loops that this process had before: a handle of one of them must name no connection
/// of the next.
static LAST_SEQ: AtomicU64 = AtomicU64::new(0);

impl Drop for Core {
    fn drop(&mut self) {
        LAST_SEQ.fetch_max(self.next_seq - 1, Ordering::Relaxed);
    }
}

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
        let glimpse = Box::<Glimpse>::default();
        row.set_glimpse(glimpse.address());
        Self {
            clock,
            registry,
            place,
            row,
            counters: Counters::default(),
            glimpse,
            entries: Slab::new(),
            next_seq: LAST_SEQ.load(Ordering::Relaxed) + 1,
            dirty: Vec::new(),
            again: Vec::new(),
            closed: VecDeque::new(),
            notices: VecDeque::new(),
            failures: VecDeque::new(),
            in_turn: true,
            touched: false,
            readiness: Readiness::AtOnce,
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
            let max_rooms = entry.limits.max_rooms;
            self.routing.side.agent().open_with(key, max_rooms);
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

    /// Moves a connection's deadline and sees to it that the wheel brings it up.
    pub(crate) fn set_deadline(&mut self, key: Key, deadline: u64) {
        if let Some(entry) = find(&mut self.entries, key) {
            entry.deadline = deadline;
            let now = self.clock.now_millis();
            entry.armed = self.wheel.arm(key, deadline, now, entry.armed);
        }
    }

    /// True if there is something to do without waiting for the kernel.
    pub(crate) fn is_busy(&mut self) -> bool {
        !self.again.is_empty()
            || !self.dirty.is_empty()
            || !self.closed.is_empty()
            || !self.notices.is_empty()
            || !self.failures.is_empty()
            || self.routing.has_work()
            || self.mail.len() > 0
            || self.pool.finished() > 0
            || self.link.has_early()
            || self.link.stop_requested
    }

    /// When the loop must wake up by itself; None if only for the kernel.
    pub(crate) fn next_wake(&mut self) -> Option<Instant> {
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
}

/// The part of a sequence number that fits into a token beside the row: 30 bits, so that the two upper bits are free
/// for tokens that are no connections.
fn seq_bits(seq: u64) -> usize {
    usize::try_from(seq & 0x3fff_ffff).unwrap_or(0)
}
