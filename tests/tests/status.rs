//! The status is read from the master's books and asks no process.

use workhive_tests::http::HttpClient;
use workhive_tests::{Hive, Port, Setup, eventually, program};

fn echo(options: &[&str]) -> (Hive, Port) {
    let port = Port::reserve();
    let setup = Setup::echo(program!("workhive-under-test"), format!("http://{port}"));
    (setup.options(options.iter().copied()).start(), port)
}

#[test]
fn the_status_names_groups_listeners_processes_and_their_counters() {
    let (hive, port) = echo(&["--count", "2"]);
    let mut client = HttpClient::connect(port.addr());
    for _ in 0..10 {
        assert_eq!(client.get("/").status, 200);
    }
    // A process writes its counters at the end of the turn in which it answered.
    let sums = eventually("the counters", || {
        let status = hive.status();
        let workers = status["workers"].as_array().expect("a list").clone();
        let sum = |name: &str| -> u64 {
            workers
                .iter()
                .filter(|worker| worker["group"] == "echo")
                .map(|worker| worker[name].as_u64().expect("a number"))
                .sum()
        };
        (sum("messages") >= 10).then(|| (sum("messages"), sum("connections"), sum("accepted")))
    });
    assert_eq!(sums, (10, 1, 1));
    let text = hive.verb::<&str>("status", &[]);
    assert_eq!(text.code, Some(0), "{text:?}");
    for word in [
        "running",
        &format!("http://{port}"),
        &hive.pid().to_string(),
        "ready",
        "echo",
    ] {
        assert!(
            text.stdout.contains(word),
            "{word} is missing in:\n{}",
            text.stdout
        );
    }
    for worker in hive.workers() {
        assert!(text.stdout.contains(&worker.to_string()), "{}", text.stdout);
    }
}

#[test]
fn strangers_at_the_control_socket_do_no_harm() {
    use std::io::{Read, Write};
    let (hive, port) = echo(&[]);
    let socket = hive.path("hive.sock");
    let connect = || std::os::unix::net::UnixStream::connect(&socket).expect("a control socket");
    let silent: Vec<_> = (0..8).map(|_| connect()).collect();
    for garbage in [&b"jump\n"[..], &[b'x'; 10_000], b"{}\n", b"\0\0\0\n"] {
        let mut stranger = connect();
        stranger
            .set_read_timeout(Some(workhive_tests::DEADLINE))
            .expect("open");
        // The hive may have had enough in the middle.
        let _ = stranger.write_all(garbage);
        let mut answer = Vec::new();
        match stranger.read_to_end(&mut answer) {
            Ok(_) => assert!(!String::from_utf8_lossy(&answer).contains("\"ok\":true")),
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
        }
    }
    assert_eq!(hive.status()["state"], "running");
    assert_eq!(HttpClient::connect(port.addr()).get("/").status, 200);
    drop(silent);
}

#[test]
fn the_control_socket_and_the_pid_file_are_the_users_own() {
    use std::os::unix::fs::PermissionsExt;
    let (hive, _port) = echo(&[]);
    let mode = |path| {
        let found = std::fs::metadata(path).expect("a file");
        found.permissions().mode() & 0o777
    };
    assert_eq!(mode(hive.path("hive.sock")), 0o600);
    assert_eq!(
        mode(hive.setup().pid_file()) & 0o022,
        0,
        "others may not write it"
    );
}
