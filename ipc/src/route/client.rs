//! For programs of this machine that are no part of the hive: they push, ask, publish and subscribe.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::route::agent::{Agent, AgentConfig};
use crate::route::client_error::{ClientError, Loss};
use crate::route::message::{
    Answer, MAX_PAGE, MAX_TARGET_BYTES, MAX_TARGETS, Outcome, Query, Table,
};
use crate::route::request::{Push, PushId, QueryId, Registered, Ticket};
use crate::route::stream::Stream;

/// A connection to a hive, for a program that is no part of it. Its calls wait for the answer, within a timeout.
///
/// It connects to the hive's push socket. When the connection ends, the call that notices says so, and the next one
/// connects anew; subscriptions are made again.
///
/// ```no_run
/// use workhive_ipc::route::{Client, Push, Target};
///
/// let mut client = Client::connect("/run/chat/push.sock")?;
/// let outcome = client.push(Push::message(Target::Uid(b"u1"), 0, b"hello"))?;
/// println!("{} connections have it", outcome.delivered);
/// # Ok::<(), workhive_ipc::route::ClientError>(())
/// ```
pub struct Client {
    pub(super) path: PathBuf,
    pub(super) timeout: Duration,
    /// None after it has ended.
    pub(super) stream: Option<Stream>,
    pub(super) agent: Agent<u64>,
    /// Pushes that somebody may wait for.
    pub(super) sent: HashMap<PushId, State>,
    /// How many of them are in flight.
    pub(super) in_flight: usize,
    /// The question that is waited for, and what came.
    pub(super) asked: Option<(QueryId, Option<Answer>)>,
    /// The last registration that is in force.
    pub(super) registered: Option<Ticket>,
    pub(super) messages: VecDeque<Message>,
    /// Bytes in `messages`.
    pub(super) waiting: usize,
    pub(super) missed: u64,
    /// Something has been heard on this stream.
    pub(super) heard: bool,
    /// The router has said why it ends the stream.
    pub(super) bye: Option<String>,
    /// Why the last stream ended.
    pub(super) loss: Loss,
    pub(super) scratch: Box<[u8]>,
}

/// A payload on a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Which topic.
    pub topic: Vec<u8>,
    /// The sender's.
    pub tag: u8,
    /// As the sender gave it.
    pub payload: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum State {
    InFlight,
    Done(Outcome),
    /// The stream ended first.
    Lost,
}

/// The router's own deadline is 5 s, and its outcome then says more.
const TIMEOUT: Duration = Duration::from_secs(7);

/// Pushes that may be sent and not waited for: as many as the router has in flight for one client.
const MOST_SENT: usize = 1 << 18;

/// Pushes of one `push_all` that are in flight together.
const WINDOW: usize = 1 << 14;

/// Sent pushes are written when they are so many bytes, or when somebody waits.
const BATCH: usize = 32 * 1024;

/// Bytes that are read at once.
const SCRATCH: usize = 64 * 1024;

impl Client {
    /// Connects to the push socket of a hive. Each call may then take 7 s; see [`with_timeout`](Self::with_timeout).
    ///
    /// ```no_run
    /// use workhive_ipc::route::Client;
    ///
    /// let client = Client::connect("/run/chat/push.sock")?;
    /// # Ok::<(), workhive_ipc::route::ClientError>(())
    /// ```
    pub fn connect(path: impl AsRef<Path>) -> Result<Self, ClientError> {
        let config = AgentConfig {
            // Deadlines are ours.
            patience: Duration::from_hours(24 * 365),
            ..AgentConfig::default()
        };
        let mut client = Self {
            path: path.as_ref().to_owned(),
            timeout: TIMEOUT,
            stream: None,
            agent: Agent::client(config),
            sent: HashMap::new(),
            in_flight: 0,
            asked: None,
            registered: None,
            messages: VecDeque::new(),
            waiting: 0,
            missed: 0,
            heard: false,
            bye: None,
            loss: Loss::Ended,
            scratch: vec![0; SCRATCH].into(),
        };
        client.open()?;
        Ok(client)
    }

    /// How long a call may take. Longer than the 5 s of the router, an outcome says what is known after them.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use workhive_ipc::route::Client;
    ///
    /// let client = Client::connect("/run/chat/push.sock")?.with_timeout(Duration::from_secs(1));
    /// # Ok::<(), workhive_ipc::route::ClientError>(())
    /// ```
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Pushes, and waits for what becomes of it.
    ///
    /// ```no_run
    /// use workhive_ipc::route::{Client, Push, Target};
    ///
    /// let mut client = Client::connect("/run/chat/push.sock")?;
    /// let outcome = client.push(Push::message(Target::Room(b"lobby"), 0, b"hello"))?;
    /// if outcome.is_offline() {
    ///     println!("nobody is there");
    /// }
    /// # Ok::<(), workhive_ipc::route::ClientError>(())
    /// ```
    pub fn push(&mut self, push: Push<'_>) -> Result<Outcome, ClientError> {
        let id = self.send(push)?;
        self.wait_once(id)
    }

