//! What is random in one process is not what is random in its siblings, nor in those that come after it.

use std::collections::BTreeSet;

use workhive_tests::obeys::Obeys;
use workhive_tests::text::TextClient;
use workhive_tests::{Port, Setup, proc, program};

/// Sixteen random bytes of each process: of all slots, of several generations, of several hives.
#[test]
fn random_bytes_of_siblings_and_of_replacements_all_differ() {
    let mut seen = BTreeSet::new();
    for spawn in ["fork", "fork", "exec"] {
        let obeys = Obeys::start(program!("obeys"), &["--count", "4", "--spawn", spawn]);
        let mut look = |slots: &mut dyn Iterator<Item = usize>| {
            for slot in slots {
                let bytes = obeys.client_of(slot).ask("random");
                assert_eq!(bytes.len(), 32, "{bytes}");
                assert!(seen.insert(bytes.clone()), "slot {slot} has {bytes} too");
            }
        };
        look(&mut (0..4));
        for slot in 0..4 {
            let mark = obeys.hive.mark();
            proc::signal(obeys.hive.slots()[slot], nix::sys::signal::Signal::SIGKILL);
            obeys
                .hive
                .wait_for_line_after(mark, &format!("slot={slot} ready"));
        }
        look(&mut (0..4));
        assert_eq!(obeys.hive.verb::<&str>("reload", &[]).code, Some(0));
        look(&mut (0..4));
    }
}

/// The id of a fresh connection, which no other connection has ever had.
fn id(port: &Port) -> String {
    TextClient::connect(port.addr()).ask("id")
}

#[test]
fn ids_of_connections_never_come_back() {
    let mut seen = BTreeSet::new();
    let mut look = |port: &Port| {
        for _ in 0..20 {
            let id = id(port);
            assert!(seen.insert(id.clone()), "{id} has come back");
        }
    };
    let port = Port::reserve();
    let at = port.to_string();
    for _ in 0..2 {
        // The second is the same hive as the first, started anew.
        let hive = Setup::new(program!("callbacks"))
            .options(["--count", "1", "--text", &at])
            .start();
        look(&port);
        let mark = hive.mark();
        proc::signal(hive.slots()[0], nix::sys::signal::Signal::SIGKILL);
        hive.wait_for_line_after(mark, "slot=0 ready");
        look(&port);
        assert_eq!(hive.verb::<&str>("reload", &[]).code, Some(0));
        look(&port);
    }
}
