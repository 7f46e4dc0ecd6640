//! Random histories of a hive against a plain model: who was bound when, and who got what.
//!
//! `ROUTE_SEED=n` replays one sequence, `ROUTE_SEQUENCES=n` runs so many. A failure prints its seed.

mod checks;
#[path = "../net/mod.rs"]
mod net;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use net::{Got, Net};
use workhive_ipc::route::{
    AgentConfig, AgentError, Answer, ConnectionId, Core, CoreConfig, CoreEvent, LinkLimits, Misuse,
    Outcome, Process, Push, PushId, Query, QueryId, Registered, Target, Ticket,
};

/// A number that only grows: one for each thing that happens.
type Step = u64;

const NEVER: Step = Step::MAX;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n.max(1) as u64).unwrap()
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        if from.is_empty() {
            return None;
        }
        Some(from[self.below(from.len())].clone())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Name {
    Uid(Vec<u8>),
    Room(Vec<u8>),
}

/// A connection, from its opening to its end.
#[derive(Debug)]
struct Connection {
    process: Process,
    key: u64,
    opened: Step,
    closed: Step,
    /// What it got: the push, and when.
    got: Vec<(usize, Step)>,
    /// What it refused.
    refused: BTreeSet<usize>,
}

/// A time during which a connection had a name.
#[derive(Debug)]
struct Span {
    connection: usize,
    name: Name,
    /// When it was said to be in force.
    acked: Step,
    until: Step,
}

#[derive(Debug, Clone)]
enum Goal {
    Names(Vec<Name>),
    All,
    Connection(ConnectionId),
}

#[derive(Debug)]
struct Sent {
    issuer: Process,
    goal: Goal,
    exclude: Vec<ConnectionId>,
    issued: Step,
    issued_at: Instant,
    id: Option<PushId>,
    resolved: Option<(Step, Outcome)>,
    /// An unknown part is allowed.
    excused: bool,
}

struct Model {
    net: Net,
    random: Random,
    step: Step,
    processes: Vec<Process>,
    slots: u16,
    dead: Vec<Process>,
    stalled: BTreeSet<Process>,
    connections: Vec<Connection>,
    by_key: BTreeMap<(Process, u64), usize>,
    spans: Vec<Span>,
    tickets: BTreeMap<(Process, Ticket), Vec<usize>>,
    sent: Vec<Sent>,
    by_id: BTreeMap<(Process, PushId), usize>,
    queries: BTreeSet<(Process, QueryId)>,
    next_keys: BTreeMap<Process, u64>,
    router_crashes: Vec<Step>,
    crashes: Vec<(Step, Process)>,
    /// Those that have had a second link to the same router.
    relinked: BTreeSet<Process>,
    /// Those that did not say hello at once.
    slow: BTreeSet<Process>,
    /// When the router last noticed that a process had ended.
    noticed: Step,
    /// When a process last noticed that the router had.
    lost: BTreeMap<Process, Step>,
    /// The last time at which the router did not know everything.
    incomplete: Step,
    presence: BTreeMap<Vec<u8>, bool>,
    watcher: Process,
    /// It did so before anything happened.
    watched: bool,
    padding: usize,
}

const UIDS: [&[u8]; 5] = [b"a", b"b", b"\0.*>", b"d", b"e"];
const SINGLES: [&[u8]; 2] = [b"s", b"t"];
const ROOMS: [&[u8]; 3] = [b"a", b"r", b"q"];

