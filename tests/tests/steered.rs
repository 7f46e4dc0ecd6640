//! With a socket for each slot, new connections go to those who accept: none into the queue of a slot that is down.

use std::collections::BTreeMap;
use std::path::PathBuf;

use nix::sys::signal::Signal;
use workhive_tests::text::TextClient;
use workhive_tests::{Hive, Port, Setup, eventually, proc, program};

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
        "--reuse-port",
        "--text",
        &port.to_string(),
        "--fail",
        fail.to_str().expect("a readable path"),
    ]);
    let mut hive = setup.options(options.iter().copied()).start();
    hive.expect("this slot is to stay down");
    Fixture { hive, port, fail }
}

impl Fixture {
    /// Connections whose handshake is over: each is in some queue.
    fn connect(&self) -> Vec<TextClient> {
        (0..CLIENTS)
            .map(|_| TextClient::connect(self.port.addr()))
            .collect()
    }

    /// The number of connections in the queue of each listening socket at the port, by inode.
    fn queues(&self) -> BTreeMap<String, usize> {
        // proc(5): local address, peer, state; the two queues in hexadecimal; the tenth column is the inode. The second
        // queue of a socket that listens are the connections that nobody has accepted.
        let table = std::fs::read_to_string("/proc/net/tcp").expect("a table");
        let local = format!(":{:04X}", self.port.number());
        let rows = table
            .lines()
            .map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
        rows.filter(|row| row[1].ends_with(&local) && row[3] == "0A")
            .map(|row| {
                let (_, waiting) = row[4].split_once(':').expect("two queues");
                let waiting = usize::from_str_radix(waiting, 16).expect("a number");
                (format!("socket:[{}]", row[9]), waiting)
            })
            .collect()
    }

    /// The listening sockets of a process at the port.
    fn sockets_of(&self, pid: u32) -> Vec<String> {
        let queues = self.queues();
        let descriptors = proc::descriptors(pid).into_iter();
        descriptors
            .filter_map(|(_, there)| there.to_str().map(str::to_owned))
            .filter(|there| queues.contains_key(there))
            .collect()
    }

    /// Stops a process and waits until it is stopped.
    fn hold(pid: u32) {
        proc::signal(pid, Signal::SIGSTOP);
        eventually("a stopped process", || {
            let state = proc::status_field(pid, "State:")?;
            state.starts_with('T').then_some(())
        });
    }
}

/// How many clients each slot answers.
fn answers(clients: &mut [TextClient]) -> BTreeMap<u32, usize> {
    let mut found = BTreeMap::new();
    for client in clients {
        let answer = client.ask("who");
        let (slot, _) = answer.split_once(' ').expect("a slot and more");
        *found.entry(slot.parse().expect("a slot")).or_default() += 1;
    }
    found
}

#[test]
fn no_new_connection_lands_in_the_queue_of_a_slot_that_is_down() {
    let fixture = obeys(3, &[]);
    let pids = fixture.hive.slots();
    let own: Vec<String> = pids
        .iter()
        .map(|pid| fixture.sockets_of(*pid).remove(0))
        .collect();
    let mark = fixture.hive.mark();
    std::fs::write(&fixture.fail, "1").expect("a file");
    proc::signal(pids[1], Signal::SIGKILL);
    fixture
        .hive
        .wait_for_line_after(mark, "obeys[1]: failure 2 in a row");
    // The others hold still, so that what comes stays where the kernel puts it.
    for pid in [pids[0], pids[2]] {
        Fixture::hold(pid);
    }
    let mut clients = fixture.connect();
    let queues = fixture.queues();
    assert_eq!(queues.len(), 3, "{queues:?}");
    assert_eq!(queues[&own[1]], 0, "{queues:?}");
    assert_eq!(queues[&own[0]] + queues[&own[2]], CLIENTS, "{queues:?}");
    assert!(
        queues[&own[0]] > 0 && queues[&own[2]] > 0,
        "each gets its share: {queues:?}"
    );
    for pid in [pids[0], pids[2]] {
        proc::signal(pid, Signal::SIGCONT);
    }
    let served = answers(&mut clients);
    assert_eq!(served.keys().copied().collect::<Vec<_>>(), [0, 2]);
    // And when it is back it gets its share.
    std::fs::remove_file(&fixture.fail).expect("a file");
    fixture.hive.wait_for_line_after(mark, "slot=1 ready");
    let served = answers(&mut fixture.connect());
    assert_eq!(served.keys().copied().collect::<Vec<_>>(), [0, 1, 2]);
}

#[test]
fn slots_that_a_group_has_no_more_get_no_new_connections() {
    let fixture = obeys(3, &["--drain", "1"]);
    let pids = fixture.hive.slots();
    let own = fixture.sockets_of(pids[0]).remove(0);
    let scaled = fixture.hive.verb("scale", &["1"]);
    assert_eq!(scaled.code, Some(0), "{scaled:?}");
    Fixture::hold(pids[0]);
    let mut clients = fixture.connect();
    let queues = fixture.queues();
    assert_eq!((queues.len(), queues[&own]), (3, CLIENTS), "{queues:?}");
    proc::signal(pids[0], Signal::SIGCONT);
    assert_eq!(answers(&mut clients), [(0, CLIENTS)].into());
    let scaled = fixture.hive.verb("scale", &["3"]);
    assert_eq!(scaled.code, Some(0), "{scaled:?}");
    let served = answers(&mut fixture.connect());
    assert_eq!(served.keys().copied().collect::<Vec<_>>(), [0, 1, 2]);
}

#[test]
fn with_nobody_left_connections_wait_for_the_first_who_is_back() {
    let fixture = obeys(2, &[]);
    let mark = fixture.hive.mark();
    std::fs::write(&fixture.fail, "0 1").expect("a file");
    for pid in fixture.hive.slots() {
        proc::signal(pid, Signal::SIGKILL);
    }
    for slot in 0..2 {
        let failed = format!("obeys[{slot}]: failure 2 in a row");
        fixture.hive.wait_for_line_after(mark, &failed);
    }
    let mut clients = fixture.connect();
    assert_eq!(fixture.queues().values().sum::<usize>(), CLIENTS);
    std::fs::remove_file(&fixture.fail).expect("a file");
    assert_eq!(answers(&mut clients).values().sum::<usize>(), CLIENTS);
}
