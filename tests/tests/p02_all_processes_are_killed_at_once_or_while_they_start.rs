//! All processes are killed at once, in the middle of a reload, and before they are ready: the hive recovers from each.

use nix::sys::signal::Signal;
use workhive_tests::boots::Boots;
use workhive_tests::obeys::{Obeys, Who};
use workhive_tests::witnesses::{Death, Witnesses};
use workhive_tests::{eventually, proc, program};

const MODES: [&[&str]; 3] = [
    &["--count", "3"],
    &["--count", "3", "--reuse-port"],
    &["--count", "3", "--reuse-port", "--spawn", "exec"],
];

#[test]
fn all_processes_killed_at_once_come_back_in_their_slots() {
    for options in MODES {
        let obeys = Obeys::start(program!("obeys"), options);
        let hive = &obeys.hive;
        let before = hive.slots();
        let mark = hive.mark();
        for pid in &before {
            proc::signal(*pid, Signal::SIGKILL);
        }
        // Nobody is there to accept at this moment; the queue is.
        assert_eq!(Who::serves(&mut obeys.client()).generation, 1);
        for slot in 0..3 {
            let line = hive.wait_for_line_after(mark, &format!("slot={slot} ready"));
            assert!(line.contains("generation 1"), "{line}");
        }
        let after = hive.slots();
        assert_eq!(after.len(), 3);
        assert!(after.iter().all(|pid| !before.contains(pid)));
    }
}

#[test]
fn all_processes_killed_at_once_under_load_refuse_nobody_and_lose_only_what_they_had() {
    for options in MODES {
        let obeys = Obeys::start(program!("obeys"), options);
        let hive = &obeys.hive;
        let witnesses = Witnesses::new(obeys.port.addr(), 16);
        let mut deaths = Vec::new();
        for _ in 0..3 {
            witnesses.serve(500);
            let mark = hive.mark();
            let pids = hive.slots().try_into().expect("three processes");
            deaths.extend(Death::of_all::<3>(pids));
            for slot in 0..3 {
                hive.wait_for_line_after(mark, &format!("slot={slot} ready"));
            }
        }
        witnesses.serve(500);
        let unexplained = witnesses.unexplained(&deaths);
        assert!(unexplained.is_empty(), "{options:?}: {unexplained:?}");
    }
}

#[test]
fn all_old_processes_killed_in_the_middle_of_a_reload_are_replaced_and_the_reload_ends() {
    for mode in MODES {
        let mut boots = Boots::start(program!("boots"), mode);
        let before = boots.hive.workers();
        boots.hold();
        let hive = &boots.hive;
        let reloading = hive.verb_later::<&str>("reload", &[]);
        boots.newcomer(&before);
        for pid in &before {
            proc::signal(*pid, Signal::SIGKILL);
        }
        eventually("their end", || {
            before.iter().all(|pid| !proc::is_alive(*pid)).then_some(())
        });
        let mut waiting = boots.client();
        waiting.send("who");
        boots.let_go();
        let hive = &boots.hive;
        // Those that were killed are replaced by their slots' own doing: that is as good as by the reload.
        let ended = reloading.finish();
        assert!(matches!(ended.code, Some(0 | 1)), "{ended:?}");
        let after = eventually("three new processes", || {
            let slots = hive.slots();
            (slots.len() == 3 && slots.iter().all(|pid| !before.contains(pid))).then_some(slots)
        });
        assert!(!waiting.line().starts_with("0 0 "));
        // And the next one finds nothing amiss.
        let again = hive.verb::<&str>("reload", &[]);
        assert_eq!(again.code, Some(0), "{again:?}");
        assert!(hive.slots().iter().all(|pid| !after.contains(pid)));
    }
}

#[test]
fn a_replacement_that_is_killed_while_it_starts_fails_the_reload() {
    let mut boots = Boots::start(program!("boots"), &[]);
    boots.hive.expect("before it was ready");
    boots.hive.expect("the reload failed");
    let before = boots.hive.workers();
    boots.hold();
    let reloading = boots.hive.verb_later::<&str>("reload", &[]);
    proc::signal(boots.newcomer(&before), Signal::SIGKILL);
    let failed = reloading.finish();
    assert_eq!(failed.code, Some(1), "{failed:?}");
    assert!(failed.stderr.contains("SIGKILL"), "{failed:?}");
    assert_eq!(boots.hive.workers(), before);
    let answer = boots.client().ask("who");
    assert!(answer.starts_with("0 0 "), "{answer}");
}

#[test]
fn a_process_that_is_killed_while_it_starts_is_started_again() {
    for mode in MODES {
        let mut boots = Boots::start(program!("boots"), mode);
        let mut seen = boots.hive.workers();
        let victim = boots.hive.slots()[1];
        boots.hold();
        let hive = &boots.hive;
        proc::signal(victim, Signal::SIGKILL);
        // Each is killed before it is ready; the waits between them grow.
        for failure in 1..=3 {
            let next = boots.newcomer(&seen);
            seen.push(next);
            let mark = hive.mark();
            proc::signal(next, Signal::SIGKILL);
            let line = hive.wait_for_line_after(mark, "in a row; next attempt");
            assert!(line.contains("boots[1]: failure "), "{failure}: {line}");
            // The siblings serve meanwhile, also what comes to the socket of the slot that is down.
            for _ in 0..10 {
                let answer = boots.client().ask("who");
                assert!(!answer.starts_with("1 "), "{answer}");
            }
        }
        let mark = hive.mark();
        boots.let_go();
        let hive = &boots.hive;
        hive.wait_for_line_after(mark, "slot=1 ready");
        assert_eq!(hive.slots().len(), 3);
        eventually("the slot serves", || {
            let answer = boots.client().ask("who");
            answer.starts_with("1 ").then_some(())
        });
    }
}

#[test]
fn a_hive_whose_processes_are_killed_while_it_starts_starts_all_the_same() {
    let boots = Boots::setup(program!("boots"), &["--count", "3"]);
    let mut boots = boots.fail("wait").launch();
    let first = eventually("three processes", || {
        let workers = boots.hive.workers();
        (workers.len() == 3).then_some(workers)
    });
    for pid in first {
        proc::signal(pid, Signal::SIGKILL);
    }
    boots.let_go();
    for slot in 0..3 {
        boots.hive.wait_for_line(&format!("slot={slot} ready"));
    }
    boots.hive.wait_for_line("Press Ctrl+C to stop.");
    assert_eq!(boots.hive.slots().len(), 3);
}
