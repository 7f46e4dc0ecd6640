//! The side of a process: what it has, what it asks, what comes for it.

use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;
use std::time::{Duration, Instant};

use crate::route::Process;
use crate::route::awaited::Awaited;
use crate::route::frame::{Decoder, Direction, FrameError};
use crate::route::link::{Link, LinkLimits, OutQueue};
use crate::route::message::{Answer, Outcome, SNAPSHOT_ITEMS, SnapshotUid, Table, ToRouter};
use crate::route::request::{Event, PushId, QueryId, Receipt, Ticket};
use crate::route::tables::{Key, Tables};

/// How an agent behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AgentConfig {
    /// Of its link.
    pub limits: LinkLimits,
    /// How long an outcome or an answer may take. Longer than the router's own deadlines, which say more.
    pub patience: Duration,
    /// Bytes of pushes and questions that may wait while the router is away.
    pub held: usize,
    /// How long they may.
    pub hold: Duration,
    /// Uids that a connection may have.
    pub uids: usize,
    /// Rooms in which a connection may be.
    pub rooms: usize,
}

impl Default for AgentConfig {
    /// 7 s patience; 1 MiB for 2 s while the router is away; 1 uid and 128 rooms for a connection.
    fn default() -> Self {
        Self {
            limits: LinkLimits::default(),
            patience: Duration::from_secs(7),
            held: 1024 * 1024,
            hold: Duration::from_secs(2),
            uids: 1,
            rooms: 128,
        }
    }
}

/// What one process knows of its connections, and its side of the link to the router; without socket and clock.
///
/// The process tells it of its connections ([`open`](Self::open), [`bind`](Self::bind), [`join`](Self::join),
/// [`close`](Self::close)) and asks it to push; it writes the [`output`](Self::output) to the router's socket, feeds
/// what it reads to [`receive`](Self::receive), and then acts upon every event of [`poll`](Self::poll).
///
/// Its tables are the truth, the router's are an extract. So it can be without a router for a while: registrations
/// go on and reach the next router in a snapshot, requests wait a little, and what was on its way has an unknown
/// outcome.
///
/// See [`Core`](crate::route::Core) for an example.
#[derive(Debug)]
pub struct Agent<K> {
    /// None if this is a client, which has no connections.
    pub(super) process: Option<Process>,
    pub(super) config: AgentConfig,
    pub(super) decoder: Decoder,
    pub(super) out: OutQueue,
    pub(super) phase: Phase,
    /// Counts the links.
    pub(super) link: u64,
    pub(super) tables: Tables<K>,
    pub(super) topics: BTreeSet<Vec<u8>>,
    pub(super) watching: bool,
    /// The last registration number.
    pub(super) seq: u64,
    /// Up to which they have been acknowledged, by whichever router.
    pub(super) acked: u64,
    pub(super) requests: Awaited<Request>,
    /// For the next router, in order.
    pub(super) held: VecDeque<Held>,
    pub(super) held_bytes: usize,
    pub(super) notes: VecDeque<Note<K>>,
    /// The connections of the event that `poll` returned last.
    pub(super) to: Vec<K>,
    /// Of the frame that is acted upon, kept for its memory.
    pub(super) body: Vec<u8>,
    pub(super) counters: AgentCounters,
}

/// What an agent has done and refused so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AgentCounters {
    /// Deliveries for somebody who is not here (any more).
    pub misses: u64,
    /// Requests refused because too much waited.
    pub refused: u64,
    /// Requests dropped because the router stayed away for too long.
    pub dropped: u64,
    /// Requests that were given up because the router did not answer in time.
    pub unanswered: u64,
    /// Links to a router so far.
    pub links: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// There is no link.
    Away,
    /// Nothing has been acknowledged on this link yet.
    Syncing,
    Ready,
    /// The link can only be closed.
    Broken,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Request {
    Push,
    Query,
}

#[derive(Debug)]
pub(super) struct Held {
    pub(super) since: Instant,
    /// In `requests`, or 0.
    pub(super) request: u64,
    pub(super) frame: Vec<u8>,
}

