//! A listening Unix socket for the programs of one user, at a path beside the pid file.

use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};

use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::{Mode, SFlag, fstat, umask};
use nix::unistd::{Uid, fchownat};

/// Longest path of a Unix socket, in bytes (unix(7)).
pub(crate) const MAX_PATH: usize = 107;

/// The file of such a socket. It goes with the process that made it, and not with a forked child of it.
#[derive(Debug)]
pub(crate) struct LocalSocket {
    path: PathBuf,
    /// The process that made the file, and the file it made.
    owner: u32,
    file: Option<(u64, u64)>,
}

impl LocalSocket {
    /// Listens at `path`, for this user alone. The caller holds the hive's lock: a socket that is there already is left
    /// over, unless it belongs to a hive whose pid file differs in its extension only. Taking that one over would send
    /// its programs here.
    pub(crate) fn bind(path: &Path) -> io::Result<(Self, UnixListener)> {
        // Non-blocking: a full queue is a sign of life too.
        let knock = |path: &Path| mio::net::UnixStream::connect(path).map(drop);
        let (socket, listener) = Self::bind_with(path, knock, |path| UnixListener::bind(path))?;
        listener.set_nonblocking(true)?;
        Ok((socket, listener))
    }

    /// The same for datagrams.
    pub(crate) fn bind_datagrams(path: &Path) -> io::Result<(Self, UnixDatagram)> {
        let knock = |path: &Path| UnixDatagram::unbound()?.connect(path);
        let (file, socket) = Self::bind_with(path, knock, |path| UnixDatagram::bind(path))?;
        socket.set_nonblocking(true)?;
        Ok((file, socket))
    }

    /// The file of a socket that was handed to this process: somebody else's until [`own`](Self::own).
    pub(crate) fn handed(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            owner: 0,
            file: None,
        }
    }

    pub(crate) fn is_own(&self) -> bool {
        self.owner == std::process::id()
    }

    /// The file is this process's from now on.
    pub(crate) fn own(&mut self) {
        self.owner = std::process::id();
        self.file = file_id(&self.path);
    }

    /// The file is another process's from now on.
    pub(crate) fn disown(&mut self) {
        self.owner = 0;
    }

    /// Removes the file of a datagram socket whose process is gone.
    pub(crate) fn remove_left_over(path: &Path) -> io::Result<()> {
        if !std::fs::symlink_metadata(path)?.file_type().is_socket() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        match UnixDatagram::unbound()?.connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                std::fs::remove_file(path)
            }
            _ => Err(io::ErrorKind::AddrInUse.into()),
        }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn bind_with<T>(
        path: &Path,
        knock: impl FnOnce(&Path) -> io::Result<()>,
        bind: impl FnOnce(&Path) -> io::Result<T>,
    ) -> io::Result<(Self, T)> {
        // Said here, where it can be said what to do about it.
        let length = path.as_os_str().len();
        if length > MAX_PATH {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "the path has {length} bytes, and that of a Unix socket has at most {MAX_PATH}"
                ),
            ));
        }
        match std::fs::symlink_metadata(path) {
            // Somebody's file, by an unlucky choice of names.
            Ok(found) if !found.file_type().is_socket() => {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            Ok(_) => match knock(path) {
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    std::fs::remove_file(path)?;
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                _ => return Err(io::ErrorKind::AddrInUse.into()),
            },
            Err(_) => {}
        }
        // bind(2) makes the file with the mode that the umask leaves: there is no moment in which others may connect.
        let before = umask(Mode::from_bits_truncate(0o177));
        let bound = bind(path);
        umask(before);
        let bound = bound?;
        // From here on the file is removed whatever fails.
        let socket = Self {
            path: path.to_owned(),
            owner: std::process::id(),
            file: file_id(path),
        };
        Ok((socket, bound))
    }

    /// Makes the file another user's, who may connect then. Needs root, who always may.
    pub(crate) fn give_to(&self, user: Uid) -> io::Result<()> {
        // The directory may be that user's own, and we are root: what the path leads to is held fast, looked at, and
        // changed only if it is the socket that was bound here.
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = nix::fcntl::open(&self.path, flags, Mode::empty())?;
        let found = fstat(&file)?;
        let kind = SFlag::from_bits_truncate(found.st_mode & SFlag::S_IFMT.bits());
        let ours = kind == SFlag::S_IFSOCK
            && found.st_nlink == 1
            && self.file == Some((found.st_dev, found.st_ino));
        if !ours {
            return Err(io::Error::other("another file has taken its place"));
        }
        fchownat(&file, "", Some(user), None, AtFlags::AT_EMPTY_PATH)?;
        Ok(())
    }
}

impl Drop for LocalSocket {
    fn drop(&mut self) {
        // A forked child closes its copy and no more.
        if self.is_own() && self.file.is_some() && file_id(&self.path) == self.file {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn file_id(path: &Path) -> Option<(u64, u64)> {
    let found = std::fs::symlink_metadata(path).ok()?;
    Some((found.dev(), found.ino()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn the_socket_is_its_users_own_and_goes_with_its_owner() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.sock");
        let bound = LocalSocket::bind(&path).unwrap();
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        UnixStream::connect(&path).unwrap();
        drop(bound);
        assert!(!path.exists());
    }

    #[test]
    fn a_socket_left_over_is_replaced_and_a_living_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let living = LocalSocket::bind(&path).unwrap();
        let error = LocalSocket::bind(&path).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(path.exists());
        drop(living);
        std::fs::write(&path, "precious").unwrap();
        let error = LocalSocket::bind(&path).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    }

    #[test]
    fn a_path_that_is_too_long_is_refused_with_both_numbers() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x".repeat(107));
        let error = LocalSocket::bind(&path).unwrap_err().to_string();
        let length = path.as_os_str().len().to_string();
        assert!(error.contains(&length) && error.contains("107"), "{error}");
    }

    #[test]
    fn a_file_in_its_place_is_neither_given_away_nor_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.sock");
        let (socket, _listener) = LocalSocket::bind(&path).unwrap();
        let own = nix::unistd::geteuid();
        socket.give_to(own).unwrap();
        std::fs::remove_file(&path).unwrap();
        let _other = UnixListener::bind(&path).unwrap();
        assert!(socket.give_to(own).is_err());
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(directory.path().join("target"), &path).unwrap();
        assert!(socket.give_to(own).is_err());
        drop(socket);
        assert!(path.symlink_metadata().is_ok());
    }
}
