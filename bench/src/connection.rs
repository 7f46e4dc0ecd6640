//! One connection of the load generator: it asks, it listens, it checks.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use nix::sys::epoll::EpollFlags;
use socket2::{Domain, Socket, Type};

use crate::error::BenchError;

/// What epoll reports for a connection. Edge-triggered, and registered once with everything: the kernel only reports
/// "writable" after a write came back short, so nothing wakes up in vain.
pub(crate) const INTEREST: EpollFlags = EpollFlags::EPOLLIN
    .union(EpollFlags::EPOLLOUT)
    .union(EpollFlags::EPOLLRDHUP)
    .union(EpollFlags::EPOLLET);

/// How long a blocking step of a connection's youth may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Connections per loopback source address. A pair of addresses has some 28,000 ports by default, and those of the
/// run before may still be in `TIME_WAIT`.
const PER_SOURCE: usize = 4_000;

/// What one look at the received bytes found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Not yet a whole answer.
    Partial,
    /// An answer, right in every byte, of this length.
    Answer(usize),
    /// Something of this length that is no answer, such as a ping.
    Aside(usize),
}

/// One protocol's side of a conversation: what is asked and what must come back. It keeps the state of one connection.
pub(crate) trait Dialogue {
    /// What must be said and heard on a new connection before the first question, on a blocking stream.
    fn greet(&mut self, stream: &mut TcpStream) -> Result<(), String> {
        let _ = stream;
        Ok(())
    }

    /// Appends one question.
    fn ask(&mut self, out: &mut Vec<u8>);

    /// Looks at what was received and not yet understood; bytes that must be said in return go to `reply`.
    fn hear(&mut self, input: &[u8], reply: &mut Vec<u8>) -> Result<Heard, String>;
}

/// A connected, non-blocking stream with its dialogue.
#[derive(Debug)]
pub(crate) struct Connection<D> {
    stream: TcpStream,
    dialogue: D,
    number: usize,
    outstanding: usize,
    /// The beginning of an answer whose end has not come. Empty nearly always.
    leftover: Vec<u8>,
    /// What the kernel did not take. Empty nearly always.
    unsent: Vec<u8>,
}

impl<D: Dialogue> Connection<D> {
    /// Connects and greets. `spread` asks for a source address of its own for every few thousand connections.
    pub(crate) fn open(
        number: usize,
        address: SocketAddr,
        spread: bool,
        mut dialogue: D,
    ) -> Result<Self, BenchError> {
        let broken = |reason: String| BenchError::Broken {
            connection: number,
            reason,
        };
        let mut stream = connect(number, address, spread)
            .map_err(|error| broken(format!("could not connect to {address}: {error}")))?;
        stream
            .set_nodelay(true)
            .and_then(|()| stream.set_read_timeout(Some(PATIENCE)))
            .map_err(|error| broken(error.to_string()))?;
        dialogue.greet(&mut stream).map_err(broken)?;
        stream
            .set_nonblocking(true)
            .map_err(|error| broken(error.to_string()))?;
        Ok(Self {
            stream,
            dialogue,
            number,
            outstanding: 0,
            leftover: Vec::new(),
            unsent: Vec::new(),
        })
    }

    /// The stream, to register it.
    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Questions that have no answer yet.
    pub(crate) fn outstanding(&self) -> usize {
        self.outstanding
    }

    /// Sends `depth` questions in one write. `scratch` only spares an allocation.
    pub(crate) fn ask(&mut self, depth: usize, scratch: &mut Vec<u8>) -> Result<(), BenchError> {
        scratch.clear();
        for _ in 0..depth {
            self.dialogue.ask(scratch);
        }
        self.outstanding += depth;
        self.send(scratch)
    }

