//! Who is there: questions that any process can ask about the whole hive.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use workhive_tests::routes::{Caller, Member, Orders, Routes, alone_and_together};
use workhive_tests::swarm::Swarm;
use workhive_tests::{eventually, proc, program};

/// Asks for page after page of connections; checks that every page but the last is full, and that ids ascend.
fn all_pages(caller: &mut Caller, what: &str, with: &Value) -> Vec<Value> {
    let mut found = Vec::new();
    loop {
        let mut order = with.clone();
        if let Some(last) = found.last() {
            let last: &Value = last;
            order["after"] = last["connection"].clone();
        }
        let page = caller.ask(what, order);
        assert_eq!(page["partial"], false, "{what}");
        let members = page["members"].as_array().expect("a list").clone();
        let full = members.len() == 1000;
        found.extend(members);
        if page["more"] == false {
            return found;
        }
        assert_eq!(page["more"], true);
        assert!(full, "a page that is not the last is full");
    }
}

/// The same for names; each comes once.
fn all_names(caller: &mut Caller, what: &str) -> HashSet<String> {
    let mut found = HashSet::new();
    let mut from = json!(0);
    let mut pages = 0;
    while from != Value::Null {
        let page = caller.ask(what, json!({ "from": from }));
        assert_eq!(page["partial"], false, "{what}");
        for name in page["names"].as_array().expect("a list") {
            let name = name.as_str().expect("text").to_owned();
            assert!(found.insert(name.clone()), "{name} comes twice");
        }
        pages += 1;
        assert!(pages < 100, "{what} never ends");
        from = page["next"].clone();
    }
    found
}

fn ids<'m>(members: impl IntoIterator<Item = &'m Member>) -> HashSet<String> {
    members
        .into_iter()
        .map(|member| member.id.clone())
        .collect()
}

fn ids_of(found: &[Value]) -> HashSet<String> {
    let ids = found.iter().map(|member| member["connection"].as_str());
    let ids: HashSet<_> = ids.map(|id| id.expect("an id").to_owned()).collect();
    assert_eq!(ids.len(), found.len(), "each comes once");
    ids
}

#[test]
fn a_uid_is_online_as_long_as_it_has_a_connection_anywhere() {
    alone_and_together(program!("routes"), &[], |routes| {
        let mut callers: Vec<_> = (0..routes.count())
            .map(|slot| routes.caller(slot))
            .collect();
        let first = routes.user(0, "u1");
        let second = routes.user(1, "u1");
        let mut third = routes.user(2, "u3");
        let question = json!({ "uids": ["u1", "u2", "u3", "u1"] });
        for caller in &mut callers {
            let answer = caller.ask("are_uids_online", question.clone());
            let expected = json!({ "presences": ["Online", "Offline", "Online", "Online"] });
            assert_eq!(answer, expected);
            let answer = caller.ask("is_uid_online", json!({ "uid": "u1" }));
            assert_eq!(answer, json!({ "presence": "Online" }));
            let answer = caller.ask("are_uids_online", json!({ "uids": [] }));
            assert_eq!(answer, json!({ "presences": [] }));
        }
        first.close();
        let answer = callers[0].ask("is_uid_online", json!({ "uid": "u1" }));
        assert_eq!(answer, json!({ "presence": "Online" }));
        second.close();
        third.must("unbind_uid", json!({ "uid": "u3" }));
        for caller in &mut callers {
            eventually("nobody is online", || {
                let answer = caller.ask("are_uids_online", question.clone());
                let expected = json!({ "presences": vec!["Offline"; 4] });
                (answer == expected).then_some(())
            });
        }
    });
}

#[test]
fn sixteen_thousand_uids_are_asked_for_at_once() {
    alone_and_together(program!("routes"), &[], |routes| {
        let _holders = routes.holders(0, "u", 10_000);
        let mut caller = routes.caller(1);
        // Every other one is there.
        let uids: Vec<_> = (0..16_384).map(|n| format!("u{}", n * 2)).collect();
        let answer = caller.ask("are_uids_online", json!({ "uids": uids }));
        let presences = answer["presences"].as_array().expect("a list");
        assert_eq!(presences.len(), 16_384);
        for (n, presence) in presences.iter().enumerate() {
            let expected = if n < 5000 { "Online" } else { "Offline" };
            assert_eq!(presence, expected, "u{}", n * 2);
        }
    });
}

