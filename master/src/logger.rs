//! The log: one line, one write(2).
//!
//! A write of one line to a file opened with `O_APPEND` is not torn apart by other processes' lines (write(2)), so all
//! processes of a hive share one file without a lock between them. There is no thread behind it and no buffer: what
//! was logged before a crash is in the file.
//!
//! No write waits. A master that is held up by a terminal whose output was stopped (Ctrl+S), or by a pipe that nobody
//! reads, watches over nothing: lines that do not fit are lost, and counted.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use log::{Level, LevelFilter, Log, Metadata, Record};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, send};
use nix::sys::stat::{SFlag, fstat};

use crate::clock::unix_ms;
use crate::host::Sink;
use crate::line::{self, Format, Head};
use crate::sys;

/// How often a process looks whether its log file has been moved away.
const LOOK: Duration = Duration::from_secs(1);

struct Logger {
    state: Mutex<State>,
}

struct State {
    /// Who logs: `master`, or `group[slot]`.
    place: String,
    pid: u32,
    format: Format,
    file: Option<LogFile>,
    /// Where lines go without a file, if not to standard error.
    stream: Option<OwnedFd>,
    /// Takes the lines instead.
    sink: Option<Arc<Sink>>,
    lost: Lost,
}

/// What this process could not write.
#[derive(Debug, Clone, Copy, Default)]
struct Lost {
    /// Lines since the last one that could be written.
    lines: u64,
    /// Of the last line a part was written.
    torn: bool,
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
        format: Format::Text,
        file: None,
        stream: None,
        sink: None,
        lost: Lost {
            lines: 0,
            torn: false,
        },
    }),
};

/// True once this is the process's logger; a second hive of a process may log at another level.
static INSTALLED: AtomicBool = AtomicBool::new(false);

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
        if self.enabled(record.metadata()) {
            self.write(record, None);
        }
    }

    fn flush(&self) {}
}

impl Logger {
    /// Writes a line; `name` is who says it, if that is not this process.
    fn write(&self, record: &Record<'_>, name: Option<(&str, u32)>) {
        let mut guard = self.state();
        if let Some(sink) = guard.sink.clone() {
            // What it does may log, too.
            drop(guard);
            sink(record.level(), &line::message(record));
            return;
        }
        let state = &mut *guard;
        let own = Head {
            now: unix_ms(),
            place: &state.place,
            pid: state.pid,
        };
        let mut text = state.lost.told(state.format, own);
        let head = match name {
            Some((place, pid)) => Head { place, pid, ..own },
            None => own,
        };
        text.push_str(&head.line(state.format, record));
        let taken = match &mut state.file {
            Some(file) => {
                if file.looked.elapsed() >= LOOK {
                    file.follow();
                }
                write_now(file.file.as_fd(), text.as_bytes())
            }
            None => match &state.stream {
                Some(stream) => write_now(stream.as_fd(), text.as_bytes()),
                None => write_now(io::stderr().as_fd(), text.as_bytes()),
            },
        };
        state.lost.note(&text, taken);
    }
}

impl Lost {
    /// What is to be written ahead of the next line.
    fn told(self, format: Format, head: Head<'_>) -> String {
        let mut text = String::new();
        if self.torn {
            text.push('\n');
        }
        if self.lines > 0 {
            let what = format_args!("{} lines of the log could not be written", self.lines);
            let record = Record::builder()
                .level(Level::Warn)
                .target(module_path!())
                .args(what)
                .build();
            text.push_str(&head.line(format, &record));
        }
        text
    }

    /// Of `text`, so many bytes have been written.
    fn note(&mut self, text: &str, taken: usize) {
        if taken == text.len() {
            *self = Self::default();
            return;
        }
        self.lines += 1;
        if let Some(last) = taken.checked_sub(1) {
            self.torn = text.as_bytes().get(last) != Some(&b'\n');
        }
    }
}

