//! What the master tells about its hive: the status, and the table at the start.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use workhive_ipc::Row;

use crate::clock::{Span, unix_ms};
use crate::control::{ClientId, PATIENCE, Progress};
use crate::kept::Opened;
use crate::master::{Master, Mood, Timer};
use crate::protocol::{ListenerStatus, Reply, Request, Status, WorkerStatus};
use crate::recycle::memory;
use crate::slot::{Phase, ProcessId, Slot, SlotId, processes};
use crate::watch::monotonic_ms;
use crate::{logger, pages, table, title};

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
            Progress::Asks(Request::Upgrade) => self.request_upgrade(Some(id)),
            Progress::Asks(Request::Reload) => self.request_reload(Some(id)),
            Progress::Asks(Request::Scale { group, count }) => {
                self.request_scale(group.as_deref(), count, id);
            }
            Progress::Asks(Request::Connections) => self.start_listing(id),
            Progress::Took => self.go_on_listing(id),
            Progress::Asks(Request::Status) => {
                let status = self.status();
                self.control.answer(self.poll.registry(), id, &status);
                self.timers.at(Instant::now() + PATIENCE, Timer::Client(id));
            }
        }
    }

    /// A client has had its time; unless it waits for us, or takes what it gets.
    pub(crate) fn on_client_timeout(&mut self, id: ClientId) {
        if self.control.expire(self.poll.registry(), id) {
            self.timers.at(Instant::now() + PATIENCE, Timer::Client(id));
        }
    }

    pub(crate) fn reply(&mut self, client: ClientId, reply: &Reply) {
        self.control.answer(self.poll.registry(), client, reply);
        self.timers
            .at(Instant::now() + PATIENCE, Timer::Client(client));
    }

    /// Says that the hive is ready, to whom it may concern.
    pub(crate) fn announce(&mut self) {
        log::info!(
            "ready: {} in {}",
            processes(self.workers()),
            Span(self.started.elapsed())
        );
        self.tell_ready();
        title::master();
        if let Some(word) = self.word.take() {
            let log = logger::path().unwrap_or_default();
            let text = format!("started, pid {}, log {}", std::process::id(), log.display());
            if let Err(error) = word.ready(&text) {
                log::debug!("nobody waits for the daemon to be ready: {error}");
            }
        } else if self.succession.predecessor.is_none() {
            // A standard output that is closed, or that nobody reads, is no reason to end, nor to wait.
            logger::write_now(io::stdout().as_fd(), self.greeting().as_bytes());
        }
        // The code of a host is not ours to judge.
        if !self.home.is_hosted()
            && let Err(error) = pages::give_back()
        {
            log::debug!("the code that only a start needs stays mapped: {error}");
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
            Mood::Running if self.succession.is_under_way() => "upgrading",
            Mood::Running if self.reload.is_under_way() => "reloading",
            Mood::Running if self.scaling.is_under_way() => "scaling",
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
            push_socket: self.identity.push_socket.display().to_string(),
            stop_within_ms: ms(self.longest_stop()),
            last_reload: self.reload.last.clone(),
            predecessor: self.predecessor_drains(),
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
                    pids: Vec::new(),
                });
            }
        }
        found.extend(self.opened_listeners());
        found
    }

    /// What processes have opened by themselves, one row for each address.
    fn opened_listeners(&self) -> Vec<ListenerStatus> {
        let mut rows = OpenedRows::default();
        for (address, said) in self.shared.iter() {
            match said {
                Some((group, opened)) => rows.add(group, opened, Socket::Shared, None),
                None => rows.add_unnamed(&address.to_string()),
            }
        }
        for (group, running) in self.groups.iter().enumerate() {
            for (slot, filled) in (0..).zip(&running.slots) {
                let socket = Socket::OfSlot(SlotId { group, slot });
                for opened in filled.kept.iter() {
                    rows.add(&running.definition.name, opened, socket, None);
                }
            }
        }
        for process in self.processes.values() {
            // The others have stopped listening.
            if !matches!(process.phase, Phase::Starting | Phase::Ready) {
                continue;
            }
            let group = &self.running(process.slot).definition.name;
            let pid = u32::try_from(process.pid.as_raw()).ok();
            for opened in process.listening.values() {
                let socket = if self.shared.has(opened) {
                    Socket::Shared
                } else {
                    Socket::OfSlot(process.slot)
                };
                rows.add(group, opened, socket, pid);
            }
        }
        rows.into_statuses()
    }

    fn worker_statuses(&self) -> Vec<WorkerStatus> {
        let now = Now {
            unix_ms: unix_ms(),
            monotonic_ms: monotonic_ms(),
        };
        let mut found = Vec::new();
        for running in &self.groups {
            for (index, slot) in (0..).zip(&running.slots) {
                let ids = slot.current.iter().chain(&slot.next).chain(&slot.old);
                let before = found.len();
                found.extend(ids.filter_map(|id| self.worker_status(*id, slot, now)));
                if found.len() == before && index < running.definition.count {
                    found.push(WorkerStatus {
                        group: running.definition.name.clone(),
                        slot: index,
                        generation: slot.generation,
                        state: if slot.awaited { "backoff" } else { "empty" }.to_owned(),
                        restarts: slot.restarts,
                        last_exit: slot.last_exit.clone(),
                        recycled: slot.recycled,
                        last_recycle: slot.last_recycle.clone(),
                        ..WorkerStatus::default()
                    });
                }
            }
        }
        found
    }

    fn worker_status(&self, id: ProcessId, slot: &Slot, now: Now) -> Option<WorkerStatus> {
        let process = self.processes.get(&id)?;
        let counters = process.row.counters();
        let stuck_after = ms(self.running(process.slot).definition.stuck_after);
        let deadline = Some(counters.heartbeat_deadline_ms).filter(|deadline| *deadline != 0);
        // A turn that is yet to begin is that of a process in a host's loop, which rests.
        let turn = deadline
            .zip(now.monotonic_ms)
            .filter(|(deadline, now)| *deadline <= now + stuck_after);
        let stands_in_for = self.loans.owners(id).into_iter();
        Some(WorkerStatus {
            group: self.running(process.slot).definition.name.clone(),
            slot: process.slot.slot,
            pid: u32::try_from(process.pid.as_raw()).ok(),
            generation: process.generation,
            state: process.row.state().name().to_owned(),
            age_ms: now.unix_ms.saturating_sub(process.row.started_at()),
            memory: memory(process.pid),
            busy_ms: turn.map(|(deadline, now)| (now + stuck_after).saturating_sub(deadline)),
            stuck_in_ms: turn
                .map(|(deadline, now)| deadline.cast_signed().saturating_sub(now.cast_signed())),
            lag_us: lag(&process.row, now.monotonic_ms),
            stands_in_for: stands_in_for.map(|owner| self.place(owner)).collect(),
            connections: counters.connections,
            accepted: counters.accepted,
            messages: counters.messages,
            bytes_read: counters.bytes_read,
            bytes_written: counters.bytes_written,
            send_failures: counters.send_failures,
            timers: counters.timers,
            restarts: slot.restarts,
            last_exit: slot.last_exit.clone(),
            recycled: slot.recycled,
            last_recycle: slot.last_recycle.clone(),
            rates: None,
        })
    }
}