#[test]
fn connections_are_counted_and_listed_with_their_uids_whichever_process_is_asked() {
    alone_and_together(program!("routes"), &["--max-uids", "2"], |routes| {
        let mut members: Vec<_> = (0..6)
            .map(|n| {
                let mut member = routes.user(n, if n % 2 == 0 { "even" } else { "odd" });
                member.must("bind_uid_then", json!({ "uid": format!("u{n}") }));
                if n < 4 {
                    member.must("join_room_then", json!({ "room": "a" }));
                }
                member
            })
            .collect();
        // Callers are not counted: their listener is not routed.
        for slot in 0..routes.count() {
            let mut caller = routes.caller(slot);
            for (what, with, expected) in [
                (
                    "connections_of_uid",
                    json!({ "uid": "even" }),
                    &[0, 2, 4][..],
                ),
                ("connections_of_uid", json!({ "uid": "u5" }), &[5]),
                ("connections_of_uid", json!({ "uid": "nobody" }), &[]),
                ("room_members", json!({ "room": "a" }), &[0, 1, 2, 3]),
                ("room_members", json!({ "room": "nowhere" }), &[]),
                ("connections", json!({}), &[0, 1, 2, 3, 4, 5]),
            ] {
                let found = all_pages(&mut caller, what, &with);
                let wanted = ids(expected.iter().map(|n: &usize| &members[*n]));
                assert_eq!(ids_of(&found), wanted, "{what} {with}");
                for one in &found {
                    let n = members
                        .iter()
                        .position(|member| one["connection"] == member.id);
                    let n = n.expect("a member");
                    let parity = if n % 2 == 0 { "even" } else { "odd" };
                    assert_eq!(one["uids"], json!([parity, format!("u{n}")]), "{what}");
                }
            }
            let size = caller.ask("room_size", json!({ "room": "a" }));
            assert_eq!(size, json!({ "connections": 4, "partial": false }));
            let size = caller.ask("room_size", json!({ "room": "nowhere" }));
            assert_eq!(size, json!({ "connections": 0, "partial": false }));
            let count = caller.ask("online_count", json!({}));
            assert_eq!(count, json!({ "connections": 6, "partial": false }));
            let totals = caller.ask("totals", json!({}));
            let expected = json!({
                "uids": 8, "rooms": 1, "topics": 0, "processes": routes.count(),
                "partial": false,
            });
            assert_eq!(totals, expected);
            let names = all_names(&mut caller, "rooms");
            assert_eq!(names, HashSet::from(["a".to_owned()]));
            assert_eq!(all_names(&mut caller, "uids").len(), 8);
        }
        members.remove(1).close();
        let mut caller = routes.caller(0);
        eventually("one is gone from all answers", || {
            let count = caller.ask("online_count", json!({}));
            let size = caller.ask("room_size", json!({ "room": "a" }));
            let totals = caller.ask("totals", json!({}));
            let found = (&count["connections"], &size["connections"], &totals["uids"]);
            (found == (&json!(5), &json!(3), &json!(7))).then_some(())
        });
    });
}

#[test]
fn more_than_a_page_of_members_comes_in_pages_each_member_once() {
    alone_and_together(program!("routes"), &[], |routes| {
        let count = 2300;
        let mut swarm = Swarm::connect(routes.ws.addr(), count);
        swarm.ask_all(|n| {
            let orders = json!([
                { "do": "bind_uid", "uid": format!("u{}", n % 1150), "id": 1 },
                { "do": "join_room", "room": "a", "id": 2 },
                { "do": "join_room_then", "room": "a", "id": 3 },
            ]);
            (json!({ "batch": orders }).to_string(), 3)
        });
        let mut caller = routes.caller(1);
        let members = all_pages(&mut caller, "room_members", &json!({ "room": "a" }));
        assert_eq!(ids_of(&members).len(), count);
        let all = all_pages(&mut caller, "connections", &json!({}));
        assert_eq!(ids_of(&all), ids_of(&members));
        let uids: HashSet<_> = members.iter().map(|one| one["uids"].to_string()).collect();
        assert_eq!(uids.len(), 1150);
        let names = all_names(&mut caller, "uids");
        let expected: HashSet<_> = (0..1150).map(|n| format!("u{n}")).collect();
        assert_eq!(names, expected);
        let size = caller.ask("room_size", json!({ "room": "a" }));
        assert_eq!(size["connections"], count);
        // Exactly as many as fill a page.
        let mut one = routes.caller(2);
        one.must("join_many", json!({ "prefix": "r", "count": 999 }));
        assert_eq!(all_names(&mut caller, "rooms").len(), 1000);
    });
}

