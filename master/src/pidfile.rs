//! One hive at a time: a file with the master's pid, locked for as long as the master lives.
//!
//! The lock is the truth and the number only tells people whom to ask: a number can be left over from a crash and
//! belong to anybody by now, a lock cannot.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A look at the lock (`stop`, `status`) takes it for microseconds: who finds it taken looks again.
const LOOKS: u32 = 10;
const BETWEEN_LOOKS: Duration = Duration::from_millis(3);

/// The pid file of a running hive, held by its master.
#[derive(Debug)]
pub(crate) struct PidFile {
    // The lock (flock(2)) belongs to the open file, which a forked child shares: the child must close its copy, and
    // must not unlock it. std's File does just that when it is dropped.
    /// None once it has been let go of.
    file: Option<File>,
    path: PathBuf,
    owner: u32,
}

/// Why the pid file cannot be had.
#[derive(Debug)]
pub(crate) enum Taken {
    /// A hive runs; its pid, if it has been written yet.
    By(Option<u32>),
    /// The file cannot be opened or written.
    Io(io::Error),
}

impl PidFile {
    /// Locks the file and writes this process's pid into it.
    pub(crate) fn take(path: &Path) -> Result<Self, Taken> {
        for look in 0..LOOKS {
            if look > 0 {
                std::thread::sleep(BETWEEN_LOOKS);
            }
            let file = open(path, true).map_err(Taken::Io)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => continue,
                Err(TryLockError::Error(error)) => return Err(Taken::Io(error)),
            }
            // The last owner may have removed the file after we opened it: then we hold the lock of a file that
            // nobody else will ever find.
            if !is_at(&file, path) {
                continue;
            }
            refuse_foreign(path).map_err(Taken::Io)?;
            let mut taken = Self {
                file: Some(file),
                path: path.to_owned(),
                owner: std::process::id(),
            };
            taken.write().map_err(Taken::Io)?;
            return Ok(taken);
        }
        Err(Taken::By(read(path)))
    }

    /// One that is locked already, by the process that has handed over `file`; it stays that one's until
    /// [`own`](Self::own).
    pub(crate) fn handed(file: OwnedFd, path: &Path) -> Self {
        Self {
            file: Some(file.into()),
            path: path.to_owned(),
            owner: 0,
        }
    }

    /// The locked file, for the process that is to own it.
    pub(crate) fn file(&self) -> io::Result<OwnedFd> {
        let file = self.file.as_ref().ok_or(io::ErrorKind::NotFound)?;
        Ok(file.try_clone()?.into())
    }

    /// The file is this process's from now on.
    pub(crate) fn own(&mut self) -> io::Result<()> {
        self.owner = std::process::id();
        self.write()
    }

    /// The file is another process's from now on.
    pub(crate) fn disown(&mut self) {
        self.owner = 0;
    }

    /// Lets go of the lock, which is another process's too by now.
    pub(crate) fn release(&mut self) {
        self.file = None;
    }

    fn write(&mut self) -> io::Result<()> {
        let file = self.file.as_mut().ok_or(io::ErrorKind::NotFound)?;
        // Whoever looks meanwhile sees one number or the other: first all of it, then the end.
        let text = format!("{}\n", self.owner);
        let before = usize::try_from(file.metadata()?.len()).unwrap_or(0);
        file.rewind()?;
        file.write_all(format!("{text:\n<before$}").as_bytes())?;
        file.set_len(text.len() as u64)
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // A forked child closes its copy and no more.
        if self.owner == std::process::id()
            && let Some(file) = &self.file
            && is_at(file, &self.path)
        {
            // Still locked, so nobody else can have taken it over meanwhile. That it stays is harmless.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// The pid of the hive that holds the file; `None` if none does.
pub(crate) fn holder(path: &Path) -> io::Result<Option<u32>> {
    let file = match open(path, false) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => {
            // Locked, and not yet written: the master is just starting.
            for _ in 0..LOOKS {
                if let Some(pid) = read(path) {
                    return Ok(Some(pid));
                }
                std::thread::sleep(BETWEEN_LOOKS);
            }
            Err(io::Error::other(format!(
                "{} is locked but holds no pid; the hive may be starting, try again",
                path.display()
            )))
        }
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn open(path: &Path, create: bool) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(create)
        .create(create)
        .truncate(false)
        .mode(0o644)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
}

fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::symlink_metadata(path)) {
        (Ok(ours), Ok(there)) => (ours.dev(), ours.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

/// Refuses to overwrite what is no pid file: `--pid-file` may be mistyped, and we may be root.
fn refuse_foreign(path: &Path) -> io::Result<()> {
    let mut start = Vec::new();
    open(path, false)?.take(32).read_to_end(&mut start)?;
    if start
        .iter()
        .all(|byte| byte.is_ascii_digit() || byte.is_ascii_whitespace())
    {
        Ok(())
    } else {
        Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "the file is there and holds no pid",
        ))
    }
}

fn read(path: &Path) -> Option<u32> {
    let mut text = String::new();
    open(path, false)
        .ok()?
        .take(32)
        .read_to_string(&mut text)
        .ok()?;
    text.trim().parse().ok().filter(|pid| *pid > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_one_learns_who_was_first() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.pid");
        let first = PidFile::take(&path).unwrap();
        assert!(
            matches!(PidFile::take(&path), Err(Taken::By(Some(pid))) if pid == std::process::id())
        );
        assert_eq!(holder(&path).unwrap(), Some(std::process::id()));
        drop(first);
        assert_eq!(holder(&path).unwrap(), None);
        assert!(!path.exists());
    }

    #[test]
    fn a_file_left_over_from_a_crash_is_in_nobodys_way() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.pid");
        // The number even belongs to a living process.
        std::fs::write(&path, "1\n").unwrap();
        assert_eq!(holder(&path).unwrap(), None);
        let taken = PidFile::take(&path).unwrap();
        assert_eq!(read(&path), Some(std::process::id()));
        drop(taken);
    }

    #[test]
    fn somebody_elses_file_is_not_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.pid");
        let taken = PidFile::take(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "7\n").unwrap();
        drop(taken);
        assert!(path.exists());
    }

    #[test]
    fn a_file_that_is_no_pid_file_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("precious.conf");
        std::fs::write(&path, "key = value\n").unwrap();
        assert!(matches!(PidFile::take(&path), Err(Taken::Io(_))));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "key = value\n");
    }

    #[test]
    fn symbolic_links_are_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.pid");
        std::os::unix::fs::symlink(directory.path().join("target"), &path).unwrap();
        assert!(matches!(PidFile::take(&path), Err(Taken::Io(_))));
        assert!(!directory.path().join("target").exists());
    }
}
