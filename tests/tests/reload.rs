//! A reload replaces every process, and no client notices more than a goodbye in its protocol's words.

use std::time::Duration;

use nix::sys::signal::Signal;
use workhive_tests::http::HttpClient;
use workhive_tests::text::TextClient;
use workhive_tests::ws::WsClient;
use workhive_tests::{Hive, Port, Setup, eventually, proc, program};

fn echo(scheme: &str, options: &[&str]) -> (Hive, Port) {
    let port = Port::reserve();
    let setup = Setup::echo(
        program!("workhive-under-test"),
        format!("{scheme}://{port}"),
    );
    (setup.options(options.iter().copied()).start(), port)
}

fn boots(options: &[&str]) -> (Hive, Port) {
    let port = Port::reserve();
    let setup = Setup::new(program!("boots")).options(["--text", &port.to_string()]);
    let fail = setup.path("fail");
    let setup = setup.options(["--fail", fail.to_str().expect("a readable path")]);
    (setup.options(options.iter().copied()).start(), port)
}

#[track_caller]
fn reload(hive: &Hive) {
    let reloaded = hive.verb::<&str>("reload", &[]);
    assert_eq!(reloaded.code, Some(0), "{reloaded:?}");
}

#[test]
fn a_reload_replaces_every_process_and_keeps_the_master() {
    let (hive, port) = echo("http", &["--count", "3"]);
    let (master, before) = (hive.pid(), hive.slots());
    let mark = hive.mark();
    hive.signal(Signal::SIGUSR1);
    for slot in 0..3 {
        hive.wait_for_line_after(mark, &format!("slot={slot} ready"));
    }
    let after = eventually("the old processes end", || {
        let after = hive.workers();
        (after.len() == 3).then_some(after)
    });
    assert!(
        before
            .iter()
            .all(|pid| !after.contains(pid) && !proc::is_alive(*pid))
    );
    assert_eq!(hive.status()["pid"], master);
    assert_eq!(HttpClient::connect(port.addr()).get("/").status, 200);
}

#[test]
fn a_replacement_is_ready_before_the_old_process_ends() {
    let (mut hive, _port) = echo("http", &["--count", "2"]);
    for _ in 0..5 {
        reload(&hive);
    }
    hive.stop();
    // The master's own books, in their order.
    let (mut ready, mut replaced) = (0, 0);
    for line in hive.log() {
        ready += usize::from(line.contains(" ready in ") && line.contains("group=echo slot="));
        if line.contains(": replaced pid ") {
            replaced += 1;
            assert!(ready >= replaced + 2, "{line}");
        }
    }
    assert!(
        ready == 12 && replaced >= 8,
        "{ready} were ready, {replaced} were replaced"
    );
}

#[test]
fn idle_websockets_are_told_1012_and_find_a_new_process() {
    for options in [
        &["--count", "2", "--drain", "1"][..],
        &["--count", "2", "--drain", "1", "--reuse-port"],
    ] {
        let (hive, port) = echo("websocket", options);
        let mut clients: Vec<_> = (0..16).map(|_| WsClient::connect(port.addr())).collect();
        for client in &mut clients {
            client.ping();
        }
        reload(&hive);
        for mut client in clients {
            assert_eq!(client.close_code(), 1012);
        }
        let mut client = WsClient::connect(port.addr());
        client.send("hello");
        assert_eq!(client.text(), "hello");
    }
}

#[test]
fn a_websocket_that_drains_is_served_until_its_goodbye() {
    let (hive, port) = echo("websocket", &["--drain", "2"]);
    let mut client = WsClient::connect(port.addr());
    client.ping();
    reload(&hive);
    let mut echoed = 0;
    let code = loop {
        // A message that crosses the goodbye is not answered any more.
        client.send("hello");
        match client.message() {
            tungstenite::Message::Close(frame) => break frame.map(|frame| u16::from(frame.code)),
            message => {
                assert_eq!(message, tungstenite::Message::text("hello"));
                echoed += 1;
            }
        }
    };
    assert_eq!(code, Some(1012));
    assert!(echoed > 0, "it was let go at once");
}

