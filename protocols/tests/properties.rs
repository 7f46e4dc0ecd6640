//! Rules that hold for all bytes: any cut of them gives the same events and the same output, what is encoded
//! decodes to itself, and nothing panics.

mod support;

use std::rc::Rc;
use std::time::{Instant, SystemTime};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use support::corpus::{cases, client_frame, handshake};
use support::subject::Limits;
use support::{Subject, run};
use workhive_protocols::{
    Event, Frame, Http, Message, Protocol, Text, Verdict, WebSocket, WebSocketConfig, Wire,
    http_date,
};

/// Limits small enough to be met.
const SMALL: Limits = Limits {
    max_message: Some(300),
    max_fragments: Some(5),
};

fn cut<'a>(bytes: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    places.sort_unstable();
    places.push(bytes.len());
    let mut start = 0;
    places
        .into_iter()
        .map(|end| &bytes[std::mem::replace(&mut start, end)..end])
        .collect()
}

/// Whether `100 Continue` is sent depends on what has come, so it is left out of comparisons.
fn without_continue(out: &[u8]) -> String {
    String::from_utf8_lossy(out).replace("HTTP/1.1 100 Continue\r\n\r\n", "")
}

fn same_in_any_cut<P: Subject>(limits: Limits, bytes: &[u8], cuts: &[Index]) {
    let config = P::configure(limits);
    let mut whole = run::<P>(&config, [bytes]);
    let mut pieces = run::<P>(&config, cut(bytes, cuts));
    assert_eq!(without_continue(&whole.out), without_continue(&pieces.out));
    whole.out.clear();
    pieces.out.clear();
    assert_eq!(whole, pieces);
}

fn broken(mut bytes: Vec<u8>, changes: &[(Index, u8)]) -> Vec<u8> {
    for (place, byte) in changes {
        if !bytes.is_empty() {
            let place = place.index(bytes.len());
            bytes[place] = *byte;
        }
    }
    bytes
}

fn corpus_bytes(protocol: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let all: Vec<Vec<u8>> = cases(protocol)
        .into_iter()
        .map(|case| case.wire)
        .filter(|wire| wire.len() < 2000)
        .collect();
    select(all)
}

fn cuts() -> impl Strategy<Value = Vec<Index>> {
    vec(any::<Index>(), 0..12)
}

fn changes() -> impl Strategy<Value = Vec<(Index, u8)>> {
    vec((any::<Index>(), any::<u8>()), 0..3)
}

fn frames() -> impl Strategy<Value = Vec<u8>> {
    let opcode = select(vec![0x81u8, 0x82, 0x01, 0x02, 0x00, 0x80, 0x89, 0x8a, 0x88]);
    let payload = prop_oneof![
        "\\PC{0,40}".prop_map(String::into_bytes),
        vec(any::<u8>(), 0..300),
    ];
    vec((opcode, any::<[u8; 4]>(), payload), 0..8).prop_map(|frames| {
        let frames = frames
            .into_iter()
            .flat_map(|(first, mask, payload)| client_frame(first, mask, payload));
        handshake().iter().copied().chain(frames).collect()
    })
}

