//! Thousands of WebSocket clients in one thread.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::DEADLINE;
use crate::ws::frame;

/// How many connections are made before their handshakes are waited for: fewer than an accept queue holds.
const AT_ONCE: usize = 500;

const HANDSHAKE: &[u8] =
    b"GET / HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// Many clients, each known by its number.
#[derive(Debug)]
pub struct Swarm {
    addr: SocketAddr,
    poll: Poll,
    events: Events,
    clients: Vec<Client>,
    /// Where bytes are read to.
    scratch: Vec<u8>,
    pings: u64,
}

/// What has come for a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Came<'b> {
    /// A text message.
    Text(&'b str),
    /// A binary message.
    Binary(&'b [u8]),
    /// The peer has closed the connection with this code.
    Closed(u16),
    /// The connection has ended without a goodbye, or after it.
    Gone,
}

#[derive(Debug)]
struct Client {
    stream: Option<TcpStream>,
    open: bool,
    /// What has not made a whole frame yet.
    input: Vec<u8>,
    /// What the kernel has not taken yet.
    output: Vec<u8>,
    /// The last pong.
    pong: u64,
}

impl Swarm {
    /// Connects so many clients, and shakes hands.
    ///
    /// # Panics
    /// If that fails.
    #[track_caller]
    pub fn connect(addr: SocketAddr, count: usize) -> Self {
        raise_limit(count);
        let mut swarm = Self {
            addr,
            poll: Poll::new().expect("a poller"),
            events: Events::with_capacity(1024),
            clients: Vec::with_capacity(count),
            scratch: vec![0; 256 * 1024],
            pings: 0,
        };
        while swarm.clients.len() < count {
            let from = swarm.clients.len();
            for number in from..count.min(from + AT_ONCE) {
                swarm.clients.push(Client::none());
                swarm.open(number);
            }
            swarm.shake_hands();
        }
        swarm
    }

    /// How many clients there are.
    pub fn len(&self) -> usize {
        self.clients.len()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// Connects a client anew; what was left of its connection is dropped. Its handshake is under way then.
    ///
    /// # Panics
    /// If that fails.
    #[track_caller]
    pub fn open(&mut self, number: usize) {
        let stream = std::net::TcpStream::connect(self.addr).expect("somebody who listens");
        stream.set_nonblocking(true).expect("an open socket");
        stream.set_nodelay(true).expect("an open socket");
        let mut stream = TcpStream::from_std(stream);
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registry = self.poll.registry();
        registry
            .register(&mut stream, Token(number), interest)
            .expect("a descriptor that can be polled");
        self.clients[number] = Client {
            stream: Some(stream),
            ..Client::none()
        };
        self.clients[number].send(HANDSHAKE);
    }

    /// Waits until all handshakes are complete.
    fn shake_hands(&mut self) {
        self.until("handshakes", |swarm| {
            swarm.clients.iter().all(|client| client.open)
        });
    }

    /// True if the handshake of a client is complete, and it has not ended since.
    pub fn is_open(&self, number: usize) -> bool {
        self.clients[number].open
    }

    /// Sends a text message.
    pub fn send(&mut self, number: usize, text: &str) {
        self.clients[number].send(&frame(true, 1, text.as_bytes()));
    }

    /// Closes the socket of a client, without a word.
    pub fn drop_client(&mut self, number: usize) {
        self.clients[number] = Client::none();
    }

    /// Sends an order to each, and waits for all answers, by the number that the order has; returns them.
    ///
    /// # Panics
    /// If an answer is missing, or is an error.
    #[track_caller]
    pub fn ask_all(&mut self, order: impl Fn(usize) -> (String, u64)) -> Vec<String> {
        let count = self.len();
        let mut answers = vec![String::new(); count];
        for from in (0..count).step_by(AT_ONCE) {
            let numbers = from..count.min(from + AT_ONCE);
            let mut left = numbers.len();
            let mut awaited = Vec::new();
            for number in numbers {
                let (order, id) = order(number);
                awaited.push(format!("\"re\":{id}"));
                self.send(number, &order);
            }
            let end = Instant::now() + DEADLINE;
            while left > 0 {
                assert!(Instant::now() < end, "{left} answers are missing");
                self.turn(Duration::from_millis(100), |number, came| match came {
                    Came::Text(text) => {
                        assert!(!text.contains("\"error\""), "{text}");
                        if text.contains(&awaited[number - from]) {
                            text.clone_into(&mut answers[number]);
                            left -= 1;
                        }
                    }
                    other => panic!("client {number} got {other:?}"),
                });
            }
        }
        answers
    }

    /// Sends a ping on each, and waits for all pongs: by then the peer has handled all that was sent before.
    ///
    /// # Panics
    /// If a pong is missing, or something else comes.
    #[track_caller]
    pub fn ping_all(&mut self) {
        self.pings += 1;
        let ping = self.pings;
        for client in &mut self.clients {
            client.send(&frame(true, 9, &ping.to_be_bytes()));
        }
        self.until("pongs", |swarm| {
            swarm.clients.iter().all(|client| client.pong == ping)
        });
    }

    #[track_caller]
    fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let end = Instant::now() + DEADLINE;
        while !done(self) {
            assert!(Instant::now() < end, "some {what} are missing");
            self.turn(Duration::from_millis(100), |number, came| {
                panic!("client {number} got {came:?}")
            });
        }
    }

    /// Waits for something to come, at most so long, and hands all that has come to `take`, with the client's number.
    ///
    /// # Panics
    /// If a peer breaks the protocol.
    #[track_caller]
    pub fn turn(&mut self, limit: Duration, mut take: impl FnMut(usize, Came<'_>)) {
        match self.poll.poll(&mut self.events, Some(limit)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => panic!("epoll: {error}"),
            _ => {}
        }
        for event in &self.events {
            let number = event.token().0;
            let client = &mut self.clients[number];
            if event.is_writable() {
                client.flush();
            }
            if event.is_readable() || event.is_read_closed() || event.is_error() {
                client.receive(&mut self.scratch, |came| take(number, came));
            }
        }
    }
}

impl Client {
    fn none() -> Self {
        Self {
            stream: None,
            open: false,
            input: Vec::new(),
            output: Vec::new(),
            pong: 0,
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
        self.flush();
    }

    fn flush(&mut self) {
        let Some(stream) = &mut self.stream else {
            self.output.clear();
            return;
        };
        while !self.output.is_empty() {
            match stream.write(&self.output) {
                Ok(len) => drop(self.output.drain(..len)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // That it has ended shows when it is read.
                Err(_) => self.output.clear(),
            }
        }
    }

    fn receive(&mut self, scratch: &mut [u8], mut take: impl FnMut(Came<'_>)) {
        loop {
            let Some(stream) = &mut self.stream else {
                return;
            };
            match stream.read(scratch) {
                Ok(0) => {
                    self.end(take);
                    return;
                }
                Ok(len) => {
                    self.take_in(&scratch[..len], &mut take);
                    if len < scratch.len() && self.stream.is_some() {
                        // Edge-triggered, and this was all.
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => {
                    self.end(take);
                    return;
                }
            }
        }
    }

    fn end(&mut self, mut take: impl FnMut(Came<'_>)) {
        self.stream = None;
        self.open = false;
        take(Came::Gone);
    }

    fn take_in(&mut self, bytes: &[u8], take: &mut impl FnMut(Came<'_>)) {
        let mut kept = std::mem::take(&mut self.input);
        let bytes = if kept.is_empty() {
            bytes
        } else {
            kept.extend_from_slice(bytes);
            &kept
        };
        let mut rest = bytes;
        if !self.open && !self.take_head(&mut rest) {
            self.input = rest.to_vec();
            return;
        }
        while let Some((opcode, payload, len)) = split(rest) {
            rest = &rest[len..];
            match opcode {
                1 => take(Came::Text(std::str::from_utf8(payload).expect("UTF-8"))),
                2 => take(Came::Binary(payload)),
                8 => {
                    let code = payload
                        .first_chunk()
                        .map_or(1005, |code| u16::from_be_bytes(*code));
                    // The answer that the protocol asks for; then the peer closes.
                    self.send(&frame(true, 8, payload));
                    take(Came::Closed(code));
                }
                9 => self.send(&frame(true, 10, payload)),
                10 => self.pong = u64::from_be_bytes(payload.try_into().expect("our own ping")),
                other => panic!("a frame of opcode {other}"),
            }
        }
        if !rest.is_empty() {
            self.input = rest.to_vec();
        }
    }

    /// Takes the head of the answer to the handshake; false if it is not complete.
    fn take_head(&mut self, rest: &mut &[u8]) -> bool {
        let Some(end) = rest.windows(4).position(|four| four == b"\r\n\r\n") else {
            return false;
        };
        let head = String::from_utf8_lossy(&rest[..end]);
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        *rest = &rest[end + 4..];
        self.open = true;
        true
    }
}

/// The first frame of some bytes, if it is whole: its opcode, its payload, and its length with the head.
fn split(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let [first, second, rest @ ..] = bytes else {
        return None;
    };
    assert_eq!(first & 0xf0, 0x80, "a whole message without extensions");
    let (start, len) = match second {
        126 => (4, u64::from(u16::from_be_bytes(*rest.first_chunk()?))),
        127 => (10, u64::from_be_bytes(*rest.first_chunk()?)),
        len => (2, u64::from(*len)),
    };
    let end = start + usize::try_from(len).ok()?;
    Some((first & 0x0f, bytes.get(start..end)?, end))
}

/// Sees to it that this process may have so many sockets more.
fn raise_limit(more: usize) {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("limits");
    let wanted = more as u64 + 1000;
    assert!(
        wanted <= hard,
        "{wanted} descriptors are more than the {hard} allowed"
    );
    // Other tests of this program want theirs too.
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("no more than the hard limit");
    }
}
