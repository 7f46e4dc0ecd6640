//! A hive in a host: a program whose `main`, handlers, children and end are its own, and which forks by itself, or runs the
//! master in a loop of its own.

use std::fs;
use std::path::PathBuf;

use nix::sys::signal::Signal;
use workhive_tests::text::TextClient;
use workhive_tests::witnesses::{Death, Witnesses};
use workhive_tests::{Port, Setup, eventually, proc, program};

/// What a host has written down.
struct Record(PathBuf);

impl Record {
    fn lines(&self) -> Vec<(u32, String)> {
        let text = fs::read_to_string(&self.0).unwrap_or_default();
        let lines = text.lines().filter_map(|line| line.split_once(' '));
        lines
            .map(|(pid, text)| (pid.parse().expect("a pid"), text.to_owned()))
            .collect()
    }

    /// The processes that have written this line, each as often as it did, in the order of their numbers.
    fn who(&self, text: &str) -> Vec<u32> {
        let lines = self.lines().into_iter();
        let mut pids: Vec<u32> = lines
            .filter(|(_, line)| line == text)
            .map(|(pid, _)| pid)
            .collect();
        pids.sort_unstable();
        pids
    }

    /// What a process has written.
    fn of(&self, pid: u32) -> Vec<String> {
        let lines = self.lines().into_iter();
        lines
            .filter(|(who, _)| *who == pid)
            .map(|(_, line)| line)
            .collect()
    }
}

/// A host of these kinds.
fn host(kinds: &str, options: &[&str]) -> (Setup, Port, Record) {
    let port = Port::reserve();
    let setup = Setup::new(program!("hosted"));
    let record = setup.path("record");
    let setup = setup
        .words([format!("{} {kinds}", record.display())])
        .options(["--text".to_owned(), port.to_string()])
        .options(options.iter().copied());
    (setup, port, Record(record))
}

/// What a host writes when a hive is over: its child is still its own, and so are its handlers.
const AFTER: [&str; 5] = [
    "child true",
    "blocked 0, children ignored false",
    "SIGUSR2 1",
    "SIGTERM 1",
    "exit",
];

#[test]
fn processes_are_forked_by_the_host_and_only_workers_come_back_to_it() {
    let (setup, port, record) = host("forks", &["--count", "2"]);
    let mut hive = setup.start();
    let (master, router) = (hive.pid(), hive.router().expect("a router"));
    let workers = hive.workers();
    assert_eq!(record.who("worker"), workers);
    let mut all = workers.clone();
    all.push(router);
    all.sort_unstable();
    assert_eq!(record.who("forked"), all);
    // The master has its handlers by then, and they leave the stacks of a host's threads alone.
    assert_eq!(record.who("fork, on stack true"), [master; 3]);
    let slot = TextClient::connect(port.addr()).ask("who");
    assert!(slot.starts_with("0 ") || slot.starts_with("1 "), "{slot}");
    assert!(hive.stop().success());
    assert_eq!(record.who("worker ended 0"), workers);
    let mut ended = workers;
    ended.push(master);
    ended.sort_unstable();
    assert_eq!(record.who("exit"), ended, "the router runs nothing of it");
    assert_eq!(record.of(master)[3..], AFTER);
}

#[test]
fn a_host_that_has_no_fork_of_its_own_is_forked_all_the_same() {
    let (setup, _port, record) = host("", &[]);
    let mut hive = setup.start();
    assert_eq!(record.who("worker"), hive.workers());
    assert!(hive.stop().success());
    assert_eq!(record.of(hive.pid()), AFTER);
}

#[test]
fn a_daemon_is_forked_by_the_host_too_and_what_is_between_runs_nothing_of_it() {
    let (setup, _port, record) = host("forks", &["-d"]);
    let started = setup.verb::<&str>("start", &[]);
    assert_eq!(started.code, Some(0), "{started:?}");
    let daemon = setup.daemon();
    let forks: Vec<u32> = record.lines().iter().map(|(pid, _)| *pid).collect();
    let origin = forks[0];
    // The starter's copy has made the daemon, and is gone without a word.
    assert_eq!(record.of(origin)[0], "fork, on stack false");
    assert!(record.of(origin).contains(&"exit".to_owned()));
    let between = record.who("fork, on stack false")[1];
    assert_eq!(record.of(between), ["forked", "fork, on stack false"]);
    assert_eq!(setup.verb::<&str>("stop", &[]).code, Some(0));
    eventually("the daemon's exit", || {
        let lines = record.of(daemon);
        lines
            .ends_with(
                &AFTER[1..]
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>(),
            )
            .then_some(())
    });
}

