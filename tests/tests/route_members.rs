//! What a connection is in the hive: its uids, its rooms, its session data; and how it is closed from elsewhere.

use std::collections::HashSet;

use serde_json::{Value, json};
use workhive_tests::routes::{Orders, alone_and_together, nothing_more};
use workhive_tests::{eventually, program};

#[test]
fn a_connection_knows_its_uids_its_rooms_and_its_session_data() {
    alone_and_together(program!("routes"), &["--max-uids", "3"], |routes| {
        let mut member = routes.member(0);
        let me = member.ask("me", json!({}));
        assert_eq!(
            (&me["uid"], &me["uids"], &me["rooms"], &me["session"]),
            (&Value::Null, &json!([]), &json!([]), &Value::Null)
        );
        for (what, with) in [
            ("bind_uid", json!({ "uid": "u1" })),
            ("bind_uid", json!({ "uid": "u2" })),
            ("bind_uid", json!({ "uid": "u1" })),
            ("join_room", json!({ "room": "a" })),
            ("join_room", json!({ "room": "b" })),
            ("join_room", json!({ "room": "a" })),
            ("set_session", json!({ "data": "first" })),
            ("set_session", json!({ "data": "second" })),
        ] {
            member.must(what, with);
        }
        let me = member.ask("me", json!({}));
        assert!(["u1", "u2"].map(Value::from).contains(&me["uid"]), "{me}");
        assert_eq!(me["uids"], json!(["u1", "u2"]));
        assert_eq!(me["rooms"], json!(["a", "b"]));
        assert_eq!(me["session"], "second");
        member.must("unbind_uid", json!({ "uid": "u1" }));
        member.must("leave_room", json!({ "room": "b" }));
        let me = member.ask("me", json!({}));
        assert_eq!(
            (&me["uid"], &me["uids"], &me["rooms"]),
            (&json!("u2"), &json!(["u2"]), &json!(["a"]))
        );
    });
}

#[test]
fn what_is_undone_is_no_longer_reached() {
    alone_and_together(program!("routes"), &[], |routes| {
        let mut member = routes.user(0, "u1");
        member.must("join_room_then", json!({ "room": "a" }));
        let mut stays = routes.user(1, "u1");
        stays.must("join_room_then", json!({ "room": "a" }));
        let mut caller = routes.caller(2);
        member.must("unbind_uid", json!({ "uid": "u1" }));
        member.must("leave_room", json!({ "room": "a" }));
        for (what, order) in [
            ("send_to_uid", json!({ "uid": "u1", "text": "hello" })),
            ("send_to_room", json!({ "room": "a", "text": "hello" })),
        ] {
            assert_eq!(caller.delivered(what, order), 1, "{what}");
            assert_eq!(stays.text(), "hello");
        }
        nothing_more(&mut caller, [&mut member, &mut stays]);
        // And then it is somebody else.
        member.must("bind_uid_then", json!({ "uid": "u2" }));
        let order = json!({ "uid": "u2", "text": "hello" });
        assert_eq!(caller.delivered("send_to_uid", order), 1);
        assert_eq!(member.text(), "hello");
    });
}

#[test]
fn rooms_are_filled_and_emptied_by_uid_and_by_connection_from_another_process() {
    alone_and_together(program!("routes"), &[], |routes| {
        let mut first = routes.user(0, "u1");
        let mut second = routes.user(1, "u1");
        let mut third = routes.member(1);
        let mut caller = routes.caller(2);
        let mut other = routes.caller(3);
        let everybody = json!({ "uid": "u1", "room": "a" });
        let somebody = json!({ "connection": third.id, "room": "a" });
        let text = json!({ "room": "a", "text": "hello" });
        assert_eq!(caller.delivered("join_uid", everybody.clone()), 2);
        // In force, whoever sends, when the outcome is there.
        assert_eq!(other.delivered("send_to_room", text.clone()), 2);
        assert_eq!(caller.delivered("join_connection", somebody.clone()), 1);
        assert_eq!(other.delivered("send_to_room", text.clone()), 3);
        for member in [&mut first, &mut second] {
            assert_eq!(member.text(), "hello");
            assert_eq!(member.text(), "hello");
            assert_eq!(member.ask("me", json!({}))["rooms"], json!(["a"]));
        }
        assert_eq!(third.text(), "hello");
        caller.delivered("leave_uid", everybody);
        assert_eq!(other.delivered("send_to_room", text.clone()), 1);
        assert_eq!(third.text(), "hello");
        caller.delivered("leave_connection", somebody);
        assert_eq!(other.delivered("send_to_room", text), 0);
        assert_eq!(third.ask("me", json!({}))["rooms"], json!([]));
        // Who has joined by himself can be taken out by others, and the other way round.
        first.must("join_room_then", json!({ "room": "b" }));
        caller.delivered("leave_uid", json!({ "uid": "u1", "room": "b" }));
        assert_eq!(
            first.refused("leave_room", json!({ "room": "b" })),
            "NotInRoom"
        );
        nothing_more(&mut caller, [&mut first, &mut second, &mut third]);
    });
}

