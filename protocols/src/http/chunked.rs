//! Chunked bodies, RFC 9112 section 7.1.

use super::HttpConfig;
use crate::head::{bad, check_fields, excerpt, is_field_value};
use crate::{Answer, ProtocolError};

/// Sixteen digits fill a u64; a longer number is an attack, whatever its value.
const MOST_DIGITS: u8 = 16;

/// A decoder of chunked bodies. It takes any cut of the bytes and looks at each of them once.
#[derive(Debug)]
pub(super) struct Chunked {
    state: State,
    /// Bytes of chunk extensions so far. They are skipped, but not without end: a peer could send kilobytes of
    /// them with every one-byte chunk.
    extensions: usize,
    /// The trailer section as it came, up to its empty line.
    trailers: Vec<u8>,
    trailer_lines: usize,
    /// Where the current line of the trailer section starts.
    line: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Size {
        value: u64,
        digits: u8,
    },
    /// Whitespace before an extension, which RFC 9112 7.1.1 calls bad and wants accepted.
    Blank {
        value: u64,
    },
    Extension {
        value: u64,
    },
    SizeLf {
        value: u64,
    },
    Data {
        left: usize,
    },
    DataCr,
    DataLf,
    Trailers,
}

const SIZE: State = State::Size {
    value: 0,
    digits: 0,
};

impl Chunked {
    pub(super) fn new() -> Self {
        Self {
            state: SIZE,
            extensions: 0,
            trailers: Vec::new(),
            trailer_lines: 0,
            line: 0,
        }
    }

    /// Takes what it can from `input` and appends data to `body`. Returns how much was taken, and whether the body
    /// is complete.
    pub(super) fn feed(
        &mut self,
        input: &[u8],
        body: &mut Vec<u8>,
        config: &HttpConfig,
    ) -> Result<(usize, bool), ProtocolError> {
        let mut rest = input;
        while let Some((&byte, behind)) = rest.split_first() {
            if let State::Data { left } = self.state {
                let take = left.min(rest.len());
                let (data, behind) = rest.split_at(take);
                body.extend_from_slice(data);
                rest = behind;
                self.state = match left.saturating_sub(take) {
                    0 => State::DataCr,
                    left => State::Data { left },
                };
                continue;
            }
            rest = behind;
            if self.state == State::Trailers {
                if self.trailer_byte(byte, config)? {
                    return Ok((input.len().saturating_sub(rest.len()), true));
                }
                continue;
            }
            self.state = self.frame_byte(byte, body.len(), config)?;
        }
        Ok((input.len(), false))
    }

    /// The trailer section without the fields that must not be in one, ready for `Headers`.
    pub(super) fn into_trailers(self) -> Result<Vec<u8>, ProtocolError> {
        if self.trailer_lines == 0 {
            return Ok(Vec::new());
        }
        let mut kept = Vec::new();
        check_fields(&self.trailers, self.trailer_lines, |name, value| {
            if !is_forbidden(name) {
                kept.extend_from_slice(name.as_bytes());
                kept.extend_from_slice(b": ");
                kept.extend_from_slice(value);
                kept.extend_from_slice(b"\r\n");
            }
            Ok(())
        })?;
        Ok(kept)
    }

