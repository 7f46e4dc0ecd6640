//! The bytes between processes and the router.

use proptest::prelude::*;
use workhive_ipc::route::{
    Action, Answer, Decoder, Direction, FrameError, FromRouter, HEADER, Link, LinkLimits, MAX_BODY,
    Member, Outcome, Process, Query, Scope, SnapshotUid, Table, Target, ToRouter,
};

const PROCESS: Process = Process {
    epoch: 0x0a0b_0c0d,
    slot: 2,
    generation: 7,
};

#[expect(clippy::too_many_lines, reason = "one entry for each message")]
fn to_router() -> Vec<(ToRouter<'static>, &'static [u8], &'static [u8])> {
    let id = PROCESS.connection(300);
    vec![
        (
            ToRouter::Hello { process: PROCESS },
            b"",
            b"WR\x01\x01\x08\0\0\0\0\0\0\0\x00\xfc\x0d\x0c\x0b\x0a\x02\x07",
        ),
        (
            ToRouter::HelloClient,
            b"",
            b"WR\x01\x01\x01\0\0\0\0\0\0\0\x01",
        ),
        (
            ToRouter::Snapshot {
                uids: vec![SnapshotUid {
                    uid: b"u1",
                    single: Some(9),
                }],
                rooms: vec![b"r"],
                topics: vec![],
            },
            b"",
            b"WR\x01\x01\x0b\0\0\0\0\0\0\0\x02\x01\x02u1\x01\x09\x01\x01r\x00",
        ),
        (
            ToRouter::Synced { seq: 5 },
            b"",
            b"WR\x01\x01\x02\0\0\0\0\0\0\0\x03\x05",
        ),
        (
            ToRouter::Add {
                seq: 6,
                table: Table::Uids,
                name: b"u1",
                single: None,
            },
            b"",
            b"WR\x01\x01\x07\0\0\0\0\0\0\0\x04\x06\x00\x02u1\x00",
        ),
        (
            ToRouter::Remove {
                seq: 7,
                table: Table::Rooms,
                name: b"r",
            },
            b"",
            b"WR\x01\x01\x05\0\0\0\0\0\0\0\x05\x07\x01\x01r",
        ),
        (
            ToRouter::Miss {
                seq: 7,
                table: Table::Topics,
                name: b"t",
            },
            b"",
            b"WR\x01\x01\x05\0\0\0\0\0\0\0\x06\x07\x02\x01t",
        ),
        (
            ToRouter::Watch { on: true },
            b"",
            b"WR\x01\x01\x02\0\0\0\0\0\0\0\x07\x01",
        ),
        (
            ToRouter::Push {
                id: 1,
                target: Target::Uid(b"u1"),
                exclude: vec![id],
                action: Action::Message { tag: 1 },
            },
            b"hello",
            b"WR\x01\x01\x13\0\0\0\x05\0\0\0\x08\x01\x00\x02u1\x01\xfc\x0d\x0c\x0b\x0a\x02\x07\xfb\x2c\x01\x00\x01hello",
        ),
        (
            ToRouter::Push {
                id: 0,
                target: Target::Rooms(vec![b"a", b"b"]),
                exclude: vec![],
                action: Action::Close {
                    code: 4000,
                    reason: "no",
                },
            },
            b"",
            b"WR\x01\x01\x10\0\0\0\0\0\0\0\x08\x00\x03\x02\x01a\x01b\x00\x01\xfb\xa0\x0f\x02no",
        ),
        (
            ToRouter::Report {
                ask: 250,
                delivered: 2,
                refused: 1,
            },
            b"",
            b"WR\x01\x01\x04\0\0\0\0\0\0\0\x09\xfa\x02\x01",
        ),
        (
            ToRouter::Publish {
                topic: b"t",
                tag: 3,
            },
            b"x",
            b"WR\x01\x01\x04\0\0\0\x01\0\0\0\x0a\x01t\x03x",
        ),
        (
            ToRouter::Query {
                id: 4,
                query: Query::Members {
                    scope: Scope::Room(b"r"),
                    after: None,
                    limit: 100,
                },
            },
            b"",
            b"WR\x01\x01\x08\0\0\0\0\0\0\0\x0b\x04\x04\x01\x01r\x00\x64",
        ),
        (
            ToRouter::Answer {
                ask: 4,
                answer: Answer::Members {
                    members: vec![Member {
                        id,
                        uids: vec![b"u1".to_vec()],
                    }],
                    more: false,
                    partial: false,
                },
            },
            b"",
            b"WR\x01\x01\x14\0\0\0\0\0\0\0\x0c\x04\x04\x01\xfc\x0d\x0c\x0b\x0a\x02\x07\xfb\x2c\x01\x01\x02u1\x00\x00",
        ),
    ]
}

