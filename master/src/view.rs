//! The status of a hive, for people: tables, and how fast the counters grow.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::Duration;

use crate::clock::Span;
use crate::protocol::{Rates, Status, WorkerStatus};
use crate::table;

/// Longest "last exit" in the table, in characters; `--json` has it whole.
const LAST_EXIT: usize = 50;

/// As many pids as fit a table.
fn pids(pids: &[u32]) -> String {
    const SHOWN: usize = 4;
    if pids.is_empty() {
        return "-".to_owned();
    }
    let shown: Vec<_> = pids.iter().take(SHOWN).map(u32::to_string).collect();
    let mut text = shown.join(", ");
    if pids.len() > SHOWN {
        let _ = write!(text, " and {} more", pids.len() - SHOWN);
    }
    text
}

/// Bytes, as people say it.
fn bytes(number: u64) -> String {
    match number {
        0..10_240 => number.to_string(),
        10_240..10_485_760 => format!("{}K", number >> 10),
        10_485_760..10_737_418_240 => format!("{}M", number >> 20),
        _ => format!("{}G", number >> 30),
    }
}

impl Status {
    /// For people.
    pub(crate) fn render(&self) -> String {
        let listeners: Vec<_> = self
            .listeners
            .iter()
            .map(|listener| {
                vec![
                    listener.group.clone(),
                    listener.listener.clone(),
                    listener.sockets.to_string(),
                    pids(&listener.pids),
                ]
            })
            .collect();
        let rates = self.workers.iter().any(|worker| worker.rates.is_some());
        let workers: Vec<_> = self
            .workers
            .iter()
            .map(|worker| worker.cells(rates))
            .collect();
        let mut text = format!(
            "{} {}: {}, pid {}, up {}\n",
            self.name,
            self.version,
            self.state,
            self.pid,
            Span(Duration::from_millis(self.uptime_ms))
        );
        if let Some(pid) = self.predecessor {
            let _ = writeln!(
                text,
                "the master before this one, pid {pid}, still has something in hand"
            );
        }
        if let Some(last) = &self.last_reload {
            text.extend(["last reload: ", &table::plain(last), "\n"]);
        }
        if !listeners.is_empty() {
            text.push('\n');
            text.push_str(&table::render(
                &["group", "listener", "sockets", "pids"],
                &listeners,
            ));
        }
        text.push('\n');
        let mut head = HEAD.to_vec();
        if rates {
            head.splice(RATES_AT..RATES_AT, RATES);
        }
        text.push_str(&table::render(&head, &workers));
        text
    }

    /// Fills in how fast the counters have grown since the look `before`, so long ago.
    pub(crate) fn add_rates(&mut self, before: &Self, since: Duration) {
        let known: HashMap<_, _> = before
            .workers
            .iter()
            .map(|worker| (worker.pid, worker))
            .collect();
        let ms = since.as_millis().max(1);
        for worker in self
            .workers
            .iter_mut()
            .filter(|worker| worker.pid.is_some())
        {
            let Some(before) = known.get(&worker.pid) else {
                continue;
            };
            let rate = |now: u64, before: u64| {
                let more = u128::from(now.saturating_sub(before));
                u64::try_from(more * 1000 / ms).unwrap_or(u64::MAX)
            };
            worker.rates = Some(Rates {
                accepted: rate(worker.accepted, before.accepted),
                messages: rate(worker.messages, before.messages),
                bytes_read: rate(worker.bytes_read, before.bytes_read),
                bytes_written: rate(worker.bytes_written, before.bytes_written),
            });
        }
    }
}

const HEAD: [&str; 18] = [
    "group",
    "slot",
    "pid",
    "gen",
    "state",
    "age",
    "memory",
    "busy",
    "lag",
    "conns",
    "accepted",
    "messages",
    "read",
    "written",
    "refused",
    "timers",
    "restarts",
    "last exit",
];

/// With rates, these come in the middle.
const RATES: [&str; 4] = ["accepted/s", "messages/s", "read/s", "written/s"];
const RATES_AT: usize = 14;

