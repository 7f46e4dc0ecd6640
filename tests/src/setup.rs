//! How a program under test is started.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::signal::Signal;
use nix::unistd::User;
use tempfile::TempDir;

use crate::running::{Finished, Running};
use crate::{Hive, eventually, proc};

/// The variable in the environment of everything that a test starts, by which it finds it again.
const VARIABLE: &str = "WORKHIVE_TEST";

/// How a program is started: its path, its words and options, a directory of its own.
///
/// Whatever was started from it, and all that it forked, is killed when it is dropped.
#[derive(Debug)]
pub struct Setup {
    program: PathBuf,
    asker: PathBuf,
    words: Vec<String>,
    options: Vec<String>,
    command: Vec<String>,
    variable: String,
    directory: TempDir,
    user: Option<User>,
    handed: Vec<OwnedFd>,
    environment: Vec<(String, String)>,
}

impl Setup {
    /// The program at `path`, to be had from [`program!`](crate::program).
    ///
    /// # Panics
    /// If no temporary directory can be made.
    pub fn new(path: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self {
            program: PathBuf::from(path),
            asker: PathBuf::from(path),
            words: Vec::new(),
            options: Vec::new(),
            command: Vec::new(),
            variable: format!("{}-{number}", std::process::id()),
            directory: tempfile::tempdir().expect("a temporary directory"),
            user: None,
            handed: Vec::new(),
            environment: Vec::new(),
        }
    }

    /// Everything is run as this user from now on, whose own the directory becomes; the program goes there too, where that
    /// user finds it. Only root can do this.
    ///
    /// # Panics
    /// If there is no such user, or we are not root.
    pub fn run_as(mut self, name: &str) -> Self {
        let user = User::from_name(name).expect("a user table");
        let user = user.unwrap_or_else(|| panic!("there is no user {name}"));
        let program = self.path("program");
        // By a process of its own: see `ProgramFile::replace`.
        let copied = Command::new("cp").arg(&self.program).arg(&program).status();
        assert!(copied.expect("cp").success(), "no copy of the program");
        self.asker.clone_from(&program);
        self.program = program;
        let owner = (Some(user.uid.as_raw()), Some(user.gid.as_raw()));
        std::os::unix::fs::chown(self.directory.path(), owner.0, owner.1).expect("root's rights");
        self.user = Some(user);
        self
    }

    /// `workhive echo` at an address with its scheme; `path` is that of `workhive`.
    pub fn echo(path: &str, target: impl Into<String>) -> Self {
        Self::new(path).words(["echo"]).words([target.into()])
    }

    /// Words that go in front of every verb: `push`, `echo http://127.0.0.1:8080`.
    pub fn words<W: Into<String>>(mut self, words: impl IntoIterator<Item = W>) -> Self {
        self.words.extend(words.into_iter().map(Into::into));
        self
    }

    /// Verbs other than `start` are run by another program file, that of `path`: the one under test may change.
    #[must_use]
    pub fn asked_by(mut self, path: &str) -> Self {
        self.asker = path.into();
        self
    }

    /// Options that go with `start`.
    pub fn options<W: Into<String>>(mut self, options: impl IntoIterator<Item = W>) -> Self {
        self.options.extend(options.into_iter().map(Into::into));
        self
    }

    /// A variable of the environment, for the program with all its verbs.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// A start is handed these descriptors, as 3, 4 and so on.
    pub fn hand<D: Into<OwnedFd>>(mut self, descriptors: impl IntoIterator<Item = D>) -> Self {
        self.handed.extend(descriptors.into_iter().map(Into::into));
        self
    }

    /// A program and its arguments that go with `start`, behind `--` and everything else.
    pub fn runs<W: Into<String>>(mut self, command: impl IntoIterator<Item = W>) -> Self {
        self.command.extend(command.into_iter().map(Into::into));
        self
    }

    /// A path in the test's own directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The pid file of the hive.
    pub fn pid_file(&self) -> PathBuf {
        self.path("hive.pid")
    }

    /// A command with the test's mark, for programs of all kinds.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env(VARIABLE, &self.variable)
            // A panic is one line in the log then.
            .env("RUST_BACKTRACE", "0")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(self.directory.path())
            .stdin(Stdio::null());
        crate::sys::default_dispositions(&mut command);
        if let Some(user) = &self.user {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        command
    }

