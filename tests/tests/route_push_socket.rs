//! Programs at the push socket that talk nonsense: each loses its own link for a reason that is logged, and nobody else
//! notices.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use serde_json::json;
use workhive_ipc::route::{Client, Push, Target};
use workhive_tests::routes::{Member, Orders, Routes, alone_and_together};
use workhive_tests::{DEADLINE, eventually, proc, program};

/// A frame: two letters, a version, a kind, the lengths of body and payload, both.
fn frame(body: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut bytes = b"WR\x01\x01".to_vec();
    for part in [body, payload] {
        let len = u32::try_from(part.len()).expect("a short part");
        bytes.extend_from_slice(&len.to_le_bytes());
    }
    [&bytes, body, payload].concat()
}

/// What a program says first.
fn hello() -> Vec<u8> {
    frame(&[1], b"")
}

fn connect(routes: &Routes) -> UnixStream {
    let path = routes.hive.path("hive.push.sock");
    let stream = UnixStream::connect(path).expect("somebody who listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
    stream.set_write_timeout(Some(DEADLINE)).expect("a socket");
    stream
}

/// Sends bytes, and returns what comes until the link ends.
fn said(routes: &Routes, bytes: &[u8]) -> Vec<u8> {
    let mut stream = connect(routes);
    // It may be sent away before it has said all.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(error) if error.kind() != std::io::ErrorKind::ConnectionReset => {
            panic!("the link does not end: {error}")
        }
        _ => answer,
    }
}

/// Nonsense, and the reason that is given for it.
fn nonsense() -> Vec<(Vec<u8>, &'static str)> {
    let head = |version: u8, kind: u8, body: u32, payload: u32| {
        let mut head = vec![b'W', b'R', version, kind];
        head.extend_from_slice(&body.to_le_bytes());
        head.extend_from_slice(&payload.to_le_bytes());
        head
    };
    let after_hello = |more: Vec<u8>| [hello(), more].concat();
    vec![
        (
            b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            "no frame begins with \"GE\"",
        ),
        (vec![0; 100_000], "no frame begins with"),
        (vec![b'\n'; 12], "no frame begins with \"\\n\\n\""),
        (head(9, 1, 1, 0), "speaks version 9, this one 1"),
        (head(1, 2, 1, 0), "no frame of kind 2"),
        (head(1, 1, 2 << 20, 0), "a body of 2097152 bytes"),
        (head(1, 1, u32::MAX, 0), "a body of 4294967295 bytes"),
        (head(1, 1, 1, 11 << 20), "a payload of 11534336 bytes"),
        (head(1, 1, 1, u32::MAX), "a payload of 4294967295 bytes"),
        (frame(&[200, 1, 2, 3], b""), "does not decode"),
        (frame(&[1, 0], b""), "1 bytes follow the message"),
        (frame(b"", b""), "does not decode"),
        // Asks to be told of uids before it has said hello.
        (frame(&[7, 1], b""), "a link begins with one hello"),
        (after_hello(hello()), "a link begins with one hello"),
        // Says that it is a process of the hive.
        (
            frame(&[0, 1, 1, 1], b""),
            "whose link comes from the master",
        ),
        // Has a uid.
        (
            after_hello(frame(&[4, 1, 0, 1, b'u', 0], b"")),
            "only a worker process has connections",
        ),
        // Pushes to a uid without a name.
        (
            after_hello(frame(&[8, 1, 0, 0, 0, 0, 0], b"hi")),
            "a name is empty or too long",
        ),
        (
            after_hello(b"nonsense in the end".to_vec()),
            "no frame begins with \"no\"",
        ),
    ]
}

/// Checks that all goes on: pushes from a process and from a program arrive.
fn goes_on(routes: &Routes, client: &mut Client, member: &mut Member, what: &str) {
    let mut caller = routes.caller(1);
    let order = json!({ "uid": "u1", "text": what });
    assert_eq!(caller.delivered("send_to_uid", order), 1, "{what}");
    assert_eq!(member.text(), what);
    let push = Push::message(Target::Uid(b"u1"), 0, what.as_bytes());
    let outcome = client.push(push).expect("an outcome");
    assert_eq!(outcome.delivered, 1, "{what}");
    assert_eq!(member.text(), what);
}

#[test]
fn a_program_that_talks_nonsense_is_sent_away_for_a_reason_that_is_logged() {
    alone_and_together(program!("routes"), &[], |routes| {
        let mut member = routes.user(0, "u1");
        let path = routes.hive.path("hive.push.sock");
        let mut client = Client::connect(path).expect("a router");
        let workers = routes.hive.workers();
        for (bytes, reason) in nonsense() {
            let mark = routes.hive.mark();
            said(routes, &bytes);
            let line = routes
                .hive
                .wait_for_line_after(mark, "a client is sent away");
            assert!(
                line.contains(reason) && line.contains(" WARN "),
                "{reason}: {line}"
            );
            goes_on(routes, &mut client, &mut member, reason);
        }
        assert_eq!(routes.hive.workers(), workers);
    });
}

