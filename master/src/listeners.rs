//! The listening sockets of a hive: the master holds them for its whole life, so their queues outlive every process.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::fcntl::{AtFlags, OFlag};
use nix::sys::socket::{SockaddrStorage, UnixAddr, getsockname};
use nix::sys::stat::{Mode, SFlag, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use workhive_worker::{Address, Inherited};

use crate::Group;
use crate::error::StartError;

/// One listening socket. The path of a Unix socket goes with its last owner: this process, but no child of it.
#[derive(Debug)]
pub(crate) struct Bound {
    socket: OwnedFd,
    address: Address,
    /// Who bound it, and the file that it made.
    file: Option<(u32, SocketFile)>,
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
                file = SocketFile::of(&socket, name).map(|file| (std::process::id(), file));
                Address::Unix(std::path::absolute(name)?)
            }
        };
        Ok(Self {
            socket,
            address,
            file,
        })
    }
}

impl AsFd for Bound {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        if let Some((owner, file)) = &self.file
            && *owner == std::process::id()
        {
            file.remove();
        }
    }
}

/// The file that a Unix socket made when it was bound.
///
/// The path may come from a process without rights, and the master that removes it may be root. So it is looked at
/// when the socket is there to vouch for it, and nothing but that very file is ever removed.
#[derive(Debug)]
struct SocketFile {
    /// Absolute: the way back must not depend on where the process stands later.
    path: PathBuf,
    /// Device and inode.
    id: (u64, u64),
}

impl SocketFile {
    /// The file at `path`, if it is a socket and `socket` was bound there.
    fn of(socket: &impl AsRawFd, path: &Path) -> Option<Self> {
        let name = getsockname::<UnixAddr>(socket.as_raw_fd()).ok()?;
        if name.path() != Some(path) {
            return None;
        }
        let path = std::path::absolute(path).ok()?;
        let (_, id) = Self::find(&path)?;
        Some(Self { path, id })
    }

    /// The directory of `path`, and the socket file that is there by that name.
    fn find(path: &Path) -> Option<(OwnedFd, (u64, u64))> {
        let (directory, name) = (path.parent()?, path.file_name()?);
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let directory = nix::fcntl::open(directory, flags, Mode::empty()).ok()?;
        let found = fstatat(&directory, name, AtFlags::AT_SYMLINK_NOFOLLOW).ok()?;
        let kind = SFlag::from_bits_truncate(found.st_mode & SFlag::S_IFMT.bits());
        (kind == SFlag::S_IFSOCK).then_some((directory, (found.st_dev, found.st_ino)))
    }

    /// Removes the file, unless there is another one by now.
    fn remove(&self) {
        // Looked at and removed in the same directory: one on the way to it may be swapped for another meanwhile.
        if let Some((directory, id)) = Self::find(&self.path)
            && id == self.id
            && let Some(name) = self.path.file_name()
        {
            // Best effort: a socket file that stays is harmless, the next bind replaces it.
            let _ = unlinkat(&directory, name, UnlinkatFlags::NoRemoveDir);
        }
    }
}

/// The listeners of one group: none, one for all its slots, or one for each.
#[derive(Debug, Default)]
pub(crate) struct GroupListeners {
    sockets: Vec<Bound>,
    reuse_port: bool,
    shared: bool,
    /// Those at the further addresses of a program that knows nothing of workhive.
    more: Vec<GroupListeners>,
}

impl GroupListeners {
    /// Binds what the group asks for.
    pub(crate) fn bind(group: &Group) -> Result<Self, StartError> {
        let mut all = group.addresses();
        let Some(address) = all.next() else {
            return Ok(Self::default());
        };
        let mut listeners = Self::bind_at(group, address)?;
        for address in all {
            listeners.more.push(Self::bind_at(group, address)?);
        }
        Ok(listeners)
    }

    fn bind_at(group: &Group, address: &Address) -> Result<Self, StartError> {
        let reuse_port = group.reuse_port && matches!(address, Address::Tcp(_));
        let sockets = if reuse_port {
            bind_each(address, group.count, group.backlog)
        } else {
            Bound::new(address, false, group.backlog).map(|bound| vec![bound])
        };
        match sockets {
            Ok(sockets) => Ok(Self {
                sockets,
                reuse_port,
                shared: !reuse_port && group.count > 1,
                more: Vec::new(),
            }),
            Err(error) => Err(StartError::Listen {
                listener: group.listener(Some(address)),
                group: group.name.clone(),
                holder: (error.kind() == io::ErrorKind::AddrInUse)
                    .then(|| workhive_worker::holder(address, |_| None))
                    .flatten()
                    .map(|holder| holder.to_string()),
                address: address.clone(),
                error,
            }),
        }
    }

