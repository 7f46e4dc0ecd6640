//! Programs push by HTTP, at any process, to clients of any other.

use serde_json::json;
use workhive_tests::http::HttpClient;
use workhive_tests::push::{Push, PushSetup};
use workhive_tests::{eventually, program};

fn setup(count: usize) -> PushSetup {
    PushSetup::new(program!("workhive-under-test"), count)
}

fn push() -> Push {
    setup(3).start()
}

#[test]
fn a_push_reaches_its_uid_whichever_process_is_asked() {
    for count in [1, 3] {
        let push = setup(count).start();
        let uids = ["u1", "u2", "u3"];
        let mut clients = push.spread(&uids[..count]);
        for (uid, client) in uids.iter().zip(&mut clients) {
            for n in 0..10 {
                let answer = push.post("/push", &json!({"uid": uid, "data": format!("{uid} {n}")}));
                assert_eq!(answer.status, 200);
                assert_eq!(answer.header("content-type"), Some("application/json"));
                assert_eq!(answer.json()["delivered"], 1);
                assert_eq!(client.text(), format!("{uid} {n}"));
            }
        }
        let answer = push.post("/push", &json!({"uid": "nobody", "data": "x"}));
        let offline = json!({"delivered": 0, "refused": 0, "unknown": false, "unrouted": false});
        assert_eq!((answer.status, answer.json()), (200, offline));
    }
}

