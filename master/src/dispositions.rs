//! What signals do in a process that is not ours alone: how it was is remembered, and put back when the hive is over.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::sys::signal::{SigSet, Signal};

use crate::sys::{self, Disposition};

/// Every signal whose effect a hive changes in some process.
const CHANGED: [Signal; 10] = [
    Signal::SIGINT,
    Signal::SIGTERM,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGHUP,
    Signal::SIGCHLD,
    Signal::SIGPIPE,
    Signal::SIGTTIN,
    Signal::SIGTTOU,
];

/// What is sent to everybody, and is for the master: Ctrl-C and a hang-up reach the whole foreground group, `pkill -USR1
/// name` all of a name. And what a closed pipe says, which a write says too, and a terminal.
const FOR_MASTER: [Signal; 7] = [
    Signal::SIGINT,
    Signal::SIGHUP,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGPIPE,
    Signal::SIGTTIN,
    Signal::SIGTTOU,
];

/// The handlers that were installed in this process by signal-hook. It does that once for each signal, and does not notice
/// that somebody has installed another one since.
static HOOKED: Mutex<BTreeMap<i32, Disposition>> = Mutex::new(BTreeMap::new());

/// What the signals of this worker process did in its host before.
static WORKER: Mutex<Option<Dispositions>> = Mutex::new(None);

/// What signals did at one time, and which of them were blocked.
#[derive(Debug)]
pub(crate) struct Dispositions {
    all: Vec<(Signal, Disposition)>,
    mask: SigSet,
}

impl Dispositions {
    /// As they are now.
    pub(crate) fn now() -> io::Result<Self> {
        let all = CHANGED
            .into_iter()
            .map(|signal| Ok((signal, Disposition::of(signal)?)));
        Ok(Self {
            all: all.collect::<io::Result<_>>()?,
            mask: SigSet::thread_get_mask()?,
        })
    }

    /// Which signals were blocked.
    pub(crate) fn mask(&self) -> SigSet {
        self.mask
    }

    /// Makes the dispositions so again, and leaves the mask to the caller.
    pub(crate) fn put_back(self) -> io::Result<()> {
        self.all
            .into_iter()
            .try_for_each(|(signal, disposition)| disposition.set(signal))
    }

    /// The same in a process that a master has executed, which has made it ignore what would have ended it too early.
    pub(crate) fn of_executed() -> io::Result<Self> {
        let mut now = Self::now()?;
        for (signal, disposition) in &mut now.all {
            if sys::IGNORED_AT_FIRST.contains(signal) && disposition.is_ignored() {
                *disposition = Disposition::usual();
            }
        }
        Ok(now)
    }

    /// For a master in a host that was like this: what it writes to a pipe may have lost its reader.
    pub(crate) fn settle_master(&self) -> io::Result<()> {
        for (signal, disposition) in &self.all {
            if *signal == Signal::SIGPIPE && disposition.is_usual() {
                sys::swallow(*signal)?;
            }
        }
        ignore_terminal()
    }

    /// For a worker process of a host that was like this: SIGINT is the master's; the others that go to everybody do
    /// nothing, unless the host has a handler of its own. SIGTERM and SIGQUIT are its loop's.
    ///
    /// They are not ignored: whatever programs the host starts would ignore them, too.
    pub(crate) fn settle_worker(self) -> io::Result<()> {
        for (signal, disposition) in &self.all {
            match *signal {
                Signal::SIGTERM | Signal::SIGQUIT => {}
                // A background process may write to its terminal then, and its reads fail.
                signal @ (Signal::SIGTTIN | Signal::SIGTTOU)
                    if has_terminal() && !disposition.is_handler() =>
                {
                    sys::ignore(signal)?;
                }
                Signal::SIGINT if !disposition.is_ignored() => sys::swallow(Signal::SIGINT)?,
                signal if FOR_MASTER.contains(&signal) && disposition.is_usual() => {
                    sys::swallow(signal)?;
                }
                signal => disposition.set(signal)?,
            }
        }
        *worker() = Some(self);
        Ok(())
    }

    /// For the router, which is needed until the others have ended: SIGQUIT, which a terminal sends to everybody, is the
    /// master's too. Before its loop is there, what an interpreter that was executed does at SIGTERM is no part of it.
    pub(crate) fn settle_router(executed: bool) -> io::Result<()> {
        Self::ignore()?;
        sys::ignore(Signal::SIGQUIT)?;
        if executed {
            sys::restore(Signal::SIGTERM)?;
        }
        Ok(())
    }

    /// For a worker process that is a program of its own.
    pub(crate) fn ignore() -> io::Result<()> {
        FOR_MASTER.into_iter().try_for_each(sys::ignore)
    }
}

/// Makes the signals of a worker process do again what they did in its host, when it is no worker any more.
pub(crate) fn put_back_in_worker() -> io::Result<()> {
    worker().take().map_or(Ok(()), Dispositions::put_back)
}

fn worker() -> MutexGuard<'static, Option<Dispositions>> {
    WORKER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps the terminal from stopping the hive: a background job that reads from its terminal, or writes to it after
/// `stty tostop`, is stopped as a whole (termios(3)), and nobody would watch over the processes any more. They inherit
/// this, and then such a write succeeds and such a read fails.
pub(crate) fn ignore_terminal() -> io::Result<()> {
    [Signal::SIGTTIN, Signal::SIGTTOU]
        .into_iter()
        .try_for_each(sys::ignore)
}

/// True if one of the standard streams leads to a terminal.
pub(crate) fn has_terminal() -> bool {
    io::stdin().is_terminal() || io::stdout().is_terminal() || io::stderr().is_terminal()
}

/// Completes what signal-hook has done for a signal in a host: its handler runs on the thread's alternate stack, where
/// there is one (a Go program ends at a handler that does not), and is there also if it was replaced since the first time.
pub(crate) fn hook(signal: Signal) -> io::Result<()> {
    let mut hooked = HOOKED.lock().unwrap_or_else(PoisonError::into_inner);
    let ours = match hooked.get(&(signal as i32)) {
        Some(ours) => *ours,
        None => Disposition::of(signal)?.on_stack(),
    };
    ours.set(signal)?;
    hooked.insert(signal as i32, ours);
    Ok(())
}
