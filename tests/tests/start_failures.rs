//! A hive that cannot start says why, ends with an exit code other than 0, and leaves nothing behind.

use std::net::TcpListener;

use workhive_tests::http::HttpClient;
use workhive_tests::{Finished, Port, Setup, eventually, program};

fn echo(port: &Port) -> Setup {
    Setup::echo(program!("workhive-under-test"), format!("http://{port}"))
}

/// A program whose processes fail as `how` says.
fn boots(port: &Port, how: &str) -> Setup {
    let setup = Setup::new(program!("boots")).options(["--text", &port.to_string()]);
    let (record, fail) = (setup.path("record"), setup.path("fail"));
    std::fs::write(&fail, how).expect("a file");
    setup
        .options(["--record", record.to_str().expect("a readable path")])
        .options(["--fail", fail.to_str().expect("a readable path")])
}

/// How many processes were forked.
fn attempts(setup: &Setup) -> usize {
    std::fs::read_to_string(setup.path("record"))
        .unwrap_or_default()
        .lines()
        .count()
}

#[track_caller]
fn assert_failed(setup: &Setup, ended: &Finished, reason: &str) {
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(
        ended.stderr.contains(reason),
        "{reason:?} is missing: {ended:?}"
    );
    assert!(!setup.pid_file().exists());
    // A daemon that has told its starter why it cannot go on has a moment to live.
    eventually("the end of all processes", || {
        setup.family().is_empty().then_some(())
    });
}

#[test]
fn a_start_that_fails_gives_its_reason_after_a_bounded_number_of_attempts() {
    for (how, reason) in [
        ("error", "the database is on fire"),
        ("exit", "exited with code 7"),
        ("panic", "the boot has burst"),
        ("abort", "SIGABRT"),
    ] {
        let port = Port::reserve();
        let setup = boots(&port, how);
        let ended = setup.verb::<&str>("start", &[]);
        assert_failed(&setup, &ended, reason);
        assert_eq!(attempts(&setup), 5, "{how}");
    }
}

#[test]
fn many_slots_that_fail_make_no_fork_storm() {
    let port = Port::reserve();
    let setup = boots(&port, "error").options(["--count", "4"]);
    let ended = setup.verb::<&str>("start", &[]);
    assert_failed(&setup, &ended, "the database is on fire");
    let attempts = attempts(&setup);
    assert!((5..=24).contains(&attempts), "{attempts} attempts");
}

#[test]
fn a_daemon_that_cannot_start_tells_its_starter_why() {
    for (how, reason) in [
        ("error", "the database is on fire"),
        ("exit", "exited with code 7"),
    ] {
        let port = Port::reserve();
        let setup = boots(&port, how);
        let ended = setup.verb("start", &["-d"]);
        assert_failed(&setup, &ended, reason);
        assert_eq!(attempts(&setup), 5, "{how}");
    }
}

#[test]
fn one_slot_that_fails_does_not_keep_the_others_from_serving() {
    let port = Port::reserve();
    let mut hive = boots(&port, "1 error").options(["--count", "2"]).start();
    hive.expect("the database is on fire");
    let mut client = workhive_tests::text::TextClient::connect(port.addr());
    assert!(client.ask("who").starts_with("0 0 "));
    let status = hive.status();
    let failed = &status["workers"][1];
    assert_eq!(failed["slot"], 1, "{status:#}");
    assert!(
        failed["last_exit"]
            .to_string()
            .contains("the database is on fire"),
        "{status:#}"
    );
    // Once what was wrong is mended, the slot comes to life by itself.
    std::fs::remove_file(hive.path("fail")).expect("a file to remove");
    hive.wait_for_line("slot=1 ready");
}

#[test]
fn a_second_start_with_the_same_pid_file_is_refused() {
    let port = Port::reserve();
    let hive = echo(&port).start();
    for arguments in [&[][..], &["-d"]] {
        let second = hive.verb("start", arguments);
        assert_eq!(second.code, Some(1), "{second:?}");
        assert!(second.stderr.contains("already running"), "{second:?}");
        assert!(
            second.stderr.contains(&hive.pid().to_string()),
            "{second:?}"
        );
    }
    assert_eq!(HttpClient::connect(port.addr()).get("/").status, 200);
    assert_eq!(
        hive.setup().daemon(),
        hive.pid(),
        "the pid file is still the first one's"
    );
}

