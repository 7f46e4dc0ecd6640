//! Starting: everything from the command line to the first turn of the master's loop.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use workhive_ipc::ToPredecessor;

use crate::cli::Args;
use crate::control::ControlServer;
use crate::credentials::Credentials;
use crate::daemon::{Side, daemonize};
use crate::error::StartError;
use crate::exec::Invocation;
use crate::foreign::Notices;
use crate::handed::Handed;
use crate::identity::Identity;
use crate::listeners::GroupListeners;
use crate::master::{Master, Outcome, Setup};
use crate::notify::Notifier;
use crate::pidfile::{PidFile, Taken};
use crate::router::Routing;
use crate::run::{complain, say};
use crate::slot::Running;
use crate::{Exit, Group, child, exec, logger, manners, resources, sys, title};

impl Args {
    pub(crate) fn start(&self, identity: Identity, groups: Vec<Group>, handed: Handed) -> Exit {
        if let Err(error) = sys::close_rest_on_exec() {
            return complain(
                &self.name,
                &format!("cannot look through its descriptors: {error}"),
            );
        }
        let identity = identity.absolute();
        let log_file = self.log_file(&identity);
        let mut word = None;
        let upgrade = handed.estate.is_some();
        if self.daemon && !upgrade {
            // What can be known before is said here, where there is still a terminal.
            if let Err(error) = check_threads() {
                return complain(&self.name, &error);
            }
            match daemonize() {
                Ok(Side::Starter(waiter)) => {
                    return match waiter.wait(log_file.as_deref().unwrap_or(Path::new("-"))) {
                        Ok(text) => say(&text),
                        Err(reason) => complain(&self.name, &reason),
                    };
                }
                Ok(Side::Daemon(given)) => word = Some(given),
                Err(error) => {
                    return complain(&self.name, &format!("cannot become a daemon: {error}"));
                }
            }
        }
        if let Err(error) = ignore_terminal() {
            return self.end(word, &error);
        }
        let mut master = match self.prepare(identity, log_file, groups, handed) {
            Ok(master) => master,
            Err(error) => {
                // The log of a hive that runs already is not ours.
                if (word.is_some() || upgrade) && !matches!(error, StartError::Running(_)) {
                    log::error!("{error}");
                }
                return self.end(word, &error);
            }
        };
        master.word = word;
        // The master is dropped by the time that this returns, in a child too.
        match master.run() {
            Outcome::Child(seed) => child::enter(*seed),
            Outcome::Ended(Ok(()), _) => Exit::SUCCESS,
            Outcome::Ended(Err(error), word) => self.end(word, &error),
        }
    }

    /// The reason goes to whoever started the hive: the starter of a daemon, or the terminal.
    fn end(&self, word: Option<crate::daemon::Word>, error: &StartError) -> Exit {
        if let Some(word) = word {
            // If the starter was killed there is still the log.
            let _ = word.failed(&error.to_string());
        } else {
            let _ = complain(&self.name, error);
        }
        error.exit()
    }

    /// Everything before the first fork, in an order in which nothing is taken that a failure would leave behind.
    fn prepare(
        &self,
        identity: Identity,
        log_file: Option<PathBuf>,
        groups: Vec<Group>,
        mut handed: Handed,
    ) -> Result<Master, StartError> {
        let result = self.prepare_with(identity, log_file, groups, &mut handed);
        if let (Err(error), Some(estate)) = (&result, &handed.estate) {
            // If it cannot be told, it sees the end.
            let _ = estate
                .link
                .send(&ToPredecessor::failed(error.to_string()), None);
        }
        Master::new(result?.with(handed))
    }

