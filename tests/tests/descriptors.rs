//! Which files are open in which process.

use std::collections::BTreeSet;

use workhive_tests::http::HttpClient;
use workhive_tests::text::TextClient;
use workhive_tests::{Hive, Port, Setup, eventually, proc, program, sockets};

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
        let listening = sockets::listening(&port);
        for worker in hive.workers() {
            let files = open_files(worker);
            assert!(!files.contains(&pid_file), "{files:?}");
            // Shared with the master: the listening socket (one), the stats page. Sockets have inodes of their own.
            let shared: Vec<_> = files
                .iter()
                .filter(|file| file.starts_with("socket:") && master.contains(*file))
                .collect();
            assert!(
                shared.iter().all(|socket| listening.contains(*socket)),
                "{shared:?} of {listening:?}"
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
    let listening = sockets::listening(&port);
    let mut seen = BTreeSet::new();
    for worker in hive.workers() {
        for file in open_files(worker) {
            if file.starts_with("socket:") && !listening.contains(&file) {
                assert!(seen.insert(file.clone()), "{file} is open in two processes");
            }
        }
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

#[test]
fn every_descriptor_that_the_hive_opens_is_closed_on_exec() {
    let (hive, _port) = echo(&["--count", "2"]);
    // What whoever started the tests has left open came down to all of us.
    let own = std::process::id();
    let ours = proc::descriptors(own);
    for pid in hive.workers().into_iter().chain([hive.pid()]) {
        for (number, target) in proc::descriptors(pid) {
            if number < 3 || !proc::survives_exec(pid, number) {
                continue;
            }
            let inherited =
                ours.contains(&(number, target.clone())) && proc::survives_exec(own, number);
            assert!(inherited, "{number} of {pid} leads to {}", target.display());
        }
    }
}

#[test]
fn what_the_starter_left_open_goes_no_further() {
    for spawn in ["fork", "exec"] {
        let port = Port::reserve();
        let hive = Setup::new("/bin/sh")
            .words(["-c", "exec \"$@\" 7< /dev/null 9< /dev/zero", "sh"])
            .words([program!("obeys")])
            .options(["--text", &port.to_string(), "--spawn", spawn])
            .start();
        let strays = ["/dev/null", "/dev/zero"];
        let of_master = open_files(hive.pid());
        assert!(
            strays
                .iter()
                .all(|stray| of_master.contains(&(*stray).to_owned()))
        );
        // The fourth is the directory that is being read.
        let listed = TextClient::connect(port.addr()).ask("run ls /proc/self/fd");
        assert_eq!(listed, "0 1 2 3", "{spawn}");
    }
}
