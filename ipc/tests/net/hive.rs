//! Three workers, and short words for what tests do with them.

use super::{EPOCH, Got, Net};
use workhive_ipc::route::{AgentConfig, Answer, CoreConfig, Outcome, Process, Push, Query, Target};

pub(crate) const A: Process = process_at(0);
pub(crate) const B: Process = process_at(1);
pub(crate) const C: Process = process_at(2);

const fn process_at(slot: u16) -> Process {
    Process {
        epoch: EPOCH,
        slot,
        generation: 1,
    }
}

/// Three workers, connected.
pub(crate) fn hive() -> Net {
    hive_with(CoreConfig::default(), AgentConfig::default())
}

pub(crate) fn hive_with(core: CoreConfig, agent: AgentConfig) -> Net {
    let mut net = Net::with(core, agent);
    for process in [A, B, C] {
        net.start(process);
    }
    net.settle();
    net.take();
    net.events.clear();
    net
}

pub(crate) fn bind(net: &mut Net, process: Process, key: u64, uid: &[u8]) {
    net.agent(process).open(key);
    net.agent(process).bind(key, uid, false).unwrap();
}

pub(crate) fn join(net: &mut Net, process: Process, key: u64, room: &[u8]) {
    net.agent(process).open(key);
    net.agent(process).join(key, room).unwrap();
}

pub(crate) fn push(net: &mut Net, from: Process, push: Push<'_>) {
    let now = net.now;
    net.agent(from).push(push.with_outcome(), now).unwrap();
}

pub(crate) fn ask(net: &mut Net, from: Process, query: Query<'_>) -> Answer {
    let now = net.now;
    let id = net.agent(from).query(query, now).unwrap();
    net.settle();
    let got = net.take();
    let answer = got.into_iter().find_map(|(_, got)| match got {
        Got::Answer(query, answer) if query == id => Some(answer),
        _ => None,
    });
    answer.expect("an answer").expect("no loss")
}

pub(crate) fn outcomes(net: &mut Net) -> Vec<Outcome> {
    let got = net.take();
    let outcomes = got.into_iter().filter_map(|(_, got)| match got {
        Got::Outcome(_, outcome) => Some(outcome),
        _ => None,
    });
    outcomes.collect()
}

pub(crate) fn delivered(delivered: u32) -> Outcome {
    Outcome {
        delivered,
        ..Outcome::default()
    }
}

pub(crate) fn unknown(delivered: u32) -> Outcome {
    Outcome {
        delivered,
        unknown: true,
        ..Outcome::default()
    }
}

pub(crate) fn message<'a>(target: Target<'a>, payload: &'a [u8]) -> Push<'a> {
    Push::message(target, 0, payload)
}
