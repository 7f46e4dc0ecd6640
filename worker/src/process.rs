//! The worker process, as its callbacks see it.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::{Duration, Instant};

use workhive_ipc::{ToMaster, route};
use workhive_protocols::{Message, Protocol};

use crate::core::{Readiness, with};
use crate::driver::panic_text;
use crate::error::{BlockingError, ListenError, Result, RouteError, SendError};
use crate::handle::Handle;
use crate::listener::Listener;
use crate::pool::Mailbox;
use crate::route::{Hive, OnTopic};
use crate::seat::Place;
use crate::timer::{Task, TimerId};
use crate::{Address, listening};

/// A task of the loop without the type of the worker's state.
pub(crate) type ErasedTask = Box<dyn FnMut(&mut dyn Any) -> Result>;

/// The worker process inside one of its callbacks, with its state `S`.
///
/// ```
/// # mod workhive { pub use workhive_protocols::*; pub use workhive_worker::*; }
/// use std::time::Duration;
/// use workhive::Text;
/// use workhive::{Listener, Process, Result};
///
/// fn on_worker_start(worker: &mut Process<'_, u64>) -> Result {
///     if worker.slot() == 0 {
///         worker.every(Duration::from_secs(60), |worker| {
///             println!("{} ticks", worker.state());
///             *worker.state_mut() += 1;
///             Ok(())
///         })?;
///     }
///     worker.listen(Listener::<Text>::new("127.0.0.1:5678").reuse_port(true))
/// }
/// ```
pub struct Process<'a, S = ()> {
    state: &'a mut S,
}

