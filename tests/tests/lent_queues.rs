//! With a socket for each slot, what waits in the queue of a dead or stuck process is served by its siblings.

use std::collections::BTreeSet;
use std::path::PathBuf;

use nix::sys::signal::Signal;
use workhive_tests::text::TextClient;
use workhive_tests::{Hive, Port, Setup, eventually, proc, program, sockets};

/// Connections of which the kernel gives each socket its share.
const CLIENTS: usize = 200;

struct Fixture {
    hive: Hive,
    port: Port,
    fail: PathBuf,
}

fn obeys(count: usize, options: &[&str]) -> Fixture {
    let port = Port::reserve();
    let setup = Setup::new(program!("obeys"));
    let fail = setup.path("fail");
    let setup = setup.options([
        "--count",
        &count.to_string(),
        "--fail",
        fail.to_str().expect("a readable path"),
    ]);
    let at = port.to_string();
    let setup = match options {
        ["inside", rest @ ..] => setup
            .options(["--inside", &at])
            .options(rest.iter().copied()),
        _ => setup
            .options(["--reuse-port", "--text", &at])
            .options(options.iter().copied()),
    };
    let mut hive = setup.start();
    hive.expect("this slot is to stay down");
    Fixture { hive, port, fail }
}

impl Fixture {
    /// From now on processes of these slots cannot start.
    fn hold_down(&self, slots: &str) {
        std::fs::write(&self.fail, slots).expect("a file");
    }

    fn let_up(&self) {
        std::fs::remove_file(&self.fail).expect("a file");
    }

    fn ask(&self) -> Vec<TextClient> {
        let ask = |_| {
            let mut client = TextClient::connect(self.port.addr());
            client.send("who");
            client
        };
        (0..CLIENTS).map(ask).collect()
    }

    /// A client of the process of this slot.
    fn client_of(&self, slot: u32) -> TextClient {
        eventually("a connection to the slot", || {
            let mut client = TextClient::connect(self.port.addr());
            client.send("who");
            (slot_in(&client.line()) == slot).then_some(client)
        })
    }

    /// Who accepts for a slot from now on, as the log says after `mark`.
    fn sibling(&self, mark: usize, slot: u32) -> u32 {
        let line = self
            .hive
            .wait_for_line_after(mark, &format!("obeys[{slot}]: obeys["));
        let (_, rest) = line.split_once(": obeys[").expect("a sibling");
        let (sibling, _) = rest.split_once(']').expect("a sibling");
        sibling.parse().expect("a slot")
    }
}

fn slot_in(answer: &str) -> u32 {
    let slot = answer.split_ascii_whitespace().next().expect("a slot");
    slot.parse().expect("a slot")
}

/// The slots that have answered.
fn answers(clients: &mut [TextClient]) -> BTreeSet<u32> {
    clients
        .iter_mut()
        .map(|client| slot_in(&client.line()))
        .collect()
}

fn a_killed_process_is_stood_in_for(options: &[&str]) {
    let fixture = obeys(2, options);
    let pids = fixture.hive.slots();
    let mark = fixture.hive.mark();
    assert_eq!(sockets::listening_of(pids[0], &fixture.port), 1);
    // Stopped, it leaves its share of the connections in its queue.
    proc::signal(pids[1], Signal::SIGSTOP);
    let mut clients = fixture.ask();
    fixture.hold_down("1");
    proc::signal(pids[1], Signal::SIGKILL);
    assert_eq!(answers(&mut clients), [0].into());
    assert_eq!(fixture.sibling(mark, 1), 0);
    assert_eq!(sockets::listening_of(pids[0], &fixture.port), 2);
    // And so is what comes later.
    assert_eq!(answers(&mut fixture.ask()), [0].into());
    fixture.let_up();
    fixture.hive.wait_for_line_after(mark, "slot=1 ready");
    eventually("the socket is given back", || {
        (sockets::listening_of(pids[0], &fixture.port) == 1).then_some(())
    });
    assert_eq!(answers(&mut fixture.ask()), [0, 1].into());
}

#[test]
fn the_queue_of_a_killed_process_is_served_by_a_sibling_until_the_next_one_is_ready() {
    a_killed_process_is_stood_in_for(&[]);
}

#[test]
fn the_queue_of_a_socket_that_a_killed_process_had_opened_itself_is_served_too() {
    a_killed_process_is_stood_in_for(&["inside"]);
}

#[test]
fn the_queue_of_a_stuck_process_is_served_by_a_sibling() {
    let mut fixture = obeys(2, &["--stuck-after", "0.5"]);
    fixture.hive.expect("is stuck and is killed");
    fixture.client_of(1).send("spin");
    fixture.hold_down("1");
    let mut clients = fixture.ask();
    assert_eq!(answers(&mut clients), [0].into());
    fixture.let_up();
    fixture.client_of(1);
}

#[test]
fn when_a_process_that_stands_in_for_another_dies_the_third_takes_the_queue() {
    let fixture = obeys(3, &[]);
    let pids = fixture.hive.slots();
    let mut mark = fixture.hive.mark();
    fixture.hold_down("2");
    proc::signal(pids[2], Signal::SIGKILL);
    for _ in 0..3 {
        let sibling = fixture.sibling(mark, 2);
        assert!(!answers(&mut fixture.ask()).contains(&2));
        mark = fixture.hive.mark();
        let victim = fixture.hive.slots()[usize::try_from(sibling).expect("a slot")];
        proc::signal(victim, Signal::SIGKILL);
        assert_ne!(fixture.sibling(mark, 2), sibling);
        fixture
            .hive
            .wait_for_line_after(mark, &format!("slot={sibling} ready"));
    }
    fixture.let_up();
    fixture.client_of(2);
}

#[test]
fn a_reload_moves_a_borrowed_queue_on_with_everything_else() {
    let mut fixture = obeys(2, &["--drain", "1"]);
    fixture.hive.expect("ended before it was ready");
    let mark = fixture.hive.mark();
    fixture.hold_down("1");
    proc::signal(fixture.hive.slots()[1], Signal::SIGKILL);
    assert_eq!(fixture.sibling(mark, 1), 0);
    let mark = fixture.hive.mark();
    // It replaces the first slot and fails at the second, which is down.
    fixture.hive.signal(Signal::SIGUSR1);
    fixture.hive.wait_for_line_after(mark, "slot=0 ready");
    assert_eq!(fixture.sibling(mark, 1), 0);
    assert_eq!(answers(&mut fixture.ask()), [0].into());
    fixture.let_up();
    fixture.client_of(1);
}

#[test]
fn queues_that_nobody_could_take_go_to_the_first_who_is_back() {
    let fixture = obeys(2, &[]);
    let pids = fixture.hive.slots();
    let mark = fixture.hive.mark();
    fixture.hold_down("0 1");
    for pid in pids {
        proc::signal(pid, Signal::SIGKILL);
    }
    for slot in 0..2 {
        fixture
            .hive
            .wait_for_line_after(mark, &format!("obeys[{slot}]: failure 2 in a row"));
    }
    let mut clients = fixture.ask();
    fixture.hold_down("1");
    assert_eq!(answers(&mut clients), [0].into());
    fixture.let_up();
    fixture.client_of(1);
}
