//! The router: knows which process has which uid and room, and takes every push there.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use crate::route::awaited::Awaited;
use crate::route::deliver::Pushed;
use crate::route::directory::{Directory, MemberId};
use crate::route::events::{Connected, CoreCounters, CoreEvent, Misuse};
use crate::route::frame::{Decoder, Direction, Frame};
use crate::route::link::{Link, LinkLimits};
use crate::route::members::Member;
use crate::route::message::{FromRouter, ToRouter};
use crate::route::names::Name;
use crate::route::presence::Presence;
use crate::route::scatter::Asked;
use crate::route::{ConnectionId, Process};

/// How a router behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CoreConfig {
    /// Of every link.
    pub limits: LinkLimits,
    /// How long the owners of a push's targets may take to say what became of it.
    pub outcome: Duration,
    /// How long the owners of connections may take to answer a question about them.
    pub answer: Duration,
    /// How long a uid must have been without a connection to count as offline.
    pub linger: Duration,
    /// How long deliveries are kept for a process that is known to live but has not connected yet.
    pub grace: Duration,
    /// Pushes of one process that may wait for their outcome at a time; and so many questions.
    pub waiting: usize,
    /// Uids, rooms and topics that one process may have.
    pub names: usize,
}

impl Default for CoreConfig {
    /// 5 s for outcomes, 1 s for answers, 2 s linger, 2 s grace, 262,144 waiting, 8 million names.
    fn default() -> Self {
        Self {
            limits: LinkLimits::default(),
            outcome: Duration::from_secs(5),
            answer: Duration::from_secs(1),
            linger: Duration::from_secs(2),
            grace: Duration::from_secs(2),
            waiting: 1 << 18,
            names: 8_000_000,
        }
    }
}

/// A link of a [`Core`]. Never given twice: what comes in the name of one that has ended is discarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId {
    index: u32,
    serial: u64,
}

impl LinkId {
    pub(super) fn is_younger_than(self, other: Self) -> bool {
        self.serial > other.serial
    }
}

/// The router, without its sockets and its clock.
///
/// Its owner tells it what happens ([`connect_process`](Self::connect_process),
/// [`connect_client`](Self::connect_client), [`receive`](Self::receive), [`closed`](Self::closed),
/// [`tick`](Self::tick)), then writes the [`output`](Self::output) of every link that
/// [`next_dirty`](Self::next_dirty) names, and acts upon [`next_event`](Self::next_event).
///
/// All it knows is soft state, told by the processes that own the connections. One that was started after a crash of
/// the one before does not know at first what the processes have that are older than itself: until each of them has
/// said so, it gets every push, so that nothing is answered "offline" out of ignorance.
///
/// Everything for a uid, a room or all passes through here, and every link is in order: all who receive two pushes
/// receive them in the same order.
///
/// ```
/// use std::time::Instant;
/// use workhive_ipc::route::{Agent, AgentConfig, Core, CoreConfig, Event, Process, Push, Target};
///
/// let now = Instant::now();
/// let process = Process { epoch: 1, slot: 0, generation: 2 };
/// let mut core = Core::new(Process { generation: 1, ..process }, CoreConfig::default());
/// let mut agent: Agent<u64> = Agent::worker(process, AgentConfig::default());
/// let link = core.connect_process(process, now);
/// agent.connected(now);
///
/// agent.open(7);
/// agent.bind(7, b"u1", false).unwrap();
/// agent.push(Push::message(Target::Uid(b"u1"), 0, b"hello"), now).unwrap();
///
/// // In place of two sockets.
/// core.receive(link, agent.output(), now);
/// agent.sent(agent.output().len());
/// agent.receive(core.output(link));
/// core.sent(link, core.output(link).len());
///
/// let mut messages = 0;
/// while let Some(event) = agent.poll() {
///     if let Event::Deliver { to, payload, .. } = event {
///         assert_eq!((to, payload), (&[7][..], &b"hello"[..]));
///         messages += 1;
///     }
/// }
/// assert_eq!(messages, 1);
/// ```
#[derive(Debug)]
pub struct Core {
    /// The process in which it runs.
    pub(super) process: Process,
    pub(super) config: CoreConfig,
    /// A place is reused, its serial is not.
    links: Vec<Option<LinkState>>,
    next_serial: u64,
    pub(super) members: Vec<Option<Member>>,
    /// Exactly the members that are worker processes.
    pub(super) processes: HashMap<Process, MemberId>,
    /// Processes that have said hello once, until they have ended.
    pub(super) met: HashSet<Process>,
    /// The worker processes whose tables are not completely known.
    pub(super) unsynced: Vec<MemberId>,
    /// Since when processes are expected to come back, and until when the next of them is.
    pub(super) recovery: Option<Recovery>,
    /// Processes that have ended, as the master said, latest last.
    pub(super) ended: VecDeque<Process>,
    /// Those of them that had a link then, and until when it may go on.
    pub(super) closing: VecDeque<(Instant, Process)>,
    pub(super) uids: Directory,
    pub(super) rooms: Directory,
    pub(super) topics: Directory,
    /// The connection that has a uid for itself alone.
    pub(super) singles: HashMap<Name, ConnectionId>,
    pub(super) presence: Presence,
    pub(super) watchers: usize,
    pub(super) pushed: Awaited<Pushed>,
    pub(super) asked: Awaited<Asked>,
    /// Links with output that were not named yet. Each has its `dirty` set.
    dirty: VecDeque<LinkId>,
    /// Links that do not read at all, to be ended when no frame is being handled.
    overdue: Vec<LinkId>,
    pub(super) events: VecDeque<CoreEvent>,
    pub(super) counters: CoreCounters,
    /// For one push, kept for its memory.
    pub(super) scratch: Vec<(MemberId, u32)>,
}

