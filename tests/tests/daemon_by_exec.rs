//! A program with threads becomes a daemon too: it is started anew, and its starter hears what has become of it.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;

use workhive_tests::obeys::Who;
use workhive_tests::text::TextClient;
use workhive_tests::{Port, Setup, eventually, proc, program};

/// A program with threads that executes its processes.
fn threaded(setup: Setup, port: &Port) -> Setup {
    let record = setup.path("children").display().to_string();
    fs::write(&record, "").expect("a file");
    setup
        .options(["--text", &port.to_string(), "--children", &record])
        .options(["--spawn", "exec", "--count", "2", "--drain", "1"])
}

/// The number of a session, and of the terminal of a process: `proc_pid_stat(5)`, fields 6 and 7.
fn session_and_terminal(pid: u32) -> (u32, u32) {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
    let fields = stat.rsplit_once(") ").expect("a name").1;
    let mut fields = fields.split_ascii_whitespace().skip(3);
    let mut next = || {
        let field = fields.next().expect("a field");
        field.parse().expect("a number")
    };
    (next(), next())
}

#[test]
fn a_program_with_threads_is_ready_when_its_starter_returns() {
    let port = Port::reserve();
    let setup = threaded(Setup::new(program!("hosts")), &port);
    let started = setup.verb("start", &["-d"]);
    assert_eq!(started.code, Some(0), "{started:?}");
    assert!(started.stderr.is_empty(), "{started:?}");
    let daemon = setup.daemon();
    let said = format!("started, pid {daemon}, log ");
    assert!(started.stdout.starts_with(&said), "{started:?}");
    Who::serves(&mut TextClient::connect(port.addr()));
    assert!(
        proc::threads(daemon) >= 4,
        "it has the threads that it makes"
    );
    // It leads no session and has no terminal, nobody hears it, and the word was all that it had to say to its starter.
    let (session, terminal) = session_and_terminal(daemon);
    assert!(session != daemon && !proc::is_alive(session));
    assert_eq!(terminal, 0);
    let all = proc::descriptors(daemon);
    let leads = |number: i32| {
        let found = all.iter().find(|(of, _)| *of == number);
        found.map(|(_, path)| path.clone())
    };
    assert_eq!(leads(0), Some(PathBuf::from("/dev/null")));
    for number in [1, 2] {
        let log = leads(number).expect("a descriptor");
        assert!(log.to_string_lossy().ends_with(".log"), "{log:?}");
    }
    let reloaded = setup.verb::<&str>("reload", &[]);
    assert_eq!(reloaded.code, Some(0), "{reloaded:?}");
    let again = setup.verb("start", &["-d"]);
    let running = format!("already running (pid {daemon})");
    assert!(again.stderr.contains(&running), "{again:?}");
    let restarted = setup.verb("restart", &["-d", "-g"]);
    assert_eq!(restarted.code, Some(0), "{restarted:?}");
    assert!(!proc::is_alive(daemon) && setup.daemon() != daemon);
    Who::serves(&mut TextClient::connect(port.addr()));
    stop(&setup);
}

fn stop(setup: &Setup) {
    let stopped = setup.verb::<&str>("stop", &[]);
    assert_eq!(stopped.code, Some(0), "{stopped:?}");
    // The host's own children are not waited for.
    let _ = fs::remove_file(setup.path("children"));
    eventually("the end of all processes", || {
        setup.family().is_empty().then_some(())
    });
}

#[test]
fn why_there_is_no_daemon_is_told_by_its_starter() {
    let port = Port::reserve();
    let taken = TcpListener::bind(port.addr()).expect("a free port");
    let setup = threaded(Setup::new(program!("hosts")), &port);
    let ended = setup.verb("start", &["-d"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("the address is in use"), "{ended:?}");
    drop(taken);
    let _ = fs::remove_file(setup.path("children"));
    setup.assert_failed(&ended, "cannot listen");
}

#[test]
fn a_program_that_is_gone_by_then_is_named() {
    let original = Setup::new(program!("hosted"));
    let program = original.path("vanishes");
    // By a process of its own: a child that another test forks meanwhile must not keep it from being executed.
    let copied = Command::new("cp")
        .arg(program!("hosted"))
        .arg(&program)
        .status();
    assert!(copied.expect("cp").success());
    let program = program.display().to_string();
    let setup = Setup::new(&program);
    let record = setup.path("record");
    let setup = setup
        .words([format!("{} nested vanishes", record.display())])
        .options(["--spawn", "exec"]);
    let ended = setup.verb("start", &["-d"]);
    let reason = format!("cannot execute {program}");
    setup.assert_failed(&ended, &reason);
    assert!(ended.stderr.contains("No such file"), "{ended:?}");
}

#[test]
fn a_master_in_a_loop_of_its_host_becomes_a_daemon_too() {
    let port = Port::reserve();
    let setup = Setup::new(program!("hosted"));
    let record = setup.path("record");
    let setup = setup
        .words([format!("{} nested", record.display())])
        .options(["--text", &port.to_string(), "--spawn", "exec"]);
    let started = setup.verb("start", &["-d"]);
    assert_eq!(started.code, Some(0), "{started:?}");
    let daemon = setup.daemon();
    Who::serves(&mut TextClient::connect(port.addr()));
    assert_eq!(setup.verb::<&str>("stop", &[]).code, Some(0));
    eventually("the host's last word", || {
        let text = fs::read_to_string(&record).expect("a record");
        text.contains(&format!("{daemon} ticks true\n"))
            .then_some(())
    });
}

#[test]
fn the_sockets_of_a_service_manager_go_along() {
    let port = Port::reserve();
    let listener = TcpListener::bind(port.addr()).expect("a free port");
    let setup = Setup::new("/bin/sh")
        .words(["-c", "export LISTEN_PID=$$ && exec env \"$@\"", "sh"])
        .words(["LISTEN_FDS=1", program!("hosts")]);
    let setup = threaded(setup, &port).hand([listener.try_clone().expect("a copy")]);
    let started = setup.verb("start", &["-d"]);
    assert_eq!(started.code, Some(0), "{started:?}");
    Who::serves(&mut TextClient::connect(port.addr()));
    stop(&setup);
    // It is the service manager's, and still listens.
    TextClient::connect(port.addr());
}