    /// Where the group really listens.
    pub(crate) fn address(&self) -> Option<&Address> {
        self.sockets.first().map(|bound| &bound.address)
    }

    /// Binds what is missing for so many processes, or nothing.
    pub(crate) fn grow(&mut self, count: u16, backlog: u32) -> io::Result<()> {
        for more in &mut self.more {
            more.grow(count, backlog)?;
        }
        let Some(address) = self.address().cloned() else {
            return Ok(());
        };
        if !self.reuse_port {
            // Those that are there already accept as if they were alone, until they are replaced.
            self.shared |= count > 1;
            return Ok(());
        }
        let mut more = Vec::new();
        for _ in self.sockets.len()..usize::from(count) {
            more.push(Bound::new(&address, true, backlog)?);
        }
        self.sockets.extend(more);
        Ok(())
    }

    /// How many sockets there are, and whether they are `SO_REUSEPORT` ones.
    pub(crate) fn sockets(&self) -> (usize, bool) {
        (self.sockets.len(), self.reuse_port)
    }

    /// One of the TCP sockets among which the kernel chooses, and how many they are, in the order of the slots.
    pub(crate) fn steerable(&self) -> Option<(BorrowedFd<'_>, u32)> {
        let first = self.sockets.first().filter(|_| self.reuse_port)?;
        Some((first.as_fd(), u32::try_from(self.sockets.len()).ok()?))
    }

    /// A duplicate of the socket that only `slot` has, if it has one.
    pub(crate) fn own_of_slot(&self, slot: u16) -> Option<io::Result<Inherited>> {
        self.reuse_port
            .then(|| self.for_slot(slot).transpose())
            .flatten()
    }

    /// Duplicates of all that the process that fills `slot` is to have.
    pub(crate) fn all_for_slot(&self, slot: u16) -> io::Result<Vec<Inherited>> {
        let mut found = Vec::from_iter(self.for_slot(slot)?);
        for more in &self.more {
            found.extend(more.for_slot(slot)?);
        }
        Ok(found)
    }

    /// A duplicate for the process that fills `slot`.
    pub(crate) fn for_slot(&self, slot: u16) -> io::Result<Option<Inherited>> {
        let index = if self.reuse_port {
            usize::from(slot)
        } else {
            0
        };
        let Some(bound) = self.sockets.get(index) else {
            return Ok(None);
        };
        Ok(Some(Inherited {
            socket: bound.socket.try_clone()?,
            address: bound.address.clone(),
            shared: self.shared,
        }))
    }
}

fn bind_each(address: &Address, count: u16, backlog: u32) -> io::Result<Vec<Bound>> {
    workhive_worker::probe(address)?;
    let first = Bound::new(address, true, backlog)?;
    // With port 0 the system has chosen one now, and the others are to share it.
    let address = first.address.clone();
    let mut sockets = vec![first];
    for _ in 1..count {
        sockets.push(Bound::new(&address, true, backlog)?);
    }
    Ok(sockets)
}

/// The sockets that processes asked the hive for, at an address that all of them share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    sockets: HashMap<Address, SharedSocket>,
}

#[derive(Debug)]
struct SharedSocket {
    bound: Bound,
    users: Vec<usize>,
    /// What is spoken there, and in which group, once somebody has said so.
    said: Option<(String, Opened)>,
}

/// Most shared sockets: a process in a loop must not take all of the master's descriptors.
const MAX_SHARED: usize = 256;

/// A listener that a process has opened, in its words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Opened {
    /// Where it really is: the port is the one that the system chose.
    pub(crate) address: String,
    pub(crate) protocol: String,
    pub(crate) reuse_port: bool,
}

impl Opened {
    /// `protocol://address`.
    pub(crate) fn listener(&self) -> String {
        listener(&self.protocol, &self.address)
    }
}