    /// Acts on what epoll reported, with one read unless `scratch` was too small for what has come. Returns how many
    /// answers were complete and right.
    pub(crate) fn turn(
        &mut self,
        flags: EpollFlags,
        scratch: &mut [u8],
    ) -> Result<usize, BenchError> {
        if flags.contains(EpollFlags::EPOLLOUT) && !self.unsent.is_empty() {
            let unsent = std::mem::take(&mut self.unsent);
            self.send(&unsent)?;
        }
        let mut answers = 0;
        loop {
            let held = self.leftover.len();
            scratch[..held].copy_from_slice(&self.leftover);
            match (&self.stream).read(&mut scratch[held..]) {
                Ok(0) => return Err(self.broken("closed by the server")),
                Ok(count) => {
                    answers += self.understand(&scratch[..held + count])?;
                    // A short read has emptied the socket, so the next bytes bring their own edge.
                    if held + count < scratch.len() {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.broken(&error.to_string())),
            }
        }
        // The end may have come behind the last bytes, in the same edge.
        if flags.intersects(EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR) {
            return Err(self.broken("closed by the server"));
        }
        Ok(answers)
    }

    /// Takes whole answers off `input` and keeps the rest for later.
    fn understand(&mut self, input: &[u8]) -> Result<usize, BenchError> {
        let mut reply = Vec::new();
        let (mut at, mut answers) = (0, 0);
        while at < input.len() {
            match self.dialogue.hear(&input[at..], &mut reply) {
                Ok(Heard::Partial) => break,
                Ok(Heard::Aside(length)) => at += length,
                Ok(Heard::Answer(length)) => {
                    if self.outstanding == 0 {
                        return Err(self.wrong("an answer without a question"));
                    }
                    self.outstanding -= 1;
                    answers += 1;
                    at += length;
                }
                Err(reason) => return Err(self.wrong(&reason)),
            }
        }
        self.leftover.clear();
        self.leftover.extend_from_slice(&input[at..]);
        if !reply.is_empty() {
            self.send(&reply)?;
        }
        Ok(answers)
    }

    /// One write; what does not fit waits for the next edge.
    fn send(&mut self, bytes: &[u8]) -> Result<(), BenchError> {
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

    fn broken(&self, reason: &str) -> BenchError {
        BenchError::Broken {
            connection: self.number,
            reason: reason.to_owned(),
        }
    }

    fn wrong(&self, reason: &str) -> BenchError {
        BenchError::Wrong {
            connection: self.number,
            reason: reason.to_owned(),
        }
    }
}

/// A blocking connect, from a loopback address of its own group when `spread`.
pub(crate) fn connect(
    number: usize,
    address: SocketAddr,
    spread: bool,
) -> std::io::Result<TcpStream> {
    if !spread || !address.ip().is_loopback() || !address.is_ipv4() {
        return TcpStream::connect_timeout(&address, PATIENCE);
    }
    let host = u8::try_from(1 + number / PER_SOURCE).unwrap_or(u8::MAX - 1);
    let source = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, host)), 0);
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&source.into())?;
    socket.connect_timeout(&address.into(), PATIENCE)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use nix::sys::epoll::EpollFlags;

    use super::Connection;
    use crate::error::BenchError;
    use crate::http_load::HttpDialogue;

    const ANSWER: &[u8] =
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, World!";

    /// Asks one question of a server that answers with `pieces`, and returns what the connection made of it.
    fn ask_one(pieces: &[&[u8]]) -> Result<usize, BenchError> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut connection =
            Connection::open(0, address, false, HttpDialogue::new(address)).unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        connection.ask(1, &mut Vec::new()).unwrap();
        let _ = peer.read(&mut [0; 4096]).unwrap();
        let mut answers = 0;
        for piece in pieces {
            peer.write_all(piece).unwrap();
            answers += connection.turn(EpollFlags::EPOLLIN, &mut [0; 4096])?;
        }
        Ok(answers)
    }

    #[test]
    fn an_answer_in_two_pieces_is_one_answer() {
        assert_eq!(ask_one(&[&ANSWER[..40], &ANSWER[40..]]).unwrap(), 1);
    }

    #[test]
    fn an_answer_too_many_is_an_error() {
        let result = ask_one(&[ANSWER, ANSWER]);
        assert!(
            matches!(result, Err(BenchError::Wrong { .. })),
            "{result:?}"
        );
    }

    #[test]
    fn another_body_is_an_error() {
        let mut other = ANSWER.to_vec();
        *other.last_mut().unwrap() = b'?';
        let result = ask_one(&[&other]);
        assert!(
            matches!(result, Err(BenchError::Wrong { .. })),
            "{result:?}"
        );
    }
}
