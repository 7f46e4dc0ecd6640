//! What a connection is in the hive: its uids, its rooms, its session data.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use workhive_ipc::route::{AgentError, Registered};
use workhive_protocols::Protocol;

use crate::conn::Conn;
use crate::core::{Core, with};
use crate::driver::panic_text;
use crate::entry::{Key, Phase};
use crate::error::{Error, Result, RouteError};
use crate::handle::Handle;
use crate::route::hive::{checked, release};
use crate::uid::Uid;

/// What a connection was, for `on_close` to see.
#[derive(Debug, Default)]
pub(crate) struct Past {
    uids: Vec<Uid>,
    rooms: Vec<Vec<u8>>,
    session: Option<Vec<u8>>,
}

impl<P: Protocol, S: 'static, D: 'static> Conn<'_, P, S, D> {
    /// The uid of this connection; the first one, if it has several. In `on_close` it is still known.
    pub fn uid(&self) -> Option<Uid> {
        self.uids().into_iter().next()
    }

    /// The uids of this connection, in no particular order.
    pub fn uids(&self) -> Vec<Uid> {
        self.handle().uids()
    }

    /// The rooms of this connection, in no particular order. In `on_close` they are still known.
    pub fn rooms(&self) -> Vec<Vec<u8>> {
        self.handle().rooms()
    }

    /// What was set with [`set_session`](Self::set_session).
    pub fn session(&self) -> Option<Vec<u8>> {
        self.handle().session()
    }

    /// Makes this connection one of those that messages to `uid` reach. A uid may have any number of connections, in
    /// any processes; a connection has one uid, unless its listener allows [more](crate::Listener::max_uids). Binding
    /// the same uid again changes nothing.
    ///
    /// It reaches the rest of the hive in a moment; [`bind_uid_then`](Self::bind_uid_then) tells when.
    ///
    /// # Errors
    /// [`RouteError`]: the length of the uid, the number of uids, or the connection has ended.
    pub fn bind_uid(&mut self, uid: impl AsRef<[u8]>) -> Result {
        self.handle().bind_uid(uid)
    }

    /// The same, and calls `then` when every message that is sent to the uid from now on, by whatever process, will
    /// reach this connection. Not if it has ended meanwhile. An `Err` from `then` ends the connection like one from
    /// `on_message`.
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; pub use workhive_worker::*; }
    /// # use workhive::{Conn, Message, Result, WebSocket};
    /// fn on_message(conn: &mut Conn<'_, WebSocket>, message: Message<'_>) -> Result {
    ///     conn.bind_uid_then(message.as_text()?, |conn| conn.send("welcome"))
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`bind_uid`](Self::bind_uid).
    pub fn bind_uid_then(
        &mut self,
        uid: impl AsRef<[u8]>,
        then: impl FnOnce(&mut Conn<'_, P, S, D>) -> Result + 'static,
    ) -> Result {
        let registered = bind(self.handle().key(), uid.as_ref(), false)?;
        Ok(self.registered(registered, then)?)
    }

    /// Binds a uid that only one connection is to have: the one that had claimed it before, wherever in the hive, is
    /// closed with code 4001 and the reason "another connection has taken over". Of two that claim it at the same
    /// moment one wins. Connections that have only [bound](Self::bind_uid) it stay.
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; pub use workhive_worker::*; }
    /// # use workhive::{Conn, Message, Result, WebSocket};
    /// fn on_message(conn: &mut Conn<'_, WebSocket>, message: Message<'_>) -> Result {
    ///     conn.claim_uid(message.as_text()?)
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`bind_uid`](Self::bind_uid).
    pub fn claim_uid(&mut self, uid: impl AsRef<[u8]>) -> Result {
        self.handle().claim_uid(uid)
    }

    /// Undoes [`bind_uid`](Self::bind_uid).
    ///
    /// # Errors
    /// [`RouteError::NotBound`]: the connection does not have this uid.
    pub fn unbind_uid(&mut self, uid: impl AsRef<[u8]>) -> Result {
        self.handle().unbind_uid(uid)
    }

    /// Makes this connection a member of a room: [`send_to_room`](crate::Hive::send_to_room) reaches it from any
    /// process. A connection can be in 128 rooms, unless its listener allows [more](crate::Listener::max_rooms). Joining
    /// a room again changes nothing.
    ///
    /// # Errors
    /// [`RouteError`]: the length of the room's name, the number of rooms, or the connection has ended.
    pub fn join_room(&mut self, room: impl AsRef<[u8]>) -> Result {
        self.handle().join_room(room)
    }

    /// The same, and calls `then` when it is in force; see [`bind_uid_then`](Self::bind_uid_then).
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; pub use workhive_worker::*; }
    /// # use workhive::{Conn, Message, Result, WebSocket};
    /// fn on_message(conn: &mut Conn<'_, WebSocket>, message: Message<'_>) -> Result {
    ///     conn.join_room_then(message.as_text()?, |conn| conn.send("you are in"))
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`join_room`](Self::join_room).
    pub fn join_room_then(
        &mut self,
        room: impl AsRef<[u8]>,
        then: impl FnOnce(&mut Conn<'_, P, S, D>) -> Result + 'static,
    ) -> Result {
        let registered = join(self.handle().key(), room.as_ref())?;
        Ok(self.registered(registered, then)?)
    }

    /// Takes this connection from a room.
    ///
    /// # Errors
    /// [`RouteError::NotInRoom`]: it is not in it.
    pub fn leave_room(&mut self, room: impl AsRef<[u8]>) -> Result {
        self.handle().leave_room(room)
    }

    /// Sets data of this connection that any process can read with [`Hive::session`](crate::Hive::session). They stay in
    /// this process and cost nothing until then. Up to 64 KiB.
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; pub use workhive_worker::*; }
    /// # use workhive::{Conn, Message, Result, WebSocket};
    /// fn on_message(conn: &mut Conn<'_, WebSocket>, message: Message<'_>) -> Result {
    ///     conn.set_session(message.as_bytes())?;
    ///     assert_eq!(conn.session().as_deref(), Some(message.as_bytes()));
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// [`RouteError`]: too long, or the connection has ended.
    pub fn set_session(&mut self, data: impl AsRef<[u8]>) -> Result {
        self.handle().set_session(data)
    }

    fn registered(
        &self,
        registered: Registered,
        then: impl FnOnce(&mut Conn<'_, P, S, D>) -> Result + 'static,
    ) -> Result<(), RouteError> {
        let key = self.handle().key();
        when_in_force(key, registered, move |state| {
            crate::turn::tell::<P, S, D>("the end of a registration", key, state, then);
        })
    }
}

