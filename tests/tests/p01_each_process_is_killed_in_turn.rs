//! Each process is killed in turn: it is replaced in its slot, and nobody but its own connections notices.

use nix::sys::signal::Signal;
use workhive_tests::obeys::{Obeys, Who};
use workhive_tests::text::TextClient;
use workhive_tests::witnesses::{Death, Witnesses};
use workhive_tests::{eventually, proc, program};

#[test]
fn a_killed_process_is_replaced_in_its_slot_and_the_others_connections_stay() {
    let obeys = Obeys::start(program!("obeys"), &["--count", "3"]);
    let hive = &obeys.hive;
    let mut clients = obeys.clients(3);
    let before = hive.slots();
    for slot in 0..3 {
        let mark = hive.mark();
        let victim = hive.slots()[slot];
        proc::signal(victim, Signal::SIGKILL);
        let line = hive.wait_for_line_after(mark, &format!("slot={slot} ready"));
        assert!(line.contains("generation 1"), "{line}");
        let line = hive.wait_for_line_after(mark, &format!("obeys[{slot}]: pid {victim}"));
        assert!(line.contains("was killed by SIGKILL"), "{line}");
        // Its own connections have ended with it; those of the others have not noticed.
        for (other, client) in clients.iter_mut().enumerate() {
            if other == slot {
                assert_eq!(client.until_gone(), b"");
                *client = obeys.client_of(slot);
            } else {
                assert_eq!(Who::serves(client).slot, other);
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
    for worker in rows.iter().filter(|row| row["group"] == "obeys") {
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

/// Two rounds of deaths under 24 clients that know who serves them.
fn only_the_victims_connections_fail(options: &[&str]) {
    let obeys = Obeys::start(program!("obeys"), options);
    let hive = &obeys.hive;
    let witnesses = Witnesses::new(obeys.port.addr(), 24);
    let mut deaths = Vec::new();
    for generation in 1..=2 {
        for slot in 0..3 {
            witnesses.serve(500);
            let mark = hive.mark();
            deaths.push(Death::of(hive.slots()[slot]));
            let line = hive.wait_for_line_after(mark, &format!("slot={slot} ready"));
            assert!(line.contains(&format!("generation {generation}")), "{line}");
            // Everybody is where the books say.
            let pids = hive.slots();
            let who = Who::serves(&mut obeys.client_of(slot));
            assert_eq!((who.pid, who.generation), (pids[slot], generation));
        }
    }
    witnesses.serve(500);
    let unexplained = witnesses.unexplained(&deaths);
    assert!(unexplained.is_empty(), "{options:?}: {unexplained:?}");
}

#[test]
fn under_load_only_the_connections_of_the_killed_process_fail_with_inherited_listeners() {
    only_the_victims_connections_fail(&["--count", "3"]);
}

#[test]
fn under_load_only_the_connections_of_the_killed_process_fail_with_reuse_port() {
    only_the_victims_connections_fail(&["--count", "3", "--reuse-port"]);
}

#[test]
fn under_load_only_the_connections_of_the_killed_process_fail_in_exec_mode() {
    only_the_victims_connections_fail(&["--count", "3", "--spawn", "exec"]);
    only_the_victims_connections_fail(&["--count", "3", "--spawn", "exec", "--reuse-port"]);
}

#[test]
fn a_connection_that_waits_in_a_dead_process_socket_is_served_by_the_next() {
    // With a socket for each slot there is nobody else to take it.
    let obeys = Obeys::start(program!("obeys"), &["--count", "1", "--reuse-port"]);
    let worker = obeys.hive.workers()[0];
    proc::signal(worker, Signal::SIGSTOP);
    let mut waiting: Vec<TextClient> = (0..20).map(|_| obeys.client()).collect();
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
    let obeys = Obeys::start(program!("obeys"), &["--count", "2"]);
    let mut clients = obeys.clients(2);
    let worker = obeys.hive.slots()[1];
    let mark = obeys.hive.mark();
    proc::signal(worker, Signal::SIGTERM);
    obeys.hive.wait_for_line_after(mark, "slot=1 ready");
    assert_eq!(Who::serves(&mut clients[0]).slot, 0);
    eventually("the end of the old process", || {
        (!proc::is_alive(worker)).then_some(())
    });
    assert_eq!(obeys.hive.workers().len(), 2);
}
