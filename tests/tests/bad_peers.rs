//! Peers that break the rules: each gets the answer that its protocol has for that, costs no memory, and disturbs
//! nobody who is served by the same process.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use workhive_tests::http::HttpClient;
use workhive_tests::text::TextClient;
use workhive_tests::ws::{RawWs, WsClient};
use workhive_tests::{Hive, Port, Setup, proc, program};

/// How much a worker's memory may grow, whatever its peers do, in KiB: far less than any of them sends or declares.
const SLACK_KIB: u64 = 4 * 1024;

/// One process, so that all peers meet in it.
fn echo(scheme: &str) -> (Hive, Port) {
    let port = Port::reserve();
    let target = format!("{scheme}://{port}");
    let setup = Setup::echo(program!("workhive-under-test"), target).options(["--count", "1"]);
    (setup.start(), port)
}

/// Somebody who is served by the same process: before, all the while, and after.
struct Neighbour {
    done: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Neighbour {
    fn new(mut ask: impl FnMut() + Send + 'static) -> Self {
        ask();
        let done = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&done);
        let thread = thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                ask();
            }
            ask();
        });
        Self { done, thread }
    }

    fn http(addr: SocketAddr) -> Self {
        let mut client = HttpClient::connect(addr);
        Self::new(move || assert_eq!(client.get("/").text(), "Hello, World!"))
    }

    fn websocket(addr: SocketAddr) -> Self {
        let mut client = WsClient::connect(addr);
        Self::new(move || {
            client.send("are you there");
            assert_eq!(client.text(), "are you there");
        })
    }

    fn text(addr: SocketAddr) -> Self {
        let mut client = TextClient::connect(addr);
        Self::new(move || assert_eq!(client.ask("are you there"), "are you there"))
    }

    /// Ends, and checks that it was served to the end on its one connection.
    fn finish(self) {
        self.done.store(true, Ordering::Relaxed);
        self.thread.join().expect("it was served to the end");
    }
}

/// Runs `bad` beside a neighbour, and checks the memory of the only process before and after.
fn beside(hive: &Hive, neighbour: Neighbour, bad: impl FnOnce()) {
    let workers = hive.workers();
    let &[worker] = workers.as_slice() else {
        panic!("one process, not {workers:?}");
    };
    let before = proc::rss_kib(worker);
    bad();
    let after = proc::rss_kib(worker);
    neighbour.finish();
    assert_eq!(hive.workers(), workers, "the process was replaced");
    assert!(
        after < before + SLACK_KIB,
        "the process grew from {before} to {after} KiB"
    );
}

#[test]
fn eleven_bytes_of_garbage_on_an_open_websocket_get_1002() {
    let (hive, port) = echo("websocket");
    beside(&hive, Neighbour::websocket(port.addr()), || {
        for _ in 0..200 {
            let mut client = RawWs::connect(port.addr());
            // A text frame with a reserved bit, a mask, and five bytes of 0xff.
            client.write(b"\xc1\x85\x12\x34\x56\x78\xff\xff\xff\xff\xff");
            let frame = client.frame();
            assert_eq!((frame.opcode, frame.close_code()), (8, Some(1002)));
            assert!(client.is_at_end());
        }
    });
}

