//! A process and its host: the log, signals, children, an event loop of the language's own.

use nix::sys::signal::Signal;
use workhive_tests::{eventually, proc};

use super::language::Language;
use super::{Plan, ask, server, who};

pub(crate) fn statistics(language: &'static Language) {
    let server = server(language, &["text"]);
    let mut clients: Vec<_> = (0..3).map(|_| server.text("text")).collect();
    for client in &mut clients {
        assert_eq!(client.ask("one message"), "one message");
    }
    drop(clients.pop());
    let client = &mut clients[0];
    let numbers = eventually("the end of a connection is counted", || {
        let answer = client.ask("!stats");
        let numbers: Vec<u64> = answer
            .split(' ')
            .map(|n| n.parse().expect("a number"))
            .collect();
        (numbers[0] == 2).then_some(numbers)
    });
    assert_eq!(numbers[1], 3);
    assert!(numbers[2] >= 3, "{numbers:?}");
    let status = server.status();
    let worker = &status["workers"][0];
    assert_eq!(
        (&worker["group"], &worker["accepted"]),
        (&"text".into(), &3.into())
    );
    let listed = server.verb("connections", &["--json"]);
    assert_eq!(listed.code, Some(0), "{listed:?}");
    let address = clients[1].socket().local_addr().expect("an address");
    assert!(listed.stdout.contains(&address.to_string()), "{listed:?}");
}

pub(crate) fn log_lines(language: &'static Language) {
    let server = Plan::new(language, &["text"]).count(2).start();
    for (slot, pid) in server.slots().into_iter().enumerate() {
        let place = format!("text[{slot}] {pid} ");
        eventually("a line of each process", || {
            let log = server.log();
            let mut of_it = log.iter().filter(|line| line.contains(&place));
            of_it
                .any(|line| line.contains(" INFO ") && line.ends_with("on_worker_start"))
                .then_some(())
        });
    }
}

pub(crate) fn log_function(language: &'static Language) {
    let plan = Plan::new(language, &["text"]).env("WORKHIVE_CASE_LOG", "own");
    let mut server = plan.start();
    server.wait_for_line("own: info on_worker_start");
    assert_eq!(server.text("text").ask("hello"), "hello");
    server.stop();
    server.wait_for_line("own: info on_worker_stop");
    let log = server.log();
    let directly = |line: &&String| line.ends_with("on_worker_start") && !line.starts_with("own: ");
    assert_eq!(log.iter().find(directly), None);
}

pub(crate) fn own_signal(language: &'static Language) {
    let server = Plan::new(language, &["text"]).count(2).start();
    let mut client = server.text("text");
    let (_, pid) = who(&client.ask("!who"));
    for _ in 0..2 {
        let mark = server.mark();
        proc::signal(pid, Signal::SIGWINCH);
        server.wait_for_line_after(mark, "saw SIGWINCH");
    }
    assert_eq!(client.ask("still here"), "still here");
}

pub(crate) fn own_signals(language: &'static Language) {
    let plan = Plan::new(language, &["text"]).env("WORKHIVE_CASE_SIGNALS", "host");
    let mut server = plan.options(&["--drain", "2"]).start();
    let mut client = server.text("text");
    let (_, pid) = who(&client.ask("!who"));
    proc::signal(pid, Signal::SIGTERM);
    server.wait_for_line("host saw SIGTERM");
    server.wait_for_line("on_worker_stop");
    eventually("another process takes its place", || {
        let slots = server.slots();
        (slots.len() == 1 && slots[0] != pid).then_some(())
    });
    assert_eq!(server.text("text").ask("hello"), "hello");
    assert!(server.stop().success());
}

pub(crate) fn own_child(language: &'static Language) {
    let server = server(language, &["text"]);
    let mut client = server.text("text");
    for _ in 0..3 {
        assert_eq!(client.ask("!child"), "from the child 7");
    }
    let (_, pid) = who(&client.ask("!who"));
    assert_eq!(proc::zombies(pid), 0);
}

pub(crate) fn async_handler(language: &'static Language) {
    let server = server(language, &["websocket", "http"]);
    let mut client = server.ws("websocket");
    assert_eq!(ask(&mut client, "!later some words"), "some words");
    assert_eq!(server.http().get("/later").text(), "later");
    // While one waits, the others are served.
    let mut clients: Vec<_> = (0..20).map(|_| server.ws("websocket")).collect();
    for client in &mut clients {
        client.send("!later afterwards");
    }
    for client in &mut clients {
        assert_eq!(client.text(), "afterwards");
    }
    // One that has gone meanwhile harms nobody.
    let mut gone = server.ws("websocket");
    gone.send("!later nobody");
    drop(gone);
    assert_eq!(ask(&mut client, "!later still here"), "still here");
}

pub(crate) fn async_fails(language: &'static Language) {
    let mut server = server(language, &["websocket", "http"]);
    server.expect("ERROR");
    let workers = server.workers();
    let mut neighbour = server.ws("websocket");
    let mut client = server.ws("websocket");
    let mark = server.mark();
    client.send("!later-fail");
    assert_eq!(client.close_code(), 1011);
    for words in ["told to fail", "deeper"] {
        server.wait_for_line_after(mark, words);
    }
    let mark = server.mark();
    assert_eq!(server.http().get("/later-fail").status, 500);
    server.wait_for_line_after(mark, "deeper");
    assert_eq!(ask(&mut neighbour, "still here"), "still here");
    assert_eq!(server.workers(), workers);
}

pub(crate) fn async_beside(language: &'static Language) {
    let server = server(language, &["text"]);
    let mut client = server.text("text");
    let turns = |answer: String| answer.parse::<u64>().expect("a number");
    let before = turns(client.ask("!task"));
    // Also while nobody talks to us: the timer is ours, and looks only once.
    assert_eq!(client.ask("!after 100 now"), "now");
    let after = turns(client.ask("!task"));
    assert!(after > before, "{before} turns before, {after} after");
}
