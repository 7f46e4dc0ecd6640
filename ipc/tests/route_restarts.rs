//! Links that come and go: processes that start, routers that die, on a virtual network.

mod net;

use std::time::{Duration, Instant};

use net::hive::{A, B, C, ask, bind, delivered, hive, join, message, outcomes, push, unknown};
use net::{Got, process};
use workhive_ipc::route::{
    Agent, AgentConfig, Answer, Core, CoreConfig, CoreEvent, Event, Query, Registered, Target,
};

#[test]
fn after_a_router_restart_nobody_is_called_offline_out_of_ignorance() {
    let mut net = hive();
    bind(&mut net, A, 1, b"u");
    join(&mut net, B, 2, b"r");
    net.settle();
    net.take();
    net.crash_router();
    net.start_router();
    // C is back first; A and B have not even noticed.
    net.stall(A, true);
    net.stall(B, true);
    net.settle();
    push(&mut net, C, message(Target::Uid(b"u"), b"1"));
    push(&mut net, C, message(Target::Room(b"r"), b"2"));
    push(
        &mut net,
        C,
        message(Target::Connection(A.connection(1)), b"3"),
    );
    push(&mut net, C, message(Target::Uid(b"nobody"), b"4"));
    let answer = ask(&mut net, C, Query::Online(vec![b"u"]));
    let online = vec![false];
    assert_eq!(
        answer,
        Answer::Online {
            online,
            partial: true
        }
    );
    assert!(outcomes(&mut net).is_empty() && !net.core().is_complete());
    net.advance(Duration::from_secs(1));
    net.stall(A, false);
    net.stall(B, false);
    net.settle();
    assert_eq!(
        outcomes(&mut net),
        [delivered(1), delivered(1), delivered(1), delivered(0)]
    );
    assert!(net.core().is_complete());
    assert!(
        net.events
            .iter()
            .any(|event| matches!(event, CoreEvent::Recovered { uids: 1, .. }))
    );
    assert_eq!(net.core().counters().stale_routes, 0);
}

#[test]
fn a_process_that_does_not_come_back_in_time_makes_outcomes_unknown_until_it_has_ended() {
    let mut net = hive();
    bind(&mut net, A, 1, b"u");
    net.settle();
    net.take();
    net.crash_router();
    net.stall(A, true);
    net.start_router();
    net.settle();
    push(&mut net, C, message(Target::Uid(b"u"), b"1"));
    net.settle();
    net.advance(Duration::from_secs(2));
    net.settle();
    assert_eq!(outcomes(&mut net), [unknown(0)]);
    assert!(
        net.events
            .contains(&CoreEvent::Missing { processes: vec![A] })
    );
    push(&mut net, C, message(Target::Uid(b"u"), b"2"));
    net.settle();
    assert_eq!(outcomes(&mut net), [unknown(0)]);
    net.crash(A);
    let now = net.now;
    net.core().ended(A, now);
    push(&mut net, C, message(Target::Uid(b"u"), b"3"));
    net.settle();
    assert_eq!(outcomes(&mut net), [delivered(0)]);
}

#[test]
fn pushes_in_flight_when_the_router_dies_are_unknown_and_those_after_wait_for_the_next() {
    let mut net = hive();
    bind(&mut net, A, 1, b"u");
    net.settle();
    net.take();
    push(&mut net, B, message(Target::Uid(b"u"), b"in flight"));
    net.crash_router();
    net.settle();
    assert_eq!(outcomes(&mut net), [unknown(0)]);
    push(&mut net, B, message(Target::Uid(b"u"), b"waits"));
    net.agent(B).open(2);
    let Ok(Registered::Pending(ticket)) = net.agent(B).bind(2, b"u", false) else {
        panic!("there is no router");
    };
    net.advance(Duration::from_millis(1900));
    net.start_router();
    net.settle();
    let got = net.take();
    assert!(got.contains(&(Some(B), Got::Registered(ticket))));
    let outcome = |(_, got): &(_, Got)| matches!(got, Got::Outcome(_, o) if *o == delivered(2));
    assert_eq!(got.iter().filter(|got| outcome(got)).count(), 1);
}

#[test]
fn a_report_for_an_old_router_is_not_taken_for_one_for_the_new() {
    let now = Instant::now();
    let mut agent: Agent<u64> = Agent::worker(A, AgentConfig::default());
    agent.open(1);
    let mut receipts = Vec::new();
    for _ in 0..2 {
        // Each router counts anew, so both deliveries have the same number.
        let mut core = Core::new(process(9, 0), CoreConfig::default());
        let link = core.connect_process(A, now);
        agent.connected(now);
        let push = message(Target::All, b"m").with_outcome();
        agent.push(push, now).unwrap();
        core.receive(link, agent.output(), now);
        agent.sent(agent.output().len());
        agent.receive(core.output(link));
        while let Some(event) = agent.poll() {
            if let Event::Deliver { receipt, .. } = event {
                receipts.push(receipt);
            }
        }
        if receipts.len() == 1 {
            agent.disconnected();
        }
    }
    agent.report(receipts[0], 1, 0);
    assert!(agent.output().is_empty());
    agent.report(receipts[1], 1, 0);
    assert!(!agent.output().is_empty());
}

