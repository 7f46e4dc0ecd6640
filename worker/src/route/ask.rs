//! Who is there: questions to the whole hive.

use workhive_ipc::route::{Answer, ConnectionId, MAX_PAGE, Member, Query, Scope, Table};

use crate::error::{Result, RouteError};
use crate::route::hive::{Hive, all_checked, checked, known};

/// Whether a uid has a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It has.
    Online,
    /// It has not.
    Offline,
    /// The router has just been restarted, or cannot be reached, and does not know of any.
    Unknown,
}

impl Presence {
    /// True if it certainly has a connection.
    pub fn is_online(self) -> bool {
        self == Self::Online
    }
}

/// How many connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// So many.
    pub connections: u64,
    /// There may be more: not every process has answered.
    pub partial: bool,
}

/// How much there is in the hive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// Uids with at least one connection.
    pub uids: u64,
    /// Rooms with at least one member.
    pub rooms: u64,
    /// Topics with at least one subscribed process.
    pub topics: u64,
    /// Worker processes.
    pub processes: u64,
    /// There may be more.
    pub partial: bool,
}

/// One page of connections, in the order of their ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Members {
    /// At most 1,000.
    pub members: Vec<Member>,
    /// Whether there are more: ask again with the last id of these.
    pub more: bool,
    /// Some may be missing: not every process has answered.
    pub partial: bool,
}

/// One page of names, in no particular order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// At most 1,000.
    pub names: Vec<Vec<u8>>,
    /// Where the next page begins; None after the last.
    pub next: Option<u32>,
    /// Some may be missing: not every process has told the router yet what it has.
    pub partial: bool,
}

/// The session data of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// None if there is no such connection; empty if it has no session data.
    pub data: Option<Vec<u8>>,
    /// The connection may exist all the same: its process has not answered.
    pub partial: bool,
}