#[derive(Debug)]
pub(super) struct LinkState {
    id: LinkId,
    link: Link,
    /// Who may say hello on it; None is a client.
    process: Option<Process>,
    /// None before the first frame, and again once it has ended.
    member: Option<MemberId>,
    dirty: bool,
    /// Deliveries have been refused since the queue was last empty.
    full: bool,
    /// It was told to end: what it says is discarded.
    ended: bool,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Recovery {
    pub(super) began: Instant,
    /// None when all have passed.
    pub(super) deadline: Option<Instant>,
}

impl Core {
    /// A router that knows nothing. The process is the one in which it runs: those with a smaller generation are older
    /// than it, and may have connections of which they told the router before.
    pub fn new(process: Process, config: CoreConfig) -> Self {
        Self {
            process,
            config,
            links: Vec::new(),
            next_serial: 0,
            members: Vec::new(),
            processes: HashMap::new(),
            met: HashSet::new(),
            unsynced: Vec::new(),
            recovery: None,
            ended: VecDeque::new(),
            closing: VecDeque::new(),
            uids: Directory::default(),
            rooms: Directory::default(),
            topics: Directory::default(),
            singles: HashMap::new(),
            presence: Presence::new(config.linger),
            watchers: 0,
            pushed: Awaited::new(config.outcome),
            asked: Awaited::new(config.answer),
            dirty: VecDeque::new(),
            overdue: Vec::new(),
            events: VecDeque::new(),
            counters: CoreCounters::default(),
            scratch: Vec::new(),
        }
    }

    /// There is a stream to this worker process. Nobody else may say hello on it.
    ///
    /// A process that is younger than this router has nothing until it says so: however long it takes to start, no push
    /// waits for it. One that may have connections already is [expected](Self::expect): one that is older than this
    /// router, or that was connected to it before.
    ///
    /// ```
    /// use std::time::Instant;
    /// use workhive_ipc::route::{Core, CoreConfig, Process};
    ///
    /// let router = Process { epoch: 1, slot: 0, generation: 5 };
    /// let mut core = Core::new(router, CoreConfig::default());
    /// core.connect_process(Process { epoch: 1, slot: 1, generation: 6 }, Instant::now());
    /// assert!(core.is_complete());
    /// core.connect_process(Process { epoch: 1, slot: 2, generation: 3 }, Instant::now());
    /// assert!(!core.is_complete());
    /// ```
    pub fn connect_process(&mut self, process: Process, now: Instant) -> LinkId {
        let id = self.connect(Some(process));
        if self.may_have_connections(process) {
            self.expect(process, now);
        }
        id
    }