#[test]
fn a_process_that_has_not_finished_starting_delays_no_push() {
    let mut net = hive();
    bind(&mut net, A, 1, b"u");
    net.settle();
    net.take();
    let young = process(5, 2);
    let now = net.now;
    let link = net.core().connect_process(young, now);
    for (target, reached) in [
        (Target::Uid(b"u"), 1),
        (Target::Uid(b"nobody"), 0),
        (Target::All, 1),
        (Target::Connection(young.connection(1)), 0),
    ] {
        push(&mut net, B, message(target, b"m"));
        net.settle();
        assert_eq!(outcomes(&mut net), [delivered(reached)]);
    }
    assert!(net.core().is_complete());
    // It takes its time, and then it is there.
    net.advance(Duration::from_secs(100));
    let mut agent: Agent<u64> = Agent::worker(young, AgentConfig::default());
    agent.connected(now);
    let now = net.now;
    net.core().receive(link, agent.output(), now);
    assert_eq!(net.core().processes().count(), 4);
    let events: Vec<_> = std::iter::from_fn(|| net.core().next_event()).collect();
    assert!(matches!(events[..], [CoreEvent::Joined { .. }]));
    assert_eq!(net.events, []);
}

#[test]
fn after_a_router_restart_only_processes_that_are_older_than_it_are_waited_for() {
    let mut net = hive();
    bind(&mut net, A, 1, b"u");
    net.settle();
    net.take();
    net.stall(A, true);
    net.crash_router();
    net.start_router();
    let now = net.now;
    let young = process(5, net.generation + 1);
    net.core().connect_process(young, now);
    net.settle();
    push(&mut net, B, message(Target::Uid(b"u"), b"1"));
    push(&mut net, B, message(Target::Uid(b"nobody"), b"2"));
    net.settle();
    assert_eq!(outcomes(&mut net), []);
    net.stall(A, false);
    net.settle();
    assert_eq!(outcomes(&mut net), [delivered(1), delivered(0)]);
    let recovered = |event: &CoreEvent| matches!(event, CoreEvent::Recovered { .. });
    assert!(net.events.iter().any(recovered) && net.core().is_complete());
}

#[test]
fn a_process_that_is_given_a_new_link_by_the_same_router_still_has_what_it_had() {
    let now = Instant::now();
    let mut core = Core::new(process(9, 0), CoreConfig::default());
    let (first, asker) = (core.connect_process(A, now), core.connect_process(B, now));
    let mut agent: Agent<u64> = Agent::worker(A, AgentConfig::default());
    let mut other: Agent<u64> = Agent::worker(B, AgentConfig::default());
    agent.open(1);
    agent.bind(1, b"u", false).unwrap();
    let carry = |core: &mut Core, link, agent: &mut Agent<u64>| {
        core.receive(link, agent.output(), now);
        agent.sent(agent.output().len());
        let bytes = core.output(link).len();
        agent.receive(core.output(link));
        core.sent(link, bytes);
        let mut outcomes = Vec::new();
        let mut receipts = Vec::new();
        while let Some(event) = agent.poll() {
            match event {
                Event::Outcome { outcome, .. } => outcomes.push(outcome),
                Event::Deliver { receipt, .. } => receipts.push(receipt),
                _ => {}
            }
        }
        for receipt in receipts {
            agent.report(receipt, 1, 0);
        }
        outcomes
    };
    agent.connected(now);
    other.connected(now);
    carry(&mut core, first, &mut agent);
    carry(&mut core, asker, &mut other);
    // The end of the old stream is seen before or after the new one is handed over.
    let mut last = first;
    for closed_first in [true, false] {
        if closed_first {
            core.closed(last, now);
            last = core.connect_process(A, now);
        } else {
            let next = core.connect_process(A, now);
            core.closed(last, now);
            last = next;
        }
        let push = message(Target::Uid(b"u"), b"m").with_outcome();
        other.push(push, now).unwrap();
        assert_eq!(carry(&mut core, asker, &mut other), []);
        assert!(!core.is_complete());
        agent.disconnected();
        agent.connected(now);
        while !agent.output().is_empty() {
            carry(&mut core, last, &mut agent);
        }
        let outcomes = carry(&mut core, asker, &mut other);
        assert_eq!(outcomes, [delivered(1)]);
        assert!(core.is_complete());
    }
}

#[test]
fn each_process_that_does_not_come_back_has_its_own_grace() {
    let start = Instant::now();
    let later = start + Duration::from_millis(1500);
    let mut core = Core::new(process(9, 9), CoreConfig::default());
    core.connect_process(A, start);
    core.connect_process(B, later);
    core.tick(start + Duration::from_secs(2));
    let missing = |process| {
        Some(CoreEvent::Missing {
            processes: vec![process],
        })
    };
    assert_eq!(core.next_event(), missing(A));
    assert_eq!(core.next_deadline(), Some(later + Duration::from_secs(2)));
    core.tick(later + Duration::from_secs(2));
    assert_eq!((core.next_event(), core.next_event()), (missing(B), None));
    // One more, when all of them have passed.
    core.connect_process(C, later + Duration::from_secs(9));
    core.tick(later + Duration::from_secs(11));
    assert_eq!(core.next_event(), missing(C));
    for process in [A, B, C] {
        assert!(!core.is_complete());
        core.ended(process, later);
    }
    assert!(core.is_complete());
}
