//! What the master tells about its hive: the status, and the table at the start.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use crate::clock::{Span, unix_ms};
use crate::control::{ClientId, PATIENCE, Progress};
use crate::master::{Master, Mood, Timer};
use crate::protocol::{ListenerStatus, Reply, Request, Status, WorkerStatus};
use crate::slot::{ProcessId, Slot};
use crate::table;

impl Master {
    /// Clients wait at the control socket.
    pub(crate) fn on_clients(&mut self) {
        loop {
            let id = self.new_id();
            match self.control.accept(self.poll.registry(), id) {
                Ok(Some(id)) => {
                    self.timers.at(Instant::now() + PATIENCE, Timer::Client(id));
                    self.on_client(id);
                }
                Ok(None) => return,
                Err(error) => {
                    log::error!("cannot take a client at the control socket: {error}");
                    return;
                }
            }
        }
    }

    pub(crate) fn on_client(&mut self, id: ClientId) {
        match self.control.advance(self.poll.registry(), id) {
            Progress::Nothing => {}
            Progress::Asks(Request::Reload) => self.request_reload(Some(id)),
            Progress::Asks(Request::Status) => {
                let status = self.status();
                self.control.answer(self.poll.registry(), id, &status);
                self.timers.at(Instant::now() + PATIENCE, Timer::Client(id));
            }
        }
    }

    pub(crate) fn reply(&mut self, client: ClientId, reply: &Reply) {
        self.control.answer(self.poll.registry(), client, reply);
        self.timers
            .at(Instant::now() + PATIENCE, Timer::Client(client));
    }

    /// Says that the hive is ready, to whom it may concern.
    pub(crate) fn announce(&mut self) {
        let processes = self.processes.len();
        log::info!(
            "ready: {processes} processes in {}",
            Span(self.started.elapsed())
        );
        if let Some(word) = self.word.take() {
            if let Err(error) = word.ready() {
                log::debug!("nobody waits for the daemon to be ready: {error}");
            }
        } else {
            // A closed standard output is no reason to end.
            let _ = io::stdout().write_all(self.greeting().as_bytes());
            let _ = io::stdout().flush();
        }
    }

    fn greeting(&self) -> String {
        let rows: Vec<_> = self
            .groups
            .iter()
            .map(|running| {
                vec![
                    running.definition.name.clone(),
                    running.definition.listener(running.listeners.address()),
                    running.definition.count.to_string(),
                ]
            })
            .collect();
        format!(
            "{} {} (pid {})\n\n{}\nPress Ctrl+C to stop.\n",
            self.identity.name,
            env!("CARGO_PKG_VERSION"),
            std::process::id(),
            table::render(&["group", "listener", "processes"], &rows)
        )
    }

    /// Read from the books and from the stats page; no process is asked.
    fn status(&self) -> Status {
        let state = match self.mood {
            Mood::Starting => "starting",
            Mood::Running if self.reload.is_under_way() => "reloading",
            Mood::Running => "running",
            Mood::Stopping { .. } => "stopping",
        };
        Status {
            name: self.identity.name.clone(),
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            state: state.to_owned(),
            uptime_ms: ms(self.started.elapsed()),
            started_at_ms: self.started_at,
            pid_file: self.identity.pid_file.display().to_string(),
            stop_within_ms: ms(self.longest_stop()),
            last_reload: self.reload.last.clone(),
            listeners: self.listener_statuses(),
            workers: self.worker_statuses(),
        }
    }

    fn listener_statuses(&self) -> Vec<ListenerStatus> {
        let mut found = Vec::new();
        for running in &self.groups {
            let (sockets, reuse_port) = running.listeners.sockets();
            if sockets > 0 {
                found.push(ListenerStatus {
                    group: running.definition.name.clone(),
                    listener: running.definition.listener(running.listeners.address()),
                    sockets,
                    reuse_port,
                    pid: None,
                });
            }
        }
        for process in self.processes.values() {
            for address in &process.listening {
                found.push(ListenerStatus {
                    group: self.running(process.slot).definition.name.clone(),
                    listener: address.clone(),
                    sockets: 1,
                    reuse_port: false,
                    pid: u32::try_from(process.pid.as_raw()).ok(),
                });
            }
        }
        for address in self.shared.addresses() {
            found.push(ListenerStatus {
                group: "-".to_owned(),
                listener: address.to_string(),
                sockets: 1,
                reuse_port: false,
                pid: None,
            });
        }
        found
    }

