//! A hive inside a program of another language, whose `main` is not ours: what bindings are made of. Programs in Rust
//! have [`run_all`](crate::run_all) instead, which ends a worker process by itself and needs nothing of this.
//!
//! A host starts its hive by [`Host::start`]. In a worker process that returns the process's seat, and the host does with
//! it what its language wants; the master stays inside the call until the hive is over, or, if it is to be nested in
//! the host's own loop, comes back as a [`HostedMaster`].

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::sync::Arc;

use log::Level;
pub use workhive_worker::{Hosting, Program, Running, Seat};

use crate::hosted::Home;
pub use crate::nested::HostedMaster;
use crate::{Cli, Exit, Group, attach, dispositions, exec, logger};

/// Who handles the signals of the processes while the hive is there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Signals {
    /// The hive, as it does for programs of its own.
    ///
    /// In the master the host's handlers are called too, and are put back when the hive is over. In a worker process
    /// `SIGTERM` and `SIGQUIT` end its loop; `SIGINT`, which a terminal sends to everybody, does nothing, since the master
    /// coordinates; and `SIGHUP`, `SIGUSR1`, `SIGUSR2` and `SIGPIPE` do what the host's handler does, or nothing. There
    /// [`put_signals_back`] puts back what was before.
    #[default]
    Library,
    /// The host: a nested master, and a worker process, has none of them changed, and is told of them by the host. A
    /// master that is not nested handles them all the same: while it is in [`Host::start`] no code of the host runs.
    Host,
}

/// On which side of a fork one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forked {
    /// In the process that was there before.
    Parent {
        /// The new process.
        child: i32,
    },
    /// In the new process.
    Child,
}

/// What has become of a start.
#[derive(Debug)]
pub enum Started {
    /// The process has done what the command line said: it is to end, with this exit code.
    Over(Exit),
    /// It is a worker process, on its seat: it is to run this program there, and to end with its exit code.
    Worker(Program, Seat),
    /// It is the master, and is to be run by the host's own loop.
    Master(HostedMaster),
}

/// What is called for each line of the log.
pub type Sink = dyn Fn(Level, &str) + Send + Sync;

/// Makes a copy of the host.
pub(crate) type Fork = dyn FnMut() -> io::Result<Forked>;

/// How a hive runs in a host.
///
/// ```no_run
/// use workhive::host::{Host, Started};
/// use workhive::{Cli, Group, Program};
///
/// let group = Group::new("ticker", Program::new("none", |_seat| 0)).count(2);
/// let code = match Host::new().start(Cli::new("ticker"), ["ticker", "start"], [group]) {
///     Started::Over(exit) => exit.code(),
///     Started::Worker(program, seat) => program.run(seat),
///     Started::Master(master) => master.finish().code(),
/// };
/// std::process::exit(i32::from(code));
/// ```
#[derive(Default)]
pub struct Host {
    signals: Signals,
    nested: bool,
    fork: Option<Box<Fork>>,
}

impl Host {
    /// A host whose signals are handled by the hive, and that is forked by fork(2).
    ///
    /// ```
    /// let host = workhive::host::Host::new();
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// Who handles signals.
    ///
    /// ```
    /// use workhive::host::{Host, Signals};
    ///
    /// let host = Host::new().signals(Signals::Host);
    /// ```
    pub fn signals(mut self, signals: Signals) -> Self {
        self.signals = signals;
        self
    }

    /// Gives the master back to the host as soon as it is there, to be run by the host's own loop. Its processes cannot
    /// be forked then, only executed.
    ///
    /// ```
    /// let host = workhive::host::Host::new().nested(true);
    /// ```
    pub fn nested(mut self, nested: bool) -> Self {
        self.nested = nested;
        self
    }

    /// How the host is forked: many have to do something of their own before and after. It is called for every process
    /// that goes on as a copy of this one, the daemon of `start -d` and the router included, and only while there is one
    /// thread.
    ///
    /// ```
    /// use workhive::host::{Forked, Host};
    ///
    /// let host = Host::new().fork_with(|| Err(std::io::ErrorKind::Unsupported.into()));
    /// # let _ = Forked::Child;
    /// ```
    pub fn fork_with(mut self, fork: impl FnMut() -> io::Result<Forked> + 'static) -> Self {
        self.fork = Some(Box::new(fork));
        self
    }

    /// Does what the command line `args` says, of which the first is the program's name.
    ///
    /// What is printed is what a program of its own would print; an error has been printed too. A worker process that
    /// cannot take its seat has told its master why.
    ///
    /// ```
    /// use workhive::host::{Host, Started};
    /// use workhive::{Cli, Exit, Group, Program};
    ///
    /// let group = Group::new("ticker", Program::new("none", |_seat| 0));
    /// let started = Host::new().start(Cli::new("ticker"), ["ticker", "check"], [group]);
    /// assert!(matches!(started, Started::Over(Exit::SUCCESS)));
    /// ```
    pub fn start<A, G>(self, cli: Cli, args: A, groups: G) -> Started
    where
        A: IntoIterator,
        A::Item: Into<OsString> + Clone,
        G: IntoIterator,
        G::Item: Into<Group>,
    {
        remember();
        let mut home = Home::host(self.signals, self.nested, self.fork);
        match cli.parse_in(&mut home, args) {
            Ok(args) => args.run_in(home, groups.into_iter().map(Into::into).collect()),
            Err(error) => Started::Over(error.report()),
        }
    }
}

impl Host {
    /// Takes the seat that `workhive run --attach` has for this process, with the only group of the host: its name does
    /// not matter, nor do its address and its number of processes, which are those of the command line. None if this
    /// process was not started so.
    ///
    /// A process that cannot take its seat has told its master why, and is to end.
    ///
    /// ```
    /// use workhive::host::Host;
    /// use workhive::{Group, Program};
    ///
    /// let group = Group::new("ticker", Program::new("none", |_seat| 0));
    /// assert!(Host::new().attach([group])?.is_none());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn attach<G>(self, groups: G) -> io::Result<Option<(Program, Seat)>>
    where
        G: IntoIterator,
        G::Item: Into<Group>,
    {
        let mut home = Home::host(self.signals, false, None);
        let groups: Vec<Group> = groups.into_iter().map(Into::into).collect();
        attach::attach(&mut home, &groups)
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host")
            .field("signals", &self.signals)
            .field("nested", &self.nested)
            .finish_non_exhaustive()
    }
}

/// Takes note of how this process was executed, with all arguments of its interpreter, and where: so its processes are
/// executed too. To be called as soon as the library is loaded, since a title that the host gives itself later hides the
/// one, and another directory the other. [`Host::start`] does it where nobody has.
///
/// ```
/// workhive::host::remember();
/// ```
pub fn remember() {
    let _ = exec::arguments();
}

/// Lets the signals of a worker process do again what they did in the host before it was one. To be called when its loop is
/// over and the host goes on. In other processes nothing happens.
///
/// ```
/// workhive::host::put_signals_back()?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn put_signals_back() -> io::Result<()> {
    dispositions::put_back_in_worker()
}

/// Hands every line of the log to the host, instead of to standard error or the log file: its level, and what it says,
/// without time, place and pid, with control characters escaped. Called on whichever thread has logged. With `None`
/// lines go where they went before.
///
/// ```
/// use std::sync::Arc;
///
/// workhive::host::log_with(Some(Arc::new(|level, text: &str| eprintln!("{level} {text}"))));
/// workhive::host::log_with(None);
/// ```
pub fn log_with(sink: Option<Arc<Sink>>) {
    logger::sink(sink);
}
