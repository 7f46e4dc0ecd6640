//! The floor: the least that a hand-written epoll server can do and still answer correctly.
//!
//! One thread, one epoll, edge-triggered so that no readiness is reported twice. One read and one write per readiness,
//! however many requests came in it. One receive and one send buffer for all connections, so that they stay in the
//! nearest cache; a connection owns memory only for an unfinished request or an unsent answer, which is rare. There is
//! no routing, no limit, no timer, no log, no error page: all that a runtime adds is measured against this.

use std::convert::Infallible;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use memchr::memmem::Finder;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use socket2::{Domain, Socket, Type};

use crate::connection::INTEREST;
use crate::error::BenchError;
use crate::handshake::{answer_to, head_length};
use crate::server::Speech;

/// Bytes read at once, and the largest request or frame.
const SCRATCH: usize = 64 * 1024;
/// Answers that lie ready behind each other, to be sent in one write.
const PREPARED: usize = 512;
/// The accept queue: the generator opens its connections in one burst.
const BACKLOG: i32 = 4096;
/// The epoll number of the listener; connections use their index.
const LISTENER: u64 = u64::MAX;

const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, World!";
const BLANK_LINE: &[u8] = b"\r\n\r\n";

/// Serves until a signal ends the process.
pub(crate) fn serve(speech: Speech, address: SocketAddr) -> Result<Infallible, BenchError> {
    let listener = listen(address).map_err(BenchError::io(format!("listening on {address}")))?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(BenchError::sys("epoll"))?;
    epoll
        .add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))
        .map_err(BenchError::sys("watching the listener"))?;
    let mut peers: Vec<Option<Peer>> = Vec::new();
    let mut free: Vec<usize> = Vec::new();
    let mut talk = Talk::new(speech);
    let mut events = vec![EpollEvent::empty(); 256];
    loop {
        let count = match epoll.wait(&mut events, EpollTimeout::NONE) {
            Ok(count) => count,
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(BenchError::sys("waiting for requests")(errno)),
        };
        for event in &events[..count] {
            if event.data() == LISTENER {
                accept_all(&listener, LISTENER, &epoll, &mut peers, &mut free)?;
                continue;
            }
            let Ok(index) = usize::try_from(event.data()) else {
                continue;
            };
            let Some(Some(peer)) = peers.get_mut(index) else {
                continue;
            };
            if talk.turn(peer, event.events()).is_err() {
                peers[index] = None;
                free.push(index);
            }
        }
    }
}

/// A listening socket with room for a burst.
pub(crate) fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Takes everybody who waits at `door`, the listener's epoll number.
pub(crate) fn accept_all(
    listener: &TcpListener,
    door: u64,
    epoll: &Epoll,
    peers: &mut Vec<Option<Peer>>,
    free: &mut Vec<usize>,
) -> Result<(), BenchError> {
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
            Err(error) => return Err(BenchError::io("accepting")(error)),
        };
        stream
            .set_nonblocking(true)
            .and_then(|()| stream.set_nodelay(true))
            .map_err(BenchError::io("preparing a connection"))?;
        let index = free.pop().unwrap_or_else(|| {
            peers.push(None);
            peers.len() - 1
        });
        epoll
            .add(&stream, EpollEvent::new(INTEREST, index as u64))
            .map_err(BenchError::sys("watching a connection"))?;
        peers[index] = Some(Peer {
            stream,
            door,
            upgraded: false,
            leftover: Vec::new(),
            unsent: Vec::new(),
        });
    }
}

/// One connection. Both buffers own no memory until they are needed.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) stream: TcpStream,
    /// The epoll number of the listener that it came through.
    pub(crate) door: u64,
    /// Its WebSocket handshake is done.
    pub(crate) upgraded: bool,
    pub(crate) leftover: Vec<u8>,
    pub(crate) unsent: Vec<u8>,
}

/// The connection is over, for whatever reason: the floor has nothing to say about it.
#[derive(Debug)]
pub(crate) struct Over;

