//! Who gets what, also when processes and routers die: one promise each, on a virtual network.

mod net;

use std::time::Duration;

use net::hive::{A, B, C, ask, bind, delivered, hive, join, message, outcomes, push, unknown};
use net::{Got, Net, process};
use workhive_ipc::route::{
    Agent, AgentConfig, Answer, Core, CoreConfig, CoreEvent, Event, Local, Process, Push, Query,
    Registered, Target,
};

#[test]
fn a_uid_with_connections_in_three_workers_gets_a_push_once_on_each() {
    let mut net = hive();
    bind(&mut net, A, 1, b"u");
    bind(&mut net, A, 2, b"u");
    bind(&mut net, B, 3, b"u");
    bind(&mut net, C, 4, b"u");
    bind(&mut net, C, 5, b"other");
    net.settle();
    net.take();
    push(&mut net, B, message(Target::Uid(b"u"), b"m"));
    net.settle();
    assert_eq!(outcomes(&mut net), [delivered(4)]);
    push(&mut net, B, message(Target::Uid(b"u"), b"m"));
    net.settle();
    let mut messages = net.messages();
    messages.sort();
    let to: Vec<_> = messages
        .iter()
        .map(|(process, key, _)| (*process, *key))
        .collect();
    assert_eq!(to, [(A, 1), (A, 2), (B, 3), (C, 4)]);
    push(&mut net, B, message(Target::Uid(b"nobody"), b"m"));
    net.settle();
    let outcomes = outcomes(&mut net);
    assert!(outcomes[0].is_offline() && outcomes.len() == 1);
}

#[test]
fn a_bind_is_in_force_when_the_router_has_acknowledged_it() {
    let mut net = hive();
    net.agent(A).open(1);
    net.agent(A).open(2);
    let Ok(Registered::Pending(ticket)) = net.agent(A).bind(1, b"u", false) else {
        panic!("it cannot be known yet");
    };
    // The second one of a uid needs no registration, but the first has none yet.
    let Ok(Registered::Pending(second)) = net.agent(A).bind(2, b"u", false) else {
        panic!("it cannot be known yet");
    };
    net.settle();
    let got: Vec<_> = net.take().into_iter().map(|(_, got)| got).collect();
    assert_eq!(got, [Got::Registered(ticket), Got::Registered(second)]);
    net.agent(A).open(3);
    assert_eq!(net.agent(A).bind(3, b"u", false), Ok(Registered::InForce));
    assert_eq!(net.agent(A).bind(3, b"u", false), Ok(Registered::InForce));
}

#[test]
fn a_member_of_two_rooms_gets_one_copy_and_a_repeated_uid_too() {
    let mut net = hive();
    for (process, key) in [(A, 1), (B, 2)] {
        bind(&mut net, process, key, b"u");
        join(&mut net, process, key, b"r");
        join(&mut net, process, key, b"s");
    }
    join(&mut net, B, 3, b"s");
    net.settle();
    net.take();
    push(
        &mut net,
        C,
        message(Target::Rooms(vec![b"r", b"s", b"none"]), b"m"),
    );
    push(
        &mut net,
        C,
        message(Target::Uids(vec![b"u", b"u", b"none"]), b"m"),
    );
    net.settle();
    assert_eq!(outcomes(&mut net), [delivered(3), delivered(2)]);
}

#[test]
fn the_payload_crosses_each_link_once_however_many_targets_there_are() {
    let mut net = hive();
    let uids: Vec<Vec<u8>> = (0..100u64)
        .map(|key| key.to_string().into_bytes())
        .collect();
    for (key, uid) in (0..).zip(&uids) {
        bind(&mut net, A, key, uid);
    }
    net.settle();
    let payload = vec![b'x'; 10_000];
    let targets = uids.iter().map(Vec::as_slice).collect();
    push(&mut net, B, message(Target::Uids(targets), &payload));
    let sent = net.agent(B).output().len();
    assert!(sent < 11_000, "{sent}");
    net.worker_write(1, usize::MAX);
    net.router_read(1, usize::MAX);
    net.router_write(0, usize::MAX);
    assert!(net.on_the_way(A) < 11_000 && net.on_the_way(C) == 0);
    net.settle();
    assert_eq!(outcomes(&mut net), [delivered(100)]);
}