    /// One byte between two chunks.
    fn frame_byte(
        &mut self,
        byte: u8,
        received: usize,
        config: &HttpConfig,
    ) -> Result<State, ProtocolError> {
        match self.state {
            State::Size { value, digits } => match (hex(byte), byte) {
                (Some(_), _) if digits == MOST_DIGITS => Err(bad(
                    "a chunk size has at most 16 digits (RFC 9112 7.1)",
                    "more",
                )),
                (Some(digit), _) => Ok(State::Size {
                    value: value << 4 | u64::from(digit),
                    digits: digits.saturating_add(1),
                }),
                (None, _) if digits == 0 => Err(bad(
                    "a chunk begins with its size in hex (RFC 9112 7.1)",
                    excerpt(&[byte]),
                )),
                (None, b'\r') => check_size(value, received, config),
                (None, b';') => Ok(State::Extension { value }),
                (None, b' ' | b'\t') => Ok(State::Blank { value }),
                (None, _) => Err(bad(
                    "a chunk size is hex digits (RFC 9112 7.1)",
                    excerpt(&[byte]),
                )),
            },
            State::Blank { value } | State::Extension { value } => {
                self.extensions = self.extensions.saturating_add(1);
                if self.extensions > config.max_head {
                    return Err(bad(
                        "chunk extensions are not longer than max_head (RFC 9112 7.1.1)",
                        "",
                    ));
                }
                match (self.state, byte) {
                    (State::Extension { .. }, b'\r') => check_size(value, received, config),
                    (State::Extension { .. }, _) if is_field_value(&[byte]) => Ok(self.state),
                    (_, b' ' | b'\t') => Ok(self.state),
                    (_, b';') => Ok(State::Extension { value }),
                    _ => Err(bad(
                        "a chunk size is followed by `;` or CRLF (RFC 9112 7.1)",
                        excerpt(&[byte]),
                    )),
                }
            }
            State::SizeLf { value } if byte == b'\n' => match usize::try_from(value) {
                Ok(0) => Ok(State::Trailers),
                Ok(left) => Ok(State::Data { left }),
                Err(_) => Err(too_large(value, config)),
            },
            State::DataCr if byte == b'\r' => Ok(State::DataLf),
            State::DataLf if byte == b'\n' => Ok(SIZE),
            _ => Err(bad(
                "chunk sizes and chunks end with CRLF (RFC 9112 7.1)",
                excerpt(&[byte]),
            )),
        }
    }

    /// One byte of the trailer section; true if it is the last.
    fn trailer_byte(&mut self, byte: u8, config: &HttpConfig) -> Result<bool, ProtocolError> {
        if self.trailers.len() >= config.max_head {
            return Err(ProtocolError::peer(
                Answer::Status(431),
                "trailers are not longer than max_head",
                "",
            ));
        }
        let after_cr = self.trailers.last() == Some(&b'\r');
        self.trailers.push(byte);
        if byte != b'\n' {
            return Ok(false);
        }
        if !after_cr {
            return Err(bad(
                "lines of trailers end with CRLF (RFC 9112 2.2)",
                "a bare LF",
            ));
        }
        if self.trailers.len().saturating_sub(self.line) == 2 {
            return Ok(true);
        }
        self.line = self.trailers.len();
        self.trailer_lines = self.trailer_lines.saturating_add(1);
        if self.trailer_lines > config.max_headers {
            return Err(ProtocolError::peer(
                Answer::Status(431),
                "there are not more than max_headers trailers",
                "",
            ));
        }
        Ok(false)
    }
}

/// The size of a chunk is known: refuse it now, not when its data has come.
fn check_size(value: u64, received: usize, config: &HttpConfig) -> Result<State, ProtocolError> {
    let room = config.max_message.saturating_sub(received);
    if usize::try_from(value).is_ok_and(|len| len <= room) {
        Ok(State::SizeLf { value })
    } else {
        Err(too_large(value, config))
    }
}

fn too_large(value: u64, config: &HttpConfig) -> ProtocolError {
    ProtocolError::peer(
        Answer::Status(413),
        "a body is not longer than max_message",
        format!(
            "a chunk of {value} bytes, at most {} in all",
            config.max_message
        ),
    )
}

fn hex(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// Fields that frame, route or authenticate a message are not for trailers (RFC 9110 6.5.1): whoever merges them
/// into the header would believe them.
fn is_forbidden(name: &str) -> bool {
    const FORBIDDEN: [&str; 19] = [
        "age",
        "authorization",
        "cache-control",
        "connection",
        "content-encoding",
        "content-length",
        "content-range",
        "content-type",
        "cookie",
        "expect",
        "host",
        "keep-alive",
        "max-forwards",
        "proxy-authorization",
        "range",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    FORBIDDEN
        .iter()
        .any(|forbidden| name.eq_ignore_ascii_case(forbidden))
}
