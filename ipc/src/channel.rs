//! The link between the master and one worker.

use std::fmt;
use std::io::{self, IoSlice};
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, sendmsg, socketpair,
};

use crate::envelope::{Control, EnvelopeError, MAX_FRAME};
use crate::{ToMaster, ToPredecessor, ToSuccessor, ToWorker, sys};

/// The master's end of a link.
pub type MasterEnd = Channel<ToWorker, ToMaster>;

/// A worker's end of its link.
pub type WorkerEnd = Channel<ToMaster, ToWorker>;

/// The end of the link between two masters that the old one has.
pub type OldEnd = Channel<ToSuccessor, ToPredecessor>;

/// The end of the link between two masters that the new one has.
pub type NewEnd = Channel<ToPredecessor, ToSuccessor>;

/// One end of a link: sends `S`, receives `R`.
///
/// A pair of `SOCK_SEQPACKET` sockets (unix(7)): message boundaries are kept, either side learns at once that the
/// other has died, and descriptors travel along. Both ends are non-blocking and close-on-exec.
pub struct Channel<S, R> {
    socket: OwnedFd,
    carries: PhantomData<fn(&S) -> R>,
}

/// What was waiting on a link.
#[derive(Debug)]
pub enum Received<R> {
    /// A message, and the descriptor that came with it (close-on-exec).
    Message(R, Option<OwnedFd>),
    /// Nothing yet.
    Empty,
    /// Nothing, for ever: the other process has closed its end, or died.
    Closed,
}

/// Makes a link: the master keeps one end, the worker to be forked gets the other.
///
/// ```
/// use workhive_ipc::{Received, ToMaster, ToWorker, pair};
///
/// let (master, worker) = pair()?;
/// worker.send(&ToMaster::Ready, None).unwrap();
/// assert!(matches!(master.recv(), Ok(Received::Message(ToMaster::Ready, None))));
/// assert!(matches!(master.recv(), Ok(Received::Empty)));
/// drop(master);
/// assert!(matches!(worker.recv(), Ok(Received::Closed)));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn pair() -> io::Result<(MasterEnd, WorkerEnd)> {
    let (master, worker) = sockets()?;
    Ok((Channel::new(master), Channel::new(worker)))
}

/// Makes the link between a master and the one that is to take its place.
///
/// ```
/// use workhive_ipc::{Received, ToPredecessor, ToSuccessor, succession};
///
/// let (old, new) = succession()?;
/// new.send(&ToPredecessor::Ready, None).unwrap();
/// assert!(matches!(old.recv(), Ok(Received::Message(ToPredecessor::Ready, None))));
/// old.send(&ToSuccessor::TakeOver, None).unwrap();
/// assert!(matches!(new.recv(), Ok(Received::Message(ToSuccessor::TakeOver, None))));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn succession() -> io::Result<(OldEnd, NewEnd)> {
    let (old, new) = sockets()?;
    Ok((Channel::new(old), Channel::new(new)))
}

fn sockets() -> nix::Result<(OwnedFd, OwnedFd)> {
    socketpair(
        AddressFamily::Unix,
        SockType::SeqPacket,
        None,
        SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
    )
}

impl<S, R> Channel<S, R> {
    fn new(socket: OwnedFd) -> Self {
        Self {
            socket,
            carries: PhantomData,
        }
    }
}

