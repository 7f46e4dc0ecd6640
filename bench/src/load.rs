//! The load generator: one thread, one epoll, every connection with the same number of questions in flight.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollTimeout};

use crate::connection::{Connection, Dialogue, INTEREST};
use crate::error::BenchError;

/// Events taken per wait.
const EVENTS: usize = 256;
/// Bytes read at once.
const SCRATCH: usize = 256 * 1024;
/// Silence on every connection for this long, with questions open, means that the server has lost some.
const STALL: Duration = Duration::from_secs(10);

/// How much load to make.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Where the server is.
    pub(crate) address: SocketAddr,
    /// How many connections.
    pub(crate) connections: usize,
    /// Questions in flight per connection, sent in one write.
    pub(crate) depth: usize,
    /// Whether connections share out several loopback source addresses.
    pub(crate) spread: bool,
}

/// All connections of one run.
#[derive(Debug)]
pub(crate) struct Load<D> {
    plan: Plan,
    epoll: Epoll,
    events: Vec<EpollEvent>,
    connections: Vec<Connection<D>>,
    input: Vec<u8>,
    output: Vec<u8>,
}

impl<D: Dialogue> Load<D> {
    /// Opens every connection and waits for its greeting. `dialogue` makes the dialogue of the connection with that number.
    pub(crate) fn connect(
        plan: Plan,
        mut dialogue: impl FnMut(usize) -> D,
    ) -> Result<Self, BenchError> {
        let epoll =
            Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(BenchError::sys("epoll"))?;
        let mut connections = Vec::with_capacity(plan.connections);
        for number in 0..plan.connections {
            let connection = Connection::open(number, plan.address, plan.spread, dialogue(number))?;
            epoll
                .add(
                    connection.stream(),
                    EpollEvent::new(INTEREST, number as u64),
                )
                .map_err(BenchError::sys("watching a connection"))?;
            connections.push(connection);
        }
        Ok(Self {
            plan,
            epoll,
            events: vec![EpollEvent::empty(); EVENTS],
            connections,
            input: vec![0; SCRATCH],
            output: Vec::new(),
        })
    }

    /// Keeps the full load on for `duration`; returns the answers heard and the time it really took. Questions stay in
    /// flight, so that runs can follow each other without a gap.
    pub(crate) fn run(&mut self, duration: Duration) -> Result<(u64, Duration), BenchError> {
        let start = Instant::now();
        self.ask_idle()?;
        let (mut answers, mut heard) = (0, start);
        loop {
            let got = self.turn(true)?;
            let now = Instant::now();
            if got > 0 {
                (answers, heard) = (answers + got, now);
            } else if now - heard > STALL {
                return Err(self.stalled());
            }
            if now - start >= duration {
                return Ok((answers, now - start));
            }
        }
    }

    /// Asks nothing more and waits for every answer that is due.
    pub(crate) fn drain(&mut self) -> Result<u64, BenchError> {
        let mut answers = 0;
        let mut heard = Instant::now();
        while self.connections.iter().any(|one| one.outstanding() > 0) {
            let got = self.turn(false)?;
            if got > 0 {
                (answers, heard) = (answers + got, Instant::now());
            } else if heard.elapsed() > STALL {
                return Err(self.stalled());
            }
        }
        Ok(answers)
    }

    /// One batch on every connection, answered in full.
    pub(crate) fn ask_once(&mut self) -> Result<u64, BenchError> {
        self.ask_idle()?;
        self.drain()
    }

    fn ask_idle(&mut self) -> Result<(), BenchError> {
        for connection in &mut self.connections {
            if connection.outstanding() == 0 {
                connection.ask(self.plan.depth, &mut self.output)?;
            }
        }
        Ok(())
    }

    /// One wait and all that it reports. With `more`, a connection that has all its answers asks again at once.
    fn turn(&mut self, more: bool) -> Result<u64, BenchError> {
        let count = match self
            .epoll
            .wait(&mut self.events, EpollTimeout::from(100u16))
        {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            Err(errno) => return Err(BenchError::sys("waiting for answers")(errno)),
        };
        let mut answers = 0;
        for event in &self.events[..count] {
            let number = usize::try_from(event.data()).unwrap_or(usize::MAX);
            let Some(connection) = self.connections.get_mut(number) else {
                continue;
            };
            answers += connection.turn(event.events(), &mut self.input)? as u64;
            if more && connection.outstanding() == 0 {
                connection.ask(self.plan.depth, &mut self.output)?;
            }
        }
        Ok(answers)
    }

    fn stalled(&self) -> BenchError {
        let waiting = self.connections.iter().filter(|one| one.outstanding() > 0);
        BenchError::Server(format!(
            "no answer for {} s while {} connections wait for one",
            STALL.as_secs(),
            waiting.count()
        ))
    }
}
