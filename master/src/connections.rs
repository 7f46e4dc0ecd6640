//! Which connections there are: the one question that the master puts to the processes themselves.
//!
//! All are asked at once, a page each; the next page of a process is asked for when the client has taken the ones before.
//! A process that does not answer in time is named, and the others are not held up by it.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use workhive_ipc::{ConnectionRow, ToWorker};

use crate::control::ClientId;
use crate::master::{Master, Timer};
use crate::protocol::{ConnectionStatus, ListingPart, ProcessStatus};
use crate::slot::{Phase, ProcessId};

/// How long a process may take to answer.
pub(crate) const ANSWER: Duration = Duration::from_secs(1);

/// The lists that are being made, by the clients who wait for them.
#[derive(Debug, Default)]
pub(crate) struct Listings {
    listings: BTreeMap<ClientId, Listing>,
    last_request: u32,
}

#[derive(Debug, Default)]
struct Listing {
    /// What was asked, by the number of the request: whom, and until when it may answer.
    asked: BTreeMap<u32, (ProcessId, Instant)>,
    /// Whom to ask next, and from which connection on.
    left: VecDeque<(ProcessId, u64)>,
}

impl Listings {
    fn next_request(&mut self) -> u32 {
        self.last_request = self.last_request.wrapping_add(1);
        self.last_request
    }

    /// Whose question this was.
    fn asker(&self, request: u32) -> Option<ClientId> {
        let mut listings = self.listings.iter();
        let found = listings.find(|(_, listing)| listing.asked.contains_key(&request));
        found.map(|(client, _)| *client)
    }
}

impl Master {
    /// A client wants to know all connections.
    pub(crate) fn start_listing(&mut self, client: ClientId) {
        let processes = self.processes.iter();
        let asked = processes.filter(|(_, process)| {
            matches!(process.phase, Phase::Ready | Phase::Draining)
                && !self.is_router(process.slot)
                && !process.is_foreign()
        });
        let left = asked.map(|(id, _)| (*id, 0)).collect();
        let listing = Listing {
            asked: BTreeMap::new(),
            left,
        };
        self.listings.listings.insert(client, listing);
        self.go_on_listing(client);
    }

    /// Asks for more as far as the client takes it; and ends when there is no more.
    pub(crate) fn go_on_listing(&mut self, client: ClientId) {
        loop {
            let Some(has_room) = self.control.has_room(client) else {
                self.listings.listings.remove(&client);
                return;
            };
            let Some(listing) = self.listings.listings.get_mut(&client) else {
                return;
            };
            if !has_room {
                return;
            }
            let Some((id, from)) = listing.left.pop_front() else {
                if listing.asked.is_empty() {
                    self.listings.listings.remove(&client);
                    self.control
                        .finish(self.poll.registry(), client, &ListingPart::Done(true));
                }
                return;
            };
            let request = self.listings.next_request();
            let until = Instant::now() + ANSWER;
            let message = ToWorker::ListConnections { id: request, from };
            if !self.send(id, message, None) {
                // It is ending.
                continue;
            }
            if let Some(listing) = self.listings.listings.get_mut(&client) {
                listing.asked.insert(request, (id, until));
            }
            self.timers.at(until, Timer::Listing(client));
        }
    }

    /// A page of a process's connections.
    pub(crate) fn on_connections(
        &mut self,
        id: ProcessId,
        request: u32,
        rows: Vec<ConnectionRow>,
        next: Option<u64>,
    ) {
        let Some(client) = self.listings.asker(request) else {
            log::debug!("an answer that nobody waits for any more: {request}");
            return;
        };
        if let Some(listing) = self.listings.listings.get_mut(&client) {
            listing.asked.remove(&request);
            // A number that does not grow would make it last for ever.
            let last = rows.last().map(|row| row.sequence);
            listing.left.extend(
                next.filter(|next| last < Some(*next))
                    .map(|next| (id, next)),
            );
        }
        if let Some(process) = self.processes.get(&id)
            && !rows.is_empty()
        {
            let group = &self.running(process.slot).definition.name;
            let pid = u32::try_from(process.pid.as_raw()).unwrap_or(0);
            let rows = rows.into_iter().map(|row| ConnectionStatus {
                pid,
                group: group.clone(),
                slot: process.slot.slot,
                id: process.name.connection(row.sequence).to_string(),
                transport: row.transport,
                protocol: row.protocol,
                unread: row.unread,
                unsent: row.unsent,
                bytes_read: row.bytes_read,
                bytes_written: row.bytes_written,
                messages: row.messages,
                idle_ms: row.idle_ms,
                state: row.state,
                local: row.local,
                remote: row.remote,
                uid: row.uid,
            });
            let part = ListingPart::Connections(rows.collect());
            self.control.stream(self.poll.registry(), client, &part);
        }
        self.go_on_listing(client);
    }

    /// Somebody may not have answered in time.
    pub(crate) fn on_listing_timeout(&mut self, client: ClientId) {
        let now = Instant::now();
        let Some(listing) = self.listings.listings.get_mut(&client) else {
            return;
        };
        let late = listing.asked.extract_if(.., |_, (_, until)| *until <= now);
        let late: Vec<_> = late.map(|(request, (id, _))| (request, id)).collect();
        for (request, id) in late {
            self.take_back(
                id,
                |message| matches!(message, ToWorker::ListConnections { id, .. } if *id == request),
            );
            if let Some(process) = self.processes.get(&id) {
                let part = ListingPart::Silent(ProcessStatus {
                    pid: u32::try_from(process.pid.as_raw()).unwrap_or(0),
                    group: self.running(process.slot).definition.name.clone(),
                    slot: process.slot.slot,
                });
                self.control.stream(self.poll.registry(), client, &part);
            }
        }
        self.go_on_listing(client);
    }

    /// A process has ended, and its connections with it: nobody waits for its answer any more.
    pub(crate) fn unlist(&mut self, id: ProcessId) {
        let clients: Vec<ClientId> = self.listings.listings.keys().copied().collect();
        for client in clients {
            if let Some(listing) = self.listings.listings.get_mut(&client) {
                listing.asked.retain(|_, (asked, _)| *asked != id);
                listing.left.retain(|(left, _)| *left != id);
            }
            self.go_on_listing(client);
        }
    }
}
