//! Push to any uid from any process: this process's part in it, and the router's.

mod ask;
mod deliver;
mod hive;
pub(crate) mod hub;
mod member;
mod router;
pub(crate) mod side;

use std::any::Any;
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Instant;

use workhive_ipc::ToMaster;
use workhive_ipc::route::{AgentError, Answer, PushId, QueryId, Ticket};
use workhive_protocols::Message;

use crate::core::with;
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

/// The tag of a pushed payload that is text.
pub(crate) const TEXT: u8 = 0;

/// The tag of a pushed payload that is not.
pub(crate) const BINARY: u8 = 1;

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
    registrations: HashMap<Ticket, ThenRegistered>,
    /// For registrations that were in force at once: they are told later all the same.
    in_force: Vec<ThenRegistered>,
    topics: HashMap<Vec<u8>, OnTopic>,
    on_presence: Option<OnPresence>,
    /// Of the event that is acted upon; kept for their memory.
    to: Vec<crate::entry::Key>,
    payload: Vec<u8>,
}

impl Routing {
    pub(crate) fn new(side: Side) -> Self {
        Self {
            side,
            outcomes: HashMap::new(),
            answers: HashMap::new(),
            registrations: HashMap::new(),
            in_force: Vec::new(),
            topics: HashMap::new(),
            on_presence: None,
            to: Vec::new(),
            payload: Vec::new(),
        }
    }

    /// True if there is something to be done without waiting.
    pub(crate) fn has_work(&mut self) -> bool {
        !self.in_force.is_empty() || self.side.has_work()
    }

    /// True if there is nothing for the routing step of this turn.
    fn is_idle(&mut self, now: Instant) -> bool {
        !self.has_work() && self.next_deadline().is_none_or(|at| at > now)
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

/// Lets deadlines pass.
pub(crate) fn tick() {
    with(|core| {
        if core.routing.side.tick(core.clock.now()) {
            core.link.tell(&ToMaster::RequestRouter);
        }
    });
}