impl<S: Control, R: Control> Channel<S, R> {
    /// Sends a message, with a duplicate of `fd` if there is one. Never blocks, never raises SIGPIPE.
    ///
    /// [`ChannelError::Full`] means that the other process does not read: try again later or give it up.
    ///
    /// ```
    /// use std::os::fd::AsFd;
    /// use workhive_ipc::{ListenOutcome, Received, ToWorker, pair};
    ///
    /// let (master, worker) = pair()?;
    /// let socket = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let answer = ToWorker::Listener { id: 1, outcome: ListenOutcome::Granted };
    /// master.send(&answer, Some(socket.as_fd())).unwrap();
    /// assert!(matches!(worker.recv(), Ok(Received::Message(ToWorker::Listener { .. }, Some(_)))));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn send(&self, message: &S, fd: Option<BorrowedFd<'_>>) -> Result<(), ChannelError> {
        let frame = message.to_frame().map_err(ChannelError::Envelope)?;
        let fds = fd.map(|fd| [fd.as_raw_fd()]);
        let rights = fds.as_ref().map(|fds| [ControlMessage::ScmRights(fds)]);
        let control = rights.as_ref().map_or(&[][..], |rights| &rights[..]);
        loop {
            return match sendmsg::<UnixAddr>(
                self.socket.as_raw_fd(),
                &[IoSlice::new(&frame)],
                control,
                MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT,
                None,
            ) {
                // A SEQPACKET socket takes a message whole or not at all.
                Ok(_) => Ok(()),
                Err(Errno::EINTR) => continue,
                // ETOOMANYREFS: too many descriptors are under way; they count until they are received (unix(7)).
                Err(Errno::EAGAIN | Errno::ENOBUFS | Errno::ETOOMANYREFS) => {
                    Err(ChannelError::Full)
                }
                Err(Errno::EPIPE | Errno::ECONNRESET | Errno::ENOTCONN) => {
                    Err(ChannelError::Closed)
                }
                Err(errno) => Err(ChannelError::Io(errno.into())),
            };
        }
    }

    /// The next message, if one is there. Never blocks.
    ///
    /// After an [`ChannelError::Envelope`] the frame is gone and the link can go on. Descriptors past the first are
    /// closed, and so is one that came with a frame that is no message.
    ///
    /// ```
    /// use workhive_ipc::{Received, pair};
    ///
    /// let (master, _worker) = pair()?;
    /// assert!(matches!(master.recv(), Ok(Received::Empty)));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn recv(&self) -> Result<Received<R>, ChannelError> {
        let mut buffer = [0; MAX_FRAME];
        let mut resets = 0;
        loop {
            let (length, fd) = match sys::recv_with_fd(self.socket.as_fd(), &mut buffer) {
                Ok(received) => received,
                Err(error) => match error.raw_os_error() {
                    Some(libc::EINTR) => continue,
                    Some(libc::EAGAIN) => return Ok(Received::Empty),
                    // The other side died with messages of ours unread. The kernel reports that once, ahead of what
                    // it had sent itself; those messages (a reason, perhaps) are still to be read.
                    Some(libc::ECONNRESET) if resets == 0 => {
                        resets = 1;
                        continue;
                    }
                    Some(libc::ECONNRESET | libc::ENOTCONN) => return Ok(Received::Closed),
                    Some(libc::EMSGSIZE) => {
                        return Err(ChannelError::Envelope(EnvelopeError::TooLong));
                    }
                    _ => return Err(ChannelError::Io(error)),
                },
            };
            if length == 0 {
                // An empty message looks the same; we never send one.
                return Ok(Received::Closed);
            }
            let message = R::from_frame(&buffer[..length]).map_err(ChannelError::Envelope)?;
            return Ok(Received::Message(message, fd));
        }
    }

    /// The next message, waited for no longer than `limit`. [`Received::Empty`] when the time is up.
    ///
    /// ```
    /// use std::time::Duration;
    /// use workhive_ipc::{Received, pair};
    ///
    /// let (master, _worker) = pair()?;
    /// assert!(matches!(master.recv_within(Duration::from_millis(5)), Ok(Received::Empty)));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn recv_within(&self, limit: Duration) -> Result<Received<R>, ChannelError> {
        let start = Instant::now();
        loop {
            match self.recv()? {
                Received::Empty => {}
                received => return Ok(received),
            }
            let left = limit.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Ok(Received::Empty);
            }
            // poll(2) counts in milliseconds: round up, or the last one would be spent spinning.
            let timeout =
                PollTimeout::try_from(left.as_micros().div_ceil(1000)).unwrap_or(PollTimeout::MAX);
            let mut fds = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
            match nix::poll::poll(&mut fds, timeout) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(ChannelError::Io(errno.into())),
            }
        }
    }
}

impl<S, R> From<OwnedFd> for Channel<S, R> {
    /// The end of a link that another process has made with [`pair`] and handed over. Made close-on-exec and
    /// non-blocking by `pair`; what comes through execve(2) has to be made close-on-exec again.
    fn from(socket: OwnedFd) -> Self {
        Self::new(socket)
    }
}

impl<S, R> From<Channel<S, R>> for OwnedFd {
    fn from(channel: Channel<S, R>) -> Self {
        channel.socket
    }
}

impl<S, R> AsFd for Channel<S, R> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl<S, R> AsRawFd for Channel<S, R> {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl<S, R> fmt::Debug for Channel<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Channel")
            .field(&self.socket.as_raw_fd())
            .finish()
    }
}