/// Writes as many of the bytes as `fd` takes without waiting, and returns how many that were. An error, of which
/// nobody could be told, counts like a lack of room.
pub(crate) fn write_now(fd: BorrowedFd<'_>, bytes: &[u8]) -> usize {
    let kind =
        fstat(fd).map(|found| SFlag::from_bits_truncate(found.st_mode & SFlag::S_IFMT.bits()));
    match kind {
        Ok(SFlag::S_IFSOCK) => write_all(bytes, |rest| {
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
            send(fd.as_raw_fd(), rest, flags)
        }),
        Ok(SFlag::S_IFIFO | SFlag::S_IFCHR) => sys::without_sigpipe(|| write_to_pipe(fd, bytes)),
        _ => write_all(bytes, |rest| nix::unistd::write(fd, rest)),
    }
}

/// Pipes and terminals. To make this descriptor non-blocking would do the same to everybody who has it from where we have
/// it, a shell perhaps; opened anew, it is ours alone (proc(5)).
fn write_to_pipe(fd: BorrowedFd<'_>, bytes: &[u8]) -> usize {
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let own = OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path);
    match own {
        Ok(own) => write_all(bytes, |rest| nix::unistd::write(&own, rest)),
        // A process under another user may not.
        Err(_) => write_all(bytes, |rest| write_if_ready(fd, rest)),
    }
}

/// Writes a part, if poll(2) says that there is room. Only if another process is faster to take that room, this waits.
fn write_if_ready(fd: BorrowedFd<'_>, bytes: &[u8]) -> nix::Result<usize> {
    let mut fds = [PollFd::new(fd, PollFlags::POLLOUT)];
    if poll(&mut fds, PollTimeout::ZERO)? == 0 {
        return Err(Errno::EAGAIN);
    }
    // A pipe that is ready has room for this much (pipe(7)).
    nix::unistd::write(fd, &bytes[..bytes.len().min(libc::PIPE_BUF)])
}

fn write_all(bytes: &[u8], mut write: impl FnMut(&[u8]) -> nix::Result<usize>) -> usize {
    let mut taken = 0;
    while taken < bytes.len() {
        match write(&bytes[taken..]) {
            Ok(0) => break,
            Ok(length) => taken += length,
            Err(Errno::EINTR) => {}
            Err(_) => break,
        }
    }
    taken
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

fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        // A named pipe that nobody reads is an error, and not a wait without end.
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)?;
    // What others print here may wait.
    fcntl(&file, FcntlArg::F_SETFL(OFlag::O_APPEND))?;
    Ok(file)
}

/// Starts logging, to `path` or to standard error. A logger that the program has installed before stays.
///
/// With `standard`, standard output and error lead to the file too: what a library prints must not be lost.
pub(crate) fn start(
    level: LevelFilter,
    format: Format,
    path: Option<&Path>,
    standard: bool,
) -> io::Result<()> {
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
    let mut state = LOGGER.state();
    state.file = file;
    state.format = format;
    drop(state);
    set_place("master");
    install(level);
    Ok(())
}

/// Makes this the process's logger. One that the program has installed before stays, and its level with it.
fn install(level: LevelFilter) {
    if log::set_logger(&LOGGER).is_ok() {
        INSTALLED.store(true, Ordering::Relaxed);
    }
    if INSTALLED.load(Ordering::Relaxed) {
        log::set_max_level(level);
    }
}

/// Goes on with the log file of the master that has executed this process, or with its standard error as `stream`. Their
/// descriptors come along, because this process may have lost the right to open the one, and have another of the other.
pub(crate) fn adopt(
    level: LevelFilter,
    format: Format,
    log: Option<Brought>,
    stream: Option<OwnedFd>,
) {
    let mut state = LOGGER.state();
    state.format = format;
    state.stream = stream;
    state.file = log.map(|log| LogFile {
        file: log.file.into(),
        path: log.path,
        looked: Instant::now(),
        standard: log.standard,
    });
    drop(state);
    install(level);
}

