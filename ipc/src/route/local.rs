//! A router and its only process, in one.

use std::time::Instant;

use crate::route::Process;
use crate::route::agent::{Agent, AgentConfig};
use crate::route::core::{Core, CoreConfig, LinkId};
use crate::route::events::CoreEvent;
use crate::route::frame::Decoder;
use crate::route::request::Event;
use crate::route::tables::Key;

/// The router of a hive that has one worker process: it runs inside that process, and no socket is between them.
///
/// What a hive of many processes promises holds here by the same code: one order, outcomes that come later, limits.
///
/// ```
/// use std::time::Instant;
/// use workhive_ipc::route::{
///     AgentConfig, CoreConfig, Event, Local, Outcome, Process, Push, Target,
/// };
///
/// let now = Instant::now();
/// let process = Process { epoch: 1, slot: 0, generation: 0 };
/// let mut hive = Local::<u64>::new(process, AgentConfig::default(), CoreConfig::default(), now);
/// hive.agent().open(7);
/// hive.agent().bind(7, b"u1", false).unwrap();
/// let push = Push::message(Target::Uid(b"u1"), 0, b"hello").with_outcome();
/// let id = hive.agent().push(push, now).unwrap().unwrap();
///
/// let mut outcomes = Vec::new();
/// while hive.pump(now) {
///     while let Some(event) = hive.poll() {
///         match event {
///             Event::Deliver { receipt, .. } => hive.agent().report(receipt, 1, 0),
///             Event::Outcome { push, outcome } => outcomes.push((push, outcome)),
///             _ => {}
///         }
///     }
/// }
/// assert_eq!(outcomes, [(id, Outcome { delivered: 1, ..Outcome::default() })]);
/// ```
#[derive(Debug)]
pub struct Local<K> {
    process: Process,
    core: Core,
    agent: Agent<K>,
    link: LinkId,
}

impl<K: Key> Local<K> {
    /// The two, connected.
    ///
    /// See [`Local`] for an example.
    pub fn new(process: Process, agent: AgentConfig, core: CoreConfig, now: Instant) -> Self {
        let mut core = Core::new(process, core);
        let link = core.connect_process(process, now);
        core.never_name(link);
        let mut agent = Agent::worker(process, agent);
        agent.connected(now);
        Self {
            process,
            core,
            agent,
            link,
        }
    }

    /// The process's side.
    pub fn agent(&mut self) -> &mut Agent<K> {
        &mut self.agent
    }

    /// The router's side, for links to programs of this machine: they are connected with
    /// [`Core::connect_client`], and served as those of any router. [`pump`](Self::pump) after what they have said. Of
    /// the link to this process, [`Core::next_dirty`] says nothing, and what events say of it is only for the log.
    ///
    /// ```
    /// use std::time::Instant;
    /// use workhive_ipc::route::{Agent, AgentConfig, CoreConfig, Event, Local, Process, Push, Target};
    ///
    /// let now = Instant::now();
    /// let process = Process { epoch: 1, slot: 0, generation: 0 };
    /// let mut hive = Local::<u64>::new(process, AgentConfig::default(), CoreConfig::default(), now);
    /// hive.agent().open(7);
    /// hive.agent().bind(7, b"u1", false)?;
    /// while hive.pump(now) {
    ///     while hive.poll().is_some() {}
    /// }
    ///
    /// let mut client: Agent<u64> = Agent::client(AgentConfig::default());
    /// client.connected(now);
    /// client.push(Push::message(Target::Uid(b"u1"), 0, b"hello"), now)?;
    /// let link = hive.core().connect_client();
    /// hive.core().receive(link, client.output(), now);
    ///
    /// let mut delivered = 0;
    /// while hive.pump(now) {
    ///     while let Some(event) = hive.poll() {
    ///         delivered += usize::from(matches!(event, Event::Deliver { .. }));
    ///     }
    /// }
    /// assert_eq!(delivered, 1);
    /// # Ok::<(), workhive_ipc::route::AgentError>(())
    /// ```
    pub fn core(&mut self) -> &mut Core {
        &mut self.core
    }

    /// The next event of the process's side.
    pub fn poll(&mut self) -> Option<Event<'_, K>> {
        self.agent.poll()
    }

    /// The next event of the router's side.
    pub fn next_event(&mut self) -> Option<CoreEvent> {
        self.core.next_event()
    }

    /// Carries everything that waits from the one to the other, and back; true if there was anything.
    /// [`poll`](Self::poll) after that, and pump again while it returns true.
    pub fn pump(&mut self, now: Instant) -> bool {
        if self.core.has_ended(self.link) {
            // For misuse, as of any process; that it was told. It goes on with a new one.
            self.core.closed(self.link, now);
            self.link = self.core.connect_process(self.process, now);
            self.core.never_name(self.link);
            self.agent.connected(now);
        }
        let mut to_router = 0;
        let out = &mut self.agent.out;
        let feed = |decoder: &mut Decoder| to_router = out.hand_over(decoder);
        self.core.receive_by(self.link, feed, now);
        let from_router = self.core.hand_over(self.link, &mut self.agent.decoder);
        to_router + from_router > 0
    }

    /// Lets deadlines pass on both sides.
    pub fn tick(&mut self, now: Instant) {
        self.core.tick(now);
        self.agent.tick(now);
    }

    /// When [`tick`](Self::tick) is to be called next.
    pub fn next_deadline(&self) -> Option<Instant> {
        [self.core.next_deadline(), self.agent.next_deadline()]
            .into_iter()
            .flatten()
            .min()
    }
}