/// What all connections share: the protocol and the two buffers.
#[derive(Debug)]
struct Talk {
    speech: Speech,
    input: Vec<u8>,
    output: Vec<u8>,
    /// The HTTP answer, many times.
    prepared: Vec<u8>,
    blank_line: Finder<'static>,
}

impl Talk {
    fn new(speech: Speech) -> Self {
        Self {
            speech,
            input: vec![0; SCRATCH],
            output: Vec::with_capacity(SCRATCH),
            prepared: ANSWER.repeat(PREPARED),
            blank_line: Finder::new(BLANK_LINE),
        }
    }

    /// Reads what has come, answers all that is complete in one write.
    fn turn(&mut self, peer: &mut Peer, flags: EpollFlags) -> Result<(), Over> {
        if !peer.unsent.is_empty() && flags.contains(EpollFlags::EPOLLOUT) {
            let unsent = std::mem::take(&mut peer.unsent);
            send(peer, &unsent)?;
        }
        loop {
            let held = peer.leftover.len();
            if held == self.input.len() {
                return Err(Over);
            }
            self.input[..held].copy_from_slice(&peer.leftover);
            let total = match (&peer.stream).read(&mut self.input[held..]) {
                Ok(0) => return Err(Over),
                Ok(count) => held + count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return Err(Over),
            };
            let used = match self.speech {
                Speech::Http => self.answer_requests(peer, total)?,
                Speech::WebSocket if peer.upgraded => self.echo_frames(peer, total)?,
                Speech::WebSocket => self.upgrade(peer, total)?,
            };
            peer.leftover.clear();
            if used < total {
                peer.leftover.extend_from_slice(&self.input[used..total]);
            }
            // A short read has emptied the socket, so the next bytes bring their own edge.
            if total < self.input.len() {
                break;
            }
        }
        // The peer's end may have come behind its last bytes, in the same edge.
        if flags.intersects(EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR) {
            return Err(Over);
        }
        Ok(())
    }

    /// One prepared answer per blank line. Returns the bytes used.
    fn answer_requests(&self, peer: &mut Peer, total: usize) -> Result<usize, Over> {
        let (mut requests, mut used) = (0, 0);
        for at in self.blank_line.find_iter(&self.input[..total]) {
            requests += 1;
            used = at + BLANK_LINE.len();
        }
        while requests > 0 {
            let now = requests.min(PREPARED);
            send(peer, &self.prepared[..now * ANSWER.len()])?;
            requests -= now;
        }
        Ok(used)
    }

    /// The WebSocket handshake.
    fn upgrade(&mut self, peer: &mut Peer, total: usize) -> Result<usize, Over> {
        let Some(head) = head_length(&self.input[..total]) else {
            return Ok(0);
        };
        let answer = answer_to(&self.input[..head]).ok_or(Over)?;
        send(peer, answer.as_bytes())?;
        peer.upgraded = true;
        Ok(head)
    }

    /// Unmasks every whole frame into the send buffer, under the same first byte. Returns the bytes used.
    fn echo_frames(&mut self, peer: &mut Peer, total: usize) -> Result<usize, Over> {
        self.output.clear();
        let mut rest = &self.input[..total];
        let mut closing = false;
        while let Some(frame) = Frame::first(rest) {
            rest = &rest[frame.length..];
            frame.echo(&mut self.output);
            closing |= frame.first & 0xF == 0x8;
        }
        let used = total - rest.len();
        if !self.output.is_empty() {
            send(peer, &self.output)?;
        }
        if closing { Err(Over) } else { Ok(used) }
    }
}

/// One whole masked frame at the beginning of some bytes.
#[derive(Debug)]
pub(crate) struct Frame<'a> {
    first: u8,
    mask: [u8; 4],
    payload: &'a [u8],
    pub(crate) length: usize,
}