#[test]
fn a_room_that_is_dismissed_loses_its_members_and_they_keep_their_connections() {
    alone_and_together(program!("routes"), &[], |routes| {
        let mut members: Vec<_> = (0..6).map(|n| routes.guest(n, &["a", "b"])).collect();
        let mut caller = routes.caller(2);
        caller.outcome("dismiss_room", json!({ "room": "a" }));
        let mut other = routes.caller(3);
        let order = json!({ "room": "a", "text": "hello" });
        assert_eq!(other.delivered("send_to_room", order), 0);
        let order = json!({ "room": "b", "text": "hello" });
        assert_eq!(other.delivered("send_to_room", order), 6);
        for member in &mut members {
            assert_eq!(member.text(), "hello");
            assert_eq!(member.ask("me", json!({}))["rooms"], json!(["b"]));
            member.must("join_room_then", json!({ "room": "a" }));
        }
        let order = json!({ "room": "a", "text": "again" });
        assert_eq!(other.delivered("send_to_room", order), 6);
        caller.outcome("dismiss_room", json!({ "room": "never was" }));
        for member in &mut members {
            assert_eq!(member.text(), "again");
        }
        nothing_more(&mut caller, &mut members);
    });
}

#[test]
fn connections_are_closed_from_another_process_with_a_code_and_a_reason() {
    alone_and_together(program!("routes"), &[], |routes| {
        let mut stays = routes.user(0, "stays");
        let mut caller = routes.caller(2);
        let owned = [routes.user(0, "u1"), routes.user(1, "u1")];
        let order = json!({ "uid": "u1", "code": 4003, "reason": "banned: größer" });
        assert_eq!(caller.delivered("close_uid", order.clone()), 2);
        for member in owned {
            assert_eq!(member.closed(), (4003, "banned: größer".to_owned()));
        }
        let by_room = [routes.guest(0, &["a"]), routes.guest(1, &["a"])];
        let with = json!({ "room": "a", "code": 1000, "reason": "" });
        assert_eq!(caller.delivered("close_room", with), 2);
        for member in by_room {
            assert_eq!(member.closed(), (1000, String::new()));
        }
        let single = routes.member(1);
        let longest = "r".repeat(123);
        let with = json!({ "connection": single.id, "code": 4999, "reason": longest });
        assert_eq!(caller.delivered("close_connection", with.clone()), 1);
        assert_eq!(single.closed(), (4999, longest));
        // Nobody is left to be closed.
        assert_eq!(caller.delivered("close_uid", order), 0);
        assert_eq!(caller.delivered("close_connection", with), 0);
        // Messages sent before the goodbye still come, in order.
        let mut last = routes.user(1, "last");
        for n in 0..10 {
            caller.must(
                "send_to_uid",
                json!({ "uid": "last", "text": n.to_string() }),
            );
        }
        caller.must("close_uid", json!({ "uid": "last", "code": 3000 }));
        caller.must("send_to_uid", json!({ "uid": "last", "text": "too late" }));
        for n in 0..10 {
            assert_eq!(last.text(), n.to_string());
        }
        assert_eq!(last.closed(), (3000, String::new()));
        nothing_more(&mut caller, [&mut stays]);
    });
}

#[test]
fn close_leaves_out_those_who_are_excepted() {
    alone_and_together(program!("routes"), &[], |routes| {
        let mut stays = routes.user(0, "u1");
        let goes = [routes.user(0, "u1"), routes.user(1, "u1")];
        let order = json!({ "uid": "u1", "code": 4000, "except": [stays.id] });
        assert_eq!(stays.delivered("close_uid", order), 2);
        for member in goes {
            assert_eq!(member.closed(), (4000, String::new()));
        }
        nothing_more(&mut routes.caller(2), [&mut stays]);
    });
}

#[test]
fn a_uid_that_is_claimed_closes_the_connection_that_had_claimed_it_before() {
    alone_and_together(program!("routes"), &[], |routes| {
        let mut bound = routes.user(3, "u1");
        let mut first = routes.member(0);
        first.must("claim_uid", json!({ "uid": "u1" }));
        // Claiming it again changes nothing.
        first.must("claim_uid", json!({ "uid": "u1" }));
        for slot in [1, 2, 2, 0] {
            let mut next = routes.member(slot);
            next.must("claim_uid", json!({ "uid": "u1" }));
            assert_eq!(
                first.closed(),
                (4001, "another connection has taken over".to_owned())
            );
            first = next;
        }
        let mut caller = routes.caller(2);
        // Those who had only bound it stay.
        let order = json!({ "uid": "u1", "text": "hello" });
        assert_eq!(caller.delivered("send_to_uid", order), 2);
        assert_eq!(
            (first.text(), bound.text()),
            ("hello".into(), "hello".into())
        );
        nothing_more(&mut caller, [&mut first, &mut bound]);
    });
}

