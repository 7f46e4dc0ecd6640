//! Limits of a listener hold wherever an order comes from.

use serde_json::json;
use workhive_tests::program;
use workhive_tests::routes::{Orders, alone_and_together};

#[test]
fn from_elsewhere_too_a_connection_is_in_no_more_rooms_than_its_listener_allows() {
    alone_and_together(program!("routes"), &["--max-rooms", "2"], |routes| {
        let mut member = routes.user(0, "u1");
        member.must("join_many", json!({ "prefix": "r", "count": 2 }));
        let mut caller = routes.caller(1);
        for (what, with) in [
            ("join_uid", json!({ "uid": "u1", "room": "more" })),
            (
                "join_connection",
                json!({ "connection": member.id, "room": "more" }),
            ),
        ] {
            let outcome = caller.outcome(what, with);
            assert_eq!(
                (&outcome["delivered"], &outcome["refused"]),
                (&json!(0), &json!(1)),
                "{what}"
            );
        }
        assert_eq!(member.ask("me", json!({}))["rooms"], json!(["r0", "r1"]));
    });
}
