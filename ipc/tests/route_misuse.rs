//! Limits, and those who do not keep to them, on a virtual network.

mod net;

use std::time::Duration;

use net::hive::{A, B, C, bind, delivered, hive, hive_with, message, outcomes, push};
use net::{Got, Net, process};
use workhive_ipc::route::{
    Action, Agent, AgentConfig, AgentError, CoreConfig, CoreEvent, Decoder, Direction, Event,
    FrameError, FromRouter, LinkLimits, Misuse, Outcome, Process, Query, Table, Target, ToRouter,
};

#[test]
fn a_stopped_worker_delays_nobody_and_its_queue_is_bounded() {
    let queue = 64 * 1024;
    let limits = LinkLimits {
        queue,
        ..LinkLimits::default()
    };
    let core = CoreConfig {
        limits,
        ..CoreConfig::default()
    };
    let mut net = hive_with(core, AgentConfig::default());
    net.capacity = 1024;
    bind(&mut net, A, 1, b"u");
    bind(&mut net, B, 2, b"u");
    net.settle();
    net.take();
    net.stall(A, true);
    for _ in 0..200 {
        push(&mut net, C, message(Target::Uid(b"u"), &[b'x'; 1000]));
        net.settle();
    }
    assert_eq!(net.messages().len(), 200);
    assert!(matches!(
        net.events[..],
        [CoreEvent::Full {
            process: Some(A),
            ..
        }]
    ));
    let refused = net.core().counters().refused;
    assert!((130..140).contains(&refused), "{refused}");
    net.stall(A, false);
    net.settle();
    let got = net.take();
    let to_a = got
        .iter()
        .filter(|(process, got)| *process == Some(A) && matches!(got, Got::Deliver { .. }));
    assert_eq!(to_a.count() as u64, 200 - refused);
    // Consistent again.
    push(&mut net, C, message(Target::Uid(b"u"), b"m"));
    net.settle();
    assert_eq!(outcomes(&mut net), [delivered(2)]);
}

#[test]
fn a_refused_delivery_is_in_the_outcome() {
    let limits = LinkLimits {
        queue: 2000,
        ..LinkLimits::default()
    };
    let core = CoreConfig {
        limits,
        ..CoreConfig::default()
    };
    let mut net = hive_with(core, AgentConfig::default());
    net.capacity = 0;
    bind(&mut net, A, 1, b"u");
    net.capacity = 3000;
    net.settle();
    net.take();
    net.stall(A, true);
    for _ in 0..6 {
        push(&mut net, C, message(Target::Uid(b"u"), &[b'x'; 1000]));
        net.settle();
    }
    let refused = Outcome {
        refused: 1,
        ..Outcome::default()
    };
    let outcomes = outcomes(&mut net);
    assert!(!outcomes.is_empty() && outcomes.iter().all(|outcome| *outcome == refused));
    // The first one is on its way: its connection refuses it, because its own buffer is full.
    net.refuse = 1;
    net.stall(A, false);
    net.settle();
    let late = self::outcomes(&mut net);
    assert!(!late.is_empty() && late.iter().all(|outcome| *outcome == refused));
    assert_eq!(outcomes.len() + late.len(), 6);
}

