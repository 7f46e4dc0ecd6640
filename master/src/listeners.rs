//! The listening sockets of a group: the master holds them for its whole life, so their queues outlive every process.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use workhive_worker::{Address, Inherited};

use crate::Group;
use crate::bound::Bound;
use crate::error::StartError;
use crate::handed::Handed;

/// The listeners of one group: none, one for all its slots, or one for each.
#[derive(Debug, Default)]
pub(crate) struct GroupListeners {
    sockets: Vec<Bound>,
    reuse_port: bool,
    shared: bool,
    /// They are for programs that expect accept(2) to wait.
    wait: bool,
    /// Those at the further addresses of a program that knows nothing of workhive.
    more: Vec<GroupListeners>,
}

impl GroupListeners {
    /// Binds what the group asks for, and was not handed to this process.
    pub(crate) fn bind(group: &Group, handed: &mut Handed) -> Result<Self, StartError> {
        let mut all = group.addresses();
        let Some(address) = all.next() else {
            return Ok(Self::default());
        };
        let mut listeners = Self::bind_at(group, address, handed)?;
        for address in all {
            listeners.more.push(Self::bind_at(group, address, handed)?);
        }
        Ok(listeners)
    }

    fn bind_at(group: &Group, address: &Address, handed: &mut Handed) -> Result<Self, StartError> {
        let mut reuse_port = group.reuse_port && matches!(address, Address::Tcp(_));
        let mut claimed = handed.claim(&group.name, address, reuse_port);
        if claimed.is_empty() {
            // Its sockets are of the other kind. One of them still takes the connections that wait.
            claimed = handed.claim(&group.name, address, !reuse_port);
            if !claimed.is_empty() {
                reuse_port = !reuse_port;
                log::warn!(
                    "group \"{}\": the socket at {address} that was handed over {} SO_REUSEPORT; it stays so until the \
                     hive is stopped and started",
                    group.name,
                    if reuse_port { "has" } else { "does not have" }
                );
            }
        }
        let wait = group.is_foreign();
        // Those of a service manager are new; those of an old master are in use.
        let is_new = handed.estate.is_none();
        let claimed: io::Result<Vec<_>> = claimed
            .into_iter()
            .map(|bound| {
                if wait && is_new {
                    bound.make_wait()
                } else {
                    Ok(bound)
                }
            })
            .collect();
        let mut claimed =
            claimed.map_err(StartError::system("use a socket that was handed over"))?;
        if wait && reuse_port && claimed.len() > usize::from(group.count) {
            // What waits in their queues is told so, rather than left to wait for nobody.
            log::warn!(
                "group \"{}\" has fewer processes now: what waits for the last ones at {address} is lost",
                group.name
            );
            claimed.truncate(usize::from(group.count));
        }
        let sockets = if reuse_port {
            bind_each(address, group.count, group.backlog, wait, claimed)
        } else if claimed.is_empty() {
            bind_one(address, false, group.backlog, wait).map(|bound| vec![bound])
        } else {
            Ok(claimed)
        };
        match sockets {
            Ok(sockets) => Ok(Self {
                sockets,
                reuse_port,
                shared: !reuse_port && group.count > 1,
                wait,
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
            more.push(bind_one(&address, true, backlog, self.wait)?);
        }
        self.sockets.extend(more);
        Ok(())
    }

    /// All sockets with the group's addresses that they are for, for a master that takes this one's place.
    pub(crate) fn all<'a>(&'a self, group: &'a Group) -> Vec<(&'a Address, &'a Bound, bool)> {
        let mut found = Vec::new();
        let each = std::iter::once(self).chain(&self.more);
        for (asked, listeners) in group.addresses().zip(each) {
            let sockets = listeners.sockets.iter();
            found.extend(sockets.map(|bound| (asked, bound, listeners.reuse_port)));
        }
        found
    }

    /// All sockets, to be owned or disowned.
    pub(crate) fn bound_mut(&mut self) -> impl Iterator<Item = &mut Bound> {
        let more = self.more.iter_mut().flat_map(|more| &mut more.sockets);
        self.sockets.iter_mut().chain(more)
    }

    /// How many sockets there are, and whether they are `SO_REUSEPORT` ones.
    pub(crate) fn sockets(&self) -> (usize, bool) {
        (self.sockets.len(), self.reuse_port)
    }

    /// True if all slots accept from one socket.
    pub(crate) fn is_shared(&self) -> bool {
        self.shared
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

fn bind_one(address: &Address, reuse_port: bool, backlog: u32, wait: bool) -> io::Result<Bound> {
    let bound = Bound::new(address, reuse_port, backlog)?;
    if wait { bound.make_wait() } else { Ok(bound) }
}

/// A socket for each slot; those that were claimed come first, however many they are.
fn bind_each(
    address: &Address,
    count: u16,
    backlog: u32,
    wait: bool,
    claimed: Vec<Bound>,
) -> io::Result<Vec<Bound>> {
    let mut sockets = claimed;
    if sockets.is_empty() {
        workhive_worker::probe(address)?;
    }
    while sockets.len() < usize::from(count) {
        // With port 0 the system chooses one for the first, and the others are to share it.
        let address = sockets
            .first()
            .map_or(address, |first| &first.address)
            .clone();
        sockets.push(bind_one(&address, true, backlog, wait)?);
    }
    Ok(sockets)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use workhive_worker::Program;

    use super::*;

    fn group() -> Group {
        Group::new("a", Program::new("text", |_| 0))
    }

    #[test]
    fn a_group_with_reuse_port_has_one_socket_for_each_slot_at_one_port() {
        let group = group()
            .address("127.0.0.1:0".parse().unwrap())
            .count(3)
            .reuse_port(true);
        let listeners = GroupListeners::bind(&group, &mut Handed::default()).unwrap();
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
        let error = GroupListeners::bind(&again, &mut Handed::default()).unwrap_err();
        assert!(error.to_string().contains(&there.to_string()), "{error}");
    }
}
