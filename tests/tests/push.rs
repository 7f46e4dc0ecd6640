//! The push server: a line reaches the WebSocket clients of its uid, and its sender learns whether it did.

use workhive_tests::text::TextClient;
use workhive_tests::ws::WsClient;
use workhive_tests::{Hive, Port, Setup, eventually, program};

/// A push server, and where it listens.
struct Push {
    hive: Hive,
    ws: Port,
    text: Port,
}

fn setup(ws: &Port, text: &Port, count: &str) -> Setup {
    Setup::new(program!("workhive-under-test"))
        .words(["push"])
        .options(["--ws", &ws.to_string()])
        .options(["--text", &text.to_string()])
        .options(["--count", count])
}

fn push() -> Push {
    let (ws, text) = (Port::reserve(), Port::reserve());
    Push {
        hive: setup(&ws, &text, "1").start(),
        ws,
        text,
    }
}

impl Push {
    fn pusher(&self) -> TextClient {
        TextClient::connect(self.text.addr())
    }

    /// A WebSocket client that is known by `uid`.
    fn client(&self, uid: &str) -> WsClient {
        let mut client = WsClient::connect(self.ws.addr());
        client.send(uid);
        client.ping();
        client
    }
}

#[test]
fn a_line_reaches_its_uid_whole_and_its_sender_gets_ok() {
    let push = push();
    let mut client = push.client("uid1");
    let line = r#"{"uid":"uid1","percent":"88%", "note" : "größer als ½"}"#;
    assert_eq!(push.pusher().ask(line), "ok");
    assert_eq!(client.text(), line);
}

