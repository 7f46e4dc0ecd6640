//! The client against those who do not behave as a router: an error in time, never a hang.

mod hub;

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use hub::{Hub, SocketPath, hello, path};
use workhive_ipc::route::{
    Answer, Client, ClientError, FrameError, FromRouter, Loss, Outcome, Query,
};

const TIMEOUT: Duration = Duration::from_millis(300);

/// Something that accepts connections and treats each of them like this. The listener stays to the end of the test.
fn peer(treat: impl Fn(UnixStream) + Send + 'static) -> SocketPath {
    let path = path();
    let listener = UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            treat(stream.unwrap());
        }
    });
    path
}

/// Until the client goes away; or for ever, if it is not read from.
fn read_all(stream: &mut UnixStream) {
    let mut buffer = vec![0; 64 * 1024];
    while stream.read(&mut buffer).is_ok_and(|bytes| bytes > 0) {}
}

fn connect(path: &Path) -> Client {
    Client::connect(path).unwrap().with_timeout(TIMEOUT)
}

/// Does it within its time, and fails.
fn fails<T: std::fmt::Debug>(call: impl FnOnce() -> Result<T, ClientError>) -> ClientError {
    let began = Instant::now();
    let error = call().unwrap_err();
    let took = began.elapsed();
    // A busy machine may take its time; a hang would be for ever.
    assert!(took < TIMEOUT + Duration::from_secs(5), "{took:?}");
    assert!(!error.to_string().is_empty());
    error
}

fn loss(error: ClientError) -> Loss {
    match error {
        ClientError::Lost { why, .. } => why,
        other => panic!("{other:?}"),
    }
}

/// Every call that waits.
fn all_fail(path: &Path, mut is_expected: impl FnMut(&ClientError) -> bool) {
    let mut client = connect(path);
    let mut check = |error: ClientError| assert!(is_expected(&error), "{error:?}");
    check(fails(|| client.push(hello(b"u"))));
    check(fails(|| client.push_all((0..100).map(|_| hello(b"u")))));
    check(fails(|| client.query(Query::Totals)));
    check(fails(|| client.online(&[b"u"])));
    check(fails(|| client.rooms()));
    check(fails(|| client.uids()));
    check(fails(|| client.subscribe(b"t")));
}

#[test]
fn where_nobody_listens_the_error_says_what_to_look_at() {
    let path = path();
    let error = fails(|| Client::connect(&path));
    assert!(error.to_string().contains("is the hive running?"));
    let listener = UnixListener::bind(&path).unwrap();
    drop(listener);
    let error = fails(|| Client::connect(&path));
    assert!(error.to_string().contains("has the hive ended?"), "{error}");
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "no socket").unwrap();
    let error = fails(|| Client::connect(&path));
    assert!(matches!(error, ClientError::Connect { .. }));
    let error = fails(|| Client::connect("x".repeat(300)));
    assert!(matches!(error, ClientError::Connect { .. }));
}

#[test]
fn a_router_that_accepts_nobody_any_more_is_given_up() {
    let path = path();
    let listener = UnixListener::bind(&path).unwrap();
    let mut client = connect(&path);
    drop(listener.accept().unwrap());
    // The queue of those who wait to be accepted fills up.
    let (done, waiting) = mpsc::channel();
    let full = path.to_owned();
    std::thread::spawn(move || {
        let mut waiting = Vec::new();
        while let Ok(stream) = UnixStream::connect(&full) {
            waiting.push(stream);
            let _ = done.send(());
        }
    });
    while waiting.recv_timeout(Duration::from_millis(500)).is_ok() {}
    let error = fails(|| client.push(hello(b"u")));
    assert!(error.to_string().contains("is it stuck?"), "{error}");
}

