//! The router as the master sees it: one more process to watch over, and a stream from it to every worker process.
//!
//! The master makes the streams and hands out their ends. What is said on them it never sees.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use workhive_ipc::ToWorker;

use crate::backoff::Backoff;
use crate::credentials::Credentials;
use crate::error::StartError;
use crate::identity::Identity;
use crate::link::stream;
use crate::listeners::GroupListeners;
use crate::local_socket::LocalSocket;
use crate::master::{Master, Mood, Timer};
use crate::slot::{Phase, ProcessId, Running, SlotId};
use crate::{Group, Spawn};

/// The name of the router's group, which no other group may have.
pub(crate) const NAME: &str = "router";

/// Processes in one message to the router.
const EXPECTED: usize = 1000;

/// How long after a stream could not be made it is tried again: for want of descriptors, as a rule.
const AGAIN: Duration = Duration::from_secs(1);

/// Where programs of this machine reach the router, and in which process it is.
#[derive(Debug)]
pub(crate) struct Routing {
    /// Bound once, so that what waits in its queue outlives every router. None if nobody routes: all processes are
    /// programs that know nothing of it.
    socket: Option<(UnixListener, LocalSocket)>,
    /// The router's place among the groups; none if the hive has only ever had one worker process, which routes for
    /// itself.
    group: Option<usize>,
}

impl Routing {
    /// Binds the socket, and adds the router's group if there is more than one worker process.
    /// A socket of the master before this one takes the place of a new one.
    pub(crate) fn bind(
        identity: &Identity,
        groups: &mut Vec<Running>,
        handed: Option<OwnedFd>,
    ) -> Result<Self, StartError> {
        let failed = |error| StartError::PushSocket {
            path: identity.push_socket.clone(),
            error,
        };
        let processes: usize = groups
            .iter()
            .filter(|running| !running.definition.is_foreign())
            .map(|running| usize::from(running.definition.count))
            .sum();
        if processes == 0 {
            return Ok(Self {
                socket: None,
                group: None,
            });
        }
        let (file, socket) = match handed {
            Some(socket) => (LocalSocket::handed(&identity.push_socket), socket.into()),
            None => LocalSocket::bind(&identity.push_socket).map_err(failed)?,
        };
        if let Some(user) = credentials(groups).another_user().filter(|_| file.is_own()) {
            file.give_to(user).map_err(failed)?;
            identity.open_directory().map_err(failed)?;
        }
        let mut routing = Self {
            socket: Some((socket, file)),
            group: None,
        };
        if processes > 1 {
            routing.add_router(groups);
        }
        Ok(routing)
    }

    /// The socket, for the master after this one.
    pub(crate) fn socket(&self) -> io::Result<Option<OwnedFd>> {
        let socket = self.socket.as_ref();
        socket
            .map(|(socket, _)| Ok(socket.try_clone()?.into()))
            .transpose()
    }

    /// The socket's file, to be owned or disowned.
    pub(crate) fn file_mut(&mut self) -> Option<&mut LocalSocket> {
        self.socket.as_mut().map(|(_, file)| file)
    }

    /// Adds the router's group; returns its place.
    pub(crate) fn add_router(&mut self, groups: &mut Vec<Running>) -> usize {
        let (definition, credentials) = (definition(groups), credentials(groups));
        let mut router = Running::new(definition, credentials, GroupListeners::default());
        for slot in &mut router.slots {
            // Without it nobody reaches anybody: a router that was killed once is back at once.
            slot.backoff = Backoff::lenient();
        }
        groups.push(router);
        let place = groups.len() - 1;
        self.group = Some(place);
        place
    }

    /// The router's place among the groups.
    pub(crate) fn group(&self) -> Option<usize> {
        self.group
    }

    /// True for the router's own slot.
    pub(crate) fn is_router(&self, at: SlotId) -> bool {
        self.group == Some(at.group)
    }

    /// True if the hive's only worker process has the router in it.
    pub(crate) fn is_inside(&self) -> bool {
        self.group.is_none() && self.socket.is_some()
    }

    /// The listening socket, for the process that is to fill this slot.
    pub(crate) fn socket_for(&self, at: SlotId) -> io::Result<Option<OwnedFd>> {
        match &self.socket {
            Some((socket, _)) if self.is_router(at) || self.is_inside() => {
                Ok(Some(socket.try_clone()?.into()))
            }
            _ => Ok(None),
        }
    }
}

/// As whom the router runs: as the first group that has given rights up, since everybody's bytes pass through it; else
/// as the first group.
fn credentials(groups: &[Running]) -> Credentials {
    let mut all = groups.iter().map(|running| &running.credentials);
    let humble = all
        .clone()
        .find(|credentials| credentials.another_user().is_some());
    humble.or_else(|| all.next()).cloned().unwrap_or_default()
}

fn definition(groups: &[Running]) -> Group {
    // Orphaned, it has as long as those who need it.
    let drains = groups.iter().map(|running| running.definition.drain);
    let mut routed = groups
        .iter()
        .filter(|running| !running.definition.is_foreign());
    // A hive that executes everything else may be one that cannot fork.
    let spawn = if routed.all(|running| running.definition.spawn == Spawn::Exec) {
        Spawn::Exec
    } else {
        Spawn::Fork
    };
    Group::new(NAME, workhive_worker::router_program())
        .reloadable(false)
        .spawn(spawn)
        .drain(drains.max().unwrap_or_default())
}

