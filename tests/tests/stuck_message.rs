//! When a stuck process is killed, the log says what it was at work on.

use workhive_tests::http::HttpClient;
use workhive_tests::text::TextClient;
use workhive_tests::ws::WsClient;
use workhive_tests::{Hive, Port, Setup, program};

struct Spins {
    hive: Hive,
    http: Port,
    text: Port,
    ws: Port,
}

fn spins() -> Spins {
    let [http, text, ws] = std::array::from_fn(|_| Port::reserve());
    let setup = Setup::new(program!("spins"))
        .options(["--http", &http.to_string(), "--text", &text.to_string()])
        .options(["--ws", &ws.to_string(), "--stuck-after", "1"]);
    let mut hive = setup.start();
    hive.expect("is stuck and is killed");
    Spins {
        hive,
        http,
        text,
        ws,
    }
}

impl Spins {
    /// What the process of a group was at work on, by the log.
    fn at_work_on(&self, group: &str) -> String {
        let line = self.hive.wait_for_line(&format!(" {group}[0]: pid"));
        let (_, rest) = line.split_once("at work on [").expect("all of it");
        rest.strip_suffix(']').expect("the end").to_owned()
    }
}

#[test]
fn the_log_has_the_message_that_a_process_is_stuck_with() {
    let spins = spins();
    // All three at once: each is looked at by itself.
    let mut http = HttpClient::connect(spins.http.addr());
    http.send("GET /well HTTP/1.1\r\nHost: a\r\n\r\nGET /stuck HTTP/1.1\r\nHost: a\r\n\r\n")
        .expect("sent");
    let mut text = TextClient::connect(spins.text.addr());
    text.write(b"well\nstuck\nsecret\n");
    let mut ws = WsClient::connect(spins.ws.addr());
    ws.send("stuck");
    assert_eq!(spins.at_work_on("http"), "GET /stuck HTTP/1.1");
    assert_eq!(spins.at_work_on("text"), "stuck");
    // A header, a mask, five letters.
    assert_eq!(spins.at_work_on("ws"), "11 bytes of websocket");
}

#[test]
fn a_request_that_came_in_pieces_is_told_from_its_beginning() {
    let spins = spins();
    let mut http = HttpClient::connect(spins.http.addr());
    assert_eq!(http.get("/well").status, 200);
    for piece in ["GET /st", "uck HTTP/1.1\r", "\nHost: a\r\n\r", "\n"] {
        http.send(piece).expect("sent");
    }
    assert_eq!(spins.at_work_on("http"), "GET /stuck HTTP/1.1");
}

#[test]
fn a_timer_is_not_blamed_on_the_request_before_it() {
    let spins = spins();
    let mut http = HttpClient::connect(spins.http.addr());
    http.send("GET /later HTTP/1.1\r\nHost: a\r\n\r\n")
        .expect("sent");
    assert_eq!(spins.at_work_on("http"), "");
}
