//! Exec mode: every process is the program started anew, and all that holds for forked ones holds for these.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use serde_json::json;
use workhive_tests::http::HttpClient;
use workhive_tests::load::{Habit, Load};
use workhive_tests::routes::{Orders, Routes};
use workhive_tests::text::TextClient;
use workhive_tests::{Hive, Port, Setup, eventually, proc, program, tools};

/// A program that can be replaced, in the directory of its hive.
struct Replaceable {
    path: PathBuf,
}

impl Replaceable {
    fn new(setup: &Setup) -> Self {
        Self {
            path: setup.path("begins"),
        }
    }

    /// Puts another file in its place, in one step.
    fn replace(&self, content: &[u8], mode: u32) {
        let new = self.path.with_extension("new");
        // Not by this process: a child that another test forks meanwhile has every descriptor of ours for a moment, and
        // as long as one is open for writing, the file cannot be executed (ETXTBSY, execve(2)).
        let mut writer = Command::new("/bin/sh")
            .args(["-c", "cat > \"$0\""])
            .arg(&new)
            .stdin(Stdio::piped())
            .spawn()
            .expect("a shell");
        let mut pipe = writer.stdin.take().expect("a pipe");
        pipe.write_all(content).expect("a reader");
        drop(pipe);
        assert!(writer.wait().expect("its end").success());
        fs::set_permissions(&new, PermissionsExt::from_mode(mode)).expect("a file");
        fs::rename(&new, &self.path).expect("a directory");
    }

    /// The same program with another version written behind it.
    fn upgrade(&self, version: u32) {
        let mut content = fs::read(program!("begins")).expect("a program");
        content.extend_from_slice(format!("VERSION={version}").as_bytes());
        self.replace(&content, 0o755);
    }
}

/// A hive of `begins` in exec mode, whose program can be replaced.
fn replaceable(options: &[&str]) -> (Hive, Port, Replaceable) {
    let (setup, port) = begins("./begins", options);
    let program = Replaceable::new(&setup);
    program.upgrade(1);
    (setup.start(), port, program)
}

fn begins(path: &str, options: &[&str]) -> (Setup, Port) {
    let port = Port::reserve();
    let setup = Setup::new(path);
    let record = setup.path("record").display().to_string();
    let mut setup = setup
        .options(["--text", &port.to_string(), "--record", &record])
        .options(options.iter().copied());
    if !options.contains(&"--spawn") {
        setup = setup.options(["--spawn", "exec"]);
    }
    (setup, port)
}

fn echo(options: &[&str]) -> (Hive, Port) {
    let port = Port::reserve();
    let setup = Setup::echo(program!("workhive-under-test"), format!("http://{port}"))
        .options(["--spawn", "exec"])
        .options(options.iter().copied());
    (setup.start(), port)
}

/// Place, pid and version of the process that answers.
fn who(port: &Port) -> (String, u32, String) {
    let answer = TextClient::connect(port.addr()).ask("who");
    let words: Vec<&str> = answer.split(' ').collect();
    let pid = words[1].parse().expect("a pid");
    (words[0].to_owned(), pid, words[2].to_owned())
}

/// Reloads, and waits until the old processes have ended: both serve for a moment.
#[track_caller]
fn reload(hive: &Hive) {
    let before = hive.slots();
    let reload = hive.verb::<&str>("reload", &[]);
    assert_eq!(reload.code, Some(0), "{reload:?}");
    eventually("the old processes end", || {
        let old = before.iter().all(|pid| !proc::is_alive(*pid));
        old.then_some(())
    });
}

fn marks(setup: &Setup) -> Vec<u32> {
    let text = fs::read_to_string(setup.path("record")).unwrap_or_default();
    text.lines()
        .map(|line| line.parse().expect("a pid"))
        .collect()
}