/// An event before it borrows.
#[derive(Debug)]
pub(super) enum Note<K> {
    Deliver(u8, Range<usize>, Receipt),
    Close(u16, String),
    Kicked(K, Vec<u8>),
    Registered(Ticket),
    Outcome(PushId, Outcome),
    Answer(QueryId, Option<Answer>),
    Topic(Vec<u8>, u8, Range<usize>),
    Presence(Vec<u8>, bool),
    Synced,
    Bye(String),
    Broken(FrameError),
}

impl<K: Key> Agent<K> {
    /// The agent of a worker process.
    pub fn worker(process: Process, config: AgentConfig) -> Self {
        Self::new(Some(process), config)
    }

    /// The agent of a program that only pushes, asks, publishes and subscribes.
    pub fn client(config: AgentConfig) -> Self {
        Self::new(None, config)
    }

    fn new(process: Option<Process>, config: AgentConfig) -> Self {
        let (decoder, out) = Link::to_router(config.limits).into_halves();
        Self {
            process,
            config,
            decoder,
            out,
            phase: Phase::Away,
            link: 0,
            tables: Tables::default(),
            topics: BTreeSet::new(),
            watching: false,
            seq: 0,
            acked: 0,
            requests: Awaited::new(config.patience),
            held: VecDeque::new(),
            held_bytes: 0,
            notes: VecDeque::new(),
            to: Vec::new(),
            body: Vec::new(),
            counters: AgentCounters::default(),
        }
    }

    /// A new stream to a router: it is told all that this process has, then all that waited for it.
    pub fn connected(&mut self, now: Instant) {
        self.disconnected();
        self.drop_held(now);
        self.decoder = Decoder::new(Direction::FromRouter, self.config.limits.payload);
        self.phase = Phase::Syncing;
        self.link += 1;
        self.counters.links += 1;
        if let Some(process) = self.process {
            self.send_snapshot(process);
        } else {
            self.control(&ToRouter::HelloClient);
            for topic in self.topics.clone() {
                self.add(Table::Topics, &topic, None);
            }
            if self.watching {
                self.control(&ToRouter::Watch { on: true });
            }
        }
        for held in std::mem::take(&mut self.held) {
            self.out.push_encoded(&held.frame);
        }
        self.held_bytes = 0;
    }

    fn send_snapshot(&mut self, process: Process) {
        self.control(&ToRouter::Hello { process });
        if self.watching {
            self.control(&ToRouter::Watch { on: true });
        }
        let Self {
            tables,
            topics,
            out,
            seq,
            ..
        } = self;
        let mut uids = tables.uids.iter().flat_map(|(_, named)| {
            let (uid, singles) = (&*named.name, &named.value.singles);
            // All claims, in order: the router that was to settle them may be no more.
            let claims = singles.iter().map(|sequence| Some(*sequence));
            let plain = singles.is_empty().then_some(None);
            (claims.chain(plain)).map(move |single| SnapshotUid { uid, single })
        });
        let mut rooms = tables.rooms.iter().map(|(_, named)| &*named.name);
        let mut topics = topics.iter().map(Vec::as_slice);
        loop {
            let uids: Vec<_> = uids.by_ref().take(SNAPSHOT_ITEMS).collect();
            let rooms: Vec<_> = rooms.by_ref().take(SNAPSHOT_ITEMS).collect();
            let topics: Vec<_> = topics.by_ref().take(SNAPSHOT_ITEMS).collect();
            if uids.is_empty() && rooms.is_empty() && topics.is_empty() {
                break;
            }
            let snapshot = ToRouter::Snapshot {
                uids,
                rooms,
                topics,
            };
            out.push_control(&snapshot, b"");
        }
        out.push_control(&ToRouter::Synced { seq: *seq }, b"");
    }

    /// The stream has ended. What was on its way to the router has an unknown outcome.
    pub fn disconnected(&mut self) {
        match std::mem::replace(&mut self.phase, Phase::Away) {
            Phase::Away => return,
            Phase::Broken => {
                self.decoder = Decoder::new(Direction::FromRouter, self.config.limits.payload);
            }
            // What has been read still counts.
            Phase::Syncing | Phase::Ready => {}
        }
        self.out.clear();
        for number in self.requests.numbers(|_| true) {
            if !self.held.iter().any(|held| held.request == number) {
                self.give_up(number, Outcome::UNKNOWN);
            }
        }
    }

    /// Whether there is a stream to a router.
    pub fn is_connected(&self) -> bool {
        matches!(self.phase, Phase::Syncing | Phase::Ready)
    }

