//! What the master itself costs: its memory, and its CPU time while nothing happens and while everything crashes.

use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::unistd::{SysconfVar, sysconf};

use crate::cpu;
use crate::error::BenchError;
use crate::idle::Memory;
use crate::master_log::{has_ended, parse_ready};
use crate::process::{self, Running, children, free_address};
use crate::report::percent;

/// How long a hive may take to start.
const START: Duration = Duration::from_secs(10);
/// Between the start and a window in which nothing happens.
const SETTLE: Duration = Duration::from_secs(1);

/// What is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Supervise {
    /// Worker processes.
    pub(crate) count: usize,
    /// The length of each window.
    pub(crate) window: Duration,
}

/// What goes on in a hive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scene {
    /// Nothing at all.
    Idle,
    /// Every process crashes right after it is ready.
    Ready,
    /// One process is ready, once, and crashes. All others fail before they are.
    Boot,
}

impl Scene {
    fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Ready => "crash when ready",
            Self::Boot => "crash at boot",
        }
    }

    /// The command line with which this program becomes the hive.
    fn arguments(self, count: usize, address: SocketAddr, place: &Path) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = vec!["serve".into(), "--tied".into()];
        match self {
            Self::Idle => arguments.extend(["echo".into(), format!("http://{address}").into()]),
            Self::Ready | Self::Boot => {
                arguments.extend(["storm".into(), "--at".into(), address.to_string().into()]);
            }
        }
        if self == Self::Boot {
            arguments.push("--boot".into());
        }
        arguments.extend([
            "--count".into(),
            count.to_string().into(),
            "--pid-file".into(),
            place.join("hive.pid").into(),
        ]);
        arguments
    }
}

/// A point in time of a hive.
#[derive(Debug)]
struct Account {
    at: Instant,
    /// CPU time of the master.
    master: Duration,
    /// CPU time of its children that have ended.
    ended: Duration,
    /// How many processes have ended.
    ends: usize,
}

impl Supervise {
    /// Measures and prints.
    pub(crate) fn run(&self) -> Result<(), BenchError> {
        println!(
            "supervise: {} workers and a router, {:.0} s each",
            self.count,
            self.window.as_secs_f64()
        );
        println!(
            "{:<17}  {:>6} {:>10}  {:>9} {:>9}  {:>7} {:>8} {:>8} {:>6}",
            "",
            "ended",
            "per second",
            "master %",
            "ended %",
            "RSS kB",
            "anon kB",
            "file kB",
            "PSS kB"
        );
        for scene in [Scene::Idle, Scene::Ready, Scene::Boot] {
            self.measure(scene)?;
        }
        Ok(())
    }

    fn measure(&self, scene: Scene) -> Result<(), BenchError> {
        let place = process::place()?;
        let arguments = scene.arguments(self.count, free_address()?, place.path());
        let mut running = Running::start(scene.name(), arguments, place, false)?;
        // A storm is at its strongest right after the first one is ready; an idle hive is to be complete.
        let wanted = if scene == Scene::Idle { self.count } else { 1 };
        let deadline = Instant::now() + START;
        while running.log().lines().filter_map(parse_ready).count() < wanted {
            running.check()?;
            if Instant::now() > deadline {
                return Err(running.failed("does not start"));
            }
            // Once per start, so a poll by sleeping is good enough.
            sleep(Duration::from_millis(2));
        }
        if scene == Scene::Idle {
            sleep(SETTLE);
        }
        let master = running.pid();
        let before = Account::of(&running)?;
        sleep(self.window);
        running.check()?;
        let after = Account::of(&running)?;
        let elapsed = after.at - before.at;
        let ends = after.ends - before.ends;
        let alive = children(master).map_err(BenchError::io("looking for the workers"))?;
        if scene == Scene::Idle && (ends > 0 || alive.len() != self.count + 1) {
            return Err(running.failed(&format!(
                "was to be idle, but {ends} processes ended and {} are there",
                alive.len()
            )));
        }
        if scene != Scene::Idle && ends == 0 {
            return Err(running.failed("was to crash, but no process ended"));
        }
        let memory = Memory::of(&[master])?;
        println!(
            "{:<17}  {ends:>6} {:>10.1}  {:>9.3} {:>9.3}  {:>7} {:>8} {:>8} {:>6.0}",
            scene.name(),
            crate::report::count(ends as u64) / elapsed.as_secs_f64(),
            percent(after.master.saturating_sub(before.master), elapsed),
            percent(after.ended.saturating_sub(before.ended), elapsed),
            resident(master, "VmRSS:")?,
            resident(master, "RssAnon:")?,
            resident(master, "RssFile:")?,
            memory.pss / 1024.0,
        );
        running.stop()
    }
}

impl Account {
    fn of(running: &Running) -> Result<Self, BenchError> {
        let master = running.pid();
        Ok(Self {
            at: Instant::now(),
            master: cpu::time_of(&[master])?,
            ended: time_of_ended(master)?,
            ends: running.log().lines().filter(|line| has_ended(line)).count(),
        })
    }
}

/// CPU time of the children that a process has waited for, and of theirs. The kernel counts it in ticks, 10 ms as a
/// rule.
fn time_of_ended(pid: u32) -> Result<Duration, BenchError> {
    let doing = || BenchError::io(format!("reading the times of process {pid}"));
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).map_err(doing())?;
    // After the name, which is in parentheses: state, and the times of the children as the 14th and 15th field.
    let fields = stat.rsplit_once(')').map(|(_, rest)| rest);
    let times = fields.into_iter().flat_map(str::split_whitespace).skip(13);
    let ticks: u64 = times
        .take(2)
        .filter_map(|ticks| ticks.parse::<u64>().ok())
        .sum();
    let per_second = sysconf(SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100);
    let per_second = u64::try_from(per_second).unwrap_or(100).max(1);
    Ok(Duration::from_millis(ticks * 1000 / per_second))
}

/// A line of a process's status that counts in kB.
fn resident(pid: u32, name: &str) -> Result<u64, BenchError> {
    let doing = BenchError::io(format!("reading the memory of process {pid}"));
    let status = fs::read_to_string(format!("/proc/{pid}/status")).map_err(doing)?;
    status
        .lines()
        .find_map(|line| {
            line.strip_prefix(name)?
                .split_whitespace()
                .next()?
                .parse()
                .ok()
        })
        .ok_or_else(|| BenchError::Server(format!("/proc/{pid}/status has no {name}")))
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use super::{resident, time_of_ended};

    #[test]
    fn the_work_of_children_shows_when_they_have_ended() {
        let own = std::process::id();
        let before = time_of_ended(own).unwrap();
        let work = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done";
        assert!(
            Command::new("sh")
                .args(["-c", work])
                .status()
                .unwrap()
                .success()
        );
        let spent = time_of_ended(own).unwrap().checked_sub(before).unwrap();
        assert!(spent >= Duration::from_millis(10), "{spent:?}");
    }

    #[test]
    fn this_process_is_resident() {
        let own = std::process::id();
        let all = resident(own, "VmRSS:").unwrap();
        let parts = resident(own, "RssAnon:").unwrap() + resident(own, "RssFile:").unwrap();
        assert!(all > 0 && parts > 0);
        assert!(resident(own, "VmNone:").is_err());
    }
}
