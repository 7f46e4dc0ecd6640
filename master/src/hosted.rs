//! In whose process a hive lives: a program's own, whose `main` is ours from beginning to end; or that of a host, which
//! has handlers, children and an exit of its own.

use std::fmt;
use std::io::{self, Write};

use nix::sys::signal::SigSet;
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::{ForkResult, Pid};

use crate::dispositions::{Dispositions, ignore_terminal};
use crate::error::StartError;
use crate::host::{Fork, Forked, Signals, Started};
use crate::spawn::unblock;
use crate::{Exit, Group, sys};

/// Whose process this is, and what that allows.
#[derive(Default)]
pub(crate) struct Home {
    hosted: bool,
    signals: Signals,
    nested: bool,
    fork: Option<Box<Fork>>,
    /// What the host's signals did before the hive began.
    before: Option<Dispositions>,
}

impl Home {
    /// A program's own.
    pub(crate) fn own() -> Self {
        Self::default()
    }

    pub(crate) fn host(signals: Signals, nested: bool, fork: Option<Box<Fork>>) -> Self {
        Self {
            hosted: true,
            signals,
            nested,
            fork,
            before: None,
        }
    }

    /// True in somebody else's program.
    pub(crate) fn is_hosted(&self) -> bool {
        self.hosted
    }

    /// True if the master is to be run by the host's loop.
    pub(crate) fn is_nested(&self) -> bool {
        self.nested
    }

    /// True if the master takes note of signals by itself.
    pub(crate) fn master_handles_signals(&self) -> bool {
        self.signals == Signals::Library || !self.nested
    }

    /// True if worker processes do.
    pub(crate) fn workers_handle_signals(&self) -> bool {
        self.signals == Signals::Library
    }

    /// Makes the signals of this process the master's, if they are to be. What those of a host did is remembered.
    pub(crate) fn take_signals(&mut self) -> Result<(), StartError> {
        if !self.master_handles_signals() {
            return Ok(());
        }
        let settled = if self.hosted {
            Dispositions::now().and_then(|now| self.before.insert(now).settle_master())
        } else {
            ignore_terminal()
        };
        settled.map_err(StartError::system("make its signals the hive's"))
    }

    /// Gives the signals of a worker process their dispositions. To one that was forked in a host it also tells which of
    /// them the host had blocked. The router is none of the host's business, and as in a program of its own.
    pub(crate) fn settle_signals(&mut self, is_router: bool) -> io::Result<Option<SigSet>> {
        let before = self.before.take();
        let mask = before.as_ref().map(Dispositions::mask);
        if is_router {
            Dispositions::settle_router(self.hosted && before.is_none())?;
            return Ok(mask);
        }
        match (self.hosted, self.signals) {
            (false, _) => Dispositions::ignore()?,
            // One that was executed has had no master in it that could have changed any.
            (true, Signals::Library) => {
                before
                    .map_or_else(Dispositions::of_executed, Ok)?
                    .settle_worker()?;
            }
            (true, Signals::Host) => before.map_or(Ok(()), Dispositions::put_back)?,
        }
        Ok(mask)
    }

    /// Refuses processes that would have to be forked where that is unsound.
    pub(crate) fn check_forks(&self, groups: &[Group]) -> Result<(), StartError> {
        if !groups.iter().any(Group::forks) {
            return Ok(());
        }
        if self.nested {
            return Err(StartError::Nested);
        }
        match sys::threads() {
            Ok(0 | 1) => Ok(()),
            Ok(threads) => Err(StartError::Threads(threads)),
            Err(error) => Err(StartError::System {
                what: "count this process's threads",
                error,
            }),
        }
    }

    /// True if a copy of this process could go on in its place: it has one thread, and no loop that waits.
    pub(crate) fn can_be_copied(&self) -> bool {
        !self.nested && matches!(sys::threads(), Ok(0 | 1))
    }

    /// Makes a copy of this process, which is to have one thread.
    pub(crate) fn fork(&mut self) -> io::Result<ForkResult> {
        match &mut self.fork {
            Some(fork) => {
                sys::ready_to_fork()?;
                fork_by(fork)
            }
            None => sys::fork(),
        }
    }

    /// What becomes of a process that was executed for a seat and cannot take it: a host ends as it does, a program of
    /// its own goes no further.
    pub(crate) fn failed(&self) -> Started {
        if !self.hosted {
            self.leave(1);
        }
        Started::Over(Exit::FAILURE)
    }

    /// Ends this process without a way back: what the host would do at its end is for processes that it knows.
    pub(crate) fn leave(&self, code: i32) -> ! {
        if self.hosted {
            // Our own; what the host has in buffers is the other process's.
            let _ = io::stdout().flush();
            sys::exit_now(code);
        }
        std::process::exit(code)
    }
}

impl fmt::Debug for Home {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Home")
            .field("hosted", &self.hosted)
            .field("signals", &self.signals)
            .field("nested", &self.nested)
            .finish_non_exhaustive()
    }
}

impl Drop for Home {
    /// The hive is over in this process: signals do again what they did before it. In a worker process they have been
    /// settled, and stay as they are.
    fn drop(&mut self) {
        if let Some(before) = self.before.take() {
            let mask = before.mask();
            if let Err(error) = before.put_back() {
                // Cannot happen with what the kernel itself has said (sigaction(2)).
                log::error!("signals do not do again what they did before: {error}");
            }
            unblock(mask);
        }
    }
}

/// Nothing that a host returns is taken on trust: a number that is no child of ours could be anybody's, and would be
/// killed one day.
fn fork_by(fork: &mut Fork) -> io::Result<ForkResult> {
    let before = std::process::id();
    let forked = fork();
    if std::process::id() != before {
        return Ok(ForkResult::Child);
    }
    let child = match forked {
        Ok(Forked::Parent { child }) => Pid::from_raw(child),
        Ok(Forked::Child) => {
            return Err(io::Error::other(
                "the program's own fork says that this is the new process, and it is not",
            ));
        }
        Err(error) => {
            let text = format!("the program's own fork failed: {error}");
            return Err(io::Error::new(error.kind(), text));
        }
    };
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    let is_ours = child.as_raw() > 0 && waitid(Id::Pid(child), flags).is_ok();
    if !is_ours {
        return Err(io::Error::other(format!(
            "the program's own fork has returned {child}, which is no child of this process"
        )));
    }
    Ok(ForkResult::Parent { child })
}
