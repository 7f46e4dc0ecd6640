//! Floor and workhive, turn by turn, under the same load.

use std::net::SocketAddr;
use std::time::Duration;

use crate::connection::Dialogue;
use crate::cpu::{self, Cores};
use crate::error::BenchError;
use crate::http_load::HttpDialogue;
use crate::load::{Load, Plan};
use crate::report::{self, REQUESTS, Round, Sample};
use crate::server::{Order, Server, Side, Speech};
use crate::ws_load::{Kind, WsDialogue};

/// What is measured, and for how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Duel {
    /// The protocol.
    pub(crate) speech: Speech,
    /// The kind of WebSocket messages.
    pub(crate) kind: Kind,
    /// What the floor is compared with.
    pub(crate) subject: Side,
    /// Connections.
    pub(crate) connections: usize,
    /// Questions in flight per connection.
    pub(crate) depth: usize,
    /// Rounds of both servers.
    pub(crate) rounds: usize,
    /// Load before each measured window.
    pub(crate) warm_up: Duration,
    /// Each measured window.
    pub(crate) window: Duration,
}

impl Duel {
    /// Runs all rounds and prints as it goes.
    pub(crate) fn run(&self) -> Result<(), BenchError> {
        let cores = Cores::choose()?;
        if let Some(core) = cores.load {
            cpu::pin(core)?;
        }
        println!("{}; {}", self.describe(), cores.describe());
        println!("{}", report::heading(self.subject, REQUESTS));
        let mut rounds = Vec::with_capacity(self.rounds);
        for number in 1..=self.rounds {
            let round = Round {
                floor: self.measure(Side::Floor, cores)?,
                subject: self.measure(self.subject, cores)?,
            };
            println!("{}", report::line(&number.to_string(), &round));
            rounds.push(round);
        }
        print!("{}", report::summary(&rounds, self.subject, REQUESTS));
        Ok(())
    }

    /// Loads a server that runs already, wherever it is, and prints its rate per round. Its CPU time is out of reach.
    pub(crate) fn run_against(&self, target: SocketAddr) -> Result<(), BenchError> {
        let cores = Cores::choose()?;
        if let Some(core) = cores.load {
            cpu::pin(core)?;
        }
        println!("{}; against {target}", self.describe());
        println!("{:>5}  {:>12} {:>9}", "round", "requests/s", "load busy");
        let mut rates = Vec::with_capacity(self.rounds);
        for number in 1..=self.rounds {
            let sample = self.sample(target, &[], &[])?;
            let (rate, busy) = (sample.rate(), sample.load_busy());
            println!("{number:>5}  {rate:>12.0} {busy:>8.1}%");
            rates.push(rate);
        }
        println!("{:>5}  {:>12.0}", "med", report::median(rates));
        Ok(())
    }

    fn describe(&self) -> String {
        let what = match (self.speech, self.kind) {
            (Speech::Http, _) => "http GET /".to_owned(),
            (Speech::WebSocket, kind) => {
                format!(
                    "websocket echo, {} bytes, {kind:?}",
                    crate::ws_load::PAYLOAD
                )
            }
        };
        format!(
            "{what}: {} connections, {} in flight on each, {} rounds of {:.1} s after {:.1} s of warm-up",
            self.connections,
            self.depth,
            self.rounds,
            self.window.as_secs_f64(),
            self.warm_up.as_secs_f64(),
        )
    }

    /// One server, started for this window alone: luck with the layout of memory is then drawn anew each round.
    fn measure(&self, side: Side, cores: Cores) -> Result<Sample, BenchError> {
        let mut server = Server::start(Order {
            side,
            speech: self.speech,
            count: 1,
            core: cores.server,
            piped_log: false,
        })?;
        server.await_ready()?;
        let workers = server.workers()?;
        let sample = self
            .sample(server.address(), &workers, &server.supervisors())
            .map_err(|error| server.explain(&error))?;
        if server.workers()? != workers {
            return Err(BenchError::Server(
                "a worker was replaced during the measurement".to_owned(),
            ));
        }
        server.stop()?;
        Ok(sample)
    }

    /// One window against a server that runs, of which these processes do the work and those supervise.
    pub(crate) fn sample(
        &self,
        address: SocketAddr,
        workers: &[u32],
        masters: &[u32],
    ) -> Result<Sample, BenchError> {
        match self.speech {
            Speech::Http => {
                let dialogue = HttpDialogue::new(address);
                self.window(address, workers, masters, |_| dialogue.clone())
            }
            Speech::WebSocket => self.window(address, workers, masters, |number| {
                WsDialogue::new(number, address, self.kind)
            }),
        }
    }

    fn window<D: Dialogue>(
        &self,
        address: SocketAddr,
        workers: &[u32],
        masters: &[u32],
        dialogue: impl FnMut(usize) -> D,
    ) -> Result<Sample, BenchError> {
        let plan = Plan {
            address,
            connections: self.connections,
            depth: self.depth,
            spread: false,
        };
        let own = [std::process::id()];
        let times = || -> Result<[Duration; 3], BenchError> {
            Ok([
                cpu::time_of(workers)?,
                cpu::time_of(masters)?,
                cpu::time_of(&own)?,
            ])
        };
        let mut load = Load::connect(plan, dialogue)?;
        load.run(self.warm_up)?;
        let before = times()?;
        let (answers, elapsed) = load.run(self.window)?;
        let after = times()?;
        // The last answers are checked too, though nobody counts them.
        load.drain()?;
        Ok(Sample {
            answers,
            elapsed,
            worker: after[0].saturating_sub(before[0]),
            master: after[1].saturating_sub(before[1]),
            load: after[2].saturating_sub(before[2]),
        })
    }
}
