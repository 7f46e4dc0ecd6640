//! Length-prefixed frames.

use std::rc::Rc;
use std::time::Instant;

use crate::{Answer, EncodeError, Event, Message, NoOpening, Protocol, ProtocolError, Step, Wire};

/// The length field, which counts itself.
const PREFIX: usize = 4;

/// Frames of a 32-bit big-endian total length (which counts its own four bytes), then the body.
///
/// Every message is [`Message::Binary`]. A length below 4 or above the limit ends the connection as soon as it has
/// been read, before anything is kept.
///
/// In callbacks it is used as [`Text`](crate::Text) is: the section "Protocols and messages" of the guide, the front
/// page of the crate workhive, has both side by side.
///
/// # Driving the codec
///
/// What the loop does with it, by hand:
///
/// ```
/// # mod workhive { pub use workhive_protocols::*; pub mod codec { pub use workhive_protocols::*; } }
/// use std::{rc::Rc, time::{Instant, SystemTime}};
/// use workhive::codec::{Event, FrameConfig, Wire, http_date};
/// use workhive::{Frame, Protocol};
///
/// let (mut out, now, date) = (Vec::new(), Instant::now(), http_date(SystemTime::UNIX_EPOCH));
/// let (mut decoder, mut encoder) = Frame::open(&Rc::new(FrameConfig::default()), now);
/// let mut wire = Wire::new(&mut out, now, &date);
///
/// let mut input = *b"\0\0\0\x06hi\0\0";
/// let step = Frame::decode(&mut decoder, &mut encoder, &mut input, &mut wire)?;
/// assert_eq!((step.consumed, step.event), (6, Event::Message((&b"hi"[..]).into())));
///
/// Frame::encode(&mut encoder, "ok".into(), &mut wire)?;
/// assert_eq!(out, b"\0\0\0\x06ok");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub enum Frame {}

/// Limits of [`Frame`].
///
/// ```
/// # mod workhive { pub use workhive_protocols::*; pub mod codec { pub use workhive_protocols::*; } }
/// assert_eq!(workhive::codec::FrameConfig::default().max_message, 10 * 1024 * 1024);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameConfig {
    /// The longest body in bytes, without the four bytes of its length. Default 10 MiB.
    pub max_message: usize,
}

impl Default for FrameConfig {
    fn default() -> Self {
        Self {
            max_message: crate::MAX_MESSAGE,
        }
    }
}

/// The receiving side of a [`Frame`] connection. An unfinished frame stays in the caller's buffer.
#[derive(Debug)]
pub struct FrameDecoder {
    config: Rc<FrameConfig>,
    unfinished: bool,
}

impl Protocol for Frame {
    const NAME: &'static str = "frame";

    type Config = FrameConfig;
    type Decoder = FrameDecoder;
    type Encoder = ();
    type Message<'a> = Message<'a>;
    type Outgoing<'a> = Message<'a>;
    type Opening<'a> = NoOpening;
    type Verdict = ();

    /// A body and its length.
    fn max_unfinished(config: &FrameConfig) -> usize {
        config.max_message.saturating_add(PREFIX)
    }

    fn open(config: &Rc<FrameConfig>, _now: Instant) -> (FrameDecoder, ()) {
        let decoder = FrameDecoder {
            config: Rc::clone(config),
            unfinished: false,
        };
        (decoder, ())
    }

    fn decode<'a>(
        decoder: &'a mut FrameDecoder,
        _encoder: &mut (),
        input: &'a mut [u8],
        _wire: &mut Wire<'_>,
    ) -> Result<Step<Message<'a>, NoOpening>, ProtocolError> {
        let input: &'a [u8] = input;
        decoder.unfinished = !input.is_empty();
        let Some((prefix, rest)) = input.split_first_chunk::<PREFIX>() else {
            return Ok(Step::new(0, Event::Partial));
        };
        let total = u32::from_be_bytes(*prefix);
        let Some(len) = usize::try_from(total)
            .ok()
            .and_then(|total| total.checked_sub(PREFIX))
        else {
            return Err(ProtocolError::peer(
                Answer::None,
                "the length of a frame counts its own four bytes",
                total.to_string(),
            ));
        };
        if len > decoder.config.max_message {
            return Err(ProtocolError::peer(
                Answer::None,
                "the body of a frame is not longer than max_message",
                format!("{len} bytes, at most {}", decoder.config.max_message),
            ));
        }
        let Some(body) = rest.get(..len) else {
            return Ok(Step::new(0, Event::Partial));
        };
        decoder.unfinished = false;
        Ok(Step::new(
            PREFIX.saturating_add(len),
            Event::Message(Message::Binary(body.into())),
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

    fn is_idle(decoder: &FrameDecoder, _encoder: &()) -> bool {
        !decoder.unfinished
    }
}

fn write(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let total = bytes.len().saturating_add(PREFIX);
    let Ok(prefix) = u32::try_from(total) else {
        return Err(EncodeError::TooLong {
            len: bytes.len(),
            max: u32::MAX as usize - PREFIX,
        });
    };
    out.reserve(total);
    out.extend_from_slice(&prefix.to_be_bytes());
    out.extend_from_slice(bytes);
    Ok(())
}
