//! Leaving the terminal.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::fcntl::OFlag;
use nix::unistd::ForkResult;

use crate::hosted::Home;

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
pub(crate) struct Waiter(OwnedFd);

/// The daemon's end. Dropped without a word, the starter reports that the daemon has died.
#[derive(Debug)]
pub(crate) struct Word(OwnedFd);

/// What the daemon sends first when it is ready; anything else is a reason.
const READY: u8 = 0;

/// Longest reason, in bytes.
const MAX_REASON: u64 = 64 * 1024;

/// Forks a daemon: in a session of its own, without a terminal to lose and unable to get one, with standard input
/// from /dev/null and standard output and error to /dev/null. The working directory stays, so that the relative paths
/// of the command line and of the program mean what they say.
pub(crate) fn daemonize(home: &mut Home) -> io::Result<Side> {
    let (read, write) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    match home.fork()? {
        ForkResult::Parent { .. } => return Ok(Side::Starter(Waiter(read))),
        ForkResult::Child => {}
    }
    drop(read);
    nix::unistd::setsid()?;
    // A session leader can get a terminal by opening one; its child cannot.
    match home.fork()? {
        ForkResult::Parent { .. } => home.leave(0),
        ForkResult::Child => {}
    }
    let null = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")?;
    nix::unistd::dup2_stdin(&null)?;
    nix::unistd::dup2_stdout(&null)?;
    nix::unistd::dup2_stderr(&null)?;
    Ok(Side::Daemon(Word(write)))
}

impl Word {
    /// Tells the starter that the hive is ready, and what to say about it. `Err` is of no consequence: the starter was
    /// killed.
    pub(crate) fn ready(self, text: &str) -> io::Result<()> {
        File::from(self.0).write_all(&[&[READY], text.as_bytes()].concat())
    }

    /// Tells the starter why there will be no hive.
    pub(crate) fn failed(self, reason: &str) -> io::Result<()> {
        File::from(self.0).write_all(reason.as_bytes())
    }
}

impl Waiter {
    /// Waits until the daemon is ready and returns what it says; or why it will not be. Bounded by the daemon, which
    /// bounds its boot.
    pub(crate) fn wait(self, log_file: &Path) -> Result<String, String> {
        let mut word = Vec::new();
        if let Err(error) = File::from(self.0).take(MAX_REASON).read_to_end(&mut word) {
            return Err(format!("cannot hear from the daemon: {error}"));
        }
        match word.as_slice() {
            [READY, text @ ..] => Ok(String::from_utf8_lossy(text).into_owned()),
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
        Waiter(read).wait(Path::new("/srv/push.log"))
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
    fn a_daemon_that_dies_without_a_word_has_a_log() {
        let error = said(|_| Ok(())).unwrap_err();
        assert!(error.contains("/srv/push.log"), "{error}");
    }
}
