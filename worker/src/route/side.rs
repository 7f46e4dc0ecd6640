//! This process's end of routing: an agent, and either the router itself or a stream to it.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, send};
use workhive_ipc::route::{Agent, AgentConfig, CoreConfig, Event, Local, Process};

use crate::entry::Key;
use crate::route::hub::Hub;

/// The stream to the router.
pub(crate) const ROUTER: Token = Token((1 << 62) | 3);

/// How long to wait before a new stream is asked for when one was lost. A router that was restarted sends one unasked.
const ASK_AGAIN: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(1)];

/// For how long the router may say nothing to those who wait for it.
const MUTE: Duration = Duration::from_secs(3);

/// How much is read from the router before connections get their turn, in buffers.
const READS: usize = 16;

impl workhive_ipc::route::Key for Key {
    fn sequence(&self) -> u64 {
        self.seq
    }
}

/// Where the router is.
#[expect(
    clippy::large_enum_variant,
    reason = "there is one of them in a process"
)]
pub(crate) enum Side {
    /// In this process.
    Here {
        local: Local<Key>,
        hub: Hub,
        /// A program of this machine has said something, which may be for this process.
        spoken: bool,
    },
    /// In a process of its own.
    There {
        agent: Agent<Key>,
        stream: Option<Stream>,
        registry: Registry,
        /// When to ask the master for a stream, and how often that was done in a row.
        ask: Option<Instant>,
        asked: usize,
    },
}

pub(crate) struct Stream {
    socket: OwnedFd,
    /// When the router was last heard.
    heard: Instant,
    /// It has been said that it is not.
    mute: bool,
    /// The kernel took less than there was, and will say when it takes more.
    blocked: bool,
    /// There may be more to be read than was read.
    readable: bool,
    end: End,
}

/// The other end of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Open,
    /// It was closed, or the router died: to be read until that shows, even after a short read.
    Closing,
    /// It has shown: nothing more comes.
    Closed,
}

impl Side {
    pub(crate) fn here(process: Process, hub: Hub, now: Instant) -> Self {
        let local = Local::new(process, config(), CoreConfig::default(), now);
        Self::Here {
            local,
            hub,
            spoken: false,
        }
    }

    pub(crate) fn there(process: Process, registry: Registry) -> Self {
        Self::There {
            agent: Agent::worker(process, config()),
            stream: None,
            registry,
            ask: None,
            asked: 0,
        }
    }

    pub(crate) fn agent(&mut self) -> &mut Agent<Key> {
        match self {
            Self::Here { local, .. } => local.agent(),
            Self::There { agent, .. } => agent,
        }
    }

