//! Commands that run beside a test, and what became of them.

use std::process::{Child, Command, Output, Stdio};

use nix::sys::signal::Signal;

use crate::proc;

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
