//! The envelope on a stream between a process and the router.
//!
//! ```text
//! offset  bytes
//!      0      2  "WR"
//!      2      1  version, 1
//!      3      1  kind: 1 goes to the router, 2 comes from it
//!      4      4  length of the body, little endian, at most MAX_BODY
//!      8      4  length of the payload, little endian
//!     12      .  the body: one ToRouter or FromRouter by bincode, nothing after it
//!      .      .  the payload: bytes of the application, never looked at
//! ```
//!
//! The header is our own so that it outlives the encoding of the body: a process of another version is recognized
//! as such, rather than misread.

use std::fmt;
use std::ops::Range;

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use bincode::{BorrowDecode, Encode};

/// Largest body of a frame, in bytes. Also the most memory that decoding one may claim.
pub const MAX_BODY: usize = 1024 * 1024;

/// Bytes before the body.
pub const HEADER: usize = 12;

const MAGIC: [u8; 2] = *b"WR";
const VERSION: u8 = 1;

// The type is written out so that a change of bincode's defaults is a compile error, not a change on the wire.
const CONFIG: Configuration<LittleEndian, Varint, Limit<MAX_BODY>> =
    bincode::config::standard().with_limit::<MAX_BODY>();

/// Which way a frame goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From a process to the router.
    ToRouter,
    /// From the router to a process.
    FromRouter,
}

impl Direction {
    fn kind(self) -> u8 {
        match self {
            Self::ToRouter => 1,
            Self::FromRouter => 2,
        }
    }
}

/// Appends a frame to `wire`, so that many leave in one write. Nothing is appended if it fails.
pub(crate) fn append(
    wire: &mut Vec<u8>,
    direction: Direction,
    body: &impl Encode,
    payload: &[u8],
) -> Result<(), FrameError> {
    let start = wire.len();
    wire.extend_from_slice(&MAGIC);
    wire.extend_from_slice(&[VERSION, direction.kind(), 0, 0, 0, 0]);
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    wire.extend_from_slice(&length.to_le_bytes());
    let encoded = bincode::encode_into_std_write(body, wire, CONFIG);
    let body_length = wire.len() - start - HEADER;
    if encoded.is_err() || body_length > MAX_BODY || length == u32::MAX {
        wire.truncate(start);
        return Err(FrameError::BodyTooLong {
            declared: body_length,
        });
    }
    // It is at most MAX_BODY.
    let body_length = u32::try_from(body_length).unwrap_or(u32::MAX);
    wire[start + 4..start + 8].copy_from_slice(&body_length.to_le_bytes());
    wire.extend_from_slice(payload);
    Ok(())
}

/// Decodes a whole body; what goes on after the message is refused.
pub(crate) fn decode_body<'a, T: BorrowDecode<'a, ()>>(body: &'a [u8]) -> Result<T, FrameError> {
    match bincode::borrow_decode_from_slice(body, CONFIG) {
        // bincode does not mind bytes that it did not read: we do.
        Ok((message, consumed)) if consumed == body.len() => Ok(message),
        Ok((_, consumed)) => Err(FrameError::Trailing {
            bytes: body.len() - consumed,
        }),
        Err(_) => Err(FrameError::Body),
    }
}

/// Finds the frames in a stream of bytes, whatever pieces it comes in.
///
/// It holds one unfinished frame at most, plus what came in the same pieces; memory is taken for bytes that are
/// there, not for bytes that a header promises. After an error the stream cannot go on.
///
/// ```
/// use workhive_ipc::route::{Decoder, Direction, ToRouter};
///
/// let mut wire = Vec::new();
/// ToRouter::Watch { on: true }.append(b"", &mut wire)?;
/// let mut decoder = Decoder::new(Direction::ToRouter, 1024);
/// let (head, tail) = wire.split_at(5);
/// decoder.feed(head);
/// assert!(decoder.next_frame()?.is_none());
/// decoder.feed(tail);
/// let frame = decoder.next_frame()?.unwrap();
/// assert_eq!(ToRouter::from_body(frame.body)?, ToRouter::Watch { on: true });
/// # Ok::<(), workhive_ipc::route::FrameError>(())
/// ```
#[derive(Debug)]
pub struct Decoder {
    direction: Direction,
    payload_limit: usize,
    buffer: Vec<u8>,
    /// Where the next frame begins; bytes before it are done with. At most `buffer.len()`.
    start: usize,
    failed: Option<FrameError>,
}

/// A frame in a decoder's buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// For [`ToRouter::from_body`](crate::route::ToRouter::from_body) or
    /// [`FromRouter::from_body`](crate::route::FromRouter::from_body).
    pub body: &'a [u8],
    /// The application's bytes.
    pub payload: &'a [u8],
}

/// Where a frame is in a decoder's buffer, until more is fed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Span {
    pub(crate) body: Range<usize>,
    pub(crate) payload: Range<usize>,
}

/// A buffer that grew beyond this is given back when it is empty.
const KEEP: usize = 256 * 1024;

