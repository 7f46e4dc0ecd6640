//! What is sent comes back, over every protocol.

use tungstenite::Message;
use workhive_tests::text::TextClient;

use super::language::Language;
use super::{ask, server};

const SIXTEEN_MIB: usize = 16 * 1024 * 1024;

/// A frame: its length, that of the length included, and what it carries.
pub(crate) fn frame(payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len() + 4).expect("a short payload");
    [&len.to_be_bytes(), payload].concat()
}

/// Receives a frame.
#[track_caller]
fn receive_frame(client: &mut TextClient) -> Vec<u8> {
    let head = client.bytes(4).try_into().expect("four bytes");
    client.bytes(u32::from_be_bytes(head) as usize - 4)
}

/// Sends bytes, and receives as many.
#[track_caller]
fn exchange(client: &mut TextClient, bytes: &[u8]) {
    client.write(bytes);
    assert_eq!(client.bytes(bytes.len()), bytes);
}

/// All values of a byte, none of which is a line break if the protocol cannot have it.
fn all_bytes(without: &[u8]) -> Vec<u8> {
    (0..=255).filter(|byte| !without.contains(byte)).collect()
}

pub(crate) fn echo_text(language: &'static Language) {
    let server = server(language, &["text"]);
    let mut client = server.text("text");
    assert_eq!(client.ask("hello"), "hello");
    assert_eq!(client.ask(""), "");
    // What has come of the next line waits for its rest.
    client.write(b"one\ntw");
    assert_eq!(client.line(), "one");
    client.write(b"o\r\nthree\nfour\n");
    assert_eq!(
        [client.line(), client.line(), client.line()],
        ["two", "three", "four"]
    );
}

pub(crate) fn echo_frame(language: &'static Language) {
    let server = server(language, &["frame"]);
    let mut client = server.text("frame");
    for payload in [&b"hello"[..], b"", b"\n\0\n"] {
        exchange(&mut client, &frame(payload));
    }
    let (first, second) = (frame(b"first"), frame(b"second"));
    client.write(&[&first[..], &second[..3]].concat());
    assert_eq!(receive_frame(&mut client), b"first");
    client.write(&second[3..]);
    assert_eq!(receive_frame(&mut client), b"second");
}

pub(crate) fn echo_tcp(language: &'static Language) {
    let server = server(language, &["tcp"]);
    let mut client = server.text("tcp");
    for piece in [&b"hello"[..], b"\r\n", b"a longer piece of it"] {
        exchange(&mut client, piece);
    }
    client.half_close();
    assert_eq!(client.rest().expect("an end, not a reset"), b"");
}

pub(crate) fn echo_http(language: &'static Language) {
    let server = server(language, &["http"]);
    let mut client = server.http();
    for body in [&b"hello"[..], b"", b"once more"] {
        let answer = client.post("/", body);
        assert_eq!((answer.status, &answer.body[..]), (200, body));
        assert!(!answer.closes(), "{answer:?}");
    }
    assert_eq!(client.get("/").text(), "Hello, World!");
    assert_eq!(client.get("/no/such/page").status, 404);
}

pub(crate) fn echo_websocket(language: &'static Language) {
    let server = server(language, &["websocket"]);
    let mut client = server.ws("websocket");
    for message in [
        Message::text("hello"),
        Message::text(""),
        Message::binary(&b"hello"[..]),
        Message::binary(&b""[..]),
        Message::binary(&b"!who"[..]),
    ] {
        client.send_message(message.clone());
        assert_eq!(client.message(), message);
    }
    let mut raw = server.raw_ws("websocket");
    raw.send(false, 2, b"in ");
    raw.send(true, 9, b"between");
    raw.send(true, 0, b"pieces");
    let pong = raw.frame();
    assert_eq!((pong.opcode, &pong.payload[..]), (10, &b"between"[..]));
    let echo = raw.frame();
    assert_eq!(
        (echo.fin, echo.opcode, &echo.payload[..]),
        (true, 2, &b"in pieces"[..])
    );
    client.close();
}

pub(crate) fn echo_netstring(language: &'static Language) {
    let server = server(language, &["netstring"]);
    let mut client = server.text("netstring");
    for package in [&b"5:hello,"[..], b"0:,", b"12:with, commas,"] {
        exchange(&mut client, package);
    }
    client.write(b"3:one,1");
    assert_eq!(client.bytes(6), b"3:one,");
    client.write(b"0:0123456");
    client.write(b"789,3:two,");
    assert_eq!(client.bytes(20), b"10:0123456789,3:two,");
}

