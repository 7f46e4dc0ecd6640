//! How long a slot stays empty after its worker was killed under load, and whom that hurts.
//!
//! The connections ask at a steady pace and connect again when they break. The master's log says when a slot is ready;
//! its pipe is watched in the same wait as the connections. Which connections may break is known beforehand: those
//! whose sockets the victim holds. Any other that breaks is an error of the server.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::process::ChildStderr;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::signal::Signal;

use crate::connection::{Connection, INTEREST};
use crate::cpu::{self, Cores};
use crate::error::BenchError;
use crate::http_load::HttpDialogue;
use crate::master_log::{Log, parse_ready};
use crate::process::{children, signal};
use crate::report;
use crate::server::{Order, Server, Side, Speech};
use crate::sockets::held_ports;

/// The epoll number of the log; connections use their index.
const LOG: u64 = u64::MAX;
/// How long a slot may take. Far above any respawn, far below any patience.
const READY: Duration = Duration::from_secs(15);
/// Between a slot's return and the next kill. With the slots taken in turn, each worker has then been up for more than
/// the second after which a supervisor may call it stable; killing younger ones would measure the backoff.
const CALM: Duration = Duration::from_millis(1200);

/// What is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Respawn {
    /// Connections that keep asking.
    pub(crate) connections: usize,
    /// Worker processes.
    pub(crate) count: usize,
    /// How many of them are killed, one after the other.
    pub(crate) kills: usize,
    /// The pause between two questions of a connection.
    pub(crate) pace: Duration,
}

impl Respawn {
    /// Kills and prints.
    pub(crate) fn run(&self) -> Result<(), BenchError> {
        let cores = Cores::choose()?;
        if let Some(core) = cores.load {
            cpu::pin(core)?;
        }
        println!(
            "respawn: {} workers, {} connections with a question every {} ms, {} kills; {}",
            self.count,
            self.connections,
            self.pace.as_millis(),
            self.kills,
            cores.describe()
        );
        let mut server = Server::start(Order {
            side: Side::Workhive,
            speech: Speech::Http,
            count: self.count,
            core: cores.server,
            piped_log: true,
        })?;
        let log = server
            .take_log()
            .ok_or_else(|| BenchError::Server("its log was not opened as a pipe".to_owned()))?;
        let mut scene = Scene::new(*self, server.address(), log)?;
        let outcome = scene.populate().and_then(|()| scene.kill_all(server.pid()));
        if let Err(error) = outcome {
            let reason = match error {
                BenchError::Server(reason) => reason,
                other => other.to_string(),
            };
            return Err(BenchError::Server(reason + &scene.log.tail()));
        }
        let Scene {
            clients,
            mut log,
            innocent: wrong,
            answers,
            ..
        } = scene;
        // Idle connections would only make the server wait for their next question.
        drop(clients);
        // The pipe must stay open and be read while the server ends, or its last lines would fail to be written.
        let ending = std::thread::spawn(move || log.drain());
        let stopped = server.stop();
        let _ = ending.join();
        stopped?;
        println!("{answers} right answers in all");
        if wrong > 0 {
            return Err(BenchError::Server(format!(
                "{wrong} connections broke that the killed worker did not hold"
            )));
        }
        Ok(())
    }
}

/// Everything that goes on at once.
#[derive(Debug)]
struct Scene {
    plan: Respawn,
    address: SocketAddr,
    epoll: Epoll,
    log: Log,
    dialogue: HttpDialogue,
    clients: Vec<Client>,
    next_question: Instant,
    /// Source ports of connections that broke since the last kill.
    broken: BTreeSet<u16>,
    /// Connections that broke though the killed worker did not hold them, over all kills.
    innocent: usize,
    answers: u64,
    workers: BTreeMap<u32, u32>,
    input: Vec<u8>,
    output: Vec<u8>,
}