#[test]
fn every_process_begins_like_the_program_and_then_takes_its_place() {
    let (setup, port) = begins(program!("begins"), &["--count", "3"]);
    let hive = setup.start();
    let workers = hive.workers();
    // main() has run in the master and in each worker; in the router until it read the command line.
    let mut begun = workers.clone();
    begun.push(hive.pid());
    assert_eq!(
        marks(hive.setup()).into_iter().collect::<BTreeSet<_>>(),
        begun.iter().copied().collect()
    );
    let read = |pid: u32, name: &str| fs::read(format!("/proc/{pid}/{name}")).expect("a process");
    for pid in &begun {
        let file = fs::read_link(format!("/proc/{pid}/exe")).expect("a program");
        assert_eq!(file, fs::canonicalize(program!("begins")).expect("a file"));
    }
    for (slot, pid) in hive.slots().into_iter().enumerate() {
        let name = String::from_utf8(read(pid, "comm")).expect("a name");
        assert_eq!(name.trim(), format!("begins[{slot}]"));
    }
    let mut seen = BTreeSet::new();
    eventually("all three have answered", || {
        let (place, pid, _) = who(&port);
        let slot: usize = place["begins[".len()..place.len() - 1]
            .parse()
            .expect("a slot");
        assert_eq!(hive.slots()[slot], pid);
        seen.insert(slot);
        (seen.len() == 3).then_some(())
    });
}

#[test]
fn a_killed_process_is_replaced() {
    let (hive, port) = echo(&["--count", "2"]);
    let before = hive.slots();
    proc::signal(before[0], Signal::SIGKILL);
    let after = eventually("the slot is filled again", || {
        let after = hive.slots();
        (after.len() == 2 && after[0] != before[0]).then_some(after)
    });
    assert_eq!(after[1], before[1]);
    for _ in 0..10 {
        assert_eq!(HttpClient::connect(port.addr()).get("/").status, 200);
    }
}

#[test]
fn reloads_replace_all_processes_and_lose_nothing() {
    let habits = [Habit::Fresh, Habit::Hasty, Habit::KeepAlive, Habit::Upload];
    for options in [&["--count", "2"][..], &["--count", "2", "--reuse-port"]] {
        let (hive, port) = echo(options);
        let load = Load::new(port.addr(), 32, &habits);
        load.serve(32);
        for _ in 0..5 {
            let (before, mark) = (hive.slots(), hive.mark());
            hive.signal(Signal::SIGUSR1);
            hive.wait_for_line_after(mark, "reload: replaced 2 processes");
            let after = hive.slots();
            assert!(after.len() == 2 && after.iter().all(|pid| !before.contains(pid)));
            load.serve(32);
        }
        let tally = load.finish();
        assert_eq!(tally.failed(), 0, "{options:?}: {tally:?}");
    }
}

#[test]
fn a_reload_runs_the_program_as_it_is_then() {
    let (hive, port, program) = replaceable(&["--count", "2"]);
    assert_eq!(who(&port).2, "1");
    program.upgrade(2);
    assert_eq!(who(&port).2, "1", "until then the old one serves");
    reload(&hive);
    for _ in 0..10 {
        assert_eq!(who(&port).2, "2");
    }
    // So does a process that takes the place of one that died.
    program.upgrade(3);
    let before = hive.slots();
    proc::signal(before[0], Signal::SIGKILL);
    eventually("the new version answers", || {
        (who(&port).2 == "3").then_some(())
    });
}

#[test]
fn a_release_is_changed_by_a_link() {
    let (setup, port) = begins("./begins", &[]);
    let releases = [setup.path("one"), setup.path("two")];
    for (version, release) in (1..).zip(&releases) {
        fs::create_dir(release).expect("a directory");
        Replaceable {
            path: release.join("begins"),
        }
        .upgrade(version);
    }
    let link = setup.path("begins");
    let point = |release: &Path| {
        let new = link.with_extension("new");
        std::os::unix::fs::symlink(release.join("begins"), &new).expect("a link");
        fs::rename(&new, &link).expect("a directory");
    };
    point(&releases[0]);
    let hive = setup.start();
    assert_eq!(who(&port).2, "1");
    point(&releases[1]);
    reload(&hive);
    assert_eq!(who(&port).2, "2");
}

#[test]
fn a_program_that_is_broken_fails_the_reload_and_the_old_processes_stay() {
    let (mut hive, port, program) = replaceable(&["--count", "2"]);
    hive.expect("the reload failed");
    hive.expect("ended before it was ready");
    let path = program.path.display().to_string();
    let before = hive.slots();
    for (content, mode, why) in [
        (&b"#!/bin/sh\nexit 1\n"[..], 0o755, "exited with code 1"),
        (b"#!/bin/sh\nexit 0\n", 0o644, "Permission denied"),
        (b"no program", 0o755, "Exec format error"),
        (b"#!/no/such/interpreter\n", 0o755, "No such file"),
    ] {
        program.replace(content, mode);
        let line = failed_reload(&hive);
        assert!(line.contains(why) && line.contains(&path), "{line}");
        assert!(before.iter().all(|pid| proc::is_alive(*pid)), "{why}");
        assert_eq!(who(&port).2, "1");
    }
    fs::remove_file(&program.path).expect("a file");
    let line = failed_reload(&hive);
    assert!(
        line.contains("No such file") && line.contains(&path),
        "{line}"
    );
    program.upgrade(2);
    reload(&hive);
    assert_eq!(who(&port).2, "2");
}