#[test]
fn a_fork_that_fails_and_one_that_lies_are_told() {
    for (kind, reason) in [
        ("refuses", "the program's own fork failed: not today"),
        (
            "lies",
            "the program's own fork has returned 1, which is no child of this process",
        ),
    ] {
        let (setup, _port, _record) = host(kind, &[]);
        let ended = setup.verb::<&str>("start", &[]);
        setup.assert_failed(&ended, reason);
        let ended = setup.verb("start", &["-d"]);
        setup.assert_failed(&ended, reason);
    }
}

#[test]
fn handlers_of_the_host_stay_in_its_processes_and_what_is_for_the_master_is_ignored() {
    for options in [&["--spawn", "fork"][..], &["--spawn", "exec"]] {
        let (setup, port, _record) = host("forks", options);
        let hive = setup.start();
        let worker = hive.workers()[0];
        for signal in [
            Signal::SIGUSR1,
            Signal::SIGHUP,
            Signal::SIGINT,
            Signal::SIGPIPE,
            Signal::SIGUSR2,
        ] {
            proc::signal(worker, signal);
        }
        let mut client = TextClient::connect(port.addr());
        eventually("the host's handler", || {
            (client.ask("came") == "0 0 1").then_some(())
        });
        assert_eq!(client.ask("child"), "5");
        // What does nothing in a worker has its usual effect in what the host starts there.
        let ignored = u64::from_str_radix(&client.ask("ignored"), 16).expect("a mask");
        for signal in [
            Signal::SIGHUP,
            Signal::SIGINT,
            Signal::SIGUSR1,
            Signal::SIGUSR2,
            Signal::SIGPIPE,
            Signal::SIGTTIN,
        ] {
            let bit = 1 << (signal as u32 - 1);
            assert_eq!(ignored & bit, 0, "{options:?}: {signal} of {ignored:x}");
        }
        assert_eq!(hive.workers(), [worker], "{options:?}");
        // The loop's own signal ends it in good order, and the host's handler has heard of it.
        let mark = hive.mark();
        proc::signal(worker, Signal::SIGTERM);
        hive.wait_for_line_after(mark, "slot=0 ready");
    }
}

#[test]
fn a_worker_that_has_ended_has_the_signals_of_its_host_again() {
    for options in [&["--spawn", "fork"][..], &["--spawn", "exec"]] {
        let (setup, _port, record) = host("forks", options);
        let mut hive = setup.start();
        let worker = hive.workers()[0];
        assert!(hive.stop().success());
        let lines = record.of(worker);
        // Rust's own runtime ignores SIGPIPE.
        let usual = "usual [true, true, false], came 1 0 0".to_owned();
        assert!(lines.contains(&usual), "{options:?}: {lines:?}");
    }
}

#[test]
fn a_host_that_goes_elsewhere_is_started_anew_where_it_was() {
    let port = Port::reserve();
    let setup = Setup::new("./hosted");
    // By a process of its own: a child that another test forks meanwhile must not keep it from being executed.
    let copied = std::process::Command::new("cp")
        .args([
            program!("hosted"),
            &setup.path("hosted").display().to_string(),
        ])
        .status();
    assert!(copied.expect("cp").success());
    let kinds = format!("{} nested elsewhere", setup.path("record").display());
    let hive = setup
        .words([kinds])
        .options(["--text", &port.to_string(), "--spawn", "exec"])
        .start();
    let worker = hive.workers()[0];
    let lies =
        |of: u32, what: &str| fs::read_link(format!("/proc/{of}/{what}")).expect("a process");
    assert_eq!(lies(hive.pid(), "cwd"), PathBuf::from("/"));
    assert_eq!(lies(worker, "exe"), hive.path("hosted"));
    assert_eq!(hive.verb::<&str>("reload", &[]).code, Some(0));
    hive.signal(Signal::SIGTERM);
}

