//! Leaving the terminal.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::signal::SigSet;
use nix::sys::wait::waitpid;
use nix::unistd::ForkResult;

use crate::exec::{Image, Invocation, describe_failure};
use crate::handed::Handed;
use crate::hosted::Home;
use crate::master::Master;
use crate::notify::Notifier;
use crate::spawn::unblock;
use crate::{exec, seated, sys};

/// Which side of the fork one is on.
#[derive(Debug)]
pub(crate) enum Side {
    /// The process that was started. It waits for the daemon's word and ends.
    Starter(Waiter),
    /// The daemon, which has yet to give its word.
    Daemon(Word),
}

/// The starter's end: it hears what became of the daemon.
#[derive(Debug)]
pub(crate) struct Waiter {
    pipe: OwnedFd,
    /// What the daemon was to execute, if it is no copy of the starter.
    program: PathBuf,
}

/// The daemon's end. Dropped without a word, the starter reports that the daemon has died.
#[derive(Debug)]
pub(crate) struct Word(OwnedFd);

/// The variable with the descriptor for the word of a daemon that was executed. [`seated::PID`] says whom it is for.
pub(crate) const WORD: &str = "WORKHIVE_DAEMON";

/// What the daemon sends first when it is ready, and what it sends before the numbers of a failure if it could not even be
/// executed; anything else is a reason.
const READY: u8 = 0;
const NOT_EXECUTED: u8 = 1;

/// Longest reason, in bytes.
const MAX_REASON: u64 = 64 * 1024;

/// Forks a daemon: in a session of its own, without a terminal to lose and unable to get one, with standard input
/// from /dev/null and standard output and error to /dev/null. The working directory stays, so that the relative paths
/// of the command line and of the program mean what they say.
pub(crate) fn daemonize(home: &mut Home) -> io::Result<Side> {
    let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    match home.fork()? {
        ForkResult::Parent { .. } => {
            return Ok(Side::Starter(Waiter {
                pipe: read,
                program: PathBuf::new(),
            }));
        }
        ForkResult::Child => {}
    }
    drop(read);
    nix::unistd::setsid()?;
    // A session leader can get a terminal by opening one; its child cannot.
    match home.fork()? {
        ForkResult::Parent { .. } => home.leave(0),
        ForkResult::Child => {}
    }
    leave_streams()?;
    Ok(Side::Daemon(Word(write)))
}

/// The same in a process that cannot be copied: the daemon is this program, started anew with the same arguments. What
/// this process was handed goes with it.
pub(crate) fn execute_daemon(handed: &Handed) -> io::Result<Waiter> {
    let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    let invocation = Invocation::own()?;
    let mut image = Image::new(&invocation)?;
    // They are looked for at the first numbers.
    handed.pass_on(&mut image)?;
    Notifier::from_env().pass_on(&mut image);
    let number = image.detach(write)?;
    image.set(WORD, number.to_string());
    image.set_pid(seated::PID);
    image.set_mask(SigSet::thread_get_mask()?);
    let mask = Master::block_signals()?;
    let spawned = image.spawn();
    unblock(mask);
    let copy = spawned?;
    // Its first copy is gone at once: it only saw to it that the daemon is no session's leader. That a host has waited
    // for it is as good.
    while waitpid(copy, None) == Err(Errno::EINTR) {}
    Ok(Waiter {
        pipe: read,
        program: invocation.program,
    })
}

/// The word that this process is to give, if it was executed to be a daemon. From here on it is without its terminal.
pub(crate) fn arrived() -> io::Result<Option<Word>> {
    let Some(number) = exec::addressed(WORD).and_then(|number| number.parse().ok()) else {
        return Ok(None);
    };
    let word = Word(sys::take_over(number)?);
    leave_streams()?;
    Ok(Some(word))
}

/// This process cannot even read its command line: if it was to be a daemon, its starter is to know why.
pub(crate) fn refuse(reason: &str) {
    if let Ok(Some(word)) = arrived() {
        // If the starter was killed nobody is to be told.
        let _ = word.failed(reason);
    }
}

fn leave_streams() -> io::Result<()> {
    let null = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")?;
    nix::unistd::dup2_stdin(&null)?;
    nix::unistd::dup2_stdout(&null)?;
    nix::unistd::dup2_stderr(&null)?;
    Ok(())
}

/// What a process says that was to execute a daemon and could not.
pub(crate) fn not_executed(step: u16, errno: i32) -> [u8; 5] {
    // No number of an error comes near the upper half (errno(3)).
    let both = (u32::from(step) << 16 | errno.cast_unsigned()).to_be_bytes();
    let [first, second, third, last] = both;
    [NOT_EXECUTED, first, second, third, last]
}

impl Word {
    /// Tells the starter that the hive is ready, and what to say about it. `Err` is of no consequence: the starter was
    /// killed.
    pub(crate) fn ready(self, text: &str) -> io::Result<()> {
        self.say(&[&[READY], text.as_bytes()].concat())
    }

    /// Tells the starter why there will be no hive.
    pub(crate) fn failed(self, reason: &str) -> io::Result<()> {
        self.say(reason.as_bytes())
    }

    fn say(self, bytes: &[u8]) -> io::Result<()> {
        sys::without_sigpipe(|| File::from(self.0).write_all(bytes))
    }
}

impl Waiter {
    /// Waits until the daemon is ready and returns what it says; or why it will not be. Bounded by the daemon, which
    /// bounds its boot.
    pub(crate) fn wait(self, log_file: &Path) -> Result<String, String> {
        let mut word = Vec::new();
        let read = File::from(self.pipe)
            .take(MAX_REASON)
            .read_to_end(&mut word);
        if let Err(error) = read {
            return Err(format!("cannot hear from the daemon: {error}"));
        }
        match word.as_slice() {
            [READY, text @ ..] => Ok(String::from_utf8_lossy(text).into_owned()),
            [NOT_EXECUTED, both @ ..] => {
                let both = both.try_into().map_or(0, u32::from_be_bytes);
                let (step, errno) = ((both >> 16) as u16, both & 0xffff);
                let errno = errno.cast_signed();
                Err(describe_failure(step, errno, &self.program, None))
            }
            [] => Err(format!(
                "the daemon died before it was ready; see its log {}",
                log_file.display()
            )),
            reason => Err(String::from_utf8_lossy(reason).into_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(say: impl FnOnce(Word) -> io::Result<()>) -> Result<String, String> {
        let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC).unwrap();
        say(Word(write)).unwrap();
        let waiter = Waiter {
            pipe: read,
            program: "/srv/push".into(),
        };
        waiter.wait(Path::new("/srv/push.log"))
    }

    #[test]
    fn the_starter_says_what_the_daemon_says() {
        assert_eq!(said(|word| word.ready("started")), Ok("started".to_owned()));
        assert_eq!(
            said(|word| word.failed("no port")),
            Err("no port".to_owned())
        );
    }

    #[test]
    fn a_program_that_could_not_be_executed_is_named() {
        let error = said(|word| {
            let said = not_executed(sys::EXECUTE, libc::ENOENT);
            File::from(word.0).write_all(&said)
        });
        let error = error.unwrap_err();
        assert_eq!(
            error,
            "cannot execute /srv/push: No such file or directory (os error 2)"
        );
    }

    #[test]
    fn a_daemon_that_dies_without_a_word_has_a_log() {
        let error = said(|_| Ok(())).unwrap_err();
        assert!(error.contains("/srv/push.log"), "{error}");
    }
}
