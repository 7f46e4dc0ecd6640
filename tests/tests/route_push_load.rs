//! Everything at once: thousands of clients, many senders, random uids; each line once, to the right one, in order.
//!
//! `WORKHIVE_TEST_CLIENTS` and `WORKHIVE_TEST_PUSHES` say how many clients and how many lines, if 2,000 and 200,000 are not
//! what is wanted.

use std::collections::HashSet;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use workhive_tests::push::{Push, PushSetup};
use workhive_tests::swarm::{Came, Swarm};
use workhive_tests::text::TextClient;
use workhive_tests::{DEADLINE, eventually, program};

const SENDERS: usize = 8;

/// Lines that are sent before their answers are read.
const WINDOW: usize = 100;

/// One line in so many goes to a uid that nobody has.
const UNKNOWN: usize = 50;

fn size(variable: &str, default: usize) -> usize {
    std::env::var(variable).map_or(default, |value| value.parse().expect("a number"))
}

/// What one sender did: for each of its lines the client it was for, None for those that nobody has.
type Sent = Vec<Option<usize>>;

/// Sends lines, and checks that each is answered as it should be.
fn send(mut text: TextClient, sender: usize, count: usize, clients: usize) -> Sent {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(sender as u64 + 1);
    let mut next = || {
        // xorshift64 (Marsaglia 2003)
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random >> 33).expect("31 bits")
    };
    let mut sent = Vec::with_capacity(count);
    while sent.len() < count {
        let from = sent.len();
        let mut lines = String::new();
        for number in from..count.min(from + WINDOW) {
            let client = next() % clients;
            let nobody = next() % UNKNOWN == 0;
            let name = if nobody { "nobody" } else { "u" };
            let uid = format!("{name}{client}");
            lines += &json!({ "uid": uid, "s": sender, "n": number }).to_string();
            lines.push('\n');
            sent.push((!nobody).then_some(client));
        }
        text.write(lines.as_bytes());
        for (number, client) in (from..).zip(&sent[from..]) {
            let expected = if client.is_some() { "ok" } else { "fail" };
            assert_eq!(text.line(), expected, "line {number} of sender {sender}");
        }
    }
    sent
}

/// What the clients have received, and how.
struct Tally {
    /// By sender and number.
    seen: Vec<HashSet<usize>>,
    /// By client and sender: the last number.
    last: Vec<[Option<usize>; SENDERS]>,
    /// By sender and number: who got it.
    receivers: Vec<Vec<(usize, usize)>>,
    count: usize,
}

impl Tally {
    fn new(clients: usize) -> Self {
        Self {
            seen: vec![HashSet::new(); SENDERS],
            last: vec![[None; SENDERS]; clients],
            receivers: vec![Vec::new(); SENDERS],
            count: 0,
        }
    }

    fn take(&mut self, client: usize, text: &str) {
        let line: Value = serde_json::from_str(text).expect("what was sent");
        assert_eq!(line["uid"], format!("u{client}"), "misrouted: {text}");
        let field = |name: &str| line[name].as_u64().and_then(|n| usize::try_from(n).ok());
        let (sender, number) = (field("s").expect("a sender"), field("n").expect("a number"));
        assert!(
            self.seen[sender].insert(number),
            "client {client} got it twice: {text}"
        );
        let last = self.last[client][sender].replace(number);
        assert!(
            last < Some(number),
            "client {client} got {text} after number {last:?}"
        );
        self.receivers[sender].push((number, client));
        self.count += 1;
    }
}

/// Collects until all senders have ended, and all that they have sent has come.
fn collect(swarm: &mut Swarm, ends: &Receiver<usize>) -> Tally {
    let mut tally = Tally::new(swarm.len());
    let (mut expected, mut running) = (0, SENDERS);
    let mut end = Instant::now() + DEADLINE;
    while running > 0 || tally.count < expected {
        let before = tally.count;
        swarm.turn(Duration::from_millis(20), |client, came| match came {
            Came::Text(text) => tally.take(client, text),
            other => panic!("client {client} got {other:?}"),
        });
        match ends.try_recv() {
            Ok(known) => {
                expected += known;
                running -= 1;
            }
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => assert_eq!(running, 0, "a sender has failed"),
        }
        if tally.count > before {
            end = Instant::now() + DEADLINE;
        }
        assert!(
            Instant::now() < end,
            "{} of {expected} have come",
            tally.count
        );
    }
    tally
}

/// Clients that say who they are, and are known in the whole hive.
fn clients(push: &Push, count: usize) -> Swarm {
    let mut swarm = Swarm::connect(push.ws.addr(), count);
    for client in 0..count {
        swarm.send(client, &format!("u{client}"));
    }
    swarm.ping_all();
    let mut text = push.pusher();
    for client in 0..count {
        let line = format!("{{\"uid\":\"u{client}\",\"hello\":true}}");
        // It says so in its own process first, and in the others a moment later.
        eventually("a client that is known", || {
            (text.ask(&line) == "ok").then_some(())
        });
    }
    let mut greeted = vec![false; count];
    while greeted.contains(&false) {
        swarm.turn(DEADLINE, |client, came| {
            assert!(matches!(came, Came::Text(text) if text.contains(&format!("\"u{client}\""))));
            assert!(
                !std::mem::replace(&mut greeted[client], true),
                "greeted twice"
            );
        });
    }
    swarm
}

#[test]
fn every_line_reaches_the_client_it_is_for_once_and_in_order() {
    let count = size("WORKHIVE_TEST_CLIENTS", 2000);
    let pushes = size("WORKHIVE_TEST_PUSHES", 200_000);
    let push = PushSetup::new(program!("workhive-under-test"), 4).start();
    let mut swarm = clients(&push, count);
    let status = push.hive.status();
    let workers = status["workers"].as_array().expect("a list").iter();
    let taken: Vec<_> = workers
        .filter(|worker| worker["group"] == "push")
        .map(|worker| worker["connections"].as_u64().expect("a number"))
        .collect();
    assert!(
        taken.len() == 4 && taken.iter().all(|taken| *taken > 0),
        "{taken:?}"
    );
    let started = Instant::now();
    let (ended, ends) = channel();
    let senders: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let (text, ended) = (push.pusher(), ended.clone());
            thread::spawn(move || {
                let sent = send(text, sender, pushes / SENDERS, count);
                let known = sent.iter().flatten().count();
                ended.send(known).expect("somebody who waits");
                sent
            })
        })
        .collect();
    drop(ended);
    let mut tally = collect(&mut swarm, &ends);
    let seconds = started.elapsed().as_secs_f64();
    for (sender, thread) in senders.into_iter().enumerate() {
        let sent = thread.join().expect("a sender does not panic");
        let expected: Vec<_> = (0..)
            .zip(&sent)
            .filter_map(|(number, client)| Some((number, (*client)?)))
            .collect();
        tally.receivers[sender].sort_unstable();
        assert!(tally.receivers[sender] == expected, "of sender {sender}");
    }
    // Nothing comes after all has come.
    swarm.ping_all();
    #[expect(clippy::cast_precision_loss, reason = "far less than 2^52")]
    let rate = pushes as f64 / seconds;
    println!("{pushes} pushes to {count} clients in {seconds:.1} s, {rate:.0} per second");
}