/// What a connection is in the hive, from outside of its callbacks.
impl<Q> Handle<Q> {
    /// As [`Conn::uids`].
    pub fn uids(self) -> Vec<Uid> {
        with(|core| core.past_or_present(self.key()).uids).unwrap_or_default()
    }

    /// As [`Conn::rooms`].
    pub fn rooms(self) -> Vec<Vec<u8>> {
        with(|core| core.past_or_present(self.key()).rooms).unwrap_or_default()
    }

    /// As [`Conn::session`].
    pub fn session(self) -> Option<Vec<u8>> {
        with(|core| core.past_or_present(self.key()).session).flatten()
    }

    /// As [`Conn::bind_uid`].
    pub fn bind_uid(self, uid: impl AsRef<[u8]>) -> Result {
        bind(self.key(), uid.as_ref(), false)?;
        Ok(())
    }

    /// As [`Conn::bind_uid_then`]; where the connection ends before it is in force, `then` is dropped. An `Err` from it
    /// ends the connection.
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; pub use workhive_worker::*; }
    /// use workhive::{Handle, Result, WebSocket};
    ///
    /// fn known(conn: Handle<WebSocket>, uid: &str) -> Result {
    ///     conn.bind_uid_then(uid, move || conn.send("welcome"))
    /// }
    /// ```
    pub fn bind_uid_then(
        self,
        uid: impl AsRef<[u8]>,
        then: impl FnOnce() -> Result + 'static,
    ) -> Result {
        let registered = bind(self.key(), uid.as_ref(), false)?;
        Ok(self.registered(registered, then)?)
    }

    /// As [`Conn::claim_uid`].
    pub fn claim_uid(self, uid: impl AsRef<[u8]>) -> Result {
        bind(self.key(), uid.as_ref(), true)?;
        Ok(())
    }

    /// As [`Conn::unbind_uid`].
    pub fn unbind_uid(self, uid: impl AsRef<[u8]>) -> Result {
        let (key, uid) = (self.key(), uid.as_ref());
        on_loop(|core| {
            let agent = core.routing.side.agent();
            if !agent.has_uid(key, uid) {
                return Err(RouteError::NotBound);
            }
            agent.unbind(key, uid);
            Ok(())
        })?;
        Ok(())
    }

    /// As [`Conn::join_room`].
    pub fn join_room(self, room: impl AsRef<[u8]>) -> Result {
        join(self.key(), room.as_ref())?;
        Ok(())
    }

    /// As [`Conn::join_room_then`]; where the connection ends before it is in force, `then` is dropped. An `Err` from it
    /// ends the connection.
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; pub use workhive_worker::*; }
    /// use workhive::{Handle, Result, WebSocket};
    ///
    /// fn enter(conn: Handle<WebSocket>, room: &str) -> Result {
    ///     conn.join_room_then(room, move || conn.send("you are in"))
    /// }
    /// ```
    pub fn join_room_then(
        self,
        room: impl AsRef<[u8]>,
        then: impl FnOnce() -> Result + 'static,
    ) -> Result {
        let registered = join(self.key(), room.as_ref())?;
        Ok(self.registered(registered, then)?)
    }

    /// As [`Conn::leave_room`].
    pub fn leave_room(self, room: impl AsRef<[u8]>) -> Result {
        let (key, room) = (self.key(), room.as_ref());
        on_loop(|core| {
            let agent = core.routing.side.agent();
            if !agent.is_in(key, room) {
                return Err(RouteError::NotInRoom);
            }
            agent.leave(key, room);
            Ok(())
        })?;
        Ok(())
    }

    /// As [`Conn::set_session`].
    pub fn set_session(self, data: impl AsRef<[u8]>) -> Result {
        let key = self.key();
        on_loop(|core| {
            let agent = core.take_part(key)?;
            Ok(agent.set_session(key, data.as_ref())?)
        })?;
        Ok(())
    }

    fn registered(
        self,
        registered: Registered,
        then: impl FnOnce() -> Result + 'static,
    ) -> Result<(), RouteError> {
        let me = self.untyped();
        when_in_force(self.key(), registered, move |_| {
            let told = catch_unwind(AssertUnwindSafe(then));
            let told = told.unwrap_or_else(|panic| Err(Error::msg(panic_text(panic.as_ref()))));
            if let Err(error) = told {
                me.fail(error);
            }
        })
    }
}

