//! `workhive echo` for text, frame and tcp, over TCP and over Unix sockets.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use workhive_tests::text::{TextClient, connect};
use workhive_tests::{DEADLINE, Hive, Port, Setup, program};

fn echo(scheme: &str, options: &[&str]) -> (Hive, Port) {
    let port = Port::reserve();
    let setup = Setup::echo(
        program!("workhive-under-test"),
        format!("{scheme}://{port}"),
    );
    (setup.options(options.iter().copied()).start(), port)
}

/// A frame: its length, the four bytes of the length included, and its body.
fn frame(body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(body.len() + 4).expect("a length of 32 bits");
    [&len.to_be_bytes()[..], body].concat()
}

/// Bytes without a pattern that a shifted or repeated block could hide in.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        })
        .collect()
}

/// Sends everything while it receives the same amount, as peers do whose messages are larger than the buffers between
/// them.
fn exchange(addr: std::net::SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let stream = connect(addr).expect("a connection");
    let mut writer = stream.try_clone().expect("a second descriptor");
    std::thread::scope(|scope| {
        scope.spawn(move || writer.write_all(bytes).expect("a peer that takes bytes"));
        let mut received = vec![0; bytes.len()];
        let mut stream = stream;
        stream.read_exact(&mut received).expect("as many bytes");
        received
    })
}

#[test]
fn a_line_comes_back() {
    let (_hive, port) = echo("text", &["--count", "2"]);
    let mut client = TextClient::connect(port.addr());
    assert_eq!(client.ask("hello"), "hello");
    assert_eq!(client.ask(""), "");
    assert_eq!(client.ask("größer"), "größer");
    client.write(b"with a carriage return\r\n");
    assert_eq!(client.line(), "with a carriage return");
}

#[test]
fn a_line_in_pieces_and_lines_in_one_piece_come_back_one_by_one() {
    let (_hive, port) = echo("text", &[]);
    let mut client = TextClient::connect(port.addr());
    for byte in b"slowly" {
        client.write(&[*byte]);
    }
    client.write(b"\none\ntwo\nthr");
    assert_eq!(client.line(), "slowly");
    assert_eq!(client.line(), "one");
    assert_eq!(client.line(), "two");
    client.write(b"ee\n");
    assert_eq!(client.line(), "three");
}

#[test]
fn a_line_longer_than_the_limit_ends_its_connection_and_no_other() {
    let (_hive, port) = echo("text", &["--max-message", "1K"]);
    let mut neighbour = TextClient::connect(port.addr());
    let mut client = TextClient::connect(port.addr());
    let longest = "x".repeat(1024);
    assert_eq!(client.ask(&longest), longest);
    client.write(&[b'y'; 2000]);
    assert!(client.try_line().is_ok_and(|line| line.is_none()));
    assert_eq!(neighbour.ask("still here"), "still here");
}

#[test]
fn a_frame_comes_back() {
    let (_hive, port) = echo("frame", &["--count", "2"]);
    let mut client = TextClient::connect(port.addr());
    for body in [&b"hello"[..], b"", b"\0\xff\n", &noise(100_000)] {
        client.write(&frame(body));
        assert_eq!(client.bytes(body.len() + 4), frame(body));
    }
}

#[test]
fn a_frame_of_16_mib_comes_back() {
    let (_hive, port) = echo("frame", &["--max-message", "64M"]);
    let sent = frame(&noise(16 << 20));
    assert!(exchange(port.addr(), &sent) == sent);
}

#[test]
fn a_frame_as_long_as_the_limit_comes_back() {
    let (_hive, port) = echo("frame", &["--max-message", "64M"]);
    let sent = frame(&noise(64 << 20));
    assert!(exchange(port.addr(), &sent) == sent);
}

