//! Handshakes that are under way while a process is replaced, goes or dies are completed by whoever comes next.
//!
//! The kernel ties a handshake to the listening socket that its first segment came to, and resets it when the last
//! descriptor of that socket is closed. `TCP_DEFER_ACCEPT` keeps handshakes at that point for as long as the client says
//! nothing.

use std::io::ErrorKind;

use nix::sys::signal::Signal;
use workhive_tests::obeys::{Obeys, Who};
use workhive_tests::text::TextClient;
use workhive_tests::{eventually, proc, program, sockets, tools};

const CLIENTS: usize = 100;

/// The ways in which processes come to their listening sockets.
const MODES: [(&str, usize); 4] = [
    ("inherited", 1),
    ("reuse-port", 3),
    ("exec", 3),
    ("inside, each with its own", 3),
];

fn start(mode: &str) -> Obeys {
    let options = ["--count", "3", "--drain", "1"];
    match mode {
        "inherited" => Obeys::start(program!("obeys"), &options),
        "reuse-port" => Obeys::start(
            program!("obeys"),
            &[&options[..], &["--reuse-port"]].concat(),
        ),
        "exec" => {
            let anew = ["--reuse-port", "--spawn", "exec"];
            Obeys::start(program!("obeys"), &[&options[..], &anew].concat())
        }
        _ => Obeys::start_inside(program!("obeys"), &options),
    }
}

/// With the system's own remedy these tests would show nothing.
fn migrates() -> bool {
    let setting = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_migrate_req");
    setting.is_ok_and(|setting| setting.trim() != "0")
}

/// Lets something happen between the first and the last segment of a hundred handshakes.
fn handshakes_survive(what: impl Fn(&Obeys)) {
    if migrates() {
        return tools::missing("net.ipv4.tcp_migrate_req is not 0");
    }
    for (mode, sockets) in MODES {
        let obeys = start(mode);
        let before = obeys.hive.slots();
        match sockets::hold_handshakes(obeys.hive.pid(), &obeys.port) {
            Ok(held) => assert_eq!(held, sockets, "the master has all sockets: {mode}"),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                return tools::skip("the sockets of other processes are not to be had here");
            }
            Err(error) => panic!("{mode}: {error}"),
        }
        let mut clients: Vec<TextClient> = (0..CLIENTS).map(|_| obeys.client()).collect();
        wait_for_handshakes(&obeys);
        what(&obeys);
        wait_for_handshakes(&obeys);
        for client in &mut clients {
            client.send("who");
        }
        for (number, client) in clients.iter_mut().enumerate() {
            let answer = client.try_line();
            let who = answer.as_ref().ok().and_then(Option::as_deref);
            assert!(
                who.and_then(Who::said).is_some(),
                "{mode}: client {number} of {CLIENTS}: {answer:?}"
            );
        }
        let after = obeys.hive.slots();
        assert_ne!(before, after, "{mode}: nothing has happened");
    }
}

/// None is complete, and none was given up.
fn wait_for_handshakes(obeys: &Obeys) {
    eventually("all handshakes are under way", || {
        (sockets::handshakes(&obeys.port) == CLIENTS).then_some(())
    });
}

fn wait_for_the_end_of(pids: &[u32]) {
    eventually("the end of the old processes", || {
        pids.iter().all(|pid| !proc::is_alive(*pid)).then_some(())
    });
}

#[test]
fn handshakes_under_way_survive_a_reload() {
    handshakes_survive(|obeys| {
        let before = obeys.hive.slots();
        let reloaded = obeys.hive.verb::<&str>("reload", &[]);
        assert_eq!(reloaded.code, Some(0), "{reloaded:?}");
        wait_for_the_end_of(&before);
    });
}

#[test]
fn handshakes_under_way_survive_that_there_are_fewer_processes() {
    handshakes_survive(|obeys| {
        let before = obeys.hive.slots();
        let scaled = obeys.hive.verb("scale", &["1"]);
        assert_eq!(scaled.code, Some(0), "{scaled:?}");
        wait_for_the_end_of(&before[1..]);
    });
}

#[test]
fn handshakes_under_way_survive_the_death_of_every_process() {
    handshakes_survive(|obeys| {
        let mark = obeys.hive.mark();
        let before = obeys.hive.slots();
        for pid in &before {
            proc::signal(*pid, Signal::SIGKILL);
        }
        wait_for_the_end_of(&before);
        for slot in 0..before.len() {
            let ready = format!("slot={slot} ready");
            obeys.hive.wait_for_line_after(mark, &ready);
        }
    });
}
