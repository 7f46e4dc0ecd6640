//! A Unix stream that never makes its owner wait for longer than it wants to.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, connect, recv, send, setsockopt, socket,
    sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

/// One end of a connected Unix stream.
#[derive(Debug)]
pub(crate) struct Stream {
    socket: OwnedFd,
}

impl Stream {
    /// Connects to a listening socket. When its queue is full, waits until the deadline for a place in it.
    pub(crate) fn connect(path: &Path, deadline: Option<Instant>) -> io::Result<Self> {
        let address = UnixAddr::new(path)?;
        let socket = socket(
            AddressFamily::Unix,
            SockType::Stream,
            SockFlag::SOCK_CLOEXEC,
            None,
        )?;
        loop {
            // unix(7): a connect(2) waits in the queue as long as a send(2) may; 0 would be for ever.
            if let Some(left) = left(deadline) {
                let micros = i64::try_from(left.as_micros()).unwrap_or(i64::MAX);
                let timeout = TimeVal::microseconds(micros.clamp(1, 1_000_000_000_000));
                setsockopt(&socket, sockopt::SendTimeout, &timeout)?;
            }
            match connect(socket.as_raw_fd(), &address) {
                Ok(()) => return Ok(Self { socket }),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Writes what can be written at once. Never raises SIGPIPE.
    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        at_once(|| send(self.socket.as_raw_fd(), bytes, flags))
    }

    /// Reads what is there; 0 at the end of the stream.
    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        at_once(|| recv(self.socket.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT))
    }

    /// Waits until it can be read from, or written to if that is wanted, or until the deadline. What has happened, if
    /// anything, the next attempt tells.
    pub(crate) fn wait(&self, or_written: bool, deadline: Option<Instant>) -> io::Result<()> {
        let timeout = left(deadline).map_or(PollTimeout::NONE, |left| {
            // Rounded up, so that it is over when the deadline is.
            let millis = left.as_nanos().div_ceil(1_000_000);
            PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX)
        });
        let mut what = PollFlags::POLLIN;
        what.set(PollFlags::POLLOUT, or_written);
        let mut fds = [PollFd::new(self.socket.as_fd(), what)];
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// The time until a deadline, if there is one.
fn left(deadline: Option<Instant>) -> Option<Duration> {
    Some(deadline?.saturating_duration_since(Instant::now()))
}

fn at_once(mut call: impl FnMut() -> nix::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            done => return done.map_err(io::Error::from),
        }
    }
}
