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
fn a_process_that_does_not_become_ready_in_the_time_given_has_failed() {
    let setup = Setup::new(program!("boots"));
    let fail = setup.path("fail");
    std::fs::write(&fail, "wait").expect("a file");
    nix::unistd::mkfifo(&setup.path("fail.pipe"), nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    let port = Port::reserve();
    let setup = setup.options([
        "--text",
        &port.to_string(),
        "--fail",
        fail.to_str().expect("a readable path"),
        "--boot-timeout",
        "0.2",
    ]);
    let ended = setup.verb::<&str>("start", &[]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(
        ended.stderr.contains("not ready within 200.0 ms"),
        "{ended:?}"
    );
    assert!(setup.family().is_empty());
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
