//! The router dies, again and again: every push is answered truthfully, and what was known is known again.

use nix::sys::signal::Signal;
use serde_json::json;
use workhive_tests::books::{Fate, Sender};
use workhive_tests::routes::{Orders, Routes};
use workhive_tests::users::Users;
use workhive_tests::{eventually, proc, program};

#[test]
fn when_the_router_dies_every_push_is_answered_truthfully_and_none_comes_twice() {
    let mut routes = Routes::start(program!("routes"), 4, &[]);
    routes.hive.expect("SIGKILL");
    let workers = routes.hive.slots();
    let mut users = Users::connect(&routes, 200);
    let senders: Vec<_> = (0..4)
        .map(|sender| {
            let text = routes.caller(sender).into_text();
            Sender::inside(text, sender, 20, 0, move |n| (n * 7 + sender * 31) % 200)
        })
        .collect();
    for _ in 0..3 {
        let more = users.received() + 2000;
        users.until(|books| books.count() > more);
        let killed = eventually("a router", || routes.hive.router());
        let mark = routes.hive.mark();
        proc::signal(killed, Signal::SIGKILL);
        routes
            .hive
            .wait_for_line_after(mark, "group=router slot=0 ready");
        routes
            .hive
            .wait_for_line_after(mark, "the directory is complete");
    }
    let more = users.received() + 2000;
    users.until(|books| books.count() > more);
    let (accounts, met) = users.settle(&routes, senders);
    println!("{met:?}");
    // All of them were there all the time.
    assert_eq!(met.get(&Fate::Offline), None, "{met:?}");
    assert_eq!(met.get(&Fate::Refused), None, "{met:?}");
    assert!(met[&Fate::Delivered(1)] > 6000, "{met:?}");
    // Only what was under way at one of the deaths is in doubt: 20 of each of the 4 senders.
    let unknown = met.get(&Fate::Unknown(0)).copied().unwrap_or(0);
    assert!(unknown <= 3 * 4 * 20, "{met:?}");
    let longest = accounts
        .iter()
        .flat_map(|account| account.entries().iter().map(|entry| entry.took))
        .max();
    println!("the longest took {longest:?}");
    assert_eq!(routes.hive.slots(), workers, "the workers live on");
}

#[test]
fn programs_beside_the_hive_are_not_told_that_somebody_is_offline_while_the_router_comes_back() {
    let mut routes = Routes::start(program!("routes"), 4, &[]);
    routes.hive.expect("SIGKILL");
    let mut users = Users::connect(&routes, 60);
    let senders: Vec<_> = (0..4)
        .map(|sender| {
            let path = routes.hive.path("hive.push.sock");
            Sender::returning(path, sender, 10, move |n| (n * 7 + sender * 31) % 60)
        })
        .collect();
    for _ in 0..4 {
        let more = users.received() + 300;
        users.until(|books| books.count() > more);
        let killed = eventually("a router", || routes.hive.router());
        let mark = routes.hive.mark();
        proc::signal(killed, Signal::SIGKILL);
        routes
            .hive
            .wait_for_line_after(mark, "the directory is complete");
    }
    let more = users.received() + 300;
    users.until(|books| books.count() > more);
    let (_, met) = users.settle(&routes, senders);
    println!("{met:?}");
    // All of them were there all the time.
    assert_eq!(met.get(&Fate::Offline), None, "{met:?}");
}

#[test]
fn presence_survives_the_death_of_the_router() {
    let mut routes = Routes::start(program!("routes"), 4, &[]);
    routes.hive.expect("SIGKILL");
    let mut members: Vec<_> = (0..4)
        .map(|slot| {
            let mut member = routes.user(slot, &format!("u{slot}"));
            member.must("join_room_then", json!({ "room": "a" }));
            member
        })
        .collect();
    let mut claimed = routes.member(1);
    claimed.must("claim_uid", json!({ "uid": "mine" }));
    let mut watcher = routes.caller(3);
    watcher.watch();
    watcher.must("subscribe", json!({ "topic": "news" }));
    let killed = eventually("a router", || routes.hive.router());
    let mark = routes.hive.mark();
    proc::signal(killed, Signal::SIGKILL);
    // What happens while there is none is known to the next.
    members[0].must("unbind_uid", json!({ "uid": "u0" }));
    members[0].must("bind_uid", json!({ "uid": "new" }));
    members[1].must("leave_room", json!({ "room": "a" }));
    routes
        .hive
        .wait_for_line_after(mark, "the directory is complete");
    let mut caller = routes.caller(0);
    let uids = json!({ "uids": ["u0", "new", "u1", "u2", "u3", "mine"] });
    eventually("presence is right", || {
        let answer = caller.ask("are_uids_online", uids.clone());
        let expected = ["Offline", "Online", "Online", "Online", "Online", "Online"];
        (answer["presences"] == json!(expected)).then_some(())
    });
    let order = json!({ "room": "a", "text": "hello" });
    assert_eq!(caller.delivered("send_to_room", order), 3);
    for n in [0, 2, 3] {
        assert_eq!(members[n].text(), "hello");
    }
    let order = json!({ "uid": "new", "text": "to the new" });
    assert_eq!(caller.delivered("send_to_uid", order), 1);
    assert_eq!(members[0].text(), "to the new");
    caller.must("publish", json!({ "topic": "news", "text": "news" }));
    assert_eq!(watcher.event("topic")["text"], "news");
    // Nobody is told of those who were there all the time: the next who comes is the first.
    let next = routes.user(2, "next");
    let event = watcher.wait(|event| event["event"] == "online" && event["uid"] != "new");
    assert_eq!(event["uid"], "next");
    next.close();
    let event = watcher.event("offline");
    assert!(event["uid"] == "u0" || event["uid"] == "next", "{event}");
    // Who had claimed a uid before still gives way.
    let mut thief = routes.member(2);
    thief.must("claim_uid", json!({ "uid": "mine" }));
    assert_eq!(claimed.closed().0, 4001);
}