/// Questions. The answer always comes later, on this loop, and always comes: within about a second where processes have
/// to be asked that do not answer. An `Err` from `then` is logged. Options of the [`Hive`] have no meaning here.
impl Hive {
    /// Whether a uid has a connection, anywhere in the hive.
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; pub use workhive_worker::*; }
    /// # use workhive::{Conn, Message, Result, Text};
    /// fn on_line(conn: &mut Conn<'_, Text>, line: Message<'_>) -> Result {
    ///     let reply = conn.handle();
    ///     let hive = conn.hive();
    ///     Ok(hive.is_uid_online(line.as_bytes(), move |presence| reply.send(format!("{presence:?}")))?)
    /// }
    /// ```
    ///
    /// # Errors
    /// [`RouteError`]: the uid is empty or longer than 255 bytes, or too much waits.
    pub fn is_uid_online(
        self,
        uid: impl AsRef<[u8]>,
        then: impl FnOnce(Presence) -> Result + 'static,
    ) -> Result<(), RouteError> {
        self.are_uids_online([uid], |presences| {
            then(presences.first().copied().unwrap_or(Presence::Unknown))
        })
    }

    /// The same for many uids at once; the answers are in the order of the question. Up to 16,384 uids with 512 KiB
    /// together.
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; pub use workhive_worker::*; }
    /// # use workhive::{Hive, Presence, Result};
    /// fn greet() -> Result {
    ///     Ok(Hive::new().are_uids_online(["u1", "u2"], |presences| {
    ///         assert_eq!(presences.len(), 2);
    ///         Ok(())
    ///     })?)
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`is_uid_online`](Self::is_uid_online), and [`RouteError::TooLong`] for too many.
    pub fn are_uids_online<U: AsRef<[u8]>>(
        self,
        uids: impl IntoIterator<Item = U>,
        then: impl FnOnce(Vec<Presence>) -> Result + 'static,
    ) -> Result<(), RouteError> {
        let uids: Vec<U> = uids.into_iter().collect();
        let uids = all_checked("uid", &uids)?;
        let asked = uids.len();
        self.ask(
            Query::Online(uids),
            Box::new(move |answer| {
                then(match answer {
                    Some(Answer::Online { online, partial }) => online
                        .into_iter()
                        .map(|online| match (online, partial) {
                            (true, _) => Presence::Online,
                            (false, true) => Presence::Unknown,
                            (false, false) => Presence::Offline,
                        })
                        .collect(),
                    _ => vec![Presence::Unknown; asked],
                })
            }),
        )
    }

    /// The connections of a uid, a page of them: those after `after`.
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; pub use workhive_worker::*; }
    /// # use workhive::{Hive, Result};
    /// fn show() -> Result {
    ///     Ok(Hive::new().connections_of_uid("u1", None, |page| {
    ///         page.members.iter().for_each(|member| println!("{}", member.id));
    ///         Ok(())
    ///     })?)
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`is_uid_online`](Self::is_uid_online).
    pub fn connections_of_uid(
        self,
        uid: impl AsRef<[u8]>,
        after: Option<ConnectionId>,
        then: impl FnOnce(Members) -> Result + 'static,
    ) -> Result<(), RouteError> {
        members(self, Scope::Uid(checked("uid", uid.as_ref())?), after, then)
    }

    /// The members of a room with their uids, a page of them: those after `after`.
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; pub use workhive_worker::*; }
    /// # use workhive::{Hive, Result};
    /// fn show() -> Result {
    ///     Ok(Hive::new().room_members("lobby", None, |page| {
    ///         println!("{} members{}", page.members.len(), if page.more { ", and more" } else { "" });
    ///         Ok(())
    ///     })?)
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`is_uid_online`](Self::is_uid_online).
    pub fn room_members(
        self,
        room: impl AsRef<[u8]>,
        after: Option<ConnectionId>,
        then: impl FnOnce(Members) -> Result + 'static,
    ) -> Result<(), RouteError> {
        members(
            self,
            Scope::Room(checked("room", room.as_ref())?),
            after,
            then,
        )
    }

    /// All connections that [`send_to_all`](Hive::send_to_all) reaches, a page of them: those after `after`.
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; pub use workhive_worker::*; }
    /// # use workhive::{Hive, Result};
    /// fn show() -> Result {
    ///     Ok(Hive::new().connections(None, |page| {
    ///         println!("{} connections", page.members.len());
    ///         Ok(())
    ///     })?)
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`is_uid_online`](Self::is_uid_online).
    pub fn connections(
        self,
        after: Option<ConnectionId>,
        then: impl FnOnce(Members) -> Result + 'static,
    ) -> Result<(), RouteError> {
        members(self, Scope::All, after, then)
    }

    /// How many members a room has.
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; pub use workhive_worker::*; }
    /// # use workhive::{Hive, Result};
    /// fn show() -> Result {
    ///     Ok(Hive::new().room_size("lobby", |count| {
    ///         println!("{} members", count.connections);
    ///         Ok(())
    ///     })?)
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`is_uid_online`](Self::is_uid_online).
    pub fn room_size(
        self,
        room: impl AsRef<[u8]>,
        then: impl FnOnce(Count) -> Result + 'static,
    ) -> Result<(), RouteError> {
        count(self, Scope::Room(checked("room", room.as_ref())?), then)
    }

    /// How many connections [`send_to_all`](Hive::send_to_all) reaches.
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; pub use workhive_worker::*; }
    /// # use workhive::{Hive, Result};
    /// fn show() -> Result {
    ///     Ok(Hive::new().online_count(|count| {
    ///         println!("{} connections", count.connections);
    ///         Ok(())
    ///     })?)
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`is_uid_online`](Self::is_uid_online).
    pub fn online_count(
        self,
        then: impl FnOnce(Count) -> Result + 'static,
    ) -> Result<(), RouteError> {
        count(self, Scope::All, then)
    }

    /// How many uids, rooms, topics and processes there are.
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; pub use workhive_worker::*; }
    /// # use workhive::{Hive, Result};
    /// fn show() -> Result {
    ///     Ok(Hive::new().totals(|totals| {
    ///         println!("{} users", totals.uids);
    ///         Ok(())
    ///     })?)
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`is_uid_online`](Self::is_uid_online).
    pub fn totals(self, then: impl FnOnce(Totals) -> Result + 'static) -> Result<(), RouteError> {
        self.ask(
            Query::Totals,
            Box::new(move |answer| {
                then(match answer {
                    Some(Answer::Totals {
                        uids,
                        rooms,
                        topics,
                        processes,
                        partial,
                    }) => Totals {
                        uids,
                        rooms,
                        topics,
                        processes,
                        partial,
                    },
                    _ => Totals {
                        uids: 0,
                        rooms: 0,
                        topics: 0,
                        processes: 0,
                        partial: true,
                    },
                })
            }),
        )
    }

    /// The uids that are online, a page of them, from `from` on: 0, or what the page before said.
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; pub use workhive_worker::*; }
    /// # use workhive::{Hive, Result};
    /// fn show() -> Result {
    ///     Ok(Hive::new().uids(0, |page| {
    ///         println!("{} of the uids", page.names.len());
    ///         Ok(())
    ///     })?)
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`is_uid_online`](Self::is_uid_online).
    pub fn uids(
        self,
        from: u32,
        then: impl FnOnce(Names) -> Result + 'static,
    ) -> Result<(), RouteError> {
        names(self, Table::Uids, from, then)
    }

    /// The rooms that have members, a page of them, from `from` on: 0, or what the page before said.
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; pub use workhive_worker::*; }
    /// # use workhive::{Hive, Result};
    /// fn show() -> Result {
    ///     Ok(Hive::new().rooms(0, |page| {
    ///         println!("{} of the rooms", page.names.len());
    ///         Ok(())
    ///     })?)
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`is_uid_online`](Self::is_uid_online).
    pub fn rooms(
        self,
        from: u32,
        then: impl FnOnce(Names) -> Result + 'static,
    ) -> Result<(), RouteError> {
        names(self, Table::Rooms, from, then)
    }

    /// What a connection has set with [`Conn::set_session`](crate::Conn::set_session).
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; pub use workhive_worker::*; }
    /// # use workhive::{ConnectionId, Hive, Result};
    /// fn show(id: ConnectionId) -> Result {
    ///     Ok(Hive::new().session(id, |session| {
    ///         println!("{:?}", session.data);
    ///         Ok(())
    ///     })?)
    /// }
    /// ```
    ///
    /// # Errors
    /// [`RouteError::OtherHive`], as for [`send_to_connection`](Hive::send_to_connection), or too much waits.
    pub fn session(
        self,
        id: ConnectionId,
        then: impl FnOnce(Session) -> Result + 'static,
    ) -> Result<(), RouteError> {
        self.ask(
            Query::Session(known(id)?),
            Box::new(move |answer| {
                then(match answer {
                    Some(Answer::Session { data, partial }) => Session { data, partial },
                    _ => Session {
                        data: None,
                        partial: true,
                    },
                })
            }),
        )
    }
}

