//! Pushing to a running server from the command line.

use std::io::Write;
use std::process::Stdio;

use serde_json::{Value, json};
use workhive_tests::push::{Push, PushSetup};
use workhive_tests::{Finished, Port, Running, program};

fn setup(count: usize) -> PushSetup {
    PushSetup::new(program!("workhive-under-test"), count)
}

fn send(push: &Push, arguments: &[&str]) -> (Option<i32>, String) {
    let Finished {
        code,
        stdout,
        stderr,
    } = push.hive.verb("send", arguments);
    assert!(stderr.is_empty() || code == Some(2), "{stderr}");
    (code, stdout)
}

#[test]
fn what_is_sent_arrives_and_the_outcome_is_printed() {
    for count in [1, 3] {
        let push = setup(count).start();
        let mut one = push.client("u1");
        let mut again = push.client("u1");
        let mut two = push.client("u2");
        assert_eq!(
            send(&push, &["--uid", "u1", "hello"]),
            (Some(0), "delivered 2\n".to_owned())
        );
        assert_eq!(
            (one.text(), again.text()),
            ("hello".to_owned(), "hello".to_owned())
        );
        let both = ["--uid", "u1", "--uid", "u2", "größe 88%"];
        assert_eq!(send(&push, &both), (Some(0), "delivered 3\n".to_owned()));
        assert_eq!(
            send(&push, &["--all", "everybody"]),
            (Some(0), "delivered 3\n".to_owned())
        );
        assert_eq!(
            send(&push, &["--uid", "nobody", "x"]),
            (Some(1), "offline\n".to_owned())
        );
        assert_eq!(
            send(&push, &["--room", "lobby", "x"]),
            (Some(1), "offline\n".to_owned())
        );
        push.post("/rooms/lobby/join", &json!({"uid": "u2"}));
        assert_eq!(
            send(&push, &["--room", "lobby", "x"]),
            (Some(0), "delivered 1\n".to_owned())
        );
        assert_eq!(
            [two.text(), two.text(), two.text()],
            ["größe 88%", "everybody", "x"]
        );
        let (code, json) = send(&push, &["--uid", "u1", "--json", "x"]);
        let outcome = json!({"delivered": 2, "refused": 0, "unknown": false, "unrouted": false});
        assert_eq!(code, Some(0));
        assert_eq!(serde_json::from_str::<Value>(&json).expect("JSON"), outcome);
    }
}

#[test]
fn every_line_of_standard_input_is_a_message() {
    let push = setup(2).start();
    let mut client = push.client("u1");
    let input = |arguments: &[&str], lines: &str| {
        let mut command = push.hive.setup().verb_command("send", arguments);
        let (reader, mut writer) = std::io::pipe().expect("a pipe");
        command.stdin(Stdio::from(reader));
        let running = Running::new(command);
        // It may have seen enough before the end.
        let _ = writer.write_all(lines.as_bytes());
        drop(writer);
        running.finish()
    };
    let lines: Vec<String> = (0..100).map(|n| format!("line {n}")).collect();
    let sent = input(&["--uid", "u1", "-"], &(lines.join("\n") + "\n"));
    assert_eq!(sent.code, Some(0), "{sent:?}");
    assert_eq!(sent.stdout, "delivered 1\n".repeat(100));
    for n in 0..100 {
        assert_eq!(client.text(), format!("line {n}"));
    }
    // One that nobody got makes the whole a failure; so does not a missing line break, nor one of another system.
    let sent = input(&["--uid", "nobody", "-"], "a\nb");
    assert_eq!(
        (sent.code, sent.stdout.as_str()),
        (Some(1), "offline\noffline\n")
    );
    let sent = input(&["--uid", "u1", "-"], "a\r\nb");
    assert_eq!(sent.code, Some(0), "{sent:?}");
    assert_eq!([client.text(), client.text()], ["a", "b"]);
    // What comes behind one that is too long is not sent.
    let long = format!("c\n{}\nd\n", "x".repeat((10 << 20) + 1));
    let sent = input(&["--uid", "u1", "-"], &long);
    assert_eq!(
        (sent.code, sent.stdout.as_str()),
        (Some(1), "delivered 1\n")
    );
    let why = "line 2 of standard input is too long";
    assert!(sent.stderr.contains(why), "{sent:?}");
    assert_eq!(client.text(), "c");
    let sent = input(&["--uid", "u1", "-"], "");
    assert_eq!((sent.code, sent.stdout.as_str()), (Some(0), ""));
}

#[test]
fn who_is_online_and_which_rooms_there_are_is_printed_a_line_each() {
    let push = setup(3).start();
    let _clients = push.spread(&["u1", "u2"]);
    let online = push.hive.verb("online", &["u1", "u2"]);
    assert_eq!(
        (online.code, online.stdout.as_str()),
        (Some(0), "u1 online\nu2 online\n")
    );
    let some = push.hive.verb("online", &["u1", "nobody"]);
    assert_eq!(
        (some.code, some.stdout.as_str()),
        (Some(1), "u1 online\nnobody offline\n")
    );
    let rooms = push.hive.verb::<&str>("rooms", &[]);
    assert_eq!((rooms.code, rooms.stdout.as_str()), (Some(0), ""));
    for room in ["lobby", "attic"] {
        push.post(&format!("/rooms/{room}/join"), &json!({"uid": "u1"}));
    }
    let rooms = push.hive.verb::<&str>("rooms", &[]);
    assert_eq!(
        (rooms.code, rooms.stdout.as_str()),
        (Some(0), "attic\nlobby\n")
    );
    let rooms = push.hive.verb("rooms", &["--json"]);
    assert_eq!(rooms.stdout, "\"attic\"\n\"lobby\"\n");
}

