//! The sockets of a router: one stream for each process, one for each program of this machine.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{MsgFlags, getsockopt, send, sockopt::PeerCredentials};
use workhive_ipc::route::{Core, CoreEvent, LinkId, Process};

/// Tokens of a hub's streams; the lower bits are the stream's number.
pub(crate) const STREAM: usize = 1 << 62 | 1 << 61;

/// The listening socket for programs of this machine.
pub(crate) const CLIENTS: Token = Token(STREAM);

/// Whether a token is a hub's.
pub(crate) fn is_ours(token: Token) -> bool {
    // The upper bit is a listener's.
    token.0 >> 61 == STREAM >> 61
}

/// Most programs of this machine at a time.
const MAX_CLIENTS: usize = 256;

/// How long a program may be silent after it has connected, if others want its place.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long accepting rests when the process has no descriptors left.
const REST: Duration = Duration::from_millis(100);

/// How much of one stream is read before the others get their turn, in buffers.
const READS: usize = 8;

/// The streams of a router, and what is known of them beside what its [`Core`] knows.
pub(crate) struct Hub {
    registry: Registry,
    /// Shared with the processes before and after this one. None once no more programs are taken.
    listener: Option<UnixListener>,
    /// By the number in their tokens, which never comes back.
    streams: HashMap<usize, Stream>,
    numbers: HashMap<LinkId, usize>,
    next_number: usize,
    clients: usize,
    /// Streams that have more to be read without the kernel saying so again; each once.
    again: Vec<usize>,
    /// When to try to accept again, after the system had no descriptor for it.
    accept_at: Option<Instant>,
}

struct Stream {
    socket: OwnedFd,
    link: LinkId,
    client: bool,
    /// The kernel took less than there was, and will say when it takes more.
    blocked: bool,
    /// The other side has closed its end: read on until it shows, even after a short read.
    hup: bool,
    /// Since when it is silent; None once something has been read.
    silent: Option<Instant>,
}

impl Hub {
    pub(crate) fn new(registry: Registry) -> Self {
        Self {
            registry,
            listener: None,
            streams: HashMap::new(),
            numbers: HashMap::new(),
            next_number: 1,
            clients: 0,
            again: Vec::new(),
            accept_at: None,
        }
    }

    /// From now on programs of this machine are let in.
    pub(crate) fn listen(&mut self, listener: OwnedFd) -> io::Result<()> {
        let listener = UnixListener::from(listener);
        self.registry.register(
            &mut SourceFd(&listener.as_raw_fd()),
            CLIENTS,
            Interest::READABLE,
        )?;
        self.listener = Some(listener);
        Ok(())
    }

    /// True if a stream is to be read again without waiting.
    pub(crate) fn has_work(&self) -> bool {
        !self.again.is_empty()
    }

    /// How many streams there are.
    pub(crate) fn streams(&self) -> usize {
        self.streams.len()
    }

    /// How many of them go to worker processes.
    pub(crate) fn processes(&self) -> usize {
        self.streams.len() - self.clients
    }

    /// Takes no more programs of this machine.
    pub(crate) fn close_listener(&mut self) {
        if let Some(listener) = self.listener.take() {
            // Others may have the socket open still, so closing it does not take it from the poller.
            let fd = listener.as_raw_fd();
            if let Err(error) = self.registry.deregister(&mut SourceFd(&fd)) {
                log::debug!("the push socket was not watched: {error}");
            }
        }
    }

    /// A stream to a process.
    pub(crate) fn adopt(
        &mut self,
        process: Process,
        socket: OwnedFd,
        core: &mut Core,
        now: Instant,
    ) {
        let link = core.connect_process(process, now);
        self.add(socket, link, false, core, now);
    }

    /// An event for one of our tokens. All that waits is read, up to a limit.
    pub(crate) fn ready(
        &mut self,
        event: &Event,
        core: &mut Core,
        scratch: &mut [u8],
        now: Instant,
    ) {
        if event.token() == CLIENTS {
            self.accept(core, now);
            return;
        }
        let number = event.token().0 & !STREAM;
        let Some(stream) = self.streams.get_mut(&number) else {
            return;
        };
        stream.hup |= event.is_read_closed() || event.is_error();
        if event.is_writable() && std::mem::take(&mut stream.blocked) {
            self.write(number, core);
        }
        self.read(number, core, scratch, now);
    }

