//! The sockets that the master keeps for a slot whose processes opened them by themselves.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::unistd::Uid;
use serde::{Deserialize, Serialize};
use workhive_worker::Address;

use crate::bound::{SocketFile, parse};
use crate::handed::HandedKept;

/// A listener that a process has opened, in its words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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

/// The sockets that the processes of one slot gave for safe keeping, by the address as they wrote it. Each is used by
/// the process that gave it, and by those that asked for it since.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    sockets: BTreeMap<String, KeptSocket>,
}

#[derive(Debug)]
struct KeptSocket {
    socket: OwnedFd,
    users: Vec<usize>,
    opened: Opened,
    file: Option<SocketFile>,
    /// The file goes with this master, and not with another one.
    owned: bool,
}

/// Most sockets kept for one slot: a process in a loop must not take all of the master's descriptors.
const MAX_KEPT: usize = 64;

impl Kept {
    /// Keeps a socket of process `user`, which calls it `address` and runs as `maker`, if that is not who this process
    /// runs as; false if there are too many.
    pub(crate) fn keep(
        &mut self,
        user: usize,
        address: String,
        opened: Opened,
        socket: OwnedFd,
        maker: Option<Uid>,
    ) -> bool {
        if self.sockets.len() >= MAX_KEPT && !self.sockets.contains_key(&address) {
            return false;
        }
        let file = match parse(&address) {
            Ok(Address::Unix(path)) => SocketFile::of(&socket, &path, maker),
            _ => None,
        };
        let kept = KeptSocket {
            socket,
            users: vec![user],
            opened,
            file,
            owned: true,
        };
        self.sockets.insert(address, kept);
        true
    }

    /// One that the master before this one has kept. Nobody's yet: whoever opens it in this slot claims it. Its file is
    /// the old master's until [`own`](Self::own).
    pub(crate) fn take(&mut self, handed: HandedKept) {
        let kept = KeptSocket {
            socket: handed.socket,
            users: Vec::new(),
            opened: handed.opened,
            file: handed.file,
            owned: false,
        };
        self.sockets.insert(handed.asked, kept);
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

    /// The socket kept at `address`, which from now on process `user` uses too. None for one that does already: it wants
    /// another one.
    pub(crate) fn claim(&mut self, user: usize, address: &str) -> Option<BorrowedFd<'_>> {
        let kept = self.sockets.get_mut(address)?;
        if kept.users.contains(&user) {
            return None;
        }
        kept.users.push(user);
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
        let gone = self.sockets.extract_if(.., |_, kept| {
            kept.users.retain(|other| *other == user);
            kept.users.is_empty()
        });
        gone.map(|(_, kept)| kept.end()).collect()
    }

    /// Closes what only one process could serve, and what nobody serves; returns the addresses.
    pub(crate) fn close_unless(&mut self, served: impl Fn(&str) -> bool) -> Vec<String> {
        let gone = self.sockets.extract_if(.., |address, kept| {
            !kept.opened.reuse_port || !served(address)
        });
        gone.map(|(_, kept)| kept.end()).collect()
    }

    /// All of it, for a master that takes this one's place: the addresses as they were asked for.
    pub(crate) fn all(
        &self,
    ) -> impl Iterator<Item = (&str, &Opened, BorrowedFd<'_>, Option<&SocketFile>)> {
        let sockets = self.sockets.iter();
        sockets.map(|(address, kept)| {
            let (opened, socket) = (&kept.opened, kept.socket.as_fd());
            (address.as_str(), opened, socket, kept.file.as_ref())
        })
    }

    /// The files of Unix sockets are another master's from now on.
    pub(crate) fn disown(&mut self) {
        for kept in self.sockets.values_mut() {
            kept.owned = false;
        }
    }

    /// The files of Unix sockets are this master's from now on.
    pub(crate) fn own(&mut self) {
        for kept in self.sockets.values_mut() {
            kept.owned = true;
        }
    }

    /// Closes everything.
    pub(crate) fn clear(&mut self) {
        for kept in std::mem::take(&mut self.sockets).into_values() {
            kept.end();
        }
    }
}

impl KeptSocket {
    /// Nobody listens there any more: removes the file of a Unix socket. Not in `Drop`, which also runs in forked
    /// children.
    fn end(self) -> String {
        if let Some(file) = self.file.as_ref().filter(|_| self.owned) {
            file.remove();
        }
        self.opened.listener()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

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
        kept.keep(user, address.to_owned(), opened(address), fd(), None)
    }

    fn unix(path: &Path) -> OwnedFd {
        std::os::unix::net::UnixListener::bind(path).unwrap().into()
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
    fn the_file_of_a_kept_unix_socket_goes_with_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.sock");
        let address = format!("unix:{}", path.display());
        let mut kept = Kept::default();
        assert!(kept.keep(1, address.clone(), opened(&address), unix(&path), None));
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
            assert!(kept.keep(1, address.clone(), opened(&address), socket, None));
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
        assert!(kept.keep(1, address.clone(), opened(&address), unix(&path), None));
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
        assert!(kept.keep(1, address.clone(), opened(&address), again, None));
        std::fs::remove_file(&path).unwrap();
        let _other = unix(&path);
        kept.clear();
        assert!(path.exists());
    }

    #[test]
    fn the_file_of_another_user_is_not_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.sock");
        let address = format!("unix:{}", path.display());
        let mut kept = Kept::default();
        let somebody = Uid::from_raw(nix::unistd::geteuid().as_raw() + 1);
        let socket = unix(&path);
        assert!(kept.keep(1, address.clone(), opened(&address), socket, Some(somebody)));
        kept.clear();
        assert!(path.exists());
    }
}
