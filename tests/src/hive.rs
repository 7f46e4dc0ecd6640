//! A program under test.

use std::ffi::OsStr;
use std::io::PipeReader;
use std::path::PathBuf;
use std::process::{Child, ExitStatus};
use std::sync::Arc;
use std::thread::JoinHandle;

use nix::sys::signal::Signal;

use crate::log::Lines;
use crate::running::{Finished, Running};
use crate::{Setup, eventually, proc};

/// The last line of what a hive prints when all its processes are ready.
const READY: &str = "Press Ctrl+C to stop.";

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
    /// A hive that was started just now, and where it prints.
    pub(crate) fn new(setup: Setup, child: Child, output: PipeReader) -> Self {
        let lines = Arc::new(Lines::default());
        let follower = lines.follow(output);
        Self {
            setup,
            child,
            lines,
            follower: Some(follower),
            expected: Vec::new(),
            status: None,
            heir: None,
        }
    }

    /// Waits until all processes are ready.
    #[track_caller]
    pub(crate) fn wait_until_ready(&self) {
        let ready = self.lines.wait(0, |line| line == READY);
        assert!(ready.is_some(), "the hive is not ready");
    }

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
            eprintln!("--- {}", self.setup.program().display());
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
