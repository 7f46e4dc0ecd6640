//! Answers of the command line that cannot be printed: whoever asked is told, and what was done is done.

use std::fs::OpenOptions;
use std::process::{Output, Stdio};

use workhive_tests::{Port, Setup, program};

/// Runs a verb with a standard output that has no room.
fn run(setup: &Setup, verb: &str, options: &[&str]) -> Output {
    let full = OpenOptions::new().write(true).open("/dev/full");
    let mut command = setup.verb_command(verb, options);
    command.stdout(full.expect("/dev/full"));
    let output = command.stderr(Stdio::piped()).spawn();
    let child = output.expect("a program");
    child.wait_with_output().expect("its end")
}

#[test]
fn an_answer_that_cannot_be_printed_is_a_failure_and_what_was_done_is_none() {
    let port = Port::reserve();
    let setup = Setup::echo(program!("workhive-under-test"), format!("http://{port}"));
    let started = run(&setup, "start", &["-d"]);
    assert!(started.status.success(), "{started:?}");
    assert_eq!(setup.status()["state"], "running");
    for (verb, options) in [
        ("status", &[][..]),
        ("check", &[]),
        ("show-config", &[]),
        ("status", &["--help"]),
    ] {
        let ended = run(&setup, verb, options);
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(1), "{verb}: {said}");
        assert!(said.contains("cannot print the answer"), "{verb}: {said}");
    }
    let reloaded = run(&setup, "reload", &[]);
    assert!(reloaded.status.success(), "{reloaded:?}");
    assert_eq!(setup.verb::<&str>("stop", &[]).code, Some(0));
}