#[test]
fn the_sender_can_be_left_out() {
    let mut net = hive();
    for (process, key) in [(A, 1), (A, 2), (B, 3)] {
        join(&mut net, process, key, b"r");
    }
    net.settle();
    net.take();
    let me = A.connection(2);
    push(&mut net, A, message(Target::Room(b"r"), b"m").except(me));
    push(&mut net, A, message(Target::All, b"m").except(me));
    push(
        &mut net,
        A,
        message(Target::Connection(me), b"m").except(me),
    );
    net.settle();
    assert_eq!(
        outcomes(&mut net),
        [delivered(2), delivered(2), delivered(0)]
    );
}

#[test]
fn an_id_of_a_past_process_or_connection_reaches_nobody() {
    let mut net = hive();
    net.agent(A).open(1);
    let id = net.agent(A).id(1).unwrap();
    push(&mut net, B, message(Target::Connection(id), b"m"));
    net.settle();
    assert_eq!(outcomes(&mut net), [delivered(1)]);
    net.agent(A).close(1);
    push(&mut net, B, message(Target::Connection(id), b"m"));
    net.settle();
    assert_eq!(outcomes(&mut net), [delivered(0)]);
    net.crash(A);
    let again = process(A.slot, 2);
    net.start(again);
    net.agent(again).open(1);
    net.settle();
    net.take();
    push(&mut net, B, message(Target::Connection(id), b"m"));
    let other_hive = Process { epoch: 1, ..again }.connection(1);
    push(&mut net, B, message(Target::Connection(other_hive), b"m"));
    net.settle();
    assert_eq!(outcomes(&mut net), [delivered(0), delivered(0)]);
}

#[test]
fn both_generations_of_a_slot_are_reached_while_the_older_one_drains() {
    let mut net = hive();
    bind(&mut net, A, 1, b"u");
    let younger = process(A.slot, 2);
    net.start(younger);
    bind(&mut net, younger, 1, b"u");
    net.settle();
    net.take();
    push(&mut net, B, message(Target::Uid(b"u"), b"m"));
    net.settle();
    assert_eq!(outcomes(&mut net), [delivered(2)]);
    net.crash(A);
    net.settle();
    push(&mut net, B, message(Target::Uid(b"u"), b"m"));
    net.settle();
    assert_eq!(outcomes(&mut net), [delivered(1)]);
}

#[test]
fn a_worker_that_dies_is_forgotten_at_once_and_what_it_owed_is_unknown() {
    let mut net = hive();
    bind(&mut net, A, 1, b"u");
    bind(&mut net, A, 2, b"v");
    bind(&mut net, B, 3, b"u");
    net.settle();
    net.take();
    net.stall(A, true);
    push(&mut net, C, message(Target::Uid(b"u"), b"m"));
    net.settle();
    assert_eq!(outcomes(&mut net), []);
    net.crash(A);
    net.settle();
    assert_eq!(outcomes(&mut net), [unknown(1)]);
    let answer = ask(&mut net, C, Query::Online(vec![b"u", b"v", b"w"]));
    let online = vec![true, false, false];
    assert_eq!(
        answer,
        Answer::Online {
            online,
            partial: false
        }
    );
}