#[test]
fn a_program_that_dies_in_the_middle_of_a_frame_is_logged_and_one_that_just_ends_is_not() {
    alone_and_together(program!("routes"), &[], |routes| {
        let mut member = routes.user(0, "u1");
        let path = routes.hive.path("hive.push.sock");
        let mut client = Client::connect(path).expect("a router");
        let whole = [
            hello(),
            // A push to the uid u1, with an outcome.
            frame(&[8, 1, 0, 2, b'u', b'1', 0, 0, 0], b"whole"),
        ]
        .concat();
        for cut in [5, hello().len() + 3, whole.len() - 1] {
            let mark = routes.hive.mark();
            let mut stream = connect(routes);
            stream
                .write_all(&whole[..cut])
                .expect("a stream that takes bytes");
            drop(stream);
            let line = routes.hive.wait_for_line_after(mark, "a client has left");
            assert!(line.contains("bytes into a frame"), "{line}");
            goes_on(routes, &mut client, &mut member, "in the middle");
        }
        // The whole of it arrives, however late its end; and nothing is logged then.
        let mark = routes.hive.mark();
        let mut stream = connect(routes);
        for byte in &whole {
            stream
                .write_all(&[*byte])
                .expect("a stream that takes bytes");
        }
        assert_eq!(member.text(), "whole");
        stream.shutdown(Shutdown::Write).expect("an open stream");
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).expect("the end");
        goes_on(routes, &mut client, &mut member, "at the end");
        let log = routes.hive.log();
        let complaints = log[mark..].iter().filter(|line| line.contains("a client"));
        assert_eq!(complaints.count(), 0, "{log:#?}");
    });
}

#[test]
fn a_program_that_asks_and_does_not_read_is_sent_away_before_it_costs_much_memory() {
    alone_and_together(program!("routes"), &[], |routes| {
        let mut member = routes.user(0, "u1");
        let path = routes.hive.path("hive.push.sock");
        let mut client = Client::connect(path).expect("a router");
        let mut holder = routes.caller(2);
        let prefix = "r".repeat(240);
        holder.must("join_many", json!({ "prefix": prefix, "count": 1000 }));
        let asked = routes.hive.router().unwrap_or(routes.hive.workers()[0]);
        let mark = routes.hive.mark();
        let mut stream = connect(routes);
        stream
            .write_all(&hello())
            .expect("a stream that takes bytes");
        // Which rooms are there? A quarter of a megabyte in answer to a few bytes.
        let question = frame(&[11, 1, 2, 1, 0, 251, 232, 3], b"");
        let mut most = 0;
        let sent_away = (0..10_000).find(|_| {
            most = most.max(proc::rss_kib(asked));
            stream.write_all(&question).is_err()
        });
        assert!(sent_away.is_some(), "so much is not kept for it");
        let line = routes
            .hive
            .wait_for_line_after(mark, "a client is sent away");
        assert!(line.contains("it does not read what it is sent"), "{line}");
        println!("{most} KiB at most");
        assert!(most < 64 * 1024, "{most} KiB");
        goes_on(routes, &mut client, &mut member, "afterwards");
    });
}

#[test]
fn more_programs_than_there_may_be_are_turned_away_until_others_have_left() {
    alone_and_together(program!("routes"), &[], |routes| {
        let mut member = routes.user(0, "u1");
        let path = routes.hive.path("hive.push.sock");
        let mut client = Client::connect(&path).expect("a router");
        let mut idle: Vec<_> = (1..256)
            .map(|_| {
                let mut stream = connect(routes);
                stream
                    .write_all(&hello())
                    .expect("a stream that takes bytes");
                stream
            })
            .collect();
        let mark = routes.hive.mark();
        let mut one_more = connect(routes);
        let mut rest = Vec::new();
        assert_eq!(one_more.read_to_end(&mut rest).expect("the end"), 0);
        routes
            .hive
            .wait_for_line_after(mark, "one more is turned away");
        goes_on(routes, &mut client, &mut member, "full");
        idle.pop();
        eventually("room for one more", || {
            let mut another = Client::connect(&path).ok()?;
            another.online(&[b"u1"]).ok()
        });
        goes_on(routes, &mut client, &mut member, "not full");
    });
}

#[test]
fn programs_that_connect_and_say_nothing_make_room_for_one_that_does() {
    alone_and_together(program!("routes"), &[], |routes| {
        let mut member = routes.user(0, "u1");
        let path = routes.hive.path("hive.push.sock");
        let silent: Vec<_> = (0..256).map(|_| connect(routes)).collect();
        // They are given a moment first.
        let mut client = eventually("room for one that speaks", || {
            let mut client = Client::connect(&path).ok()?;
            client.online(&[b"u1"]).ok()?;
            Some(client)
        });
        goes_on(routes, &mut client, &mut member, "among the silent");
        drop(silent);
    });
}
