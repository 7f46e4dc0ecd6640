//! Stuck processes: those that are past the deadline that they set themselves.

use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

use crate::master::{Master, Timer};
use crate::slot::{Phase, Process};

const EVERY: Duration = Duration::from_secs(1);

impl Master {
    pub(crate) fn watch_later(&mut self) {
        self.timers.at(Instant::now() + EVERY, Timer::Watch);
    }

    /// Kills the processes whose loop has not come back in time, after a look at what they do.
    pub(crate) fn watch(&mut self) {
        let now = Instant::now();
        // If the master itself was stopped (SIGSTOP, a suspended machine), so were the others, and deserve a chance
        // to come back first.
        let late = self
            .watched
            .is_some_and(|last| now.saturating_duration_since(last) > EVERY * 3);
        self.watched = Some(now);
        if late {
            return;
        }
        let Ok(clock) = clock_gettime(ClockId::CLOCK_MONOTONIC) else {
            return;
        };
        let now_ms = u64::try_from(Duration::from(clock).as_millis()).unwrap_or(0);
        let stuck: Vec<_> = self
            .processes
            .iter()
            .filter(|(_, process)| !matches!(process.phase, Phase::Starting | Phase::Killed))
            .filter(|(_, process)| {
                let deadline = process.row.counters().heartbeat_deadline_ms;
                deadline != 0 && deadline < now_ms
            })
            .filter(|(_, process)| !is_stopped(process))
            .map(|(id, _)| *id)
            .collect();
        for id in stuck {
            if let Some(process) = self.processes.get_mut(&id) {
                let seen = autopsy(process);
                process.failure = Some("it was stuck".to_owned());
                let (at, pid) = (process.slot, process.pid);
                log::error!(
                    "{}: pid {pid} is stuck and is killed: {seen}",
                    self.place(at)
                );
            }
            self.kill(id);
        }
    }
}

/// A process in state T or t: somebody has stopped it, on purpose.
fn is_stopped(process: &Process) -> bool {
    // proc(5): the state follows the name, which is in parentheses and may hold any character.
    std::fs::read_to_string(format!("/proc/{}/stat", process.pid))
        .ok()
        .and_then(|stat| {
            Some(
                stat.rsplit_once(')')?
                    .1
                    .trim_start()
                    .starts_with(['T', 't']),
            )
        })
        .unwrap_or(false)
}

/// Where in the kernel it is, as far as /proc tells.
fn autopsy(process: &Process) -> String {
    let read = |name: &str| {
        std::fs::read_to_string(format!("/proc/{}/{name}", process.pid))
            .map(|text| text.trim().replace('\n', " < "))
            .unwrap_or_default()
    };
    format!(
        "wchan [{}], syscall [{}], stack [{}]",
        read("wchan"),
        read("syscall"),
        read("stack")
    )
}