    pub(crate) fn poll(&mut self) -> Option<Event<'_, Key>> {
        match self {
            Self::Here { local, .. } => local.poll(),
            Self::There { agent, .. } => agent.poll(),
        }
    }

    /// True if something is to be done without waiting for the kernel.
    pub(crate) fn has_work(&mut self) -> bool {
        match self {
            Self::Here { local, hub, spoken } => {
                *spoken || hub.has_work() || !local.agent().output().is_empty()
            }
            Self::There { stream, .. } => stream
                .as_ref()
                .is_some_and(|stream| stream.readable || stream.end == End::Closed),
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        match self {
            Self::Here { local, hub, .. } => [local.next_deadline(), hub.next_deadline()]
                .into_iter()
                .flatten()
                .min(),
            Self::There { agent, ask, .. } => {
                [agent.next_deadline(), *ask].into_iter().flatten().min()
            }
        }
    }

    /// Lets deadlines pass. True if the master is to be asked for a stream to the router.
    pub(crate) fn tick(&mut self, now: Instant) -> bool {
        match self {
            Self::Here { local, hub, .. } => {
                local.tick(now);
                hub.tick(local.core(), now);
                false
            }
            Self::There {
                agent,
                stream,
                ask,
                asked,
                ..
            } => {
                let before = agent.counters().unanswered;
                agent.tick(now);
                if let Some(stream) = stream
                    && agent.counters().unanswered > before
                {
                    stream.complain(now);
                }
                let due = ask.is_some_and(|at| at <= now);
                if due {
                    *asked += 1;
                    *ask = Some(now + ASK_AGAIN[1]);
                }
                due
            }
        }
    }

    /// Carries what waits to the agent: from the router in this process, or from the stream. True if there was
    /// anything, so that there may be more.
    pub(crate) fn receive(&mut self, scratch: &mut [u8], now: Instant) -> bool {
        match self {
            Self::Here { local, hub, spoken } => {
                *spoken = false;
                hub.go_on(local.core(), scratch, now);
                let pumped = local.pump(now);
                hub.flush(local.core(), now);
                pumped
            }
            Self::There { agent, stream, .. } => {
                if let Some(stream) = stream {
                    stream.read(agent, scratch, now);
                }
                false
            }
        }
    }

    /// Writes what the agent has for the router: one write, if the kernel takes it all. False if the stream has ended,
    /// or has to.
    pub(crate) fn flush(&mut self) -> bool {
        let Self::There { agent, stream, .. } = self else {
            return true;
        };
        let Some(stream) = stream else {
            return true;
        };
        if stream.end != End::Closed {
            stream.write(agent);
        }
        stream.end != End::Closed && !agent.is_overdue()
    }

    /// An event for the stream to the router.
    pub(crate) fn ready(&mut self, event: &mio::event::Event) {
        if let Self::There {
            stream: Some(stream),
            ..
        } = self
        {
            if (event.is_read_closed() || event.is_error()) && stream.end == End::Open {
                stream.end = End::Closing;
            }
            stream.readable |= event.is_readable() || stream.end == End::Closing;
            if event.is_writable() {
                stream.blocked = false;
            }
        }
    }

    /// Waits until the router has something to say, or knows all that this process has given up; true while it is worth
    /// waiting on. To be used where there is no loop any more.
    pub(crate) fn wait(&mut self, limit: Duration) -> bool {
        let Self::There {
            agent,
            stream: Some(stream),
            ..
        } = self
        else {
            return false;
        };
        if agent.is_settled() || stream.end == End::Closed {
            return false;
        }
        let millis = u16::try_from(limit.as_millis()).unwrap_or(u16::MAX);
        let mut fds = [PollFd::new(stream.socket.as_fd(), PollFlags::POLLIN)];
        let said = poll(&mut fds, PollTimeout::from(millis)).is_ok_and(|ready| ready > 0);
        stream.readable = said;
        stream.blocked = false;
        said
    }

    /// An event for a program that is connected to the router in this process.
    pub(crate) fn hub_ready(
        &mut self,
        event: &mio::event::Event,
        scratch: &mut [u8],
        now: Instant,
    ) {
        if let Self::Here { local, hub, spoken } = self {
            hub.ready(event, local.core(), scratch, now);
            *spoken = true;
        }
    }

    /// No more programs are taken here; those that are connected stay.
    pub(crate) fn close_listener(&mut self) {
        if let Self::Here { hub, .. } = self {
            hub.close_listener();
        }
    }

    /// Another stream to the router. The one before must have been given up.
    pub(crate) fn connect(&mut self, socket: OwnedFd, now: Instant) {
        let Self::There {
            agent,
            stream,
            registry,
            ask,
            asked,
        } = self
        else {
            return;
        };
        let registered = registry.register(
            &mut SourceFd(&socket.as_raw_fd()),
            ROUTER,
            Interest::READABLE | Interest::WRITABLE,
        );
        if let Err(error) = registered {
            log::error!("the stream to the router cannot be watched: {error}");
            *ask = Some(now + ASK_AGAIN[1]);
            return;
        }
        *ask = None;
        *asked = 0;
        *stream = Some(Stream {
            socket,
            heard: now,
            mute: false,
            blocked: false,
            readable: false,
            end: End::Open,
        });
        agent.connected(now);
    }

    /// The stream is no good any more; all that it brought has been acted upon.
    pub(crate) fn disconnect(&mut self, now: Instant) {
        if let Self::There {
            agent, stream, ask, ..
        } = self
            && stream.take().is_some()
        {
            agent.disconnected();
            *ask = Some(now + ASK_AGAIN[0]);
        }
    }

    /// True if the stream has ended and nothing more can come from it.
    pub(crate) fn has_ended(&self) -> bool {
        matches!(self, Self::There { stream: Some(stream), .. } if stream.end == End::Closed)
    }
}

/// Limits of the agent; how many uids and rooms a connection may have is each listener's to say.
fn config() -> AgentConfig {
    AgentConfig {
        uids: usize::from(u16::MAX),
        rooms: usize::from(u16::MAX),
        ..AgentConfig::default()
    }
}

impl Stream {
    /// Something was not answered in time.
    fn complain(&mut self, now: Instant) {
        let silent = now.saturating_duration_since(self.heard) >= MUTE;
        if silent && !std::mem::replace(&mut self.mute, true) {
            log::warn!(
                "the router does not answer: what becomes of messages is not known. If it was stopped (SIGSTOP), let it \
                 go on"
            );
        }
    }

    fn hear(&mut self, now: Instant) {
        if std::mem::take(&mut self.mute) {
            log::info!("the router answers again");
        }
        self.heard = now;
    }

    fn read(&mut self, agent: &mut Agent<Key>, scratch: &mut [u8], now: Instant) {
        if !self.readable {
            return;
        }
        for _ in 0..READS {
            match nix::unistd::read(&self.socket, scratch) {
                Ok(0) => {
                    self.readable = false;
                    self.end = End::Closed;
                    return;
                }
                Ok(len) => {
                    self.hear(now);
                    agent.receive(&scratch[..len]);
                    if len < scratch.len() && self.end == End::Open {
                        self.readable = false;
                        return;
                    }
                }
                Err(Errno::EAGAIN) => {
                    self.readable = false;
                    return;
                }
                Err(Errno::EINTR) => {}
                Err(error) => {
                    log::debug!("the stream to the router broke: {error}");
                    self.readable = false;
                    self.end = End::Closed;
                    return;
                }
            }
        }
    }

    fn write(&mut self, agent: &mut Agent<Key>) {
        while !self.blocked && !agent.output().is_empty() {
            match send(
                self.socket.as_raw_fd(),
                agent.output(),
                MsgFlags::MSG_NOSIGNAL,
            ) {
                Ok(sent) => agent.sent(sent),
                Err(Errno::EAGAIN) => self.blocked = true,
                Err(Errno::EINTR) => {}
                // Its last words are still to be read; then its end shows.
                Err(error) => {
                    log::debug!("the stream to the router cannot be written to: {error}");
                    self.readable = true;
                    self.end = End::Closing;
                    self.blocked = true;
                }
            }
        }
    }
}