/// How a listener is called in tables: `protocol://address`, and `protocol://unix:/path`.
pub(crate) fn listener(protocol: &str, address: &impl std::fmt::Display) -> String {
    format!("{protocol}://{address}")
}

impl Shared {
    /// The hive's one socket at `address` for process `user`; bound for the first who asks.
    pub(crate) fn get(
        &mut self,
        user: usize,
        address: &Address,
        backlog: u32,
    ) -> io::Result<BorrowedFd<'_>> {
        if !self.sockets.contains_key(address) {
            if self.sockets.len() >= MAX_SHARED {
                return Err(io::Error::from_raw_os_error(libc::EMFILE));
            }
            let shared = SharedSocket {
                bound: Bound::new(address, false, backlog)?,
                users: Vec::new(),
                said: None,
            };
            self.sockets.insert(address.clone(), shared);
        }
        let shared = self
            .sockets
            .get_mut(address)
            .ok_or(io::ErrorKind::NotFound)?;
        if !shared.users.contains(&user) {
            shared.users.push(user);
        }
        Ok(shared.bound.as_fd())
    }

    /// Process `user` of `group` has opened the listener that it asked for; false if it has not asked.
    pub(crate) fn opened(
        &mut self,
        user: usize,
        group: &str,
        address: &Address,
        opened: &mut Opened,
    ) -> bool {
        let Some(shared) = self.sockets.get_mut(address) else {
            return false;
        };
        if !shared.users.contains(&user) {
            return false;
        }
        opened.address = shared.bound.address.to_string();
        shared.said = Some((group.to_owned(), opened.clone()));
        true
    }

    /// True if what a process has opened is one of these.
    pub(crate) fn has(&self, opened: &Opened) -> bool {
        let mut sockets = self.sockets.values();
        sockets.any(|shared| shared.bound.address.to_string() == opened.address)
    }

    /// Process `user` no longer listens there. The socket goes with the last user that lives; one whose users have
    /// died stays, for those who take their place.
    pub(crate) fn release(
        &mut self,
        user: usize,
        address: &Address,
        lives: impl Fn(usize) -> bool,
    ) {
        if let Some(SharedSocket { users, .. }) = self.sockets.get_mut(address) {
            let was = users.contains(&user);
            users.retain(|other| *other != user && lives(*other));
            if was && users.is_empty() {
                self.sockets.remove(address);
            }
        }
    }

    /// What is known of each: where it listens, who speaks what there.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Address, Option<&(String, Opened)>)> {
        let sockets = self.sockets.values();
        sockets.map(|shared| (&shared.bound.address, shared.said.as_ref()))
    }

    pub(crate) fn clear(&mut self) {
        self.sockets.clear();
    }
}

/// The sockets that the processes of one slot gave for safe keeping, by the address as they wrote it. Each is used by
/// the process that gave it, and by those that asked for it since.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    sockets: HashMap<String, KeptSocket>,
}

#[derive(Debug)]
struct KeptSocket {
    socket: OwnedFd,
    users: Vec<usize>,
    opened: Opened,
    file: Option<SocketFile>,
}

/// Most sockets kept for one slot: a process in a loop must not take all of the master's descriptors.
const MAX_KEPT: usize = 64;

impl Kept {
    /// Keeps a socket of process `user`, which calls it `address`; false if there are too many.
    pub(crate) fn keep(
        &mut self,
        user: usize,
        address: String,
        opened: Opened,
        socket: OwnedFd,
    ) -> bool {
        if self.sockets.len() >= MAX_KEPT && !self.sockets.contains_key(&address) {
            return false;
        }
        let file = match parse(&address) {
            Ok(Address::Unix(path)) => SocketFile::of(&socket, &path),
            _ => None,
        };
        let kept = KeptSocket {
            socket,
            users: vec![user],
            opened,
            file,
        };
        self.sockets.insert(address, kept);
        true
    }

    /// Where the socket that a process calls `address` really listens, if one is kept.
    pub(crate) fn address(&self, address: &str) -> Option<&str> {
        let kept = self.sockets.get(address)?;
        Some(&kept.opened.address)
    }

