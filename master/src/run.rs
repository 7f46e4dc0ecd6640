//! The verbs.

use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::ask::{ask, ask_all};
use crate::cli::{Args, Verb};
use crate::config::HiveSettings;
use crate::count::Count;
use crate::credentials::Credentials;
use crate::error::StartError;
use crate::handed::Handed;
use crate::host::Started;
use crate::hosted::Home;
use crate::identity::Identity;
use crate::listing::Listing;
use crate::pidfile::holder;
use crate::protocol::{Reply, Request, Status};
use crate::{
    Cli, Exit, Group, UsageError, child, config, count, daemon, exec, group, manners, seated, sys,
};

/// How long a graceful stop takes at the most, unless the program has set another drain.
const USUAL_STOP: Duration = Duration::from_secs(13);

/// How much longer than it should take `stop` waits.
const MARGIN: Duration = Duration::from_secs(10);

/// How often `status --watch` looks.
const WATCH: Duration = Duration::from_secs(1);

/// Runs the groups as the command line of this process says: the whole of a program's `main`.
///
/// The program's name is that of its file. For options of its own, and for a name of its own, there is [`Cli`].
///
/// Returns in the master when the hive has ended, and never in a worker process.
///
/// ```no_run
/// use workhive::{Exit, Group, Program, run_all};
///
/// fn main() -> Exit {
///     run_all([Group::new("push", Program::new("none", |_seat| 0)).count(4)])
/// }
/// ```
pub fn run_all<I>(groups: I) -> Exit
where
    I: IntoIterator,
    I::Item: Into<Group>,
{
    let program = std::env::args_os()
        .next()
        .map(PathBuf::from)
        .unwrap_or_default();
    let name = program
        .file_stem()
        .map(|stem| stem.to_string_lossy().into_owned());
    match Cli::new(name.unwrap_or_else(|| "workhive".to_owned())).parse() {
        Ok(args) => args.run_all(groups),
        Err(exit) => exit,
    }
}

impl Args {
    /// Does what the command line says with these groups. See [`run_all`].
    ///
    /// ```no_run
    /// # fn main() -> workhive::Exit {
    /// use workhive::{Cli, Group, Program};
    ///
    /// let args = match Cli::new("push").option("at", "ADDR", "127.0.0.1:1234", "Where to listen").parse() {
    ///     Ok(args) => args,
    ///     Err(exit) => return exit,
    /// };
    /// let group = Group::new("push", Program::new("text", |_seat| 0));
    /// let group = match args.value("at").parse() {
    ///     Ok(address) => group.address(address),
    ///     Err(error) => group.refused(format!("--at: {error}")),
    /// };
    /// args.run_all([group])
    /// # }
    /// ```
    pub fn run_all<I>(&self, groups: I) -> Exit
    where
        I: IntoIterator,
        I::Item: Into<Group>,
    {
        let groups = groups.into_iter().map(Into::into).collect();
        match self.run_in(Home::own(), groups) {
            Started::Over(exit) => exit,
            Started::Worker(program, seat) => child::work(&program, seat, &Home::own()),
            // Only a host asks for it.
            Started::Master(master) => master.finish(),
        }
    }

