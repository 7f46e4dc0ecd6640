//! A program that is broken by now: a reload fails and says so, and the processes that work stay and serve.

use nix::sys::signal::Signal;
use workhive_tests::boots::Boots;
use workhive_tests::program_file::ProgramFile;
use workhive_tests::text::TextClient;
use workhive_tests::witnesses::Witnesses;
use workhive_tests::{Port, Setup, proc, program};

#[track_caller]
fn reload_fails(boots: &Boots, word: &str) {
    let failed = boots.hive.verb::<&str>("reload", &[]);
    assert_eq!(failed.code, Some(1), "{failed:?}");
    for word in [word, "the old processes stay"] {
        assert!(failed.stderr.contains(word), "{word}: {failed:?}");
    }
    let last = boots.hive.status()["last_reload"].to_string();
    assert!(last.contains("failed"), "{last}");
}

#[track_caller]
fn reload_succeeds(boots: &Boots) {
    let reloaded = boots.hive.verb::<&str>("reload", &[]);
    assert_eq!(reloaded.code, Some(0), "{reloaded:?}");
    let last = boots.hive.status()["last_reload"].to_string();
    assert!(!last.contains("failed"), "{last}");
}

fn expect_failures(boots: &mut Boots) {
    for text in [
        "before it was ready",
        "the reload failed",
        "the database is on fire",
        "the boot has burst",
    ] {
        boots.hive.expect(text);
    }
}

/// How processes fail, and what is to be read of it.
const FAILURES: [(&str, &str); 4] = [
    ("error", "the database is on fire"),
    ("exit", "exited with code 7"),
    ("panic", "the boot has burst"),
    ("abort", "SIGABRT"),
];

#[test]
fn whatever_is_wrong_the_old_processes_stay_until_it_is_mended() {
    for (how, word) in FAILURES {
        let mut boots = Boots::start(program!("boots"), &["--count", "2"]);
        expect_failures(&mut boots);
        let mut client = boots.client();
        let before = boots.hive.slots();
        let me = client.ask("who");
        boots.fail(how);
        reload_fails(&boots, word);
        assert_eq!(boots.hive.slots(), before, "{how}");
        assert_eq!(client.ask("who"), me, "{how}");
        boots.mend();
        reload_succeeds(&boots);
        let mended = boots.hive.slots();
        assert!(mended.len() == 2 && mended.iter().all(|pid| !before.contains(pid)));
    }
}

#[test]
fn what_worked_before_the_failure_is_done_and_stays() {
    let mut boots = Boots::start(program!("boots"), &["--count", "2"]);
    expect_failures(&mut boots);
    let before = boots.hive.slots();
    boots.fail("1 error");
    reload_fails(&boots, "the database is on fire");
    let after = boots.hive.slots();
    assert!(
        before[0] != after[0] && before[1] == after[1],
        "{before:?} {after:?}"
    );
}

#[test]
fn a_replacement_that_never_becomes_ready_fails_the_reload_when_its_time_is_up() {
    let options = ["--count", "2", "--boot-timeout", "0.5"];
    let mut boots = Boots::start(program!("boots"), &options);
    expect_failures(&mut boots);
    let before = boots.hive.slots();
    boots.hold();
    reload_fails(&boots, "not ready within 500.0 ms");
    assert_eq!(boots.hive.slots(), before);
}

#[test]
fn clients_notice_nothing_of_reloads_that_fail() {
    for options in [&["--count", "2"][..], &["--count", "2", "--reuse-port"]] {
        let mut boots = Boots::start(program!("boots"), options);
        expect_failures(&mut boots);
        let before = boots.hive.slots();
        let witnesses = Witnesses::new(boots.port.addr(), 16);
        for (how, word) in FAILURES {
            witnesses.serve(300);
            boots.fail(how);
            reload_fails(&boots, word);
        }
        witnesses.serve(300);
        let lost = witnesses.unexplained(&[]);
        assert!(lost.is_empty(), "{options:?}: {lost:?}");
        assert_eq!(boots.hive.slots(), before);
        // Each reload has tried once, and not again and again.
        assert_eq!(boots.attempts(), 2 + FAILURES.len());
    }
}

#[test]
fn in_exec_mode_a_program_file_that_is_broken_replaces_nothing_until_it_is_mended() {
    let file = ProgramFile::new(program!("obeys"));
    let port = Port::reserve().to_string();
    let options = ["--text", &port, "--count", "2", "--spawn", "exec"];
    let setup = Setup::new(file.as_str()).asked_by(program!("obeys"));
    let mut hive = setup.options(options).start();
    hive.expect("the reload failed");
    hive.expect("before it was ready");
    let before = hive.slots();
    for (content, word) in [
        ("#!/bin/sh\nexit 7\n", "exited with code 7"),
        ("#!/bin/sh\nkill -9 $$\n", "SIGKILL"),
        ("this is no program\n", "cannot execute"),
    ] {
        file.replace(content);
        let failed = hive.verb::<&str>("reload", &[]);
        assert_eq!(failed.code, Some(1), "{failed:?}");
        for word in [word, "the old processes stay"] {
            assert!(failed.stderr.contains(word), "{word}: {failed:?}");
        }
        assert_eq!(hive.slots(), before);
    }
    file.restore();
    let reloaded = hive.verb::<&str>("reload", &[]);
    assert_eq!(reloaded.code, Some(0), "{reloaded:?}");
    assert!(hive.slots().iter().all(|pid| !before.contains(pid)));
}

#[test]
fn in_exec_mode_a_process_that_dies_while_its_program_is_gone_comes_back_with_it() {
    let file = ProgramFile::new(program!("obeys"));
    let port = Port::reserve();
    let at = port.to_string();
    let options = ["--text", &at, "--count", "2", "--spawn", "exec"];
    let setup = Setup::new(file.as_str()).asked_by(program!("obeys"));
    let hive = setup.options(options).start();
    std::fs::remove_file(file.path()).expect("a file");
    let (mark, victim) = (hive.mark(), hive.slots()[1]);
    proc::signal(victim, Signal::SIGKILL);
    hive.wait_for_line_after(mark, "failure 2 in a row");
    // Its sibling serves.
    assert!(
        TextClient::connect(port.addr())
            .ask("who")
            .starts_with("0 0 ")
    );
    file.restore();
    hive.wait_for_line_after(mark, "slot=1 ready");
}