/// Where lines go from now on, instead of to standard error or the file; with none, there again.
pub(crate) fn sink(sink: Option<Arc<Sink>>) {
    if sink.is_some() && !INSTALLED.load(Ordering::Relaxed) {
        // What is logged before the start, which knows the level.
        install(LevelFilter::Info);
    }
    let before = std::mem::replace(&mut LOGGER.state().sink, sink);
    // Outside of the lock: what it held may log when it goes.
    drop(before);
}

/// How the log is written.
pub(crate) fn format() -> Format {
    LOGGER.state().format
}

/// A log file on its way to a process that is executed.
#[derive(Debug)]
pub(crate) struct Brought {
    pub(crate) file: OwnedFd,
    pub(crate) path: PathBuf,
    /// Standard output and error, which are inherited, lead here too.
    pub(crate) standard: bool,
}

/// The log file, if there is one, for a process that is executed.
pub(crate) fn file() -> io::Result<Option<Brought>> {
    let state = LOGGER.state();
    let Some(log) = &state.file else {
        return Ok(None);
    };
    Ok(Some(Brought {
        file: log.file.try_clone()?.into(),
        path: log.path.clone(),
        standard: log.standard,
    }))
}

/// Logs a line that a program has printed which this process watches over, in that one's name.
pub(crate) fn said(place: &str, pid: u32, text: &str) {
    let what = format_args!("{text}");
    let record = Record::builder()
        .level(Level::Info)
        .target("output")
        .args(what)
        .build();
    if record.level() <= log::max_level() {
        LOGGER.write(&record, Some((place, pid)));
    }
}

/// Who logs from now on: this process, under this name. To be called after every fork.
pub(crate) fn set_place(place: &str) {
    let mut state = LOGGER.state();
    place.clone_into(&mut state.place);
    state.pid = std::process::id();
    state.lost = Lost::default();
}

/// The log file, if there is one.
pub(crate) fn path() -> Option<PathBuf> {
    LOGGER.state().file.as_ref().map(|file| file.path.clone())
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
    use std::io::Write as _;

    use super::*;
    use crate::line::MAX_LINE;

    const HEAD: Head<'_> = Head {
        now: 0,
        place: "master",
        pid: 7,
    };

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

    /// Writes until nothing fits any more.
    fn fill(fd: BorrowedFd<'_>, line: &str) -> usize {
        let mut lines = 0;
        while write_now(fd, line.as_bytes()) == line.len() {
            lines += 1;
        }
        lines
    }

    #[test]
    fn a_pipe_that_nobody_reads_holds_nobody_up() {
        let (read, write) = nix::unistd::pipe().unwrap();
        let long = "x".repeat(MAX_LINE);
        assert!(fill(write.as_fd(), &long) > 0);
        drop(read);
        assert_eq!(write_now(write.as_fd(), b"nobody there"), 0);
    }

    #[test]
    fn a_pipe_that_cannot_be_opened_anew_holds_nobody_up() {
        let (_read, write) = nix::unistd::pipe().unwrap();
        let line = [b'x'; 100];
        let mut lines = 0;
        while write_all(&line, |rest| write_if_ready(write.as_fd(), rest)) == line.len() {
            lines += 1;
        }
        assert!(lines > 100, "{lines}");
    }

    #[test]
    fn a_socket_that_nobody_reads_holds_nobody_up() {
        let (here, _there) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(fill(here.as_fd(), "a line\n") > 0);
    }

    #[test]
    fn lines_that_were_lost_are_counted_by_the_next_one() {
        let mut lost = Lost::default();
        let text = "two\nlines\n";
        lost.note(text, text.len());
        assert_eq!(lost.told(Format::Text, HEAD), "");
        lost.note(text, 0);
        lost.note(text, 4);
        assert!(!lost.torn);
        lost.note(text, 6);
        let told = lost.told(Format::Text, HEAD);
        assert_eq!(
            told,
            "\n1970-01-01T00:00:00.000Z WARN master 7 3 lines of the log could not be written\n"
        );
        let json = lost.told(Format::Json, HEAD);
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["message"], "3 lines of the log could not be written");
        lost.note(&told, told.len());
        assert_eq!(lost.told(Format::Text, HEAD), "");
    }
}
