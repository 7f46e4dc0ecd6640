//! Lines of text: a message ends with a line feed.

use std::rc::Rc;
use std::time::Instant;

use memchr::memchr;

use crate::{Answer, EncodeError, Event, Message, NoOpening, Protocol, ProtocolError, Step, Wire};

/// Lines that end with LF; a CR before the LF is not part of the message.
///
/// A line that is UTF-8 arrives as [`Message::Text`], any other as [`Message::Binary`]. What is sent gets one LF;
/// a payload with a line feed of its own is refused, because the peer would read two messages. A payload that ends
/// with CR loses it at the peer: this protocol cannot express it.
///
/// Only the line feed says that a line is whole. What a peer has sent without one when it closes its side is the beginning
/// of a message, and never becomes one: whether its end was lost on the way cannot be told.
///
/// In callbacks a line is a [`Message`], and whatever converts to one can be sent; the section "State" of the guide,
/// the front page of the crate workhive, has a chat of lines.
///
/// # Driving the codec
///
/// What the loop does with it, by hand:
///
/// ```
/// # mod workhive { pub use workhive_protocols::*; pub mod codec { pub use workhive_protocols::*; } }
/// use std::{rc::Rc, time::{Instant, SystemTime}};
/// use workhive::codec::{Event, TextConfig, Wire, http_date};
/// use workhive::{Protocol, Text};
///
/// let (mut out, now, date) = (Vec::new(), Instant::now(), http_date(SystemTime::UNIX_EPOCH));
/// let (mut decoder, mut encoder) = Text::open(&Rc::new(TextConfig::default()), now);
/// let mut wire = Wire::new(&mut out, now, &date);
///
/// let mut input = *b"hello\r\nwor";
/// let step = Text::decode(&mut decoder, &mut encoder, &mut input, &mut wire)?;
/// assert_eq!((step.consumed, step.event), (7, Event::Message("hello".into())));
///
/// Text::encode(&mut encoder, "ok".into(), &mut wire)?;
/// assert_eq!(out, b"ok\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub enum Text {}

/// Limits of [`Text`].
///
/// ```
/// # mod workhive { pub use workhive_protocols::*; pub mod codec { pub use workhive_protocols::*; } }
/// assert_eq!(workhive::codec::TextConfig::default().max_message, 10 * 1024 * 1024);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextConfig {
    /// The longest line in bytes, without its terminator. Default 10 MiB.
    pub max_message: usize,
}

impl Default for TextConfig {
    fn default() -> Self {
        Self {
            max_message: crate::MAX_MESSAGE,
        }
    }
}

/// The receiving side of a [`Text`] connection. An unfinished line stays in the caller's buffer.
#[derive(Debug)]
pub struct TextDecoder {
    config: Rc<TextConfig>,
    /// Bytes of the unconsumed input that are known to hold no LF: each byte is looked at once.
    scanned: usize,
}

impl Protocol for Text {
    const NAME: &'static str = "text";

    type Config = TextConfig;
    type Decoder = TextDecoder;
    type Encoder = ();
    type Message<'a> = Message<'a>;
    type Outgoing<'a> = Message<'a>;
    type Opening<'a> = NoOpening;
    type Verdict = ();

    /// A line and its CR LF.
    fn max_unfinished(config: &TextConfig) -> usize {
        config.max_message.saturating_add(2)
    }

    fn open(config: &Rc<TextConfig>, _now: Instant) -> (TextDecoder, ()) {
        let decoder = TextDecoder {
            config: Rc::clone(config),
            scanned: 0,
        };
        (decoder, ())
    }

    fn decode<'a>(
        decoder: &'a mut TextDecoder,
        _encoder: &mut (),
        input: &'a mut [u8],
        _wire: &mut Wire<'_>,
    ) -> Result<Step<Message<'a>, NoOpening>, ProtocolError> {
        let input: &'a [u8] = input;
        let max = decoder.config.max_message;
        let fresh = input.get(decoder.scanned..).unwrap_or_default();
        let Some(offset) = memchr(b'\n', fresh) else {
            decoder.scanned = input.len();
            // One byte over the limit may still turn out to be the CR of the terminator.
            let spare = usize::from(input.last() == Some(&b'\r'));
            if input.len() > max.saturating_add(spare) {
                return Err(too_long(max));
            }
            return Ok(Step::new(0, Event::Partial));
        };
        let end = decoder.scanned.saturating_add(offset);
        decoder.scanned = 0;
        let line = input.get(..end).unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.len() > max {
            return Err(too_long(max));
        }
        Ok(Step::new(
            end.saturating_add(1),
            Event::Message(Message::from_wire(line)),
        ))
    }

    fn encode(
        _encoder: &mut (),
        message: Message<'_>,
        wire: &mut Wire<'_>,
    ) -> Result<(), EncodeError> {
        write(message.as_bytes(), wire.out)
    }

    fn push(
        encoder: &mut (),
        payload: Message<'_>,
        wire: &mut Wire<'_>,
    ) -> Result<(), EncodeError> {
        Self::encode(encoder, payload, wire)
    }

    fn shared_push(payload: &Message<'_>, out: &mut Vec<u8>) -> Option<Result<(), EncodeError>> {
        Some(write(payload.as_bytes(), out))
    }

    fn is_idle(decoder: &TextDecoder, _encoder: &()) -> bool {
        decoder.scanned == 0
    }
}

fn write(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
    if memchr(b'\n', bytes).is_some() {
        return Err(EncodeError::Misuse {
            rule: "a line of the text protocol cannot hold a line feed",
        });
    }
    out.reserve(bytes.len().saturating_add(1));
    out.extend_from_slice(bytes);
    out.push(b'\n');
    Ok(())
}

fn too_long(max: usize) -> ProtocolError {
    ProtocolError::peer(
        Answer::None,
        "a line is not longer than max_message",
        format!("more than {max} bytes"),
    )
}