fn from_router() -> Vec<(FromRouter<'static>, &'static [u8], &'static [u8])> {
    let id = PROCESS.connection(9);
    vec![
        (
            FromRouter::Ack { seq: 6 },
            b"",
            b"WR\x01\x02\x02\0\0\0\0\0\0\0\x00\x06",
        ),
        (
            FromRouter::Deliver {
                ask: 1,
                probe: false,
                target: Target::All,
                exclude: vec![],
                action: Action::Message { tag: 0 },
            },
            b"hi",
            b"WR\x01\x02\x07\0\0\0\x02\0\0\0\x01\x01\x00\x04\x00\x00\x00hi",
        ),
        (
            FromRouter::Outcome {
                id: 1,
                outcome: Outcome {
                    delivered: 2,
                    refused: 1,
                    unknown: true,
                    unrouted: false,
                },
            },
            b"",
            b"WR\x01\x02\x06\0\0\0\0\0\0\0\x02\x01\x02\x01\x01\x00",
        ),
        (
            FromRouter::Kick {
                connection: id,
                uid: b"u",
            },
            b"",
            b"WR\x01\x02\x0b\0\0\0\0\0\0\0\x03\xfc\x0d\x0c\x0b\x0a\x02\x07\x09\x01u",
        ),
        (
            FromRouter::Presence {
                uid: b"u",
                online: true,
            },
            b"",
            b"WR\x01\x02\x04\0\0\0\0\0\0\0\x04\x01u\x01",
        ),
        (
            FromRouter::Topic {
                topic: b"t",
                tag: 3,
            },
            b"x",
            b"WR\x01\x02\x04\0\0\0\x01\0\0\0\x05\x01t\x03x",
        ),
        (
            FromRouter::Ask {
                ask: 4,
                query: Query::Session(id),
            },
            b"",
            b"WR\x01\x02\x0b\0\0\0\0\0\0\0\x06\x04\x05\xfc\x0d\x0c\x0b\x0a\x02\x07\x09",
        ),
        (
            FromRouter::Answer {
                id: 4,
                answer: Answer::Session {
                    data: Some(b"d".to_vec()),
                    partial: false,
                },
            },
            b"",
            b"WR\x01\x02\x07\0\0\0\0\0\0\0\x07\x04\x05\x01\x01d\x00",
        ),
        (
            FromRouter::Bye { reason: "no" },
            b"",
            b"WR\x01\x02\x04\0\0\0\0\0\0\0\x08\x02no",
        ),
    ]
}

