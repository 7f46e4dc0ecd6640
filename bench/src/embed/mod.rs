//! `embed`: programs in other languages on workhive, each beside the server that its language usually has.
//!
//! One process each, at one core; the load at another. Both sides of a pair take turns under the same load in one run.

mod contestant;

use std::time::Duration;

use crate::cpu::{self, Cores};
use crate::duel::Duel;
use crate::embed::contestant::{Contestant, Pair, pairs};
use crate::error::BenchError;
use crate::report::{Sample, median};
use crate::server::Side;
use crate::ws_load::Kind;

/// What is measured, and for how long.
#[derive(Debug, Clone)]
pub(crate) struct Embed {
    /// Connections.
    pub(crate) connections: usize,
    /// Numbers of questions in flight on each.
    pub(crate) depths: Vec<usize>,
    /// Rounds of both sides of each pair.
    pub(crate) rounds: usize,
    /// Load before each measured window.
    pub(crate) warm_up: Duration,
    /// Each measured window.
    pub(crate) window: Duration,
    /// Only languages whose name is this.
    pub(crate) only: Option<String>,
}

/// What one round of a pair has shown.
struct Round {
    ours: Sample,
    theirs: Sample,
}

impl Embed {
    /// Runs all pairs and prints as it goes.
    pub(crate) fn run(&self) -> Result<(), BenchError> {
        let cores = Cores::choose()?;
        if let Some(core) = cores.load {
            cpu::pin(core)?;
        }
        let (found, skipped) = pairs()?;
        println!(
            "embed: {} connections, {} rounds of {:.1} s after {:.1} s of warm-up; {}",
            self.connections,
            self.rounds,
            self.window.as_secs_f64(),
            self.warm_up.as_secs_f64(),
            cores.describe()
        );
        for line in skipped {
            println!("{line}");
        }
        println!(
            "{:<8} {:<10} {:>5}  {:>12} {:>12} {:>7}  {:>10} {:>10} {:>7}  {:>11}  beside",
            "",
            "",
            "depth",
            "ours/s",
            "theirs/s",
            "ratio",
            "ours us",
            "theirs us",
            "ratio",
            "busy %"
        );
        for pair in found {
            if self.only.as_ref().is_none_or(|only| *only == pair.language) {
                for &depth in &self.depths {
                    self.measure_pair(&pair, depth, cores)?;
                }
            }
        }
        println!(
            "rates are answers per second, each checked; us is CPU time of all the server's processes per answer; a \
             ratio is the median of the rounds' (rates: ours/theirs, CPU: theirs/ours; more is better)"
        );
        Ok(())
    }

    fn measure_pair(&self, pair: &Pair, depth: usize, cores: Cores) -> Result<(), BenchError> {
        let mut rounds = Vec::with_capacity(self.rounds);
        for _ in 0..self.rounds {
            rounds.push(Round {
                ours: self.measure(&pair.ours, pair, depth, cores)?,
                theirs: self.measure(&pair.theirs, pair, depth, cores)?,
            });
        }
        let middle = |of: fn(&Round) -> f64| median(rounds.iter().map(of));
        println!(
            "{:<8} {:<10} {:>5}  {:>12.0} {:>12.0} {:>7.2}  {:>10.2} {:>10.2} {:>7.2}  {:>3.0} {:>3.0} {:>3.0}  {}",
            pair.language,
            pair.speech.scheme(),
            depth,
            middle(|round| round.ours.rate()),
            middle(|round| round.theirs.rate()),
            middle(|round| round.ours.rate() / round.theirs.rate()),
            middle(|round| round.ours.cost()),
            middle(|round| round.theirs.cost()),
            middle(|round| round.theirs.cost() / round.ours.cost()),
            middle(|round| round.ours.busy()),
            middle(|round| round.theirs.busy()),
            middle(|round| round.ours.load_busy().max(round.theirs.load_busy())),
            pair.theirs.name,
        );
        Ok(())
    }

    fn measure(
        &self,
        contestant: &Contestant,
        pair: &Pair,
        depth: usize,
        cores: Cores,
    ) -> Result<Sample, BenchError> {
        let mut server = contestant.start(pair.speech, cores.server)?;
        server.await_ready()?;
        let duel = Duel {
            speech: pair.speech,
            kind: Kind::Binary,
            subject: Side::Workhive,
            connections: self.connections,
            depth,
            rounds: 1,
            warm_up: self.warm_up,
            window: self.window,
        };
        let family = server.family();
        let sample = duel
            .sample(server.address(), &family, &[])
            .map_err(|error| server.explain(&error))?;
        server.stop()?;
        Ok(sample)
    }
}
