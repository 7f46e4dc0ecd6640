//! What the master hands to a new process: its place in the hive, its listeners, its link to the master.

use std::fmt;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use workhive_ipc::{Row, WorkerEnd, route};

use crate::Address;
use crate::running::Running;

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

/// How a process is run by whoever began it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hosting {
    /// SIGTERM and SIGQUIT are caught here, and end the process gracefully; otherwise the host handles them.
    pub signals: bool,
    /// The host waits in a loop of its own and calls when [`Running::poll_fd`] is readable.
    pub nested: bool,
}

impl Default for Hosting {
    fn default() -> Self {
        Self {
            signals: true,
            nested: false,
        }
    }
}

type Begin = Rc<dyn Fn(Seat, Hosting) -> Result<Running, u8>>;

/// What a process of a group does, from its first instruction after the fork to its exit code.
#[derive(Clone)]
pub struct Program {
    protocol: &'static str,
    begin: Begin,
}

impl Program {
    /// A program of its own making: `run` is called in the new process and returns its exit code.
    pub fn new(protocol: &'static str, run: impl Fn(Seat) -> u8 + 'static) -> Self {
        Self::of_turns(protocol, move |seat, _| Err(run(seat)))
    }

    /// One that goes turn by turn.
    pub(crate) fn of_turns(
        protocol: &'static str,
        begin: impl Fn(Seat, Hosting) -> Result<Running, u8> + 'static,
    ) -> Self {
        Self {
            protocol,
            begin: Rc::new(begin),
        }
    }

    /// The protocol of the group's own listener, for tables.
    pub fn protocol(&self) -> &'static str {
        self.protocol
    }

    /// Runs the process to its end. 0: a clean end. 1: it could not start; the master was told why.
    pub fn run(&self, seat: Seat) -> u8 {
        match self.begin(seat, Hosting::default()) {
            Ok(mut running) => {
                while !running.turn(None) {}
                running.finish()
            }
            Err(code) => code,
        }
    }

    /// Begins the process without running it, for a host that has a loop of its own: it calls
    /// [`turn`](Running::turn), again and again.
    ///
    /// # Errors
    /// The exit code of a process that could not begin, of which the master knows why, or that has run already: programs
    /// [of one's own making](Self::new) have no turns.
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; pub use workhive_worker::*; }
    /// use workhive::{Hosting, Program, Seat};
    ///
    /// /// In the new process: returns its exit code.
    /// fn host(program: &Program, seat: Seat) -> u8 {
    ///     let nested = Hosting { nested: true, ..Hosting::default() };
    ///     match program.begin(seat, nested) {
    ///         Ok(mut running) => {
    ///             let fd = running.poll_fd();
    ///             // The host's loop waits for `fd` and for what is its own.
    ///             while !running.turn(None) {}
    ///             running.finish()
    ///         }
    ///         Err(code) => code,
    ///     }
    /// }
    /// ```
    pub fn begin(&self, seat: Seat, hosting: Hosting) -> Result<Running, u8> {
        (self.begin)(seat, hosting)
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program")
            .field("protocol", &self.protocol)
            .finish_non_exhaustive()
    }
}
