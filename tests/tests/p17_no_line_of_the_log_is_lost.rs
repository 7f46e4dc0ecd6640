//! The log file is moved away again and again while everybody writes: each line is there, once and whole.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use nix::sys::signal::Signal;
use workhive_tests::text::TextClient;
use workhive_tests::wait::Raise;
use workhive_tests::{Port, Setup, eventually, proc, program, tools};

const ROTATIONS: usize = 6;

/// How many lines each of the clients has logged.
const CLIENTS: usize = 4;

struct Daemon {
    setup: Setup,
    port: Port,
    log: PathBuf,
}

impl Daemon {
    fn start(options: &[&str]) -> Self {
        let port = Port::reserve();
        let setup = Setup::new(program!("obeys")).options(["--text", &port.to_string()]);
        let log = setup.path("hive.log");
        let path = log.to_str().expect("a readable path").to_owned();
        let setup = setup
            .options(["--log-file".to_owned(), path])
            .options(options.iter().copied());
        let started = setup.verb("start", &["-d"]);
        assert_eq!(started.code, Some(0), "{started:?}");
        Self { setup, port, log }
    }

    /// Lets a process log a line with this in it.
    fn log(&self, token: &str) {
        let mut client = TextClient::connect(self.port.addr());
        client.send(&format!("fail {token}"));
        client.until_gone();
    }

    /// Moves the log away, as logrotate does, and waits until there is a new one.
    fn rotate(&self, number: usize) {
        std::fs::rename(&self.log, self.old(number)).expect("a log to move");
        proc::signal(self.setup.daemon(), Signal::SIGHUP);
        eventually("a new log", || self.log.exists().then_some(()));
    }

    fn old(&self, number: usize) -> PathBuf {
        self.log.with_extension(format!("log.{number}"))
    }

    /// All lines of all files.
    fn lines(&self, rotations: usize) -> Vec<String> {
        let files = (0..rotations).map(|number| self.old(number));
        let texts = files
            .chain([self.log.clone()])
            .map(|file| std::fs::read_to_string(file).expect("a log"));
        let lines = texts.map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>());
        lines.flatten().collect()
    }

    fn stop(&self) {
        assert_eq!(self.setup.verb::<&str>("stop", &[]).code, Some(0));
    }
}

fn no_line_is_lost(options: &[&str]) {
    let daemon = Daemon::start(options);
    let written: [AtomicUsize; CLIENTS] = std::array::from_fn(|_| AtomicUsize::new(0));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for (client, written) in written.iter().enumerate() {
            let (daemon, done) = (&daemon, &done);
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    let number = written.load(Ordering::Relaxed);
                    daemon.log(&format!("token-{client}-{number}."));
                    written.store(number + 1, Ordering::Relaxed);
                }
            });
        }
        let _end = Raise(&done);
        let total = || {
            written
                .iter()
                .map(|n| n.load(Ordering::Relaxed))
                .sum::<usize>()
        };
        for rotation in 0..ROTATIONS {
            let goal = total() + 100;
            eventually("lines are written", || (total() >= goal).then_some(()));
            daemon.rotate(rotation);
        }
        let goal = total() + 100;
        eventually("lines are written", || (total() >= goal).then_some(()));
    });
    daemon.stop();
    let lines = daemon.lines(ROTATIONS);
    let mut found: BTreeMap<&str, usize> = BTreeMap::new();
    for line in &lines {
        // Time, level, who, pid.
        let words: Vec<_> = line.split_ascii_whitespace().collect();
        assert!(words[0].ends_with('Z') && words.len() > 4, "torn: {line}");
        if let Some(at) = line.find("token-") {
            let token = line[at..].split_inclusive('.').next().expect("a token");
            *found.entry(token).or_default() += 1;
        }
    }
    for (client, written) in written.iter().enumerate() {
        for number in 0..written.load(Ordering::Relaxed) {
            let token = format!("token-{client}-{number}.");
            assert_eq!(found.get(&*token), Some(&1), "{options:?}: {token}");
        }
    }
    let first = std::fs::metadata(daemon.old(0)).expect("a log");
    let last = std::fs::metadata(&daemon.log).expect("a log");
    println!(
        "{options:?}: {} lines in {} files",
        lines.len(),
        ROTATIONS + 1
    );
    // The next file has what the first had.
    for found in [&first, &last] {
        assert_eq!(found.permissions().mode() & 0o777, 0o640);
        assert_eq!(found.uid(), nix::unistd::geteuid().as_raw());
    }
}

#[test]
fn every_line_of_every_process_is_in_one_of_the_files() {
    no_line_is_lost(&["--count", "2"]);
}

#[test]
fn also_those_of_processes_that_have_no_right_to_open_the_new_file() {
    if !nix::unistd::geteuid().is_root() {
        return tools::skip("only root can become somebody else");
    }
    no_line_is_lost(&["--count", "2", "--user", "nobody"]);
}

#[test]
fn a_process_notices_by_itself_that_the_log_was_moved_away() {
    let daemon = Daemon::start(&[]);
    std::fs::rename(&daemon.log, daemon.old(0)).expect("a log to move");
    // Nobody was told. Whoever writes looks from time to time.
    eventually("a new log", || {
        daemon.log("hello");
        let new = std::fs::read_to_string(&daemon.log).unwrap_or_default();
        new.contains("hello").then_some(())
    });
    daemon.stop();
    let new = std::fs::read_to_string(&daemon.log).expect("a log");
    assert!(new.contains("stopped"), "{new}");
}

#[test]
fn what_was_logged_while_nobody_had_moved_anything_is_in_one_file() {
    let daemon = Daemon::start(&[]);
    let first = std::fs::read_to_string(&daemon.log).expect("a log");
    assert!(first.contains("ready"), "{first}");
    proc::signal(daemon.setup.daemon(), Signal::SIGHUP);
    eventually("the master has heard", || {
        let text = std::fs::read_to_string(&daemon.log).expect("a log");
        (text.starts_with(&first) && text.contains("open anew")).then_some(())
    });
    daemon.stop();
}
