//! A program under test.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;

use nix::sys::signal::Signal;
use nix::unistd::User;
use tempfile::TempDir;

use crate::log::Lines;
use crate::{eventually, proc};

/// The variable in the environment of everything that a test starts, by which it finds it again.
const VARIABLE: &str = "WORKHIVE_TEST";

/// The last line of what a hive prints when all its processes are ready.
const READY: &str = "Press Ctrl+C to stop.";

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
        if std::fs::hard_link(&self.program, &program).is_err() {
            std::fs::copy(&self.program, &program).expect("a copy of the program");
        }
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
        let ready = hive.lines.wait(0, |line| line == READY);
        assert!(ready.is_some(), "the hive is not ready");
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
        let lines = Arc::new(Lines::default());
        let follower = lines.follow(reader);
        Hive {
            setup: self,
            child,
            lines,
            follower: Some(follower),
            expected: Vec::new(),
            status: None,
            heir: None,
        }
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

/// A command that has ended.
#[derive(Debug)]
pub struct Finished {
    /// Its exit code; `None` after a signal.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it complained about.
    pub stderr: String,
}

/// A command that runs beside the test; it is killed when this is dropped before its end.
#[derive(Debug)]
pub struct Running {
    what: String,
    child: Option<Child>,
}

impl Running {
    /// Starts a command; its output is collected.
    ///
    /// # Panics
    /// If there is no such program.
    pub fn new(mut command: Command) -> Self {
        let what = format!("{command:?}");
        let child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        Self {
            what,
            child: Some(child),
        }
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// If that does not come in time.
    #[track_caller]
    pub fn finish(mut self) -> Finished {
        let child = self.child.take().expect("it is taken here only");
        let pid = child.id();
        // The streams end with the command: a daemon that it leaves behind must have let go of them.
        let (sender, receiver) = std::sync::mpsc::channel();
        let waiter = std::thread::spawn(move || {
            // The receiver may have given up.
            let _ = sender.send(child.wait_with_output());
        });
        let Ok(output) = receiver.recv_timeout(crate::DEADLINE * 2) else {
            proc::signal(pid, Signal::SIGKILL);
            panic!("{} has not ended in time", self.what);
        };
        waiter.join().expect("it has sent what it waited for");
        let Output {
            status,
            stdout,
            stderr,
        } = output.expect("a child can be waited for");
        Finished {
            code: status.code(),
            stdout: String::from_utf8_lossy(&stdout).into_owned(),
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // Both fail only if it has ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A hive in the foreground, with all that it prints.
///
/// When it is dropped it is stopped, unless it has ended already, and three things are checked: that it ended with
/// code 0, that it left no process behind, and that no line of its log says ERROR or panics, save those that were
/// [expected](Hive::expect).
#[derive(Debug)]
pub struct Hive {
    setup: Setup,
    child: Child,
    lines: Arc<Lines>,
    follower: Option<JoinHandle<()>>,
    expected: Vec<String>,
    status: Option<ExitStatus>,
    /// The master that has taken the place of the one that was started.
    heir: Option<u32>,
}

impl Hive {
    /// The pid of the master.
    pub fn pid(&self) -> u32 {
        self.heir.unwrap_or_else(|| self.child.id())
    }

    /// Another master has taken over, or is about to: waits until the pid file has its pid, and, if that was the first
    /// time, until the one that was started has ended.
    ///
    /// # Panics
    /// If none takes over.
    #[track_caller]
    pub fn meet_heir(&mut self) -> u32 {
        let before = self.pid();
        let path = self.setup.pid_file();
        let heir = eventually("another master in the pid file", || {
            let text = std::fs::read_to_string(&path).ok()?;
            text.trim().parse().ok().filter(|pid| *pid != before)
        });
        if self.heir.is_none() {
            let child = &mut self.child;
            eventually("the end of the old master", || {
                child.try_wait().expect("a child can be waited for")
            });
        }
        self.heir = Some(heir);
        heir
    }

    /// How it was started.
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// The pids of the worker processes, in the order of their ids.
    pub fn workers(&self) -> Vec<u32> {
        let mut workers = proc::children(self.pid());
        workers.retain(|pid| !proc::is_router(*pid));
        workers
    }

    /// The pid of the router, if the hive has one.
    pub fn router(&self) -> Option<u32> {
        let mut children = proc::children(self.pid()).into_iter();
        children.find(|pid| proc::is_router(*pid))
    }

    /// What is printed: for [`wait_for_line_after`](Self::wait_for_line_after).
    pub fn mark(&self) -> usize {
        self.lines.len()
    }

    /// All lines printed so far.
    pub fn log(&self) -> Vec<String> {
        self.lines.all()
    }

    /// Waits for a line that contains `text`, also among those printed already.
    ///
    /// # Panics
    /// If none comes.
    #[track_caller]
    pub fn wait_for_line(&self, text: &str) -> String {
        self.wait_for_line_after(0, text)
    }

    /// Waits for a line that contains `text`, among those printed after [`mark`](Self::mark).
    ///
    /// # Panics
    /// If none comes.
    #[track_caller]
    pub fn wait_for_line_after(&self, mark: usize, text: &str) -> String {
        self.lines
            .wait(mark, |line| line.contains(text))
            .unwrap_or_else(|| panic!("the hive has not printed: {text}"))
    }

    /// Lines with `text` in them may say ERROR, or tell of a panic.
    pub fn expect(&mut self, text: impl Into<String>) {
        self.expected.push(text.into());
    }

    /// Sends a signal to the master, which must not have been waited for.
    pub fn signal(&self, signal: Signal) {
        proc::signal(self.pid(), signal);
    }

    /// Waits for the end of the master, and of all that it started.
    ///
    /// # Panics
    /// If it does not end in time, or leaves processes behind.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        if let Some(status) = self.status {
            return status;
        }
        let child = &mut self.child;
        let status = eventually("the end of the master", || {
            child.try_wait().expect("a child can be waited for")
        });
        self.status = Some(status);
        // Whoever has taken over is nobody's child here, and ends when its last process has.
        if self.heir.is_some() {
            eventually("the end of the new master", || {
                self.setup.family().is_empty().then_some(())
            });
        }
        let left = self.setup.family();
        assert!(left.is_empty(), "the master has left processes: {left:?}");
        self.join();
        status
    }

    /// Ends the hive now (SIGINT), and waits for its end.
    ///
    /// # Panics
    /// As [`wait`](Self::wait).
    #[track_caller]
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::SIGINT);
        self.wait()
    }

