//! Requests, responses, and handshakes.

use workhive_tests::http::HttpClient;

use super::language::Language;
use super::{ask, server};

pub(crate) fn handshake(language: &'static Language) {
    const HANDSHAKE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let server = server(language, &["websocket"]);
    let connect = || HttpClient::connect(server.addr("websocket"));
    let answer = connect().ask("GET", "/refuse", HANDSHAKE, "");
    assert_eq!((answer.status, answer.text().trim_end()), (403, "not here"));
    let offer = format!("{HANDSHAKE}Sec-WebSocket-Protocol: other, case\r\n");
    let answer = connect().ask("GET", "/chosen?a=1&b", &offer, "");
    assert_eq!(answer.status, 101, "{answer:?}");
    assert_eq!(answer.header("sec-websocket-protocol"), Some("case"));
    assert_eq!(answer.header("x-case"), Some("a=1&b"));
    let offer = format!("{HANDSHAKE}Sec-WebSocket-Protocol: other\r\n");
    let answer = connect().ask("GET", "/", &offer, "");
    assert_eq!(answer.status, 101, "{answer:?}");
    assert_eq!(answer.header("sec-websocket-protocol"), None);
    assert_eq!(answer.header("x-case"), Some(""));
    assert_eq!(ask(&mut server.ws("websocket"), "hello"), "hello");
}

pub(crate) fn http_request(language: &'static Language) {
    let server = server(language, &["http"]);
    let mut client = server.http();
    let answer = client.ask("GET", "/read?a=1&b=%20x&a=2", "x-CASE: some value\r\n", "");
    assert_eq!(
        answer.text(),
        "GET\n/read\na=1&b=%20x&a=2\nsome value\n1.1\n0\n"
    );
    let answer = client.ask("PUT", "/read", "", "12345");
    assert_eq!(answer.text(), "PUT\n/read\n\n\n1.1\n5\n");
    let answer = client.ask("DELETE", "/read?", "X-Case: \r\n", "");
    assert_eq!(answer.text(), "DELETE\n/read\n\n\n1.1\n0\n");
    client
        .send("POST /read HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n")
        .expect("a peer that takes bytes");
    assert_eq!(client.response().text(), "POST\n/read\n\n\n1.1\n7\n");
    client
        .send("GET /read HTTP/1.0\r\nX-Case: old\r\n\r\n")
        .expect("a peer that takes bytes");
    assert_eq!(client.response().text(), "GET\n/read\n\nold\n1.0\n0\n");
    assert!(client.is_at_end());
}

pub(crate) fn http_response(language: &'static Language) {
    let server = server(language, &["http"]);
    let mut client = server.http();
    for status in [200, 201, 404, 418, 503] {
        let answer = client.get(&format!("/status/{status}"));
        assert_eq!(answer.status, status);
        assert_eq!(answer.text(), format!("status {status}"));
        assert_eq!(answer.header("x-case"), Some("yes"));
    }
    let answer = client.post("/field", "ein Wert: a=\"b\"; c".as_bytes());
    assert_eq!((answer.status, answer.text()), (200, "ok"));
    assert_eq!(answer.header("x-case"), Some("ein Wert: a=\"b\"; c"));
    assert_eq!(client.get("/").text(), "Hello, World!");
}

pub(crate) fn http_stream(language: &'static Language) {
    let server = server(language, &["http"]);
    let mut client = server.http();
    for _ in 0..2 {
        let answer = client.get("/stream");
        assert_eq!((answer.status, answer.text()), (200, "one two three"));
        assert_eq!(answer.header("transfer-encoding"), Some("chunked"));
        assert_eq!(answer.header("content-type"), Some("text/plain"));
    }
    // Its client has gone before the end.
    let mut gone = server.http();
    gone.send("GET /stream HTTP/1.1\r\nHost: test\r\n\r\n")
        .expect("a peer that takes bytes");
    drop(gone);
    assert_eq!(client.get("/stream").text(), "one two three");
}

pub(crate) fn http_after(language: &'static Language) {
    let server = server(language, &["http"]);
    let mut client = server.http();
    // In one go: the answers keep the order of the requests.
    client
        .send("GET /after HTTP/1.1\r\nHost: test\r\n\r\nGET / HTTP/1.1\r\nHost: test\r\n\r\n")
        .expect("a peer that takes bytes");
    let mut other = server.http();
    assert_eq!(other.get("/").text(), "Hello, World!");
    assert_eq!(client.response().text(), "after");
    assert_eq!(client.response().text(), "Hello, World!");
}

pub(crate) fn http_injection(language: &'static Language) {
    let mut server = server(language, &["http"]);
    server.expect("ERROR");
    for value in [
        "a\r\nX-Injected: yes",
        "a\nX-Injected: yes",
        "a\rb",
        "a\r\n\r\nbody",
    ] {
        let answer = server.http().post("/field", value.as_bytes());
        assert_eq!(answer.status, 500, "{value:?}: {answer:?}");
        assert_eq!(answer.header("x-injected"), None);
        assert_eq!(answer.header("x-case"), None);
    }
    assert_eq!(server.http().get("/").text(), "Hello, World!");
}
