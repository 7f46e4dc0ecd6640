//! `worker.listen(..)` in several processes at one address: plain, with `reuse_port`, and `shared`.

use std::collections::BTreeMap;
use std::time::Duration;

use nix::sys::signal::Signal;
use workhive_tests::http::HttpClient;
use workhive_tests::load::{Habit, Load};
use workhive_tests::text::{TextClient, connect};
use workhive_tests::{Hive, Port, Setup, eventually, proc, program};

/// A hive whose processes listen at `http`, and take orders each at a port of its own.
struct Inside {
    hive: Hive,
    http: Port,
    orders: Vec<Port>,
}

fn setup(count: usize, sharing: &str, http: &Port, orders: &[Port]) -> Setup {
    let orders: Vec<String> = orders.iter().map(ToString::to_string).collect();
    Setup::new(program!("listens_inside"))
        .options(["--http", &http.to_string(), "--sharing", sharing])
        .options(["--count", &count.to_string(), "--text", &orders.join(",")])
}

fn inside(count: usize, sharing: &str, options: &[&str]) -> Inside {
    let http = Port::reserve();
    let orders: Vec<Port> = (0..count).map(|_| Port::reserve()).collect();
    let setup = setup(count, sharing, &http, &orders).options(options.iter().copied());
    Inside {
        hive: setup.start(),
        http,
        orders,
    }
}

impl Inside {
    /// Tells the process of a slot what to do, and returns where it listens then.
    fn order(&self, slot: usize, what: &str) -> String {
        TextClient::connect(self.orders[slot].addr()).ask(what)
    }

    /// Connects so often, and counts by slot who answered.
    fn spread(&self, connections: usize) -> BTreeMap<String, usize> {
        let mut found = BTreeMap::new();
        for _ in 0..connections {
            let answer = HttpClient::connect(self.http.addr()).get("/who");
            let slot = answer.text().split(' ').next().expect("a slot").to_owned();
            *found.entry(slot).or_default() += 1;
        }
        found
    }
}

#[test]
fn a_process_has_one_listener_at_an_address() {
    for sharing in ["plain", "reuse_port", "shared"] {
        let inside = inside(1, sharing, &[]);
        let refused = inside.order(0, "listen");
        for words in [
            "EADDRINUSE",
            &inside.http.to_string(),
            "this process itself",
            "unlisten",
        ] {
            assert!(refused.contains(words), "{sharing}: {refused}");
        }
        // The one that it has still answers.
        assert_eq!(inside.spread(2).len(), 1);
        // After it is closed, another one can be opened.
        assert!(
            !inside
                .order(0, "unlisten")
                .contains(&inside.http.to_string())
        );
        assert!(inside.order(0, "listen").contains(&inside.http.to_string()));
        assert_eq!(inside.spread(2).len(), 1);
    }
}

#[test]
fn a_plain_listener_is_the_first_process_own_and_the_others_learn_whose_it_is() {
    let inside = inside(3, "plain", &["--tolerant"]);
    let mut holder = None;
    for slot in 0..3 {
        if inside
            .order(slot, "where")
            .contains(&inside.http.to_string())
        {
            assert_eq!(
                holder.replace(slot),
                None,
                "two processes listen at one address"
            );
        }
    }
    let holder = holder.expect("one process listens");
    let pid = inside.hive.slots()[holder];
    for slot in (0..3).filter(|slot| *slot != holder) {
        let line = inside
            .hive
            .wait_for_line(&format!("slot {slot} does without"));
        for word in [
            "EADDRINUSE",
            &inside.http.to_string(),
            "of this hive",
            &format!("group inside, slot {holder}"),
            &pid.to_string(),
            ".reuse_port(true)",
            ".shared(true)",
        ] {
            assert!(line.contains(word), "{word} is missing: {line}");
        }
    }
    assert_eq!(
        inside.spread(20).keys().collect::<Vec<_>>(),
        [&holder.to_string()]
    );
}

#[test]
fn a_plain_listener_of_a_stranger_is_named_without_the_remedies_that_would_not_help() {
    let port = Port::reserve();
    let _taken = std::net::TcpListener::bind(port.addr()).expect("a free port");
    for sharing in ["plain", "reuse_port", "shared"] {
        let setup = setup(1, sharing, &port, &[]);
        let ended = setup.verb::<&str>("start", &[]);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        for word in [
            "EADDRINUSE",
            &port.to_string(),
            &std::process::id().to_string(),
        ] {
            assert!(
                ended.stderr.contains(word),
                "{sharing}: {word} is missing: {ended:?}"
            );
        }
        assert!(!ended.stderr.contains(".reuse_port(true)"), "{ended:?}");
    }
}

#[test]
fn with_reuse_port_200_fresh_connections_reach_all_four_processes() {
    let inside = inside(4, "reuse_port", &[]);
    let spread = inside.spread(200);
    assert_eq!(spread.len(), 4, "{spread:?}");
}

#[test]
fn a_shared_listener_is_served_by_all_processes() {
    let inside = inside(4, "shared", &[]);
    let spread = inside.spread(400);
    assert_eq!(spread.len(), 4, "{spread:?}");
}

#[test]
fn both_at_once_is_a_mistake_that_is_told() {
    let port = Port::reserve();
    let ended = setup(1, "both", &port, &[]).verb::<&str>("start", &[]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("exclude each other"), "{ended:?}");
}

