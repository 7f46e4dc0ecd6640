//! A router and its only process in one, and the programs of the machine that it serves.

mod net;

use std::time::Instant;

use net::hive::{A, delivered, message};
use workhive_ipc::route::{Agent, AgentConfig, CoreConfig, CoreEvent, Event, Local, Query, Target};

#[test]
fn a_hive_of_one_process_needs_no_socket() {
    let now = Instant::now();
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
    let now = Instant::now();
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
    let now = Instant::now();
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