fn page() -> u16 {
    u16::try_from(MAX_PAGE).unwrap_or(u16::MAX)
}

fn members(
    hive: Hive,
    scope: Scope<'_>,
    after: Option<ConnectionId>,
    then: impl FnOnce(Members) -> Result + 'static,
) -> Result<(), RouteError> {
    let query = Query::Members {
        scope,
        after,
        limit: page(),
    };
    hive.ask(
        query,
        Box::new(move |answer| {
            then(match answer {
                Some(Answer::Members {
                    members,
                    more,
                    partial,
                }) => Members {
                    members,
                    more,
                    partial,
                },
                _ => Members {
                    members: Vec::new(),
                    more: false,
                    partial: true,
                },
            })
        }),
    )
}

fn count(
    hive: Hive,
    scope: Scope<'_>,
    then: impl FnOnce(Count) -> Result + 'static,
) -> Result<(), RouteError> {
    hive.ask(
        Query::Count(scope),
        Box::new(move |answer| {
            then(match answer {
                Some(Answer::Count {
                    connections,
                    partial,
                }) => Count {
                    connections,
                    partial,
                },
                _ => Count {
                    connections: 0,
                    partial: true,
                },
            })
        }),
    )
}

fn names(
    hive: Hive,
    table: Table,
    from: u32,
    then: impl FnOnce(Names) -> Result + 'static,
) -> Result<(), RouteError> {
    let query = Query::Names {
        table,
        from,
        limit: page(),
    };
    hive.ask(
        query,
        Box::new(move |answer| {
            then(match answer {
                Some(Answer::Names {
                    names,
                    next,
                    partial,
                }) => Names {
                    names,
                    next,
                    partial,
                },
                _ => Names {
                    names: Vec::new(),
                    next: None,
                    partial: true,
                },
            })
        }),
    )
}
