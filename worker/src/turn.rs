//! The loop of a worker process, turn by turn.
//!
//! A turn: wait, read the clock, due timers, sockets, routed pushes, finished blocking work and mail, flush every
//! connection that has output (one write each), the stats row.

use std::any::Any;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use nix::sys::signal::{SigSet, Signal};
use signal_hook::consts::{SIGQUIT, SIGTERM};
use signal_hook_mio::v1_0::Signals;
use workhive_ipc::{Row, ToMaster, WorkerEnd};
use workhive_protocols::Protocol;

use crate::alarm::Alarm;
use crate::clock::{Clock, Lag};
use crate::conn::Conn;
use crate::core::{Core, install, with};
use crate::drain;
use crate::driver::{Driver, Typed, panic_text};
use crate::entry::{CloseReason, Key, Peer, Phase, flag};
use crate::error::{ConnectionError, Result};
use crate::link::{Link, Order};
use crate::listening::{self, LISTENER};
use crate::pool::{Mail, Pool};
use crate::process::guard;
use crate::route::hub::{self, Hub};
use crate::route::side::{ROUTER, Side};
use crate::route::{self, Routing};
use crate::seat::{Hosting, Place};
use crate::settle::run_deadlines;
use crate::sys;
use crate::timer::Task;

const CONTROL: Token = Token(1 << 62);
const SIGNALS: Token = Token((1 << 62) | 1);
const WAKER: Token = Token((1 << 62) | 2);
const ALARM: Token = Token((1 << 62) | 4);

/// Events taken from the kernel at once.
const EVENTS: usize = 1024;

/// The buffer that all reads go into.
pub(crate) const SCRATCH: usize = 64 * 1024;

/// The signals that end a process, from here on. Blocked since the fork: one that came meanwhile is delivered when they
/// are unblocked, and is not lost.
fn watch_signals(poll: &Poll) -> io::Result<Signals> {
    let mut signals = Signals::new([SIGTERM, SIGQUIT])?;
    poll.registry()
        .register(&mut signals, SIGNALS, Interest::READABLE)?;
    for signal in [SIGTERM, SIGQUIT] {
        // Hosts written in Go give their threads stacks that no handler may run on.
        sys::handle_on_alternate_stack(signal)?;
    }
    Ok(signals)
}

/// The loop of one process, before and while it runs.
pub(crate) struct Loop {
    poll: Poll,
    /// None where the host handles signals.
    signals: Option<Signals>,
    events: Events,
    /// The kernel may have more than it could say at once. An edge-triggered host is not told of it again.
    more: bool,
    /// Where somebody else waits for us.
    alarm: Option<Alarm>,
    scratch: Box<[u8]>,
    row: Row,
    drain: Duration,
    /// After which time in one turn the loop counts as stuck.
    stuck: Duration,
    /// `CLOCK_MONOTONIC` at the start of the loop's clock, in milliseconds.
    monotonic: u64,
    lag: Lag,
    stop: bool,
}

impl Loop {
    /// Makes the loop and installs its core for this thread.
    pub(crate) fn new(
        place: Rc<Place>,
        row: Row,
        control: WorkerEnd,
        drain: Duration,
        stuck: Duration,
        clients: Option<OwnedFd>,
        hosting: Hosting,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let signals = hosting.signals.then(|| watch_signals(&poll)).transpose()?;
        let alarm = hosting
            .nested
            .then(|| Alarm::new(&poll, ALARM))
            .transpose()?;
        SigSet::from_iter([Signal::SIGTERM, Signal::SIGQUIT]).thread_unblock()?;
        poll.registry().register(
            &mut SourceFd(&control.as_raw_fd()),
            CONTROL,
            Interest::READABLE,
        )?;
        let side = if place.alone {
            let mut hub = Hub::new(poll.registry().try_clone()?);
            if let Some(clients) = clients {
                hub.listen(clients)?;
            }
            Side::here(place.process, hub, std::time::Instant::now())
        } else {
            Side::there(place.process, poll.registry().try_clone()?)
        };
        let routing = Routing::new(side);
        let core = Core::new(
            poll.registry().try_clone()?,
            place,
            row.clone(),
            Link::new(control),
            Pool::new(Arc::clone(&waker)),
            Mail::new(waker),
            Clock::new(),
            routing,
        );
        drop(install(Some(core)));
        Ok(Self {
            poll,
            signals,
            events: Events::with_capacity(EVENTS),
            more: false,
            alarm,
            scratch: vec![0; SCRATCH].into_boxed_slice(),
            row,
            drain,
            stuck,
            monotonic: monotonic_millis(),
            lag: Lag::default(),
            stop: false,
        })
    }

