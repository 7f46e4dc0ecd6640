//! No framing at all: bytes as they come.

use std::rc::Rc;
use std::time::Instant;

use crate::{EncodeError, Event, Message, NoOpening, Protocol, ProtocolError, Step, Wire};

/// Plain TCP: whatever one read brought is a message ([`Message::Binary`]), what is sent goes out as it is.
///
/// A message has no meaning of its own: a peer's one write may come as two messages, and two of them as one. For
/// callbacks see "Protocols and messages" in the guide, the front page of the crate workhive.
///
/// # Driving the codec
///
/// What the loop does with it, by hand:
///
/// ```
/// # mod workhive { pub use workhive_protocols::*; pub mod codec { pub use workhive_protocols::*; } }
/// use std::{rc::Rc, time::{Instant, SystemTime}};
/// use workhive::codec::{Event, RawConfig, Wire, http_date};
/// use workhive::{Protocol, Raw};
///
/// let (mut out, now, date) = (Vec::new(), Instant::now(), http_date(SystemTime::UNIX_EPOCH));
/// let (mut decoder, mut encoder) = Raw::open(&Rc::new(RawConfig {}), now);
/// let mut wire = Wire::new(&mut out, now, &date);
///
/// let mut input = *b"any bytes";
/// let step = Raw::decode(&mut decoder, &mut encoder, &mut input, &mut wire)?;
/// assert_eq!(step.event, Event::Message((&b"any bytes"[..]).into()));
///
/// Raw::encode(&mut encoder, "ok".into(), &mut wire)?;
/// assert_eq!(out, b"ok");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub enum Raw {}

/// [`Raw`] has no limits of its own: a message is never longer than one read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RawConfig {}

impl Protocol for Raw {
    const NAME: &'static str = "tcp";

    type Config = RawConfig;
    type Decoder = ();
    type Encoder = ();
    type Message<'a> = Message<'a>;
    type Outgoing<'a> = Message<'a>;
    type Opening<'a> = NoOpening;
    type Verdict = ();

    /// Every byte is consumed at once.
    fn max_unfinished(_config: &RawConfig) -> usize {
        0
    }

    fn open(_config: &Rc<RawConfig>, _now: Instant) -> ((), ()) {
        ((), ())
    }

    fn decode<'a>(
        _decoder: &'a mut (),
        _encoder: &mut (),
        input: &'a mut [u8],
        _wire: &mut Wire<'_>,
    ) -> Result<Step<Message<'a>, NoOpening>, ProtocolError> {
        let input: &'a [u8] = input;
        if input.is_empty() {
            return Ok(Step::new(0, Event::Partial));
        }
        Ok(Step::new(
            input.len(),
            Event::Message(Message::Binary(input.into())),
        ))
    }

    fn encode(
        _encoder: &mut (),
        message: Message<'_>,
        wire: &mut Wire<'_>,
    ) -> Result<(), EncodeError> {
        wire.out.extend_from_slice(message.as_bytes());
        Ok(())
    }

    fn push(
        encoder: &mut (),
        payload: Message<'_>,
        wire: &mut Wire<'_>,
    ) -> Result<(), EncodeError> {
        Self::encode(encoder, payload, wire)
    }

    fn shared_push(payload: &Message<'_>, out: &mut Vec<u8>) -> Option<Result<(), EncodeError>> {
        out.extend_from_slice(payload.as_bytes());
        Some(Ok(()))
    }
}
