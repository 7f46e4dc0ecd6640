//! The program as it is now takes over from the one that runs, with all that is open; or nothing changes.

use std::fs;
use std::path::Path;

use nix::sys::signal::Signal;
use workhive_tests::books::{Fate, Sender};
use workhive_tests::http::HttpClient;
use workhive_tests::load::{Habit, Load};
use workhive_tests::program_file::ProgramFile;
use workhive_tests::push::PushSetup;
use workhive_tests::routes::Routes;
use workhive_tests::text::TextClient;
use workhive_tests::users::Users;
use workhive_tests::{Hive, Port, Setup, eventually, proc, program};

/// An echo server whose program file is the test's own.
fn echo(options: &[&str]) -> (Hive, Port, ProgramFile) {
    let port = Port::reserve();
    let program = ProgramFile::new(program!("workhive-under-test"));
    let setup = Setup::echo(program.as_str(), format!("http://{port}"));
    let setup = setup.asked_by(program!("workhive-under-test"));
    (
        setup.options(options.iter().copied()).start(),
        port,
        program,
    )
}

fn upgraded_three_times_under_load(options: &[&str]) {
    let (mut hive, port, _program) = echo(options);
    let habits = [Habit::Fresh, Habit::Hasty, Habit::KeepAlive, Habit::Upload];
    let load = Load::new(port.addr(), 32, &habits);
    load.serve(64);
    for _ in 0..3 {
        let (old, workers) = (hive.pid(), hive.slots());
        let done = hive.verb("upgrade", &[] as &[&str]);
        assert_eq!(done.code, Some(0), "{done:?}");
        assert!(done.stdout.contains("has taken over"), "{done:?}");
        let heir = hive.meet_heir();
        assert_ne!(heir, old);
        assert_eq!(hive.status()["pid"], heir);
        assert!(hive.slots().iter().all(|pid| !workers.contains(pid)));
        load.serve(64);
        eventually("the end of the old processes", || {
            workers
                .iter()
                .all(|pid| !proc::is_alive(*pid))
                .then_some(())
        });
    }
    let tally = load.finish();
    assert_eq!(tally.failed(), 0, "{options:?}: {tally:?}");
    hive.stop();
}

#[test]
fn three_upgrades_under_32_clients_lose_nothing_with_inherited_listeners() {
    upgraded_three_times_under_load(&["--count", "3", "--drain", "3"]);
}

#[test]
fn three_upgrades_under_32_clients_lose_nothing_with_reuse_port() {
    upgraded_three_times_under_load(&["--count", "3", "--drain", "3", "--reuse-port"]);
}

#[test]
fn three_upgrades_under_32_clients_lose_nothing_in_exec_mode() {
    upgraded_three_times_under_load(&["--count", "3", "--drain", "3", "--spawn", "exec"]);
}

#[test]
fn sigusr2_does_the_same_for_one_process_alone() {
    let (mut hive, port, _program) = echo(&["--drain", "2"]);
    let old = hive.pid();
    hive.signal(Signal::SIGUSR2);
    let heir = hive.meet_heir();
    assert_ne!(heir, old);
    assert_eq!(HttpClient::connect(port.addr()).get("/").status, 200);
    hive.wait_for_line(&format!("took over from pid {old}"));
    hive.stop();
    assert!(!hive.setup().pid_file().exists());
}

/// The upgrade fails for this reason, and everything is as before.
fn fails(content: &str, options: &[&str], reason: &str) {
    let (mut hive, port, program) = echo(options);
    let before = (hive.setup().daemon(), hive.slots());
    program.replace(content);
    let failed = hive.verb("upgrade", &[] as &[&str]);
    assert_eq!(failed.code, Some(1), "{failed:?}");
    assert!(
        failed.stderr.contains("everything stays as it was") && failed.stderr.contains(reason),
        "{failed:?}"
    );
    hive.expect("the upgrade failed");
    hive.expect(reason);
    assert_eq!(HttpClient::connect(port.addr()).get("/").status, 200);
    program.restore();
    assert_eq!((hive.setup().daemon(), hive.slots()), before);
    // And it works when the program does.
    let done = hive.verb("upgrade", &[] as &[&str]);
    assert_eq!(done.code, Some(0), "{done:?}");
    hive.meet_heir();
    assert_eq!(HttpClient::connect(port.addr()).get("/").status, 200);
    hive.stop();
}

