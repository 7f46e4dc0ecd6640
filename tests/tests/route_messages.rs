//! Messages to whomever, from any process to any other, and what their senders learn about them.

use serde_json::{Value, json};
use tungstenite::Message;
use workhive_tests::program;
use workhive_tests::routes::{Caller, Member, Orders, alone_and_together, nothing_more};
use workhive_tests::text::TextClient;

#[test]
fn a_uid_is_reached_from_every_process_in_all_its_connections_and_nobody_else_is() {
    alone_and_together(program!("routes"), &[], |routes| {
        let mut first = routes.user(0, "u1");
        let mut second = routes.user(1, "u1");
        let mut other = routes.user(1, "u2");
        for slot in 0..routes.count() {
            let mut caller = routes.caller(slot);
            let text = format!("from {slot}");
            let order = json!({ "uid": "u1", "text": text });
            assert_eq!(caller.delivered("send_to_uid", order), 2);
            assert_eq!((first.text(), second.text()), (text.clone(), text));
        }
        let mut caller = routes.caller(2);
        let order = json!({ "uid": "nobody", "text": "hello" });
        assert_eq!(caller.delivered("send_to_uid", order), 0);
        nothing_more(&mut caller, [&mut first, &mut second, &mut other]);
    });
}

#[test]
fn a_message_without_an_outcome_arrives_just_as_well() {
    alone_and_together(program!("routes"), &[], |routes| {
        let mut member = routes.user(0, "u1");
        let mut caller = routes.caller(1);
        caller.must("send_to_uid", json!({ "uid": "u1", "text": "hello" }));
        assert_eq!(member.text(), "hello");
    });
}

#[test]
fn text_arrives_as_text_and_bytes_as_bytes_whatever_they_are() {
    alone_and_together(program!("routes"), &[], |routes| {
        let mut member = routes.user(0, "u1");
        let mut caller = routes.caller(1);
        for (text, expected) in [
            (
                json!("größer als ½ \u{0}"),
                Message::text("größer als ½ \u{0}"),
            ),
            (json!(""), Message::text("")),
            (
                json!([0, 255, 128, 10]),
                Message::binary(vec![0, 255, 128, 10]),
            ),
            // Bytes that would do as text are bytes all the same.
            (json!([104, 105]), Message::binary(b"hi".to_vec())),
        ] {
            let order = json!({ "uid": "u1", "text": text });
            assert_eq!(caller.delivered("send_to_uid", order), 1);
            assert_eq!(member.pushed(), expected);
        }
        // Around the lengths where WebSocket and the stream between processes change their form.
        for len in [125, 126, 65_535, 65_536, 1 << 20] {
            let order = json!({ "uid": "u1", "text": len });
            assert_eq!(caller.delivered("send_to_uid", order), 1);
            assert_eq!(member.text(), "x".repeat(len));
        }
    });
}

#[test]
fn names_are_bytes_of_any_kind() {
    alone_and_together(program!("routes"), &[], |routes| {
        let names = [
            json!("a.b"),
            json!("*"),
            json!(">"),
            json!(" "),
            json!("\u{0}"),
            json!([0]),
            json!([0, 0]),
            json!([255, 254]),
            json!(255),
            json!(254),
        ];
        let mut members: Vec<Member> = (0..names.len()).map(|n| routes.member(n)).collect();
        for (member, name) in members.iter_mut().zip(&names) {
            member.must("bind_uid_then", json!({ "uid": name }));
            member.must("join_room_then", json!({ "room": name }));
        }
        let mut caller = routes.caller(3);
        for (n, name) in names.iter().enumerate() {
            // "\0" and [0] are the same name.
            let expected = if *name == json!("\u{0}") || *name == json!([0]) {
                2
            } else {
                1
            };
            for (what, key) in [("send_to_uid", "uid"), ("send_to_room", "room")] {
                let mut order = json!({ "text": format!("{what} {n}") });
                order[key] = name.clone();
                assert_eq!(caller.delivered(what, order), expected, "{name}");
                assert_eq!(members[n].text(), format!("{what} {n}"));
                if expected == 2 {
                    let other = if n == 4 { 5 } else { 4 };
                    assert_eq!(members[other].text(), format!("{what} {n}"));
                }
            }
        }
        nothing_more(&mut caller, &mut members);
    });
}

#[test]
fn a_message_to_several_uids_is_one_message_to_each_connection() {
    alone_and_together(program!("routes"), &["--max-uids", "2"], |routes| {
        let mut one = routes.user(0, "u1");
        let mut both = routes.user(1, "u1");
        both.must("bind_uid_then", json!({ "uid": "u2" }));
        let mut two = routes.user(2, "u2");
        let mut three = routes.user(2, "u3");
        let mut caller = routes.caller(3);
        let uids = json!(["u1", "u2", "nobody", "u1"]);
        let order = json!({ "uids": uids, "text": "hello" });
        assert_eq!(caller.delivered("send_to_uids", order), 3);
        for member in [&mut one, &mut both, &mut two] {
            assert_eq!(member.text(), "hello");
        }
        nothing_more(&mut caller, [&mut one, &mut both, &mut two, &mut three]);
        let order = json!({ "uids": [], "text": "to nobody" });
        assert_eq!(caller.delivered("send_to_uids", order), 0);
    });
}

