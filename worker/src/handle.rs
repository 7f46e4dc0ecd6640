//! A small copyable id of a connection, for later.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::os::fd::AsRawFd;

use nix::sys::socket::{SockaddrStorage, getsockname};
use workhive_ipc::route::ConnectionId;
use workhive_protocols::{Goodbye, Protocol};

use crate::conn::peer_of;
use crate::core::with;
use crate::entry::{CloseReason, Entry, Key, Peer, Phase, encoder_of, flag};
use crate::error::{ConnectionError, Error, Result, SendError};

/// The protocol of a [`Handle`] whose protocol is not known; see [`Handle::untyped`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Untyped {}

impl Handle<Untyped> {
    /// The protocol's name; None if the connection has ended.
    pub fn protocol(self) -> Option<&'static str> {
        with(|core| core.entry(self.key).map(|entry| entry.limits.protocol)).flatten()
    }

    /// The handle with its type; None if the connection speaks another protocol, or has ended.
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; pub use workhive_worker::*; }
    /// use workhive::{Handle, Result, Text, Untyped, WebSocket};
    ///
    /// fn greet(conn: Handle<Untyped>) -> Result {
    ///     if let Some(conn) = conn.typed::<WebSocket>() {
    ///         return conn.send("hello, browser");
    ///     }
    ///     match conn.typed::<Text>() {
    ///         Some(conn) => conn.send("hello, terminal"),
    ///         None => Ok(()),
    ///     }
    /// }
    /// ```
    pub fn typed<P: Protocol>(self) -> Option<Handle<P>> {
        let is = with(|core| {
            let entry = core.entry(self.key)?;
            encoder_of::<P>(entry.encoder.as_mut()).map(drop)
        });
        is.flatten().map(|()| Handle::new(self.key))
    }

    /// The two numbers that name this connection in its process, for languages without types: a row, which is used again,
    /// and a sequence number, which is not.
    pub fn into_raw(self) -> (u32, u64) {
        (self.key.index, self.key.seq)
    }

    /// The handle of [these numbers](Self::into_raw). Any numbers may be given: those that name no connection make a
    /// handle of one that has ended.
    pub fn from_raw(index: u32, seq: u64) -> Self {
        Self::new(Key { index, seq })
    }
}

/// A connection of protocol `P`, to be kept and used later on the same loop: in a timer, in another connection's
/// callback, when an outcome or the result of blocking work comes back. It stays safe when the connection has ended:
/// sending then is an error, and it never reaches another connection.
///
/// ```
/// # mod workhive { pub use workhive_protocols::*; pub use workhive_worker::*; }
/// use std::time::Duration;
/// use workhive::Text;
/// use workhive::Listener;
///
/// let listener: Listener<Text> = Listener::<Text>::new("127.0.0.1:0").on_connect(|conn| {
///     let later = conn.handle();
///     conn.process().after(Duration::from_secs(5), move |_| later.send("five seconds"))?;
///     Ok(())
/// });
/// ```
///
/// On any other thread its methods do nothing and say so; use a [`Mailbox`](crate::Mailbox) there.
pub struct Handle<P> {
    key: Key,
    protocol: PhantomData<fn(P)>,
}

impl<P: Protocol> Handle<P> {
    /// As [`Conn::send`](crate::Conn::send).
    pub fn send<'m>(self, message: impl Into<P::Outgoing<'m>>) -> Result {
        let message = message.into();
        let sent = with(|core| {
            core.send(
                self.key,
                P::must_take(&message),
                |encoder, wire| match encoder_of::<P>(encoder) {
                    Some(encoder) => P::encode(encoder, message, wire),
                    None => Ok(()),
                },
            )
        });
        Ok(sent.unwrap_or(Err(SendError::NotOnLoop))?)
    }
}

impl<P> Handle<P> {
    pub(crate) fn new(key: Key) -> Self {
        Self {
            key,
            protocol: PhantomData,
        }
    }

    pub(crate) fn key(self) -> Key {
        self.key
    }

    /// The same connection, whatever it speaks.
    pub fn untyped(self) -> Handle<Untyped> {
        Handle::new(self.key)
    }

    /// As [`Conn::close`](crate::Conn::close).
    pub fn close(self) {
        with(|core| core.goodbye(self.key, &Goodbye::Normal, CloseReason::Local));
    }

    /// As [`Conn::close_with`](crate::Conn::close_with).
    pub fn close_with(self, code: u16, reason: impl Into<String>) {
        let goodbye = crate::conn::goodbye(code, reason);
        with(|core| core.goodbye(self.key, &goodbye, CloseReason::Local));
    }

    /// As [`Conn::end`](crate::Conn::end).
    pub fn end(self) {
        with(|core| core.end(self.key, CloseReason::Local));
    }