#[test]
fn a_router_that_reads_but_never_answers_is_a_timeout() {
    let path = peer(|mut stream| read_all(&mut stream));
    all_fail(&path, |error| matches!(error, ClientError::Timeout { .. }));
    // Such a push can still be waited for.
    let mut client = connect(&path);
    let id = client.send(hello(b"u")).unwrap();
    for _ in 0..2 {
        let error = fails(|| client.wait(id));
        assert!(matches!(error, ClientError::Timeout { .. }));
    }
}

#[test]
fn a_router_that_never_reads_is_a_timeout_however_much_is_sent() {
    let path = peer(std::mem::forget);
    all_fail(&path, |error| matches!(error, ClientError::Timeout { .. }));
    let mut client = connect(&path);
    let payload = vec![0; 1024 * 1024];
    let error = fails(|| (0..100).try_for_each(|_| client.publish(b"t", 0, &payload)));
    assert!(matches!(error, ClientError::Timeout { .. }));
    // More and more of it is refused, with the same patience.
    let errors = (0..20).map(|_| client.publish(b"t", 0, &payload).unwrap_err());
    let refused = errors.filter(|error| matches!(error, ClientError::Request(_)));
    assert!(refused.count() > 0);
}

#[test]
fn a_router_that_dies_in_the_middle_is_a_loss_of_all_that_was_in_flight() {
    let path = peer(|mut stream| {
        let mut first = [0; 20];
        let _ = stream.read_exact(&mut first);
    });
    all_fail(&path, |error| matches!(error, ClientError::Lost { .. }));
    let mut client = connect(&path);
    let ids: Vec<_> = (0..10).map(|_| client.send(hello(b"u")).unwrap()).collect();
    for id in ids {
        assert_eq!(loss(fails(|| client.wait(id))), Loss::Unheard);
        assert!(matches!(client.wait(id), Err(ClientError::NotSent)));
    }
}

#[test]
fn what_the_router_had_said_before_it_died_counts() {
    let path = peer(|mut stream| {
        let mut first = [0; 60];
        stream.read_exact(&mut first).unwrap();
        // The first push of a client has this number.
        let outcome = Outcome {
            delivered: 3,
            ..Outcome::default()
        };
        let mut wire = Vec::new();
        let outcome = FromRouter::Outcome {
            id: 1 << 32,
            outcome,
        };
        outcome.append(b"", &mut wire).unwrap();
        stream.write_all(&wire).unwrap();
    });
    let mut client = connect(&path);
    let ids = [b"u", b"v"].map(|uid| client.send(hello(uid)).unwrap());
    assert_eq!(client.wait(ids[0]).unwrap().delivered, 3);
    assert_eq!(loss(fails(|| client.wait(ids[1]))), Loss::Ended);
}

#[test]
fn garbage_is_recognized_as_such() {
    let path = peer(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        read_all(&mut stream);
    });
    all_fail(&path, |error| {
        let why = Loss::Nonsense(FrameError::NotAFrame(*b"HT"));
        matches!(error, ClientError::Lost { why: other, .. } if *other == why)
    });
    let path = peer(|mut stream| {
        let _ = stream.write_all(b"WR\x02\x02");
        let _ = stream.write_all(&[0; 100]);
        read_all(&mut stream);
    });
    let error = fails(|| connect(&path).push(hello(b"u")));
    assert_eq!(loss(error), Loss::Nonsense(FrameError::Version(2)));
}

