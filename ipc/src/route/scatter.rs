//! Questions: what the router knows it answers itself, the rest it asks the owners.

use std::time::Instant;

use crate::route::ConnectionId;
use crate::route::awaited::Owing;
use crate::route::core::Core;
use crate::route::deliver::Handed;
use crate::route::directory::{Directory, MemberId};
use crate::route::events::Misuse;
use crate::route::members::{Member, Role};
use crate::route::message::{self, Answer, FromRouter, MAX_SESSION, Query, Scope};

/// A question that the owners are answering.
#[derive(Debug)]
pub(super) struct Asked {
    origin: MemberId,
    /// The asker's number for it.
    id: u64,
    /// Those who have not answered yet, each once.
    waiting: Owing,
    /// What they said so far: a `Count`, `Members` or `Session`.
    answer: Answer,
    /// Of a page.
    limit: usize,
    /// Of a page: an owner has said that it has more after this one, so what others have after it comes later.
    cut: Option<ConnectionId>,
}

impl Core {
    pub(super) fn query(
        &mut self,
        origin: MemberId,
        id: u64,
        query: &Query<'_>,
        now: Instant,
    ) -> Result<(), Misuse> {
        if !query.is_valid() {
            return Err(Misuse::Name);
        }
        let partial = !self.unsynced.is_empty();
        let mut limit = 1;
        let answer = match query {
            Query::Online(uids) => Answer::Online {
                online: uids.iter().map(|uid| self.uids.contains(uid)).collect(),
                partial,
            },
            Query::Totals => Answer::Totals {
                uids: self.uids.len() as u64,
                rooms: self.rooms.len() as u64,
                topics: self.topics.len() as u64,
                processes: self.processes().count() as u64,
                partial,
            },
            Query::Names { table, from, limit } => names(
                self.directory(*table),
                *from,
                message::page(*limit),
                partial,
            ),
            Query::Count(_) => Answer::Count {
                connections: 0,
                partial: false,
            },
            Query::Members { limit: most, .. } => {
                limit = message::page(*most);
                Answer::Members {
                    members: Vec::new(),
                    more: false,
                    partial: false,
                }
            }
            Query::Session(_) => Answer::Session {
                data: None,
                partial: false,
            },
        };
        let asked = Asked {
            origin,
            id,
            waiting: Owing::default(),
            answer,
            limit,
            cut: None,
        };
        self.scatter(asked, query, now);
        Ok(())
    }

    /// Asks the owners, if there are any to be asked.
    fn scatter(&mut self, mut asked: Asked, query: &Query<'_>, now: Instant) {
        let owners = self.owners_of(query);
        if owners.is_empty() {
            self.answered(asked.origin, asked.id, asked.answer);
            return;
        }
        let most = self.config.waiting;
        let Some(member) = self.member_mut(asked.origin) else {
            return;
        };
        if member.waiting >= most {
            asked.give_up();
            self.answered(asked.origin, asked.id, asked.answer);
            return;
        }
        member.waiting += 1;
        let ask = self.asked.insert(asked, now);
        let mut waiting = Owing::default();
        let mut lost = false;
        let question = FromRouter::Ask {
            ask,
            query: query.clone(),
        };
        for owner in owners {
            match self.hand(owner, &question, b"", true) {
                Handed::Queued => waiting.push(owner),
                Handed::Refused | Handed::Lost => lost = true,
            }
        }
        if let Some(asked) = self.asked.get_mut(ask) {
            if lost {
                asked.give_up();
            }
            asked.waiting = waiting;
        }
        self.finish_if_done(ask);
    }

    fn owners_of(&self, query: &Query<'_>) -> Vec<MemberId> {
        let (scope, after) = match query {
            Query::Session(id) => {
                return self
                    .processes
                    .get(&id.process())
                    .copied()
                    .into_iter()
                    .collect();
            }
            Query::Count(scope) => (scope, None),
            Query::Members { scope, after, .. } => (scope, *after),
            Query::Online(_) | Query::Totals | Query::Names { .. } => return Vec::new(),
        };
        let mut owners: Vec<_> = match scope {
            Scope::Uid(name) => self.uids.owners(name).collect(),
            Scope::Room(name) => self.rooms.owners(name).collect(),
            Scope::All => (0..)
                .zip(&self.members)
                .filter_map(|(id, member)| {
                    let synced = matches!(member.as_ref()?.role, Role::Worker { synced: true, .. });
                    synced.then_some(id)
                })
                .collect(),
        };
        owners.retain(|owner| !self.unsynced.contains(owner));
        owners.extend(&self.unsynced);
        // The page begins behind all connections of the processes before.
        owners.retain(|owner| {
            let process = self.member(*owner).and_then(Member::process);
            process.is_some_and(|process| after.is_none_or(|id| id.process() <= process))
        });
        owners
    }

