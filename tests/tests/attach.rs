//! `workhive run --attach`: a program that uses the library takes its place in a hive that is not its own, and is a process
//! like others there.

use std::fs;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use workhive_tests::foreign::run;
use workhive_tests::obeys::Who;
use workhive_tests::text::TextClient;
use workhive_tests::witnesses::{Death, Witnesses};
use workhive_tests::{Hive, Port, Setup, eventually, proc, program};

const WORKHIVE: &str = program!("workhive-under-test");

/// A program of these kinds that is to take its place.
fn attached(kinds: &str, options: &[&str]) -> (Setup, Port) {
    let port = Port::reserve();
    let setup = run(WORKHIVE, &["--attach"]).options(options.iter().copied());
    let record = setup.path("record");
    let setup = setup
        .options(["--listen", &port.to_string()])
        .runs([program!("hosted"), &format!("{} {kinds}", record.display())]);
    (setup, port)
}

fn connect_to(port: &Port, pid: u32) -> TextClient {
    eventually("a connection to this process", || {
        let mut client = TextClient::connect(port.addr());
        (Who::serves(&mut client).pid == pid).then_some(client)
    })
}

fn started(options: &[&str]) -> (Hive, Port) {
    let (setup, port) = attached("attaches", options);
    (setup.start(), port)
}

#[test]
fn a_program_that_has_taken_its_place_serves_is_restarted_reloaded_and_scaled() {
    for options in [&["--count", "2"][..], &["--count", "2", "--reuse-port"]] {
        let (mut hive, port) = started(options);
        let first = hive.slots();
        assert_eq!(first.len(), 2);
        let who = Who::serves(&mut TextClient::connect(port.addr()));
        assert_eq!(first[who.slot], who.pid);

        let witnesses = Witnesses::new(port.addr(), 4);
        witnesses.serve(100);
        let mark = hive.mark();
        let death = Death::of(first[0]);
        hive.wait_for_line_after(mark, "slot=0 ready");
        for _ in 0..3 {
            let before = hive.slots();
            let reloaded = hive.verb::<&str>("reload", &[]);
            assert_eq!(reloaded.code, Some(0), "{reloaded:?}");
            let after = hive.slots();
            assert!(after.len() == 2 && after.iter().all(|pid| !before.contains(pid)));
        }
        for count in [4, 1] {
            assert_eq!(hive.verb("scale", &[count.to_string()]).code, Some(0));
            assert_eq!(hive.slots().len(), count);
        }
        witnesses.serve(100);
        let unexplained = witnesses.unexplained(&[death]);
        assert!(unexplained.is_empty(), "{options:?}: {unexplained:?}");
        hive.signal(Signal::SIGTERM);
        assert!(hive.wait().success());
    }
}

#[test]
fn a_push_reaches_a_uid_in_another_process_of_a_program() {
    let (hive, port) = started(&["--count", "2"]);
    let [one, other] = hive.slots()[..] else {
        panic!("two processes");
    };
    assert!(hive.router().is_some());
    let mut member = connect_to(&port, one);
    assert_eq!(member.ask("bind u"), "bound");
    let mut caller = connect_to(&port, other);
    assert_eq!(caller.ask("push u"), "delivered 1");
    assert_eq!(member.line(), format!("pushed by {other}"));
    assert_eq!(caller.ask("push nobody"), "delivered 0");
}

#[test]
fn what_it_prints_and_what_it_logs_are_lines_of_the_log() {
    let (hive, _port) = started(&["--name", "guest"]);
    let worker = hive.slots()[0];
    let printed = hive.wait_for_line(&format!("printed by {worker}"));
    assert!(printed.contains(&format!(" INFO guest[0] {worker} printed by ")));
    // Not as something that was printed: with a head of its own, once.
    proc::signal(worker, Signal::SIGTERM);
    let logged = hive.wait_for_line("told to end by a signal");
    assert!(logged.contains(&format!(" INFO guest[0] {worker} told to end by a signal")));
    assert_eq!(logged.matches("INFO").count(), 1, "{logged}");

    let (setup, _port) = attached("attaches", &[]);
    let log = setup.path("log");
    let hive = setup
        .options(["--log-file", &log.display().to_string()])
        .start();
    let worker = hive.slots()[0];
    proc::signal(worker, Signal::SIGTERM);
    eventually("the line is in the file", || {
        let text = fs::read_to_string(&log).expect("a log");
        let line = format!(" INFO hosted[0] {worker} told to end by a signal");
        text.contains(&line).then_some(())
    });
}

#[test]
fn the_status_shows_it_like_others_and_knows_its_connections() {
    let (hive, port) = started(&[]);
    let mut client = TextClient::connect(port.addr());
    client.ask("who");
    let counted = eventually("the connection is counted", || {
        let status = hive.status();
        let worker = &status["workers"][0];
        (worker["connections"] == 1 && worker["state"] == "ready").then(|| status.clone())
    });
    assert_eq!(counted["workers"][0]["group"], "hosted", "{counted}");
    let listed = hive.verb("connections", &["--json"]);
    let listed: Value = serde_json::from_str(&listed.stdout).expect("JSON");
    let connections = listed["connections"].as_array().expect("a list");
    assert_eq!(connections.len(), 1, "{listed}");
    assert_eq!(connections[0]["protocol"], "text");
}