#[test]
fn an_owner_that_does_not_answer_makes_the_outcome_unknown_at_the_deadline() {
    let mut net = hive();
    bind(&mut net, A, 1, b"u");
    bind(&mut net, B, 2, b"u");
    net.settle();
    net.take();
    net.stall(A, true);
    push(&mut net, C, message(Target::Uid(b"u"), b"m"));
    net.settle();
    net.advance(Duration::from_millis(4999));
    net.settle();
    assert_eq!(outcomes(&mut net), []);
    net.advance(Duration::from_millis(1));
    net.settle();
    assert_eq!(outcomes(&mut net), [unknown(1)]);
    // It comes late, and once.
    net.stall(A, false);
    net.settle();
    assert_eq!(net.messages().len(), 1);
}

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
fn a_single_session_ends_the_one_before_and_never_itself() {
    let mut net = hive();
    for (process, key) in [(A, 1), (B, 2), (B, 3)] {
        net.agent(process).open(key);
    }
    net.agent(A).bind(1, b"u", true).unwrap();
    net.settle();
    net.take();
    net.agent(B).bind(2, b"u", true).unwrap();
    net.settle();
    let kicks = |net: &mut Net| {
        let got = net.take();
        let kicked = got.into_iter().filter_map(|(process, got)| match got {
            Got::Kicked(key, uid) => Some((process.unwrap(), key, uid)),
            _ => None,
        });
        kicked.collect::<Vec<_>>()
    };
    assert_eq!(kicks(&mut net), [(A, 1, b"u".to_vec())]);
    // In the same process, and again by the one that has it.
    net.agent(B).bind(3, b"u", true).unwrap();
    net.agent(B).bind(3, b"u", true).unwrap();
    net.settle();
    assert_eq!(kicks(&mut net), [(B, 2, b"u".to_vec())]);
    push(&mut net, C, message(Target::Uid(b"u"), b"m"));
    net.settle();
    assert_eq!(outcomes(&mut net), [delivered(1)]);
    // Two at the same time: the router decides, one stays.
    net.agent(A).open(4);
    net.agent(C).open(5);
    net.agent(A).bind(4, b"u", true).unwrap();
    net.agent(C).bind(5, b"u", true).unwrap();
    net.settle();
    assert_eq!(kicks(&mut net).len(), 2);
    // A router dies before it could say so.
    net.agent(A).open(6);
    net.agent(A).bind(6, b"u", true).unwrap();
    net.agent(A).open(7);
    net.agent(A).bind(7, b"u", true).unwrap();
    net.crash_router();
    net.start_router();
    net.settle();
    net.take();
    push(&mut net, B, message(Target::Uid(b"u"), b"m"));
    net.settle();
    assert_eq!(outcomes(&mut net), [delivered(1)]);
}

#[test]
fn connections_can_be_closed_and_moved_between_rooms_from_anywhere() {
    let mut net = hive();
    for (process, key) in [(A, 1), (A, 2), (B, 3)] {
        bind(&mut net, process, key, b"u");
    }
    net.settle();
    net.take();
    push(&mut net, C, Push::join(Target::Uid(b"u"), b"r"));
    net.settle();
    assert_eq!(outcomes(&mut net), [delivered(3)]);
    // The outcome says that it is in force.
    push(&mut net, B, message(Target::Room(b"r"), b"m"));
    net.settle();
    assert_eq!(outcomes(&mut net), [delivered(3)]);
    assert_eq!(net.agent(A).rooms(1).collect::<Vec<_>>(), [b"r"]);
    push(
        &mut net,
        C,
        Push::leave(Target::Connection(A.connection(1)), b"r"),
    );
    push(&mut net, C, message(Target::Room(b"r"), b"m"));
    push(&mut net, C, Push::leave(Target::Room(b"r"), b"r"));
    push(&mut net, C, message(Target::Room(b"r"), b"m"));
    net.settle();
    assert_eq!(
        outcomes(&mut net),
        [delivered(1), delivered(2), delivered(2), delivered(0)]
    );
    push(
        &mut net,
        C,
        Push::close(Target::Uid(b"u"), 4001, "bye").except(A.connection(2)),
    );
    net.settle();
    let closed: Vec<_> = net
        .take()
        .into_iter()
        .filter(|(_, got)| matches!(got, Got::Close { .. }))
        .collect();
    let close = |key| Got::Close {
        to: vec![key],
        code: 4001,
        reason: "bye".to_owned(),
    };
    assert_eq!(closed, [(Some(A), close(1)), (Some(B), close(3))]);
}