impl Model {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        // One in three is short of room, so that deliveries are refused.
        let tight = random.one_in(3);
        let limits = LinkLimits {
            queue: if tight { 4096 } else { 1 << 20 },
            ..LinkLimits::default()
        };
        let core = CoreConfig {
            limits,
            ..CoreConfig::default()
        };
        let agent = AgentConfig {
            limits,
            uids: 3,
            ..AgentConfig::default()
        };
        let mut net = Net::with(core, agent);
        net.capacity = [32, 200, 4096][random.below(3)];
        let slots = u16::try_from(1 + random.below(4)).unwrap();
        let mut model = Self {
            net,
            random,
            step: 0,
            processes: Vec::new(),
            slots,
            dead: Vec::new(),
            stalled: BTreeSet::new(),
            connections: Vec::new(),
            by_key: BTreeMap::new(),
            spans: Vec::new(),
            tickets: BTreeMap::new(),
            sent: Vec::new(),
            by_id: BTreeMap::new(),
            queries: BTreeSet::new(),
            next_keys: BTreeMap::new(),
            router_crashes: Vec::new(),
            crashes: Vec::new(),
            relinked: BTreeSet::new(),
            slow: BTreeSet::new(),
            noticed: 0,
            lost: BTreeMap::new(),
            incomplete: 0,
            presence: BTreeMap::new(),
            watcher: net::process(0, 1),
            watched: false,
            padding: if tight { 600 } else { 3 },
        };
        for slot in 0..slots {
            model.spawn(slot);
        }
        model.net.agent(model.watcher).watch(true);
        if model.random.one_in(2) {
            model.net.settle();
            model.watched = true;
        }
        model
    }

    fn spawn(&mut self, slot: u16) {
        let process = net::process(slot, self.net.generation + 1);
        self.processes.push(process);
        if self.processes.len() > 1 && self.random.one_in(3) {
            self.slow.insert(process);
            self.net.start_slowly(process);
        } else {
            self.net.start(process);
        }
    }

    fn relink(&mut self, process: Process) {
        if self.stalled.contains(&process) {
            return;
        }
        self.net.relink(process);
        self.relinked.insert(process);
        // It does not hear everything.
        self.watched &= process != self.watcher;
    }

    fn tick(&mut self) -> Step {
        self.step += 1;
        let complete = (self.net.core.as_ref()).is_some_and(Core::is_complete);
        if !complete {
            self.incomplete = self.step;
        }
        self.step
    }

    // ---- what happens

    fn act(&mut self) {
        self.tick();
        let process = self.random.pick(&self.processes);
        match (self.random.below(104), process) {
            (0..12, Some(process)) => self.open(process),
            (12..16, Some(_)) => self.close(),
            (16..30, Some(_)) => self.bind(),
            (30..35, Some(_)) => self.unbind(),
            (35..45, Some(_)) => self.join(),
            (45..49, Some(_)) => self.leave(),
            (49..85, Some(process)) => self.push(process),
            (85..87, Some(process)) => self.ask(process),
            (87, Some(process)) => self.crash(process),
            (88, _) => self.respawn(),
            // A reload: the next generation comes while this one still drains.
            (89, Some(process)) if self.processes.len() < 6 => self.spawn(process.slot),
            (90, _) if self.random.one_in(2) => self.crash_router(),
            (91..94, _) if self.net.core.is_none() => {
                self.net.start_router();
                self.tick();
            }
            (94, Some(process)) => {
                let stalled = !self.stalled.remove(&process);
                if stalled {
                    self.stalled.insert(process);
                }
                self.net.stall(process, stalled);
            }
            (95, _) => {
                if let Some(dead) = self.random.pick(&self.dead)
                    && let Some(core) = &mut self.net.core
                {
                    core.ended(dead, self.net.now);
                    self.noticed = self.step;
                }
            }
            (96..99, _) => {
                let by = [1, 20, 200, 1500][self.random.below(4)];
                self.advance(by);
            }
            (99, _) if self.random.one_in(4) => self.advance(4000),
            (100, Some(process)) => self.relink(process),
            (101..103, _) => self.net.wake(),
            _ => {}
        }
        self.hear();
    }

    fn advance(&mut self, ms: u64) {
        self.net.advance(Duration::from_millis(ms));
        self.hear();
    }

    fn live(&mut self) -> Option<usize> {
        let live: Vec<usize> = (0..self.connections.len())
            .filter(|index| self.connections[*index].closed == NEVER)
            .collect();
        self.random.pick(&live)
    }

    fn open(&mut self, process: Process) {
        // Every process counts anew: an id of a past one differs in nothing but the process.
        let key = self.next_keys.entry(process).or_default();
        *key += 1;
        let key = *key;
        self.net.agent(process).open(key);
        self.by_key.insert((process, key), self.connections.len());
        self.connections.push(Connection {
            process,
            key,
            opened: self.step,
            closed: NEVER,
            got: Vec::new(),
            refused: BTreeSet::new(),
        });
    }

    fn close(&mut self) {
        if let Some(index) = self.live() {
            self.close_it(index);
        }
    }

    fn close_it(&mut self, index: usize) {
        let (process, key) = (self.connections[index].process, self.connections[index].key);
        self.net.agent(process).close(key);
        self.ended(index);
    }

    fn ended(&mut self, index: usize) {
        self.connections[index].closed = self.step;
        for span in &mut self.spans {
            if span.connection == index && span.until == NEVER {
                span.until = self.step;
            }
        }
    }

    fn span(&self, index: usize, name: &Name) -> Option<usize> {
        self.spans
            .iter()
            .position(|span| span.connection == index && span.until == NEVER && span.name == *name)
    }

    fn begin(&mut self, index: usize, name: Name, registered: Registered) {
        let process = self.connections[index].process;
        let at = self.span(index, &name).unwrap_or_else(|| {
            self.spans.push(Span {
                connection: index,
                name,
                acked: NEVER,
                until: NEVER,
            });
            self.spans.len() - 1
        });
        match registered {
            Registered::InForce => self.spans[at].acked = self.spans[at].acked.min(self.step),
            Registered::Pending(ticket) => {
                self.tickets.entry((process, ticket)).or_default().push(at);
            }
        }
    }

    fn bind(&mut self) {
        let Some(index) = self.live() else { return };
        let single = self.random.one_in(4);
        let uid = if single {
            SINGLES[self.random.below(SINGLES.len())]
        } else {
            UIDS[self.random.below(UIDS.len())]
        };
        let (process, key) = (self.connections[index].process, self.connections[index].key);
        match self.net.agent(process).bind(key, uid, single) {
            Ok(registered) => self.begin(index, Name::Uid(uid.to_vec()), registered),
            Err(error) => assert_eq!(error, AgentError::TooManyUids { limit: 3 }),
        }
    }

    fn join(&mut self) {
        let Some(index) = self.live() else { return };
        let room = ROOMS[self.random.below(ROOMS.len())];
        let (process, key) = (self.connections[index].process, self.connections[index].key);
        let registered = self.net.agent(process).join(key, room).unwrap();
        self.begin(index, Name::Room(room.to_vec()), registered);
    }

    fn lose(&mut self, of_rooms: bool) {
        let current: Vec<usize> = (0..self.spans.len())
            .filter(|at| {
                let span = &self.spans[*at];
                span.until == NEVER && matches!(span.name, Name::Room(_)) == of_rooms
            })
            .collect();
        let Some(at) = self.random.pick(&current) else {
            return;
        };
        self.spans[at].until = self.step;
        let connection = &self.connections[self.spans[at].connection];
        let agent = self.net.agent(connection.process);
        match &self.spans[at].name {
            Name::Uid(uid) => agent.unbind(connection.key, uid),
            Name::Room(room) => agent.leave(connection.key, room),
        }
    }

    fn unbind(&mut self) {
        self.lose(false);
    }

    fn leave(&mut self) {
        self.lose(true);
    }

    fn push(&mut self, issuer: Process) {
        let any = (0..self.connections.len()).collect::<Vec<_>>();
        let uid = |uid: &[u8]| Name::Uid(uid.to_vec());
        let room = |room: &[u8]| Name::Room(room.to_vec());
        let names: Vec<&[u8]> = UIDS.iter().chain(&SINGLES).copied().collect();
        let goal = match self.random.below(10) {
            0..4 => Goal::Names(vec![uid(names[self.random.below(names.len())])]),
            4 => {
                let mut uids = names;
                uids.retain(|_| self.random.one_in(2));
                uids.extend(uids.first().copied());
                Goal::Names(uids.iter().map(|name| uid(name)).collect())
            }
            5 | 6 => Goal::Names(vec![room(ROOMS[self.random.below(ROOMS.len())])]),
            7 => Goal::Names(ROOMS[..2].iter().map(|name| room(name)).collect()),
            8 => Goal::All,
            _ => match self.random.pick(&any) {
                Some(index) => {
                    let connection = &self.connections[index];
                    Goal::Connection(connection.process.connection(connection.key))
                }
                None => Goal::All,
            },
        };
        let mut exclude = Vec::new();
        while self.random.one_in(4) {
            let id = self.random.pick(&any).map(|index| {
                let connection = &self.connections[index];
                connection.process.connection(connection.key)
            });
            exclude.extend(id);
        }
        self.issue(issuer, goal, exclude);
    }

    fn issue(&mut self, issuer: Process, goal: Goal, exclude: Vec<ConnectionId>) {
        let number = self.sent.len();
        let mut payload = number.to_string().into_bytes();
        payload.push(b' ');
        payload.resize(payload.len() + self.random.below(self.padding), b'x');
        let target = match &goal {
            Goal::All => Target::All,
            Goal::Connection(id) => Target::Connection(*id),
            Goal::Names(names) => {
                let bytes = |name: &Name| match name {
                    Name::Uid(name) | Name::Room(name) => name.clone(),
                };
                let list: Vec<Vec<u8>> = names.iter().map(bytes).collect();
                // Leaked once for each push of a test: the names outlive the borrow of the model.
                let list: Vec<&[u8]> = list.iter().map(|name| pool(name)).collect();
                match (names.first(), list.len()) {
                    (Some(Name::Uid(_)), 1) => Target::Uid(list[0]),
                    (Some(Name::Room(_)), 1) => Target::Room(list[0]),
                    (Some(Name::Room(_)), _) => Target::Rooms(list),
                    _ => Target::Uids(list),
                }
            }
        };
        let mut push = Push::message(target, 7, &payload);
        for id in &exclude {
            push = push.except(*id);
        }
        if !self.random.one_in(5) {
            push = push.with_outcome();
        }
        let now = self.net.now;
        match self.net.agent(issuer).push(push, now) {
            Ok(id) => {
                if let Some(id) = id {
                    assert_eq!(self.by_id.insert((issuer, id), number), None);
                }
                self.sent.push(Sent {
                    issuer,
                    goal,
                    exclude,
                    issued: self.step,
                    issued_at: now,
                    id,
                    resolved: None,
                    excused: false,
                });
            }
            Err(error) => assert_eq!(error, AgentError::Full),
        }
    }

    fn ask(&mut self, process: Process) {
        let now = self.net.now;
        let query = match self.random.below(3) {
            0 => Query::Online(vec![b"a", b"s"]),
            1 => Query::Count(workhive_ipc::route::Scope::Room(b"r")),
            _ => Query::Members {
                scope: workhive_ipc::route::Scope::All,
                after: None,
                limit: 3,
            },
        };
        if let Ok(id) = self.net.agent(process).query(query, now) {
            assert!(self.queries.insert((process, id)));
        }
    }

    fn crash(&mut self, process: Process) {
        self.net.crash(process);
        self.processes.retain(|other| *other != process);
        self.stalled.remove(&process);
        self.dead.push(process);
        self.crashes.push((self.step, process));
        for index in 0..self.connections.len() {
            let connection = &self.connections[index];
            if connection.process == process && connection.closed == NEVER {
                self.ended(index);
            }
        }
        self.queries.retain(|(asker, _)| *asker != process);
    }

    fn respawn(&mut self) {
        for slot in 0..self.slots {
            if !self.processes.iter().any(|process| process.slot == slot) {
                self.spawn(slot);
            }
        }
    }

    fn crash_router(&mut self) {
        if self.net.core.is_some() {
            self.net.crash_router();
            self.router_crashes.push(self.step);
        }
    }

    /// Moves some bytes somewhere.
    fn carry(&mut self) {
        if self.net.pipes.is_empty() {
            return;
        }
        let pipe = self.random.below(self.net.pipes.len());
        let most = if self.random.one_in(3) {
            1 + self.random.below(20)
        } else {
            usize::MAX
        };
        match self.random.below(4) {
            0 => self.net.worker_write(pipe, most),
            1 => self.net.router_read(pipe, most),
            2 => self.net.router_write(pipe, most),
            _ => self.net.worker_read(pipe, most),
        };
        self.hear();
    }

    // ---- what is heard

    fn hear(&mut self) {
        for event in std::mem::take(&mut self.net.events) {
            match event {
                CoreEvent::Left { .. }
                | CoreEvent::Ended {
                    reason: Misuse::Ended(_) | Misuse::Replaced,
                    ..
                } => self.noticed = self.step,
                CoreEvent::Ended { .. } => panic!("{event}"),
                _ => {}
            }
        }
        if std::mem::take(&mut self.net.incomplete) {
            self.incomplete = self.step;
        }
        for process in std::mem::take(&mut self.net.lost) {
            self.lost.insert(process, self.step);
        }
        for (process, got) in self.net.take() {
            let process = process.expect("there are no clients");
            self.tick();
            match got {
                Got::Deliver {
                    to,
                    refused,
                    tag,
                    payload,
                } => {
                    assert_eq!(tag, 7);
                    let number = payload.split(|byte| *byte == b' ').next().unwrap();
                    let number = std::str::from_utf8(number).unwrap().parse().unwrap();
                    for key in to {
                        self.delivered(process, key, number);
                    }
                    for key in refused {
                        let index = self.by_key[&(process, key)];
                        self.connections[index].refused.insert(number);
                    }
                }
                Got::Registered(ticket) => {
                    let up_to = (process, Ticket::default())..=(process, ticket);
                    let in_force: Vec<_> = self.tickets.extract_if(up_to, |_, _| true).collect();
                    for at in in_force.into_iter().flat_map(|(_, spans)| spans) {
                        self.spans[at].acked = self.spans[at].acked.min(self.step);
                    }
                }
                Got::Outcome(id, outcome) => self.outcome(process, id, outcome),
                Got::Kicked(key, uid) => {
                    let index = self.by_key[&(process, key)];
                    assert!(SINGLES.contains(&&uid[..]), "kicked for {uid:?}");
                    let at = self.span(index, &Name::Uid(uid)).expect("had it");
                    self.spans[at].until = self.step;
                }
                Got::Answer(id, _) => assert!(self.queries.remove(&(process, id)), "asked once"),
                Got::Presence(uid, online) => {
                    assert_eq!(process, self.watcher);
                    let before = self.presence.insert(uid, online).unwrap_or(false);
                    let is_certain = self.watched && self.router_crashes.is_empty();
                    assert!(before != online || !is_certain, "news twice");
                }
                Got::Synced => {}
                other => panic!("{process} heard {other:?}"),
            }
        }
    }

    fn delivered(&mut self, process: Process, key: u64, number: usize) {
        let index = *self
            .by_key
            .get(&(process, key))
            .expect("the connection exists");
        let sent = &self.sent[number];
        let connection = &self.connections[index];
        let me = process.connection(key);
        assert_eq!(
            connection.closed, NEVER,
            "push {number} to {me}, which is closed"
        );
        assert!(
            !sent.exclude.contains(&me),
            "push {number} to {me}, which it excludes"
        );
        let is_meant = match &sent.goal {
            Goal::All => true,
            Goal::Connection(id) => *id == me,
            Goal::Names(names) => names.iter().any(|name| self.span(index, name).is_some()),
        };
        assert!(is_meant, "push {number} to {me}, for which it is not");
        assert!(
            !connection.got.iter().any(|(other, _)| *other == number),
            "push {number} to {me} twice"
        );
        if let Some((_, outcome)) = sent.resolved {
            assert!(outcome.unknown, "push {number} to {me} after {outcome:?}");
        }
        self.connections[index].got.push((number, self.step));
    }

    fn outcome(&mut self, process: Process, id: PushId, outcome: Outcome) {
        let number = self
            .by_id
            .remove(&(process, id))
            .expect("one outcome for each");
        let got = |connection: &Connection| connection.got.iter().any(|(n, _)| *n == number);
        let took = self
            .connections
            .iter()
            .filter(|connection| got(connection))
            .count();
        let delivered = usize::try_from(outcome.delivered).unwrap();
        let sent = &mut self.sent[number];
        assert_eq!(sent.resolved, None);
        sent.resolved = Some((self.step, outcome));
        let crashed = self.router_crashes.iter().any(|step| *step >= sent.issued)
            || self.noticed >= sent.issued
            || self
                .lost
                .get(&process)
                .is_some_and(|step| *step >= sent.issued);
        let late = self.net.now - sent.issued_at >= self.net.core_config.outcome;
        sent.excused = crashed || late || self.incomplete >= sent.issued;
        assert!(
            !outcome.unknown || sent.excused,
            "push {number} {sent:?}: unknown for no reason"
        );
        if outcome.unrouted {
            assert_eq!(outcome.delivered + outcome.refused, 0);
            let away = self.net.now - sent.issued_at >= self.net.agent_config.hold;
            assert!(away, "push {number}: unrouted for no reason");
            assert_eq!(took, 0, "push {number} was unrouted and reached somebody");
        } else if outcome.unknown {
            assert!(
                delivered <= took,
                "push {number}: {outcome:?}, and {took} took it"
            );
        } else {
            assert_eq!(delivered, took, "push {number}: {outcome:?}");
        }
    }
}

