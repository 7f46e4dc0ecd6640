//! What callbacks may do, and what happens to a connection whose callback fails.

use std::collections::HashSet;

use nix::sys::signal::Signal;
use workhive_tests::http::HttpClient;
use workhive_tests::text::TextClient;
use workhive_tests::ws::{RawWs, WsClient};
use workhive_tests::{Hive, Port, Setup, proc, program};

struct Callbacks {
    hive: Hive,
    text: Port,
    ws: Port,
    http: Port,
    ping: Port,
    idle: Port,
}

fn callbacks() -> Callbacks {
    let [text, ws, http, ping, idle] = std::array::from_fn(|_| Port::reserve());
    let setup = Setup::new(program!("callbacks"))
        .options(["--text", &text.to_string(), "--ws", &ws.to_string()])
        .options(["--http", &http.to_string(), "--idle", &idle.to_string()])
        .options(["--ping", &ping.to_string()]);
    Callbacks {
        hive: setup.start(),
        text,
        ws,
        http,
        ping,
        idle,
    }
}

impl Callbacks {
    fn client(&self) -> TextClient {
        TextClient::connect(self.text.addr())
    }
}

#[test]
fn a_callback_that_fails_ends_its_connection_and_no_other() {
    let mut hive = callbacks();
    hive.hive.expect("told to panic");
    let mut neighbour = hive.client();
    let worker = hive.hive.workers();
    for (word, reason) in [
        ("err", "on_message returned an error: told to fail"),
        ("panic", "on_message panicked: told to panic"),
    ] {
        let mark = hive.hive.mark();
        let mut client = hive.client();
        client.send("before");
        client.send(word);
        client.send("after");
        assert_eq!(client.rest().expect("an end, not a reset"), b"before\n");
        hive.hive
            .wait_for_line_after(mark, &format!("text closed: {reason}"));
        hive.hive.wait_for_line_after(mark, "error of ");
        assert_eq!(neighbour.ask("still here"), "still here");
    }
    assert_eq!(hive.hive.workers(), worker, "the process lives on");
}

#[test]
fn a_websocket_whose_callback_fails_is_told_1011() {
    let mut hive = callbacks();
    hive.hive.expect("told to panic");
    let mut neighbour = WsClient::connect(hive.ws.addr());
    for word in ["err", "panic"] {
        let mut client = WsClient::connect(hive.ws.addr());
        client.send(word);
        assert_eq!(client.close_code(), 1011);
        neighbour.send("still here");
        assert_eq!(neighbour.text(), "still here");
    }
}

#[test]
fn a_request_whose_callback_fails_is_answered_500() {
    let mut hive = callbacks();
    hive.hive.expect("told to panic");
    let mut neighbour = HttpClient::connect(hive.http.addr());
    for path in ["/err", "/panic"] {
        let mut client = HttpClient::connect(hive.http.addr());
        let response = client.get(path);
        assert_eq!(response.status, 500);
        // What went wrong is nobody's business but the log's.
        assert!(!response.text().contains("told to"), "{response:?}");
        assert!(response.closes() && client.is_at_end());
        assert_eq!(neighbour.get("/").status, 200);
    }
}

#[test]
fn all_listeners_of_a_process_share_its_state_and_every_connection_has_data_of_its_own() {
    let hive = callbacks();
    let (mut one, mut two) = (hive.client(), hive.client());
    assert_eq!(one.ask("messages"), "1");
    assert_eq!(two.ask("messages"), "2");
    let mut ws = WsClient::connect(hive.ws.addr());
    ws.send("hello");
    assert_eq!(ws.text(), "hello");
    assert_eq!(HttpClient::connect(hive.http.addr()).get("/").text(), "4");
    assert_eq!(one.ask("messages"), "5");
    assert_eq!(
        (one.ask("lines"), two.ask("lines")),
        ("3".into(), "2".into())
    );
}

