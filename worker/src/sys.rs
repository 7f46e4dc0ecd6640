//! The one system call that has no safe wrapper here.

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

fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
