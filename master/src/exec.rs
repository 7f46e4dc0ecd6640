//! Programs that are executed: everything that execve(2) is to be given, made before the fork.
//!
//! Between fork(2) and execve(2) a child of a process with several threads may do nothing that takes memory or a lock:
//! whichever thread held it at the fork does not exist in the child (signal-safety(7)). So all of it is prepared here,
//! and what the child does, in [`sys::fork_exec`], are system calls.

use std::collections::BTreeSet;
use std::ffi::{CString, OsStr, OsString};
use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{AccessFlags, Pid};
use workhive_ipc::Row;

use crate::credentials::Credentials;
use crate::daemon::not_executed;
use crate::manners::{Chores, Refused};
use crate::sys;

/// The first descriptor that an executed program is given, as `sd_listen_fds(3)` has it.
pub(crate) const FIRST_FD: RawFd = 3;

/// Where programs are looked for without `PATH`, execvp(3).
const USUAL_PATH: &str = "/bin:/usr/bin";

/// Variables that concern one process and must not reach another by inheritance.
const OURS: [&str; 10] = [
    crate::seated::SEAT,
    crate::seated::PID,
    crate::handed::STATE,
    crate::daemon::WORD,
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "LISTEN_PID",
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
];

/// Takes them out of the environment, once they have been read: what a process starts is no part of the hive.
pub(crate) fn forget_variables() {
    if let Err(error) = sys::remove_vars(&OURS) {
        log::debug!("the variables of the hive stay in the environment: {error}");
    }
}

/// The variables whose descriptors this process has taken. Those of a process with threads stay in its environment, and
/// the numbers in them are other descriptors' later.
static TAKEN: Mutex<BTreeSet<&str>> = Mutex::new(BTreeSet::new());

/// What a variable says, the first time that it is asked for.
pub(crate) fn once(name: &'static str) -> Option<String> {
    let value = std::env::var(name).ok()?;
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    taken.insert(name).then_some(value)
}

/// The same, if it is said to this process: programs inherit variables that were meant for whoever started them.
pub(crate) fn addressed(name: &'static str) -> Option<String> {
    let pid = std::env::var(crate::seated::PID).ok()?;
    if pid.parse() != Ok(std::process::id()) {
        return None;
    }
    once(name)
}

/// How this process was executed, as far as it could be seen when it was first asked for.
static BEGINNING: OnceLock<Beginning> = OnceLock::new();

#[derive(Debug)]
struct Beginning {
    arguments: Vec<OsString>,
    /// None if it is gone: it cannot be entered by its name then, and is inherited all the same.
    directory: Option<PathBuf>,
}

/// The command line and the directory: a title that comes later, of ours too, hides the one, and what the one means is
/// meant in the other.
fn beginning() -> &'static Beginning {
    // The kernel tells, and not the list that `main` was given: PHP empties that one, to have room for titles.
    BEGINNING.get_or_init(|| Beginning {
        arguments: match std::fs::read("/proc/self/cmdline") {
            Ok(line) if !line.is_empty() => split_arguments(&line),
            _ => std::env::args_os().collect(),
        },
        directory: std::env::current_dir().ok(),
    })
}

/// With what arguments this process was executed, those of an interpreter included.
pub(crate) fn arguments() -> &'static [OsString] {
    &beginning().arguments
}

/// Each ends with a zero, proc(5).
fn split_arguments(line: &[u8]) -> Vec<OsString> {
    let line = line.strip_suffix(&[0]).unwrap_or(line);
    line.split(|byte| *byte == 0)
        .map(|argument| OsString::from_vec(argument.to_owned()))
        .collect()
}

/// How a program is started anew: the file, the arguments, the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Invocation {
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<OsString>,
    pub(crate) directory: Option<PathBuf>,
}

