//! A master that is run by the loop of a host.

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use mio::Events;

use crate::Exit;
use crate::master::{EVENTS, Master, Outcome};
use crate::start::ended;

/// A master that is run by the host's own loop: whenever [`poll_fd`](Self::poll_fd) is readable, the host calls
/// [`turn`](Self::turn); when that says that the hive is over, [`finish`](Self::finish).
///
/// ```no_run
/// use std::time::Duration;
/// use workhive::host::{Host, Started};
/// use workhive::{Cli, Group, Program, Spawn};
///
/// let group = Group::new("ticker", Program::new("none", |_seat| 0)).spawn(Spawn::Exec);
/// match Host::new().nested(true).start(Cli::new("ticker"), ["ticker"], [group]) {
///     Started::Master(mut master) => {
///         while !master.turn(Some(Duration::from_secs(1)))? {
///             // What else the host has to do.
///         }
///         std::process::exit(i32::from(master.finish().code()));
///     }
///     Started::Worker(program, seat) => std::process::exit(i32::from(program.run(seat))),
///     Started::Over(exit) => std::process::exit(i32::from(exit.code())),
/// }
/// # #[allow(unreachable_code)] // The type of the whole.
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct HostedMaster {
    /// The program's.
    name: String,
    /// The process that it is the master in: a copy that the host makes of itself has this too, and is no master.
    owner: u32,
    events: Events,
    stage: Stage,
}

enum Stage {
    Running(Box<Master>),
    Over(Exit),
}

impl HostedMaster {
    pub(crate) fn new(name: String, master: Master) -> Self {
        let mut nested = Self {
            name,
            owner: std::process::id(),
            events: Events::with_capacity(EVENTS),
            stage: Stage::Running(Box::new(master)),
        };
        nested.settle();
        nested
    }

    /// A descriptor that is readable when [`turn`](Self::turn) has something to do, and when something is due. It is the
    /// same as long as the master is there, and is to be watched and nothing else.
    ///
    /// -1 when the hive is over.
    ///
    /// ```no_run
    /// # fn nest(master: workhive::host::HostedMaster) {
    /// let watched = master.poll_fd();
    /// # }
    /// ```
    pub fn poll_fd(&self) -> RawFd {
        match &self.stage {
            Stage::Running(master) => master.poll.as_raw_fd(),
            Stage::Over(_) => -1,
        }
    }

    /// Waits until there is something to do, for `timeout` at the most, and does it. True when the hive is over, and its
    /// processes are gone. It may return early, when a signal has come.
    ///
    /// ```no_run
    /// # fn nest(mut master: workhive::host::HostedMaster) -> std::io::Result<()> {
    /// if master.turn(Some(std::time::Duration::ZERO))? {
    ///     println!("the hive is over");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// In a copy of the process, which is no master.
    pub fn turn(&mut self, timeout: Option<Duration>) -> io::Result<bool> {
        if self.is_copy() {
            return Err(io::Error::other(
                "this process is a copy of the one that the master is in, and has nothing to do with the hive",
            ));
        }
        let mut more = false;
        if let Stage::Running(master) = &mut self.stage {
            master.turn(&mut self.events, timeout);
            // What did not fit is told no second time to a host that wants to hear of changes only (epoll(7), EPOLLET).
            more = self.events.iter().count() == EVENTS;
        }
        self.settle();
        if let Stage::Running(master) = &self.stage {
            master.set_alarm(more)?;
        }
        Ok(matches!(self.stage, Stage::Over(_)))
    }

    /// Does what this signal says to a master: `SIGTERM` stops the hive, `SIGUSR1` reloads it, and so on. What means
    /// nothing to a master does nothing.
    ///
    /// ```no_run
    /// # fn nest(mut master: workhive::host::HostedMaster) {
    /// const SIGTERM: i32 = 15;
    /// master.signal(SIGTERM);
    /// # }
    /// ```
    pub fn signal(&mut self, signal: i32) {
        if self.is_copy() {
            return;
        }
        if let Stage::Running(master) = &mut self.stage {
            master.on_signal(signal);
            master.go_on();
        }
        self.settle();
    }

    /// How the hive has ended. If it has not, it is stopped, and its end is waited for. In a copy of the process nothing
    /// happens.
    ///
    /// ```no_run
    /// # fn nest(master: workhive::host::HostedMaster) {
    /// let exit = master.finish();
    /// # let _ = exit;
    /// # }
    /// ```
    pub fn finish(mut self) -> Exit {
        if self.is_copy() {
            return Exit::FAILURE;
        }
        if let Stage::Running(master) = &mut self.stage {
            master.stop(true);
        }
        loop {
            self.settle();
            match &mut self.stage {
                Stage::Running(master) => master.turn(&mut self.events, None),
                Stage::Over(exit) => return *exit,
            }
        }
    }

    fn is_copy(&self) -> bool {
        std::process::id() != self.owner
    }

    /// Does what was put off until the next wait, so that nothing is left but what the descriptor tells.
    fn settle(&mut self) {
        let Stage::Running(master) = &mut self.stage else {
            return;
        };
        let exit = match master.settle() {
            Some(Outcome::Ended(result, word)) => ended(&self.name, result, word),
            // Nothing is forked here: it was refused at the start.
            Some(Outcome::Child(_, home)) => home.leave(1),
            None => {
                // Without it the host would wait for what is due; the next turn tells.
                let _ = master.set_alarm(false);
                return;
            }
        };
        self.stage = Stage::Over(exit);
    }
}

impl fmt::Debug for HostedMaster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostedMaster")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
