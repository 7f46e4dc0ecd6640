//! The router process.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use nix::sys::signal::{SigSet, Signal};
use signal_hook::consts::SIGTERM;
use signal_hook_mio::v1_0::Signals;
use workhive_ipc::route::{Core, CoreConfig};
use workhive_ipc::{Counters, Row, SlotState, ToMaster};

use crate::link::{Link, Order};
use crate::route::hub::{self, Hub};
use crate::seat::{Program, Seat};
use crate::turn::{SCRATCH, monotonic_millis};

const CONTROL: Token = Token(0);
const SIGNALS: Token = Token(1);

/// Events taken from the kernel at once.
const EVENTS: usize = 256;

/// The program of the router process: it carries pushes between the worker processes of a hive that has several.
///
/// The master hands it a stream to each worker process over the control link, and tells it who has ended. It has no
/// user code in it. When it is told to drain, and when the master dies, it goes on until the last worker process has
/// gone.
///
/// ```
/// assert_eq!(workhive_worker::router_program().protocol(), "router");
/// ```
pub fn router_program() -> Program {
    Program::new("router", |seat| match Router::new(seat) {
        Ok(router) => router.run(),
        Err((link, error)) => {
            log::error!("cannot start: {error}");
            link.tell(&ToMaster::boot_failed(error.to_string()));
            1
        }
    })
}

struct Router {
    poll: Poll,
    signals: Signals,
    link: Link,
    row: Row,
    core: Core,
    hub: Hub,
    /// Where programs of this machine connect. They are let in when it is known which processes there are: before that,
    /// somebody of whom nobody has spoken yet would be said to be offline.
    clients: Option<OwnedFd>,
    scratch: Box<[u8]>,
    /// Set once it is to end: when, at the latest, and only when no worker process is left.
    drain: Option<Instant>,
    /// How long a drain may take that nobody asked for.
    window: Duration,
    /// After which time in one turn it counts as stuck.
    stuck: Duration,
    /// The master has died.
    orphaned: bool,
    over: bool,
    /// `monotonic` is this moment, `CLOCK_MONOTONIC` in milliseconds.
    epoch: Instant,
    monotonic: u64,
}

impl Router {
    fn new(seat: Seat) -> Result<Self, (Link, io::Error)> {
        let Seat {
            place,
            control,
            row,
            clients,
            drain: window,
            stuck,
            ..
        } = seat;
        let made = (|| {
            let poll = Poll::new()?;
            let mut signals = Signals::new([SIGTERM])?;
            poll.registry()
                .register(&mut signals, SIGNALS, Interest::READABLE)?;
            // Blocked since the fork: one that came meanwhile is delivered now, and is not lost. SIGQUIT is ignored.
            SigSet::from_iter([Signal::SIGTERM, Signal::SIGQUIT]).thread_unblock()?;
            poll.registry().register(
                &mut SourceFd(&control.as_raw_fd()),
                CONTROL,
                Interest::READABLE,
            )?;
            let hub = Hub::new(poll.registry().try_clone()?);
            Ok((poll, signals, hub))
        })();
        let link = Link::new(control);
        match made {
            Ok((poll, signals, hub)) => Ok(Self {
                poll,
                signals,
                link,
                row,
                core: Core::new(place.process, CoreConfig::default()),
                hub,
                clients,
                scratch: vec![0; SCRATCH].into_boxed_slice(),
                drain: None,
                window,
                stuck,
                orphaned: false,
                over: false,
                epoch: Instant::now(),
                monotonic: monotonic_millis(),
            }),
            Err(error) => Err((link, error)),
        }
    }

    fn run(mut self) -> u8 {
        let mut events = Events::with_capacity(EVENTS);
        self.link.tell(&ToMaster::Ready);
        while !self.is_over() {
            let now = self.wait(&mut events);
            self.hub.go_on(&mut self.core, &mut self.scratch, now);
            for event in &events {
                match event.token() {
                    CONTROL => self.obey(now),
                    SIGNALS => {
                        for _signal in self.signals.pending() {
                            log::info!("told to end by a signal");
                            // The master starts another, which the worker processes turn to; unless all ends.
                            self.link.tell(&ToMaster::Draining);
                            self.drain_by(now + self.window);
                        }
                    }
                    token if hub::is_ours(token) => {
                        self.hub
                            .ready(event, &mut self.core, &mut self.scratch, now);
                    }
                    _ => {}
                }
            }
            self.core.tick(now);
            self.hub.tick(&mut self.core, now);
            self.hub.flush(&mut self.core, now);
            self.publish();
        }
        0
    }

    fn wait(&mut self, events: &mut Events) -> Instant {
        let now = Instant::now();
        let deadline = [
            self.core.next_deadline(),
            self.hub.next_deadline(),
            self.drain,
        ];
        let timeout = if self.hub.has_work() {
            Some(Duration::ZERO)
        } else {
            let next = deadline.into_iter().flatten().min();
            next.map(|at| at.saturating_duration_since(now))
        };
        self.row.set_deadline(0);
        if let Err(error) = self.poll.poll(events, timeout)
            && error.kind() != io::ErrorKind::Interrupted
        {
            log::error!("waiting for events failed: {error}");
            self.over = true;
        }
        let now = Instant::now();
        let since = now.saturating_duration_since(self.epoch) + self.stuck;
        let millis = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        self.row.set_deadline(self.monotonic.saturating_add(millis));
        now
    }

    fn obey(&mut self, now: Instant) {
        while let Some(order) = self.link.next() {
            match order {
                Order::Stop => self.over = true,
                Order::Drain(window) => self.drain_by(now + window),
                Order::Orphaned => {
                    // The worker processes end by themselves, each within its own window; the last one's end is ours.
                    log::warn!(
                        "the master is gone: going on until the worker processes have ended"
                    );
                    self.drain = None;
                    self.orphaned = true;
                    self.hub.close_listener();
                }
                Order::Expect(processes) => {
                    // The last of these messages is empty.
                    if processes.is_empty() {
                        self.let_in();
                    }
                    for process in processes {
                        self.core.expect(process, now);
                    }
                }
                Order::Adopt(process, socket) => {
                    self.hub.adopt(process, socket, &mut self.core, now);
                }
                Order::Ended(process) => self.core.ended(process, now),
                Order::ListConnections { id, .. } => self.link.tell(&ToMaster::Connections {
                    id,
                    rows: Vec::new(),
                    next: None,
                }),
                Order::Reload
                | Order::Router(_)
                | Order::AcceptFrom { .. }
                | Order::AcceptNoMore(_)
                | Order::Look => {}
            }
        }
    }

    fn let_in(&mut self) {
        if self.drain.is_none()
            && !self.orphaned
            && let Some(clients) = self.clients.take()
            && let Err(error) = self.hub.listen(clients)
        {
            log::error!("programs of this machine cannot connect: {error}");
        }
    }

    fn drain_by(&mut self, end: Instant) {
        self.row.set_state(SlotState::Draining);
        self.clients = None;
        self.hub.close_listener();
        self.drain = Some(end);
    }

    fn is_over(&self) -> bool {
        let alone = self.hub.processes() == 0;
        self.over
            || (self.orphaned && alone)
            || self.drain.is_some_and(|end| alone || end <= Instant::now())
    }

    fn publish(&self) {
        let counters = self.core.counters();
        self.row.publish(&Counters {
            connections: self.hub.streams() as u64,
            messages: counters.pushes,
            send_failures: counters.refused,
            ..Counters::default()
        });
    }
}
