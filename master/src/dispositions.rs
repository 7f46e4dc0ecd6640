//! What signals do in a process that is not ours alone: how it was is remembered, and put back when the hive is over.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, PoisonError};

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

    /// For a worker process of a host that was like this: SIGINT is the master's; the others that go to everybody are
    /// ignored, unless the host has a handler of its own. SIGTERM and SIGQUIT are its loop's.
    pub(crate) fn settle_worker(self) -> io::Result<()> {
        for (signal, disposition) in self.all {
            match signal {
                Signal::SIGTERM | Signal::SIGQUIT => {}
                Signal::SIGINT => sys::ignore(signal)?,
                // The terminal's too: a background process may write then, and its reads fail.
                signal if FOR_MASTER.contains(&signal) && !disposition.is_handler() => {
                    sys::ignore(signal)?;
                }
                signal => disposition.set(signal)?,
            }
        }
        Ok(())
    }

    /// For a worker process that is a program of its own.
    pub(crate) fn ignore() -> io::Result<()> {
        FOR_MASTER.into_iter().try_for_each(sys::ignore)
    }
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
