//! Cores and CPU time.

use std::fs;
use std::time::Duration;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::{Pid, SysconfVar, sysconf};

use crate::error::BenchError;
use crate::process;

/// Which core the server gets and which the load. Decided before anything is pinned: children inherit affinity.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cores {
    /// The server's core.
    pub(crate) server: Option<usize>,
    /// The generator's core.
    pub(crate) load: Option<usize>,
    /// All that this process may use.
    all: CpuSet,
}

impl Cores {
    /// The first two cores this process may use; none when there is only one, since then there is nothing to part.
    pub(crate) fn choose() -> Result<Self, BenchError> {
        let allowed =
            sched_getaffinity(Pid::from_raw(0)).map_err(BenchError::sys("reading the affinity"))?;
        let mut cores = (0..CpuSet::count()).filter(|&core| allowed.is_set(core) == Ok(true));
        Ok(match (cores.next(), cores.next()) {
            (Some(server), Some(load)) => Self {
                server: Some(server),
                load: Some(load),
                all: allowed,
            },
            _ => Self {
                server: None,
                load: None,
                all: allowed,
            },
        })
    }

    /// Undoes [`pin`] for the calling thread, and for all that it starts later.
    pub(crate) fn unpin(&self) -> Result<(), BenchError> {
        sched_setaffinity(Pid::from_raw(0), &self.all)
            .map_err(BenchError::sys("leaving the pinned core"))
    }

    /// The placement in words.
    pub(crate) fn describe(self) -> String {
        match (self.server, self.load) {
            (Some(server), Some(load)) => format!("server on core {server}, load on core {load}"),
            _ => "ONE core for server and load together: the rates say little".to_owned(),
        }
    }
}

/// Keeps the calling thread, and all that it starts later, on one core.
pub(crate) fn pin(core: usize) -> Result<(), BenchError> {
    let mut set = CpuSet::new();
    set.set(core)
        .and_then(|()| sched_setaffinity(Pid::from_raw(0), &set))
        .map_err(BenchError::sys(format!("pinning to core {core}")))
}

/// User and system time of all threads of these processes so far, those that have ended included. The kernel's clock of
/// a process counts nanoseconds and is up to date even while the process runs, which its files in `/proc` are not.
pub(crate) fn time_of(pids: &[u32]) -> Result<Duration, BenchError> {
    pids.iter()
        .map(|&pid| {
            clock_getcpuclockid(process::pid_of(pid))
                .and_then(ClockId::now)
                .map(Duration::from)
                .map_err(BenchError::sys(format!(
                    "reading the CPU time of process {pid}"
                )))
        })
        .sum()
}

/// Time that all cores together have spent at work so far, whoever's it was. The kernel counts it in ticks, 10 ms as a
/// rule.
pub(crate) fn time_of_all() -> Result<Duration, BenchError> {
    let doing = "reading the CPU time of the machine";
    let table = fs::read_to_string("/proc/stat").map_err(BenchError::io(doing))?;
    let first = table.lines().next().unwrap_or_default();
    let fields = first.split_whitespace().skip(1);
    let ticks: Vec<u64> = fields.filter_map(|field| field.parse().ok()).collect();
    // User, nice, system, idle, waiting, interrupts, soft interrupts.
    let &[user, nice, system, _, _, hard, soft, ..] = ticks.as_slice() else {
        return Err(BenchError::Server("/proc/stat has another form".to_owned()));
    };
    let per_second = sysconf(SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100);
    let per_second = u64::try_from(per_second).unwrap_or(100).max(1);
    let ticks = user + nice + system + hard + soft;
    Ok(Duration::from_millis(ticks * 1000 / per_second))
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::{Duration, Instant};

    use super::time_of;

    #[test]
    fn work_shows_in_the_account() {
        let own = [std::process::id()];
        let before = time_of(&own).unwrap();
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(200) {
            std::hint::spin_loop();
        }
        let spent = time_of(&own).unwrap().checked_sub(before).unwrap();
        assert!(spent > Duration::from_millis(20), "{spent:?}");
    }

    #[test]
    fn another_process_can_be_read_and_a_gone_one_is_an_error() {
        let mut sleeper = Command::new("sleep").arg("60").spawn().unwrap();
        let time = time_of(&[sleeper.id()]);
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
        assert!(time.unwrap() < Duration::from_secs(1));
        assert!(time_of(&[sleeper.id()]).is_err());
    }
}
