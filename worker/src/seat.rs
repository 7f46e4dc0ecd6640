//! What the master hands to a new process: its place in the hive, its listeners, its link to the master.

use std::fmt;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use workhive_ipc::{Row, WorkerEnd, route};

use crate::Address;

/// Which process of the hive this is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The group's name.
    pub group: String,
    /// Which of the group's `count` places, from 0.
    pub slot: u16,
    /// How often the place has been filled before.
    pub generation: u32,
    /// How many places the group has.
    pub count: u16,
    /// Its name in routing; part of every connection id.
    pub process: route::Process,
    /// True if this is the only worker process of the hive: routing by uid then happens inside it.
    pub alone: bool,
}

impl Place {
    /// The group's name.
    pub fn group(&self) -> &str {
        &self.group
    }

    /// Which of the group's `count` places this process fills, from 0.
    pub fn slot(&self) -> usize {
        usize::from(self.slot)
    }

    /// How many processes the group has.
    pub fn count(&self) -> usize {
        usize::from(self.count)
    }

    /// How often the place had been filled before this process.
    pub fn generation(&self) -> u32 {
        self.generation
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.group, self.slot)
    }
}

/// A listening socket that the master bound and this process accepts from.
#[derive(Debug)]
pub struct Inherited {
    /// The listening socket, non-blocking and close-on-exec.
    pub socket: OwnedFd,
    /// Where it listens.
    pub address: Address,
    /// True if other processes accept from the same socket.
    pub shared: bool,
}

/// All that a process needs to begin its work.
#[derive(Debug)]
pub struct Seat {
    /// Which process this is.
    pub place: Place,
    /// The group's own listener, where it has an address.
    pub listener: Option<Inherited>,
    /// The link to the master. Its end of file means that the master has died.
    pub control: WorkerEnd,
    /// This slot's row on the stats page.
    pub row: Row,
    /// How long a drain may take when nobody says otherwise (the master died, or the process got SIGTERM).
    pub drain: Duration,
    /// After which time in one turn the loop counts as stuck.
    pub stuck: Duration,
    /// Where programs of this machine reach the router: a listening Unix socket, non-blocking and close-on-exec. For
    /// the process that has the router in it, and no other.
    pub clients: Option<OwnedFd>,
}

/// What a process of a group does, from its first instruction after the fork to its exit code.
#[derive(Clone)]
pub struct Program {
    pub(crate) protocol: &'static str,
    pub(crate) run: Rc<dyn Fn(Seat) -> u8>,
}

impl Program {
    /// A program of its own making: `run` is called in the new process and returns its exit code.
    pub fn new(protocol: &'static str, run: impl Fn(Seat) -> u8 + 'static) -> Self {
        Self {
            protocol,
            run: Rc::new(run),
        }
    }

    /// The protocol of the group's own listener, for tables.
    pub fn protocol(&self) -> &'static str {
        self.protocol
    }

    /// Runs the process to its end. 0: a clean end. 1: it could not start; the master was told why.
    pub fn run(&self, seat: Seat) -> u8 {
        (self.run)(seat)
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program")
            .field("protocol", &self.protocol)
            .finish_non_exhaustive()
    }
}