/// Asks by a signal: the program itself, which could ask, is broken.
fn failed_reload(hive: &Hive) -> String {
    let mark = hive.mark();
    hive.signal(Signal::SIGUSR1);
    hive.wait_for_line_after(mark, "the reload failed, the old processes stay")
}

#[test]
fn a_push_reaches_a_uid_in_another_process() {
    let routes = Routes::start(program!("routes"), 3, &["--spawn", "exec"]);
    let mut member = routes.user(0, "u1");
    for slot in 0..3 {
        let mut caller = routes.caller(slot);
        let order = json!({ "uid": "u1", "text": format!("from {slot}") });
        assert_eq!(caller.delivered("send_to_uid", order), 1);
        assert_eq!(member.text(), format!("from {slot}"));
    }
    // The router is executed anew too, and the processes tell it who is there.
    let before = routes.hive.router().expect("a router");
    proc::signal(before, Signal::SIGKILL);
    eventually("another router", || {
        routes.hive.router().filter(|pid| *pid != before)
    });
    let mut caller = routes.caller(1);
    eventually("the push arrives", || {
        let order = json!({ "uid": "u1", "text": "again" });
        (caller.delivered("send_to_uid", order) == 1).then_some(())
    });
    assert_eq!(member.text(), "again");
}

#[test]
fn a_process_without_rights_goes_on_with_the_log_that_it_could_not_open() {
    if !nix::unistd::geteuid().is_root() {
        tools::skip("only root can become another user");
        return;
    }
    let (setup, port) = begins("./begins", &["--count", "2", "--user", "nobody"]);
    // The tests may have been built where nobody else can read.
    Replaceable::new(&setup).upgrade(1);
    let (log, record) = (setup.path("log"), setup.path("record"));
    fs::write(&record, "").expect("a file");
    let directory = log.parent().expect("a directory").to_owned();
    for (path, mode) in [(&directory, 0o755), (&record, 0o666)] {
        fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("a file");
    }
    let hive = setup
        .options(["--log-file", &log.display().to_string()])
        .start();
    let mode = fs::metadata(&log).expect("a log").permissions().mode();
    assert_eq!(mode & 0o777, 0o640, "nobody may not open it");
    for pid in hive.workers() {
        let uids = proc::status_field(pid, "Uid:").expect("a process");
        assert_eq!(
            uids.split_ascii_whitespace().collect::<Vec<_>>(),
            ["65534"; 4]
        );
    }
    let mut client = TextClient::connect(port.addr());
    client.send("panic written by nobody");
    eventually("the process has written", || {
        let text = fs::read_to_string(&log).expect("a log");
        let mut lines = text.lines();
        let line = lines.find(|line| line.contains("written by nobody"))?;
        line.contains(" ERROR begins[").then_some(())
    });
}

#[test]
fn an_executed_process_has_only_its_own_descriptors_and_hands_none_on() {
    let (setup, port) = begins(program!("begins"), &["--count", "2"]);
    let log = setup.path("log").display().to_string();
    let hive = setup.options(["--log-file", &log]).start();
    let master: BTreeSet<PathBuf> = proc::descriptors(hive.pid())
        .into_iter()
        .filter(|(number, _)| *number > 2)
        .map(|(_, path)| path)
        .collect();
    for worker in hive.workers() {
        let all = proc::descriptors(worker);
        let named = |text: &str| {
            let own = all.iter().filter(|(number, _)| *number > 2);
            own.filter(|(_, path)| path.to_string_lossy().contains(text))
                .count()
        };
        let shared: Vec<_> = all
            .iter()
            .filter(|(_, path)| path.to_string_lossy().starts_with("socket:"))
            .filter(|(_, path)| master.contains(path))
            .collect();
        assert_eq!(shared.len(), 1, "the listening socket: {all:?}");
        assert_eq!(named("hive.pid"), 0, "{all:?}");
        assert_eq!(named("[pidfd]"), 0, "{all:?}");
        assert_eq!(named("[signalfd]"), 0, "{all:?}");
        assert_eq!(named("workhive-stats"), 0, "mapped, and closed: {all:?}");
        assert_eq!(named(&log), 1, "{all:?}");
        assert!((1..=3).contains(&named("[eventpoll]")), "{all:?}");
    }
    let listed = TextClient::connect(port.addr()).ask("run ls /proc/self/fd");
    // The last one is the directory that ls reads.
    assert_eq!(listed, "0 1 2 3");
}

