//! `route`: what the router's core costs, without sockets.

use std::time::{Duration, Instant};

use workhive_ipc::route::{
    Agent, AgentConfig, Core, CoreConfig, Event, FromRouter, LinkId, Local, Outcome, Process, Push,
    Target, ToRouter,
};

use crate::error::BenchError;

const UIDS: u64 = 10_000;
const BATCH: usize = 64;
const ROUNDS: usize = 20_000;

/// Prints all figures.
pub(crate) fn run() -> Result<(), BenchError> {
    a_push_costs()?;
    a_push_within_one_process_costs()?;
    a_room_and_a_resync_cost()?;
    a_frame_costs()
}

fn process(slot: u16) -> Process {
    Process {
        epoch: 1,
        slot,
        generation: 1,
    }
}

fn uid(number: u64) -> Vec<u8> {
    format!("user-{number}").into_bytes()
}

fn print(what: &str, took: Duration, count: usize) {
    let nanos = took.as_nanos() / count as u128;
    println!("{what}: {nanos} ns each, {count} of them in {took:.2?}");
}

fn carry(core: &mut Core, link: LinkId, agent: &mut Agent<u64>, now: Instant) {
    let up = agent.output().len();
    core.receive(link, agent.output(), now);
    agent.sent(up);
    drain(core, link, agent);
}

fn drain(core: &mut Core, link: LinkId, agent: &mut Agent<u64>) {
    let down = core.output(link).len();
    agent.receive(core.output(link));
    core.sent(link, down);
}

fn a_push_costs() -> Result<(), BenchError> {
    let now = Instant::now();
    for outcome in [false, true] {
        let mut core = Core::new(process(0), CoreConfig::default());
        let sender = core.connect_process(process(0), now);
        let owner = core.connect_process(process(1), now);
        let mut from: Agent<u64> = Agent::worker(process(0), AgentConfig::default());
        let mut to: Agent<u64> = Agent::worker(process(1), AgentConfig::default());
        from.connected(now);
        to.connected(now);
        for key in 0..UIDS {
            to.open(key);
            to.bind(key, &uid(key), false).map_err(refused)?;
        }
        carry(&mut core, sender, &mut from, now);
        carry(&mut core, owner, &mut to, now);
        while to.poll().is_some() || from.poll().is_some() {}
        let names: Vec<Vec<u8>> = (0..UIDS).map(uid).collect();
        let payload = [b'x'; 128];
        let (mut issue, mut route, mut deliver, mut report) = Default::default();
        let mut next = 0;
        for _ in 0..ROUNDS {
            let began = Instant::now();
            for _ in 0..BATCH {
                next = (next + 7919) % names.len();
                let push = Push::message(Target::Uid(&names[next]), 0, &payload);
                let push = if outcome { push.with_outcome() } else { push };
                from.push(push, now).map_err(refused)?;
            }
            let issued = Instant::now();
            let up = from.output().len();
            core.receive(sender, from.output(), now);
            from.sent(up);
            let routed = Instant::now();
            drain(&mut core, owner, &mut to);
            loop {
                let receipt = match to.poll() {
                    Some(Event::Deliver { receipt, .. }) => receipt,
                    Some(_) => continue,
                    None => break,
                };
                to.report(receipt, 1, 0);
            }
            let delivered = Instant::now();
            carry(&mut core, owner, &mut to, now);
            let reported = Instant::now();
            drain(&mut core, sender, &mut from);
            while from.poll().is_some() {}
            issue += issued - began;
            route += routed - issued;
            deliver += delivered - routed;
            report += reported - delivered;
        }
        let count = BATCH * ROUNDS;
        println!("push of 128 bytes to one uid, outcome {outcome}:");
        print("  sender's agent", issue, count);
        print("  router, push to delivery", route, count);
        print("  owner's agent", deliver, count);
        print("  router, report to outcome", report, count);
        if core.counters().pushes != count as u64 {
            return Err(refused("pushes were lost"));
        }
    }
    Ok(())
}

