//! `workhive echo websocket://..`: messages of all kinds and sizes.

use tungstenite::Message;
use workhive_tests::http::HttpClient;
use workhive_tests::ws::{RawWs, WsClient};
use workhive_tests::{Hive, Port, Setup, program};

fn echo(options: &[&str]) -> (Hive, Port) {
    let port = Port::reserve();
    let setup = Setup::echo(
        program!("workhive-under-test"),
        format!("websocket://{port}"),
    );
    (setup.options(options.iter().copied()).start(), port)
}

#[test]
fn text_comes_back_as_text_and_bytes_as_bytes() {
    let (_hive, port) = echo(&["--count", "2"]);
    let mut client = WsClient::connect(port.addr());
    for message in [
        Message::text("hello"),
        Message::text(""),
        Message::text("größer 👍"),
        Message::binary(vec![0, 255, 128]),
        Message::binary(vec![]),
        Message::binary(vec![7; 70_000]),
    ] {
        client.send_message(message.clone());
        assert_eq!(client.message(), message);
    }
    client.close();
}

#[test]
fn a_message_of_16_mib_comes_back() {
    let (_hive, port) = echo(&["--max-message", "64M"]);
    let mut client = WsClient::connect(port.addr());
    let message = Message::binary(vec![0xa5; 16 << 20]);
    client.send_message(message.clone());
    assert!(client.message() == message);
    let message = Message::text("½".repeat(8 << 20));
    client.send_message(message.clone());
    assert!(client.message() == message);
}

#[test]
fn a_message_in_65536_fragments_comes_back_and_in_one_more_does_not() {
    let (_hive, port) = echo(&[]);
    let mut client = RawWs::connect(port.addr());
    let fragments = |count: usize| {
        let mut bytes = Vec::new();
        for n in 0..count {
            let opcode = if n == 0 { 2 } else { 0 };
            bytes.extend(workhive_tests::ws::frame(n + 1 == count, opcode, b"x"));
        }
        bytes
    };
    client.write(&fragments(65_536));
    let frame = client.frame();
    assert!(frame.fin && frame.opcode == 2 && frame.payload == vec![b'x'; 65_536]);
    client.write(&fragments(65_537));
    assert_eq!(client.frame().close_code(), Some(1008));
}

#[test]
fn a_ping_between_fragments_is_answered_at_once() {
    let (_hive, port) = echo(&[]);
    let mut client = RawWs::connect(port.addr());
    client.send(false, 1, "gr\u{f6}".as_bytes());
    client.send(true, 9, b"now");
    let pong = client.frame();
    assert_eq!((pong.opcode, &pong.payload[..]), (10, &b"now"[..]));
    client.send(true, 0, "\u{df}er".as_bytes());
    let message = client.frame();
    assert_eq!(
        (message.opcode, &message.payload[..]),
        (1, "größer".as_bytes())
    );
}

#[test]
fn a_goodbye_is_answered_with_its_own_code_and_the_connection_ends() {
    let (_hive, port) = echo(&[]);
    for (payload, code) in [
        (&b""[..], None),
        (&b"\x03\xe8"[..], Some(1000)),
        (&b"\x0f\xa1later"[..], Some(4001)),
    ] {
        let mut client = RawWs::connect(port.addr());
        client.send(true, 8, payload);
        let answer = client.frame();
        assert_eq!((answer.opcode, answer.close_code()), (8, code));
        assert!(client.is_at_end());
    }
}

#[test]
fn broken_rules_end_with_their_codes() {
    let (_hive, port) = echo(&["--max-message", "1K"]);
    let frame = workhive_tests::ws::frame;
    for (what, bytes, code) in [
        ("not masked", b"\x81\x02hi".to_vec(), 1002),
        ("a reserved bit", frame(true, 0x41, b"hi"), 1002),
        ("an unknown opcode", frame(true, 3, b""), 1002),
        ("a continuation of nothing", frame(true, 0, b"hi"), 1002),
        ("a long ping", frame(true, 9, &[0; 126]), 1002),
        ("a ping in fragments", frame(false, 9, b""), 1002),
        ("a goodbye of one byte", frame(true, 8, b"\x03"), 1002),
        (
            "a goodbye with code 1005",
            frame(true, 8, b"\x03\xed"),
            1002,
        ),
        ("no UTF-8", frame(true, 1, b"\xff"), 1007),
        ("half a character", frame(true, 1, b"\xc3"), 1007),
        ("too much", frame(true, 2, &[0; 1025]), 1009),
    ] {
        let mut client = RawWs::connect(port.addr());
        client.write(&bytes);
        assert_eq!(client.frame().close_code(), Some(code), "{what}");
    }
    let mut client = RawWs::connect(port.addr());
    client.send(true, 2, &[0; 1024]);
    assert_eq!(client.frame().payload.len(), 1024);
}

#[test]
fn text_that_is_broken_in_a_later_fragment_ends_before_its_message_does() {
    let (_hive, port) = echo(&[]);
    let mut client = RawWs::connect(port.addr());
    client.send(false, 1, b"fine \xc3");
    client.send(false, 0, b"\xa4 and broken \xff");
    assert_eq!(client.frame().close_code(), Some(1007));
}

#[test]
fn a_plain_http_request_is_told_to_upgrade() {
    let (_hive, port) = echo(&[]);
    let mut client = HttpClient::connect(port.addr());
    let response = client.get("/");
    assert!(matches!(response.status, 400 | 426), "{response:?}");
    assert!(client.is_at_end());
    // An old version of the protocol is told which one would do (RFC 6455 section 4.2.2).
    let mut client = HttpClient::connect(port.addr());
    client
        .send(
            "GET / HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 8\r\n\r\n",
        )
        .expect("a peer that takes bytes");
    let response = client.response();
    assert_eq!(response.status, 426);
    assert_eq!(response.header("sec-websocket-version"), Some("13"));
}

#[test]
fn a_message_sent_in_one_write_with_the_handshake_is_answered() {
    let (_hive, port) = echo(&[]);
    let mut client = HttpClient::connect(port.addr());
    let mut bytes =
        b"GET / HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
            .to_vec();
    bytes.extend(workhive_tests::ws::frame(true, 1, b"early"));
    client.send(&bytes).expect("a peer that takes bytes");
    assert_eq!(client.response().status, 101);
    client
        .send(workhive_tests::ws::frame(true, 8, b""))
        .expect("a peer that takes bytes");
    assert_eq!(client.rest().expect("an end"), b"\x81\x05early\x88\x00");
}