#[test]
fn without_a_listener_it_has_a_place_all_the_same() {
    let setup = run(WORKHIVE, &["--attach", "--name", "guest"]);
    let record = setup.path("record");
    let kinds = format!("{} attaches listless", record.display());
    let hive = setup.runs([program!("hosted"), &kinds]).start();
    assert_eq!(hive.slots().len(), 1);
}

#[test]
fn a_program_that_does_not_fit_its_place_says_why() {
    for (kinds, reason) in [
        ("attaches listless", "the worker has no address"),
        (
            "attaches doubly",
            "one worker takes the place that this process has, and the program has 2",
        ),
        ("forks", "has started a hive of its own instead"),
    ] {
        let (setup, _port) = attached(kinds, &[]);
        let ended = setup.verb::<&str>("start", &[]);
        setup.assert_failed(&ended, reason);
    }
    let setup = run(WORKHIVE, &["--attach", "--name", "guest"]);
    let kinds = format!("{} attaches", setup.path("record").display());
    let setup = setup.runs([program!("hosted"), &kinds]);
    let ended = setup.verb::<&str>("start", &[]);
    setup.assert_failed(&ended, "has no socket for it: add --listen");
}

#[test]
fn a_program_that_never_takes_its_place_has_failed() {
    let setup = run(WORKHIVE, &["--attach", "--boot-timeout", "0.2"]);
    let setup = setup.runs(["/bin/sleep", "1000"]);
    let ended = setup.verb::<&str>("start", &[]);
    setup.assert_failed(&ended, "not ready within 200.0 ms");
}

#[test]
fn a_program_that_was_started_by_itself_has_no_place() {
    let setup = Setup::new(program!("hosted"));
    let kinds = format!("{} attaches", setup.path("record").display());
    let ended = setup.words([kinds]).verb::<&str>("start", &[]);
    assert_eq!(
        (ended.code, ended.stdout.contains("no place")),
        (Some(9), true),
        "{ended:?}"
    );
}

#[test]
fn it_ends_with_its_master_and_finishes_what_it_has_in_hand() {
    let (mut hive, port) = started(&["--drain", "1"]);
    let worker = hive.slots()[0];
    let mut client = TextClient::connect(port.addr());
    client.ask("who");
    hive.kill_master();
    eventually("the end of the process", || {
        (!proc::is_alive(worker)).then_some(())
    });
    let record = fs::read_to_string(hive.path("record")).expect("a record");
    let ended = format!("{worker} worker ended 0");
    assert!(record.lines().any(|line| line == ended), "{record}");
    let _ = fs::remove_file(hive.setup().pid_file());
}

#[test]
fn an_upgrade_takes_it_along() {
    let (mut hive, port) = started(&["--count", "2"]);
    let before = hive.slots();
    let upgraded = hive.verb::<&str>("upgrade", &[]);
    assert_eq!(upgraded.code, Some(0), "{upgraded:?}");
    hive.meet_heir();
    let after = hive.slots();
    assert!(after.len() == 2 && after.iter().all(|pid| !before.contains(pid)));
    Who::serves(&mut TextClient::connect(port.addr()));
    assert!(hive.stop().success());
}

#[test]
fn options_that_make_no_sense_with_it_are_refused() {
    for (options, words) in [
        (&["--notify"][..], "--notify does not go with --attach"),
        (&["--listen", "127.0.0.1:0"], "--attach takes one --listen"),
    ] {
        let (setup, _port) = attached("attaches", options);
        let ended = setup.verb::<&str>("start", &[]);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.stderr.contains(words), "{ended:?}");
    }
}

#[test]
fn a_place_that_somebody_has_made_up_costs_no_descriptor() {
    for (control, page) in [(5, 5), (2, 6), (5, 900)] {
        let setup = Setup::new("/bin/sh");
        let seat = json!({
            "group": "hosted", "slot": 0, "generation": 0, "count": 1, "epoch": 1, "row": 0, "serial": 1,
            "alone": true, "attached": true, "drain_ms": 1, "stuck_ms": 1, "control": control, "page": page,
            "rows": 1, "layout": 1, "listener": null, "clients": null, "log": null, "log_level": "INFO",
            "log_format": "text", "directory": null,
        });
        let script = "export WORKHIVE_PID=$$ WORKHIVE_SEAT=\"$1\" && shift && exec 5</dev/null 6</dev/null && exec \"$@\"";
        let kinds = format!("{} attaches", setup.path("record").display());
        let setup = setup
            .words(["-c", script, "sh"])
            .words([seat.to_string()])
            .words([program!("hosted"), &kinds]);
        let ended = setup.verb::<&str>("start", &[]);
        assert_eq!(ended.code, Some(8), "{ended:?}");
        let reason = if page == 900 {
            "Bad file descriptor"
        } else {
            "is none that this process was given"
        };
        assert!(ended.stdout.contains(reason), "{ended:?}");
    }
}