#[test]
fn a_report_for_an_old_router_is_not_taken_for_one_for_the_new() {
    let now = std::time::Instant::now();
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
fn a_hive_of_one_process_needs_no_socket() {
    let now = std::time::Instant::now();
    let mut hive: Local<u64> = Local::new(A, AgentConfig::default(), CoreConfig::default(), now);
    for key in 0..3 {
        hive.agent().open(key);
        hive.agent().join(key, b"r").unwrap();
    }
    let mut order = Vec::new();
    for payload in [b"1", b"2"] {
        let push = message(Target::Room(b"r"), payload).with_outcome();
        hive.agent().push(push, now).unwrap();
    }
    // Nothing happens while it is being asked for.
    assert!(hive.poll().is_none());
    while hive.pump(now) {
        while let Some(event) = hive.poll() {
            match event {
                Event::Deliver {
                    to,
                    payload,
                    receipt,
                    ..
                } => {
                    order.push((to.to_vec(), payload.to_vec()));
                    hive.agent().report(receipt, 2, 1);
                }
                Event::Outcome { outcome, .. } => {
                    assert_eq!((outcome.delivered, outcome.refused), (2, 1));
                    order.push((vec![], vec![]));
                }
                _ => {}
            }
        }
    }
    let all = vec![0, 1, 2];
    assert_eq!(
        order,
        [
            (all.clone(), b"1".to_vec()),
            (all, b"2".to_vec()),
            (vec![], vec![]),
            (vec![], vec![])
        ]
    );
}

#[test]
fn a_program_of_the_machine_pushes_to_a_hive_of_one_process() {
    let now = std::time::Instant::now();
    let mut hive: Local<u64> = Local::new(A, AgentConfig::default(), CoreConfig::default(), now);
    hive.agent().open(1);
    hive.agent().bind(1, b"u", false).unwrap();
    while hive.pump(now) {
        while hive.poll().is_some() {}
    }
    let mut client: Agent<u64> = Agent::client(AgentConfig::default());
    client.connected(now);
    let link = hive.core().connect_client();
    let mut got = Vec::new();
    for target in [b"u", b"v"] {
        let push = message(Target::Uid(target), b"m").with_outcome();
        client.push(push, now).unwrap();
        hive.core().receive(link, client.output(), now);
        client.sent(client.output().len());
        while hive.pump(now) {
            while let Some(event) = hive.poll() {
                if let Event::Deliver { receipt, .. } = event {
                    hive.agent().report(receipt, 1, 0);
                }
            }
        }
        // The process's own link is not named, however much went over it.
        let mut named = Vec::new();
        while let Some(dirty) = hive.core().next_dirty() {
            named.push(dirty);
            client.receive(hive.core().output(dirty));
            let bytes = hive.core().output(dirty).len();
            hive.core().sent(dirty, bytes);
        }
        assert_eq!(named, [link]);
        while let Some(event) = client.poll() {
            if let Event::Outcome { outcome, .. } = event {
                got.push(outcome);
            }
        }
    }
    assert_eq!(got, [delivered(1), delivered(0)]);
    hive.core().closed(link, now);
    let events: Vec<_> = std::iter::from_fn(|| hive.next_event()).collect();
    assert!(matches!(
        events[..],
        [
            CoreEvent::Joined {
                process: Some(A),
                ..
            },
            CoreEvent::Joined { process: None, .. },
            CoreEvent::Left { process: None, .. }
        ]
    ));
}

#[test]
fn a_hive_of_one_process_outlives_the_end_of_its_own_link() {
    let now = std::time::Instant::now();
    let mut core = CoreConfig::default();
    core.limits.queue = 2000;
    let mut hive: Local<u64> = Local::new(A, AgentConfig::default(), core, now);
    hive.agent().open(1);
    hive.agent().bind(1, b"u", false).unwrap();
    let mut ended = 0;
    let mut outcomes = Vec::new();
    for _ in 0..3 {
        // More answers than its own queue holds.
        for _ in 0..1000 {
            hive.agent().query(Query::Totals, now).unwrap();
        }
        for _ in 0..2 {
            while hive.pump(now) {
                while let Some(event) = hive.poll() {
                    match event {
                        Event::Deliver { receipt, .. } => hive.agent().report(receipt, 1, 0),
                        Event::Outcome { outcome, .. } => outcomes.push(outcome),
                        _ => {}
                    }
                }
            }
            let push = message(Target::Uid(b"u"), b"m").with_outcome();
            hive.agent().push(push, now).unwrap();
        }
        while let Some(event) = hive.next_event() {
            ended += usize::from(matches!(event, CoreEvent::Ended { .. }));
        }
        assert_eq!(hive.core().next_dirty(), None);
    }
    assert_eq!(ended, 3);
    assert!(outcomes.contains(&delivered(1)));
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
    let now = std::time::Instant::now();
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
    let start = std::time::Instant::now();
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
