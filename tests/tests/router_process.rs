//! The process that connects the others: there when there are several, watched over like them, and gone last.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use workhive_tests::http::HttpClient;
use workhive_tests::{Hive, Port, Setup, eventually, proc, program, tools};

fn setup(port: &Port, options: &[&str]) -> Setup {
    let setup = Setup::echo(program!("workhive-under-test"), format!("http://{port}"));
    setup.options(options.iter().copied())
}

fn echo(options: &[&str]) -> (Hive, Port) {
    let port = Port::reserve();
    (setup(&port, options).start(), port)
}

fn router(hive: &Hive) -> u32 {
    eventually("a router", || hive.router())
}

fn rows(hive: &Hive) -> Vec<serde_json::Value> {
    let status = hive.status();
    let rows = status["workers"].as_array().expect("a list").iter();
    rows.filter(|row| row["group"] == "router")
        .cloned()
        .collect()
}

#[test]
fn several_workers_have_a_router_and_one_has_none() {
    let (hive, _port) = echo(&["--count", "3"]);
    let router = router(&hive);
    assert_eq!(hive.workers().len(), 3);
    assert_eq!(proc::children(hive.pid()).len(), 4);
    // It came first, and the hive waited for it.
    assert!(hive.workers().iter().all(|worker| *worker > router));
    let log = hive.log();
    let position = |text: &str| log.iter().position(|line| line.contains(text));
    let ready = position("ready: 3 processes in").expect("a line that counts the workers");
    assert!(position("group=router slot=0 ready").expect("a line of its own") < ready);

    let (alone, _port) = echo(&["--count", "1"]);
    assert_eq!(alone.router(), None);
    assert_eq!(proc::children(alone.pid()).len(), 1);
    assert!(rows(&alone).is_empty());
}

#[test]
fn the_status_has_a_line_for_the_router() {
    let (hive, _port) = echo(&["--count", "2"]);
    let rows = rows(&hive);
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(rows[0]["pid"], router(&hive));
    assert_eq!(rows[0]["state"], "ready");
    let text = hive.verb::<&str>("status", &[]).stdout;
    let lines = text.lines().filter(|line| line.starts_with("router "));
    let lines: Vec<_> = lines.collect();
    assert_eq!(lines.len(), 1, "{text}");
    assert!(lines[0].contains(&router(&hive).to_string()), "{text}");
}

#[test]
fn a_router_that_is_killed_is_replaced_at_once_and_the_workers_stay() {
    let (hive, port) = echo(&["--count", "3"]);
    let workers = hive.workers();
    // Right after the start it has not proved yet that it works, and is replaced without a pause all the same.
    let killed = router(&hive);
    let mark = hive.mark();
    let start = Instant::now();
    proc::signal(killed, Signal::SIGKILL);
    let line = hive.wait_for_line_after(mark, "group=router slot=0 ready");
    assert!(start.elapsed() < Duration::from_secs(5), "{line}");
    hive.wait_for_line_after(mark, "router[0]: failure 1 in a row; next attempt at once");
    assert!(line.contains("generation 1"), "{line}");
    assert_ne!(router(&hive), killed);
    assert_eq!(hive.workers(), workers);
    assert_eq!(HttpClient::connect(port.addr()).get("/").status, 200);
    let row = &rows(&hive)[0];
    assert_eq!(row["restarts"], 1, "{row:#}");
    assert!(row["last_exit"].to_string().contains("SIGKILL"), "{row:#}");
}

#[test]
fn a_router_that_is_killed_again_and_again_always_comes_back() {
    let (hive, _port) = echo(&["--count", "2"]);
    let workers = hive.workers();
    for generation in 1..=4 {
        let mark = hive.mark();
        proc::signal(router(&hive), Signal::SIGKILL);
        let line = hive.wait_for_line_after(mark, "group=router slot=0 ready");
        assert!(line.contains(&format!("generation {generation}")), "{line}");
    }
    assert_eq!(hive.workers(), workers);
}

