//! The typed definition of a group: what users write.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use workhive_protocols::{Handshake, Protocol, Raw, Verdict, WebSocket};
use workhive_worker::{Conn, ConnectionError, Definition, Listener, Place, Process, Result, Uid};

use crate::manners::{Manners, Umask};
use crate::{Exit, Group, Spawn, run_all};

/// A group of worker processes that speak protocol `P`, each with a state `S`, with data `D` on every connection.
///
/// ```no_run
/// use workhive::{Http, Method, Response, Worker};
///
/// fn main() -> workhive::Exit {
///     Worker::<Http>::new("0.0.0.0:8080")
///         .name("hello")
///         .count(4)
///         .on_message(|conn, request| match (request.method(), request.path()) {
///             (Method::Get, "/") => conn.send(Response::text("Hello, World!")),
///             _ => conn.send(Response::status(404)),
///         })
///         .run()
/// }
/// ```
///
/// The order that matters: [`state`](Worker::state) and [`data`](Worker::data) change the types of all callbacks, so
/// they come before them. Mistakes (a bad address, a count of 0) are reported when the hive starts.
pub struct Worker<P: Protocol, S = (), D = ()> {
    definition: Definition<P, S, D>,
    settings: Settings,
}

struct Settings {
    name: String,
    listens: bool,
    count: usize,
    reuse_port: bool,
    reloadable: bool,
    user: Option<String>,
    group: Option<String>,
    drain: Option<Duration>,
    boot_timeout: Option<Duration>,
    stuck_after: Option<Duration>,
    max_requests: Option<u64>,
    max_lifetime: Option<Duration>,
    max_memory: Option<u64>,
    manners: Manners,
    /// As it was given: the group understands it.
    cpu_affinity: Option<String>,
    one_process: Option<String>,
    spawn: Option<Spawn>,
}

impl<P: Protocol> Worker<P> {
    /// Processes that serve at `address`: `0.0.0.0:8080`, `[::]:8080`, `unix:/run/app.sock`, with or without the
    /// protocol's scheme in front (`http://0.0.0.0:8080`).
    pub fn new(address: impl Into<String>) -> Self {
        Self {
            definition: Definition::new(address),
            settings: Settings {
                name: P::NAME.to_owned(),
                listens: true,
                count: 1,
                reuse_port: false,
                reloadable: true,
                user: None,
                group: None,
                drain: None,
                boot_timeout: None,
                stuck_after: None,
                max_requests: None,
                max_lifetime: None,
                max_memory: None,
                manners: Manners::default(),
                cpu_affinity: None,
                one_process: None,
                spawn: None,
            },
        }
    }
}

impl Worker<Raw> {
    /// Processes without a listener of their own: they open listeners in `on_worker_start`, or only run timers.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use workhive::Worker;
    ///
    /// fn main() -> workhive::Exit {
    ///     Worker::without_listener()
    ///         .name("clock")
    ///         .on_worker_start(|worker| {
    ///             worker.every(Duration::from_secs(1), |_| {
    ///                 println!("tick");
    ///                 Ok(())
    ///             })?;
    ///             Ok(())
    ///         })
    ///         .run()
    /// }
    /// ```
    pub fn without_listener() -> Self {
        let mut worker = Self::new("");
        "worker".clone_into(&mut worker.settings.name);
        worker.settings.listens = false;
        worker
    }
}

