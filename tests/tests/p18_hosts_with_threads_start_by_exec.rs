//! A program that has threads before its hive starts cannot fork, and is told so; by exec it has processes all the same,
//! and its own children stay its own.

use std::path::{Path, PathBuf};

use workhive_tests::obeys::Who;
use workhive_tests::text::TextClient;
use workhive_tests::witnesses::{Death, Witnesses};
use workhive_tests::{Hive, Port, Setup, eventually, proc, program};

/// A program with threads, and where its children are recorded.
fn hosts(port: &Port) -> (Setup, PathBuf) {
    let setup = Setup::new(program!("hosts")).options(["--text", &port.to_string()]);
    let record = setup.path("children");
    std::fs::write(&record, "").expect("a file");
    let path = record.to_str().expect("a readable path").to_owned();
    (setup.options(["--children".to_owned(), path]), record)
}

/// The host has no more children of its own from now on: they are none of the hive's, and would outlive it for a moment.
fn end_children(hive: &Hive, record: &Path) {
    std::fs::remove_file(record).expect("a file");
    eventually("the host's children have ended", || {
        let of_hive = hive.slots().len() + 1;
        (proc::children(hive.pid()).len() == of_hive).then_some(())
    });
}

#[test]
fn a_host_with_threads_is_told_that_it_cannot_fork_and_what_it_can_do() {
    let port = Port::reserve();
    for daemon in [&[][..], &["-d"]] {
        let (setup, _) = hosts(&port);
        let ended = setup.verb("start", daemon);
        setup.assert_failed(&ended, "threads");
        assert!(ended.stderr.contains("4 threads"), "{ended:?}");
    }
}

#[test]
fn by_exec_a_host_with_threads_has_processes_and_keeps_its_own_children() {
    let port = Port::reserve();
    let (setup, record) = hosts(&port);
    let hive = setup.options(["--spawn", "exec", "--count", "3"]).start();
    let master = hive.pid();
    assert!(proc::threads(master) >= 4, "its threads are there");
    let witnesses = Witnesses::new(port.addr(), 8);
    let mut deaths = Vec::new();
    for slot in 0..3 {
        witnesses.serve(200);
        let mark = hive.mark();
        deaths.push(Death::of(hive.slots()[slot]));
        hive.wait_for_line_after(mark, &format!("slot={slot} ready"));
    }
    witnesses.serve(200);
    let unexplained = witnesses.unexplained(&deaths);
    assert!(unexplained.is_empty(), "{unexplained:?}");
    for _ in 0..5 {
        let reloaded = hive.verb::<&str>("reload", &[]);
        assert_eq!(reloaded.code, Some(0), "{reloaded:?}");
    }
    let scaled = hive.verb("scale", &["4"]);
    assert_eq!(scaled.code, Some(0), "{scaled:?}");
    assert_eq!(hive.slots().len(), 4);
    // The host has waited for its own children all the while, and the hive for none of them.
    let of_master = || {
        let text = std::fs::read_to_string(&record).unwrap_or_default();
        let own = format!("{master} ");
        let lines = text.lines().filter_map(|line| line.strip_prefix(&own));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let more = of_master().len() + 20;
    let lines = eventually("more children", || {
        let lines = of_master();
        (lines.len() >= more).then_some(lines)
    });
    for line in lines {
        let (due, came) = line.split_once(' ').expect("two words");
        assert_eq!(came, format!("exit status: {due}"));
    }
    assert!(proc::threads(master) >= 4, "its threads live on");
    // Nor has the hive left any of its own.
    eventually("no zombies", || (proc::zombies(master) == 0).then_some(()));
    end_children(&hive, &record);
}

#[test]
fn an_upgrade_of_a_host_with_threads_succeeds_by_exec_too() {
    let port = Port::reserve();
    let (setup, record) = hosts(&port);
    let setup = setup.options(["--spawn", "exec", "--count", "2"]);
    let mut hive = setup.start();
    let upgraded = hive.verb::<&str>("upgrade", &[]);
    assert_eq!(upgraded.code, Some(0), "{upgraded:?}");
    hive.meet_heir();
    end_children(&hive, &record);
    Who::serves(&mut TextClient::connect(port.addr()));
    assert!(hive.stop().success());
}