impl<'a, S: 'static> Process<'a, S> {
    pub(crate) fn new(state: &'a mut S) -> Self {
        Self { state }
    }

    /// The process is not ready when `on_worker_start`, inside of which this is called, returns, but when
    /// [`ready`](Self::ready) is: it neither accepts nor replaces another process before. Its loop runs meanwhile, with
    /// timers, routing, blocking work and letters. The time that a process has to boot includes it.
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; pub use workhive_worker::*; }
    /// # use workhive::{Process, Result};
    /// fn on_worker_start(worker: &mut Process<'_, Vec<String>>) -> Result {
    ///     worker.defer_ready();
    ///     worker.blocking(
    ///         || std::fs::read_to_string("catalogue.txt"),
    ///         |worker, text| {
    ///             match text? {
    ///                 Ok(text) => {
    ///                     *worker.state_mut() = text.lines().map(str::to_owned).collect();
    ///                     worker.ready();
    ///                 }
    ///                 Err(error) => worker.not_ready(format!("catalogue.txt: {error}")),
    ///             }
    ///             Ok(())
    ///         },
    ///     )
    /// }
    /// ```
    pub fn defer_ready(&mut self) {
        with(|core| core.readiness = Readiness::Deferred);
    }

    /// The process is ready, after [`defer_ready`](Self::defer_ready); nothing else changes anything.
    pub fn ready(&mut self) {
        say_ready(Ok(()));
    }

    /// The process cannot start, for this reason, after [`defer_ready`](Self::defer_ready).
    pub fn not_ready(&mut self, reason: impl Into<String>) {
        say_ready(Err(reason.into()));
    }

    /// The worker's state.
    pub fn state(&self) -> &S {
        self.state
    }

    /// The worker's state, to change it.
    pub fn state_mut(&mut self) -> &mut S {
        self.state
    }

    /// Which process of the hive this is.
    pub fn place(&self) -> Rc<Place> {
        with(|core| Rc::clone(&core.place)).unwrap_or_else(|| {
            Rc::new(Place {
                group: String::new(),
                slot: 0,
                generation: 0,
                count: 0,
                process: route::Process {
                    epoch: 0,
                    slot: 0,
                    generation: 0,
                },
                alone: false,
            })
        })
    }

    /// Which of the group's `count` places this process fills, from 0. A timer that must run once in the group
    /// belongs into slot 0.
    pub fn slot(&self) -> usize {
        self.place().slot()
    }

    /// How many processes the group had when this one was started; it may have been scaled since.
    pub fn count(&self) -> usize {
        self.place().count()
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        std::process::id()
    }

    /// The time of this turn of the loop; costs nothing.
    pub fn now(&self) -> Instant {
        with(|core| core.clock.now()).unwrap_or_else(Instant::now)
    }

    /// How many connections this process has, on all listeners.
    pub fn connections(&self) -> usize {
        with(|core| core.entries.len()).unwrap_or(0)
    }

    /// The hive: everybody in it, in whichever process.
    pub fn hive(&self) -> Hive {
        Hive::new()
    }

    /// Calls `then` with every message that is [published](crate::Hive::publish) on a topic, by whatever process of the
    /// hive. A process has one subscription to a topic: a second call replaces the first. An `Err` from `then` is logged.
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; pub use workhive_worker::*; }
    /// # use workhive::{Process, Result};
    /// #[derive(Default)]
    /// struct Settings {
    ///     color: String,
    /// }
    ///
    /// fn on_worker_start(worker: &mut Process<'_, Settings>) -> Result {
    ///     worker.subscribe("color", |worker, message| {
    ///         worker.state_mut().color = message.as_text()?.to_owned();
    ///         Ok(())
    ///     })
    /// }
    /// ```
    ///
    /// # Errors
    /// [`RouteError::Length`]: a topic has 1 to 255 bytes.
    pub fn subscribe(
        &mut self,
        topic: impl AsRef<[u8]>,
        then: impl Fn(&mut Process<'_, S>, Message<'_>) -> Result + 'static,
    ) -> Result {
        let then: OnTopic = Rc::new(move |state, message| {
            if let Some(state) = downcast::<S>(state) {
                guard("a subscription", || then(&mut Process::new(state), message));
            }
        });
        let topic = crate::route::checked("topic", topic.as_ref())?;
        let subscribed = with(|core| core.routing.subscribe(topic, then));
        // The one before is dropped here, with the core free.
        let _before = (subscribed.ok_or(RouteError::NotOnLoop)?).map_err(RouteError::from)?;
        Ok(())
    }

    /// Ends a subscription; false if there was none.
    pub fn unsubscribe(&mut self, topic: impl AsRef<[u8]>) -> bool {
        let before = with(|core| core.routing.unsubscribe(topic.as_ref()));
        before.flatten().is_some()
    }

    /// Opens a listener in this process; it shares the state with all others here. See
    /// [`Listener::reuse_port`] and [`Listener::shared`] for what happens if every process of a group does so.
    ///
    /// # Errors
    /// [`ListenError`]; [`AddressInUse`](ListenError::AddressInUse) names the address, who holds it, and the remedies.
    pub fn listen<P: Protocol, D: 'static>(&mut self, listener: Listener<P, S, D>) -> Result {
        Ok(listening::open(listener)?)
    }

    /// A listener for [`listen`](Self::listen) whose state type is known to be this worker's: the short way where
    /// its callbacks use the state.
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; pub use workhive_worker::*; }
    /// # use workhive::Text;
    /// # fn example(worker: &mut workhive::Process<'_, Vec<String>>) -> workhive::Result {
    /// let lines = worker.listener::<Text>("127.0.0.1:5678").on_message(|conn, line| {
    ///     conn.state_mut().push(line.as_text()?.to_owned());
    ///     Ok(())
    /// });
    /// worker.listen(lines)
    /// # }
    /// ```
    pub fn listener<P: Protocol>(&self, address: impl Into<String>) -> Listener<P, S> {
        Listener::<P>::new(address)
    }

    /// Closes the listener at `address`; its connections stay.
    ///
    /// # Errors
    /// [`ListenError::Unknown`] if this process does not listen there.
    pub fn unlisten(&mut self, address: &str) -> Result {
        Ok(listening::close(address)?)
    }

    /// Lets new connections wait in the accept queue of the listener at `address`.
    ///
    /// # Errors
    /// [`ListenError::Unknown`] if this process does not listen there.
    pub fn pause_accept(&mut self, address: &str) -> Result {
        Ok(listening::pause(address, true)?)
    }

    /// Accepts again.
    ///
    /// # Errors
    /// [`ListenError::Unknown`] if this process does not listen there.
    pub fn resume_accept(&mut self, address: &str) -> Result {
        Ok(listening::pause(address, false)?)
    }

    /// Where this process listens; port 0 has become the real one.
    pub fn listeners(&self) -> Vec<Address> {
        with(|core| core.listening.addresses()).unwrap_or_default()
    }

    /// Calls `task` once, after `delay`. Exact to about a millisecond.
    ///
    /// # Errors
    /// [`SendError::NotOnLoop`] if 2^32 timers run.
    pub fn after(
        &mut self,
        delay: Duration,
        task: impl FnOnce(&mut Process<'_, S>) -> Result + 'static,
    ) -> Result<TimerId> {
        let mut task = Some(task);
        let task: ErasedTask = Box::new(move |state| match (task.take(), downcast(state)) {
            (Some(task), Some(state)) => task(&mut Process::new(state)),
            _ => Ok(()),
        });
        start(delay, Task::Once(task))
    }

    /// Calls `task` every `period`, first after one period. It does not drift; periods that the loop missed are
    /// skipped. A period of zero counts as one millisecond. It goes on after an `Err`, which is logged, until it is
    /// cancelled.
    ///
    /// # Errors
    /// As [`after`](Self::after).
    pub fn every(
        &mut self,
        period: Duration,
        mut task: impl FnMut(&mut Process<'_, S>) -> Result + 'static,
    ) -> Result<TimerId> {
        let period = period.max(Duration::from_millis(1));
        let task: ErasedTask = Box::new(move |state| match downcast(state) {
            Some(state) => task(&mut Process::new(state)),
            None => Ok(()),
        });
        start(period, Task::Every(period, task))
    }

    /// Stops a timer; false if it is over already. A timer may stop itself.
    pub fn cancel(&mut self, timer: TimerId) -> bool {
        // What the timer captured is dropped here, with the core free.
        with(|core| core.timers.cancel(timer)).is_some_and(|cancelled| cancelled.found())
    }

    /// Inside the callback of a timer: stops this timer. False anywhere else.
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; pub use workhive_worker::*; }
    /// # fn example(worker: &mut workhive::Process<'_, u32>) -> workhive::Result {
    /// worker.every(std::time::Duration::from_secs(1), |worker| {
    ///     *worker.state_mut() += 1;
    ///     if *worker.state() == 10 {
    ///         worker.cancel_this_timer();
    ///     }
    ///     Ok(())
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn cancel_this_timer(&mut self) -> bool {
        match with(|core| core.running).flatten() {
            Some(timer) => self.cancel(timer),
            None => false,
        }
    }

    /// Runs `work` on a small pool of threads, for calls that block (files, databases, name resolution), and `then`
    /// with its result back on this loop. An `Err` from `then` is logged; where the work is done for a connection,
    /// [`Conn::blocking`](crate::Conn::blocking) ends that connection instead.
    ///
    /// # Errors
    /// [`BlockingError::Full`] if 1,024 pieces of work wait already: tell your peer that you are busy.
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; pub use workhive_worker::*; }
    /// # fn example(worker: &mut workhive::Process<'_, Vec<String>>) -> workhive::Result {
    /// worker.blocking(
    ///     || std::fs::read_to_string("motd.txt"),
    ///     |worker, motd| {
    ///         worker.state_mut().push(motd??);
    ///         Ok(())
    ///     },
    /// )
    /// # }
    /// ```
    pub fn blocking<T: Send + 'static>(
        &mut self,
        work: impl FnOnce() -> T + Send + 'static,
        then: impl FnOnce(&mut Process<'_, S>, std::result::Result<T, BlockingError>) -> Result
        + 'static,
    ) -> Result {
        crate::pool::submit(work, move |result, state| match downcast(state) {
            Some(state) => then(&mut Process::new(state), result),
            None => Ok(()),
        })
    }

    /// A way to this loop from other threads.
    ///
    /// # Errors
    /// [`SendError::NotOnLoop`] inside of a codec.
    pub fn mailbox(&self) -> Result<Mailbox<S>> {
        Ok(with(|core| core.mail.mailbox()).ok_or(SendError::NotOnLoop)?)
    }

    /// Ends this process gracefully, as if it had been told to: it drains, and the master starts another in its
    /// place.
    pub fn stop(&mut self) {
        with(|core| core.link.stop_requested = true);
    }

    /// Ends the whole hive gracefully.
    pub fn stop_all(&mut self) {
        with(|core| core.link.tell(&ToMaster::StopAll { graceful: true }));
    }

    /// Reloads the whole hive, as SIGUSR1 to its master does.
    pub fn reload_all(&mut self) {
        with(|core| core.link.tell(&ToMaster::ReloadAll));
    }

    /// Sends one message to every open connection in `targets`, and returns how many took it.
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; pub use workhive_worker::*; }
    /// # use workhive::WebSocket;
    /// # use workhive::{Handle, Process};
    /// # fn example(worker: &mut Process<'_, Vec<Handle<WebSocket>>>) {
    /// let everyone = worker.state().clone();
    /// let reached = worker.send_each(&everyone, "the bell rings");
    /// # }
    /// ```
    pub fn send_each<'t, P>(
        &mut self,
        targets: impl IntoIterator<Item = &'t Handle<P>>,
        message: &str,
    ) -> usize
    where
        P: for<'m> Protocol<Outgoing<'m> = Message<'m>>,
    {
        targets
            .into_iter()
            .filter(|target| target.send(message).is_ok())
            .count()
    }
}