#[test]
fn a_pid_file_left_over_is_in_nobodys_way_whomever_its_number_belongs_to() {
    let port = Port::reserve();
    let setup = echo(&port);
    // The number of a process that lives, and is not a hive.
    std::fs::write(setup.pid_file(), format!("{}\n", std::process::id())).expect("a file");
    let hive = setup.start();
    assert_eq!(hive.setup().daemon(), hive.pid());
}

#[test]
fn a_pid_file_that_cannot_be_written_is_named() {
    let port = Port::reserve();
    let setup = echo(&port);
    std::fs::create_dir(setup.pid_file()).expect("a directory");
    let ended = setup.verb::<&str>("start", &[]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(
        ended
            .stderr
            .contains(setup.pid_file().to_str().expect("a path")),
        "{ended:?}"
    );
}

#[test]
fn a_port_that_is_taken_is_named_with_its_holder() {
    let port = Port::reserve();
    let _taken = TcpListener::bind(port.addr()).expect("a free port");
    let own = std::process::id().to_string();
    for options in [&[][..], &["--reuse-port"], &["-d"]] {
        let setup = echo(&port);
        let ended = setup.verb("start", options);
        assert_failed(&setup, &ended, &port.to_string());
        assert!(ended.stderr.contains(&own), "{own} is missing: {ended:?}");
    }
}

#[test]
fn two_hives_do_not_share_a_port_even_with_reuse_port() {
    let port = Port::reserve();
    let first = echo(&port)
        .options(["--reuse-port", "--count", "2"])
        .start();
    let setup = echo(&port).options(["--reuse-port", "--count", "2"]);
    let second = setup.verb::<&str>("start", &[]);
    assert_failed(&setup, &second, &port.to_string());
    let holder = std::iter::once(first.pid())
        .chain(first.workers())
        .any(|pid| second.stderr.contains(&pid.to_string()));
    assert!(holder, "{second:?}");
}

#[test]
fn a_listener_inside_a_process_whose_port_is_taken_fails_the_start() {
    let (ws, text) = (Port::reserve(), Port::reserve());
    let _taken = TcpListener::bind(text.addr()).expect("a free port");
    let setup = Setup::new(program!("workhive-under-test"))
        .words(["push"])
        .options(["--ws", &ws.to_string(), "--text", &text.to_string()]);
    let ended = setup.verb::<&str>("start", &[]);
    assert_failed(&setup, &ended, &text.to_string());
    assert!(ended.stderr.contains("EADDRINUSE"), "{ended:?}");
    assert!(
        ended.stderr.contains(&std::process::id().to_string()),
        "{ended:?}"
    );
}

#[test]
fn a_user_that_does_not_exist_fails_the_start() {
    let port = Port::reserve();
    for option in ["--user", "--group"] {
        let setup = echo(&port);
        let ended = setup.verb("start", &[option, "no-such-name"]);
        assert_failed(&setup, &ended, "no-such-name");
    }
}

#[test]
fn a_command_line_that_makes_no_sense_ends_with_2() {
    let port = Port::reserve();
    let setup = echo(&port);
    for arguments in [
        &["--count", "0"][..],
        &["--count", "many"],
        &["--count", "nobody=2"],
        &["--log-level", "loud"],
        &["--no-such-option"],
        &["--json"],
        &["--max-message", "12X"],
    ] {
        let ended = setup.verb("start", arguments);
        assert_eq!(ended.code, Some(2), "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains("error"), "{arguments:?}: {ended:?}");
    }
}

#[test]
fn verbs_for_a_hive_that_is_not_there_end_with_3() {
    let port = Port::reserve();
    let setup = echo(&port);
    for verb in ["stop", "reload", "status"] {
        let ended = setup.verb::<&str>(verb, &[]);
        assert_eq!(ended.code, Some(3), "{verb}: {ended:?}");
        assert!(ended.stderr.contains("not running"), "{verb}: {ended:?}");
    }
}