impl Decoder {
    /// A decoder for one direction. A payload of more than `payload_limit` bytes is refused.
    pub fn new(direction: Direction, payload_limit: usize) -> Self {
        Self {
            direction,
            payload_limit,
            buffer: Vec::new(),
            start: 0,
            failed: None,
        }
    }

    /// Takes the next bytes of the stream.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.failed.is_some() {
            return;
        }
        if self.start == self.buffer.len() {
            self.buffer.clear();
            self.buffer.shrink_to(KEEP);
        } else if self.start > 0 {
            self.buffer.drain(..self.start);
        }
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// Takes all these bytes; without a copy if nothing is left of what came before.
    pub(crate) fn feed_all(&mut self, bytes: &mut Vec<u8>) {
        if self.failed.is_none() && self.start == self.buffer.len() {
            std::mem::swap(&mut self.buffer, bytes);
            self.start = 0;
        } else {
            self.feed(bytes);
        }
        bytes.clear();
        bytes.shrink_to(KEEP);
    }

    /// The next frame; None until more has been fed.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, FrameError> {
        let span = self.next_span()?;
        Ok(span.map(|span| Frame {
            body: &self.buffer[span.body],
            payload: &self.buffer[span.payload],
        }))
    }

    pub(crate) fn next_span(&mut self) -> Result<Option<Span>, FrameError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        match self.measure() {
            Ok(Some(span)) => {
                self.start = span.payload.end;
                Ok(Some(span))
            }
            Ok(None) => Ok(None),
            Err(error) => {
                self.failed = Some(error);
                self.buffer = Vec::new();
                self.start = 0;
                Err(error)
            }
        }
    }

    pub(crate) fn bytes(&self, range: Range<usize>) -> &[u8] {
        &self.buffer[range]
    }

    fn measure(&self) -> Result<Option<Span>, FrameError> {
        let Some(header) = self.buffer[self.start..].first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let [m0, m1, version, kind, lengths @ ..] = *header;
        if [m0, m1] != MAGIC {
            return Err(FrameError::NotAFrame([m0, m1]));
        }
        if version != VERSION {
            return Err(FrameError::Version(version));
        }
        if kind != self.direction.kind() {
            return Err(FrameError::Kind(kind));
        }
        let [b0, b1, b2, b3, p0, p1, p2, p3] = lengths;
        let length = |bytes| usize::try_from(u32::from_le_bytes(bytes)).unwrap_or(usize::MAX);
        let (body, payload) = (length([b0, b1, b2, b3]), length([p0, p1, p2, p3]));
        if body > MAX_BODY {
            return Err(FrameError::BodyTooLong { declared: body });
        }
        if payload > self.payload_limit {
            return Err(FrameError::PayloadTooLong {
                declared: payload,
                limit: self.payload_limit,
            });
        }
        let body_start = self.start + HEADER;
        let payload_start = body_start + body;
        let end = payload_start + payload;
        if end > self.buffer.len() {
            return Ok(None);
        }
        Ok(Some(Span {
            body: body_start..payload_start,
            payload: payload_start..end,
        }))
    }

    /// The stream has ended: an error if that was in the middle of a frame.
    pub fn finish(&self) -> Result<(), FrameError> {
        match self.buffer.len() - self.start {
            0 => Ok(()),
            bytes => Err(FrameError::Truncated { bytes }),
        }
    }
}

/// Bytes that are no frame. The link on which they came cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameError {
    /// A frame does not begin with these bytes.
    NotAFrame([u8; 2]),
    /// The other process is of another version of workhive.
    Version(u8),
    /// A frame that goes the other way, or of a kind that this version does not know.
    Kind(u8),
    /// A body longer than [`MAX_BODY`].
    BodyTooLong {
        /// How long, in bytes.
        declared: usize,
    },
    /// A payload longer than the link's limit.
    PayloadTooLong {
        /// How long, in bytes.
        declared: usize,
        /// What was allowed.
        limit: usize,
    },
    /// The body is no message that this version knows.
    Body,
    /// The body goes on after its message.
    Trailing {
        /// For so many bytes.
        bytes: usize,
    },
    /// The stream ended in the middle of a frame.
    Truncated {
        /// Bytes that were there of it.
        bytes: usize,
    },
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAFrame(bytes) => {
                write!(f, "no frame begins with \"{}\"", bytes.escape_ascii())
            }
            Self::Version(version) => write!(
                f,
                "the other process speaks version {version}, this one {VERSION}"
            ),
            Self::Kind(kind) => write!(f, "no frame of kind {kind} is expected here"),
            Self::BodyTooLong { declared } => write!(
                f,
                "a body of {declared} bytes is longer than the {MAX_BODY} allowed"
            ),
            Self::PayloadTooLong { declared, limit } => write!(
                f,
                "a payload of {declared} bytes is longer than the {limit} allowed"
            ),
            Self::Body => f.write_str("the body of a frame does not decode"),
            Self::Trailing { bytes } => {
                write!(f, "{bytes} bytes follow the message in a frame's body")
            }
            Self::Truncated { bytes } => {
                write!(f, "the stream ended {bytes} bytes into a frame")
            }
        }
    }
}

impl std::error::Error for FrameError {}
