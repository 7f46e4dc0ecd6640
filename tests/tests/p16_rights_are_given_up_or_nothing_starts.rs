//! Rights that are to be given up are given up by every process; where that fails, none serves.

use workhive_tests::http::HttpClient;
use workhive_tests::text::connect;
use workhive_tests::{Hive, Port, Setup, proc, program, tools};

fn echo(port: &Port) -> Setup {
    Setup::echo(program!("workhive-under-test"), format!("http://{port}"))
}

/// True if we are root; else says that the test is skipped.
fn is_root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        tools::skip("only root can become somebody else");
    }
    root
}

/// All children run as nobody, in its group and in no other, without a capability.
#[track_caller]
fn assert_are_nobody(hive: &Hive) {
    let nobody = nix::unistd::User::from_name("nobody").expect("a user table");
    let nobody = nobody.expect("nobody");
    let (uid, gid) = (nobody.uid.to_string(), nobody.gid.to_string());
    let mut processes = hive.workers();
    processes.extend(hive.router());
    for pid in processes {
        let ids = |field| {
            let line = proc::status_field(pid, field).expect("a process");
            line.split_ascii_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(ids("Uid:"), vec![uid.clone(); 4]);
        assert_eq!(ids("Gid:"), vec![gid.clone(); 4]);
        // Those of root are gone.
        assert!(ids("Groups:").iter().all(|group| *group == gid));
        for set in ["CapPrm:", "CapEff:", "CapAmb:"] {
            let set = ids(set);
            assert!(set[0].bytes().all(|digit| digit == b'0'), "{pid}: {set:?}");
        }
    }
}

#[test]
fn processes_become_the_user_that_they_are_told_to_also_those_that_come_later() {
    if !is_root() {
        return;
    }
    let port = Port::reserve();
    let hive = echo(&port)
        .options(["--user", "nobody", "--count", "2"])
        .start();
    assert_are_nobody(&hive);
    assert_eq!(
        proc::status_field(hive.pid(), "Uid:").expect("the master"),
        "0\t0\t0\t0"
    );
    assert_eq!(HttpClient::connect(port.addr()).get("/").status, 200);
    // They also end, and are replaced, as that user.
    let mark = hive.mark();
    assert_eq!(hive.verb::<&str>("reload", &[]).code, Some(0));
    proc::signal(hive.slots()[0], nix::sys::signal::Signal::SIGKILL);
    hive.wait_for_line_after(mark, "was killed by SIGKILL");
    hive.wait_for_line_after(mark, "slot=0 ready");
    let scaled = hive.verb("scale", &["3"]);
    assert_eq!(scaled.code, Some(0), "{scaled:?}");
    assert_are_nobody(&hive);
    assert!(connect(port.addr()).is_ok());
}

#[test]
fn a_user_or_group_that_does_not_exist_fails_the_start() {
    let port = Port::reserve();
    for option in ["--user", "--group"] {
        for daemon in [&["-d"][..], &[]] {
            let setup = echo(&port);
            let ended = setup.verb("start", &[&[option, "no-such-name"], daemon].concat());
            setup.assert_failed(&ended, "no-such-name");
        }
    }
}

#[test]
fn without_the_right_to_become_the_user_the_start_fails_and_nobody_serves() {
    if !is_root() {
        return;
    }
    let Some(setpriv) = tools::find("setpriv") else {
        return;
    };
    // Root, but without the right to change users; then without the right to change groups.
    for (lost, reason) in [("-setuid", "cannot take the user"), ("-setgid", "groups")] {
        let port = Port::reserve();
        let target = format!("http://{port}");
        let setup = Setup::new(setpriv.to_str().expect("a readable path"))
            .words(["--bounding-set", lost, "--"])
            .words([program!("workhive-under-test"), "echo", &target])
            .options(["--user", "nobody", "--count", "2"]);
        let ended = setup.verb::<&str>("start", &[]);
        setup.assert_failed(&ended, reason);
        assert!(connect(port.addr()).is_err());
    }
}

#[test]
fn who_is_not_root_cannot_become_somebody_else_and_is_told_so() {
    if !is_root() {
        return;
    }
    let port = Port::reserve();
    let setup = echo(&port).run_as("nobody");
    for options in [
        ["--user", "root"],
        ["--user", "daemon"],
        ["--group", "daemon"],
    ] {
        let ended = setup.verb("start", &options);
        setup.assert_failed(&ended, "only root can do");
    }
    // What it is already it may be told to be.
    let hive = setup.options(["--user", "nobody"]).start();
    assert_are_nobody(&hive);
    assert_eq!(HttpClient::connect(port.addr()).get("/").status, 200);
}
