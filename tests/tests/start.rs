//! Starting a hive: what is printed, when it is ready, in the foreground and as a daemon.

use std::path::Path;

use nix::sys::signal::Signal;
use workhive_tests::http::HttpClient;
use workhive_tests::text::TextClient;
use workhive_tests::{Port, Running, Setup, proc, program};

fn echo(target: impl Into<String>) -> Setup {
    Setup::echo(program!("workhive-under-test"), target)
}

#[test]
fn the_foreground_prints_a_table_of_groups_listeners_and_counts() {
    let port = Port::reserve();
    let hive = echo(format!("http://{port}"))
        .options(["--count", "3"])
        .start();
    let log = hive.log();
    let head = log
        .iter()
        .position(|line| line.starts_with("group") && line.contains("listener"))
        .unwrap_or_else(|| panic!("{log:#?}"));
    let cells: Vec<&str> = log[head + 1].split_ascii_whitespace().collect();
    assert_eq!(cells, ["echo", &format!("http://{port}"), "3"]);
    assert_eq!(hive.workers().len(), 3);
}

#[test]
fn the_table_comes_when_every_process_is_ready() {
    let port = Port::reserve();
    let hive = echo(format!("http://{port}"))
        .options(["--count", "4"])
        .start();
    // Printed means ready: nothing here tries twice.
    assert_eq!(HttpClient::connect(port.addr()).get("/").status, 200);
    let status = hive.status();
    assert_eq!(status["state"], "running");
    let workers = status["workers"].as_array().expect("a list");
    // With the router.
    assert_eq!(workers.len(), 5);
    assert!(
        workers.iter().all(|worker| worker["state"] == "ready"),
        "{status:#}"
    );
}

#[test]
fn a_log_line_has_time_level_place_and_pid() {
    let port = Port::reserve();
    let hive = echo(format!("http://{port}")).start();
    let line = hive.wait_for_line("slot=0 ready");
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    assert!(words[0].ends_with('Z') && words[0].contains('T'), "{line}");
    assert_eq!(words[1..4], ["INFO", "master", &hive.pid().to_string()]);
    assert!(
        line.contains(&format!("pid {}", hive.workers()[0])),
        "{line}"
    );
}

#[test]
fn the_log_level_is_obeyed() {
    let port = Port::reserve();
    let mut hive = echo(format!("http://{port}"))
        .options(["--log-level", "warn"])
        .start();
    hive.stop();
    let log = hive.log();
    assert!(!log.iter().any(|line| line.contains(" INFO ")), "{log:#?}");
}

#[test]
fn port_0_lets_the_system_choose_and_the_table_tells_what_it_chose() {
    for options in [&["--count", "2"][..], &["--count", "2", "--reuse-port"]] {
        let hive = echo("http://127.0.0.1:0")
            .options(options.iter().copied())
            .start();
        let line = hive.wait_for_line("http://127.0.0.1:");
        let (_, address) = line.split_once("http://").expect("a listener");
        let address = address.split_ascii_whitespace().next().expect("an address");
        let address = address.parse().expect("a real address");
        assert_eq!(HttpClient::connect(address).get("/").status, 200);
    }
}

#[test]
fn a_name_is_resolved() {
    let port = Port::reserve();
    let hive = echo(format!("text://localhost:{}", port.number())).start();
    let line = hive.wait_for_line("text://");
    let (_, address) = line.split_once("text://").expect("a listener");
    let address = address.split_ascii_whitespace().next().expect("an address");
    let address = address.parse().expect("a number by now");
    assert_eq!(TextClient::connect(address).ask("hello"), "hello");
}

#[test]
fn processes_are_named_after_their_slots() {
    let port = Port::reserve();
    let hive = echo(format!("http://{port}"))
        .options(["--count", "2"])
        .start();
    for (slot, pid) in hive.slots().into_iter().enumerate() {
        let name = proc::status_field(pid, "Name:").expect("a process");
        assert_eq!(name, format!("echo[{slot}]"));
    }
}

