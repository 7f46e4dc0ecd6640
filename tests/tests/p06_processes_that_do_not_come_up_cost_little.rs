//! Processes that never become ready, fail at once, or die young: attempts are bounded, waits grow, and the reason is told.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use workhive_tests::boots::Boots;
use workhive_tests::obeys::{Obeys, Who};
use workhive_tests::{eventually, proc, program};

#[test]
fn a_start_that_fails_gives_its_reason_after_a_bounded_number_of_attempts() {
    for (how, reason) in [
        ("error", "the database is on fire"),
        ("exit", "exited with code 7"),
        ("panic", "the boot has burst"),
        ("abort", "SIGABRT"),
    ] {
        let boots = Boots::setup(program!("boots"), &[]).fail(how);
        let ended = boots.run(&[]);
        boots.as_setup().assert_failed(&ended, reason);
        assert_eq!(boots.attempts(), 5, "{how}");
    }
}

#[test]
fn many_slots_that_fail_make_no_fork_storm() {
    let boots = Boots::setup(program!("boots"), &["--count", "4"]).fail("error");
    let ended = boots.run(&[]);
    let setup = boots.as_setup();
    setup.assert_failed(&ended, "the database is on fire");
    let attempts = boots.attempts();
    assert!((5..=24).contains(&attempts), "{attempts} attempts");
}

#[test]
fn a_daemon_that_cannot_start_tells_its_starter_why() {
    for (how, reason) in [
        ("error", "the database is on fire"),
        ("exit", "exited with code 7"),
    ] {
        let boots = Boots::setup(program!("boots"), &[]).fail(how);
        let ended = boots.run(&["-d"]);
        boots.as_setup().assert_failed(&ended, reason);
        assert_eq!(boots.attempts(), 5, "{how}");
    }
}

#[test]
fn one_slot_that_fails_does_not_keep_the_others_from_serving() {
    let boots = Boots::setup(program!("boots"), &["--count", "2"]).fail("1 error");
    let mut boots = boots.start();
    boots.hive.expect("the database is on fire");
    assert!(boots.client().ask("who").starts_with("0 0 "));
    let status = boots.hive.status();
    let failed = &status["workers"][1];
    assert_eq!(failed["slot"], 1, "{status:#}");
    assert!(
        failed["last_exit"]
            .to_string()
            .contains("the database is on fire"),
        "{status:#}"
    );
    // Once what was wrong is mended, the slot comes to life by itself.
    boots.mend();
    boots.hive.wait_for_line("slot=1 ready");
}

#[test]
fn a_process_that_does_not_become_ready_in_the_time_given_has_failed() {
    let options = ["--boot-timeout", "0.2"];
    let boots = Boots::setup(program!("boots"), &options).fail("wait");
    let ended = boots.run(&[]);
    let setup = boots.as_setup();
    setup.assert_failed(&ended, "not ready within 200.0 ms");
}

#[test]
fn a_slot_whose_processes_do_not_become_ready_any_more_is_tried_again_until_one_does() {
    let options = ["--count", "2", "--boot-timeout", "0.2"];
    let mut boots = Boots::start(program!("boots"), &options);
    let victim = boots.hive.slots()[1];
    let mark = boots.hive.mark();
    boots.hold();
    proc::signal(victim, Signal::SIGKILL);
    let line = boots.hive.wait_for_line_after(mark, "failure 3 in a row");
    assert!(line.contains("boots[1]"), "{line}");
    let status = boots.hive.status();
    let last = &status["workers"][1]["last_exit"];
    assert!(last.to_string().contains("not ready within"), "{status:#}");
    boots.let_go();
    boots.hive.wait_for_line_after(mark, "slot=1 ready");
}

#[test]
fn a_process_that_has_worked_for_a_second_is_replaced_at_once_however_often_it_dies() {
    let obeys = Obeys::start(program!("obeys"), &["--count", "2"]);
    for generation in 0..3 {
        eventually("it has proved that it works", || {
            let status = obeys.hive.status();
            let row = &status["workers"][0];
            assert_eq!(row["slot"], 0, "{status:#}");
            // Young processes start the clock a little later than this.
            (row["age_ms"].as_u64() > Some(1500)).then_some(())
        });
        let mark = obeys.hive.mark();
        let mut client = obeys.client_of(0);
        assert_eq!(Who::serves(&mut client).generation, generation);
        client.send("exit 3");
        obeys.hive.wait_for_line_after(mark, "slot=0 ready");
    }
    let log = obeys.hive.log();
    let waits = log.iter().filter(|line| line.contains("next attempt"));
    assert_eq!(waits.count(), 0, "{log:#?}");
    assert_eq!(obeys.hive.status()["workers"][0]["restarts"], 3);
}

#[test]
fn a_process_that_dies_young_is_replaced_after_a_wait_that_grows() {
    let boots = Boots::start(program!("boots"), &[]);
    let mut ready = boots.hive.wait_for_line("slot=0 ready");
    let mut waits = Vec::new();
    while waits.len() < 4 {
        let mark = boots.hive.mark();
        let (_, pid) = ready.split_once("(pid ").expect("a pid");
        let (pid, _) = pid.split_once(',').expect("a pid");
        proc::signal(pid.parse().expect("a pid"), Signal::SIGKILL);
        ready = boots.hive.wait_for_line_after(mark, "slot=0 ready");
        let log = boots.hive.log();
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

#[test]
fn a_crash_storm_is_no_fork_storm_and_costs_the_master_little() {
    const SLOTS: usize = 8;
    const FAILURES: usize = 5;
    let mut boots = Boots::start(program!("boots"), &["--count", "8"]);
    for text in ["before it was ready", "the boot has burst"] {
        boots.hive.expect(text);
    }
    let before = boots.attempts();
    let (mark, begin) = (boots.hive.mark(), Instant::now());
    let used = proc::cpu_time(boots.hive.pid());
    boots.fail("panic");
    for pid in boots.hive.slots() {
        proc::signal(pid, Signal::SIGKILL);
    }
    let last = format!("failure {FAILURES} in a row");
    eventually("every slot has failed so often", || {
        let log = boots.hive.log();
        let slots = log[mark..].iter().filter(|line| line.contains(&last));
        (slots.count() >= SLOTS).then_some(())
    });
    let took = begin.elapsed();
    let used = proc::cpu_time(boots.hive.pid()).saturating_sub(used);
    let attempts = boots.attempts() - before;
    println!("{attempts} attempts and {used:?} of processor time in {took:?}");
    // Waits of 100, 200, 400, 800 ms lie between five failures; each slot has tried once more for each wait that is
    // over, and those that were killed after a second count anew.
    let waits = (took.as_millis() / 100 + 1).ilog2();
    let most = SLOTS * (2 + usize::try_from(waits).expect("a small number"));
    assert!(attempts <= most, "{attempts} attempts in {took:?}");
    // A twentieth of one processor, in a build without optimization; and never less than the clock can tell.
    let bound = (took / 20).max(Duration::from_millis(100));
    assert!(used <= bound, "{used:?} of {took:?}");
    // It is still there for everybody else.
    assert_eq!(boots.hive.status()["state"], "running");
    boots.mend();
    for slot in 0..SLOTS {
        boots
            .hive
            .wait_for_line_after(mark, &format!("slot={slot} ready"));
    }
}
