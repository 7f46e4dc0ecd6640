//! The sockets that all processes of a hive share because they asked for them.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use workhive_worker::Address;

use crate::bound::Bound;
use crate::handed::HandedShared;
use crate::kept::Opened;

/// The sockets that processes asked the hive for, at an address that all of them share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    sockets: BTreeMap<Address, SharedSocket>,
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

    /// Who uses the sockets that process `user` uses: the users of each.
    pub(crate) fn users_beside(&self, user: usize) -> impl Iterator<Item = &[usize]> {
        let sockets = self.sockets.values().map(|shared| &*shared.users);
        sockets.filter(move |users| users.contains(&user))
    }

    /// What is known of each: where it listens, who speaks what there.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Address, Option<&(String, Opened)>)> {
        let sockets = self.sockets.values();
        sockets.map(|shared| (&shared.bound.address, shared.said.as_ref()))
    }

    /// One that the master before this one had.
    pub(crate) fn take(&mut self, handed: HandedShared) {
        let shared = SharedSocket {
            bound: Bound::handed(handed.socket, handed.address, handed.file),
            users: Vec::new(),
            said: handed.said,
        };
        self.sockets.insert(handed.asked, shared);
    }

    /// All of it, for a master that takes this one's place: the addresses as they were asked for.
    pub(crate) fn all(
        &self,
    ) -> impl Iterator<Item = (&Address, &Bound, Option<&(String, Opened)>)> {
        let sockets = self.sockets.iter();
        sockets.map(|(asked, shared)| (asked, &shared.bound, shared.said.as_ref()))
    }

    /// Their sockets, to be owned or disowned.
    pub(crate) fn bound_mut(&mut self) -> impl Iterator<Item = &mut Bound> {
        self.sockets.values_mut().map(|shared| &mut shared.bound)
    }

    pub(crate) fn clear(&mut self) {
        self.sockets.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bound::parse;

    fn opened(address: &str) -> Opened {
        Opened {
            address: address.to_owned(),
            protocol: "text".to_owned(),
            reuse_port: false,
        }
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