/// A connection, and whether a worker is known to hold it: an unanswered one may still be in the listener's queue.
#[derive(Debug)]
struct Client {
    connection: Connection<HttpDialogue>,
    port: u16,
    taken: bool,
}

impl Scene {
    fn new(plan: Respawn, address: SocketAddr, log: ChildStderr) -> Result<Self, BenchError> {
        let flags = OFlag::from_bits_retain(
            fcntl(&log, FcntlArg::F_GETFL).map_err(BenchError::sys("preparing the log"))?,
        );
        fcntl(&log, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))
            .map_err(BenchError::sys("preparing the log"))?;
        let epoll =
            Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(BenchError::sys("epoll"))?;
        epoll
            .add(&log, EpollEvent::new(EpollFlags::EPOLLIN, LOG))
            .map_err(BenchError::sys("watching the log"))?;
        Ok(Self {
            plan,
            address,
            epoll,
            log: Log::new(log),
            dialogue: HttpDialogue::new(address),
            clients: Vec::new(),
            next_question: Instant::now(),
            broken: BTreeSet::new(),
            innocent: 0,
            answers: 0,
            workers: BTreeMap::new(),
            input: vec![0; 64 * 1024],
            output: Vec::new(),
        })
    }

    /// Waits for all slots, then for all connections to have been served.
    fn populate(&mut self) -> Result<(), BenchError> {
        let deadline = Instant::now() + READY;
        while self.workers.len() < self.plan.count {
            if Instant::now() > deadline {
                return Err(BenchError::Server(format!(
                    "{} of {} slots reported ready in its log",
                    self.workers.len(),
                    self.plan.count
                )));
            }
            self.turn()?;
        }
        for _ in 0..self.plan.connections {
            let client = self.open(self.clients.len())?;
            self.clients.push(client);
        }
        self.settle()
    }

    /// All kills, with a line for each, and the summary.
    fn kill_all(&mut self, master: u32) -> Result<(), BenchError> {
        println!(
            "{:>5} {:>5} {:>9}  {:>9} {:>9} {:>9}",
            "kill", "slot", "ready ms", "it held", "broken", "others"
        );
        let slots: Vec<u32> = self.workers.keys().copied().collect();
        let mut times = Vec::with_capacity(self.plan.kills);
        for (kill, &slot) in (1..=self.plan.kills).zip(slots.iter().cycle()) {
            let pid = self.workers[&slot];
            let alive = children(master).map_err(BenchError::io("looking for the workers"))?;
            if !alive.contains(&pid) {
                return Err(BenchError::Server(format!(
                    "the worker of slot {slot} (pid {pid}) is gone before it was killed"
                )));
            }
            let held = held_ports(pid, self.address.port())?;
            self.broken.clear();
            let before = self.workers.clone();
            let start = Instant::now();
            signal(pid, Signal::SIGKILL);
            let took = self.await_slot(slot, pid, start)?;
            self.settle()?;
            // A worker that nobody killed and that is another now has crashed, even if it held no connection.
            let crashed = before
                .iter()
                .find(|&(other, pid)| *other != slot && self.workers.get(other) != Some(pid));
            if let Some((other, pid)) = crashed {
                return Err(BenchError::Server(format!(
                    "the worker of slot {other} (pid {pid}) was replaced though slot {slot} was to be killed"
                )));
            }
            let others = self.broken.difference(&held).count();
            self.innocent += others;
            let milliseconds = took.as_secs_f64() * 1e3;
            println!(
                "{kill:>5} {slot:>5} {milliseconds:>9.2}  {:>9} {:>9} {others:>9}",
                held.len(),
                self.broken.len(),
            );
            times.push(milliseconds);
        }
        println!(
            "ready again after a kill: median {:.2} ms, p90 {:.2} ms, max {:.2} ms; \
             connections of other workers that broke: {}",
            report::median(times.iter().copied()),
            report::percentile(times.iter().copied(), 0.9),
            report::percentile(times.iter().copied(), 1.0),
            self.innocent
        );
        Ok(())
    }

    /// Until the log says that the slot has another worker. Each turn reads the log first, so the time ends at the
    /// first look after the line was written.
    fn await_slot(&mut self, slot: u32, old: u32, start: Instant) -> Result<Duration, BenchError> {
        loop {
            self.turn()?;
            let now = Instant::now();
            if self.workers[&slot] != old {
                return Ok(self.log.last_read.unwrap_or(now) - start);
            }
            if now - start > READY {
                return Err(BenchError::Server(format!(
                    "slot {slot} was not ready again after {} s",
                    READY.as_secs()
                )));
            }
        }
    }

    /// Goes on asking until all is calm: every connection has been answered by the worker that holds it.
    fn settle(&mut self) -> Result<(), BenchError> {
        let start = Instant::now();
        while start.elapsed() < CALM || self.clients.iter().any(|client| !client.taken) {
            if start.elapsed() > CALM + READY {
                return Err(BenchError::Server(
                    "connections without an answer, long after the last kill".to_owned(),
                ));
            }
            self.turn()?;
        }
        Ok(())
    }

    /// One wait, with the questions that are due.
    fn turn(&mut self) -> Result<(), BenchError> {
        let now = Instant::now();
        if now >= self.next_question {
            self.next_question = now + self.plan.pace;
            for index in 0..self.clients.len() {
                let client = &mut self.clients[index];
                if client.connection.outstanding() == 0 {
                    let asked = client.connection.ask(1, &mut self.output);
                    self.survive(index, asked)?;
                }
            }
        }
        let left = self.next_question.saturating_duration_since(now);
        let timeout = u16::try_from(left.as_millis()).unwrap_or(u16::MAX).min(100);
        let mut events = [EpollEvent::empty(); 128];
        let count = match self.epoll.wait(&mut events, EpollTimeout::from(timeout)) {
            Ok(count) => count,
            Err(Errno::EINTR) => return Ok(()),
            Err(errno) => return Err(BenchError::sys("waiting")(errno)),
        };
        let events = &events[..count];
        // The log before the connections: their work would be counted as the server's time.
        if events.iter().any(|event| event.data() == LOG) {
            self.log.read()?;
            while let Some(line) = self.log.next_line() {
                if let Some(ready) = parse_ready(&line) {
                    self.workers.insert(ready.slot, ready.pid);
                }
            }
        }
        for event in events.iter().filter(|event| event.data() != LOG) {
            let index = usize::try_from(event.data()).unwrap_or(usize::MAX);
            let Some(client) = self.clients.get_mut(index) else {
                continue;
            };
            let heard = client.connection.turn(event.events(), &mut self.input);
            let heard = heard.map(|answers| {
                client.taken |= answers > 0;
                self.answers += answers as u64;
            });
            self.survive(index, heard)?;
        }
        Ok(())
    }

    /// A broken connection is noted and replaced; a wrong answer is not survived.
    fn survive(&mut self, index: usize, result: Result<(), BenchError>) -> Result<(), BenchError> {
        match result {
            Err(BenchError::Broken { .. }) => {
                self.broken.insert(self.clients[index].port);
                self.clients[index] = self.open(index)?;
                Ok(())
            }
            other => other,
        }
    }

    /// A connection that cannot even be opened is an error: the listener outlives every worker.
    fn open(&self, index: usize) -> Result<Client, BenchError> {
        let connection = Connection::open(index, self.address, false, self.dialogue.clone())?;
        let port = connection
            .stream()
            .local_addr()
            .map_err(BenchError::io("reading a connection's port"))?
            .port();
        self.epoll
            .add(connection.stream(), EpollEvent::new(INTEREST, index as u64))
            .map_err(BenchError::sys("watching a connection"))?;
        Ok(Client {
            connection,
            port,
            taken: false,
        })
    }
}