/// Written down once and never changed: what an older binary sends must be read, or refused by its version.
#[test]
fn frames_have_these_bytes() {
    for (message, payload, golden) in to_router() {
        let mut wire = Vec::new();
        message.append(payload, &mut wire).unwrap();
        assert_eq!(wire, golden, "{message:?} is {}", wire.escape_ascii());
        let mut decoder = Decoder::new(Direction::ToRouter, 100);
        decoder.feed(golden);
        let frame = decoder.next_frame().unwrap().unwrap();
        assert_eq!(frame.payload, payload);
        assert_eq!(ToRouter::from_body(frame.body), Ok(message));
    }
    for (message, payload, golden) in from_router() {
        let mut wire = Vec::new();
        message.append(payload, &mut wire).unwrap();
        assert_eq!(wire, golden, "{message:?} is {}", wire.escape_ascii());
        let mut decoder = Decoder::new(Direction::FromRouter, 100);
        decoder.feed(golden);
        let frame = decoder.next_frame().unwrap().unwrap();
        assert_eq!(frame.payload, payload);
        assert_eq!(FromRouter::from_body(frame.body), Ok(message));
    }
}

#[test]
fn what_is_no_frame_is_refused_by_its_header() {
    let cases: [(&[u8], FrameError); 6] = [
        (
            b"HT\x01\x01\x01\0\0\0\0\0\0\0",
            FrameError::NotAFrame(*b"HT"),
        ),
        (b"WR\x02\x01\x01\0\0\0\0\0\0\0", FrameError::Version(2)),
        (b"WR\x01\x02\x01\0\0\0\0\0\0\0", FrameError::Kind(2)),
        (b"WR\x01\x09\x01\0\0\0\0\0\0\0", FrameError::Kind(9)),
        (
            b"WR\x01\x01\x01\0\x10\0\0\0\0\0",
            FrameError::BodyTooLong {
                declared: MAX_BODY + 1,
            },
        ),
        (
            b"WR\x01\x01\x01\0\0\0\x65\0\0\0",
            FrameError::PayloadTooLong {
                declared: 101,
                limit: 100,
            },
        ),
    ];
    for (bytes, error) in cases {
        assert_eq!(bytes.len(), HEADER);
        let mut decoder = Decoder::new(Direction::ToRouter, 100);
        decoder.feed(bytes);
        assert_eq!(decoder.next_frame(), Err(error), "{error}");
        // And so it stays.
        decoder.feed(b"WR\x01\x01\x01\0\0\0\0\0\0\0\x01");
        assert_eq!(decoder.next_frame(), Err(error));
    }
}

#[test]
fn what_is_no_message_is_refused_by_its_body() {
    let cases: [(&[u8], FrameError); 6] = [
        (b"", FrameError::Body),
        (b"\x63", FrameError::Body),
        (b"\x01\x00", FrameError::Trailing { bytes: 1 }),
        // A uid that goes beyond the body.
        (b"\x04\x06\x00\x09u1\x00", FrameError::Body),
        // A list that claims u64::MAX uids.
        (
            b"\x08\x00\x01\xfd\xff\xff\xff\xff\xff\xff\xff\xff",
            FrameError::Body,
        ),
        // One that claims more memory than a body may.
        (b"\x08\x00\x01\xfc\0\0\x01\0", FrameError::Body),
    ];
    for (body, error) in cases {
        assert_eq!(ToRouter::from_body(body), Err(error), "{body:?}");
    }
}

#[test]
fn a_stream_that_ends_in_a_frame_says_so() {
    let mut decoder = Decoder::new(Direction::ToRouter, 100);
    assert_eq!(decoder.finish(), Ok(()));
    decoder.feed(b"WR\x01\x01\x01\0\0\0\0\0\0\0\x01WR");
    assert!(decoder.next_frame().unwrap().is_some());
    assert_eq!(decoder.next_frame(), Ok(None));
    assert_eq!(decoder.finish(), Err(FrameError::Truncated { bytes: 2 }));
}

#[test]
fn a_body_past_the_limit_is_refused_by_the_sender_and_leaves_nothing() {
    let name = vec![b'x'; MAX_BODY];
    let message = ToRouter::Publish {
        topic: &name,
        tag: 0,
    };
    let mut wire = b"before".to_vec();
    let error = message.append(b"", &mut wire);
    assert!(matches!(error, Err(FrameError::BodyTooLong { .. })));
    assert_eq!(wire, b"before");
}

