//! What comes into a connection.

use std::io;

use nix::errno::Errno;

use crate::core::{Core, find};
use crate::entry::{Key, flag};

/// What a read brought.
#[derive(Debug)]
pub(crate) enum Read {
    Bytes(usize),
    Nothing,
    End,
    Error(io::Error),
}

impl Core {
    /// Reads from a connection's socket. None if it has none any more.
    pub(crate) fn read(&mut self, key: Key, scratch: &mut [u8]) -> Option<Read> {
        let now = self.clock.now_millis();
        let entry = find(&mut self.entries, key)?;
        let socket = entry.socket.as_ref()?;
        loop {
            match nix::unistd::read(socket, scratch) {
                Ok(0) => {
                    entry.clear(flag::READABLE);
                    entry.set(flag::EOF);
                    entry.last_read = now;
                    return Some(Read::End);
                }
                Ok(len) => {
                    // A short read of a stream means that it is empty (epoll(7)), unless its end comes next.
                    if len < scratch.len() && !entry.has(flag::HUP) {
                        entry.clear(flag::READABLE);
                    }
                    entry.bytes_read += len as u64;
                    entry.last_read = now;
                    self.counters.bytes_read += len as u64;
                    return Some(Read::Bytes(len));
                }
                Err(Errno::EAGAIN) => {
                    entry.clear(flag::READABLE);
                    return Some(Read::Nothing);
                }
                Err(Errno::EINTR) => {}
                Err(error) => return Some(Read::Error(error.into())),
            }
        }
    }
}