    /// One turn, after a wait of up to `limit`; without one it waits for as long as there is nothing to do. True when the
    /// process is to end. `reload` is called when the hive reloads around this process.
    pub(crate) fn turn(
        &mut self,
        limit: Option<Duration>,
        state: &mut dyn Any,
        reload: &dyn Fn(&mut dyn Any),
    ) -> bool {
        let mut events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        self.wait(&mut events, limit);
        self.more = events.iter().nth(EVENTS - 1).is_some();
        run_timers(state);
        self.run_sockets(&events, state, reload);
        self.events = events;
        with(|core| core.glimpse.clear());
        route::step(&mut self.scratch, state);
        run_finished_work(state);
        self.finish_turn(state);
        self.is_over()
    }

    /// The end of a turn, and of what was done before the first one.
    pub(crate) fn finish_turn(&mut self, state: &mut dyn Any) {
        finish_turn(state);
        route::flush(&mut self.scratch, state);
        self.rest();
    }

    /// Says goodbye to those who are left, and to the hive.
    pub(crate) fn end(&mut self, state: &mut dyn Any) {
        for key in with(|core| core.keys()).unwrap_or_default() {
            dispatch(key, |driver| driver.leaving(key, state));
            contained(key, || {
                with(|core| core.drop_now(key));
            });
        }
        reap(state);
        // What `on_close` had to say to others, and the last answers.
        route::flush(&mut self.scratch, state);
        route::end(&mut self.scratch, state);
    }

    /// Readable when [`turn`](Self::turn) has something to do; of use to others only if the loop is nested.
    pub(crate) fn poll_fd(&self) -> RawFd {
        self.poll.as_raw_fd()
    }

    fn wait(&mut self, events: &mut Events, limit: Option<Duration>) {
        let mut ended = None;
        let timeout = with(|core| {
            if core.is_busy() {
                return Some(Duration::ZERO);
            }
            let now = std::time::Instant::now();
            ended = Some((core.clock.millis(now), now - core.clock.now()));
            core.next_wake().map(|at| at.saturating_duration_since(now))
        })
        .flatten();
        // In a nested loop the host's own work lies between two turns; they have been noted already.
        let noted = self.alarm.is_some();
        if let Some((now, turn)) = ended.filter(|_| !noted) {
            self.note_turn(now, turn);
        }
        self.row.set_deadline(0);
        let timeout = match (timeout, limit) {
            (Some(timeout), Some(limit)) => Some(timeout.min(limit)),
            (timeout, limit) => timeout.or(limit),
        };
        if let Err(error) = self.poll.poll(events, timeout)
            && error.kind() != io::ErrorKind::Interrupted
        {
            log::error!("waiting for events failed: {error}");
            self.stop = true;
        }
        let now = with(|core| {
            let before = core.clock.now();
            core.clock.update();
            (core.clock.now_millis(), core.clock.now() - before)
        });
        let (now, since) = now.unwrap_or_default();
        if ended.is_none() && !noted {
            // It goes on at once, and has not waited since.
            self.note_turn(now, since);
        }
        self.set_stuck_deadline(now);
    }

    fn set_stuck_deadline(&self, now: u64) {
        let stuck = u64::try_from(self.stuck.as_millis()).unwrap_or(u64::MAX);
        self.row
            .set_deadline((self.monotonic + now).saturating_add(stuck));
    }