#[test]
fn a_full_link_refuses_deliveries_and_passes_control() {
    let limits = LinkLimits {
        payload: 1000,
        queue: 1500,
    };
    let mut link = Link::from_router(limits);
    let topic = FromRouter::Topic {
        topic: b"t",
        tag: 0,
    };
    assert!(link.push_data(&topic, &[0; 900]));
    assert!(!link.push_data(&topic, &[0; 900]));
    assert!(link.push_data(&topic, &[0; 400]));
    let full = link.output().len();
    for seq in 0..50 {
        assert!(link.push_control(&FromRouter::Ack { seq }, b""));
    }
    assert!(!link.push_data(&topic, b""));
    assert_eq!(link.refused(), 2);
    assert!(link.output().len() > full && !link.is_overdue());
    for seq in 0..150 {
        link.push_control(&FromRouter::Ack { seq }, b"");
    }
    assert!(link.is_overdue());
    // What was refused has left no trace: the other side reads all the rest.
    let mut other = Link::to_router(limits);
    other.feed(link.output());
    link.sent(link.output().len());
    assert!(link.push_data(&topic, &[0; 900]));
    other.feed(link.output());
    let mut frames = 0;
    while other.next_frame().unwrap().is_some() {
        frames += 1;
    }
    assert_eq!(frames, 2 + 50 + 150 + 1);
}

proptest! {
    #[test]
    fn any_split_of_the_bytes_gives_the_same_frames(
        picks in proptest::collection::vec(0usize..14, 1..20),
        sizes in proptest::collection::vec(1usize..40, 1..40),
        broken in proptest::option::of(0usize..200),
    ) {
        let messages = to_router();
        let mut wire = Vec::new();
        for pick in &picks {
            let (message, payload, _) = &messages[*pick];
            message.append(payload, &mut wire).unwrap();
        }
        // Perhaps with a byte that is wrong: then both stop at the same frame, with the same error.
        if let Some(at) = broken.filter(|at| *at < wire.len()) {
            wire[at] ^= 0x55;
        }
        let read = |pieces: &mut dyn Iterator<Item = usize>| {
            let mut decoder = Decoder::new(Direction::ToRouter, 1000);
            let (mut frames, mut rest) = (Vec::new(), &wire[..]);
            loop {
                let size = pieces.next().unwrap_or(rest.len()).min(rest.len());
                let (piece, after) = rest.split_at(size);
                rest = after;
                decoder.feed(piece);
                loop {
                    match decoder.next_frame() {
                        Ok(Some(frame)) => frames.push(Ok((frame.body.to_vec(), frame.payload.to_vec()))),
                        Ok(None) => break,
                        Err(error) => {
                            frames.push(Err(error));
                            return (frames, decoder.finish());
                        }
                    }
                }
                if rest.is_empty() {
                    return (frames, decoder.finish());
                }
            }
        };
        let whole = read(&mut std::iter::empty());
        let split = read(&mut sizes.iter().copied().cycle());
        prop_assert_eq!(&whole, &split);
        if broken.is_none() {
            prop_assert_eq!(whole.0.len(), picks.len());
        }
    }

    #[test]
    fn random_bodies_never_panic_and_say_the_same_when_sent_again(
        body in proptest::collection::vec(any::<u8>(), 0..200),
        kind in 0u8..14,
    ) {
        let mut body = body;
        body.insert(0, kind);
        if let Ok(message) = ToRouter::from_body(&body) {
            let mut wire = Vec::new();
            message.append(b"", &mut wire).unwrap();
            prop_assert_eq!(ToRouter::from_body(&wire[HEADER..]), Ok(message));
        }
        if let Ok(message) = FromRouter::from_body(&body) {
            let mut wire = Vec::new();
            message.append(b"", &mut wire).unwrap();
            prop_assert_eq!(FromRouter::from_body(&wire[HEADER..]), Ok(message));
        }
    }
}
