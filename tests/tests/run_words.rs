//! `workhive run`: what programs say about themselves, what they print, and how they are told to go.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use workhive_tests::foreign::{does, records, run, source};
use workhive_tests::{eventually, proc, program, tools};

const WORKHIVE: &str = program!("workhive-under-test");

#[test]
fn a_program_that_says_late_that_it_is_ready_is_waited_for() {
    let setup = run(WORKHIVE, &["--notify", "--name", "slow"]);
    let go = setup.path("go");
    let wait = format!("wait_for={}", go.display());
    let Some(setup) = does(setup, &["say=here", &wait, "notify=READY=1"]) else {
        return;
    };
    let hive = setup.launch();
    hive.wait_for_line(" here");
    // Long past the time after which one that says nothing would count as ready.
    std::thread::sleep(Duration::from_millis(1500));
    let status = hive.status();
    assert_eq!(status["workers"][0]["state"], "starting", "{status}");
    fs::write(&go, "").expect("a file");
    hive.wait_for_line("Press Ctrl+C to stop.");
    assert_eq!(hive.slots().len(), 1);
}

#[test]
fn a_program_that_has_once_said_that_it_is_ready_is_waited_for_from_then_on() {
    let setup = run(WORKHIVE, &["--name", "slow"]);
    let (again, go) = (setup.path("again"), setup.path("go"));
    // It says READY at once the first time, and later the second time.
    let script = format!(
        "if [ -e {again} ]; then echo second; while ! [ -e {go} ]; do sleep 0.01; done; fi; touch {again}; \
         exec python3 {does} notify=READY=1",
        again = again.display(),
        go = go.display(),
        does = source("does.py").display(),
    );
    if tools::find("python3").is_none() {
        return;
    }
    let hive = setup.runs(["sh", "-c", &script]).start();
    let before = hive.slots();
    let reload = hive.verb_later::<&str>("reload", &[]);
    hive.wait_for_line(" second");
    // Past the time after which one that says nothing would count as ready.
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(hive.slots(), before, "the old one is still in charge");
    fs::write(&go, "").expect("a file");
    let reload = reload.finish();
    assert_eq!(reload.code, Some(0), "{reload:?}");
    assert_ne!(hive.slots(), before);
}