    /// Pushes all of them, many at a time, and waits for what becomes of each. The outcomes are in the order of the
    /// pushes. After an error, some may have been done; [`send`](Self::send) and [`wait`](Self::wait) tell which.
    ///
    /// ```no_run
    /// use workhive_ipc::route::{Client, Push, Target};
    ///
    /// let mut client = Client::connect("/run/chat/push.sock")?;
    /// let uids = [b"u1", b"u2"];
    /// let pushes = uids.map(|uid| Push::message(Target::Uid(uid), 0, b"hello"));
    /// let outcomes = client.push_all(pushes)?;
    /// assert_eq!(outcomes.len(), 2);
    /// # Ok::<(), workhive_ipc::route::ClientError>(())
    /// ```
    pub fn push_all<'p>(
        &mut self,
        pushes: impl IntoIterator<Item = Push<'p>>,
    ) -> Result<Vec<Outcome>, ClientError> {
        let mut ids = VecDeque::new();
        let mut outcomes = Vec::new();
        let done = self.push_each(pushes, &mut ids, &mut outcomes);
        for id in ids {
            self.forget(id);
        }
        done.map(|()| outcomes)
    }

    fn push_each<'p>(
        &mut self,
        pushes: impl IntoIterator<Item = Push<'p>>,
        ids: &mut VecDeque<PushId>,
        outcomes: &mut Vec<Outcome>,
    ) -> Result<(), ClientError> {
        for push in pushes {
            if ids.len() == WINDOW
                && let Some(id) = ids.pop_front()
            {
                outcomes.push(self.wait_once(id)?);
            }
            ids.push_back(self.send(push)?);
        }
        while let Some(id) = ids.pop_front() {
            outcomes.push(self.wait_once(id)?);
        }
        Ok(())
    }

    /// Sends a push and does not wait, so that many can be on their way together. It leaves with the ones after it, or
    /// at the latest when something is waited for, or with [`flush`](Self::flush). Every one is to be waited for:
    /// no more than 262,144 may be sent otherwise.
    ///
    /// ```no_run
    /// use workhive_ipc::route::{Client, Push, Target};
    ///
    /// let mut client = Client::connect("/run/chat/push.sock")?;
    /// let first = client.send(Push::message(Target::Uid(b"u1"), 0, b"hello"))?;
    /// let second = client.send(Push::message(Target::Uid(b"u2"), 0, b"hello"))?;
    /// let outcomes = [client.wait(first)?, client.wait(second)?];
    /// # Ok::<(), workhive_ipc::route::ClientError>(())
    /// ```
    pub fn send(&mut self, push: Push<'_>) -> Result<PushId, ClientError> {
        if self.sent.len() >= MOST_SENT {
            return Err(ClientError::TooMany { limit: MOST_SENT });
        }
        self.open()?;
        let pushed = self.agent.push(push.with_outcome(), Instant::now());
        // One whose outcome is wanted has an id.
        let id = pushed
            .map_err(ClientError::Request)?
            .ok_or(ClientError::NotSent)?;
        self.sent.insert(id, State::InFlight);
        self.in_flight += 1;
        if self.agent.output().len() >= BATCH {
            self.flush().inspect_err(|_| self.forget(id))?;
        }
        Ok(id)
    }

    /// Waits for what becomes of a push. After [`ClientError::Timeout`] it can be waited for again.
    ///
    /// See [`send`](Self::send) for an example.
    pub fn wait(&mut self, id: PushId) -> Result<Outcome, ClientError> {
        self.until(|client| match client.sent.get(&id) {
            Some(State::InFlight) => None,
            Some(State::Done(outcome)) => {
                let outcome = *outcome;
                client.forget(id);
                Some(Ok(outcome))
            }
            Some(State::Lost) => {
                client.forget(id);
                Some(Err(client.lost()))
            }
            None => Some(Err(ClientError::NotSent)),
        })?
    }

    /// As [`wait`](Self::wait), but it cannot be waited for again.
    fn wait_once(&mut self, id: PushId) -> Result<Outcome, ClientError> {
        self.wait(id).inspect_err(|_| self.forget(id))
    }

    /// Pushes, and does not want to know what becomes of it.
    ///
    /// ```no_run
    /// use workhive_ipc::route::{Client, Push, Target};
    ///
    /// let mut client = Client::connect("/run/chat/push.sock")?;
    /// client.post(Push::message(Target::All, 0, b"maintenance at 3"))?;
    /// # Ok::<(), workhive_ipc::route::ClientError>(())
    /// ```
    pub fn post(&mut self, push: Push<'_>) -> Result<(), ClientError> {
        self.open()?;
        let pushed = self.agent.push(push.without_outcome(), Instant::now());
        pushed.map_err(ClientError::Request)?;
        self.flush()
    }

    /// Writes what has been sent, if the connection still exists.
    ///
    /// ```no_run
    /// use workhive_ipc::route::{Client, Push, Target};
    ///
    /// let mut client = Client::connect("/run/chat/push.sock")?;
    /// let id = client.send(Push::message(Target::Uid(b"u1"), 0, b"hello"))?;
    /// client.flush()?;
    /// // Something else that takes a while.
    /// let outcome = client.wait(id)?;
    /// # Ok::<(), workhive_ipc::route::ClientError>(())
    /// ```
    pub fn flush(&mut self) -> Result<(), ClientError> {
        if self.stream.is_none() {
            return Ok(());
        }
        self.until(|client| match client.stream {
            // What was not written by then never will be.
            None => Some(Err(client.lost())),
            Some(_) => client.agent.output().is_empty().then_some(Ok(())),
        })?
    }

    /// Asks something.
    ///
    /// ```no_run
    /// use workhive_ipc::route::{Answer, Client, Query, Scope};
    ///
    /// let mut client = Client::connect("/run/chat/push.sock")?;
    /// let answer = client.query(Query::Count(Scope::Room(b"lobby")))?;
    /// if let Answer::Count { connections, partial } = answer {
    ///     println!("{connections} in the lobby{}", if partial { ", or more" } else { "" });
    /// }
    /// # Ok::<(), workhive_ipc::route::ClientError>(())
    /// ```
    pub fn query(&mut self, query: Query<'_>) -> Result<Answer, ClientError> {
        self.open()?;
        let asked = self.agent.query(query, Instant::now());
        let id = asked.map_err(ClientError::Request)?;
        self.asked = Some((id, None));
        self.until(|client| {
            let (_, answer) = client.asked.as_mut()?;
            answer.take()
        })
    }

    /// Which of these uids have a connection, in their order.
    ///
    /// ```no_run
    /// use workhive_ipc::route::Client;
    ///
    /// let mut client = Client::connect("/run/chat/push.sock")?;
    /// let online = client.online(&[b"u1", b"u2"])?;
    /// println!("u1 is {}", if online[0] { "online" } else { "offline" });
    /// # Ok::<(), workhive_ipc::route::ClientError>(())
    /// ```
    pub fn online(&mut self, uids: &[&[u8]]) -> Result<Vec<bool>, ClientError> {
        let mut all = Vec::with_capacity(uids.len());
        let mut rest = uids;
        while !rest.is_empty() {
            let (some, others) = rest.split_at(fitting(rest));
            rest = others;
            match self.query(Query::Online(some.to_vec()))? {
                Answer::Online { online, partial } if online.len() == some.len() => {
                    // Only a false may be wrong.
                    if partial && online.contains(&false) {
                        return Err(self.incomplete());
                    }
                    all.extend(online);
                }
                _ => return Err(self.lose(Loss::Answer)),
            }
        }
        Ok(all)
    }

    /// All rooms that have a member, in no particular order.
    ///
    /// ```no_run
    /// use workhive_ipc::route::Client;
    ///
    /// let mut client = Client::connect("/run/chat/push.sock")?;
    /// for room in client.rooms()? {
    ///     println!("{}", room.escape_ascii());
    /// }
    /// # Ok::<(), workhive_ipc::route::ClientError>(())
    /// ```
    pub fn rooms(&mut self) -> Result<Vec<Vec<u8>>, ClientError> {
        self.names(Table::Rooms)
    }

    /// All uids that have a connection, in no particular order.
    ///
    /// ```no_run
    /// use workhive_ipc::route::Client;
    ///
    /// let mut client = Client::connect("/run/chat/push.sock")?;
    /// println!("{} users are online", client.uids()?.len());
    /// # Ok::<(), workhive_ipc::route::ClientError>(())
    /// ```
    pub fn uids(&mut self) -> Result<Vec<Vec<u8>>, ClientError> {
        self.names(Table::Uids)
    }

    fn names(&mut self, table: Table) -> Result<Vec<Vec<u8>>, ClientError> {
        let mut all = Vec::new();
        let mut from = 0;
        loop {
            let limit = u16::try_from(MAX_PAGE).unwrap_or(u16::MAX);
            let page = Query::Names { table, from, limit };
            let Answer::Names {
                names,
                next,
                partial,
            } = self.query(page)?
            else {
                return Err(self.lose(Loss::Answer));
            };
            if partial {
                return Err(self.incomplete());
            }
            all.extend(names);
            match next {
                None => return Ok(all),
                Some(next) if next > from => from = next,
                // It would go round for ever.
                Some(_) => return Err(self.lose(Loss::Answer)),
            }
        }
    }

    /// Sends a payload to every process and client that subscribes to a topic.
    ///
    /// ```no_run
    /// use workhive_ipc::route::Client;
    ///
    /// let mut client = Client::connect("/run/chat/push.sock")?;
    /// client.publish(b"prices", 0, b"EUR 1.08")?;
    /// # Ok::<(), workhive_ipc::route::ClientError>(())
    /// ```
    pub fn publish(&mut self, topic: &[u8], tag: u8, payload: &[u8]) -> Result<(), ClientError> {
        self.open()?;
        let published = self.agent.publish(topic, tag, payload, Instant::now());
        published.map_err(ClientError::Request)?;
        self.flush()
    }

    /// Subscribes to a topic: what is published from now on is there for [`next`](Self::next).
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use workhive_ipc::route::Client;
    ///
    /// let mut client = Client::connect("/run/chat/push.sock")?;
    /// client.subscribe(b"prices")?;
    /// while let Some(message) = client.next(Duration::from_secs(60))? {
    ///     println!("{}", message.payload.escape_ascii());
    /// }
    /// # Ok::<(), workhive_ipc::route::ClientError>(())
    /// ```
    pub fn subscribe(&mut self, topic: &[u8]) -> Result<(), ClientError> {
        self.open()?;
        let subscribed = self.agent.subscribe(topic).map_err(ClientError::Request)?;
        let Registered::Pending(ticket) = subscribed else {
            return Ok(());
        };
        self.until(|client| (client.registered >= Some(ticket)).then_some(()))
    }

    /// Ends a subscription. What came before that is still there for [`next`](Self::next).
    ///
    /// ```no_run
    /// use workhive_ipc::route::Client;
    ///
    /// let mut client = Client::connect("/run/chat/push.sock")?;
    /// client.subscribe(b"prices")?;
    /// client.unsubscribe(b"prices")?;
    /// # Ok::<(), workhive_ipc::route::ClientError>(())
    /// ```
    pub fn unsubscribe(&mut self, topic: &[u8]) -> Result<(), ClientError> {
        self.agent.unsubscribe(topic);
        self.flush()
    }

    /// The next message on a topic; None if none came in this time. [`ClientError::Lost`] says that some may have been
    /// missed; the next call subscribes anew.
    ///
    /// See [`subscribe`](Self::subscribe) for an example.
    pub fn next(&mut self, timeout: Duration) -> Result<Option<Message>, ClientError> {
        let deadline = Instant::now().checked_add(timeout);
        loop {
            if let Some(message) = self.messages.pop_front() {
                self.waiting -= message.size();
                return Ok(Some(message));
            }
            self.open()?;
            match self.step(deadline) {
                Err(ClientError::Timeout { .. }) if self.messages.is_empty() => return Ok(None),
                Err(ClientError::Timeout { .. }) | Ok(()) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Messages on topics that were thrown away because 16 MiB of them waited already for [`next`](Self::next).
    ///
    /// ```no_run
    /// use workhive_ipc::route::Client;
    ///
    /// let client = Client::connect("/run/chat/push.sock")?;
    /// assert_eq!(client.missed(), 0);
    /// # Ok::<(), workhive_ipc::route::ClientError>(())
    /// ```
    pub fn missed(&self) -> u64 {
        self.missed
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("path", &self.path)
            .field("connected", &self.stream.is_some())
            .field("in_flight", &self.in_flight)
            .finish_non_exhaustive()
    }
}

impl Message {
    /// What it takes in memory.
    pub(super) fn size(&self) -> usize {
        size_of::<Self>() + self.topic.len() + self.payload.len()
    }
}

/// How many of these names fit into one request; at least one.
fn fitting(names: &[&[u8]]) -> usize {
    let mut bytes = 0;
    let fit = names.iter().take(MAX_TARGETS).take_while(|name| {
        bytes += name.len();
        bytes <= MAX_TARGET_BYTES
    });
    fit.count().max(1)
}
