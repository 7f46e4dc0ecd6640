//! The frame around a control message: `"WH"`, version, type, length, body.
//!
//! The envelope is our own so that it outlives the encoding of the body: during an upgrade a process meets frames
//! of another version and must be able to say so, rather than misread them.

use std::fmt;

use bincode::config::{Configuration, Limit, LittleEndian, Varint};

use crate::{ToMaster, ToPredecessor, ToSuccessor, ToWorker};

/// Largest frame, in bytes, envelope included.
pub const MAX_FRAME: usize = 16 * 1024;

const MAGIC: [u8; 2] = *b"WH";
const VERSION: u8 = 1;
/// Magic, version, type, body length (u32, little endian).
const HEADER: usize = 8;

/// The limit is on memory claimed while decoding, so that a forged length cannot take more than a frame's worth.
// The type is written out so that a change of bincode's defaults is a compile error, not a change on the wire.
const CONFIG: Configuration<LittleEndian, Varint, Limit<MAX_FRAME>> =
    bincode::config::standard().with_limit::<MAX_FRAME>();

mod sealed {
    /// Keeps the set of control messages closed.
    pub trait Sealed {}
    impl Sealed for crate::ToMaster {}
    impl Sealed for crate::ToWorker {}
    impl Sealed for crate::ToSuccessor {}
    impl Sealed for crate::ToPredecessor {}
}

/// A message that can travel on a [`Channel`](crate::Channel): [`ToMaster`] or [`ToWorker`], or between two masters
/// [`ToSuccessor`] or [`ToPredecessor`].
///
/// ```
/// use workhive_ipc::{Control, ToWorker};
///
/// let frame = ToWorker::Stop.to_frame()?;
/// assert_eq!(ToWorker::from_frame(&frame)?, ToWorker::Stop);
/// # Ok::<(), workhive_ipc::EnvelopeError>(())
/// ```
pub trait Control: bincode::Encode + bincode::Decode<()> + sealed::Sealed {
    /// The type byte in the envelope.
    const KIND: u8;

    /// The message as one frame of at most [`MAX_FRAME`] bytes.
    fn to_frame(&self) -> Result<Vec<u8>, EnvelopeError> {
        let mut frame = Vec::with_capacity(64);
        frame.extend_from_slice(&MAGIC);
        frame.extend_from_slice(&[VERSION, Self::KIND, 0, 0, 0, 0]);
        bincode::encode_into_std_write(self, &mut frame, CONFIG)
            .map_err(|_| EnvelopeError::TooLong)?;
        if frame.len() > MAX_FRAME {
            return Err(EnvelopeError::TooLong);
        }
        let length = u32::try_from(frame.len() - HEADER).map_err(|_| EnvelopeError::TooLong)?;
        frame[4..HEADER].copy_from_slice(&length.to_le_bytes());
        Ok(frame)
    }

    /// The message in a frame. Anything but exactly one whole frame is refused.
    fn from_frame(frame: &[u8]) -> Result<Self, EnvelopeError> {
        let (head, body) = frame
            .split_first_chunk::<HEADER>()
            .ok_or(EnvelopeError::NotAFrame)?;
        let [m0, m1, version, kind, length @ ..] = *head;
        if [m0, m1] != MAGIC {
            return Err(EnvelopeError::NotAFrame);
        }
        if version != VERSION {
            return Err(EnvelopeError::Version(version));
        }
        if kind != Self::KIND {
            return Err(EnvelopeError::Kind(kind));
        }
        if frame.len() > MAX_FRAME {
            return Err(EnvelopeError::TooLong);
        }
        if usize::try_from(u32::from_le_bytes(length)) != Ok(body.len()) {
            return Err(EnvelopeError::NotAFrame);
        }
        match bincode::decode_from_slice(body, CONFIG) {
            // bincode does not mind bytes that it did not read: we do.
            Ok((message, consumed)) if consumed == body.len() => Ok(message),
            Ok(_) | Err(_) => Err(EnvelopeError::Body),
        }
    }
}

impl Control for ToMaster {
    const KIND: u8 = 1;
}

impl Control for ToWorker {
    const KIND: u8 = 2;
}

impl Control for ToSuccessor {
    const KIND: u8 = 3;
}

impl Control for ToPredecessor {
    const KIND: u8 = 4;
}

/// Bytes that are no message, or a message that is no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EnvelopeError {
    /// The message takes more than [`MAX_FRAME`] bytes.
    TooLong,
    /// The bytes do not begin as a frame, or have another length than they say.
    NotAFrame,
    /// The other process is of another version of workhive.
    Version(u8),
    /// A message that goes the other way, or one that this version does not know.
    Kind(u8),
    /// The body does not decode, or goes on after the message.
    Body,
}

impl fmt::Display for EnvelopeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "the message takes more than {MAX_FRAME} bytes"),
            Self::NotAFrame => f.write_str("these bytes are no control frame"),
            Self::Version(version) => write!(
                f,
                "the other process speaks version {version}, this one {VERSION}"
            ),
            Self::Kind(kind) => write!(f, "no message of type {kind} is expected here"),
            Self::Body => f.write_str("the body of the control frame does not decode"),
        }
    }
}

impl std::error::Error for EnvelopeError {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ListenOutcome;

