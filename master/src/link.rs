//! The master's end of the link to one process, and what that process has not taken yet.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use workhive_ipc::{Channel, ChannelError, Control, Received, ToMaster, ToWorker};

use crate::master::{Master, Timer};
use crate::slot::{Phase, ProcessId};

/// Most messages that wait for one process. Each was sent for a reason that does not come often: with so many, the
/// process has not read for a very long time.
const MAX_WAITING: usize = 16 * 1024;

/// How soon a link that was full is tried again: at first, and at the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(256);

/// The link to one process. What does not fit into it now waits here: the master itself never waits, and nothing that
/// it sends is lost while the process lives.
#[derive(Debug)]
pub(crate) struct Link<S = ToWorker, R = ToMaster> {
    end: Channel<S, R>,
    waiting: VecDeque<(S, Option<OwnedFd>)>,
    pause: Duration,
    /// A timer for the next attempt is under way.
    timed: bool,
}

/// What became of a message.
#[derive(Debug)]
pub(crate) enum Sent {
    /// It is on its way, or waits behind others for which an attempt is due already.
    Done,
    /// It waits; to be tried again after this time.
    Later(Duration),
}

impl<S: Control, R: Control> Link<S, R> {
    pub(crate) fn new(end: Channel<S, R>) -> Self {
        Self {
            end,
            waiting: VecDeque::new(),
            pause: FIRST_PAUSE,
            timed: false,
        }
    }

    /// The next message of the process, if one is there.
    pub(crate) fn recv(&self) -> Result<Received<R>, ChannelError> {
        self.end.recv()
    }

    /// Sends a message, behind those that wait, and lets go of `fd`. An error means that it will never arrive.
    pub(crate) fn send(&mut self, message: S, fd: Option<OwnedFd>) -> Result<Sent, ChannelError> {
        if self.waiting.is_empty() {
            match self.end.send(&message, fd.as_ref().map(AsFd::as_fd)) {
                Ok(()) => return Ok(Sent::Done),
                Err(ChannelError::Full) => {}
                Err(error) => return Err(error),
            }
        }
        if self.waiting.len() >= MAX_WAITING {
            return Err(ChannelError::Full);
        }
        self.waiting.push_back((message, fd));
        Ok(self.later())
    }

    /// Tries what waits again.
    pub(crate) fn retry(&mut self) -> Result<Sent, ChannelError> {
        self.timed = false;
        while let Some((message, fd)) = self.waiting.front() {
            match self.end.send(message, fd.as_ref().map(AsFd::as_fd)) {
                Ok(()) => {
                    self.waiting.pop_front();
                    self.pause = FIRST_PAUSE;
                }
                Err(ChannelError::Full) => return Ok(self.later()),
                Err(error) => return Err(error),
            }
        }
        Ok(Sent::Done)
    }

    /// Takes back messages that wait and have no use any more.
    pub(crate) fn take_back(&mut self, useless: impl Fn(&S) -> bool) {
        self.waiting.retain(|(message, _)| !useless(message));
    }

    /// True if a message like this one waits.
    pub(crate) fn has_waiting(&self, like: impl Fn(&S) -> bool) -> bool {
        self.waiting.iter().any(|(message, _)| like(message))
    }

    fn later(&mut self) -> Sent {
        if std::mem::replace(&mut self.timed, true) {
            return Sent::Done;
        }
        let pause = self.pause;
        self.pause = (pause * 2).min(LONGEST_PAUSE);
        Sent::Later(pause)
    }
}

impl<S, R> AsRawFd for Link<S, R> {
    fn as_raw_fd(&self) -> RawFd {
        self.end.as_raw_fd()
    }
}

impl Master {
    /// Sends a message to a process, now or as soon as it takes it; false if it never will.
    pub(crate) fn send(&mut self, id: ProcessId, message: ToWorker, fd: Option<OwnedFd>) -> bool {
        let Some(process) = self.processes.get_mut(&id) else {
            return false;
        };
        if process.phase == Phase::Ended {
            return false;
        }
        let Some(link) = &mut process.link else {
            return false;
        };
        let sent = link.send(message, fd);
        self.sent(id, sent)
    }

    /// It is time to try again what a process did not take.
    pub(crate) fn resend(&mut self, id: ProcessId) {
        self.resend_to_successor(id);
        self.resend_to_predecessor(id);
        if let Some(process) = self.processes.get_mut(&id)
            && let Some(link) = &mut process.link
        {
            let sent = link.retry();
            self.sent(id, sent);
        }
    }