impl Invocation {
    /// This process's own, as it was started: a program that has been replaced by a new one meanwhile is the new one.
    pub(crate) fn own() -> io::Result<Self> {
        let Beginning {
            arguments: args,
            directory,
        } = beginning();
        let running = std::env::current_exe()?;
        // Not /proc/self/exe first: behind a symbolic link that is swapped for each release, it stands for the old one.
        // But whoever started us may have written any name there, even that of another program.
        let program = args
            .first()
            .and_then(|name| find(&from(directory.as_deref(), Path::new(name))).ok())
            .and_then(|path| std::path::absolute(path).ok())
            .filter(|path| is_same_file(path, &running))
            .unwrap_or(running);
        Ok(Self {
            program,
            args: args.clone(),
            directory: directory.clone(),
        })
    }
}

/// A name that is a path, as it is seen from a directory; others are looked for elsewhere.
fn from(directory: Option<&Path>, name: &Path) -> PathBuf {
    match directory {
        Some(directory) if name.as_os_str().as_bytes().contains(&b'/') => directory.join(name),
        _ => name.to_owned(),
    }
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    let id = |path: &Path| {
        let found = std::fs::metadata(path).ok()?;
        Some((found.dev(), found.ino()))
    };
    id(one).is_some_and(|one| Some(one) == id(other))
}

/// The file that a command names, execvp(3): one with a slash is a path, others are looked for in `PATH`.
pub(crate) fn find(name: &Path) -> io::Result<PathBuf> {
    let runs = |path: &Path| path.is_file() && nix::unistd::access(path, AccessFlags::X_OK).is_ok();
    if name.as_os_str().as_bytes().contains(&b'/') {
        // What is there and cannot run is another matter than what is not there.
        std::fs::metadata(name)?;
        return runs(name)
            .then(|| name.to_owned())
            .ok_or_else(|| io::ErrorKind::PermissionDenied.into());
    }
    let path = std::env::var_os("PATH").filter(|path| !path.is_empty());
    let path = path.unwrap_or_else(|| USUAL_PATH.into());
    std::env::split_paths(&path)
        // An empty entry would be the directory in which we happen to be.
        .filter(|directory| !directory.as_os_str().is_empty())
        .map(|directory| directory.join(name))
        .find(|path| runs(path))
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "there is none in PATH"))
}

/// A program with all that a new process needs to become it.
#[derive(Debug)]
pub(crate) struct Image {
    program: CString,
    args: Vec<CString>,
    /// `NAME=value`, each with its final zero.
    env: Vec<Vec<u8>>,
    /// Which of them end in the number of the process that they are given to.
    pids: Vec<usize>,
    directory: Option<CString>,
    /// They become 3, 4, 5 and so on.
    fds: Vec<OwnedFd>,
    /// What becomes of descriptors 0, 1 and 2; those without stay as they are.
    stdio: [Option<OwnedFd>; 3],
    chores: Option<Chores>,
    credentials: Credentials,
    mask: SigSet,
    /// A program that knows nothing of us, in a process group of its own.
    foreign: bool,
    /// Signals do there what they usually do, until the program has it otherwise.
    usual_signals: bool,
    /// What it is told when this process is gone.
    orphaned: Option<Signal>,
    /// Where the child says why it could not be what it was to be.
    row: Option<Row>,
    /// The same for a daemon, which has left its starter.
    word: Option<OwnedFd>,
}

impl Image {
    pub(crate) fn new(invocation: &Invocation) -> io::Result<Self> {
        let Invocation {
            program,
            args,
            directory,
        } = invocation;
        Ok(Self {
            program: c_string(program.as_os_str())?,
            args: args
                .iter()
                .map(|argument| c_string(argument))
                .collect::<io::Result<_>>()?,
            env: std::env::vars_os()
                .filter(|(name, _)| !OURS.iter().any(|ours| name == ours))
                .map(|(name, value)| variable(&name, &value))
                .collect(),
            pids: Vec::new(),
            directory: directory
                .as_ref()
                .map(|path| c_string(path.as_os_str()))
                .transpose()?,
            fds: Vec::new(),
            stdio: [None, None, None],
            chores: None,
            credentials: Credentials::default(),
            mask: SigSet::empty(),
            foreign: false,
            usual_signals: false,
            orphaned: None,
            row: None,
            word: None,
        })
    }

