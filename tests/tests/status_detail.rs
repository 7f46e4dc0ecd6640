//! The status in full: what each process is at, what it uses, how fast it works; at once, whatever the processes do.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use nix::sys::signal::Signal;
use serde_json::Value;
use workhive_tests::text::TextClient;
use workhive_tests::{Hive, Port, Setup, eventually, proc, program};

fn obeys(options: &[&str]) -> (Hive, Port) {
    let port = Port::reserve();
    let setup = Setup::new(program!("obeys")).options(["--text", &port.to_string()]);
    (setup.options(options.iter().copied()).start(), port)
}

/// The row of a slot's ready process.
fn row(status: &Value, slot: usize) -> Value {
    find_row(status, slot).expect("a ready process")
}

fn find_row(status: &Value, slot: usize) -> Option<Value> {
    let rows = status["workers"].as_array().expect("a list");
    let mut rows = rows.iter().filter(|row| row["group"] == "obeys");
    let found = rows.find(|row| row["slot"] == slot && row["state"] == "ready");
    found.cloned()
}

/// A connection to the process of a slot.
fn client_of(port: &Port, slot: &str) -> TextClient {
    eventually("a connection to the slot", || {
        let mut client = TextClient::connect(port.addr());
        client.ask("who").starts_with(slot).then_some(client)
    })
}

#[test]
fn a_row_tells_what_a_process_has_and_does() {
    let (hive, port) = obeys(&["--count", "2"]);
    let mut client = client_of(&port, "0");
    client.ask("eat 50");
    let row = eventually("the counters", || {
        let row = row(&hive.status(), 0);
        let counted = row["messages"].as_u64() >= Some(2) && row["bytes_read"].as_u64() >= Some(11);
        (counted && row["connections"] == 1 && row["memory"].as_u64() > Some(50 << 20))
            .then_some(row)
    });
    for name in [
        "pid",
        "generation",
        "age_ms",
        "accepted",
        "messages",
        "bytes_read",
        "bytes_written",
        "send_failures",
        "timers",
        "restarts",
        "recycled",
    ] {
        assert!(row[name].is_u64(), "{name}: {row:#}");
    }
    assert!(row["last_exit"].is_null() && row["last_recycle"].is_null());
    let text = hive.verb::<&str>("status", &[]).stdout;
    for word in ["memory", "busy", "timers", "restarts"] {
        assert!(text.contains(word), "{text}");
    }
}

#[test]
fn the_longest_turn_of_late_is_told() {
    let (hive, port) = obeys(&["--count", "2"]);
    let mut client = client_of(&port, "0");
    assert!(client.ask("busy 300").starts_with("0 "));
    // It is told when the turn is over, which the answer is not.
    let lag = eventually("a turn of 300 ms", || {
        let lag = row(&hive.status(), 0)["lag_us"].as_u64()?;
        (lag >= 300_000).then_some(lag)
    });
    assert!(row(&hive.status(), 1)["lag_us"].as_u64() < Some(lag));
    let text = hive.verb::<&str>("status", &[]).stdout;
    assert!(text.contains("  lag  "), "{text}");
}

#[test]
fn a_process_at_work_is_seen_to_be_and_one_that_waits_is_not() {
    let (mut hive, port) = obeys(&["--count", "2", "--stuck-after", "3"]);
    hive.expect("is stuck and is killed");
    client_of(&port, "0").send("spin");
    let busy = eventually("the process is at it", || {
        let row = row(&hive.status(), 0);
        (row["busy_ms"].as_u64() > Some(100)).then_some(row)
    });
    let (at, left) = (busy["busy_ms"].as_i64(), busy["stuck_in_ms"].as_i64());
    assert_eq!(at.zip(left).map(|(at, left)| at + left), Some(3000));
    assert!(row(&hive.status(), 1)["busy_ms"].is_null());
    hive.wait_for_line("is stuck and is killed");
    let after = eventually("the next process", || {
        let row = find_row(&hive.status(), 0)?;
        (row["restarts"] == 1).then_some(row)
    });
    assert!(
        after["last_exit"].to_string().contains("stuck"),
        "{after:#}"
    );
}

#[test]
fn who_stands_in_for_whom_is_told() {
    let port = Port::reserve();
    let setup = Setup::new(program!("obeys"));
    let fail = setup.path("fail");
    let setup = setup.options(["--count", "2", "--reuse-port", "--text", &port.to_string()]);
    let mut hive = setup
        .options(["--fail", fail.to_str().expect("a readable path")])
        .start();
    hive.expect("this slot is to stay down");
    std::fs::write(&fail, "1").expect("a file");
    proc::signal(hive.slots()[1], Signal::SIGKILL);
    hive.wait_for_line("obeys[1]: obeys[0] accepts for it");
    assert_eq!(
        row(&hive.status(), 0)["stands_in_for"],
        serde_json::json!(["obeys[1]"])
    );
}

#[test]
fn watching_shows_rates_and_ends_with_the_hive() {
    let (mut hive, port) = obeys(&[]);
    let mut command = hive.setup().verb_command("status", &["--watch", "--json"]);
    let mut watch = command
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("a program");
    let mut lines = BufReader::new(watch.stdout.take().expect("a pipe")).lines();
    let mut client = TextClient::connect(port.addr());
    let mut looks = 0;
    loop {
        for _ in 0..100 {
            client.ask("who");
        }
        let line = lines.next().expect("a line").expect("text");
        let status: Value = serde_json::from_str(&line).expect("JSON");
        looks += 1;
        assert_eq!(
            status["workers"][0]["rates"].is_null(),
            looks == 1,
            "{line}"
        );
        if status["workers"][0]["rates"]["messages"].as_u64() > Some(0) {
            break;
        }
        assert!(looks < 30, "no message is counted");
    }
    hive.stop();
    let rest = lines.count();
    assert!(rest < 5, "{rest} lines after the end");
    let ended = watch.wait().expect("a child can be waited for");
    // Not running, or gone in the middle of an answer.
    assert!(matches!(ended.code(), Some(1 | 3)), "{ended}");
}
