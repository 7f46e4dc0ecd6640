//! A process dies in the middle of everything: what it had is known to be gone, and nobody else notices.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;
use workhive_tests::books::{Fate, Sender};
use workhive_tests::routes::{Orders, Routes};
use workhive_tests::users::Users;
use workhive_tests::{DEADLINE, eventually, proc, program};

#[test]
fn when_a_process_dies_its_ten_thousand_uids_are_known_to_be_gone_at_once() {
    let mut routes = Routes::start(program!("routes"), 4, &[]);
    routes.hive.expect("SIGKILL");
    let mut users = Users::connect(&routes, 100);
    let mut holder = routes.caller(1);
    holder.must("bind_many", json!({ "prefix": "d", "count": 10_000 }));
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
    proc::signal(holder.pid, Signal::SIGKILL);
    let end = Instant::now() + DEADLINE;
    while proc::is_alive(holder.pid) {
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