#[test]
fn a_slow_upload_is_finished_by_the_process_that_began_it() {
    let (hive, port) = echo("http", &["--count", "2"]);
    let mut client = HttpClient::connect(port.addr());
    client
        .send("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        .expect("a peer that takes bytes");
    // Nothing is answered to the beginning of a request; that another one is served meanwhile takes the same turn.
    assert_eq!(HttpClient::connect(port.addr()).get("/").status, 200);
    reload(&hive);
    client
        .send("5\r\nworld\r\n0\r\n\r\n")
        .expect("a peer that takes bytes");
    let response = client.response();
    assert_eq!(response.text(), "helloworld");
    assert!(response.closes() && client.is_at_end());
}

#[test]
fn a_request_that_came_while_its_process_had_no_cpu_is_answered_though_the_time_is_over() {
    let (hive, port) = echo("http", &["--count", "1"]);
    let mut client = HttpClient::connect(port.addr());
    assert_eq!(client.get("/").status, 200);
    let [old] = hive.workers()[..] else {
        panic!("not one worker: {:?}", hive.workers());
    };
    let before = proc::descriptors(old).len();
    reload(&hive);
    // When it has got its order it waits for the next request, for two seconds at the most.
    eventually("the old process closes its listener", || {
        (proc::descriptors(old).len() < before).then_some(())
    });
    proc::signal(old, Signal::SIGSTOP);
    client
        .send("GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        .expect("a request");
    // Nothing is waited for: these seconds are what is tested.
    std::thread::sleep(Duration::from_millis(2100));
    proc::signal(old, Signal::SIGCONT);
    let answer = client.response();
    assert_eq!(answer.status, 200);
    assert!(answer.closes(), "{answer:?}");
}

#[test]
fn reloads_one_after_the_other_cut_off_nobody_who_is_not_done_yet() {
    let (hive, port) = echo("http", &["--count", "1"]);
    let mut uploads = Vec::new();
    for _ in 0..5 {
        // The process that was replaced just now may have taken this connection as its last, and says so.
        let mut client = loop {
            let mut client = HttpClient::connect(port.addr());
            let response = client.get("/");
            assert_eq!(response.status, 200);
            if !response.closes() {
                break client;
            }
        };
        client
            .send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nhello")
            .expect("a peer that takes bytes");
        uploads.push(client);
        reload(&hive);
    }
    for (number, client) in uploads.iter_mut().enumerate() {
        client.send("world").expect("a peer that takes bytes");
        let response = client.try_response(false);
        assert!(
            response
                .as_ref()
                .is_ok_and(|response| response.body == b"helloworld"),
            "upload {number}: {response:?}"
        );
    }
}

#[test]
fn reloads_during_a_reload_make_one_more() {
    let (hive, _port) = boots(&[]);
    let pipe = hive.path("fail.pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    std::fs::write(hive.path("fail"), "wait").expect("a file");
    let start = || hive.verb_later::<&str>("reload", &[]);
    let first = start();
    hive.wait_for_line("reload: 1 process");
    let others: Vec<_> = (0..8).map(|_| start()).collect();
    eventually("all of them have asked", || {
        let log = hive.log();
        let asked = log
            .iter()
            .filter(|line| line.contains("reload: once more"))
            .count();
        (asked == 8).then_some(())
    });
    // The replacement waits for this; the next one will not.
    std::fs::remove_file(hive.path("fail")).expect("a file to remove");
    drop(
        std::fs::OpenOptions::new()
            .write(true)
            .open(&pipe)
            .expect("the other end"),
    );
    for reloading in std::iter::once(first).chain(others) {
        assert_eq!(reloading.finish().code, Some(0));
    }
    // Clients may still reach the process that drains; the books know who serves.
    let status = hive.status();
    let workers = status["workers"].as_array().expect("a list");
    let serving = workers.iter().find(|worker| worker["state"] == "ready");
    assert_eq!(
        serving.expect("a ready process")["generation"],
        2,
        "{status:#}"
    );
}

#[test]
fn processes_that_are_not_reloadable_are_told_instead() {
    let (hive, port) = boots(&["--steady", "--count", "2"]);
    let before = hive.slots();
    reload(&hive);
    for (slot, pid) in before.iter().enumerate() {
        hive.wait_for_line(&format!("told to reload: {slot} 0 {pid}"));
    }
    assert_eq!(hive.slots(), before);
    assert!(TextClient::connect(port.addr()).ask("who").contains(" 0 "));
}

#[test]
fn every_replaced_process_ends_in_good_order() {
    let (hive, _port) = boots(&["--count", "2"]);
    let before = hive.slots();
    reload(&hive);
    for (slot, pid) in before.iter().enumerate() {
        hive.wait_for_line(&format!("stopped in good order: {slot} 0 {pid}"));
    }
}
