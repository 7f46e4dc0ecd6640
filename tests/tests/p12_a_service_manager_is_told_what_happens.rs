//! What a service manager is told, as `sd_notify(3)` has it, and the unit file that comes along.

use std::io::ErrorKind;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::time::{ClockId, clock_gettime};
use workhive_tests::text::TextClient;
use workhive_tests::{DEADLINE, Port, Setup, eventually, proc, program, tools};

/// The manager's end.
struct Manager {
    socket: UnixDatagram,
}

impl Manager {
    fn new(socket: UnixDatagram) -> Self {
        socket.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        Self { socket }
    }

    fn at(path: &Path) -> Self {
        Self::new(UnixDatagram::bind(path).expect("a socket"))
    }

    /// The next notice; `None` if none comes in time.
    fn next(&self) -> Option<String> {
        let mut buffer = [0; 4096];
        match self.socket.recv(&mut buffer) {
            Ok(length) => Some(String::from_utf8_lossy(&buffer[..length]).into_owned()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) => panic!("{error}"),
        }
    }

    /// All notices until one has this line, which is the last.
    #[track_caller]
    fn until(&self, line: &str) -> Vec<String> {
        let mut all = Vec::new();
        let end = Instant::now() + DEADLINE;
        while Instant::now() < end {
            let Some(notice) = self.next() else { break };
            let found = notice.lines().any(|found| found == line);
            all.push(notice);
            if found {
                return all;
            }
        }
        panic!("no {line:?}: {all:#?}");
    }

    /// Notices that are there already.
    fn rest(&self) -> Vec<String> {
        self.socket.set_nonblocking(true).expect("a flag");
        let rest = std::iter::from_fn(|| self.next()).collect();
        self.socket.set_nonblocking(false).expect("a flag");
        rest
    }
}

/// The value of a variable in a notice.
fn value<'a>(notice: &'a str, name: &str) -> &'a str {
    let mut lines = notice.lines();
    lines
        .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
        .unwrap_or_else(|| panic!("no {name}: {notice}"))
}

fn monotonic_usec() -> u128 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("a clock");
    Duration::from(now).as_micros()
}

/// A program with these variables, and with `WATCHDOG_PID` its own unless they say otherwise.
fn program_with(name: &str, variables: &[String]) -> Setup {
    let run = "export WATCHDOG_PID=$$ && exec env \"$@\"";
    Setup::new("/bin/sh")
        .words(["-c", run, "sh"])
        .words(variables.iter().cloned())
        .words([name])
}

fn socket_in(directory: &tempfile::TempDir) -> (Manager, PathBuf) {
    let path = directory.path().join("notify");
    (Manager::at(&path), path)
}

