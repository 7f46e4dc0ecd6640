//! What a master's log says while its workers come and go.

use std::io::{ErrorKind, Read};
use std::process::ChildStderr;
use std::time::{Duration, Instant};

use crate::error::BenchError;
use crate::process::tail_of;

/// A slot has a new worker that serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ready {
    /// The slot's number in its group.
    pub(crate) slot: u32,
    /// Its new worker.
    pub(crate) pid: u32,
}

/// The master's log, line by line.
#[derive(Debug)]
pub(crate) struct Log {
    /// Where it comes from.
    pipe: ChildStderr,
    unread: Vec<u8>,
    seen: Vec<String>,
    /// When the pipe last had something.
    pub(crate) last_read: Option<Instant>,
}

impl Log {
    /// Reads from a pipe, which must not block.
    pub(crate) fn new(pipe: ChildStderr) -> Self {
        Self {
            pipe,
            unread: Vec::new(),
            seen: Vec::new(),
            last_read: None,
        }
    }

    /// Takes what the pipe has.
    pub(crate) fn read(&mut self) -> Result<(), BenchError> {
        let mut piece = [0; 8192];
        loop {
            match self.pipe.read(&mut piece) {
                Ok(0) => return Err(BenchError::Server("it ended".to_owned())),
                Ok(count) => {
                    self.last_read = Some(Instant::now());
                    self.unread.extend_from_slice(&piece[..count]);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(BenchError::io("reading the log")(error)),
            }
        }
    }

    /// The next whole line of what was taken.
    pub(crate) fn next_line(&mut self) -> Option<String> {
        let end = memchr::memchr(b'\n', &self.unread)?;
        let line: Vec<u8> = self.unread.drain(..=end).collect();
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        self.seen.push(line.clone());
        Some(line)
    }

    /// Reads on until the other end closes.
    pub(crate) fn drain(&mut self) {
        while self.read().is_ok() {
            self.unread.clear();
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The last lines, for an error.
    pub(crate) fn tail(&self) -> String {
        tail_of(self.seen.iter().map(String::as_str))
    }
}

/// Reads `... slot=2 ... ready in 1.8 ms (pid 1234, generation 3)`. The router is supervised alike, but is no worker.
pub(crate) fn parse_ready(line: &str) -> Option<Ready> {
    if !line.contains(" ready in ") || line.contains("group=router") {
        return None;
    }
    Some(Ready {
        slot: number_after(line, " slot=")?,
        pid: number_after(line, "(pid ")?,
    })
}

/// The same of the router: its process.
pub(crate) fn router_ready(line: &str) -> Option<u32> {
    let ready = line.contains(" ready in ") && line.contains("group=router");
    ready.then(|| number_after(line, "(pid "))?
}

/// True of the line that says that a reload is done: `... reload: replaced 4 processes in 5.8 ms`.
pub(crate) fn reloaded(line: &str) -> bool {
    line.contains(" reload: replaced ")
}

/// True of the line that says that one could not be done.
pub(crate) fn reload_failed(line: &str) -> bool {
    line.contains("the reload failed")
}

/// True of a line that says how a process has ended: `... echo[0]: pid 7 exited with code 1 after 4.2 s`.
pub(crate) fn has_ended(line: &str) -> bool {
    let rest = line.split_once(": pid ").map(|(_, rest)| rest);
    rest.is_some_and(|rest| rest.contains(" exited with code ") || rest.contains(" was killed by "))
}

fn number_after(line: &str, words: &str) -> Option<u32> {
    let rest = line.split_once(words)?.1;
    let end = rest.find(|one: char| !one.is_ascii_digit());
    rest[..end.unwrap_or(rest.len())].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{Ready, has_ended, parse_ready, reload_failed, reloaded, router_ready};

    #[test]
    fn a_ready_line_is_read_and_others_are_not() {
        let line = "2025-01-01T00:00:00Z INFO group=echo slot=2 worker ready in 1.8 ms (pid 1234, generation 3)";
        let ready = Ready { slot: 2, pid: 1234 };
        assert_eq!(parse_ready(line), Some(ready));
        assert_eq!(router_ready(line), None);
        let line = &line.replace("echo", "router");
        assert_eq!(parse_ready(line), None);
        assert_eq!(router_ready(line), Some(1234));
        assert_eq!(
            parse_ready("INFO group=echo slot=2 killed by SIGKILL (pid 1234)"),
            None
        );
    }

    #[test]
    fn the_end_of_a_reload_is_told_from_its_beginning() {
        let line = |what: &str| format!("2025-01-01T00:00:00Z INFO master 7 {what}");
        assert!(reloaded(&line("reload: replaced 4 processes in 5.8 ms")));
        assert!(!reloaded(&line(
            "reload: 4 processes to replace, 0 to tell"
        )));
        assert!(!reloaded(&line(
            "echo[1]: replaced pid 7 exited with code 0"
        )));
        assert!(reload_failed(&line(
            "the reload failed, the old processes stay: echo[0] exited with code 1"
        )));
    }

    #[test]
    fn an_end_is_told_from_what_is_said_about_it() {
        let line = |what: &str| format!("2025-01-01T00:00:00Z WARN master 7 echo[0]: {what}");
        assert!(has_ended(&line("pid 8 exited with code 7 after 5.0 ms")));
        assert!(has_ended(&line("pid 8 was killed by SIGSEGV after 2.0 s")));
        assert!(!has_ended(&line(
            "failure 1 in a row; next attempt in 100.0 ms"
        )));
    }
}
