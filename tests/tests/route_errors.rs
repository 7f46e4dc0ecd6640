//! What routing refuses, by which error; and that nothing else happens then.

use serde_json::{Value, json};
use workhive_tests::program;
use workhive_tests::routes::{Orders, Routes, alone_and_together, nothing_more};

/// Every order that takes a name, with a good one in its place.
fn orders(id: &str) -> Vec<(&'static str, &'static str, Value)> {
    let mut orders = vec![
        ("bind_uid", "uid", json!({})),
        ("bind_uid_then", "uid", json!({})),
        ("claim_uid", "uid", json!({})),
        ("join_room", "room", json!({})),
        ("join_room_then", "room", json!({})),
        ("send_to_uid", "uid", json!({ "text": "no" })),
        ("send_to_room", "room", json!({ "text": "no" })),
        ("close_uid", "uid", json!({})),
        ("close_room", "room", json!({})),
        ("join_uid", "uid", json!({ "room": "r" })),
        ("join_uid", "room", json!({ "uid": "u" })),
        ("leave_uid", "uid", json!({ "room": "r" })),
        ("leave_uid", "room", json!({ "uid": "u" })),
        ("join_connection", "room", json!({ "connection": id })),
        ("leave_connection", "room", json!({ "connection": id })),
        ("dismiss_room", "room", json!({})),
        ("is_uid_online", "uid", json!({})),
        ("connections_of_uid", "uid", json!({})),
        ("room_members", "room", json!({})),
        ("room_size", "room", json!({})),
        ("publish", "topic", json!({ "text": "no" })),
        ("subscribe", "topic", json!({})),
    ];
    for what in ["send_to_uids", "are_uids_online"] {
        orders.push((what, "uids", json!({ "text": "no" })));
    }
    orders.push(("send_to_rooms", "rooms", json!({ "text": "no" })));
    orders
}

#[test]
fn a_name_that_is_empty_or_too_long_is_refused_wherever_there_is_one() {
    alone_and_together(program!("routes"), &[], |routes| {
        let mut member = routes.member(0);
        let id = member.id.clone();
        for len in [0, 256, 70_000] {
            for (what, key, mut with) in orders(&id) {
                with[key] = match key {
                    "uids" | "rooms" => json!(["good", len]),
                    _ => json!(len),
                };
                let name = key.trim_end_matches('s');
                assert_eq!(
                    member.refused(what, with),
                    format!("Length {{ what: \"{name}\", len: {len} }}"),
                    "{what} {key}"
                );
            }
        }
        let me = member.ask("me", json!({}));
        assert_eq!((&me["uids"], &me["rooms"]), (&json!([]), &json!([])));
        let totals = member.ask("totals", json!({}));
        let expected = json!({
            "uids": 0, "rooms": 0, "topics": 0, "processes": routes.count(), "partial": false,
        });
        assert_eq!(totals, expected);
        // The shortest and the longest do.
        for len in [1, 255] {
            for (what, key, mut with) in orders(&id) {
                with[key] = match key {
                    "uids" | "rooms" => json!([len]),
                    _ => json!(len),
                };
                if !what.contains("claim") && !what.contains("close") && !what.contains("bind") {
                    let answer = member.ask(what, with);
                    assert_eq!(answer["error"], Value::Null, "{what}: {answer}");
                }
            }
        }
    });
}

#[test]
fn an_id_of_another_hive_is_refused() {
    let other = Routes::start(program!("routes"), 1, &[]);
    let stranger = other.member(0).id;
    alone_and_together(program!("routes"), &[], |routes| {
        let mut member = routes.member(0);
        let mut caller = routes.caller(1);
        for (what, with) in [
            ("send_to_connection", json!({ "text": "no" })),
            ("close_connection", json!({})),
            ("join_connection", json!({ "room": "r" })),
            ("leave_connection", json!({ "room": "r" })),
            ("session", json!({})),
        ] {
            let mut with = with;
            with["connection"] = stranger.clone().into();
            let error = caller.refused(what, with);
            assert!(error.starts_with("OtherHive"), "{what}: {error}");
        }
        nothing_more(&mut caller, [&mut member]);
    });
}

#[test]
fn what_one_does_not_have_cannot_be_given_up() {
    alone_and_together(program!("routes"), &[], |routes| {
        let mut neighbour = routes.user(0, "u1");
        neighbour.must("join_room_then", json!({ "room": "r1" }));
        let mut member = routes.user(0, "u2");
        member.must("join_room_then", json!({ "room": "r2" }));
        for name in [json!("u1"), json!("nobody"), json!(""), json!(256)] {
            let error = member.refused("unbind_uid", json!({ "uid": name }));
            assert_eq!(error, "NotBound", "{name}");
        }
        for name in [json!("r1"), json!("nowhere"), json!(""), json!(256)] {
            let error = member.refused("leave_room", json!({ "room": name }));
            assert_eq!(error, "NotInRoom", "{name}");
        }
        let mut caller = routes.caller(1);
        for (uid, room) in [("u1", "r1"), ("u2", "r2")] {
            let order = json!({ "uid": uid, "text": "hello" });
            assert_eq!(caller.delivered("send_to_uid", order), 1);
            let order = json!({ "room": room, "text": "hello" });
            assert_eq!(caller.delivered("send_to_room", order), 1);
        }
    });
}

