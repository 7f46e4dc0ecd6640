//! `push`: lines that reach a WebSocket client by its uid, as fast as they go, and one at a time.
//!
//! All servers take turns under the same load in one run. Each round starts each of them anew.

pub(crate) mod floor;
mod load;
pub(crate) mod server;
mod table;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::cpu::{self, Cores};
use crate::error::BenchError;
use crate::push::load::{Crowd, PushLoad};
use crate::push::server::{PushServer, Subject, peers};
use crate::push::table::Figures;
use crate::report;
use crate::sockets::held_ports;
use crate::ws_load::Random;

/// After the last push, for copies that should not exist.
const ECHO: Duration = Duration::from_millis(50);
/// So many percent of a core for others on the machine spoil a window.
const BUSY: f64 = 10.0;

/// What is measured, and for how long.
#[derive(Debug, Clone)]
pub(crate) struct Push {
    /// WebSocket clients.
    pub(crate) clients: usize,
    /// Text connections.
    pub(crate) senders: usize,
    /// Pushes under way on each of them.
    pub(crate) window: usize,
    /// The numbers of workers with which workhive is run.
    pub(crate) counts: Vec<usize>,
    /// Gateway processes of `GatewayWorker`, and as many `BusinessWorker` processes.
    pub(crate) gateways: usize,
    /// Rounds of all servers.
    pub(crate) rounds: usize,
    /// Load before each measured window.
    pub(crate) warm_up: Duration,
    /// Each window of throughput.
    pub(crate) seconds: Duration,
    /// Each window of single pushes.
    pub(crate) alone: Duration,
    /// How often a window is measured in all while other programs disturb it.
    pub(crate) tries: usize,
    /// Whether servers of one process, and the load beside them, get a core each.
    pub(crate) pin: bool,
}

impl Push {
    /// Runs all rounds and prints as it goes.
    pub(crate) fn run(&self) -> Result<(), BenchError> {
        let (mut subjects, skipped) = peers(self.gateways, self.gateways)?;
        subjects.splice(0..0, [Subject::Floor, Subject::CollectingFloor]);
        subjects.extend(self.counts.iter().map(|&count| Subject::Workhive(count)));
        subjects.sort_by_key(|subject| !subject.is_single());
        let cores = Cores::choose()?;
        println!(
            "push: {} WebSocket clients, {} text connections with {} lines under way on each; \
             {} rounds, each with every server anew: {:.1} s of warm-up, {:.1} s of throughput, {:.1} s of pushes \
             one at a time",
            self.clients,
            self.senders,
            self.window,
            self.rounds,
            self.warm_up.as_secs_f64(),
            self.seconds.as_secs_f64(),
            self.alone.as_secs_f64(),
        );
        println!(
            "every push was answered ok, and received once by its client, in order, or the run fails"
        );
        match (self.pin, cores.server, cores.load) {
            (true, Some(server), Some(load)) => println!(
                "servers of one process are pinned to core {server} and the load beside them to core {load}; \
                 with more processes nothing is pinned, and all share the cores with the load"
            ),
            _ => println!("nothing is pinned: servers and load share the cores"),
        }
        for subject in &subjects {
            println!("  {:<15} {}", subject.name(), subject.describe());
        }
        for line in skipped {
            println!("  {line}");
        }
        println!("{}", table::heading());
        let mut figures: Vec<Vec<Figures>> = vec![Vec::new(); subjects.len()];
        for round in 1..=self.rounds {
            for (subject, figures) in subjects.iter().zip(&mut figures) {
                let one = self.measure(subject, cores)?;
                println!("{}", table::line(&round.to_string(), &subject.name(), &one));
                figures.push(one);
            }
        }
        println!();
        let all: Vec<(Subject, Vec<Figures>)> = subjects.into_iter().zip(figures).collect();
        print!("{}", table::summary(&all));
        Ok(())
    }

    /// One server, started for this window alone.
    fn measure(&self, subject: &Subject, cores: Cores) -> Result<Figures, BenchError> {
        let pinned = self.pin && subject.is_single();
        match cores.load {
            Some(core) if pinned => cpu::pin(core)?,
            _ => cores.unpin()?,
        }
        let server = PushServer::start(subject, cores.server.filter(|_| pinned))?;
        let figures = self
            .figures(&server)
            .map_err(|error| server.running().explain(&error))?;
        server.stop()?;
        Ok(figures)
    }

    fn figures(&self, server: &PushServer) -> Result<Figures, BenchError> {
        let crowd = Crowd {
            clients: self.clients,
            senders: self.senders,
            window: self.window,
        };
        let mut load = PushLoad::connect(server.doors(), crowd)?;
        let family = server.running().family();
        let holders = Holders::find(&family, server, &load)?;
        load.run(self.warm_up)?;
        let (full, at_full) = self.calmest(&family, || load.run(self.seconds))?;
        load.drain()?;
        load.listen(ECHO)?;
        let anybody = holders.pairs(|_, _| true);
        let (single, at_single) =
            self.calmest(&family, || self.one_at_a_time(&mut load, &anybody))?;
        let elsewhere = holders.pairs(|sender, client| sender != client);
        let (across, at_across) = if elsewhere.is_empty() {
            (Vec::new(), at_full)
        } else {
            self.calmest(&family, || self.one_at_a_time(&mut load, &elsewhere))?
        };
        load.listen(ECHO)?;
        if server.running().family() != family {
            return Err(BenchError::Server(
                "a process came or went during the measurement".to_owned(),
            ));
        }
        Ok(Figures {
            pushes: full.0,
            elapsed: full.1,
            server: at_full.server,
            load: at_full.load,
            others: at_full
                .others()
                .max(at_single.others())
                .max(at_across.others()),
            across_share: holders.across_share(),
            p50: report::percentile(single.iter().copied(), 0.5),
            p99: report::percentile(single.iter().copied(), 0.99),
            across_p50: report::percentile(across.iter().copied(), 0.5),
            across_p99: report::percentile(across.iter().copied(), 0.99),
        })
    }