    /// Hands a descriptor over; returns the number that it will have.
    pub(crate) fn give(&mut self, fd: impl Into<OwnedFd>) -> RawFd {
        self.fds.push(fd.into());
        FIRST_FD + RawFd::try_from(self.fds.len() - 1).unwrap_or(RawFd::MAX)
    }

    /// Sets a variable, whatever it was before: of two with one name, most programs see the first.
    pub(crate) fn set(&mut self, name: &str, value: impl AsRef<OsStr>) {
        let new = variable(OsStr::new(name), value.as_ref());
        let same = |old: &&mut Vec<u8>| old.starts_with(&new[..=name.len()]);
        match self.env.iter_mut().find(same) {
            Some(old) => *old = new,
            None => self.env.push(new),
        }
    }

    /// A variable whose value is the number of the process that it is given to.
    pub(crate) fn set_pid(&mut self, name: &str) {
        // It was not inherited, see `OURS`: it is the last one now. The child writes the number over the zeros.
        self.set(name, "0".repeat(sys::PID_DIGITS));
        self.pids.push(self.env.len() - 1);
    }

    /// In what surroundings it runs, and as whom.
    pub(crate) fn settle(&mut self, chores: Chores, credentials: &Credentials) {
        self.chores = Some(chores);
        self.credentials = credentials.clone();
    }

    /// Makes it a program that knows nothing of us: with the usual dispositions of signals, nothing to read, and an
    /// output that is read by us. `orphaned` is what it is told when we are gone.
    pub(crate) fn foreign(&mut self, output: OwnedFd, orphaned: Signal) -> io::Result<()> {
        let null = std::fs::File::open("/dev/null")?;
        self.stdio = [Some(null.into()), Some(output.try_clone()?), Some(output)];
        self.foreign = true;
        self.usual_signals = true;
        self.orphaned = Some(orphaned);
        Ok(())
    }

    /// Makes it a program that handles its signals itself, from its beginning.
    pub(crate) fn leave_signals(&mut self) {
        self.usual_signals = true;
    }

    /// Makes it a daemon: in a session of its own that it does not lead, so that it has no terminal and gets none, with
    /// nothing to read. Standard error stays until the program is there and gives its word. Returns the number of `word`
    /// in it; nothing more is to be given after that.
    pub(crate) fn detach(&mut self, word: OwnedFd) -> io::Result<RawFd> {
        let null = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/null")?;
        self.stdio = [Some(null.try_clone()?.into()), Some(null.into()), None];
        self.usual_signals = true;
        let copy = word.try_clone()?;
        let number = self.give(word);
        // Beyond all the numbers that the others are to have.
        let copy = sys::copy_beyond(copy.as_fd(), number)?;
        self.word = Some(copy);
        Ok(number)
    }

    pub(crate) fn set_mask(&mut self, mask: SigSet) {
        self.mask = mask;
    }

    pub(crate) fn report_in(&mut self, row: Row) {
        self.row = Some(row);
    }

