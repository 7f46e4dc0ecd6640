//! Sockets that a service manager has opened are served if they are for this process, and if they fit; as
//! `sd_listen_fds(3)` has it.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};

use nix::sys::signal::Signal;
use workhive_tests::obeys::Who;
use workhive_tests::text::TextClient;
use workhive_tests::{Port, Setup, eventually, proc, program, sockets};

/// The program with these variables, and with `LISTEN_PID` its own unless they say otherwise.
fn obeys(variables: &[&str]) -> Setup {
    Setup::new("/bin/sh")
        .words(["-c", "export LISTEN_PID=$$ && exec env \"$@\"", "sh"])
        .words(variables.iter().copied())
        .words([program!("obeys")])
        .options(["--count", "2", "--drain", "1"])
}

fn listener(port: &Port) -> TcpListener {
    TcpListener::bind(port.addr()).expect("a free port")
}

fn copy(listener: &TcpListener) -> OwnedFd {
    listener.try_clone().expect("a copy").into()
}

#[test]
fn a_socket_of_the_service_manager_is_served_and_stays_its_own() {
    for spawn in ["fork", "exec"] {
        let port = Port::reserve();
        let listener = listener(&port);
        let socket = sockets::listening(&port);
        // Whoever comes before the start has the service started, and waits.
        let mut early = TextClient::connect(port.addr());
        early.send("who");
        let mut hive = obeys(&["LISTEN_FDS=1", "LISTEN_FDNAMES=obeys.socket"])
            .options(["--spawn", spawn, "--text", &port.to_string()])
            .hand([copy(&listener)])
            .start();
        assert!(Who::said(&early.line()).is_some());
        let mark = hive.mark();
        proc::signal(hive.slots()[0], Signal::SIGKILL);
        hive.wait_for_line_after(mark, "slot=0 ready");
        let reloaded = hive.verb::<&str>("reload", &[]);
        assert_eq!(reloaded.code, Some(0), "{reloaded:?}");
        Who::serves(&mut TextClient::connect(port.addr()));
        assert_eq!(sockets::listening(&port), socket, "there is no other");
        hive.stop();
        // It is for the next start.
        assert_eq!(sockets::listening(&port), socket);
        let _late = TextClient::connect(port.addr());
        drop(listener);
    }
}

#[test]
fn a_unix_socket_of_the_service_manager_is_not_removed() {
    let setup = obeys(&["LISTEN_FDS=1"]);
    let path = setup.path("given.sock");
    let listener = UnixListener::bind(&path).expect("a socket");
    let mut hive = setup
        .options(["--text".to_owned(), format!("unix:{}", path.display())])
        .hand([listener.try_clone().expect("a copy")])
        .start();
    let mut client = BufReader::new(UnixStream::connect(&path).expect("a socket"));
    client.get_mut().write_all(b"who\n").expect("a peer");
    let mut line = String::new();
    client.read_line(&mut line).expect("an answer");
    assert!(Who::said(&line).is_some(), "{line}");
    hive.stop();
    UnixStream::connect(&path).expect("the same socket");
}

#[test]
fn sockets_for_another_process_are_left_alone() {
    let own = std::process::id();
    for pid in ["1", &own.to_string(), "", "x"] {
        let port = Port::reserve();
        let listener = listener(&port);
        let setup = obeys(&["LISTEN_FDS=1", &format!("LISTEN_PID={pid}")])
            .options(["--text", &port.to_string()])
            .hand([copy(&listener)]);
        let ended = setup.verb::<&str>("start", &[]);
        // The port is taken, by whoever the socket is for.
        setup.assert_failed(&ended, &port.to_string());
        assert!(ended.stderr.contains("in use"), "{ended:?}");
    }
}

#[test]
fn what_does_not_fit_is_named_and_let_go_of() {
    let (port, other) = (Port::reserve(), Port::reserve());
    let (listener, stranger) = (listener(&port), listener(&other));
    let null = File::open("/dev/null").expect("a device");
    let hive = obeys(&["LISTEN_FDS=4", "LISTEN_FDNAMES=a:b:c:d"])
        .options(["--text", &port.to_string()])
        .hand([
            null.into(),
            copy(&stranger),
            copy(&listener),
            // It does not listen.
            std::net::UdpSocket::bind("127.0.0.1:0")
                .expect("a socket")
                .into(),
        ])
        .start();
    Who::serves(&mut TextClient::connect(port.addr()));
    let line = hive.wait_for_line(&other.to_string());
    assert!(line.contains(" WARN "), "{line}");
    for pid in [&[hive.pid()][..], &hive.workers()].concat() {
        eventually("nobody holds it", || {
            (sockets::listening_of(pid, &other) == 0).then_some(())
        });
    }
    assert_eq!(sockets::listening_of(hive.pid(), &port), 1);
}

#[test]
fn numbers_that_make_no_sense_are_no_sockets() {
    for count in ["0", "-1", "many", "99999999999"] {
        let port = Port::reserve();
        let hive = obeys(&[&format!("LISTEN_FDS={count}")])
            .options(["--text", &port.to_string()])
            .start();
        Who::serves(&mut TextClient::connect(port.addr()));
        drop(hive);
    }
}

#[test]
fn an_upgrade_takes_the_sockets_along() {
    let port = Port::reserve();
    let listener = listener(&port);
    let socket = sockets::listening(&port);
    let setup = obeys(&["LISTEN_FDS=1"])
        .options(["--text", &port.to_string()])
        .hand([copy(&listener)]);
    let started = setup.verb("start", &["-d"]);
    assert_eq!(started.code, Some(0), "{started:?}");
    let before = setup.daemon();
    let upgraded = setup.verb::<&str>("upgrade", &[]);
    assert_eq!(upgraded.code, Some(0), "{upgraded:?}");
    assert_ne!(setup.daemon(), before);
    eventually("the end of the old master", || {
        (!proc::is_alive(before)).then_some(())
    });
    Who::serves(&mut TextClient::connect(port.addr()));
    assert_eq!(sockets::listening(&port), socket, "there is no other");
    assert_eq!(setup.verb::<&str>("stop", &[]).code, Some(0));
    assert_eq!(sockets::listening(&port), socket);
}
