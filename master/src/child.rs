//! A new process, from the fork to its program.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::ffi::CString;
use std::io;
use std::panic::AssertUnwindSafe;
use std::path::Path;

use nix::sys::signal::{SigSet, Signal};
use workhive_ipc::ToMaster;
use workhive_worker::{Program, Seat};

use crate::credentials::Credentials;
use crate::hosted::Home;
use crate::manners::Chores;
use crate::{logger, router, title};

/// All that a new process takes with it out of the master's code. Made before the fork; the master drops its copy.
#[derive(Debug)]
pub(crate) struct ChildSeed {
    pub(crate) program: Program,
    pub(crate) seat: Seat,
    pub(crate) chores: Chores,
    pub(crate) credentials: Credentials,
    /// The signal mask from before the fork.
    pub(crate) mask: SigSet,
}

/// Takes the seat of the new process; none if that has failed, which the master has been told.
///
/// The child has come here by *returning* from the master's loop, so all that the master holds has been dropped on
/// the way: the epoll instance, the signals' self-pipe (a signal caught here would otherwise wake the master), the
/// listeners, the other processes' links and descriptors, the control socket and its clients, the pid file with its
/// lock. What is dropped knows by its pid that it must only close, and neither unlink nor unlock.
pub(crate) fn enter(seed: ChildSeed, home: &mut Home) -> Option<(Program, Seat)> {
    let ChildSeed {
        program,
        seat,
        chores,
        credentials,
        mask,
    } = seed;
    let mask = match settle(&seat, &chores, &credentials, home) {
        Ok(before) => before.unwrap_or_else(|| crate::signals::without_held(mask)),
        Err(error) => {
            fail(&seat, &error);
            return None;
        }
    };
    // Unmask, the last chore: signals that came since the fork are delivered now, to this process's own dispositions.
    // Those that the program's loop takes note of stay blocked until the loop is there: before that they would run a
    // handler that the master has installed, which does nothing in this process, and be lost.
    let mask = if home.workers_handle_signals() {
        with_ending(mask)
    } else {
        mask
    };
    if let Err(errno) = mask.thread_set_mask() {
        fail(&seat, &format!("cannot unblock signals: {errno}"));
        return None;
    }
    Some((program, seat))
}

/// The same in a process that the master has executed: it has its rights and its signal mask already.
pub(crate) fn enter_executed(
    seat: &Seat,
    directory: Option<&Path>,
    home: &mut Home,
) -> io::Result<()> {
    settle_here(seat, home)?;
    let Some(directory) = directory else {
        return Ok(());
    };
    // Only now: what its arguments say is meant where the master was started.
    std::env::set_current_dir(directory).map_err(|error| {
        let what = format!(
            "cannot change to the directory {}: {error}",
            directory.display()
        );
        io::Error::new(error.kind(), what)
    })
}

/// Runs the program in the new process and ends with its exit code.
pub(crate) fn work(program: &Program, seat: Seat, home: &Home) -> ! {
    // A panic must not unwind into the program's main, which believes to be the master.
    let code = std::panic::catch_unwind(AssertUnwindSafe(|| program.run(seat))).unwrap_or(101);
    home.leave(i32::from(code))
}

/// Tells the master why this process cannot take its seat.
pub(crate) fn fail(seat: &Seat, error: &dyn std::fmt::Display) {
    log::error!("cannot start: {error}");
    // If the master does not hear it, it still sees the exit code.
    let _ = seat
        .control
        .send(&ToMaster::boot_failed(error.to_string()), None);
}

/// The mask that a program begins with: the master's without those that only the master blocks, and with those that its
/// loop is to unblock.
pub(crate) fn held_back(mask: SigSet) -> SigSet {
    with_ending(crate::signals::without_held(mask))
}

fn with_ending(mut mask: SigSet) -> SigSet {
    mask.add(Signal::SIGTERM);
    mask.add(Signal::SIGQUIT);
    mask
}

/// The chores of a new process, in this order. Signals are blocked all the while; returned is which a host had blocked.
fn settle(
    seat: &Seat,
    chores: &Chores,
    credentials: &Credentials,
    home: &mut Home,
) -> io::Result<Option<SigSet>> {
    let mask = settle_here(seat, home)?;
    // Limits, priority, CPUs, umask, working directory.
    chores
        .apply()
        .map_err(|refused| io::Error::other(chores.explain(refused)))?;
    // Rights go last: all the above may need them.
    credentials.assume()?;
    Ok(mask)
}

/// Those that every process has to do for itself, executed or not.
fn settle_here(seat: &Seat, home: &mut Home) -> io::Result<Option<SigSet>> {
    // The log says who speaks, from the first line on.
    let place = seat.place.to_string();
    logger::set_place(&place);
    log_panics();
    // Signals. What is sent to everybody is for the master, which coordinates.
    let mask = home.settle_signals(seat.place.group == router::NAME)?;
    // SIGTERM and SIGQUIT keep the handler that the master has installed. Resetting it would make the worker's loop
    // deaf to them: signal-hook installs its handler once per process and does not notice that it is gone (a forked
    // child inherits the notion that it is there).

    // The name that ps -o comm, top and the core pattern show.
    if let Ok(name) = CString::new(comm(&seat.place.group, seat.place.slot)) {
        nix::sys::prctl::set_name(&name)?;
    }
    // And the title that ps shows otherwise.
    title::process(&place);
    workhive_worker::on_drain(title::draining);
    Ok(mask)
}

/// Makes a panic a line of the log, like everything else that happens; with `RUST_BACKTRACE` its stack follows. A
/// program that wants it otherwise sets its own hook in `on_worker_start`, which comes later.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let what = panic
            .payload_as_str()
            .unwrap_or("something that is no text");
        match panic.location() {
            Some(place) => log::error!("panic at {place}: {what}"),
            None => log::error!("panic: {what}"),
        }
        let trace = Backtrace::capture();
        if trace.status() == BacktraceStatus::Captured {
            for line in trace.to_string().lines() {
                log::error!("{line}");
            }
        }
    }));
}

/// `group[slot]` in 15 bytes, prctl(2) `PR_SET_NAME`: the group gives way, the slot stays.
fn comm(group: &str, slot: u16) -> String {
    let slot = format!("[{slot}]");
    let mut name = group[..group.floor_char_boundary(15 - slot.len())].to_owned();
    name.push_str(&slot);
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slot_is_visible_whatever_the_group_is_called() {
        assert_eq!(comm("push", 2), "push[2]");
        assert_eq!(comm("a-very-long-group-name", 1023), "a-very-lo[1023]");
        assert_eq!(comm("ééééééééé", 1), "éééééé[1]");
    }
}
