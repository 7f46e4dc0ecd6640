//! A process dies in the middle of everything: what it had is known to be gone, and nobody else notices.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;
use workhive_tests::books::{Fate, Sender};
use workhive_tests::routes::{Orders, Routes, nothing_more};
use workhive_tests::users::Users;
use workhive_tests::{DEADLINE, eventually, proc, program};

#[test]
fn when_a_process_dies_its_ten_thousand_uids_are_known_to_be_gone_at_once() {
    let mut routes = Routes::start(program!("routes"), 4, &[]);
    routes.hive.expect("SIGKILL");
    let mut users = Users::connect(&routes, 100);
    let holders = routes.holders(1, "d", 10_000);
    let holder = holders[0].pid;
    let alive: Vec<_> = [0, 2, 3].iter().flat_map(|slot| users.at(*slot)).collect();
    assert!(alive.len() > 20, "{} of 100", alive.len());
    let uids = alive.clone();
    let sender = Sender::inside(routes.caller(2).into_text(), 0, 5, 0, move |n| {
        uids[n % uids.len()]
    });
    let mut asker = routes.caller(0);
    let question = json!({ "uid": "d7777" });
    users.until(|books| books.count() > 500);
    let before = asker.ask("is_uid_online", question.clone());
    assert_eq!(before, json!({ "presence": "Online" }));
    users.give_up(1);
    proc::signal(holder, Signal::SIGKILL);
    let end = Instant::now() + DEADLINE;
    while proc::is_alive(holder) {
        assert!(Instant::now() < end, "it lives on");
    }
    let died = Instant::now();
    let presence = loop {
        let answer = asker.ask("is_uid_online", question.clone());
        let presence = answer["presence"].as_str().expect("text").to_owned();
        if presence != "Online" {
            break presence;
        }
        assert!(Instant::now() < end, "its uids live on");
    };
    let known = died.elapsed();
    println!("known to be gone {known:?} after its death, then {presence}");
    // On an idle machine it is less than a millisecond.
    assert!(known < Duration::from_secs(1), "{known:?}");
    // None of them is left, and there is no doubt about it when its replacement is there.
    let all: Vec<_> = (0..10_000).map(|n| format!("d{n}")).collect();
    let all = json!({ "uids": all });
    eventually("all are offline", || {
        let answer = asker.ask("are_uids_online", all.clone());
        let presences = answer["presences"].as_array().expect("a list");
        assert!(!presences.contains(&json!("Online")), "some live on");
        (presences.iter().all(|one| one == "Offline")).then_some(())
    });
    let gone = asker.delivered("send_to_uid", json!({ "uid": "d7777", "text": "hello" }));
    assert_eq!(gone, 0);
    // Nobody else has noticed anything.
    let more = users.received() + 500;
    users.until(|books| books.count() > more);
    let (_, met) = users.settle(&routes, vec![sender]);
    assert_eq!(met.len(), 1, "{met:?}");
    assert!(met[&Fate::Delivered(1)] > 1000, "{met:?}");
}

#[test]
fn ids_of_a_process_that_died_reach_nobody_in_its_replacement() {
    let mut routes = Routes::start(program!("routes"), 4, &[]);
    routes.hive.expect("SIGKILL");
    let mut caller = routes.caller(0);
    let before: Vec<_> = (0..5).map(|_| routes.member(2)).collect();
    let mark = routes.hive.mark();
    proc::signal(before[0].pid, Signal::SIGKILL);
    routes
        .hive
        .wait_for_line_after(mark, "group=routes slot=2 ready");
    // As many, in the same places.
    let mut after: Vec<_> = (0..5).map(|_| routes.user(2, "u1")).collect();
    assert!(after.iter().all(|member| member.pid != before[0].pid));
    for old in &before {
        let order = json!({ "connection": old.id, "text": "for somebody else" });
        assert_eq!(caller.delivered("send_to_connection", order), 0);
        let order = json!({ "connection": old.id, "code": 4000 });
        assert_eq!(caller.delivered("close_connection", order), 0);
        let order = json!({ "connection": old.id, "room": "a" });
        assert_eq!(caller.delivered("join_connection", order), 0);
        let session = caller.ask("session", json!({ "connection": old.id }));
        assert_eq!(session, json!({ "data": null, "partial": false }));
    }
    for member in &mut after {
        assert_eq!(member.ask("me", json!({}))["rooms"], json!([]));
    }
    // To leave them out leaves nobody out.
    let except: Vec<_> = before.iter().map(|old| old.id.clone()).collect();
    let order = json!({ "uid": "u1", "text": "hello", "except": except });
    assert_eq!(caller.delivered("send_to_uid", order), 5);
    for member in &mut after {
        assert_eq!(member.text(), "hello");
    }
    nothing_more(&mut caller, &mut after);
}