    /// Written down once and never changed: what an older binary sends must be read for ever.
    #[test]
    fn frames_have_these_bytes() {
        let golden: [(ToMaster, &[u8]); 9] = [
            (ToMaster::Ready, b"WH\x01\x01\x01\0\0\0\x00"),
            (
                ToMaster::BootFailed {
                    reason: "no".into(),
                },
                b"WH\x01\x01\x04\0\0\0\x01\x02no",
            ),
            (
                ToMaster::Listening {
                    address: "a:1".into(),
                    reuse_port: true,
                    protocol: "text".into(),
                },
                b"WH\x01\x01\x0b\0\0\0\x02\x03a:1\x01\x04text",
            ),
            (
                ToMaster::Unlistened {
                    address: "a:1".into(),
                },
                b"WH\x01\x01\x05\0\0\0\x03\x03a:1",
            ),
            (
                ToMaster::RequestShared {
                    id: 7,
                    address: "a:1".into(),
                    backlog: 4096,
                },
                b"WH\x01\x01\x09\0\0\0\x04\x07\x03a:1\xfb\x00\x10",
            ),
            (
                ToMaster::RequestKept {
                    id: 300,
                    address: "b".into(),
                },
                b"WH\x01\x01\x06\0\0\0\x05\xfb\x2c\x01\x01b",
            ),
            (ToMaster::Draining, b"WH\x01\x01\x01\0\0\0\x06"),
            (
                ToMaster::StopAll { graceful: true },
                b"WH\x01\x01\x02\0\0\0\x07\x01",
            ),
            (ToMaster::ReloadAll, b"WH\x01\x01\x01\0\0\0\x08"),
        ];
        for (message, bytes) in golden {
            assert_eq!(message.to_frame().unwrap(), bytes, "{message:?}");
            assert_eq!(ToMaster::from_frame(bytes), Ok(message));
        }
        let golden: [(ToWorker, &[u8]); 6] = [
            (ToWorker::Stop, b"WH\x01\x02\x01\0\0\0\x00"),
            (
                ToWorker::Drain { window_ms: 10_000 },
                b"WH\x01\x02\x04\0\0\0\x01\xfb\x10\x27",
            ),
            (ToWorker::Reload, b"WH\x01\x02\x01\0\0\0\x02"),
            (
                ToWorker::Listener {
                    id: 7,
                    outcome: ListenOutcome::Granted,
                },
                b"WH\x01\x02\x03\0\0\0\x03\x07\x00",
            ),
            (
                ToWorker::Listener {
                    id: 7,
                    outcome: ListenOutcome::NotKept,
                },
                b"WH\x01\x02\x03\0\0\0\x03\x07\x01",
            ),
            (
                ToWorker::Listener {
                    id: 7,
                    outcome: ListenOutcome::Refused { errno: 98 },
                },
                b"WH\x01\x02\x04\0\0\0\x03\x07\x02\xc4",
            ),
        ];
        for (message, bytes) in golden {
            assert_eq!(message.to_frame().unwrap(), bytes, "{message:?}");
            assert_eq!(ToWorker::from_frame(bytes), Ok(message));
        }
    }

    #[test]
    fn what_is_not_exactly_one_frame_is_refused() {
        let cases: [(&[u8], EnvelopeError); 9] = [
            (b"", EnvelopeError::NotAFrame),
            (b"WH\x01\x01\x01\0\0", EnvelopeError::NotAFrame),
            (b"HW\x01\x01\x01\0\0\0\x00", EnvelopeError::NotAFrame),
            (b"WH\x01\x01\x01\0\0\0", EnvelopeError::NotAFrame),
            (b"WH\x01\x01\x01\0\0\0\x00\x00", EnvelopeError::NotAFrame),
            (b"WH\x02\x01\x01\0\0\0\x00", EnvelopeError::Version(2)),
            (b"WH\x01\x02\x01\0\0\0\x00", EnvelopeError::Kind(2)),
            // The body is one byte longer than its message.
            (b"WH\x01\x01\x02\0\0\0\x00\x00", EnvelopeError::Body),
            (b"WH\x01\x01\x01\0\0\0\x63", EnvelopeError::Body),
        ];
        for (bytes, error) in cases {
            assert_eq!(ToMaster::from_frame(bytes), Err(error), "{bytes:?}");
        }
    }

    #[test]
    fn a_forged_length_takes_no_memory() {
        // A reason that claims u64::MAX bytes, and a protocol that does.
        let reason = b"WH\x01\x01\x0a\0\0\0\x01\xfd\xff\xff\xff\xff\xff\xff\xff\xff";
        assert_eq!(ToMaster::from_frame(reason), Err(EnvelopeError::Body));
        let protocol = b"WH\x01\x01\x0d\0\0\0\x02\x01a\x01\xfd\xff\xff\xff\xff\xff\xff\xff\xff";
        assert_eq!(ToMaster::from_frame(protocol), Err(EnvelopeError::Body));
    }

    #[test]
    fn a_message_past_the_limit_is_refused_by_the_sender() {
        let long = ToMaster::BootFailed {
            reason: "x".repeat(MAX_FRAME),
        };
        assert_eq!(long.to_frame(), Err(EnvelopeError::TooLong));
        let long = ToMaster::Listening {
            address: "a:1".into(),
            reuse_port: false,
            protocol: "x".repeat(MAX_FRAME),
        };
        assert_eq!(long.to_frame(), Err(EnvelopeError::TooLong));
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = ToMaster::from_frame(&bytes);
            let _ = ToWorker::from_frame(&bytes);
        }

        #[test]
        fn random_bodies_never_panic(kind in 1u8..=2, body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut frame = b"WH\x01".to_vec();
            frame.push(kind);
            frame.extend_from_slice(&u32::try_from(body.len()).unwrap().to_le_bytes());
            frame.extend_from_slice(&body);
            if let Ok(message) = ToMaster::from_frame(&frame) {
                prop_assert_eq!(ToMaster::from_frame(&message.to_frame().unwrap()), Ok(message));
            }
            let _ = ToWorker::from_frame(&frame);
        }
    }
}