#[test]
fn an_answer_says_when_a_process_is_missing_from_it() {
    let routes = Routes::start(program!("routes"), 4, &[]);
    let members: Vec<_> = (0..4)
        .map(|slot| {
            let mut member = routes.user(slot, &format!("u{slot}"));
            member.must("join_room_then", json!({ "room": "a" }));
            member.must("set_session", json!({ "data": "d" }));
            member
        })
        .collect();
    let mut caller = routes.caller(0);
    let stopped = &members[2];
    proc::signal(stopped.pid, Signal::SIGSTOP);
    let started = Instant::now();
    let size = caller.ask("room_size", json!({ "room": "a" }));
    assert_eq!(size, json!({ "connections": 3, "partial": true }));
    assert!(
        started.elapsed() > Duration::from_millis(500),
        "it was waited for"
    );
    let count = caller.ask("online_count", json!({}));
    assert_eq!(count, json!({ "connections": 3, "partial": true }));
    let page = caller.ask("room_members", json!({ "room": "a" }));
    assert_eq!(
        (&page["partial"], &page["more"]),
        (&json!(true), &json!(false))
    );
    let listed = ids_of(page["members"].as_array().expect("a list"));
    assert_eq!(listed, ids(members.iter().filter(|one| one.slot != 2)));
    let page = caller.ask("connections_of_uid", json!({ "uid": "u2" }));
    assert_eq!(
        page,
        json!({ "members": [], "more": false, "partial": true })
    );
    let session = caller.ask("session", json!({ "connection": stopped.id }));
    assert_eq!(session, json!({ "data": null, "partial": true }));
    // What it is not asked for is complete.
    let page = caller.ask("connections_of_uid", json!({ "uid": "u1" }));
    assert_eq!(
        (&page["partial"], page["members"].as_array().map(Vec::len)),
        (&json!(false), Some(1))
    );
    let session = caller.ask("session", json!({ "connection": members[1].id }));
    assert_eq!(session, json!({ "data": "d", "partial": false }));
    // And the router itself knows who is there.
    let answer = caller.ask("is_uid_online", json!({ "uid": "u2" }));
    assert_eq!(answer, json!({ "presence": "Online" }));
    proc::signal(stopped.pid, Signal::SIGCONT);
    eventually("it answers again", || {
        let size = caller.ask("room_size", json!({ "room": "a" }));
        (size == json!({ "connections": 4, "partial": false })).then_some(())
    });
    let page = caller.ask("room_members", json!({ "room": "a" }));
    assert_eq!(
        ids_of(page["members"].as_array().expect("a list")),
        ids(&members)
    );
}

#[test]
fn a_process_that_dies_does_not_hold_up_an_answer() {
    let mut routes = Routes::start(program!("routes"), 4, &[]);
    routes.hive.expect("SIGKILL");
    let members: Vec<_> = (0..4).map(|slot| routes.guest(slot, &["a"])).collect();
    let mut caller = routes.caller(0);
    proc::signal(members[2].pid, Signal::SIGSTOP);
    let number = caller.order("room_size", json!({ "room": "a" }));
    proc::signal(members[2].pid, Signal::SIGKILL);
    let size = caller.answer(number);
    // Whether it was asked before or after its death, three are left.
    assert_eq!(size["connections"], 3, "{size}");
    eventually("its replacement is there", || {
        let size = caller.ask("room_size", json!({ "room": "a" }));
        (size == json!({ "connections": 3, "partial": false })).then_some(())
    });
}