/// All of it: the encoding, the way through the router and back, the report and the outcome.
fn a_push_within_one_process_costs() -> Result<(), BenchError> {
    let now = Instant::now();
    let mut hive: Local<u64> = Local::new(
        process(0),
        AgentConfig::default(),
        CoreConfig::default(),
        now,
    );
    let names: Vec<Vec<u8>> = (0..UIDS).map(uid).collect();
    for (key, name) in (0..).zip(&names) {
        hive.agent().open(key);
        hive.agent().bind(key, name, false).map_err(refused)?;
    }
    while hive.pump(now) {
        while hive.poll().is_some() {}
    }
    let payload = [b'x'; 160];
    let (mut next, mut delivered) = (0, 0);
    let mut receipts = Vec::new();
    let began = Instant::now();
    for _ in 0..ROUNDS {
        for _ in 0..BATCH {
            next = (next + 7919) % names.len();
            let push = Push::message(Target::Uid(&names[next]), 0, &payload).with_outcome();
            hive.agent().push(push, now).map_err(refused)?;
        }
        while hive.pump(now) {
            while let Some(event) = hive.poll() {
                match event {
                    Event::Deliver { receipt, .. } => receipts.push(receipt),
                    Event::Outcome { outcome, .. } => delivered += outcome.delivered as usize,
                    _ => {}
                }
            }
            for receipt in receipts.drain(..) {
                hive.agent().report(receipt, 1, 0);
            }
        }
    }
    let (took, count) = (began.elapsed(), BATCH * ROUNDS);
    if delivered != count {
        return Err(refused("pushes were lost"));
    }
    let nanos = took.as_nanos() / count as u128;
    println!(
        "one process: {nanos} ns per push with outcome, {count} pushes of 160 bytes in {took:.2?}"
    );
    Ok(())
}

fn a_room_and_a_resync_cost() -> Result<(), BenchError> {
    let now = Instant::now();
    let mut core = Core::new(process(0), CoreConfig::default());
    let mut agents: Vec<(LinkId, Agent<u64>)> = Vec::new();
    for slot in 0..4 {
        let mut agent = Agent::worker(process(slot), AgentConfig::default());
        for key in 0..250_000 {
            agent.open(key);
            let name = uid(key * 4 + u64::from(slot));
            agent.bind(key, &name, false).map_err(refused)?;
        }
        for key in 0..500 {
            agent.join(key, b"room").map_err(refused)?;
        }
        agents.push((core.connect_process(process(slot), now), agent));
    }
    let began = Instant::now();
    for (link, agent) in &mut agents {
        agent.connected(now);
        carry(&mut core, *link, agent, now);
        while agent.poll().is_some() {}
    }
    print("resync of a million uids", began.elapsed(), 1_000_000);
    let rounds = 2000;
    let began = Instant::now();
    let mut connections = 0;
    for _ in 0..rounds {
        let push = Push::message(Target::Room(b"room"), 0, &[0; 128]);
        agents[0].1.push(push, now).map_err(refused)?;
        for _ in 0..2 {
            for (link, agent) in &mut agents {
                carry(&mut core, *link, agent, now);
                while let Some(event) = agent.poll() {
                    if let Event::Deliver { to, .. } = event {
                        connections += to.len();
                    }
                }
            }
        }
    }
    if connections != rounds * 2000 {
        return Err(refused("deliveries were lost"));
    }
    print(
        "room of 2000 in 4 processes, per member",
        began.elapsed(),
        connections,
    );
    let began = Instant::now();
    core.closed(agents[0].0, now);
    print("death of a process with 250,000 uids", began.elapsed(), 1);
    Ok(())
}

fn a_frame_costs() -> Result<(), BenchError> {
    let mut wire = Vec::new();
    let count = 2_000_000;
    let began = Instant::now();
    for id in 0..count {
        wire.clear();
        let push = ToRouter::Push {
            id,
            target: Target::Uid(b"user-12345"),
            exclude: Vec::new(),
            action: workhive_ipc::route::Action::Message { tag: 0 },
        };
        push.append(&[0; 128], &mut wire).map_err(refused)?;
    }
    print("encoding a push", began.elapsed(), 2_000_000);
    let body = wire[12..wire.len() - 128].to_vec();
    let began = Instant::now();
    for _ in 0..count {
        let body = std::hint::black_box(&body);
        std::hint::black_box(ToRouter::from_body(body).map_err(refused)?);
    }
    print("decoding a push", began.elapsed(), 2_000_000);
    let outcome = Outcome::default();
    wire.clear();
    FromRouter::Outcome { id: 1, outcome }
        .append(b"", &mut wire)
        .map_err(refused)?;
    println!("an outcome has {} bytes", wire.len());
    Ok(())
}

/// What the router said to something that it should have done.
fn refused(what: impl std::fmt::Debug) -> BenchError {
    BenchError::Server(format!("the router's core refused: {what:?}"))
}