#[test]
fn the_server_is_found_by_its_socket_too() {
    let push = setup(2).start();
    let mut client = push.client("u1");
    let socket = push.hive.path("hive.push.sock").display().to_string();
    let mut command = push.hive.setup().command(program!("workhive-under-test"));
    command.args([
        "push",
        "send",
        "--socket",
        &socket,
        "--uid",
        "u1",
        "by socket",
    ]);
    let sent = Running::new(command).finish();
    assert_eq!(
        (sent.code, sent.stdout.as_str()),
        (Some(0), "delivered 1\n"),
        "{sent:?}"
    );
    assert_eq!(client.text(), "by socket");
}

#[test]
fn root_reaches_a_server_that_runs_as_somebody_else() {
    if !nix::unistd::geteuid().is_root() {
        return workhive_tests::tools::skip("only root can become somebody else");
    }
    for count in [1, 2] {
        let push = setup(count).options(&["--user", "nobody"]).start();
        let mut client = push.client("u1");
        assert_eq!(
            send(&push, &["--uid", "u1", "from root"]),
            (Some(0), "delivered 1\n".to_owned())
        );
        assert_eq!(client.text(), "from root");
    }
}

#[test]
fn a_server_that_does_not_run_is_said_not_to() {
    let setup = setup(1);
    for verb in ["send", "online", "rooms"] {
        let arguments: &[&str] = match verb {
            "send" => &["--uid", "u1", "x"],
            "online" => &["u1"],
            _ => &[],
        };
        let ended = setup.setup.verb(verb, arguments);
        assert_eq!(ended.code, Some(3), "{verb}: {ended:?}");
        assert!(ended.stderr.contains("not running"), "{verb}: {ended:?}");
        assert_eq!(ended.stdout, "");
    }
    let socket = setup.setup.path("nowhere.sock").display().to_string();
    let mut command = setup.setup.command(program!("workhive-under-test"));
    command.args(["push", "rooms", "--socket", &socket]);
    let ended = Running::new(command).finish();
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.stderr.contains(&socket), "{ended:?}");
}

#[test]
fn what_makes_no_sense_is_refused() {
    let setup = setup(1);
    for arguments in [
        &["hello"][..],
        &["--uid", "u1"],
        &["--all", "--uid", "u1", "hello"],
        &["--all", "hello", "world"],
        &["--everybody", "hello"],
        &["--uid", "", "hello"],
        &["--room", "", "hello"],
    ] {
        let refused = setup.setup.verb("send", arguments);
        assert_eq!(refused.code, Some(2), "{arguments:?}: {refused:?}");
    }
    let empty = setup.setup.verb("online", &["u1", ""]);
    assert_eq!(empty.code, Some(2), "{empty:?}");
    let why = "a uid has 1 to 255 bytes, this one has 0";
    assert!(empty.stderr.contains(why), "{empty:?}");
    let help = setup.setup.verb("send", &["--help"]);
    assert_eq!(help.code, Some(0), "{help:?}");
    for words in [
        "workhive push send",
        "`unrouted`",
        "Exit codes",
        "--pid-file",
    ] {
        assert!(help.stdout.contains(words), "{words}: {help:?}");
    }
    let help = setup.setup.verb("start", &["--help"]);
    for verb in [
        "push send",
        "push online",
        "push rooms",
        "--http",
        "--peer-messages",
    ] {
        assert!(help.stdout.contains(verb), "{verb}: {}", help.stdout);
    }
}

#[test]
fn a_server_is_found_by_its_address_as_by_the_other_verbs() {
    // With the pid file where it is by default, in a directory of the test's.
    let setup = setup(1);
    let runtime = setup.setup.path("runtime");
    std::fs::create_dir(&runtime).expect("a directory");
    let (ws, text) = (Port::reserve().to_string(), Port::reserve().to_string());
    let push = |words: &[&str]| {
        let mut command = setup.setup.command(program!("workhive-under-test"));
        command
            .env("XDG_RUNTIME_DIR", &runtime)
            .arg("push")
            .args(words);
        Running::new(command).finish()
    };
    let started = push(&["start", "-d", "--ws", &ws, "--text", &text]);
    assert_eq!(started.code, Some(0), "{started:?}");
    let sent = push(&["send", "--ws", &ws, "--uid", "nobody", "x"]);
    assert_eq!(
        (sent.code, sent.stdout.as_str()),
        (Some(1), "offline\n"),
        "{sent:?}"
    );
    assert_eq!(push(&["rooms", "--ws", "127.0.0.1:1"]).code, Some(3));
    assert_eq!(push(&["stop", "--ws", &ws]).code, Some(0));
}
