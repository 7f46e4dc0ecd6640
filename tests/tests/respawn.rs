//! A process that dies is replaced, and nobody but its own connections notices.

use std::collections::BTreeSet;

use nix::sys::signal::Signal;
use workhive_tests::load::{Habit, Load};
use workhive_tests::text::TextClient;
use workhive_tests::{Hive, Port, Setup, eventually, proc, program};

fn boots(options: &[&str]) -> (Hive, Port) {
    let port = Port::reserve();
    let setup = Setup::new(program!("boots")).options(["--text", &port.to_string()]);
    (setup.options(options.iter().copied()).start(), port)
}

fn echo(options: &[&str]) -> (Hive, Port) {
    let port = Port::reserve();
    let setup = Setup::echo(program!("workhive-under-test"), format!("http://{port}"));
    (setup.options(options.iter().copied()).start(), port)
}

/// Slot, generation and pid of the process that a client is connected to.
fn whoami(client: &mut TextClient) -> (usize, u32, u32) {
    let answer = client.ask("who");
    let numbers: Vec<u32> = answer
        .split_ascii_whitespace()
        .map(|word| word.parse().expect("a number"))
        .collect();
    (
        usize::try_from(numbers[0]).expect("a slot"),
        numbers[1],
        numbers[2],
    )
}

/// A client for each process of the hive.
fn one_for_each(port: &Port, count: usize) -> Vec<TextClient> {
    let mut found: Vec<Option<TextClient>> = (0..count).map(|_| None).collect();
    eventually("a connection to every process", || {
        let mut client = TextClient::connect(port.addr());
        let (slot, ..) = whoami(&mut client);
        found[slot].get_or_insert(client);
        found.iter().all(Option::is_some).then_some(())
    });
    found.into_iter().flatten().collect()
}

#[test]
fn a_killed_process_is_replaced_in_its_slot_and_the_others_connections_stay() {
    let (hive, port) = boots(&["--count", "3"]);
    let mut clients = one_for_each(&port, 3);
    let before = hive.slots();
    for slot in 0..3 {
        let mark = hive.mark();
        let victim = hive.slots()[slot];
        proc::signal(victim, Signal::SIGKILL);
        let line = hive.wait_for_line_after(mark, &format!("slot={slot} ready"));
        assert!(line.contains("generation 1"), "{line}");
        let line = hive.wait_for_line_after(mark, &format!("boots[{slot}]: pid {victim}"));
        assert!(line.contains("was killed by SIGKILL"), "{line}");
        // Its own connections have ended with it; those of the others have not noticed.
        for (other, client) in clients.iter_mut().enumerate() {
            if other == slot {
                assert_eq!(client.until_gone(), b"");
                let mut again = TextClient::connect(port.addr());
                while whoami(&mut again).0 != slot {
                    again = TextClient::connect(port.addr());
                }
                *client = again;
            } else {
                assert_eq!(whoami(client).0, other);
            }
        }
    }
    let after = hive.slots();
    assert!(
        before.iter().all(|pid| !after.contains(pid)),
        "{before:?} {after:?}"
    );
    let status = hive.status();
    let rows = status["workers"].as_array().expect("a list");
    for worker in rows.iter().filter(|row| row["group"] == "boots") {
        assert_eq!(
            (&worker["restarts"], &worker["generation"]),
            (&1.into(), &1.into())
        );
        assert!(
            worker["last_exit"].to_string().contains("SIGKILL"),
            "{worker:#}"
        );
    }
}

#[test]
fn all_processes_killed_at_once_come_back() {
    let (hive, port) = boots(&["--count", "4"]);
    let mark = hive.mark();
    for pid in hive.workers() {
        proc::signal(pid, Signal::SIGKILL);
    }
    // Nobody is there to accept at this moment; the queue is.
    let mut client = TextClient::connect(port.addr());
    assert_eq!(whoami(&mut client).1, 1);
    for slot in 0..4 {
        hive.wait_for_line_after(mark, &format!("slot={slot} ready"));
    }
    assert_eq!(hive.workers().len(), 4);
}

