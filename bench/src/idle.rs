//! What an idle WebSocket connection costs in memory.

use std::fs;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::cpu::{self, Cores};
use crate::error::BenchError;
use crate::load::{Load, Plan};
use crate::server::{Order, Server, Side, Speech};
use crate::ws_load::{Kind, WsDialogue};

/// Descriptors that are not connections: standard streams, epoll, listener, libraries, the server's own.
const SPARE_FILES: u64 = 128;
/// What a server gets to put its house in order after a burst, before its memory is read.
const SETTLE: Duration = Duration::from_millis(1500);

/// Opens this many connections to each of these servers and prints the memory per connection.
pub(crate) fn run(connections: usize, subject: Side) -> Result<(), BenchError> {
    let cores = Cores::choose()?;
    // Before a server starts: it inherits the limit.
    let connections = make_room(connections)?;
    if let Some(core) = cores.load {
        cpu::pin(core)?;
    }
    println!(
        "idle: {connections} WebSocket connections; {}",
        cores.describe()
    );
    println!(
        "{:>10}  {:>22}  {:>22}  {:>14}",
        "", "after the handshake", "after one echo each", "process before"
    );
    println!(
        "{:>10}  {:>10} {:>11}  {:>10} {:>11}  {:>14}",
        "", "PSS B/conn", "priv B/conn", "PSS B/conn", "priv B/conn", "PSS KiB"
    );
    for side in [Side::Floor, subject] {
        let [before, open, used] = measure(side, connections, cores)?;
        println!(
            "{:>10}  {:>10.0} {:>11.0}  {:>10.0} {:>11.0}  {:>14.0}",
            side.name(),
            (open.pss - before.pss) / per(connections),
            (open.private - before.private) / per(connections),
            (used.pss - before.pss) / per(connections),
            (used.private - before.private) / per(connections),
            before.pss / 1024.0,
        );
    }
    Ok(())
}

/// Memory before, with all connections open, and after each of them has been used once.
fn measure(side: Side, connections: usize, cores: Cores) -> Result<[Memory; 3], BenchError> {
    let mut server = Server::start(Order {
        side,
        speech: Speech::WebSocket,
        count: 1,
        core: cores.server,
        piped_log: false,
    })?;
    // This exchange is also what makes the server allocate what it needs once, whatever the number of connections.
    server.await_ready()?;
    std::thread::sleep(SETTLE);
    let workers = server.workers()?;
    let before = Memory::of(&workers)?;
    let address = server.address();
    let plan = Plan {
        address,
        connections,
        depth: 1,
        spread: true,
    };
    let mut load = Load::connect(plan, |number| {
        WsDialogue::new(number, address, Kind::Binary)
    })
    .map_err(|error| server.explain(&error))?;
    std::thread::sleep(SETTLE);
    let open = Memory::of(&workers)?;
    // Also the proof that every one of them is alive.
    load.ask_once().map_err(|error| server.explain(&error))?;
    std::thread::sleep(SETTLE);
    let used = Memory::of(&workers)?;
    if server.workers()? != workers {
        return Err(BenchError::Server(
            "a worker was replaced during the measurement".to_owned(),
        ));
    }
    drop(load);
    server.stop()?;
    Ok([before, open, used])
}

/// Raises the limit of open files as far as needed, or as far as possible; returns the connections it allows.
pub(crate) fn make_room(connections: usize) -> Result<usize, BenchError> {
    let limits = BenchError::sys("reading the limit of open files");
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(limits)?;
    let needed = connections as u64 + SPARE_FILES;
    if soft >= needed {
        return Ok(connections);
    }
    // Past the hard limit only a privileged process may go; another has to make do with the limit.
    if setrlimit(Resource::RLIMIT_NOFILE, needed, hard.max(needed)).is_ok() {
        return Ok(connections);
    }
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
        .map_err(BenchError::sys("raising the limit of open files"))?;
    let room = usize::try_from(hard.saturating_sub(SPARE_FILES)).unwrap_or(connections);
    if room < connections {
        println!("the limit of open files is {hard}: {room} connections instead of {connections}");
    }
    Ok(room.min(connections))
}

/// Bytes, as floats: what follows is differences and quotients.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    /// Resident memory, with shared pages divided among those that share them.
    pub(crate) pss: f64,
    /// Resident memory that no other process shares.
    pub(crate) private: f64,
}

impl Memory {
    /// The sum over these processes.
    pub(crate) fn of(pids: &[u32]) -> Result<Self, BenchError> {
        let mut sum = Self {
            pss: 0.0,
            private: 0.0,
        };
        for pid in pids {
            let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).map_err(
                BenchError::io(format!("reading the memory of process {pid}")),
            )?;
            sum.pss += field(&rollup, "Pss:");
            sum.private += field(&rollup, "Private_Clean:") + field(&rollup, "Private_Dirty:");
        }
        Ok(sum)
    }
}

/// A field of `smaps_rollup`, which counts in KiB, in bytes.
fn field(rollup: &str, name: &str) -> f64 {
    let kib = rollup.lines().find_map(|line| {
        let value = line.strip_prefix(name)?.trim().strip_suffix(" kB")?;
        value.trim().parse::<f64>().ok()
    });
    kib.unwrap_or(f64::NAN) * 1024.0
}

#[allow(clippy::cast_precision_loss, reason = "a count of connections")]
fn per(connections: usize) -> f64 {
    connections.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::{Memory, field};

    #[test]
    fn a_field_is_told_from_those_that_begin_alike() {
        let rollup = "1-2 ---p 0 00:00 0 [rollup]\nRss: 10 kB\nPss_Dirty:   3 kB\nPss:      4 kB\n";
        assert!((field(rollup, "Pss:") - 4096.0).abs() < 1e-9);
        assert!(field(rollup, "Swap:").is_nan());
    }

    #[test]
    fn this_process_has_memory() {
        let memory = Memory::of(&[std::process::id()]).unwrap();
        assert!(memory.pss > 0.0 && memory.private > 0.0);
    }
}
