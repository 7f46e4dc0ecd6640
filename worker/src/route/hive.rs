//! What can be sent to whom, from any process of the hive.

use std::fmt;

use workhive_ipc::route::{BINARY, ConnectionId, Outcome, Push, Query, TEXT, Target};
use workhive_protocols::Message;

use crate::core::{Core, with};
use crate::entry::Key;
use crate::error::{Result, RouteError};
use crate::route::{ThenAnswer, ThenOutcome};

/// The whole hive, as seen from one of its processes: whom can be sent what, and who is there.
///
/// Everything reaches connections in whichever process they are, the sender's own included, and goes the same way for
/// all: two messages to a uid, a room or all arrive in the same order at everybody who gets both. Messages of one
/// process arrive in the order in which it sent them.
///
/// Options come first, then what to do. An error says that nothing was sent. What becomes of a message is told later,
/// if it was asked for with [`on_outcome`](Self::on_outcome).
///
/// ```
/// # mod workhive { pub use workhive_protocols::*; pub use workhive_worker::*; }
/// use workhive::{Listener, Text, WebSocket};
///
/// let clients: Listener<WebSocket> = Listener::<WebSocket>::new("127.0.0.1:0")
///     .on_message(|conn, message| {
///         if conn.uid().is_none() {
///             conn.bind_uid(message.as_text()?)?;
///             return conn.join_room("lobby");
///         }
///         let me = conn.id();
///         Ok(conn.hive().except(me).send_to_room("lobby", message)?)
///     });
/// let pushes: Listener<Text> = Listener::<Text>::new("127.0.0.1:0").on_message(|conn, line| {
///     let reply = conn.handle();
///     let hive = conn.hive().on_outcome(move |outcome| {
///         reply.send(if outcome.is_delivered() { "ok" } else { "fail" })
///     });
///     Ok(hive.send_to_uid("u1", line)?)
/// });
/// ```
#[must_use = "it does nothing until it is told what to send"]
#[derive(Default)]
pub struct Hive {
    except: Vec<ConnectionId>,
    then: Option<ThenOutcome>,
    /// The connection in whose callback it was made: it waits for what comes back.
    conn: Option<Key>,
}

