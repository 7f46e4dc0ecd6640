//! The receiving side: from bytes to the handshake, then to messages.

use std::borrow::Cow;
use std::mem;
use std::rc::Rc;
use std::time::Instant;

use super::encoder::State;
use super::frame::{Header, Opcode};
use super::utf8::Utf8;
use super::{Handshake, WebSocketConfig, WebSocketEncoder, close, handshake, mask};
use crate::buffer::append_declared;
use crate::head::{Scan, bad, excerpt, is_token_byte};
use crate::{Answer, Event, Message, ProtocolError, Step, Wire};

/// The receiving side of a [`WebSocket`](super::WebSocket) connection.
///
/// A message that is whole in the input is lent out of it. Of any other the payload is collected here as it comes,
/// and handed over with the message: an idle connection holds no buffer.
#[derive(Debug)]
pub struct WebSocketDecoder {
    config: Rc<WebSocketConfig>,
    /// When the connection was accepted; after the handshake, when bytes last came.
    since: Instant,
    /// When a ping was sent that nothing has come after.
    pinged: Option<Instant>,
    phase: Phase,
    peer_close: Option<Box<(u16, String)>>,
}

#[derive(Debug)]
enum Phase {
    Head(Scan),
    /// Between messages.
    Idle,
    Message(Box<Assembly>),
}

/// A message in progress.
#[derive(Debug)]
struct Assembly {
    text: bool,
    fragments: usize,
    payload: Vec<u8>,
    utf8: Utf8,
    /// The frame whose payload is being received.
    frame: Option<Frame>,
}

/// What is still to come of a data frame.
#[derive(Debug, Clone, Copy)]
struct Frame {
    left: u64,
    /// Turned to meet the next byte.
    mask: [u8; 4],
    fin: bool,
}

type Taken<'a> = Result<Step<Message<'a>, Handshake<'a>>, ProtocolError>;

impl WebSocketDecoder {
    pub(super) fn new(config: Rc<WebSocketConfig>, now: Instant) -> Self {
        Self {
            config,
            since: now,
            pinged: None,
            phase: Phase::Head(Scan::default()),
            peer_close: None,
        }
    }