#[test]
fn a_string_arrives_as_it_is_and_the_rest_as_its_json() {
    let push = push();
    let mut client = push.client("u1");
    for (data, arrives) in [
        (r#""88% \"größer\"""#, r#"88% "größer""#),
        (r#"{"b" : 1.0, "a":[1e2]}"#, r#"{"b" : 1.0, "a":[1e2]}"#),
        ("17", "17"),
        ("null", "null"),
    ] {
        let body = format!(r#"{{"uid":"u1","data":{data}}}"#);
        assert_eq!(push.api().post("/push", body.as_bytes()).status, 200);
        assert_eq!(client.text(), arrives);
    }
}

#[test]
fn rooms_lists_and_all_reach_whom_they_name_and_nobody_twice() {
    let push = push();
    let mut clients = push.spread(&["u1", "u2", "u3"]);
    for uid in ["u1", "u2"] {
        let joined = push.post("/rooms/caf%C3%A9/join", &json!({"uid": uid}));
        assert_eq!(joined.json()["delivered"], 1, "{joined:?}");
    }
    let mut delivered = |what: serde_json::Value, to: &[usize]| {
        let data = what.to_string();
        let mut order = what;
        order["data"] = json!(data);
        let answer = push.post("/push", &order).json();
        assert_eq!(answer["delivered"], to.len(), "{order} {answer}");
        for index in to {
            assert_eq!(clients[*index].text(), data);
        }
    };
    delivered(json!({"room": "café"}), &[0, 1]);
    delivered(json!({"rooms": ["café", "empty"]}), &[0, 1]);
    delivered(json!({"uids": ["u1", "u3", "nobody"]}), &[0, 2]);
    delivered(json!({"uids": [1]}), &[]);
    delivered(json!({"all": true}), &[0, 1, 2]);
    let ids = push.connections("u1");
    delivered(json!({"all": true, "except": ids}), &[1, 2]);
    delivered(json!({"room": "café", "except": ids[0]}), &[1]);
    let left = push.post("/rooms/caf%C3%A9/leave", &json!({"uid": "u1"}));
    assert_eq!(left.json()["delivered"], 1);
    delivered(json!({"room": "café"}), &[1]);
}

#[test]
fn a_batch_is_answered_in_its_order() {
    let push = push();
    let mut clients = push.spread(&["u1", "u2"]);
    let pushes: Vec<_> = (0..300)
        .map(|n| json!({"uid": (["u1", "u2", "nobody"][n % 3]), "data": n}))
        .collect();
    let answer = push.post("/batch", &json!(pushes));
    assert_eq!(answer.status, 200, "{answer:?}");
    let outcomes = answer.json();
    let outcomes = outcomes.as_array().expect("a list");
    assert_eq!(outcomes.len(), 300);
    for (n, outcome) in outcomes.iter().enumerate() {
        let expected = u64::from(n % 3 != 2);
        assert_eq!(outcome["delivered"], expected, "{n}: {outcome}");
    }
    for n in 0..100 {
        assert_eq!(clients[0].text(), (3 * n).to_string());
        assert_eq!(clients[1].text(), (3 * n + 1).to_string());
    }
    assert_eq!(push.post("/batch", &json!([])).json(), json!([]));
}

#[test]
fn a_batch_with_a_mistake_is_not_done_at_all() {
    let push = push();
    let mut client = push.client("u1");
    let bad = json!([{"uid": "u1", "data": 1}, {"uid": "u1"}]);
    let answer = push.post("/batch", &bad);
    assert_eq!(answer.status, 400);
    assert_eq!(answer.json()["error"], "push 1: data is missing");
    let long = vec![json!({"uid": "u1", "data": 1}); 1001];
    let answer = push.post("/batch", &json!(long));
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("at most 1000"), "{answer:?}");
    push.post("/push", &json!({"uid": "u1", "data": "the first"}));
    assert_eq!(client.text(), "the first");
}

#[test]
fn who_is_online_is_known_everywhere() {
    let push = push();
    let clients = push.spread(&["u1", "u2"]);
    for _ in 0..6 {
        let answer = push.api().get("/online?uid=u1&uid=nobody&uid=u2");
        assert_eq!(answer.status, 200);
        let online = json!({"online": {"u1": true, "nobody": false, "u2": true}});
        assert_eq!(answer.json(), online);
    }
    drop(clients);
    eventually("they are offline", || {
        let answer = push.api().get("/online?uid=u1&uid=u2").json();
        (answer == json!({"online": {"u1": false, "u2": false}})).then_some(())
    });
}

#[test]
fn connections_can_be_closed_by_uid_and_one_by_one() {
    let push = push();
    let mut first = push.client("u1");
    let ids = push.connections("u1");
    let mut second = push.client("u1");
    let answer = push.post(
        "/close",
        &json!({"id": ids[0], "code": 4100, "reason": "banned"}),
    );
    assert_eq!(answer.json()["delivered"], 1, "{answer:?}");
    assert_eq!(first.goodbye(), (4100, "banned".to_owned()));
    let answer = push.post("/close", &json!({"uid": "u1"}));
    assert_eq!(answer.json()["delivered"], 1, "{answer:?}");
    assert_eq!(second.goodbye(), (1000, String::new()));
    // An id never comes back.
    let answer = push.post("/close", &json!({"id": ids[0]}));
    assert_eq!(answer.json()["delivered"], 0, "{answer:?}");
}

#[test]
fn what_makes_no_sense_is_answered_with_what_it_was() {
    let push = push();
    let mut api = push.api();
    let mut ask = |method: &str, path: &str, body: &str, status: u16, why: &str| {
        let answer = api.ask(method, path, "", body);
        assert_eq!(answer.status, status, "{method} {path} {body}: {answer:?}");
        let error = answer.json()["error"].to_string();
        assert!(error.contains(why), "{method} {path} {body}: {error}");
        answer
    };
    ask("POST", "/push", "hello", 400, "not a JSON object");
    ask("POST", "/push", "{", 400, "EOF");
    ask("POST", "/push", "", 400, "not a JSON object");
    ask("POST", "/push", r#"{"uid":"u1"}"#, 400, "data is missing");
    ask("POST", "/push", r#"{"data":1}"#, 400, "exactly one of uid");
    ask(
        "POST",
        "/push",
        r#"{"uid":"","data":1}"#,
        400,
        "1 to 255 bytes",
    );
    ask(
        "POST",
        "/push",
        r#"{"uid":"u1","data":1,"dta":2}"#,
        400,
        "unknown field `dta`",
    );
    ask(
        "POST",
        "/push",
        r#"{"uid":12345678901234567890123,"data":1}"#,
        400,
        "write this one as a string",
    );
    let other = r#"{"uid":"u1","data":1,"except":"00000001-0-8-1"}"#;
    ask(
        "POST",
        "/push",
        r#"{"uid":"u1","data":1,"except":"x"}"#,
        400,
        "no id",
    );
    assert_eq!(push.api().post("/push", other.as_bytes()).status, 200);
    ask("POST", "/batch", "{}", 400, "not a list");
    ask("POST", "/close", "{}", 400, "one of uid and id");
    ask(
        "POST",
        "/close",
        r#"{"id":"00000001-0-8-1"}"#,
        400,
        "no connection of this hive",
    );
    ask(
        "POST",
        "/close",
        r#"{"uid":"u1","code":1001}"#,
        400,
        "1000 or 3000 to 4999",
    );
    ask(
        "POST",
        "/rooms/lobby/join",
        "{}",
        400,
        "missing field `uid`",
    );
    ask(
        "POST",
        "/rooms//join",
        r#"{"uid":"u1"}"#,
        400,
        "1 to 255 bytes",
    );
    ask("GET", "/online", "", 400, "no uid");
    ask("GET", "/online?user=u1", "", 400, "unknown user");
    ask("GET", "/connections?uid=a&uid=b", "", 400, "more than one");
    ask("GET", "/", "", 404, "nothing at /");
    ask("POST", "/rooms/lobby", "", 404, "nothing at /rooms/lobby");
    let answer = ask("GET", "/push", "", 405, "POST");
    assert_eq!(answer.header("allow"), Some("POST"));
    let answer = ask("DELETE", "/online?uid=u1", "", 405, "GET");
    assert_eq!(answer.header("allow"), Some("GET"));
    // After all that the connection is as good as new.
    assert_eq!(api.get("/online?uid=u1").status, 200);
}

#[test]
fn what_is_too_long_is_answered_413() {
    let push = setup(1).start();
    let long = json!({"uid": "u1", "data": "x".repeat((10 << 20) + 1)});
    let answer = push.post("/push", &long);
    assert_eq!(answer.status, 413);
    assert!(answer.json()["error"].is_string());
    let many: Vec<usize> = (0..20_000).collect();
    let answer = push.post("/push", &json!({"uids": many, "data": "x"}));
    assert_eq!(answer.status, 413, "{answer:?}");
    // What is longer than anything can be is not even read.
    let mut api = push.api();
    api.send("POST /push HTTP/1.1\r\nHost: test\r\nContent-Length: 100000000\r\n\r\n")
        .expect("a peer that takes bytes");
    assert_eq!(api.response().status, 413);
}

#[test]
fn pages_are_not_served_without_a_token() {
    let push = setup(1).start();
    let post = r#"{"uid":"u1","data":1}"#;
    let status = |host: &str, fields: &str| {
        let mut api = push.api();
        let length = post.len();
        let head = format!(
            "POST /push HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n{fields}\r\n"
        );
        api.send(head + post).expect("a peer that takes bytes");
        api.response().status
    };
    for host in [
        "127.0.0.1",
        "127.0.0.1:80",
        "localhost:80",
        "[::1]:80",
        "[::1]",
        "LocalHost",
    ] {
        assert_eq!(status(host, ""), 200, "{host}");
        assert_eq!(
            status(host, "Origin: https://example.com\r\n"),
            403,
            "{host}"
        );
    }
    // A name of somebody's that leads here.
    for host in [
        "example.com",
        "example.com:80",
        "localhost.example.com",
        "1.example.com",
    ] {
        assert_eq!(status(host, ""), 403, "{host}");
    }
    assert_eq!(
        push.api()
            .ask("POST", "/push", "Origin: null\r\n", post)
            .status,
        403
    );
}

#[test]
fn with_a_token_nobody_is_served_who_does_not_show_it() {
    let setup = setup(2);
    let token = "a-token-of-sufficient-length";
    let file = setup.secret_file("token", &format!("{token}\n"));
    let push = setup.options(&["--token-file", &file]).start();
    let mut api = push.api();
    let mut status = |fields: &str| {
        let answer = api.ask("POST", "/push", fields, r#"{"uid":"u1","data":1}"#);
        if answer.status == 401 {
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
            assert!(answer.json()["error"].is_string());
        }
        answer.status
    };
    assert_eq!(status(""), 401);
    assert_eq!(status("Authorization: Bearer wrong\r\n"), 401);
    assert_eq!(status(&format!("Authorization: Basic {token}\r\n")), 401);
    assert_eq!(status(&format!("Authorization: Bearer {token}x\r\n")), 401);
    let shown = format!("Authorization: Bearer {token}\r\n");
    assert_eq!(status(&shown), 200);
    // Then it is nobody's affair where it was made.
    assert_eq!(
        status(&format!("{shown}Origin: https://example.com\r\n")),
        200
    );
    // Not even what there is.
    assert_eq!(push.api().get("/nowhere").status, 401);
    let log = push.hive.log().join("\n");
    assert!(!log.contains(token), "{log}");
}

#[test]
fn a_port_that_others_reach_is_not_opened_without_a_token() {
    let port = workhive_tests::Port::reserve();
    let far = format!("0.0.0.0:{}", port.number());
    let setup = workhive_tests::Setup::new(program!("workhive-under-test")).words(["push"]);
    let refused = setup.verb("start", &["--http", &far]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.stderr.contains("--token-file"), "{refused:?}");

    let near = push();
    let line = "without --token-file every program of this machine can push";
    near.hive.wait_for_line(line);
}

#[test]
fn a_token_that_everybody_can_read_is_warned_of() {
    use std::os::unix::fs::PermissionsExt;
    let setup = setup(2);
    let file = setup.secret_file("token", "0123456789abcdef");
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).expect("a file");
    let push = setup.options(&["--token-file", &file]).start();
    let line = push
        .hive
        .wait_for_line("every user of this machine can read");
    assert!(line.contains(" WARN ") && line.contains(&file), "{line}");
}

#[test]
fn programs_are_no_clients() {
    let push = push();
    let mut idle = HttpClient::connect(push.http.addr());
    assert_eq!(idle.get("/online?uid=u1").status, 200);
    let mut pusher = push.pusher();
    let mut client = push.client("u1");
    let answer = push.post("/push", &json!({"all": true, "data": "everybody"}));
    assert_eq!(answer.json()["delivered"], 1);
    assert_eq!(client.text(), "everybody");
    assert_eq!(pusher.ask(r#"{"uid":"u1","n":1}"#), "ok");
}