impl Hive {
    /// The hive of the process that runs this thread's loop. On any other thread all its methods return
    /// [`RouteError::NotOnLoop`].
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; pub use workhive_worker::*; }
    /// use workhive::{Hive, RouteError};
    ///
    /// assert_eq!(Hive::new().send_to_all("hello"), Err(RouteError::NotOnLoop));
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    pub(crate) fn of(conn: Key) -> Self {
        Self {
            conn: Some(conn),
            ..Self::default()
        }
    }

    /// Leaves out a connection, such as the one that speaks. Can be said of up to 1,024.
    pub fn except(mut self, id: ConnectionId) -> Self {
        self.except.push(id);
        self
    }

    /// Calls `then` with what became of it, once, later, on this loop. An `Err` from it is logged.
    ///
    /// The outcome comes from the processes that own the connections: `delivered` counts those whose send buffer took
    /// the message. It has an unknown part if an owner died or did not answer within 5 s.
    ///
    /// A connection from whose callback it was sent ([`Conn::hive`](crate::Conn::hive)) waits for the outcome: until then
    /// a peer that has closed its sending side still gets its answer, and a draining process does not end it.
    pub fn on_outcome(mut self, then: impl FnOnce(Outcome) -> Result + 'static) -> Self {
        self.then = Some(Box::new(then));
        self
    }

    /// Sends to every connection of a uid, in the natural form of each connection's protocol.
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; pub use workhive_worker::*; }
    /// # use workhive::{Process, Result};
    /// fn tick(worker: &mut Process<'_>) -> Result {
    ///     Ok(worker.hive().send_to_uid("u1", "tick")?)
    /// }
    /// ```
    ///
    /// # Errors
    /// [`RouteError`]: the uid is empty or longer than 255 bytes, the message longer than 10 MiB, or too much waits to
    /// be routed. That nobody has the uid is no error, but an outcome.
    pub fn send_to_uid<'m>(
        self,
        uid: impl AsRef<[u8]>,
        payload: impl Into<Message<'m>>,
    ) -> Result<(), RouteError> {
        let uid = checked("uid", uid.as_ref())?;
        self.send(Target::Uid(uid), &payload.into())
    }

    /// Sends one message to every connection of these uids; one that has two of them gets it once. Up to 16,384 uids
    /// with 512 KiB together.
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; pub use workhive_worker::*; }
    /// # use workhive::{Process, Result};
    /// fn tick(worker: &mut Process<'_>) -> Result {
    ///     Ok(worker.hive().send_to_uids(["u1", "u2"], "tick")?)
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`send_to_uid`](Self::send_to_uid), and [`RouteError::TooLong`] for too many.
    pub fn send_to_uids<'m, U: AsRef<[u8]>>(
        self,
        uids: impl IntoIterator<Item = U>,
        payload: impl Into<Message<'m>>,
    ) -> Result<(), RouteError> {
        let uids: Vec<U> = uids.into_iter().collect();
        let uids = all_checked("uid", &uids)?;
        self.send(Target::Uids(uids), &payload.into())
    }

    /// Sends to one connection. One of a past process, or one that has ended, makes the outcome that nobody got it.
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; pub use workhive_worker::*; }
    /// # use workhive::{ConnectionId, Process, Result};
    /// fn answer(worker: &mut Process<'_>, id: ConnectionId) -> Result {
    ///     Ok(worker.hive().send_to_connection(id, "done")?)
    /// }
    /// ```
    ///
    /// # Errors
    /// [`RouteError::OtherHive`] for an id of another hive, or of this one before it was started anew; and as
    /// [`send_to_uid`](Self::send_to_uid).
    pub fn send_to_connection<'m>(
        self,
        id: ConnectionId,
        payload: impl Into<Message<'m>>,
    ) -> Result<(), RouteError> {
        self.send(Target::Connection(known(id)?), &payload.into())
    }

    /// Sends to every member of a room. A room without members is no error, but an outcome.
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; pub use workhive_worker::*; }
    /// # use workhive::{Process, Result};
    /// fn tick(worker: &mut Process<'_>) -> Result {
    ///     Ok(worker.hive().send_to_room("lobby", "tick")?)
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`send_to_uid`](Self::send_to_uid).
    pub fn send_to_room<'m>(
        self,
        room: impl AsRef<[u8]>,
        payload: impl Into<Message<'m>>,
    ) -> Result<(), RouteError> {
        let room = checked("room", room.as_ref())?;
        self.send(Target::Room(room), &payload.into())
    }

    /// Sends to every member of these rooms; a member of two gets it once.
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; pub use workhive_worker::*; }
    /// # use workhive::{Process, Result};
    /// fn tick(worker: &mut Process<'_>) -> Result {
    ///     Ok(worker.hive().send_to_rooms(["lobby", "garden"], "tick")?)
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`send_to_uids`](Self::send_to_uids).
    pub fn send_to_rooms<'m, R: AsRef<[u8]>>(
        self,
        rooms: impl IntoIterator<Item = R>,
        payload: impl Into<Message<'m>>,
    ) -> Result<(), RouteError> {
        let rooms: Vec<R> = rooms.into_iter().collect();
        let rooms = all_checked("room", &rooms)?;
        self.send(Target::Rooms(rooms), &payload.into())
    }

    /// Sends to every connection of the hive whose listener is [routed](crate::Listener::routed), and to those others
    /// that have a uid, a room or session data.
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; pub use workhive_worker::*; }
    /// # use workhive::{Process, Result};
    /// fn tick(worker: &mut Process<'_>) -> Result {
    ///     Ok(worker.hive().send_to_all("tick")?)
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`send_to_uid`](Self::send_to_uid).
    pub fn send_to_all<'m>(self, payload: impl Into<Message<'m>>) -> Result<(), RouteError> {
        self.send(Target::All, &payload.into())
    }

    /// Closes every connection of a uid, with a code and a reason in the sense of
    /// [`Conn::close_with`](crate::Conn::close_with). The outcome counts them as delivered.
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; pub use workhive_worker::*; }
    /// # use workhive::{Process, Result};
    /// fn ban(worker: &mut Process<'_>, uid: &str) -> Result {
    ///     Ok(worker.hive().close_uid(uid, 4003, "banned")?)
    /// }
    /// ```
    ///
    /// # Errors
    /// [`RouteError::CloseCode`] for a code that applications may not use, [`RouteError::TooLong`] for a reason of more
    /// than 123 bytes; and as [`send_to_uid`](Self::send_to_uid).
    pub fn close_uid(
        self,
        uid: impl AsRef<[u8]>,
        code: u16,
        reason: &str,
    ) -> Result<(), RouteError> {
        let uid = checked("uid", uid.as_ref())?;
        self.close(Target::Uid(uid), code, reason)
    }

    /// Closes one connection.
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; pub use workhive_worker::*; }
    /// # use workhive::{ConnectionId, Process, Result};
    /// fn end(worker: &mut Process<'_>, id: ConnectionId) -> Result {
    ///     Ok(worker.hive().close_connection(id, 1000, "done")?)
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`close_uid`](Self::close_uid) and [`send_to_connection`](Self::send_to_connection).
    pub fn close_connection(
        self,
        id: ConnectionId,
        code: u16,
        reason: &str,
    ) -> Result<(), RouteError> {
        self.close(Target::Connection(known(id)?), code, reason)
    }

    /// Closes every member of a room.
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; pub use workhive_worker::*; }
    /// # use workhive::{Process, Result};
    /// fn clear(worker: &mut Process<'_>) -> Result {
    ///     Ok(worker.hive().close_room("lobby", 1000, "closing time")?)
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`close_uid`](Self::close_uid).
    pub fn close_room(
        self,
        room: impl AsRef<[u8]>,
        code: u16,
        reason: &str,
    ) -> Result<(), RouteError> {
        let room = checked("room", room.as_ref())?;
        self.close(Target::Room(room), code, reason)
    }

    /// Makes every connection of a uid a member of a room. When the outcome is there, it is in force.
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; pub use workhive_worker::*; }
    /// # use workhive::{Process, Result};
    /// fn invite(worker: &mut Process<'_>, uid: &str) -> Result {
    ///     Ok(worker.hive().join_uid(uid, "lobby")?)
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`send_to_uid`](Self::send_to_uid).
    pub fn join_uid(self, uid: impl AsRef<[u8]>, room: impl AsRef<[u8]>) -> Result<(), RouteError> {
        let uid = checked("uid", uid.as_ref())?;
        let room = checked("room", room.as_ref())?;
        self.push(Push::join(Target::Uid(uid), room))
    }

    /// Takes every connection of a uid from a room.
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; pub use workhive_worker::*; }
    /// # use workhive::{Process, Result};
    /// fn dismiss(worker: &mut Process<'_>, uid: &str) -> Result {
    ///     Ok(worker.hive().leave_uid(uid, "lobby")?)
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`send_to_uid`](Self::send_to_uid).
    pub fn leave_uid(
        self,
        uid: impl AsRef<[u8]>,
        room: impl AsRef<[u8]>,
    ) -> Result<(), RouteError> {
        let uid = checked("uid", uid.as_ref())?;
        let room = checked("room", room.as_ref())?;
        self.push(Push::leave(Target::Uid(uid), room))
    }

    /// Makes one connection a member of a room.
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; pub use workhive_worker::*; }
    /// # use workhive::{ConnectionId, Process, Result};
    /// fn invite(worker: &mut Process<'_>, id: ConnectionId) -> Result {
    ///     Ok(worker.hive().join_connection(id, "lobby")?)
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`send_to_connection`](Self::send_to_connection).
    pub fn join_connection(
        self,
        id: ConnectionId,
        room: impl AsRef<[u8]>,
    ) -> Result<(), RouteError> {
        let room = checked("room", room.as_ref())?;
        self.push(Push::join(Target::Connection(known(id)?), room))
    }

    /// Takes one connection from a room.
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; pub use workhive_worker::*; }
    /// # use workhive::{ConnectionId, Process, Result};
    /// fn dismiss(worker: &mut Process<'_>, id: ConnectionId) -> Result {
    ///     Ok(worker.hive().leave_connection(id, "lobby")?)
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`send_to_connection`](Self::send_to_connection).
    pub fn leave_connection(
        self,
        id: ConnectionId,
        room: impl AsRef<[u8]>,
    ) -> Result<(), RouteError> {
        let room = checked("room", room.as_ref())?;
        self.push(Push::leave(Target::Connection(known(id)?), room))
    }

    /// Ends a room: all its members leave it. Their connections stay.
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; pub use workhive_worker::*; }
    /// # use workhive::{Process, Result};
    /// fn end(worker: &mut Process<'_>) -> Result {
    ///     Ok(worker.hive().dismiss_room("lobby")?)
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`send_to_uid`](Self::send_to_uid).
    pub fn dismiss_room(self, room: impl AsRef<[u8]>) -> Result<(), RouteError> {
        let room = checked("room", room.as_ref())?;
        self.push(Push::leave(Target::Room(room), room))
    }

    /// Sends a message to every process of the hive that [subscribes](crate::Process::subscribe) to a topic, this one
    /// included. It goes to processes, not to connections; options have no meaning here.
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; pub use workhive_worker::*; }
    /// # use workhive::{Process, Result};
    /// fn changed(worker: &mut Process<'_>) -> Result {
    ///     Ok(worker.hive().publish("settings", "changed")?)
    /// }
    /// ```
    ///
    /// # Errors
    /// [`RouteError`]: the topic is empty or longer than 255 bytes, the message longer than 10 MiB, or too much waits.
    pub fn publish<'m>(
        self,
        topic: impl AsRef<[u8]>,
        payload: impl Into<Message<'m>>,
    ) -> Result<(), RouteError> {
        let topic = checked("topic", topic.as_ref())?;
        let payload = payload.into();
        with(|core| {
            let now = core.clock.now();
            let agent = core.routing.side.agent();
            agent.publish(topic, tag(&payload), payload.as_bytes(), now)
        })
        .ok_or(RouteError::NotOnLoop)?
        .map_err(RouteError::from)
    }

    fn send(self, target: Target<'_>, payload: &Message<'_>) -> Result<(), RouteError> {
        self.push(Push::message(target, tag(payload), payload.as_bytes()))
    }

    fn close(self, target: Target<'_>, code: u16, reason: &str) -> Result<(), RouteError> {
        // RFC 6455 section 7.4: 1000, and 3000 to 4999; section 5.5: a control frame has 125 bytes, two for the code.
        if code != 1000 && !(3000..5000).contains(&code) {
            return Err(RouteError::CloseCode { code });
        }
        if reason.len() > 123 {
            return Err(RouteError::TooLong);
        }
        self.push(Push::close(target, code, reason))
    }

    fn push(self, mut push: Push<'_>) -> Result<(), RouteError> {
        for id in self.except {
            push = push.except(id);
        }
        let conn = self.conn;
        let mut then = self.then.map(|then| -> ThenOutcome {
            Box::new(move |outcome| {
                release(conn);
                then(outcome)
            })
        });
        if then.is_some() {
            push = push.with_outcome();
        }
        // What is left of `then` is dropped after this, with the core free.
        with(|core| {
            let now = core.clock.now();
            let sent = core.routing.side.agent().push(push, now);
            if sent.is_err() {
                core.counters.send_failures += 1;
            }
            if let (Some(id), Some(then)) = (sent?, then.take()) {
                core.routing.outcomes.insert(id, then);
                core.hold(conn);
            }
            Ok(())
        })
        .unwrap_or(Err(RouteError::NotOnLoop))
    }

    /// Asks something of the router, which answers later.
    pub(super) fn ask(self, query: Query<'_>, then: ThenAnswer) -> Result<(), RouteError> {
        let conn = self.conn;
        let mut then: Option<ThenAnswer> = Some(Box::new(move |answer| {
            release(conn);
            then(answer)
        }));
        with(|core| {
            let now = core.clock.now();
            let id = core.routing.side.agent().query(query, now)?;
            if let Some(then) = then.take() {
                core.routing.answers.insert(id, then);
                core.hold(conn);
            }
            Ok(())
        })
        .unwrap_or(Err(RouteError::NotOnLoop))
    }
}