#[test]
fn a_router_that_is_told_to_end_by_somebody_else_is_replaced_before_it_is_gone() {
    let (hive, port) = echo(&["--count", "2"]);
    let workers = hive.workers();
    let old = router(&hive);
    let mark = hive.mark();
    proc::signal(old, Signal::SIGTERM);
    hive.wait_for_line_after(mark, "group=router slot=0 ready");
    // The workers turn to the new one, and then nothing keeps the old one.
    eventually("the end of the old router", || {
        (!proc::is_alive(old)).then_some(())
    });
    assert_ne!(router(&hive), old);
    assert_eq!(hive.workers(), workers);
    assert_eq!(HttpClient::connect(port.addr()).get("/").status, 200);
}

#[test]
fn a_signal_to_all_processes_at_once_ends_the_hive_in_good_order() {
    // As service managers do it.
    let (mut hive, port) = echo(&["--count", "3"]);
    assert_eq!(HttpClient::connect(port.addr()).get("/").status, 200);
    let group = nix::unistd::Pid::from_raw(hive.pid().cast_signed());
    nix::sys::signal::killpg(group, Signal::SIGTERM).expect("a process group");
    assert!(hive.wait().success());
    assert!(!hive.path("hive.push.sock").exists());
}

#[test]
fn a_reload_replaces_the_workers_and_keeps_the_router() {
    let (hive, _port) = echo(&["--count", "2"]);
    let (before, workers) = (router(&hive), hive.slots());
    for _ in 0..3 {
        let reload = hive.verb::<&str>("reload", &[]);
        assert_eq!(reload.code, Some(0), "{reload:?}");
        assert!(
            reload.stdout.contains("replaced 2 processes in"),
            "{reload:?}"
        );
    }
    let after = hive.slots();
    assert!(workers.iter().all(|pid| !after.contains(pid)));
    assert_eq!(router(&hive), before);
}

#[test]
fn the_router_goes_last() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let (mut hive, port) = echo(&["--count", "2"]);
        assert_eq!(HttpClient::connect(port.addr()).get("/").status, 200);
        let router = router(&hive);
        hive.signal(signal);
        assert!(hive.wait().success());
        let log = hive.log();
        let ends: Vec<_> = log
            .iter()
            .filter(|line| line.contains("exited with code 0"))
            .collect();
        assert_eq!(ends.len(), 3, "{log:#?}");
        assert!(
            ends[2].contains(&format!("router[0]: pid {router}")),
            "{ends:#?}"
        );
        assert!(!hive.path("hive.push.sock").exists());
    }
}

#[test]
fn a_router_that_is_killed_while_the_workers_drain_comes_back_for_them() {
    let (mut hive, port) = echo(&["--count", "2", "--drain", "20"]);
    // A request in hand keeps one worker.
    let mut client = HttpClient::connect(port.addr());
    client
        .send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nhello")
        .expect("a peer that takes bytes");
    hive.signal(Signal::SIGTERM);
    hive.wait_for_line("stopping gracefully");
    let killed = router(&hive);
    let mark = hive.mark();
    proc::signal(killed, Signal::SIGKILL);
    hive.wait_for_line_after(mark, "group=router slot=0 ready");
    client.send("world").expect("a peer that takes bytes");
    assert_eq!(client.response().text(), "helloworld");
    drop(client);
    assert!(hive.wait().success());
}

#[test]
fn a_stopped_router_delays_neither_the_start_of_workers_nor_the_end() {
    let (mut hive, port) = echo(&["--count", "2"]);
    let router = router(&hive);
    proc::signal(router, Signal::SIGSTOP);
    for _ in 0..3 {
        assert_eq!(hive.verb::<&str>("reload", &[]).code, Some(0));
    }
    for worker in hive.slots() {
        let mark = hive.mark();
        proc::signal(worker, Signal::SIGKILL);
        hive.wait_for_line_after(mark, " ready in ");
    }
    assert_eq!(HttpClient::connect(port.addr()).get("/").status, 200);
    assert!(hive.stop().success());
}

#[test]
fn the_push_socket_is_the_users_own_and_goes_with_the_hive() {
    for count in ["1", "2"] {
        let (mut hive, _port) = echo(&["--count", count]);
        let path = hive.path("hive.push.sock");
        let found = std::fs::metadata(&path).expect("a socket");
        assert_eq!(found.permissions().mode() & 0o777, 0o600);
        assert_eq!(
            hive.status()["push_socket"],
            path.display().to_string(),
            "{count}"
        );
        drop(UnixStream::connect(&path).expect("somebody listens"));
        if let Some(router) = hive.router() {
            // Whoever connects meanwhile waits in its queue.
            let mark = hive.mark();
            proc::signal(router, Signal::SIGKILL);
            drop(UnixStream::connect(&path).expect("the socket outlives the router"));
            hive.wait_for_line_after(mark, "group=router slot=0 ready");
        }
        assert!(hive.stop().success());
        assert!(!path.exists());
    }
}

