//! Processes are replaced and stopped.

use nix::sys::signal::Signal;
use workhive_tests::load::{HTTP, Load};
use workhive_tests::text::TextClient;
use workhive_tests::{eventually, proc};

use super::language::Language;
use super::{Plan, Server, who};

pub(crate) fn reload(language: &'static Language) {
    let server = Plan::new(language, &["http"]).count(2).start();
    let mut before = server.slots();
    let load = Load::new(server.addr("http"), HTTP.len(), &HTTP);
    for _ in 0..3 {
        load.serve(50);
        let reloaded = server.verb::<&str>("reload", &[]);
        assert_eq!(reloaded.code, Some(0), "{reloaded:?}");
        let after = server.slots();
        assert_eq!(after.len(), 2);
        assert!(
            after.iter().all(|pid| !before.contains(pid)),
            "{before:?}, then {after:?}"
        );
        before = after;
    }
    load.serve(50);
    let tally = load.finish();
    assert_eq!(tally.failed(), 0, "{tally:?}");
}

/// A connection to each process, in the order of their slots.
#[track_caller]
fn one_each(server: &Server, count: usize) -> Vec<TextClient> {
    let mut found: Vec<Option<TextClient>> = (0..count).map(|_| None).collect();
    eventually("a connection to each process", || {
        let mut client = server.text("text");
        let (slot, _) = who(&client.ask("!who"));
        found[slot].get_or_insert(client);
        found.iter().all(Option::is_some).then_some(())
    });
    found.into_iter().flatten().collect()
}

/// Waits for another process in a slot, and until it serves.
#[track_caller]
fn replaced(server: &Server, slot: usize, pid: u32, count: usize) {
    eventually("another process in its place", || {
        let slots = server.slots();
        (slots.len() == count && slots[slot] != pid).then_some(())
    });
}

pub(crate) fn kill(language: &'static Language) {
    let mut server = Plan::new(language, &["text"]).count(2).start();
    server.expect("SIGKILL");
    let mut clients = one_each(&server, 2);
    let (slot, pid) = who(&clients[0].ask("!who"));
    let other = who(&clients[1].ask("!who"));
    proc::signal(pid, Signal::SIGKILL);
    clients[0].until_gone();
    assert_eq!(clients[1].ask("still here"), "still here");
    replaced(&server, slot, pid, 2);
    let mut again = one_each(&server, 2);
    assert_ne!(who(&again[0].ask("!who")).1, pid);
    assert_eq!(who(&clients[1].ask("!who")), other);
}

pub(crate) fn stop_one(language: &'static Language) {
    let server = Plan::new(language, &["text"])
        .count(2)
        .options(&["--drain", "2"])
        .start();
    let mut client = server.text("text");
    let (slot, pid) = who(&client.ask("!who"));
    let mark = server.mark();
    assert_eq!(client.ask("!stop"), "stopping");
    server.wait_for_line_after(mark, "on_worker_stop");
    client.until_gone();
    replaced(&server, slot, pid, 2);
}

pub(crate) fn stop(language: &'static Language) {
    let mut server = Plan::new(language, &["text"])
        .count(2)
        .options(&["--drain", "2"])
        .start();
    let mut client = server.text("text");
    assert_eq!(client.ask("hello"), "hello");
    let stopped = server.verb("stop", &["-g"]);
    assert_eq!(stopped.code, Some(0), "{stopped:?}");
    assert!(server.wait().success());
    let log = server.log();
    for words in ["on_worker_start", "on_worker_stop"] {
        let said = log.iter().filter(|line| line.ends_with(words)).count();
        assert_eq!(said, 2, "{words}: {log:#?}");
    }
    assert_eq!(client.until_gone(), b"");
}

pub(crate) fn start_fails(language: &'static Language) {
    let plan = Plan::new(language, &["text"]);
    let plan = plan.env("WORKHIVE_CASE_FAIL_START", "the cellar is full of water");
    let setup = plan.setup();
    let ended = setup.verb::<&str>("start", &[]);
    setup.assert_failed(&ended, "the cellar is full of water");
}
