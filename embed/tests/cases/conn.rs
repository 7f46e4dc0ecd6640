//! Connections: what they know, their timers, how they end.

use std::io::ErrorKind;

use workhive_tests::eventually;
use workhive_tests::text::TextClient;

use super::language::Language;
use super::{Server, ask, server};

pub(crate) fn about(language: &'static Language) {
    let server = server(language, &["text", "websocket"]);
    let mut client = server.text("text");
    let local = client.socket().local_addr().expect("an address");
    let expected = format!("text {local} {}", server.addr("text"));
    assert_eq!(client.ask("!about"), expected);
    let answer = ask(&mut server.ws("websocket"), "!about");
    assert!(answer.starts_with("websocket 127.0.0.1:"), "{answer}");
    assert!(
        answer.ends_with(&format!(" {}", server.addr("websocket"))),
        "{answer}"
    );
}

pub(crate) fn data(language: &'static Language) {
    let server = server(language, &["text"]);
    let (mut ann, mut bob) = (server.text("text"), server.text("text"));
    assert_eq!(ann.ask("!get"), "none");
    assert_eq!(ann.ask("!set first"), "set");
    assert_eq!(ann.ask("!set a value of ann's"), "set");
    assert_eq!(bob.ask("!get"), "none");
    assert_eq!(bob.ask("!set bob's"), "set");
    assert_eq!(ann.ask("!get"), "a value of ann's");
    assert_eq!(bob.ask("!get"), "bob's");
    drop(ann);
    drop(bob);
    assert_eq!(server.text("text").ask("!get"), "none");
}

pub(crate) fn timers(language: &'static Language) {
    let server = server(language, &["text"]);
    let mut client = server.text("text");
    assert_eq!(client.ask("!after 5 some words"), "some words");
    client.send("!every 5 3");
    assert_eq!(
        [client.line(), client.line(), client.line()],
        ["1", "2", "3"]
    );
    // Neither a fourth turn nor the cancelled timer comes in between.
    assert_eq!(client.ask("!cancel 30"), "done");
    assert_eq!(client.ask("!after 30 the end"), "the end");
    // A timer whose connection has gone harms nobody.
    let mut gone = server.text("text");
    gone.send("!after 20 nobody");
    gone.send("!every 5 100");
    assert_eq!(gone.line(), "1");
    drop(gone);
    assert_eq!(client.ask("!after 50 still here"), "still here");
}

pub(crate) fn timer_fails(language: &'static Language) {
    let mut server = server(language, &["text"]);
    server.expect("ERROR");
    let workers = server.workers();
    let mut client = server.text("text");
    assert_eq!(client.ask("!timer-fail"), "still here");
    server.wait_for_line("timer told to fail");
    assert_eq!(server.workers(), workers);
}

pub(crate) fn close(language: &'static Language) {
    let server = server(language, &["text", "websocket"]);
    let mut client = server.text("text");
    client.write(b"one\ntwo\n!close\nthree\n");
    assert_eq!(client.until_gone(), b"one\ntwo\n");
    let mut client = server.ws("websocket");
    client.send("one");
    client.send("!close");
    assert_eq!(client.text(), "one");
    assert_eq!(client.close_code(), 1000);
}

pub(crate) fn close_codes(language: &'static Language) {
    let server = server(language, &["websocket"]);
    let mut client = server.ws("websocket");
    client.send("!close 4001 enough of it");
    assert_eq!(client.goodbye(), (4001, "enough of it".to_owned()));
    let mut client = server.ws("websocket");
    client.send("!close 3000 ");
    assert_eq!(client.goodbye(), (3000, String::new()));
    let mut raw = server.raw_ws("websocket");
    raw.send(
        true,
        8,
        &[
            &4002_u16.to_be_bytes()[..],
            "until morgen, grüße".as_bytes(),
        ]
        .concat(),
    );
    assert_eq!(raw.frame().close_code(), Some(4002));
    server.wait_for_line("on_close 4002 until morgen, grüße");
    // Without a close frame.
    let mark = server.mark();
    drop(server.raw_ws("websocket"));
    server.wait_for_line_after(mark, "on_close 0");
}

pub(crate) fn destroy(language: &'static Language) {
    let server = server(language, &["text", "websocket"]);
    let mut raw = server.raw_ws("websocket");
    raw.send(true, 1, b"!destroy");
    let ended = raw.try_frame().expect_err("no goodbye");
    let kind = ended.kind();
    assert!(
        matches!(kind, ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset),
        "{ended}"
    );
    server.wait_for_line("on_close 0");
    let mut client = server.text("text");
    client.send("!destroy");
    assert_eq!(client.until_gone(), b"");
}