    /// Does it, and again if other programs disturbed it; what they disturbed least counts.
    fn calmest<T>(
        &self,
        family: &[u32],
        mut window: impl FnMut() -> Result<T, BenchError>,
    ) -> Result<(T, Spent), BenchError> {
        let mut best = Spent::in_window(family, &mut window)?;
        for _ in 1..self.tries {
            if best.1.others() <= BUSY {
                break;
            }
            let next = Spent::in_window(family, &mut window)?;
            if next.1.others() < best.1.others() {
                best = next;
            }
        }
        Ok(best)
    }

    /// Pushes with nothing else under way, from one sender to clients chosen at random among `pairs`; microseconds
    /// each.
    fn one_at_a_time(
        &self,
        load: &mut PushLoad,
        pairs: &BTreeMap<usize, Vec<usize>>,
    ) -> Result<Vec<f64>, BenchError> {
        let mut random = Random(0x853C_49E6_748F_EA9B);
        let mut times = Vec::new();
        let (start, mut sender) = (Instant::now(), 0);
        let senders: Vec<usize> = pairs.keys().copied().collect();
        while start.elapsed() < self.alone {
            // A new sender now and then, so that no single place of a connection decides.
            if times.len() % 500 == 0 {
                sender = senders[random.below(senders.len())];
            }
            let clients = &pairs[&sender];
            let took = load.ask(sender, clients[random.below(clients.len())])?;
            times.push(took.as_secs_f64() * 1e6);
        }
        Ok(times)
    }
}

/// CPU time in a window.
#[derive(Debug, Clone, Copy)]
struct Spent {
    elapsed: Duration,
    server: Duration,
    load: Duration,
    all: Duration,
}

impl Spent {
    fn in_window<T>(
        family: &[u32],
        window: impl FnOnce() -> Result<T, BenchError>,
    ) -> Result<(T, Self), BenchError> {
        let own = [std::process::id()];
        let now = || -> Result<_, BenchError> {
            let (server, load) = (cpu::time_of(family)?, cpu::time_of(&own)?);
            Ok((Instant::now(), server, load, cpu::time_of_all()?))
        };
        let before = now()?;
        let done = window()?;
        let after = now()?;
        let spent = Self {
            elapsed: after.0 - before.0,
            server: after.1.saturating_sub(before.1),
            load: after.2.saturating_sub(before.2),
            all: after.3.saturating_sub(before.3),
        };
        Ok((done, spent))
    }

    /// What everybody else on the machine had of it, in percent of a core.
    fn others(&self) -> f64 {
        let others = self.all.saturating_sub(self.server + self.load);
        report::percent(others, self.elapsed)
    }
}

/// Which process of the server holds which connection. The kernel is asked: a process's descriptors name sockets by
/// inodes, and the table of connections has the client's port beside each.
#[derive(Debug)]
struct Holders {
    clients: Vec<u32>,
    senders: Vec<u32>,
}

impl Holders {
    fn find(family: &[u32], server: &PushServer, load: &PushLoad) -> Result<Self, BenchError> {
        let mut holders = [BTreeMap::new(), BTreeMap::new()];
        let doors = [server.doors().clients, server.doors().lines];
        for &pid in family {
            for (door, holders) in doors.iter().zip(&mut holders) {
                for port in held_ports(pid, door.port())? {
                    holders.insert(port, pid);
                }
            }
        }
        let look_up = |ports: &[u16], holders: &BTreeMap<u16, u32>| {
            let found = ports.iter().map(|port| holders.get(port).copied());
            found.collect::<Option<Vec<u32>>>().ok_or_else(|| {
                BenchError::Server("no process holds some of its connections".to_owned())
            })
        };
        let (clients, senders) = load.ports();
        Ok(Self {
            clients: look_up(&clients, &holders[0])?,
            senders: look_up(&senders, &holders[1])?,
        })
    }

    /// For each sender the clients that fit it; senders whom none fits are left out.
    fn pairs(&self, fits: impl Fn(u32, u32) -> bool) -> BTreeMap<usize, Vec<usize>> {
        let mut pairs = BTreeMap::new();
        for (sender, &by) in self.senders.iter().enumerate() {
            let fitting = self.clients.iter().enumerate();
            let fitting = fitting.filter(|&(_, &to)| fits(by, to));
            let fitting: Vec<usize> = fitting.map(|(client, _)| client).collect();
            if !fitting.is_empty() {
                pairs.insert(sender, fitting);
            }
        }
        pairs
    }

    /// The share of pushes that go from one process to another when both ends are chosen at random.
    #[allow(clippy::cast_precision_loss, reason = "a share of a few hundred")]
    fn across_share(&self) -> f64 {
        let across: usize = self
            .pairs(|sender, client| sender != client)
            .values()
            .map(Vec::len)
            .sum();
        across as f64 / (self.senders.len() * self.clients.len()).max(1) as f64
    }
}
