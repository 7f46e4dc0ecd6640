//! The example programs do what their texts promise.

use std::collections::BTreeSet;

use workhive_tests::http::HttpClient;
use workhive_tests::text::TextClient;
use workhive_tests::ws::WsClient;
use workhive_tests::{Hive, Port, Setup, eventually, program};

fn address_in_use(port: &Port, options: &[&str]) -> Hive {
    Setup::new(program!("example_address_in_use"))
        .options(["--http", &port.to_string()])
        .options(options.iter().copied())
        .start()
}

/// The pids that answer to so many fresh connections.
fn who_answers(port: &Port, connections: usize) -> BTreeSet<u32> {
    (0..connections)
        .map(|_| {
            let response = HttpClient::connect(port.addr()).get("/");
            let pid = response
                .text()
                .trim()
                .strip_prefix("hello from ")
                .map(str::to_owned);
            pid.and_then(|pid| pid.parse().ok()).expect("a pid")
        })
        .collect()
}

#[test]
fn address_in_use_three_of_four_processes_report_eaddrinuse_and_one_serves() {
    let port = Port::reserve();
    let mut hive = address_in_use(&port, &["--count", "4"]);
    hive.expect("EADDRINUSE");
    let serving = who_answers(&port, 20);
    assert_eq!(serving.len(), 1, "{serving:?}");
    let serving = serving.first().expect("one");
    let mut reporting = BTreeSet::new();
    for line in hive.log() {
        if !line.contains(" ERROR inner[") || !line.contains("EADDRINUSE") {
            continue;
        }
        for word in [
            &port.to_string(),
            &serving.to_string(),
            ".reuse_port(true)",
            ".shared(true)",
        ] {
            assert!(line.contains(word), "{word} is missing: {line}");
        }
        let (_, slot) = line.split_once("inner[").expect("a slot");
        reporting.insert(slot.chars().next().expect("a digit"));
    }
    assert_eq!(reporting.len(), 3, "{reporting:?}");
}

#[test]
fn address_in_use_works_with_one_process() {
    let port = Port::reserve();
    let hive = address_in_use(&port, &["--count", "1"]);
    assert_eq!(
        who_answers(&port, 20).into_iter().collect::<Vec<_>>(),
        hive.workers()
    );
}

#[test]
fn address_in_use_with_reuse_port_all_four_processes_serve_200_fresh_connections() {
    let port = Port::reserve();
    let hive = address_in_use(&port, &["--count", "4", "--reuse-port"]);
    let serving: Vec<u32> = who_answers(&port, 200).into_iter().collect();
    assert_eq!(serving, hive.workers());
}

