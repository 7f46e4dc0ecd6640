//! Pushes: to which processes they go, and what became of them.

use std::time::Instant;

use crate::route::ConnectionId;
use crate::route::awaited::Owing;
use crate::route::core::Core;
use crate::route::directory::MemberId;
use crate::route::events::Misuse;
use crate::route::members::{Member, Role};
use crate::route::message::{Action, FromRouter, Outcome, Table, Target, is_name};

/// A push whose sender wants to know what becomes of it.
#[derive(Debug)]
pub(super) struct Pushed {
    origin: MemberId,
    /// The sender's number for it.
    id: u64,
    /// Those who have not reported yet, each once.
    waiting: Owing,
    outcome: Outcome,
}

/// One push while it is handed out.
struct Push<'a> {
    /// Its number in `pushed`, or 0.
    ask: u64,
    exclude: &'a [ConnectionId],
    action: Action<'a>,
    payload: &'a [u8],
    waiting: Owing,
    outcome: Outcome,
}

/// What came of handing a frame to a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Handed {
    Queued,
    /// Its queue is full.
    Refused,
    /// It is expected to come back, for too long already or for too much.
    Lost,
}

impl Core {
    #[expect(clippy::too_many_arguments, reason = "the fields of one frame")]
    pub(super) fn push(
        &mut self,
        origin: MemberId,
        id: u64,
        target: &Target<'_>,
        exclude: &[ConnectionId],
        action: Action<'_>,
        payload: &[u8],
        now: Instant,
    ) {
        self.counters.pushes += 1;
        let mut ask = 0;
        if id != 0 {
            let limit = self.config.waiting;
            let Some(member) = self.member_mut(origin) else {
                return;
            };
            if member.waiting >= limit {
                self.counters.unrouted += 1;
                self.tell_outcome(origin, id, Outcome::UNROUTED);
                return;
            }
            member.waiting += 1;
            let pushed = Pushed {
                origin,
                id,
                waiting: Owing::default(),
                outcome: Outcome::default(),
            };
            ask = self.pushed.insert(pushed, now);
        }
        let mut push = Push {
            ask,
            exclude,
            action,
            payload,
            waiting: Owing::default(),
            outcome: Outcome::default(),
        };
        self.hand_out(&mut push, target);
        if ask == 0 {
            return;
        }
        if push.waiting.is_empty() {
            self.pushed.remove(ask);
            self.finish_push(origin, id, push.outcome);
        } else if let Some(pushed) = self.pushed.get_mut(ask) {
            pushed.waiting = push.waiting;
            pushed.outcome = push.outcome;
        }
    }

    fn hand_out(&mut self, push: &mut Push<'_>, target: &Target<'_>) {
        match target {
            Target::Uid(name) => {
                self.hand_to_owners(push, Table::Uids, &[*name], |_| target.clone());
            }
            Target::Room(name) => {
                self.hand_to_owners(push, Table::Rooms, &[*name], |_| target.clone());
            }
            Target::Uids(names) => self.hand_to_owners(push, Table::Uids, names, Target::Uids),
            Target::Rooms(names) => self.hand_to_owners(push, Table::Rooms, names, Target::Rooms),
            Target::All => {
                for index in 0..self.members.len() {
                    if let Some(member) = &self.members[index]
                        && let Role::Worker { synced, .. } = member.role
                    {
                        self.hand_to(push, member_id(index), !synced, Target::All);
                    }
                }
            }
            Target::Connection(id) => {
                if let Some(&owner) = self.processes.get(&id.process()) {
                    let probe = self.unsynced.contains(&owner);
                    self.hand_to(push, owner, probe, Target::Connection(*id));
                }
            }
        }
    }

