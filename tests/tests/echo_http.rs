//! `workhive echo http://..`: HTTP/1.0 and HTTP/1.1 as clients use them.

use workhive_tests::http::HttpClient;
use workhive_tests::{Hive, Port, Setup, program};

fn echo(options: &[&str]) -> (Hive, Port) {
    let port = Port::reserve();
    let setup = Setup::echo(program!("workhive-under-test"), format!("http://{port}"));
    (setup.options(options.iter().copied()).start(), port)
}

#[test]
fn get_is_answered_with_hello_world_as_text() {
    let (_hive, port) = echo(&["--count", "2"]);
    let response = HttpClient::connect(port.addr()).get("/");
    assert_eq!((response.status, response.minor), (200, 1));
    assert_eq!(response.text(), "Hello, World!");
    assert!(
        response
            .header("content-type")
            .is_some_and(|kind| kind.starts_with("text/plain"))
    );
    assert!(
        response
            .header("date")
            .is_some_and(|date| date.ends_with(" GMT"))
    );
}

#[test]
fn a_path_that_there_is_not_gets_404() {
    let (_hive, port) = echo(&[]);
    assert_eq!(HttpClient::connect(port.addr()).get("/nothing").status, 404);
}

#[test]
fn a_connection_is_kept_for_many_requests() {
    let (_hive, port) = echo(&[]);
    let mut client = HttpClient::connect(port.addr());
    for _ in 0..100 {
        let response = client.get("/");
        assert_eq!(response.text(), "Hello, World!");
        assert!(!response.closes());
    }
}

#[test]
fn requests_sent_at_once_are_answered_in_order() {
    let (_hive, port) = echo(&[]);
    let mut client = HttpClient::connect(port.addr());
    let mut bytes = Vec::new();
    for n in 0..200 {
        let body = format!("request {n}");
        let head = format!(
            "PUT /{n} HTTP/1.1\r\nHost: test\r\nContent-Length: {}",
            body.len()
        );
        bytes.extend_from_slice(format!("{head}\r\n\r\n{body}").as_bytes());
    }
    client.send(&bytes).expect("a peer that takes bytes");
    for n in 0..200 {
        assert_eq!(client.response().text(), format!("request {n}"));
    }
}

