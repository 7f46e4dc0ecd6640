//! A virtual network of processes and a router, under a virtual clock.
//!
//! A pipe behaves as a Unix stream socket: it holds so many bytes and no more; what a process wrote before it died
//! can still be read, and then the stream ends; what was on its way to it is gone.

// Each test binary uses its own part of this.
#![allow(dead_code)]

pub(crate) mod hive;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use workhive_ipc::route::{
    Agent, AgentConfig, Answer, Core, CoreConfig, CoreEvent, Event, LinkId, Outcome, Process,
    PushId, QueryId, Ticket,
};

pub(crate) const EPOCH: u32 = 0xbee;

/// The first one, older than all others.
const ROUTER: Process = Process {
    epoch: EPOCH,
    slot: u16::MAX,
    generation: 0,
};

pub(crate) struct Net {
    pub(crate) now: Instant,
    pub(crate) core: Option<Core>,
    pub(crate) core_config: CoreConfig,
    pub(crate) agent_config: AgentConfig,
    pub(crate) workers: Vec<Worker>,
    pub(crate) pipes: Vec<Pipe>,
    /// Bytes that a pipe holds in one direction.
    pub(crate) capacity: usize,
    serials: u64,
    /// The largest that a process or a router has had.
    pub(crate) generation: u32,
    /// What the processes have heard, oldest first.
    pub(crate) got: Vec<(Option<Process>, Got)>,
    pub(crate) events: Vec<CoreEvent>,
    /// The router has not known everything at some time.
    pub(crate) incomplete: bool,
    /// Whose streams have ended, as they noticed.
    pub(crate) lost: Vec<Process>,
    /// How many connections of a delivery refuse it: the last so many.
    pub(crate) refuse: usize,
}

pub(crate) struct Worker {
    /// None: a client.
    pub(crate) process: Option<Process>,
    pub(crate) agent: Agent<u64>,
    pub(crate) serial: u64,
}

pub(crate) struct Pipe {
    worker: u64,
    /// None once the router has closed it.
    link: Option<LinkId>,
    up: VecDeque<u8>,
    down: VecDeque<u8>,
    worker_open: bool,
    /// The process has been given its end, and uses it.
    taken: bool,
    /// The process neither reads nor writes, as one that is stopped.
    pub(crate) stalled: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Got {
    Deliver {
        to: Vec<u64>,
        refused: Vec<u64>,
        tag: u8,
        payload: Vec<u8>,
    },
    Close {
        to: Vec<u64>,
        code: u16,
        reason: String,
    },
    Kicked(u64, Vec<u8>),
    Registered(Ticket),
    Outcome(PushId, Outcome),
    Answer(QueryId, Option<Answer>),
    Topic(Vec<u8>, u8, Vec<u8>),
    Presence(Vec<u8>, bool),
    Synced,
    Bye(String),
    Broken(String),
}

pub(crate) fn process(slot: u16, generation: u32) -> Process {
    Process {
        epoch: EPOCH,
        slot,
        generation,
    }
}

impl Net {
    /// A router and no process.
    pub(crate) fn new() -> Self {
        Self::with(CoreConfig::default(), AgentConfig::default())
    }

    pub(crate) fn with(core_config: CoreConfig, agent_config: AgentConfig) -> Self {
        Self {
            now: Instant::now(),
            core: Some(Core::new(ROUTER, core_config)),
            core_config,
            agent_config,
            workers: Vec::new(),
            pipes: Vec::new(),
            capacity: 64 * 1024,
            serials: 0,
            generation: 0,
            got: Vec::new(),
            events: Vec::new(),
            lost: Vec::new(),
            incomplete: false,
            refuse: 0,
        }
    }

    /// Starts a worker process. It connects if there is a router.
    pub(crate) fn start(&mut self, process: Process) {
        self.generation = self.generation.max(process.generation);
        let agent = Agent::worker(process, self.agent_config);
        self.add(Some(process), agent);
    }

    pub(crate) fn start_client(&mut self) {
        let agent = Agent::client(self.agent_config);
        self.add(None, agent);
    }

    /// Starts a worker process that does not say hello before [`Net::wake`].
    pub(crate) fn start_slowly(&mut self, process: Process) {
        self.generation = self.generation.max(process.generation);
        let agent = Agent::worker(process, self.agent_config);
        let serial = self.insert(Some(process), agent);
        self.link(serial);
    }

