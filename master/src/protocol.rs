//! What the command line and a running hive say to each other: one line of JSON each way.

use serde::{Deserialize, Serialize};

/// Longest request, in bytes.
pub(crate) const MAX_REQUEST: usize = 4096;

/// What the command line wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "lowercase")]
pub(crate) enum Request {
    /// Answered at once by a [`Status`].
    Status,
    /// Answered by a [`Reply`] when the reload is over.
    Reload,
    /// Answered by a [`Reply`] when another master is in charge, or none could be.
    Upgrade,
    /// Answered by [`ListingPart`]s, one a line.
    Connections,
    /// Answered by a [`Reply`] when the group has so many processes.
    Scale {
        /// The only one, if none is named.
        group: Option<String>,
        count: usize,
    },
}

/// How it went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reply {
    pub(crate) ok: bool,
    pub(crate) message: String,
}

impl Reply {
    pub(crate) fn done(message: impl Into<String>) -> Self {
        Self {
            ok: true,
            message: message.into(),
        }
    }

    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self {
            ok: false,
            message: message.into(),
        }
    }
}

/// The state of a hive. The fields are an interface: scripts read them by `status --json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Status {
    pub(crate) name: String,
    /// The master's.
    pub(crate) pid: u32,
    pub(crate) version: String,
    /// `starting`, `running`, `reloading`, `scaling`, `upgrading` or `stopping`.
    pub(crate) state: String,
    pub(crate) uptime_ms: u64,
    /// Unix time.
    pub(crate) started_at_ms: u64,
    pub(crate) pid_file: String,
    /// Where programs of this machine reach the router.
    pub(crate) push_socket: String,
    /// The longest that a graceful stop can take.
    pub(crate) stop_within_ms: u64,
    /// What became of the last reload.
    pub(crate) last_reload: Option<String>,
    /// The master before this one, while it has something in hand after an upgrade.
    #[serde(default)]
    pub(crate) predecessor: Option<u32>,
    pub(crate) listeners: Vec<ListenerStatus>,
    pub(crate) workers: Vec<WorkerStatus>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ListenerStatus {
    pub(crate) group: String,
    /// `protocol://address`.
    pub(crate) listener: String,
    /// Listening sockets at this address.
    pub(crate) sockets: usize,
    pub(crate) reuse_port: bool,
    /// The processes that have opened it by themselves; none where the whole group listens.
    pub(crate) pids: Vec<u32>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WorkerStatus {
    pub(crate) group: String,
    pub(crate) slot: u16,
    /// None while the slot waits for its next process.
    pub(crate) pid: Option<u32>,
    pub(crate) generation: u32,
    /// `starting`, `ready`, `draining`, `stopping` or `backoff`.
    pub(crate) state: String,
    pub(crate) age_ms: u64,
    /// What is resident, in bytes.
    #[serde(default)]
    pub(crate) memory: Option<u64>,
    /// How long it has been at the present turn of its loop; none while it waits for events.
    #[serde(default)]
    pub(crate) busy_ms: Option<u64>,
    /// The longest turn of its loop of late, in microseconds: as long did others have to wait. None if there was none in
    /// the last ten seconds.
    #[serde(default)]
    pub(crate) lag_us: Option<u64>,
    /// After how much more of that it is stuck; negative if it is overdue.
    #[serde(default)]
    pub(crate) stuck_in_ms: Option<i64>,
    /// The slots whose queues it serves too, because they are down or gone.
    #[serde(default)]
    pub(crate) stands_in_for: Vec<String>,
    pub(crate) connections: u64,
    pub(crate) accepted: u64,
    pub(crate) messages: u64,
    pub(crate) bytes_read: u64,
    pub(crate) bytes_written: u64,
    pub(crate) send_failures: u64,
    pub(crate) timers: u64,
    /// How often a process of this slot ended unasked.
    pub(crate) restarts: u64,
    /// How the last of them ended.
    pub(crate) last_exit: Option<String>,
    /// How often a process of this slot was replaced for having done enough, and why the last time.
    #[serde(default)]
    pub(crate) recycled: u64,
    #[serde(default)]
    pub(crate) last_recycle: Option<String>,
    /// With `--watch`, since the last look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rates: Option<Rates>,
}

/// A piece of the list of connections.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ListingPart {
    Connections(Vec<ConnectionStatus>),
    /// A process that did not answer in time.
    Silent(ProcessStatus),
    /// That was all.
    Done(bool),
}

/// One connection. The fields are an interface: scripts read them by `connections --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ConnectionStatus {
    pub(crate) pid: u32,
    pub(crate) group: String,
    pub(crate) slot: u16,
    /// By which it can be pushed to.
    pub(crate) id: String,
    /// `tcp` or `unix`.
    pub(crate) transport: String,
    pub(crate) protocol: String,
    /// Bytes received and not decoded yet.
    pub(crate) unread: u64,
    /// Bytes that wait to be sent.
    pub(crate) unsent: u64,
    pub(crate) bytes_read: u64,
    pub(crate) bytes_written: u64,
    pub(crate) messages: u64,
    /// Since when the peer has said nothing that counts.
    pub(crate) idle_ms: u64,
    /// `open`, `goodbye`, `ending` or `lingering`; with `paused` or `blocked` behind it.
    pub(crate) state: String,
    pub(crate) local: String,
    pub(crate) remote: String,
    /// The first, if it has any.
    pub(crate) uid: Option<String>,
}

/// Which process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessStatus {
    pub(crate) pid: u32,
    pub(crate) group: String,
    pub(crate) slot: u16,
}

/// By how much counters grow in a second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rates {
    pub(crate) accepted: u64,
    pub(crate) messages: u64,
    pub(crate) bytes_read: u64,
    pub(crate) bytes_written: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_one_short_line() {
        let line = serde_json::to_string(&Request::Status).unwrap();
        assert_eq!(line, r#"{"command":"status"}"#);
        assert_eq!(
            serde_json::from_str::<Request>(r#"{"command":"reload"}"#).unwrap(),
            Request::Reload
        );
        assert!(serde_json::from_str::<Request>(r#"{"command":"jump"}"#).is_err());
    }
}
