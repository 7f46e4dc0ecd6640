//! What every verb says, and with which code it ends, when something is not as it should be.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use workhive_tests::http::HttpClient;
use workhive_tests::{Finished, Port, Running, Setup, proc, program, tools};

/// Verbs that need a hive that runs, each with what it needs.
const TO_A_HIVE: [&[&str]; 6] = [
    &["stop"],
    &["stop", "-g"],
    &["reload"],
    &["scale", "2"],
    &["status"],
    &["connections"],
];

/// Verbs that start one, each in both ways.
const STARTS: [&[&str]; 4] = [
    &["start"],
    &["start", "-d"],
    &["restart"],
    &["restart", "-d"],
];

/// Verbs that only look at what a start would go by.
const LOOKS: [&[&str]; 2] = [&["check"], &["show-config"]];

fn all() -> impl Iterator<Item = &'static [&'static str]> {
    TO_A_HIVE.into_iter().chain(STARTS).chain(LOOKS)
}

fn echo(port: &Port) -> Setup {
    Setup::echo(program!("workhive-under-test"), format!("http://{port}"))
}

fn run(setup: &Setup, words: &[&str]) -> Finished {
    setup.verb(words[0], &words[1..])
}

/// It ended with this code, and has said all of this to standard error, and nothing to standard output.
#[track_caller]
fn assert_told(what: &[&str], ended: &Finished, code: i32, words: &[&str]) {
    assert_eq!(ended.code, Some(code), "{what:?}: {ended:?}");
    for word in words {
        assert!(ended.stderr.contains(word), "{what:?}: {word}: {ended:?}");
    }
    assert_eq!(ended.stdout, "", "{what:?}: {ended:?}");
}

#[test]
fn without_a_hive_verbs_say_that_none_runs_and_where_they_looked() {
    let port = Port::reserve();
    let setup = echo(&port);
    let pid_file = setup.pid_file();
    let pid_file = pid_file.to_str().expect("a readable path");
    for words in TO_A_HIVE {
        let ended = run(&setup, words);
        assert_told(words, &ended, 3, &["not running", pid_file]);
    }
    // A restart of nothing is a start.
    assert_eq!(run(&setup, &["restart", "-d"]).code, Some(0));
    assert_eq!(run(&setup, &["stop"]).code, Some(0));
}

#[test]
fn with_a_hive_a_second_start_says_who_runs() {
    let port = Port::reserve();
    let hive = echo(&port).start();
    let pid = format!("already running (pid {})", hive.pid());
    for words in &STARTS[..2] {
        let ended = run(hive.setup(), words);
        assert_told(words, &ended, 1, &[&pid]);
    }
    // What only looks is in nobody's way.
    for words in LOOKS {
        assert_eq!(run(hive.setup(), words).code, Some(0), "{words:?}");
    }
    assert_eq!(HttpClient::connect(port.addr()).get("/").status, 200);
}

#[test]
fn somebody_else_is_not_let_near_a_hive_and_is_told_why() {
    if !nix::unistd::geteuid().is_root() {
        return tools::skip("only root can become somebody else");
    }
    let port = Port::reserve();
    let hive = echo(&port).start();
    let pid_file = hive.setup().pid_file();
    // The pid file is for all to read, in a place that all can see.
    let directory = pid_file.parent().expect("a directory");
    std::fs::set_permissions(directory, PermissionsExt::from_mode(0o755)).expect("our own");
    let stranger = echo(&port).run_as("nobody");
    for words in all() {
        if LOOKS.contains(&words) {
            continue;
        }
        let mut command = stranger.command(stranger.path("program"));
        command
            .args(["echo", &format!("http://{port}")])
            .args(words)
            .arg("--pid-file")
            .arg(&pid_file);
        let ended = Running::new(command).finish();
        let reason = ended.stderr.to_lowercase();
        assert!(
            reason.contains("permission")
                || reason.contains("not permitted")
                || reason.contains("eperm"),
            "{words:?}: {ended:?}"
        );
        assert_told(words, &ended, 1, &[]);
    }
    assert!(proc::is_alive(hive.pid()));
    assert_eq!(hive.status()["pid"], hive.pid());
    assert!(hive.status()["last_reload"].is_null());
}