/// Why a message did not go, or did not come.
#[derive(Debug)]
pub enum ChannelError {
    /// The other process does not read its messages. Try again later.
    Full,
    /// The other process has closed its end, or died.
    Closed,
    /// Something that is no message of this link; the link itself is unharmed.
    Envelope(EnvelopeError),
    /// The system's answer, recvmsg(2) and sendmsg(2).
    Io(io::Error),
}

impl fmt::Display for ChannelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("the other process does not read its messages"),
            Self::Closed => f.write_str("the other process has closed the link"),
            Self::Envelope(error) => error.fmt(f),
            Self::Io(error) => write!(f, "the link failed: {error}"),
        }
    }
}

impl std::error::Error for ChannelError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Envelope(error) => Some(error),
            Self::Io(error) => Some(error),
            Self::Full | Self::Closed => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;

    use super::*;

    fn open_fds() -> usize {
        std::fs::read_dir("/proc/self/fd").unwrap().count()
    }

    #[test]
    fn a_descriptor_arrives_alive_and_close_on_exec() {
        let (master, worker) = pair().unwrap();
        let (read, write) = nix::unistd::pipe().unwrap();
        let message = ToMaster::Listening {
            address: "127.0.0.1:1".into(),
            reuse_port: true,
            protocol: "text".into(),
        };
        worker.send(&message, Some(write.as_fd())).unwrap();
        drop(write);
        let Received::Message(received, Some(fd)) = master.recv().unwrap() else {
            panic!("the message did not come whole");
        };
        assert_eq!(received, message);
        let flags = nix::fcntl::fcntl(&fd, nix::fcntl::FcntlArg::F_GETFD).unwrap();
        assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
        nix::unistd::write(&fd, b"alive").unwrap();
        drop(fd);
        let mut text = String::new();
        File::from(read).read_to_string(&mut text).unwrap();
        assert_eq!(text, "alive");
    }

    #[test]
    fn what_a_process_said_before_it_died_is_still_heard() {
        let (master, worker) = pair().unwrap();
        master.send(&ToWorker::Stop, None).unwrap();
        worker
            .send(&ToMaster::boot_failed("no database"), None)
            .unwrap();
        // It dies with our message unread.
        drop(worker);
        assert!(matches!(
            master.recv(),
            Ok(Received::Message(ToMaster::BootFailed { .. }, None))
        ));
        assert!(matches!(master.recv(), Ok(Received::Closed)));
        assert!(matches!(
            master.send(&ToWorker::Stop, None),
            Err(ChannelError::Closed)
        ));
    }

    #[test]
    fn a_link_that_nobody_reads_is_full_and_never_blocks() {
        let (master, _worker) = pair().unwrap();
        let mut sent = 0;
        loop {
            match master.send(&ToWorker::Reload, None) {
                Ok(()) => sent += 1,
                Err(ChannelError::Full) => break,
                Err(error) => panic!("{error}"),
            }
        }
        assert!(sent > 10, "{sent}");
    }

    #[test]
    fn descriptors_that_nobody_asked_for_are_closed() {
        let (master, worker) = pair().unwrap();
        let (read, _write) = nix::unistd::pipe().unwrap();
        let frame = ToMaster::Ready.to_frame().unwrap();
        let before = open_fds();
        let many = [read.as_raw_fd(); 20];
        for (bytes, fds) in [(&frame[..], &many[..]), (b"no frame", &many[..1])] {
            sendmsg::<UnixAddr>(
                worker.as_raw_fd(),
                &[IoSlice::new(bytes)],
                &[ControlMessage::ScmRights(fds)],
                MsgFlags::empty(),
                None,
            )
            .unwrap();
        }
        assert!(matches!(
            master.recv(),
            Ok(Received::Message(ToMaster::Ready, Some(_)))
        ));
        assert!(matches!(
            master.recv(),
            Err(ChannelError::Envelope(EnvelopeError::NotAFrame))
        ));
        // The other tests of this process open and close descriptors too: only a leak of many would show here.
        assert!(open_fds() < before + 15);
    }

    #[test]
    fn waiting_ends_with_the_message_and_not_with_the_time() {
        let (master, worker) = pair().unwrap();
        let thread = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            worker.send(&ToMaster::Ready, None).unwrap();
            worker
        });
        let start = Instant::now();
        assert!(matches!(
            master.recv_within(Duration::from_secs(10)),
            Ok(Received::Message(ToMaster::Ready, None))
        ));
        assert!(start.elapsed() < Duration::from_secs(5));
        drop(thread.join());
        assert!(matches!(
            master.recv_within(Duration::from_secs(10)),
            Ok(Received::Closed)
        ));
    }
}
