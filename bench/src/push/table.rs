//! What `push` prints.

use std::fmt::Write;
use std::time::Duration;

use crate::push::server::Subject;
use crate::report::{count, median, percent, range};

/// One server's windows of one round.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figures {
    /// Pushes that were answered and received.
    pub(crate) pushes: u64,
    /// The length of the window.
    pub(crate) elapsed: Duration,
    /// CPU time in it of all processes of the server.
    pub(crate) server: Duration,
    /// CPU time in it of the generator.
    pub(crate) load: Duration,
    /// What everybody else on the machine used of a core in the window that suffered most, in percent.
    pub(crate) others: f64,
    /// The share of pushes whose sender and client are held by different processes, 0 to 1.
    pub(crate) across_share: f64,
    /// Microseconds from a line's writing to its client's receipt, with nothing else under way.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    /// The same where sender and client are held by different processes.
    pub(crate) across_p50: f64,
    pub(crate) across_p99: f64,
}

impl Figures {
    fn rate(&self) -> f64 {
        count(self.pushes) / self.elapsed.as_secs_f64()
    }

    /// Microseconds of the server's CPU time per push.
    fn cost(&self) -> f64 {
        self.server.as_secs_f64() * 1e6 / count(self.pushes).max(1.0)
    }

    fn columns(&self) -> [f64; 10] {
        [
            self.rate(),
            self.cost(),
            percent(self.server, self.elapsed),
            percent(self.load, self.elapsed),
            self.others,
            self.across_share * 100.0,
            self.p50,
            self.p99,
            self.across_p50,
            self.across_p99,
        ]
    }
}

pub(crate) fn heading() -> String {
    let line = |words: [&str; 12]| {
        let [
            round,
            name,
            rate,
            cost,
            server,
            load,
            others,
            across,
            p50,
            p99,
            p50_across,
            p99_across,
        ] = words;
        format!(
            "{round:>5}  {name:<15} {rate:>9} {cost:>9}  {server:>7} {load:>7} {others:>7}  {across:>8}  \
             {p50:>9} {p99:>9}  {p50_across:>11} {p99_across:>9}"
        )
    };
    format!(
        "{}\n{}\n{}",
        line([
            "",
            "",
            "pushes",
            "CPU us",
            "server",
            "load",
            "others",
            "across",
            "one: p50",
            "p99",
            "across: p50",
            "p99",
        ]),
        line([
            "", "", "per s", "per push", "%", "%", "%", "%", "us", "us", "us", "us"
        ]),
        line([
            "round", "server", "", "", "of core", "of core", "of core", "of all", "", "", "", "",
        ]),
    )
}

pub(crate) fn line(label: &str, name: &str, figures: &Figures) -> String {
    row(label, name, figures.columns())
}

fn row(label: &str, name: &str, columns: [f64; 10]) -> String {
    let [
        rate,
        cost,
        server,
        load,
        others,
        across,
        p50,
        p99,
        across_p50,
        across_p99,
    ] = columns;
    let micros = |value: f64| {
        if value.is_nan() {
            "-".to_owned()
        } else {
            format!("{value:.1}")
        }
    };
    format!(
        "{label:>5}  {name:<15} {rate:>9.0} {cost:>9.3}  {server:>7.1} {load:>7.1} {others:>7.1}  {across:>8.1}  \
         {:>9} {:>9}  {:>11} {:>9}",
        micros(p50),
        micros(p99),
        micros(across_p50),
        micros(across_p99),
    )
}

/// Medians of all columns, and the ratios that people ask for: medians of the rounds' ratios, with their range.
pub(crate) fn summary(all: &[(Subject, Vec<Figures>)]) -> String {
    let mut text = String::new();
    for (subject, rounds) in all {
        let mut columns = [0.0; 10];
        for (at, column) in columns.iter_mut().enumerate() {
            *column = median(rounds.iter().map(|round| round.columns()[at]));
        }
        let _ = writeln!(text, "{}", row("med", &subject.name(), columns));
    }
    let others = all.iter().flat_map(|(_, rounds)| rounds);
    let others = median(others.map(|round| round.others));
    if others > super::BUSY {
        let _ = writeln!(
            text,
            "\nother programs used {others:.0} % of a core beside this: read the CPU time per push; the pushes per \
             second and the times of single pushes say less"
        );
    }
    text.push('\n');
    let by = |wanted: fn(&Subject) -> bool| all.iter().find(|(subject, _)| wanted(subject));
    let floor = by(|subject| *subject == Subject::Floor);
    let collecting = by(|subject| *subject == Subject::CollectingFloor);
    let workerman = by(|subject| matches!(subject, Subject::Workerman(_)));
    let gateway = by(|subject| matches!(subject, Subject::GatewayWorker { .. }));
    for (subject, rounds) in all {
        let Subject::Workhive(workers) = subject else {
            continue;
        };
        let peer = if *workers == 1 { workerman } else { gateway };
        for (other, theirs) in [floor, collecting, peer].into_iter().flatten() {
            let _ = writeln!(
                text,
                "{} / {}: {}",
                subject.name(),
                other.name(),
                ratios(rounds, theirs)
            );
        }
    }
    text
}

fn ratios(ours: &[Figures], theirs: &[Figures]) -> String {
    let one = |what: fn(&Figures) -> f64| {
        let ratios = || ours.iter().zip(theirs).map(|(a, b)| what(a) / what(b));
        let (low, high) = range(ratios());
        format!("{:.2} ({low:.2} to {high:.2})", median(ratios()))
    };
    let mut text = format!(
        "pushes per second {}, CPU per push {}, p50 {}",
        one(Figures::rate),
        one(Figures::cost),
        one(|round| round.p50),
    );
    if theirs
        .iter()
        .chain(ours)
        .all(|round| !round.across_p50.is_nan())
    {
        let _ = write!(
            text,
            ", p50 across processes {}",
            one(|round| round.across_p50)
        );
    }
    text
}