    /// The same, in whosever process this is.
    pub(crate) fn run_in(&self, mut home: Home, mut groups: Vec<Group>) -> Started {
        if let Some(seat) = seated::read() {
            return self.sit(&mut home, seat, &groups);
        }
        if self.starts() {
            groups = match self.config.apply(groups) {
                Ok(groups) => groups,
                Err(reason) => return Started::Over(UsageError::new(reason).report()),
            };
            groups = match count::apply(&self.counts, groups) {
                Ok(groups) => groups
                    .into_iter()
                    .map(|group| self.settings.apply(group))
                    .collect(),
                Err(reason) => {
                    let error = UsageError::new(format!("--count: {reason}"));
                    return Started::Over(error.report());
                }
            };
            // Before anything is stopped: a restart with nonsense must not end in a stop.
            if let Err(reason) = group::check(&groups) {
                let error = StartError::Invalid(reason);
                exec::refuse(&error.to_string());
                let _ = complain(&self.name, &error);
                return Started::Over(error.exit());
            }
        }
        let handed = match self.verb {
            Verb::Start | Verb::Restart => Handed::take(),
            _ => Ok(Handed::default()),
        };
        let handed = match handed {
            Ok(handed) => handed,
            Err(error) => {
                let what = format!("cannot take over what it was handed: {error}");
                return Started::Over(complain(&self.name, &what));
            }
        };
        let word = match daemon::arrived() {
            Ok(word) => word,
            Err(error) => {
                let what = format!("cannot become a daemon: {error}");
                return Started::Over(complain(&self.name, &what));
            }
        };
        let first = groups.iter().find_map(|group| group.address.as_ref());
        let identity = Identity::new(&self.name, first, self.pid_file());
        let exit = match self.verb {
            // Whatever the old master was told, this one is to take its place.
            // And its own starter has stopped what there was to stop.
            _ if handed.estate.is_some() || word.is_some() => {
                return self.start(home, identity, groups, handed, word);
            }
            Verb::Start => return self.start(home, identity, groups, handed, None),
            Verb::Stop => self.stop(&identity),
            Verb::Restart => {
                // As above: what can be known before the stop is told before it.
                if let Err(error) = feasible(&groups) {
                    return Started::Over(complain(&self.name, &error));
                }
                let stopped = self.stop(&identity);
                if stopped == Exit::SUCCESS || stopped == Exit::NOT_RUNNING {
                    return self.start(home, identity, groups, handed, None);
                }
                stopped
            }
            Verb::Reload => self.change(&identity, &Request::Reload),
            Verb::Upgrade => self.change(&identity, &Request::Upgrade),
            Verb::Scale => match &self.scale {
                Some(Count { group, count }) => self.change(
                    &identity,
                    &Request::Scale {
                        group: group.clone(),
                        count: *count,
                    },
                ),
                None => UsageError::new("scale to how many? scale N, or scale GROUP=N").report(),
            },
            Verb::Status => self.status(&identity),
            Verb::Connections => self.connections(&identity),
            Verb::Check => self.check(&groups),
            Verb::ShowConfig => self.show_config(&identity, &groups),
        };
        Started::Over(exit)
    }

    /// Takes the seat that the master has executed this process for.
    fn sit(&self, home: &mut Home, taken: io::Result<seated::Taken>, groups: &[Group]) -> Started {
        let mut taken = match taken {
            Ok(taken) => taken,
            Err(error) => {
                let _ = complain(&self.name, &format!("cannot take its seat: {error}"));
                return home.failed();
            }
        };
        taken.settle(&self.name);
        if taken.attached {
            let why = "it was started by workhive run --attach, to take its place among processes of that hive, and has \
                       started a hive of its own instead: leave --attach away, or let it attach (wh_worker_attach)";
            child::fail(&taken.seat, &why);
            return home.failed();
        }
        let name = &taken.seat.place.group;
        let group = groups.iter().find(|group| group.name == *name);
        let ready = match group.map(|group| (group, group.problem())) {
            None => Err(format!(
                "this program has no group \"{name}\", which the hive has"
            )),
            Some((_, Some(problem))) => Err(problem.to_owned()),
            Some((group, None)) => taken
                .enter(home)
                .map(|()| group.program.clone())
                .map_err(|error| error.to_string()),
        };
        match ready {
            Ok(program) => Started::Worker(program, taken.seat),
            Err(why) => {
                child::fail(&taken.seat, &why);
                home.failed()
            }
        }
    }

    /// Says whether a start would make sense, as far as that can be known without one.
    fn check(&self, groups: &[Group]) -> Exit {
        if let Err(error) = feasible(groups) {
            return complain(&self.name, &error);
        }
        let all: usize = groups.iter().map(|group| usize::from(group.count)).sum();
        say(&format!(
            "{}: makes sense, {}",
            self.name,
            crate::slot::processes(all)
        ))
    }

