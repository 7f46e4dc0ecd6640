//! Steering: new connections go to the sockets of those who accept.
//!
//! Where each slot has a socket of its own, the kernel goes on to give one of a slot that is down its share of the
//! connections. What is there already is lent to a sibling; what is still to come need not go there at all.

use crate::master::Master;

/// Which sockets of a group get no new connections.
#[derive(Debug, Default)]
pub(crate) struct Steering {
    /// Not known at first: sockets outlive those who steered them.
    skipped: Option<Vec<u32>>,
    /// The system does not have it, and that has been said.
    refused: bool,
}

impl Master {
    /// Steers all groups once more: another master may have done so meanwhile.
    pub(crate) fn steer_anew(&mut self) {
        for group in 0..self.groups.len() {
            self.groups[group].steering.skipped = None;
            self.steer(group);
        }
    }

    /// Steers new connections of a group away from the slots that are down; with none, or nothing but such, the kernel's
    /// hash decides.
    pub(crate) fn steer(&mut self, group: usize) {
        let (stopping, heir) = (self.is_stopping(), self.is_heir());
        let running = &mut self.groups[group];
        // At the start all sockets are there before the first process is.
        // And during an upgrade both masters have them, but it is one that is in charge.
        if stopping || heir || !running.proven || running.steering.refused {
            return;
        }
        let Some((socket, total)) = running.listeners.steerable() else {
            return;
        };
        let slots = &running.slots;
        let down = |slot: u32| {
            let slot = usize::try_from(slot).ok().and_then(|slot| slots.get(slot));
            slot.is_none_or(|slot| slot.down)
        };
        let mut skip: Vec<u32> = (0..total).filter(|slot| down(*slot)).collect();
        if u32::try_from(skip.len()) == Ok(total) {
            skip.clear();
        }
        if running.steering.skipped.as_ref() == Some(&skip) {
            return;
        }
        let done = if skip.is_empty() {
            workhive_worker::unsteer(socket)
        } else {
            workhive_worker::steer(socket, total, &skip)
        };
        let name = &running.definition.name;
        match done {
            Ok(()) => {
                log::debug!("group \"{name}\": no new connections for slots {skip:?}");
                running.steering.skipped = Some(skip);
            }
            Err(error) => {
                // The choice that was in force is out of date. Where this fails too there was none.
                let _ = workhive_worker::unsteer(socket);
                log::info!(
                    "group \"{name}\": new connections cannot be steered away from processes that are down: {error}; \
                     they go to the queues of all, and wait there for a sibling"
                );
                running.steering.refused = true;
            }
        }
    }
}