    /// Kills the master, and returns at once; its workers are on their own then.
    ///
    /// # Panics
    /// If it cannot be waited for.
    pub fn kill_master(&mut self) {
        self.signal(Signal::SIGKILL);
        self.status = Some(self.child.wait().expect("a child can be waited for"));
    }

    /// Runs the program with another verb against this hive.
    pub fn verb<A: AsRef<OsStr>>(&self, verb: &str, arguments: &[A]) -> Finished {
        self.setup.verb(verb, arguments)
    }

    /// The same, beside the test.
    pub fn verb_later<A: AsRef<OsStr>>(&self, verb: &str, arguments: &[A]) -> Running {
        self.setup.verb_later(verb, arguments)
    }

    /// A path in the hive's own directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.setup.path(name)
    }

    /// The status of the hive, as `status --json` has it.
    pub fn status(&self) -> serde_json::Value {
        self.setup.status()
    }

    /// The pids of the ready worker processes by their slots, as the status has them.
    ///
    /// # Panics
    /// If the status has no pid for a slot.
    pub fn slots(&self) -> Vec<u32> {
        let status = self.status();
        let workers = status["workers"].as_array().expect("a list").clone();
        let mut found: Vec<(u64, u32)> = workers
            .iter()
            .filter(|worker| worker["state"] == "ready" && worker["group"] != "router")
            .map(|worker| {
                let number = |name: &str| worker[name].as_u64().expect("a number");
                (number("slot"), u32::try_from(number("pid")).expect("a pid"))
            })
            .collect();
        found.sort_unstable();
        found.into_iter().map(|(_, pid)| pid).collect()
    }

    /// The stream ends when all processes that had it are gone.
    fn join(&mut self) {
        if let Some(follower) = self.follower.take() {
            // A follower does not panic.
            let _ = follower.join();
        }
    }

    /// Lines that nobody expected.
    fn complaints(&self) -> Vec<String> {
        let bad = |line: &String| line.contains(" ERROR ") || line.contains("panic");
        let mut all = self.log();
        all.retain(|line| bad(line) && !self.expected.iter().any(|text| line.contains(text)));
        all
    }
}

#[expect(
    clippy::print_stderr,
    reason = "the log of a hive whose test has failed"
)]
impl Drop for Hive {
    fn drop(&mut self) {
        if std::thread::panicking() {
            if self.status.is_none() {
                // Both fail only if it has ended; until it is waited for, its number is nobody else's.
                let _ = self.child.kill();
                let _ = self.child.wait();
            }
            eprintln!("--- {}", self.setup.program.display());
            for line in self.log() {
                eprintln!("{line}");
            }
            return;
        }
        if self.status.is_none() {
            let status = self.stop();
            assert!(status.success(), "the hive ended with {status}");
        }
        let left = self.setup.family();
        assert!(left.is_empty(), "processes are left: {left:?}");
        self.join();
        let complaints = self.complaints();
        assert!(complaints.is_empty(), "the log complains: {complaints:#?}");
    }
}