    /// Prints what a start would go by, wherever it comes from.
    fn show_config(&self, identity: &Identity, groups: &[Group]) -> Exit {
        let hive = HiveSettings {
            daemon: Some(self.daemon),
            pid_file: Some(identity.pid_file.clone()),
            log_file: self.log_file(identity),
            log_level: Some(self.log_level.as_str().to_lowercase()),
            log_format: Some(self.log_format),
        };
        match config::show(hive, &self.own, groups) {
            Ok(text) => say(text.trim_end()),
            Err(error) => complain(&self.name, &error),
        }
    }

    /// Where is logged; none for standard error.
    pub(crate) fn log_file(&self, identity: &Identity) -> Option<PathBuf> {
        match &self.log_file {
            Some(path) => Some(std::path::absolute(path).unwrap_or_else(|_| path.clone())),
            // A daemon has nowhere else to log.
            None => self.daemon.then(|| identity.log_file.clone()),
        }
    }

    fn stop(&self, identity: &Identity) -> Exit {
        let pid = match self.find(identity) {
            Ok(pid) => pid,
            Err(exit) => return exit,
        };
        // The hive knows best how long it may take; one that does not answer is given the usual time.
        let within = ask::<Status>(
            identity,
            pid,
            &Request::Status,
            Some(Duration::from_secs(2)),
        )
        .map_or(USUAL_STOP, |status| {
            Duration::from_millis(status.stop_within_ms)
        });
        let signal = if self.graceful {
            Signal::SIGQUIT
        } else {
            Signal::SIGINT
        };
        let process = match sys::pidfd_open(Pid::from_raw(pid.cast_signed())) {
            Ok(process) => process,
            // It has ended since.
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Exit::SUCCESS,
            Err(error) => {
                return complain(&self.name, &format!("cannot watch process {pid}: {error}"));
            }
        };
        // The number may have passed to another process between the look at the file and now; the lock has not.
        if holder(&identity.pid_file).ok().flatten() != Some(pid) {
            return Exit::SUCCESS;
        }
        if let Err(error) = sys::pidfd_send(process.as_fd(), signal) {
            return complain(&self.name, &format!("cannot stop process {pid}: {error}"));
        }
        let limit = Instant::now() + within + MARGIN;
        loop {
            let left = limit.saturating_duration_since(Instant::now());
            let timeout = PollTimeout::try_from(left.as_millis()).unwrap_or(PollTimeout::MAX);
            let mut fds = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
            match nix::poll::poll(&mut fds, timeout) {
                Ok(0) => {
                    return complain(
                        &self.name,
                        &format!(
                            "process {pid} has not ended in {} s",
                            (within + MARGIN).as_secs()
                        ),
                    );
                }
                Ok(_) => return Exit::SUCCESS,
                Err(nix::errno::Errno::EINTR) => {}
                Err(errno) => {
                    return complain(
                        &self.name,
                        &format!("cannot wait for process {pid}: {errno}"),
                    );
                }
            }
        }
    }

    /// Asks for something that takes time, and waits until it is done.
    fn change(&self, identity: &Identity, request: &Request) -> Exit {
        let pid = match self.find(identity) {
            Ok(pid) => pid,
            Err(exit) => return exit,
        };
        // The hive bounds what it does; should it die, the connection ends.
        match ask::<Reply>(identity, pid, request, None) {
            Ok(reply) if reply.ok => mention(&reply.message),
            Ok(reply) => complain(&self.name, &reply.message),
            Err(error) => complain(&self.name, &format!("no answer: {error}")),
        }
    }

