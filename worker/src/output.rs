//! What leaves a connection: into its buffer, and out of it.

use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, send, shutdown};
use workhive_protocols::{EncodeError, Message, Wire};

use crate::core::{Core, Notice, find};
use crate::entry::{AnyEncoder, CloseReason, Entry, Key, Phase, SharedPush, flag};
use crate::error::{ConnectionError, SendError};

/// Send buffers kept for reuse: how many, and how large each may be.
const SPARE_BUFFERS: usize = 256;
const SPARE_CAPACITY: usize = 64 * 1024;

impl Core {
    /// Runs `encode` on the connection's encoder and takes what it wrote, unless it does not fit: then nothing of it
    /// is sent, the failure is counted and `on_buffer_full` is owed.
    ///
    /// A message that meets an empty buffer always fits: a limit on what *waits* must not forbid a single message
    /// that the protocol allows.
    pub(crate) fn send(
        &mut self,
        key: Key,
        must_take: bool,
        encode: impl FnOnce(&mut dyn AnyEncoder, &mut Wire<'_>) -> Result<(), EncodeError>,
    ) -> Result<(), SendError> {
        let spare = self.spare_buffer(key);
        let Some(entry) = find(&mut self.entries, key).filter(|entry| entry.phase == Phase::Open)
        else {
            self.counters.send_failures += 1;
            return Err(SendError::Gone);
        };
        if let Some(buffer) = spare {
            entry.out = buffer;
        }
        let before = entry.out.len();
        let queued = entry.queued();
        let mut wire = Wire::new(&mut entry.out, self.clock.now(), self.clock.date());
        let result = encode(entry.encoder.as_mut(), &mut wire);
        let flow = wire.flow;
        let len = entry.out.len().saturating_sub(before);
        let max = entry.limits.max_send_buffer;
        let outcome = match result {
            Err(error) => Err(SendError::Encode(error)),
            Ok(()) if queued > 0 && queued + len > max && !must_take => {
                Err(SendError::Full { queued, len, max })
            }
            Ok(()) => Ok(()),
        };
        if let Err(error) = outcome {
            entry.out.truncate(before);
            if matches!(error, SendError::Full { .. }) && !entry.has(flag::FULL) {
                entry.set(flag::FULL);
                self.notices.push_back((key, Notice::BufferFull));
            }
            self.counters.send_failures += 1;
            self.mark_dirty(key);
            return Err(error);
        }
        let waits = entry.has(flag::WAIT);
        entry.clear(flag::WAIT);
        self.apply(key, flow);
        if waits {
            self.run_again(key);
        }
        self.mark_dirty(key);
        Ok(())
    }

    /// Sends a pushed payload in the natural form of the connection's protocol.
    pub(crate) fn push(&mut self, key: Key, payload: &Message<'_>) -> Result<(), SendError> {
        self.send(key, false, |encoder, wire| {
            encoder.push(payload.reborrow(), wire)
        })
    }

    /// The same for one of many: what all connections of a protocol get is encoded once.
    pub(crate) fn push_shared(
        &mut self,
        key: Key,
        payload: &Message<'_>,
        shared: &mut SharedPush,
    ) -> Result<(), SendError> {
        self.send(key, false, |encoder, wire| {
            encoder.push_shared(payload, shared, wire)
        })
    }

    /// A buffer for a connection that has none, out of those that others have given back.
    pub(crate) fn spare_buffer(&mut self, key: Key) -> Option<Vec<u8>> {
        let entry = self.entries.get(key.index as usize)?;
        if entry.out.capacity() == 0 {
            self.spare.pop()
        } else {
            None
        }
    }

    /// Takes the buffer of a connection that has nothing to send.
    pub(crate) fn give_back(&mut self, key: Key) {
        let Some(entry) = find(&mut self.entries, key) else {
            return;
        };
        if entry.out.is_empty() && entry.out.capacity() > 0 {
            let buffer = std::mem::take(&mut entry.out);
            if self.spare.len() < SPARE_BUFFERS && buffer.capacity() <= SPARE_CAPACITY {
                self.spare.push(buffer);
            }
        }
    }

    /// One write of all that waits, and what follows from it.
    pub(crate) fn flush(&mut self, key: Key) {
        let now = self.clock.now_millis();
        let Some(entry) = find(&mut self.entries, key) else {
            return;
        };
        let Some(socket) = &entry.socket else {
            return;
        };
        while entry.sent < entry.out.len() {
            match send(
                socket.as_raw_fd(),
                &entry.out[entry.sent..],
                MsgFlags::MSG_NOSIGNAL,
            ) {
                Ok(len) => {
                    entry.sent += len;
                    entry.last_write = now;
                    if entry.phase > Phase::Open {
                        // The last bytes may take long, if only they move.
                        entry.deadline = now.saturating_add(flush_timeout(entry));
                    }
                    entry.bytes_written += len as u64;
                    self.counters.bytes_written += len as u64;
                }
                Err(Errno::EAGAIN) => {
                    if !entry.has(flag::BLOCKED) {
                        entry.set(flag::BLOCKED);
                        entry.last_write = now;
                    }
                    if entry.sent >= entry.out.len() / 2 {
                        entry.out.drain(..entry.sent);
                        entry.sent = 0;
                    }
                    return;
                }
                Err(Errno::EINTR) => {}
                Err(error) => {
                    let error = ConnectionError::Io(error.into());
                    self.destroy(key, CloseReason::Error(error));
                    return;
                }
            }
        }
        entry.clear(flag::BLOCKED);
        entry.sent = 0;
        entry.out.clear();
        self.drained(key);
    }

    /// The send buffer is empty.
    fn drained(&mut self, key: Key) {
        self.give_back(key);
        let now = self.clock.now();
        let Some(entry) = find(&mut self.entries, key) else {
            return;
        };
        if entry.has(flag::FULL) && entry.phase == Phase::Open {
            entry.clear(flag::FULL);
            entry.set(flag::NOTICED);
            self.notices.push_back((key, Notice::BufferDrain));
        }
        let held = entry.has(flag::HELD) && entry.pipe.is_none();
        if held {
            entry.clear(flag::HELD);
        }
        if entry.phase == Phase::Ending {
            if entry.has(flag::CLOSE | flag::EOF) {
                self.destroy(key, CloseReason::Local);
                return;
            }
            // A failure means that the peer is gone already; the read that follows will say so.
            if let Some(socket) = &entry.socket {
                let _ = shutdown(socket.as_raw_fd(), nix::sys::socket::Shutdown::Write);
            }
            entry.phase = Phase::Lingering;
            entry.deadline = self.clock.millis(now + entry.limits.linger);
            entry.set(flag::READABLE);
            self.run_again(key);
        } else if held {
            self.run_again(key);
        }
        self.wake_feeders(key);
    }
}

fn flush_timeout(entry: &Entry) -> u64 {
    u64::try_from(entry.limits.flush_timeout.as_millis()).unwrap_or(u64::MAX)
}
