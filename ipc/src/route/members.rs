//! Those who are connected to the router, and what they register.

use std::time::Instant;

use crate::route::core::{Core, LinkId, Recovery};
use crate::route::directory::{Added, Directory, MemberId};
use crate::route::events::{CoreEvent, Misuse};
use crate::route::message::{FromRouter, SnapshotUid, Table, ToRouter, is_name};
use crate::route::names::Name;
use crate::route::{MAX_EXCLUDED, Process};

/// A worker process, or a local client.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) role: Role,
    /// None if it is a process that is expected to come back.
    pub(super) link: Option<LinkId>,
    /// Deliveries for it while it has no link. None once that took too long.
    pub(super) held: Option<Held>,
    /// The last registration number.
    pub(super) seq: u64,
    /// To be acknowledged when the frames that came together have been handled.
    pub(super) ack_due: Option<u64>,
    pub(super) watches: bool,
    /// It lived before this router did, and was never connected to it: what it has is no news.
    expected: bool,
    /// How many of its pushes and questions are waited for.
    pub(super) waiting: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Worker { process: Process, synced: bool },
    Client,
}

/// What waits for a process that is expected to come back.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) frames: Vec<u8>,
    until: Instant,
}

impl Member {
    fn new(role: Role, link: Option<LinkId>) -> Self {
        Self {
            role,
            link,
            held: None,
            seq: 0,
            ack_due: None,
            watches: false,
            expected: false,
            waiting: 0,
        }
    }

    pub(super) fn process(&self) -> Option<Process> {
        match self.role {
            Role::Worker { process, .. } => Some(process),
            Role::Client => None,
        }
    }
}

/// Ended processes that are remembered.
const ENDED: usize = 1024;

impl Core {
    /// Says that a process lives that may have connections, though it has not said hello yet: what may be for it is
    /// kept until it has, or until the grace is over. [`connect_process`](Self::connect_process) says so by itself, of
    /// those of whom it has to be said.
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use workhive_ipc::route::{Core, CoreConfig, CoreEvent, Process};
    ///
    /// let now = Instant::now();
    /// let process = Process { epoch: 1, slot: 1, generation: 3 };
    /// let mut core = Core::new(Process { generation: 5, ..process }, CoreConfig::default());
    /// core.expect(process, now);
    /// assert!(!core.is_complete());
    /// core.tick(now + Duration::from_secs(2));
    /// assert_eq!(core.next_event(), Some(CoreEvent::Missing { processes: vec![process] }));
    /// ```
    pub fn expect(&mut self, process: Process, now: Instant) {
        if self.processes.contains_key(&process) || self.ended.contains(&process) {
            return;
        }
        let role = Role::Worker {
            process,
            synced: false,
        };
        let mut member = Member::new(role, None);
        let until = now + self.config.grace;
        member.held = Some(Held {
            frames: Vec::new(),
            until,
        });
        member.expected = !self.met.contains(&process);
        self.add_member(member);
        self.recovery
            .get_or_insert(Recovery {
                began: now,
                deadline: None,
            })
            .deadline
            .get_or_insert(until);
    }

    /// Whether a process that has just been given a link may have connections of which this router does not know.
    pub(super) fn may_have_connections(&self, process: Process) -> bool {
        let is_older = process.generation < self.process.generation;
        process.epoch == self.process.epoch && (is_older || self.met.contains(&process))
    }

    /// Says that a process has ended. One that was expected is expected no longer. One that has a link loses it when
    /// its last words have been read, or soon after, if somebody else holds the stream open.
    pub fn ended(&mut self, process: Process, now: Instant) {
        if self.ended.len() == ENDED {
            self.ended.pop_front();
        }
        self.ended.push_back(process);
        self.met.remove(&process);
        if self.links_of(process).next().is_some() {
            self.closing.push_back((now + self.config.grace, process));
        }
        if let Some(&id) = self.processes.get(&process)
            && self.member(id).is_some_and(|member| member.link.is_none())
        {
            self.drop_member(id, now);
            self.check_recovery(now);
        }
    }

    pub(super) fn end_closing(&mut self, now: Instant) {
        while let Some(&(at, process)) = self.closing.front()
            && at <= now
        {
            self.closing.pop_front();
            for link in self.links_of(process).collect::<Vec<_>>() {
                self.end(link, Misuse::Ended(process), now);
            }
        }
    }

