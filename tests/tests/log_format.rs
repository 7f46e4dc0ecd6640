//! The log as JSON: one object a line, whatever happens.

use std::fs;
use std::path::Path;

use nix::sys::signal::Signal;
use serde_json::Value;
use workhive_tests::{Port, Setup, eventually, program};

/// The lines of a log, each of which must be an object.
fn objects(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).expect("a log");
    let parse = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    text.lines().map(parse).collect()
}

fn boots(options: &[&str]) -> Setup {
    let port = Port::reserve().to_string();
    let setup = Setup::new(program!("boots"));
    let fail = setup.path("fail");
    setup
        .options(["--text", &port, "--fail"])
        .options([fail.to_str().expect("a readable path")])
        .options(options.iter().copied())
}

#[test]
fn every_line_is_an_object_also_when_a_process_panics_or_is_killed() {
    for spawn in ["fork", "exec"] {
        every_line_is_an_object(spawn);
    }
}

fn every_line_is_an_object(spawn: &str) {
    let setup = boots(&["--log-format", "json", "--count", "2", "--spawn", spawn]);
    let log = setup.path("log");
    let mut hive = setup
        .options(["--log-file", log.to_str().expect("a readable path")])
        .start();
    fs::write(hive.path("fail"), "panic").expect("a file");
    assert_eq!(hive.verb::<&str>("reload", &[]).code, Some(1));
    fs::remove_file(hive.path("fail")).expect("a file");
    workhive_tests::proc::signal(hive.workers()[0], Signal::SIGKILL);
    let is = |line: &Value, place: &str, level: &str, words: &str| {
        let message = line["message"].as_str().expect("a message");
        line["place"] == place && line["level"] == level && message.contains(words)
    };
    eventually("all of it is told", || {
        let lines = objects(&log);
        let told = |place, level, words| lines.iter().any(|line| is(line, place, level, words));
        let panicked = told("boots[0]", "error", "the boot has burst");
        let killed = told("master", "warn", "SIGKILL");
        let again = lines
            .iter()
            .filter(|line| is(line, "master", "info", " ready in "));
        (panicked && killed && again.count() == 3).then_some(())
    });
    assert!(hive.stop().success());
    let lines = objects(&log);
    for line in &lines {
        let time = line["time"].as_str().expect("a time");
        assert!(time.len() == 24 && time.ends_with('Z'), "{line}");
        assert!(line["pid"].as_u64() > Some(1), "{line}");
        assert!(line["target"].as_str().is_some(), "{line}");
    }
    assert!(is(
        lines.last().expect("a line"),
        "master",
        "info",
        "stopped"
    ));
}

#[test]
fn the_file_chooses_the_format_and_the_command_line_wins() {
    let port = Port::reserve().to_string();
    for (options, json) in [(&[][..], true), (&["--log-format", "text"], false)] {
        let setup = Setup::new(program!("boots"));
        let (config, log) = (setup.path("hive.toml"), setup.path("log"));
        let text = format!("log-format = \"json\"\nlog-file = \"{}\"\n", log.display());
        fs::write(&config, text).expect("a file");
        let mut hive = setup
            .options(["--config", config.to_str().expect("a readable path")])
            .options(["--text", &port])
            .options(options.iter().copied())
            .start();
        assert!(hive.stop().success());
        let text = fs::read_to_string(&log).expect("a log");
        assert_eq!(text.starts_with('{'), json, "{text}");
        if json {
            assert!(!objects(&log).is_empty());
        }
    }
    let ended = boots(&[]).verb("check", &["--log-format", "xml"]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("text or json"), "{ended:?}");
}