impl Master {
    pub(crate) fn is_router(&self, at: SlotId) -> bool {
        self.routing.is_router(at)
    }

    /// How many processes there are beside the router.
    pub(crate) fn workers(&self) -> usize {
        let workers = self.processes.values();
        workers
            .filter(|process| !self.is_router(process.slot))
            .count()
    }

    /// A process has been forked: if it is a worker, it gets a stream to the router; if it is the router, it gets one
    /// to every worker.
    pub(crate) fn introduce(&mut self, id: ProcessId) {
        let Some(process) = self.processes.get(&id) else {
            return;
        };
        if !self.is_router(process.slot) {
            self.connect(id);
            return;
        }
        let workers: Vec<_> = self
            .processes
            .iter()
            .filter(|(_, process)| {
                !self.is_router(process.slot) && !process.alone && process.link.is_some()
            })
            .map(|(id, _)| *id)
            .collect();
        let names = workers.iter().filter_map(|id| self.processes.get(id));
        let mut names: Vec<_> = names.map(|process| process.name).collect();
        names.extend(self.routed_for_successor());
        // First who there is: with the streams to some of them it would take the others for absent.
        for names in names.chunks(EXPECTED) {
            let processes = names.to_vec();
            self.send(id, ToWorker::Expect { processes }, None);
        }
        let processes = Vec::new();
        self.send(id, ToWorker::Expect { processes }, None);
        for worker in workers {
            self.connect(worker);
        }
        self.link_waiting_for_successor();
    }

    /// A worker has lost its stream to the router.
    pub(crate) fn on_request_router(&mut self, id: ProcessId) {
        if self.borrows_router() {
            self.connect(id);
            return;
        }
        let (Some(router), Some(process)) = (self.router(), self.processes.get(&id)) else {
            // The next router brings a stream for everybody.
            return;
        };
        let name = process.name;
        // What it asks for has been sent already and waits for the router to be taken; the request is about the one
        // before.
        let waits = self
            .processes
            .get(&router)
            .and_then(|router| router.link.as_ref())
            .is_some_and(|link| link.has_waiting(|message| is_link(message, name)));
        if !waits {
            self.connect(id);
        }
    }

    /// Makes a stream between a worker and the router. Without a router nothing happens: the next one gets a stream to
    /// every worker when it is forked.
    pub(crate) fn connect(&mut self, id: ProcessId) {
        let router = self.router();
        if router.is_none() && !self.borrows_router() {
            return;
        }
        let Some(process) = self.processes.get(&id) else {
            return;
        };
        if self.is_router(process.slot)
            || process.alone
            || process.link.is_none()
            || matches!(process.phase, Phase::Killed | Phase::Ended)
        {
            return;
        }
        let name = process.name;
        let (to_router, to_worker) = match stream() {
            Ok(ends) => ends,
            Err(error) => {
                log::error!(
                    "{}: no stream to the router can be made: {error}; trying again in {AGAIN:?}",
                    self.place(process.slot)
                );
                self.timers.at(Instant::now() + AGAIN, Timer::Connect(id));
                return;
            }
        };
        // The router first. If it is dying it takes nothing, and the worker must not be given the end of a stream to
        // nobody: it would ask for another, again and again until the end of the router is seen. And if the one or the
        // other does not get its end, both are closed here, which the other one sees.
        let taken = match router {
            Some(router) => {
                let message = ToWorker::Link { process: name };
                self.take_back(router, |message| is_link(message, name));
                self.send(router, message, Some(to_router))
            }
            None => self.link_by_predecessor(name, to_router),
        };
        if taken {
            self.take_back(id, |message| *message == ToWorker::Router);
            self.send(id, ToWorker::Router, Some(to_worker));
        }
    }

    /// A worker has ended: whatever it had, the router forgets.
    pub(crate) fn tell_router_of_end(&mut self, name: workhive_ipc::route::Process) {
        if let Some(router) = self.router() {
            self.take_back(router, |message| is_link(message, name));
            self.send(router, ToWorker::Ended { process: name }, None);
        }
    }

    /// While the hive stops: the router goes when nobody needs it any more.
    pub(crate) fn release_router(&mut self) {
        if !self.is_stopping() || self.workers() > 0 {
            return;
        }
        let routers: Vec<_> = self.processes.keys().copied().collect();
        for id in routers {
            self.end(id);
        }
    }

    /// False for a slot that stays empty: the group has fewer by now; or the hive stops, and only the router is still
    /// needed, by those that drain.
    pub(crate) fn is_wanted(&self, at: SlotId) -> bool {
        if at.slot >= self.running(at).definition.count {
            return false;
        }
        if self.is_router(at) && self.borrows_router() {
            return false;
        }
        match self.mood {
            Mood::Starting | Mood::Running => true,
            Mood::Stopping { graceful, .. } => {
                let proven = self.running(at).proven;
                graceful && self.is_router(at) && proven && self.workers() > 0
            }
        }
    }

    /// The router, if it lives.
    pub(crate) fn router(&self) -> Option<ProcessId> {
        let id = self.groups[self.routing.group()?].slots.first()?.current?;
        let process = self.processes.get(&id)?;
        let lives = process.link.is_some()
            && !matches!(process.phase, Phase::Killed | Phase::Ended)
            && !process.has_ended();
        lives.then_some(id)
    }
}

/// True for the stream to this process.
pub(crate) fn is_link(message: &ToWorker, name: workhive_ipc::route::Process) -> bool {
    matches!(message, ToWorker::Link { process } if *process == name)
}