    /// A program of this machine has connected, which pushes and asks and has no connections of its own.
    ///
    /// ```
    /// use std::time::Instant;
    /// use workhive_ipc::route::{Agent, AgentConfig, Core, CoreConfig, Process, Push, Target};
    ///
    /// let now = Instant::now();
    /// let mut core = Core::new(Process::default(), CoreConfig::default());
    /// let link = core.connect_client();
    /// let mut client: Agent<u64> = Agent::client(AgentConfig::default());
    /// client.connected(now);
    /// client.push(Push::message(Target::All, 0, b"hello").with_outcome(), now)?;
    /// core.receive(link, client.output(), now);
    /// assert_eq!(core.next_dirty(), Some(link));
    /// assert!(!core.output(link).is_empty());
    /// # Ok::<(), workhive_ipc::route::AgentError>(())
    /// ```
    pub fn connect_client(&mut self) -> LinkId {
        self.connect(None)
    }

    fn connect(&mut self, process: Option<Process>) -> LinkId {
        let free = self.links.iter().position(Option::is_none);
        let index = free.unwrap_or_else(|| {
            self.links.push(None);
            self.links.len() - 1
        });
        self.next_serial += 1;
        let id = LinkId {
            // There are never more links than descriptors.
            index: u32::try_from(index).unwrap_or(u32::MAX),
            serial: self.next_serial,
        };
        self.links[index] = Some(LinkState {
            id,
            link: Link::from_router(self.config.limits),
            process,
            member: None,
            dirty: false,
            full: false,
            ended: false,
        });
        id
    }

    /// Bytes were read from a link. All whole frames are handled before this returns.
    pub fn receive(&mut self, id: LinkId, bytes: &[u8], now: Instant) {
        self.receive_by(id, |decoder| decoder.feed(bytes), now);
    }

    /// As [`receive`](Self::receive), when the bytes have their own way into the decoder.
    pub(super) fn receive_by(&mut self, id: LinkId, feed: impl FnOnce(&mut Decoder), now: Instant) {
        let Some(state) = self.link_mut(id).filter(|state| !state.ended) else {
            return;
        };
        // The frames are borrowed from the decoder while they change everything else.
        let mut decoder = std::mem::replace(
            &mut state.link.decoder,
            Decoder::new(Direction::ToRouter, 0),
        );
        feed(&mut decoder);
        let mut misuse = None;
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => {
                    if let Err(error) = self.frame(id, frame, now) {
                        misuse = Some(error);
                        break;
                    }
                    if self.overdue.contains(&id) {
                        // What it asks for is more than it takes: the rest is not even looked at.
                        break;
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    misuse = Some(Misuse::Frame(error));
                    break;
                }
            }
        }
        if let Some(state) = self.link_mut(id) {
            state.link.decoder = decoder;
        }
        match misuse {
            Some(misuse) => self.end(id, misuse, now),
            None => self.acknowledge(id),
        }
        self.end_overdue(now);
    }

    fn frame(&mut self, id: LinkId, frame: Frame<'_>, now: Instant) -> Result<(), Misuse> {
        let message = ToRouter::from_body(frame.body).map_err(Misuse::Frame)?;
        let Some(state) = self.link_mut(id).filter(|state| !state.ended) else {
            return Ok(());
        };
        let (member, expected) = (state.member, state.process);
        match member {
            Some(member) => self.handle(member, message, frame.payload, now),
            None => self.introduce(id, expected, &message, now),
        }
    }

    /// Bytes to be written to a link.
    pub fn output(&self, id: LinkId) -> &[u8] {
        self.links
            .get(id.index as usize)
            .and_then(Option::as_ref)
            .filter(|state| state.id == id)
            .map_or(&[], |state| state.link.output())
    }

