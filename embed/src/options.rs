//! What can be set for a worker: numbers and texts, each with its range.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::codes::{WH_ERR_OPTION, WH_ERR_VALUE};
use crate::error::{Failure, Outcome};
use crate::protocol::Speech;

/// How many processes, 1 to 1024; 1 unless set. `--count` on the command line wins.
pub const WH_COUNT: u32 = 1;
/// 1: every process has a listening socket of its own, over which the kernel spreads connections. 0 unless set.
pub const WH_REUSE_PORT: u32 = 2;
/// 1: all processes that open this listener accept from one socket. Only for wh_listen; not with WH_REUSE_PORT.
pub const WH_SHARED: u32 = 3;
/// 0: a reload does not replace the processes, but calls on_worker_reload in them. 1 unless set.
pub const WH_RELOADABLE: u32 = 4;
/// Length of the accept queue, in connections; 4096 unless set.
pub const WH_BACKLOG: u32 = 5;
/// How long a process may take to finish what it has in hand, in ms; 10,000 unless set.
pub const WH_DRAIN: u32 = 6;
/// How long a process may take to become ready, in ms; 60,000 unless set.
pub const WH_BOOT_TIMEOUT: u32 = 7;
/// After how long in one turn of its loop a process counts as stuck and is replaced, in ms; 60,000 unless set. Where a host's
/// loop runs it, the time until the next turn counts too, if there is something to do.
pub const WH_STUCK_AFTER: u32 = 8;
/// After how many messages a process is replaced, as by a reload; never unless set.
pub const WH_MAX_REQUESTS: u32 = 9;
/// After how long a process is replaced, as by a reload, in ms; never unless set.
pub const WH_MAX_LIFETIME: u32 = 10;
/// With how much memory of its own a process is replaced, as by a reload, in bytes; never unless set.
pub const WH_MAX_MEMORY: u32 = 11;
/// How many descriptors a process may have open; as many as the administrator allows unless set.
pub const WH_NOFILE: u32 = 12;
/// The nice value of the processes, -20 to 19.
pub const WH_NICE: u32 = 13;
/// How likely the processes are to be killed when memory runs out, -1000 to 1000.
pub const WH_OOM_SCORE_ADJ: u32 = 14;
/// Which permissions the files that the processes make do not get, 0 to 0777 (octal).
pub const WH_UMASK: u32 = 15;
/// How many bytes may wait to be sent on one connection; 1 MiB unless set. What would leave more waiting is WH_ERR_FULL; but
/// where nothing waits, not even the answer to a handshake of the same turn, one message is taken however long it is.
pub const WH_MAX_SEND_BUFFER: u32 = 16;
/// Whether messages to all reach the connections: 1 or 0; 1 unless set, 0 for http.
pub const WH_ROUTED: u32 = 17;
/// How many uids a connection may have, up to 65,535; 1 unless set.
pub const WH_MAX_UIDS: u32 = 18;
/// In how many rooms a connection may be, up to 65,535; 128 unless set.
pub const WH_MAX_ROOMS: u32 = 19;
/// After how long without a message a connection is ended, in ms; never unless set.
pub const WH_IDLE_TIMEOUT: u32 = 20;
/// How long a message may stay unfinished without another byte, in ms; 60,000 unless set. Not for http and websocket.
pub const WH_MESSAGE_TIMEOUT: u32 = 21;
/// How long a peer may take nothing of what waits for it, in ms; 60,000 unless set. So long, too, an answer may be owed to a
/// peer that sends no more: nothing else ends a connection whose request is never answered.
pub const WH_SEND_TIMEOUT: u32 = 22;
/// How long a connection that this side has half-closed waits for the peer's end, in ms; 1,000 unless set.
pub const WH_LINGER: u32 = 23;
/// 1: a connection stays when the peer has closed its sending side. 0 unless set.
pub const WH_HALF_OPEN: u32 = 24;
/// The longest message, in bytes; 10 MiB unless set. Not for tcp.
pub const WH_MAX_MESSAGE: u32 = 25;
/// The longest head of a request, in bytes; 16 KiB unless set. For http and websocket.
pub const WH_MAX_HEAD: u32 = 26;
/// The most header fields of a request; 100 unless set. For http and websocket.
pub const WH_MAX_HEADERS: u32 = 27;
/// How long a head may take, in ms; 10,000 unless set. For http.
pub const WH_HEADER_TIMEOUT: u32 = 28;
/// How long a body may make no progress, in ms; 60,000 unless set. For http.
pub const WH_BODY_TIMEOUT: u32 = 29;
/// How long a connection may be idle between requests, in ms; 75,000 unless set. For http.
pub const WH_KEEP_ALIVE_TIMEOUT: u32 = 30;
/// How long a peer may be silent before it is pinged, in ms; 25,000 unless set, 0 for never. For websocket.
pub const WH_PING_INTERVAL: u32 = 31;
/// How long a pinged peer may go on being silent, in ms; 10,000 unless set. For websocket.
pub const WH_PONG_TIMEOUT: u32 = 32;
/// How long to wait for the peer's close frame after ours, in ms; 5,000 unless set. For websocket.
pub const WH_CLOSE_TIMEOUT: u32 = 33;
/// How long a handshake may take, in ms; 10,000 unless set. For websocket.
pub const WH_HANDSHAKE_TIMEOUT: u32 = 34;
/// The most fragments of a message; 65,536 unless set. For websocket.
pub const WH_MAX_FRAGMENTS: u32 = 35;
/// How processes come to be: WH_SPAWN_FORK or WH_SPAWN_EXEC; the hive's way unless set.
pub const WH_SPAWN: u32 = 36;

