//! Uids that come and go, told to every process; and messages between processes by topic.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use workhive_tests::program;
use workhive_tests::routes::{Caller, Orders, Routes, alone_and_together};

/// A caller in every process that is told what happens there.
fn watchers(routes: &Routes) -> Vec<Caller> {
    (0..routes.count())
        .map(|slot| {
            let mut caller = routes.caller(slot);
            caller.watch();
            caller
        })
        .collect()
}

/// What a watcher has been told of uids: the next so many events.
fn told(watcher: &mut Caller, count: usize) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    (0..count)
        .map(|_| {
            let event =
                watcher.wait(|event| event["event"] == "online" || event["event"] == "offline");
            assert_eq!(event["slot"], watcher.slot);
            (text(&event["event"]), text(&event["uid"]))
        })
        .collect()
}

fn event(what: &str, uid: &str) -> (String, String) {
    (what.to_owned(), uid.to_owned())
}

#[test]
fn every_process_is_told_once_of_a_uid_that_comes_and_of_one_that_has_gone_for_good() {
    alone_and_together(program!("routes"), &[], |routes| {
        let mut watchers = watchers(routes);
        let first = routes.user(0, "u1");
        let second = routes.user(1, "u1");
        let third = routes.user(1, "u1");
        let mut marker = routes.user(2, "marker");
        for watcher in &mut watchers {
            // Nothing of the second connection: the marker is next.
            let expected = [event("online", "u1"), event("online", "marker")];
            assert_eq!(told(watcher, 2), expected);
        }
        first.close();
        third.close();
        let last = Instant::now();
        second.close();
        for watcher in &mut watchers {
            assert_eq!(told(watcher, 1), [event("offline", "u1")]);
        }
        let lingered = last.elapsed();
        assert!(lingered >= Duration::from_secs(2), "{lingered:?}");
        // Nobody is told twice, and other ways to lose a uid count as well.
        marker.must("unbind_uid", json!({ "uid": "marker" }));
        for watcher in &mut watchers {
            assert_eq!(told(watcher, 1), [event("offline", "marker")]);
        }
        let _again = routes.user(3, "u1");
        for watcher in &mut watchers {
            assert_eq!(told(watcher, 1), [event("online", "u1")]);
        }
    });
}

#[test]
fn a_uid_that_comes_back_soon_to_whichever_process_has_never_gone() {
    alone_and_together(program!("routes"), &[], |routes| {
        let mut watchers = watchers(routes);
        let same = routes.user(0, "same");
        let other = routes.user(0, "other");
        let mut stays = routes.user(1, "stays");
        let gone = routes.user(2, "gone");
        for watcher in &mut watchers {
            let mut online = told(watcher, 4);
            online.sort();
            let expected = ["gone", "other", "same", "stays"].map(|uid| event("online", uid));
            assert_eq!(online, expected);
        }
        same.close();
        other.close();
        stays.must("unbind_uid", json!({ "uid": "stays" }));
        let _same = routes.user(0, "same");
        let _other = routes.user(3, "other");
        stays.must("bind_uid_then", json!({ "uid": "stays" }));
        // It goes last, so that whatever is told of the others comes before.
        gone.close();
        for watcher in &mut watchers {
            assert_eq!(told(watcher, 1), [event("offline", "gone")]);
        }
        let _marker = routes.user(1, "marker");
        for watcher in &mut watchers {
            assert_eq!(told(watcher, 1), [event("online", "marker")]);
        }
    });
}

#[test]
fn a_uid_that_is_taken_over_has_never_gone() {
    alone_and_together(program!("routes"), &[], |routes| {
        let mut watchers = watchers(routes);
        let mut first = routes.member(0);
        first.must("claim_uid", json!({ "uid": "u1" }));
        for watcher in &mut watchers {
            assert_eq!(told(watcher, 1), [event("online", "u1")]);
        }
        let mut second = routes.member(1);
        second.must("claim_uid", json!({ "uid": "u1" }));
        assert_eq!(first.closed().0, 4001);
        routes.user(2, "gone").close();
        for watcher in &mut watchers {
            let expected = [event("online", "gone"), event("offline", "gone")];
            assert_eq!(told(watcher, 2), expected);
        }
    });
}

