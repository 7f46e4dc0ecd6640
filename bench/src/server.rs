//! An echo server of either side.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ChildStderr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::connection::{Connection, Dialogue};
use crate::error::BenchError;
use crate::http_load::HttpDialogue;
use crate::process::{self, Running, children, free_address};
use crate::ws_load::{Kind, WsDialogue};

/// How long a server may take to start.
const START: Duration = Duration::from_secs(10);

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// The least that can be done.
    Floor,
    /// The runtime under test.
    Workhive,
}

impl Side {
    /// Its name in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Workhive => "workhive",
        }
    }
}

/// Which protocol it speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speech {
    /// `GET /`.
    Http,
    /// An echo of messages.
    WebSocket,
}

impl Speech {
    /// Its name, both as the scheme of an address and as an argument.
    pub(crate) fn scheme(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::WebSocket => "websocket",
        }
    }
}

/// What to start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Order {
    /// Which server.
    pub(crate) side: Side,
    /// Which protocol.
    pub(crate) speech: Speech,
    /// How many worker processes; the floor has one.
    pub(crate) count: usize,
    /// The core it is pinned to.
    pub(crate) core: Option<usize>,
    /// Whether its log comes through a pipe, for who wants to read along, or goes to a file.
    pub(crate) piped_log: bool,
}

/// A running server. Dropping it ends the server and everything that it started.
#[derive(Debug)]
pub(crate) struct Server {
    running: Running,
    order: Order,
    address: SocketAddr,
}

impl Server {
    /// Starts a server on a free port, without waiting until it serves.
    pub(crate) fn start(order: Order) -> Result<Self, BenchError> {
        let place = process::place()?;
        let address = free_address()?;
        let arguments = arguments(order, address, place.path());
        Ok(Self {
            running: Running::start(order.side.name(), arguments, place, order.piped_log)?,
            order,
            address,
        })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The process that was started: workhive's master, or the floor itself.
    pub(crate) fn pid(&self) -> u32 {
        self.running.pid()
    }

    /// The log, when it was asked for through a pipe; once.
    pub(crate) fn take_log(&mut self) -> Option<ChildStderr> {
        self.running.take_log()
    }

    /// Waits until it has answered a question rightly. A connection alone would not do: the listener is open long
    /// before a worker accepts from it.
    pub(crate) fn await_ready(&mut self) -> Result<(), BenchError> {
        let deadline = Instant::now() + START;
        loop {
            let Err(error) = asked(self.order.speech, self.address) else {
                return Ok(());
            };
            self.running.check()?;
            if Instant::now() > deadline || matches!(error, BenchError::Wrong { .. }) {
                return Err(self.running.failed(&format!("does not serve: {error}")));
            }
            sleep(Duration::from_millis(5));
        }
    }

    /// The processes that do the work, and whose CPU time and memory count: workhive's children, or the floor itself.
    pub(crate) fn workers(&self) -> Result<Vec<u32>, BenchError> {
        if self.order.side == Side::Floor {
            return Ok(vec![self.pid()]);
        }
        let workers = children(self.pid()).map_err(BenchError::io("looking for the workers"))?;
        if workers.is_empty() {
            return Err(BenchError::Server("it has no worker process".to_owned()));
        }
        Ok(workers)
    }

    /// The processes that only supervise: workhive's master, and none for the floor.
    pub(crate) fn supervisors(&self) -> Vec<u32> {
        match self.order.side {
            Side::Floor => Vec::new(),
            Side::Workhive => vec![self.pid()],
        }
    }

    /// An error of a run against this server, with the server's name and the end of its log.
    pub(crate) fn explain(&self, error: &BenchError) -> BenchError {
        self.running.explain(error)
    }

    /// Ends the server as an operator would, and says so if it had to be forced.
    pub(crate) fn stop(self) -> Result<(), BenchError> {
        self.running.stop()
    }
}

/// The command line with which this program becomes the server.
fn arguments(order: Order, address: SocketAddr, place: &Path) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = Vec::new();
    let role = match order.side {
        Side::Floor => "floor",
        Side::Workhive => "serve",
    };
    arguments.extend([role.into(), "--tied".into()]);
    if let Some(core) = order.core {
        arguments.extend(["--core".into(), core.to_string().into()]);
    }
    match order.side {
        Side::Floor => {
            arguments.extend([order.speech.scheme().into(), address.to_string().into()]);
        }
        Side::Workhive => arguments.extend([
            "echo".into(),
            format!("{}://{address}", order.speech.scheme()).into(),
            "--count".into(),
            order.count.to_string().into(),
            "--pid-file".into(),
            place.join("hive.pid").into(),
        ]),
    }
    arguments
}

/// Asks the server at this address one question; an error if the answer is not right.
pub(crate) fn asked(speech: Speech, address: SocketAddr) -> Result<(), BenchError> {
    match speech {
        Speech::Http => exchange(address, HttpDialogue::new(address)),
        Speech::WebSocket => exchange(address, WsDialogue::new(0, address, Kind::Binary)),
    }
}

/// One question and its answer on a connection of its own.
fn exchange(address: SocketAddr, dialogue: impl Dialogue) -> Result<(), BenchError> {
    use nix::sys::epoll::EpollFlags;

    let mut connection = Connection::open(0, address, false, dialogue)?;
    connection.ask(1, &mut Vec::new())?;
    let deadline = Instant::now() + START;
    let mut input = vec![0; 16 * 1024];
    while connection.outstanding() > 0 {
        if Instant::now() > deadline {
            return Err(BenchError::Server("no answer".to_owned()));
        }
        // Once per start, so a poll by sleeping is good enough.
        sleep(Duration::from_millis(1));
        connection.turn(EpollFlags::empty(), &mut input)?;
    }
    Ok(())
}