#[test]
fn a_new_program_that_ends_at_once_changes_nothing() {
    fails("#!/bin/sh\nexit 7\n", &["--count", "2"], "code 7");
}

#[test]
fn a_new_program_that_is_no_program_changes_nothing() {
    fails("no program", &["--count", "2"], "cannot execute");
}

#[test]
fn a_new_program_that_is_killed_changes_nothing() {
    fails("#!/bin/sh\nkill -9 $$\n", &["--count", "2"], "SIGKILL");
}

#[test]
fn a_new_program_that_says_why_it_cannot_start_is_quoted() {
    let script = format!(
        "#!/bin/sh\nexec {} \"$@\" --user no-such-user\n",
        program!("workhive-under-test")
    );
    fails(&script, &["--count", "2"], "no-such-user");
}

#[test]
fn a_new_program_that_never_becomes_ready_is_ended() {
    fails(
        "#!/bin/sh\nexec sleep 1000\n",
        &["--count", "2", "--boot-timeout", "0.5"],
        "not ready within",
    );
}

#[test]
fn the_new_master_takes_over_when_the_old_one_is_killed_midway() {
    let (mut hive, port, program) = echo(&["--count", "2", "--drain", "1"]);
    let old = hive.pid();
    let go = program.wait();
    hive.signal(Signal::SIGUSR2);
    hive.wait_for_line("upgrade: started");
    hive.signal(Signal::SIGKILL);
    fs::write(&go, "go\n").expect("somebody waits");
    let heir = hive.meet_heir();
    hive.wait_for_line(&format!("the old master, pid {old}, has died"));
    hive.wait_for_line(&format!("master {heir} ready: 2 processes"));
    assert_eq!(HttpClient::connect(port.addr()).get("/").status, 200);
    assert_eq!(hive.verb("status", &[] as &[&str]).code, Some(0));
    assert!(proc::is_alive(heir));
    hive.stop();
    assert!(!hive.setup().pid_file().exists());
}

#[test]
fn a_stop_in_the_middle_ends_both() {
    let (mut hive, _port, program) = echo(&["--count", "2"]);
    program.wait();
    hive.signal(Signal::SIGUSR2);
    hive.wait_for_line("upgrade: started");
    assert!(hive.stop().success());
    hive.expect("the upgrade failed");
}

#[test]
fn whoever_asks_for_an_upgrade_during_one_is_told_to_ask_again() {
    let (mut hive, port, program) = echo(&["--count", "2", "--drain", "1"]);
    let go = program.wait();
    let first = hive.verb_later("upgrade", &[] as &[&str]);
    hive.wait_for_line("upgrade: started");
    let mark = hive.mark();
    let second = hive.verb_later("upgrade", &[] as &[&str]);
    hive.wait_for_line_after(mark, "upgrade: wanted");
    fs::write(&go, "go\n").expect("somebody waits");
    let first = first.finish();
    assert_eq!(first.code, Some(0), "{first:?}");
    // Whoever asked the old master for one more is told whom to ask now.
    let second = second.finish();
    assert_eq!(second.code, Some(1), "{second:?}");
    assert!(second.stderr.contains("ask again"), "{second:?}");
    hive.meet_heir();
    assert_eq!(HttpClient::connect(port.addr()).get("/").status, 200);
    hive.stop();
}

#[test]
fn a_unix_socket_goes_from_master_to_master_and_its_file_with_the_last_one() {
    let setup = Setup::new(program!("workhive-under-test"));
    let socket = setup.path("echo.sock");
    let setup = setup.words([
        "echo".to_owned(),
        format!("text://unix:{}", socket.display()),
    ]);
    let mut hive = setup.options(["--count", "2", "--drain", "1"]).start();
    let inode = |path: &Path| {
        use std::os::unix::fs::MetadataExt;
        fs::symlink_metadata(path).expect("a socket").ino()
    };
    let before = inode(&socket);
    assert_eq!(hive.verb("upgrade", &[] as &[&str]).code, Some(0));
    hive.meet_heir();
    assert_eq!(inode(&socket), before);
    std::os::unix::net::UnixStream::connect(&socket).expect("somebody listens");
    hive.stop();
    assert!(!socket.exists());
}

