//! WebSocket clients that listen, and text connections that speak: the two ends of everything that pushes.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use nix::sys::epoll::EpollFlags;

use crate::connection::{PATIENCE, connect};
use crate::error::BenchError;
use crate::handshake::shake;
use crate::ws_load::{CLOSE, FIN, PING, PONG, Random, SHORT, frame};

const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;

/// A non-blocking stream with what has not come whole and what has not left.
#[derive(Debug)]
pub(crate) struct Line {
    stream: TcpStream,
    number: usize,
    port: u16,
    leftover: Vec<u8>,
    unsent: Vec<u8>,
}

impl Line {
    /// Connects to the text port. `number` names the connection in errors.
    pub(crate) fn open(number: usize, address: SocketAddr) -> Result<Self, BenchError> {
        Self::with(number, address, |_| Ok(()))
    }

    /// Connects to the WebSocket port and says the uid.
    pub(crate) fn client(
        number: usize,
        address: SocketAddr,
        uid: &str,
    ) -> Result<Self, BenchError> {
        Self::with(number, address, |stream| {
            let mut random = Random(0x9E37_79B9_7F4A_7C15 ^ (number as u64 + 1));
            let mut seed = [0; 16];
            seed[..8].copy_from_slice(&random.next().to_be_bytes());
            seed[8..].copy_from_slice(&random.next().to_be_bytes());
            shake(stream, address, seed)?;
            let mut hello = Vec::new();
            frame(TEXT, uid.as_bytes(), [1, 2, 3, 4], &mut hello);
            stream
                .write_all(&hello)
                .map_err(|error| format!("saying the uid: {error}"))
        })
    }

    fn with(
        number: usize,
        address: SocketAddr,
        greet: impl FnOnce(&mut TcpStream) -> Result<(), String>,
    ) -> Result<Self, BenchError> {
        let broken = |reason: String| BenchError::Broken {
            connection: number,
            reason,
        };
        let mut stream = connect(number, address, false)
            .map_err(|error| broken(format!("could not connect to {address}: {error}")))?;
        stream
            .set_nodelay(true)
            .and_then(|()| stream.set_read_timeout(Some(PATIENCE)))
            .map_err(|error| broken(error.to_string()))?;
        greet(&mut stream).map_err(broken)?;
        let port = stream
            .set_nonblocking(true)
            .and_then(|()| stream.local_addr())
            .map_err(|error| broken(error.to_string()))?
            .port();
        Ok(Self {
            stream,
            number,
            port,
            leftover: Vec::new(),
            unsent: Vec::new(),
        })
    }

    /// The stream, to register it.
    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// This side's port, by which the server's end can be found.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// One write; what does not fit waits for the next edge.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<(), BenchError> {
        if !self.unsent.is_empty() {
            self.unsent.extend_from_slice(bytes);
            return Ok(());
        }
        match (&self.stream).write(bytes) {
            Ok(count) => self.unsent.extend_from_slice(&bytes[count..]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.unsent.extend_from_slice(bytes);
            }
            Err(error) => return Err(self.broken(&error.to_string())),
        }
        Ok(())
    }

    /// Takes what has come, and gives `hear` every line without its end. With `hear`'s error the connection is at
    /// fault.
    pub(crate) fn lines(
        &mut self,
        flags: EpollFlags,
        scratch: &mut [u8],
        mut hear: impl FnMut(&[u8]) -> Result<(), String>,
    ) -> Result<(), BenchError> {
        self.turn(flags, scratch, |input, _| {
            let end = memchr::memchr(b'\n', input);
            end.map_or(Ok(0), |end| hear(&input[..end]).map(|()| end + 1))
        })
    }

    /// Takes what has come, and gives `hear` the payload of every message.
    pub(crate) fn messages(
        &mut self,
        flags: EpollFlags,
        scratch: &mut [u8],
        mut hear: impl FnMut(&[u8]) -> Result<(), String>,
    ) -> Result<(), BenchError> {
        self.turn(flags, scratch, |input, reply| {
            let &[first, second, ..] = input else {
                return Ok(0);
            };
            let length = usize::from(second);
            if length > SHORT {
                return Err(format!(
                    "a frame that is masked or too long (second byte {second:#04x})"
                ));
            }
            let Some(payload) = input.get(2..2 + length) else {
                return Ok(0);
            };
            match first ^ FIN {
                TEXT | BINARY => hear(payload)?,
                PING => frame(PONG, payload, [1, 2, 3, 4], reply),
                PONG => {}
                CLOSE => return Err("the server closed".to_owned()),
                _ => return Err(format!("a frame that begins with {first:#04x}")),
            }
            Ok(2 + length)
        })
    }

    /// One read, unless `scratch` was too small. `hear` says how many bytes it has used of those it is shown; 0 when
    /// more must come first.
    fn turn(
        &mut self,
        flags: EpollFlags,
        scratch: &mut [u8],
        mut hear: impl FnMut(&[u8], &mut Vec<u8>) -> Result<usize, String>,
    ) -> Result<(), BenchError> {
        if flags.contains(EpollFlags::EPOLLOUT) && !self.unsent.is_empty() {
            let unsent = std::mem::take(&mut self.unsent);
            self.send(&unsent)?;
        }
        let mut reply = Vec::new();
        loop {
            let held = self.leftover.len();
            scratch[..held].copy_from_slice(&self.leftover);
            let total = match (&self.stream).read(&mut scratch[held..]) {
                Ok(0) => return Err(self.broken("closed by the server")),
                Ok(count) => held + count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.broken(&error.to_string())),
            };
            let mut at = 0;
            while at < total {
                let used =
                    hear(&scratch[at..total], &mut reply).map_err(|reason| BenchError::Wrong {
                        connection: self.number,
                        reason,
                    })?;
                if used == 0 {
                    break;
                }
                at += used;
            }
            self.leftover.clear();
            self.leftover.extend_from_slice(&scratch[at..total]);
            // A short read has emptied the socket, so the next bytes bring their own edge.
            if total < scratch.len() {
                break;
            }
        }
        if !reply.is_empty() {
            self.send(&reply)?;
        }
        if flags.intersects(EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR) {
            return Err(self.broken("closed by the server"));
        }
        Ok(())
    }

    fn broken(&self, reason: &str) -> BenchError {
        BenchError::Broken {
            connection: self.number,
            reason: reason.to_owned(),
        }
    }
}