#[test]
fn a_member_of_two_rooms_gets_one_copy_of_a_message_to_both() {
    alone_and_together(program!("routes"), &[], |routes| {
        let mut one = routes.guest(0, &["a"]);
        let mut both = routes.guest(1, &["a", "b"]);
        let mut two = routes.guest(2, &["b"]);
        let mut none = routes.guest(0, &["c"]);
        let mut caller = routes.caller(3);
        let order = json!({ "rooms": ["a", "b"], "text": "to both" });
        assert_eq!(caller.delivered("send_to_rooms", order), 3);
        let order = json!({ "room": "a", "text": "to a" });
        assert_eq!(caller.delivered("send_to_room", order), 2);
        assert_eq!((one.text(), one.text()), ("to both".into(), "to a".into()));
        assert_eq!(
            (both.text(), both.text()),
            ("to both".into(), "to a".into())
        );
        assert_eq!(two.text(), "to both");
        nothing_more(&mut caller, [&mut one, &mut both, &mut two, &mut none]);
        let order = json!({ "room": "empty", "text": "to nobody" });
        assert_eq!(caller.delivered("send_to_room", order), 0);
    });
}

#[test]
fn the_connection_that_speaks_can_be_left_out_and_so_can_others_in_other_processes() {
    alone_and_together(program!("routes"), &[], |routes| {
        let mut speaker = routes.guest(0, &["a"]);
        speaker.must("bind_uid_then", json!({ "uid": "u1" }));
        let mut neighbour = routes.guest(0, &["a"]);
        neighbour.must("bind_uid_then", json!({ "uid": "u1" }));
        let mut far = routes.guest(1, &["a"]);
        far.must("bind_uid_then", json!({ "uid": "u1" }));
        let mut farther = routes.guest(2, &["a"]);
        farther.must("bind_uid_then", json!({ "uid": "u1" }));
        let orders: [(&str, Value); 5] = [
            ("send_to_room", json!({ "room": "a" })),
            ("send_to_rooms", json!({ "rooms": ["a", "b"] })),
            ("send_to_uid", json!({ "uid": "u1" })),
            ("send_to_uids", json!({ "uids": ["u1", "u2"] })),
            ("send_to_all", json!({})),
        ];
        for (what, mut order) in orders {
            order["text"] = what.into();
            order["except"] = json!([speaker.id]);
            assert_eq!(speaker.delivered(what, order.clone()), 3, "{what}");
            for member in [&mut neighbour, &mut far, &mut farther] {
                assert_eq!(member.text(), what);
            }
            // Ids of connections that are not among the targets, or never were, do no harm.
            order["except"] = json!([speaker.id, far.id, "00000000-9-9-9"]);
            assert_eq!(speaker.delivered(what, order.clone()), 2, "{what}");
            for member in [&mut neighbour, &mut farther] {
                assert_eq!(member.text(), what);
            }
        }
        let order = json!({ "connection": far.id, "text": "no", "except": [far.id] });
        assert_eq!(speaker.delivered("send_to_connection", order), 0);
        nothing_more(
            &mut routes.caller(3),
            [&mut speaker, &mut neighbour, &mut far, &mut farther],
        );
    });
}

#[test]
fn one_connection_is_reached_by_its_id_until_it_ends_and_never_again() {
    alone_and_together(program!("routes"), &[], |routes| {
        let mut member = routes.member(0);
        let mut neighbour = routes.member(0);
        let mut caller = routes.caller(1);
        let order = json!({ "connection": member.id, "text": "hello" });
        assert_eq!(caller.delivered("send_to_connection", order.clone()), 1);
        assert_eq!(member.text(), "hello");
        member.close();
        // Whoever comes next in the same process is somebody else.
        let mut next = routes.member(0);
        assert_eq!(caller.delivered("send_to_connection", order), 0);
        nothing_more(&mut caller, [&mut neighbour, &mut next]);
    });
}