/// The group's name, in tables, logs and on the command line; the protocol's unless set.
pub const WH_NAME: u32 = 100;
/// The user that the processes become; needs a master that runs as root.
pub const WH_USER: u32 = 101;
/// The Unix group that the processes become a member of; the user's own unless set.
pub const WH_GROUP: u32 = 102;
/// On which CPUs the processes run, a list such as "0,2-5", or "auto" for one each.
pub const WH_CPU_AFFINITY: u32 = 103;
/// The working directory of the processes.
pub const WH_CHDIR: u32 = 104;
/// Refuses to start with more than one process, for the reason given.
pub const WH_ONE_PROCESS: u32 = 105;

/// WH_SPAWN, WH_HIVE_SPAWN: processes are copies of the master, fork(2).
pub const WH_SPAWN_FORK: i64 = 0;
/// WH_SPAWN, WH_HIVE_SPAWN: the program is started anew for each process, fork(2) and execve(2).
pub const WH_SPAWN_EXEC: i64 = 1;

/// As many milliseconds as the longest thing that a group does may take.
const DAY: i64 = 24 * 60 * 60 * 1000;
/// Where there is no limit but that of the number.
const MOST: i64 = i64::MAX;

/// For what an option is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum For {
    /// A group of processes, `wh_hive_add`.
    Group,
    /// A listener inside a running process, `wh_listen`.
    Listen,
    /// Both.
    Both,
    /// Both, if the protocol has it.
    Protocol,
}

struct Number {
    option: u32,
    name: &'static str,
    of: For,
    least: i64,
    most: i64,
}

const fn number(option: u32, name: &'static str, of: For, least: i64, most: i64) -> Number {
    Number {
        option,
        name,
        of,
        least,
        most,
    }
}

