//! The signals of the master: caught, or read; a handler only notes them, and the loop decides.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use mio::unix::SourceFd;
use mio::{Interest, Registry};
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use signal_hook::consts::signal::{
    SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTTIN, SIGTTOU, SIGUSR1, SIGUSR2,
};
use signal_hook_mio::v1_0::Signals as Caught;

use crate::error::StartError;
use crate::master::{HELD, Master, SIGNALS};
use crate::scale::Wanted;
use crate::{dispositions, sys};

/// What the master is told by signals.
pub(crate) struct Signals {
    caught: Caught,
    /// Signals that are not caught, but read; none if those are caught too.
    held: Option<SignalFd>,
}

impl Signals {
    /// Takes note of them from now on. `init`: strangers' orphans become our children.
    pub(crate) fn catch(init: bool, hosted: bool) -> Result<Self, StartError> {
        let mut wanted = vec![SIGINT, SIGTERM, SIGQUIT, SIGUSR1, SIGUSR2, SIGHUP];
        if init {
            wanted.push(SIGCHLD);
        }
        let holds = can_hold(hosted);
        if !holds {
            wanted.extend([SIGTTIN, SIGTTOU]);
        }
        let caught = caught(&wanted, hosted)?;
        let held = holds.then(held_signals).transpose();
        Ok(Self {
            caught,
            held: held.map_err(StartError::system("read signals"))?,
        })
    }

    pub(crate) fn register(&mut self, registry: &Registry) -> io::Result<()> {
        registry.register(&mut self.caught, SIGNALS, Interest::READABLE)?;
        match &self.held {
            Some(held) => {
                let held = held.as_fd().as_raw_fd();
                registry.register(&mut SourceFd(&held), HELD, Interest::READABLE)
            }
            None => Ok(()),
        }
    }

    /// Those that have come.
    fn pending(&mut self) -> Vec<i32> {
        let mut all: Vec<i32> = self.caught.pending().collect();
        while let Some(held) = &self.held
            && let Ok(Some(info)) = held.read_signal()
        {
            all.push(info.ssi_signo.cast_signed());
        }
        all
    }
}

impl Master {
    /// Does what the signals say that have come.
    pub(crate) fn on_signals(&mut self) {
        let pending = self.signals.as_mut().map(Signals::pending);
        for signal in pending.unwrap_or_default() {
            self.on_signal(signal);
        }
    }

    /// Does what a signal says.
    pub(crate) fn on_signal(&mut self, signal: i32) {
        match signal {
            SIGINT => {
                log::info!("SIGINT: stopping now");
                self.stop(false);
            }
            SIGTERM | SIGQUIT => {
                log::info!(
                    "{}: stopping gracefully",
                    if signal == SIGTERM {
                        "SIGTERM"
                    } else {
                        "SIGQUIT"
                    }
                );
                self.stop(true);
            }
            SIGUSR1 => self.request_reload(None),
            SIGHUP => match crate::logger::reopen() {
                Ok(()) => log::info!("SIGHUP: the log is open anew"),
                Err(error) => log::error!("SIGHUP: cannot open the log anew: {error}"),
            },
            SIGUSR2 => self.request_upgrade(None),
            SIGTTIN => {
                log::info!("SIGTTIN: one process more");
                self.step_scale(Wanted::OneMore);
            }
            SIGTTOU => {
                log::info!("SIGTTOU: one process fewer");
                self.step_scale(Wanted::OneLess);
            }
            SIGCHLD => self.reap_strangers(),
            other => log::debug!("signal {other} means nothing to the master"),
        }
    }

    /// As process 1 we inherit everybody's orphans, and nobody else will reap them. Our own children are left alone
    /// here: their descriptors tell.
    fn reap_strangers(&mut self) {
        use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
        if !self.init {
            return;
        }
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        loop {
            let Ok(WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..)) =
                waitid(Id::All, flags)
            else {
                return;
            };
            match self
                .processes
                .iter()
                .find(|(_, process)| process.pid == pid)
            {
                Some((id, _)) => {
                    let id = *id;
                    self.on_end(id);
                }
                None => drop(waitpid(pid, Some(WaitPidFlag::WNOHANG))),
            }
        }
    }

    /// Blocks all signals, for the time around a fork: a signal that hits the child before it has its own
    /// dispositions would run the master's handler and be lost.
    pub(crate) fn block_signals() -> io::Result<SigSet> {
        Ok(SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?)
    }
}

/// The signals that the master takes note of.
fn caught(wanted: &[i32], hosted: bool) -> Result<Caught, StartError> {
    let signals = Caught::new(wanted).map_err(StartError::system("catch signals"))?;
    if hosted {
        let mut caught = wanted.iter().filter_map(|signal| (*signal).try_into().ok());
        caught
            .try_for_each(dispositions::hook)
            .map_err(StartError::system("catch signals"))?;
    }
    // Masks come from whoever started us, and a blocked SIGTERM would stop nobody.
    let unblocked: SigSet = wanted
        .iter()
        .filter_map(|number| Signal::try_from(*number).ok())
        .collect();
    unblocked
        .thread_unblock()
        .map_err(StartError::system("unblock signals"))?;
    Ok(signals)
}

/// Dispositions come from there, too. With SIGCHLD ignored the kernel would reap our children before we learn how they
/// ended (wait(2)). A handler of a host's stays.
pub(crate) fn restore_children() -> Result<(), StartError> {
    let found = sys::Disposition::of(Signal::SIGCHLD);
    let reaps = found
        .map_err(StartError::system("look at SIGCHLD"))?
        .reaps();
    if reaps {
        sys::restore(Signal::SIGCHLD).map_err(StartError::system("restore SIGCHLD"))?;
    }
    Ok(())
}

/// SIGTTIN and SIGTTOU, which the terminal also sends: to processes that read from it, or write to it, in the background.
/// They stay blocked, because then it does not (`tty_ioctl(4)`, termios(3)): it lets such a process write, and tells one
/// that reads that it cannot. Were they caught, a line of the log would be tried again and again. Those that somebody
/// sends on purpose are read here.
///
/// That needs a process in which nobody else takes them: a thread that does not block them would, and throw them away. A
/// host may have such threads one day.
fn held_signals() -> io::Result<SignalFd> {
    let held = held();
    held.thread_block()?;
    Ok(SignalFd::with_flags(
        &held,
        SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC,
    )?)
}

/// True if these two are to be read. They are caught where there are threads, unless there is a terminal, which is worse.
fn can_hold(hosted: bool) -> bool {
    let alone = !hosted && matches!(sys::threads(), Ok(0 | 1));
    alone || dispositions::has_terminal()
}

/// A mask without those signals that only the master blocks.
pub(crate) fn without_held(mut mask: SigSet) -> SigSet {
    for signal in &held() {
        mask.remove(signal);
    }
    mask
}

/// The signals that the master keeps blocked and its children do not.
pub(crate) fn held() -> SigSet {
    SigSet::from_iter([Signal::SIGTTIN, Signal::SIGTTOU])
}
