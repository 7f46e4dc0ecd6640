//! New connections are spread over all processes.

use std::collections::BTreeMap;

use workhive_tests::text::TextClient;
use workhive_tests::{Hive, Port, Setup, program};

fn boots(count: usize, options: &[&str]) -> (Hive, Port) {
    let port = Port::reserve();
    let setup = Setup::new(program!("boots")).options([
        "--text",
        &port.to_string(),
        "--count",
        &count.to_string(),
    ]);
    (setup.options(options.iter().copied()).start(), port)
}

/// Makes so many connections, each asked who serves it, and counts the answers by slot.
fn spread(port: &Port, connections: usize, keep: bool) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    let mut kept = Vec::new();
    for _ in 0..connections {
        let mut client = TextClient::connect(port.addr());
        let answer = client.ask("who");
        let slot = answer.split(' ').next().expect("a slot").to_owned();
        *found.entry(slot).or_default() += 1;
        if keep {
            kept.push(client);
        }
    }
    found
}

#[test]
fn every_process_gets_its_part_of_400_light_connections_to_an_inherited_listener() {
    let (_hive, port) = boots(4, &[]);
    let spread = spread(&port, 400, false);
    assert_eq!(spread.len(), 4, "{spread:?}");
    assert!(spread.values().all(|part| *part >= 20), "{spread:?}");
}

#[test]
fn connections_that_stay_are_spread_too() {
    let (_hive, port) = boots(4, &[]);
    let spread = spread(&port, 400, true);
    assert_eq!(spread.len(), 4, "{spread:?}");
    assert!(spread.values().all(|part| *part >= 20), "{spread:?}");
}

#[test]
fn with_reuse_port_200_fresh_connections_reach_all_four_processes() {
    let (_hive, port) = boots(4, &["--reuse-port"]);
    let spread = spread(&port, 200, false);
    assert_eq!(spread.len(), 4, "{spread:?}");
}

#[test]
fn replacements_take_part_after_a_reload() {
    for options in [&[][..], &["--reuse-port"]] {
        let (hive, port) = boots(4, options);
        assert_eq!(hive.verb::<&str>("reload", &[]).code, Some(0));
        let spread = spread(&port, 400, false);
        assert_eq!(spread.len(), 4, "{options:?}: {spread:?}");
        assert!(
            spread.values().all(|part| *part >= 20),
            "{options:?}: {spread:?}"
        );
    }
}