    /// All processes that were started slowly have started.
    pub(crate) fn wake(&mut self) {
        for index in 0..self.pipes.len() {
            let serial = self.pipes[index].worker;
            if self
                .workers
                .iter()
                .any(|w| w.serial == serial && !w.agent.is_connected())
            {
                self.connect(serial);
            }
        }
    }

    /// A process has lost its stream, as one does whose router has sent it away, and gets another.
    pub(crate) fn relink(&mut self, process: Process) {
        let serial = self.serial_of(process);
        for pipe in &mut self.pipes {
            if pipe.worker == serial {
                pipe.worker_open = false;
                pipe.taken = false;
                pipe.down.clear();
            }
        }
        self.pipes
            .retain(|pipe| pipe.worker_open || pipe.link.is_some());
        self.agent(process).disconnected();
        self.lost.push(process);
        self.poll(serial);
        self.connect(serial);
    }

    fn add(&mut self, process: Option<Process>, agent: Agent<u64>) {
        let serial = self.insert(process, agent);
        self.connect(serial);
    }

    fn insert(&mut self, process: Option<Process>, agent: Agent<u64>) -> u64 {
        self.serials += 1;
        let serial = self.serials;
        self.workers.push(Worker {
            process,
            agent,
            serial,
        });
        serial
    }

    pub(crate) fn agent(&mut self, process: Process) -> &mut Agent<u64> {
        let worker = (self.workers.iter_mut()).find(|worker| worker.process == Some(process));
        &mut worker.expect("the process lives").agent
    }

    pub(crate) fn client(&mut self) -> &mut Agent<u64> {
        let worker = (self.workers.iter_mut()).find(|worker| worker.process.is_none());
        &mut worker.expect("the client lives").agent
    }

    pub(crate) fn core(&mut self) -> &mut Core {
        self.core.as_mut().expect("there is a router")
    }

    pub(crate) fn is_alive(&self, process: Process) -> bool {
        (self.workers.iter()).any(|worker| worker.process == Some(process))
    }

    /// The process takes the pipe that waits for it, or a new one.
    fn connect(&mut self, serial: u64) {
        let is_its = |pipe: &Pipe| pipe.worker == serial && pipe.worker_open;
        if !self.pipes.iter().any(is_its) {
            self.link(serial);
        }
        let worker = (self.workers.iter_mut()).find(|worker| worker.serial == serial);
        let pipe = self.pipes.iter_mut().find(|pipe| is_its(pipe));
        if let (Some(worker), Some(pipe)) = (worker, pipe) {
            worker.agent.connected(self.now);
            pipe.taken = true;
        }
    }

    /// Makes a pipe, and gives the router its end.
    fn link(&mut self, serial: u64) {
        let Some(core) = &mut self.core else { return };
        let worker = self.workers.iter().find(|worker| worker.serial == serial);
        let Some(worker) = worker else { return };
        let link = match worker.process {
            Some(process) => core.connect_process(process, self.now),
            None => core.connect_client(),
        };
        self.pipes.push(Pipe {
            worker: serial,
            link: Some(link),
            up: VecDeque::new(),
            down: VecDeque::new(),
            worker_open: true,
            taken: false,
            stalled: false,
        });
    }

    /// The process is killed.
    pub(crate) fn crash(&mut self, process: Process) {
        let Some(at) = (self.workers.iter()).position(|worker| worker.process == Some(process))
        else {
            return;
        };
        let worker = self.workers.remove(at);
        for pipe in &mut self.pipes {
            if pipe.worker == worker.serial {
                pipe.worker_open = false;
                pipe.down.clear();
            }
        }
        self.pipes
            .retain(|pipe| pipe.worker_open || pipe.link.is_some());
    }

    /// The router is killed.
    pub(crate) fn crash_router(&mut self) {
        self.core = None;
        for pipe in &mut self.pipes {
            pipe.link = None;
            pipe.up.clear();
        }
        self.pipes.retain(|pipe| pipe.worker_open && pipe.taken);
    }