    /// Hands a push to the owners of some names, each with the names that it owns; and, with all names, to those of
    /// whom it is not known yet what they own.
    fn hand_to_owners<'t>(
        &mut self,
        push: &mut Push<'_>,
        table: Table,
        names: &[&'t [u8]],
        target: impl Fn(Vec<&'t [u8]>) -> Target<'t>,
    ) {
        let mut pairs = std::mem::take(&mut self.scratch);
        for (index, name) in (0..).zip(names) {
            pairs.extend(
                self.directory(table)
                    .owners(name)
                    .map(|owner| (owner, index)),
            );
        }
        if !self.unsynced.is_empty() {
            pairs.retain(|(owner, _)| !self.unsynced.contains(owner));
        }
        if names.len() == 1 {
            for &(owner, _) in &pairs {
                self.hand_to(push, owner, false, target(Vec::new()));
            }
        } else {
            pairs.sort_unstable();
            for owned in pairs.chunk_by(|(a, _), (b, _)| a == b) {
                let mine = owned.iter().map(|(_, index)| names[*index as usize]);
                self.hand_to(push, owned[0].0, false, target(mine.collect()));
            }
        }
        pairs.clear();
        self.scratch = pairs;
        for index in 0..self.unsynced.len() {
            self.hand_to(push, self.unsynced[index], true, target(names.to_vec()));
        }
    }

    fn hand_to(&mut self, push: &mut Push<'_>, owner: MemberId, probe: bool, target: Target<'_>) {
        let Some(process) = self.member(owner).and_then(Member::process) else {
            return;
        };
        let deliver = FromRouter::Deliver {
            ask: push.ask,
            probe,
            target,
            exclude: (push.exclude.iter().copied())
                .filter(|id| id.process() == process)
                .collect(),
            action: push.action,
        };
        // What is not a message is rare and must not be lost: a user is sent away, a room is closed.
        let is_data = matches!(push.action, Action::Message { .. });
        match self.hand(owner, &deliver, push.payload, is_data) {
            Handed::Queued => {
                self.counters.deliveries += 1;
                self.counters.probes += u64::from(probe);
                if push.ask != 0 {
                    push.waiting.push(owner);
                }
            }
            // Whether one that was only probed has any of them is not known.
            Handed::Refused if !probe => push.outcome.add(0, 1),
            Handed::Refused | Handed::Lost => push.outcome.unknown = true,
        }
    }

    /// Queues a frame for a member, or keeps it for one that is expected to come back.
    pub(super) fn hand(
        &mut self,
        owner: MemberId,
        message: &FromRouter<'_>,
        payload: &[u8],
        is_data: bool,
    ) -> Handed {
        let limit = self.config.limits.queue;
        let Some(member) = self.member_mut(owner) else {
            return Handed::Lost;
        };
        if let Some(link) = member.link {
            if !is_data {
                self.queue_control(link, message, payload);
            } else if !self.queue_data(link, message, payload) {
                return Handed::Refused;
            }
            return Handed::Queued;
        }
        let Some(held) = member.held.as_mut().map(|held| &mut held.frames) else {
            return Handed::Lost;
        };
        let before = held.len();
        if before + payload.len() > limit || message.append(payload, held).is_err() {
            return Handed::Lost;
        }
        if held.len() > limit {
            held.truncate(before);
            return Handed::Lost;
        }
        Handed::Queued
    }

    pub(super) fn report(&mut self, owner: MemberId, ask: u64, delivered: u32, refused: u32) {
        // Reports for what is no longer waited for are late, not wrong.
        let Some(pushed) = self.pushed.get_mut(ask) else {
            return;
        };
        if !pushed.waiting.remove(owner) {
            return;
        }
        pushed.outcome.add(delivered, refused);
        if pushed.waiting.is_empty()
            && let Some(pushed) = self.pushed.remove(ask)
        {
            self.finish_push(pushed.origin, pushed.id, pushed.outcome);
        }
    }

    fn finish_push(&mut self, origin: MemberId, id: u64, outcome: Outcome) {
        self.counters.unknown += u64::from(outcome.unknown);
        if let Some(member) = self.member_mut(origin) {
            member.waiting -= 1;
        }
        self.tell_outcome(origin, id, outcome);
    }

    fn tell_outcome(&mut self, origin: MemberId, id: u64, outcome: Outcome) {
        if let Some(link) = self.member(origin).and_then(|member| member.link) {
            self.queue_control(link, &FromRouter::Outcome { id, outcome }, b"");
        }
    }

    pub(super) fn expire_pushes(&mut self, now: Instant) {
        while let Some((_, pushed)) = self.pushed.expired(now) {
            let mut outcome = pushed.outcome;
            outcome.unknown = true;
            self.finish_push(pushed.origin, pushed.id, outcome);
        }
    }

    /// Nothing more comes from this member: what it owed is unknown.
    pub(super) fn forget_owner(&mut self, owner: MemberId) {
        for number in self.pushed.numbers(|pushed| pushed.waiting.contains(owner)) {
            if let Some(pushed) = self.pushed.get_mut(number) {
                pushed.waiting.remove(owner);
                pushed.outcome.unknown = true;
                if pushed.waiting.is_empty()
                    && let Some(pushed) = self.pushed.remove(number)
                {
                    self.finish_push(pushed.origin, pushed.id, pushed.outcome);
                }
            }
        }
    }

    /// A member has gone: neither does it report, nor does it want to know.
    pub(super) fn forget_pushes(&mut self, member: MemberId) {
        for number in self.pushed.numbers(|pushed| pushed.origin == member) {
            self.pushed.remove(number);
        }
        self.forget_owner(member);
    }

    pub(super) fn publish(&mut self, topic: &[u8], tag: u8, payload: &[u8]) -> Result<(), Misuse> {
        if !is_name(topic) {
            return Err(Misuse::Name);
        }
        let mut to: Vec<_> = self.topics.owners(topic).collect();
        to.retain(|owner| !self.unsynced.contains(owner));
        to.extend(&self.unsynced);
        for owner in to {
            self.hand(owner, &FromRouter::Topic { topic, tag }, payload, true);
        }
        Ok(())
    }
}

fn member_id(index: usize) -> MemberId {
    // The index of a member is its id.
    MemberId::try_from(index).unwrap_or(MemberId::MAX)
}
