//! The master's `unsafe` calls into the system: fork, process descriptors, signal dispositions.

use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::unistd::{ForkResult, Pid};

/// How many threads this process has.
pub(crate) fn threads() -> io::Result<u64> {
    // A directory has one link for its name, one for ".", and one for each directory in it; proc(5): task/ has one
    // directory for each thread.
    Ok(std::fs::metadata("/proc/self/task")?
        .nlink()
        .saturating_sub(2))
}

/// fork(2). Refused when this process has a second thread: in the child, that thread's locks would stay locked for
/// ever.
pub(crate) fn fork() -> io::Result<ForkResult> {
    let threads = threads()?;
    if threads > 1 {
        return Err(io::Error::other(format!(
            "the process has {threads} threads, and only a single-threaded process can fork. Start threads in \
             on_worker_start, not before"
        )));
    }
    // What waits in standard output's buffer would come out twice. If it cannot come out now, it could not later.
    let _ = io::stdout().flush();
    // SAFETY: with one thread, the child's copy of every lock and of the allocator is in a consistent state, so it
    // may go on to run any code. Nothing else starts a thread between the check above and this call.
    Ok(unsafe { nix::unistd::fork() }?)
}

/// A descriptor for a process that this one has forked and not yet reaped (`pidfd_open(2)`). Close-on-exec.
pub(crate) fn pidfd_open(pid: Pid) -> io::Result<OwnedFd> {
    // SAFETY: the call takes two integers and touches no memory.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) };
    match RawFd::try_from(fd) {
        // SAFETY: the kernel has just made this descriptor for us; nothing else owns it.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Sends a signal to exactly the process behind the descriptor, never to a later one with the same number
/// (`pidfd_send_signal(2)`).
pub(crate) fn pidfd_send(pidfd: BorrowedFd<'_>, signal: Signal) -> io::Result<()> {
    let no_info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: a null siginfo is allowed and means "as kill(2)".
    let sent = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_fd().as_raw_fd(),
            signal as libc::c_int,
            no_info,
            0,
        )
    };
    if sent == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Ignores a signal; one that is pending is thrown away (signal(7)).
pub(crate) fn ignore(signal: Signal) -> io::Result<()> {
    dispose(signal, SigHandler::SigIgn)
}

/// Gives a signal its default effect.
pub(crate) fn restore(signal: Signal) -> io::Result<()> {
    dispose(signal, SigHandler::SigDfl)
}

fn dispose(signal: Signal, handler: SigHandler) -> io::Result<()> {
    let action = SigAction::new(handler, SaFlags::empty(), SigSet::empty());
    // SAFETY: both callers pass a disposition that runs no code of ours.
    unsafe { sigaction(signal, &action) }?;
    Ok(())
}

/// The nice value of this process (setpriority(2)), whatever it was before.
pub(crate) fn set_nice(value: i32) -> nix::Result<()> {
    // SAFETY: the call takes three integers and touches no memory.
    Errno::result(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, value) }).map(drop)
}

/// Raises this process's limit of open descriptors to what the administrator allows. The usual soft limit is only low
/// for the sake of select(2).
pub(crate) fn raise_descriptors() -> io::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    Ok(())
}