    fn worker_statuses(&self) -> Vec<WorkerStatus> {
        let now = unix_ms();
        let mut found = Vec::new();
        for running in &self.groups {
            for (index, slot) in (0..).zip(&running.slots) {
                let ids = slot.current.iter().chain(&slot.next).chain(&slot.old);
                let before = found.len();
                found.extend(ids.filter_map(|id| self.worker_status(*id, slot, now)));
                if found.len() == before {
                    found.push(WorkerStatus {
                        group: running.definition.name.clone(),
                        slot: index,
                        generation: slot.generation,
                        state: if slot.awaited { "backoff" } else { "empty" }.to_owned(),
                        restarts: slot.restarts,
                        last_exit: slot.last_exit.clone(),
                        ..WorkerStatus::default()
                    });
                }
            }
        }
        found
    }

    fn worker_status(&self, id: ProcessId, slot: &Slot, now: u64) -> Option<WorkerStatus> {
        let process = self.processes.get(&id)?;
        let counters = process.row.counters();
        Some(WorkerStatus {
            group: self.running(process.slot).definition.name.clone(),
            slot: process.slot.slot,
            pid: u32::try_from(process.pid.as_raw()).ok(),
            generation: process.generation,
            state: process.row.state().name().to_owned(),
            age_ms: now.saturating_sub(process.row.started_at()),
            connections: counters.connections,
            accepted: counters.accepted,
            messages: counters.messages,
            bytes_read: counters.bytes_read,
            bytes_written: counters.bytes_written,
            send_failures: counters.send_failures,
            timers: counters.timers,
            restarts: slot.restarts,
            last_exit: slot.last_exit.clone(),
        })
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
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
                    listener
                        .pid
                        .map_or_else(|| "-".to_owned(), |pid| pid.to_string()),
                ]
            })
            .collect();
        let workers: Vec<_> = self.workers.iter().map(WorkerStatus::cells).collect();
        let mut text = format!(
            "{} {}: {}, pid {}, up {}\n",
            self.name,
            self.version,
            self.state,
            self.pid,
            Span(Duration::from_millis(self.uptime_ms))
        );
        if let Some(last) = &self.last_reload {
            text.extend(["last reload: ", last, "\n"]);
        }
        if !listeners.is_empty() {
            text.push('\n');
            text.push_str(&table::render(
                &["group", "listener", "sockets", "pid"],
                &listeners,
            ));
        }
        text.push('\n');
        text.push_str(&table::render(
            &[
                "group",
                "slot",
                "pid",
                "gen",
                "state",
                "age",
                "conns",
                "accepted",
                "messages",
                "read",
                "written",
                "refused",
                "restarts",
                "last exit",
            ],
            &workers,
        ));
        text
    }
}

impl WorkerStatus {
    fn cells(&self) -> Vec<String> {
        vec![
            self.group.clone(),
            self.slot.to_string(),
            self.pid
                .map_or_else(|| "-".to_owned(), |pid| pid.to_string()),
            self.generation.to_string(),
            self.state.clone(),
            Span(Duration::from_millis(self.age_ms)).to_string(),
            self.connections.to_string(),
            self.accepted.to_string(),
            self.messages.to_string(),
            self.bytes_read.to_string(),
            self.bytes_written.to_string(),
            self.send_failures.to_string(),
            self.restarts.to_string(),
            self.last_exit.clone().unwrap_or_else(|| "-".to_owned()),
        ]
    }
}

#[cfg(test)]
mod tests {
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
                pid: None,
            }],
            workers: vec![WorkerStatus {
                group: "push".into(),
                pid: Some(8),
                state: "ready".into(),
                age_ms: 1500,
                messages: 12,
                ..WorkerStatus::default()
            }],
            ..Status::default()
        };
        assert_eq!(
            status.render(),
            "push 1.0.0: running, pid 7, up 1m 1s\n\
             \n\
             group  listener            sockets  pid\n\
             push   text://127.0.0.1:1        1  -\n\
             \n\
             group  slot  pid  gen  state  age    conns  accepted  messages  read  written  refused  restarts  last exit\n\
             push      0    8    0  ready  1.5 s      0         0        12     0        0        0         0  -\n"
        );
    }
}