#[test]
fn a_configuration_that_makes_no_sense_is_told_by_every_verb_before_it_does_anything() {
    let port = Port::reserve();
    let hive = echo(&port).start();
    let path = hive.path("hive.toml");
    std::fs::write(&path, "[all]\ncuont = 3\n").expect("a file");
    let file = path.to_str().expect("a readable path");
    for words in all() {
        let ended = run(hive.setup(), &[words, &["--config", file]].concat());
        assert_told(
            words,
            &ended,
            2,
            &["hive.toml", "line 2, column 1", "cuont"],
        );
        let missing = format!("{file}.missing");
        let ended = run(hive.setup(), &[words, &["--config", &missing]].concat());
        assert_told(words, &ended, 2, &[&missing]);
    }
    assert_eq!(hive.status()["pid"], hive.pid());
    assert_eq!(HttpClient::connect(port.addr()).get("/").status, 200);
}

#[test]
fn options_that_do_not_exist_are_named_by_every_verb() {
    let port = Port::reserve();
    let setup = echo(&port);
    for words in all() {
        let ended = run(&setup, &[words, &["--no-such-option"]].concat());
        assert_told(words, &ended, 2, &["--no-such-option", "--help"]);
    }
    for (words, option) in [
        (&["stop", "--count", "2"][..], "--count"),
        (&["reload", "--json"], "--json"),
        (&["status", "--drain", "2"], "--drain"),
        (&["start", "-g"], "--graceful"),
        (&["connections", "--watch"], "--watch"),
        (&["check", "--graceful"], "--graceful"),
    ] {
        let ended = run(&setup, words);
        assert_told(words, &ended, 2, &[option, "does not go with"]);
    }
    let ended = run(&setup, &["jump"]);
    assert_told(&["jump"], &ended, 2, &["jump", "connections"]);
}

#[test]
fn values_that_make_no_sense_are_told_before_anything_is_started() {
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
fn a_port_that_is_taken_fails_every_start_and_is_named_with_its_holder() {
    let port = Port::reserve();
    let _taken = TcpListener::bind(port.addr()).expect("a free port");
    let own = std::process::id().to_string();
    for words in STARTS {
        let setup = echo(&port);
        let ended = run(&setup, words);
        assert_told(words, &ended, 1, &[&port.to_string(), &own, "in use"]);
        assert!(!setup.pid_file().exists(), "{words:?}");
    }
}

#[test]
fn a_user_that_is_unknown_fails_every_start_and_the_check() {
    let port = Port::reserve();
    let user = ["--user", "no-such-name"];
    for words in STARTS.into_iter().chain([LOOKS[0]]) {
        let setup = echo(&port);
        let ended = run(&setup, &[words, &user].concat());
        assert_told(words, &ended, 1, &["no user \"no-such-name\"", "echo"]);
        assert!(!setup.pid_file().exists(), "{words:?}");
    }
    for words in TO_A_HIVE {
        let ended = run(&echo(&port), &[words, &user].concat());
        assert_told(words, &ended, 2, &["--user", "does not go with"]);
    }
}

#[test]
fn a_restart_that_cannot_succeed_leaves_the_running_hive_alone() {
    let port = Port::reserve();
    let hive = echo(&port).start();
    for options in [
        &["--user", "no-such-name"][..],
        &["--group", "no-such-name"],
        &["--cpu-affinity", "100000"],
        &["--count", "nobody=2"],
        &["--count", "0"],
    ] {
        let ended = run(hive.setup(), &[&["restart", "-d"], options].concat());
        assert!(matches!(ended.code, Some(1 | 2)), "{options:?}: {ended:?}");
        assert!(proc::is_alive(hive.pid()), "{options:?}: it was stopped");
        assert_eq!(HttpClient::connect(port.addr()).get("/").status, 200);
    }
}

#[test]
fn what_has_gone_well_ends_with_0_and_is_told_on_standard_output() {
    let port = Port::reserve();
    let setup = echo(&port);
    for (words, said) in [
        (&["check"][..], "makes sense, 1 process"),
        (&["show-config"], "count = 1"),
        (&["start", "-d"], "started, pid "),
        (&["status"], "running"),
        (&["scale", "3"], "has 3 processes now"),
        (&["reload"], "replaced 3 processes"),
        (&["connections"], "pid"),
        (&["restart", "-d"], "started, pid "),
        (&["stop", "-g"], ""),
    ] {
        let ended = run(&setup, words);
        assert_eq!(ended.code, Some(0), "{words:?}: {ended:?}");
        assert!(ended.stdout.contains(said), "{words:?}: {ended:?}");
        assert_eq!(ended.stderr, "", "{words:?}");
    }
    assert!(setup.family().is_empty());
}
