//! The master's loop: one thread, one decision per wake-up.
//!
//! Nothing in here waits for anything but the one poll: not for a child, not for a client of the control socket, not
//! for time to pass. Whatever a child does or sends, the master goes on.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use workhive_ipc::StatsPage;

use crate::backoff::random;
use crate::child::ChildSeed;
use crate::connections::Listings;
use crate::control::{ClientId, ControlServer};
use crate::daemon::Word;
use crate::error::StartError;
use crate::exec::Invocation;
use crate::foreign::Notices;
use crate::handed::Handed;
use crate::hosted::Home;
use crate::identity::Identity;
use crate::lend::Loans;
use crate::notify::Notifier;
use crate::pidfile::PidFile;
use crate::reload::{OLD, Reload};
use crate::router::Routing;
use crate::scale::{MAX_SLOTS, Scaling};
use crate::shared::Shared;
use crate::signals::{Signals, restore_children};
use crate::slot::{Process, ProcessId, Running, Slot, SlotId};
use crate::succession::Succession;
use crate::sys;
use crate::timers::Timers;

pub(crate) const SIGNALS: Token = Token(0);
pub(crate) const CONTROL: Token = Token(1);
/// Processes and clients have ids from here on.
const FIRST_ID: usize = 8;
/// Tokens of each.
const TOKENS: usize = 3;
const END: usize = 0;
const LINK: usize = 1;
const OUTPUT: usize = 2;
/// Signals that are not caught, but read.
pub(crate) const HELD: Token = Token(2);
/// What programs that know nothing of us say about themselves.
pub(crate) const NOTICES: Token = Token(3);
/// Something is due.
const ALARM: Token = Token(4);
const _: () = assert!(FIRST_ID * TOKENS > ALARM.0);

/// The token for the end of a process, and for a client.
pub(crate) fn end_of(id: usize) -> usize {
    id * TOKENS + END
}

/// For what a process says to us.
pub(crate) fn link_of(id: usize) -> usize {
    id * TOKENS + LINK
}

/// For what it prints.
pub(crate) fn output_of(id: usize) -> usize {
    id * TOKENS + OUTPUT
}

/// Events taken in one turn.
pub(crate) const EVENTS: usize = 64;

/// How the loop was left.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// In a new process: go and be it.
    Child(Box<ChildSeed>, Home),
    /// In the master: all children are gone. If it never was ready, the starter still waits for a word.
    Ended(Result<(), StartError>, Option<Word>),
}

/// What is to be done later.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Timer {
    /// The slot's backoff is over.
    Respawn(SlotId),
    /// The process has had its time to become ready.
    Boot(ProcessId),
    /// The process has had its time to end.
    Kill(ProcessId),
    /// The process was told to go before it was ready.
    Late(ProcessId),
    /// The client has had its time to say what it wants, and to take the answer.
    Client(ClientId),
    /// Time to try again what the process did not take.
    Resend(ProcessId),
    /// Time to try again to make a stream between the process and the router.
    Connect(ProcessId),
    /// A process has had its time to say which connections it has.
    Listing(ClientId),
    /// Time to look whether the rest of a program's processes has finished.
    Group(ProcessId),
    /// A program that does not say when it is ready has lived for a while.
    Alive(ProcessId),
    /// The master that is to take this one's place has had its time.
    Succession(usize),
    /// Those who were replaced have had their time to say that they drain.
    Heard,
    /// Time to look for stuck processes.
    Watch,
    /// Time to give the service manager a sign of life.
    Ping,
    /// Time to tell it again what it did not take.
    Notify,
}

/// An order for a new process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Order {
    pub(crate) slot: SlotId,
    /// Beside the current process, to take over from it when it is ready.
    pub(crate) beside: bool,
}

/// What the hive as a whole is at.
#[derive(Debug)]
pub(crate) enum Mood {
    Starting,
    Running,
    /// Ending. With the reason, if it was not asked for.
    Stopping {
        graceful: bool,
        reason: Option<StartError>,
    },
}

/// Everything that the master needs and that was made before its loop.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) home: Home,
    pub(crate) identity: Identity,
    pub(crate) pid_file: PidFile,
    pub(crate) groups: Vec<Running>,
    pub(crate) control: ControlServer,
    pub(crate) routing: Routing,
    pub(crate) notices: Option<Notices>,
    pub(crate) notifier: Notifier,
    pub(crate) invocation: Invocation,
    pub(crate) handed: Handed,
}