#[test]
fn while_the_program_is_upgraded_every_push_is_answered_truthfully() {
    let mut hive = Routes::start(program!("routes"), 4, &["--drain", "1"]);
    let mut users = Users::connect(&hive, 120);
    let senders: Vec<_> = (0..3)
        .map(|sender| {
            let path = hive.hive.path("hive.push.sock");
            Sender::returning(path, sender, 20, move |n| (n * 7 + sender * 31) % 120)
        })
        .collect();
    let more = users.received() + 2000;
    users.until(|books| books.count() > more);
    let old = hive.hive.slots();
    hive.hive.signal(Signal::SIGUSR2);
    users.until(|_| !old.iter().any(|pid| proc::is_alive(*pid)));
    hive.hive.meet_heir();
    while !users.are_bound() {
        let more = users.received() + 1;
        users.until(|books| books.count() >= more);
    }
    let (accounts, met) = users.settle(&hive, senders);
    let checked = users.check_gaps(&accounts);
    println!("{met:?}, {checked} messages without a gap");
    // Only what was under way when the router of the old master ended is in doubt: 20 of each of the 3 senders, and
    // what a process that ends has not answered.
    let unknown = met.get(&Fate::Unknown(0)).copied().unwrap_or(0);
    assert!(unknown < 120, "{met:?}");
    for fate in met.keys() {
        assert!(
            matches!(fate, Fate::Delivered(_) | Fate::Offline | Fate::Unknown(0)),
            "{met:?}"
        );
    }
    assert!(met[&Fate::Delivered(1)] > 2000, "{met:?}");
}

#[test]
fn ports_that_processes_have_opened_by_themselves_go_along() {
    let mut push = PushSetup::new(program!("workhive-under-test"), 3)
        .options(&["--drain", "1"])
        .start();
    for _ in 0..2 {
        assert_eq!(push.hive.verb("upgrade", &[] as &[&str]).code, Some(0));
        push.hive.meet_heir();
        let mut client = push.client("uid1");
        push.wait_for("uid1", 1);
        let mut pusher = push.pusher();
        pusher.send(r#"{"uid":"uid1","percent":"88%"}"#);
        assert_eq!(pusher.line(), "ok");
        assert_eq!(client.text(), r#"{"uid":"uid1","percent":"88%"}"#);
        client.close();
    }
}

#[test]
fn a_new_program_that_does_not_understand_its_command_line_is_quoted() {
    let script = format!(
        "#!/bin/sh\nexec {} \"$@\" --no-such-option\n",
        program!("workhive-under-test")
    );
    fails(&script, &["--count", "2"], "--no-such-option");
}

#[test]
fn a_new_program_that_would_have_another_pid_file_changes_nothing() {
    // What comes first on the command line is the program's business: here it leaves the pid file out.
    let script = format!(
        "#!/bin/sh\nexec {} echo \"$2\" start --count 2\n",
        program!("workhive-under-test")
    );
    fails(&script, &["--count", "2"], "the pid file would be");
}

#[test]
fn a_hive_that_was_scaled_stays_so() {
    let (mut hive, port, _program) = echo(&["--count", "2", "--drain", "1", "--reuse-port"]);
    for number in ["4", "3"] {
        assert_eq!(hive.verb("scale", &[number]).code, Some(0));
    }
    assert_eq!(hive.verb("upgrade", &[] as &[&str]).code, Some(0));
    hive.meet_heir();
    assert_eq!(hive.slots().len(), 3);
    // The socket of the fourth is served by the others.
    for _ in 0..64 {
        assert_eq!(HttpClient::connect(port.addr()).get("/").status, 200);
    }
    hive.stop();
}

#[test]
fn a_stop_after_an_upgrade_ends_what_is_left_of_the_old_master_too() {
    let setup = Setup::new(program!("workhive-under-test"));
    let port = Port::reserve();
    let setup = setup.words(["echo".to_owned(), format!("text://{port}")]);
    let hive = setup.options(["--count", "2", "--drain", "300"]).start();
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let mut client = TextClient::connect(port.addr());
            assert_eq!(client.ask("hello"), "hello");
            client
        })
        .collect();
    let old = hive.pid();
    assert_eq!(hive.verb("upgrade", &[] as &[&str]).code, Some(0));
    let status = hive.status();
    assert_eq!(status["predecessor"], old, "{status:#}");
    assert_eq!(hive.verb("stop", &[] as &[&str]).code, Some(0));
    eventually("the end of both", || {
        hive.setup().family().is_empty().then_some(())
    });
    drop(clients);
}