    /// Hands over to a host that waits for us in a loop of its own: sees to it that it calls again in time, also if only
    /// to show that it is not stuck itself.
    fn rest(&mut self) {
        let Some(alarm) = &mut self.alarm else {
            return;
        };
        let more = self.more;
        let next = with(|core| {
            let now = std::time::Instant::now();
            let turn = now - core.clock.now();
            let sign_of_life = now + self.stuck / 2;
            let at = if more || core.is_busy() {
                now
            } else {
                let due = core.next_wake().unwrap_or(sign_of_life);
                due.min(sign_of_life)
            };
            let clock = &core.clock;
            (now, clock.millis(now), turn, at, clock.millis(at))
        });
        let Some((now, millis, turn, at, due)) = next else {
            return;
        };
        if let Err(error) = alarm.set(now, at) {
            log::error!("the alarm of the loop cannot be set: {error}");
        }
        self.note_turn(millis, turn);
        // Its next turn begins when the alarm rings, if not before: until then nobody need take it for busy.
        self.set_stuck_deadline(due);
    }

    fn note_turn(&mut self, now: u64, turn: Duration) {
        if let Some(longest) = self.lag.note(now, turn) {
            let second = u32::try_from((self.monotonic + now) / 1000).unwrap_or(u32::MAX);
            self.row.set_lag(second, longest);
        }
    }

    fn run_sockets(&mut self, events: &Events, state: &mut dyn Any, reload: &dyn Fn(&mut dyn Any)) {
        if with(|core| core.link.has_early()) == Some(true) {
            self.obey(state, reload);
        }
        for event in events {
            match event.token() {
                CONTROL => self.obey(state, reload),
                SIGNALS => {
                    let come = self.signals.as_mut().map_or(0, |all| all.pending().count());
                    if come > 0 {
                        log::info!("told to end by a signal");
                        self.drain_by_itself(state);
                    }
                }
                WAKER => {}
                ALARM => {
                    if let Some(alarm) = &mut self.alarm {
                        alarm.has_rung();
                    }
                }
                ROUTER => {
                    with(|core| core.routing.side.ready(event));
                }
                token if hub::is_ours(token) => {
                    let scratch = &mut self.scratch;
                    with(|core| {
                        let now = core.clock.now();
                        core.routing.side.hub_ready(event, scratch, now);
                    });
                }
                Token(token) if token & LISTENER != 0 => {
                    listening::accept(token & !LISTENER, &mut |key| connected(key, state));
                }
                token => self.run_socket(token, event, state),
            }
        }
        let again = with(|core| std::mem::take(&mut core.again)).unwrap_or_default();
        for key in again {
            with(|core| {
                if let Some(entry) = core.entry(key) {
                    entry.clear(flag::AGAIN);
                }
            });
            let scratch = &mut self.scratch;
            dispatch(key, |driver| driver.turn(key, scratch, state));
        }
        if with(|core| core.link.stop_requested) == Some(true) {
            with(|core| core.link.stop_requested = false);
            self.drain_by_itself(state);
        }
    }

    /// Ends this process without an order: the master is told, so that it starts another.
    fn drain_by_itself(&self, state: &mut dyn Any) {
        with(|core| core.link.tell(&ToMaster::Draining));
        drain::start(self.drain, &mut |key| connected(key, state));
    }

