//! The harness's only `unsafe` calls into the system: a descriptor of another process, an option of its socket, and what is
//! done between fork and exec.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

/// A duplicate of a descriptor of another process (`pidfd_getfd(2)`), which must be a child of ours, or we root.
pub(crate) fn descriptor_of(pid: u32, number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: pidfd_open(2) takes two numbers, and returns a new descriptor, or -1.
    let process = owned(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    // SAFETY: pidfd_getfd(2) takes three numbers, the first of which is an open descriptor, and returns a new
    // descriptor, or -1.
    owned(unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), number, 0) })
}

fn owned(returned: libc::c_long) -> io::Result<OwnedFd> {
    match RawFd::try_from(returned) {
        // SAFETY: the kernel has just made it, for us alone.
        Ok(number @ 0..) => Ok(unsafe { OwnedFd::from_raw_fd(number) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Makes a listening socket hold handshakes back until data comes (`TCP_DEFER_ACCEPT`, tcp(7)).
pub(crate) fn defer_accept(socket: BorrowedFd<'_>, seconds: libc::c_int) -> io::Result<()> {
    // SAFETY: the value is an int, as tcp(7) has it, alive for the call, and its length is given.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_DEFER_ACCEPT,
            (&raw const seconds).cast(),
            4,
        )
    };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Lets a command begin with the dispositions that it has from a terminal: a shell that runs the tests in the background
/// makes all of them ignore Ctrl-C.
pub(crate) fn default_dispositions(command: &mut Command) {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    let reset = move || {
        for signal in [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGHUP] {
            // SAFETY: the default disposition runs no code of ours; sigaction(2) may be called between fork and exec
            // (signal-safety(7)).
            unsafe { sigaction(signal, &default) }?;
        }
        Ok(())
    };
    // SAFETY: the closure takes no memory and no lock.
    unsafe { command.pre_exec(reset) };
}

/// Gives a command these descriptors, as 3, 4 and so on.
pub(crate) fn hand(command: &mut Command, descriptors: &[OwnedFd]) -> io::Result<()> {
    // Out of the way of the numbers that they are to have.
    let copies = descriptors
        .iter()
        .map(|descriptor| {
            let copy = fcntl(descriptor, FcntlArg::F_DUPFD_CLOEXEC(100))?;
            // SAFETY: the kernel has just made it, for us alone.
            Ok(unsafe { OwnedFd::from_raw_fd(copy) })
        })
        .collect::<io::Result<Vec<_>>>()?;
    let give = move || {
        for (number, copy) in (3..).zip(&copies) {
            // SAFETY: dup2(2) takes two numbers, and may be called between fork and exec (signal-safety(7)). What was
            // open under the second one is nobody's in the child.
            if unsafe { libc::dup2(copy.as_raw_fd(), number) } < 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(())
    };
    // SAFETY: the closure takes no memory and no lock.
    unsafe { command.pre_exec(give) };
    Ok(())
}