#[test]
fn a_frame_that_never_ends_is_a_timeout_though_bytes_keep_coming() {
    let path = peer(|mut stream| {
        let _ = stream.write_all(b"WR\x01\x02\x01\0\0\0\0\0\x10\0");
        while stream.write_all(b"x").is_ok() {
            // The pace of this peer, which is what is tested; nothing is waited for.
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    all_fail(&path, |error| matches!(error, ClientError::Timeout { .. }));
}

#[test]
fn frames_that_nobody_asked_for_do_not_keep_a_call_waiting() {
    let path = peer(|mut stream| {
        let mut wire = Vec::new();
        for id in 0..1000 {
            let outcome = Outcome::default();
            let unknown = FromRouter::Outcome { id, outcome };
            unknown.append(b"", &mut wire).unwrap();
            let topic = FromRouter::Topic {
                topic: b"never subscribed to",
                tag: 0,
            };
            topic.append(&[b'x'; 1000], &mut wire).unwrap();
        }
        while stream.write_all(&wire).is_ok() {}
    });
    all_fail(&path, |error| matches!(error, ClientError::Timeout { .. }));
}

#[test]
fn the_answer_to_another_question_is_nonsense() {
    for id in 0..3 {
        let path = peer(move |mut stream| {
            let mut wire = Vec::new();
            // The first question of a client has this number, the next ones have others.
            let answer = FromRouter::Answer {
                id: (1 << 32) + (id << 32),
                answer: Answer::Names {
                    names: Vec::new(),
                    next: Some(0),
                    partial: false,
                },
            };
            answer.append(b"", &mut wire).unwrap();
            let mut first = [0; 30];
            let _ = stream.read_exact(&mut first);
            let _ = stream.write_all(&wire);
            read_all(&mut stream);
        });
        let mut client = connect(&path);
        let error = fails(|| client.online(&[b"u"]));
        if id == 0 {
            assert_eq!(loss(error), Loss::Answer);
        } else {
            assert!(matches!(error, ClientError::Timeout { .. }));
        }
        // A listing that begins again and again.
        let error = fails(|| connect(&path).rooms());
        if id == 0 {
            assert_eq!(loss(error), Loss::Answer);
        }
    }
}

#[test]
fn a_router_that_sends_a_client_away_is_heard() {
    let path = peer(|mut stream| {
        let mut first = [0; 13];
        stream.read_exact(&mut first).unwrap();
        let mut wire = Vec::new();
        let bye = FromRouter::Bye { reason: "go away" };
        bye.append(b"", &mut wire).unwrap();
        stream.write_all(&wire).unwrap();
    });
    let error = fails(|| connect(&path).push(hello(b"u")));
    assert!(error.to_string().contains("go away"), "{error}");
    assert_eq!(loss(error), Loss::Dismissed("go away".to_owned()));
    // Also if it is noticed by writing.
    let mut client = connect(&path);
    let payload = vec![0; 1024 * 1024];
    let error = fails(|| (0..100).try_for_each(|_| client.publish(b"t", 0, &payload)));
    assert_eq!(loss(error), Loss::Dismissed("go away".to_owned()));
}

#[test]
fn a_connection_that_is_closed_at_once_hints_at_rights() {
    let path = peer(drop);
    let error = fails(|| connect(&path).push(hello(b"u")));
    assert!(error.to_string().contains("may not use it"), "{error}");
}

#[test]
fn a_router_that_is_restarted_again_and_again_never_confuses_a_client() {
    let path = path();
    let mut client = None;
    for round in 0..20 {
        let hub = Hub::start(&path, 5);
        let client = client.get_or_insert_with(|| connect(&path));
        let uids: Vec<String> = (0..1000).map(|key| (key % 5).to_string()).collect();
        let mut ids = Vec::new();
        for uid in &uids {
            ids.push(client.send(hello(uid.as_bytes())).unwrap());
        }
        if round % 2 == 0 {
            let stopping = std::thread::spawn(move || {
                // Some moment in the middle; whichever it is, all must be answered.
                std::thread::sleep(Duration::from_micros(200));
                hub.stop();
            });
            for id in ids {
                match client.wait(id) {
                    Ok(outcome) => assert_eq!(outcome.delivered, 1),
                    Err(error) => assert!(matches!(error, ClientError::Lost { .. }), "{error}"),
                }
            }
            stopping.join().unwrap();
        } else {
            for id in ids {
                assert_eq!(client.wait(id).unwrap().delivered, 1);
            }
        }
    }
}