const NUMBERS: &[Number] = &[
    number(WH_COUNT, "WH_COUNT", For::Group, 1, 1024),
    number(WH_REUSE_PORT, "WH_REUSE_PORT", For::Both, 0, 1),
    number(WH_SHARED, "WH_SHARED", For::Listen, 0, 1),
    number(WH_RELOADABLE, "WH_RELOADABLE", For::Group, 0, 1),
    number(WH_BACKLOG, "WH_BACKLOG", For::Both, 1, 2_147_483_647),
    number(WH_DRAIN, "WH_DRAIN", For::Group, 0, DAY),
    number(WH_BOOT_TIMEOUT, "WH_BOOT_TIMEOUT", For::Group, 1, DAY),
    number(WH_STUCK_AFTER, "WH_STUCK_AFTER", For::Group, 1, DAY),
    number(WH_MAX_REQUESTS, "WH_MAX_REQUESTS", For::Group, 1, MOST),
    number(WH_MAX_LIFETIME, "WH_MAX_LIFETIME", For::Group, 1, MOST),
    number(WH_MAX_MEMORY, "WH_MAX_MEMORY", For::Group, 1, MOST),
    number(WH_NOFILE, "WH_NOFILE", For::Group, 1, MOST),
    number(WH_NICE, "WH_NICE", For::Group, -20, 19),
    number(
        WH_OOM_SCORE_ADJ,
        "WH_OOM_SCORE_ADJ",
        For::Group,
        -1000,
        1000,
    ),
    number(WH_UMASK, "WH_UMASK", For::Group, 0, 511),
    number(WH_MAX_SEND_BUFFER, "WH_MAX_SEND_BUFFER", For::Both, 0, MOST),
    number(WH_ROUTED, "WH_ROUTED", For::Both, 0, 1),
    number(WH_MAX_UIDS, "WH_MAX_UIDS", For::Both, 0, 65535),
    number(WH_MAX_ROOMS, "WH_MAX_ROOMS", For::Both, 0, 65535),
    number(WH_IDLE_TIMEOUT, "WH_IDLE_TIMEOUT", For::Both, 1, MOST),
    number(WH_MESSAGE_TIMEOUT, "WH_MESSAGE_TIMEOUT", For::Both, 1, MOST),
    number(WH_SEND_TIMEOUT, "WH_SEND_TIMEOUT", For::Both, 1, MOST),
    number(WH_LINGER, "WH_LINGER", For::Both, 0, MOST),
    number(WH_HALF_OPEN, "WH_HALF_OPEN", For::Both, 0, 1),
    number(WH_MAX_MESSAGE, "WH_MAX_MESSAGE", For::Protocol, 0, MOST),
    number(WH_MAX_HEAD, "WH_MAX_HEAD", For::Protocol, 1, MOST),
    number(WH_MAX_HEADERS, "WH_MAX_HEADERS", For::Protocol, 0, MOST),
    number(
        WH_HEADER_TIMEOUT,
        "WH_HEADER_TIMEOUT",
        For::Protocol,
        1,
        MOST,
    ),
    number(WH_BODY_TIMEOUT, "WH_BODY_TIMEOUT", For::Protocol, 1, MOST),
    number(
        WH_KEEP_ALIVE_TIMEOUT,
        "WH_KEEP_ALIVE_TIMEOUT",
        For::Protocol,
        1,
        MOST,
    ),
    number(WH_PING_INTERVAL, "WH_PING_INTERVAL", For::Protocol, 0, MOST),
    number(WH_PONG_TIMEOUT, "WH_PONG_TIMEOUT", For::Protocol, 1, MOST),
    number(WH_CLOSE_TIMEOUT, "WH_CLOSE_TIMEOUT", For::Protocol, 1, MOST),
    number(
        WH_HANDSHAKE_TIMEOUT,
        "WH_HANDSHAKE_TIMEOUT",
        For::Protocol,
        1,
        MOST,
    ),
    number(WH_MAX_FRAGMENTS, "WH_MAX_FRAGMENTS", For::Protocol, 1, MOST),
    number(WH_SPAWN, "WH_SPAWN", For::Group, 0, 1),
];

