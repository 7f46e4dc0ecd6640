//! Closing, RFC 6455 sections 5.5.1 and 7.4.

use super::frame::{Opcode, protocol_error, write_header};
use crate::{Answer, Goodbye, ProtocolError};

/// What stands for a close frame without a code; never sent (RFC 6455 7.4.1).
pub(super) const NO_CODE: u16 = 1005;
/// A control frame has 125 bytes, the code takes two.
const LONGEST_REASON: usize = 123;

/// True for codes that may stand in a close frame: those of RFC 6455 section 7.4, those that IANA has added since,
/// and those for libraries and applications.
pub(super) fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// Reads the payload of a close frame.
pub(super) fn parse(payload: &[u8]) -> Result<(u16, &str), ProtocolError> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return if payload.is_empty() {
            Ok((NO_CODE, ""))
        } else {
            Err(protocol_error(
                "a close frame is empty or begins with a code (RFC 6455 5.5.1)",
                "one byte",
            ))
        };
    };
    let code = u16::from_be_bytes(*code);
    if !may_be_sent(code) {
        return Err(protocol_error(
            "a close code is one that may be sent (RFC 6455 7.4)",
            code.to_string(),
        ));
    }
    let reason = str::from_utf8(reason).map_err(|_| {
        ProtocolError::peer(
            Answer::Close(1007),
            "the reason of a close is UTF-8 (RFC 6455 5.5.1)",
            "",
        )
    })?;
    Ok((code, reason))
}

/// Appends a close frame; `NO_CODE` makes an empty one. A reason that is too long is cut.
pub(super) fn write(out: &mut Vec<u8>, code: u16, reason: &str) {
    if code == NO_CODE {
        write_header(out, Opcode::Close, 0);
        return;
    }
    let mut end = reason.len().min(LONGEST_REASON);
    while !reason.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    let reason = reason.get(..end).unwrap_or_default();
    write_header(out, Opcode::Close, reason.len().saturating_add(2));
    out.extend_from_slice(&code.to_be_bytes());
    out.extend_from_slice(reason.as_bytes());
}

/// This side's words for why it ends the connection.
pub(super) fn words(goodbye: &Goodbye) -> (u16, &str) {
    match goodbye {
        Goodbye::Normal => (1000, ""),
        // An application that asks for a code that cannot be sent still gets its connection closed.
        Goodbye::Code { code, reason } if may_be_sent(*code) => (*code, reason),
        Goodbye::Code { reason, .. } => (1000, reason),
        Goodbye::Failure => (1011, ""),
        Goodbye::Restart => (1012, ""),
        Goodbye::Idle => (1001, ""),
    }
}
