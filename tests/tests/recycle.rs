//! Processes that have done enough are replaced as by a reload, and no client notices.

use nix::sys::signal::Signal;
use workhive_tests::load::{Habit, Load};
use workhive_tests::text::TextClient;
use workhive_tests::{Hive, Port, Setup, eventually, proc, program};

fn obeys(options: &[&str]) -> (Hive, Port) {
    let port = Port::reserve();
    let setup = Setup::new(program!("obeys")).options(["--text", &port.to_string()]);
    (setup.options(options.iter().copied()).start(), port)
}

/// Why the processes of a slot were replaced, as the status has it.
fn last_recycle(hive: &Hive, slot: usize) -> Option<String> {
    let status = hive.status();
    let mut rows = status["workers"].as_array().expect("a list").iter();
    let row = rows.find(|row| row["slot"] == slot && row["state"] == "ready")?;
    Some(row["last_recycle"].as_str()?.to_owned())
}

#[test]
fn recycling_under_load_loses_nothing() {
    let port = Port::reserve();
    let setup = Setup::echo(program!("workhive-under-test"), format!("http://{port}"));
    let hive = setup
        .options(["--count", "2", "--max-requests", "200", "--drain", "2"])
        .start();
    let before = hive.slots();
    let load = Load::new(
        port.addr(),
        16,
        &[Habit::Fresh, Habit::KeepAlive, Habit::Upload],
    );
    let rounds = eventually("both processes are replaced twice", || {
        load.serve(50);
        let log = hive.log();
        let count = |place: &str| {
            log.iter()
                .filter(|line| line.contains(&format!("{place}: is replaced: it has served")))
                .count()
        };
        let rounds = (count("echo[0]"), count("echo[1]"));
        (rounds.0 >= 2 && rounds.1 >= 2).then_some(rounds)
    });
    let tally = load.finish();
    assert_eq!(tally.failed(), 0, "{rounds:?}: {tally:?}");
    assert!(hive.slots().iter().all(|pid| !before.contains(pid)));
    assert!(
        last_recycle(&hive, 0)
            .expect("a reason")
            .contains("messages")
    );
}

#[test]
fn one_process_of_a_group_is_replaced_at_a_time() {
    let (mut hive, _port) = obeys(&["--count", "3", "--max-lifetime", "1.5"]);
    hive.wait_for_line("obeys[2]: is replaced: it is");
    hive.stop();
    let mut under_way: Option<String> = None;
    for line in hive.log() {
        if let Some((place, _)) = line.split_once(": is replaced: ") {
            let place = place.rsplit(' ').next().expect("a place").to_owned();
            assert_eq!(under_way, None, "{line}");
            under_way = Some(place);
        } else if line.contains("generation 1)") || line.contains("generation 2)") {
            under_way = None;
        }
    }
}

#[test]
fn a_process_that_has_grown_too_big_is_replaced() {
    let (hive, port) = obeys(&["--max-memory", "64M"]);
    let before = hive.slots();
    let mut client = TextClient::connect(port.addr());
    let answer = client.ask("eat 100");
    assert!(answer.starts_with("0 0 "), "{answer}");
    hive.wait_for_line("obeys[0]: is replaced: it uses 1");
    eventually("the next process serves", || {
        let answer = TextClient::connect(port.addr()).ask("who");
        answer.starts_with("0 1 ").then_some(())
    });
    assert_ne!(hive.slots(), before);
    assert!(last_recycle(&hive, 0).expect("a reason").contains("MiB"));
    // It has not died: nothing was restarted.
    assert_eq!(hive.status()["workers"][0]["restarts"], 0);
}

#[test]
fn a_process_that_cannot_be_replaced_stays() {
    let port = Port::reserve();
    let setup = Setup::new(program!("obeys"));
    let fail = setup.path("fail");
    let setup = setup.options(["--text", &port.to_string(), "--max-requests", "5"]);
    let mut hive = setup
        .options(["--fail", fail.to_str().expect("a readable path")])
        .start();
    for text in [
        "this slot is to stay down",
        "ended before it was ready",
        "could not be replaced",
    ] {
        hive.expect(text);
    }
    let before = hive.slots();
    std::fs::write(&fail, "0").expect("a file");
    let mut client = TextClient::connect(port.addr());
    for _ in 0..10 {
        client.ask("who");
    }
    let line = hive.wait_for_line("could not be replaced");
    assert!(
        line.contains("10 messages") && line.contains("the old process stays"),
        "{line}"
    );
    assert_eq!(hive.slots(), before);
    assert!(client.ask("who").starts_with("0 0 "));
    assert!(proc::is_alive(before[0]));
}

#[test]
fn a_reload_that_meets_a_recycling_waits_for_it_and_replaces_once_more() {
    let (hive, port) = obeys(&["--count", "2", "--max-requests", "1"]);
    for _ in 0..10 {
        let mut client = TextClient::connect(port.addr());
        client.ask("who");
    }
    let mark = hive.mark();
    hive.wait_for_line("is replaced: it has served");
    hive.signal(Signal::SIGUSR1);
    hive.wait_for_line_after(mark, "reload: replaced 2 processes");
    assert_eq!(hive.slots().len(), 2);
}

#[test]
fn limits_of_nothing_are_refused() {
    let setup = Setup::new(program!("obeys"));
    for (option, value) in [
        ("--max-requests", "0"),
        ("--max-requests", "x"),
        ("--max-lifetime", "0"),
        ("--max-lifetime", "-1"),
        ("--max-memory", "0"),
        ("--max-memory", "1.5G"),
    ] {
        let ended = setup.verb("start", &[&format!("{option}={value}")]);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.stderr.contains(option), "{ended:?}");
    }
}