#[test]
fn a_connection_has_as_many_uids_as_its_listener_allows() {
    for max in [1, 3] {
        let max_uids = max.to_string();
        let options = ["--max-uids", &max_uids];
        alone_and_together(program!("routes"), &options, |routes| {
            let mut member = routes.member(0);
            for n in 0..max {
                member.must("bind_uid", json!({ "uid": format!("u{n}") }));
            }
            let expected = format!("TooManyUids {{ limit: {max} }}");
            for what in ["bind_uid", "bind_uid_then", "claim_uid"] {
                assert_eq!(member.refused(what, json!({ "uid": "more" })), expected);
                // One that it has is not one more.
                member.must(what, json!({ "uid": "u0" }));
            }
            member.must("unbind_uid", json!({ "uid": "u0" }));
            member.must("bind_uid_then", json!({ "uid": "more" }));
            let mut caller = routes.caller(1);
            for (uid, expected) in [("more", 1), ("u0", 0)] {
                let order = json!({ "uid": uid, "text": "hello" });
                assert_eq!(caller.delivered("send_to_uid", order), expected, "{uid}");
            }
        });
    }
}

#[test]
fn a_connection_is_in_as_many_rooms_as_its_listener_allows() {
    alone_and_together(program!("routes"), &[], |routes| {
        let mut member = routes.member(0);
        member.must("join_many", json!({ "prefix": "r", "count": 128 }));
        for what in ["join_room", "join_room_then"] {
            assert_eq!(
                member.refused(what, json!({ "room": "more" })),
                "TooManyRooms { limit: 128 }"
            );
            member.must(what, json!({ "room": "r0" }));
        }
        member.must("leave_room", json!({ "room": "r0" }));
        member.must("join_room_then", json!({ "room": "more" }));
        assert_eq!(
            member.refused("join_room", json!({ "room": "r0" })),
            "TooManyRooms { limit: 128 }"
        );
    });
}

#[test]
fn a_close_code_that_applications_may_not_use_is_refused() {
    alone_and_together(program!("routes"), &[], |routes| {
        let mut member = routes.user(0, "u1");
        member.must("join_room_then", json!({ "room": "r1" }));
        let mut caller = routes.caller(1);
        for code in [
            0, 1, 999, 1001, 1002, 1005, 1006, 1011, 1012, 1015, 2999, 5000, 65_535,
        ] {
            for (what, mut with) in [
                ("close_uid", json!({ "uid": "u1" })),
                ("close_room", json!({ "room": "r1" })),
                ("close_connection", json!({ "connection": member.id })),
            ] {
                with["code"] = code.into();
                let expected = format!("CloseCode {{ code: {code} }}");
                assert_eq!(caller.refused(what, with), expected, "{what}");
            }
        }
        // 123 bytes are the longest reason that a close frame can carry.
        let order = json!({ "uid": "u1", "code": 4000, "reason": "r".repeat(124) });
        assert_eq!(caller.refused("close_uid", order), "TooLong");
        nothing_more(&mut caller, [&mut member]);
    });
}

#[test]
fn what_is_too_long_or_too_much_is_refused_whole() {
    alone_and_together(program!("routes"), &[], |routes| {
        let mut member = routes.user(0, "u1");
        let mut caller = routes.caller(1);
        let too_long = (10 << 20) + 1;
        for (what, with) in [
            ("send_to_uid", json!({ "uid": "u1", "text": too_long })),
            ("send_to_all", json!({ "text": too_long })),
            ("publish", json!({ "topic": "t", "text": too_long })),
            ("set_session", json!({ "data": 64 * 1024 + 1 })),
        ] {
            assert_eq!(caller.refused(what, with), "TooLong", "{what}");
        }
        let many: Vec<String> = (0..=16 * 1024).map(|n| format!("u{n}")).collect();
        for what in ["send_to_uids", "are_uids_online"] {
            let with = json!({ "uids": many, "text": "no" });
            assert_eq!(caller.refused(what, with), "TooLong", "{what}");
        }
        // As many, but too long together.
        let long: Vec<u32> = vec![250; 2100];
        let with = json!({ "rooms": long, "text": "no" });
        assert_eq!(caller.refused("send_to_rooms", with), "TooLong");
        let except = vec![member.id.clone(); 1025];
        let with = json!({ "uid": "u1", "text": "no", "except": except });
        assert_eq!(caller.refused("send_to_uid", with), "TooLong");
        nothing_more(&mut caller, [&mut member]);
        // The most that there may be.
        let most = json!({ "uids": &many[..16 * 1024], "text": "yes" });
        assert_eq!(caller.delivered("send_to_uids", most), 1);
        assert_eq!(member.text(), "yes");
        let longest = json!({ "uid": "u1", "text": 10 << 20 });
        assert_eq!(caller.delivered("send_to_uid", longest), 1);
        assert_eq!(member.text().len(), 10 << 20);
    });
}
