//! One client of a server that is reloaded: what it asks, and how its connections end.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollEvent};
use socket2::{Domain, Socket, Type};

use crate::connection::{INTEREST, PATIENCE};
use crate::error::BenchError;
use crate::handshake::{accept_for, head_length, header, key_from};
use crate::reload::tally::Tally;
use crate::ws_load::{CLOSE, FIN, PING, PONG, Random, SHORT, frame};

const TEXT: u8 = 0x1;
/// What a server says that goes away and comes back: the registry of RFC 6455's close codes, "Service Restart".
const RESTART: u16 = 1012;
/// The body of a request that has one.
const BODY: [u8; 200] = [b'x'; 200];
/// Clients have a loopback address each, as long as there are some: so nobody runs out of ports.
const SOURCES: usize = 250;

/// What a client is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Connects, asks once, closes, and comes back after a rest.
    Churn,
    /// Keeps its connection, and thinks before it posts again.
    KeepAlive,
    /// Holds a WebSocket, and says something after a rest.
    Chat,
}

/// How far its connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// None; the next one is made when the rest is over.
    Apart,
    Connecting,
    /// Waits for the answer to the WebSocket's opening.
    Opening,
    /// Asks again when the rest is over.
    Resting,
    /// Waits for an answer.
    Asking,
    /// Has got a close frame, and waits for the end.
    Ending,
}

/// A client, with the one connection that it has at a time.
#[derive(Debug)]
pub(crate) struct Client {
    role: Role,
    number: usize,
    address: SocketAddr,
    /// How long it rests, on average.
    rest: Duration,
    /// How long a server that goes away waits for its next question.
    grace: Duration,
    state: State,
    stream: Option<TcpStream>,
    /// How many connections it has had: events of those before the present one mean nothing.
    generation: u32,
    /// Whether anything was answered on this connection.
    known: bool,
    /// When something must be done: the end of a rest, or of all patience.
    wake: Option<Instant>,
    /// The number of the last question.
    asked: u64,
    /// When that was asked, and when the last one was that has an answer.
    asked_at: Instant,
    answered_at: Instant,
    /// When there was a connection or an answer for the last time.
    pleased_at: Instant,
    input: Vec<u8>,
    key: String,
    random: Random,
    /// No more questions once the present one is answered.
    leaving: bool,
}

/// An answer over HTTP.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    length: usize,
    number: u64,
    /// The process that gave it.
    pid: u32,
    /// Whether it says that the connection ends.
    last: bool,
}

impl Client {
    /// A client that begins at `start`. It rests for `rest` on average; one that is silent for longer than `grace` may be
    /// closed without a word.
    pub(crate) fn new(
        role: Role,
        number: usize,
        address: SocketAddr,
        (rest, grace): (Duration, Duration),
        start: Instant,
    ) -> Self {
        Self {
            role,
            number,
            address,
            rest,
            grace,
            state: State::Apart,
            stream: None,
            generation: 0,
            known: false,
            wake: Some(start),
            asked: 0,
            asked_at: start,
            answered_at: start,
            pleased_at: start,
            input: Vec::new(),
            key: String::new(),
            random: Random(0x9E37_79B9_7F4A_7C15 ^ (number as u64 + 1)),
            leaving: false,
        }
    }

    /// Which of its connections is the present one.
    pub(crate) fn generation(&self) -> u32 {
        self.generation
    }

    /// When [`act`](Self::act) is due.
    pub(crate) fn wake(&self) -> Option<Instant> {
        self.wake
    }

    /// Nothing new is to be asked; true if nothing is open any more.
    pub(crate) fn leave(&mut self) -> bool {
        self.leaving = true;
        matches!(self.state, State::Apart | State::Resting)
    }

    /// A rest is over, or all patience.
    pub(crate) fn act(
        &mut self,
        now: Instant,
        epoll: &Epoll,
        tally: &mut Tally,
    ) -> Result<(), BenchError> {
        self.wake = None;
        match self.state {
            State::Apart | State::Resting if self.leaving => {}
            State::Apart => self.connect(now, epoll, tally)?,
            State::Resting if self.is_closed() => self.ended(now, tally),
            State::Resting => self.ask(now, tally),
            State::Connecting => {
                tally.refused += 1;
                self.blame("refused in silence", now, tally);
                self.part(now);
            }
            State::Opening | State::Asking => {
                tally.unanswered += 1;
                self.blame("unanswered in silence", now, tally);
                self.part(now);
            }
            State::Ending => self.part(now),
        }
        Ok(())
    }