/// Calls `then` when a registration is in force; until then the connection is held.
fn when_in_force(
    key: Key,
    registered: Registered,
    then: impl FnOnce(&mut dyn Any) + 'static,
) -> Result<(), RouteError> {
    let then: super::ThenRegistered = Box::new(move |state| {
        release(Some(key));
        then(state);
    });
    // What is given back is dropped with the core free.
    let told = with(|core| {
        core.routing.tell_registered(registered, key, then)?;
        core.hold(Some(key));
        Ok::<(), super::ThenRegistered>(())
    });
    match told {
        Some(Ok(())) => Ok(()),
        Some(Err(_)) => Err(RouteError::Full),
        None => Err(RouteError::NotOnLoop),
    }
}

fn on_loop<R>(what: impl FnOnce(&mut Core) -> Result<R, RouteError>) -> Result<R, RouteError> {
    with(what).unwrap_or(Err(RouteError::NotOnLoop))
}

fn bind(key: Key, uid: &[u8], single: bool) -> Result<Registered, RouteError> {
    checked("uid", uid)?;
    on_loop(|core| {
        let limit = core.limits(key)?.max_uids;
        let agent = core.take_part(key)?;
        if agent.holdings(key).0 >= limit && !agent.has_uid(key, uid) {
            return Err(AgentError::TooManyUids { limit }.into());
        }
        Ok(agent.bind(key, uid, single)?)
    })
}

fn join(key: Key, room: &[u8]) -> Result<Registered, RouteError> {
    checked("room", room)?;
    on_loop(|core| Ok(core.take_part(key)?.join(key, room)?))
}

impl Core {
    fn limits(&mut self, key: Key) -> Result<std::rc::Rc<crate::entry::Limits>, RouteError> {
        let entry = self.entry(key).ok_or(RouteError::Gone)?;
        Ok(entry.limits.clone())
    }

    /// The agent, which knows this open connection from now on.
    fn take_part(&mut self, key: Key) -> Result<&mut workhive_ipc::route::Agent<Key>, RouteError> {
        let entry = self.entry(key).filter(|entry| entry.phase == Phase::Open);
        let max_rooms = entry.ok_or(RouteError::Gone)?.limits.max_rooms;
        let agent = self.routing.side.agent();
        agent.open_with(key, max_rooms);
        Ok(agent)
    }

    fn present(&mut self, key: Key) -> Past {
        let agent = self.routing.side.agent();
        Past {
            uids: agent
                .uids(key)
                .filter_map(|uid| Uid::new(uid).ok())
                .collect(),
            rooms: agent.rooms(key).map(<[u8]>::to_vec).collect(),
            session: agent.session(key).map(<[u8]>::to_vec),
        }
    }

    fn past_or_present(&mut self, key: Key) -> Past {
        let past = self.entry(key).and_then(|entry| {
            let past = entry.past.as_ref()?;
            Some(Past {
                uids: past.uids.clone(),
                rooms: past.rooms.clone(),
                session: past.session.clone(),
            })
        });
        past.unwrap_or_else(|| self.present(key))
    }

    /// A connection that ends because another one has its uid now had it until then.
    pub(crate) fn had_uid(&mut self, key: Key, uid: Uid) {
        if let Some(entry) = self.entry(key) {
            entry.past.get_or_insert_default().uids.push(uid);
        }
    }

    /// True if something may be sent to this connection from elsewhere by name.
    pub(crate) fn has_uid(&mut self, key: Key) -> bool {
        self.routing.side.agent().holdings(key).0 > 0
    }

    /// A connection that ends takes no pushes any more. What it was stays, for `on_close` to see.
    pub(crate) fn leave(&mut self, key: Key) {
        let Some(entry) = self.entry(key) else {
            return;
        };
        if entry.past.is_some() {
            return;
        }
        let past = self.present(key);
        self.routing.side.agent().close(key);
        if past.uids.is_empty() && past.rooms.is_empty() && past.session.is_none() {
            return;
        }
        if let Some(entry) = self.entry(key) {
            entry.past = Some(Box::new(past));
        }
    }
}
