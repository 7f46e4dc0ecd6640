//! What `ps` shows of the processes of a hive.

use std::fs;

use workhive_tests::text::TextClient;
use workhive_tests::{Hive, Port, Setup, eventually, program, tools};

/// The command line of a process, as `ps` shows it.
fn title(pid: u32) -> String {
    let text = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words = String::from_utf8_lossy(&text).replace('\0', " ");
    words.trim_end().to_owned()
}

fn obeys(options: &[&str]) -> Option<(Hive, Port)> {
    let port = Port::reserve();
    let hive = Setup::new(program!("obeys"))
        .options(["--text", &port.to_string(), "--log-level", "debug"])
        .options(options.iter().copied())
        .start();
    let refused = |line: &String| line.contains("the title stays as it is");
    if hive.log().iter().any(refused) {
        tools::skip("this kernel does not allow it");
        return None;
    }
    Some((hive, port))
}

#[test]
fn the_master_and_its_processes_say_who_they_are() {
    for spawn in ["fork", "exec"] {
        let Some((hive, port)) = obeys(&["--count", "2", "--spawn", spawn]) else {
            return;
        };
        let master = title(hive.pid());
        let start = format!("obeys: master ({} start --text {port} ", program!("obeys"));
        assert!(master.starts_with(&start), "{master}");
        assert!(master.ends_with(')'), "{master}");
        let workers: Vec<_> = hive.slots().into_iter().map(title).collect();
        assert_eq!(workers, ["obeys: obeys[0]", "obeys: obeys[1]"], "{spawn}");
        assert_eq!(title(hive.router().expect("a router")), "obeys: router[0]");
    }
}

#[test]
fn a_process_that_drains_says_so() {
    let Some((hive, port)) = obeys(&["--drain", "30"]) else {
        return;
    };
    let worker = hive.slots()[0];
    let mut client = TextClient::connect(port.addr());
    assert!(client.ask("who").starts_with("0 0 "));
    // Left unfinished, it keeps the process.
    client.write(b"the beginning of a line");
    assert_eq!(hive.verb::<&str>("reload", &[]).code, Some(0));
    eventually("the title says it", || {
        (title(worker) == "obeys: obeys[0] (draining)").then_some(())
    });
    assert_eq!(title(hive.slots()[0]), "obeys: obeys[0]");
}

#[test]
fn what_a_process_starts_has_a_title_of_its_own_and_the_environment_stays() {
    let Some((hive, port)) = obeys(&[]) else {
        return;
    };
    let shown = TextClient::connect(port.addr()).ask("run tr '\\0' ' ' < /proc/$$/cmdline");
    assert!(shown.starts_with("/bin/sh -c "), "{shown}");
    for pid in [hive.pid(), hive.slots()[0]] {
        let environment = fs::read(format!("/proc/{pid}/environ")).expect("an environment");
        let text = String::from_utf8_lossy(&environment);
        assert!(text.contains("WORKHIVE_TEST="), "{text}");
    }
}
