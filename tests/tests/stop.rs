//! Stopping a hive: by verbs and by signals, at once and gracefully.

use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use workhive_tests::http::HttpClient;
use workhive_tests::text::connect;
use workhive_tests::ws::WsClient;
use workhive_tests::{Hive, Port, Setup, program};

fn echo(scheme: &str, options: &[&str]) -> (Hive, Port) {
    let port = Port::reserve();
    let setup = Setup::echo(
        program!("workhive-under-test"),
        format!("{scheme}://{port}"),
    );
    (setup.options(options.iter().copied()).start(), port)
}

/// A request whose body is still missing its end.
fn half_a_request(port: &Port) -> HttpClient {
    let mut client = HttpClient::connect(port.addr());
    // Served once, so that a process has it, and not the queue of the listening socket.
    assert_eq!(client.get("/").status, 200);
    client
        .send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nhello")
        .expect("a peer that takes bytes");
    client
}

/// By then every process has been told to drain, and has closed its copy of the listening socket.
fn wait_until_refused(port: &Port) {
    workhive_tests::eventually("new connections are refused", || {
        connect(port.addr())
            .is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
            .then_some(())
    });
}

#[track_caller]
fn assert_gone(hive: &Hive, port: &Port) {
    assert!(connect(port.addr()).is_err(), "somebody still listens");
    assert!(!hive.setup().pid_file().exists(), "the pid file is left");
    assert!(
        !hive.path("hive.sock").exists(),
        "the control socket is left"
    );
}

#[test]
fn every_signal_that_stops_ends_with_0_and_leaves_nothing() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGQUIT] {
        let (mut hive, port) = echo("http", &["--count", "3"]);
        hive.signal(signal);
        assert!(hive.wait().success(), "{signal}");
        assert_gone(&hive, &port);
        hive.wait_for_line("stopped");
    }
}

#[test]
fn the_verb_stop_returns_when_everything_has_ended() {
    for arguments in [&[][..], &["-g"]] {
        let (mut hive, port) = echo("http", &["--count", "3"]);
        let stopped = hive.verb("stop", arguments);
        assert_eq!(stopped.code, Some(0), "{stopped:?}");
        assert_gone(&hive, &port);
        assert!(hive.wait().success());
    }
}

#[test]
fn a_graceful_stop_takes_nothing_new_and_finishes_the_request_in_hand() {
    for how in ["TERM", "QUIT", "stop -g"] {
        let (mut hive, port) = echo("http", &["--count", "2"]);
        let mut client = half_a_request(&port);
        let stopping = match how {
            "TERM" => {
                hive.signal(Signal::SIGTERM);
                None
            }
            "QUIT" => {
                hive.signal(Signal::SIGQUIT);
                None
            }
            _ => Some(hive.verb_later("stop", &["-g"])),
        };
        wait_until_refused(&port);
        client.send("world").expect("a peer that takes bytes");
        let response = client.response();
        assert_eq!(response.text(), "helloworld", "{how}");
        assert!(response.closes(), "{how}");
        assert!(client.is_at_end(), "{how}");
        assert!(hive.wait().success(), "{how}");
        if let Some(stopping) = stopping {
            assert_eq!(stopping.finish().code, Some(0));
        }
    }
}

#[test]
fn a_graceful_stop_says_goodbye_to_websockets_with_1012() {
    let (mut hive, port) = echo("websocket", &["--drain", "1", "--count", "2"]);
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let mut client = WsClient::connect(port.addr());
            client.ping();
            client
        })
        .collect();
    hive.signal(Signal::SIGTERM);
    for mut client in clients {
        assert_eq!(client.close_code(), 1012);
    }
    assert!(hive.wait().success());
}

#[test]
fn a_stop_at_once_does_not_wait_for_a_request() {
    let (mut hive, port) = echo("http", &["--drain", "3600"]);
    let mut client = half_a_request(&port);
    let started = Instant::now();
    assert!(hive.stop().success());
    assert!(started.elapsed() < Duration::from_secs(20));
    // It is cut off, with or without a last word.
    match client.try_response(false) {
        Ok(response) => assert_eq!(response.status, 503),
        Err(error) => assert!(
            matches!(
                error.kind(),
                ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset
            ),
            "{error}"
        ),
    }
}

#[test]
fn a_graceful_stop_has_an_end_even_if_a_peer_has_none() {
    let (mut hive, port) = echo("http", &["--drain", "1"]);
    let client = half_a_request(&port);
    hive.signal(Signal::SIGTERM);
    assert!(hive.wait().success());
    drop(client);
}

#[test]
fn a_second_request_to_stop_is_more_urgent() {
    let (mut hive, port) = echo("http", &["--drain", "3600"]);
    let client = half_a_request(&port);
    hive.signal(Signal::SIGTERM);
    hive.wait_for_line("stopping gracefully");
    hive.signal(Signal::SIGINT);
    assert!(hive.wait().success());
    drop(client);
}

#[test]
fn a_process_that_is_stopped_by_a_debugger_does_not_keep_the_hive_from_ending() {
    let (mut hive, _port) = echo("http", &["--count", "2"]);
    let worker = hive.workers()[0];
    workhive_tests::proc::signal(worker, Signal::SIGSTOP);
    let status = hive.stop();
    assert!(status.success(), "{status}");
    assert_eq!(status.signal(), None);
    hive.wait_for_line("killed");
}