    /// What is kept.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Opened> {
        self.sockets.values().map(|kept| &kept.opened)
    }

    /// Duplicates of those that share their address with the sockets of other slots.
    pub(crate) fn lendable(&self) -> impl Iterator<Item = io::Result<(String, OwnedFd)>> {
        let shared = self
            .sockets
            .iter()
            .filter(|(_, kept)| kept.opened.reuse_port);
        shared.map(|(address, kept)| Ok((address.clone(), kept.socket.try_clone()?)))
    }

    /// The socket kept at `address`, which from now on process `user` uses too.
    pub(crate) fn claim(&mut self, user: usize, address: &str) -> Option<BorrowedFd<'_>> {
        let kept = self.sockets.get_mut(address)?;
        if !kept.users.contains(&user) {
            kept.users.push(user);
        }
        Some(kept.socket.as_fd())
    }

    /// Process `user` no longer listens at `address`. While another one does, the socket stays.
    pub(crate) fn release(&mut self, user: usize, address: &str) {
        if let Some(KeptSocket { users, .. }) = self.sockets.get_mut(address) {
            users.retain(|other| *other != user);
            if users.is_empty() {
                self.sockets.remove(address);
            }
        }
    }

    /// Closes what process `user`, the only one that is left, does not use; returns the addresses.
    pub(crate) fn retain(&mut self, user: usize) -> Vec<String> {
        let gone = self.sockets.extract_if(|_, kept| {
            kept.users.retain(|other| *other == user);
            kept.users.is_empty()
        });
        gone.map(|(_, kept)| kept.end()).collect()
    }

    /// Closes what only one process could serve, and what nobody serves; returns the addresses.
    pub(crate) fn close_unless(&mut self, served: impl Fn(&str) -> bool) -> Vec<String> {
        let gone = self
            .sockets
            .extract_if(|address, kept| !kept.opened.reuse_port || !served(address));
        gone.map(|(_, kept)| kept.end()).collect()
    }

    /// Closes everything.
    pub(crate) fn clear(&mut self) {
        for (_, kept) in self.sockets.drain() {
            kept.end();
        }
    }
}