    fn sent(&mut self, id: ProcessId, sent: Result<Sent, ChannelError>) -> bool {
        match sent {
            Ok(Sent::Done) => true,
            Ok(Sent::Later(pause)) => {
                self.timers.at(Instant::now() + pause, Timer::Resend(id));
                true
            }
            // It is ending, and its descriptor will tell.
            Err(ChannelError::Closed) => false,
            Err(error) => {
                // A process that misses one word of the master is not what the master believes it to be.
                let process = &self.processes[&id];
                log::error!(
                    "{}: pid {} cannot be told what to do and is killed: {error}",
                    self.place(process.slot),
                    process.pid
                );
                self.kill(id);
                false
            }
        }
    }

    /// Takes back what a process has not taken yet and what has no use any more.
    pub(crate) fn take_back(&mut self, id: ProcessId, useless: impl Fn(&ToWorker) -> bool) {
        if let Some(process) = self.processes.get_mut(&id)
            && let Some(link) = &mut process.link
        {
            link.take_back(useless);
        }
    }
}

/// Two ends of a stream between two processes, non-blocking and close-on-exec.
pub(crate) fn stream() -> io::Result<(OwnedFd, OwnedFd)> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    Ok(socketpair(
        AddressFamily::Unix,
        SockType::Stream,
        None,
        flags,
    )?)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use workhive_ipc::{WorkerEnd, pair};

    use super::*;

    fn link() -> (Link, WorkerEnd) {
        let (master, worker) = pair().unwrap();
        (Link::new(master), worker)
    }

    fn drain(window_ms: u32) -> ToWorker {
        ToWorker::Drain { window_ms }
    }

    /// Sends numbered messages until one has to wait; how many that were.
    fn fill(link: &mut Link) -> u32 {
        for number in 0.. {
            if let Sent::Later(pause) = link.send(drain(number), None).unwrap() {
                assert_eq!(pause, FIRST_PAUSE);
                return number + 1;
            }
        }
        unreachable!()
    }

    fn number(end: &WorkerEnd) -> Option<u32> {
        match end.recv().unwrap() {
            Received::Message(ToWorker::Drain { window_ms }, _) => Some(window_ms),
            Received::Empty => None,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_does_not_fit_waits_and_arrives_in_order() {
        let (mut link, worker) = link();
        let mut sent = fill(&mut link);
        for _ in 0..10 {
            assert!(matches!(link.send(drain(sent), None).unwrap(), Sent::Done));
            sent += 1;
        }
        // One attempt at a time, each after a longer pause.
        for factor in [2, 4, 8] {
            match link.retry().unwrap() {
                Sent::Later(pause) => assert_eq!(pause, FIRST_PAUSE * factor),
                Sent::Done => panic!("nobody has read"),
            }
        }
        for expected in 0..sent {
            if number(&worker).is_some_and(|number| {
                assert_eq!(number, expected);
                true
            }) {
                continue;
            }
            assert!(matches!(link.retry().unwrap(), Sent::Done));
            assert_eq!(number(&worker), Some(expected));
        }
        assert_eq!(number(&worker), None);
    }

    #[test]
    fn a_descriptor_waits_with_its_message() {
        let (mut link, worker) = link();
        let sent = fill(&mut link);
        let (here, there) = stream().unwrap();
        link.send(ToWorker::Router, Some(there)).unwrap();
        for _ in 0..sent {
            number(&worker);
        }
        link.retry().unwrap();
        let last = loop {
            match worker.recv().unwrap() {
                Received::Message(ToWorker::Router, fd) => break fd.unwrap(),
                Received::Message(..) => {}
                other => panic!("{other:?}"),
            }
        };
        UnixStream::from(last).write_all(b"alive").unwrap();
        let mut text = String::new();
        UnixStream::from(here).read_to_string(&mut text).unwrap();
        assert_eq!(text, "alive");
    }

    #[test]
    fn a_message_that_is_taken_back_closes_its_descriptor() {
        let (mut link, _worker) = link();
        fill(&mut link);
        let (here, there) = stream().unwrap();
        link.send(ToWorker::Router, Some(there)).unwrap();
        let is_router = |message: &ToWorker| *message == ToWorker::Router;
        assert!(link.has_waiting(is_router));
        link.take_back(is_router);
        assert!(!link.has_waiting(is_router));
        assert_eq!(UnixStream::from(here).read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn a_process_that_never_reads_does_not_fill_the_memory() {
        let (mut link, _worker) = link();
        let mut waiting = 0;
        loop {
            match link.send(ToWorker::Reload, None) {
                Ok(_) => waiting += 1,
                Err(ChannelError::Full) => break,
                Err(error) => panic!("{error}"),
            }
            assert!(waiting < 2 * MAX_WAITING);
        }
        assert!(waiting >= MAX_WAITING);
    }

    #[test]
    fn a_dead_process_is_told_nothing() {
        let (mut link, worker) = link();
        fill(&mut link);
        drop(worker);
        assert!(link.retry().is_err());
        let (master, worker) = pair().unwrap();
        drop(worker);
        assert!(Link::new(master).send(ToWorker::Stop, None).is_err());
    }
}
