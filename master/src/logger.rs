//! The log: one line, one write(2).
//!
//! A write of one line to a file opened with `O_APPEND` is not torn apart by other processes' lines (write(2)), so all
//! processes of a hive share one file without a lock between them. There is no thread behind it and no buffer: what
//! was logged before a crash is in the file.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use log::{LevelFilter, Log, Metadata, Record};

use crate::clock::{Timestamp, unix_ms};

/// How often a process looks whether its log file has been moved away.
const LOOK: Duration = Duration::from_secs(1);

/// Longest line, in bytes; the rest is cut.
const MAX_LINE: usize = 16 * 1024;

struct Logger {
    state: Mutex<State>,
}

struct State {
    /// Who logs: `master`, or `group[slot]`.
    place: String,
    pid: u32,
    file: Option<LogFile>,
}

struct LogFile {
    file: File,
    path: PathBuf,
    looked: Instant,
    /// Standard output and error lead here too and have to follow.
    standard: bool,
}

static LOGGER: Logger = Logger {
    state: Mutex::new(State {
        place: String::new(),
        pid: 0,
        file: None,
    }),
};

impl Logger {
    fn state(&self) -> MutexGuard<'_, State> {
        // A panic while it was held leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let mut state = self.state();
        let line = line(unix_ms(), record, &state.place, state.pid);
        // There is nobody left to tell when the log cannot be written.
        let _ = match &mut state.file {
            Some(file) => {
                if file.looked.elapsed() >= LOOK {
                    file.follow();
                }
                file.file.write_all(line.as_bytes())
            }
            None => io::stderr().write_all(line.as_bytes()),
        };
    }

    fn flush(&self) {}
}

impl LogFile {
    /// Opens the file anew if there is another one at its path: it was rotated. A process without the rights to do
    /// so goes on writing to the old one.
    fn follow(&mut self) {
        self.looked = Instant::now();
        let there = std::fs::metadata(&self.path)
            .map(|found| (found.dev(), found.ino()))
            .ok();
        let ours = self
            .file
            .metadata()
            .map(|found| (found.dev(), found.ino()))
            .ok();
        if there.is_none() || there != ours {
            // Nothing can be logged about a log that cannot be opened.
            let _ = self.reopen();
        }
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.file = open(&self.path)?;
        if self.standard {
            nix::unistd::dup2_stdout(&self.file)?;
            nix::unistd::dup2_stderr(&self.file)?;
        }
        Ok(())
    }
}

/// `2026-01-02T03:04:05.678Z INFO push[2] 1234 text`. Control characters are escaped: a peer's bytes in a message must
/// not forge a line, nor reach a terminal.
fn line(now: u64, record: &Record<'_>, place: &str, pid: u32) -> String {
    let mut line = String::with_capacity(128);
    // Writing to a String does not fail.
    let _ = write!(line, "{} {} {place} {pid} ", Timestamp(now), record.level());
    let start = line.len();
    let _ = write!(line, "{}", record.args());
    if line[start..].contains(|c: char| c.is_control()) {
        let mut escaped = String::with_capacity(line.len() + 16);
        for c in line[start..].chars() {
            if c.is_control() {
                escaped.extend(c.escape_default());
            } else {
                escaped.push(c);
            }
        }
        line.truncate(start);
        line.push_str(&escaped);
    }
    line.truncate(line.floor_char_boundary(MAX_LINE));
    line.push('\n');
    line
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .open(path)
}

/// Starts logging, to `path` or to standard error. A logger that the program has installed before stays.
///
/// With `standard`, standard output and error lead to the file too: what a library prints must not be lost.
pub(crate) fn start(level: LevelFilter, path: Option<&Path>, standard: bool) -> io::Result<()> {
    let file = match path {
        Some(path) => {
            let path = std::path::absolute(path)?;
            Some(LogFile {
                file: open(&path)?,
                path,
                looked: Instant::now(),
                standard,
            })
        }
        None => None,
    };
    if let Some(file) = file.as_ref().filter(|_| standard) {
        nix::unistd::dup2_stdout(&file.file)?;
        nix::unistd::dup2_stderr(&file.file)?;
    }
    LOGGER.state().file = file;
    set_place("master");
    if log::set_logger(&LOGGER).is_ok() {
        log::set_max_level(level);
    }
    Ok(())
}

/// Who logs from now on: this process, under this name. To be called after every fork.
pub(crate) fn set_place(place: &str) {
    let mut state = LOGGER.state();
    place.clone_into(&mut state.place);
    state.pid = std::process::id();
}

/// Opens the log file anew. Without a log file nothing happens.
pub(crate) fn reopen() -> io::Result<()> {
    match &mut LOGGER.state().file {
        Some(file) => file.reopen(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(message: &str) -> String {
        line(
            1_767_323_045_678,
            &Record::builder()
                .args(format_args!("{message}"))
                .level(log::Level::Warn)
                .build(),
            "push[2]",
            1234,
        )
    }

    #[test]
    fn a_line_says_when_how_bad_who_and_what() {
        assert_eq!(
            text("hello"),
            "2026-01-02T03:04:05.678Z WARN push[2] 1234 hello\n"
        );
    }

    #[test]
    fn bytes_of_a_peer_cannot_forge_a_line() {
        assert!(text("a\nb\u{1b}[2Jc").ends_with(" a\\nb\\u{1b}[2Jc\n"));
    }

    #[test]
    fn a_line_has_an_end() {
        let long = text(&"é".repeat(MAX_LINE));
        assert!(long.len() <= MAX_LINE + 1 && long.ends_with("é\n"));
    }

    #[test]
    fn a_rotated_file_is_followed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut log = LogFile {
            file: open(&path).unwrap(),
            path: path.clone(),
            looked: Instant::now(),
            standard: false,
        };
        log.file.write_all(b"one").unwrap();
        std::fs::rename(&path, directory.path().join("log.1")).unwrap();
        log.follow();
        log.file.write_all(b"two").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(
            std::fs::read_to_string(directory.path().join("log.1")).unwrap(),
            "one"
        );
    }
}