    /// Whether the router has acknowledged all that was registered and given up: nothing more comes for names that this
    /// process no longer has. True without a router.
    pub fn is_settled(&self) -> bool {
        !self.is_connected() || self.acked >= self.seq
    }

    /// Takes bytes that were read from the stream.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.decoder.feed(bytes);
    }

    /// Bytes to be written to the stream.
    pub fn output(&self) -> &[u8] {
        self.out.pending()
    }

    /// So many of them were.
    pub fn sent(&mut self, bytes: usize) {
        self.out.sent(bytes);
    }

    /// Whether so much waits to be written that the router can only be stuck. The link had better be ended: what this
    /// process has is told to the next.
    pub fn is_overdue(&self) -> bool {
        self.out.is_overdue()
    }

    /// Lets deadlines pass. To be called at [`next_deadline`](Self::next_deadline), or more often; then
    /// [`poll`](Self::poll).
    pub fn tick(&mut self, now: Instant) {
        self.drop_held(now);
        while let Some((number, request)) = self.requests.expired(now) {
            self.counters.unanswered += 1;
            self.note_lost(number, request, Outcome::UNKNOWN);
        }
    }

    /// When [`tick`](Self::tick) is to be called next. May be earlier than necessary.
    pub fn next_deadline(&self) -> Option<Instant> {
        let held = self.held.front().map(|held| held.since + self.config.hold);
        [held, self.requests.next_deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    /// What has been done and refused so far.
    pub fn counters(&self) -> AgentCounters {
        self.counters
    }

    fn drop_held(&mut self, now: Instant) {
        while let Some(held) = self.held.front()
            && held.since + self.config.hold <= now
        {
            let request = held.request;
            self.held_bytes -= held.frame.len();
            self.held.pop_front();
            self.counters.dropped += 1;
            self.give_up(request, Outcome::UNROUTED);
        }
    }

    fn give_up(&mut self, number: u64, outcome: Outcome) {
        if let Some(request) = self.requests.remove(number) {
            self.note_lost(number, request, outcome);
        }
    }

    fn note_lost(&mut self, number: u64, request: Request, outcome: Outcome) {
        self.notes.push_back(match request {
            Request::Push => Note::Outcome(PushId(number), outcome),
            Request::Query => Note::Answer(QueryId(number), None),
        });
    }

    pub(super) fn control(&mut self, message: &ToRouter<'_>) {
        if self.is_connected() {
            self.out.push_control(message, b"");
        }
    }

    /// The next thing that has happened. To be called until there is none, after [`receive`](Self::receive),
    /// [`tick`](Self::tick) and [`disconnected`](Self::disconnected).
    pub fn poll(&mut self) -> Option<Event<'_, K>> {
        let note = loop {
            if let Some(note) = self.notes.pop_front() {
                break note;
            }
            if self.phase == Phase::Broken {
                return None;
            }
            match self.decoder.next_span() {
                Ok(None) => return None,
                Ok(Some(span)) => match self.frame(span) {
                    Ok(Some(note)) => break note,
                    Ok(None) => {}
                    Err(error) => {
                        self.phase = Phase::Broken;
                        break Note::Broken(error);
                    }
                },
                Err(error) => {
                    self.phase = Phase::Broken;
                    break Note::Broken(error);
                }
            }
        };
        Some(match note {
            Note::Deliver(tag, payload, receipt) => Event::Deliver {
                to: &self.to,
                tag,
                payload: self.decoder.bytes(payload),
                receipt,
            },
            Note::Close(code, reason) => Event::Close {
                to: &self.to,
                code,
                reason,
            },
            Note::Kicked(key, uid) => Event::Kicked { key, uid },
            Note::Registered(ticket) => Event::Registered(ticket),
            Note::Outcome(push, outcome) => Event::Outcome { push, outcome },
            Note::Answer(query, answer) => Event::Answer { query, answer },
            Note::Topic(topic, tag, payload) => Event::Topic {
                topic,
                tag,
                payload: self.decoder.bytes(payload),
            },
            Note::Presence(uid, online) => Event::Presence { uid, online },
            Note::Synced => Event::Synced,
            Note::Bye(reason) => Event::Bye(reason),
            Note::Broken(error) => Event::Broken(error),
        })
    }
}