impl Process<'_, ()> {
    /// The process of this thread's loop, for code between the turns of a loop that a host [runs](crate::Running), in a
    /// worker that has no state. What it is told by a process with a state is not called.
    ///
    /// ```
    /// use workhive_worker::{Process, SendError};
    ///
    /// let refused = Process::here(|process| process.mailbox().map(drop)).unwrap_err();
    /// assert_eq!(refused.downcast_ref(), Some(&SendError::NotOnLoop)); // this thread runs no loop
    /// ```
    pub fn here<R>(what: impl FnOnce(&mut Process<'_, ()>) -> R) -> R {
        what(&mut Process::new(&mut ()))
    }
}

fn say_ready(word: std::result::Result<(), String>) {
    with(|core| {
        if let Readiness::Deferred = core.readiness {
            core.readiness = Readiness::Given(word);
        }
    });
}

fn start(delay: Duration, task: Task<ErasedTask>) -> Result<TimerId> {
    let id = with(|core| {
        // Not from the turn's time: a callback that has taken long would have its timer at once.
        let at = Instant::now().checked_add(delay)?;
        core.timers.add(at, task)
    });
    Ok(id.flatten().ok_or(SendError::NotOnLoop)?)
}

fn downcast<S: 'static>(state: &mut dyn Any) -> Option<&mut S> {
    state.downcast_mut()
}

impl<S> fmt::Debug for Process<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process")
            .field("pid", &std::process::id())
            .finish_non_exhaustive()
    }
}

/// Runs user code that belongs to no connection: an `Err` and a panic are logged, and the process goes on.
pub(crate) fn guard(what: &str, code: impl FnOnce() -> Result) {
    match catch_unwind(AssertUnwindSafe(code)) {
        Ok(Ok(())) => {}
        Ok(Err(error)) => match error.downcast_ref::<SendError>() {
            // The usual fate of answers to peers that did not wait for them.
            Some(SendError::Gone) => log::debug!("{what}: {error}"),
            _ => log::warn!("{what} returned an error: {error}"),
        },
        Err(panic) => log::error!("{what} panicked: {}", panic_text(panic.as_ref())),
    }
}

/// The error of a listener that could not be found.
pub(crate) fn unknown(address: Address) -> ListenError {
    ListenError::Unknown { address }
}