    fn run_socket(&mut self, token: Token, event: &Event, state: &mut dyn Any) {
        let readable = event.is_readable() || event.is_read_closed() || event.is_error();
        let ready = with(|core| {
            // The token of a connection that has ended since this event was fetched names nobody.
            let key = core.key_of(token)?;
            let entry = core.entry(key)?;
            if event.is_read_closed() || event.is_error() {
                entry.set(flag::HUP);
            }
            if readable {
                entry.set(flag::READABLE);
            }
            if event.is_writable() && entry.has(flag::BLOCKED) {
                entry.clear(flag::BLOCKED);
                core.mark_dirty(key);
            }
            // A reset must not wait until somebody resumes reading. (A Unix peer that just closes looks like one in the
            // second way, and may have left us something to read.)
            let entry = core.entry(key)?;
            let gone = event.is_write_closed() && event.is_read_closed();
            if event.is_error() || (gone && !matches!(entry.peer, Peer::Unix(_))) {
                let unread = !entry.may_decode() && entry.phase == Phase::Open;
                if unread {
                    return Some((key, true));
                }
            }
            readable.then_some((key, false))
        })
        .flatten();
        match ready {
            Some((key, true)) => {
                let error = io::Error::from_raw_os_error(libc::ECONNRESET);
                dispatch(key, |driver| {
                    driver.failed(key, ConnectionError::Io(error), state);
                });
            }
            Some((key, false)) => {
                let scratch = &mut self.scratch;
                dispatch(key, |driver| driver.turn(key, scratch, state));
            }
            None => {}
        }
    }

    /// The master's orders.
    fn obey(&mut self, state: &mut dyn Any, reload: &dyn Fn(&mut dyn Any)) {
        while let Some(order) = with(|core| core.link.next()).flatten() {
            match order {
                Order::Stop => self.stop = true,
                Order::Drain(window) => {
                    drain::start(window, &mut |key| connected(key, state));
                    // From here on it accepts nothing: whoever waits for that may go on.
                    with(|core| core.link.tell(&ToMaster::Draining));
                }
                Order::Reload => reload(state),
                Order::Router(stream) => route::connect(stream, &mut self.scratch, state),
                Order::AcceptFrom {
                    id,
                    address,
                    socket,
                } => listening::accept_from(id, &address, socket),
                Order::AcceptNoMore(id) => listening::accept_no_more(id),
                Order::ListConnections { id, from } => {
                    with(|core| {
                        let page = core.list_connections(id, from);
                        core.link.tell(&page);
                    });
                }
                Order::Look => {
                    with(Core::look_again);
                }
                // Said to the router only.
                Order::Expect(_) | Order::Adopt(..) | Order::Ended(_) => {}
                Order::Orphaned => {
                    log::warn!("the master is gone: draining");
                    drain::start(self.drain, &mut |key| connected(key, state));
                }
            }
        }
    }

    fn is_over(&self) -> bool {
        self.stop
            || with(|core| {
                core.drain
                    .as_ref()
                    .is_some_and(|drain| core.entries.is_empty() || drain.end() <= core.clock.now())
            }) == Some(true)
    }
}

fn run_timers(state: &mut dyn Any) {
    // Only as many as there are now: a timer that starts another one without delay must not stop the loop.
    let mut limit = with(|core| core.timers.len()).unwrap_or(0);
    while limit > 0 {
        limit -= 1;
        let due = with(|core| core.timers.pop(core.clock.now())).flatten();
        let Some((id, due, mut task)) = due else {
            break;
        };
        let (Task::Once(run) | Task::Every(_, run)) = &mut task;
        with(|core| core.running = Some(id));
        guard("a timer", || run(state));
        with(|core| core.running = None);
        // Dropped here, with the core free, if it is over.
        let _over = with(|core| core.timers.done(id, due, core.clock.now(), task));
    }
    with(Core::retry_listeners);
    run_deadlines(state);
}

/// Writes, ends, closes, counts.
fn finish_turn(state: &mut dyn Any) {
    while let Some((key, error)) = with(|core| core.failures.pop_front()).flatten() {
        dispatch(key, |driver| driver.failed(key, error, state));
    }
    reap(state);
    let dirty = with(|core| std::mem::take(&mut core.dirty)).unwrap_or_default();
    for key in &dirty {
        contained(*key, || {
            with(|core| core.settle(*key));
        });
    }
    with(|core| {
        // Keeps the list's memory for the next turn.
        if core.dirty.is_empty() {
            let mut list = dirty;
            list.clear();
            core.dirty = list;
        }
    });
    while let Some((key, notice)) = with(|core| core.notices.pop_front()).flatten() {
        dispatch(key, |driver| driver.notice(key, notice, state));
    }
    reap(state);
    with(|core| {
        core.counters.timers = core.timers.len() as u64;
        core.row.publish(&core.counters);
    });
}

