//! The connections of one process, by uid and by room.

use std::collections::BTreeMap;

use crate::route::ConnectionId;
use crate::route::message::{Answer, Member, Query, Scope, Target, trim_page};
use crate::route::names::{Name, NameId, Names};
use crate::route::{Process, message};

/// How a process calls its own connections.
pub trait Key: Copy {
    /// The connection's number, which no other connection of this process ever has.
    fn sequence(&self) -> u64;
}

impl Key for u64 {
    fn sequence(&self) -> u64 {
        *self
    }
}

/// The connections of this process: the truth, of which the router has an extract.
#[derive(Debug)]
pub(super) struct Tables<K> {
    pub(super) connections: BTreeMap<u64, Connection<K>>,
    pub(super) uids: Names<Uid<K>>,
    pub(super) rooms: Names<Room<K>>,
}

/// Most connections have nothing, so that takes no room in the table.
#[derive(Debug)]
pub(super) struct Connection<K> {
    key: K,
    /// In how many rooms it may be.
    pub(super) max_rooms: u16,
    has: Option<Box<Holdings>>,
}

/// What a connection has.
#[derive(Debug, Default)]
pub(super) struct Holdings {
    /// Exactly the uids whose `connections` have this one.
    pub(super) uids: Vec<NameId>,
    /// Exactly the rooms whose `members` have this one.
    pub(super) rooms: Vec<NameId>,
    pub(super) session: Option<Box<[u8]>>,
}

impl<K> Connection<K> {
    pub(super) fn uids(&self) -> &[NameId] {
        self.has.as_ref().map_or(&[], |has| &has.uids)
    }

    pub(super) fn rooms(&self) -> &[NameId] {
        self.has.as_ref().map_or(&[], |has| &has.rooms)
    }

    pub(super) fn session(&self) -> Option<&[u8]> {
        self.has.as_ref()?.session.as_deref()
    }

    pub(super) fn into_holdings(self) -> Option<Box<Holdings>> {
        self.has
    }

    /// To be changed.
    pub(super) fn holdings(&mut self) -> &mut Holdings {
        self.has.get_or_insert_default()
    }
}

#[derive(Debug)]
pub(super) struct Uid<K> {
    /// Never empty, in the order in which they came.
    connections: Vec<K>,
    /// Those of them that wanted the uid for themselves alone, the last one last. There are several only until the
    /// router has heard of it.
    pub(super) singles: Vec<u64>,
}

#[derive(Debug)]
pub(super) struct Room<K> {
    /// Never empty.
    members: BTreeMap<u64, K>,
}

impl<K> Default for Tables<K> {
    fn default() -> Self {
        Self {
            connections: BTreeMap::new(),
            uids: Names::default(),
            rooms: Names::default(),
        }
    }
}

impl<K: Key> Tables<K> {
    pub(super) fn open(&mut self, key: K, max_rooms: u16) {
        self.connections
            .entry(key.sequence())
            .or_insert(Connection {
                key,
                max_rooms,
                has: None,
            });
    }

    pub(super) fn get(&self, key: K) -> Option<&Connection<K>> {
        self.connections.get(&key.sequence())
    }

    pub(super) fn key(&self, sequence: u64) -> Option<K> {
        Some(self.connections.get(&sequence)?.key)
    }

    /// Adds the connection to the uid. True if it is the first here. The connection must exist and not have it.
    pub(super) fn bind(&mut self, key: K, uid: &[u8]) -> bool {
        let id = self.uids.entry(uid, || Uid {
            connections: Vec::new(),
            singles: Vec::new(),
        });
        if let Some(connection) = self.connections.get_mut(&key.sequence()) {
            connection.holdings().uids.push(id);
        }
        self.uids.at_mut(id).is_some_and(|named| {
            named.value.connections.push(key);
            named.value.connections.len() == 1
        })
    }