#[test]
fn of_many_who_claim_a_uid_at_the_same_moment_one_is_left() {
    alone_and_together(program!("routes"), &[], |routes| {
        for round in 0..10 {
            let uid = format!("u{round}");
            let mut members: Vec<_> = (0..8).map(|n| routes.member(n)).collect();
            let orders: Vec<_> = members
                .iter_mut()
                .map(|member| member.order("claim_uid", json!({ "uid": uid })))
                .collect();
            for (member, order) in members.iter_mut().zip(orders) {
                assert_eq!(member.answer(order), json!({ "ok": true }));
            }
            let mut caller = routes.caller(round);
            let order = json!({ "uid": uid, "text": "hello" });
            // Each has claimed it in its own process; who is the last to do so in the hive keeps it.
            eventually("one is left", || {
                let page = caller.ask("connections_of_uid", json!({ "uid": uid }));
                let left = page["members"].as_array().expect("a list").len();
                assert_ne!(left, 0, "somebody always has it");
                (left == 1).then_some(())
            });
            let page = caller.ask("connections_of_uid", json!({ "uid": uid }));
            let winner = page["members"][0]["connection"].clone();
            assert_eq!(caller.delivered("send_to_uid", order), 1);
            let mut closed = 0;
            for mut member in members {
                if winner == member.id {
                    assert_eq!(member.text(), "hello");
                } else {
                    assert_eq!(member.closed().0, 4001);
                    closed += 1;
                }
            }
            assert_eq!(closed, 7);
        }
    });
}

#[test]
fn session_data_are_read_in_every_process_and_are_gone_with_the_connection() {
    alone_and_together(program!("routes"), &[], |routes| {
        let mut member = routes.member(0);
        let order = json!({ "connection": member.id });
        let mut callers: Vec<_> = (0..routes.count())
            .map(|slot| routes.caller(slot))
            .collect();
        for data in [json!("first"), json!([0, 255]), json!("second")] {
            member.must("set_session", json!({ "data": data }));
            for caller in &mut callers {
                let session = caller.ask("session", order.clone());
                assert_eq!(session, json!({ "data": data, "partial": false }));
            }
        }
        let longest = 64 * 1024;
        member.must("set_session", json!({ "data": longest }));
        let session = callers[0].ask("session", order.clone());
        assert_eq!(session["data"], "x".repeat(longest));
        // One that has none is there all the same.
        let empty = routes.member(1);
        let session = callers[0].ask("session", json!({ "connection": empty.id }));
        assert_eq!(session, json!({ "data": "", "partial": false }));
        member.close();
        for caller in &mut callers {
            let session = caller.ask("session", order.clone());
            assert_eq!(session, json!({ "data": null, "partial": false }));
        }
    });
}

#[test]
fn on_close_still_knows_what_the_connection_was() {
    alone_and_together(program!("routes"), &["--max-uids", "2"], |routes| {
        let mut watcher = routes.caller(0);
        watcher.watch();
        let mut far = routes.caller(1);
        let ways: [(&str, &str); 4] = [
            ("goodbye", "closed by the peer"),
            ("gone", "closed by the peer"),
            ("itself", "closed by the application"),
            ("kicked", "closed by the application"),
        ];
        for (way, reason) in ways {
            let mut member = routes.user(0, way);
            member.must("bind_uid", json!({ "uid": format!("{way} too") }));
            member.must("join_room", json!({ "room": "a" }));
            member.must("join_room", json!({ "room": way }));
            member.must("set_session", json!({ "data": way }));
            let id = member.id.clone();
            match way {
                "goodbye" => member.close(),
                "gone" => drop(member),
                "itself" => {
                    member.order("close", json!({}));
                    assert_eq!(member.closed(), (3000, "as you wish".into()));
                }
                _ => {
                    far.must("close_uid", json!({ "uid": way, "code": 4000 }));
                    assert_eq!(member.closed().0, 4000);
                }
            }
            let event =
                watcher.wait(|event| event["event"] == "closed" && event["connection"] == id);
            let mut uids = vec![way.to_owned(), format!("{way} too")];
            uids.sort();
            assert_eq!(event["uids"], json!(uids), "{way}");
            let rooms: HashSet<_> = event["rooms"].as_array().expect("a list").iter().collect();
            assert_eq!(rooms, HashSet::from([&json!("a"), &json!(way)]), "{way}");
            assert_eq!(event["session"], way, "{way}");
            let said = event["reason"].as_str().unwrap_or_default();
            assert!(said.contains(reason), "{way}: {event}");
            // By the time that it is told, nobody is reached there any more.
            let order = json!({ "connection": id, "text": "hello" });
            assert_eq!(far.delivered("send_to_connection", order), 0);
        }
    });
}
