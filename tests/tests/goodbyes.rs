//! A process that goes away says goodbye in the application's words first, then in the protocol's.

use nix::sys::signal::Signal;
use workhive_tests::http::HttpClient;
use workhive_tests::text::TextClient;
use workhive_tests::ws::{RawWs, WsClient};
use workhive_tests::{Hive, Port, Setup, eventually, program};

struct Goodbyes {
    hive: Hive,
    ws: Port,
    text: Port,
    http: Port,
}

fn goodbyes() -> Goodbyes {
    let [ws, text, http] = std::array::from_fn(|_| Port::reserve());
    let setup = Setup::new(program!("goodbyes"))
        .options(["--ws", &ws.to_string(), "--text", &text.to_string()])
        .options(["--http", &http.to_string(), "--drain", "1"]);
    Goodbyes {
        hive: setup.start(),
        ws,
        text,
        http,
    }
}

impl Goodbyes {
    /// A client at whose goodbye this is to be done.
    fn websocket(&self, word: &str) -> WsClient {
        let mut client = WsClient::connect(self.ws.addr());
        client.send(word);
        assert_eq!(client.text(), "noted");
        client
    }
}

#[test]
fn a_client_hears_the_application_and_then_the_protocol_when_its_process_is_replaced() {
    let fixture = goodbyes();
    let mut clients: Vec<_> = (0..8).map(|_| fixture.websocket("send")).collect();
    let mut line = TextClient::connect(fixture.text.addr());
    assert_eq!(line.ask("hello"), "hello");
    fixture.hive.signal(Signal::SIGUSR1);
    for client in &mut clients {
        assert_eq!(client.text(), "come back soon");
        assert_eq!(client.close_code(), 1012);
    }
    assert_eq!(
        line.rest().expect("an end, not a reset"),
        b"come back soon\n"
    );
}

#[test]
fn a_process_that_has_no_time_left_says_it_too() {
    let mut fixture = goodbyes();
    let mut client = fixture.websocket("send");
    let mut line = TextClient::connect(fixture.text.addr());
    assert_eq!(line.ask("hello"), "hello");
    fixture.hive.stop();
    assert_eq!(client.text(), "come back soon");
    assert_eq!(client.close_code(), 1012);
    assert_eq!(line.until_gone(), b"come back soon\n");
}

#[test]
fn a_goodbye_that_fails_hurts_nobody_and_one_that_closes_is_obeyed() {
    let mut fixture = goodbyes();
    fixture.hive.expect("told to panic");
    let mark = fixture.hive.mark();
    let [mut failing, mut panicking, mut closing, mut well] =
        ["err", "panic", "close", "send"].map(|word| fixture.websocket(word));
    let mut dropped = RawWs::connect(fixture.ws.addr());
    dropped.send(true, 1, b"destroy");
    assert_eq!(dropped.frame().payload, b"noted");
    fixture.hive.signal(Signal::SIGUSR1);
    assert_eq!(failing.close_code(), 1012);
    assert_eq!(panicking.close_code(), 1012);
    assert_eq!(closing.goodbye(), (4000, "moved".to_owned()));
    assert!(dropped.is_at_end());
    assert_eq!(well.text(), "come back soon");
    assert_eq!(well.close_code(), 1012);
    for line in [
        "on_goodbye returned an error: told to fail",
        "on_goodbye panicked: told to panic",
    ] {
        fixture.hive.wait_for_line_after(mark, line);
    }
    // Each has ended once.
    let closed = |hive: &Hive| {
        let log = hive.log();
        log.iter()
            .filter(|line| *line == "websocket closed")
            .count()
    };
    fixture.hive.stop();
    assert_eq!(closed(&fixture.hive), 5);
}

#[test]
fn who_has_not_been_answered_its_handshake_hears_nothing_but_the_protocol() {
    let mut fixture = goodbyes();
    let mut early = TextClient::connect(fixture.ws.addr());
    early.write(b"GET / HTTP/1.1\r\n");
    eventually("the beginning of a request", || {
        let status = fixture.hive.status();
        let workers = status["workers"].as_array().expect("a list");
        let websocket = workers.iter().find(|worker| worker["group"] == "ws")?;
        (websocket["bytes_read"] == 16).then_some(())
    });
    fixture.hive.stop();
    let rest = String::from_utf8(early.until_gone()).expect("text");
    assert!(!rest.contains("come back soon"), "{rest}");
    let log = fixture.hive.log();
    assert!(
        !log.iter().any(|line| line.contains("on_goodbye")),
        "{log:#?}"
    );
}

#[test]
fn on_http_only_who_waits_for_an_answer_gets_one() {
    let fixture = goodbyes();
    let mut idle = HttpClient::connect(fixture.http.addr());
    assert_eq!(idle.get("/").status, 200);
    let mut waiting = HttpClient::connect(fixture.http.addr());
    waiting
        .send("GET /wait HTTP/1.1\r\nHost: test\r\n\r\n")
        .expect("sent");
    fixture.hive.signal(Signal::SIGUSR1);
    let answer = waiting.response();
    assert_eq!(answer.status, 503);
    assert!(idle.is_at_end());
    let log = fixture.hive.log();
    assert!(
        !log.iter().any(|line| line.contains("on_goodbye")),
        "{log:#?}"
    );
}