#[test]
fn a_body_comes_back_with_its_type_whatever_method_and_path() {
    let (_hive, port) = echo(&[]);
    let mut client = HttpClient::connect(port.addr());
    for method in ["POST", "PUT", "PATCH", "DELETE", "GET"] {
        let request = format!(
            "{method} /any/path?a=b HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n\
             Content-Length: 7\r\n\r\n{{\"a\":1}}"
        );
        client.send(request).expect("a peer that takes bytes");
        let response = client.response();
        assert_eq!(response.text(), r#"{"a":1}"#, "{method}");
        assert_eq!(response.header("content-type"), Some("application/json"));
    }
}

#[test]
fn the_header_lines_of_a_request_come_back() {
    let (_hive, port) = echo(&[]);
    let mut client = HttpClient::connect(port.addr());
    let request = "GET /headers HTTP/1.1\r\nHost: test\r\nX-One: 1\r\nx-two:   two words  \r\n\r\n";
    client.send(request).expect("a peer that takes bytes");
    let response = client.response();
    assert_eq!(response.status, 200);
    let text = response.text().to_ascii_lowercase();
    let lines: Vec<&str> = text.lines().collect();
    for line in ["host: test", "x-one: 1", "x-two: two words"] {
        assert!(lines.contains(&line), "{lines:?}");
    }
}

#[test]
fn head_has_the_fields_of_get_and_no_body() {
    let (_hive, port) = echo(&[]);
    let mut client = HttpClient::connect(port.addr());
    client
        .send("HEAD / HTTP/1.1\r\nHost: test\r\n\r\n")
        .expect("a peer that takes bytes");
    let response = client.head_response();
    assert_eq!(response.status, 200);
    assert_eq!(response.header("content-length"), Some("13"));
    // A body would be taken for the next answer.
    assert_eq!(client.get("/").text(), "Hello, World!");
}

#[test]
fn connection_close_is_obeyed_after_the_answer() {
    let (_hive, port) = echo(&[]);
    let mut client = HttpClient::connect(port.addr());
    client
        .send("GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
        .expect("a peer that takes bytes");
    let response = client.response();
    assert_eq!(response.text(), "Hello, World!");
    assert!(response.closes());
    assert!(client.is_at_end());
}

#[test]
fn http_1_0_closes_unless_asked_to_stay() {
    let (_hive, port) = echo(&[]);
    let mut client = HttpClient::connect(port.addr());
    client
        .send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        .expect("a peer that takes bytes");
    let response = client.response();
    assert_eq!(response.header("connection"), Some("keep-alive"));
    client
        .send("GET / HTTP/1.0\r\n\r\n")
        .expect("a peer that takes bytes");
    assert_eq!(client.response().text(), "Hello, World!");
    assert!(client.is_at_end());
}

#[test]
fn a_chunked_upload_comes_back_whole() {
    let (_hive, port) = echo(&[]);
    let mut client = HttpClient::connect(port.addr());
    client
        .send("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n")
        .expect("a peer that takes bytes");
    let mut expected = Vec::new();
    for n in 1..200_usize {
        let chunk = vec![b'a' + u8::try_from(n % 26).expect("a letter"); n * 7];
        client
            .send(format!("{:x};ext=1\r\n", chunk.len()))
            .expect("a peer that takes bytes");
        client.send(&chunk).expect("a peer that takes bytes");
        client.send("\r\n").expect("a peer that takes bytes");
        expected.extend_from_slice(&chunk);
    }
    client
        .send("0\r\nTrailer: yes\r\n\r\n")
        .expect("a peer that takes bytes");
    assert!(client.response().body == expected);
    assert_eq!(client.get("/").status, 200);
}

#[test]
fn a_client_that_expects_100_is_told_to_continue() {
    let (_hive, port) = echo(&[]);
    let mut client = HttpClient::connect(port.addr());
    client
        .send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        .expect("a peer that takes bytes");
    assert_eq!(client.response().status, 100);
    client.send("hello").expect("a peer that takes bytes");
    assert_eq!(client.response().text(), "hello");
}

#[test]
fn a_client_that_expects_100_for_too_much_is_spared_the_upload() {
    let (_hive, port) = echo(&["--max-message", "1K"]);
    let mut client = HttpClient::connect(port.addr());
    client
        .send(
            "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1025\r\nExpect: 100-continue\r\n\r\n",
        )
        .expect("a peer that takes bytes");
    assert_eq!(client.response().status, 413);
    assert!(client.is_at_end());
}

#[test]
fn a_body_of_16_mib_comes_back() {
    let (_hive, port) = echo(&["--max-message", "64M"]);
    let body = vec![0x5a; 16 << 20];
    assert!(HttpClient::connect(port.addr()).post("/", &body).body == body);
}

#[test]
fn a_request_that_comes_byte_by_byte_is_answered() {
    let (_hive, port) = echo(&[]);
    let mut client = HttpClient::connect(port.addr());
    for byte in b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\nabc" {
        client.send([*byte]).expect("a peer that takes bytes");
    }
    assert_eq!(client.response().text(), "abc");
}

#[test]
fn a_half_closed_client_gets_all_its_answers() {
    let (_hive, port) = echo(&[]);
    let mut client = HttpClient::connect(port.addr());
    let request = "GET / HTTP/1.1\r\nHost: test\r\n\r\n".repeat(50);
    client.send(request).expect("a peer that takes bytes");
    client
        .socket()
        .shutdown(std::net::Shutdown::Write)
        .expect("an open connection");
    for _ in 0..50 {
        assert_eq!(client.response().text(), "Hello, World!");
    }
    assert!(client.is_at_end());
}

#[test]
fn requests_that_smuggling_needs_are_refused() {
    let (_hive, port) = echo(&[]);
    for (fields, status) in [
        ("Content-Length: 5\r\nContent-Length: 6\r\n", 400),
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", 400),
        ("Transfer-Encoding: chunked, identity\r\n", 400),
        ("Transfer-Encoding: gzip, chunked\r\n", 501),
        ("Content-Length: +5\r\n", 400),
        ("Content-Length : 5\r\n", 400),
        ("X: a\r\n folded\r\n", 400),
    ] {
        let mut client = HttpClient::connect(port.addr());
        client
            .send(format!("POST / HTTP/1.1\r\nHost: test\r\n{fields}\r\n"))
            .expect("a peer that takes bytes");
        let response = client.response();
        assert_eq!(response.status, status, "{fields:?}");
        assert!(response.closes());
        assert!(client.is_at_end());
    }
    let mut client = HttpClient::connect(port.addr());
    client
        .send("GET / HTTP/1.1\r\n\r\n")
        .expect("a peer that takes bytes");
    assert_eq!(client.response().status, 400, "no Host");
}
