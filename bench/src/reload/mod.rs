//! What clients notice of a server that replaces all its processes again and again, and how long that takes.
//!
//! One thread with one epoll is all clients. They know when a connection may end, and count every end that they could
//! not know of.

mod client;
mod server;
mod tally;

use std::collections::BTreeSet;
use std::fs;
use std::process::ChildStderr;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::cpu::{self, Cores};
use crate::error::BenchError;
use crate::master_log::{Log, reload_failed, reloaded};
use crate::reload::client::{Client, Role, named};
use crate::reload::server::{Kind, Server, Subject};
use crate::reload::tally::{Outcome, Tally};

/// The epoll number of the log; connections have a client and a generation.
const LOG: u64 = u64::MAX;
/// How long a reload may take. Far above any, far below any patience.
const LIMIT: Duration = Duration::from_secs(15);
/// Load before the first reload, and after the last.
const CALM: Duration = Duration::from_secs(1);
/// How long a process that is replaced waits for the next question on an idle connection, and no longer than a quarter of
/// its drain. What a client that was silent for longer has lost is counted, but is no fault.
const GRACE: Duration = Duration::from_secs(1);
/// Between two looks for the processes of a server that does not tell.
const LOOK: Duration = Duration::from_millis(2);

/// What is measured.
#[derive(Debug, Clone)]
pub(crate) struct Reload {
    /// Reloads of each server.
    pub(crate) reloads: usize,
    /// The time from one reload to the next.
    pub(crate) pace: Duration,
    /// Worker processes.
    pub(crate) count: usize,
    /// How long a replaced process may take to end.
    pub(crate) drain: Duration,
    /// Clients with a connection for each request.
    pub(crate) churning: usize,
    /// Their pause between two of them.
    pub(crate) rest: Duration,
    /// Clients that keep their connection.
    pub(crate) keeping: usize,
    /// How long these think before they ask again.
    pub(crate) think: Duration,
    /// Clients that hold a `WebSocket`.
    pub(crate) chatting: usize,
    /// Which servers.
    pub(crate) servers: Servers,
}

/// Which servers take part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Servers {
    Both,
    Workhive,
    Nginx,
}

impl Reload {
    /// Reloads and prints.
    pub(crate) fn run(&self) -> Result<(), BenchError> {
        let cores = Cores::choose()?;
        if let Some(core) = cores.load {
            cpu::pin(core)?;
        }
        println!(
            "reload: {} workers, {} reloads, one every {} ms; {} churning clients that rest {} ms, {} that keep their \
             connection and think {} ms, {} WebSockets; drain {} ms; {}",
            self.count,
            self.reloads,
            self.pace.as_millis(),
            self.churning,
            self.rest.as_millis(),
            self.keeping,
            self.think.as_millis(),
            self.chatting,
            self.drain.as_millis(),
            cores.describe()
        );
        no_migration()?;
        let mut outcomes = Vec::new();
        for subject in self.subjects(cores) {
            println!("{} ..", subject.name());
            outcomes.push(self.measure(&subject)?);
        }
        no_migration()?;
        println!("\n{}", tally::wrongs_heading());
        for outcome in &outcomes {
            println!("{}", tally::wrongs_line(outcome));
        }
        println!("\n{}", tally::rights_heading());
        for outcome in &outcomes {
            println!("{}", tally::rights_line(outcome));
        }
        println!();
        for outcome in &outcomes {
            println!(
                "{}: the clients themselves were held up for {:.1} ms at most",
                outcome.name,
                outcome.held_up.as_secs_f64() * 1e3
            );
        }
        // What others do is a result, and no failure of this run.
        let mut own = outcomes.iter().filter(|outcome| outcome.chats);
        own.try_for_each(Outcome::check)
    }

    /// The servers in their turn.
    fn subjects(&self, cores: Cores) -> Vec<Subject> {
        let mut kinds = Vec::new();
        if self.servers != Servers::Nginx {
            kinds.push(Kind::Workhive);
        }
        if self.servers != Servers::Workhive {
            match server::nginx() {
                Some(nginx) => {
                    println!(
                        "{} beside it: without WebSockets, of which it has no echo",
                        server::version(&nginx)
                    );
                    kinds.push(Kind::Nginx(nginx));
                }
                None => println!("nginx skipped: it is not installed"),
            }
        }
        let modes = kinds.into_iter().flat_map(|kind| {
            [false, true].map(|reuse_port| Subject {
                kind: kind.clone(),
                reuse_port,
                count: self.count,
                drain: self.drain,
                core: cores.server,
            })
        });
        modes.collect()
    }

