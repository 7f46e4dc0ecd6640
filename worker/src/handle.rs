//! A small copyable id of a connection, for later.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;

use workhive_ipc::route::ConnectionId;
use workhive_protocols::{Goodbye, Protocol};

use crate::core::with;
use crate::entry::{CloseReason, Entry, Key, Peer, Phase, encoder_of, flag};
use crate::error::{Result, SendError};

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
    pub(crate) fn new(key: Key) -> Self {
        Self {
            key,
            protocol: PhantomData,
        }
    }

    pub(crate) fn key(self) -> Key {
        self.key
    }

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
    pub fn pipe<Q: Protocol>(self, target: Handle<Q>) -> Result {
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
