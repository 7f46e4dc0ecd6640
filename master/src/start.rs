//! Starting: everything from the command line to the first turn of the master's loop.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use workhive_ipc::ToPredecessor;

use crate::cli::Args;
use crate::control::ControlServer;
use crate::credentials::Credentials;
use crate::daemon::{Side, Word, daemonize, execute_daemon};
use crate::error::StartError;
use crate::exec::Invocation;
use crate::foreign::Notices;
use crate::handed::Handed;
use crate::host::{HostedMaster, Started};
use crate::hosted::Home;
use crate::identity::Identity;
use crate::listeners::GroupListeners;
use crate::master::{Master, Outcome, Setup};
use crate::notify::Notifier;
use crate::pidfile::{PidFile, Taken};
use crate::router::Routing;
use crate::run::{complain, mention};
use crate::slot::Running;
use crate::{Exit, Group, child, exec, logger, manners, resources, router, sys, title};

impl Args {
    pub(crate) fn start(
        &self,
        mut home: Home,
        identity: Identity,
        groups: Vec<Group>,
        handed: Handed,
        mut word: Option<Word>,
    ) -> Started {
        // What a host has open for its own children is its own business.
        if !home.is_hosted()
            && let Err(error) = sys::close_rest_on_exec()
        {
            let what = format!("cannot look through its descriptors: {error}");
            return Started::Over(complain(&self.name, &what));
        }
        let identity = identity.absolute();
        let log_file = self.log_file(&identity);
        let upgrade = handed.estate.is_some();
        if self.daemon && !upgrade && word.is_none() {
            // What can be known before is said here, where there is still a terminal.
            if let Err(error) = home.check_forks(&groups) {
                return Started::Over(complain(&self.name, &error));
            }
            let side = if home.can_be_copied() {
                daemonize(&mut home)
            } else {
                execute_daemon(&handed).map(Side::Starter)
            };
            match side {
                Ok(Side::Starter(waiter)) => {
                    let exit = match waiter.wait(log_file.as_deref().unwrap_or(Path::new("-"))) {
                        Ok(text) => mention(&text),
                        Err(reason) => complain(&self.name, &reason),
                    };
                    return Started::Over(exit);
                }
                Ok(Side::Daemon(given)) => word = Some(given),
                Err(error) => {
                    let what = format!("cannot become a daemon: {error}");
                    return Started::Over(complain(&self.name, &what));
                }
            }
        }
        if let Err(error) = home.take_signals() {
            return Started::Over(end(&self.name, word, &error));
        }
        let mut master = match self.prepare(home, identity, log_file, groups, handed) {
            Ok(master) => master,
            Err(error) => {
                // The log of a hive that runs already is not ours.
                if (word.is_some() || upgrade) && !matches!(error, StartError::Running(_)) {
                    log::error!("{error}");
                }
                return Started::Over(end(&self.name, word, &error));
            }
        };
        master.word = word;
        if master.home.is_nested() {
            return Started::Master(HostedMaster::new(self.name.clone(), master));
        }
        // The master is dropped by the time that this returns, in a child too.
        match master.run() {
            Outcome::Child(seed, mut home) => {
                let is_router = seed.seat.place.group == router::NAME;
                let Some((program, seat)) = child::enter(*seed, &mut home) else {
                    home.leave(1);
                };
                if is_router {
                    // None of the host's business.
                    child::work(&program, seat, &home);
                }
                Started::Worker(program, seat)
            }
            Outcome::Ended(result, word) => Started::Over(ended(&self.name, result, word)),
        }
    }

    /// Everything before the first fork, in an order in which nothing is taken that a failure would leave behind.
    fn prepare(
        &self,
        home: Home,
        identity: Identity,
        log_file: Option<PathBuf>,
        groups: Vec<Group>,
        mut handed: Handed,
    ) -> Result<Master, StartError> {
        let result = self.prepare_with(home, identity, log_file, groups, &mut handed);
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
        home: Home,
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
        home.check_forks(&groups)?;
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
            .find(|running| running.definition.is_foreign());
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
            home,
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

/// How the hive has ended, said to whom it may concern.
pub(crate) fn ended(name: &str, result: Result<(), StartError>, word: Option<Word>) -> Exit {
    match result {
        Ok(()) => Exit::SUCCESS,
        Err(error) => end(name, word, &error),
    }
}

/// The reason goes to whoever started the hive: the starter of a daemon, or the terminal.
fn end(name: &str, word: Option<Word>, error: &StartError) -> Exit {
    if let Some(word) = word {
        // If the starter was killed there is still the log.
        let _ = word.failed(&error.to_string());
    } else {
        let _ = complain(name, error);
    }
    error.exit()
}

fn copy(fd: &OwnedFd) -> Result<OwnedFd, StartError> {
    fd.try_clone()
        .map_err(StartError::system("take over what it was handed"))
}