#[test]
fn what_waits_for_a_router_is_bounded_in_bytes_and_in_time() {
    let mut net = hive();
    net.crash_router();
    net.settle();
    let now = net.now;
    let mut held = 0;
    let error = loop {
        let push = message(Target::All, &[0; 10_000]).with_outcome();
        match net.agent(A).push(push, now) {
            Ok(_) => held += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error, AgentError::Away);
    assert_eq!(held, 104);
    net.advance(Duration::from_secs(2));
    let outcomes = outcomes(&mut net);
    assert_eq!(outcomes.len(), 104);
    assert!(outcomes.iter().all(|outcome| outcome.unrouted));
    assert_eq!(net.agent(A).counters().dropped, 104);
}

#[test]
fn names_are_any_bytes_of_the_right_length() {
    let mut net = hive();
    let odd: [&[u8]; 5] = [b"\0", b"*", b">", b"a.b c", &[0xff; 255]];
    for (key, uid) in (1..).zip(odd) {
        bind(&mut net, A, key, uid);
    }
    net.settle();
    net.take();
    for uid in odd {
        push(&mut net, B, message(Target::Uid(uid), b"m"));
    }
    net.settle();
    assert_eq!(outcomes(&mut net), [delivered(1); 5]);
    net.agent(A).open(9);
    for uid in [&b""[..], &[0; 256]] {
        let length = uid.len();
        let error = Err(AgentError::Name { length });
        assert_eq!(net.agent(A).bind(9, uid, false), error);
        assert_eq!(net.agent(A).join(9, uid), error.clone());
        let now = net.now;
        let push = message(Target::Uid(uid), b"m");
        assert_eq!(net.agent(A).push(push, now), Err(AgentError::TooLong));
    }
    assert_eq!(net.agent(A).bind(77, b"u", false), Err(AgentError::NotOpen));
    net.agent(A).bind(9, b"u", false).unwrap();
    let second = net.agent(A).bind(9, b"v", false);
    assert_eq!(second, Err(AgentError::TooManyUids { limit: 1 }));
}

#[test]
fn misuse_ends_that_link_with_a_reason_and_nothing_else() {
    let who = process(7, 2);
    let hello = ToRouter::Hello { process: who };
    let synced = ToRouter::Synced { seq: 5 };
    let add = |seq, name| ToRouter::Add {
        seq,
        table: Table::Uids,
        name,
        single: None,
    };
    let closing = |reason| ToRouter::Push {
        id: 1,
        target: Target::All,
        exclude: Vec::new(),
        action: Action::Close { code: 1, reason },
    };
    let long = "x".repeat(256);
    let cases: Vec<(Vec<&ToRouter<'_>>, Misuse)> = vec![
        (vec![&synced], Misuse::Hello),
        (vec![&hello, &hello], Misuse::Hello),
        (vec![&hello, &synced, &synced], Misuse::Order),
    ];
    let adds = [
        add(6, b"u"),
        add(6, b"v"),
        add(7, b""),
        add(7, long.as_bytes()),
    ];
    let close = closing(&long);
    let client = ToRouter::HelloClient;
    let more: Vec<(Vec<&ToRouter<'_>>, Misuse)> = vec![
        (vec![&hello, &adds[0]], Misuse::Order),
        (
            vec![&hello, &synced, &adds[0], &adds[1]],
            Misuse::Sequence { got: 6, last: 6 },
        ),
        (vec![&hello, &synced, &adds[2]], Misuse::Name),
        (vec![&hello, &synced, &adds[3]], Misuse::Name),
        (vec![&hello, &synced, &close], Misuse::Name),
    ];
    let cases = (cases.into_iter().chain(more)).map(|(said, misuse)| (Some(who), said, misuse));
    let of_a_client = (None, vec![&client, &adds[0]], Misuse::NotAWorker);
    let mut raw: Vec<(Option<Process>, Vec<u8>, Misuse)> = Vec::new();
    for (link, messages, misuse) in cases.chain([of_a_client]) {
        let mut wire = Vec::new();
        for message in messages {
            message.append(b"", &mut wire).unwrap();
        }
        raw.push((link, wire, misuse));
    }
    raw.push((
        None,
        b"GET / HTTP/1.1\r\n".to_vec(),
        Misuse::Frame(FrameError::NotAFrame(*b"GE")),
    ));
    raw.push((
        Some(who),
        b"WR\x01\x01\x01\0\0\0\0\0\0\0\x63".to_vec(),
        Misuse::Frame(FrameError::Body),
    ));
    for (process, wire, expected) in raw {
        says_and_is_sent_away(process, &wire, expected);
    }
}

/// On a link of this process, or of a client, somebody says this.
fn says_and_is_sent_away(process: Option<Process>, wire: &[u8], expected: Misuse) {
    let mut net = hive();
    bind(&mut net, A, 1, b"u");
    net.settle();
    let now = net.now;
    let core = net.core();
    let link = match process {
        Some(process) => core.connect_process(process, now),
        None => core.connect_client(),
    };
    core.receive(link, wire, now);
    let event = std::iter::from_fn(|| core.next_event()).last();
    let ended = CoreEvent::Ended {
        link,
        process,
        reason: expected,
    };
    assert_eq!(event, Some(ended));
    // The other side is told why.
    let mut decoder = Decoder::new(Direction::FromRouter, 0);
    decoder.feed(core.output(link));
    let frame = decoder.next_frame().unwrap().unwrap();
    let bye = FromRouter::from_body(frame.body).unwrap();
    let text = expected.to_string();
    assert_eq!(bye, FromRouter::Bye { reason: &text });
    // And is not heard any more.
    core.receive(link, b"whatever", now);
    core.closed(link, now);
    core.receive(link, b"whatever", now);
    assert_eq!(core.next_event(), None);
    assert_eq!(core.processes().count(), 3);
    assert!(core.is_complete());
    net.take();
    push(&mut net, B, message(Target::Uid(b"u"), b"m"));
    net.settle();
    assert_eq!(outcomes(&mut net), [delivered(1)]);
}

#[test]
fn only_the_process_for_which_a_link_was_made_says_hello_on_it() {
    let (who, other) = (process(7, 2), process(7, 3));
    let stranger = Process { epoch: 9, ..who };
    let hello = |process: Option<Process>| {
        let mut wire = Vec::new();
        let hello = process.map_or(ToRouter::HelloClient, |process| ToRouter::Hello { process });
        hello.append(b"", &mut wire).unwrap();
        wire
    };
    for said in [Some(other), Some(stranger), None] {
        let misuse = Misuse::OtherProcess {
            expected: who,
            said,
        };
        says_and_is_sent_away(Some(who), &hello(said), misuse);
    }
    says_and_is_sent_away(None, &hello(Some(who)), Misuse::NotAProcess(who));
    let of_another_hive = Misuse::OtherEpoch(9);
    says_and_is_sent_away(Some(stranger), &hello(Some(stranger)), of_another_hive);
}

#[test]
fn a_second_link_of_the_same_process_replaces_the_first() {
    let mut net = hive();
    let now = net.now;
    let core = net.core();
    let link = core.connect_process(A, now);
    let mut wire = Vec::new();
    ToRouter::Hello { process: A }
        .append(b"", &mut wire)
        .unwrap();
    ToRouter::Synced { seq: 0 }.append(b"", &mut wire).unwrap();
    core.receive(link, &wire, now);
    let events: Vec<_> = std::iter::from_fn(|| core.next_event()).collect();
    assert!(matches!(
        events[..],
        [
            CoreEvent::Ended {
                process: Some(A),
                reason: Misuse::Replaced,
                ..
            },
            CoreEvent::Joined {
                process: Some(A),
                ..
            }
        ]
    ));
    assert_eq!(core.processes().count(), 3);
}

#[test]
fn a_hello_that_is_read_late_replaces_no_younger_link() {
    let mut net = Net::new();
    let now = net.now;
    let core = net.core();
    let links = [core.connect_process(A, now), core.connect_process(A, now)];
    let mut wire = Vec::new();
    ToRouter::Hello { process: A }
        .append(b"", &mut wire)
        .unwrap();
    ToRouter::Synced { seq: 0 }.append(b"", &mut wire).unwrap();
    core.receive(links[1], &wire, now);
    core.receive(links[0], &wire, now);
    let events: Vec<_> = std::iter::from_fn(|| core.next_event()).collect();
    let reason = Misuse::Replaced;
    let process = Some(A);
    assert_eq!(
        events,
        [
            CoreEvent::Joined {
                link: links[1],
                process
            },
            CoreEvent::Ended {
                link: links[0],
                process,
                reason
            }
        ]
    );
    assert!(core.processes().count() == 1 && core.is_complete());
}

#[test]
fn a_stale_route_is_removed_unless_it_is_newer() {
    let mut net = Net::new();
    let now = net.now;
    let core = net.core();
    let link = core.connect_process(A, now);
    let mut wire = Vec::new();
    let add = |seq| ToRouter::Add {
        seq,
        table: Table::Uids,
        name: b"u",
        single: None,
    };
    let miss = |seq| ToRouter::Miss {
        seq,
        table: Table::Uids,
        name: b"u",
    };
    for message in [
        ToRouter::Hello { process: A },
        ToRouter::Synced { seq: 0 },
        add(3),
        add(5),
        miss(4),
    ] {
        message.append(b"", &mut wire).unwrap();
    }
    core.receive(link, &wire, now);
    assert_eq!(core.processes().next().map(|row| row.uids), Some(1));
    assert_eq!(core.counters().stale_routes, 0);
    wire.clear();
    miss(5).append(b"", &mut wire).unwrap();
    core.receive(link, &wire, now);
    assert_eq!(core.processes().next().map(|row| row.uids), Some(0));
    assert_eq!(core.counters().stale_routes, 1);
}

#[test]
fn a_process_that_never_reads_loses_its_link_and_nobody_else_notices() {
    let limits = LinkLimits {
        queue: 2000,
        ..LinkLimits::default()
    };
    let core = CoreConfig {
        limits,
        ..CoreConfig::default()
    };
    let mut net = hive_with(core, AgentConfig::default());
    net.capacity = 0;
    // A asks and asks, and reads no answer.
    let now = net.now;
    let link = net.core().connect_client();
    let mut wire = Vec::new();
    ToRouter::HelloClient.append(b"", &mut wire).unwrap();
    for id in 1..1000 {
        let query = ToRouter::Query {
            id,
            query: Query::Totals,
        };
        query.append(b"", &mut wire).unwrap();
    }
    net.core().receive(link, &wire, now);
    let core = net.core();
    let events: Vec<_> = std::iter::from_fn(|| core.next_event()).collect();
    let ended = events.iter().any(|event| {
        matches!(
            event,
            CoreEvent::Ended {
                reason: Misuse::DoesNotRead,
                ..
            }
        )
    });
    assert!(ended);
    assert_eq!(core.processes().count(), 3);
}

#[test]
fn too_many_pushes_that_wait_are_not_routed_and_say_so() {
    let core = CoreConfig {
        waiting: 3,
        ..CoreConfig::default()
    };
    let mut net = hive_with(core, AgentConfig::default());
    bind(&mut net, A, 1, b"u");
    net.settle();
    net.take();
    net.stall(A, true);
    for _ in 0..5 {
        push(&mut net, B, message(Target::Uid(b"u"), b"m"));
    }
    net.settle();
    let outcomes = outcomes(&mut net);
    assert!(outcomes.len() == 2 && outcomes.iter().all(|outcome| outcome.unrouted));
    net.stall(A, false);
    net.settle();
    assert_eq!(net.messages().len(), 3);
}

#[test]
fn an_agent_takes_no_delivery_for_a_process_before_it() {
    let now = std::time::Instant::now();
    let mut agent: Agent<u64> = Agent::worker(process(0, 2), AgentConfig::default());
    agent.open(1);
    agent.connected(now);
    agent.sent(agent.output().len());
    let mut reached = Vec::new();
    for generation in 1..=3 {
        let deliver = FromRouter::Deliver {
            ask: 0,
            probe: false,
            target: Target::Connection(process(0, generation).connection(1)),
            exclude: Vec::new(),
            action: Action::Message { tag: 0 },
        };
        let mut wire = Vec::new();
        deliver.append(b"m", &mut wire).unwrap();
        agent.receive(&wire);
        while let Some(event) = agent.poll() {
            if let Event::Deliver { to, .. } = event {
                reached.push((generation, to.to_vec()));
            }
        }
    }
    assert_eq!(reached, [(2, vec![1])]);
}

#[test]
fn who_asks_for_more_than_it_takes_is_sent_away_before_that_takes_memory() {
    let limits = LinkLimits {
        queue: 64 * 1024,
        ..LinkLimits::default()
    };
    let config = CoreConfig {
        limits,
        ..CoreConfig::default()
    };
    let mut core = workhive_ipc::route::Core::new(process(0, 0), config);
    let now = std::time::Instant::now();
    let mut owner: Agent<u64> = Agent::worker(process(1, 1), AgentConfig::default());
    let link = core.connect_process(process(1, 1), now);
    owner.connected(now);
    for key in 0..1000_u64 {
        owner.open(key);
        let uid = format!("{key:0200}");
        owner.bind(key, uid.as_bytes(), false).unwrap();
    }
    core.receive(link, owner.output(), now);
    let mut client: Agent<u64> = Agent::client(AgentConfig::default());
    let link = core.connect_client();
    client.connected(now);
    // A page of a thousand long names for a few bytes, again and again, in one read.
    for _ in 0..3000 {
        let query = Query::Names {
            table: Table::Uids,
            from: 0,
            limit: 1000,
        };
        client.query(query, now).unwrap();
    }
    core.receive(link, client.output(), now);
    let queued = core.output(link).len();
    assert!(queued < 1024 * 1024, "{queued} bytes");
    let ended = std::iter::from_fn(|| core.next_event()).any(|event| {
        matches!(
            event,
            CoreEvent::Ended {
                reason: Misuse::DoesNotRead,
                ..
            }
        )
    });
    assert!(ended);
}
