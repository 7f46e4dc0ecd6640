//! Frames, RFC 6455 section 5.2.

use std::borrow::Cow;

use crate::{Answer, ProtocolError};

/// RFC 6455 5.5: control frames are short.
pub(super) const LONGEST_CONTROL: u64 = 125;

/// More than any control frame and any head of a data frame: two bytes, eight of length, four of mask, a payload.
pub(super) const LONGEST_HEAD_AND_CONTROL: usize = 2 + 8 + 4 + 125;

/// An error that is answered with close code 1002.
pub(super) fn protocol_error(
    rule: &'static str,
    found: impl Into<Cow<'static, str>>,
) -> ProtocolError {
    ProtocolError::peer(Answer::Close(1002), rule, found)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

impl Opcode {
    pub(super) fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }

    pub(super) fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0x0,
            Self::Text => 0x1,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xa,
        }
    }
}

/// The head of a frame from a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) fin: bool,
    pub(super) opcode: Opcode,
    pub(super) mask: [u8; 4],
    /// Length of the payload.
    pub(super) len: u64,
    /// Length of this head.
    pub(super) size: usize,
}

impl Header {
    /// Reads a head at the front of `input`; `Ok(None)` if it is not complete. `fragmented` says whether a message
    /// is in progress. What is wrong is found in the order of the bytes, so that no cut changes the outcome.
    pub(super) fn parse(input: &[u8], fragmented: bool) -> Result<Option<Self>, ProtocolError> {
        let Some((&first, rest)) = input.split_first() else {
            return Ok(None);
        };
        let (fin, opcode) = first_byte(first, fragmented)?;
        let Some((&second, rest)) = rest.split_first() else {
            return Ok(None);
        };
        if second & 0x80 == 0 {
            return Err(protocol_error(
                "frames of a client are masked (RFC 6455 5.1)",
                "",
            ));
        }
        let short = second & 0x7f;
        if opcode.is_control() && u64::from(short) > LONGEST_CONTROL {
            return Err(protocol_error(
                "a control frame has at most 125 bytes (RFC 6455 5.5)",
                "",
            ));
        }
        let Some((len, rest)) = length(short, rest)? else {
            return Ok(None);
        };
        let Some((mask, rest)) = rest.split_first_chunk() else {
            return Ok(None);
        };
        Ok(Some(Self {
            fin,
            opcode,
            mask: *mask,
            len,
            size: input.len().saturating_sub(rest.len()),
        }))
    }
}

fn first_byte(byte: u8, fragmented: bool) -> Result<(bool, Opcode), ProtocolError> {
    if byte & 0x70 != 0 {
        return Err(protocol_error(
            "reserved bits are 0, for no extension was negotiated (RFC 6455 5.2)",
            format!("{byte:#04x}"),
        ));
    }
    let fin = byte & 0x80 != 0;
    let opcode = match byte & 0x0f {
        0x0 => Opcode::Continuation,
        0x1 => Opcode::Text,
        0x2 => Opcode::Binary,
        0x8 => Opcode::Close,
        0x9 => Opcode::Ping,
        0xa => Opcode::Pong,
        other => {
            return Err(protocol_error(
                "an opcode is 0, 1, 2, 8, 9 or 10 (RFC 6455 5.2)",
                format!("{other:#x}"),
            ));
        }
    };
    match opcode {
        Opcode::Close | Opcode::Ping | Opcode::Pong if !fin => Err(protocol_error(
            "control frames are not fragmented (RFC 6455 5.5)",
            format!("{opcode:?}"),
        )),
        Opcode::Continuation if !fragmented => Err(protocol_error(
            "a continuation follows the start of a message (RFC 6455 5.4)",
            "none was started",
        )),
        Opcode::Text | Opcode::Binary if fragmented => Err(protocol_error(
            "a message ends before the next begins (RFC 6455 5.4)",
            format!("{opcode:?}"),
        )),
        _ => Ok((fin, opcode)),
    }
}

/// The payload length: in the second byte, or in the 2 or 8 bytes behind it.
fn length(short: u8, rest: &[u8]) -> Result<Option<(u64, &[u8])>, ProtocolError> {
    let (len, least, rest) = match short {
        126 => {
            let Some((bytes, rest)) = rest.split_first_chunk() else {
                return Ok(None);
            };
            (u64::from(u16::from_be_bytes(*bytes)), 126, rest)
        }
        127 => {
            let Some((bytes, rest)) = rest.split_first_chunk() else {
                return Ok(None);
            };
            (u64::from_be_bytes(*bytes), 0x1_0000, rest)
        }
        _ => return Ok(Some((u64::from(short), rest))),
    };
    if len < least {
        return Err(protocol_error(
            "a payload length has its shortest form (RFC 6455 5.2)",
            len.to_string(),
        ));
    }
    if len > u64::MAX >> 1 {
        return Err(protocol_error(
            "the highest bit of a payload length is 0 (RFC 6455 5.2)",
            len.to_string(),
        ));
    }
    Ok(Some((len, rest)))
}

/// Appends the head of an unmasked, unfragmented frame.
pub(super) fn write_header(out: &mut Vec<u8>, opcode: Opcode, len: usize) {
    out.push(0x80 | opcode.bits());
    // A usize always fits in a u64.
    let long = len as u64;
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(short), _) if short <= 125 => out.push(short),
        (_, Ok(medium)) => {
            out.push(126);
            out.extend_from_slice(&medium.to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&long.to_be_bytes());
        }
    }
}

/// Appends an unmasked frame, as servers send them.
pub(super) fn write(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    out.reserve(payload.len().saturating_add(10));
    write_header(out, opcode, payload.len());
    out.extend_from_slice(payload);
}
