//! A connection, as its callbacks see it.

use std::fmt;
use std::marker::PhantomData;

use nix::sys::socket::{SockaddrLike, SockaddrStorage};
use workhive_ipc::route::ConnectionId;
use workhive_protocols::{Goodbye, Protocol};

use crate::entry::{CloseReason, Key, Peer};
use crate::error::{BlockingError, Result};
use crate::handle::Handle;
use crate::process::Process;
use crate::route::Hive;

/// A connection inside one of its callbacks: protocol `P`, in a worker with state `S`, with data `D` of its own.
///
/// ```
/// # mod workhive { pub use workhive_protocols::*; pub use workhive_worker::*; }
/// use workhive::Text;
/// use workhive::{Conn, Result};
///
/// #[derive(Default)]
/// struct App {
///     lines: u64,
/// }
///
/// fn on_line(conn: &mut Conn<'_, Text, App>, line: workhive::Message<'_>) -> Result {
///     conn.state_mut().lines += 1;
///     if line.as_bytes() == b"quit" {
///         conn.send("bye")?;
///         conn.close();
///         return Ok(());
///     }
///     conn.send(format!("{} said {} bytes", conn.remote_addr(), line.len()))
/// }
/// ```
pub struct Conn<'a, P: Protocol, S = (), D = ()> {
    handle: Handle<P>,
    state: &'a mut S,
    data: &'a mut D,
    ended: Option<(&'a CloseReason, Option<(u16, String)>)>,
    protocol: PhantomData<P>,
}

impl<'a, P: Protocol, S: 'static, D: 'static> Conn<'a, P, S, D> {
    pub(crate) fn new(
        key: Key,
        state: &'a mut S,
        data: &'a mut D,
        ended: Option<(&'a CloseReason, Option<(u16, String)>)>,
    ) -> Self {
        Self {
            handle: Handle::new(key),
            state,
            data,
            ended,
            protocol: PhantomData,
        }
    }

    /// Sends a message; it leaves at the end of the turn, in one write with all that was sent before it.
    ///
    /// # Errors
    /// [`SendError`](crate::SendError): the buffer cannot take it (nothing of it is sent), the connection has ended, or
    /// the protocol refused it.
    ///
    /// A message that borrows from the connection itself is sent through its handle:
    /// `let me = conn.handle(); me.send(conn.data().as_str())`.
    pub fn send<'m>(&mut self, message: impl Into<P::Outgoing<'m>>) -> Result {
        self.handle.send(message)
    }

    /// Says the protocol's goodbye (WebSocket: close frame 1000), sends all that waits, then closes.
    pub fn close(&mut self) {
        self.handle.close();
    }

    /// The same with a code and a reason of the application's (WebSocket, RFC 6455 section 7.4: 1000 or 3000 to
    /// 4999; other protocols just close).
    pub fn close_with(&mut self, code: u16, reason: impl Into<String>) {
        self.handle.close_with(code, reason);
    }

    /// Sends all that waits, half-closes, and lingers until the peer has closed too; without a goodbye.
    pub fn end(&mut self) {
        self.handle.end();
    }

    /// Closes the socket at once. What waits to be sent is lost.
    pub fn destroy(&mut self) {
        self.handle.destroy();
    }

    /// Stops reading, and calling `on_message`, until [`resume_recv`](Self::resume_recv). The peer is slowed down by
    /// its own full send buffer. While reading is paused, that the peer has closed is not noticed either.
    pub fn pause_recv(&mut self) {
        self.handle.pause_recv();
    }

    /// Goes on reading.
    pub fn resume_recv(&mut self) {
        self.handle.resume_recv();
    }

    /// From now on the bytes received here go to `target` as they are, without either codec; reading rests while the
    /// target's buffer is full. When one of the two ends, the other is ended too.
    pub fn pipe<Q: Protocol>(&mut self, target: Handle<Q>) -> Result {
        self.handle.pipe(target)
    }

    /// A small copyable id, to send to this connection later from anywhere on this loop.
    pub fn handle(&self) -> Handle<P> {
        self.handle
    }

    /// The id of this connection, unique in the hive and never used again.
    pub fn id(&self) -> ConnectionId {
        self.handle.id()
    }

    /// The worker's state.
    pub fn state(&self) -> &S {
        self.state
    }

    /// The worker's state, to change it.
    pub fn state_mut(&mut self) -> &mut S {
        self.state
    }

    /// The connection's own data.
    pub fn data(&self) -> &D {
        self.data
    }

