//! A connection whose uid another one takes over.

use serde_json::json;
use workhive_tests::program;
use workhive_tests::routes::{Orders, alone_and_together};

#[test]
fn on_close_of_a_connection_that_was_replaced_still_knows_which_uid_it_had() {
    alone_and_together(program!("routes"), &["--max-uids", "2"], |routes| {
        let mut watcher = routes.caller(0);
        watcher.watch();
        let mut member = routes.user(0, "u2");
        member.must("claim_uid", json!({ "uid": "u1" }));
        let id = member.id.clone();
        let mut next = routes.member(2);
        next.must("claim_uid", json!({ "uid": "u1" }));
        assert_eq!(member.closed().0, 4001);
        let event = watcher.wait(|event| event["event"] == "closed" && event["connection"] == id);
        assert_eq!(event["uids"], json!(["u1", "u2"]));
    });
}