const TEXTS: &[(u32, &str)] = &[
    (WH_NAME, "WH_NAME"),
    (WH_USER, "WH_USER"),
    (WH_GROUP, "WH_GROUP"),
    (WH_CPU_AFFINITY, "WH_CPU_AFFINITY"),
    (WH_CHDIR, "WH_CHDIR"),
    (WH_ONE_PROCESS, "WH_ONE_PROCESS"),
];

/// What was set.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    numbers: BTreeMap<u32, i64>,
    texts: BTreeMap<u32, String>,
}

impl Options {
    pub(crate) fn set_number(&mut self, option: u32, value: i64, speech: &Speech) -> Outcome {
        let Some(known) = NUMBERS.iter().find(|known| known.option == option) else {
            return Err(Failure::made(
                WH_ERR_OPTION,
                format!("{option} is no option that is a number"),
            ));
        };
        if known.of == For::Protocol && !speech.has_option(option) {
            let speech = speech.name();
            return Err(Failure::made(
                WH_ERR_OPTION,
                format!("{} is no option of {speech}", known.name),
            ));
        }
        if value < known.least || value > known.most {
            let Number {
                name, least, most, ..
            } = known;
            return Err(Failure::made(
                WH_ERR_VALUE,
                format!("{name} is {least} to {most}, not {value}"),
            ));
        }
        self.numbers.insert(option, value);
        Ok(())
    }

    pub(crate) fn set_text(&mut self, option: u32, text: &str) -> Outcome {
        if !TEXTS.iter().any(|(known, _)| *known == option) {
            return Err(Failure::made(
                WH_ERR_OPTION,
                format!("{option} is no option that is a text"),
            ));
        }
        self.texts.insert(option, text.to_owned());
        Ok(())
    }

    /// Refuses what a listener inside of a process cannot have.
    pub(crate) fn check_listener(&self) -> Outcome {
        let number = self.numbers.keys().find_map(|option| {
            let known = NUMBERS.iter().find(|known| known.option == *option)?;
            (known.of == For::Group).then_some(known.name)
        });
        let text = self.texts.keys().find_map(|option| {
            let known = TEXTS.iter().find(|(known, _)| known == option)?;
            Some(known.1)
        });
        match number.or(text) {
            None => Ok(()),
            Some(name) => Err(Failure::made(
                WH_ERR_OPTION,
                format!("{name} is an option of groups, not of listeners inside a process"),
            )),
        }
    }

    /// Refuses what a group cannot have.
    pub(crate) fn check_group(&self) -> Outcome {
        if self.numbers.contains_key(&WH_SHARED) {
            return Err(Failure::known(
                WH_ERR_OPTION,
                "WH_SHARED is for wh_listen; the processes of a group share its socket anyway",
            ));
        }
        Ok(())
    }

    pub(crate) fn number(&self, option: u32) -> Option<i64> {
        self.numbers.get(&option).copied()
    }

    pub(crate) fn text(&self, option: u32) -> Option<&str> {
        self.texts.get(&option).map(String::as_str)
    }

    pub(crate) fn flag(&self, option: u32) -> Option<bool> {
        self.number(option).map(|value| value != 0)
    }

    /// For numbers that are not negative by their range.
    pub(crate) fn size(&self, option: u32) -> Option<usize> {
        let value = self.number(option)?;
        Some(usize::try_from(value).unwrap_or(usize::MAX))
    }

    /// Likewise.
    pub(crate) fn u64(&self, option: u32) -> Option<u64> {
        self.number(option)?.try_into().ok()
    }

    /// Likewise.
    pub(crate) fn u32(&self, option: u32) -> Option<u32> {
        self.number(option)?.try_into().ok()
    }

    /// Likewise.
    pub(crate) fn u16(&self, option: u32) -> Option<u16> {
        self.number(option)?.try_into().ok()
    }

    /// Likewise.
    pub(crate) fn time(&self, option: u32) -> Option<Duration> {
        self.u64(option).map(Duration::from_millis)
    }
}
