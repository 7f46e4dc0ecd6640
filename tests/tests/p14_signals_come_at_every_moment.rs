//! Signals come in storms, to everybody, and at the worst moments of a start: nothing is lost, and nobody is left behind.

use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use workhive_tests::boots::Boots;
use workhive_tests::load::{HTTP, Load};
use workhive_tests::{Hive, Port, Setup, eventually, proc, program};

fn echo(options: &[&str]) -> (Setup, Port) {
    let port = Port::reserve();
    let setup = Setup::echo(program!("workhive-under-test"), format!("http://{port}"));
    (setup.options(options.iter().copied()), port)
}

fn to_group(hive: &Hive, signal: Signal) {
    killpg(Pid::from_raw(hive.pid().cast_signed()), signal).expect("a process group");
}

#[test]
fn a_storm_of_a_thousand_mixed_signals_loses_nothing() {
    let (setup, port) = echo(&["--count", "2", "--drain", "2"]);
    let hive = setup.start();
    let load = Load::new(port.addr(), 14, &HTTP);
    let master = hive.pid();
    let signals = [
        Signal::SIGUSR1,
        Signal::SIGHUP,
        Signal::SIGTTIN,
        Signal::SIGCHLD,
        Signal::SIGTTOU,
    ];
    for n in 0..1000 {
        hive.signal(signals[n % signals.len()]);
        // The processes get some too, as they do from pkill. What means nothing to them is all the same to them.
        if n % 10 == 0
            && let Some(worker) = hive.workers().first()
        {
            proc::signal(*worker, [Signal::SIGUSR1, Signal::SIGHUP][n / 10 % 2]);
        }
    }
    load.serve(100);
    eventually("the storm is over", || {
        // Refused as long as too many requests wait.
        let scaled = hive.verb("scale", &["2"]);
        if scaled.code != Some(0) {
            assert!(scaled.stderr.contains("too many"), "{scaled:?}");
            return None;
        }
        let reloaded = hive.verb::<&str>("reload", &[]);
        assert_eq!(reloaded.code, Some(0), "{reloaded:?}");
        (hive.slots().len() == 2).then_some(())
    });
    load.serve(100);
    let tally = load.finish();
    assert_eq!(tally.failed(), 0, "{tally:?}");
    assert_eq!(hive.status()["pid"], master);
}

/// Ends a hive in the course of its start, at moments a millisecond apart.
fn ended_while_it_starts(spawn: &str, send: impl Fn(&Hive)) {
    let mut moments = [0, 0];
    for moment in 0..40 {
        let (setup, _port) = echo(&["--count", "3", "--spawn", spawn]);
        let mut hive = setup.launch();
        // The moment is what the test is about.
        std::thread::sleep(Duration::from_millis(moment));
        send(&hive);
        let status = hive.wait();
        // Before it can take signals it has nothing that could be left behind.
        let early = matches!(status.signal(), Some(15 | 2));
        assert!(status.success() || early, "after {moment} ms: {status}");
        moments[usize::from(early)] += 1;
        if moment % 10 == 0 {
            // Whatever it has come to, it is in nobody's way.
            let started = hive.verb("start", &["-d"]);
            assert_eq!(started.code, Some(0), "after {moment} ms: {started:?}");
            assert_eq!(hive.verb::<&str>("stop", &[]).code, Some(0));
        }
    }
    let [in_order, early] = moments;
    println!("{in_order} ended in good order, {early} before they could take signals");
    assert!(in_order > 0, "none was there to take a signal");
}

#[test]
fn sigterm_at_any_moment_of_the_start_ends_the_hive_and_leaves_nothing() {
    ended_while_it_starts("fork", |hive| hive.signal(Signal::SIGTERM));
}

#[test]
fn ctrl_c_at_any_moment_of_the_start_ends_the_hive_and_leaves_nothing() {
    ended_while_it_starts("fork", |hive| to_group(hive, Signal::SIGINT));
}

#[test]
fn sigterm_to_all_at_any_moment_of_the_start_ends_the_hive_and_leaves_nothing() {
    // As service managers do it.
    ended_while_it_starts("fork", |hive| to_group(hive, Signal::SIGTERM));
}

#[test]
fn in_exec_mode_ctrl_c_at_any_moment_of_the_start_leaves_nothing_either() {
    ended_while_it_starts("exec", |hive| to_group(hive, Signal::SIGINT));
}

#[test]
fn in_exec_mode_sigterm_to_all_at_any_moment_of_the_start_leaves_nothing_either() {
    ended_while_it_starts("exec", |hive| to_group(hive, Signal::SIGTERM));
}

#[test]
fn a_hive_whose_processes_are_not_ready_yet_ends_when_it_is_told_to() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let boots = Boots::setup(program!("boots"), &["--count", "2", "--drain", "1"]);
        let mut boots = boots.fail("wait").launch();
        eventually("both have begun", || (boots.attempts() == 2).then_some(()));
        let begin = Instant::now();
        boots.hive.signal(signal);
        assert!(boots.hive.wait().success(), "{signal}");
        println!("{signal}: ended after {:?}", begin.elapsed());
        assert!(!boots.hive.setup().pid_file().exists());
    }
}

#[test]
fn sigterm_to_a_process_that_is_not_ready_yet_is_not_lost() {
    let mut boots = Boots::start(program!("boots"), &["--count", "2"]);
    let before = boots.hive.workers();
    boots.hold();
    proc::signal(boots.hive.slots()[1], Signal::SIGKILL);
    let early = boots.newcomer(&before);
    eventually("it has begun", || (boots.attempts() == 3).then_some(()));
    proc::signal(early, Signal::SIGTERM);
    boots.let_go();
    // It may become ready first; then it goes, and the slot is filled again.
    eventually("its end", || (!proc::is_alive(early)).then_some(()));
    let next = eventually("the next one", || {
        let slots = boots.hive.slots();
        (slots.len() == 2).then(|| slots[1])
    });
    assert_ne!(next, early);
}

#[test]
fn a_stop_in_the_middle_of_a_reload_ends_everybody() {
    for arguments in [&["-g"][..], &[]] {
        let mut boots = Boots::start(program!("boots"), &["--count", "2"]);
        let before = boots.hive.workers();
        boots.hold();
        let reloading = boots.hive.verb_later::<&str>("reload", &[]);
        boots.newcomer(&before);
        let stopped = boots.hive.verb("stop", arguments);
        assert_eq!(stopped.code, Some(0), "{stopped:?}");
        assert!(boots.hive.wait().success());
        let reloaded = reloading.finish();
        assert_eq!(reloaded.code, Some(1), "{reloaded:?}");
    }
}

#[test]
fn ctrl_c_reaches_the_whole_group_and_ends_it_in_good_order() {
    let (setup, _port) = echo(&["--count", "4"]);
    let mut hive = setup.start();
    to_group(&hive, Signal::SIGINT);
    assert!(hive.wait().success());
    // The processes, and their router, were told to end by their master, and did not fall over.
    let log = hive.log().join("\n");
    assert_eq!(log.matches("exited with code 0").count(), 5, "{log}");
}