    pub(super) fn answer(
        &mut self,
        owner: MemberId,
        ask: u64,
        answer: Answer,
    ) -> Result<(), Misuse> {
        let Some(asked) = self.asked.get_mut(ask) else {
            return Ok(());
        };
        if !asked.waiting.remove(owner) {
            return Ok(());
        }
        let fits = asked.merge(answer);
        self.finish_if_done(ask);
        if fits { Ok(()) } else { Err(Misuse::Answer) }
    }

    fn finish_if_done(&mut self, ask: u64) {
        if self
            .asked
            .get_mut(ask)
            .is_some_and(|asked| asked.waiting.is_empty())
            && let Some(asked) = self.asked.remove(ask)
        {
            self.finish_question(asked);
        }
    }

    fn finish_question(&mut self, asked: Asked) {
        if let Some(member) = self.member_mut(asked.origin) {
            member.waiting -= 1;
        }
        self.answered(asked.origin, asked.id, asked.answer);
    }

    fn answered(&mut self, origin: MemberId, id: u64, answer: Answer) {
        if let Some(link) = self.member(origin).and_then(|member| member.link) {
            self.queue_control(link, &FromRouter::Answer { id, answer }, b"");
        }
    }

    pub(super) fn expire_questions(&mut self, now: Instant) {
        while let Some((_, mut asked)) = self.asked.expired(now) {
            asked.give_up();
            self.counters.unknown += 1;
            self.finish_question(asked);
        }
    }

    /// A member has gone: neither does it answer, nor does it want to know.
    pub(super) fn forget_questions(&mut self, member: MemberId) {
        for number in self.asked.numbers(|asked| asked.origin == member) {
            self.asked.remove(number);
        }
        for number in self.asked.numbers(|asked| asked.waiting.contains(member)) {
            if let Some(asked) = self.asked.get_mut(number) {
                asked.waiting.remove(member);
                asked.give_up();
            }
            self.finish_if_done(number);
        }
    }
}

impl Asked {
    /// Some of the answer will not come.
    fn give_up(&mut self) {
        match &mut self.answer {
            Answer::Online { partial, .. }
            | Answer::Totals { partial, .. }
            | Answer::Names { partial, .. }
            | Answer::Count { partial, .. }
            | Answer::Members { partial, .. }
            | Answer::Session { partial, .. } => *partial = true,
        }
    }

    /// Adds what one owner says; false if it is the answer to another question.
    fn merge(&mut self, answer: Answer) -> bool {
        match (&mut self.answer, answer) {
            (Answer::Count { connections, .. }, Answer::Count { connections: n, .. }) => {
                *connections = connections.saturating_add(n);
            }
            (
                Answer::Members { members, more, .. },
                Answer::Members {
                    members: theirs,
                    more: theirs_more,
                    ..
                },
            ) => {
                if theirs_more && let Some(last) = theirs.last() {
                    self.cut = Some(self.cut.map_or(last.id, |cut| cut.min(last.id)));
                }
                *more |= theirs_more;
                members.extend(theirs);
                members.sort_by_key(|member| member.id);
                if let Some(cut) = self.cut {
                    members.retain(|member| member.id <= cut);
                }
                *more |= message::trim_page(members, self.limit);
            }
            (Answer::Session { data, .. }, Answer::Session { data: theirs, .. })
                if theirs.as_ref().is_none_or(|data| data.len() <= MAX_SESSION) =>
            {
                *data = theirs;
            }
            _ => {
                self.give_up();
                return false;
            }
        }
        true
    }
}

fn names(directory: &Directory, from: u32, limit: usize, partial: bool) -> Answer {
    let mut all = directory.names_from(from);
    let names = all.by_ref().take(limit).map(|(_, name)| name.to_vec());
    let names = names.collect();
    let next = all.next().map(|(id, _)| id);
    Answer::Names {
        names,
        next,
        partial,
    }
}