#[test]
fn connection_ids_never_come_back_not_even_in_a_process_that_replaces_another() {
    let hive = callbacks();
    let mut seen = HashSet::new();
    for round in 0..3 {
        for _ in 0..50 {
            let id = hive.client().ask("id");
            assert!(seen.insert(id.clone()), "{id} has come back");
        }
        let mark = hive.hive.mark();
        match round {
            0 => proc::signal(hive.hive.workers()[0], Signal::SIGKILL),
            _ => assert_eq!(hive.hive.verb::<&str>("reload", &[]).code, Some(0)),
        }
        hive.hive.wait_for_line_after(mark, "slot=0 ready");
    }
    // Nor in the next run of the same program.
    drop(hive);
    let again = callbacks();
    for _ in 0..50 {
        assert!(seen.insert(again.client().ask("id")));
    }
}

#[test]
fn a_connection_knows_both_ends_and_counts() {
    let hive = callbacks();
    let mut client = hive.client();
    let local = client.socket().local_addr().expect("an open connection");
    assert_eq!(client.ask("addresses"), format!("{local} {}", hive.text));
    assert_eq!(client.ask("counters"), "2 19");
}

#[test]
fn close_and_end_send_everything_first() {
    let hive = callbacks();
    for word in ["close", "end"] {
        let len = 8 << 20;
        let mark = hive.hive.mark();
        let mut client = hive.client();
        client.send(&format!("{word} {len}"));
        let all = client.rest().expect("an end, not a reset");
        assert_eq!(all.len(), len + 1, "{word}");
        drop(client);
        hive.hive
            .wait_for_line_after(mark, "text closed: closed by the application");
    }
}

#[test]
fn what_a_client_sends_behind_an_end_does_not_reset_the_answer() {
    let hive = callbacks();
    let mut client = hive.client();
    // More lines than one read takes: some are still unread when the connection ends.
    client.write(format!("end 100000\n{}", "more\n".repeat(10_000)).as_bytes());
    assert_eq!(client.rest().expect("an end, not a reset").len(), 100_001);
}

#[test]
fn destroy_drops_what_waits() {
    let hive = callbacks();
    let mut client = hive.client();
    client.send("destroy");
    assert_eq!(client.until_gone(), b"");
    hive.hive
        .wait_for_line("text closed: dropped by the application");
}

#[test]
fn a_send_that_does_not_fit_is_refused_and_told_once_and_again_when_there_is_room() {
    let hive = callbacks();
    let mut client = hive.client();
    client.send("flood");
    let line = hive.hive.wait_for_line("refused after");
    assert!(line.contains("65536 bytes may wait"), "{line}");
    let word = line.split_ascii_whitespace().nth(2).expect("a number");
    let taken: usize = word.parse().expect("a number");
    assert!((1..100_000).contains(&taken), "{line}");
    // Each of the two refused sends counts, and there was one callback for both.
    for _ in 0..taken {
        assert_eq!(client.line(), "f".repeat(1023));
    }
    assert_eq!(client.line(), "drained, full 1 times");
    assert_eq!(client.ask("still here"), "still here");
    let worker = &hive.hive.status()["workers"][0];
    assert_eq!(worker["send_failures"], 2, "{worker:#}");
}

#[test]
fn a_paused_connection_is_not_read_until_it_is_resumed() {
    let hive = callbacks();
    let (mut client, mut neighbour) = (hive.client(), hive.client());
    client.write(b"pause 200\nbehind\n");
    assert_eq!(client.line(), "paused");
    client.send("more");
    assert_eq!(neighbour.ask("not paused"), "not paused");
    assert_eq!(client.line(), "resumed");
    assert_eq!(client.line(), "behind");
    assert_eq!(client.line(), "more");
}

