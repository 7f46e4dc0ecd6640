//! One listening socket, and the file that it has if it is a Unix socket.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::fcntl::{AtFlags, FcntlArg, OFlag, fcntl};
use nix::sys::socket::{SockaddrStorage, UnixAddr, getsockname};
use nix::sys::stat::{Mode, SFlag, fstatat};
use nix::unistd::{Uid, UnlinkatFlags, unlinkat};
use serde::{Deserialize, Serialize};
use workhive_worker::Address;

/// One listening socket. The path of a Unix socket goes with its last owner: this process, but no child of it.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) socket: OwnedFd,
    pub(crate) address: Address,
    /// The file that it made, if a hive has bound it.
    file: Option<SocketFile>,
    /// The process with which the file goes; 0 if it is another master's.
    owner: u32,
}

impl Bound {
    /// Binds `address`; if the system chose the port, the address is the one it chose.
    pub(crate) fn new(address: &Address, reuse_port: bool, backlog: u32) -> io::Result<Self> {
        let socket = workhive_worker::bind(address, reuse_port, backlog)?;
        let mut file = None;
        let address = match address {
            Address::Tcp(_) => {
                let listener = TcpListener::from(socket.try_clone()?);
                Address::Tcp(listener.local_addr()?)
            }
            Address::Unix(name) => {
                file = SocketFile::of(&socket, name, None);
                Address::Unix(std::path::absolute(name)?)
            }
        };
        Ok(Self {
            socket,
            address,
            file,
            owner: std::process::id(),
        })
    }

    /// One that was handed to this process. Its file, if a hive has made it, is the old master's until
    /// [`own`](Self::own).
    pub(crate) fn handed(socket: OwnedFd, address: Address, file: Option<SocketFile>) -> Self {
        Self {
            socket,
            address,
            file,
            owner: 0,
        }
    }

    /// Makes accept(2) wait, as programs that know nothing of us expect. Only for a socket that nobody has yet: the flag
    /// is that of all who have it, and one that does not want to wait must not be made to.
    pub(crate) fn make_wait(self) -> io::Result<Self> {
        fcntl(&self.socket, FcntlArg::F_SETFL(OFlag::empty()))?;
        Ok(self)
    }

    /// Its file, if a hive has made it.
    pub(crate) fn file(&self) -> Option<&SocketFile> {
        self.file.as_ref()
    }

    /// The socket's file is another master's from now on.
    pub(crate) fn disown(&mut self) {
        self.owner = 0;
    }

    /// The socket's file is this master's from now on.
    pub(crate) fn own(&mut self) {
        self.owner = std::process::id();
    }
}

impl AsFd for Bound {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        if let Some(file) = &self.file
            && self.owner == std::process::id()
        {
            file.remove();
        }
    }
}

/// The file that a Unix socket made when it was bound.
///
/// The path may come from a process without rights, and the master that removes it may be root. So it is looked at once,
/// when the socket is there to vouch for it; it has to be that process's own, because the directories on the way may be
/// others by then; and nothing but that very file is ever removed, whichever master does it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SocketFile {
    /// Absolute: the way back must not depend on where the process stands later.
    path: PathBuf,
    /// Device and inode.
    id: (u64, u64),
}

impl SocketFile {
    /// The file at `path`, if it is a socket and `socket` was bound there; by user `maker`, if it is said who that was.
    pub(crate) fn of(socket: &impl AsRawFd, path: &Path, maker: Option<Uid>) -> Option<Self> {
        let name = getsockname::<UnixAddr>(socket.as_raw_fd()).ok()?;
        let path = std::path::absolute(path).ok()?;
        if std::path::absolute(name.path()?).ok()? != path {
            return None;
        }
        let (_, id, owner) = Self::find(&path)?;
        maker
            .is_none_or(|maker| maker == owner)
            .then_some(Self { path, id })
    }

