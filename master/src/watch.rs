//! Stuck processes: those that are past the deadline that they set themselves.

use std::io::IoSliceMut;
use std::time::{Duration, Instant};

use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use workhive_ipc::Sight;

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
            for process in self.processes.values_mut() {
                process.overdue = Overdue::default();
            }
            return;
        }
        let Some(now_ms) = monotonic_ms() else {
            return;
        };
        let (mut stuck, mut absent) = (Vec::new(), Vec::new());
        for (id, process) in &mut self.processes {
            if matches!(
                process.phase,
                Phase::Starting | Phase::Killed | Phase::Ended
            ) {
                continue;
            }
            let deadline = process.row.counters().heartbeat_deadline_ms;
            let pid = process.pid;
            if process.overdue.look(deadline, now_ms, || is_stopped(pid)) {
                stuck.push(*id);
            }
            let limit = self.groups[process.slot.group].definition.stuck_after;
            if process.look_for(deadline, limit, now_ms) {
                absent.push(*id);
            }
        }
        for id in absent {
            self.pass_on(id);
        }
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
            // Its queue need not wait for its end.
            if let Some(at) = self.current_slot(id) {
                self.slot_down(at);
            }
            self.kill(id);
        }
    }
}

/// The clock by which processes set their deadlines.
pub(crate) fn monotonic_ms() -> Option<u64> {
    let clock = clock_gettime(ClockId::CLOCK_MONOTONIC).ok()?;
    u64::try_from(Duration::from(clock).as_millis()).ok()
}

/// The deadline that a process had missed at the last look.
///
/// It takes two looks in a row to call it stuck: one that was stopped (SIGSTOP) in the middle of its work has missed
/// its deadline when it goes on, and gets from one look to the next to show that it comes back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Overdue(Option<u64>);

impl Overdue {
    /// One look, in milliseconds of the monotonic clock; true if the process is stuck. A deadline of 0 is none.
    fn look(&mut self, deadline: u64, now: u64, is_stopped: impl FnOnce() -> bool) -> bool {
        let missed = (deadline != 0 && deadline < now && !is_stopped()).then_some(deadline);
        let before = std::mem::replace(&mut self.0, missed);
        missed.is_some() && missed == before
    }
}

/// A process in state T or t: somebody has stopped it, on purpose.
pub(crate) fn is_stopped(pid: Pid) -> bool {
    // proc(5): the state follows the name, which is in parentheses and may hold any character.
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
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

/// Where in the kernel it is, as far as /proc tells, and what it has in hand.
fn autopsy(process: &Process) -> String {
    let read = |name: &str| {
        std::fs::read_to_string(format!("/proc/{}/{name}", process.pid))
            .map(|text| text.trim().replace('\n', " < "))
            .unwrap_or_default()
    };
    format!(
        "wchan [{}], syscall [{}], stack [{}], at work on [{}]",
        read("wchan"),
        read("syscall"),
        read("stack"),
        in_hand(process).unwrap_or_default()
    )
}

/// Most bytes of a message that are told.
const TOLD: usize = 120;

/// The message that a process works on: its first line, if it is text, or how much there is of what. `None` if there is
/// none, or we may not look.
fn in_hand(process: &Process) -> Option<String> {
    let copy = |address: u64, len: usize| {
        let mut bytes = vec![0; len];
        let there = RemoteIoVec {
            base: usize::try_from(address).ok()?,
            len,
        };
        let copied = process_vm_readv(process.pid, &mut [IoSliceMut::new(&mut bytes)], &[there]);
        (copied == Ok(len)).then_some(bytes)
    };
    let glimpse = process.row.glimpse();
    if glimpse == 0 {
        return None;
    }
    let sight = Sight::from_bytes(copy(glimpse, Sight::SIZE)?.as_slice().try_into().ok()?)?;
    let len = usize::try_from(sight.len).ok()?;
    let start = copy(sight.address, len.min(TOLD + 1))?;
    let name = copy(
        sight.protocol,
        usize::try_from(sight.protocol_len).ok()?.min(TOLD),
    )?;
    let name = String::from_utf8_lossy(&name);
    Some(first_line(&start).unwrap_or_else(|| format!("{len} bytes of {}", name.escape_debug())))
}

/// The first line of what a client sent, fit for a log; `None` if it is no text. At most [`TOLD`] bytes of it.
fn first_line(start: &[u8]) -> Option<String> {
    let line = start.split(|byte| *byte == b'\n').next()?;
    let is_cut = line.len() > TOLD;
    let line = &line[..line.len().min(TOLD)];
    let line = match str::from_utf8(line) {
        Ok(line) => line,
        // Cut in the middle of a character.
        Err(error) if is_cut && error.error_len().is_none() => {
            str::from_utf8(&line[..error.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    let line = line.strip_suffix('\r').unwrap_or(line);
    let is_text = !line.is_empty() && !line.chars().any(char::is_control);
    let dots = if is_cut { "..." } else { "" };
    is_text.then(|| format!("{}{dots}", line.escape_debug()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_message_its_first_line_is_told_if_it_is_text() {
        let told = |start: &[u8]| first_line(start);
        assert_eq!(
            told(b"GET /a?b=\"c\" HTTP/1.1\r\nHost: d\r\n\r\n").as_deref(),
            Some(r#"GET /a?b=\"c\" HTTP/1.1"#)
        );
        assert_eq!(told(b"half a line").as_deref(), Some("half a line"));
        assert_eq!(told("grün\n".as_bytes()).as_deref(), Some("grün"));
        for no_text in [
            &b"\x81\x85abcde"[..],
            b"a\x1b[2Jb\n",
            b"\r\n",
            b"\n",
            b"",
            b"\xff\n",
        ] {
            assert_eq!(told(no_text), None, "{no_text:?}");
        }
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        let whole = "x".repeat(TOLD);
        assert_eq!(first_line(whole.as_bytes()), Some(whole.clone()));
        assert_eq!(
            first_line(format!("{whole}x").as_bytes()),
            Some(format!("{whole}..."))
        );
        let cut = format!("{}é", "x".repeat(TOLD - 1));
        assert_eq!(
            first_line(cut.as_bytes()),
            Some(format!("{}...", "x".repeat(TOLD - 1)))
        );
    }

    fn runs() -> bool {
        false
    }

    fn stopped() -> bool {
        true
    }

    #[test]
    fn a_process_is_stuck_when_it_misses_one_deadline_at_two_looks() {
        let mut overdue = Overdue::default();
        assert!(!overdue.look(1000, 999, runs));
        assert!(!overdue.look(1000, 1999, runs));
        assert!(overdue.look(1000, 2999, runs));
    }

    #[test]
    fn a_process_that_was_stopped_in_its_work_may_come_back() {
        let mut overdue = Overdue::default();
        assert!(!overdue.look(1000, 5000, stopped));
        // It goes on just before the look.
        assert!(!overdue.look(1000, 6000, runs));
        // It has come back, and is at something new.
        assert!(!overdue.look(66_000, 7000, runs));
        assert!(!overdue.look(0, 8000, runs));
    }

    #[test]
    fn looks_at_a_stopped_process_do_not_count() {
        let mut overdue = Overdue::default();
        for _ in 0..3 {
            assert!(!overdue.look(1000, 5000, runs));
            assert!(!overdue.look(1000, 6000, stopped));
        }
    }

    #[test]
    fn two_deadlines_missed_once_each_are_slow_and_not_stuck() {
        let mut overdue = Overdue::default();
        assert!(!overdue.look(1000, 1500, runs));
        assert!(!overdue.look(2000, 2500, runs));
    }
}
