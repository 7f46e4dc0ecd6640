//! Workers whose master was killed do not stay behind.

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
    for options in [&[][..], &["--reuse-port"]] {
        let port = Port::reserve();
        let mut hive = echo("http", &port, options).start();
        let workers = hive.workers();
        hive.kill_master();
        let started = std::time::Instant::now();
        wait_for_the_end(&hive);
        // They have nothing in hand: they need not wait for their drain of ten seconds.
        assert!(started.elapsed() < std::time::Duration::from_secs(8));
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