#[test]
fn a_log_that_nobody_reads_any_more_ends_no_host() {
    // A host in C does not ignore SIGPIPE, as Rust's runtime does.
    for (kinds, spawn) in [("piped", "fork"), ("piped nested keeps", "exec")] {
        let (setup, port, record) = host(kinds, &["--spawn", spawn]);
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let mut command = setup.verb_command::<&str>("start", &[]);
        let mut master = command
            .stdout(std::process::Stdio::null())
            .stderr(writer)
            .spawn()
            .expect("a program");
        drop(command);
        let worker = eventually("a worker", || record.who("worker").first().copied());
        let mut client = eventually("it serves", || {
            workhive_tests::text::connect(port.addr()).ok()?;
            Some(TextClient::connect(port.addr()))
        });
        client.ask("who");
        drop(reader);
        // Each line of the log is one that cannot be written.
        proc::signal(worker, Signal::SIGKILL);
        eventually("another worker", || {
            let all = record.who("worker");
            (all.len() == 2).then_some(())
        });
        assert!(master.try_wait().expect("a child").is_none(), "{kinds}");
        assert_eq!(setup.verb::<&str>("reload", &[]).code, Some(0));
        proc::signal(master.id(), Signal::SIGTERM);
        assert!(master.wait().expect("a child").success(), "{kinds}");
    }
}

#[test]
fn a_second_hive_in_one_process_hears_its_signals_too() {
    let (setup, port, record) = host("forks again", &["--count", "2"]);
    let mut hive = setup.start();
    let first = hive.workers();
    let mark = hive.mark();
    hive.signal(Signal::SIGTERM);
    hive.wait_for_line_after(mark, "Press Ctrl+C to stop");
    assert_eq!(record.who("again"), [hive.pid()]);
    let second = hive.workers();
    assert!(second.len() == 2 && second.iter().all(|pid| !first.contains(pid)));
    let mark = hive.mark();
    hive.signal(Signal::SIGUSR1);
    hive.wait_for_line_after(mark, "reload: replaced 2 processes");
    TextClient::connect(port.addr()).ask("who");
    assert!(hive.stop().success());
    assert!(record.of(hive.pid()).ends_with(&AFTER.map(str::to_owned)));
}

#[test]
fn lines_of_the_log_go_to_the_host() {
    let (setup, _port, record) = host("forks logs", &[]);
    let mut hive = setup.launch();
    eventually("a line", || {
        let lines = record.of(hive.pid());
        let ready = |line: &String| line.starts_with("log INFO ready: 1 process in ");
        lines.iter().any(ready).then_some(())
    });
    let worker = hive.workers()[0];
    proc::signal(worker, Signal::SIGTERM);
    eventually("a line of the worker", || {
        let told = |line: &String| line == "log INFO told to end by a signal";
        record.of(worker).iter().any(told).then_some(())
    });
    assert!(hive.stop().success());
    let printed = hive.log();
    assert!(
        !printed.iter().any(|line| line.contains(" INFO ")),
        "{printed:?}"
    );
}

#[test]
fn a_master_in_a_loop_of_the_host_leaves_it_its_threads_and_its_time() {
    for kinds in ["nested", "nested keeps"] {
        let (setup, port, record) = host(kinds, &["--spawn", "exec", "--count", "2"]);
        let mut hive = setup.start();
        let master = hive.pid();
        assert!(proc::threads(master) >= 3);
        let witnesses = Witnesses::new(port.addr(), 4);
        witnesses.serve(100);
        let mark = hive.mark();
        let death = Death::of(hive.slots()[0]);
        hive.wait_for_line_after(mark, "slot=0 ready");
        for _ in 0..3 {
            let reloaded = hive.verb::<&str>("reload", &[]);
            assert_eq!(reloaded.code, Some(0), "{reloaded:?}");
        }
        assert_eq!(hive.verb("scale", &["3"]).code, Some(0));
        assert_eq!(hive.slots().len(), 3);
        if kinds == "nested" {
            let mark = hive.mark();
            hive.signal(Signal::SIGTTIN);
            hive.wait_for_line_after(mark, "slot=3 ready");
        }
        witnesses.serve(100);
        let unexplained = witnesses.unexplained(&[death]);
        assert!(unexplained.is_empty(), "{unexplained:?}");
        hive.signal(Signal::SIGTERM);
        assert!(hive.wait().success());
        let lines = record.of(master);
        assert_eq!(lines[0], "ticks true");
        assert_eq!(lines[1..], AFTER, "{kinds}");
    }
}