#[test]
fn a_manager_hears_of_ready_reload_and_stop_in_this_order() {
    let directory = tempfile::tempdir().expect("a directory");
    let (by_path, path) = socket_in(&directory);
    let name = format!("workhive-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).expect("a name");
    let by_name = Manager::new(UnixDatagram::bind_addr(&address).expect("a socket"));
    for (manager, address) in [
        (by_path, path.display().to_string()),
        (by_name, format!("@{name}")),
    ] {
        let port = Port::reserve().to_string();
        let mut hive = program_with(program!("boots"), &[format!("NOTIFY_SOCKET={address}")])
            .options(["--text", &port, "--count", "2"])
            .start();
        let ready = manager.until("READY=1").pop().expect("a notice");
        assert_eq!(value(&ready, "MAINPID"), hive.pid().to_string());
        assert_eq!(value(&ready, "STATUS"), "2 of 2 processes ready");

        let before = monotonic_usec();
        assert_eq!(hive.verb::<&str>("reload", &[]).code, Some(0));
        let reloading = manager.until("RELOADING=1").pop().expect("a notice");
        let usec = value(&reloading, "MONOTONIC_USEC").parse::<u128>();
        assert!((before..=monotonic_usec()).contains(&usec.expect("a number")));
        let ready = manager.until("READY=1").pop().expect("a notice");
        assert!(
            value(&ready, "STATUS").contains("replaced 2 processes"),
            "{ready}"
        );

        proc::signal(hive.slots()[0], Signal::SIGKILL);
        manager.until("STATUS=1 of 2 processes ready");
        manager.until("STATUS=2 of 2 processes ready");

        hive.signal(Signal::SIGTERM);
        let stopping = manager.until("STOPPING=1").pop().expect("a notice");
        // The drain of 10 s, and what comes after it.
        let usec = value(&stopping, "EXTEND_TIMEOUT_USEC").parse::<u64>();
        assert!((10_000_000..60_000_000).contains(&usec.expect("a number")));
        assert!(hive.wait().success());
    }
}

#[test]
fn a_reload_that_fails_is_over_for_the_manager_too() {
    let directory = tempfile::tempdir().expect("a directory");
    let (manager, path) = socket_in(&directory);
    let fail = directory.path().join("fail");
    let port = Port::reserve().to_string();
    let variable = format!("NOTIFY_SOCKET={}", path.display());
    let mut hive = program_with(program!("boots"), &[variable])
        .options(["--text", &port, "--fail", fail.to_str().expect("a path")])
        .start();
    manager.until("READY=1");
    std::fs::write(&fail, "error").expect("a file");
    hive.expect("database is on fire");
    hive.expect("before it was ready");
    hive.signal(Signal::SIGUSR1);
    manager.until("RELOADING=1");
    let ready = manager.until("READY=1").pop().expect("a notice");
    let status = value(&ready, "STATUS");
    assert!(
        status.contains("failed") && status.contains("on fire"),
        "{status}"
    );
}

#[test]
fn what_a_worker_starts_cannot_speak_for_the_hive() {
    let directory = tempfile::tempdir().expect("a directory");
    let (manager, path) = socket_in(&directory);
    let variable = format!("NOTIFY_SOCKET={}", path.display());
    for spawn in ["fork", "exec"] {
        let port = Port::reserve();
        let variables = [variable.clone(), "WATCHDOG_USEC=60000000".to_owned()];
        let hive = program_with(program!("obeys"), &variables)
            .options(["--text", &port.to_string(), "--spawn", spawn])
            .start();
        manager.until("READY=1");
        let environment = TextClient::connect(port.addr()).ask("run env");
        assert!(environment.contains("PATH="), "{environment}");
        for name in [
            "NOTIFY_SOCKET",
            "WATCHDOG_",
            "WORKHIVE_SEAT",
            "WORKHIVE_PID",
        ] {
            assert!(!environment.contains(name), "{environment}");
        }
        drop(hive);
    }
}

#[test]
fn signs_of_life_come_from_the_loop_and_end_when_it_is_stopped() {
    let directory = tempfile::tempdir().expect("a directory");
    let (manager, path) = socket_in(&directory);
    let port = Port::reserve().to_string();
    let variables = [
        format!("NOTIFY_SOCKET={}", path.display()),
        "WATCHDOG_USEC=40000".to_owned(),
    ];
    let hive = program_with(program!("obeys"), &variables)
        .options(["--text", &port])
        .start();
    let begun = Instant::now();
    for _ in 0..10 {
        manager.until("WATCHDOG=1");
    }
    // Two in the time that the manager waits; the first of the ten may have waited for us.
    assert!(begun.elapsed() >= Duration::from_millis(20 * 8));

    hive.signal(Signal::SIGSTOP);
    eventually("the master is stopped", || {
        let state = proc::status_field(hive.pid(), "State:")?;
        state.starts_with('T').then_some(())
    });
    manager.rest();
    let silence = Some(Duration::from_millis(400));
    manager.socket.set_read_timeout(silence).expect("a timeout");
    assert_eq!(manager.next(), None);
    manager
        .socket
        .set_read_timeout(Some(DEADLINE))
        .expect("a timeout");
    hive.signal(Signal::SIGCONT);
    manager.until("WATCHDOG=1");
}

#[test]
fn after_an_upgrade_the_manager_hears_from_the_new_master() {
    let directory = tempfile::tempdir().expect("a directory");
    let (manager, path) = socket_in(&directory);
    let port = Port::reserve().to_string();
    let variables = [
        format!("NOTIFY_SOCKET={}", path.display()),
        "WATCHDOG_USEC=40000".to_owned(),
    ];
    let mut hive = program_with(program!("obeys"), &variables)
        .options(["--text", &port])
        .start();
    manager.until("READY=1");
    assert_eq!(hive.verb::<&str>("upgrade", &[]).code, Some(0));
    let new = hive.setup().daemon();
    assert_ne!(new, hive.pid());
    let mut all = manager.until(&format!("MAINPID={new}"));
    eventually("the old master is gone", || {
        (!proc::is_alive(hive.pid())).then_some(())
    });
    // Said once more when nobody else can be meant; from then on there is only one who speaks.
    all.extend(manager.rest());
    all.extend(manager.until("WATCHDOG=1"));
    all.extend(manager.until("WATCHDOG=1"));
    let ready = all.iter().rfind(|notice| notice.contains("READY=1"));
    assert_eq!(value(ready.expect("a notice"), "MAINPID"), new.to_string());
    assert!(
        !all.iter().any(|notice| notice.contains("STOPPING")),
        "{all:#?}"
    );
    assert_eq!(hive.verb::<&str>("stop", &[]).code, Some(0));
    manager.until("STOPPING=1");
    assert!(hive.wait().success());
}

#[test]
fn a_watchdog_that_waits_for_somebody_else_gets_no_sign() {
    let directory = tempfile::tempdir().expect("a directory");
    let (manager, path) = socket_in(&directory);
    let port = Port::reserve().to_string();
    let variables = [
        format!("NOTIFY_SOCKET={}", path.display()),
        "WATCHDOG_USEC=2000".to_owned(),
        "WATCHDOG_PID=1".to_owned(),
    ];
    let mut hive = program_with(program!("obeys"), &variables)
        .options(["--text", &port])
        .start();
    for _ in 0..3 {
        assert_eq!(hive.verb::<&str>("reload", &[]).code, Some(0));
    }
    hive.signal(Signal::SIGTERM);
    assert!(hive.wait().success());
    let all = manager.rest();
    assert!(
        all.iter().any(|notice| notice.contains("STOPPING=1")),
        "{all:?}"
    );
    assert!(
        !all.iter().any(|notice| notice.contains("WATCHDOG")),
        "{all:?}"
    );
}

#[test]
fn a_manager_that_does_not_read_holds_nobody_up_and_hears_later_what_matters() {
    let directory = tempfile::tempdir().expect("a directory");
    let (manager, path) = socket_in(&directory);
    let filler = UnixDatagram::unbound().expect("a socket");
    filler.set_nonblocking(true).expect("a flag");
    while filler.send_to(b"STATUS=filler", &path).is_ok() {}
    let port = Port::reserve();
    let variable = format!("NOTIFY_SOCKET={}", path.display());
    let mut hive = program_with(program!("obeys"), &[variable])
        .options(["--text", &port.to_string()])
        .start();
    assert_eq!(hive.verb::<&str>("reload", &[]).code, Some(0));
    let answer = TextClient::connect(port.addr()).ask("hello");
    assert!(answer.starts_with("0 "), "{answer}");
    // In the order in which it came about.
    manager.until("READY=1");
    manager.until("RELOADING=1");
    manager.until("READY=1");
    hive.signal(Signal::SIGTERM);
    manager.until("STOPPING=1");
    assert!(hive.wait().success());
}

#[test]
fn the_unit_files_are_such_as_systemd_takes() {
    let Some(analyze) = tools::find("systemd-analyze") else {
        return;
    };
    let directory = tempfile::tempdir().expect("a directory");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../master/systemd");
    let mut command = std::process::Command::new(analyze);
    command.arg("verify");
    for name in ["workhive.service", "workhive.socket"] {
        let text = std::fs::read_to_string(source.join(name)).expect("a unit");
        // What it starts has to be there.
        let text = text.replace("/usr/local/bin/workhive", program!("workhive-under-test"));
        let path = directory.path().join(name);
        std::fs::write(&path, text).expect("a file");
        command.arg(path);
    }
    let output = command.output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}
