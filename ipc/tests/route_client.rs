//! The client of a hive, over a real socket.

mod hub;

use std::time::{Duration, Instant};

use hub::{Hub, hello, path};
use workhive_ipc::route::{
    AgentError, Answer, Client, ClientError, CoreConfig, Message, Outcome, Process, Push, Query,
    Scope, Target,
};

fn delivered(delivered: u32) -> Outcome {
    Outcome {
        delivered,
        ..Outcome::default()
    }
}

#[test]
fn a_push_comes_back_with_its_outcome() {
    let path = path();
    let _hub = Hub::start(&path, 10);
    let mut client = Client::connect(&path).unwrap();
    assert_eq!(client.push(hello(b"3")).unwrap(), delivered(1));
    assert_eq!(client.push(hello(b"")).unwrap(), delivered(10));
    assert!(client.push(hello(b"77")).unwrap().is_offline());
    let payload = vec![b'x'; 100_000];
    let room = Push::message(Target::Room(b"even"), 0, &payload);
    assert_eq!(client.push(room).unwrap(), delivered(5));
    // Whether it asked for an outcome or not.
    assert_eq!(
        client.push(hello(b"3").with_outcome()).unwrap(),
        delivered(1)
    );
}

#[test]
fn many_pushes_are_in_flight_at_once_and_each_gets_its_own_outcome() {
    let path = path();
    let _hub = Hub::start(&path, 1000);
    let mut client = Client::connect(&path).unwrap();
    let uids: Vec<String> = (0..50_000).map(|key| (key % 2000).to_string()).collect();
    let began = Instant::now();
    let pushes = uids.iter().map(|uid| hello(uid.as_bytes()));
    let outcomes = client.push_all(pushes).unwrap();
    println!("50,000 pushes in {:?}", began.elapsed());
    assert_eq!(outcomes.len(), 50_000);
    for (uid, outcome) in uids.iter().zip(outcomes) {
        let is_here = uid.parse::<u32>().unwrap() < 1000;
        assert_eq!(outcome, delivered(u32::from(is_here)));
    }
    // In whatever order they are waited for; once.
    let ids = [b"1", b"2"].map(|uid| client.send(hello(uid)).unwrap());
    assert_eq!(client.wait(ids[1]).unwrap(), delivered(1));
    assert_eq!(client.wait(ids[0]).unwrap(), delivered(1));
    assert!(matches!(client.wait(ids[0]), Err(ClientError::NotSent)));
}

#[test]
fn sent_pushes_that_nobody_waits_for_are_bounded() {
    let path = path();
    let _hub = Hub::start(&path, 1);
    let mut client = Client::connect(&path).unwrap();
    let mut ids = Vec::new();
    let error = loop {
        match client.send(hello(b"0")) {
            Ok(id) => ids.push(id),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, ClientError::TooMany { limit: 262_144 }));
    assert_eq!(ids.len(), 262_144);
    client.flush().unwrap();
    for id in ids {
        assert_eq!(client.wait(id).unwrap(), delivered(1));
    }
    assert_eq!(client.push(hello(b"0")).unwrap(), delivered(1));
}

#[test]
fn questions_are_answered() {
    let path = path();
    let _hub = Hub::start(&path, 2500);
    let mut client = Client::connect(&path).unwrap();
    let count = client.query(Query::Count(Scope::Room(b"even"))).unwrap();
    let expected = Answer::Count {
        connections: 1250,
        partial: false,
    };
    assert_eq!(count, expected);
    assert_eq!(client.rooms().unwrap(), [b"even"]);
    let mut uids = client.uids().unwrap();
    uids.sort();
    uids.dedup();
    assert_eq!(uids.len(), 2500);
    assert_eq!(
        client.online(&[b"1", b"9999", b"2"]).unwrap(),
        [true, false, true]
    );
    assert_eq!(client.online(&[]).unwrap(), []);
    // More than fit into one request.
    let many: Vec<Vec<u8>> = (0..40_000_u32)
        .map(|key| format!("{key:0>40}").into_bytes())
        .collect();
    let mut many: Vec<&[u8]> = many.iter().map(Vec::as_slice).collect();
    many.push(b"7");
    let online = client.online(&many).unwrap();
    assert!(online.len() == 40_001 && online[40_000] && !online[39_999]);
}

#[test]
fn what_cannot_be_asked_is_said_at_once_and_harms_nothing() {
    let path = path();
    let _hub = Hub::start(&path, 1);
    let mut client = Client::connect(&path).unwrap();
    let huge = vec![0; 11 * 1024 * 1024];
    let too_long = Push::message(Target::All, 0, &huge);
    assert!(matches!(
        client.push(too_long),
        Err(ClientError::Request(AgentError::TooLong))
    ));
    assert!(matches!(
        client.publish(b"", 0, b""),
        Err(ClientError::Request(AgentError::Name { length: 0 }))
    ));
    let overlong = [b'x'; 256];
    assert!(matches!(
        client.online(&[&overlong]),
        Err(ClientError::Request(_))
    ));
    assert_eq!(client.push(hello(b"0")).unwrap(), delivered(1));
}

