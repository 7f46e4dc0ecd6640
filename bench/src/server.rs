//! A server in a process of its own, which ends when the guard goes.

use std::ffi::OsString;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::connection::{Connection, Dialogue};
use crate::error::BenchError;
use crate::http_load::HttpDialogue;
use crate::ws_load::{Kind, WsDialogue};

/// How long a server may take to start.
const START: Duration = Duration::from_secs(10);
/// How long it may take to end after SIGTERM. Longer than any drain that has nothing left to drain.
const STOP: Duration = Duration::from_secs(15);
/// Lines of a failed server's log that are shown.
const TAIL: usize = 20;

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
    child: Child,
    order: Order,
    address: SocketAddr,
    /// Pid file and log; removed with the server.
    place: TempDir,
    ended: bool,
}

impl Server {
    /// Starts a server on a free port, without waiting until it serves.
    pub(crate) fn start(order: Order) -> Result<Self, BenchError> {
        let place = TempDir::with_prefix("workhive-bench-")
            .map_err(BenchError::io("making a directory for the server"))?;
        let address = free_address().map_err(BenchError::io("looking for a free port"))?;
        let log = if order.piped_log {
            Stdio::piped()
        } else {
            File::create(log_path(&place))
                .map_err(BenchError::io("making the server's log"))?
                .into()
        };
        let program = std::env::current_exe().map_err(BenchError::io("finding this program"))?;
        let child = Command::new(program)
            .args(arguments(order, address, &place))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            // Of its own, so that an interrupt at the terminal reaches only the bench, which then ends the server.
            .process_group(0)
            .spawn()
            .map_err(BenchError::io("starting the server"))?;
        Ok(Self {
            child,
            order,
            address,
            place,
            ended: false,
        })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The process that was started: workhive's master, or the floor itself.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The log, when it was asked for through a pipe; once.
    pub(crate) fn take_log(&mut self) -> Option<ChildStderr> {
        self.child.stderr.take()
    }

    /// Waits until it has answered a question rightly. A connection alone would not do: the listener is open long
    /// before a worker accepts from it.
    pub(crate) fn await_ready(&mut self) -> Result<(), BenchError> {
        let deadline = Instant::now() + START;
        loop {
            let error = match self.order.speech {
                Speech::Http => exchange(self.address, HttpDialogue::new(self.address)),
                Speech::WebSocket => {
                    let dialogue = WsDialogue::new(0, self.address, Kind::Binary);
                    exchange(self.address, dialogue)
                }
            };
            let Err(error) = error else {
                return Ok(());
            };
            if let Ok(Some(status)) = self.child.try_wait() {
                let log = self.log_tail();
                return Err(BenchError::Server(format!(
                    "{} ended before it served ({status}){log}",
                    self.order.side.name()
                )));
            }
            if Instant::now() > deadline || matches!(error, BenchError::Wrong { .. }) {
                let log = self.log_tail();
                return Err(BenchError::Server(format!(
                    "{} does not serve: {error}{log}",
                    self.order.side.name()
                )));
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
        let log = self.log_tail();
        BenchError::Server(format!("{}: {error}{log}", self.order.side.name()))
    }

    /// Ends the server as an operator would, and says so if it had to be forced.
    pub(crate) fn stop(mut self) -> Result<(), BenchError> {
        if let Ok(Some(status)) = self.child.try_wait() {
            let log = self.log_tail();
            return Err(BenchError::Server(format!(
                "{} ended during the run ({status}){log}",
                self.order.side.name()
            )));
        }
        if self.end() {
            Ok(())
        } else {
            let log = self.log_tail();
            Err(BenchError::Server(format!(
                "{} did not end within {} s of SIGTERM and was killed{log}",
                self.order.side.name(),
                STOP.as_secs()
            )))
        }
    }

    /// SIGTERM, a wait, then SIGKILL to whatever is left. True if nothing was left.
    fn end(&mut self) -> bool {
        self.ended = true;
        let mut family = descendants(self.pid());
        signal(self.pid(), Signal::SIGTERM);
        let deadline = Instant::now() + STOP;
        let mut done = false;
        while !done && Instant::now() < deadline {
            match self.child.try_wait() {
                Ok(None) => sleep(Duration::from_millis(2)),
                _ => done = true,
            }
        }
        if !done {
            family.extend(descendants(self.pid()));
            // The group has only what this server started: nobody else is put into it.
            let _ = nix::sys::signal::killpg(pid_of(self.pid()), Signal::SIGKILL);
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        // Children that outlived their master belong to init now, and are told from strangers by their group.
        family.retain(|&pid| group_of(pid) == Some(self.pid()));
        let clean = family.is_empty();
        for pid in family {
            signal(pid, Signal::SIGKILL);
        }
        done && clean
    }

    fn log_tail(&self) -> String {
        let log = fs::read_to_string(log_path(&self.place)).unwrap_or_default();
        tail_of(log.lines())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !self.ended {
            self.end();
        }
    }
}

/// The command line with which this program becomes the server.
fn arguments(order: Order, address: SocketAddr, place: &TempDir) -> Vec<OsString> {
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
            place.path().join("hive.pid").into(),
        ]),
    }
    arguments
}

/// The last lines of a log, set off for an error.
pub(crate) fn tail_of<'a>(lines: impl DoubleEndedIterator<Item = &'a str>) -> String {
    let mut last: Vec<&str> = lines.rev().take(TAIL).collect();
    last.reverse();
    last.iter()
        .fold(String::new(), |text, line| text + "\n  | " + line)
}

fn log_path(place: &TempDir) -> PathBuf {
    place.path().join("log")
}

/// A loopback port that was free a moment ago.
fn free_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
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

/// The processes that `pid` has started and not yet waited for.
pub(crate) fn children(pid: u32) -> std::io::Result<Vec<u32>> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    Ok(list
        .split_whitespace()
        .filter_map(|text| text.parse().ok())
        .collect())
}

fn descendants(pid: u32) -> Vec<u32> {
    let mut found = children(pid).unwrap_or_default();
    let mut next = 0;
    while let Some(&one) = found.get(next) {
        found.extend(children(one).unwrap_or_default());
        next += 1;
    }
    found
}

/// The process group of a process that runs; none for one that is gone or has ended.
fn group_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    let group = fields.nth(1)?.parse().ok()?;
    (state != "Z" && state != "X").then_some(group)
}

/// Sends a signal; a process that is gone already is no error.
pub(crate) fn signal(pid: u32, signal: Signal) {
    let _ = kill(pid_of(pid), signal);
}

/// The form in which system calls want a process id.
pub(crate) fn pid_of(pid: u32) -> Pid {
    Pid::from_raw(i32::try_from(pid).expect("process ids of Linux are below 2^22"))
}
