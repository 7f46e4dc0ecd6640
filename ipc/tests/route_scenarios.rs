//! Who gets what, also when processes and routers die: one promise each, on a virtual network.

mod net;

use std::time::Duration;

use net::hive::{A, B, C, ask, bind, delivered, hive, join, message, outcomes, push, unknown};
use net::{Got, Net, process};
use workhive_ipc::route::{Answer, Process, Push, Query, Registered, Target};

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
    assert!(second >= ticket);
    assert_eq!(got, [Got::Registered(second)]);
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
fn a_claim_that_was_given_up_costs_nobody_a_connection() {
    let mut net = hive();
    for (process, key) in [(A, 1), (A, 2), (B, 3)] {
        net.agent(process).open(key);
    }
    // Another connection keeps the uid here, so the router hears nothing of the rest.
    net.agent(A).bind(2, b"u", false).unwrap();
    net.agent(A).bind(1, b"u", true).unwrap();
    net.agent(A).unbind(1, b"u");
    net.agent(A).bind(1, b"u", false).unwrap();
    net.agent(B).bind(3, b"u", true).unwrap();
    net.settle();
    let kicked = |(_, got): &(_, Got)| matches!(got, Got::Kicked(..));
    assert!(!net.take().iter().any(kicked));
    push(&mut net, C, message(Target::Uid(b"u"), b"m"));
    net.settle();
    assert_eq!(outcomes(&mut net), [delivered(3)]);
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
