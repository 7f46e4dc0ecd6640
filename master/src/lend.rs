//! Queues that are lent: while a slot has nobody who accepts, one of its siblings does.
//!
//! With `SO_REUSEPORT` the kernel goes on to spread connections over all sockets of an address, also over those of a
//! process that is dead, or stuck, unless it is steered away from them. The master holds every such socket, so it can
//! give a duplicate to a process that works, until the slot's next one is ready.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;

use workhive_ipc::ToWorker;

use crate::master::Master;
use crate::slot::{Phase, ProcessId, SlotId};
use crate::watch::is_stopped;

/// One socket, in the hands of another slot's process.
#[derive(Debug)]
struct Loan {
    id: u32,
    /// Whose it is.
    owner: SlotId,
    /// As the owner calls it.
    address: String,
    to: ProcessId,
}

/// All sockets that are lent now.
#[derive(Debug, Default)]
pub(crate) struct Loans {
    loans: Vec<Loan>,
    last_id: u32,
}

impl Loans {
    fn has(&self, owner: SlotId, address: &str) -> bool {
        let mut loans = self.loans.iter();
        loans.any(|loan| loan.owner == owner && loan.address == address)
    }

    /// How many sockets a process has borrowed.
    fn of(&self, id: ProcessId) -> usize {
        self.loans.iter().filter(|loan| loan.to == id).count()
    }

    fn add(&mut self, owner: SlotId, address: String, to: ProcessId) -> u32 {
        self.last_id = self.last_id.wrapping_add(1);
        self.loans.push(Loan {
            id: self.last_id,
            owner,
            address,
            to,
        });
        self.last_id
    }

    /// Those of a slot; they are no longer lent.
    fn take(&mut self, owner: SlotId) -> Vec<(u32, ProcessId)> {
        let taken = self.loans.extract_if(.., |loan| loan.owner == owner);
        taken.map(|loan| (loan.id, loan.to)).collect()
    }

    /// A process no longer accepts from what it has borrowed: all of it, or at one address. True if there was any.
    fn lose(&mut self, to: ProcessId, address: Option<&str>) -> bool {
        let before = self.loans.len();
        self.loans
            .retain(|loan| loan.to != to || address.is_some_and(|lost| lost != loan.address));
        self.loans.len() < before
    }

    /// The slots that a process stands in for.
    pub(crate) fn owners(&self, to: ProcessId) -> BTreeSet<SlotId> {
        let loans = self.loans.iter().filter(|loan| loan.to == to);
        loans.map(|loan| loan.owner).collect()
    }

    /// Nothing is lent any more, and nobody is told.
    pub(crate) fn clear(&mut self) {
        self.loans.clear();
    }
}

impl Master {
    /// Nobody accepts in this slot from now on, and until its next process is ready.
    pub(crate) fn slot_down(&mut self, at: SlotId) {
        self.groups[at.group].slots[usize::from(at.slot)].down = true;
        self.steer(at.group);
        self.lend(at);
    }

    /// The slot's process accepts: siblings that did so in its place need not any more, and it can do as much for
    /// others.
    pub(crate) fn slot_up(&mut self, at: SlotId) {
        self.groups[at.group].slots[usize::from(at.slot)].down = false;
        for (id, to) in self.loans.take(at) {
            self.send(to, ToWorker::AcceptNoMore { id }, None);
        }
        self.steer(at.group);
        self.lend_all(at.group);
    }

    /// A process takes nothing new any more: what it has borrowed goes to others.
    pub(crate) fn borrower_left(&mut self, id: ProcessId, address: Option<&str>) {
        if self.loans.lose(id, address)
            && let Some(group) = self.processes.get(&id).map(|process| process.slot.group)
        {
            self.lend_all(group);
        }
    }

    fn lend_all(&mut self, group: usize) {
        for slot in 0..self.groups[group].slots.len() {
            let slot = u16::try_from(slot).unwrap_or(u16::MAX);
            self.lend(SlotId { group, slot });
        }
    }