    /// Whether all that is known to exist has said what it has.
    pub fn is_complete(&self) -> bool {
        self.unsynced.is_empty()
    }

    pub(super) fn member_mut(&mut self, id: MemberId) -> Option<&mut Member> {
        self.members.get_mut(usize::from(id))?.as_mut()
    }

    pub(super) fn member(&self, id: MemberId) -> Option<&Member> {
        self.members.get(usize::from(id))?.as_ref()
    }

    fn add_member(&mut self, member: Member) -> Option<MemberId> {
        let free = self.members.iter().position(Option::is_none);
        let index = free.unwrap_or(self.members.len());
        let id = MemberId::try_from(index).ok()?;
        if let Role::Worker { process, synced } = member.role {
            self.processes.insert(process, id);
            if !synced {
                self.unsynced.push(id);
            }
        }
        if index == self.members.len() {
            self.members.push(Some(member));
        } else {
            self.members[index] = Some(member);
        }
        Some(id)
    }

    /// The first frame of a link says who is there.
    pub(super) fn introduce(
        &mut self,
        link: LinkId,
        expected: Option<Process>,
        message: &ToRouter<'_>,
        now: Instant,
    ) -> Result<(), Misuse> {
        let process = match message {
            ToRouter::Hello { process } => Some(*process),
            ToRouter::HelloClient => None,
            _ => return Err(Misuse::Hello),
        };
        match (expected, process) {
            (Some(expected), said) if said != Some(expected) => {
                return Err(Misuse::OtherProcess { expected, said });
            }
            (None, Some(said)) => return Err(Misuse::NotAProcess(said)),
            _ => {}
        }
        let id = match process {
            None => self.add_member(Member::new(Role::Client, Some(link))),
            Some(process) => self.welcome(link, process, now)?,
        };
        // There are never so many links.
        let id = id.ok_or(Misuse::Hello)?;
        self.set_member(link, id);
        self.events.push_back(CoreEvent::Joined { link, process });
        Ok(())
    }

    fn welcome(
        &mut self,
        link: LinkId,
        process: Process,
        now: Instant,
    ) -> Result<Option<MemberId>, Misuse> {
        if process.epoch != self.process.epoch {
            return Err(Misuse::OtherEpoch(process.epoch));
        }
        if self.ended.contains(&process) {
            return Err(Misuse::Ended(process));
        }
        if let Some(&id) = self.processes.get(&process) {
            let Some(member) = self.member_mut(id) else {
                return Ok(None);
            };
            let Some(old) = member.link else {
                member.link = Some(link);
                let held = member.held.take();
                self.met.insert(process);
                if let Some(held) = held {
                    self.queue_encoded(link, &held.frames);
                }
                return Ok(Some(id));
            };
            // This hello is what is left to be read of an older link.
            if old.is_younger_than(link) {
                return Err(Misuse::Replaced);
            }
            // It would not have asked for a second link had it not lost the first.
            self.end(old, Misuse::Replaced, now);
        }
        self.met.insert(process);
        let role = Role::Worker {
            process,
            synced: false,
        };
        Ok(self.add_member(Member::new(role, Some(link))))
    }

    /// Forgets a member, at once. Returns its process.
    pub(super) fn drop_member(&mut self, id: MemberId, now: Instant) -> Option<Process> {
        let member = self.members.get_mut(usize::from(id))?.take()?;
        if member.watches {
            self.unwatch();
        }
        self.topics.drop_member(id, drop);
        let process = member.process();
        if let Some(process) = process {
            self.processes.remove(&process);
            self.unsynced.retain(|other| *other != id);
            self.rooms.drop_member(id, drop);
            let mut gone = Vec::new();
            self.uids.drop_member(id, |uid| gone.push(uid));
            for uid in gone {
                self.vanished(&uid, now);
            }
            self.singles
                .retain(|_, connection| connection.process() != process);
        }
        self.forget_pushes(id);
        self.forget_questions(id);
        process
    }