impl KeptSocket {
    /// Nobody listens there any more: removes the file of a Unix socket. Not in `Drop`, which also runs in forked
    /// children.
    fn end(self) -> String {
        if let Some(file) = &self.file {
            file.remove();
        }
        self.opened.listener()
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
    use workhive_worker::Program;

    use super::*;

    fn group() -> Group {
        Group::new("a", Program::new("text", |_| 0))
    }

    fn fd() -> OwnedFd {
        std::fs::File::open("/dev/null").unwrap().into()
    }

    fn opened(address: &str) -> Opened {
        Opened {
            address: address.to_owned(),
            protocol: "text".to_owned(),
            reuse_port: false,
        }
    }

    fn keep(kept: &mut Kept, user: usize, address: &str) -> bool {
        kept.keep(user, address.to_owned(), opened(address), fd())
    }

    fn unix(path: &Path) -> OwnedFd {
        std::os::unix::net::UnixListener::bind(path).unwrap().into()
    }

    #[test]
    fn a_group_with_reuse_port_has_one_socket_for_each_slot_at_one_port() {
        let group = group()
            .address("127.0.0.1:0".parse().unwrap())
            .count(3)
            .reuse_port(true);
        let listeners = GroupListeners::bind(&group).unwrap();
        assert_eq!(listeners.sockets(), (3, true));
        let address = |slot| {
            let inherited = listeners.for_slot(slot).unwrap().unwrap();
            TcpListener::from(inherited.socket).local_addr().unwrap()
        };
        assert_ne!(address(0).port(), 0);
        assert_eq!(address(0), address(2));
        assert!(listeners.for_slot(3).unwrap().is_none());
        // A second hive at the same port fails, although the kernel would let it share.
        let Some(Address::Tcp(there)) = listeners.address() else {
            panic!()
        };
        let again = group.address(Address::Tcp(*there));
        let error = GroupListeners::bind(&again).unwrap_err();
        assert!(error.to_string().contains(&there.to_string()), "{error}");
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
    fn a_kept_socket_stays_as_long_as_somebody_uses_it() {
        let mut kept = Kept::default();
        assert!(keep(&mut kept, 1, "a"));
        assert!(keep(&mut kept, 1, "b"));
        assert!(kept.claim(2, "a").is_some());
        assert!(kept.claim(2, "c").is_none());
        // The old process says goodbye to an address that the new one has taken over.
        kept.release(1, "a");
        assert_eq!(kept.retain(2), ["text://b"]);
        kept.release(2, "a");
        assert!(kept.claim(3, "a").is_none());
    }

    #[test]
    fn a_replacement_that_fails_leaves_the_kept_socket_to_the_old_process() {
        let mut kept = Kept::default();
        assert!(keep(&mut kept, 1, "a"));
        assert!(kept.claim(2, "a").is_some());
        assert!(kept.retain(1).is_empty());
        assert!(kept.claim(3, "a").is_some());
    }

    #[test]
    fn a_slot_cannot_keep_without_end() {
        let mut kept = Kept::default();
        for index in 0..MAX_KEPT {
            assert!(keep(&mut kept, 1, &index.to_string()));
        }
        assert!(!keep(&mut kept, 1, "one more"));
        assert!(keep(&mut kept, 1, "0"));
    }

    #[test]
    fn a_shared_socket_goes_with_its_last_living_user() {
        let mut shared = Shared::default();
        let address: Address = "127.0.0.1:0".parse().unwrap();
        shared.get(1, &address, 16).unwrap();
        shared.get(2, &address, 16).unwrap();
        shared.release(1, &address, |_| true);
        assert_eq!(shared.iter().count(), 1);
        shared.release(2, &address, |_| true);
        assert_eq!(shared.iter().count(), 0);
    }

    #[test]
    fn the_file_of_a_kept_unix_socket_goes_with_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.sock");
        let address = format!("unix:{}", path.display());
        let mut kept = Kept::default();
        assert!(kept.keep(1, address.clone(), opened(&address), unix(&path)));
        assert_eq!(kept.retain(2), [format!("text://{address}")]);
        assert!(!path.exists());
    }

    #[test]
    fn a_file_that_no_socket_vouches_for_is_never_removed() {
        let directory = tempfile::tempdir().unwrap();
        let [own, other, plain] = ["own", "other", "plain"].map(|name| directory.path().join(name));
        std::fs::write(&plain, "precious").unwrap();
        let listener = unix(&other);
        let mut kept = Kept::default();
        // A file, in the name of a socket that is bound elsewhere; somebody else's socket, likewise.
        let mut claim = |path: &Path, socket: OwnedFd| {
            let address = format!("unix:{}", path.display());
            assert!(kept.keep(1, address.clone(), opened(&address), socket));
        };
        claim(&plain, unix(&own));
        claim(&other, fd());
        kept.clear();
        assert!(plain.exists() && other.exists());
        drop(listener);
    }

    #[test]
    fn a_file_that_took_a_sockets_place_is_not_removed() {
        let directory = tempfile::tempdir().unwrap();
        let inside = directory.path().join("inside");
        std::fs::create_dir(&inside).unwrap();
        let path = inside.join("passwd");
        let address = format!("unix:{}", path.display());
        let mut kept = Kept::default();
        assert!(kept.keep(1, address.clone(), opened(&address), unix(&path)));
        // The directory on the way becomes another one.
        let elsewhere = directory.path().join("elsewhere");
        std::fs::create_dir(&elsewhere).unwrap();
        std::fs::write(elsewhere.join("passwd"), "precious").unwrap();
        std::fs::rename(&inside, directory.path().join("was")).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &inside).unwrap();
        kept.clear();
        assert!(elsewhere.join("passwd").exists());
        // And so does the file itself, by another socket.
        let again = unix(&directory.path().join("b.sock"));
        let path = directory.path().join("b.sock");
        let address = format!("unix:{}", path.display());
        assert!(kept.keep(1, address.clone(), opened(&address), again));
        std::fs::remove_file(&path).unwrap();
        let _other = unix(&path);
        kept.clear();
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

    #[test]
    fn a_shared_socket_is_called_as_its_users_call_it() {
        let mut shared = Shared::default();
        let address = parse("127.0.0.1:0").unwrap();
        shared.get(1, &address, 16).unwrap();
        let mut said = opened("127.0.0.1:0");
        assert!(!shared.opened(2, "push", &address, &mut said));
        assert!(shared.opened(1, "push", &address, &mut said));
        let (there, known) = shared.iter().next().unwrap();
        assert_eq!(said.address, there.to_string());
        assert_ne!(said.address, "127.0.0.1:0");
        assert_eq!(known, Some(&("push".to_owned(), said)));
    }
}