    /// The router is started again, with a pipe to each process. Those who have noticed that the old one died take
    /// theirs at once.
    pub(crate) fn start_router(&mut self) {
        self.generation += 1;
        let router = Process {
            generation: self.generation,
            ..ROUTER
        };
        self.core = Some(Core::new(router, self.core_config));
        let all: Vec<_> = (self.workers.iter())
            .map(|worker| (worker.serial, worker.process.is_some()))
            .collect();
        for (serial, is_process) in all {
            let old = self.pipes.iter().find(|pipe| pipe.worker == serial);
            let stalled = old.map(|pipe| pipe.stalled);
            if stalled.is_none() {
                self.connect(serial);
            } else if is_process {
                self.link(serial);
                let pipe = self.pipes.last_mut().expect("just made");
                pipe.stalled = stalled == Some(true);
            }
        }
    }

    pub(crate) fn stall(&mut self, process: Process, stalled: bool) {
        let serial = (self.workers.iter())
            .find(|worker| worker.process == Some(process))
            .map(|worker| worker.serial);
        for pipe in &mut self.pipes {
            if Some(pipe.worker) == serial {
                pipe.stalled = stalled;
            }
        }
    }

    fn serial_of(&self, process: Process) -> u64 {
        let worker = (self.workers.iter()).find(|worker| worker.process == Some(process));
        worker.expect("the process lives").serial
    }

    /// The bytes that the router has put on the way to a process and that were not read yet.
    pub(crate) fn on_the_way(&self, process: Process) -> usize {
        let serial = self.serial_of(process);
        let pipes = self.pipes.iter().filter(|pipe| pipe.worker == serial);
        pipes.map(|pipe| pipe.down.len()).sum()
    }

    // ---- moving bytes; each says whether anything happened

    pub(crate) fn worker_write(&mut self, pipe: usize, most: usize) -> bool {
        let pipe = &mut self.pipes[pipe];
        if pipe.stalled || !pipe.taken || pipe.link.is_none() {
            return false;
        }
        let worker = (self.workers.iter_mut()).find(|worker| worker.serial == pipe.worker);
        let Some(worker) = worker else { return false };
        let room = self.capacity.saturating_sub(pipe.up.len());
        let bytes = worker.agent.output();
        let bytes = &bytes[..bytes.len().min(most).min(room)];
        let count = bytes.len();
        pipe.up.extend(bytes);
        worker.agent.sent(count);
        count > 0
    }

    pub(crate) fn router_read(&mut self, index: usize, most: usize) -> bool {
        let pipe = &mut self.pipes[index];
        let (Some(core), Some(link)) = (&mut self.core, pipe.link) else {
            return false;
        };
        if pipe.up.is_empty() {
            if pipe.worker_open {
                return false;
            }
            core.closed(link, self.now);
            self.pipes.remove(index);
            self.take_events();
            return true;
        }
        let count = pipe.up.len().min(most);
        let bytes: Vec<u8> = pipe.up.drain(..count).collect();
        core.receive(link, &bytes, self.now);
        self.incomplete |= !core.is_complete();
        self.take_events();
        true
    }

    pub(crate) fn router_write(&mut self, pipe: usize, most: usize) -> bool {
        let pipe = &mut self.pipes[pipe];
        let (Some(core), Some(link)) = (&mut self.core, pipe.link) else {
            return false;
        };
        let room = self.capacity.saturating_sub(pipe.down.len());
        let bytes = core.output(link);
        let bytes = &bytes[..bytes.len().min(most).min(room)];
        let count = bytes.len();
        if pipe.worker_open {
            pipe.down.extend(bytes);
        }
        core.sent(link, count);
        count > 0
    }

    pub(crate) fn worker_read(&mut self, index: usize, most: usize) -> bool {
        let pipe = &mut self.pipes[index];
        if pipe.stalled || !pipe.taken {
            return false;
        }
        let serial = pipe.worker;
        let worker = (self.workers.iter_mut()).find(|worker| worker.serial == serial);
        let Some(worker) = worker else { return false };
        if pipe.down.is_empty() {
            if pipe.link.is_some() {
                return false;
            }
            worker.agent.disconnected();
            self.lost.extend(worker.process);
            self.pipes.remove(index);
            self.poll(serial);
            self.connect(serial);
            return true;
        }
        let count = pipe.down.len().min(most);
        let bytes: Vec<u8> = pipe.down.drain(..count).collect();
        worker.agent.receive(&bytes);
        self.poll(serial);
        true
    }

