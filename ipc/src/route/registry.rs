//! What a process has: its connections, their uids and rooms.

use crate::route::ConnectionId;
use crate::route::agent::Agent;
use crate::route::message::{MAX_SESSION, Table, ToRouter, is_name};
use crate::route::names::Name;
use crate::route::request::{AgentError, Registered, Ticket};
use crate::route::tables::{Connection, Holdings, Key};

impl<K: Key> Agent<K> {
    /// A connection exists. Pushes to all, and to its id, reach it.
    pub fn open(&mut self, key: K) {
        self.open_with(key, u16::MAX);
    }

    /// The same for one that may be in fewer rooms than the agent's configuration allows, whoever makes it join.
    ///
    /// ```
    /// use workhive_ipc::route::{Agent, AgentConfig, AgentError, Process};
    ///
    /// let process = Process { epoch: 1, slot: 0, generation: 0 };
    /// let mut agent: Agent<u64> = Agent::worker(process, AgentConfig::default());
    /// agent.open_with(7, 1);
    /// agent.join(7, b"lobby").unwrap();
    /// assert_eq!(agent.join(7, b"garden"), Err(AgentError::TooManyRooms { limit: 1 }));
    /// ```
    pub fn open_with(&mut self, key: K, max_rooms: u16) {
        self.tables.open(key, max_rooms);
    }

    /// A connection has ended.
    pub fn close(&mut self, key: K) {
        let sequence = key.sequence();
        let connection = self.tables.connections.remove(&sequence);
        let Some(holdings) = connection.and_then(Connection::into_holdings) else {
            return;
        };
        let Holdings { uids, rooms, .. } = *holdings;
        for id in uids {
            let last = self.tables.unbind(sequence, id);
            self.removed(Table::Uids, last);
        }
        for id in rooms {
            let last = self.tables.leave(sequence, id);
            self.removed(Table::Rooms, last);
        }
    }

    /// Gives a connection a uid. A uid can have any number of connections; if this one wants it for itself alone,
    /// the one that had wanted so before, wherever it is, loses it and is
    /// [`Kicked`](crate::route::Event::Kicked).
    ///
    /// ```
    /// use workhive_ipc::route::{Agent, AgentConfig, AgentError, Process, Registered};
    ///
    /// let process = Process { epoch: 1, slot: 0, generation: 0 };
    /// let mut agent: Agent<u64> = Agent::worker(process, AgentConfig::default());
    /// agent.open(7);
    /// // In force when the router has said so.
    /// assert!(matches!(agent.bind(7, b"u1", false), Ok(Registered::Pending(_))));
    /// assert_eq!(agent.bind(7, b"u2", false), Err(AgentError::TooManyUids { limit: 1 }));
    /// assert_eq!(agent.bind(8, b"u1", false), Err(AgentError::NotOpen));
    /// ```
    pub fn bind(&mut self, key: K, uid: &[u8], single: bool) -> Result<Registered, AgentError> {
        self.check(key, uid)?;
        let has = self.tables.has_uid(key, uid);
        let limit = self.config.uids;
        if !has && (self.tables.get(key)).is_some_and(|conn| conn.uids().len() >= limit) {
            return Err(AgentError::TooManyUids { limit });
        }
        let first = !has && self.tables.bind(key, uid);
        let sequence = key.sequence();
        if single {
            self.tables.claim(key, uid);
        }
        if first || single {
            self.add(Table::Uids, uid, single.then_some(sequence));
        }
        Ok(self.registered())
    }

    /// Takes a uid from a connection. Nothing happens if it does not have it.
    pub fn unbind(&mut self, key: K, uid: &[u8]) {
        if self.tables.has_uid(key, uid)
            && let Some(id) = self.tables.uids.id(uid)
        {
            let last = self.tables.unbind(key.sequence(), id);
            self.removed(Table::Uids, last);
        }
    }

    /// Makes a connection a member of a room.
    pub fn join(&mut self, key: K, room: &[u8]) -> Result<Registered, AgentError> {
        self.check(key, room)?;
        self.join_quietly(key, room)?;
        Ok(self.registered())
    }