    /// So many of them were. Name it again with [`next_dirty`](Self::next_dirty) only when there is new output.
    pub fn sent(&mut self, id: LinkId, bytes: usize) {
        if let Some(state) = self.link_mut(id) {
            state.link.sent(bytes);
            if state.link.output().is_empty() {
                state.full = false;
            }
        }
    }

    /// As [`sent`](Self::sent), of all of it, to a process that is this one. Says how much it was.
    pub(super) fn hand_over(&mut self, id: LinkId, decoder: &mut Decoder) -> usize {
        let Some(state) = self.link_mut(id) else {
            return 0;
        };
        state.full = false;
        state.link.out().hand_over(decoder)
    }

    /// The next link that has got output since it was last named.
    pub fn next_dirty(&mut self) -> Option<LinkId> {
        while let Some(id) = self.dirty.pop_front() {
            if let Some(state) = self.link_mut(id) {
                state.dirty = false;
                return Some(id);
            }
        }
        None
    }

    /// Never names this link as dirty: its owner looks by itself.
    pub(super) fn never_name(&mut self, id: LinkId) {
        if let Some(state) = self.link_mut(id) {
            // As if it had been named already, for ever.
            state.dirty = true;
        }
    }

    /// Whether the router has ended this link, or it never was.
    pub(super) fn has_ended(&self, id: LinkId) -> bool {
        let state = self.links.get(id.index as usize).and_then(Option::as_ref);
        state.is_none_or(|state| state.id != id || state.ended)
    }

    /// The other side has closed the link, or it cannot be written to any more. What was known of its process is
    /// forgotten at once.
    pub fn closed(&mut self, id: LinkId, now: Instant) {
        let Some(state) = self.link_mut(id) else {
            return;
        };
        let (finish, ended, process) = (state.link.finish(), state.ended, state.process);
        let member = state.member.take();
        self.links[id.index as usize] = None;
        let lost = member.and_then(|member| self.drop_member(member, now));
        self.expect_again(lost, now);
        if !ended {
            self.events.push_back(CoreEvent::Left {
                link: id,
                process,
                reason: finish.err().map(Misuse::Frame),
            });
        }
        self.check_recovery(now);
        self.end_overdue(now);
    }

    /// Ends a link with a reason: its process is told, and forgotten.
    pub(super) fn end(&mut self, id: LinkId, reason: Misuse, now: Instant) {
        let Some(state) = self.link_mut(id).filter(|state| !state.ended) else {
            return;
        };
        state.ended = true;
        let text = reason.to_string();
        state
            .link
            .push_control(&FromRouter::Bye { reason: &text }, b"");
        let (member, process) = (state.member.take(), state.process);
        self.mark_dirty(id);
        let lost = member.and_then(|member| self.drop_member(member, now));
        // One that has said hello on another link is about to say there what it has.
        if reason != Misuse::Replaced {
            self.expect_again(lost, now);
        }
        self.counters.ended += 1;
        self.events.push_back(CoreEvent::Ended {
            link: id,
            process,
            reason,
        });
        self.check_recovery(now);
    }

    fn end_overdue(&mut self, now: Instant) {
        while let Some(id) = self.overdue.pop() {
            self.end(id, Misuse::DoesNotRead, now);
        }
    }

    /// Lets deadlines pass. To be called at [`next_deadline`](Self::next_deadline), or more often.
    pub fn tick(&mut self, now: Instant) {
        self.expire_pushes(now);
        self.expire_questions(now);
        while let Some(uid) = self.presence.due(now) {
            if !self.uids.contains(&uid) {
                self.tell_presence(&uid, false);
            }
        }
        self.end_closing(now);
        self.check_recovery(now);
        self.end_overdue(now);
    }

