//! The connections of this process, for whoever runs the hive.

use nix::sys::socket::{SockaddrStorage, getsockname};
use workhive_ipc::{ConnectionRow, ToMaster};

use crate::conn::peer_of;
use crate::core::{Core, find};
use crate::entry::{Entry, Key, Peer, Phase, flag};

/// About how many bytes of rows one page may have: it goes in one message.
const PAGE: usize = 12 * 1024;

/// Most rows of one page: in memory they take more than on the wire, and the other side limits both.
const ROWS: usize = 64;

/// Longest uid in a row, in characters.
const UID: usize = 64;

impl Core {
    /// A page of the connections, oldest first, from this number on.
    pub(crate) fn list_connections(&mut self, id: u32, from: u64) -> ToMaster {
        let known = self.entries.iter();
        let known = known.filter(|(_, entry)| entry.seq >= from && entry.phase != Phase::Closed);
        let mut keys: Vec<Key> = known
            .filter_map(|(index, entry)| {
                let index = u32::try_from(index).ok()?;
                Some(Key {
                    index,
                    seq: entry.seq,
                })
            })
            .collect();
        // One more than fits shows whether there are more.
        if keys.len() > ROWS {
            keys.select_nth_unstable_by_key(ROWS, |key| key.seq);
            keys.truncate(ROWS + 1);
        }
        keys.sort_unstable_by_key(|key| key.seq);
        let mut rows = Vec::new();
        let mut bytes = 0;
        for key in keys {
            let Some(row) = self.row_of(key) else {
                continue;
            };
            bytes += length(&row);
            if rows.len() == ROWS || bytes > PAGE {
                let next = Some(key.seq);
                return ToMaster::Connections { id, rows, next };
            }
            rows.push(row);
        }
        ToMaster::Connections {
            id,
            rows,
            next: None,
        }
    }

    fn row_of(&mut self, key: Key) -> Option<ConnectionRow> {
        let uid = self.routing.side.agent().uids(key).next();
        let uid = uid.map(|uid| uid.escape_ascii().to_string().chars().take(UID).collect());
        let now = self.clock.now_millis();
        let entry = find(&mut self.entries, key)?;
        Some(ConnectionRow {
            sequence: key.seq,
            transport: match entry.peer {
                Peer::Tcp(_) => "tcp".to_owned(),
                Peer::Unix(_) => "unix".to_owned(),
            },
            protocol: entry.limits.protocol.to_owned(),
            state: state(entry),
            local: local(entry).map_or_else(String::new, |local| local.to_string()),
            remote: entry.peer.to_string(),
            uid,
            unread: entry.input.len() as u64,
            unsent: entry.queued() as u64,
            bytes_read: entry.bytes_read,
            bytes_written: entry.bytes_written,
            messages: entry.messages,
            idle_ms: now.saturating_sub(entry.last_active),
        })
    }
}

fn state(entry: &Entry) -> String {
    let phase = match entry.phase {
        Phase::Open => "open",
        Phase::Goodbye => "goodbye",
        Phase::Ending => "ending",
        Phase::Lingering => "lingering",
        Phase::Closed => "closed",
    };
    let mut state = phase.to_owned();
    if entry.has(flag::PAUSED) {
        state.push_str(" paused");
    }
    if entry.has(flag::BLOCKED) {
        state.push_str(" blocked");
    }
    state
}

fn local(entry: &Entry) -> Option<Peer> {
    let socket = entry.socket.as_ref()?;
    let name: SockaddrStorage = getsockname(std::os::fd::AsRawFd::as_raw_fd(socket)).ok()?;
    peer_of(&name)
}

fn length(row: &ConnectionRow) -> usize {
    let uid = row.uid.as_ref().map_or(0, String::len);
    96 + row.protocol.len() + row.state.len() + row.local.len() + row.remote.len() + uid
}
