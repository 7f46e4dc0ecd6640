//! Push to a user id.

use std::collections::{HashMap, VecDeque};
use std::fmt;

use workhive_protocols::Message;

use crate::core::with;
use crate::entry::{Key, Phase};
use crate::error::{Result, SendError, UidError};
use crate::turn::contained;
use crate::uid::Uid;

/// The connections of this process by uid, and the pushes that wait for the end of the turn.
///
/// A push is never delivered while it is being issued: it waits for the loop's routing step. So all pushes have one
/// order, whoever issues them, and an outcome always comes later.
pub(crate) struct Routing {
    uids: HashMap<Uid, Vec<Key>>,
    inbox: VecDeque<Push>,
    inbox_bytes: usize,
    next_serial: u64,
    /// Whether this process is the whole hive.
    alone: bool,
}

/// Payload bytes that may wait for the routing step.
const INBOX_BYTES: usize = 16 * 1024 * 1024;

type Then = Box<dyn FnOnce(Outcome) -> Result>;

struct Push {
    serial: u64,
    uid: Option<Uid>,
    payload: Message<'static>,
    then: Option<Then>,
    refused: Option<Refusal>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    Full,
    ManyProcesses,
}

impl Routing {
    pub(crate) fn new(alone: bool) -> Self {
        Self {
            uids: HashMap::new(),
            inbox: VecDeque::new(),
            inbox_bytes: 0,
            next_serial: 0,
            alone,
        }
    }

    pub(crate) fn unbind(&mut self, uid: &Uid, key: Key) {
        if let Some(keys) = self.uids.get_mut(uid) {
            keys.retain(|other| *other != key);
            if keys.is_empty() {
                self.uids.remove(uid);
            }
        }
    }

    pub(crate) fn has_work(&self) -> bool {
        !self.inbox.is_empty()
    }
}

/// Delivers what was pushed before this call; what is pushed by the outcomes' own callbacks comes in the next turn.
pub(crate) fn deliver() {
    let waiting = with(|core| core.routing.inbox.len()).unwrap_or(0);
    for _ in 0..waiting {
        let Some((outcome, then)) = deliver_one() else {
            return;
        };
        if let Some(then) = then {
            crate::process::guard("the outcome of a push", || then(outcome));
        }
    }
}

fn deliver_one() -> Option<(Outcome, Option<Then>)> {
    let (push, keys) = with(|core| {
        let push = core.routing.inbox.pop_front()?;
        core.routing.inbox_bytes -= push.payload.len();
        let keys = match (&push.uid, push.refused) {
            (Some(uid), None) => core.routing.uids.get(uid).cloned().unwrap_or_default(),
            _ => Vec::new(),
        };
        Some((push, keys))
    })??;
    let mut outcome = Outcome {
        connections: 0,
        refused: 0,
        unrouted: push.refused.is_some(),
    };
    for key in keys {
        contained(key, || match with(|core| core.push(key, &push.payload)) {
            Some(Ok(())) => outcome.connections += 1,
            Some(Err(SendError::Gone)) | None => {}
            Some(Err(_)) => outcome.refused += 1,
        });
    }
    Some((outcome, push.then))
}

/// The whole hive, as seen from one of its processes: what can be pushed to whom.
///
/// ```
/// # mod workhive { pub use workhive_protocols::*; pub use workhive_worker::*; }
/// use workhive::{Text, WebSocket};
/// use workhive::Listener;
///
/// let clients: Listener<WebSocket> = Listener::<WebSocket>::new("127.0.0.1:0")
///     .on_message(|conn, message| conn.bind_uid(message.as_text()?));
/// let pushes: Listener<Text> = Listener::<Text>::new("127.0.0.1:0").on_message(|conn, line| {
///     let reply = conn.handle();
///     conn.hive()
///         .send_to_uid("u1", line)
///         .then(move |outcome| reply.send(if outcome.delivered() { "ok" } else { "fail" }));
///     Ok(())
/// });
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Hive {
    // Keeps others from making one where there is no loop.
    private: (),
}

impl Hive {
    pub(crate) fn new() -> Self {
        Self { private: () }
    }