impl WorkerStatus {
    fn cells(&self, rates: bool) -> Vec<String> {
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let mut cells = vec![
            self.group.clone(),
            self.slot.to_string(),
            or_dash(self.pid.map(|pid| pid.to_string())),
            self.generation.to_string(),
            self.state.clone(),
            Span(Duration::from_millis(self.age_ms)).to_string(),
            or_dash(self.memory.map(bytes)),
            or_dash(
                self.busy_ms
                    .map(|ms| Span(Duration::from_millis(ms)).to_string()),
            ),
            or_dash(
                self.lag_us
                    .map(|us| Span(Duration::from_micros(us)).to_string()),
            ),
            self.connections.to_string(),
            self.accepted.to_string(),
            self.messages.to_string(),
            bytes(self.bytes_read),
            bytes(self.bytes_written),
        ];
        if rates {
            let rate = |pick: fn(&Rates) -> u64, unit: fn(u64) -> String| {
                or_dash(self.rates.as_ref().map(|rates| unit(pick(rates))))
            };
            let number = |number: u64| number.to_string();
            cells.extend([
                rate(|rates| rates.accepted, number),
                rate(|rates| rates.messages, number),
                rate(|rates| rates.bytes_read, bytes),
                rate(|rates| rates.bytes_written, bytes),
            ]);
        }
        let recycled = self.last_recycle.as_ref();
        let recycled = recycled.map(|why| format!("replaced: {why}"));
        let why = self.last_exit.clone().or(recycled);
        cells.extend([
            self.send_failures.to_string(),
            self.timers.to_string(),
            self.restarts.to_string(),
            or_dash(why.map(|why| table::cut(&why, LAST_EXIT))),
        ]);
        cells
    }
}

#[cfg(test)]
mod tests {
    use crate::protocol::ListenerStatus;

    use super::*;

    #[test]
    fn the_status_reads_well() {
        let status = Status {
            name: "push".into(),
            pid: 7,
            version: "1.0.0".into(),
            state: "running".into(),
            uptime_ms: 61_000,
            listeners: vec![ListenerStatus {
                group: "push".into(),
                listener: "text://127.0.0.1:1".into(),
                sockets: 1,
                reuse_port: false,
                pids: Vec::new(),
            }],
            workers: vec![WorkerStatus {
                group: "push".into(),
                pid: Some(8),
                state: "ready".into(),
                age_ms: 1500,
                memory: Some(10 << 20),
                lag_us: Some(2300),
                messages: 12,
                ..WorkerStatus::default()
            }],
            ..Status::default()
        };
        assert_eq!(
            status.render(),
            "push 1.0.0: running, pid 7, up 1m 1s\n\
             \n\
             group  listener            sockets  pids\n\
             push   text://127.0.0.1:1        1  -\n\
             \n\
             group  slot  pid  gen  state  age    memory  busy  lag     conns  accepted  messages  read  written  refused  timers  restarts  last exit\n\
             push      0    8    0  ready  1.5 s  10M     -     2.3 ms      0         0        12     0        0        0       0         0  -\n"
        );
    }

    #[test]
    fn many_pids_are_counted() {
        assert_eq!(pids(&[]), "-");
        assert_eq!(pids(&[1, 2]), "1, 2");
        assert_eq!(pids(&[1, 2, 3, 4, 5, 6]), "1, 2, 3, 4 and 2 more");
    }

    #[test]
    fn rates_are_told_of_processes_that_were_there_before() {
        let worker = |pid, messages| WorkerStatus {
            pid: Some(pid),
            messages,
            ..WorkerStatus::default()
        };
        let status = |workers| Status {
            workers,
            ..Status::default()
        };
        let before = status(vec![worker(1, 100), worker(2, 50)]);
        let mut now = status(vec![worker(1, 150), worker(3, 50)]);
        now.add_rates(&before, Duration::from_millis(500));
        let rates: Vec<_> = now
            .workers
            .iter()
            .map(|worker| worker.rates.map(|rates| rates.messages))
            .collect();
        assert_eq!(rates, [Some(100), None]);
        let text = now.render();
        assert!(text.contains("messages/s"), "{text}");
    }

    #[test]
    fn many_bytes_have_a_unit() {
        for (number, text) in [
            (9999, "9999"),
            (20 << 10, "20K"),
            (20 << 20, "20M"),
            (20 << 30, "20G"),
        ] {
            assert_eq!(bytes(number), text);
        }
    }
}