fn requests() -> impl Strategy<Value = Vec<u8>> {
    let chunk =
        |data: &Vec<u8>| [format!("{:x}\r\n", data.len()).as_bytes(), data, b"\r\n"].concat();
    let body = prop_oneof![
        Just(b"\r\n".to_vec()),
        vec(any::<u8>(), 0..200).prop_map(|body| {
            [
                format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes(),
                &body,
            ]
            .concat()
        }),
        vec(vec(any::<u8>(), 1..50), 0..6).prop_map(move |chunks| {
            let chunks: Vec<u8> = chunks.iter().flat_map(chunk).collect();
            let head = b"Transfer-Encoding: chunked\r\n\r\n";
            [head.as_slice(), &chunks, b"0\r\nX-Sum: 1\r\n\r\n"].concat()
        }),
    ];
    let line = select(vec![
        "GET /a HTTP/1.1",
        "POST /b?c HTTP/1.1",
        "HEAD / HTTP/1.1",
    ]);
    vec((line, body), 1..4).prop_map(|requests| {
        requests
            .into_iter()
            .flat_map(|(line, rest)| [line.as_bytes(), b"\r\nHost: a\r\n", &rest].concat())
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn http_from_the_corpus_is_the_same_in_any_cut(
        bytes in corpus_bytes("http"), changes in changes(), cuts in cuts(),
    ) {
        same_in_any_cut::<Http>(SMALL, &broken(bytes, &changes), &cuts);
    }

    #[test]
    fn http_requests_are_the_same_in_any_cut(
        bytes in requests(), changes in changes(), cuts in cuts(),
    ) {
        same_in_any_cut::<Http>(SMALL, &broken(bytes, &changes), &cuts);
    }

    #[test]
    fn good_http_requests_all_arrive(bytes in requests()) {
        let config = Http::configure(Limits::default());
        let run = run::<Http>(&config, bytes.chunks(7));
        prop_assert_eq!(run.error, None);
        prop_assert!(run.idle);
    }

    #[test]
    fn websocket_from_the_corpus_is_the_same_in_any_cut(
        bytes in corpus_bytes("websocket"), changes in changes(), cuts in cuts(),
    ) {
        same_in_any_cut::<WebSocket>(SMALL, &broken(bytes, &changes), &cuts);
    }

    #[test]
    fn websocket_frames_are_the_same_in_any_cut(
        bytes in frames(), changes in changes(), cuts in cuts(),
    ) {
        same_in_any_cut::<WebSocket>(SMALL, &broken(bytes, &changes), &cuts);
    }

    #[test]
    fn garbage_behind_a_handshake_is_the_same_in_any_cut(
        garbage in vec(any::<u8>(), 0..400), cuts in cuts(),
    ) {
        let bytes = [handshake(), &garbage].concat();
        same_in_any_cut::<WebSocket>(SMALL, &bytes, &cuts);
    }

    #[test]
    fn garbage_is_the_same_in_any_cut(bytes in vec(any::<u8>(), 0..600), cuts in cuts()) {
        same_in_any_cut::<Http>(SMALL, &bytes, &cuts);
        same_in_any_cut::<WebSocket>(SMALL, &bytes, &cuts);
        same_in_any_cut::<Text>(SMALL, &bytes, &cuts);
        same_in_any_cut::<Frame>(SMALL, &bytes, &cuts);
    }

    #[test]
    fn lines_are_the_same_in_any_cut(
        bytes in vec(select(vec![b'a', b'\r', b'\n', 0xff]), 0..60), cuts in cuts(),
    ) {
        let limits = Limits { max_message: Some(4), ..SMALL };
        same_in_any_cut::<Text>(limits, &bytes, &cuts);
    }

    #[test]
    fn frames_are_the_same_in_any_cut(
        bodies in vec(vec(any::<u8>(), 0..20), 0..8), changes in changes(), cuts in cuts(),
    ) {
        let bytes: Vec<u8> = bodies.iter().flat_map(|body| {
            let total = u32::try_from(body.len() + 4).expect("it is short");
            [total.to_be_bytes().as_slice(), body].concat()
        }).collect();
        same_in_any_cut::<Frame>(SMALL, &broken(bytes, &changes), &cuts);
    }

    #[test]
    fn a_line_comes_back_as_it_was_sent(line in "[^\r\n]{0,100}") {
        let mut bytes = encoded::<Text>((&line).into());
        prop_assert_eq!(only_message::<Text>(&mut bytes), line.as_bytes());
    }

    #[test]
    fn a_frame_comes_back_as_it_was_sent(body in vec(any::<u8>(), 0..300)) {
        let mut bytes = encoded::<Frame>((&body).into());
        prop_assert_eq!(only_message::<Frame>(&mut bytes), body);
    }

    #[test]
    fn a_websocket_message_arrives_as_it_was_sent(
        payload in vec(any::<u8>(), 0..300), mask in any::<[u8; 4]>(), places in cuts(),
    ) {
        // As one frame, and cut into fragments.
        for cuts in [&places[..0], &places[..]] {
            let fragments = cut(&payload, cuts);
            let last = fragments.len() - 1;
            let mut bytes = handshake().to_vec();
            for (i, fragment) in fragments.into_iter().enumerate() {
                let opcode = if i == 0 { 0x02 } else { 0x00 };
                let fin = if i == last { 0x80 } else { 0x00 };
                bytes.extend(client_frame(fin | opcode, mask, fragment.to_vec()));
            }
            prop_assert_eq!(websocket_message(&mut bytes), payload.clone());
        }
    }
}

fn encoded<P: for<'a> Protocol<Encoder = (), Outgoing<'a> = Message<'a>>>(
    message: Message<'_>,
) -> Vec<u8> {
    let (mut out, date) = (Vec::new(), http_date(SystemTime::UNIX_EPOCH));
    let mut wire = Wire::new(&mut out, Instant::now(), &date);
    P::encode(&mut (), message, &mut wire).expect("it can be sent");
    out
}

fn only_message<P: for<'a> Protocol<Message<'a> = Message<'a>>>(bytes: &mut [u8]) -> Vec<u8> {
    let (mut out, date, now) = (
        Vec::new(),
        http_date(SystemTime::UNIX_EPOCH),
        Instant::now(),
    );
    let mut wire = Wire::new(&mut out, now, &date);
    let (mut decoder, mut encoder) = P::open(&Rc::default(), now);
    let len = bytes.len();
    let step = P::decode(&mut decoder, &mut encoder, bytes, &mut wire).expect("it is correct");
    assert_eq!(step.consumed, len);
    match step.event {
        Event::Message(message) => message.as_bytes().to_vec(),
        _ => panic!("a message is complete"),
    }
}

fn websocket_message(bytes: &mut Vec<u8>) -> Vec<u8> {
    let (mut out, date, now) = (
        Vec::new(),
        http_date(SystemTime::UNIX_EPOCH),
        Instant::now(),
    );
    let mut wire = Wire::new(&mut out, now, &date);
    let (mut decoder, mut encoder) = WebSocket::open(&Rc::new(WebSocketConfig::default()), now);
    loop {
        let step =
            WebSocket::decode(&mut decoder, &mut encoder, bytes, &mut wire).expect("correct");
        let consumed = step.consumed;
        match step.event {
            Event::Opening(_) => {
                WebSocket::answer(&mut encoder, Verdict::accept(), &mut wire).expect("it is owed");
            }
            Event::Message(message) => return message.as_bytes().to_vec(),
            Event::Progress => {}
            other => panic!("{other:?}"),
        }
        bytes.drain(..consumed);
    }
}