/// How long a turn may have been ago to be told.
const LAG: u64 = 10;

fn lag(row: &Row, now_ms: Option<u64>) -> Option<u64> {
    let (since, longest) = row.lag()?;
    let recent = now_ms? / 1000 <= u64::from(since) + LAG;
    recent.then(|| u64::try_from(longest.as_micros()).unwrap_or(u64::MAX))
}

/// One moment, by the clocks that processes use.
#[derive(Debug, Clone, Copy)]
struct Now {
    unix_ms: u64,
    monotonic_ms: Option<u64>,
}

/// Listeners that processes have opened by themselves, by `protocol://address`.
#[derive(Debug, Default)]
struct OpenedRows(BTreeMap<String, OpenedRow>);

#[derive(Debug, Default)]
struct OpenedRow {
    groups: BTreeSet<String>,
    sockets: BTreeSet<Socket>,
    reuse_port: bool,
    pids: Vec<u32>,
}

/// Tells the sockets at one address apart: all processes of a slot have the same one, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Socket {
    Shared,
    OfSlot(SlotId),
}

impl OpenedRows {
    fn add(&mut self, group: &str, opened: &Opened, socket: Socket, pid: Option<u32>) {
        let row = self.0.entry(opened.listener()).or_default();
        row.groups.insert(group.to_owned());
        row.sockets.insert(socket);
        row.reuse_port |= opened.reuse_port;
        row.pids.extend(pid);
    }

    /// A shared socket that nobody has put to work yet.
    fn add_unnamed(&mut self, address: &str) {
        let row = self.0.entry(address.to_owned()).or_default();
        row.sockets.insert(Socket::Shared);
    }

    fn into_statuses(self) -> Vec<ListenerStatus> {
        let statuses = self.0.into_iter().map(|(listener, row)| ListenerStatus {
            group: match row.groups.len() {
                0 => "-".to_owned(),
                _ => Vec::from_iter(row.groups).join(", "),
            },
            listener,
            sockets: row.sockets.len(),
            reuse_port: row.reuse_port,
            pids: row.pids,
        });
        statuses.collect()
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(address: &str, reuse_port: bool) -> Opened {
        Opened {
            address: address.to_owned(),
            protocol: "text".to_owned(),
            reuse_port,
        }
    }

    #[test]
    fn an_address_has_one_row_however_many_processes_listen_there() {
        let mut rows = OpenedRows::default();
        let slot = |slot| Socket::OfSlot(SlotId { group: 0, slot });
        // Kept for both slots; during a reload, two processes of the first have the one socket.
        for (at, pid) in [
            (0, None),
            (1, None),
            (0, Some(10)),
            (0, Some(12)),
            (1, Some(11)),
        ] {
            rows.add("push", &opened("127.0.0.1:1", true), slot(at), pid);
        }
        rows.add("push", &opened("unix:/a", false), Socket::Shared, Some(10));
        rows.add("api", &opened("unix:/a", false), Socket::Shared, Some(20));
        rows.add_unnamed("127.0.0.1:2");
        let status =
            |group: &str, listener: &str, sockets, reuse_port, pids: &[u32]| ListenerStatus {
                group: group.to_owned(),
                listener: listener.to_owned(),
                sockets,
                reuse_port,
                pids: pids.to_vec(),
            };
        assert_eq!(
            rows.into_statuses(),
            [
                status("-", "127.0.0.1:2", 1, false, &[]),
                status("push", "text://127.0.0.1:1", 2, true, &[10, 12, 11]),
                status("api, push", "text://unix:/a", 1, false, &[10, 20]),
            ]
        );
    }
}
