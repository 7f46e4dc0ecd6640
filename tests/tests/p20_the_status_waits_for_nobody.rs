//! The status comes in milliseconds, whatever the processes do: it is read from the master's books and asks nobody.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;
use workhive_tests::obeys::Obeys;
use workhive_tests::{Hive, eventually, proc, program};

/// One status, as the command line asks for it, and how long it took.
fn status(hive: &Hive) -> (Value, Duration) {
    let begin = Instant::now();
    let mut stream = UnixStream::connect(hive.path("hive.sock")).expect("a control socket");
    stream
        .write_all(b"{\"command\":\"status\"}\n")
        .expect("a peer");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let took = begin.elapsed();
    (serde_json::from_str(&answer).expect("JSON"), took)
}

#[test]
fn the_status_comes_at_once_with_one_process_stopped_and_one_spinning() {
    let obeys = Obeys::start(program!("obeys"), &["--count", "3"]);
    let hive = &obeys.hive;
    let (slots, router) = (hive.slots(), hive.router().expect("a router"));
    let mut client = obeys.client_of(1);
    proc::signal(slots[0], Signal::SIGSTOP);
    proc::signal(router, Signal::SIGSTOP);
    client.send("spin");
    // The best of many: this machine may have other things to do.
    let best = eventually("a quick answer", || {
        let (status, took) = status(hive);
        let rows = status["workers"].as_array().expect("a list");
        assert_eq!(rows.len(), 4);
        let spins = rows
            .iter()
            .any(|row| row["pid"] == slots[1] && row["busy_ms"].is_number());
        (spins && took < Duration::from_millis(10)).then_some(took)
    });
    println!("the best took {best:?}");
    proc::signal(slots[0], Signal::SIGCONT);
    proc::signal(router, Signal::SIGCONT);
    // It would take its time to end.
    proc::signal(slots[1], Signal::SIGKILL);
}

#[test]
fn a_process_that_does_not_move_delays_no_status() {
    let obeys = Obeys::start(program!("obeys"), &["--count", "3"]);
    let hive = &obeys.hive;
    let children = proc::children(hive.pid());
    for child in &children {
        proc::signal(*child, Signal::SIGSTOP);
    }
    let status = hive.status();
    // The workers and the router.
    assert_eq!(status["workers"].as_array().map(Vec::len), Some(4));
    // Stopped on purpose is not dead: nobody is replaced.
    for child in &children {
        proc::signal(*child, Signal::SIGCONT);
    }
    assert_eq!(proc::children(hive.pid()), children);
}
