//! Eight reloads under clients of all habits: nothing is refused, reset or cut off, and no connection ends without notice.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use workhive_tests::load::{HTTP, Habit, Load};
use workhive_tests::wait::Raise;
use workhive_tests::{DEADLINE, Port, Setup, eventually, program};

const RELOADS: usize = 8;

fn reloads(scheme: &str, options: &[&str], clients: usize, habits: &[Habit]) {
    let port = Port::reserve();
    let setup = Setup::echo(
        program!("workhive-under-test"),
        format!("{scheme}://{port}"),
    );
    let hive = setup.options(options.iter().copied()).start();
    let first = hive.slots();
    let load = Load::new(port.addr(), clients, habits);
    load.serve(clients);
    for _ in 0..RELOADS {
        let reloaded = hive.verb::<&str>("reload", &[]);
        assert_eq!(reloaded.code, Some(0), "{reloaded:?}");
        load.serve(clients * 2);
    }
    let tally = load.finish();
    assert_eq!(tally.failed(), 0, "{options:?} {habits:?}: {tally:?}");
    assert!(tally.served > RELOADS * clients, "{tally:?}");
    let last = hive.slots();
    assert_eq!(last.len(), first.len());
    assert!(last.iter().all(|pid| !first.contains(pid)));
}

#[test]
fn http_clients_of_all_habits_lose_nothing_with_inherited_listeners() {
    reloads("http", &["--count", "2"], 63, &HTTP);
}

#[test]
fn http_clients_of_all_habits_lose_nothing_with_reuse_port() {
    reloads("http", &["--count", "2", "--reuse-port"], 63, &HTTP);
}

#[test]
fn http_clients_of_all_habits_lose_nothing_in_exec_mode() {
    let exec = ["--count", "2", "--spawn", "exec"];
    reloads("http", &exec, 28, &HTTP);
    reloads("http", &[&exec[..], &["--reuse-port"]].concat(), 28, &HTTP);
}

/// Visits over a Unix socket, until `done`; returns those that were not answered.
fn visit(path: &Path, done: &AtomicBool, served: &AtomicUsize) -> Vec<String> {
    let visit = || {
        let mut stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let whole = answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("Hello, World!");
        whole.then_some(()).ok_or_else(|| io::Error::other(answer))
    };
    let mut failed = Vec::new();
    while !done.load(Ordering::Relaxed) {
        match visit() {
            Ok(()) => drop(served.fetch_add(1, Ordering::Relaxed)),
            Err(error) => failed.push(error.to_string()),
        }
    }
    failed
}

#[test]
fn clients_of_a_unix_socket_lose_nothing_either() {
    for spawn in ["fork", "exec"] {
        let setup = Setup::new(program!("workhive-under-test"));
        let path = setup.path("echo.sock");
        let target = format!("http://unix:{}", path.display());
        let hive = setup
            .words(["echo", &target])
            .options(["--count", "2", "--spawn", spawn])
            .start();
        let (done, served) = (AtomicBool::new(false), AtomicUsize::new(0));
        let failed = thread::scope(|scope| {
            let clients = [(); 8].map(|()| scope.spawn(|| visit(&path, &done, &served)));
            let end = Raise(&done);
            for _ in 0..RELOADS {
                let goal = served.load(Ordering::Relaxed) + 50;
                eventually("visits are served", || {
                    (served.load(Ordering::Relaxed) >= goal).then_some(())
                });
                let reloaded = hive.verb::<&str>("reload", &[]);
                assert_eq!(reloaded.code, Some(0), "{reloaded:?}");
            }
            drop(end);
            clients.map(|client| client.join().expect("a client does not panic"))
        });
        assert!(failed.iter().all(Vec::is_empty), "{spawn}: {failed:?}");
    }
}

#[test]
fn one_process_alone_loses_nothing_either() {
    reloads("http", &["--count", "1"], 21, &HTTP);
    reloads("http", &["--count", "1", "--reuse-port"], 21, &HTTP);
}

#[test]
fn websockets_are_all_told_1012_with_inherited_listeners() {
    let options = ["--count", "2", "--drain", "1"];
    reloads("websocket", &options, 32, &[Habit::WebSocket]);
}

#[test]
fn websockets_are_all_told_1012_with_reuse_port() {
    let options = ["--count", "2", "--drain", "1", "--reuse-port"];
    reloads("websocket", &options, 32, &[Habit::WebSocket]);
}
