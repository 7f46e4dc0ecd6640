//! A group gets more processes, or fewer, while it runs, and no client loses its connection.

use nix::sys::signal::Signal;
use workhive_tests::http::HttpClient;
use workhive_tests::text::TextClient;
use workhive_tests::ws::WsClient;
use workhive_tests::{Finished, Hive, Port, Setup, eventually, proc, program};

fn echo(scheme: &str, options: &[&str]) -> (Hive, Port) {
    let port = Port::reserve();
    let setup = Setup::echo(
        program!("workhive-under-test"),
        format!("{scheme}://{port}"),
    );
    (setup.options(options.iter().copied()).start(), port)
}

fn obeys(options: &[&str]) -> (Hive, Port) {
    let port = Port::reserve();
    let setup = Setup::new(program!("obeys")).options(["--text", &port.to_string()]);
    (setup.options(options.iter().copied()).start(), port)
}

#[track_caller]
fn scale(hive: &Hive, to: &str) -> Finished {
    let scaled = hive.verb("scale", &[to]);
    assert_eq!(scaled.code, Some(0), "{scaled:?}");
    scaled
}

#[track_caller]
fn refused(hive: &Hive, to: &str) -> String {
    let refused = hive.verb("scale", &[to]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    refused.stderr
}

#[test]
fn the_first_process_that_is_not_alone_any_more_is_replaced_by_one_that_knows_the_router() {
    let (hive, port) = echo("http", &[]);
    assert_eq!(hive.router(), None);
    let before = hive.slots();
    scale(&hive, "2");
    let router = eventually("the router", || hive.router());
    let after = hive.slots();
    assert!(
        after.len() == 2 && !after.contains(&before[0]),
        "{before:?} {after:?}"
    );
    // And it stays when one process is left again.
    scale(&hive, "1");
    assert_eq!(hive.slots(), after[..1]);
    scale(&hive, "2");
    assert_eq!(hive.router(), Some(router));
    assert_eq!(hive.slots()[0], after[0]);
    assert_eq!(HttpClient::connect(port.addr()).get("/").status, 200);
}

#[test]
fn pushes_reach_everybody_after_the_first_process_has_got_company() {
    let (ws, text) = (Port::reserve(), Port::reserve());
    let setup = Setup::new(program!("workhive-under-test")).words(["push"]);
    let (ws_at, text_at) = (ws.to_string(), text.to_string());
    let hive = setup
        .options(["--ws", &ws_at, "--text", &text_at, "--drain", "1"])
        // Else the only process has the only socket at the text port.
        .options(["--reuse-port"])
        .start();
    scale(&hive, "3");
    let mut clients: Vec<WsClient> = (0..12).map(|_| WsClient::connect(ws.addr())).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(&format!("u{number}"));
    }
    let mut pusher = TextClient::connect(text.addr());
    for (number, client) in clients.iter_mut().enumerate() {
        let push = format!(r#"{{"uid":"u{number}","percent":"88%"}}"#);
        eventually("the uid is bound", || {
            (pusher.ask(&push) == "ok").then_some(())
        });
        assert_eq!(client.text(), push);
    }
}

#[test]
fn processes_do_not_inherit_the_masters_mask() {
    let (hive, _port) = echo("http", &["--count", "2"]);
    for pid in proc::children(hive.pid()) {
        let blocked = proc::status_field(pid, "SigBlk:").expect("a mask");
        assert_eq!(u64::from_str_radix(&blocked, 16), Ok(0), "{blocked}");
    }
}

#[test]
fn only_what_makes_sense_is_done() {
    let (mut hive, _port) = echo("http", &["--count", "2"]);
    let before = hive.slots();
    assert!(refused(&hive, "ecko=2").contains("there are: echo"));
    assert!(refused(&hive, "router=2").contains("no group \"router\""));
    for (arguments, word) in [
        (&["scale", "0"][..], "1 to 1024"),
        (&["scale", "1025"], "1 to 1024"),
        (&["scale"], "how many"),
        (&["reload", "3"], "does not go with reload"),
    ] {
        let ended = hive.verb(arguments[0], &arguments[1..]);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.stderr.contains(word), "{ended:?}");
    }
    assert_eq!(hive.slots(), before);
    hive.stop();
    let ended = hive.verb("scale", &["3"]);
    assert_eq!(ended.code, Some(3), "{ended:?}");
}

