//! What is counted while a server is reloaded, and how it is printed.

use std::time::Duration;

use crate::error::BenchError;
use crate::process::tail_of;
use crate::report::{median, percentile};

/// What became of everything that the clients did.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    /// Connections that could not be made.
    pub(crate) refused: u64,
    /// Connections that were reset.
    pub(crate) reset: u64,
    /// Connections that ended inside an answer.
    pub(crate) cut: u64,
    /// Keep-alive connections that were closed though the answer before did not say so.
    pub(crate) unannounced: u64,
    /// Requests that were never answered.
    pub(crate) unanswered: u64,
    /// Chats that ended without a close frame, or with one that names another reason than a restart.
    pub(crate) unclosed: u64,
    /// Connections of one request each that were served.
    pub(crate) served: u64,
    /// Answers on keep-alive connections.
    pub(crate) posts: u64,
    /// Keep-alive connections that were closed as announced.
    pub(crate) announced: u64,
    /// Keep-alive connections that were closed though the answer before did not say so, after a silence of the client
    /// that was longer than a process that is replaced has to wait.
    pub(crate) late: u64,
    /// Messages that came back.
    pub(crate) messages: u64,
    /// Chats that were closed with code 1012.
    pub(crate) restarted: u64,
    /// Messages that were on their way when the close frame came, and did not come back.
    pub(crate) crossed: u64,
    /// The first faults in words.
    pub(crate) faults: Vec<String>,
}

/// Faults that are told in words.
const TOLD: usize = 10;

impl Tally {
    /// Notes what is behind a count that must be zero.
    pub(crate) fn tell(&mut self, fault: impl FnOnce() -> String) {
        if self.faults.len() < TOLD {
            self.faults.push(fault());
        }
    }

    /// Everything that a reload must not cause, by name.
    fn wrongs(&self) -> [(&'static str, u64); 6] {
        [
            ("refused", self.refused),
            ("reset", self.reset),
            ("cut", self.cut),
            ("unannounced", self.unannounced),
            ("unanswered", self.unanswered),
            ("unclosed", self.unclosed),
        ]
    }
}

/// What one server went through.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The server's name.
    pub(crate) name: String,
    /// What its clients saw.
    pub(crate) tally: Tally,
    /// For each reload the time until all new processes serve, where the server says so.
    pub(crate) took: Vec<Duration>,
    /// For each reload the time until an old process answered on a new connection for the last time.
    pub(crate) last_old: Vec<Duration>,
    /// Whether it had WebSocket clients.
    pub(crate) chats: bool,
    /// The longest time that the clients themselves were held up.
    pub(crate) held_up: Duration,
}

impl Outcome {
    /// An error if something was counted that must be zero.
    pub(crate) fn check(&self) -> Result<(), BenchError> {
        let wrong: Vec<String> = self
            .tally
            .wrongs()
            .iter()
            .filter(|(_, count)| *count > 0)
            .map(|(name, count)| format!("{count} {name}"))
            .collect();
        if wrong.is_empty() {
            Ok(())
        } else {
            let faults = tail_of(self.tally.faults.iter().map(String::as_str));
            Err(BenchError::Server(format!(
                "{}: {}{faults}",
                self.name,
                wrong.join(", ")
            )))
        }
    }
}

/// The heading of the table of what went wrong.
pub(crate) fn wrongs_heading() -> String {
    let names = Tally::default().wrongs().map(|(name, _)| name);
    names
        .iter()
        .fold(format!("{:<20} {:>7}", "", "reloads"), |line, name| {
            line + &format!(" {name:>11}")
        })
}

/// One line of it.
pub(crate) fn wrongs_line(outcome: &Outcome) -> String {
    let start = format!("{:<20} {:>7}", outcome.name, outcome.last_old.len());
    outcome
        .tally
        .wrongs()
        .iter()
        .fold(start, |line, (name, count)| {
            if *name == "unclosed" && !outcome.chats {
                line + &format!(" {:>11}", "-")
            } else {
                line + &format!(" {count:>11}")
            }
        })
}

/// The heading of the table of what went right, and how long it took.
pub(crate) fn rights_heading() -> String {
    let group = |title: &str| format!("{title:-^23}");
    format!(
        "{:<20} {:>8} {:>8} {:>9} {:>5} {:>9} {:>6} {:>7}  {}  {}\n{:<20} {:>8} {:>8} {:>9} {:>5} {:>9} {:>6} {:>7}  {:>7} {:>7} {:>7}  {:>7} {:>7} {:>7}",
        "",
        "",
        "",
        "",
        "",
        "",
        "",
        "",
        group(" all new after, ms "),
        group(" old seen until, ms "),
        "",
        "served",
        "posts",
        "announced",
        "late",
        "messages",
        "1012",
        "crossed",
        "median",
        "p90",
        "max",
        "median",
        "p90",
        "max",
    )
}

/// One line of it.
pub(crate) fn rights_line(outcome: &Outcome) -> String {
    let tally = &outcome.tally;
    let chats = |count: u64| {
        if outcome.chats {
            count.to_string()
        } else {
            "-".to_owned()
        }
    };
    format!(
        "{:<20} {:>8} {:>8} {:>9} {:>5} {:>9} {:>6} {:>7}  {}  {}",
        outcome.name,
        tally.served,
        tally.posts,
        tally.announced,
        tally.late,
        chats(tally.messages),
        chats(tally.restarted),
        chats(tally.crossed),
        times(&outcome.took),
        times(&outcome.last_old),
    )
}

fn times(times: &[Duration]) -> String {
    if times.is_empty() {
        return format!("{:>7} {:>7} {:>7}", "-", "-", "-");
    }
    let values = || times.iter().map(|time| time.as_secs_f64() * 1e3);
    format!(
        "{:>7.2} {:>7.2} {:>7.2}",
        median(values()),
        percentile(values(), 0.9),
        percentile(values(), 1.0)
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Outcome, Tally, wrongs_heading, wrongs_line};

    fn outcome(tally: Tally) -> Outcome {
        Outcome {
            name: "one".to_owned(),
            tally,
            took: Vec::new(),
            last_old: vec![Duration::from_millis(3)],
            chats: true,
            held_up: Duration::ZERO,
        }
    }

    #[test]
    fn what_must_be_zero_is_an_error_that_says_what_it_was() {
        assert!(outcome(Tally::default()).check().is_ok());
        let served = Tally {
            served: 9,
            crossed: 1,
            ..Tally::default()
        };
        assert!(outcome(served).check().is_ok());
        let wrong = Tally {
            reset: 2,
            unclosed: 1,
            ..Tally::default()
        };
        let error = outcome(wrong).check().unwrap_err().to_string();
        assert_eq!(error, "server: one: 2 reset, 1 unclosed");
    }

    #[test]
    fn columns_stand_under_their_headings() {
        let line = wrongs_line(&outcome(Tally::default()));
        assert_eq!(line.len(), wrongs_heading().len());
    }
}