    /// Lends what can be lent of a slot that is down. Without a sibling that works nothing happens: the next one that
    /// becomes ready is asked.
    fn lend(&mut self, at: SlotId) {
        if self.is_stopping()
            || !self.groups[at.group].slots[usize::from(at.slot)].down
            || self.groups[at.group].definition.is_foreign()
        {
            return;
        }
        for (address, socket, of_group) in self.lendable(at) {
            if self.loans.has(at, &address) {
                continue;
            }
            let Some(to) = self.borrower(at, (!of_group).then_some(&*address)) else {
                continue;
            };
            let id = self.loans.add(at, address.clone(), to);
            let sibling = self.processes[&to].slot;
            log::info!(
                "{}: {} accepts for it at {address} until it is back",
                self.place(at),
                self.place(sibling)
            );
            if !self.send(to, ToWorker::AcceptFrom { id, address }, Some(socket)) {
                // It is ending; when that is seen another one is asked.
                log::debug!("{} did not take it", self.place(sibling));
            }
        }
    }

    /// The sockets of a slot that no other process accepts from, by their addresses; true for that of the whole group.
    fn lendable(&self, at: SlotId) -> Vec<(String, OwnedFd, bool)> {
        let running = &self.groups[at.group];
        let own = match running.listeners.own_of_slot(at.slot) {
            Some(inherited) => inherited.map(|inherited| {
                let address = inherited.address.to_string();
                Some((address, inherited.socket, true))
            }),
            None => Ok(None),
        };
        let kept = running.slots[usize::from(at.slot)].kept.lendable();
        let kept = kept.map(|kept| kept.map(|(address, socket)| (address, socket, false)));
        let all = own.transpose().into_iter().chain(kept);
        all.filter_map(|socket| {
            socket
                .inspect_err(|error| log::error!("{}: cannot be lent: {error}", self.place(at)))
                .ok()
        })
        .collect()
    }

    /// A sibling that accepts, and has opened a listener at this address if it takes one; the one with the fewest
    /// borrowed sockets.
    fn borrower(&self, at: SlotId, opened: Option<&str>) -> Option<ProcessId> {
        let slots = (0..).zip(&self.groups[at.group].slots);
        let works = slots.filter(|(slot, sibling)| *slot != at.slot && !sibling.down);
        let mut found: Vec<ProcessId> = works
            .filter_map(|(_, sibling)| sibling.current)
            .filter(|id| {
                self.processes.get(id).is_some_and(|process| {
                    process.phase == Phase::Ready
                        && process.link.is_some()
                        && opened.is_none_or(|address| process.listening.contains_key(address))
                        && !process.has_ended()
                })
            })
            .collect();
        found.sort_by_key(|id| self.loans.of(*id));
        // One that somebody has stopped would leave the queue as it is.
        let moves = found
            .iter()
            .find(|id| !is_stopped(self.processes[id].pid))
            .copied();
        moves.or_else(|| found.first().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: SlotId = SlotId { group: 0, slot: 0 };
    const SECOND: SlotId = SlotId { group: 0, slot: 1 };

    #[test]
    fn a_socket_is_lent_once_and_comes_back_with_all_of_its_slot() {
        let mut loans = Loans::default();
        assert_eq!(loans.add(FIRST, "a".to_owned(), 10), 1);
        assert_eq!(loans.add(FIRST, "b".to_owned(), 11), 2);
        assert_eq!(loans.add(SECOND, "a".to_owned(), 11), 3);
        assert!(loans.has(FIRST, "a") && !loans.has(FIRST, "c"));
        assert_eq!((loans.of(10), loans.of(11)), (1, 2));
        assert_eq!(loans.take(FIRST), [(1, 10), (2, 11)]);
        assert_eq!(loans.take(FIRST), []);
        assert!(loans.has(SECOND, "a"));
    }

    #[test]
    fn who_leaves_has_borrowed_nothing_any_more() {
        let mut loans = Loans::default();
        loans.add(FIRST, "a".to_owned(), 10);
        loans.add(FIRST, "b".to_owned(), 10);
        loans.add(SECOND, "a".to_owned(), 11);
        assert!(loans.lose(10, Some("a")));
        assert!(!loans.has(FIRST, "a") && loans.has(FIRST, "b"));
        assert!(loans.lose(10, None));
        assert!(!loans.lose(10, None));
        assert!(loans.has(SECOND, "a"));
    }
}