impl Setup {
    pub(crate) fn with(self, handed: Handed) -> Self {
        Self { handed, ..self }
    }
}

/// The supervisor of one hive.
///
/// A forked child drops it too: every destructor in here must be one that only closes when it runs in a process that
/// did not open.
pub(crate) struct Master {
    // The order of fields is the order of dropping: the pid file's lock goes last, so that nobody can start while
    // something of this hive is left.
    pub(crate) poll: Poll,
    /// None if they are left to the host.
    pub(crate) signals: Option<Signals>,
    /// Wakes the loop of a host when something is due.
    alarm: Option<TimerFd>,
    pub(crate) control: ControlServer,
    pub(crate) processes: BTreeMap<ProcessId, Process>,
    pub(crate) groups: Vec<Running>,
    pub(crate) shared: Shared,
    pub(crate) loans: Loans,
    pub(crate) routing: Routing,
    pub(crate) notices: Option<Notices>,
    pub(crate) notifier: Notifier,
    /// The soft limit of descriptors that this program was started with.
    pub(crate) usual_descriptors: Option<u64>,
    /// How this program is started anew.
    pub(crate) invocation: Invocation,
    pub(crate) page: StatsPage,
    /// Rows of the stats page that no process has any more, and the first that none has had yet.
    pub(crate) free_rows: VecDeque<usize>,
    pub(crate) fresh_row: usize,
    pub(crate) timers: Timers<Timer>,
    pub(crate) orders: VecDeque<Order>,
    pub(crate) reload: Reload,
    pub(crate) scaling: Scaling,
    pub(crate) listings: Listings,
    pub(crate) mood: Mood,
    pub(crate) next_id: usize,
    pub(crate) epoch: u32,
    pub(crate) started: Instant,
    pub(crate) started_at: u64,
    /// The starter that waits for us, if we are a daemon.
    pub(crate) word: Option<Word>,
    pub(crate) identity: Identity,
    /// True if strangers' orphans become our children.
    pub(crate) init: bool,
    pub(crate) watched: Option<Instant>,
    pub(crate) succession: Succession,
    /// What nobody has claimed is closed when this master is in charge.
    pub(crate) handed: Handed,
    /// Gives the host its signals back, after ours are gone.
    pub(crate) home: Home,
    pub(crate) pid_file: PidFile,
}

/// Rows for each slot: the serving process, its successor, those that drain, and two that left by themselves.
pub(crate) const ROWS_PER_SLOT: usize = OLD + 4;

