//! What the processes of a group do: a listener, a state, callbacks around them.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use workhive_protocols::Protocol;

use crate::core::with;
use crate::error::Result;
use crate::listener::{Listener, MakeState};
use crate::process::{Process, guard};
use crate::route::OnPresence;
use crate::running::{Life, Phase, Running};
use crate::seat::{Hosting, Place, Program, Seat};
use crate::turn::Loop;
use crate::uid::Uid;

pub(crate) type OnWorker<S> = Box<dyn Fn(&mut Process<'_, S>) -> Result>;
type OnUid<S> = Box<dyn Fn(&mut Process<'_, S>, &Uid) -> Result>;

/// A group's work, with its types; [`into_program`](Definition::into_program) takes them off.
///
/// Programs meet this as `workhive::Worker`, which adds what concerns the group as a whole.
pub struct Definition<P: Protocol, S = (), D = ()> {
    /// The group's own listener.
    pub listener: Listener<P, S, D>,
    state: MakeState<S>,
    start: Option<OnWorker<S>>,
    stop: Option<OnWorker<S>>,
    reload: Option<OnWorker<S>>,
    online: Option<OnUid<S>>,
    offline: Option<OnUid<S>>,
}

impl<P: Protocol> Definition<P> {
    /// Processes that serve at `address`.
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; pub use workhive_worker::*; }
    /// use workhive::Text;
    /// use workhive::Definition;
    ///
    /// let echo = Definition::<Text>::new("127.0.0.1:5678");
    /// assert_eq!(echo.into_program().protocol(), "text");
    /// ```
    pub fn new(address: impl Into<String>) -> Self {
        Self {
            listener: Listener::<P>::new(address),
            state: Box::new(|_| Ok(())),
            start: None,
            stop: None,
            reload: None,
            online: None,
            offline: None,
        }
    }
}

impl<P: Protocol, S: 'static, D: 'static> Definition<P, S, D> {
    /// The same with a state that each process makes for itself.
    pub fn state<T: 'static>(
        self,
        make: impl Fn(&Place) -> Result<T> + 'static,
    ) -> Definition<P, T, D> {
        let misuse = self.has_callbacks();
        let mut listener = self.listener.with_state();
        if misuse {
            listener.misuse = Some(
                "state(..) must be called before the callbacks are set: it changes their type",
            );
        }
        Definition {
            listener,
            state: Box::new(make),
            start: None,
            stop: None,
            reload: None,
            online: None,
            offline: None,
        }
    }

    fn has_callbacks(&self) -> bool {
        self.start.is_some()
            || self.stop.is_some()
            || self.reload.is_some()
            || self.online.is_some()
            || self.offline.is_some()
    }

    /// Changes the group's own listener.
    pub fn map_listener<E: 'static>(
        self,
        change: impl FnOnce(Listener<P, S, D>) -> Listener<P, S, E>,
    ) -> Definition<P, S, E> {
        Definition {
            listener: change(self.listener),
            state: self.state,
            start: self.start,
            stop: self.stop,
            reload: self.reload,
            online: self.online,
            offline: self.offline,
        }
    }

    /// Called in each process before it accepts; `Err` means that it cannot start.
    pub fn on_worker_start(
        mut self,
        callback: impl Fn(&mut Process<'_, S>) -> Result + 'static,
    ) -> Self {
        self.start = Some(Box::new(callback));
        self
    }

    /// Called in each process when it ends in good order, after its last connection.
    pub fn on_worker_stop(
        mut self,
        callback: impl Fn(&mut Process<'_, S>) -> Result + 'static,
    ) -> Self {
        self.stop = Some(Box::new(callback));
        self
    }

    /// Called when the hive reloads: in a group that is not reloadable, its processes get this call instead of being
    /// replaced.
    pub fn on_worker_reload(
        mut self,
        callback: impl Fn(&mut Process<'_, S>) -> Result + 'static,
    ) -> Self {
        self.reload = Some(Box::new(callback));
        self
    }

    /// Called in each process when a uid gets its first connection in the whole hive, while the router can be reached;
    /// twice, perhaps, while the hive reloads.
    pub fn on_uid_online(
        mut self,
        callback: impl Fn(&mut Process<'_, S>, &Uid) -> Result + 'static,
    ) -> Self {
        self.online = Some(Box::new(callback));
        self
    }

    /// Called in each process when a uid has had no connection in the whole hive for two seconds.
    pub fn on_uid_offline(
        mut self,
        callback: impl Fn(&mut Process<'_, S>, &Uid) -> Result + 'static,
    ) -> Self {
        self.offline = Some(Box::new(callback));
        self
    }

    /// The work without its types.
    pub fn into_program(self) -> Program {
        // A forked process runs its copy of the program once; the master never does.
        let protocol = self.listener.protocol();
        let definition = RefCell::new(Some(self));
        Program::of_turns(protocol, move |seat, hosting| {
            let Some(definition) = definition.take() else {
                log::error!("a program was run twice in one process");
                return Err(1);
            };
            definition.begin(seat, hosting)
        })
    }

    fn begin(self, seat: Seat, hosting: Hosting) -> Result<Running, u8> {
        let Self {
            listener: plan,
            state,
            start,
            stop,
            reload,
            online,
            offline,
        } = self;
        let place = Rc::new(seat.place);
        let main = Loop::new(
            Rc::clone(&place),
            seat.row,
            seat.control,
            seat.drain,
            seat.stuck,
            seat.clients,
            hosting,
        );
        let main = match main {
            Ok(main) => main,
            // The link went down with the loop: the master sees the end of file and the exit code.
            Err(error) => {
                log::error!("the event loop cannot be made: {error}");
                return Err(1);
            }
        };
        if online.is_some() || offline.is_some() {
            watch(online, offline);
        }
        let listener = seat.listener;
        let life = Life {
            main,
            plan: Some(plan.into_plan()),
            place,
            state: None,
            make_state: state,
            start,
            stop,
            reload,
            phase: Phase::New,
            listener,
        };
        Ok(Running::new(life, hosting))
    }
}

/// Tells the callbacks of uids that come and go.
fn watch<S: 'static>(online: Option<OnUid<S>>, offline: Option<OnUid<S>>) {
    let hook: OnPresence = Rc::new(move |state, uid, is_online| {
        let (name, callback) = if is_online {
            ("on_uid_online", &online)
        } else {
            ("on_uid_offline", &offline)
        };
        if let (Some(callback), Some(state)) = (callback, state.downcast_mut::<S>()) {
            guard(name, || callback(&mut Process::new(state), uid));
        }
    });
    with(|core| core.routing.watch(hook));
}

impl<P: Protocol, S, D> fmt::Debug for Definition<P, S, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Definition")
            .field("listener", &self.listener)
            .finish_non_exhaustive()
    }
}
