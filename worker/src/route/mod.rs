//! Push to any uid from any process: this process's part in it, and the router's.

mod ask;
mod deliver;
mod hive;
pub(crate) mod hub;
mod member;
mod router;
pub(crate) mod side;

use std::any::Any;
use std::collections::{HashMap, VecDeque};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use workhive_ipc::ToMaster;
use workhive_ipc::route::{AgentError, Answer, PushId, QueryId, Registered, Ticket};
use workhive_protocols::Message;

use crate::core::with;
use crate::entry::Key;
use crate::error::Result;
use crate::route::side::Side;
use crate::uid::Uid;

pub use ask::{Count, Members, Names, Presence, Session, Totals};
pub use hive::Hive;
pub use router::router_program;
pub use workhive_ipc::route::{Member, Outcome};

pub(crate) use deliver::{act, step};
pub(crate) use hive::checked;
pub(crate) use member::Past;

/// With which code a connection is closed whose uid another connection has claimed.
pub(crate) const REPLACED: u16 = 4001;

type ThenOutcome = Box<dyn FnOnce(Outcome) -> Result>;
type ThenAnswer = Box<dyn FnOnce(Option<Answer>) -> Result>;
type ThenRegistered = Box<dyn FnOnce(&mut dyn Any)>;
pub(crate) type OnTopic = Rc<dyn Fn(&mut dyn Any, Message<'_>)>;
pub(crate) type OnPresence = Rc<dyn Fn(&mut dyn Any, &Uid, bool)>;

/// What this process has to do with routing: its side of it, and who waits for what.
pub(crate) struct Routing {
    pub(crate) side: Side,
    outcomes: HashMap<PushId, ThenOutcome>,
    answers: HashMap<QueryId, ThenAnswer>,
    /// In the order of their tickets.
    registrations: VecDeque<Registration>,
    /// Up to which they are in force.
    registered: Ticket,
    topics: HashMap<Vec<u8>, OnTopic>,
    on_presence: Option<OnPresence>,
    /// Of the event that is acted upon; kept for their memory.
    to: Vec<Key>,
    payload: Vec<u8>,
}

/// Somebody who waits for a registration to be in force.
struct Registration {
    ticket: Ticket,
    conn: Key,
    then: ThenRegistered,
}

/// How many may wait: more do only if the router is stopped, and somebody makes use of that.
const REGISTRATIONS: usize = 64 * 1024;

impl Routing {
    pub(crate) fn new(side: Side) -> Self {
        Self {
            side,
            outcomes: HashMap::new(),
            answers: HashMap::new(),
            registrations: VecDeque::new(),
            registered: Ticket::default(),
            topics: HashMap::new(),
            on_presence: None,
            to: Vec::new(),
            payload: Vec::new(),
        }
    }

    /// True if there is something to be done without waiting.
    pub(crate) fn has_work(&mut self) -> bool {
        let first = self.registrations.front();
        first.is_some_and(|first| first.ticket <= self.registered) || self.side.has_work()
    }

    /// True if there is nothing for the routing step of this turn.
    fn is_idle(&mut self, now: Instant) -> bool {
        !self.has_work() && self.next_deadline().is_none_or(|at| at > now)
    }

    /// Tells `then` when a registration of the connection is in force. It is given back if too many wait.
    fn tell_registered(
        &mut self,
        registered: Registered,
        conn: Key,
        then: ThenRegistered,
    ) -> Result<(), ThenRegistered> {
        if self.registrations.len() >= REGISTRATIONS {
            return Err(then);
        }
        let last = self.registrations.back().map(|last| last.ticket);
        let ticket = match registered {
            // Behind those that wait already.
            Registered::InForce => last.unwrap_or(self.registered),
            Registered::Pending(ticket) => ticket,
        };
        self.registrations
            .push_back(Registration { ticket, conn, then });
        Ok(())
    }

    /// The connection has ended: nobody is to be told for it. To be dropped with the core free.
    pub(crate) fn forget(&mut self, conn: Key) -> Vec<ThenRegistered> {
        if self.registrations.iter().all(|waits| waits.conn != conn) {
            return Vec::new();
        }
        let (gone, left) = std::mem::take(&mut self.registrations)
            .into_iter()
            .partition::<VecDeque<_>, _>(|waits| waits.conn == conn);
        self.registrations = left;
        gone.into_iter().map(|waits| waits.then).collect()
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.side.next_deadline()
    }

    /// From now on uids that come and go on this host are told.
    pub(crate) fn watch(&mut self, hook: OnPresence) {
        self.side.agent().watch(true);
        self.on_presence = Some(hook);
    }

    /// Messages on the topic go to `then` from now on. The one before is returned, to be dropped with the core free.
    pub(crate) fn subscribe(
        &mut self,
        topic: &[u8],
        then: OnTopic,
    ) -> Result<Option<OnTopic>, AgentError> {
        self.side.agent().subscribe(topic)?;
        Ok(self.topics.insert(topic.to_vec(), then))
    }

    /// The opposite; None if there was no subscription.
    pub(crate) fn unsubscribe(&mut self, topic: &[u8]) -> Option<OnTopic> {
        let before = self.topics.remove(topic)?;
        self.side.agent().unsubscribe(topic);
        Some(before)
    }
}

/// The process drains: its replacement is told of uids that come and go, and serves programs of this machine.
pub(crate) fn drain() {
    let hook = with(|core| {
        core.routing.side.close_listener();
        core.routing.side.agent().watch(false);
        core.routing.on_presence.take()
    });
    // Dropped with the core free.
    drop(hook);
}

/// A stream to the router has come.
pub(crate) fn connect(socket: OwnedFd, scratch: &mut [u8], state: &mut dyn Any) {
    lose(scratch, state);
    with(|core| core.routing.side.connect(socket, core.clock.now()));
}

/// Gives up the stream to the router, after all that it has brought.
pub(crate) fn lose(scratch: &mut [u8], state: &mut dyn Any) {
    with(|core| core.routing.side.receive(scratch, core.clock.now()));
    act(state);
    with(|core| core.routing.side.disconnect(core.clock.now()));
    act(state);
}

/// The end of a turn: what this process has for the router leaves in one write.
pub(crate) fn flush(scratch: &mut [u8], state: &mut dyn Any) {
    if with(|core| core.routing.side.flush()) == Some(false) {
        lose(scratch, state);
    }
}

/// How long the end of a process may wait for the router.
const LAST_WORDS: Duration = Duration::from_millis(250);

/// The end of this process: what comes for connections that are no more is answered, since whoever sent it waits, until
/// the router knows that they are no more.
pub(crate) fn end(scratch: &mut [u8], state: &mut dyn Any) {
    let limit = Instant::now() + LAST_WORDS;
    loop {
        let left = limit.saturating_duration_since(Instant::now());
        if left.is_zero() || with(|core| core.routing.side.wait(left)) != Some(true) {
            return;
        }
        with(|core| core.routing.side.receive(scratch, core.clock.now()));
        act(state);
        with(|core| core.routing.side.flush());
    }
}

/// Lets deadlines pass.
pub(crate) fn tick() {
    with(|core| {
        if core.routing.side.tick(core.clock.now()) {
            core.link.tell(&ToMaster::RequestRouter);
        }
    });
}