#[test]
fn a_daemon_is_ready_when_its_starter_returns() {
    let port = Port::reserve();
    let setup = echo(format!("http://{port}")).options(["--count", "2"]);
    let started = setup.verb("start", &["-d"]);
    assert_eq!(started.code, Some(0), "{started:?}");
    assert_eq!(HttpClient::connect(port.addr()).get("/").status, 200);
    let daemon = setup.daemon();
    // With the router.
    assert_eq!(proc::children(daemon).len(), 3);
    // Nothing of ours: no terminal, no stream. What it prints goes to the log beside its pid file.
    let streams = proc::descriptors(daemon);
    let log = setup.path("hive.log");
    for (number, expected) in [(0, Path::new("/dev/null")), (1, &log), (2, &log)] {
        let found = streams.iter().find(|(fd, _)| *fd == number);
        let (_, target) = found.expect("open");
        assert_eq!(target, expected, "{streams:?}");
    }
    let status = setup.status();
    assert_eq!(status["pid"], daemon);
    let stopped = setup.verb::<&str>("stop", &[]);
    assert_eq!(stopped.code, Some(0), "{stopped:?}");
    assert!(setup.family().is_empty());
    assert!(!setup.pid_file().exists());
}

#[test]
fn a_closed_terminal_does_not_stop_a_daemon() {
    let port = Port::reserve();
    let setup = echo(format!("http://{port}"));
    assert_eq!(setup.verb("start", &["-d"]).code, Some(0));
    for pid in setup.family() {
        proc::signal(pid, Signal::SIGHUP);
    }
    assert_eq!(HttpClient::connect(port.addr()).get("/").status, 200);
    assert_eq!(setup.verb::<&str>("stop", &[]).code, Some(0));
}

#[test]
fn restart_replaces_a_daemon_and_starts_one_where_there_is_none() {
    let port = Port::reserve();
    let setup = echo(format!("http://{port}")).options(["--count", "2"]);
    let first = setup.verb("restart", &["-d"]);
    assert_eq!(first.code, Some(0), "{first:?}");
    let before = setup.daemon();
    let second = setup.verb("restart", &["-d", "-g"]);
    assert_eq!(second.code, Some(0), "{second:?}");
    let after = setup.daemon();
    assert_ne!(before, after);
    assert!(!proc::is_alive(before));
    assert_eq!(HttpClient::connect(port.addr()).get("/").status, 200);
    assert_eq!(setup.verb::<&str>("stop", &[]).code, Some(0));
}

#[test]
fn a_restart_with_nonsense_leaves_the_running_hive_alone() {
    let port = Port::reserve();
    let hive = echo(format!("http://{port}")).start();
    let refused = hive.verb("restart", &["-d", "--count", "nobody=3"]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert_eq!(HttpClient::connect(port.addr()).get("/").status, 200);
}

#[test]
fn help_names_the_verbs_and_the_options_and_is_no_error() {
    let setup = Setup::new(program!("workhive-under-test")).words(["push", "--help"]);
    let mut command = setup.command(program!("workhive-under-test"));
    let output = command.args(["push", "--help"]).output().expect("it runs");
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    for word in [
        "start", "stop", "restart", "reload", "status", "--ws", "--text", "--count", "--daemon",
    ] {
        assert!(text.contains(word), "{word} is missing in:\n{text}");
    }
}

#[test]
fn without_a_pid_file_a_hive_is_known_by_its_name_and_its_first_address() {
    let [ws, text, other] = std::array::from_fn(|_| Port::reserve());
    let setup = Setup::new(program!("workhive-under-test"));
    let run = |verb: &[&str], ws: &Port| {
        let mut command = setup.command(program!("workhive-under-test"));
        command
            .arg("push")
            .args(verb)
            .args(["--ws", &ws.to_string(), "--text", &text.to_string()])
            .env("XDG_RUNTIME_DIR", setup.path(""));
        Running::new(command).finish()
    };
    assert_eq!(run(&["start", "-d"], &ws).code, Some(0));
    assert_eq!(run(&["start", "-d"], &ws).code, Some(1), "it runs already");
    let status = run(&["status"], &ws);
    assert_eq!(status.code, Some(0), "{status:?}");
    assert!(status.stdout.contains(&ws.to_string()), "{status:?}");
    assert_eq!(run(&["status"], &other).code, Some(3), "another one");
    assert_eq!(run(&["reload"], &ws).code, Some(0));
    assert_eq!(run(&["stop"], &ws).code, Some(0));
    assert_eq!(run(&["stop"], &ws).code, Some(3));
}
