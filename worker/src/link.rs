//! This process's link to the master.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use workhive_ipc::route::Process;
use workhive_ipc::{ListenOutcome, Received, ToMaster, ToWorker, WorkerEnd};

use crate::Address;
use crate::error::ListenError;

/// How long the master may take to answer a request for a listener. It never blocks, so it takes microseconds,
/// unless it is stopped.
const ANSWER: Duration = Duration::from_secs(5);

pub(crate) struct Link {
    end: WorkerEnd,
    /// What came while we waited for something else.
    early: VecDeque<(ToWorker, Option<OwnedFd>)>,
    next_id: u32,
    /// The application has asked for the end of this process.
    pub(crate) stop_requested: bool,
    closed: bool,
    /// The end of the link was seen while waiting for an answer, and nobody has been told yet.
    ended_early: bool,
}

/// What the master wants.
#[derive(Debug)]
pub(crate) enum Order {
    Stop,
    Drain(Duration),
    Reload,
    /// This is the stream to the router from now on.
    Router(OwnedFd),
    /// Accept from this socket too, as from the listener at this address.
    AcceptFrom {
        id: u32,
        address: String,
        socket: OwnedFd,
    },
    /// No longer.
    AcceptNoMore(u32),
    /// The connections from this number on.
    ListConnections {
        id: u32,
        from: u64,
    },
    /// Look whether connections wait at shared sockets.
    Look,
    /// For the router: these live, and may have connections.
    Expect(Vec<Process>),
    /// For the router: the stream to a process.
    Adopt(Process, OwnedFd),
    /// For the router: a process has ended.
    Ended(Process),
    /// The master has died.
    Orphaned,
}

impl Link {
    pub(crate) fn new(end: WorkerEnd) -> Self {
        Self {
            end,
            early: VecDeque::new(),
            next_id: 0,
            stop_requested: false,
            closed: false,
            ended_early: false,
        }
    }

    /// True if orders wait that came while we waited for something else, or the end of the link did. The kernel does
    /// not tell us of them again.
    pub(crate) fn has_early(&self) -> bool {
        !self.early.is_empty() || self.ended_early
    }

    /// Tells the master something. Failure means that it is gone, which the end of file will say too.
    pub(crate) fn tell(&self, message: &ToMaster) {
        if let Err(error) = self.end.send(message, None) {
            log::debug!("the master could not be told {message:?}: {error}");
        }
    }

    /// Tells the master of an open listener; a new socket goes along in duplicate, for this slot's next process.
    pub(crate) fn announce(&self, listening: &ToMaster, socket: Option<&OwnedFd>) {
        if let Err(error) = self.end.send(listening, socket.map(AsFd::as_fd)) {
            log::warn!("the master does not know of a listener ({listening:?}): {error}");
        }
    }

    /// The next order, without waiting.
    pub(crate) fn next(&mut self) -> Option<Order> {
        loop {
            let (message, fd) = match self.early.pop_front() {
                Some(early) => early,
                None if std::mem::take(&mut self.ended_early) => {
                    self.closed = true;
                    return Some(Order::Orphaned);
                }
                None if self.closed => return None,
                None => match self.end.recv() {
                    Ok(Received::Message(message, fd)) => (message, fd),
                    Ok(Received::Empty) => return None,
                    Ok(Received::Closed) => {
                        self.closed = true;
                        return Some(Order::Orphaned);
                    }
                    Err(error) => {
                        log::error!("the link to the master is broken: {error}");
                        self.closed = true;
                        return Some(Order::Orphaned);
                    }
                },
            };
            match message {
                ToWorker::Stop => return Some(Order::Stop),
                ToWorker::Drain { window_ms } => {
                    return Some(Order::Drain(Duration::from_millis(u64::from(window_ms))));
                }
                ToWorker::Reload => return Some(Order::Reload),
                ToWorker::Listener { id, .. } => {
                    // An answer that came after we had given up on it: its socket is closed here.
                    log::debug!("a late answer to request {id} is dropped");
                }
                ToWorker::Router => match fd {
                    Some(fd) => return Some(Order::Router(fd)),
                    None => lost("the stream to the router"),
                },
                ToWorker::Expect { processes } => return Some(Order::Expect(processes)),
                ToWorker::Link { process } => match fd {
                    Some(fd) => return Some(Order::Adopt(process, fd)),
                    None => lost("the stream to a process"),
                },
                ToWorker::Look => return Some(Order::Look),
                ToWorker::Ended { process } => return Some(Order::Ended(process)),
                ToWorker::AcceptFrom { id, address } => match fd {
                    Some(socket) => {
                        return Some(Order::AcceptFrom {
                            id,
                            address,
                            socket,
                        });
                    }
                    None => lost("another process's socket"),
                },
                ToWorker::AcceptNoMore { id } => return Some(Order::AcceptNoMore(id)),
                ToWorker::ListConnections { id, from } => {
                    return Some(Order::ListConnections { id, from });
                }
            }
        }
    }

    /// Asks for the hive's shared socket at an address.
    pub(crate) fn shared(
        &mut self,
        address: &Address,
        backlog: u32,
    ) -> Result<OwnedFd, ListenError> {
        let id = self.id();
        let request = ToMaster::RequestShared {
            id,
            address: address.to_string(),
            backlog,
        };
        self.request(&request, id, address)?
            .ok_or_else(|| no_master(address, "it has no socket for this address".to_owned()))
    }

    /// Asks for the socket that this slot's previous process had at an address.
    pub(crate) fn kept(&mut self, address: &Address) -> Result<Option<OwnedFd>, ListenError> {
        let id = self.id();
        let request = ToMaster::RequestKept {
            id,
            address: address.to_string(),
        };
        self.request(&request, id, address)
    }

    fn id(&mut self) -> u32 {
        self.next_id = self.next_id.wrapping_add(1);
        self.next_id
    }

    fn request(
        &mut self,
        request: &ToMaster,
        id: u32,
        address: &Address,
    ) -> Result<Option<OwnedFd>, ListenError> {
        self.end
            .send(request, None)
            .map_err(|error| no_master(address, error.to_string()))?;
        let deadline = Instant::now() + ANSWER;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.end.recv_within(left) {
                Ok(Received::Message(
                    ToWorker::Listener {
                        id: answered,
                        outcome,
                    },
                    socket,
                )) if answered == id => {
                    return match outcome {
                        ListenOutcome::Granted => Ok(socket),
                        ListenOutcome::NotKept => Ok(None),
                        ListenOutcome::Refused { errno } => Err(ListenError::Os {
                            address: address.clone(),
                            error: io::Error::from_raw_os_error(errno),
                        }),
                    };
                }
                Ok(Received::Message(message, fd)) => self.early.push_back((message, fd)),
                Ok(Received::Empty) if !left.is_zero() => {}
                Ok(Received::Empty) => {
                    return Err(no_master(address, format!("none within {ANSWER:?}")));
                }
                Ok(Received::Closed) => {
                    self.ended_early = !self.closed;
                    return Err(no_master(address, "it has died".to_owned()));
                }
                Err(error) => return Err(no_master(address, error.to_string())),
            }
        }
    }
}

/// The system drops descriptors that a process has no room for (unix(7)).
fn lost(what: &str) {
    log::error!(
        "{what} came without its descriptor: this process has as many open as it may (RLIMIT_NOFILE)"
    );
}

fn no_master(address: &Address, why: String) -> ListenError {
    ListenError::NoMaster {
        address: address.clone(),
        why,
    }
}