impl Master {
    pub(crate) fn new(setup: Setup) -> Result<Self, StartError> {
        let Setup {
            home,
            identity,
            pid_file,
            groups,
            mut control,
            routing,
            notices,
            notifier,
            invocation,
            mut handed,
        } = setup;
        let poll = Poll::new().map_err(StartError::system("make an epoll instance"))?;
        // A host waits for its own children, and those that nobody waits for are whosever it wants them to be.
        let init = std::process::id() == 1 && !home.is_hosted();
        restore_children()?;
        let handles_signals = home.master_handles_signals();
        let mut signals = handles_signals
            .then(|| Signals::catch(init, home.is_hosted()))
            .transpose()?;
        // Two descriptors for each process, and the listeners.
        let usual_descriptors = sys::raise_descriptors()
            .inspect_err(|error| log::warn!("cannot raise the limit of open descriptors: {error}"))
            .ok();
        let estate = handed.estate.take();
        if estate.is_none() {
            // What no group wants of a service manager's sockets stays its own. A predecessor's wait for the outcome.
            handed = Handed::default();
            control
                .register(poll.registry(), CONTROL)
                .map_err(StartError::system("poll the control socket"))?;
        }
        if let Some(signals) = &mut signals {
            signals
                .register(poll.registry())
                .map_err(StartError::system("poll for signals"))?;
        }
        let alarm = home
            .is_nested()
            .then(|| alarm(&poll))
            .transpose()
            .map_err(StartError::system("make a timer"))?;
        if let Some(notices) = &notices {
            poll.registry()
                .register(
                    &mut SourceFd(&notices.as_raw_fd()),
                    NOTICES,
                    Interest::READABLE,
                )
                .map_err(StartError::system("poll for notices"))?;
        }
        let slots: usize = groups.iter().map(|group| group.slots.len()).sum();
        // Room for more; and the router, which may come later.
        let page = StatsPage::new((slots.max(MAX_SLOTS) + 1) * ROWS_PER_SLOT)
            .map_err(StartError::system("make the stats page"))?;
        let orders = first_orders(&groups, &routing);
        let mut master = Self {
            poll,
            signals,
            alarm,
            control,
            processes: BTreeMap::new(),
            groups,
            shared: Shared::default(),
            loans: Loans::default(),
            routing,
            notices,
            notifier,
            invocation,
            usual_descriptors,
            free_rows: VecDeque::new(),
            fresh_row: 0,
            page,
            timers: Timers::new(),
            orders,
            reload: Reload::default(),
            scaling: Scaling::default(),
            listings: Listings::default(),
            mood: Mood::Starting,
            next_id: FIRST_ID,
            // The upper half of the number is as good as the lower one.
            epoch: u32::try_from(random() >> 32).unwrap_or(0),
            started: Instant::now(),
            started_at: crate::clock::unix_ms(),
            word: None,
            identity,
            init,
            watched: None,
            succession: Succession::default(),
            handed,
            home,
            pid_file,
        };
        if let Some(mut estate) = estate {
            master.inherit(&mut estate);
            master.succeed(estate)?;
        }
        master.watch_later();
        master.ping_later();
        Ok(master)
    }

    /// Runs the hive to its end. Also returns, in every process that it forks, with that process's seed: the master
    /// is dropped in the child then.
    pub(crate) fn run(mut self) -> Outcome {
        let mut events = Events::with_capacity(EVENTS);
        loop {
            if let Some(outcome) = self.settle() {
                return outcome;
            }
            self.turn(&mut events, None);
        }
    }

    /// Does what is to be done before the next wait: new processes, above all. Some if that was the end.
    pub(crate) fn settle(&mut self) -> Option<Outcome> {
        while let Some(order) = self.orders.pop_front() {
            if let Some(seed) = self.spawn(order) {
                return Some(Outcome::Child(seed, std::mem::take(&mut self.home)));
            }
        }
        let ended = self.ended()?;
        Some(Outcome::Ended(ended, self.word.take()))
    }