    /// Everything with one server.
    fn measure(&self, subject: &Subject) -> Result<Outcome, BenchError> {
        let (server, log) = Server::start(subject)?;
        let mut scene = Scene::new(self, server, log)?;
        match scene.all(self) {
            Ok(()) => scene.end(subject.name()),
            Err(error) => {
                let tail = scene.log.as_ref().map(Log::tail).unwrap_or_default();
                let BenchError::Server(text) = scene.server.explain(&error) else {
                    return Err(error);
                };
                Err(BenchError::Server(text + &tail))
            }
        }
    }
}

/// The kernel can move what waits in the queue of a socket that is closed to another one of the same port. Nothing may
/// depend on that: it is off unless somebody turns it on.
fn no_migration() -> Result<(), BenchError> {
    let file = "/proc/sys/net/ipv4/tcp_migrate_req";
    let value = fs::read_to_string(file).map_err(BenchError::io(format!("reading {file}")))?;
    println!("tcp_migrate_req is {}", value.trim());
    if value.trim() == "0" {
        Ok(())
    } else {
        Err(BenchError::Server(format!(
            "{file} is on, which hides what this bench is to find: turn it off"
        )))
    }
}

/// One server with all its clients.
#[derive(Debug)]
struct Scene {
    server: Server,
    epoll: Epoll,
    log: Option<Log>,
    clients: Vec<Client>,
    tally: Tally,
    /// The processes from before the last reload.
    old: BTreeSet<u32>,
    /// When one of them has answered last on a new connection.
    old_seen: Option<Instant>,
    /// When the log said that the reload was done.
    done: Option<Instant>,
    took: Vec<Duration>,
    last_old: Vec<Duration>,
    /// When events were last looked for, and the longest time from one look to the next.
    turned: Instant,
    held_up: Duration,
    input: Vec<u8>,
}

impl Scene {
    fn new(plan: &Reload, server: Server, log: Option<ChildStderr>) -> Result<Self, BenchError> {
        let epoll =
            Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(BenchError::sys("epoll"))?;
        if let Some(log) = &log {
            let doing = "preparing the log";
            let flags = fcntl(log, FcntlArg::F_GETFL).map_err(BenchError::sys(doing))?;
            let flags = OFlag::from_bits_retain(flags) | OFlag::O_NONBLOCK;
            fcntl(log, FcntlArg::F_SETFL(flags)).map_err(BenchError::sys(doing))?;
            epoll
                .add(log, EpollEvent::new(EpollFlags::EPOLLIN, LOG))
                .map_err(BenchError::sys(doing))?;
        }
        let start = Instant::now();
        let grace = GRACE.min(plan.drain / 4);
        let crowds = [
            (Role::Churn, plan.churning, Some(server.http), plan.rest),
            (Role::KeepAlive, plan.keeping, Some(server.http), plan.think),
            (Role::Chat, plan.chatting, server.ws, plan.think),
        ];
        let mut clients = Vec::new();
        for (role, count, address, rest) in crowds {
            let Some(address) = address else {
                continue;
            };
            for _ in 0..count {
                let pauses = (rest, grace);
                clients.push(Client::new(role, clients.len(), address, pauses, start));
            }
        }
        Ok(Self {
            server,
            epoll,
            log: log.map(Log::new),
            clients,
            tally: Tally::default(),
            old: BTreeSet::new(),
            old_seen: None,
            done: None,
            took: Vec::new(),
            last_old: Vec::new(),
            turned: start,
            held_up: Duration::ZERO,
            input: vec![0; 64 * 1024],
        })
    }

    /// All reloads, with load before and after them, and the end of all questions.
    fn all(&mut self, plan: &Reload) -> Result<(), BenchError> {
        self.go_on(CALM)?;
        for _ in 0..plan.reloads {
            self.reload(plan)?;
        }
        self.go_on(CALM)?;
        let start = Instant::now();
        loop {
            let open = self
                .clients
                .iter_mut()
                .map(Client::leave)
                .filter(|left| !left);
            if open.count() == 0 {
                return Ok(());
            }
            if start.elapsed() > LIMIT {
                return Err(BenchError::Server(
                    "questions without an answer at the end".to_owned(),
                ));
            }
            self.turn()?;
        }
    }

