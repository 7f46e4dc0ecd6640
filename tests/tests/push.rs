//! The push server: a line reaches the WebSocket clients of its uid, and its sender learns whether it did.

use nix::sys::signal::Signal;
use workhive_tests::push::PushSetup;
use workhive_tests::text::TextClient;
use workhive_tests::ws::WsClient;
use workhive_tests::{Hive, Port, Setup, eventually, proc, program};

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
        r#"{"uid":"uid1""#,
        "{}",
        r#"{"name":"uid1"}"#,
        r#"{"uid":null}"#,
        r#"{"uid":""}"#,
        r#"{"uid":12345678901234567890123}"#,
        " {",
    ] {
        let answer = pusher.ask(line);
        assert!(answer.starts_with("error: "), "{line:?}: {answer}");
    }
    assert_eq!(pusher.ask(r#"{"uid":"uid1"}"#), "ok");
    assert_eq!(client.text(), r#"{"uid":"uid1"}"#);
}

#[test]
fn nothing_behind_a_line_of_another_kind_is_pushed() {
    let push = push();
    let mut client = push.client("uid1");
    for stranger in [
        "hello",
        r#"["uid1"]"#,
        "\x16\x03\x01\x02\0\x01\0\x01\u{7c}",
        "EHLO example.com",
    ] {
        let mut pusher = push.pusher();
        pusher.send(r#"{"uid":"uid1","n":1}"#);
        let behind = r#"{"uid":"uid1","smuggled":1}"#;
        pusher.write(format!("{stranger}\n{behind}\n{behind}\n").as_bytes());
        assert_eq!(pusher.line(), "ok");
        let rest = String::from_utf8(pusher.until_gone()).expect("text");
        let why = "error: the line makes no sense: it is not a JSON object\n";
        assert_eq!(rest, why, "{stranger:?}");
        assert_eq!(push.pusher().ask(r#"{"uid":"uid1","n":2}"#), "ok");
        for n in 1..=2 {
            assert_eq!(client.text(), format!(r#"{{"uid":"uid1","n":{n}}}"#));
        }
    }
    let log = push.hive.log();
    let warnings = log
        .iter()
        .filter(|line| line.contains("was no JSON object"));
    assert_eq!(warnings.count(), 1, "{log:#?}");
}

#[test]
fn empty_lines_mean_nothing() {
    let push = push();
    let mut client = push.client("uid1");
    let mut pusher = push.pusher();
    pusher.write(b"\n\r\n  \n{\"uid\":\"uid1\"}\n\n{\"uid\":\"uid2\"}\n");
    assert_eq!([pusher.line(), pusher.line()], ["ok", "fail"]);
    assert_eq!(client.text(), r#"{"uid":"uid1"}"#);
}

#[test]
fn a_page_cannot_make_a_browser_push() {
    let push = push();
    let mut client = push.client("uid1");
    let mut browser = push.pusher();
    // A form with enctype="text/plain", whose body is whatever the page likes.
    browser.write(
        b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: text/plain\r\n\r\n{\"uid\":\"uid1\",\"forged\":1}\n",
    );
    let answer = String::from_utf8(browser.until_gone()).expect("text");
    assert!(
        answer.starts_with("error: ") && answer.lines().count() == 1,
        "{answer}"
    );
    assert_eq!(push.pusher().ask(r#"{"uid":"uid1","n":1}"#), "ok");
    assert_eq!(client.text(), r#"{"uid":"uid1","n":1}"#);
}

#[test]
fn a_port_that_others_reach_is_warned_of_once() {
    let (ws, text) = (Port::reserve(), Port::reserve());
    let far = format!("0.0.0.0:{}", text.number());
    let hive = Setup::new(program!("workhive-under-test"))
        .words(["push"])
        .options(["--ws", &ws.to_string(), "--text", &far, "--count", "2"])
        .start();
    let line = hive.wait_for_line("can push to every client");
    assert!(line.contains(" WARN ") && line.contains(&far), "{line}");
    assert_eq!(hive.verb::<&str>("reload", &[]).code, Some(0));
    let log = hive.log();
    let lines = log.iter().filter(|line| line.contains("can push to every"));
    assert_eq!(lines.count(), 1, "{log:#?}");
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
fn a_hive_with_reuse_port_pushes_as_well() {
    let (ws, text) = (Port::reserve(), Port::reserve());
    let hive = setup(&ws, &text, "1").options(["--reuse-port"]).start();
    let push = Push { hive, ws, text };
    let mut client = push.client("uid1");
    assert_eq!(push.pusher().ask(r#"{"uid":"uid1"}"#), "ok");
    assert_eq!(client.text(), r#"{"uid":"uid1"}"#);
    assert_eq!(push.hive.workers().len(), 1);
}

/// A push server of several processes.
fn several() -> workhive_tests::push::Push {
    PushSetup::new(program!("workhive-under-test"), 3).start()
}

#[test]
fn a_line_reaches_its_uid_whichever_process_takes_it() {
    let push = several();
    let uids = ["u1", "u2", "u3"];
    let mut clients = push.spread(&uids);
    for n in 0..30 {
        let mut pusher = push.pusher();
        let uid = uids[n % 3];
        let line = format!(r#"{{"uid":"{uid}","n":{n}}}"#);
        assert_eq!(pusher.ask(&line), "ok");
        assert_eq!(clients[n % 3].text(), line);
        assert_eq!(pusher.ask(r#"{"uid":"nobody"}"#), "fail");
    }
}

#[test]
fn answers_keep_the_order_of_the_lines_wherever_they_come_from() {
    let push = several();
    let mut clients = push.spread(&["u1", "u2"]);
    // From another process, from this one perhaps, from the router, and from nowhere.
    let kinds = [
        (r#"{"uid":"u1","n":"#, "ok"),
        (r#"{"uid":"u2","n":"#, "ok"),
        (r#"{"uid":"nobody","n":"#, "fail"),
        (r#"{"uid":[],"n":"#, "error"),
    ];
    let lines: Vec<String> = (0..4000)
        .map(|n| format!("{}{n}}}", kinds[n % 4].0))
        .collect();
    let mut pusher = push.pusher();
    // Beside reading: neither side may wait for the other to read first.
    let mut writer = pusher.socket().try_clone().expect("a second descriptor");
    let text = lines.join("\n") + "\n";
    let writing = std::thread::spawn(move || {
        use std::io::Write;
        writer
            .write_all(text.as_bytes())
            .expect("a peer that takes bytes");
    });
    for n in 0..4000 {
        let answer = pusher.line();
        assert!(answer.starts_with(kinds[n % 4].1), "line {n}: {answer}");
    }
    writing.join().expect("all was written");
    for n in (0..4000).step_by(4) {
        assert_eq!(clients[0].text(), lines[n]);
        assert_eq!(clients[1].text(), lines[n + 1]);
    }
}

#[test]
fn a_pusher_at_any_process_may_close_its_side_right_after_the_line() {
    let push = several();
    let mut clients = push.spread(&["u1", "u2"]);
    for n in 0..40 {
        let line = format!(r#"{{"uid":"u{}","n":{n}}}"#, n % 2 + 1);
        let mut pusher = push.pusher();
        pusher.write(format!("{line}\n{{}}\n").as_bytes());
        pusher.half_close();
        let answer = pusher.rest().expect("an end, not a reset");
        assert_eq!(answer, b"ok\nerror: the line has no uid\n");
        assert_eq!(clients[n % 2].text(), line);
    }
}

#[test]
fn a_router_that_is_killed_is_missed_for_a_moment_and_no_client_notices() {
    let push = several();
    let mut clients = push.spread(&["u1", "u2"]);
    for round in 0..3 {
        let router = push.hive.router().expect("a router");
        let mark = push.hive.mark();
        proc::signal(router, Signal::SIGKILL);
        push.hive
            .wait_for_line_after(mark, "group=router slot=0 ready");
        for (index, uid) in ["u1", "u2"].into_iter().enumerate() {
            let mut pusher = push.pusher();
            let line = format!(r#"{{"uid":"{uid}","round":{round}}}"#);
            // What is on its way when the router dies may be lost, and is answered fail or unknown then.
            eventually("a push that arrives", || {
                (pusher.ask(&line) == "ok").then_some(())
            });
            assert_eq!(clients[index].text(), line);
            clients[index].ping();
        }
    }
    assert_eq!(push.hive.workers().len(), 3);
}

#[test]
fn what_may_have_arrived_is_answered_unknown() {
    let push = PushSetup::new(program!("workhive-under-test"), 2).start();
    let mut clients = push.spread(&["u1", "u2"]);
    let mut pushers: Vec<_> = (0..16).map(|_| push.pusher()).collect();
    for pusher in &mut pushers {
        assert_eq!(pusher.ask(r#"{"uid":"nobody"}"#), "fail");
    }
    // One of the clients is in the process that stands still, and some of the pushers are not.
    let stopped = push.hive.workers()[0];
    proc::signal(stopped, Signal::SIGSTOP);
    let (sender, answers) = std::sync::mpsc::channel();
    let threads: Vec<_> = pushers
        .into_iter()
        .map(|mut pusher| {
            let sender = sender.clone();
            std::thread::spawn(move || {
                pusher.write(b"{\"uid\":\"u1\"}\n{\"uid\":\"u2\"}\n");
                // Nobody may wait for it any more.
                let _ = sender.send([pusher.line(), pusher.line()]);
            })
        })
        .collect();
    let mut first = answers.recv().expect("answers");
    proc::signal(stopped, Signal::SIGCONT);
    first.sort();
    assert_eq!(first, ["ok", "unknown"]);
    // It arrives after all.
    assert_eq!(clients[0].text(), r#"{"uid":"u1"}"#);
    assert_eq!(clients[1].text(), r#"{"uid":"u2"}"#);
    for thread in threads {
        thread.join().expect("answers for everybody");
    }
}

#[test]
fn clients_come_back_after_a_reload_and_are_reached() {
    let push = PushSetup::new(program!("workhive-under-test"), 3)
        .options(&["--drain", "1"])
        .start();
    let router = push.hive.router();
    for round in 0..2 {
        let mut clients: Vec<_> = (0..6).map(|n| push.client(&format!("u{n}"))).collect();
        assert_eq!(push.hive.verb::<&str>("reload", &[]).code, Some(0));
        for (n, client) in clients.iter_mut().enumerate() {
            assert_eq!(client.close_code(), 1012);
            let mut again = push.client(&format!("u{n}"));
            let line = format!(r#"{{"uid":"u{n}","round":{round}}}"#);
            assert_eq!(push.pusher().ask(&line), "ok");
            assert_eq!(again.text(), line);
            again.close();
            push.wait_for(&format!("u{n}"), 0);
        }
    }
    assert_eq!(push.hive.router(), router);
}