    /// Something has happened on the connection. Returns the process that answered a request on it, if this was its
    /// first.
    pub(crate) fn heard(
        &mut self,
        now: Instant,
        scratch: &mut [u8],
        tally: &mut Tally,
    ) -> Result<Option<u32>, BenchError> {
        if self.state == State::Connecting && !self.connected(now, tally) {
            return Ok(None);
        }
        let mut first = None;
        loop {
            let Some(stream) = &mut self.stream else {
                return Ok(first);
            };
            match stream.read(scratch) {
                Ok(0) => {
                    self.ended(now, tally);
                    return Ok(first);
                }
                Ok(count) => {
                    self.input.extend_from_slice(&scratch[..count]);
                    let pid = self.understand(now, tally)?;
                    first = first.or(pid);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(first),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => {
                    self.torn(now, tally);
                    return Ok(first);
                }
            }
        }
    }

    fn connect(
        &mut self,
        now: Instant,
        epoll: &Epoll,
        tally: &mut Tally,
    ) -> Result<(), BenchError> {
        let doing = "making a socket";
        let host = u8::try_from(2 + self.number % SOURCES).unwrap_or(u8::MAX);
        let source = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, host)), 0);
        let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), None)
            .and_then(|socket| socket.bind(&source.into()).map(|()| socket))
            .map_err(BenchError::io(doing))?;
        socket
            .set_tcp_nodelay(true)
            .map_err(BenchError::io(doing))?;
        let begun = socket.connect(&self.address.into());
        self.generation += 1;
        self.known = false;
        self.input.clear();
        match begun {
            Err(error) if error.raw_os_error() != Some(nix::errno::Errno::EINPROGRESS as i32) => {
                tally.refused += 1;
                self.blame(&error.to_string(), now, tally);
                self.part(now);
                return Ok(());
            }
            _ => {}
        }
        let stream = TcpStream::from(socket);
        epoll
            .add(
                &stream,
                EpollEvent::new(INTEREST, token(self.number, self.generation)),
            )
            .map_err(BenchError::sys("watching a connection"))?;
        self.stream = Some(stream);
        self.state = State::Connecting;
        self.wake = Some(now + PATIENCE);
        Ok(())
    }

    /// The attempt to connect has come to its end; true if there is a connection now.
    fn connected(&mut self, now: Instant, tally: &mut Tally) -> bool {
        let Some(stream) = &self.stream else {
            return false;
        };
        match stream.take_error() {
            Ok(None) if stream.peer_addr().is_ok() => {}
            // Reported too early: another event will come.
            Ok(None) => return false,
            Ok(Some(error)) | Err(error) => {
                if error.kind() == ErrorKind::ConnectionReset {
                    tally.reset += 1;
                } else {
                    tally.refused += 1;
                }
                self.blame(&error.to_string(), now, tally);
                self.part(now);
                return false;
            }
        }
        self.pleased_at = now;
        if self.role == Role::Chat {
            let mut seed = [0; 16];
            seed[..8].copy_from_slice(&self.random.next().to_be_bytes());
            seed[8..].copy_from_slice(&self.random.next().to_be_bytes());
            self.key = key_from(seed);
            let opening = format!(
                "GET / HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {}\r\n\r\n",
                self.address, self.key
            );
            self.state = State::Opening;
            self.wake = Some(now + PATIENCE);
            self.say(opening.as_bytes(), now, tally);
        } else {
            self.ask(now, tally);
        }
        self.stream.is_some()
    }

    /// Whether the server has closed and that has not been noticed: this process may have been held up since it last
    /// looked for events.
    fn is_closed(&self) -> bool {
        let stream = self.stream.as_ref();
        stream.is_some_and(|stream| matches!(stream.peek(&mut [0]), Ok(0)))
    }

    /// Asks the next question.
    fn ask(&mut self, now: Instant, tally: &mut Tally) {
        self.asked += 1;
        self.asked_at = now;
        let mut question = Vec::with_capacity(512);
        match self.role {
            Role::Churn => question.extend_from_slice(
                format!(
                    "GET / HTTP/1.1\r\nHost: {}\r\nX-Number: {}\r\n\r\n",
                    self.address, self.asked
                )
                .as_bytes(),
            ),
            Role::KeepAlive => {
                question.extend_from_slice(
                    format!(
                        "POST / HTTP/1.1\r\nHost: {}\r\nX-Number: {}\r\nContent-Length: {}\r\n\r\n",
                        self.address,
                        self.asked,
                        BODY.len()
                    )
                    .as_bytes(),
                );
                question.extend_from_slice(&BODY);
            }
            Role::Chat => {
                let mask = self.mask();
                frame(TEXT, self.asked.to_string().as_bytes(), mask, &mut question);
            }
        }
        self.state = State::Asking;
        self.wake = Some(now + PATIENCE);
        self.say(&question, now, tally);
    }

    /// One write. What is said is far smaller than a send buffer that is empty.
    fn say(&mut self, bytes: &[u8], now: Instant, tally: &mut Tally) {
        let Some(stream) = &mut self.stream else {
            return;
        };
        if !matches!(stream.write(bytes), Ok(count) if count == bytes.len()) {
            self.torn(now, tally);
        }
    }

    /// Takes whole answers and messages off the input. Returns the process that gave the connection's first answer.
    fn understand(&mut self, now: Instant, tally: &mut Tally) -> Result<Option<u32>, BenchError> {
        match (self.role, self.state) {
            (Role::Chat, State::Opening) => {
                let Some(length) = head_length(&self.input) else {
                    return Ok(None);
                };
                let head = &self.input[..length];
                let accept = accept_for(self.key.as_bytes());
                if !head.starts_with(b"HTTP/1.1 101 ")
                    || header(head, "sec-websocket-accept") != Some(accept.as_bytes())
                {
                    return Err(self.wrong(String::from_utf8_lossy(head).into_owned()));
                }
                self.input.drain(..length);
                self.known = true;
                self.take_rest(now);
                self.frames(now, tally)?;
                Ok(None)
            }
            (Role::Chat, _) => self.frames(now, tally).map(|()| None),
            _ => self.answer(now, tally),
        }
    }

    fn answer(&mut self, now: Instant, tally: &mut Tally) -> Result<Option<u32>, BenchError> {
        let answer = match parse(&self.input) {
            Ok(Some(answer)) => answer,
            Ok(None) => return Ok(None),
            Err(reason) => return Err(self.wrong(reason)),
        };
        if self.state != State::Asking || answer.number != self.asked {
            return Err(self.wrong(format!(
                "an answer to question {} of {}",
                answer.number, self.asked
            )));
        }
        self.input.drain(..answer.length);
        let first = !self.known;
        self.known = true;
        self.answered_at = self.asked_at;
        if self.role == Role::Churn {
            tally.served += 1;
            self.part(now);
        } else {
            tally.posts += 1;
            if answer.last {
                tally.announced += 1;
                self.part(now);
            } else {
                self.take_rest(now);
            }
        }
        Ok(first.then_some(answer.pid))
    }

    fn frames(&mut self, now: Instant, tally: &mut Tally) -> Result<(), BenchError> {
        while let &[first, second, ..] = self.input.as_slice() {
            let length = usize::from(second);
            if length > SHORT {
                return Err(self.wrong(format!(
                    "a frame that is masked or too long (second byte {second:#04x})"
                )));
            }
            let Some(payload) = self.input.get(2..2 + length) else {
                break;
            };
            let payload = payload.to_vec();
            self.input.drain(..2 + length);
            match first ^ FIN {
                TEXT => {
                    if self.state != State::Asking || payload != self.asked.to_string().into_bytes()
                    {
                        let text = String::from_utf8_lossy(&payload).into_owned();
                        return Err(self.wrong(format!("message {} came as {text:?}", self.asked)));
                    }
                    tally.messages += 1;
                    self.take_rest(now);
                }
                PING => {
                    let mut pong = Vec::new();
                    frame(PONG, &payload, self.mask(), &mut pong);
                    self.say(&pong, now, tally);
                }
                PONG => {}
                CLOSE => {
                    let code = payload.first_chunk().map(|&code| u16::from_be_bytes(code));
                    if code == Some(RESTART) {
                        tally.restarted += 1;
                    } else {
                        tally.unclosed += 1;
                        self.blame(&format!("closed with {code:?}"), now, tally);
                    }
                    if self.state == State::Asking {
                        tally.crossed += 1;
                    }
                    let mut reply = Vec::new();
                    frame(CLOSE, &payload, self.mask(), &mut reply);
                    self.state = State::Ending;
                    self.wake = Some(now + PATIENCE);
                    self.say(&reply, now, tally);
                }
                _ => return Err(self.wrong(format!("a frame that begins with {first:#04x}"))),
            }
        }
        Ok(())
    }

    /// Whether it was silent for so long that a server which waits for its next question has waited long enough. The
    /// answer may have come as soon as the question before was asked, however late it was read; and the server's waiting
    /// begins with the turn in which it heard that it is replaced, which may have given that answer too.
    fn is_late(&self, now: Instant) -> bool {
        let until = if self.state == State::Asking {
            self.asked_at
        } else {
            now
        };
        until.saturating_duration_since(self.answered_at) > self.grace * 4 / 5
    }

    /// The server has closed.
    fn ended(&mut self, now: Instant, tally: &mut Tally) {
        match self.state {
            State::Ending | State::Apart => {}
            _ if self.role == Role::Chat && self.known => {
                tally.unclosed += 1;
                self.blame("ended without a close frame", now, tally);
            }
            _ if !self.input.is_empty() => {
                tally.cut += 1;
                self.blame("ended inside an answer", now, tally);
            }
            // A question that comes so late may meet the end on its way.
            _ if self.known && self.is_late(now) => tally.late += 1,
            state => {
                if state != State::Resting {
                    tally.unanswered += 1;
                }
                if self.known {
                    tally.unannounced += 1;
                }
                self.blame("ended", now, tally);
            }
        }
        self.part(now);
    }

    /// The connection has failed.
    fn torn(&mut self, now: Instant, tally: &mut Tally) {
        if !matches!(self.state, State::Ending | State::Apart) {
            tally.reset += 1;
            self.blame("was reset", now, tally);
            if matches!(self.state, State::Asking | State::Opening) && self.role != Role::Chat {
                tally.unanswered += 1;
            }
        }
        self.part(now);
    }

    /// Closes the connection and comes back after a rest: a keep-alive client at once, since it wants to ask.
    fn part(&mut self, now: Instant) {
        self.stream = None;
        self.state = State::Apart;
        let rest = if self.role == Role::KeepAlive {
            self.spread(Duration::from_millis(2))
        } else {
            self.spread(self.rest)
        };
        self.wake = Some(now + rest);
    }

    fn take_rest(&mut self, now: Instant) {
        self.pleased_at = now;
        self.state = State::Resting;
        let rest = self.spread(self.rest);
        self.wake = Some(now + rest);
    }

    /// A time from half of this to one and a half.
    fn spread(&mut self, time: Duration) -> Duration {
        let share = u32::try_from(self.random.below(1001)).unwrap_or(500) + 500;
        time * share / 1000
    }

    fn mask(&mut self) -> [u8; 4] {
        let [a, b, c, d, ..] = self.random.next().to_be_bytes();
        [a, b, c, d]
    }

    /// Says of a fault what would explain it.
    fn blame(&self, what: &str, now: Instant, tally: &mut Tally) {
        let ago = |then: Instant| now.saturating_duration_since(then).as_millis();
        tally.tell(|| {
            let asked = match self.state {
                State::Asking => {
                    format!(", {} ms after question {}", ago(self.asked_at), self.asked)
                }
                _ => String::new(),
            };
            format!(
                "{:?} client {}, {:?}: {what}, {} ms after it was connected or answered{asked}",
                self.role,
                self.number,
                self.state,
                ago(self.pleased_at)
            )
        });
    }

    fn wrong(&self, reason: String) -> BenchError {
        BenchError::Wrong {
            connection: self.number,
            reason,
        }
    }
}

