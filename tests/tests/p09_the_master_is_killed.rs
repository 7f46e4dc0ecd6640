//! Workers whose master was killed do not stay behind, and what it has left is in nobody's way.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

use nix::sys::signal::Signal;
use workhive_tests::http::HttpClient;
use workhive_tests::text::connect;
use workhive_tests::ws::WsClient;
use workhive_tests::{Hive, Port, Setup, eventually, proc, program};

fn echo(scheme: &str, port: &Port, options: &[&str]) -> Setup {
    Setup::echo(
        program!("workhive-under-test"),
        format!("{scheme}://{port}"),
    )
    .options(["--count", "3"])
    .options(options.iter().copied())
}

fn wait_for_the_end(hive: &Hive) {
    // A process that ends loses its environment, by which a family is known, before it closes its sockets: so those that
    // are still there are watched by their ids as well.
    let running = hive.setup().family();
    eventually("the end of the workers", || {
        let ended = running.iter().all(|pid| !proc::is_alive(*pid));
        (ended && hive.setup().family().is_empty()).then_some(())
    });
}

#[test]
fn idle_workers_end_at_once_and_the_port_is_free() {
    for options in [&[][..], &["--reuse-port"], &["--spawn", "exec"]] {
        let port = Port::reserve();
        let mut hive = echo("http", &port, options).start();
        let workers = hive.workers();
        hive.kill_master();
        let started = std::time::Instant::now();
        wait_for_the_end(&hive);
        let took = started.elapsed();
        println!("{options:?}: the last was gone after {took:?}");
        // They have nothing in hand: they need not wait for their drain of ten seconds.
        assert!(took < std::time::Duration::from_secs(8), "{took:?}");
        eventually("the end of every worker", || {
            let ended = workers.iter().all(|pid| !proc::is_alive(*pid));
            ended.then_some(())
        });
        assert!(connect(port.addr()).is_err());
    }
}

#[test]
fn the_next_start_succeeds_with_what_the_killed_one_has_left() {
    let port = Port::reserve();
    let mut killed = echo("http", &port, &[]).start();
    killed.kill_master();
    wait_for_the_end(&killed);
    assert!(killed.setup().pid_file().exists(), "nobody could remove it");
    assert!(killed.path("hive.sock").exists(), "nobody could remove it");
    // The same pid file and the same control socket: a daemon, since the setup is the killed hive's.
    let started = killed.verb("start", &["-d"]);
    assert_eq!(started.code, Some(0), "{started:?}");
    assert_eq!(HttpClient::connect(port.addr()).get("/").status, 200);
    assert_eq!(killed.verb::<&str>("stop", &[]).code, Some(0));
}

#[test]
fn what_is_in_hand_is_finished_first() {
    let port = Port::reserve();
    let mut hive = echo("http", &port, &[]).start();
    let mut client = HttpClient::connect(port.addr());
    assert_eq!(client.get("/").status, 200);
    client
        .send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nhello")
        .expect("a peer that takes bytes");
    hive.kill_master();
    hive.wait_for_line("the master is gone");
    // When nobody listens any more, every process has noticed.
    eventually("new connections are refused", || {
        connect(port.addr()).is_err().then_some(())
    });
    client.send("world").expect("a peer that takes bytes");
    let response = client.response();
    assert_eq!(response.text(), "helloworld");
    assert!(response.closes());
    drop(client);
    wait_for_the_end(&hive);
}

#[test]
fn websockets_are_told_to_come_back_later() {
    let port = Port::reserve();
    let mut hive = echo("websocket", &port, &["--drain", "1"]).start();
    let mut clients: Vec<_> = (0..6).map(|_| WsClient::connect(port.addr())).collect();
    for client in &mut clients {
        client.ping();
    }
    hive.kill_master();
    for mut client in clients {
        assert_eq!(client.close_code(), 1012);
    }
    wait_for_the_end(&hive);
}

#[test]
fn a_daemon_killed_is_no_different() {
    let port = Port::reserve();
    let setup = echo("http", &port, &[]);
    assert_eq!(setup.verb("start", &["-d"]).code, Some(0));
    proc::signal(setup.daemon(), Signal::SIGKILL);
    eventually("the end of the workers", || {
        setup.family().is_empty().then_some(())
    });
    assert_eq!(setup.verb::<&str>("status", &[]).code, Some(3));
    assert_eq!(setup.verb("start", &["-d"]).code, Some(0));
    assert_eq!(setup.verb::<&str>("stop", &[]).code, Some(0));
}

#[test]
fn a_client_that_never_ends_keeps_a_process_no_longer_than_its_drain() {
    let port = Port::reserve();
    let mut hive = echo("http", &port, &["--drain", "1"]).start();
    let mut client = HttpClient::connect(port.addr());
    assert_eq!(client.get("/").status, 200);
    client
        .send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nhello")
        .expect("a peer that takes bytes");
    hive.kill_master();
    let started = std::time::Instant::now();
    wait_for_the_end(&hive);
    println!("the last was gone after {:?}", started.elapsed());
    drop(client);
}

#[test]
fn a_unix_socket_left_over_is_taken_over_by_the_next_start() {
    let setup = Setup::new(program!("workhive-under-test"));
    let path = setup.path("echo.sock");
    let mut killed = setup
        .words(["echo".to_owned(), format!("text://unix:{}", path.display())])
        .options(["--count", "2"])
        .start();
    killed.kill_master();
    wait_for_the_end(&killed);
    assert!(path.exists(), "nobody could remove it");
    let refused = UnixStream::connect(&path).expect_err("nobody listens");
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    let started = killed.verb("start", &["-d"]);
    assert_eq!(started.code, Some(0), "{started:?}");
    let mut client = BufReader::new(UnixStream::connect(&path).expect("somebody listens"));
    client.get_mut().write_all(b"hello\n").expect("a peer");
    let mut line = String::new();
    client.read_line(&mut line).expect("an answer");
    assert_eq!(line, "hello\n");
    assert_eq!(killed.verb::<&str>("stop", &[]).code, Some(0));
    assert!(!path.exists(), "the last one removes it");
}

#[test]
fn a_pid_file_whose_number_belongs_to_somebody_else_by_now_hurts_nobody() {
    let (port, other_port) = (Port::reserve(), Port::reserve());
    let mut killed = echo("http", &port, &[]).start();
    let other = echo("http", &other_port, &[]).start();
    killed.kill_master();
    wait_for_the_end(&killed);
    // The master of another hive: of the same program, and just as ready to take signals.
    let pid_file = killed.setup().pid_file();
    for recycled in [other.pid(), std::process::id(), 1] {
        std::fs::write(&pid_file, format!("{recycled}\n")).expect("a file");
        for verb in ["stop", "reload", "status"] {
            let ended = killed.verb::<&str>(verb, &[]);
            assert_eq!(ended.code, Some(3), "{verb}: {ended:?}");
        }
        let started = killed.verb("start", &["-d"]);
        assert_eq!(started.code, Some(0), "{started:?}");
        assert_ne!(killed.setup().daemon(), recycled);
        assert_eq!(HttpClient::connect(port.addr()).get("/").status, 200);
        assert_eq!(killed.verb::<&str>("stop", &[]).code, Some(0));
    }
    assert_eq!(HttpClient::connect(other_port.addr()).get("/").status, 200);
    assert!(other.status()["last_reload"].is_null());
}