    /// The connection, which has the uid, wants it for itself alone.
    pub(super) fn claim(&mut self, key: K, uid: &[u8]) {
        let id = self.uids.id(uid);
        if let Some(named) = id.and_then(|id| self.uids.at_mut(id)) {
            let singles = &mut named.value.singles;
            singles.retain(|other| *other != key.sequence());
            singles.push(key.sequence());
        }
    }

    /// Takes the connection from the uid; the uid's name if it was the last here.
    pub(super) fn unbind(&mut self, sequence: u64, id: NameId) -> Option<Name> {
        if let Some(connection) = self.connections.get_mut(&sequence) {
            connection.holdings().uids.retain(|other| *other != id);
        }
        let uid = &mut self.uids.at_mut(id)?.value;
        uid.connections.retain(|key| key.sequence() != sequence);
        uid.singles.retain(|other| *other != sequence);
        if !uid.connections.is_empty() {
            return None;
        }
        Some(self.uids.remove(id)?.name)
    }

    /// Adds the connection to the room. True if it is the first here. The connection must exist and not be in it.
    pub(super) fn join(&mut self, key: K, room: &[u8]) -> bool {
        let id = self.rooms.entry(room, || Room {
            members: BTreeMap::new(),
        });
        if let Some(connection) = self.connections.get_mut(&key.sequence()) {
            connection.holdings().rooms.push(id);
        }
        self.rooms.at_mut(id).is_some_and(|named| {
            named.value.members.insert(key.sequence(), key);
            named.value.members.len() == 1
        })
    }

    /// Takes the connection from the room; the room's name if it was the last here.
    pub(super) fn leave(&mut self, sequence: u64, id: NameId) -> Option<Name> {
        if let Some(connection) = self.connections.get_mut(&sequence) {
            connection.holdings().rooms.retain(|other| *other != id);
        }
        let room = &mut self.rooms.at_mut(id)?.value;
        room.members.remove(&sequence);
        if !room.members.is_empty() {
            return None;
        }
        Some(self.rooms.remove(id)?.name)
    }

    pub(super) fn has_uid(&self, key: K, uid: &[u8]) -> bool {
        let id = self.uids.id(uid);
        id.is_some_and(|id| self.get(key).is_some_and(|conn| conn.uids().contains(&id)))
    }

    /// Whether the connection has the uid and wants it for itself alone.
    pub(super) fn has_claimed(&self, key: K, uid: &[u8]) -> bool {
        let uid = self.uids.get(uid);
        uid.is_some_and(|uid| uid.singles.contains(&key.sequence()))
    }

    pub(super) fn is_in(&self, key: K, room: &[u8]) -> bool {
        let id = self.rooms.id(room);
        id.is_some_and(|id| self.get(key).is_some_and(|conn| conn.rooms().contains(&id)))
    }

    /// Fills `to` with the connections that are meant, each once; and tells the names that nobody here has.
    pub(super) fn select<'t>(
        &self,
        target: &Target<'t>,
        exclude: &[ConnectionId],
        process: Option<Process>,
        to: &mut Vec<K>,
        mut missing: impl FnMut(&'t [u8]),
    ) {
        to.clear();
        match target {
            Target::Uid(uid) => match self.uids.get(uid) {
                Some(uid) => to.extend(&uid.connections),
                None => missing(uid),
            },
            Target::Room(room) => match self.rooms.get(room) {
                Some(room) => to.extend(room.members.values()),
                None => missing(room),
            },
            Target::Uids(uids) => {
                for uid in uids {
                    match self.uids.get(uid) {
                        Some(uid) => to.extend(&uid.connections),
                        None => missing(uid),
                    }
                }
                once(to);
            }
            Target::Rooms(rooms) => {
                for room in rooms {
                    match self.rooms.get(room) {
                        Some(room) => to.extend(room.members.values()),
                        None => missing(room),
                    }
                }
                once(to);
            }
            Target::All => to.extend(self.connections.values().map(|connection| connection.key)),
            Target::Connection(id) if Some(id.process()) == process => {
                let connection = self.connections.get(&id.sequence());
                to.extend(connection.map(|connection| connection.key));
            }
            // A process that is no more, or another one's.
            Target::Connection(_) => {}
        }
        if !exclude.is_empty() {
            to.retain(|key| {
                let key = key.sequence();
                !exclude
                    .iter()
                    .any(|id| id.sequence() == key && Some(id.process()) == process)
            });
        }
    }