    fn go_on(&mut self, time: Duration) -> Result<(), BenchError> {
        let start = Instant::now();
        while start.elapsed() < time {
            self.turn()?;
        }
        Ok(())
    }

    /// One reload, and the load until the next one.
    fn reload(&mut self, plan: &Reload) -> Result<(), BenchError> {
        self.old = self.server.workers()?;
        self.old_seen = None;
        self.done = None;
        let start = Instant::now();
        let mut looked = start;
        self.server.reload();
        while self.done.is_none() || start.elapsed() < plan.pace {
            self.turn()?;
            let now = Instant::now();
            if now - start > LIMIT {
                return Err(BenchError::Server(format!(
                    "a reload was not done in {} s",
                    LIMIT.as_secs()
                )));
            }
            if self.log.is_none() && self.done.is_none() && now - looked > LOOK {
                looked = now;
                let new = self.server.workers()?.difference(&self.old).count();
                self.done = (new >= plan.count).then_some(now);
            }
        }
        // New processes that are there need not serve yet: only who says so is believed.
        if self.log.is_some() {
            self.took.extend(self.done.map(|done| done - start));
        }
        self.last_old
            .push(self.old_seen.map_or(Duration::ZERO, |seen| seen - start));
        Ok(())
    }

    /// One wait, and all that is due.
    fn turn(&mut self) -> Result<(), BenchError> {
        let now = Instant::now();
        let next = self.clients.iter().filter_map(Client::wake).min();
        let wait = next.map_or(LOOK, |next| next.saturating_duration_since(now).min(LOOK));
        let timeout = EpollTimeout::try_from(wait).unwrap_or(EpollTimeout::ZERO);
        let mut events = [EpollEvent::empty(); 256];
        let count = match self.epoll.wait(&mut events, timeout) {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            Err(errno) => return Err(BenchError::sys("waiting")(errno)),
        };
        let now = Instant::now();
        self.held_up = self.held_up.max(now - self.turned);
        self.turned = now;
        // The log before the connections: their work would be counted as the server's time.
        if events[..count].iter().any(|event| event.data() == LOG) {
            self.read_log()?;
        }
        for event in events[..count].iter().filter(|event| event.data() != LOG) {
            let (number, generation) = named(event.data());
            let Some(client) = self.clients.get_mut(number) else {
                continue;
            };
            if client.generation() != generation {
                continue;
            }
            let first = client.heard(now, &mut self.input, &mut self.tally)?;
            if first.is_some_and(|pid| self.old.contains(&pid)) {
                self.old_seen = Some(now);
            }
        }
        // After the events: who has been closed must not ask as if it were not.
        for client in &mut self.clients {
            if client.wake().is_some_and(|wake| wake <= now) {
                client.act(now, &self.epoll, &mut self.tally)?;
            }
        }
        Ok(())
    }

    fn read_log(&mut self) -> Result<(), BenchError> {
        let Some(log) = &mut self.log else {
            return Ok(());
        };
        log.read()?;
        while let Some(line) = log.next_line() {
            if reload_failed(&line) {
                return Err(BenchError::Server("a reload failed".to_owned()));
            }
            if reloaded(&line) {
                self.done = log.last_read;
            }
        }
        Ok(())
    }

    /// Ends the server.
    fn end(self, name: String) -> Result<Outcome, BenchError> {
        let Self {
            server,
            log,
            clients,
            tally,
            took,
            last_old,
            held_up,
            ..
        } = self;
        let chats = server.ws.is_some();
        // Idle connections would only make the server wait for their next question.
        drop(clients);
        // The pipe must stay open and be read while the server ends, or its last lines would fail to be written.
        let ending = log.map(|mut log| std::thread::spawn(move || log.drain()));
        let stopped = server.stop();
        if let Some(ending) = ending {
            let _ = ending.join();
        }
        stopped?;
        Ok(Outcome {
            name,
            tally,
            took,
            last_old,
            chats,
            held_up,
        })
    }
}