    pub(super) fn step<'a>(
        &mut self,
        encoder: &mut WebSocketEncoder,
        input: &'a mut [u8],
        wire: &mut Wire<'_>,
    ) -> Taken<'a> {
        match encoder.state() {
            State::Connecting => self.handshake(encoder, input, wire),
            State::Asked(_) => Ok(Step::new(0, Event::Wait)),
            State::Open | State::Closing(_) => {
                if !input.is_empty() {
                    self.since = wire.now;
                    self.pinged = None;
                }
                self.frame(encoder, input, wire)
            }
            State::Closed => Ok(Step::new(input.len(), Event::Finished)),
        }
    }

    fn handshake<'a>(
        &mut self,
        encoder: &mut WebSocketEncoder,
        input: &'a [u8],
        wire: &Wire<'_>,
    ) -> Taken<'a> {
        let (Phase::Head(scan), Some(&first)) = (&mut self.phase, input.first()) else {
            return Ok(Step::new(0, Event::Partial));
        };
        if !is_token_byte(first) {
            return Err(bad(
                "a request begins with its method (RFC 9112 3)",
                excerpt(&[first]),
            ));
        }
        let Some(extent) = scan.advance(input, self.config.max_head, self.config.max_headers)?
        else {
            return Ok(Step::new(0, Event::Partial));
        };
        let head = input.get(..extent.len).unwrap_or(input);
        let (handshake, asked) = handshake::read(head, extent)?;
        self.phase = Phase::Idle;
        self.since = wire.now;
        encoder.ask(asked);
        Ok(Step::new(extent.len, Event::Opening(handshake)))
    }

    fn frame<'a>(
        &mut self,
        encoder: &mut WebSocketEncoder,
        input: &'a mut [u8],
        wire: &mut Wire<'_>,
    ) -> Taken<'a> {
        let discard = !encoder.is_open();
        let assembly = match &mut self.phase {
            Phase::Message(assembly) => Some(assembly),
            _ => None,
        };
        let fragmented = assembly.is_some();
        if let Some(assembly) = assembly {
            if discard {
                assembly.payload = Vec::new();
            }
            if assembly.frame.is_some() {
                return self.payload(input, discard);
            }
        }
        let Some(header) = Header::parse(input, fragmented)? else {
            return Ok(Step::new(0, Event::Partial));
        };
        if header.opcode.is_control() {
            return self.control(encoder, header, input, wire);
        }
        if !discard {
            self.check_limits(&header)?;
        }
        let end = usize::try_from(header.len)
            .ok()
            .and_then(|len| len.checked_add(header.size));
        if let Some(end) = end
            && end <= input.len()
            && header.fin
            && !fragmented
            && !discard
        {
            return whole(header, end, input);
        }
        let frame = Frame {
            left: header.len,
            mask: header.mask,
            fin: header.fin,
        };
        if let Phase::Message(assembly) = &mut self.phase {
            assembly.fragments = assembly.fragments.saturating_add(1);
            assembly.frame = Some(frame);
        } else {
            self.phase = Phase::Message(Box::new(Assembly {
                text: header.opcode == Opcode::Text,
                fragments: 1,
                payload: Vec::new(),
                utf8: Utf8::default(),
                frame: Some(frame),
            }));
        }
        // In the same step, so that an empty last fragment completes its message here and not with the next bytes.
        let mut step = self.payload(input.get_mut(header.size..).unwrap_or_default(), discard)?;
        step.consumed = step.consumed.saturating_add(header.size);
        Ok(step)
    }

    /// By what the frame declares, before any of it is kept.
    fn check_limits(&self, header: &Header) -> Result<(), ProtocolError> {
        let (received, fragments) = match &self.phase {
            Phase::Message(assembly) => (assembly.payload.len(), assembly.fragments),
            _ => (0, 0),
        };
        // An empty last fragment, with which some senders end, carries nothing and does not count.
        let closes = header.fin && header.len == 0;
        if fragments >= self.config.max_fragments && !closes {
            return Err(ProtocolError::peer(
                Answer::Close(1008),
                "a message has not more than max_fragments fragments",
                format!("more than {}", self.config.max_fragments),
            ));
        }
        let room = self.config.max_message.saturating_sub(received);
        if usize::try_from(header.len).is_ok_and(|len| len <= room) {
            return Ok(());
        }
        Err(ProtocolError::peer(
            Answer::Close(1009),
            "a message is not longer than max_message",
            format!(
                "{received} and {} bytes, at most {}",
                header.len, self.config.max_message
            ),
        ))
    }

    /// A piece of the payload of a data frame.
    fn payload<'a>(&mut self, input: &mut [u8], discard: bool) -> Taken<'a> {
        let Phase::Message(assembly) = &mut self.phase else {
            return Ok(Step::new(0, Event::Partial));
        };
        let Some(frame) = &mut assembly.frame else {
            return Ok(Step::new(0, Event::Partial));
        };
        let left = usize::try_from(frame.left).unwrap_or(usize::MAX);
        let take = left.min(input.len());
        let data = input.get_mut(..take).unwrap_or_default();
        if !discard {
            mask::apply(data, frame.mask);
            if assembly.text && !assembly.utf8.feed(data) {
                return Err(not_utf8());
            }
            if frame.fin {
                append_declared(&mut assembly.payload, data, left);
            } else {
                assembly.payload.extend_from_slice(data);
            }
        }
        frame.mask = mask::advance(frame.mask, take);
        // A usize always fits in a u64.
        frame.left = frame.left.saturating_sub(take as u64);
        if frame.left > 0 {
            return Ok(Step::new(take, Event::Partial));
        }
        let fin = frame.fin;
        assembly.frame = None;
        if !fin {
            return Ok(Step::new(take, Event::Progress));
        }
        let (text, complete) = (assembly.text, assembly.utf8.is_complete());
        let payload = mem::take(&mut assembly.payload);
        self.phase = Phase::Idle;
        if discard {
            return Ok(Step::new(take, Event::Progress));
        }
        let message = if !text {
            Message::Binary(Cow::Owned(payload))
        } else if complete {
            Message::Text(Cow::Owned(
                String::from_utf8(payload).map_err(|_| not_utf8())?,
            ))
        } else {
            return Err(not_utf8());
        };
        Ok(Step::new(take, Event::Message(message)))
    }

    fn control<'a>(
        &mut self,
        encoder: &mut WebSocketEncoder,
        header: Header,
        input: &mut [u8],
        wire: &mut Wire<'_>,
    ) -> Taken<'a> {
        let end = usize::try_from(header.len)
            .unwrap_or(usize::MAX)
            .saturating_add(header.size);
        let Some(payload) = input.get_mut(header.size..end) else {
            return Ok(Step::new(0, Event::Partial));
        };
        mask::apply(payload, header.mask);
        match header.opcode {
            Opcode::Ping => encoder.pong(payload, wire),
            Opcode::Close => {
                let (code, reason) = close::parse(payload)?;
                self.peer_close = Some(Box::new((code, reason.to_owned())));
                self.phase = Phase::Idle;
                encoder.peer_closed(code, wire);
                return Ok(Step::new(end, Event::Finished));
            }
            // Any pong is a sign of life, asked for or not (RFC 6455 5.5.3); it was noted when its bytes came.
            _ => {}
        }
        Ok(Step::new(end, Event::Progress))
    }

    pub(super) fn peer_close(&self) -> Option<(u16, &str)> {
        let (code, reason) = self.peer_close.as_deref()?;
        Some((*code, reason))
    }

    pub(super) fn deadline(&self, encoder: &WebSocketEncoder) -> Option<Instant> {
        match encoder.state() {
            State::Connecting => self.since.checked_add(self.config.handshake_timeout),
            State::Open => match (self.config.ping_interval, self.pinged) {
                (_, Some(pinged)) => pinged.checked_add(self.config.pong_timeout),
                (Some(interval), None) => self.since.checked_add(interval),
                (None, None) => None,
            },
            State::Closing(since) => since.checked_add(self.config.close_timeout),
            State::Asked(_) | State::Closed => None,
        }
    }

    pub(super) fn expired(
        &mut self,
        encoder: &mut WebSocketEncoder,
        wire: &mut Wire<'_>,
    ) -> Result<(), ProtocolError> {
        if self
            .deadline(encoder)
            .is_none_or(|deadline| wire.now < deadline)
        {
            return Ok(());
        }
        match encoder.state() {
            State::Connecting => Err(ProtocolError::time(
                Answer::Status(408),
                "a handshake is complete within handshake_timeout",
                format!("{:?} have passed", self.config.handshake_timeout),
            )),
            State::Open if self.pinged.is_some() => Err(ProtocolError::time(
                Answer::Close(1001),
                "a ping is answered within pong_timeout",
                format!("{:?} have passed", self.config.pong_timeout),
            )),
            State::Open => {
                encoder.ping(wire);
                self.pinged = Some(wire.now);
                Ok(())
            }
            _ => {
                // The peer has had its chance to say goodbye, which is no error worth a word.
                encoder.finish(wire);
                Ok(())
            }
        }
    }

    pub(super) fn is_idle(&self, encoder: &WebSocketEncoder) -> bool {
        match encoder.state() {
            State::Connecting | State::Asked(_) => false,
            State::Open | State::Closing(_) | State::Closed => matches!(self.phase, Phase::Idle),
        }
    }
}

/// A message of one frame, all of it there: unmasked where it stands, and lent.
fn whole(header: Header, end: usize, input: &mut [u8]) -> Taken<'_> {
    let payload = input.get_mut(header.size..end).unwrap_or_default();
    mask::apply(payload, header.mask);
    let payload: &[u8] = payload;
    let message = if header.opcode == Opcode::Text {
        Message::Text(Cow::Borrowed(
            str::from_utf8(payload).map_err(|_| not_utf8())?,
        ))
    } else {
        Message::Binary(Cow::Borrowed(payload))
    };
    Ok(Step::new(end, Event::Message(message)))
}

fn not_utf8() -> ProtocolError {
    ProtocolError::peer(Answer::Close(1007), "text is UTF-8 (RFC 6455 8.1)", "")
}
