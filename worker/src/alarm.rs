//! What wakes a host that waits for the loop in a loop of its own: a timer of the kernel's beside the sockets.

use std::io;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Interest, Poll, Token};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use std::os::fd::AsFd;

/// A host's alarm clock. It may ring too early, never too late.
pub(crate) struct Alarm {
    timer: TimerFd,
    /// When it will ring, if it is set.
    set: Option<Instant>,
}

impl Alarm {
    pub(crate) fn new(poll: &Poll, token: Token) -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        let fd = timer.as_fd().as_raw_fd();
        poll.registry()
            .register(&mut SourceFd(&fd), token, Interest::READABLE)?;
        Ok(Self { timer, set: None })
    }

    /// Sees to it that it rings at `at`, or before. Costs a system call only when it would ring too late otherwise.
    pub(crate) fn set(&mut self, now: Instant, at: Instant) -> io::Result<()> {
        if self.set.is_some_and(|set| set <= at) {
            return Ok(());
        }
        // Zero would switch it off (timerfd_settime(2)).
        let left = at
            .saturating_duration_since(now)
            .max(Duration::from_nanos(1));
        self.timer.set(
            Expiration::OneShot(TimeSpec::from_duration(left)),
            TimerSetTimeFlags::empty(),
        )?;
        self.set = Some(at);
        Ok(())
    }

    /// It has rung. Nothing is read: setting it again clears it (`timerfd_create(2)`).
    pub(crate) fn has_rung(&mut self) {
        self.set = None;
    }
}
