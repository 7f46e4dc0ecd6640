//! Several groups in one hive.

use nix::sys::signal::Signal;
use workhive_tests::http::HttpClient;
use workhive_tests::text::TextClient;
use workhive_tests::{Hive, Port, Setup, proc, program};

fn setup(text: &Port, http: &Port) -> Setup {
    Setup::new(program!("groups")).options([
        "--text",
        &text.to_string(),
        "--http",
        &http.to_string(),
    ])
}

/// How many ready processes a group has.
fn count(hive: &Hive, group: &str) -> usize {
    let status = hive.status();
    let workers = status["workers"].as_array().expect("a list");
    let ready = workers.iter().filter(|worker| worker["state"] == "ready");
    ready.filter(|worker| worker["group"] == group).count()
}

#[test]
fn every_group_serves_with_its_own_count() {
    let (text, http) = (Port::reserve(), Port::reserve());
    let hive = setup(&text, &http).options(["--count", "web=3"]).start();
    assert_eq!((count(&hive, "talk"), count(&hive, "web")), (2, 3));
    assert_eq!(TextClient::connect(text.addr()).ask("hello"), "hello");
    assert_eq!(HttpClient::connect(http.addr()).get("/").text(), "hello");
    let table = hive.log();
    for row in [
        ["talk", &format!("text://{text}"), "2"],
        ["web", &format!("http://{http}"), "3"],
    ] {
        let found = table
            .iter()
            .any(|line| line.split_ascii_whitespace().eq(row));
        assert!(found, "{row:?} is missing: {table:#?}");
    }
}

#[test]
fn a_count_without_a_name_is_for_all_groups_and_one_with_a_name_wins() {
    let (text, http) = (Port::reserve(), Port::reserve());
    let hive = setup(&text, &http)
        .options(["--count", "3", "--count", "talk=1"])
        .start();
    assert_eq!((count(&hive, "talk"), count(&hive, "web")), (1, 3));
}

#[test]
fn a_group_that_cannot_start_fails_the_start_by_its_name() {
    let (text, http) = (Port::reserve(), Port::reserve());
    let setup = setup(&text, &http).options(["--broken"]);
    let ended = setup.verb::<&str>("start", &[]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("group \"web\""), "{ended:?}");
    assert!(ended.stderr.contains("no web today"), "{ended:?}");
    assert!(setup.family().is_empty());
}

#[test]
fn groups_at_the_same_address_are_refused() {
    let port = Port::reserve();
    let ended = setup(&port, &port).verb::<&str>("start", &[]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    for word in ["talk", "web", &port.to_string()] {
        assert!(ended.stderr.contains(word), "{ended:?}");
    }
}

#[test]
fn the_death_of_a_process_of_one_group_is_nothing_to_the_other() {
    let (text, http) = (Port::reserve(), Port::reserve());
    let hive = setup(&text, &http).start();
    let mut client = HttpClient::connect(http.addr());
    assert_eq!(client.get("/").text(), "hello");
    let status = hive.status();
    let workers = status["workers"].as_array().expect("a list");
    let mark = hive.mark();
    for worker in workers.iter().filter(|worker| worker["group"] == "talk") {
        let pid = worker["pid"].as_u64().expect("a pid");
        proc::signal(u32::try_from(pid).expect("a pid"), Signal::SIGKILL);
    }
    for slot in 0..2 {
        hive.wait_for_line_after(mark, &format!("group=talk slot={slot} ready"));
    }
    assert_eq!(client.get("/").text(), "hello");
    assert_eq!(TextClient::connect(text.addr()).ask("hello"), "hello");
}
