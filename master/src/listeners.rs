//! The listening sockets of a group: the master holds them for its whole life, so their queues outlive every process.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use workhive_worker::{Address, Inherited};

use crate::Group;
use crate::bound::Bound;
use crate::error::StartError;

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
}
