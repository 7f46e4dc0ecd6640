//! The list of connections: asked of the processes themselves, without waiting for one that does not answer.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;
use workhive_tests::text::TextClient;
use workhive_tests::ws::WsClient;
use workhive_tests::{Hive, Port, Setup, eventually, proc, program};

fn obeys(options: &[&str]) -> (Hive, Port) {
    let port = Port::reserve();
    let setup = Setup::new(program!("obeys")).options(["--text", &port.to_string()]);
    (setup.options(options.iter().copied()).start(), port)
}

#[track_caller]
fn list(hive: &Hive) -> Value {
    let listed = hive.verb("connections", &["--json"]);
    assert_eq!(listed.code, Some(0), "{listed:?}");
    serde_json::from_str(&listed.stdout).expect("JSON")
}

fn rows(list: &Value) -> &Vec<Value> {
    list["connections"].as_array().expect("a list")
}

fn connect(port: &Port, count: usize) -> Vec<TextClient> {
    let client = |_| {
        let mut client = TextClient::connect(port.addr());
        client.ask("who");
        client
    };
    (0..count).map(client).collect()
}

#[test]
fn every_connection_is_listed_with_what_is_known_of_it() {
    let (hive, port) = obeys(&["--count", "2"]);
    assert_eq!(rows(&list(&hive)).len(), 0);
    let clients = connect(&port, 10);
    let list = list(&hive);
    assert_eq!(list["silent"], serde_json::json!([]));
    let rows = rows(&list);
    let remotes: BTreeSet<_> = rows
        .iter()
        .map(|row| row["remote"].as_str().expect("an address").to_owned())
        .collect();
    let locals: BTreeSet<_> = clients
        .iter()
        .map(|client| {
            client
                .socket()
                .local_addr()
                .expect("an address")
                .to_string()
        })
        .collect();
    assert_eq!(remotes, locals);
    let workers = hive.slots();
    for row in rows {
        let pid = u32::try_from(row["pid"].as_u64().expect("a pid")).expect("a pid");
        let slot = usize::try_from(row["slot"].as_u64().expect("a slot")).expect("a slot");
        assert_eq!(workers[slot], pid, "{row:#}");
        assert_eq!(
            (
                &row["group"],
                &row["transport"],
                &row["protocol"],
                &row["state"]
            ),
            (
                &"obeys".into(),
                &"tcp".into(),
                &"text".into(),
                &"open".into()
            )
        );
        assert_eq!(
            (
                &row["bytes_read"],
                &row["messages"],
                &row["unread"],
                &row["unsent"]
            ),
            (&4.into(), &1.into(), &0.into(), &0.into())
        );
        assert!(row["bytes_written"].as_u64() > Some(5) && row["uid"].is_null());
        assert_eq!(row["local"], port.to_string());
        assert_eq!(
            row["id"].as_str().map(|id| id.split('-').count()),
            Some(4),
            "{row:#}"
        );
    }
    let text = hive.verb::<&str>("connections", &[]);
    assert_eq!(text.code, Some(0), "{text:?}");
    assert_eq!(text.stdout.lines().count(), 11, "{}", text.stdout);
    drop(clients);
    eventually("all are gone", || {
        let listed = hive.verb::<&str>("connections", &[]);
        (listed.stdout.lines().count() == 1).then_some(())
    });
}

#[test]
fn more_than_fits_one_message_comes_page_by_page() {
    let (hive, port) = obeys(&["--count", "2"]);
    let _clients = connect(&port, 400);
    let list = list(&hive);
    let ids: BTreeSet<_> = rows(&list)
        .iter()
        .map(|row| row["id"].to_string())
        .collect();
    assert_eq!((rows(&list).len(), ids.len()), (400, 400));
}

#[test]
fn a_process_that_does_not_answer_is_marked_and_holds_nobody_up() {
    let (hive, port) = obeys(&["--count", "2", "--reuse-port"]);
    let clients = connect(&port, 40);
    let victim = hive.slots()[1];
    let of_victim = rows(&list(&hive))
        .iter()
        .filter(|row| row["pid"] == victim)
        .count();
    proc::signal(victim, Signal::SIGSTOP);
    let begin = Instant::now();
    let listing = hive.verb_later("connections", &["--json"]);
    // The master has time for others meanwhile.
    assert_eq!(hive.status()["state"], "running");
    let listed = listing.finish();
    assert!(begin.elapsed() >= Duration::from_secs(1));
    assert_eq!(listed.code, Some(0), "{listed:?}");
    let list: Value = serde_json::from_str(&listed.stdout).expect("JSON");
    assert_eq!(rows(&list).len(), clients.len() - of_victim);
    assert_eq!(
        list["silent"],
        serde_json::json!([{"pid": victim, "group": "obeys", "slot": 1}])
    );
    let text = hive.verb::<&str>("connections", &[]).stdout;
    assert!(text.contains("slot 1 did not answer"), "{text}");
    proc::signal(victim, Signal::SIGCONT);
    // What it says to the old questions is nothing to anybody.
    eventually("it answers again", || {
        let listed = hive.verb("connections", &["--json"]);
        let list: Value = serde_json::from_str(&listed.stdout).ok()?;
        (rows(&list).len() == clients.len()).then_some(())
    });
}

#[test]
fn a_process_that_dies_instead_of_answering_holds_nobody_up_either() {
    let (hive, port) = obeys(&["--count", "2"]);
    let _clients = connect(&port, 20);
    let victim = hive.slots()[0];
    proc::signal(victim, Signal::SIGSTOP);
    let listing = hive.verb_later("connections", &["--json"]);
    proc::signal(victim, Signal::SIGKILL);
    let listed = listing.finish();
    assert_eq!(listed.code, Some(0), "{listed:?}");
    serde_json::from_str::<Value>(&listed.stdout).expect("JSON");
}

#[test]
fn the_uid_of_a_connection_is_told() {
    let (ws, text) = (Port::reserve(), Port::reserve());
    let setup = Setup::new(program!("workhive-under-test")).words(["push"]);
    let (ws_at, text_at) = (ws.to_string(), text.to_string());
    let hive = setup
        .options(["--ws", &ws_at, "--text", &text_at, "--count", "2"])
        .start();
    let mut client = WsClient::connect(ws.addr());
    client.send("somebody");
    let row = eventually("the uid", || {
        let list = list(&hive);
        rows(&list)
            .iter()
            .find(|row| row["uid"] == "somebody")
            .cloned()
    });
    assert_eq!(row["protocol"], "websocket");
}

#[test]
fn connections_over_unix_sockets_are_listed_as_such() {
    let setup = Setup::new(program!("workhive-under-test"));
    let path = setup.path("echo.sock");
    let hive = setup
        .words(["echo".to_owned(), format!("text://unix:{}", path.display())])
        .start();
    let _client = std::os::unix::net::UnixStream::connect(&path).expect("a socket");
    eventually("the connection", || {
        let list = list(&hive);
        (rows(&list).first()?["transport"] == "unix").then_some(())
    });
}

#[test]
fn without_a_hive_there_is_nothing_to_list() {
    let setup = Setup::new(program!("obeys"));
    let ended = setup.verb::<&str>("connections", &[]);
    assert_eq!(ended.code, Some(3), "{ended:?}");
}