pub(crate) fn kept_handle(language: &'static Language) {
    let server = server(language, &["text"]);
    let (mut ann, mut bob) = (server.text("text"), server.text("text"));
    assert_eq!(ann.ask("!keep"), "kept");
    assert_eq!(bob.ask("!kept hello ann"), "sent");
    assert_eq!(ann.line(), "hello ann");
    let mark = server.mark();
    drop(ann);
    server.wait_for_line_after(mark, "on_close 0");
    assert_eq!(bob.ask("!kept hello"), "gone");
    // Others come, in the places of those that went.
    let mut others: Vec<TextClient> = (0..20).map(|_| server.text("text")).collect();
    for other in &mut others {
        assert_eq!(other.ask("I am here"), "I am here");
    }
    assert_eq!(bob.ask("!kept hello"), "gone");
    for other in &mut others {
        assert_eq!(other.ask("what came?"), "what came?");
    }
}

pub(crate) fn pause(language: &'static Language) {
    let server = server(language, &["text"]);
    let mut client = server.text("text");
    assert_eq!(client.ask("!pause 100"), "paused");
    client.send("one");
    client.send("two");
    assert_eq!(
        [client.line(), client.line(), client.line()],
        ["resumed", "one", "two"]
    );
}

/// How many lines of the log say that a flood is over, and whether the buffer was full when last heard of.
fn floods(server: &Server) -> (Vec<usize>, bool) {
    let (mut taken, mut full) = (Vec::new(), false);
    for line in server.log() {
        if let Some((_, number)) = line.split_once(" flooded ") {
            taken.push(number.parse().expect("a number"));
        }
        if let Some((_, event)) = line.split_once(" on_buffer_") {
            full = event == "full";
        }
    }
    (taken, full)
}

pub(crate) fn backpressure(language: &'static Language) {
    const SIZE: usize = 64 * 1024;
    const FLOODS: usize = 20;
    let server = server(language, &["text"]);
    let mut client = server.text("text");
    let mut neighbour = server.text("text");
    // Each fills the buffer of 1 MiB. The kernel takes from it what goes into the sockets; then it stays full, and
    // nothing more is done for a client that does not read.
    for _ in 0..FLOODS {
        client.send(&format!("!flood {SIZE}"));
    }
    client.send("the end");
    let mut before = 0;
    eventually("the buffer stays full", || {
        assert_eq!(neighbour.ask("still here"), "still here");
        let (taken, full) = floods(&server);
        let stays = full && taken.len() == before;
        before = taken.len();
        stays.then_some(())
    });
    assert!(before < FLOODS, "a buffer without an end");
    let mut received = 0;
    loop {
        match client.line() {
            line if line == "the end" => break,
            line => assert_eq!(line.len(), SIZE),
        }
        received += 1;
    }
    let taken = eventually("all floods are over", || {
        let (taken, _) = floods(&server);
        (taken.len() == FLOODS).then_some(taken)
    });
    assert_eq!(taken.iter().sum::<usize>(), received, "{taken:?}");
    assert_eq!(client.ask("and on"), "and on");
    eventually("the buffer has drained", || {
        (!floods(&server).1).then_some(())
    });
}

pub(crate) fn callback_fails(language: &'static Language) {
    let mut server = server(language, &["text", "http", "websocket"]);
    server.expect("ERROR");
    let workers = server.workers();
    let mut neighbour = server.ws("websocket");
    assert_eq!(ask(&mut neighbour, "here"), "here");

    let mut client = server.ws("websocket");
    let mark = server.mark();
    client.send("!fail");
    assert_eq!(client.close_code(), 1011);
    // The whole of what the language tells about an error: from where to where.
    for words in ["told to fail", "deeper", "deep", "on_error ", "on_close "] {
        server.wait_for_line_after(mark, words);
    }

    let mark = server.mark();
    let answer = server.http().get("/fail");
    assert_eq!(answer.status, 500);
    assert!(
        !answer.text().contains("deeper"),
        "the client is told: {answer:?}"
    );
    server.wait_for_line_after(mark, "deeper");

    let mark = server.mark();
    let mut client = server.text("text");
    client.send("before");
    client.send("!fail");
    client.send("after");
    assert_eq!(client.until_gone(), b"before\n");
    server.wait_for_line_after(mark, "deeper");

    assert_eq!(ask(&mut neighbour, "still here"), "still here");
    assert_eq!(server.workers(), workers);
}