    fn prepare_with(
        &self,
        identity: Identity,
        log_file: Option<PathBuf>,
        groups: Vec<Group>,
        handed: &mut Handed,
    ) -> Result<Setup, StartError> {
        let pid_file_error = |error| StartError::PidFile {
            path: identity.pid_file.clone(),
            error,
        };
        identity.make_directory().map_err(pid_file_error)?;
        logger::start(
            self.log_level,
            self.log_format,
            log_file.as_deref(),
            self.daemon,
        )
        .map_err(|error| StartError::LogFile {
            path: log_file.unwrap_or_default(),
            error,
        })?;
        manners::check(&groups).map_err(StartError::Surroundings)?;
        if groups.iter().any(Group::forks) {
            check_threads()?;
        }
        let mut credentials = Vec::with_capacity(groups.len());
        for group in &groups {
            credentials.push(Credentials::of(group).map_err(StartError::User)?);
        }
        if let Some(estate) = &handed.estate
            && estate.path != identity.pid_file
        {
            return Err(StartError::Surroundings(format!(
                "the pid file would be {}, and is {}: with another pid file, or another first address from which its name \
                 is made, nobody would find the hive; restart it instead",
                identity.pid_file.display(),
                estate.path.display()
            )));
        }
        let taken = match &handed.estate {
            Some(estate) => Ok(PidFile::handed(copy(&estate.pid_file)?, &identity.pid_file)),
            None => PidFile::take(&identity.pid_file),
        };
        let pid_file = taken.map_err(|taken| match taken {
            Taken::By(pid) => StartError::Running(pid),
            Taken::Io(error) => pid_file_error(error),
        })?;
        let mut running = Vec::with_capacity(groups.len());
        for (mut group, credentials) in groups.into_iter().zip(credentials) {
            let configured = group.count;
            if let Some(estate) = &handed.estate {
                group.count = estate.count(&group.name, configured);
            }
            let listeners = GroupListeners::bind(&group, handed)?;
            let mut group = Running::new(group, credentials, listeners);
            group.configured = configured;
            if let Some(estate) = &handed.estate {
                group.notifies |= estate.notifies(&group.definition.name);
            }
            running.push(group);
        }
        for address in handed.unclaimed() {
            log::warn!("nobody listens any more at {address}, whose socket was handed over");
        }
        let control = match &handed.estate {
            Some(estate) => ControlServer::handed(copy(&estate.control)?, &identity.socket),
            None => ControlServer::bind(&identity.socket).map_err(|error| StartError::Control {
                path: identity.socket.clone(),
                error,
            })?,
        };
        let push = handed.estate.as_mut().and_then(|estate| estate.push.take());
        let routing = Routing::bind(&identity, &mut running, push)?;
        let foreign = running
            .iter()
            .find(|running| running.definition.command.is_some());
        let notices = foreign
            .map(|running| Notices::bind(&identity, &running.credentials))
            .transpose()
            .map_err(|error| StartError::Control {
                path: identity.notify_socket.clone(),
                error,
            })?;
        let invocation =
            Invocation::own().map_err(StartError::system("find out how it was started"))?;
        resources::look(&running);
        title::begin(&self.name);
        let notifier = Notifier::from_env();
        exec::forget_variables();
        Ok(Setup {
            identity,
            pid_file,
            groups: running,
            control,
            routing,
            notices,
            notifier,
            invocation,
            handed: Handed::default(),
        })
    }
}

/// Keeps the terminal from stopping the hive: a background job that reads from its terminal, or writes to it after
/// `stty tostop`, is stopped as a whole (termios(3)), and nobody would watch over the processes any more. They inherit
/// this, and then such a write succeeds and such a read fails.
fn ignore_terminal() -> Result<(), StartError> {
    for signal in [Signal::SIGTTIN, Signal::SIGTTOU] {
        sys::ignore(signal).map_err(StartError::system("ignore the terminal's signals"))?;
    }
    Ok(())
}

fn copy(fd: &OwnedFd) -> Result<OwnedFd, StartError> {
    fd.try_clone()
        .map_err(StartError::system("take over what it was handed"))
}

fn check_threads() -> Result<(), StartError> {
    match sys::threads() {
        Ok(0 | 1) => Ok(()),
        Ok(threads) => Err(StartError::Threads(threads)),
        Err(error) => Err(StartError::System {
            what: "count this process's threads",
            error,
        }),
    }
}