impl Core {
    /// A connection waits for something that it has asked for.
    pub(super) fn hold(&mut self, conn: Option<Key>) {
        if let Some(entry) = conn.and_then(|key| self.entry(key)) {
            entry.work += 1;
        }
    }
}

/// It waits no longer.
pub(super) fn release(conn: Option<Key>) {
    with(|core| {
        let Some(key) = conn else {
            return;
        };
        if let Some(entry) = core.entry(key) {
            entry.work = entry.work.saturating_sub(1);
            core.mark_dirty(key);
        }
    });
}

impl fmt::Debug for Hive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hive")
            .field("except", &self.except)
            .finish_non_exhaustive()
    }
}

/// Whether the receivers get the payload as text.
fn tag(payload: &Message<'_>) -> u8 {
    if payload.is_text() { TEXT } else { BINARY }
}

/// A uid, room or topic of the right length.
pub(crate) fn checked<'n>(what: &'static str, name: &'n [u8]) -> Result<&'n [u8], RouteError> {
    if name.is_empty() || name.len() > workhive_ipc::route::MAX_NAME {
        return Err(RouteError::Length {
            what,
            len: name.len(),
        });
    }
    Ok(name)
}

pub(super) fn all_checked<'n, N: AsRef<[u8]>>(
    what: &'static str,
    names: &'n [N],
) -> Result<Vec<&'n [u8]>, RouteError> {
    let names = names.iter().map(|name| checked(what, name.as_ref()));
    names.collect()
}

/// An id of this hive.
pub(super) fn known(id: ConnectionId) -> Result<ConnectionId, RouteError> {
    match with(|core| core.place.process.epoch) {
        None => Err(RouteError::NotOnLoop),
        Some(epoch) if epoch != id.process().epoch => Err(RouteError::OtherHive { id }),
        Some(_) => Ok(id),
    }
}