    /// Pushes `payload` to every connection of `uid`, in the natural form of each connection's protocol. What became
    /// of it can be had with [`Pending::then`].
    ///
    /// Pushes arrive in the order in which they were issued. A `uid` that cannot exist (empty, or longer than 255
    /// bytes) has no connections.
    pub fn send_to_uid<'m>(
        self,
        uid: impl AsRef<[u8]>,
        payload: impl Into<Message<'m>>,
    ) -> Pending {
        let (): () = self.private;
        let payload = payload.into().into_owned();
        let serial = with(|core| {
            let routing = &mut core.routing;
            routing.next_serial += 1;
            let refused = if !routing.alone {
                Some(Refusal::ManyProcesses)
            } else if routing.inbox_bytes + payload.len() > INBOX_BYTES {
                core.counters.send_failures += 1;
                Some(Refusal::Full)
            } else {
                None
            };
            let payload = if refused.is_some() {
                Message::Binary(Vec::new().into())
            } else {
                payload
            };
            routing.inbox_bytes += payload.len();
            routing.inbox.push_back(Push {
                serial: routing.next_serial,
                uid: Uid::new(uid).ok(),
                payload,
                then: None,
                refused,
            });
            routing.next_serial
        });
        Pending { serial }
    }

    /// Whether a live connection of this process has the uid.
    pub fn is_uid_online(self, uid: impl AsRef<[u8]>) -> bool {
        let Ok(uid) = Uid::new(uid) else {
            return false;
        };
        with(|core| core.routing.uids.contains_key(&uid)).unwrap_or(false)
    }

    pub(crate) fn bind_uid(key: Key, uid: Uid) -> Result<(), UidError> {
        with(|core| {
            if !core.routing.alone {
                return Err(UidError::ManyProcesses);
            }
            let Some(entry) = core.entry(key) else {
                return Err(UidError::Gone);
            };
            if entry.phase != Phase::Open {
                return Err(UidError::Gone);
            }
            match &entry.uid {
                Some(bound) if *bound == uid => return Ok(()),
                Some(_) => return Err(UidError::Bound),
                None => entry.uid = Some(uid.clone()),
            }
            core.routing.uids.entry(uid).or_default().push(key);
            Ok(())
        })
        .unwrap_or(Err(UidError::NotOnLoop))
    }

    pub(crate) fn unbind_uid(key: Key) {
        with(|core| {
            if let Some(uid) = core.entry(key).and_then(|entry| entry.uid.take()) {
                core.routing.unbind(&uid, key);
            }
        });
    }
}

/// A push on its way.
#[derive(Debug)]
pub struct Pending {
    /// None if there was no loop to issue it on.
    serial: Option<u64>,
}

impl Pending {
    /// Calls `then` with the outcome, later, on this loop. An `Err` from it is logged. To be called before the callback
    /// returns in which the push was issued; later there is no outcome any more, and `then` is not called.
    pub fn then(self, then: impl FnOnce(Outcome) -> Result + 'static) {
        let mut then: Option<Then> = Some(Box::new(then));
        with(|core| {
            let mut inbox = core.routing.inbox.iter_mut().rev();
            if let Some(push) = inbox.find(|push| Some(push.serial) == self.serial) {
                push.then = then.take();
            }
        });
        // If it found no place it is dropped here, with the core free.
    }
}

/// What became of a push.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    connections: usize,
    refused: usize,
    unrouted: bool,
}

impl Outcome {
    /// True if at least one live connection has it in its send buffer.
    pub fn delivered(self) -> bool {
        self.connections > 0
    }

    /// How many connections took it.
    pub fn connections(self) -> usize {
        self.connections
    }

    /// How many connections of the uid refused it, because their send buffer was full or their handshake is not
    /// complete.
    pub fn refused(self) -> usize {
        self.refused
    }

    /// True if nobody was asked: too much was waiting to be routed, or the hive has several worker processes.
    pub fn unrouted(self) -> bool {
        self.unrouted
    }
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Outcome(connections: {}, refused: {}, unrouted: {})",
            self.connections, self.refused, self.unrouted
        )
    }
}
