//! The system calls that have no safe wrapper here.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use mio::{Registry, Token};

/// Watches a listening socket, level-triggered, with our token in the event's user data, where mio finds it again.
///
/// mio itself is always edge-triggered and knows no `EPOLLEXCLUSIVE`. With `exclusive`, a new connection wakes one of
/// the processes that wait, not all (`epoll_ctl(2)`). To be undone with [`unwatch`].
pub(crate) fn watch(
    registry: &Registry,
    socket: BorrowedFd<'_>,
    token: Token,
    exclusive: bool,
) -> io::Result<()> {
    let mut events = libc::EPOLLIN;
    if exclusive {
        events |= libc::EPOLLEXCLUSIVE;
    }
    let mut event = libc::epoll_event {
        events: events.cast_unsigned(),
        u64: token.0 as u64,
    };
    // SAFETY: both descriptors are open for the length of the call, and `event` is a valid epoll_event.
    let result = unsafe {
        libc::epoll_ctl(
            registry.as_raw_fd(),
            libc::EPOLL_CTL_ADD,
            socket.as_raw_fd(),
            &raw mut event,
        )
    };
    check(result)
}

/// Stops watching a socket.
pub(crate) fn unwatch(registry: &Registry, socket: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: both descriptors are open for the length of the call; EPOLL_CTL_DEL reads no event.
    let result = unsafe {
        libc::epoll_ctl(
            registry.as_raw_fd(),
            libc::EPOLL_CTL_DEL,
            socket.as_raw_fd(),
            std::ptr::null_mut(),
        )
    };
    check(result)
}

/// Lets the handler that a signal has run on the alternate stack of its thread, where there is one (sigaltstack(2)), and
/// alone: such a stack may have room for two or three, and several signals come at once.
pub(crate) fn handle_on_alternate_stack(signal: libc::c_int) -> io::Result<()> {
    // SAFETY: an action of zeros is one; it is only written to.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: reads the present action into a place that is large enough.
    check(unsafe { libc::sigaction(signal, std::ptr::null(), &raw mut action) })?;
    action.sa_flags |= libc::SA_ONSTACK;
    // SAFETY: the set lives. It cannot fail.
    unsafe { libc::sigfillset(&raw mut action.sa_mask) };
    // SAFETY: the action was valid as the kernel gave it; what is changed is on which stack its handler runs, and what waits
    // meanwhile.
    check(unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) })
}

/// Lets a classic BPF program choose among the sockets that share an address with this one (socket(7)): it returns the
/// index of one of them, in the order of their listen(2) calls. With any other the kernel's hash decides.
pub(crate) fn attach_to_group(
    socket: BorrowedFd<'_>,
    program: &[libc::sock_filter],
) -> io::Result<()> {
    let Ok(length) = u16::try_from(program.len()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let program = libc::sock_fprog {
        len: length,
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: `program` points to as many instructions as it says, all of which live until the call is over; the kernel
    // only reads them.
    unsafe { set_option(socket, libc::SO_ATTACH_REUSEPORT_CBPF, &program) }
}

/// Takes the program of [`attach_to_group`] away again.
pub(crate) fn detach_from_group(socket: BorrowedFd<'_>) -> io::Result<()> {
    let unused: libc::c_int = 0;
    // SAFETY: the option takes no value, but setsockopt(2) wants an int all the same: there is one.
    unsafe { set_option(socket, libc::SO_DETACH_REUSEPORT_BPF, &unused) }
}

/// setsockopt(2) at the level of sockets.
///
/// # Safety
/// `T` must be what the option takes, and pointers in it must be valid for the call.
unsafe fn set_option<T>(socket: BorrowedFd<'_>, option: libc::c_int, value: &T) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of::<T>()).unwrap_or_default();
    // SAFETY: `value` is valid for reads of its own size; the caller vouches for what it points to.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            std::ptr::from_ref(value).cast(),
            length,
        )
    };
    check(result)
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