/// The number by which epoll names a client's connection of this generation.
pub(crate) fn token(number: usize, generation: u32) -> u64 {
    (u64::from(generation) << 32) | number as u64
}

/// The client and the generation that [`token`] names.
pub(crate) fn named(token: u64) -> (usize, u32) {
    let number = usize::try_from(token & u64::from(u32::MAX)).unwrap_or(usize::MAX);
    (number, u32::try_from(token >> 32).unwrap_or(u32::MAX))
}

/// The answer that `input` begins with; none when its end has not come.
fn parse(input: &[u8]) -> Result<Option<Answer>, String> {
    let Some(head_end) = head_length(input) else {
        return Ok(None);
    };
    let head = &input[..head_end];
    if !head.starts_with(b"HTTP/1.1 200 ") {
        return Err(String::from_utf8_lossy(head).into_owned());
    }
    let length: usize = header(head, "content-length")
        .and_then(|value| std::str::from_utf8(value).ok()?.parse().ok())
        .ok_or("no usable Content-Length")?;
    let Some(body) = input.get(head_end..head_end + length) else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(body);
    let (number, pid) = text
        .split_once(' ')
        .and_then(|(number, pid)| Some((number.parse().ok()?, pid.parse().ok()?)))
        .ok_or_else(|| format!("body {text:?}"))?;
    Ok(Some(Answer {
        length: head_end + length,
        number,
        pid,
        last: header(head, "connection").is_some_and(|value| value.eq_ignore_ascii_case(b"close")),
    }))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::time::{Duration, Instant};

    use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollTimeout};

    use super::{Answer, Client, Role, named, parse, token};
    use crate::reload::tally::Tally;

    const FIRST: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n1 77";
    const PATIENT: (Duration, Duration) = (Duration::from_mins(1), Duration::from_mins(1));
    const LAST: &[u8] = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\n1 77";

    /// Lets a client ask one question of a server that does this with its connection, and returns what was counted
    /// when the connection had ended.
    fn served_by(role: Role, serve: impl FnOnce(&mut TcpStream)) -> Tally {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap();
        let mut tally = Tally::default();
        let now = Instant::now();
        let mut client = Client::new(role, 0, address, PATIENT, now);
        client.act(now, &epoll, &mut tally).unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        let mut serve = Some(serve);
        while client.stream.is_some() {
            let mut events = [EpollEvent::empty()];
            let patience = EpollTimeout::from(5000u16);
            assert_eq!(epoll.wait(&mut events, patience), Ok(1));
            client.heard(now, &mut [0; 4096], &mut tally).unwrap();
            if let Some(serve) = serve.take() {
                let _ = peer.read(&mut [0; 4096]).unwrap();
                serve(&mut peer);
                peer.shutdown(std::net::Shutdown::Both).unwrap();
            }
        }
        tally
    }

    #[test]
    fn a_connection_that_ends_as_announced_is_no_fault() {
        let tally = served_by(Role::KeepAlive, |peer| peer.write_all(LAST).unwrap());
        assert_eq!((tally.announced, tally.unannounced, tally.posts), (1, 0, 1));
        let tally = served_by(Role::Churn, |peer| peer.write_all(FIRST).unwrap());
        assert_eq!((tally.served, tally.unanswered), (1, 0));
    }

    #[test]
    fn faults_are_told_from_each_other() {
        let tally = served_by(Role::KeepAlive, |peer| peer.write_all(FIRST).unwrap());
        assert_eq!((tally.unannounced, tally.posts), (1, 1));
        let tally = served_by(Role::Churn, |peer| peer.write_all(&FIRST[..30]).unwrap());
        assert_eq!((tally.cut, tally.served), (1, 0));
        let tally = served_by(Role::Churn, |_| ());
        assert_eq!((tally.unanswered, tally.cut), (1, 0));
    }

    #[test]
    fn a_port_where_nobody_listens_refuses() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap();
        let mut tally = Tally::default();
        let now = Instant::now();
        let mut client = Client::new(Role::Churn, 0, address, PATIENT, now);
        client.act(now, &epoll, &mut tally).unwrap();
        client.heard(now, &mut [0; 16], &mut tally).unwrap();
        assert_eq!(tally.refused, 1);
    }

    #[test]
    fn answers_are_read_whole() {
        for cut in 0..LAST.len() {
            assert_eq!(parse(&LAST[..cut]), Ok(None), "cut at {cut}");
        }
        let answer = Answer {
            length: LAST.len(),
            number: 1,
            pid: 77,
            last: true,
        };
        assert_eq!(parse(LAST), Ok(Some(answer)));
        assert!(parse(b"HTTP/1.1 503 Busy\r\n\r\n").is_err());
    }

    #[test]
    fn tokens_name_a_client_and_its_connection() {
        assert_eq!(named(token(7, 9)), (7, 9));
    }
}