impl<P: Protocol, S: 'static, D: 'static> Worker<P, S, D> {
    /// The group's name, in tables, logs and on the command line (`--count NAME=4`). The protocol's name unless set.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.settings.name = name.into();
        self
    }

    /// How many processes, 1 to 1024. 1 unless set; `--count` on the command line wins.
    pub fn count(mut self, count: usize) -> Self {
        self.settings.count = count;
        self
    }

    /// Refuses to start with more than one process, for the reason given.
    pub fn one_process_only(mut self, why: impl Into<String>) -> Self {
        self.settings.one_process = Some(why.into());
        self
    }

    /// With `true`, every process has a listening socket of its own and the kernel spreads connections over them by a
    /// hash (`SO_REUSEPORT`, socket(7)); otherwise all accept from one. In both cases the master holds the sockets,
    /// so that nothing queued is lost when a process is replaced.
    pub fn reuse_port(mut self, yes: bool) -> Self {
        self.settings.reuse_port = yes;
        self
    }

    /// With `false`, a reload does not replace these processes but calls `on_worker_reload` in them.
    pub fn reloadable(mut self, yes: bool) -> Self {
        self.settings.reloadable = yes;
        self
    }

    /// The user that the processes become after their start; needs a master that runs as root. A user that does not
    /// exist, or cannot be become, keeps the process from starting.
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.settings.user = Some(user.into());
        self
    }

    /// The Unix group that the processes become a member of; the user's own unless set.
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.settings.group = Some(group.into());
        self
    }

    /// How long a process may take to finish what it has in hand when it is replaced or stopped; 10 s unless set.
    pub fn drain(mut self, window: Duration) -> Self {
        self.settings.drain = Some(window);
        self
    }

    /// How long a process may take to become ready ([`on_worker_start`](Self::on_worker_start) included); then it has
    /// failed, and is killed. A minute unless set.
    pub fn boot_timeout(mut self, time: Duration) -> Self {
        self.settings.boot_timeout = Some(time);
        self
    }

    /// How long one turn of a process's loop may take, a callback above all; then the process is stuck: what it was at
    /// is logged, and it is killed and replaced within two seconds more. A minute unless set.
    pub fn stuck_after(mut self, time: Duration) -> Self {
        self.settings.stuck_after = Some(time);
        self
    }

    /// After how many messages a process is replaced, as by a reload; never unless set: [`Group::max_requests`].
    pub fn max_requests(mut self, messages: u64) -> Self {
        self.settings.max_requests = Some(messages);
        self
    }

    /// How old a process may become before it is replaced, as by a reload: [`Group::max_lifetime`].
    pub fn max_lifetime(mut self, age: Duration) -> Self {
        self.settings.max_lifetime = Some(age);
        self
    }

    /// How much memory, in bytes, a process may have before it is replaced, as by a reload: [`Group::max_memory`].
    pub fn max_memory(mut self, bytes: u64) -> Self {
        self.settings.max_memory = Some(bytes);
        self
    }

    /// How many descriptors a process may have open: [`Group::nofile`].
    pub fn nofile(mut self, descriptors: u64) -> Self {
        self.settings.manners.nofile = Some(descriptors);
        self
    }

    /// The nice value of the processes, -20 to 19: [`Group::nice`].
    pub fn nice(mut self, value: i32) -> Self {
        self.settings.manners.nice = Some(value);
        self
    }

    /// On which CPUs the processes run, a list such as `0,2-5`, or `auto` for one each: [`Group::cpu_affinity`].
    pub fn cpu_affinity(mut self, cpus: impl Into<String>) -> Self {
        self.settings.cpu_affinity = Some(cpus.into());
        self
    }

    /// How likely the processes are to be killed when memory runs out, -1000 to 1000: [`Group::oom_score_adj`].
    pub fn oom_score_adj(mut self, score: i32) -> Self {
        self.settings.manners.oom_score = Some(score);
        self
    }

    /// Which permissions the files that the processes make do not get: [`Group::umask`].
    pub fn umask(mut self, mask: u32) -> Self {
        self.settings.manners.umask = Some(Umask(mask));
        self
    }

    /// The working directory of the processes: [`Group::chdir`].
    pub fn chdir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.settings.manners.directory = Some(directory.into());
        self
    }

    /// How processes come to be: copies of the master ([`Spawn::Fork`], unless set), or the program started anew for each
    /// ([`Spawn::Exec`]).
    pub fn spawn(mut self, spawn: Spawn) -> Self {
        self.settings.spawn = Some(spawn);
        self
    }

    /// Gives every process a state of its own, made by `make` when the process starts. Callbacks reach it without
    /// locks ([`Conn::state_mut`]). To be called before the callbacks are set.
    ///
    /// ```
    /// use workhive::{Http, Response, Worker};
    ///
    /// let counting = Worker::<Http>::new("127.0.0.1:8080")
    ///     .state(|_place| Ok(0u64))
    ///     .on_message(|conn, _request| {
    ///         *conn.state_mut() += 1;
    ///         conn.send(Response::text(format!("request {}\n", conn.state())))
    ///     });
    /// ```
    pub fn state<T: 'static>(
        self,
        make: impl Fn(&Place) -> Result<T> + 'static,
    ) -> Worker<P, T, D> {
        Worker {
            definition: self.definition.state(make),
            settings: self.settings,
        }
    }

    /// Gives every connection data of its own, made by `make` when it is accepted. To be called before the callbacks
    /// are set.
    ///
    /// ```
    /// use workhive::{Text, Worker};
    ///
    /// #[derive(Default)]
    /// struct Session {
    ///     name: Option<String>,
    /// }
    /// let chat = Worker::<Text>::new("127.0.0.1:5678")
    ///     .data(Session::default)
    ///     .on_message(|conn, line| match &conn.data().name {
    ///         Some(name) => conn.send(format!("{name}: {}", line.as_text()?)),
    ///         None => {
    ///             conn.data_mut().name = Some(line.as_text()?.to_owned());
    ///             conn.send("welcome")
    ///         }
    ///     });
    /// ```
    pub fn data<E: 'static>(self, make: impl Fn() -> E + 'static) -> Worker<P, S, E> {
        Worker {
            definition: self.definition.map_listener(|listener| listener.data(make)),
            settings: self.settings,
        }
    }

    fn listener(self, change: impl FnOnce(Listener<P, S, D>) -> Listener<P, S, D>) -> Self {
        Self {
            definition: self.definition.map_listener(change),
            settings: self.settings,
        }
    }

    fn define(self, change: impl FnOnce(Definition<P, S, D>) -> Definition<P, S, D>) -> Self {
        Self {
            definition: change(self.definition),
            settings: self.settings,
        }
    }

    /// Changes the protocol's limits and options: [`Listener::configure`].
    pub fn configure(self, change: impl FnOnce(&mut P::Config)) -> Self {
        self.listener(|listener| listener.configure(change))
    }

    /// Length of the accept queue in connections: [`Listener::backlog`].
    pub fn backlog(self, connections: u32) -> Self {
        self.listener(|listener| listener.backlog(connections))
    }

    /// How many bytes may wait to be sent on one connection: [`Listener::max_send_buffer`].
    pub fn max_send_buffer(self, bytes: usize) -> Self {
        self.listener(|listener| listener.max_send_buffer(bytes))
    }

    /// Whether messages to all reach the connections: [`Listener::routed`].
    pub fn routed(self, yes: bool) -> Self {
        self.listener(|listener| listener.routed(yes))
    }

    /// How many uids a connection may have: [`Listener::max_uids`].
    pub fn max_uids(self, uids: u16) -> Self {
        self.listener(|listener| listener.max_uids(uids))
    }

    /// In how many rooms a connection may be: [`Listener::max_rooms`].
    pub fn max_rooms(self, rooms: u16) -> Self {
        self.listener(|listener| listener.max_rooms(rooms))
    }

    /// Ends connections from which nothing was received for this long: [`Listener::idle_timeout`].
    pub fn idle_timeout(self, after: Duration) -> Self {
        self.listener(|listener| listener.idle_timeout(after))
    }

    /// Ends connections that leave a message unfinished for this long: [`Listener::message_timeout`].
    pub fn message_timeout(self, after: Duration) -> Self {
        self.listener(|listener| listener.message_timeout(after))
    }

    /// Drops connections whose peer takes nothing for this long: [`Listener::send_timeout`].
    pub fn send_timeout(self, after: Duration) -> Self {
        self.listener(|listener| listener.send_timeout(after))
    }

    /// How long a half-closed connection waits for the peer's end: [`Listener::linger`].
    pub fn linger(self, time: Duration) -> Self {
        self.listener(|listener| listener.linger(time))
    }

    /// Keeps connections whose peer has closed its sending side: [`Listener::half_open`].
    pub fn half_open(self, yes: bool) -> Self {
        self.listener(|listener| listener.half_open(yes))
    }

    /// Called in every process before it accepts. `Err` means that it cannot start; if no process of the group ever
    /// can, `start` fails with this reason.
    ///
    /// Here further listeners are opened ([`Process::listen`]) and timers started.
    pub fn on_worker_start(
        self,
        callback: impl Fn(&mut Process<'_, S>) -> Result + 'static,
    ) -> Self {
        self.define(|definition| definition.on_worker_start(callback))
    }

    /// Called in every process that ends in good order, after its last connection.
    pub fn on_worker_stop(
        self,
        callback: impl Fn(&mut Process<'_, S>) -> Result + 'static,
    ) -> Self {
        self.define(|definition| definition.on_worker_stop(callback))
    }

    /// Called at a reload in groups that are not [`reloadable`](Self::reloadable).
    pub fn on_worker_reload(
        self,
        callback: impl Fn(&mut Process<'_, S>) -> Result + 'static,
    ) -> Self {
        self.define(|definition| definition.on_worker_reload(callback))
    }

    /// Called when a uid gets its first connection in the whole hive, in every process of this group. One that is to do
    /// something only once asks for `worker.slot() == 0`, or belongs to a group of one process.
    ///
    /// It may be told twice while the hive reloads, and what happens while the router is being restarted is not told.
    /// Uids that were online before this process was are not told either; [`Hive::uids`](crate::Hive::uids) lists them.
    ///
    /// ```
    /// use workhive::{WebSocket, Worker};
    ///
    /// let chat = Worker::<WebSocket>::new("127.0.0.1:8000")
    ///     .count(4)
    ///     .on_message(|conn, name| conn.bind_uid(name.as_text()?))
    ///     .on_uid_online(|worker, uid| {
    ///         if worker.slot() == 0 {
    ///             worker.hive().send_to_all(format!("{uid} is here"))?;
    ///         }
    ///         Ok(())
    ///     });
    /// ```
    pub fn on_uid_online(
        self,
        callback: impl Fn(&mut Process<'_, S>, &Uid) -> Result + 'static,
    ) -> Self {
        self.define(|definition| definition.on_uid_online(callback))
    }

    /// Called when a uid has had no connection in the whole hive for two seconds, so that a client that comes back, or a
    /// page that is loaded anew, makes no noise; as [`on_uid_online`](Self::on_uid_online).
    pub fn on_uid_offline(
        self,
        callback: impl Fn(&mut Process<'_, S>, &Uid) -> Result + 'static,
    ) -> Self {
        self.define(|definition| definition.on_uid_offline(callback))
    }

    /// Called when a connection has been accepted: [`Listener::on_connect`].
    pub fn on_connect(self, callback: impl Fn(&mut Conn<'_, P, S, D>) -> Result + 'static) -> Self {
        self.listener(|listener| listener.on_connect(callback))
    }

    /// Called for every message: [`Listener::on_message`].
    pub fn on_message(
        self,
        callback: impl Fn(&mut Conn<'_, P, S, D>, P::Message<'_>) -> Result + 'static,
    ) -> Self {
        self.listener(|listener| listener.on_message(callback))
    }

    /// Called once for every connection that has ended: [`Listener::on_close`].
    pub fn on_close(self, callback: impl Fn(&mut Conn<'_, P, S, D>) -> Result + 'static) -> Self {
        self.listener(|listener| listener.on_close(callback))
    }

    /// Called when a connection cannot go on: [`Listener::on_error`].
    pub fn on_error(
        self,
        callback: impl Fn(&mut Conn<'_, P, S, D>, &ConnectionError) -> Result + 'static,
    ) -> Self {
        self.listener(|listener| listener.on_error(callback))
    }

    /// Called when a send was refused: [`Listener::on_buffer_full`].
    pub fn on_buffer_full(
        self,
        callback: impl Fn(&mut Conn<'_, P, S, D>) -> Result + 'static,
    ) -> Self {
        self.listener(|listener| listener.on_buffer_full(callback))
    }

    /// Called when the send buffer is empty again after that: [`Listener::on_buffer_drain`].
    pub fn on_buffer_drain(
        self,
        callback: impl Fn(&mut Conn<'_, P, S, D>) -> Result + 'static,
    ) -> Self {
        self.listener(|listener| listener.on_buffer_drain(callback))
    }

    /// Called before the protocol's goodbye to a connection whose process goes away: [`Listener::on_goodbye`].
    pub fn on_goodbye(self, callback: impl Fn(&mut Conn<'_, P, S, D>) -> Result + 'static) -> Self {
        self.listener(|listener| listener.on_goodbye(callback))
    }

    /// The group without its types, for [`run_all`] with others.
    pub fn into_group(self) -> Group {
        self.into()
    }

    /// Runs the program: reads the command line, and does what it says (`start`, `stop`, `reload`, `status`...).
    /// Returns when the hive has ended, or the command is done.
    pub fn run(self) -> Exit {
        run_all([self])
    }
}

impl<S: 'static, D: 'static> Worker<WebSocket, S, D> {
    /// Called with the request of a handshake, before it is answered: [`Listener::on_websocket_connect`].
    pub fn on_websocket_connect(
        self,
        callback: impl Fn(&mut Conn<'_, WebSocket, S, D>, Handshake<'_>) -> Result<Verdict> + 'static,
    ) -> Self {
        self.listener(|listener| listener.on_websocket_connect(callback))
    }

    /// Called when the handshake has been answered and messages can be sent:
    /// [`Listener::on_websocket_connected`].
    pub fn on_websocket_connected(
        self,
        callback: impl Fn(&mut Conn<'_, WebSocket, S, D>) -> Result + 'static,
    ) -> Self {
        self.listener(|listener| listener.on_websocket_connected(callback))
    }
}

impl<P: Protocol, S: 'static, D: 'static> From<Worker<P, S, D>> for Group {
    fn from(worker: Worker<P, S, D>) -> Self {
        let Worker {
            definition,
            settings,
        } = worker;
        let listener = &definition.listener;
        let misuse = listener.misuse();
        let address = settings.listens.then(|| listener.parse_address());
        let backlog = listener.backlog_len();
        let mut group = Self::new(settings.name, definition.into_program())
            .count(settings.count)
            .backlog(backlog)
            .reuse_port(settings.reuse_port)
            .reloadable(settings.reloadable);
        group = match address {
            Some(Ok(address)) => group.address(address),
            Some(Err(error)) => group.refused(error.to_string()),
            None => group,
        };
        if let Some(rule) = misuse {
            group = group.refused(rule);
        }
        if let Some(user) = settings.user {
            group = group.user(user);
        }
        if let Some(name) = settings.group {
            group = group.unix_group(name);
        }
        if let Some(window) = settings.drain {
            group = group.drain(window);
        }
        if let Some(time) = settings.boot_timeout {
            group = group.boot_timeout(time);
        }
        if let Some(time) = settings.stuck_after {
            group = group.stuck_after(time);
        }
        if let Some(messages) = settings.max_requests {
            group = group.max_requests(messages);
        }
        if let Some(age) = settings.max_lifetime {
            group = group.max_lifetime(age);
        }
        if let Some(bytes) = settings.max_memory {
            group = group.max_memory(bytes);
        }
        group = group.with_manners(&settings.manners);
        if let Some(cpus) = settings.cpu_affinity {
            group = group.cpu_affinity(cpus);
        }
        if let Some(spawn) = settings.spawn {
            group = group.spawn(spawn);
        }
        if let Some(why) = settings.one_process {
            group = group.one_process_only(why);
        }
        group
    }
}

impl<P: Protocol, S, D> fmt::Debug for Worker<P, S, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("name", &self.settings.name)
            .field("definition", &self.definition)
            .finish_non_exhaustive()
    }
}