    /// Acts upon what the processes have to do.
    fn poll(&mut self, serial: u64) {
        let worker = (self.workers.iter_mut()).find(|worker| worker.serial == serial);
        let Some(worker) = worker else { return };
        let mut broken = false;
        while let Some(event) = worker.agent.poll() {
            let mut report = None;
            let got = match event {
                Event::Deliver {
                    to,
                    tag,
                    payload,
                    receipt,
                } => {
                    let took = to.len() - self.refuse.min(to.len());
                    let (to, refused) = to.split_at(took);
                    report = Some((receipt, to.len(), refused.len()));
                    Got::Deliver {
                        to: to.to_vec(),
                        refused: refused.to_vec(),
                        tag,
                        payload: payload.to_vec(),
                    }
                }
                Event::Close { to, code, reason } => Got::Close {
                    to: to.to_vec(),
                    code,
                    reason,
                },
                Event::Kicked { key, uid } => Got::Kicked(key, uid),
                Event::Registered(ticket) => Got::Registered(ticket),
                Event::Outcome { push, outcome } => Got::Outcome(push, outcome),
                Event::Answer { query, answer } => Got::Answer(query, answer),
                Event::Topic {
                    topic,
                    tag,
                    payload,
                } => Got::Topic(topic, tag, payload.to_vec()),
                Event::Presence { uid, online } => Got::Presence(uid, online),
                Event::Synced => Got::Synced,
                Event::Bye(reason) => Got::Bye(reason),
                Event::Broken(error) => {
                    broken = true;
                    Got::Broken(error.to_string())
                }
            };
            if let Some((receipt, took, refused)) = report {
                let count = |n: usize| u32::try_from(n).unwrap();
                worker.agent.report(receipt, count(took), count(refused));
            }
            self.got.push((worker.process, got));
        }
        assert!(!broken, "the router sent nonsense: {:?}", self.got.last());
    }

    fn take_events(&mut self) {
        let Some(core) = &mut self.core else { return };
        while let Some(event) = core.next_event() {
            if let CoreEvent::Ended { link, .. } = event {
                // Written if it can be, and closed.
                let at = self.pipes.iter().position(|pipe| pipe.link == Some(link));
                if let Some(at) = at {
                    let pipe = &mut self.pipes[at];
                    pipe.down.extend(core.output(link));
                    pipe.link = None;
                    pipe.up.clear();
                    if !pipe.worker_open {
                        self.pipes.remove(at);
                    }
                }
                core.closed(link, self.now);
            }
            self.events.push(event);
        }
    }

    /// Moves bytes until none can be moved.
    pub(crate) fn settle(&mut self) {
        loop {
            let mut moved = false;
            let mut index = 0;
            while index < self.pipes.len() {
                moved |= self.worker_write(index, usize::MAX);
                moved |= self.router_write(index, usize::MAX);
                let before = self.pipes.len();
                moved |= self.router_read(index, usize::MAX);
                if self.pipes.len() == before {
                    moved |= self.worker_read(index, usize::MAX);
                }
                if self.pipes.len() >= before {
                    index += 1;
                }
            }
            if !moved {
                return;
            }
        }
    }

    pub(crate) fn advance(&mut self, by: Duration) {
        self.now += by;
        if let Some(core) = &mut self.core {
            core.tick(self.now);
        }
        self.take_events();
        for worker in &mut self.workers {
            worker.agent.tick(self.now);
        }
        let serials: Vec<u64> = self.workers.iter().map(|worker| worker.serial).collect();
        for serial in serials {
            self.poll(serial);
        }
    }

    /// What was heard since the last time.
    pub(crate) fn take(&mut self) -> Vec<(Option<Process>, Got)> {
        std::mem::take(&mut self.got)
    }

    /// The messages that connections got since the last time: who, and what.
    pub(crate) fn messages(&mut self) -> Vec<(Process, u64, Vec<u8>)> {
        let mut messages = Vec::new();
        for (process, got) in self.take() {
            if let Got::Deliver { to, payload, .. } = got {
                let process = process.expect("clients have no connections");
                messages.extend(to.iter().map(|key| (process, *key, payload.clone())));
            }
        }
        messages
    }
}
