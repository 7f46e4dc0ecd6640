//! A program that is broken by now: a reload fails and says so, and the processes that work stay and serve.

use workhive_tests::boots::Boots;
use workhive_tests::program;
use workhive_tests::witnesses::Witnesses;

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