#[test]
fn a_line_for_a_uid_that_nobody_has_gets_fail() {
    let push = push();
    let mut client = push.client("uid1");
    let mut pusher = push.pusher();
    assert_eq!(pusher.ask(r#"{"uid":"uid2","percent":"88%"}"#), "fail");
    // And it reached nobody else: what comes next is the next line.
    assert_eq!(pusher.ask(r#"{"uid":"uid1","next":1}"#), "ok");
    assert_eq!(client.text(), r#"{"uid":"uid1","next":1}"#);
}

#[test]
fn a_line_that_cannot_be_understood_gets_an_error_and_the_connection_stays() {
    let push = push();
    let mut client = push.client("uid1");
    let mut pusher = push.pusher();
    for line in [
        "hello",
        "",
        r#"{"uid":"uid1""#,
        "{}",
        r#"{"name":"uid1"}"#,
        r#"{"uid":null}"#,
        r#"{"uid":""}"#,
        r#"["uid1"]"#,
    ] {
        let answer = pusher.ask(line);
        assert!(answer.starts_with("error: "), "{line:?}: {answer}");
    }
    assert_eq!(pusher.ask(r#"{"uid":"uid1"}"#), "ok");
    assert_eq!(client.text(), r#"{"uid":"uid1"}"#);
}

#[test]
fn every_connection_of_a_uid_gets_the_line() {
    let push = push();
    let mut clients: Vec<_> = (0..5).map(|_| push.client("uid1")).collect();
    let mut other = push.client("uid2");
    let mut pusher = push.pusher();
    assert_eq!(pusher.ask(r#"{"uid":"uid1","n":1}"#), "ok");
    for client in &mut clients {
        assert_eq!(client.text(), r#"{"uid":"uid1","n":1}"#);
    }
    assert_eq!(pusher.ask(r#"{"uid":"uid2","n":2}"#), "ok");
    assert_eq!(other.text(), r#"{"uid":"uid2","n":2}"#);
}

#[test]
fn a_uid_is_gone_with_its_last_connection() {
    let push = push();
    let (first, mut second) = (push.client("uid1"), push.client("uid1"));
    let mut pusher = push.pusher();
    first.close();
    assert_eq!(pusher.ask(r#"{"uid":"uid1","n":1}"#), "ok");
    assert_eq!(second.text(), r#"{"uid":"uid1","n":1}"#);
    second.close();
    assert_eq!(pusher.ask(r#"{"uid":"uid1","n":2}"#), "fail");
}

#[test]
fn a_client_that_vanishes_without_a_goodbye_takes_its_uid_along() {
    let push = push();
    let client = push.client("uid1");
    let mut pusher = push.pusher();
    drop(client);
    eventually("fail for a client that is gone", || {
        (pusher.ask(r#"{"uid":"uid1"}"#) == "fail").then_some(())
    });
}

#[test]
fn only_the_first_message_of_a_client_is_its_uid() {
    let push = push();
    let mut client = push.client("uid1");
    client.send("uid2");
    client.ping();
    let mut pusher = push.pusher();
    assert_eq!(pusher.ask(r#"{"uid":"uid2"}"#), "fail");
    assert_eq!(pusher.ask(r#"{"uid":"uid1"}"#), "ok");
    assert_eq!(client.text(), r#"{"uid":"uid1"}"#);
}

#[test]
fn a_client_whose_first_message_is_no_uid_is_told_so() {
    let push = push();
    for bad in [String::new(), "u".repeat(256)] {
        let mut client = WsClient::connect(push.ws.addr());
        client.send(&bad);
        assert_eq!(client.close_code(), 1008);
    }
    let longest = "u".repeat(255);
    let mut client = push.client(&longest);
    let line = format!(r#"{{"uid":"{longest}"}}"#);
    assert_eq!(push.pusher().ask(&line), "ok");
    assert_eq!(client.text(), line);
}

#[test]
fn a_pusher_that_closes_its_side_right_after_the_line_still_gets_its_answer() {
    let push = push();
    let mut client = push.client("uid1");
    for n in 0..20 {
        let line = format!(r#"{{"uid":"uid1","n":{n}}}"#);
        let mut pusher = push.pusher();
        pusher.send(&line);
        pusher.half_close();
        assert_eq!(pusher.rest().expect("an end, not a reset"), b"ok\n");
        assert_eq!(client.text(), line);
    }
}

#[test]
fn many_lines_in_one_write_are_answered_and_delivered_in_order() {
    let push = push();
    let mut client = push.client("uid1");
    let mut pusher = push.pusher();
    let lines: Vec<String> = (0..500)
        .map(|n| {
            let uid = if n % 2 == 0 { "uid1" } else { "nobody" };
            format!(r#"{{"uid":"{uid}","n":{n}}}"#)
        })
        .collect();
    pusher.write((lines.join("\r\n") + "\n").as_bytes());
    for n in 0..500 {
        assert_eq!(
            pusher.line(),
            if n % 2 == 0 { "ok" } else { "fail" },
            "line {n}"
        );
    }
    for line in lines.iter().step_by(2) {
        assert_eq!(client.text(), *line);
    }
}

#[test]
fn more_than_one_process_is_refused_in_one_clear_line() {
    let (ws, text) = (Port::reserve(), Port::reserve());
    let ended = setup(&ws, &text, "2").verb::<&str>("start", &[]);
    assert!(ended.code.is_some_and(|code| code != 0), "{ended:?}");
    assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
    assert!(ended.stderr.contains("--count 1"), "{ended:?}");
    let daemon = setup(&ws, &text, "2").verb("start", &["-d"]);
    assert_eq!(daemon.code, ended.code, "{daemon:?}");
}

#[test]
fn a_hive_with_reuse_port_pushes_as_well() {
    let (ws, text) = (Port::reserve(), Port::reserve());
    let hive = setup(&ws, &text, "1").options(["--reuse-port"]).start();
    let push = Push { hive, ws, text };
    let mut client = push.client("uid1");
    assert_eq!(push.pusher().ask(r#"{"uid":"uid1"}"#), "ok");
    assert_eq!(client.text(), r#"{"uid":"uid1"}"#);
    assert_eq!(push.hive.workers().len(), 1);
}