    /// A frame of a member that has said who it is.
    pub(super) fn handle(
        &mut self,
        id: MemberId,
        message: ToRouter<'_>,
        payload: &[u8],
        now: Instant,
    ) -> Result<(), Misuse> {
        let Some(member) = self.member_mut(id) else {
            return Ok(());
        };
        if let Role::Worker { synced: false, .. } = member.role {
            return match message {
                ToRouter::Snapshot {
                    uids,
                    rooms,
                    topics,
                } => self.snapshot(id, &uids, &rooms, &topics),
                ToRouter::Watch { on } => {
                    self.watch(id, on);
                    Ok(())
                }
                ToRouter::Synced { seq } => {
                    self.synced(id, seq, now);
                    Ok(())
                }
                ToRouter::Hello { .. } | ToRouter::HelloClient => Err(Misuse::Hello),
                _ => Err(Misuse::Order),
            };
        }
        match message {
            ToRouter::Hello { .. } | ToRouter::HelloClient => Err(Misuse::Hello),
            ToRouter::Snapshot { .. } | ToRouter::Synced { .. } => Err(Misuse::Order),
            ToRouter::Add {
                seq,
                table,
                name,
                single,
            } => {
                self.register(id, seq, table, name)?;
                self.add(id, seq, table, name, single)
            }
            ToRouter::Remove { seq, table, name } => {
                self.register(id, seq, table, name)?;
                self.remove(id, seq, table, name, now);
                Ok(())
            }
            ToRouter::Miss { seq, table, name } => {
                if self.remove(id, seq, table, name, now) {
                    self.counters.stale_routes += 1;
                }
                Ok(())
            }
            ToRouter::Watch { on } => {
                self.watch(id, on);
                Ok(())
            }
            ToRouter::Push {
                id: push,
                target,
                exclude,
                action,
            } => {
                if !target.is_valid() || !action.is_valid() {
                    return Err(Misuse::Name);
                }
                if exclude.len() > MAX_EXCLUDED {
                    return Err(Misuse::TooManyExcluded(exclude.len()));
                }
                self.push(id, push, &target, &exclude, action, payload, now);
                Ok(())
            }
            ToRouter::Report {
                ask,
                delivered,
                refused,
            } => {
                self.report(id, ask, delivered, refused);
                Ok(())
            }
            ToRouter::Publish { topic, tag } => self.publish(topic, tag, payload),
            ToRouter::Query {
                id: query,
                query: what,
            } => self.query(id, query, &what, now),
            ToRouter::Answer { ask, answer } => self.answer(id, ask, answer),
        }
    }

    pub(super) fn directory(&mut self, table: Table) -> &mut Directory {
        match table {
            Table::Uids => &mut self.uids,
            Table::Rooms => &mut self.rooms,
            Table::Topics => &mut self.topics,
        }
    }

    /// Checks a registration.
    fn register(
        &mut self,
        id: MemberId,
        seq: u64,
        table: Table,
        name: &[u8],
    ) -> Result<(), Misuse> {
        if !is_name(name) {
            return Err(Misuse::Name);
        }
        let Some(member) = self.member_mut(id) else {
            return Ok(());
        };
        // A client may subscribe to topics, and has no connections.
        if member.role == Role::Client && table != Table::Topics {
            return Err(Misuse::NotAWorker);
        }
        if seq <= member.seq {
            return Err(Misuse::Sequence {
                got: seq,
                last: member.seq,
            });
        }
        member.seq = seq;
        member.ack_due = Some(seq);
        Ok(())
    }

    fn check_count(&self, id: MemberId) -> Result<(), Misuse> {
        let names = self.uids.len_of(id) + self.rooms.len_of(id) + self.topics.len_of(id);
        if names > self.config.names {
            return Err(Misuse::TooManyNames(self.config.names));
        }
        Ok(())
    }

    fn add(
        &mut self,
        id: MemberId,
        seq: u64,
        table: Table,
        name: &[u8],
        single: Option<u64>,
    ) -> Result<(), Misuse> {
        let added = self.directory(table).add(name, id, seq);
        if table == Table::Uids {
            if added == Added::First {
                self.appeared(name);
            }
            if let Some(sequence) = single {
                self.claim(id, name, sequence);
            }
        }
        self.check_count(id)
    }

    fn remove(&mut self, id: MemberId, seq: u64, table: Table, name: &[u8], now: Instant) -> bool {
        let Some(last) = self.directory(table).remove(name, id, seq) else {
            return false;
        };
        if table == Table::Uids {
            let process = self.member(id).and_then(Member::process);
            if let Some(single) = self.singles.get(name)
                && Some(single.process()) == process
            {
                self.singles.remove(name);
            }
            if last {
                self.vanished(&name.into(), now);
            }
        }
        true
    }

