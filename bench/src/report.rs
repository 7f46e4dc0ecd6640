//! From samples to a table.

use std::fmt::Write;
use std::time::Duration;

use crate::server::Side;

/// One server's measured window.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// Answers heard, each of them checked.
    pub(crate) answers: u64,
    /// The length of the window.
    pub(crate) elapsed: Duration,
    /// CPU time of the worker processes in the window.
    pub(crate) worker: Duration,
    /// CPU time of the master in the window.
    pub(crate) master: Duration,
    /// CPU time of the generator in the window.
    pub(crate) load: Duration,
}

impl Sample {
    /// Answers per second.
    pub(crate) fn rate(&self) -> f64 {
        count(self.answers) / self.elapsed.as_secs_f64()
    }

    /// Microseconds of worker CPU time per answer.
    pub(crate) fn cost(&self) -> f64 {
        self.worker.as_secs_f64() * 1e6 / count(self.answers).max(1.0)
    }

    /// The share of its core that the worker used, in percent.
    pub(crate) fn busy(&self) -> f64 {
        percent(self.worker, self.elapsed)
    }

    /// The share of its core that the generator used, in percent.
    pub(crate) fn load_busy(&self) -> f64 {
        percent(self.load, self.elapsed)
    }
}

/// A round: the floor and, straight after it, the subject.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Round {
    /// The floor's window.
    pub(crate) floor: Sample,
    /// The subject's window.
    pub(crate) subject: Sample,
}

impl Round {
    fn rate_ratio(&self) -> f64 {
        self.subject.rate() / self.floor.rate()
    }

    fn cost_ratio(&self) -> f64 {
        self.subject.cost() / self.floor.cost()
    }
}

/// What is counted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unit {
    one: &'static str,
    many: &'static str,
}

/// Questions that were answered.
pub(crate) const REQUESTS: Unit = Unit {
    one: "request",
    many: "requests",
};

/// Messages that reached a client.
pub(crate) const DELIVERIES: Unit = Unit {
    one: "delivery",
    many: "deliveries",
};

/// The heading of the table of rounds.
pub(crate) fn heading(subject: Side, unit: Unit) -> String {
    let name = subject.name();
    let group = |title: &str| format!("{title:-^34}");
    format!(
        "       {}  {}  {}\n{:>5}  {:>12} {:>12} {:>8}  {:>12} {:>12} {:>8}  {:>7} {:>9} {:>9}",
        group(&format!(" {} per second ", unit.many)),
        group(&format!(" CPU microseconds per {} ", unit.one)),
        format_args!("{:-^27}", " busy % "),
        "round",
        "floor",
        name,
        "ratio",
        "floor",
        name,
        "ratio",
        "floor",
        name,
        "load",
    )
}

/// One line of it.
pub(crate) fn line(label: &str, round: &Round) -> String {
    row(
        label,
        [round.floor.rate(), round.subject.rate(), round.rate_ratio()],
        [round.floor.cost(), round.subject.cost(), round.cost_ratio()],
        [
            round.floor.busy(),
            round.subject.busy(),
            round.floor.load_busy().max(round.subject.load_busy()),
        ],
    )
}

/// The last lines: the median of every column, the spread of the ratios, the master's share, and a warning when the
/// generator, not the server, was the limit.
pub(crate) fn summary(rounds: &[Round], subject: Side, unit: Unit) -> String {
    let middle = |column: fn(&Round) -> f64| median(rounds.iter().map(column));
    let load_busy = |round: &Round| round.floor.load_busy().max(round.subject.load_busy());
    let busy = [
        middle(|round| round.floor.busy()),
        middle(|round| round.subject.busy()),
        median(rounds.iter().map(load_busy)),
    ];
    let medians = row(
        "med",
        [
            middle(|round| round.floor.rate()),
            middle(|round| round.subject.rate()),
            middle(Round::rate_ratio),
        ],
        [
            middle(|round| round.floor.cost()),
            middle(|round| round.subject.cost()),
            middle(Round::cost_ratio),
        ],
        busy,
    );
    let name = subject.name();
    let (rate_low, rate_high) = range(rounds.iter().map(Round::rate_ratio));
    let (cost_low, cost_high) = range(rounds.iter().map(Round::cost_ratio));
    let mut text = format!(
        "{medians}\n\n\
         {name}/floor: {} per second {:.3} ({rate_low:.3} to {rate_high:.3}), \
         CPU per {} {:.3} ({cost_low:.3} to {cost_high:.3})\n",
        unit.many,
        middle(Round::rate_ratio),
        unit.one,
        middle(Round::cost_ratio),
    );
    if subject == Side::Workhive {
        let master: Duration = rounds.iter().map(|round| round.subject.master).sum();
        let elapsed: Duration = rounds.iter().map(|round| round.subject.elapsed).sum();
        let share = percent(master, elapsed);
        let _ = writeln!(
            text,
            "the master, not counted above: {share:.3} % of a core"
        );
    }
    if busy[0].min(busy[1]) < 95.0 {
        let _ = writeln!(
            text,
            "a server was idle part of the time, so the generator sets the rate: \
             read the CPU per {}, not the {} per second",
            unit.one, unit.many
        );
    }
    text
}

fn row(label: &str, rates: [f64; 3], costs: [f64; 3], busy: [f64; 3]) -> String {
    format!(
        "{label:>5}  {:>12.0} {:>12.0} {:>8.3}  {:>12.3} {:>12.3} {:>8.3}  {:>7.1} {:>9.1} {:>9.1}",
        rates[0], rates[1], rates[2], costs[0], costs[1], costs[2], busy[0], busy[1], busy[2],
    )
}

/// The middle value, or the mean of the two in the middle.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let values = sorted(values);
    match (values.len(), values.len() / 2) {
        (0, _) => f64::NAN,
        (length, half) if length % 2 == 0 => f64::midpoint(values[half - 1], values[half]),
        (_, half) => values[half],
    }
}

/// The value that this share (0 to 1) of all values does not exceed.
pub(crate) fn percentile(values: impl IntoIterator<Item = f64>, share: f64) -> f64 {
    let values = sorted(values);
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a rank among a few samples"
    )]
    let rank = (share * values.len() as f64).ceil() as usize;
    let last = values.len().saturating_sub(1);
    values
        .get(rank.saturating_sub(1).min(last))
        .copied()
        .unwrap_or(f64::NAN)
}

/// The lowest and the highest value.
pub(crate) fn range(values: impl IntoIterator<Item = f64>) -> (f64, f64) {
    let values = sorted(values);
    let end = |value: Option<&f64>| value.copied().unwrap_or(f64::NAN);
    (end(values.first()), end(values.last()))
}

fn sorted(values: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values
}

/// A share in percent.
pub(crate) fn percent(part: Duration, whole: Duration) -> f64 {
    100.0 * part.as_secs_f64() / whole.as_secs_f64()
}

#[allow(
    clippy::cast_precision_loss,
    reason = "counts of a few seconds are far below 2^52"
)]
pub(crate) fn count(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::{median, percentile};

    #[test]
    fn the_median_is_in_the_middle() {
        assert!((median([3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median([4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
        assert!(median([]).is_nan());
    }

    #[test]
    fn the_last_percentile_is_the_largest() {
        let values = (1..=20).map(f64::from);
        assert!((percentile(values.clone(), 0.9) - 18.0).abs() < 1e-9);
        assert!((percentile(values, 0.99) - 20.0).abs() < 1e-9);
    }
}
