//! Fifty reloads leave descriptors, threads and memory as they were, and what a process starts inherits nothing.

use nix::sys::signal::Signal;
use workhive_tests::obeys::{Obeys, Who};
use workhive_tests::text::TextClient;
use workhive_tests::wait::within;
use workhive_tests::{DEADLINE, Hive, Port, eventually, proc, program};

/// What a process holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Holds {
    descriptors: usize,
    threads: usize,
}

impl Holds {
    fn of(pid: u32) -> Self {
        Self {
            descriptors: proc::descriptors(pid).len(),
            threads: proc::threads(pid),
        }
    }
}

/// Master, router, workers.
fn all(hive: &Hive) -> Vec<u32> {
    let router = hive.router().expect("a router");
    [&[hive.pid(), router][..], &hive.slots()].concat()
}

/// Waits until nobody drains any more, and returns what all of them hold.
fn settled(hive: &Hive, count: usize) -> Vec<Holds> {
    eventually("a steady state", || {
        let pids = all(hive);
        let holds: Vec<_> = pids.iter().map(|pid| Holds::of(*pid)).collect();
        let again: Vec<_> = pids.iter().map(|pid| Holds::of(*pid)).collect();
        (hive.workers().len() == count && holds == again).then_some(holds)
    })
}

fn reload(obeys: &Obeys, times: u32) {
    for _ in 0..times {
        // Each round has connections that end by themselves, and some that the goodbye ends.
        let mut clients: Vec<_> = (0..8).map(|_| obeys.client()).collect();
        for client in &mut clients {
            Who::serves(client);
        }
        clients.truncate(4);
        let reloaded = obeys.hive.verb::<&str>("reload", &[]);
        assert_eq!(reloaded.code, Some(0), "{reloaded:?}");
    }
}

/// How much more memory than before fifty reloads a process may keep, in KiB: what lies between two measurements of an
/// allocator that has settled. A connection forgotten in each reload would be more.
const SLACK: u64 = 256;

fn fifty_reloads(options: &[&str]) {
    let options = [&["--count", "3", "--drain", "1"], options].concat();
    let obeys = Obeys::start(program!("obeys"), &options);
    let hive = &obeys.hive;
    // The first ones open what stays open, and take the memory that is used again.
    reload(&obeys, 10);
    let before = settled(hive, 3);
    let memory = all(hive)
        .into_iter()
        .map(proc::own_memory_kib)
        .collect::<Vec<_>>();
    reload(&obeys, 50);
    // The client of the last command may not have been let go yet; before, neither.
    let mut after = settled(hive, 3);
    let flat = within(DEADLINE, || {
        after = settled(hive, 3);
        let mut pairs = before.iter().zip(&after);
        pairs
            .all(|(before, after)| {
                after.descriptors <= before.descriptors && after.threads == before.threads
            })
            .then_some(())
    });
    assert!(flat.is_some(), "{options:?}: {before:?}, then {after:?}");
    let later = all(hive)
        .into_iter()
        .map(proc::own_memory_kib)
        .collect::<Vec<_>>();
    println!("{options:?}: {after:?}, memory {memory:?}, then {later:?} KiB");
    for (before, after) in memory.iter().zip(&later) {
        assert!(*after <= before + SLACK, "{memory:?}, then {later:?} KiB");
    }
    assert!(hive.status()["workers"][0]["generation"].as_u64() >= Some(60));
}

#[test]
fn fifty_reloads_leave_everything_flat_with_inherited_listeners() {
    fifty_reloads(&[]);
}

#[test]
fn fifty_reloads_leave_everything_flat_with_reuse_port() {
    fifty_reloads(&["--reuse-port"]);
}

#[test]
fn fifty_reloads_leave_everything_flat_in_exec_mode() {
    fifty_reloads(&["--spawn", "exec"]);
}