/// The few names of this test, for ever.
fn pool(name: &[u8]) -> &'static [u8] {
    let all = UIDS.iter().chain(&SINGLES).chain(&ROOMS);
    all.copied().find(|other| *other == name).unwrap()
}

/// What a run did, to see that it does something.
#[derive(Default)]
struct Totals {
    pushes: AtomicU64,
    deliveries: AtomicU64,
    unknown: AtomicU64,
    refused: AtomicU64,
    offline: AtomicU64,
    crashes: AtomicU64,
    router_crashes: AtomicU64,
    checked: AtomicU64,
}

fn sequence(seed: u64, totals: &Totals) {
    let mut model = Model::new(seed);
    let length = 40 + model.random.below(120);
    for _ in 0..length {
        if model.random.one_in(10) {
            model.net.refuse = model.random.below(2);
        }
        model.act();
        for _ in 0..model.random.below(8) {
            model.carry();
        }
        if model.random.one_in(12) {
            model.net.settle();
            model.hear();
        }
    }
    model.finish();
    let add = |to: &AtomicU64, count: usize| to.fetch_add(count as u64, Ordering::Relaxed);
    let outcomes = || model.sent.iter().filter_map(|sent| Some(sent.resolved?.1));
    add(&totals.pushes, model.sent.len());
    add(
        &totals.unknown,
        outcomes().filter(|outcome| outcome.unknown).count(),
    );
    add(
        &totals.refused,
        outcomes().filter(|outcome| outcome.refused > 0).count(),
    );
    add(
        &totals.offline,
        outcomes().filter(|outcome| outcome.is_offline()).count(),
    );
    add(&totals.crashes, model.crashes.len());
    add(&totals.router_crashes, model.router_crashes.len());
    add(
        &totals.deliveries,
        model.connections.iter().map(|c| c.got.len()).sum(),
    );
    let known = outcomes().filter(|outcome| !outcome.unknown && !outcome.unrouted);
    add(&totals.checked, known.count());
}