#[test]
fn all_are_reached_that_want_to_be() {
    alone_and_together(program!("routes"), &[], |routes| {
        // Members are from the beginning; those who only call, once they have a uid, a room or session data.
        let mut members: Vec<Member> = (0..6).map(|n| routes.member(n)).collect();
        let mut caller = routes.caller(1);
        let order = json!({ "text": "hello" });
        assert_eq!(caller.delivered("send_to_all", order.clone()), 6);
        let mut listening: Vec<Caller> = (0..3).map(|n| routes.caller(n)).collect();
        listening[0].must("bind_uid_then", json!({ "uid": "u1" }));
        listening[1].must("join_room_then", json!({ "room": "r1" }));
        listening[2].must("set_session", json!({ "data": "d" }));
        // The last of these waits for nothing, but says it in the same process before it asks.
        let everybody = |asker: &mut Caller| asker.outcome("send_to_all", order.clone());
        let number = listening[2].order("send_to_all", json!({ "text": "again", "outcome": true }));
        let mut lines: Vec<_> = listening.into_iter().map(Caller::into_text).collect();
        for line in &mut lines[..2] {
            assert_eq!(line.line(), "again");
        }
        let last = [lines[2].line(), lines[2].line()];
        assert!(last.contains(&"again".to_owned()), "{last:?}");
        let answer = last.iter().find(|line| line.starts_with('{'));
        let answer: Value = serde_json::from_str(answer.expect("an answer")).expect("JSON");
        assert_eq!(
            (&answer["re"], &answer["delivered"]),
            (&json!(number), &json!(9))
        );
        for member in &mut members {
            assert_eq!(
                (member.text(), member.text()),
                ("hello".into(), "again".into())
            );
        }
        drop(lines);
        members.truncate(3);
        // Those who have left are not counted, as soon as that is known.
        workhive_tests::eventually("three members are left", || {
            (everybody(&mut caller)["delivered"] == 3).then_some(())
        });
    });
}

#[test]
fn what_one_process_sends_arrives_in_the_order_in_which_it_was_sent_whatever_the_target() {
    alone_and_together(program!("routes"), &[], |routes| {
        let mut member = routes.guest(0, &["a", "b"]);
        member.must("bind_uid_then", json!({ "uid": "u1" }));
        let mut caller = routes.caller(1);
        let kinds = [
            ("send_to_uid", json!({ "uid": "u1" })),
            ("send_to_room", json!({ "room": "a" })),
            ("send_to_rooms", json!({ "rooms": ["a", "b"] })),
            ("send_to_uids", json!({ "uids": ["u1", "u2"] })),
            ("send_to_all", json!({})),
            ("send_to_connection", json!({ "connection": member.id })),
        ];
        let orders: Vec<Value> = (0..600)
            .map(|n| {
                let (what, mut order) = kinds[n * 7 % kinds.len()].clone();
                order["do"] = what.into();
                order["text"] = n.to_string().into();
                order
            })
            .collect();
        for orders in orders.chunks(37) {
            caller.say(&json!({ "batch": orders }).to_string());
        }
        for n in 0..600 {
            assert_eq!(member.text(), n.to_string());
        }
    });
}

#[test]
fn a_member_that_does_not_read_refuses_and_others_get_theirs() {
    alone_and_together(program!("routes"), &[], |routes| {
        let mut slow = routes.user(0, "u1");
        let mut quick = routes.user(0, "u1");
        let mut caller = routes.caller(1);
        // More than the kernel's buffers and the connection's take together.
        let order = json!({ "uid": "u1", "text": 700_000 });
        let refused = (0..64).find(|_| {
            let outcome = caller.outcome("send_to_uid", order.clone());
            assert_eq!(quick.text().len(), 700_000);
            assert_eq!(outcome["unknown"], false, "{outcome}");
            if outcome["refused"] == 1 {
                assert_eq!(outcome["delivered"], 1, "{outcome}");
                return true;
            }
            assert_eq!(outcome["delivered"], 2, "{outcome}");
            false
        });
        let refused = refused.expect("it cannot take 45 MB without being read");
        // All that it has taken is there for it, and nothing of what it has refused.
        for _ in 0..refused {
            assert_eq!(slow.text().len(), 700_000);
        }
        nothing_more(&mut caller, [&mut slow]);
    });
}

#[test]
fn who_has_not_finished_the_handshake_gets_nothing_and_spoils_nothing_for_others() {
    alone_and_together(program!("routes"), &[], |routes| {
        const HEAD: &[u8] = b"GET / HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\n\
            Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
            Sec-WebSocket-Version: 13\r\n\r\n";
        let (first, second) = HEAD.split_at(40);
        // Before the others, and so many that there are some in every process.
        let mut slow: Vec<_> = (0..40)
            .map(|_| {
                let mut client = TextClient::connect(routes.ws.addr());
                client.write(first);
                client
            })
            .collect();
        let mut members: Vec<_> = (0..4).map(|slot| routes.member(slot)).collect();
        let mut caller = routes.caller(1);
        for n in 0..3 {
            let order = json!({ "text": format!("early {n}") });
            assert_eq!(caller.delivered("send_to_all", order), 4);
        }
        for member in &mut members {
            for n in 0..3 {
                assert_eq!(member.text(), format!("early {n}"));
            }
        }
        for client in &mut slow {
            client.write(second);
            while client.line() != "" {}
        }
        let order = json!({ "text": "late" });
        assert_eq!(caller.delivered("send_to_all", order), 44);
        for client in &mut slow {
            assert_eq!(client.bytes(6), b"\x81\x04late");
        }
        for member in &mut members {
            assert_eq!(member.text(), "late");
        }
        nothing_more(&mut caller, &mut members);
    });
}