    /// The directory of `path`, the socket file that is there by that name, and whose it is.
    fn find(path: &Path) -> Option<(OwnedFd, (u64, u64), Uid)> {
        let (directory, name) = (path.parent()?, path.file_name()?);
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let directory = nix::fcntl::open(directory, flags, Mode::empty()).ok()?;
        let found = fstatat(&directory, name, AtFlags::AT_SYMLINK_NOFOLLOW).ok()?;
        let kind = SFlag::from_bits_truncate(found.st_mode & SFlag::S_IFMT.bits());
        let owner = Uid::from_raw(found.st_uid);
        (kind == SFlag::S_IFSOCK).then_some((directory, (found.st_dev, found.st_ino), owner))
    }

    /// Removes the file, unless there is another one by now.
    pub(crate) fn remove(&self) {
        // Looked at and removed in the same directory: one on the way to it may be swapped for another meanwhile.
        if let Some((directory, id, _)) = Self::find(&self.path)
            && id == self.id
            && let Some(name) = self.path.file_name()
        {
            // Best effort: a socket file that stays is harmless, the next bind replaces it.
            let _ = unlinkat(&directory, name, UnlinkatFlags::NoRemoveDir);
        }
    }
}

/// An address as processes send it: numbers, never a name that would have to be looked up.
pub(crate) fn parse(address: &str) -> io::Result<Address> {
    if !address.starts_with("unix:") {
        let address: SocketAddr = address.parse().map_err(|_| io::ErrorKind::InvalidInput)?;
        return Ok(Address::Tcp(address));
    }
    address
        .parse()
        .map_err(|error: workhive_worker::AddressError| {
            io::Error::new(io::ErrorKind::InvalidInput, error)
        })
}

/// Where `socket` listens, if the system chose the port of `address`.
pub(crate) fn chosen(address: &Address, socket: &OwnedFd) -> Option<SocketAddr> {
    match address {
        Address::Tcp(address) if address.port() == 0 => {}
        _ => return None,
    }
    let name = getsockname::<SockaddrStorage>(socket.as_raw_fd()).ok()?;
    let v4 = name.as_sockaddr_in().map(|v4| SocketAddr::V4((*v4).into()));
    v4.or_else(|| {
        name.as_sockaddr_in6()
            .map(|v6| SocketAddr::V6((*v6).into()))
    })
}

/// True if binding there may take rights that processes under another user have given up: to ports below 1024, and to
/// files.
pub(crate) fn takes_rights(address: &Address) -> bool {
    match address {
        Address::Tcp(address) => (1..1024).contains(&address.port()),
        Address::Unix(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fd() -> OwnedFd {
        std::fs::File::open("/dev/null").unwrap().into()
    }

    #[test]
    fn the_path_of_a_unix_socket_goes_with_its_owner() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.sock");
        let bound = Bound::new(&Address::Unix(path.clone()), false, 16).unwrap();
        assert!(path.exists());
        drop(bound);
        assert!(!path.exists());
        let bound = Bound::new(&Address::Unix(path.clone()), false, 16).unwrap();
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "somebody else's").unwrap();
        drop(bound);
        assert!(path.exists());
    }

    #[test]
    fn names_are_not_looked_up_for_processes() {
        assert!(parse("localhost:80").is_err());
        assert_eq!(parse("[::1]:80").unwrap().to_string(), "[::1]:80");
        assert_eq!(parse("unix:/a").unwrap().to_string(), "unix:/a");
    }

    #[test]
    fn low_ports_and_files_take_rights() {
        for (address, takes) in [
            ("127.0.0.1:0", false),
            ("127.0.0.1:1", true),
            ("[::]:1023", true),
            ("127.0.0.1:1024", false),
            ("unix:/tmp/a", true),
        ] {
            assert_eq!(takes_rights(&parse(address).unwrap()), takes, "{address}");
        }
    }

    #[test]
    fn the_port_that_the_system_chose_is_told() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let there = listener.local_addr().unwrap();
        let socket = OwnedFd::from(listener);
        assert_eq!(chosen(&parse("127.0.0.1:0").unwrap(), &socket), Some(there));
        assert_eq!(chosen(&parse("127.0.0.1:9").unwrap(), &socket), None);
        assert_eq!(chosen(&parse("127.0.0.1:0").unwrap(), &fd()), None);
    }
}
