//! The listening sockets of a hive: the master holds them for its whole life, so their queues outlive every process.

use std::collections::HashMap;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use workhive_worker::{Address, Inherited};

use crate::Group;
use crate::error::StartError;

/// One listening socket. The path of a Unix socket goes with its last owner: this process, but no child of it.
#[derive(Debug)]
pub(crate) struct Bound {
    socket: OwnedFd,
    address: Address,
    /// Who bound it, and what it bound: somebody else may have put a file in its place since.
    path: Option<(u32, FileId)>,
}

type FileId = (u64, u64);

impl Bound {
    /// Binds `address`; if the system chose the port, the address is the one it chose.
    pub(crate) fn new(address: &Address, reuse_port: bool, backlog: u32) -> io::Result<Self> {
        let socket = workhive_worker::bind(address, reuse_port, backlog)?;
        let mut path = None;
        let address = match address {
            Address::Tcp(_) => {
                let listener = TcpListener::from(socket.try_clone()?);
                Address::Tcp(listener.local_addr()?)
            }
            Address::Unix(name) => {
                // The way back must not depend on where the process stands later.
                let name = std::path::absolute(name)?;
                path = file_id(&name).map(|id| (std::process::id(), id));
                Address::Unix(name)
            }
        };
        Ok(Self {
            socket,
            address,
            path,
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
        if let (Some((owner, id)), Address::Unix(path)) = (self.path, &self.address)
            && owner == std::process::id()
            && file_id(path) == Some(id)
        {
            // A socket file that stays is harmless: the next bind replaces it.
            let _ = std::fs::remove_file(path);
        }
    }
}

fn file_id(path: &Path) -> Option<FileId> {
    let found = std::fs::symlink_metadata(path).ok()?;
    Some((found.dev(), found.ino()))
}

/// The listeners of one group: none, one for all its slots, or one for each.
#[derive(Debug, Default)]
pub(crate) struct GroupListeners {
    sockets: Vec<Bound>,
    reuse_port: bool,
    shared: bool,
}

impl GroupListeners {
    /// Binds what the group asks for.
    pub(crate) fn bind(group: &Group) -> Result<Self, StartError> {
        let Some(address) = &group.address else {
            return Ok(Self::default());
        };
        let sockets = if group.reuse_port {
            bind_each(address, group.count, group.backlog)
        } else {
            Bound::new(address, false, group.backlog).map(|bound| vec![bound])
        };
        match sockets {
            Ok(sockets) => Ok(Self {
                sockets,
                reuse_port: group.reuse_port,
                shared: !group.reuse_port && group.count > 1,
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

    /// How many sockets there are, and whether they are `SO_REUSEPORT` ones.
    pub(crate) fn sockets(&self) -> (usize, bool) {
        (self.sockets.len(), self.reuse_port)
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
    sockets: HashMap<Address, (Bound, Vec<usize>)>,
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
            let bound = Bound::new(address, false, backlog)?;
            self.sockets.insert(address.clone(), (bound, Vec::new()));
        }
        let (bound, users) = self
            .sockets
            .get_mut(address)
            .ok_or(io::ErrorKind::NotFound)?;
        if !users.contains(&user) {
            users.push(user);
        }
        Ok((*bound).as_fd())
    }

    /// Process `user` no longer listens there. The socket goes with the last user that lives; one whose users have
    /// died stays, for those who take their place.
    pub(crate) fn release(
        &mut self,
        user: usize,
        address: &Address,
        lives: impl Fn(usize) -> bool,
    ) {
        if let Some((_, users)) = self.sockets.get_mut(address) {
            let was = users.contains(&user);
            users.retain(|other| *other != user && lives(*other));
            if was && users.is_empty() {
                self.sockets.remove(address);
            }
        }
    }

    /// Where these sockets listen.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = &Address> {
        self.sockets.values().map(|(bound, _)| &bound.address)
    }

    pub(crate) fn clear(&mut self) {
        self.sockets.clear();
    }
}

/// The sockets that the processes of one slot gave for safe keeping, by the address as they wrote it. Each is used by
/// the process that gave it, and by those that asked for it since.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    sockets: HashMap<String, (OwnedFd, Vec<usize>)>,
}

/// Most sockets kept for one slot: a process in a loop must not take all of the master's descriptors.
const MAX_KEPT: usize = 64;

impl Kept {
    /// Keeps a socket of process `user`; false if there are too many.
    pub(crate) fn keep(&mut self, user: usize, address: String, socket: OwnedFd) -> bool {
        if self.sockets.len() >= MAX_KEPT && !self.sockets.contains_key(&address) {
            return false;
        }
        self.sockets.insert(address, (socket, vec![user]));
        true
    }

    /// The socket kept at `address`, which from now on process `user` uses too.
    pub(crate) fn claim(&mut self, user: usize, address: &str) -> Option<BorrowedFd<'_>> {
        let (socket, users) = self.sockets.get_mut(address)?;
        if !users.contains(&user) {
            users.push(user);
        }
        Some((*socket).as_fd())
    }

    /// Process `user` no longer listens at `address`. While another one does, the socket stays.
    pub(crate) fn release(&mut self, user: usize, address: &str) {
        if let Some((_, users)) = self.sockets.get_mut(address) {
            users.retain(|other| *other != user);
            if users.is_empty() {
                self.sockets.remove(address);
            }
        }
    }

    /// Closes what process `user`, the only one that is left, does not use; returns the addresses.
    pub(crate) fn retain(&mut self, user: usize) -> Vec<String> {
        let gone = self.sockets.extract_if(|_, (_, users)| {
            users.retain(|other| *other == user);
            users.is_empty()
        });
        gone.map(|(address, _)| unlinked(address)).collect()
    }

    /// Closes everything.
    pub(crate) fn clear(&mut self) {
        for (address, _) in self.sockets.drain() {
            unlinked(address);
        }
    }
}

/// Removes the file of a Unix socket that nobody listens at any more.
fn unlinked(address: String) -> String {
    if let Ok(Address::Unix(path)) = parse(&address) {
        // Best effort: a file that stays is replaced by the next who binds there.
        let _ = std::fs::remove_file(path);
    }
    address
}

/// Where a path leads that a process asked for, as text.
pub(crate) fn parse(address: &str) -> io::Result<Address> {
    address
        .parse()
        .map_err(|error: workhive_worker::AddressError| {
            io::Error::new(io::ErrorKind::InvalidInput, error)
        })
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
        assert!(kept.keep(1, "a".into(), fd()));
        assert!(kept.keep(1, "b".into(), fd()));
        assert!(kept.claim(2, "a").is_some());
        assert!(kept.claim(2, "c").is_none());
        // The old process says goodbye to an address that the new one has taken over.
        kept.release(1, "a");
        assert_eq!(kept.retain(2), ["b"]);
        kept.release(2, "a");
        assert!(kept.claim(3, "a").is_none());
    }

    #[test]
    fn a_replacement_that_fails_leaves_the_kept_socket_to_the_old_process() {
        let mut kept = Kept::default();
        assert!(kept.keep(1, "a".into(), fd()));
        assert!(kept.claim(2, "a").is_some());
        assert!(kept.retain(1).is_empty());
        assert!(kept.claim(3, "a").is_some());
    }

    #[test]
    fn a_slot_cannot_keep_without_end() {
        let mut kept = Kept::default();
        for index in 0..MAX_KEPT {
            assert!(kept.keep(1, index.to_string(), fd()));
        }
        assert!(!kept.keep(1, "one more".into(), fd()));
        assert!(kept.keep(1, "0".into(), fd()));
    }

    #[test]
    fn a_shared_socket_goes_with_its_last_living_user() {
        let mut shared = Shared::default();
        let address: Address = "127.0.0.1:0".parse().unwrap();
        shared.get(1, &address, 16).unwrap();
        shared.get(2, &address, 16).unwrap();
        shared.release(1, &address, |_| true);
        assert_eq!(shared.addresses().count(), 1);
        shared.release(2, &address, |_| true);
        assert_eq!(shared.addresses().count(), 0);
    }
}