#[test]
fn what_is_published_reaches_those_who_subscribe() {
    let path = path();
    let _hub = Hub::start(&path, 1);
    let mut reader = Client::connect(&path).unwrap();
    let mut writer = Client::connect(&path).unwrap();
    reader.subscribe(b"prices").unwrap();
    reader.subscribe(b"answers").unwrap();
    reader.subscribe(b"prices").unwrap();
    writer.publish(b"prices", 7, b"1.08").unwrap();
    let message = |topic: &[u8], tag, payload: &[u8]| Message {
        topic: topic.to_vec(),
        tag,
        payload: payload.to_vec(),
    };
    let next = reader.next(Duration::from_secs(5)).unwrap();
    assert_eq!(next, Some(message(b"prices", 7, b"1.08")));
    writer.publish(b"echo", 1, b"out and back").unwrap();
    let next = reader.next(Duration::from_secs(5)).unwrap();
    assert_eq!(next, Some(message(b"answers", 1, b"out and back")));
    // What comes while it waits for something else is kept.
    reader.publish(b"prices", 0, b"mine").unwrap();
    for _ in 0..3 {
        reader.push(hello(b"0")).unwrap();
    }
    let next = reader.next(Duration::ZERO).unwrap();
    assert_eq!(next, Some(message(b"prices", 0, b"mine")));
    reader.unsubscribe(b"prices").unwrap();
    reader.push(hello(b"0")).unwrap();
    writer.publish(b"prices", 0, b"unheard").unwrap();
    assert_eq!(reader.next(Duration::from_millis(50)).unwrap(), None);
    assert_eq!(reader.missed(), 0);
}

#[test]
fn messages_that_nobody_takes_are_bounded_and_counted() {
    let path = path();
    let _hub = Hub::start(&path, 1);
    let mut reader = Client::connect(&path).unwrap();
    reader.subscribe(b"t").unwrap();
    for _ in 0..20 {
        reader.publish(b"t", 0, &vec![0; 1024 * 1024]).unwrap();
        reader.push(hello(b"0")).unwrap();
    }
    let mut taken = 0;
    while reader.next(Duration::from_millis(50)).unwrap().is_some() {
        taken += 1;
    }
    assert_eq!((taken, reader.missed()), (15, 5));
    reader.publish(b"t", 0, b"").unwrap();
    assert!(reader.next(Duration::from_secs(5)).unwrap().is_some());
}

#[test]
fn a_post_is_delivered_though_nobody_waits_for_it() {
    let path = path();
    let _hub = Hub::start(&path, 1);
    let mut client = Client::connect(&path).unwrap();
    client
        .post(Push::join(Target::Uid(b"0"), b"lobby").with_outcome())
        .unwrap();
    // On the same stream, so it comes after.
    let outcome = client.push(Push::message(Target::Uid(b"0"), 0, b"m"));
    assert_eq!(outcome.unwrap(), delivered(1));
    let outcome = client.push(Push::message(Target::Room(b"lobby"), 0, b"m"));
    assert_eq!(outcome.unwrap(), delivered(1));
}

#[test]
fn a_client_goes_on_when_the_hive_is_back() {
    let path = path();
    let hub = Hub::start(&path, 1);
    let mut client = Client::connect(&path).unwrap();
    let mut reader = Client::connect(&path).unwrap();
    client.push(hello(b"0")).unwrap();
    reader.subscribe(b"t").unwrap();
    hub.stop();
    let error = client.push(hello(b"0")).unwrap_err();
    assert!(matches!(&error, ClientError::Connect { .. }), "{error}");
    let hub = Hub::start(&path, 2);
    // Nothing was going on, so nothing is said.
    assert_eq!(client.push(hello(b"1")).unwrap(), delivered(1));
    // Something may have been missed, so that is said; once.
    let error = reader.next(Duration::from_secs(5)).unwrap_err();
    assert!(matches!(&error, ClientError::Lost { .. }), "{error}");
    assert_eq!(reader.next(Duration::from_millis(50)).unwrap(), None);
    // It has subscribed again.
    reader.push(hello(b"0")).unwrap();
    client.publish(b"t", 0, b"m").unwrap();
    assert!(reader.next(Duration::from_secs(5)).unwrap().is_some());
    // A restart between two calls.
    hub.stop();
    let _hub = Hub::start(&path, 1);
    assert_eq!(client.push(hello(b"0")).unwrap(), delivered(1));
}

#[test]
fn more_than_the_router_waits_for_is_not_routed() {
    let path = path();
    let config = CoreConfig {
        waiting: 0,
        ..CoreConfig::default()
    };
    let _hub = Hub::with(&path, 1, config, |_| ());
    let mut client = Client::connect(&path).unwrap();
    assert!(client.push(hello(b"0")).unwrap().unrouted);
    let answer = client.query(Query::Count(Scope::All)).unwrap();
    assert!(matches!(answer, Answer::Count { partial: true, .. }));
}

#[test]
fn a_router_that_does_not_know_everything_yet_says_so() {
    let path = path();
    let _hub = Hub::with(&path, 1, CoreConfig::default(), |hive| {
        let missing = Process {
            epoch: 1,
            slot: 5,
            generation: 0,
        };
        hive.core().connect_process(missing, Instant::now());
    });
    let mut client = Client::connect(&path).unwrap();
    assert_eq!(client.online(&[b"0"]).unwrap(), [true]);
    let incomplete = [
        client.online(&[b"0", b"1"]).map(drop),
        client.rooms().map(drop),
        client.uids().map(drop),
    ];
    for error in incomplete.map(Result::unwrap_err) {
        assert!(matches!(&error, ClientError::Incomplete { .. }), "{error}");
    }
    // The other process may have it too.
    let outcome = client.push(hello(b"0")).unwrap();
    assert!(outcome.delivered == 1 && outcome.unknown);
}
