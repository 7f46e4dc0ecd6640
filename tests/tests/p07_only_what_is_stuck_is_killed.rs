//! A process whose loop does not come back is killed, one that somebody has stopped is not; and both times can be set.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use workhive_tests::text::TextClient;
use workhive_tests::{Hive, Port, Setup, eventually, proc, program};

fn obeys(options: &[&str]) -> (Hive, Port) {
    let port = Port::reserve();
    let setup = Setup::new(program!("obeys")).options(["--text", &port.to_string()]);
    (setup.options(options.iter().copied()).start(), port)
}

/// A connection to the process of a slot.
fn client_of(port: &Port, slot: &str) -> TextClient {
    eventually("a connection to the slot", || {
        let mut client = TextClient::connect(port.addr());
        client.ask("who").starts_with(slot).then_some(client)
    })
}

#[test]
fn a_callback_that_never_returns_costs_its_process_and_the_log_says_where_it_was() {
    let (mut hive, port) = obeys(&["--stuck-after", "0.5"]);
    hive.expect("is stuck and is killed");
    let mark = hive.mark();
    let mut client = TextClient::connect(port.addr());
    let begin = Instant::now();
    client.send("spin");
    let line = hive.wait_for_line_after(mark, "is stuck and is killed");
    assert!(begin.elapsed() >= Duration::from_millis(500));
    assert!(
        line.contains("syscall [running]") && line.contains("wchan ["),
        "{line}"
    );
    hive.wait_for_line_after(mark, "slot=0 ready");
    assert_eq!(client.until_gone(), b"");
    let worker = &hive.status()["workers"][0];
    assert_eq!(worker["restarts"], 1);
    let why = worker["last_exit"].as_str().expect("a reason");
    assert!(why.contains("it was stuck"), "{why}");
}

#[test]
fn a_process_that_was_stopped_in_its_work_is_killed_only_when_it_goes_on_and_does_not_come_back() {
    let (mut hive, port) = obeys(&["--stuck-after", "0.5", "--count", "2"]);
    hive.expect("is stuck and is killed");
    let pids = hive.slots();
    let mark = hive.mark();
    let mut first = client_of(&port, "0");
    first.send("spin");
    proc::signal(pids[0], Signal::SIGSTOP);
    // It has had as much time as this one by then.
    client_of(&port, "1").send("spin");
    hive.wait_for_line_after(mark, &format!("obeys[1]: pid {} is stuck", pids[1]));
    hive.wait_for_line_after(mark, "slot=1 ready");
    assert!(proc::is_alive(pids[0]));
    assert_eq!(hive.slots()[0], pids[0]);
    proc::signal(pids[0], Signal::SIGCONT);
    hive.wait_for_line_after(mark, &format!("obeys[0]: pid {} is stuck", pids[0]));
    hive.wait_for_line_after(mark, "slot=0 ready");
}

#[test]
fn idle_processes_are_never_stuck() {
    let (mut hive, port) = obeys(&["--stuck-after", "0.001", "--count", "2"]);
    hive.expect("is stuck and is killed");
    let mark = hive.mark();
    let idle = hive.slots()[0];
    client_of(&port, "1").send("spin");
    hive.wait_for_line_after(mark, "obeys[1]: pid");
    hive.wait_for_line_after(mark, "slot=1 ready");
    assert_eq!(hive.slots()[0], idle);
}

#[test]
fn times_that_make_no_sense_are_refused() {
    let setup = Setup::new(program!("boots"));
    for option in ["--stuck-after", "--boot-timeout"] {
        for value in ["0", "-1", "x", "86401"] {
            let ended = setup.verb("start", &[&format!("{option}={value}")]);
            assert_eq!(ended.code, Some(2), "{ended:?}");
            assert!(ended.stderr.contains(option), "{ended:?}");
        }
        let ended = setup.verb("status", &[option, "1"]);
        assert_eq!(ended.code, Some(2), "{ended:?}");
    }
}

