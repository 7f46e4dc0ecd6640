//! One side of a stream between a process and the router.

use crate::route::frame::{self, Decoder, Direction, Frame, FrameError};
use crate::route::message::{FromRouter, ToRouter};

/// How much a link may carry and hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkLimits {
    /// Longest payload of one frame, in bytes.
    pub payload: usize,
    /// Bytes that may wait to be written. Deliveries that do not fit are refused; control frames always pass.
    pub queue: usize,
}

impl Default for LinkLimits {
    /// 10 MiB and 16 MiB.
    fn default() -> Self {
        Self {
            payload: 10 * 1024 * 1024,
            queue: 16 * 1024 * 1024,
        }
    }
}

/// One side of a stream: bytes in, frames out of them; frames in, bytes out of them.
///
/// It holds no socket. What is fed comes out as frames; what is queued waits until the owner of the socket has
/// written it and says how much.
///
/// ```
/// use workhive_ipc::route::{FromRouter, Link, LinkLimits, ToRouter};
///
/// let mut worker = Link::to_router(LinkLimits::default());
/// let mut router = Link::from_router(LinkLimits::default());
/// worker.push_control(&ToRouter::HelloClient, b"");
/// let written = worker.output().len();
/// router.feed(worker.output());
/// worker.sent(written);
/// let frame = router.next_frame()?.unwrap();
/// assert_eq!(ToRouter::from_body(frame.body)?, ToRouter::HelloClient);
/// assert!(worker.output().is_empty());
/// # Ok::<(), workhive_ipc::route::FrameError>(())
/// ```
#[derive(Debug)]
pub struct Link {
    pub(crate) decoder: Decoder,
    out: OutQueue,
}

/// What waits to be written.
#[derive(Debug)]
pub(crate) struct OutQueue {
    direction: Direction,
    limits: LinkLimits,
    buffer: Vec<u8>,
    /// What has been written of the buffer.
    written: usize,
    refused: u64,
}

/// A frame that travels from a process to the router, or back. There are two: [`ToRouter`] and [`FromRouter`].
pub trait Outgoing: sealed::Sealed {}

impl Outgoing for ToRouter<'_> {}
impl Outgoing for FromRouter<'_> {}

mod sealed {
    use bincode::Encode;

    use super::{Direction, FromRouter, ToRouter};

    pub trait Sealed: Encode {
        const DIRECTION: Direction;
    }

    impl Sealed for ToRouter<'_> {
        const DIRECTION: Direction = Direction::ToRouter;
    }

    impl Sealed for FromRouter<'_> {
        const DIRECTION: Direction = Direction::FromRouter;
    }
}

impl Link {
    /// The side of a process.
    pub fn to_router(limits: LinkLimits) -> Self {
        Self::new(Direction::ToRouter, Direction::FromRouter, limits)
    }

    /// The router's side.
    pub fn from_router(limits: LinkLimits) -> Self {
        Self::new(Direction::FromRouter, Direction::ToRouter, limits)
    }

    fn new(outgoing: Direction, incoming: Direction, limits: LinkLimits) -> Self {
        Self {
            decoder: Decoder::new(incoming, limits.payload),
            out: OutQueue {
                direction: outgoing,
                limits,
                buffer: Vec::new(),
                written: 0,
                refused: 0,
            },
        }
    }

    /// Takes bytes that were read.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.decoder.feed(bytes);
    }

    /// The next frame that was read; None until more has been fed.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, FrameError> {
        self.decoder.next_frame()
    }

    /// The stream has ended: an error if that was in the middle of a frame.
    pub fn finish(&self) -> Result<(), FrameError> {
        self.decoder.finish()
    }

    /// Bytes to be written.
    pub fn output(&self) -> &[u8] {
        self.out.pending()
    }

    /// So many of them were.
    pub fn sent(&mut self, bytes: usize) {
        self.out.sent(bytes);
    }

    /// Queues a delivery; false, and counted, if it does not fit.
    pub fn push_data(&mut self, message: &impl Outgoing, payload: &[u8]) -> bool {
        self.out.push_data(message, payload)
    }

    /// Queues a frame whatever already waits; false only if it is longer than any frame may be.
    pub fn push_control(&mut self, message: &impl Outgoing, payload: &[u8]) -> bool {
        self.out.push_control(message, payload)
    }

    /// Deliveries refused so far because they did not fit.
    pub fn refused(&self) -> u64 {
        self.out.refused
    }

    /// Whether control frames alone have taken as much again as the queue may hold: the other side does not read.
    pub fn is_overdue(&self) -> bool {
        self.out.is_overdue()
    }

    pub(crate) fn into_halves(self) -> (Decoder, OutQueue) {
        (self.decoder, self.out)
    }

    pub(crate) fn out(&mut self) -> &mut OutQueue {
        &mut self.out
    }
}

/// A buffer that grew beyond this is given back when it is empty.
const KEEP: usize = 256 * 1024;

impl OutQueue {
    pub(crate) fn pending(&self) -> &[u8] {
        &self.buffer[self.written..]
    }

    pub(crate) fn sent(&mut self, bytes: usize) {
        self.written = (self.written + bytes).min(self.buffer.len());
        if self.written == self.buffer.len() {
            self.buffer.clear();
            self.buffer.shrink_to(KEEP);
            self.written = 0;
        } else if self.written > KEEP && self.written > self.buffer.len() / 2 {
            self.buffer.drain(..self.written);
            self.written = 0;
        }
    }

    /// Gives everything to a decoder in the same process. Says how much it was.
    pub(crate) fn hand_over(&mut self, decoder: &mut Decoder) -> usize {
        let bytes = self.pending().len();
        if self.written == 0 {
            decoder.feed_all(&mut self.buffer);
        } else {
            decoder.feed(self.pending());
            self.sent(bytes);
        }
        bytes
    }

    pub(crate) fn push_data(&mut self, message: &impl Outgoing, payload: &[u8]) -> bool {
        let before = self.buffer.len();
        // The payload is the part that can be large: not even copied when it is clear that it does not fit.
        let fits = payload.len() <= self.limits.payload
            && self.pending().len() + payload.len() <= self.limits.queue
            && self.append(message, payload);
        if fits && self.pending().len() <= self.limits.queue {
            return true;
        }
        self.buffer.truncate(before);
        self.refused += 1;
        false
    }

    pub(crate) fn push_control(&mut self, message: &impl Outgoing, payload: &[u8]) -> bool {
        self.append(message, payload)
    }

    /// Queues frames that were encoded before.
    pub(crate) fn push_encoded(&mut self, frames: &[u8]) {
        self.buffer.extend_from_slice(frames);
    }

    fn append<M: Outgoing>(&mut self, message: &M, payload: &[u8]) -> bool {
        debug_assert_eq!(M::DIRECTION, self.direction);
        frame::append(&mut self.buffer, self.direction, message, payload).is_ok()
    }

    pub(crate) fn is_overdue(&self) -> bool {
        self.pending().len() > self.limits.queue.saturating_mul(2)
    }

    pub(crate) fn limits(&self) -> LinkLimits {
        self.limits
    }

    /// A new stream: nothing of the old one matters.
    pub(crate) fn clear(&mut self) {
        self.buffer = Vec::new();
        self.written = 0;
    }
}