/// A connection has been accepted.
pub(crate) fn connected(key: Key, state: &mut dyn Any) {
    dispatch(key, |driver| driver.connected(key, state));
}

/// Calls a connection's driver, which is out of its row meanwhile, so that the core is free.
pub(crate) fn dispatch(key: Key, call: impl FnOnce(&mut dyn Driver)) {
    let driver = with(|core| core.entry(key)?.driver.take()).flatten();
    let Some(mut driver) = driver else {
        return;
    };
    contained(key, || call(driver.as_mut()));
    let mut driver = Some(driver);
    with(|core| {
        if let Some(entry) = core.entry(key) {
            entry.driver = driver.take();
        }
    });
}

/// Does something for one connection in which code of a user's codec may run: should it panic, only this connection
/// ends. (Callbacks are guarded closer by, where the peer can still be told.)
pub(crate) fn contained(key: Key, work: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(work)) {
        let what = panic_text(panic.as_ref());
        log::error!("a codec panicked: {what}");
        let error = ConnectionError::Panic {
            callback: "the codec",
            what,
        };
        with(|core| core.destroy(key, CloseReason::Error(error)));
    }
}

/// Calls `on_close` for connections that have ended, and forgets them.
fn reap(state: &mut dyn Any) {
    while let Some(key) = with(|core| core.closed.pop_front()).flatten() {
        let reason = with(|core| core.entry(key)?.reason.take()).flatten();
        let reason = reason.unwrap_or_else(|| Box::new(CloseReason::Local));
        dispatch(key, |driver| driver.closed(key, &reason, state));
        // Dropped here, with the core free: the data are the user's, and so are their destructors.
        let gone = with(|core| (core.remove(key), core.routing.forget(key)));
        contained(key, || drop(gone));
    }
}

/// Results of blocking work, and letters from other threads: those that wait now, so that a letter that posts another
/// one does not stop the loop.
fn run_finished_work(state: &mut dyn Any) {
    for _ in 0..with(|core| core.pool.finished()).unwrap_or(0) {
        if let Some((finish, answer)) = with(|core| core.pool.next()).flatten() {
            guard("the result of blocking work", || finish(answer, state));
        }
    }
    for _ in 0..with(|core| core.mail.len()).unwrap_or(0) {
        if let Some(letter) = with(|core| core.mail.next()).flatten() {
            guard("a letter", || letter(state));
        }
    }
}

/// Calls `then` for a connection, if it is still open.
pub(crate) fn tell<P: Protocol, S: 'static, D: 'static>(
    what: &'static str,
    key: Key,
    state: &mut dyn Any,
    then: impl FnOnce(&mut Conn<'_, P, S, D>) -> Result,
) {
    let open = with(|core| Some(core.entry(key)?.phase == Phase::Open));
    if open.flatten() != Some(true) {
        return;
    }
    dispatch(key, |driver| {
        if let (Some(driver), Some(state)) = (
            driver.as_any().downcast_mut::<Typed<P, S, D>>(),
            state.downcast_mut::<S>(),
        ) {
            driver.call(what, key, state, then);
        }
    });
    with(|core| core.mark_dirty(key));
}

/// Blocking work of a connection is done: calls `then` for it, if it still exists.
pub(crate) fn finish_work<P: Protocol, S: 'static, D: 'static>(
    key: Key,
    state: &mut dyn Any,
    then: impl FnOnce(&mut Conn<'_, P, S, D>) -> Result,
) {
    with(|core| {
        if let Some(entry) = core.entry(key) {
            entry.work = entry.work.saturating_sub(1);
            core.mark_dirty(key);
        }
    });
    tell("the result of blocking work", key, state, then);
}

pub(crate) fn monotonic_millis() -> u64 {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).map_or(0, |time| {
        u64::try_from(time.tv_sec()).unwrap_or(0) * 1000
            + u64::try_from(time.tv_nsec()).unwrap_or(0) / 1_000_000
    })
}
