//! A configuration file says what the options say, for all groups and for each; and options win.

use std::path::{Path, PathBuf};

use workhive_tests::text::TextClient;
use workhive_tests::{Finished, Port, Setup, program};

fn setup(text: &str) -> (Setup, PathBuf) {
    let setup = Setup::new(program!("obeys"));
    let path = setup.path("hive.toml");
    std::fs::write(&path, text).expect("a file");
    (setup, path)
}

fn with_config(setup: &Setup, path: &Path, verb: &str, more: &[&str]) -> Finished {
    let path = path.to_str().expect("a readable path");
    let mut arguments = vec!["--config", path];
    arguments.extend(more);
    setup.verb(verb, &arguments)
}

const GROUPS: &str =
    "[all]\ndrain = 2\ncount = 2\n\n[groups.second]\ncount = 3\nmax-memory = \"1G\"\n";

#[test]
fn groups_get_what_the_file_says_and_options_win() {
    let port = Port::reserve();
    for (options, expected) in [
        (&[][..], (2, 3)),
        (&["--count", "second=1"], (2, 1)),
        (&["--count", "1"], (1, 1)),
    ] {
        let (setup, path) = setup(GROUPS);
        let at = port.to_string();
        let hive = setup
            .options([
                "--config",
                path.to_str().expect("a readable path"),
                "--text",
                &at,
            ])
            .options(["--groups", "first,second"])
            .options(options.iter().copied())
            .start();
        let status = hive.status();
        let rows = status["workers"].as_array().expect("a list");
        let count = |name: &str| rows.iter().filter(|row| row["group"] == name).count();
        assert_eq!((count("first"), count("second")), expected, "{options:?}");
        // The longest drain, and what comes after it.
        assert!(
            status["stop_within_ms"].as_u64() < Some(10_000),
            "{status:#}"
        );
    }
}

#[test]
fn keys_that_mean_nothing_are_refused_with_line_and_column() {
    for (text, words) in [
        ("cuont = 3\n", &["line 1, column 1", "cuont"][..]),
        (
            "[all]\n\n  drain = \"soon\"\n",
            &["line 3, column", "number of seconds"],
        ),
        (
            "[groups.obeys]\nmax-requests = 0\n",
            &["line 2, column", "from 1 on"],
        ),
        (
            "[groups.obey]\ncount = 1\n",
            &["line 1", "\"obey\"", "there are: obeys"],
        ),
        ("count == 3\n", &["line 1, column"]),
    ] {
        let (setup, path) = setup(text);
        for verb in ["start", "check", "show-config"] {
            let ended = with_config(&setup, &path, verb, &[]);
            assert_eq!(ended.code, Some(2), "{verb} {text}: {ended:?}");
            for word in [&["hive.toml"], words].concat() {
                assert!(ended.stderr.contains(word), "{word}: {ended:?}");
            }
        }
        assert!(setup.family().is_empty());
    }
    let (setup, path) = setup("");
    let ended = with_config(&setup, &path.with_extension("none"), "check", &[]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("hive.none"), "{ended:?}");
}

#[test]
fn a_file_can_be_checked_without_a_start() {
    let (setup, path) = setup(GROUPS);
    let ended = with_config(&setup, &path, "check", &["--groups", "first,second"]);
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (Some(0), "obeys: makes sense, 5 processes\n"),
        "{ended:?}"
    );
    let (setup, path) = self::setup("[all]\nuser = \"nobody-of-this-name\"\n");
    let ended = with_config(&setup, &path, "check", &[]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("nobody-of-this-name"), "{ended:?}");
    assert!(setup.family().is_empty());
}

#[test]
fn what_is_shown_is_a_file_that_says_the_same() {
    let (setup, path) = setup(GROUPS);
    let more = ["--groups", "first,second", "--stuck-after", "7.5"];
    let shown = with_config(&setup, &path, "show-config", &more);
    assert_eq!(shown.code, Some(0), "{shown:?}");
    for line in [
        "drain = 2.0",
        "count = 3",
        "stuck-after = 7.5",
        "max-memory = 1073741824",
        "[groups.second]",
    ] {
        assert!(
            shown.stdout.lines().any(|found| found == line),
            "{line}: {}",
            shown.stdout
        );
    }
    std::fs::write(&path, &shown.stdout).expect("a file");
    let again = with_config(&setup, &path, "show-config", &more[..2]);
    assert_eq!(again.stdout, shown.stdout);
}

#[test]
fn options_of_the_program_can_stand_in_the_file() {
    let port = Port::reserve();
    let text =
        format!("[options]\ntext = \"{port}\"\ngroups = \"first,second\"\nreuse-port = true\n");
    let (setup, path) = setup(&text);
    let shown = with_config(&setup, &path, "show-config", &["--groups", "first"]);
    for line in [
        "[options]",
        &format!("text = \"{port}\""),
        "groups = \"first\"",
        "reuse-port = true",
    ] {
        assert!(
            shown.stdout.lines().any(|found| found == line),
            "{line}: {shown:?}"
        );
    }
    assert!(!shown.stdout.contains("[groups.second]"), "{shown:?}");
    std::fs::write(&path, &shown.stdout).expect("a file");
    let again = with_config(&setup, &path, "show-config", &[]);
    assert_eq!(again.stdout, shown.stdout);

    std::fs::write(&path, &text).expect("a file");
    let path = path.to_str().expect("a readable path").to_owned();
    let hive = setup.options(["--config", &path]).start();
    assert!(
        TextClient::connect(port.addr())
            .ask("who")
            .starts_with("0 0 ")
    );
    let status = hive.status();
    let listener = &status["listeners"][0];
    assert_eq!(
        (&listener["group"], &listener["reuse_port"]),
        (&"first".into(), &true.into())
    );
}

#[test]
fn options_that_the_program_does_not_have_are_refused_with_line_and_column() {
    let (setup, path) = setup("[options]\n\n  txt = \"127.0.0.1:1\"\n");
    for verb in ["start", "check", "stop"] {
        let ended = with_config(&setup, &path, verb, &[]);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        let complaint = ended.stderr;
        for word in ["hive.toml: line 3, column 3", "\"txt\"", "text"] {
            assert!(complaint.contains(word), "{word}: {complaint}");
        }
    }
}

#[test]
fn the_pid_file_can_be_named_in_the_file() {
    let (setup, path) = setup("");
    let pid_file = setup.path("named.pid");
    std::fs::write(&path, format!("pid-file = \"{}\"\n", pid_file.display())).expect("a file");
    let mut command = setup.command(program!("obeys"));
    let ended = command
        .arg("status")
        .arg("--config")
        .arg(&path)
        .output()
        .expect("a program");
    assert_eq!(ended.status.code(), Some(3));
    let complaint = String::from_utf8_lossy(&ended.stderr);
    assert!(complaint.contains("named.pid"), "{complaint}");
}
