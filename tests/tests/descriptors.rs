//! Which files are open in which process, and that their number does not grow.

use std::collections::BTreeSet;

use workhive_tests::http::HttpClient;
use workhive_tests::{Hive, Port, Setup, eventually, proc, program};

fn echo(options: &[&str]) -> (Hive, Port) {
    let port = Port::reserve();
    let setup = Setup::echo(program!("workhive-under-test"), format!("http://{port}"));
    (setup.options(options.iter().copied()).start(), port)
}

/// What the descriptors of a process lead to, without the standard streams.
fn open_files(pid: u32) -> Vec<String> {
    proc::descriptors(pid)
        .into_iter()
        .filter(|(number, _)| *number > 2)
        .map(|(_, target)| target.display().to_string())
        .collect()
}

/// The inodes of the listening sockets at a port, from `/proc/net/tcp`.
fn listening(port: &Port) -> BTreeSet<String> {
    let wanted = format!(":{:04X}", port.number());
    std::fs::read_to_string("/proc/net/tcp")
        .expect("a table of sockets")
        .lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_ascii_whitespace().collect();
            let listens = fields.get(3) == Some(&"0A") && fields.get(1)?.ends_with(&wanted);
            listens.then(|| format!("socket:[{}]", fields[9]))
        })
        .collect()
}

#[test]
fn a_worker_has_nothing_of_its_masters() {
    for options in [&["--count", "3"][..], &["--count", "3", "--reuse-port"]] {
        let (hive, port) = echo(options);
        // Another process than the first: it was forked when more was open.
        let master: BTreeSet<String> = open_files(hive.pid()).into_iter().collect();
        let pid_file = hive.setup().pid_file().display().to_string();
        assert!(
            master.contains(&pid_file),
            "the master holds its lock: {master:?}"
        );
        let sockets = listening(&port);
        for worker in hive.workers() {
            let files = open_files(worker);
            assert!(!files.contains(&pid_file), "{files:?}");
            // Shared with the master: the listening socket (one), the stats page. Sockets have inodes of their own.
            let shared: Vec<_> = files
                .iter()
                .filter(|file| file.starts_with("socket:") && master.contains(*file))
                .collect();
            assert!(
                shared.iter().all(|socket| sockets.contains(*socket)),
                "{shared:?} of {sockets:?}"
            );
            assert_eq!(
                shared.len(),
                1,
                "its own listening socket, and no other: {files:?}"
            );
            // One epoll instance of its own, open up to three times: those of others could not be told apart, but would
            // be one too many.
            let polls = files
                .iter()
                .filter(|file| file.contains("eventpoll"))
                .count();
            assert!((1..=3).contains(&polls), "{files:?}");
            let pidfds = files.iter().filter(|file| file.contains("pidfd")).count();
            assert_eq!(pidfds, 0, "{files:?}");
        }
    }
}

#[test]
fn workers_do_not_have_each_others_sockets() {
    let (hive, port) = echo(&["--count", "4"]);
    let sockets = listening(&port);
    let mut seen = BTreeSet::new();
    for worker in hive.workers() {
        for file in open_files(worker) {
            if file.starts_with("socket:") && !sockets.contains(&file) {
                assert!(seen.insert(file.clone()), "{file} is open in two processes");
            }
        }
    }
}

#[test]
fn the_number_of_open_files_is_the_same_after_20_reloads() {
    for options in [&["--count", "3"][..], &["--count", "3", "--reuse-port"]] {
        let (hive, port) = echo(options);
        let settled = |before: &[u32]| {
            eventually("the replaced processes end", || {
                let workers = hive.workers();
                let gone = before.iter().all(|pid| !workers.contains(pid));
                (workers.len() == 3 && gone).then_some(workers)
            })
        };
        let count = || -> (usize, Vec<usize>) {
            let workers = hive.slots();
            let files = workers.iter().map(|pid| proc::descriptors(*pid).len());
            (proc::descriptors(hive.pid()).len(), files.collect())
        };
        let mut workers = hive.workers();
        // The first one may open what stays open.
        assert_eq!(hive.verb::<&str>("reload", &[]).code, Some(0));
        workers = settled(&workers);
        let before = eventually("a steady state", || {
            let now = count();
            (now == count()).then_some(now)
        });
        for _ in 0..20 {
            assert_eq!(hive.verb::<&str>("reload", &[]).code, Some(0));
        }
        settled(&workers);
        // The client of the last command may not have been let go yet.
        let after = eventually("the same number of open files", || {
            let now = count();
            (now == before).then_some(now)
        });
        assert_eq!(before, after);
        assert_eq!(HttpClient::connect(port.addr()).get("/").status, 200);
    }
}

#[test]
fn a_worker_closes_what_its_clients_close() {
    let (hive, port) = echo(&["--count", "1"]);
    let worker = hive.workers()[0];
    let before = proc::descriptors(worker).len();
    for _ in 0..3 {
        let clients: Vec<_> = (0..100)
            .map(|_| {
                let mut client = HttpClient::connect(port.addr());
                assert_eq!(client.get("/").status, 200);
                client
            })
            .collect();
        assert_eq!(proc::descriptors(worker).len(), before + 100);
        drop(clients);
        eventually("the connections are closed", || {
            (proc::descriptors(worker).len() == before).then_some(())
        });
    }
}

/// Whether a descriptor is closed by exec (`O_CLOEXEC`, open(2)).
fn is_private(pid: u32, number: i32) -> bool {
    let info = std::fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}"));
    let info = info.expect("an open descriptor");
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = u32::from_str_radix(flags.expect("flags").trim(), 8).expect("octal");
    flags & 0o2_000_000 != 0
}

#[test]
fn every_descriptor_that_the_hive_opens_is_closed_on_exec() {
    let (hive, _port) = echo(&["--count", "2"]);
    // What whoever started the tests has left open came down to all of us.
    let own = std::process::id();
    let ours = proc::descriptors(own);
    for pid in hive.workers().into_iter().chain([hive.pid()]) {
        for (number, target) in proc::descriptors(pid) {
            if number < 3 || is_private(pid, number) {
                continue;
            }
            let inherited = ours.contains(&(number, target.clone())) && !is_private(own, number);
            assert!(inherited, "{number} of {pid} leads to {}", target.display());
        }
    }
}