#[test]
fn a_message_on_a_topic_reaches_every_process_that_subscribes_once_and_the_sender_too() {
    alone_and_together(program!("routes"), &[], |routes| {
        let mut watchers = watchers(routes);
        for watcher in &mut watchers {
            watcher.must("subscribe", json!({ "topic": "news" }));
            // A second subscription takes the place of the first.
            watcher.must("subscribe", json!({ "topic": "news" }));
        }
        in_force(&mut watchers, "news", routes);
        for slot in 0..routes.count() {
            let mut sender = routes.caller(slot);
            sender.must("publish", json!({ "topic": "news", "text": "größer" }));
            sender.must("publish", json!({ "topic": "other", "text": "to nobody" }));
            sender.must("publish", json!({ "topic": "news", "text": [0, 255] }));
            sender.must("publish", json!({ "topic": "news", "text": 100_000 }));
            for watcher in &mut watchers {
                let long = json!("x".repeat(100_000));
                for (text, is_text) in [
                    (json!("größer"), true),
                    (json!([0, 255]), false),
                    (long, true),
                ] {
                    let expected = json!({
                        "event": "topic", "topic": "news", "text": text, "is_text": is_text,
                        "slot": watcher.slot,
                    });
                    assert_eq!(watcher.event("topic"), expected);
                }
            }
        }
    });
}

/// Waits until what is published on a topic reaches everybody: that a subscription is in force is not told.
fn in_force(watchers: &mut [Caller], topic: &str, routes: &Routes) {
    for watcher in &mut *watchers {
        // Whoever asks has said before what it subscribes to.
        let totals = watcher.ask("totals", json!({}));
        assert_ne!(totals["topics"], 0, "{totals}");
    }
    let mut sender = routes.caller(0);
    sender.must("publish", json!({ "topic": topic, "text": "in force" }));
    for watcher in watchers {
        assert_eq!(watcher.event("topic")["text"], "in force");
    }
}

#[test]
fn who_has_ended_a_subscription_hears_no_more() {
    alone_and_together(program!("routes"), &[], |routes| {
        let mut watchers = watchers(routes);
        for watcher in &mut watchers {
            watcher.must("subscribe", json!({ "topic": "news" }));
            watcher.must("subscribe", json!({ "topic": "end" }));
        }
        in_force(&mut watchers, "news", routes);
        let leaver = &mut watchers[0];
        let was = leaver.ask("unsubscribe", json!({ "topic": "news" }));
        assert_eq!(was, json!({ "was": true }));
        let was = leaver.ask("unsubscribe", json!({ "topic": "news" }));
        assert_eq!(was, json!({ "was": false }));
        let was = leaver.ask("unsubscribe", json!({ "topic": "never was" }));
        assert_eq!(was, json!({ "was": false }));
        let mut sender = routes.caller(1);
        sender.must("publish", json!({ "topic": "news", "text": "news" }));
        sender.must("publish", json!({ "topic": "end", "text": "end" }));
        for (n, watcher) in watchers.iter_mut().enumerate() {
            if n > 0 {
                assert_eq!(watcher.event("topic")["text"], "news");
            }
            assert_eq!(watcher.event("topic")["text"], "end");
        }
    });
}

#[test]
fn what_is_published_arrives_in_the_order_in_which_it_was_sent_and_the_same_everywhere() {
    alone_and_together(program!("routes"), &[], |routes| {
        let mut watchers = watchers(routes);
        for watcher in &mut watchers {
            watcher.must("subscribe", json!({ "topic": "news" }));
        }
        in_force(&mut watchers, "news", routes);
        let mut senders: Vec<_> = (0..4).map(|slot| routes.caller(slot)).collect();
        for n in 0..100 {
            for (s, sender) in senders.iter_mut().enumerate() {
                let text = format!("{s}-{n}");
                sender.order("publish", json!({ "topic": "news", "text": text }));
            }
        }
        let mut first = None;
        for watcher in &mut watchers {
            let heard: Vec<String> = (0..400)
                .map(|_| {
                    watcher.event("topic")["text"]
                        .as_str()
                        .expect("text")
                        .to_owned()
                })
                .collect();
            for s in 0..4 {
                let sent: Vec<_> = (0..100).map(|n| format!("{s}-{n}")).collect();
                let start = format!("{s}-");
                let of_one: Vec<_> = heard
                    .iter()
                    .filter(|text| text.starts_with(&start))
                    .collect();
                assert_eq!(of_one, sent.iter().collect::<Vec<_>>());
            }
            assert_eq!(*first.get_or_insert_with(|| heard.clone()), heard);
        }
    });
}