#[test]
fn a_program_that_never_says_that_it_is_ready_fails_when_its_time_is_over() {
    let setup = run(WORKHIVE, &["--notify", "--boot-timeout", "0.3"]);
    let Some(setup) = does(setup, &["say=here"]) else {
        return;
    };
    let ended = setup.verb::<&str>("start", &[]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let reason = "not ready within 300.0 ms: it has not said READY=1";
    assert!(ended.stderr.contains(reason), "{ended:?}");
    assert!(setup.family().is_empty());
}

#[test]
fn what_a_child_of_the_program_says_is_heard_and_a_barrier_opens() {
    let setup = run(WORKHIVE, &["--notify"]);
    let what = [
        "notify_with_descriptors=STATUS=with files",
        "notify_by_child=READY=1",
        "barrier",
    ];
    let Some(setup) = does(setup, &what) else {
        return;
    };
    let hive = setup.start();
    hive.wait_for_line("says: with files");
    hive.wait_for_line("the barrier is open");
    // The eight files that came along are not kept.
    let kept = proc::descriptors(hive.pid());
    let files = kept
        .iter()
        .filter(|(fd, path)| *fd > 2 && path == Path::new("/dev/null"));
    assert!(files.count() < 8, "{kept:?}");
}

#[test]
fn a_program_that_was_watched_over_and_falls_silent_is_killed() {
    let setup = run(
        WORKHIVE,
        &["--notify", "--stuck-after", "0.5", "--name", "web"],
    );
    let once = setup.path("once");
    // The first process speaks once; its replacement does not begin to.
    let script = format!(
        "if mkdir {once}; then watchdog=notify=WATCHDOG=1; else watchdog=say=again; fi 2>/dev/null; \
         exec python3 {does} notify=READY=1 $watchdog",
        once = once.display(),
        does = source("does.py").display(),
    );
    if tools::find("python3").is_none() {
        return;
    }
    let mut hive = setup.runs(["sh", "-c", &script]).start();
    hive.expect("is stuck and is killed");
    hive.wait_for_line("is stuck and is killed");
    hive.wait_for_line(" again");
    let restarted = eventually("another process", || {
        let status = hive.status();
        (status["workers"][0]["restarts"] == 1).then_some(status)
    });
    let why = restarted["workers"][0]["last_exit"].to_string();
    assert!(why.contains("it was stuck"), "{why}");
}

#[test]
fn a_program_that_says_that_it_stops_is_replaced_at_once_and_may_finish() {
    let setup = run(
        WORKHIVE,
        &["--notify", "--stuck-after", "0.5", "--name", "web"],
    );
    let (go, end) = (setup.path("go"), setup.path("end"));
    let wait = format!("wait_for={}", go.display());
    let finish = format!("wait_for={}", end.display());
    // Silence is no fault while it finishes.
    let what = [
        "notify=READY=1\nWATCHDOG=1",
        &wait,
        "notify=STOPPING=1",
        &finish,
        "exit=0",
    ];
    let Some(setup) = does(setup.options(["--drain", "60"]), &what) else {
        return;
    };
    let mut hive = setup.start();
    hive.expect("is stuck and is killed");
    let first = hive.slots()[0];
    fs::write(&go, "").expect("a file");
    hive.wait_for_line("drains by its own decision");
    fs::remove_file(&go).expect("a file");
    hive.wait_for_line("generation 1)");
    // Nothing tells that it is left alone: by now it would have been found stuck.
    std::thread::sleep(Duration::from_secs(3));
    assert!(proc::is_alive(first), "{:#?}", hive.log());
    fs::write(&end, "").expect("a file");
    hive.wait_for_line(&format!("replaced pid {first} "));
    fs::write(&go, "").expect("a file");
}

#[test]
fn what_a_program_prints_is_in_the_log_with_its_slot() {
    let setup = run(WORKHIVE, &["--notify", "--count", "2", "--name", "web"]);
    let what = [
        "say=to standard output",
        "complain=to standard error",
        "bytes=ff1b5b324a0a",
        "long=30000",
        "write=no end",
        "notify=READY=1\nSTATUS=warming up",
    ];
    let Some(setup) = does(setup, &what) else {
        return;
    };
    let mut hive = setup.start();
    let slots = hive.slots();
    for (slot, pid) in slots.iter().enumerate() {
        for text in ["to standard output", "to standard error"] {
            hive.wait_for_line(&format!(" INFO web[{slot}] {pid} {text}"));
        }
        // What is no text, or would do something to a terminal, is made harmless.
        hive.wait_for_line(&format!(" INFO web[{slot}] {pid} \u{fffd}\\u{{1b}}[2J"));
        hive.wait_for_line(&format!("web[{slot}]: pid {pid} says: warming up"));
    }
    hive.stop();
    let long = |line: &String| line.contains(" web[1] ") && line.contains("xxxxxxxx");
    let pieces: Vec<usize> = hive
        .log()
        .iter()
        .filter(|line| long(line))
        .map(|line| line.matches('x').count())
        .collect();
    assert_eq!(pieces.iter().sum::<usize>(), 30_000, "{pieces:?}");
    assert!(pieces.len() > 1 && pieces.iter().all(|length| *length < 16_000));
    // Its last words count even without an end of line.
    assert!(hive.log().iter().any(|line| line.ends_with(" no end")));
}

#[test]
fn a_program_that_prints_or_speaks_without_end_holds_nobody_up() {
    for what in [
        &["notify=READY=1", "loud"][..],
        &["notify=READY=1", "flood=STATUS=busy"],
        &["notify=READY=1", "flood=READY=1\nWATCHDOG=1\nnonsense"],
    ] {
        let setup = run(
            WORKHIVE,
            &["--notify", "--count", "2", "--drain", "1", "--log-file"],
        );
        let log = setup.path("log").display().to_string();
        let Some(setup) = does(setup.options([&log]), what) else {
            return;
        };
        // All goes to the file; the readiness is seen by the status.
        let mut hive = setup.start();
        let before = hive.slots();
        assert_eq!(before.len(), 2);
        proc::signal(before[0], Signal::SIGKILL);
        eventually("the slot is filled again", || {
            let after = hive.slots();
            (after.len() == 2 && after[0] != before[0]).then_some(())
        });
        let reload = hive.verb::<&str>("reload", &[]);
        assert_eq!(reload.code, Some(0), "{reload:?}");
        assert!(proc::rss_kib(hive.pid()) < 64 << 10);
        assert!(hive.stop().success());
    }
}

#[test]
fn what_a_program_has_started_ends_with_it() {
    let setup = run(WORKHIVE, &["--notify", "--name", "web"]);
    let Some(setup) = does(setup, &["child", "notify=READY=1"]) else {
        return;
    };
    let mut hive = setup.start();
    let leader = hive.slots()[0];
    let child = proc::children(leader)[0];
    // A program that is killed takes its children with it.
    proc::signal(leader, Signal::SIGKILL);
    eventually("the child is gone", || {
        (!proc::is_alive(child)).then_some(())
    });
    let leader = eventually("another process", || {
        hive.slots().first().copied().filter(|pid| *pid != leader)
    });
    let child = eventually("its child", || proc::children(leader).first().copied());
    // `wait` fails if anything is left.
    assert!(hive.stop().success());
    assert!(!proc::is_alive(child));
}

#[test]
fn a_shell_and_what_it_has_started_are_gone_after_a_stop() {
    let mut hive = run(WORKHIVE, &["--drain", "1"])
        .runs(["sh", "-c", "trap '' TERM; sleep 1000 & wait"])
        .start();
    hive.expect("has not ended in time");
    assert_eq!(proc::children(hive.slots()[0]).len(), 1);
    assert!(hive.stop().success());
}

#[test]
fn what_a_script_has_started_may_finish_although_the_script_has_not() {
    let setup = run(WORKHIVE, &["--drain", "30"]);
    let [told, go, done] = ["told", "go", "done"].map(|name| setup.path(name));
    mkfifo(&go, Mode::S_IRWXU).expect("a pipe");
    // The script dies of the signal, the server that it has started finishes first.
    let script = format!(
        "sh -c \"trap 'touch {}; read line < {}; touch {}; exit' TERM; while :; do sleep 0.05; done\"; true",
        told.display(),
        go.display(),
        done.display()
    );
    let mut hive = setup.runs(["sh", "-c", &script]).start();
    let leader = hive.slots()[0];
    hive.signal(Signal::SIGTERM);
    eventually("the server is told", || told.exists().then_some(()));
    eventually("the script has ended", || {
        (!proc::is_alive(leader)).then_some(())
    });
    assert!(proc::is_alive(hive.pid()));
    fs::write(&go, "go\n").expect("somebody waits");
    assert!(hive.wait().success());
    assert!(done.exists());
}

#[test]
fn a_program_is_told_to_go_when_its_master_is_gone() {
    let setup = run(
        WORKHIVE,
        &["--notify", "--count", "2", "--stop-signal", "usr1"],
    );
    let told = setup.path("told");
    let script = format!(
        "trap 'touch {told}.$WORKHIVE_SLOT; exit' USR1; python3 {does} notify=READY=1 barrier exit=0; while :; do sleep 0.05; done",
        told = told.display(),
        does = source("does.py").display(),
    );
    if tools::find("python3").is_none() {
        return;
    }
    let mut hive = setup.runs(["sh", "-c", &script]).start();
    hive.kill_master();
    eventually("both have ended", || {
        hive.setup().family().is_empty().then_some(())
    });
    for slot in ["0", "1"] {
        assert!(told.with_extension(slot).exists(), "slot {slot}");
    }
}

#[test]
fn a_program_is_told_to_finish_by_the_signal_of_its_choice() {
    for given in ["QUIT", "sigquit"] {
        let setup = run(WORKHIVE, &["--notify", "--stop-signal", given]);
        let what = ["catch=QUIT:finishing", "ignore=TERM", "notify=READY=1"];
        let Some(setup) = does(setup, &what) else {
            return;
        };
        let mut hive = setup.start();
        hive.signal(Signal::SIGTERM);
        assert!(hive.wait().success());
        hive.wait_for_line(" finishing");
    }
    let refused = run(WORKHIVE, &["--stop-signal", "LEAVE"])
        .runs(["true"])
        .verb::<&str>("start", &[]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(
        refused.stderr.contains("\"LEAVE\" is no signal"),
        "{refused:?}"
    );
}

#[test]
fn ctrl_c_for_the_foreground_group_is_for_the_master_alone() {
    let setup = run(WORKHIVE, &["--notify", "--count", "2", "--name", "web"]);
    let what = [
        "catch=INT:interrupted",
        "catch=TERM:finishing",
        "notify=READY=1",
    ];
    let Some(setup) = does(setup, &what) else {
        return;
    };
    let mut hive = setup.start();
    // What the terminal does: the harness has put the master into a group of its own.
    let group = nix::unistd::Pid::from_raw(hive.pid().cast_signed());
    nix::sys::signal::killpg(group, Signal::SIGINT).expect("a group");
    assert!(hive.wait().success());
    let log = hive.log();
    assert!(
        !log.iter().any(|line| line.contains("interrupted")),
        "{log:#?}"
    );
    assert_eq!(
        log.iter()
            .filter(|line| line.ends_with(" finishing"))
            .count(),
        2
    );
}

#[test]
fn a_program_under_another_user_can_say_that_it_is_ready() {
    if !nix::unistd::geteuid().is_root() {
        tools::skip("only root can become another user");
        return;
    }
    let setup = run(WORKHIVE, &["--notify", "--user", "nobody", "--name", "web"]);
    let record = setup.path("record");
    fs::write(&record, "").expect("a file");
    let directory = record.parent().expect("a directory");
    for (path, mode) in [(directory, 0o755), (&*record, 0o666)] {
        fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("a file");
    }
    let recorded = format!("record={}", record.display());
    // The tests may stand where nobody else can read.
    let script = fs::read_to_string(source("does.py")).expect("a file");
    let python = "/usr/bin/python3";
    if !Path::new(python).exists() {
        tools::missing("there is no /usr/bin/python3");
        return;
    }
    // Its socket is beside the pid file, or in the directory of all hives, which is root's.
    let runtime = setup.path("runtime");
    fs::create_dir(&runtime).expect("a directory");
    let program = [python, "-c", &script, &recorded, "notify=READY=1"];
    let verb = |verb: &str, rest: &[&str]| {
        let mut command = setup.command(WORKHIVE);
        command
            .env("XDG_RUNTIME_DIR", &runtime)
            .args(["run", verb, "--name", "web"])
            .args(rest);
        workhive_tests::Running::new(command).finish()
    };
    let options = [
        "-d",
        "--notify",
        "--boot-timeout",
        "5",
        "--user",
        "nobody",
        "--",
    ];
    let started = verb("start", &[&options[..], &program].concat());
    assert_eq!(started.code, Some(0), "{started:?}");
    assert_eq!(verb("stop", &[]).code, Some(0));
    let hive = setup.runs(program).start();
    for row in records(hive.setup(), 2) {
        assert_eq!(row["uid"], 65534);
    }
}