#[test]
fn two_hives_do_not_share_a_port_with_reuse_port_inside() {
    let first = inside(2, "reuse_port", &[]);
    let second = setup(2, "reuse_port", &first.http, &[]).verb::<&str>("start", &[]);
    assert_eq!(second.code, Some(1), "{second:?}");
    assert!(second.stderr.contains("EADDRINUSE"), "{second:?}");
    let known = std::iter::once(first.hive.pid())
        .chain(first.hive.workers())
        .any(|pid| second.stderr.contains(&pid.to_string()));
    assert!(known, "{second:?}");
    assert_eq!(first.spread(20).values().sum::<usize>(), 20);
}

#[test]
fn a_listener_that_is_closed_refuses_and_leaves_its_connections() {
    for sharing in ["plain", "reuse_port", "shared"] {
        let inside = inside(1, sharing, &[]);
        let mut client = HttpClient::connect(inside.http.addr());
        assert_eq!(client.get("/").status, 200);
        assert!(
            !inside
                .order(0, "unlisten")
                .contains(&inside.http.to_string())
        );
        eventually("new connections are refused", || {
            connect(inside.http.addr()).is_err().then_some(())
        });
        assert_eq!(client.get("/").status, 200, "{sharing}");
        let again = inside.order(0, "unlisten");
        assert!(again.starts_with("error: "), "{again}");
        assert!(inside.order(0, "listen").contains(&inside.http.to_string()));
        assert_eq!(
            HttpClient::connect(inside.http.addr()).get("/").status,
            200,
            "{sharing}"
        );
    }
}

#[test]
fn what_one_process_closes_the_others_still_serve() {
    for sharing in ["reuse_port", "shared"] {
        let inside = inside(2, sharing, &[]);
        inside.order(0, "unlisten");
        // Handshakes that the kernel completes at the closed socket at this moment are lost.
        assert!(!inside.order(0, "where").contains(&inside.http.to_string()));
        eventually("slot 1 answers everybody", || {
            let mut answers =
                (0..20).map(|_| HttpClient::connect(inside.http.addr()).try_get("/who"));
            answers
                .all(|answer| answer.is_ok_and(|who| who.text().starts_with("1 ")))
                .then_some(())
        });
    }
}

#[test]
fn a_paused_listener_lets_connections_wait() {
    for sharing in ["plain", "reuse_port", "shared"] {
        let inside = inside(1, sharing, &[]);
        inside.order(0, "pause");
        let mut client = HttpClient::connect(inside.http.addr());
        client
            .send("GET / HTTP/1.1\r\nHost: test\r\n\r\n")
            .expect("a queue that takes it");
        // Orders are still taken, so the process lives; but nobody accepts.
        inside.order(0, "where");
        let socket = client.socket();
        socket
            .set_read_timeout(Some(Duration::from_millis(200)))
            .expect("open");
        let mut byte = [0];
        assert!(socket.peek(&mut byte).is_err(), "{sharing}: it was served");
        socket
            .set_read_timeout(Some(workhive_tests::DEADLINE))
            .expect("open");
        inside.order(0, "resume");
        assert_eq!(client.response().status, 200, "{sharing}");
    }
}

#[test]
fn what_waits_for_a_killed_process_is_served_by_its_replacement() {
    for sharing in ["reuse_port", "shared"] {
        let inside = inside(1, sharing, &[]);
        let worker = inside.hive.workers()[0];
        proc::signal(worker, Signal::SIGSTOP);
        let mut waiting: Vec<_> = (0..20)
            .map(|_| HttpClient::connect(inside.http.addr()))
            .collect();
        for client in &mut waiting {
            client
                .send("GET /who HTTP/1.1\r\nHost: test\r\n\r\n")
                .expect("a queue that takes it");
        }
        proc::signal(worker, Signal::SIGKILL);
        for client in &mut waiting {
            assert!(client.response().text().starts_with("0 1 "), "{sharing}");
        }
    }
}

#[test]
fn a_plain_listener_is_free_again_when_its_process_was_killed() {
    let inside = inside(1, "plain", &[]);
    let mark = inside.hive.mark();
    proc::signal(inside.hive.workers()[0], Signal::SIGKILL);
    inside.hive.wait_for_line_after(mark, "slot=0 ready");
    assert!(
        HttpClient::connect(inside.http.addr())
            .get("/who")
            .text()
            .starts_with("0 1 ")
    );
}

#[test]
fn reloads_under_load_lose_nothing_whatever_the_sharing() {
    let habits = [Habit::Fresh, Habit::Hasty, Habit::KeepAlive];
    for (sharing, count) in [("reuse_port", 2), ("shared", 2), ("plain", 1)] {
        let inside = inside(count, sharing, &[]);
        let load = Load::new(inside.http.addr(), 24, &habits);
        for _ in 0..8 {
            load.serve(100);
            let reloaded = inside.hive.verb::<&str>("reload", &[]);
            assert_eq!(reloaded.code, Some(0), "{sharing}: {reloaded:?}");
        }
        load.serve(100);
        let tally = load.finish();
        assert_eq!(tally.failed(), 0, "{sharing}: {tally:?}");
    }
}

#[test]
fn the_status_tells_where_processes_listen() {
    for sharing in ["plain", "reuse_port", "shared"] {
        let inside = inside(1, sharing, &[]);
        let listeners = inside.hive.status()["listeners"].to_string();
        assert!(
            listeners.contains(&inside.http.to_string()),
            "{sharing}: {listeners}"
        );
        assert!(
            listeners.contains(&inside.orders[0].to_string()),
            "{sharing}: {listeners}"
        );
    }
}