    /// When [`tick`](Self::tick) is to be called next. May be earlier than necessary.
    pub fn next_deadline(&self) -> Option<Instant> {
        [
            self.pushed.next_deadline(),
            self.asked.next_deadline(),
            self.presence.next_deadline(),
            self.recovery.and_then(|recovery| recovery.deadline),
            self.closing.front().map(|(at, _)| *at),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// The next thing that is worth a line in the log, or that the owner of the sockets has to do.
    pub fn next_event(&mut self) -> Option<CoreEvent> {
        self.events.pop_front()
    }

    /// What has been done and refused so far.
    pub fn counters(&self) -> CoreCounters {
        CoreCounters {
            waiting: self.pushed.len() as u64,
            ..self.counters
        }
    }

    /// The connected worker processes.
    pub fn processes(&self) -> impl Iterator<Item = Connected> {
        (0..).zip(&self.members).filter_map(|(id, member)| {
            let member = member.as_ref()?;
            let link = self.links.get(member.link?.index as usize)?.as_ref()?;
            Some(Connected {
                process: member.process()?,
                uids: self.uids.len_of(id),
                rooms: self.rooms.len_of(id),
                queued: link.link.output().len(),
                refused: link.link.refused(),
            })
        })
    }

    /// The links on which this process has said hello, or may still do so.
    pub(super) fn links_of(&self, process: Process) -> impl Iterator<Item = LinkId> {
        self.links
            .iter()
            .flatten()
            .filter(move |state| state.process == Some(process) && !state.ended)
            .map(|state| state.id)
    }

    /// A process has lost its link: if it has been given another, it lives, and has what it had.
    fn expect_again(&mut self, process: Option<Process>, now: Instant) {
        if let Some(process) = process
            && self.links_of(process).next().is_some()
        {
            self.expect(process, now);
        }
    }

    pub(super) fn link_mut(&mut self, id: LinkId) -> Option<&mut LinkState> {
        self.links
            .get_mut(id.index as usize)?
            .as_mut()
            .filter(|state| state.id == id)
    }

    pub(super) fn set_member(&mut self, id: LinkId, member: MemberId) {
        if let Some(state) = self.link_mut(id) {
            state.member = Some(member);
        }
    }

    /// Queues a delivery on a link; false if it was refused.
    pub(super) fn queue_data(
        &mut self,
        id: LinkId,
        message: &FromRouter<'_>,
        payload: &[u8],
    ) -> bool {
        let Some(state) = self.link_mut(id) else {
            return false;
        };
        if state.link.push_data(message, payload) {
            self.mark_dirty(id);
            return true;
        }
        if !std::mem::replace(&mut state.full, true) {
            let process = state.member.and_then(|member| {
                let member = self.members.get(usize::from(member))?.as_ref()?;
                member.process()
            });
            self.events.push_back(CoreEvent::Full { link: id, process });
        }
        self.counters.refused += 1;
        false
    }

    /// Queues a frame that must not be refused.
    pub(super) fn queue_control(&mut self, id: LinkId, message: &FromRouter<'_>, payload: &[u8]) {
        let Some(state) = self.link_mut(id).filter(|state| !state.ended) else {
            return;
        };
        if state.link.is_overdue() {
            return; // about to be ended
        }
        state.link.push_control(message, payload);
        let overdue = state.link.is_overdue();
        self.mark_dirty(id);
        if overdue {
            self.overdue.push(id);
        }
    }

    /// Queues frames that were encoded while there was no link.
    pub(super) fn queue_encoded(&mut self, id: LinkId, frames: &[u8]) {
        if let Some(state) = self.link_mut(id) {
            state.link.out().push_encoded(frames);
            self.mark_dirty(id);
        }
    }

    fn mark_dirty(&mut self, id: LinkId) {
        if let Some(state) = self.link_mut(id)
            && !std::mem::replace(&mut state.dirty, true)
        {
            self.dirty.push_back(id);
        }
    }

    /// Acknowledges what the link has registered, once for all that came together.
    fn acknowledge(&mut self, id: LinkId) {
        let member = self.link_mut(id).and_then(|state| state.member);
        let due = member
            .and_then(|member| self.member_mut(member))
            .and_then(|member| member.ack_due.take());
        if let Some(seq) = due {
            self.queue_control(id, &FromRouter::Ack { seq }, b"");
        }
    }
}