#[test]
fn a_pipe_passes_bytes_on_as_they_are_and_waits_for_a_slow_reader() {
    let hive = callbacks();
    let (mut source, mut sink) = (hive.client(), hive.client());
    assert_eq!(sink.ask("sink a"), "ready");
    assert_eq!(source.ask("pipe a"), "piped");
    source.write(b"no line \0 \xff");
    assert_eq!(sink.bytes(11), b"no line \0 \xff");
    // Far more than the buffers hold; the sink reads when it likes.
    let len = 16 << 20;
    let writer = std::thread::spawn(move || {
        for n in 0..len / 1024 {
            source.write(&[u8::try_from(n % 251).expect("a byte"); 1024]);
        }
        source
    });
    let bytes = sink.bytes(len);
    for (n, block) in bytes.chunks(1024).enumerate() {
        assert!(
            block.iter().all(|byte| usize::from(*byte) == n % 251),
            "block {n}"
        );
    }
    // When the source ends, the sink is ended.
    drop(writer.join().expect("all was taken"));
    assert_eq!(sink.rest().expect("an end"), b"");
}

#[test]
fn the_end_of_a_sink_is_the_end_of_its_source() {
    let hive = callbacks();
    let (mut source, mut sink) = (hive.client(), hive.client());
    assert_eq!(sink.ask("sink a"), "ready");
    assert_eq!(source.ask("pipe a"), "piped");
    drop(sink);
    assert_eq!(source.until_gone(), b"");
}

#[test]
fn two_sources_of_one_sink_both_get_through() {
    let hive = callbacks();
    let mut sink = hive.client();
    assert_eq!(sink.ask("sink a"), "ready");
    let len = 4 << 20;
    let writers: Vec<_> = [b'1', b'2']
        .into_iter()
        .map(|byte| {
            let mut source = hive.client();
            assert_eq!(source.ask("pipe a"), "piped");
            std::thread::spawn(move || {
                source.write(&vec![byte; len]);
                source
            })
        })
        .collect();
    let bytes = sink.bytes(2 * len);
    let sum: u64 = bytes.iter().map(|byte| u64::from(*byte)).sum();
    assert_eq!(sum, (u64::from(b'1') + u64::from(b'2')) * len as u64);
    for writer in writers {
        drop(writer.join().expect("all was taken"));
    }
}

#[test]
fn silence_ends_a_connection_with_an_idle_timeout() {
    let hive = callbacks();
    let mut busy = TextClient::connect(hive.idle.addr());
    let mut silent = TextClient::connect(hive.idle.addr());
    // As long as it says something it stays, however long that takes altogether.
    let started = std::time::Instant::now();
    while started.elapsed() < std::time::Duration::from_millis(700) {
        busy.write(b"x");
        assert_eq!(busy.bytes(1), b"x");
    }
    assert_eq!(silent.rest().expect("an end"), b"");
    assert_eq!(busy.rest().expect("an end"), b"");
}

#[test]
fn a_silent_websocket_is_pinged_and_ended_with_1001_if_it_does_not_answer() {
    let hive = callbacks();
    let mut silent = RawWs::connect(hive.ping.addr());
    let mut answering = RawWs::connect(hive.ping.addr());
    let ping = silent.frame();
    assert_eq!(ping.opcode, 9);
    for _ in 0..4 {
        let ping = answering.frame();
        assert_eq!(ping.opcode, 9);
        answering.send(true, 10, &ping.payload);
    }
    assert_eq!(silent.frame().close_code(), Some(1001));
    assert_eq!(answering.frame().opcode, 9, "it is still there");
}

#[test]
fn a_peer_that_resets_is_told_to_the_callbacks_as_such() {
    let hive = callbacks();
    let mut client = hive.client();
    assert_eq!(client.ask("hello"), "hello");
    // Closing with a linger of zero sends RST (socket(7)).
    let socket = socket2::SockRef::from(client.socket());
    socket
        .set_linger(Some(std::time::Duration::ZERO))
        .expect("an open connection");
    drop(client);
    let line = hive.hive.wait_for_line("text closed:");
    assert!(line.contains("reset"), "{line}");
}