/// The descriptors of a shell that the process of a slot starts, other than the standard streams and those that
/// whoever started the tests has left open to all of us.
fn inherited(obeys: &Obeys, slot: usize) -> Vec<String> {
    let listed = obeys.client_of(slot).ask("run ls /proc/$$/fd");
    let all: Vec<_> = listed.split(' ').map(str::to_owned).collect();
    assert!(
        ["0", "1", "2"]
            .map(str::to_owned)
            .iter()
            .all(|stream| all.contains(stream))
    );
    let ours = |number: &String| {
        let number = number.parse().expect("a number");
        proc::survives_exec(std::process::id(), number)
    };
    all.into_iter().filter(|number| !ours(number)).collect()
}

#[test]
fn a_program_started_by_a_process_inherits_the_standard_streams_and_nothing_else() {
    for options in [
        &["--count", "2"][..],
        &["--count", "2", "--reuse-port"],
        &["--count", "2", "--spawn", "exec"],
        &["--count", "2", "--spawn", "exec", "--reuse-port"],
    ] {
        let obeys = Obeys::start(program!("obeys"), options);
        // Of connections there are some.
        let _clients = obeys.clients(2);
        for slot in 0..2 {
            let found = inherited(&obeys, slot);
            assert!(found.is_empty(), "{options:?}: {found:?}");
        }
        // The same after a reload, and in the process of a second generation.
        assert_eq!(obeys.hive.verb::<&str>("reload", &[]).code, Some(0));
        let found = inherited(&obeys, 1);
        assert!(found.is_empty(), "{options:?}: {found:?}");
    }
}

#[test]
fn a_hive_started_by_a_process_is_a_hive_of_its_own() {
    for options in [&["--count", "2"][..], &["--count", "2", "--spawn", "exec"]] {
        let obeys = Obeys::start(program!("obeys"), options);
        let port = Port::reserve();
        let pid_file = obeys.hive.path("inner.pid");
        let inner = format!(
            "run {} --text {port} --pid-file {}",
            program!("obeys"),
            pid_file.display()
        );
        let mut client = obeys.client();
        let outer = Who::serves(&mut client).pid;
        // It does not take its place for the other's, whatever it finds in its environment.
        let said = client.ask(&format!("{inner} start -d --spawn exec"));
        assert!(said.starts_with("started, pid "), "{options:?}: {said}");
        let mut second = TextClient::connect(port.addr());
        assert_ne!(Who::serves(&mut second).pid, outer);
        assert_eq!(Who::serves(&mut client).pid, outer);
        assert_eq!(client.ask(&format!("{inner} stop; echo $?")), "0");
    }
}

#[test]
fn it_does_not_inherit_the_socket_of_a_sibling_either() {
    let mut obeys = Obeys::start(program!("obeys"), &["--count", "2", "--reuse-port"]);
    let mark = obeys.hive.mark();
    obeys.hold_down("1");
    proc::signal(obeys.hive.slots()[1], Signal::SIGKILL);
    obeys
        .hive
        .wait_for_line_after(mark, "obeys[1]: obeys[0] accepts for it");
    let found = inherited(&obeys, 0);
    assert!(found.is_empty(), "{found:?}");
    obeys.let_up();
    obeys.hive.wait_for_line_after(mark, "slot=1 ready");
}

#[test]
fn a_program_that_lives_on_keeps_neither_the_port_nor_the_pid_file() {
    let obeys = Obeys::start(program!("obeys"), &[]);
    let (hive, port) = (&obeys.hive, &obeys.port);
    let pid = obeys.client().ask("run sleep 60 >/dev/null 2>&1 & echo $!");
    let pid: u32 = pid.parse().expect("a pid");
    assert!(proc::is_alive(pid));
    assert_eq!(hive.verb::<&str>("stop", &[]).code, Some(0));
    // Both are free for the next one, whatever the other does.
    assert!(proc::is_alive(pid));
    let started = hive.verb("start", &["-d"]);
    assert_eq!(started.code, Some(0), "{started:?}");
    assert!(Who::serves(&mut obeys.client()).pid > 0, "{port}");
    assert_eq!(hive.verb::<&str>("stop", &[]).code, Some(0));
    proc::signal(pid, Signal::SIGKILL);
    eventually("its end", || (!proc::is_alive(pid)).then_some(()));
}
