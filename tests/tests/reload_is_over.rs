//! When a reload is said to be over, only new processes accept.

use nix::sys::signal::Signal;
use workhive_tests::obeys::Obeys;
use workhive_tests::obeys::Who;
use workhive_tests::text::TextClient;
use workhive_tests::{proc, program};

#[test]
fn whoever_connects_after_a_reload_finds_a_new_process() {
    for options in [&["--count", "4"][..], &["--count", "4", "--reuse-port"]] {
        let obeys = Obeys::start(program!("obeys"), options);
        for _ in 0..10 {
            let before = obeys.hive.slots();
            let reloaded = obeys.hive.verb::<&str>("reload", &[]);
            assert_eq!(reloaded.code, Some(0), "{reloaded:?}");
            for _ in 0..8 {
                let who = Who::serves(&mut TextClient::connect(obeys.port.addr()));
                assert!(!before.contains(&who.pid), "{options:?}: {who:?}");
            }
        }
    }
}

#[test]
fn a_process_that_hears_nothing_holds_no_reload_up() {
    let obeys = Obeys::start(program!("obeys"), &["--count", "2", "--drain", "2"]);
    let stopped = obeys.hive.slots()[0];
    proc::signal(stopped, Signal::SIGSTOP);
    let reloaded = obeys.hive.verb::<&str>("reload", &[]);
    assert_eq!(reloaded.code, Some(0), "{reloaded:?}");
    assert!(!obeys.hive.slots().contains(&stopped));
    proc::signal(stopped, Signal::SIGCONT);
}
