//! What is pushed to many is encoded once: each of them must get what it would have got alone.

use std::rc::Rc;
use std::time::{Instant, SystemTime};

use proptest::prelude::*;
use workhive_protocols::{
    EncodeError, Frame, Http, Message, Protocol, Raw, Text, WebSocket, Wire, http_date,
};

type Bytes = Result<Vec<u8>, EncodeError>;

/// Encodes the payload once for all, and once for a connection in its first moment.
fn both<P: Protocol>(payload: &Message<'_>) -> (Option<Bytes>, Bytes) {
    let mut shared = b"before".to_vec();
    let result = P::shared_push(payload, &mut shared);
    if result != Some(Ok(())) {
        assert_eq!(shared, b"before", "an error appends nothing");
    }
    let shared = result.map(|result| result.map(|()| shared.split_off(6)));
    let now = Instant::now();
    let date = http_date(SystemTime::UNIX_EPOCH);
    let (_decoder, mut encoder) = P::open(&Rc::new(P::Config::default()), now);
    let mut alone = Vec::new();
    let mut wire = Wire::new(&mut alone, now, &date);
    let result =
        P::takes_push(&encoder).and_then(|()| P::push(&mut encoder, payload.reborrow(), &mut wire));
    (shared, result.map(|()| alone))
}

proptest! {
    #[test]
    fn protocols_without_a_handshake_send_to_all_what_they_send_to_one(
        payload in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let payload = Message::from_wire(&payload);
        let (shared, alone) = both::<Text>(&payload);
        prop_assert_eq!(shared, Some(alone));
        let (shared, alone) = both::<Frame>(&payload);
        prop_assert_eq!(shared, Some(alone));
        let (shared, alone) = both::<Raw>(&payload);
        prop_assert_eq!(shared, Some(alone));
    }

    #[test]
    fn a_websocket_takes_it_only_after_the_handshake(
        payload in proptest::collection::vec(any::<u8>(), 0..70_000),
    ) {
        let payload = Message::from_wire(&payload);
        let (shared, alone) = both::<WebSocket>(&payload);
        prop_assert_eq!(alone, Err(EncodeError::NotOpen));
        let frame = shared.expect("one frame for all").expect("it fits");
        prop_assert!(frame.ends_with(payload.as_bytes()));
        // RFC 6455 section 5.2: FIN and the opcode, no mask bit.
        prop_assert_eq!(frame[0], if payload.is_text() { 0x81 } else { 0x82 });
        prop_assert_eq!(frame[1] & 0x80, 0);
        let header = match payload.len() {
            0..=125 => 2,
            126..=0xffff => 4,
            _ => 10,
        };
        prop_assert_eq!(frame.len(), header + payload.len());
    }
}

#[test]
fn http_encodes_for_each_response() {
    let (shared, alone) = both::<Http>(&Message::from("news"));
    assert_eq!(shared, None);
    assert!(alone.is_err(), "no response has begun that could go on");
}