    /// The connection's own data, to change it.
    pub fn data_mut(&mut self) -> &mut D {
        self.data
    }

    /// State and data at once, for code that changes both.
    pub fn parts(&mut self) -> (&mut S, &mut D) {
        (self.state, self.data)
    }

    /// Runs `work` on a small pool of threads, for calls that block, and `then` with its result back on this loop, for
    /// this connection; not at all if it has ended meanwhile. An `Err` from `then` ends the connection like one from
    /// `on_message`.
    ///
    /// While work is outstanding, a peer that has closed its sending side still gets its answer, and a draining process
    /// waits for it.
    ///
    /// # Errors
    /// [`BlockingError::Full`] if 1,024 pieces of work wait already: tell your peer that you are busy.
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; pub use workhive_worker::*; }
    /// use workhive::{Listener, Text};
    ///
    /// let files: Listener<Text> = Listener::<Text>::new("127.0.0.1:0").on_message(|conn, line| {
    ///     let path = line.as_text()?.to_owned();
    ///     conn.blocking(
    ///         move || std::fs::metadata(path).map(|file| file.len()),
    ///         |conn, size| match size? {
    ///             Ok(bytes) => conn.send(format!("{bytes} bytes")),
    ///             Err(error) => conn.send(format!("error: {error}")),
    ///         },
    ///     )
    /// });
    /// ```
    pub fn blocking<T: Send + 'static>(
        &mut self,
        work: impl FnOnce() -> T + Send + 'static,
        then: impl FnOnce(&mut Conn<'_, P, S, D>, Result<T, BlockingError>) -> Result + 'static,
    ) -> Result {
        let key = self.handle.key();
        crate::pool::submit(work, move |result, state| {
            crate::turn::finish_work::<P, S, D>(key, state, |conn| then(conn, result));
            Ok(())
        })?;
        self.handle.hold();
        Ok(())
    }

    /// The process: timers, further listeners, blocking work.
    pub fn process(&mut self) -> Process<'_, S> {
        Process::new(self.state)
    }

    /// The other side.
    pub fn remote_addr(&self) -> Peer {
        self.handle.remote_addr().unwrap_or(Peer::Unix(None))
    }

    /// This side. None if the socket is closed already.
    pub fn local_addr(&self) -> Option<Peer> {
        self.handle.local_addr()
    }

    /// Bytes received so far.
    pub fn bytes_read(&self) -> u64 {
        self.handle.bytes_read()
    }

    /// Bytes that the kernel has taken for sending so far.
    pub fn bytes_written(&self) -> u64 {
        self.handle.bytes_written()
    }

    /// Messages received so far, this one included.
    pub fn messages(&self) -> u64 {
        self.handle.messages()
    }

    /// Bytes that wait to be sent.
    pub fn send_queue_len(&self) -> usize {
        self.handle.send_queue_len()
    }

    /// Why the connection has ended; only known in `on_close`.
    pub fn close_reason(&self) -> Option<&CloseReason> {
        self.ended.as_ref().map(|(reason, _)| *reason)
    }

    /// With which code and reason the peer said goodbye (WebSocket close frames); only known in `on_close`.
    pub fn peer_goodbye(&self) -> Option<(u16, &str)> {
        let (_, goodbye) = self.ended.as_ref()?;
        goodbye
            .as_ref()
            .map(|(code, reason)| (*code, reason.as_str()))
    }

    /// The hive: everybody in it, in whichever process.
    pub fn hive(&self) -> Hive {
        Hive::of(self.handle.key())
    }
}

pub(crate) fn peer_of(name: &SockaddrStorage) -> Option<Peer> {
    if let Some(v4) = name.as_sockaddr_in() {
        return Some(Peer::Tcp(std::net::SocketAddrV4::from(*v4).into()));
    }
    if let Some(v6) = name.as_sockaddr_in6() {
        return Some(Peer::Tcp(std::net::SocketAddrV6::from(*v6).into()));
    }
    if name.family() == Some(nix::sys::socket::AddressFamily::Unix) {
        let path = name.as_unix_addr().and_then(|unix| unix.path());
        return Some(Peer::Unix(path.map(std::path::Path::to_path_buf)));
    }
    None
}

impl<P: Protocol, S, D> fmt::Debug for Conn<'_, P, S, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conn")
            .field("handle", &self.handle)
            .finish_non_exhaustive()
    }
}

/// What `close_with` says.
pub(crate) fn goodbye(code: u16, reason: impl Into<String>) -> Goodbye {
    Goodbye::Code {
        code,
        reason: reason.into(),
    }
}