#[test]
fn a_master_in_a_loop_of_the_host_is_upgraded_like_others() {
    let (setup, port, record) = host("nested", &["--spawn", "exec", "--count", "2"]);
    let mut hive = setup.start();
    let old = hive.pid();
    let before = hive.slots();
    hive.signal(Signal::SIGUSR2);
    hive.meet_heir();
    let after = hive.slots();
    assert!(after.len() == 2 && after.iter().all(|pid| !before.contains(pid)));
    TextClient::connect(port.addr()).ask("who");
    assert!(record.of(old).ends_with(&AFTER.map(str::to_owned)));
    assert!(hive.stop().success());
}

#[test]
fn a_copy_that_the_host_makes_of_itself_is_no_master() {
    let (setup, port, record) = host("nested", &["--spawn", "exec"]);
    let hive = setup.start();
    let worker = hive.workers()[0];
    let copies = record.who("copy true 1");
    assert!(copies.len() == 1 && copies[0] != hive.pid(), "{copies:?}");
    TextClient::connect(port.addr()).ask("who");
    assert_eq!(hive.slots(), [worker]);
}

#[test]
fn a_master_in_a_loop_of_the_host_does_what_time_asks_for() {
    // Nothing but a timer tells that the process has had its time to end.
    let options = ["--spawn", "exec", "--drain", "0.2"];
    let (setup, port, _record) = host("nested", &options);
    let hive = setup.start();
    let worker = hive.workers()[0];
    let mark = hive.mark();
    proc::signal(worker, Signal::SIGKILL);
    hive.wait_for_line_after(mark, "slot=0 ready");
    TextClient::connect(port.addr()).ask("who");
}

#[test]
fn a_nested_master_cannot_fork_and_says_what_to_do() {
    let (setup, _port, _record) = host("nested", &[]);
    let ended = setup.verb::<&str>("start", &[]);
    setup.assert_failed(&ended, "cannot fork its processes, only execute them");
    assert!(ended.stderr.contains("--spawn exec"), "{ended:?}");
}

#[test]
fn signals_that_are_left_to_the_host_do_nothing_in_a_worker_but_what_the_host_does() {
    for (kinds, spawn) in [("nested keeps", "exec"), ("forks keeps", "fork")] {
        let (setup, port, _record) = host(kinds, &["--spawn", spawn]);
        let mut hive = setup.start();
        let worker = hive.workers()[0];
        let mut client = TextClient::connect(port.addr());
        client.ask("who");
        for signal in [Signal::SIGTERM, Signal::SIGUSR2] {
            proc::signal(worker, signal);
        }
        eventually("the host's handlers", || {
            (client.ask("came") == "1 0 1").then_some(())
        });
        assert_eq!(hive.workers(), [worker]);
        hive.signal(Signal::SIGTERM);
        assert!(hive.wait().success());
    }
}

#[test]
fn a_host_that_ignores_the_ends_of_its_children_does_so_again_and_the_hive_does_not() {
    let (setup, _port, record) = host("forks deaf", &["--count", "2"]);
    let mut hive = setup.start();
    let mark = hive.mark();
    proc::signal(hive.slots()[1], Signal::SIGKILL);
    let ended = hive.wait_for_line_after(mark, "was killed by SIGKILL");
    assert!(ended.contains("hosted[1]"), "{ended}");
    hive.wait_for_line_after(mark, "slot=1 ready");
    assert!(hive.stop().success());
    let lines = record.of(hive.pid());
    let ignored = "blocked 0, children ignored true".to_owned();
    assert!(lines.contains(&ignored), "{lines:?}");
}
