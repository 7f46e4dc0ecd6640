//! One process more or fewer, by signals and by numbers, under load: in order, with nothing lost, and never too many.

use nix::sys::signal::Signal;
use workhive_tests::load::{HTTP, Load};
use workhive_tests::{Hive, Port, Setup, eventually, program};

fn echo(options: &[&str]) -> (Hive, Port) {
    let port = Port::reserve();
    let setup = Setup::echo(program!("workhive-under-test"), format!("http://{port}"));
    (setup.options(options.iter().copied()).start(), port)
}

#[track_caller]
fn scale(hive: &Hive, to: &str) {
    let scaled = hive.verb("scale", &[to]);
    assert_eq!(scaled.code, Some(0), "{scaled:?}");
}

/// One signal, and the number of processes after it. New ones take the next slots, and the highest go first.
#[track_caller]
fn step(hive: &Hive, signal: Signal, number: usize) {
    let before = hive.slots();
    let mark = hive.mark();
    hive.signal(signal);
    hive.wait_for_line_after(mark, &format!("has {number} process"));
    let after = hive.slots();
    assert_eq!(after.len(), number);
    let both = before.len().min(after.len());
    assert_eq!(before[..both], after[..both], "the others stay");
}

fn eight_up_and_down_to_one(options: &[&str]) {
    let (mut hive, port) = echo(options);
    let load = Load::new(port.addr(), 28, &HTTP);
    load.serve(28);
    for number in 3..=10 {
        step(&hive, Signal::SIGTTIN, number);
        load.serve(28);
    }
    for number in (1..=9).rev() {
        step(&hive, Signal::SIGTTOU, number);
        load.serve(28);
    }
    let tally = load.finish();
    assert_eq!(tally.failed(), 0, "{options:?}: {tally:?}");
    // The last one stays.
    let last = hive.slots();
    let mark = hive.mark();
    hive.signal(Signal::SIGTTOU);
    hive.wait_for_line_after(mark, "not scaled");
    assert_eq!(hive.slots(), last);
    hive.stop();
}

#[test]
fn eight_sigttin_and_down_to_one_by_sigttou_lose_nothing_with_inherited_listeners() {
    eight_up_and_down_to_one(&["--count", "2", "--drain", "2"]);
}

#[test]
fn eight_sigttin_and_down_to_one_by_sigttou_lose_nothing_with_reuse_port() {
    eight_up_and_down_to_one(&["--count", "2", "--drain", "2", "--reuse-port"]);
}

fn churn(options: &[&str], numbers: &[usize]) {
    let (hive, port) = echo(options);
    let load = Load::new(port.addr(), 32, &HTTP);
    load.serve(32);
    for number in numbers {
        scale(&hive, &number.to_string());
        assert_eq!(hive.slots().len(), *number);
        load.serve(64);
    }
    let tally = load.finish();
    assert_eq!(tally.failed(), 0, "{options:?}: {tally:?}");
}

const NUMBERS: [usize; 9] = [3, 1, 5, 2, 8, 4, 1, 2, 1];

#[test]
fn up_and_down_under_32_clients_loses_nothing_with_inherited_listeners() {
    churn(&["--count", "2", "--drain", "2"], &NUMBERS);
}

#[test]
fn up_and_down_under_32_clients_loses_nothing_with_reuse_port() {
    churn(&["--count", "2", "--drain", "2", "--reuse-port"], &NUMBERS);
}

#[test]
fn from_one_process_to_several_and_back_loses_nothing_either() {
    churn(&["--count", "1", "--drain", "2"], &[2, 1, 4, 1]);
    churn(
        &["--count", "1", "--drain", "2", "--reuse-port"],
        &[2, 1, 4, 1],
    );
}

#[test]
fn up_and_down_under_32_clients_loses_nothing_in_exec_mode() {
    let exec = ["--count", "2", "--drain", "2", "--spawn", "exec"];
    churn(&exec, &[3, 1, 5, 2]);
    churn(&[&exec[..], &["--reuse-port"]].concat(), &[3, 1, 5, 2]);
}

#[test]
fn a_burst_of_signals_is_served_one_after_the_other() {
    let (hive, _port) = echo(&["--count", "2"]);
    for _ in 0..5 {
        // Signals that are pending already are one (signal(7)): so many arrive as the hive has time for.
        hive.signal(Signal::SIGTTIN);
        hive.signal(Signal::SIGTTOU);
    }
    // One that is read late may come after this.
    eventually("what was asked for last", || {
        scale(&hive, "3");
        (hive.slots().len() == 3).then_some(())
    });
}

#[test]
fn more_processes_than_a_hive_has_room_for_are_refused_and_none_is_started() {
    let port = Port::reserve();
    let setup = Setup::new(program!("obeys")).options(["--text", &port.to_string()]);
    let hive = setup.options(["--groups", "obeys,second"]).start();
    let before = hive.slots();
    // Each number makes sense by itself; both together are one too many.
    let refused = hive.verb("scale", &["second=1024"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(
        refused
            .stderr
            .contains("1024 processes at the most, not 1025"),
        "{refused:?}"
    );
    assert_eq!(hive.slots(), before);
    assert_eq!(hive.workers().len(), 2);
    scale(&hive, "second=2");
}