    /// As [`Conn::destroy`](crate::Conn::destroy).
    pub fn destroy(self) {
        with(|core| core.destroy(self.key, CloseReason::Destroyed));
    }

    /// As [`Conn::pause_recv`](crate::Conn::pause_recv).
    pub fn pause_recv(self) {
        with(|core| {
            if let Some(entry) = core.entry(self.key)
                && entry.phase == Phase::Open
            {
                entry.set(flag::PAUSED);
            }
        });
    }

    /// As [`Conn::resume_recv`](crate::Conn::resume_recv).
    pub fn resume_recv(self) {
        with(|core| {
            if let Some(entry) = core.entry(self.key)
                && entry.has(flag::PAUSED)
            {
                entry.clear(flag::PAUSED);
                core.run_again(self.key);
            }
        });
    }

    /// As [`Conn::pipe`](crate::Conn::pipe).
    pub fn pipe<Q>(self, target: Handle<Q>) -> Result {
        let piped = with(|core| core.pipe(self.key, target.key));
        Ok(piped.unwrap_or(Err(SendError::NotOnLoop))?)
    }

    /// True while messages can be sent to it.
    pub fn is_open(self) -> bool {
        with(|core| {
            core.entry(self.key)
                .is_some_and(|entry| entry.phase == Phase::Open)
        })
        .unwrap_or(false)
    }

    /// Bytes that wait to be sent.
    pub fn send_queue_len(self) -> usize {
        with(|core| core.entry(self.key).map_or(0, |entry| entry.queued())).unwrap_or(0)
    }

    /// The other side; None if the connection has ended.
    pub fn remote_addr(self) -> Option<Peer> {
        with(|core| core.entry(self.key).map(|entry| entry.peer.clone())).flatten()
    }

    /// The id of this connection, unique in the hive and never used again.
    pub fn id(self) -> ConnectionId {
        with(|core| core.place.process.connection(self.key.seq)).unwrap_or_default()
    }

    /// This side; None if the connection has ended.
    pub fn local_addr(self) -> Option<Peer> {
        with(|core| {
            let entry = core.entry(self.key)?;
            let socket = entry.socket.as_ref()?;
            let name: SockaddrStorage = getsockname(socket.as_raw_fd()).ok()?;
            peer_of(&name)
        })
        .flatten()
    }

    /// As [`Conn::bytes_read`](crate::Conn::bytes_read).
    pub fn bytes_read(self) -> u64 {
        self.counter(|entry| entry.bytes_read)
    }

    /// As [`Conn::bytes_written`](crate::Conn::bytes_written).
    pub fn bytes_written(self) -> u64 {
        self.counter(|entry| entry.bytes_written)
    }

    /// As [`Conn::messages`](crate::Conn::messages).
    pub fn messages(self) -> u64 {
        self.counter(|entry| entry.messages)
    }

    /// Something goes on for this connection outside of its callbacks: until [`release`](Self::release) a peer that has
    /// closed its sending side still gets its answer, and a draining process waits. Counted. False if it has ended.
    pub fn hold(self) -> bool {
        with(|core| {
            let entry = core
                .entry(self.key)
                .filter(|entry| entry.phase != Phase::Closed);
            entry.map(|entry| entry.work += 1).is_some()
        })
        .unwrap_or(false)
    }

    /// Undoes one [`hold`](Self::hold).
    pub fn release(self) {
        with(|core| {
            if let Some(entry) = core.entry(self.key) {
                entry.work = entry.work.saturating_sub(1);
                core.mark_dirty(self.key);
            }
        });
    }

    /// What went on for this connection outside of its callbacks has failed: it ends as if a callback had returned this
    /// error, at the end of the turn.
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; pub use workhive_worker::*; }
    /// use workhive::{Error, Handle, Text};
    ///
    /// fn give_up(conn: Handle<Text>) {
    ///     conn.fail(Error::msg("the database has no answer"));
    /// }
    /// ```
    pub fn fail(self, error: Error) {
        with(|core| {
            if core
                .entry(self.key)
                .is_some_and(|entry| entry.phase == Phase::Open)
            {
                let error = ConnectionError::Callback {
                    callback: "a task",
                    error,
                };
                core.failures.push_back((self.key, error));
            }
        });
    }

    pub(crate) fn counter(self, which: impl FnOnce(&Entry) -> u64) -> u64 {
        with(|core| core.entry(self.key).map_or(0, |entry| which(entry))).unwrap_or(0)
    }
}

// Written out, because a derive would ask the same of `P`, which is only a name here.
impl<P> Clone for Handle<P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P> Copy for Handle<P> {}

impl<P> PartialEq for Handle<P> {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl<P> Eq for Handle<P> {}

impl<P> Hash for Handle<P> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}

impl<P> fmt::Debug for Handle<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handle({})", self.key.seq)
    }
}