impl<'a> Frame<'a> {
    pub(crate) fn first(bytes: &'a [u8]) -> Option<Self> {
        let (&first, &second) = (bytes.first()?, bytes.get(1)?);
        let (size, head) = match second & 0x7F {
            126 => (u64::from(u16::from_be_bytes(*bytes[2..].first_chunk()?)), 4),
            127 => (u64::from_be_bytes(*bytes[2..].first_chunk()?), 10),
            short => (u64::from(short), 2),
        };
        let mask = *bytes.get(head..)?.first_chunk()?;
        let length = usize::try_from(size).ok()?.checked_add(head + 4)?;
        let payload = bytes.get(head + 4..length)?;
        Some(Self {
            first,
            mask,
            payload,
            length,
        })
    }

    /// What the client said.
    pub(crate) fn unmasked(&self) -> Vec<u8> {
        let bytes = self.payload.iter().zip(self.mask.iter().cycle());
        bytes.map(|(byte, key)| byte ^ key).collect()
    }

    #[allow(
        clippy::cast_possible_truncation,
        reason = "each arm has checked that the length fits"
    )]
    fn echo(&self, out: &mut Vec<u8>) {
        // A ping's echo is a pong.
        let first = if self.first & 0xF == 0x9 {
            self.first ^ 0x3
        } else {
            self.first
        };
        match self.payload.len() {
            size @ 0..=125 => out.extend_from_slice(&[first, size as u8]),
            size @ 126..=0xFFFF => {
                out.extend_from_slice(&[first, 126]);
                out.extend_from_slice(&(size as u16).to_be_bytes());
            }
            size => {
                out.extend_from_slice(&[first, 127]);
                out.extend_from_slice(&(size as u64).to_be_bytes());
            }
        }
        let word = u64::from(u32::from_ne_bytes(self.mask));
        let word = word << 32 | word;
        let (words, tail) = self.payload.as_chunks::<8>();
        for chunk in words {
            out.extend_from_slice(&(u64::from_ne_bytes(*chunk) ^ word).to_ne_bytes());
        }
        let tail = tail.iter().zip(self.mask.iter().cycle());
        out.extend(tail.map(|(byte, key)| byte ^ key));
    }
}

/// One write; what the kernel does not take waits for the next edge.
pub(crate) fn send(peer: &mut Peer, bytes: &[u8]) -> Result<(), Over> {
    if !peer.unsent.is_empty() {
        peer.unsent.extend_from_slice(bytes);
        return Ok(());
    }
    match (&peer.stream).write(bytes) {
        Ok(count) if count == bytes.len() => Ok(()),
        Ok(count) => {
            peer.unsent.extend_from_slice(&bytes[count..]);
            Ok(())
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => {
            peer.unsent.extend_from_slice(bytes);
            Ok(())
        }
        Err(_) => Err(Over),
    }
}

#[cfg(test)]
mod tests {
    use super::Frame;

    /// What a client would send.
    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [1, 2, 3, 4];
        let mut bytes = vec![first];
        match payload.len() {
            size @ 0..=125 => bytes.push(0x80 | u8::try_from(size).unwrap()),
            size => {
                bytes.push(0x80 | 0x7E);
                bytes.extend_from_slice(&u16::try_from(size).unwrap().to_be_bytes());
            }
        }
        bytes.extend_from_slice(&mask);
        bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(a, b)| a ^ b));
        bytes
    }

    #[test]
    fn every_length_comes_back_unmasked() {
        for size in [0, 1, 3, 5, 8, 13, 64, 125, 126, 300] {
            let payload: Vec<u8> = (0..=250).cycle().take(size).collect();
            let bytes = masked(0x82, &payload);
            let frame = Frame::first(&bytes).unwrap();
            assert_eq!(frame.length, bytes.len());
            let mut out = Vec::new();
            frame.echo(&mut out);
            assert_eq!(out[0], 0x82);
            assert_eq!(out[out.len() - size..], payload);
            for cut in 0..bytes.len() {
                assert!(Frame::first(&bytes[..cut]).is_none(), "cut at {cut}");
            }
        }
    }

    #[test]
    fn a_ping_comes_back_as_a_pong() {
        let bytes = masked(0x89, b"hi");
        let mut out = Vec::new();
        Frame::first(&bytes).unwrap().echo(&mut out);
        assert_eq!(out, [0x8A, 2, b'h', b'i']);
    }
}