    pub(super) fn join_quietly(&mut self, key: K, room: &[u8]) -> Result<(), AgentError> {
        if self.tables.is_in(key, room) {
            return Ok(());
        }
        let connection = self.tables.get(key).ok_or(AgentError::NotOpen)?;
        let limit = self.config.rooms.min(usize::from(connection.max_rooms));
        if connection.rooms().len() >= limit {
            return Err(AgentError::TooManyRooms { limit });
        }
        if self.tables.join(key, room) {
            self.add(Table::Rooms, room, None);
        }
        Ok(())
    }

    /// Takes a connection from a room. Nothing happens if it is not in it.
    pub fn leave(&mut self, key: K, room: &[u8]) {
        if self.tables.is_in(key, room)
            && let Some(id) = self.tables.rooms.id(room)
        {
            let last = self.tables.leave(key.sequence(), id);
            self.removed(Table::Rooms, last);
        }
    }

    /// Sets what other processes can read of a connection.
    pub fn set_session(&mut self, key: K, data: &[u8]) -> Result<(), AgentError> {
        if data.len() > MAX_SESSION {
            return Err(AgentError::TooLong);
        }
        let connection = self.tables.connections.get_mut(&key.sequence());
        let connection = connection.ok_or(AgentError::NotOpen)?;
        connection.holdings().session = Some(data.into());
        Ok(())
    }

    /// What was set with [`set_session`](Self::set_session).
    pub fn session(&self, key: K) -> Option<&[u8]> {
        self.tables.get(key)?.session()
    }

    /// The uids of a connection of this process.
    pub fn uids(&self, key: K) -> impl Iterator<Item = &[u8]> {
        self.tables.uids_of(key.sequence())
    }

    /// Whether a connection of this process has the uid.
    pub fn has_uid(&self, key: K, uid: &[u8]) -> bool {
        self.tables.has_uid(key, uid)
    }

    /// Whether a connection of this process is in the room.
    pub fn is_in(&self, key: K, room: &[u8]) -> bool {
        self.tables.is_in(key, room)
    }

    /// How many uids and rooms a connection of this process has.
    ///
    /// ```
    /// use workhive_ipc::route::{Agent, AgentConfig, Process};
    ///
    /// let process = Process { epoch: 1, slot: 0, generation: 0 };
    /// let mut agent: Agent<u64> = Agent::worker(process, AgentConfig::default());
    /// agent.open(7);
    /// agent.bind(7, b"u1", false).unwrap();
    /// assert_eq!(agent.holdings(7), (1, 0));
    /// assert!(agent.has_uid(7, b"u1") && !agent.is_in(7, b"lobby"));
    /// ```
    pub fn holdings(&self, key: K) -> (usize, usize) {
        let connection = self.tables.get(key);
        connection.map_or((0, 0), |has| (has.uids().len(), has.rooms().len()))
    }

    /// The rooms of a connection of this process.
    pub fn rooms(&self, key: K) -> impl Iterator<Item = &[u8]> {
        self.tables.rooms_of(key.sequence())
    }

    /// The id of a connection of this process, good in the whole hive. None in a client.
    pub fn id(&self, key: K) -> Option<ConnectionId> {
        Some(self.process?.connection(key.sequence()))
    }

    fn check(&self, key: K, name: &[u8]) -> Result<(), AgentError> {
        if self.process.is_none() {
            return Err(AgentError::NotAWorker);
        }
        if !is_name(name) {
            return Err(AgentError::Name { length: name.len() });
        }
        self.tables.get(key).ok_or(AgentError::NotOpen).map(drop)
    }

    pub(super) fn add(&mut self, table: Table, name: &[u8], single: Option<u64>) {
        self.seq += 1;
        self.control(&ToRouter::Add {
            seq: self.seq,
            table,
            name,
            single,
        });
    }

    pub(super) fn removed(&mut self, table: Table, last: Option<Name>) {
        if let Some(name) = last {
            self.seq += 1;
            self.control(&ToRouter::Remove {
                seq: self.seq,
                table,
                name: &name,
            });
        }
    }

    pub(super) fn registered(&self) -> Registered {
        if self.seq <= self.acked {
            return Registered::InForce;
        }
        Registered::Pending(Ticket(self.seq))
    }
}
