//! A process at work, turn by turn.

use std::any::Any;
use std::fmt;
use std::os::fd::RawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use workhive_ipc::ToMaster;

use crate::core::{Readiness, install, with};
use crate::definition::OnWorker;
use crate::driver::panic_text;
use crate::error::{Error, Result};
use crate::listener::{AnyPlan, MakeState};
use crate::process::{Process, guard};
use crate::seat::{Hosting, Inherited, Place};
use crate::turn::Loop;

/// A process that has begun its work, for hosts with a loop of their own: see
/// [`Program::begin`](crate::Program::begin).
///
/// All of it, and all callbacks, run on the thread that began it.
pub struct Running {
    life: Box<dyn Turns>,
}

/// What [`Running`] does, without the types of a definition.
trait Turns {
    fn poll_fd(&self) -> RawFd;
    fn turn(&mut self, limit: Option<Duration>) -> bool;
    fn finish(&mut self) -> u8;
}

impl Running {
    pub(crate) fn new<S: 'static>(life: Life<S>, hosting: Hosting) -> Self {
        if hosting.nested {
            // The first turn is something to do.
            with(|core| {
                core.in_turn = false;
                core.mail.wake();
            });
        }
        Self {
            life: Box::new(life),
        }
    }

    /// Readable when [`turn`](Self::turn) has something to do, its timers included, if the process was begun
    /// [`nested`](crate::Hosting::nested). To be waited for, level-triggered or edge-triggered, and never to be read. It
    /// stays the same, and is closed by [`finish`](Self::finish).
    pub fn poll_fd(&self) -> RawFd {
        self.life.poll_fd()
    }

    /// One turn of the loop. It waits for up to `limit`, or as long as there is nothing to do; true when the process is to
    /// end, and [`finish`](Self::finish) to be called. The first one makes the state and calls `on_worker_start`.
    ///
    /// Not to be called inside of a callback: it does nothing there.
    pub fn turn(&mut self, limit: Option<Duration>) -> bool {
        with(|core| {
            core.in_turn = true;
            core.touched = false;
        });
        let over = self.life.turn(limit);
        with(|core| core.in_turn = false);
        over
    }

    /// Says goodbye to the connections that are left, calls `on_worker_stop`, and returns the exit code: 0 for a clean
    /// end, 1 for a process that could not start.
    pub fn finish(mut self) -> u8 {
        with(|core| core.in_turn = true);
        self.life.finish()
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running")
            .field("poll_fd", &self.poll_fd())
            .finish_non_exhaustive()
    }
}

/// How far a process has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    New,
    /// `on_worker_start` has returned, but the application is not ready.
    Starting,
    Ready,
    Failed,
}

/// A process with the types of its definition.
pub(crate) struct Life<S> {
    pub(crate) main: Loop,
    pub(crate) place: Rc<Place>,
    pub(crate) listener: Option<Inherited>,
    /// What is done with connections of the group's own listener, until it accepts.
    pub(crate) plan: Option<Rc<dyn AnyPlan>>,
    pub(crate) make_state: MakeState<S>,
    pub(crate) state: Option<S>,
    pub(crate) start: Option<OnWorker<S>>,
    pub(crate) stop: Option<OnWorker<S>>,
    pub(crate) reload: Option<OnWorker<S>>,
    pub(crate) phase: Phase,
}

impl<S: 'static> Life<S> {
    /// In this order, so that nothing is accepted before `on_worker_start` has returned.
    fn boot(&mut self) -> Result {
        let state = caught("the state", || (self.make_state)(&self.place))?;
        let state = self.state.insert(state);
        if let Some(callback) = &self.start {
            caught("on_worker_start", || callback(&mut Process::new(state)))?;
        }
        Ok(())
    }

    /// Accepts, and tells the master so, unless the application wants to say itself when.
    fn get_ready(&mut self) -> Result {
        self.phase = Phase::Starting;
        let given = with(|core| match &core.readiness {
            Readiness::AtOnce => Some(Ok(())),
            Readiness::Deferred => None,
            Readiness::Given(given) => Some(given.clone()),
        });
        match given.flatten() {
            Some(Ok(())) => {}
            Some(Err(reason)) => return Err(Error::msg(reason)),
            None => return Ok(()),
        }
        if let (Some(inherited), Some(plan)) = (self.listener.take(), self.plan.take()) {
            accept_from(inherited, plan)?;
        }
        self.phase = Phase::Ready;
        with(|core| core.link.tell(&ToMaster::Ready));
        Ok(())
    }

    fn fail(&mut self, error: &Error) {
        let reason = error.to_string();
        log::error!("cannot start: {reason}");
        with(|core| core.link.tell(&ToMaster::boot_failed(reason)));
        self.phase = Phase::Failed;
    }
}

impl<S: 'static> Turns for Life<S> {
    fn poll_fd(&self) -> RawFd {
        self.main.poll_fd()
    }

    fn turn(&mut self, limit: Option<Duration>) -> bool {
        if self.phase == Phase::New {
            let booted = self.boot().and_then(|()| self.get_ready());
            if let Err(error) = booted {
                self.fail(&error);
                return true;
            }
            if let Some(state) = &mut self.state {
                // What happened during the start is settled before the first wait.
                self.main.finish_turn(state);
            }
            return false;
        }
        let Some(state) = self.state.as_mut().filter(|_| self.phase != Phase::Failed) else {
            return true;
        };
        let reload = |state: &mut dyn Any| {
            if let (Some(callback), Some(state)) = (&self.reload, state.downcast_mut::<S>()) {
                guard("on_worker_reload", || callback(&mut Process::new(state)));
            }
        };
        let over = self.main.turn(limit, state, &reload);
        if self.phase == Phase::Starting
            && let Err(error) = self.get_ready()
        {
            self.fail(&error);
            return true;
        }
        over
    }

    fn finish(&mut self) -> u8 {
        let Some(state) = self.state.as_mut().filter(|_| self.phase != Phase::Failed) else {
            uninstall();
            return 1;
        };
        self.main.end(state);
        if let Some(callback) = &self.stop {
            guard("on_worker_stop", || callback(&mut Process::new(state)));
        }
        uninstall();
        0
    }
}

/// Takes the loop from its thread. Letters that wait are dropped now: mailboxes that others have would keep them.
fn uninstall() {
    let core = install(None);
    while let Some(letter) = core.as_ref().and_then(|core| core.mail.next()) {
        drop(letter);
    }
}

fn accept_from(inherited: Inherited, plan: Rc<dyn AnyPlan>) -> Result {
    let address = inherited.address.clone();
    with(|core| core.add_listener(inherited, plan))
        .unwrap_or_else(|| Err(std::io::Error::other("the loop is gone")))
        .map_err(|error| Error::msg(format!("cannot accept at {address}: {error}")))
}

/// Runs a callback of the start; a panic becomes the reason why the process could not start.
fn caught<T>(what: &str, code: impl FnOnce() -> Result<T>) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(code)) {
        Ok(result) => result,
        Err(panic) => Err(Error::msg(format!(
            "{what} panicked: {}",
            panic_text(panic.as_ref())
        ))),
    }
}