#[test]
fn a_line_as_long_as_the_limit_comes_back() {
    let (_hive, port) = echo("text", &["--max-message", "64M"]);
    for mib in [16, 64] {
        let sent = ["x".repeat(mib << 20), "\n".to_owned()]
            .concat()
            .into_bytes();
        assert!(exchange(port.addr(), &sent) == sent, "{mib} MiB");
    }
}

#[test]
fn a_frame_that_declares_too_much_ends_its_connection_at_once() {
    let (_hive, port) = echo("frame", &[]);
    let mut neighbour = TextClient::connect(port.addr());
    for declared in [0_u32, 3, (10 << 20) + 5, u32::MAX] {
        let mut client = TextClient::connect(port.addr());
        client.write(&declared.to_be_bytes());
        assert_eq!(client.rest().expect("an end"), b"", "{declared}");
    }
    neighbour.write(&frame(b"still here"));
    assert_eq!(neighbour.bytes(14), frame(b"still here"));
}

#[test]
fn bytes_come_back_over_plain_tcp() {
    let (_hive, port) = echo("tcp", &["--count", "2"]);
    let sent = noise(5 << 20);
    assert!(exchange(port.addr(), &sent) == sent);
}

#[test]
fn what_was_sent_before_the_half_close_comes_back_before_the_end() {
    let (_hive, port) = echo("tcp", &[]);
    let mut client = TextClient::connect(port.addr());
    client.write(b"the last words");
    client.half_close();
    assert_eq!(client.rest().expect("an end"), b"the last words");
}

#[test]
fn a_unix_socket_serves_and_its_file_goes_with_the_hive() {
    let place = Setup::new(program!("workhive-under-test"));
    let path = place.path("echo.sock");
    let target = format!("text://unix:{}", path.display());
    let mut hive = Setup::echo(program!("workhive-under-test"), target)
        .options(["--count", "2"])
        .start();
    let mut stream = UnixStream::connect(&path).expect("a socket");
    stream
        .set_read_timeout(Some(DEADLINE))
        .expect("an open connection");
    stream
        .write_all(b"hello\n")
        .expect("a peer that takes bytes");
    let mut answer = [0; 6];
    stream.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"hello\n");
    assert!(hive.stop().success());
    assert!(!path.exists());
}

#[test]
fn a_unix_socket_left_over_from_a_killed_hive_is_replaced_and_a_living_one_is_not() {
    let place = Setup::new(program!("workhive-under-test"));
    let path = place.path("echo.sock");
    let target = format!("text://unix:{}", path.display());
    let setup = || Setup::echo(program!("workhive-under-test"), target.clone());
    {
        let mut killed = setup().start();
        killed.kill_master();
        workhive_tests::eventually("the end of the workers", || {
            killed.setup().family().is_empty().then_some(())
        });
    }
    assert!(path.exists(), "a killed master cannot remove its socket");
    let _hive = setup().start();
    let second = setup().verb::<&str>("start", &[]);
    assert_eq!(second.code, Some(1), "{second:?}");
    assert!(second.stderr.contains("in use"), "{second:?}");
    let mut stream = UnixStream::connect(&path).expect("the first one's socket");
    stream.write_all(b"x\n").expect("a peer that takes bytes");
    let mut answer = [0; 2];
    stream
        .set_read_timeout(Some(DEADLINE))
        .expect("an open connection");
    stream.read_exact(&mut answer).expect("an answer");
}

#[test]
fn an_address_that_makes_no_sense_is_a_usage_error() {
    for (target, word) in [
        ("gopher://127.0.0.1:70", "gopher"),
        ("text://127.0.0.1", "port"),
        ("text://127.0.0.1:99999", "99999"),
        ("text://unix:", "path"),
    ] {
        let ended = Setup::echo(program!("workhive-under-test"), target).verb::<&str>("start", &[]);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.stderr.contains(word), "{ended:?}");
    }
    let ended = Setup::new(program!("workhive-under-test"))
        .words(["echo"])
        .verb::<&str>("start", &[]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("SCHEME://ADDR"), "{ended:?}");
}