#[test]
fn a_program_that_a_process_starts_has_no_seat() {
    let (setup, _port) = begins(program!("begins"), &[]);
    let hive = setup.start();
    let environment = fs::read(format!("/proc/{}/environ", hive.workers()[0])).expect("a process");
    let environment = String::from_utf8(environment).expect("text");
    let inherited: Vec<(&str, &str)> = environment
        .split('\0')
        .filter_map(|entry| entry.split_once('='))
        .filter(|(name, _)| ["WORKHIVE_SEAT", "WORKHIVE_PID"].contains(name))
        .collect();
    assert_eq!(inherited.len(), 2, "{environment}");
    // It is a hive of its own.
    let (setup, _other) = begins(program!("begins"), &["-d"]);
    let mut command = setup.verb_command::<&str>("start", &[]);
    command.envs(inherited);
    let started = workhive_tests::Running::new(command).finish();
    assert_eq!(started.code, Some(0), "{started:?}");
    assert_eq!(setup.status()["workers"][0]["state"], "ready");
    assert_eq!(setup.verb::<&str>("stop", &[]).code, Some(0));
}

#[test]
fn a_program_with_two_threads_can_execute_and_cannot_fork() {
    let (setup, port) = begins(program!("begins"), &["--thread", "--count", "2"]);
    let hive = setup.start();
    assert!(proc::threads(hive.pid()) >= 2);
    let before = hive.slots();
    assert!(before.contains(&who(&port).1));
    proc::signal(before[0], Signal::SIGKILL);
    eventually("the slot is filled again", || {
        let after = hive.slots();
        (after.len() == 2 && after[0] != before[0]).then_some(())
    });
    assert_eq!(hive.verb::<&str>("reload", &[]).code, Some(0));

    let (setup, _port) = begins(program!("begins"), &["--thread", "--spawn", "fork"]);
    let ended = setup.verb::<&str>("start", &[]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let reason = "the program has 2 threads, and only a single-threaded process can fork";
    assert!(ended.stderr.contains(reason), "{ended:?}");
    assert!(ended.stderr.contains("--spawn exec"), "{ended:?}");
}

#[test]
fn what_the_configuration_says_holds_for_executed_processes() {
    let (setup, port) = begins(program!("begins"), &[]);
    let config = setup.path("hive.toml");
    let work = setup.path("work");
    fs::create_dir(&work).expect("a directory");
    let text = format!(
        "log-format = \"json\"\n[all]\nchdir = \"{}\"\n",
        work.display()
    );
    fs::write(&config, text).expect("a file");
    let mut hive = setup
        .options(["--config", &config.display().to_string()])
        .start();
    hive.expect("written in JSON");
    let pid = hive.slots()[0];
    let stands = |pid: u32| fs::read_link(format!("/proc/{pid}/cwd")).expect("a process");
    assert_eq!(stands(pid), fs::canonicalize(&work).expect("a directory"));
    TextClient::connect(port.addr()).send("panic written in JSON");
    let line = hive.wait_for_line("written in JSON");
    let line: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(line["place"], "begins[0]");
    // Each process reads the options of the program from it: it must be whole.
    hive.expect("the reload failed");
    hive.expect("ended before it was ready");
    let whole = fs::read(&config).expect("a file");
    fs::write(&config, "half a line").expect("a file");
    hive.signal(Signal::SIGUSR1);
    hive.wait_for_line("the reload failed, the old processes stay");
    assert_eq!(hive.workers(), [pid]);
    fs::write(&config, whole).expect("a file");
    reload(&hive);
}

#[test]
fn a_program_that_has_lost_the_group_says_so() {
    let (mut hive, _port, program) = replaceable(&[]);
    hive.expect("the reload failed");
    hive.expect("ended before it was ready");
    hive.expect("cannot start");
    let other = fs::read(program!("groups")).expect("a program");
    program.replace(&other, 0o755);
    hive.signal(Signal::SIGUSR1);
    let line = hive.wait_for_line("the reload failed, the old processes stay");
    // It does not even understand the command line, and the master has it from itself.
    assert!(line.contains("unexpected argument '--record'"), "{line}");
}