    /// What this process has to say to a question.
    pub(super) fn answer(&self, query: &Query<'_>, process: Process) -> Option<Answer> {
        Some(match query {
            Query::Count(scope) => Answer::Count {
                connections: self.count(*scope) as u64,
                partial: false,
            },
            Query::Members {
                scope,
                after,
                limit,
            } => self.page(*scope, *after, message::page(*limit), process),
            Query::Session(id) => {
                let connection = (id.process() == process)
                    .then(|| self.connections.get(&id.sequence()))
                    .flatten();
                let data =
                    connection.map(|connection| connection.session().unwrap_or_default().to_vec());
                Answer::Session {
                    data,
                    partial: false,
                }
            }
            Query::Online(_) | Query::Totals | Query::Names { .. } => return None,
        })
    }

    fn count(&self, scope: Scope<'_>) -> usize {
        match scope {
            Scope::Uid(uid) => self.uids.get(uid).map_or(0, |uid| uid.connections.len()),
            Scope::Room(room) => self.rooms.get(room).map_or(0, |room| room.members.len()),
            Scope::All => self.connections.len(),
        }
    }

    fn page(
        &self,
        scope: Scope<'_>,
        after: Option<ConnectionId>,
        limit: usize,
        process: Process,
    ) -> Answer {
        // Ids of this process come after those of any process before it.
        let from = match after {
            Some(id) if id.process() == process => id.sequence().checked_add(1),
            Some(id) if id.process() > process => None,
            _ => Some(0),
        };
        // One more than fits shows whether there are more.
        let most = limit + 1;
        let sequences: Vec<u64> = match (scope, from) {
            (_, None) => Vec::new(),
            (Scope::Uid(uid), Some(from)) => {
                let connections = self.uids.get(uid).map(|uid| uid.connections.as_slice());
                let all = connections.unwrap_or_default().iter().map(K::sequence);
                let mut all: Vec<u64> = all.filter(|sequence| *sequence >= from).collect();
                all.sort_unstable();
                all.truncate(most);
                all
            }
            (Scope::Room(room), Some(from)) => self.rooms.get(room).map_or(Vec::new(), |room| {
                let range = room.members.range(from..).take(most);
                range.map(|(sequence, _)| *sequence).collect()
            }),
            (Scope::All, Some(from)) => {
                let range = self.connections.range(from..).take(most);
                range.map(|(sequence, _)| *sequence).collect()
            }
        };
        let members = sequences.into_iter().map(|sequence| Member {
            id: process.connection(sequence),
            uids: self.uids_of(sequence).map(<[u8]>::to_vec).collect(),
        });
        let mut members: Vec<Member> = members.collect();
        let more = trim_page(&mut members, limit);
        Answer::Members {
            members,
            more,
            partial: false,
        }
    }

    pub(super) fn uids_of(&self, sequence: u64) -> impl Iterator<Item = &[u8]> {
        let ids = self.connections.get(&sequence).map(Connection::uids);
        let ids = ids.unwrap_or_default().iter();
        ids.filter_map(|id| self.uids.at(*id).map(|named| &*named.name))
    }

    pub(super) fn rooms_of(&self, sequence: u64) -> impl Iterator<Item = &[u8]> {
        let ids = self.connections.get(&sequence).map(Connection::rooms);
        let ids = ids.unwrap_or_default().iter();
        ids.filter_map(|id| self.rooms.at(*id).map(|named| &*named.name))
    }
}

/// Leaves each connection once.
fn once<K: Key>(to: &mut Vec<K>) {
    to.sort_unstable_by_key(K::sequence);
    to.dedup_by_key(|key| key.sequence());
}