    /// The program with a verb: `start` comes with the options of the setup.
    ///
    /// # Panics
    /// If there are no descriptors left for those that it is handed.
    pub fn verb_command<A: AsRef<OsStr>>(&self, verb: &str, arguments: &[A]) -> Command {
        let starts = verb == "start" || verb == "restart";
        let program = if starts { &self.program } else { &self.asker };
        let mut command = self.command(program);
        command.args(&self.words).arg(verb).args(arguments);
        if starts {
            command.args(&self.options);
            crate::sys::hand(&mut command, &self.handed).expect("open descriptors");
        } else {
            // It leaves nothing behind, and is no part of the hive.
            command.env_remove(VARIABLE);
        }
        command.arg("--pid-file").arg(self.pid_file());
        if (verb == "start" || verb == "restart") && !self.command.is_empty() {
            command.arg("--").args(&self.command);
        }
        command
    }

    /// Runs the program with a verb to its end.
    ///
    /// # Panics
    /// If it cannot be started, or does not end in time.
    pub fn verb<A: AsRef<OsStr>>(&self, verb: &str, arguments: &[A]) -> Finished {
        self.verb_later(verb, arguments).finish()
    }

    /// Runs the program with a verb beside the test.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn verb_later<A: AsRef<OsStr>>(&self, verb: &str, arguments: &[A]) -> Running {
        Running::new(self.verb_command(verb, arguments))
    }

    /// Starts the hive in the foreground, and waits until it is ready.
    ///
    /// # Panics
    /// If it does not become ready; with all that it printed.
    #[track_caller]
    pub fn start(self) -> Hive {
        let hive = self.launch();
        hive.wait_until_ready();
        hive
    }

    /// Starts the hive in the foreground, and does not wait for anything.
    ///
    /// # Panics
    /// If there is no such program.
    #[track_caller]
    pub fn launch(self) -> Hive {
        // One pipe for both streams, so that what is printed stays in its order.
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let second = writer.try_clone().expect("a second descriptor");
        let child = self
            .verb_command::<&str>("start", &[])
            .process_group(0)
            .stdout(writer)
            .stderr(second)
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", self.program.display()));
        Hive::new(self, child, reader)
    }

    /// The program.
    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// Everything that was started from this setup and still runs.
    pub fn family(&self) -> Vec<u32> {
        proc::family(&format!("{VARIABLE}={}", self.variable))
    }

    /// A start has ended with code 1, has given its reason, and has left nothing behind.
    ///
    /// # Panics
    /// If one of these is not so.
    #[track_caller]
    pub fn assert_failed(&self, ended: &Finished, reason: &str) {
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(
            ended.stderr.contains(reason),
            "{reason:?} is missing: {ended:?}"
        );
        assert!(!self.pid_file().exists());
        // A daemon that has told its starter why it cannot go on has a moment to live.
        eventually("the end of all processes", || {
            self.family().is_empty().then_some(())
        });
    }

    /// The pid in the pid file.
    ///
    /// # Panics
    /// If there is none.
    pub fn daemon(&self) -> u32 {
        let path = self.pid_file();
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        text.trim()
            .parse()
            .unwrap_or_else(|_| panic!("no pid in {}: {text:?}", path.display()))
    }

    /// The status of the hive, as `status --json` has it.
    ///
    /// # Panics
    /// If there is none.
    pub fn status(&self) -> serde_json::Value {
        let output = self.verb("status", &["--json"]);
        assert_eq!(output.code, Some(0), "{output:?}");
        serde_json::from_str(&output.stdout).expect("JSON")
    }
}

impl Drop for Setup {
    fn drop(&mut self) {
        // One that forks while we look leaves a child for the next look.
        for _ in 0..100 {
            let left = self.family();
            if left.is_empty() {
                return;
            }
            for pid in &left {
                proc::signal(*pid, Signal::SIGKILL);
            }
            crate::wait::within(crate::DEADLINE, || {
                left.iter().all(|pid| !proc::is_alive(*pid)).then_some(())
            });
        }
    }
}
