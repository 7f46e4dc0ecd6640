//! What a program under test has printed.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use crate::DEADLINE;

/// The lines of a program's standard output and standard error, as they come.
#[derive(Debug, Default)]
pub struct Lines {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<String>,
    open: usize,
}

impl Lines {
    /// Follows a stream until its end.
    pub fn follow(self: &Arc<Self>, stream: impl Read + Send + 'static) -> JoinHandle<()> {
        self.lock().open += 1;
        let lines = Arc::clone(self);
        std::thread::spawn(move || {
            let mut reader = BufReader::new(stream);
            let mut bytes = Vec::new();
            // An error of a pipe's read end cannot be told from its end, and means the same.
            while matches!(reader.read_until(b'\n', &mut bytes), Ok(1..)) {
                let line = String::from_utf8_lossy(&bytes).trim_end().to_owned();
                lines.lock().lines.push(line);
                lines.changed.notify_all();
                bytes.clear();
            }
            lines.lock().open -= 1;
            lines.changed.notify_all();
        })
    }

    /// How many lines there are by now: a mark for [`wait`](Self::wait).
    pub fn len(&self) -> usize {
        self.lock().lines.len()
    }

    /// True if nothing was printed yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All lines so far.
    pub fn all(&self) -> Vec<String> {
        self.lock().lines.clone()
    }

    /// Waits for a line that `wanted` likes, among those from number `from` on. `None` when the program closes its
    /// streams, or the deadline passes, before there is one.
    pub fn wait(&self, from: usize, wanted: impl Fn(&str) -> bool) -> Option<String> {
        let end = Instant::now() + DEADLINE;
        let mut state = self.lock();
        let mut seen = from;
        loop {
            while let Some(line) = state.lines.get(seen) {
                if wanted(line) {
                    return Some(line.clone());
                }
                seen += 1;
            }
            let left = end.saturating_duration_since(Instant::now());
            if state.open == 0 || left.is_zero() {
                return None;
            }
            (state, _) = self
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing is left half done by a panic: lines are only ever added.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