#[test]
fn push_reaches_its_uid_and_answers_ok_or_fail() {
    let (ws, text) = (Port::reserve(), Port::reserve());
    let _hive = Setup::new(program!("example_push"))
        .options(["--ws", &ws.to_string(), "--text", &text.to_string()])
        .start();
    let mut client = WsClient::connect(ws.addr());
    client.send("uid1");
    client.ping();
    let mut pusher = TextClient::connect(text.addr());
    let line = r#"{"uid":"uid1","percent":"88%"}"#;
    assert_eq!(pusher.ask(line), "ok");
    assert_eq!(client.text(), line);
    assert_eq!(pusher.ask(r#"{"uid":"uid2","percent":"88%"}"#), "fail");
    // What the program cannot understand ends the connection of who sent it, and nothing else.
    let mut bad = TextClient::connect(text.addr());
    bad.send("no JSON");
    assert_eq!(bad.rest().expect("an end"), b"");
    assert_eq!(pusher.ask(line), "ok");
}

#[test]
fn http_and_websocket_what_is_posted_reaches_every_client() {
    let (http, ws) = (Port::reserve(), Port::reserve());
    let _hive = Setup::new(program!("example_http_and_websocket"))
        .options(["--http", &http.to_string(), "--ws", &ws.to_string()])
        .start();
    let mut clients: Vec<_> = (0..3).map(|_| WsClient::connect(ws.addr())).collect();
    for client in &mut clients {
        client.ping();
    }
    let mut poster = HttpClient::connect(http.addr());
    assert_eq!(
        poster.post("/", "dinner is ready".as_bytes()).text(),
        "sent to 3\n"
    );
    for client in &mut clients {
        assert_eq!(client.text(), "dinner is ready");
    }
    clients.pop().expect("one of three").close();
    assert_eq!(poster.post("/", b"again").text(), "sent to 2\n");
    let refused = poster.get("/");
    assert_eq!(
        (refused.status, refused.header("allow")),
        (405, Some("POST"))
    );
}

/// Somebody in a chat.
struct Chatter(WsClient);

impl Chatter {
    fn enter(ws: &Port, name: &str, room: &str) -> (Self, serde_json::Value) {
        let mut client = Self(WsClient::connect(ws.addr()));
        let hello = serde_json::json!({"name": name, "room": room});
        client.0.send(&hello.to_string());
        let welcome = client.until(|news| news["here"].is_array());
        (client, welcome)
    }

    /// Says a line, to one alone or to the room.
    fn say(&mut self, to: Option<&str>, words: &str) {
        let said = serde_json::json!({"say": words, "to": to});
        self.0.send(&said.to_string());
    }

    /// The next message that is wanted; others have their own time.
    #[track_caller]
    fn until(&mut self, wanted: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
        loop {
            let news = serde_json::from_str(&self.0.text()).expect("JSON");
            if wanted(&news) {
                return news;
            }
        }
    }

    #[track_caller]
    fn hears(&mut self, line: &str) {
        self.until(|news| news["line"] == line);
    }
}

#[test]
fn chat_goes_from_process_to_process_by_room_and_in_private() {
    let (page, ws) = (Port::reserve(), Port::reserve());
    let hive = Setup::new(program!("example_chat"))
        .options(["--page", &page.to_string(), "--ws", &ws.to_string()])
        .start();
    let html = HttpClient::connect(page.addr()).get("/");
    assert!(
        html.text().contains(&format!(":{}`", ws.number())),
        "{html:?}"
    );
    let (mut ann, welcome) = Chatter::enter(&ws, "ann", "lobby");
    assert_eq!(welcome["here"], serde_json::json!(["ann"]));
    // Somebody in another process, and somebody in another room.
    let (mut bob, _) = eventually("a client in another process", || {
        let (bob, there) = Chatter::enter(&ws, "bob", "lobby");
        (there["slot"] != welcome["slot"]).then_some((bob, there))
    });
    let (mut eve, _) = Chatter::enter(&ws, "eve", "attic");
    ann.hears("eve is online");
    ann.say(None, "größe");
    for hearer in [&mut ann, &mut bob] {
        hearer.hears("ann says: größe");
    }
    bob.say(Some("eve"), "psst");
    eve.hears("bob says to you alone: psst");
    eve.say(Some("nobody"), "psst");
    eve.hears("nobody is not there");
    bob.0.close();
    ann.hears("bob has gone");
    // What was for others has reached nobody else.
    eve.say(None, "the end");
    let line = eve.until(|news| {
        !news["line"]
            .as_str()
            .is_some_and(|line| line.contains("bob"))
    });
    assert_eq!(line["line"], "eve says: the end");
    assert_eq!(hive.slots().len(), 5);
}

#[test]
fn custom_protocol_answers_in_capitals() {
    let port = Port::reserve();
    let _hive = Setup::new(program!("example_custom_protocol"))
        .options(["--addr", &port.to_string()])
        .start();
    let mut client = TextClient::connect(port.addr());
    client.write(b"\x05hello\x00\x03a");
    assert_eq!(client.bytes(7), b"\x05HELLO\x00");
    client.write(b"bc");
    assert_eq!(client.bytes(4), b"\x03ABC");
    let long = [&[255][..], &[b'x'; 255]].concat();
    client.write(&long);
    assert_eq!(client.bytes(256), long.to_ascii_uppercase());
}

#[test]
fn timers_tick_stop_and_talk_to_every_client() {
    let port = Port::reserve();
    let hive = Setup::new(program!("example_timers"))
        .options(["--text", &port.to_string()])
        .start();
    let (mut one, mut two) = (
        TextClient::connect(port.addr()),
        TextClient::connect(port.addr()),
    );
    let line = hive.wait_for_line("now stopped");
    let ticks = line.split(' ').next().expect("a number").to_owned();
    let last = format!("{ticks} ticks so far");
    for client in [&mut one, &mut two] {
        let mut lines = 0;
        while client.line() != last {
            lines += 1;
            assert!(lines < 100, "the ticking has not stopped");
        }
        // It has stopped: the number stays.
        assert_eq!(client.line(), last);
    }
}
