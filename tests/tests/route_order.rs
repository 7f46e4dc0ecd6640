//! What routing promises about time: a uid that is in force is reached, and all see one order.

use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use workhive_tests::routes::{Orders, Routes, alone_and_together};
use workhive_tests::swarm::{Came, Swarm};
use workhive_tests::{DEADLINE, program};

#[test]
fn once_a_uid_is_in_force_every_message_reaches_it_from_whichever_process() {
    alone_and_together(program!("routes"), &[], |routes| {
        let mut members: Vec<_> = (0..4).map(|slot| routes.member(slot)).collect();
        let mut callers: Vec<_> = (0..4).map(|slot| routes.caller(slot)).collect();
        for round in 0..2000 {
            let member = &mut members[round % 4];
            // Never the same pair in two rounds.
            let caller = &mut callers[(round + round / 4) % 4];
            let uid = format!("u{round}");
            member.must("bind_uid_then", json!({ "uid": uid }));
            let order = json!({ "uid": uid, "text": uid });
            assert_eq!(caller.delivered("send_to_uid", order), 1, "round {round}");
            assert_eq!(member.text(), uid);
            member.must("unbind_uid", json!({ "uid": uid }));
        }
    });
}

#[test]
fn once_a_room_is_joined_every_message_to_it_arrives_from_whichever_process() {
    alone_and_together(program!("routes"), &[], |routes| {
        let mut members: Vec<_> = (0..4).map(|slot| routes.member(slot)).collect();
        let mut callers: Vec<_> = (0..4).map(|slot| routes.caller(slot)).collect();
        for round in 0..500 {
            let member = &mut members[round % 4];
            let caller = &mut callers[(round + round / 4) % 4];
            member.must("join_room_then", json!({ "room": "a" }));
            let order = json!({ "room": "a", "text": round.to_string() });
            assert_eq!(caller.delivered("send_to_room", order), 1, "round {round}");
            assert_eq!(member.text(), round.to_string());
            member.must("leave_room", json!({ "room": "a" }));
            // It has left when its own process is asked through the same stream.
            let size = member.ask("room_size", json!({ "room": "a" }));
            assert_eq!(size["connections"], 0, "round {round}");
        }
    });
}

const SENDERS: usize = 8;

/// Many send at the same time, each from its own connection, in its own order, to `kinds` in turn. Returns what each
/// member has received.
fn storm(routes: &Routes, members: &mut Swarm, kinds: &[&str], each: usize) -> Vec<Vec<String>> {
    let texts: Vec<_> = (0..SENDERS)
        .map(|sender| routes.caller(sender).into_text())
        .collect();
    let start = Arc::new(Barrier::new(SENDERS));
    let senders: Vec<_> = (0..SENDERS)
        .zip(texts)
        .map(|(sender, mut text)| {
            let lines: Vec<_> = (0..each)
                .map(|n| format!("{} {sender}-{n}", kinds[n % kinds.len()]))
                .collect();
            let start = Arc::clone(&start);
            thread::spawn(move || {
                let mut answers = Vec::with_capacity(lines.len());
                start.wait();
                // A few at a time, so that all are at it until the end.
                for few in lines.chunks(10) {
                    text.write((few.join("\n") + "\n").as_bytes());
                    answers.extend(few.iter().map(|_| text.line()));
                }
                answers
            })
        })
        .collect();
    let total = SENDERS * each;
    let mut heard = vec![Vec::with_capacity(total); members.len()];
    let mut left = total * members.len();
    let end = Instant::now() + DEADLINE * 2;
    while left > 0 {
        assert!(Instant::now() < end, "{left} messages are missing");
        members.turn(Duration::from_millis(100), |number, came| match came {
            Came::Text(text) => {
                heard[number].push(text.to_owned());
                left = left.checked_sub(1).expect("more than was sent");
            }
            other => panic!("{number} got {other:?}"),
        });
    }
    let wanted = format!(" {} 0 known", members.len());
    for sender in senders {
        for answer in sender.join().expect("a sender does not panic") {
            assert!(answer.ends_with(&wanted), "{answer}");
        }
    }
    // Nothing comes after all has come.
    members.ping_all();
    heard
}

fn check(heard: &[Vec<String>], each: usize) {
    for (number, one) in heard.iter().enumerate() {
        assert!(one == &heard[0], "member {number} has seen another order");
    }
    for sender in 0..SENDERS {
        let start = format!("{sender}-");
        let sent = (0..each).map(|n| format!("{start}{n}"));
        let of_one = heard[0].iter().filter(|text| text.starts_with(&start));
        assert!(of_one.cloned().eq(sent), "sender {sender} is out of order");
    }
    // They were at it at the same time, or else there was nothing to see.
    let turns = heard[0]
        .windows(2)
        .filter(|two| two[0].split('-').next() != two[1].split('-').next());
    let turns = turns.count();
    assert!(turns > 2 * SENDERS, "only {turns} turns");
}

#[test]
fn all_members_of_a_room_see_the_same_order_whoever_sends_from_wherever() {
    alone_and_together(program!("routes"), &[], |routes| {
        let mut members = Swarm::connect(routes.ws.addr(), 40);
        members.ask_all(|_| {
            (
                json!({ "do": "join_room_then", "room": "a", "id": 1 }).to_string(),
                1,
            )
        });
        let heard = storm(routes, &mut members, &[">r a"], 250);
        check(&heard, 250);
    });
}

#[test]
fn connections_of_a_uid_in_several_processes_get_every_message_once_and_in_the_same_order() {
    alone_and_together(program!("routes"), &[], |routes| {
        let mut members = Swarm::connect(routes.ws.addr(), 24);
        members.ask_all(|_| {
            (
                json!({ "do": "bind_uid_then", "uid": "u", "id": 1 }).to_string(),
                1,
            )
        });
        let heard = storm(routes, &mut members, &[">u u"], 400);
        check(&heard, 400);
    });
}

#[test]
fn messages_to_uids_rooms_and_all_arrive_in_one_order_at_everybody_who_gets_them() {
    alone_and_together(program!("routes"), &[], |routes| {
        let mut members = Swarm::connect(routes.ws.addr(), 30);
        members.ask_all(|_| {
            let orders = json!({ "batch": [
                { "do": "bind_uid", "uid": "u", "id": 1 },
                { "do": "join_room_then", "room": "a", "id": 2 },
            ]});
            (orders.to_string(), 2)
        });
        let kinds = [">a -", ">u u", ">m nobody,u", ">r a", ">a -"];
        let heard = storm(routes, &mut members, &kinds, 250);
        check(&heard, 250);
    });
}