#[test]
fn a_push_socket_left_over_is_replaced_and_a_file_is_not() {
    let port = Port::reserve();
    let setup = setup(&port, &["--count", "2"]);
    let path = setup.path("hive.push.sock");
    std::fs::write(&path, "precious").expect("a directory");
    let refused = setup.verb::<&str>("start", &[]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("hive.push.sock"), "{refused:?}");
    assert_eq!(std::fs::read(&path).expect("a file"), b"precious");
    std::fs::remove_file(&path).expect("a file");
    drop(UnixListener::bind(&path).expect("a socket"));
    let hive = setup.start();
    drop(UnixStream::connect(hive.path("hive.push.sock")).expect("somebody listens"));
}

#[test]
fn a_path_that_is_too_long_for_a_socket_is_refused_by_its_length() {
    let port = Port::reserve();
    let setup = setup(&port, &["--count", "2"]);
    let pid_file = setup.path(&format!("{}.pid", "x".repeat(100)));
    let mut command = setup.command(program!("workhive-under-test"));
    command.args(["echo", &format!("http://{port}"), "--count", "2"]);
    command.arg("--pid-file").arg(&pid_file);
    let refused = workhive_tests::Running::new(command).finish();
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("at most 107"), "{refused:?}");
    assert!(!pid_file.exists());
}

#[test]
fn the_push_socket_belongs_to_the_user_that_the_processes_run_as() {
    use std::os::unix::fs::MetadataExt;
    if !nix::unistd::geteuid().is_root() {
        return tools::skip("only root can become somebody else");
    }
    let nobody = nix::unistd::User::from_name("nobody")
        .expect("a user table")
        .expect("nobody");
    for count in ["1", "2"] {
        let (hive, _port) = echo(&["--user", "nobody", "--count", count]);
        let found = std::fs::metadata(hive.path("hive.push.sock")).expect("a socket");
        assert_eq!(found.uid(), nobody.uid.as_raw());
        assert_eq!(found.permissions().mode() & 0o777, 0o600);
        if let Some(router) = hive.router() {
            let ids = proc::status_field(router, "Uid:").expect("a process");
            let own = nobody.uid.to_string();
            assert!(ids.split_ascii_whitespace().all(|id| id == own), "{ids}");
        }
    }
}

#[test]
fn another_user_is_let_through_to_the_push_socket_and_sees_nothing_else() {
    use std::os::unix::fs::MetadataExt;
    if !nix::unistd::geteuid().is_root() {
        return tools::skip("only root can become somebody else");
    }
    // The directory of the pid file is the hive's own if it was not named.
    for (options, mode) in [(&[][..], 0o700), (&["--user", "nobody"], 0o711)] {
        let port = Port::reserve();
        let setup = setup(&port, options);
        let runtime = setup.path("runtime");
        std::fs::create_dir(&runtime).expect("a directory");
        let verb = |words: &[&str]| {
            let mut command = setup.command(program!("workhive-under-test"));
            command
                .env("XDG_RUNTIME_DIR", &runtime)
                .args(["echo", &format!("http://{port}")])
                .args(words);
            workhive_tests::Running::new(command).finish()
        };
        let started = verb(&[&["start", "-d"], options].concat());
        assert_eq!(started.code, Some(0), "{started:?}");
        let found = std::fs::metadata(runtime.join("workhive")).expect("a directory");
        assert_eq!(found.mode() & 0o777, mode, "{options:?}");
        assert_eq!(verb(&["stop"]).code, Some(0));
    }
}

#[test]
fn there_is_one_router_whatever_is_counted() {
    let port = Port::reserve();
    let refused = setup(&port, &["--count", "router=2"]).verb::<&str>("start", &[]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.stderr.contains("no group"), "{refused:?}");
    let (hive, _port) = echo(&["--count", "5"]);
    assert_eq!(rows(&hive).len(), 1);
}