/// Nobody was killed, and the same processes are there.
#[track_caller]
fn assert_nobody_was_killed(hive: &Hive, before: &[u32]) {
    assert_eq!(hive.slots(), before);
    let log = hive.log();
    assert!(!log.iter().any(|line| line.contains("stuck")), "{log:#?}");
}

/// Longer than three of the looks that the master takes at its processes.
const LONG: Duration = Duration::from_secs(4);

#[test]
fn a_stuck_process_is_killed_two_looks_after_its_deadline_and_not_before() {
    let (mut hive, port) = obeys(&["--stuck-after", "2"]);
    hive.expect("is stuck and is killed");
    let mark = hive.mark();
    let begin = Instant::now();
    TextClient::connect(port.addr()).send("spin");
    hive.wait_for_line_after(mark, "is stuck and is killed");
    let took = begin.elapsed();
    println!("stuck for {took:?} until it was killed");
    assert!(took >= Duration::from_secs(2), "{took:?}");
    hive.wait_for_line_after(mark, "slot=0 ready");
}

#[test]
fn a_callback_that_is_slow_and_not_stuck_is_left_alone() {
    let (hive, port) = obeys(&["--stuck-after", "20"]);
    let before = hive.slots();
    let mut client = TextClient::connect(port.addr());
    assert!(client.ask("busy 2500").starts_with("0 0 "));
    assert_nobody_was_killed(&hive, &before);
}

#[test]
fn a_master_that_was_stopped_kills_nobody_when_it_goes_on() {
    let (hive, port) = obeys(&["--stuck-after", "0.5", "--count", "3"]);
    let before = hive.slots();
    let mut clients: Vec<_> = ["0", "1", "2"].map(|slot| client_of(&port, slot)).into();
    hive.signal(Signal::SIGSTOP);
    // Its processes work on without it: this time is what the test is about.
    let end = Instant::now() + LONG;
    while Instant::now() < end {
        for client in &mut clients {
            client.ask("busy 20");
        }
    }
    hive.signal(Signal::SIGCONT);
    for client in &mut clients {
        assert!(client.ask("busy 300").contains(" 0 "));
    }
    assert_nobody_was_killed(&hive, &before);
}

#[test]
fn a_machine_that_was_suspended_finds_all_its_processes_alive() {
    let (hive, port) = obeys(&["--stuck-after", "1", "--count", "2"]);
    let before = hive.slots();
    let mut clients: Vec<_> = ["0", "1"].map(|slot| client_of(&port, slot)).into();
    for client in &mut clients {
        client.send("busy 500");
    }
    eventually("both are at work", || {
        let status = hive.status();
        let rows = status["workers"].as_array().expect("a list").iter();
        let at_work = rows.filter(|row| row["busy_ms"].is_number());
        (at_work.count() >= 2).then_some(())
    });
    // In the middle of their work, all of them stop, far beyond their deadlines; and go on at once.
    let all = [&[hive.pid()][..], &proc::children(hive.pid())].concat();
    for pid in &all {
        proc::signal(*pid, Signal::SIGSTOP);
    }
    std::thread::sleep(LONG);
    for pid in &all {
        proc::signal(*pid, Signal::SIGCONT);
    }
    for client in &mut clients {
        assert!(client.line().contains(" 0 "));
    }
    // The master has looked at them since.
    for client in &mut clients {
        client.ask("busy 900");
    }
    assert_nobody_was_killed(&hive, &before);
}

#[test]
fn a_process_that_was_stopped_while_it_was_idle_goes_on_where_it_was() {
    let (hive, port) = obeys(&["--stuck-after", "0.5", "--count", "2"]);
    let before = hive.slots();
    let mut client = client_of(&port, "1");
    proc::signal(before[1], Signal::SIGSTOP);
    client.send("who");
    std::thread::sleep(LONG);
    assert!(proc::is_alive(before[1]));
    proc::signal(before[1], Signal::SIGCONT);
    assert!(client.line().starts_with("1 0 "));
    assert_nobody_was_killed(&hive, &before);
}