    /// Makes the process. The caller has blocked all signals.
    pub(crate) fn spawn(mut self) -> io::Result<Pid> {
        let args: Vec<_> = self.args.iter().map(|argument| argument.as_ptr()).collect();
        let fds: Vec<RawFd> = self.fds.iter().map(AsRawFd::as_raw_fd).collect();
        let stdio = [0, 1, 2].map(|index| self.stdio[index].as_ref().map(AsRawFd::as_raw_fd));
        let (chores, credentials) = (self.chores.as_ref(), &self.credentials);
        let (row, word) = (self.row.as_ref(), self.word.as_ref());
        sys::fork_exec(&mut sys::Plan {
            program: &self.program,
            args: &args,
            env: &mut self.env,
            pids: &self.pids,
            directory: self.directory.as_deref(),
            spare: vec![-1; fds.len()],
            fds: &fds,
            stdio,
            foreign: self.foreign,
            usual_signals: self.usual_signals,
            detached: word.is_some(),
            orphaned: self.orphaned,
            mask: self.mask,
            chores: &|| {
                // Rights go last: all the rest may need them.
                chores
                    .map_or(Ok(()), Chores::apply)
                    .map_err(Refused::code)?;
                credentials.assume_now()
            },
            failed: &|step, errno| {
                if let Some(row) = row {
                    row.set_boot_error(step, errno as i32);
                }
                if let Some(word) = word {
                    // Whoever does not hear it sees the end.
                    let _ = nix::unistd::write(word, &not_executed(step, errno as i32));
                }
            },
        })
    }
}

/// Whoever has executed this process, if that was a master, is to know why it ends.
pub(crate) fn refuse(reason: &str) {
    crate::seated::refuse(reason);
    crate::handed::refuse(reason);
    crate::daemon::refuse(reason);
}

/// What a child could not do, by the number that it leaves in its row.
pub(crate) fn describe_failure(
    step: u16,
    errno: i32,
    what: &Path,
    chores: Option<&Chores>,
) -> String {
    if let Some(refused) = Refused::from_code(step, errno)
        && let Some(chores) = chores
    {
        return chores.explain(refused);
    }
    let error = io::Error::from_raw_os_error(errno);
    match step {
        sys::EXECUTE => format!("cannot execute {}: {error}", what.display()),
        sys::DIRECTORY => format!("cannot enter its working directory: {error}"),
        sys::DETACH => format!("cannot leave its session: {error}"),
        sys::DESCRIPTORS => format!("cannot arrange its descriptors: {error}"),
        _ => format!(
            "cannot take its place: {}: {error}",
            crate::credentials::describe_step(step)
        ),
    }
}

fn c_string(text: &OsStr) -> io::Result<CString> {
    CString::new(text.as_bytes()).map_err(|_| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("\"{}\" has a zero byte in it", text.display()),
        )
    })
}

fn variable(name: &OsStr, value: &OsStr) -> Vec<u8> {
    let mut variable = name.to_owned().into_vec();
    variable.push(b'=');
    variable.extend_from_slice(value.as_bytes());
    // What the environment cannot hold is not in it: a zero ends it.
    variable.push(0);
    variable
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> Image {
        let invocation = Invocation {
            program: PathBuf::from("/bin/true"),
            args: Vec::new(),
            directory: None,
        };
        let mut image = Image::new(&invocation).unwrap();
        image.env.clear();
        image
    }

    #[test]
    fn a_variable_is_set_once_whatever_it_was_before() {
        let mut image = image();
        image.set("SLOT", "1");
        image.set("SLOT_OF", "x");
        image.set("SLOT", "22");
        assert_eq!(image.env, [b"SLOT=22\0".to_vec(), b"SLOT_OF=x\0".to_vec()]);
    }

    #[test]
    fn only_variables_that_are_to_hold_a_pid_do() {
        let mut image = image();
        image.set("ZEROS", "0000000000");
        image.set_pid("PID");
        assert_eq!(image.pids, [1]);
    }

    #[test]
    fn arguments_are_those_of_the_beginning_empty_ones_included() {
        let own: Vec<OsString> = std::env::args_os().collect();
        assert_eq!(arguments(), own);
        let split = split_arguments(b"php\0-d\0\0push.php\0\0");
        assert_eq!(split, ["php", "-d", "", "push.php", ""]);
    }

    #[test]
    fn a_name_that_stands_for_another_program_is_not_ours() {
        let own = std::env::current_exe().unwrap();
        assert!(is_same_file(&own, &own));
        assert!(!is_same_file(Path::new("/bin/sh"), &own));
        assert!(!is_same_file(Path::new("/no/such/file"), &own));
    }
}