    fn status(&self, identity: &Identity) -> Exit {
        let mut before: Option<(Instant, Status)> = None;
        loop {
            let pid = match self.find(identity) {
                Ok(pid) => pid,
                Err(exit) => return exit,
            };
            let limit = Some(Duration::from_secs(5));
            let mut status = match ask::<Status>(identity, pid, &Request::Status, limit) {
                Ok(status) => status,
                Err(error) => {
                    return complain(&self.name, &format!("cannot get the status: {error}"));
                }
            };
            let now = Instant::now();
            if let Some((then, before)) = &before {
                status.add_rates(before, now.saturating_duration_since(*then));
            }
            let text = match (self.json, self.watch) {
                (true, true) => serde_json::to_string(&status),
                (true, false) => serde_json::to_string_pretty(&status),
                (false, _) => Ok(status.render().trim_end().to_owned()),
            };
            let text = match text {
                Ok(text) => text,
                Err(error) => return complain(&self.name, &error),
            };
            if !self.watch {
                return say(&text);
            }
            if !show(&text, self.json) {
                return Exit::SUCCESS;
            }
            before = Some((now, status));
            std::thread::sleep(WATCH.saturating_sub(now.elapsed()));
        }
    }

    fn connections(&self, identity: &Identity) -> Exit {
        let pid = match self.find(identity) {
            Ok(pid) => pid,
            Err(exit) => return exit,
        };
        let limit = Some(Duration::from_secs(10));
        let mut listing = Listing::new(self.json);
        let told = ask_all(identity, pid, &Request::Connections, limit, |part| {
            listing.add(part)
        });
        match told {
            Ok(()) => Exit::SUCCESS,
            // A reader that has seen enough is no failure.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::SUCCESS,
            Err(error) => complain(&self.name, &format!("cannot get the connections: {error}")),
        }
    }

    fn find(&self, identity: &Identity) -> Result<u32, Exit> {
        find(&self.name, identity, self.pid_file.is_some())
    }
}

/// The pid of the running hive; if there is none, the program `name` has said so. `named`: its pid file was.
pub(crate) fn find(name: &str, identity: &Identity, named: bool) -> Result<u32, Exit> {
    let found = match identity.check_directory() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
        Ok(()) => holder(&identity.pid_file),
    };
    match found {
        Ok(Some(pid)) => Ok(pid),
        Ok(None) => {
            let mut reason = format!("not running ({})", identity.pid_file.display());
            if !named {
                reason.push_str(
                    "; if it was started with other addresses, give them here too, or use --pid-file",
                );
            }
            let _ = complain(name, &reason);
            Err(Exit::NOT_RUNNING)
        }
        Err(error) => Err(complain(name, &error)),
    }
}

/// Whether a start can give the groups the users and the surroundings that they ask for.
fn feasible(groups: &[Group]) -> Result<(), String> {
    groups
        .iter()
        .try_for_each(|group| Credentials::of(group).map(drop))?;
    manners::check(groups)
}

/// Shows what takes the place of what was shown before; false if nobody looks any more.
fn show(text: &str, json: bool) -> bool {
    let mut out = io::stdout();
    let before = match (json, out.is_terminal()) {
        (true, _) => "",
        // Home, and clear to the end of the screen: ECMA-48, CUP and ED.
        (false, true) => "\x1b[H\x1b[J",
        (false, false) => "\n",
    };
    writeln!(out, "{before}{text}")
        .and_then(|()| out.flush())
        .is_ok()
}

/// Says what has been done, to whoever listens.
pub(crate) fn mention(text: &str) -> Exit {
    // It is done all the same.
    let _ = writeln!(io::stdout(), "{text}");
    Exit::SUCCESS
}

/// Prints what was asked for.
pub(crate) fn say(text: &str) -> Exit {
    let mut out = io::stdout();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Ok(()) => Exit::SUCCESS,
        // A reader that has seen enough (head) is no failure.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::SUCCESS,
        Err(error) => complain("error", &format!("cannot print the answer: {error}")),
    }
}

pub(crate) fn complain(name: &str, reason: &dyn std::fmt::Display) -> Exit {
    // Without a standard error there is only the exit code.
    let _ = writeln!(io::stderr(), "{name}: {reason}");
    Exit::FAILURE
}