#[test]
fn with_several_groups_one_is_named() {
    let (hive, _port) = obeys(&["--groups", "obeys,second"]);
    assert!(refused(&hive, "2").contains("GROUP=2"));
    scale(&hive, "second=3");
    let status = hive.status();
    let rows = status["workers"].as_array().expect("a list");
    let count = |name: &str| rows.iter().filter(|row| row["group"] == name).count();
    assert_eq!((count("obeys"), count("second")), (1, 3));
    // A signal is for the last group.
    let mark = hive.mark();
    hive.signal(Signal::SIGTTOU);
    hive.wait_for_line_after(mark, "group \"second\" has 2 processes now");
}

#[test]
fn new_processes_that_cannot_start_fail_the_scaling_and_are_tried_again() {
    let port = Port::reserve();
    let setup = Setup::new(program!("obeys"));
    let fail = setup.path("fail");
    let setup = setup.options(["--count", "2", "--text", &port.to_string()]);
    let mut hive = setup
        .options(["--fail", fail.to_str().expect("a readable path")])
        .start();
    hive.expect("this slot is to stay down");
    std::fs::write(&fail, "3").expect("a file");
    let why = refused(&hive, "4");
    assert!(
        why.contains("obeys[3]") && why.contains("stay down"),
        "{why}"
    );
    assert_eq!(hive.slots().len(), 3);
    std::fs::remove_file(&fail).expect("a file");
    hive.wait_for_line("slot=3 ready");
    assert_eq!(hive.slots().len(), 4);
}

#[test]
fn connections_that_wait_in_the_socket_of_a_slot_that_is_gone_are_served() {
    let (hive, port) = obeys(&["--count", "3", "--reuse-port", "--drain", "1"]);
    let pids = hive.slots();
    // Stopped, it accepts nothing; its queue fills.
    proc::signal(pids[2], Signal::SIGSTOP);
    let mut waiting: Vec<_> = (0..60)
        .map(|_| {
            let mut client = TextClient::connect(port.addr());
            client.send("who");
            client
        })
        .collect();
    scale(&hive, "2");
    for client in &mut waiting {
        assert!(!client.line().starts_with('2'));
    }
    proc::signal(pids[2], Signal::SIGCONT);
    eventually("the end of the third", || {
        (!proc::is_alive(pids[2])).then_some(())
    });
    // The socket stays, and so do those who serve it, through a reload too.
    let reloaded = hive.verb::<&str>("reload", &[]);
    assert_eq!(reloaded.code, Some(0), "{reloaded:?}");
    for _ in 0..60 {
        assert!(!TextClient::connect(port.addr()).ask("who").starts_with('2'));
    }
    scale(&hive, "3");
    eventually("the third slot serves again", || {
        let answer = TextClient::connect(port.addr()).ask("who");
        answer.starts_with("2 1 ").then_some(())
    });
}

#[test]
fn a_reload_and_a_scaling_wait_for_each_other() {
    let (hive, port) = echo("http", &["--count", "2", "--drain", "1"]);
    for number in ["3", "2", "4"] {
        let reload = hive.verb_later::<&str>("reload", &[]);
        let scaled = hive.verb_later("scale", &[number]);
        for ended in [reload.finish(), scaled.finish()] {
            assert_eq!(ended.code, Some(0), "{ended:?}");
        }
        assert_eq!(hive.slots().len().to_string(), number);
    }
    assert_eq!(HttpClient::connect(port.addr()).get("/").status, 200);
}