#[test]
fn a_connection_that_waits_in_a_dead_process_socket_is_served_by_the_next() {
    // With a socket for each slot there is nobody else to take it.
    let (hive, port) = boots(&["--count", "1", "--reuse-port"]);
    let worker = hive.workers()[0];
    proc::signal(worker, Signal::SIGSTOP);
    let mut waiting: Vec<_> = (0..20).map(|_| TextClient::connect(port.addr())).collect();
    for client in &mut waiting {
        client.send("who");
    }
    proc::signal(worker, Signal::SIGKILL);
    for client in &mut waiting {
        let answer = client.line();
        assert!(answer.starts_with("0 1 "), "{answer}");
    }
}

#[test]
fn a_process_that_is_told_to_end_by_somebody_else_is_replaced_before_it_is_gone() {
    let (hive, port) = boots(&["--count", "2"]);
    let mut clients = one_for_each(&port, 2);
    let worker = hive.slots()[1];
    let mark = hive.mark();
    proc::signal(worker, Signal::SIGTERM);
    hive.wait_for_line_after(mark, "slot=1 ready");
    assert_eq!(whoami(&mut clients[0]).0, 0);
    eventually("the end of the old process", || {
        (!proc::is_alive(worker)).then_some(())
    });
    assert_eq!(hive.workers().len(), 2);
}

#[test]
fn connections_are_accepted_while_processes_are_killed_under_load() {
    for options in [&["--count", "3"][..], &["--count", "3", "--reuse-port"]] {
        let (hive, port) = echo(options);
        let (clients, kills) = (8, 6);
        let load = Load::new(port.addr(), clients, &[Habit::Fresh]);
        let mut seen: BTreeSet<u32> = hive.workers().into_iter().collect();
        for n in 0..kills {
            load.serve(50);
            let workers = hive.workers();
            let mark = hive.mark();
            proc::signal(workers[n % workers.len()], Signal::SIGKILL);
            hive.wait_for_line_after(mark, " ready in ");
            seen.extend(hive.workers());
        }
        load.serve(50);
        let tally = load.finish();
        assert_eq!(tally.refused, 0, "{options:?}: {tally:?}");
        // Each client can have been with the victim each time.
        assert!(tally.failed() <= kills * clients, "{options:?}: {tally:?}");
        assert!(seen.len() > 3, "{seen:?}");
    }
}

#[test]
fn keep_alive_connections_to_other_processes_do_not_notice_a_kill_under_load() {
    let (hive, port) = boots(&["--count", "3"]);
    let mut clients: Vec<_> = (0..30).map(|_| TextClient::connect(port.addr())).collect();
    let owners: Vec<u32> = clients.iter_mut().map(|client| whoami(client).2).collect();
    let victim = owners[0];
    let mark = hive.mark();
    proc::signal(victim, Signal::SIGKILL);
    hive.wait_for_line_after(mark, " ready in ");
    for (client, owner) in clients.iter_mut().zip(owners) {
        if owner == victim {
            assert_eq!(client.until_gone(), b"");
        } else {
            assert_eq!(whoami(client).2, owner);
        }
    }
}

#[test]
fn a_process_that_dies_young_is_replaced_after_a_wait_that_grows() {
    let (hive, _port) = boots(&[]);
    let mut ready = hive.wait_for_line("slot=0 ready");
    let mut waits = Vec::new();
    while waits.len() < 4 {
        let mark = hive.mark();
        let (_, pid) = ready.split_once("(pid ").expect("a pid");
        let (pid, _) = pid.split_once(',').expect("a pid");
        proc::signal(pid.parse().expect("a pid"), Signal::SIGKILL);
        ready = hive.wait_for_line_after(mark, "slot=0 ready");
        let log = hive.log();
        match log[mark..]
            .iter()
            .find_map(|line| line.split_once("next attempt in "))
        {
            Some((_, wait)) => waits.push(millis(wait)),
            // On a machine so busy that it has lived for a second, it counts as one that works: from the start.
            None => waits.clear(),
        }
    }
    assert!((99.0..130.0).contains(&waits[0]), "{waits:?}");
    assert!(waits.is_sorted(), "{waits:?}");
}

/// `123.4 ms` or `1.2 s`, in milliseconds.
fn millis(text: &str) -> f64 {
    let (number, unit) = text.split_once(' ').expect("a number and a unit");
    let factor = if unit == "ms" { 1.0 } else { 1000.0 };
    number.parse::<f64>().expect("a number") * factor
}
