//! What a router has to say for itself.

use std::fmt;
use std::time::Duration;

use crate::route::Process;
use crate::route::core::LinkId;
use crate::route::frame::FrameError;

/// Something that is worth a line in the log; its text is that line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CoreEvent {
    /// A process has said who it is; None is a local client.
    Joined {
        /// Its link.
        link: LinkId,
        /// Who.
        process: Option<Process>,
    },
    /// A link was closed by the other side.
    Left {
        /// Which.
        link: LinkId,
        /// Whose, if it is no client's.
        process: Option<Process>,
        /// Set if it was closed in the middle of a frame.
        reason: Option<Misuse>,
    },
    /// A link must be closed by the owner of its socket, after one attempt to write what is queued for it.
    Ended {
        /// Which.
        link: LinkId,
        /// Whose, if it is no client's.
        process: Option<Process>,
        /// Why.
        reason: Misuse,
    },
    /// Deliveries to a link are refused, because it is not read fast enough. Said once until its queue was empty.
    Full {
        /// Which.
        link: LinkId,
        /// Whose, if it is no client's.
        process: Option<Process>,
    },
    /// After a restart, all processes have said what they have, or have ended.
    Recovered {
        /// How long it took.
        after: Duration,
        /// How many uids there are.
        uids: usize,
    },
    /// After a restart, these have not come back in time. Pushes that may be for them have an unknown outcome.
    Missing {
        /// Who.
        processes: Vec<Process>,
    },
}

struct Who(Option<Process>);

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(process) => write!(f, "process {process}"),
            None => f.write_str("a client"),
        }
    }
}

impl fmt::Display for CoreEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Joined { process, .. } => write!(f, "{} has connected", Who(*process)),
            Self::Left {
                process, reason, ..
            } => {
                write!(f, "{} has left", Who(*process))?;
                reason.as_ref().map_or(Ok(()), |why| write!(f, ": {why}"))
            }
            Self::Ended {
                process, reason, ..
            } => write!(f, "{} is sent away: {reason}", Who(*process)),
            Self::Full { process, .. } => write!(
                f,
                "{} does not read fast enough, deliveries to it are refused",
                Who(*process)
            ),
            Self::Recovered { after, uids } => {
                write!(f, "the directory is complete after {after:?}, {uids} uids")
            }
            Self::Missing { processes } => {
                f.write_str("these processes have not come back:")?;
                processes
                    .iter()
                    .try_for_each(|process| write!(f, " {process}"))
            }
        }
    }
}

/// Why the router ends a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misuse {
    /// Bytes that are no frame.
    Frame(FrameError),
    /// The first frame was no `Hello` or `HelloClient`, or a second one followed.
    Hello,
    /// A link that was made for one process, and somebody else says hello on it.
    OtherProcess {
        /// Whose link it is.
        expected: Process,
        /// Who it is said to be; None is a client.
        said: Option<Process>,
    },
    /// A program that connected as a client says that it is this process of the hive.
    NotAProcess(Process),
    /// The process is of another start of the hive, or of another hive.
    OtherEpoch(u32),
    /// The process has ended, says the master.
    Ended(Process),
    /// The same process has made a new link.
    Replaced,
    /// A registration that only a worker process may make.
    NotAWorker,
    /// Anything but a snapshot before `Synced`, or a snapshot after it.
    Order,
    /// A registration number that is not larger than the one before.
    Sequence {
        /// What it was.
        got: u64,
        /// The one before.
        last: u64,
    },
    /// An empty or overlong uid, room, topic or reason; or too many.
    Name,
    /// More uids, rooms and topics than one process may have.
    TooManyNames(usize),
    /// A push that leaves out too many connections.
    TooManyExcluded(usize),
    /// The answer to another question.
    Answer,
    /// A delivery asked of the owners themselves.
    Query,
    /// It does not read: even what must be said does not fit any more.
    DoesNotRead,
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frame(error) => error.fmt(f),
            Self::Hello => f.write_str("a link begins with one hello"),
            Self::OtherProcess { expected, said } => write!(
                f,
                "the link was made for process {expected}, and {} says hello on it",
                Who(*said)
            ),
            Self::NotAProcess(said) => write!(
                f,
                "it says that it is process {said}, whose link comes from the master"
            ),
            Self::OtherEpoch(epoch) => write!(f, "the process is of another hive, {epoch:08x}"),
            Self::Ended(process) => write!(f, "process {process} has ended"),
            Self::Replaced => f.write_str("the process has made a new link"),
            Self::NotAWorker => f.write_str("only a worker process has connections"),
            Self::Order => f.write_str("a snapshot comes once, and first"),
            Self::Sequence { got, last } => {
                write!(f, "registration {got} came after {last}")
            }
            Self::Name => f.write_str("a name is empty or too long, or there are too many"),
            Self::TooManyNames(limit) => {
                write!(f, "one process may have {limit} uids, rooms and topics")
            }
            Self::TooManyExcluded(count) => {
                write!(f, "a push cannot leave out {count} connections")
            }
            Self::Answer => f.write_str("the answer is to another question"),
            Self::Query => f.write_str("no such question is answered"),
            Self::DoesNotRead => f.write_str("it does not read what it is sent"),
        }
    }
}

impl std::error::Error for Misuse {}

/// A worker process that is connected to a router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connected {
    /// Who.
    pub process: Process,
    /// Uids with a connection there.
    pub uids: usize,
    /// Rooms with a member there.
    pub rooms: usize,
    /// Bytes that wait to be written to it.
    pub queued: usize,
    /// Deliveries to it that were refused, because too many waited.
    pub refused: u64,
}

/// What a router has done and refused since it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CoreCounters {
    /// Pushes that came in.
    pub pushes: u64,
    /// Deliveries queued on links, or kept for a process to come back.
    pub deliveries: u64,
    /// Of them, those to processes that had not said yet what they have.
    pub probes: u64,
    /// Frames refused because a link's queue was full.
    pub refused: u64,
    /// Outcomes and answers with an unknown part.
    pub unknown: u64,
    /// Pushes refused because too many waited for their outcome.
    pub unrouted: u64,
    /// Rows removed because their owner did not know of them.
    pub stale_routes: u64,
    /// Connections told to close because another one has their uid now.
    pub kicks: u64,
    /// Links ended for misuse.
    pub ended: u64,
    /// Pushes whose outcome is waited for at the moment.
    pub waiting: u64,
}