#[test]
fn random_histories_agree_with_the_model() {
    let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
    let totals = Totals::default();
    if let Some(seed) = number("ROUTE_SEED") {
        sequence(seed, &totals);
        return;
    }
    let sequences = number("ROUTE_SEQUENCES").unwrap_or(10_000);
    let since = std::time::UNIX_EPOCH.elapsed().unwrap();
    let first = u64::try_from(since.as_micros()).unwrap() / 1_000_000 * 1_000_000;
    println!("seeds {first}..{}", first + sequences);
    let next = AtomicU64::new(first);
    let failed = AtomicBool::new(false);
    let began = Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !failed.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + sequences {
                        return;
                    }
                    let run = || sequence(seed, &totals);
                    if std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err() {
                        println!("replay with ROUTE_SEED={seed}");
                        failed.store(true, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
    println!(
        "{sequences} sequences in {:.1?}: {} pushes, {} deliveries, {} outcomes known, {} unknown, {} offline, {} \
         partly refused; {} worker and {} router crashes",
        began.elapsed(),
        get(&totals.pushes),
        get(&totals.deliveries),
        get(&totals.checked),
        get(&totals.unknown),
        get(&totals.offline),
        get(&totals.refused),
        get(&totals.crashes),
        get(&totals.router_crashes),
    );
    assert!(!failed.load(Ordering::Relaxed));
}