    /// A connection wants a uid for itself alone: the one that had it until now is told to close. The order in which
    /// the router hears of them decides, which is the order of the acknowledgements.
    fn claim(&mut self, id: MemberId, uid: &[u8], sequence: u64) {
        let Some(process) = self.member(id).and_then(Member::process) else {
            return;
        };
        let connection = process.connection(sequence);
        let Some(holder) = self.singles.get_mut(uid) else {
            self.singles.insert(uid.into(), connection);
            return;
        };
        let before = std::mem::replace(holder, connection);
        if before == connection {
            return;
        }
        if let Some(&owner) = self.processes.get(&before.process()) {
            let kick = FromRouter::Kick {
                connection: before,
                uid,
            };
            self.hand(owner, &kick, b"", false);
            self.counters.kicks += 1;
        }
    }

    fn snapshot(
        &mut self,
        id: MemberId,
        uids: &[SnapshotUid<'_>],
        rooms: &[&[u8]],
        topics: &[&[u8]],
    ) -> Result<(), Misuse> {
        let names = uids
            .iter()
            .map(|item| item.uid)
            .chain(rooms.iter().copied());
        if !names.chain(topics.iter().copied()).all(is_name) {
            return Err(Misuse::Name);
        }
        let news = self.member(id).is_some_and(|member| !member.expected);
        for item in uids {
            if self.uids.add(item.uid, id, 0) == Added::First && news {
                self.appeared(item.uid);
            }
            if let Some(sequence) = item.single {
                self.claim(id, item.uid, sequence);
            }
        }
        for room in rooms {
            self.rooms.add(room, id, 0);
        }
        for topic in topics {
            self.topics.add(topic, id, 0);
        }
        self.check_count(id)
    }

    fn synced(&mut self, id: MemberId, seq: u64, now: Instant) {
        if let Some(member) = self.member_mut(id) {
            member.seq = seq;
            member.ack_due = Some(seq);
            if let Role::Worker { synced, .. } = &mut member.role {
                *synced = true;
            }
        }
        self.unsynced.retain(|other| *other != id);
        self.check_recovery(now);
    }

    /// Whether all have come back, and if not, whether it has taken too long.
    pub(super) fn check_recovery(&mut self, now: Instant) {
        let Some(recovery) = self.recovery else {
            return;
        };
        if self.unsynced.is_empty() {
            self.recovery = None;
            self.events.push_back(CoreEvent::Recovered {
                after: now.saturating_duration_since(recovery.began),
                uids: self.uids.len(),
            });
            return;
        }
        if recovery.deadline.is_none_or(|deadline| deadline > now) {
            return;
        }
        let mut deadline = None;
        let mut processes = Vec::new();
        for id in self.unsynced.clone() {
            let Some(member) = self.member_mut(id) else {
                continue;
            };
            let Some(held) = &member.held else { continue };
            if held.until > now {
                deadline = deadline.into_iter().chain([held.until]).min();
            } else {
                member.held = None;
                processes.extend(member.process());
                self.forget_owner(id);
            }
        }
        self.recovery = Some(Recovery {
            deadline,
            ..recovery
        });
        if !processes.is_empty() {
            self.events.push_back(CoreEvent::Missing { processes });
        }
    }

    fn watch(&mut self, id: MemberId, on: bool) {
        let Some(member) = self.member_mut(id) else {
            return;
        };
        if std::mem::replace(&mut member.watches, on) == on {
            return;
        }
        if on {
            self.watchers += 1;
        } else {
            self.unwatch();
        }
    }

    fn unwatch(&mut self) {
        self.watchers -= 1;
        if self.watchers == 0 {
            self.presence.clear();
        }
    }

    fn appeared(&mut self, uid: &[u8]) {
        if self.watchers > 0 && self.presence.appeared(uid) {
            self.tell_presence(uid, true);
        }
    }

    fn vanished(&mut self, uid: &Name, now: Instant) {
        if self.watchers > 0 && self.presence.vanished(uid.clone(), now) {
            self.tell_presence(uid, false);
        }
    }

    pub(super) fn tell_presence(&mut self, uid: &[u8], online: bool) {
        for index in 0..self.members.len() {
            let Some(member) = &self.members[index] else {
                continue;
            };
            if let Some(link) = member.link.filter(|_| member.watches) {
                self.queue_control(link, &FromRouter::Presence { uid, online }, b"");
            }
        }
    }
}