    /// When [`tick`](Self::tick) has something to do.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.accept_at
    }

    /// Lets time pass.
    pub(crate) fn tick(&mut self, core: &mut Core, now: Instant) {
        if self.accept_at.is_some_and(|at| at <= now) {
            self.accept_at = None;
            self.accept(core, now);
        }
    }

    /// Ends the stream of a program that has connected and said nothing since, and had time to; false if all speak.
    fn make_room(&mut self, core: &mut Core, now: Instant) -> bool {
        let mut mute = self.streams.iter().filter(|(_, stream)| {
            stream.client && stream.silent.is_some_and(|since| since + PATIENCE <= now)
        });
        let Some(number) = mute.next().map(|(number, _)| *number) else {
            return false;
        };
        log::warn!("a program is turned away from the push socket: it says nothing");
        self.remove(number, core, now);
        true
    }

    /// Reads on where a limit was reached in the last turn.
    pub(crate) fn go_on(&mut self, core: &mut Core, scratch: &mut [u8], now: Instant) {
        for number in std::mem::take(&mut self.again) {
            self.read(number, core, scratch, now);
        }
    }

    /// Writes what has come up for each stream, in one write each if the kernel takes it; and logs what happened.
    pub(crate) fn flush(&mut self, core: &mut Core, now: Instant) {
        while let Some(link) = core.next_dirty() {
            if let Some(&number) = self.numbers.get(&link) {
                self.write(number, core);
            }
        }
        while let Some(event) = core.next_event() {
            match event {
                CoreEvent::Joined { .. } | CoreEvent::Left { reason: None, .. } => {
                    log::debug!("{event}");
                }
                CoreEvent::Recovered { .. } => log::info!("{event}"),
                CoreEvent::Left { .. } | CoreEvent::Full { .. } | CoreEvent::Missing { .. } => {
                    log::warn!("{event}");
                }
                CoreEvent::Ended { link, .. } => {
                    log::warn!("{event}");
                    if let Some(&number) = self.numbers.get(&link) {
                        // The reason is among the last bytes; it gets one attempt.
                        self.write(number, core);
                        self.remove(number, core, now);
                    }
                }
            }
        }
    }

    fn accept(&mut self, core: &mut Core, now: Instant) {
        loop {
            let Some(listener) = &self.listener else {
                return;
            };
            let socket = match listener.accept() {
                Ok((stream, _)) => OwnedFd::from(stream),
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted => continue,
                    io::ErrorKind::WouldBlock => return,
                    _ => {
                        log::error!(
                            "cannot accept a program at the push socket: {error}; trying again in {REST:?}"
                        );
                        self.accept_at = Some(now + REST);
                        return;
                    }
                },
            };
            if self.clients >= MAX_CLIENTS && !self.make_room(core, now) {
                log::warn!(
                    "{MAX_CLIENTS} programs are connected to the push socket; one more is turned away"
                );
                continue;
            }
            // The file's mode keeps others out; this also does where somebody has changed it.
            match getsockopt(&socket, PeerCredentials) {
                Ok(peer) if may_push(peer.uid()) => {
                    let link = core.connect_client();
                    self.add(socket, link, true, core, now);
                }
                Ok(peer) => log::warn!("user {} is turned away from the push socket", peer.uid()),
                Err(error) => {
                    log::warn!("a program without credentials is turned away: {error}");
                }
            }
        }
    }

    fn add(&mut self, socket: OwnedFd, link: LinkId, client: bool, core: &mut Core, now: Instant) {
        let number = self.next_number;
        let registered = nonblocking(&socket).and_then(|()| {
            self.registry.register(
                &mut SourceFd(&socket.as_raw_fd()),
                Token(STREAM | number),
                Interest::READABLE | Interest::WRITABLE,
            )
        });
        if let Err(error) = registered {
            log::error!("a stream of the router cannot be watched: {error}");
            core.closed(link, now);
            return;
        }
        self.next_number += 1;
        self.clients += usize::from(client);
        self.numbers.insert(link, number);
        self.streams.insert(
            number,
            Stream {
                socket,
                link,
                client,
                blocked: false,
                hup: false,
                silent: Some(now),
            },
        );
    }

    fn read(&mut self, number: usize, core: &mut Core, scratch: &mut [u8], now: Instant) {
        for _ in 0..READS {
            let Some(stream) = self.streams.get_mut(&number) else {
                return;
            };
            match nix::unistd::read(&stream.socket, scratch) {
                Ok(0) => return self.remove(number, core, now),
                Ok(len) => {
                    stream.silent = None;
                    core.receive(stream.link, &scratch[..len], now);
                    // A short read of a stream means that it is empty (epoll(7)), unless its end comes next.
                    if len < scratch.len() && !stream.hup {
                        return;
                    }
                }
                Err(Errno::EAGAIN) => return,
                Err(Errno::EINTR) => {}
                Err(error) => {
                    log::debug!("a stream of the router broke: {error}");
                    return self.remove(number, core, now);
                }
            }
        }
        if !self.again.contains(&number) {
            self.again.push(number);
        }
    }

    fn write(&mut self, number: usize, core: &mut Core) {
        let Some(stream) = self.streams.get_mut(&number) else {
            return;
        };
        while !stream.blocked {
            let output = core.output(stream.link);
            if output.is_empty() {
                return;
            }
            match send(stream.socket.as_raw_fd(), output, MsgFlags::MSG_NOSIGNAL) {
                Ok(sent) => core.sent(stream.link, sent),
                Err(Errno::EAGAIN) => stream.blocked = true,
                Err(Errno::EINTR) => {}
                // What it has said before it went is read first; then its end shows.
                Err(error) => {
                    log::debug!("a stream of the router cannot be written to: {error}");
                    let rest = output.len();
                    core.sent(stream.link, rest);
                    return;
                }
            }
        }
    }

    fn remove(&mut self, number: usize, core: &mut Core, now: Instant) {
        if let Some(stream) = self.streams.remove(&number) {
            self.numbers.remove(&stream.link);
            self.clients -= usize::from(stream.client);
            core.closed(stream.link, now);
        }
    }
}

fn nonblocking(socket: &OwnedFd) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(socket, FcntlArg::F_GETFL)?);
    fcntl(socket, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

fn may_push(user: u32) -> bool {
    user == 0 || user == nix::unistd::geteuid().as_raw()
}
