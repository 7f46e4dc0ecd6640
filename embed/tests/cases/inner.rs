//! Listeners that each process opens for itself.

use std::collections::BTreeSet;

use workhive_tests::eventually;

use super::language::Language;
use super::{Plan, Server, who};

const COUNT: usize = 3;

fn plan(language: &'static Language, how: &str) -> Plan {
    Plan::new(language, &["inner"])
        .count(COUNT)
        .env("WORKHIVE_CASE_INNER_HOW", how)
}

/// Connects until so many processes have answered.
#[track_caller]
fn met(server: &Server, processes: usize) -> BTreeSet<usize> {
    let mut met = BTreeSet::new();
    eventually("so many processes serve", || {
        let mut client = server.text("inner");
        assert_eq!(client.ask("hello"), "hello");
        met.insert(who(&client.ask("!who")).0);
        (met.len() >= processes).then_some(())
    });
    met
}

pub(crate) fn inner_plain(language: &'static Language) {
    let mut server = plan(language, "plain").start();
    server.expect("EADDRINUSE");
    let holder = *met(&server, 1).first().expect("a process that listens");
    let pid = server.slots()[holder];
    let address = server.addr("inner").to_string();
    eventually("all but one do without", || {
        let log = server.log();
        let without: Vec<_> = log
            .iter()
            .filter(|line| line.contains("does without: "))
            .collect();
        for line in &without {
            let remedies = line.to_lowercase().replace('_', "");
            for word in ["reuseport", "shared"] {
                assert!(remedies.contains(word), "{word} is missing: {line}");
            }
            for word in [
                "EADDRINUSE",
                &address,
                &format!("group inner, slot {holder}"),
                &pid.to_string(),
            ] {
                assert!(line.contains(word), "{word} is missing: {line}");
            }
        }
        (without.len() == COUNT - 1).then_some(())
    });
    for _ in 0..10 {
        assert_eq!(who(&server.text("inner").ask("!who")), (holder, pid));
    }
}

pub(crate) fn inner_reuse_port(language: &'static Language) {
    let server = plan(language, "reuse_port").start();
    assert_eq!(met(&server, COUNT).len(), COUNT);
}

pub(crate) fn inner_shared(language: &'static Language) {
    let server = plan(language, "shared").start();
    assert_eq!(met(&server, COUNT).len(), COUNT);
}