pub(crate) fn own_protocol_refuses(language: &'static Language) {
    let mut server = server(language, &["netstring"]);
    server.expect("netstring");
    let mut neighbour = server.text("netstring");
    exchange(&mut neighbour, b"5:hello,");
    for broken in [&b"x"[..], b":,", b"123456789"] {
        let mut client = server.text("netstring");
        exchange(&mut client, b"2:ok,");
        client.write(broken);
        assert_eq!(client.until_gone(), b"");
    }
    let mut client = server.text("netstring");
    client.write(b"5:hello;");
    assert_eq!(client.until_gone(), b"");
    server.wait_for_line("a netstring ends with a comma");
    exchange(&mut neighbour, b"5:hello,");
}

pub(crate) fn binary(language: &'static Language) {
    let names = ["text", "frame", "tcp", "http", "websocket", "netstring"];
    let server = server(language, &names);
    let all = all_bytes(b"");
    exchange(&mut server.text("tcp"), &all);
    exchange(&mut server.text("frame"), &frame(&all));
    exchange(
        &mut server.text("netstring"),
        &[b"256:", &all[..], b","].concat(),
    );
    let line = [&all_bytes(b"\n")[..], b".\n"].concat();
    exchange(&mut server.text("text"), &line);
    assert_eq!(server.http().post("/", &all).body, all);
    let mut ws = server.ws("websocket");
    ws.send_message(Message::binary(all.clone()));
    assert_eq!(ws.message(), Message::binary(all));
    let zero = "a NUL \0 in a text";
    assert_eq!(ask(&mut ws, zero), zero);
}

pub(crate) fn sixteen_mib(language: &'static Language) {
    let server = server(language, &["frame", "http", "websocket"]);
    let body: Vec<u8> = (0..=250).cycle().take(SIXTEEN_MIB).collect();
    let mut client = server.text("frame");
    client.write(&frame(&body));
    assert!(receive_frame(&mut client) == body, "another frame");
    let answer = server.http().post("/", &body);
    assert!(answer.body == body, "another body: {}", answer.status);
    let mut raw = server.raw_ws("websocket");
    raw.send(true, 2, &body);
    let echo = raw.frame();
    assert!(echo.opcode == 2 && echo.payload == body, "another message");
    let text = "x".repeat(SIXTEEN_MIB);
    raw.send(true, 1, text.as_bytes());
    let echo = raw.frame();
    assert!(
        echo.opcode == 1 && echo.payload == text.as_bytes(),
        "another text"
    );
}

pub(crate) fn utf8_whole(language: &'static Language) {
    let server = server(language, &["text", "http", "websocket"]);
    let words = "grüße, 世界: 😀𝄞";
    assert_eq!(ask(&mut server.ws("websocket"), words), words);
    // A character in four frames.
    let mut raw = server.raw_ws("websocket");
    for (number, byte) in "😀".bytes().enumerate() {
        let opcode = u8::from(number == 0);
        raw.send(number == 3, opcode, &[byte]);
    }
    assert_eq!(raw.frame().payload, "😀".as_bytes());
    // And in two reads: the line before it is answered in between.
    let mut client = server.text("text");
    let (first, second) = words.as_bytes().split_at(words.len() - 6);
    client.write(&[b"so: \n", first].concat());
    assert_eq!(client.line(), "so: ");
    client.write(&[second, b"\n"].concat());
    assert_eq!(client.line(), words);
    assert_eq!(server.http().post("/", words.as_bytes()).text(), words);
}

pub(crate) fn utf8_refused_in(language: &'static Language) {
    let mut server = server(language, &["websocket"]);
    server.expect("websocket");
    let mut neighbour = server.ws("websocket");
    for broken in [&b"\xff"[..], b"half a character: \xf0\x9f\x98", b"\xc0\x80"] {
        let mut raw = server.raw_ws("websocket");
        raw.send(true, 1, broken);
        assert_eq!(raw.frame().close_code(), Some(1007), "{broken:?}");
    }
    assert_eq!(ask(&mut neighbour, "still here"), "still here");
}

pub(crate) fn utf8_refused_out(language: &'static Language) {
    let server = server(language, &["websocket"]);
    let mut client = server.ws("websocket");
    assert_eq!(ask(&mut client, "!invalid"), "refused");
    assert_eq!(ask(&mut client, "still here"), "still here");
}