    /// Waits until there is something to do, at the most for `limit`, and does it.
    pub(crate) fn turn(&mut self, events: &mut Events, limit: Option<Duration>) {
        let due = self.timers.wait(Instant::now());
        let wait = match (due, limit) {
            (Some(due), Some(limit)) => Some(due.min(limit)),
            (due, limit) => due.or(limit),
        };
        match self.poll.poll(events, wait) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return,
            Err(error) => {
                // Cannot happen with a valid epoll instance (epoll_wait(2)). Without events there is no hive.
                self.fail(StartError::System {
                    what: "wait for events",
                    error,
                });
                events.clear();
            }
        }
        for event in &*events {
            match event.token() {
                SIGNALS | HELD => self.on_signals(),
                CONTROL => self.on_clients(),
                NOTICES => self.on_notices(),
                // What is due is looked for below.
                ALARM => {}
                Token(token) => match (token / TOKENS, token % TOKENS) {
                    (id, END) => self.on_token(id),
                    (id, LINK) => self.on_second_token(id),
                    (id, _) => self.on_output(id),
                },
            }
        }
        let now = Instant::now();
        while let Some(timer) = self.timers.due(now) {
            self.on_timer(timer);
        }
        self.go_on();
    }

    /// Begins with what was wanted and could not be begun with so far.
    pub(crate) fn go_on(&mut self) {
        self.go_on_scaling();
        self.go_on_upgrading();
        self.tell_manager();
    }

    /// Lets the poll, which a host watches, be readable when the next thing is due, or at once.
    pub(crate) fn set_alarm(&self, now: bool) -> io::Result<()> {
        let Some(alarm) = &self.alarm else {
            return Ok(());
        };
        let wait = if now {
            Some(Duration::ZERO)
        } else {
            self.timers.wait(Instant::now())
        };
        match wait {
            // Zero would be never (timerfd_settime(2)).
            Some(wait) => {
                let wait = TimeSpec::from_duration(wait.max(Duration::from_nanos(1)));
                alarm.set(Expiration::OneShot(wait), TimerSetTimeFlags::empty())?;
            }
            None => alarm.unset()?,
        }
        Ok(())
    }

    /// The first of an id's tokens: the end of a process, or a client.
    fn on_token(&mut self, id: usize) {
        if self.processes.contains_key(&id) {
            self.on_end(id);
        } else if self.is_successor(id) {
            self.on_successor_end(id);
        } else {
            self.on_client(id);
        }
    }

    /// The second: what a process says to us. The third is what it says to the world.
    fn on_second_token(&mut self, id: usize) {
        match self.processes.get(&id) {
            None if self.is_successor(id) => self.on_successor(id),
            None if self.is_predecessor(id) => self.on_predecessor(),
            _ => self.on_link(id),
        }
    }

    fn on_timer(&mut self, timer: Timer) {
        match timer {
            Timer::Respawn(slot) => self.orders.push_back(Order {
                slot,
                beside: false,
            }),
            Timer::Boot(id) => self.on_boot_timeout(id),
            Timer::Alive(id) => self.on_alive(id),
            Timer::Group(id) => self.on_end(id),
            Timer::Succession(id) => self.on_succession_timeout(id),
            Timer::Kill(id) => self.on_kill_timeout(id),
            Timer::Late(id) => self.on_late(id),
            Timer::Client(id) => self.on_client_timeout(id),
            Timer::Listing(client) => self.on_listing_timeout(client),
            Timer::Resend(id) => self.resend(id),
            Timer::Connect(id) => self.connect(id),
            Timer::Heard => self.go_on_reloading(),
            Timer::Ping => self.ping(),
            Timer::Notify => self.on_notify_timer(),
            Timer::Watch => {
                self.watch();
                self.recycle();
                self.watch_later();
            }
        }
    }

    /// Polls a descriptor for reading under a token.
    pub(crate) fn watch_fd(&self, fd: &impl AsRawFd, token: usize) -> io::Result<()> {
        let fd: RawFd = fd.as_raw_fd();
        self.poll
            .registry()
            .register(&mut SourceFd(&fd), Token(token), Interest::READABLE)
    }

    /// To be called before the descriptor is closed: as long as a child that was just forked has its copy open too,
    /// closing ours would not end the registration, and its events would come for ever (epoll(7)).
    pub(crate) fn unwatch_fd(&self, fd: &impl AsRawFd) {
        let fd: RawFd = fd.as_raw_fd();
        if let Err(error) = self.poll.registry().deregister(&mut SourceFd(&fd)) {
            log::debug!("cannot stop polling descriptor {fd}: {error}");
        }
    }

    pub(crate) fn slot(&self, at: SlotId) -> &Slot {
        &self.groups[at.group].slots[usize::from(at.slot)]
    }

    pub(crate) fn running(&self, slot: SlotId) -> &Running {
        &self.groups[slot.group]
    }

    /// `push[2]`.
    pub(crate) fn place(&self, slot: SlotId) -> String {
        self.running(slot).place(slot.slot)
    }

    pub(crate) fn is_stopping(&self) -> bool {
        matches!(self.mood, Mood::Stopping { .. })
    }
}

/// A timer that is seen by whoever watches the poll.
fn alarm(poll: &Poll) -> io::Result<TimerFd> {
    let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
    let alarm = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
    let fd = alarm.as_fd().as_raw_fd();
    poll.registry()
        .register(&mut SourceFd(&fd), ALARM, Interest::READABLE)?;
    Ok(alarm)
}

/// A process for each slot.
fn first_orders(groups: &[Running], routing: &Routing) -> VecDeque<Order> {
    let slots = groups.iter().enumerate().flat_map(|(group, running)| {
        (0..running.definition.count).map(move |slot| SlotId { group, slot })
    });
    let mut orders: VecDeque<Order> = slots
        .map(|slot| Order {
            slot,
            beside: false,
        })
        .collect();
    if routing.group().is_some() {
        // The router, which is the last group, goes first, so that the others find it there.
        orders.rotate_right(1);
    }
    orders
}