#[test]
fn a_websocket_message_of_two_to_the_63_bytes_gets_1009() {
    let (hive, port) = echo("websocket");
    beside(&hive, Neighbour::websocket(port.addr()), || {
        for _ in 0..100 {
            let mut client = RawWs::connect(port.addr());
            client.write(b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x12\x34\x56\x78");
            assert_eq!(client.frame().close_code(), Some(1009));
        }
    });
}

#[test]
fn a_chunk_that_declares_2_gib_gets_413() {
    let (hive, port) = echo("http");
    beside(&hive, Neighbour::http(port.addr()), || {
        for _ in 0..100 {
            let mut client = HttpClient::connect(port.addr());
            client
                .send("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n80000000\r\n")
                .expect("a peer that takes bytes");
            let response = client.response();
            assert_eq!(response.status, 413);
            assert!(response.closes() && client.is_at_end());
        }
    });
}

#[test]
fn a_body_that_declares_2_gib_gets_413() {
    let (hive, port) = echo("http");
    beside(&hive, Neighbour::http(port.addr()), || {
        for length in ["2147483648", "99999999999999999999999999"] {
            let mut client = HttpClient::connect(port.addr());
            client
                .send(format!(
                    "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n"
                ))
                .expect("a peer that takes bytes");
            assert_eq!(client.response().status, 413);
            assert!(client.is_at_end());
        }
    });
}

#[test]
fn a_head_without_an_end_gets_431_and_its_answer_is_not_lost_in_a_reset() {
    let (hive, port) = echo("http");
    beside(&hive, Neighbour::http(port.addr()), || {
        for _ in 0..20 {
            let mut client = HttpClient::connect(port.addr());
            client
                .send("GET / HTTP/1.1\r\nHost: test\r\nX: ")
                .expect("a peer that takes bytes");
            // 64 KiB, four times the limit. The server may close when it has seen enough.
            for _ in 0..64 {
                if client.send([b'x'; 1024]).is_err() {
                    break;
                }
            }
            let response = client.response();
            assert_eq!(response.status, 431);
            assert!(response.closes());
        }
        let mut client = HttpClient::connect(port.addr());
        let fields = "X: 1\r\n".repeat(101);
        client
            .send(format!("GET / HTTP/1.1\r\nHost: test\r\n{fields}\r\n"))
            .expect("a peer that takes bytes");
        assert_eq!(client.response().status, 431, "more than 100 fields");
    });
}

#[test]
fn an_endless_target_gets_a_4xx() {
    let (hive, port) = echo("http");
    beside(&hive, Neighbour::http(port.addr()), || {
        let mut client = HttpClient::connect(port.addr());
        client.send("GET /").expect("a peer that takes bytes");
        for _ in 0..64 {
            if client.send([b'a'; 1024]).is_err() {
                break;
            }
        }
        assert!(matches!(client.response().status, 414 | 431));
    });
}

#[test]
fn garbage_instead_of_http_gets_400() {
    let (hive, port) = echo("http");
    beside(&hive, Neighbour::http(port.addr()), || {
        // The beginning of a TLS handshake, a request of another century, and noise.
        for garbage in [
            &b"\x16\x03\x01\x02\x00\x01\x00"[..],
            b"GET /\r\n\r\n",
            b"\0\0\0\0",
        ] {
            let mut client = HttpClient::connect(port.addr());
            client.send(garbage).expect("a peer that takes bytes");
            assert_eq!(client.response().status, 400, "{garbage:?}");
            assert!(client.is_at_end());
        }
    });
}

#[test]
fn peers_that_say_nothing_or_stop_in_the_middle_are_timed_out() {
    let (http, http_port) = echo("http");
    let (websocket, ws_port) = echo("websocket");
    let served = Neighbour::http(http_port.addr());
    beside(&http, served, || {
        let served = Neighbour::websocket(ws_port.addr());
        beside(&websocket, served, || {
            // All of them wait side by side for the ten seconds that the protocols allow.
            let waiting: Vec<_> = (0..20)
                .map(|n| {
                    let mut unfinished = HttpClient::connect(http_port.addr());
                    unfinished
                        .send("GET / HTTP/1.1\r\nHost: te")
                        .expect("a peer that takes bytes");
                    let mut handshake = HttpClient::connect(ws_port.addr());
                    if n % 2 == 0 {
                        handshake
                            .send("GET / HTTP/1.1\r\nUpgrade: web")
                            .expect("a peer that takes bytes");
                    }
                    [unfinished, handshake]
                })
                .collect();
            for mut client in waiting.into_iter().flatten() {
                let response = client.response();
                assert_eq!(response.status, 408);
                assert!(response.closes() && client.is_at_end());
            }
        });
    });
}

#[test]
fn a_peer_that_sends_a_byte_a_second_does_not_stretch_the_header_timeout() {
    let (_hive, port) = echo("http");
    let mut client = HttpClient::connect(port.addr());
    client
        .send("GET / HTTP/1.1\r\nX: ")
        .expect("a peer that takes bytes");
    let reader = client.socket().try_clone().expect("a second descriptor");
    reader
        .set_read_timeout(Some(std::time::Duration::from_millis(500)))
        .expect("an open connection");
    // The read waits for half a second at a time; in between a byte is sent.
    let started = std::time::Instant::now();
    let mut first = [0];
    while let Err(error) = reader.peek(&mut first) {
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
        assert!(
            started.elapsed() < workhive_tests::DEADLINE,
            "no answer to a slow head"
        );
        if client.send("x").is_err() {
            break;
        }
    }
    assert_eq!(client.response().status, 408);
}

#[test]
fn a_megabyte_a_connection_of_lines_without_an_end_costs_no_memory_for_long() {
    let port = Port::reserve();
    let hive = Setup::echo(program!("workhive-under-test"), format!("text://{port}"))
        .options(["--max-message", "64K"])
        .start();
    beside(&hive, Neighbour::text(port.addr()), || {
        for _ in 0..50 {
            let mut client = TextClient::connect(port.addr());
            let mut socket = client.socket().try_clone().expect("a second descriptor");
            // The server ends the connection somewhere in the middle.
            let _ = std::io::Write::write_all(&mut socket, &vec![b'x'; 1 << 20]);
            // Or by a reset: what was sent after the server had enough met a closed socket.
            assert_eq!(client.until_gone(), b"");
        }
    });
}

#[test]
fn a_peer_that_does_not_read_its_answers_is_not_read_from_either() {
    let port = Port::reserve();
    // A small send buffer: the one of 20 MiB that echo has by default would hide what it is for.
    let hive = Setup::echo(program!("workhive-under-test"), format!("tcp://{port}"))
        .options(["--max-message", "64K"])
        .start();
    let neighbour = {
        let mut client = TextClient::connect(port.addr());
        Neighbour::new(move || {
            client.write(b"ping");
            assert_eq!(client.bytes(4), b"ping");
        })
    };
    beside(&hive, neighbour, || {
        let mut client = TextClient::connect(port.addr());
        let mut socket = client.socket().try_clone().expect("a second descriptor");
        socket
            .set_write_timeout(Some(std::time::Duration::from_secs(1)))
            .expect("an open connection");
        // Until the buffers of both kernels and of the server are full: then nothing is taken for a second.
        let block = vec![0x55; 64 * 1024];
        let mut sent = 0_usize;
        loop {
            match std::io::Write::write(&mut socket, &block) {
                Ok(len) => sent += len,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
            assert!(sent < 256 << 20, "the server takes without end");
        }
        // All of it comes back once the client reads.
        let back = client.bytes(sent);
        assert!(back.iter().all(|byte| *byte == 0x55));
    });
}
