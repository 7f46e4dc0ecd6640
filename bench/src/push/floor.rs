//! The floor of pushing: one thread, one epoll, and for every push one `send`.
//!
//! It understands exactly what the generator says. A WebSocket client's first message is its uid. A line on the text
//! port either begins with `{"uid":"` and is passed on whole, or is `all K PAYLOAD` and goes K times to everybody. The
//! lines' answers leave in one write per read. There are no limits, no timers and no proper JSON.
//!
//! A push leaves at once, in a `send` of its own, as in every server that has no turn at whose end it could collect.
//! Told to collect, it sends what one wait has brought to a client in one `send`: that is the least of all.

use std::collections::HashMap;
use std::convert::Infallible;
use std::hash::{BuildHasherDefault, Hasher};
use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpListener};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::error::BenchError;
use crate::floor::{Frame, Over, Peer, accept_all, listen, send};
use crate::handshake::{answer_to, head_length};

/// Bytes read at once, and the longest line.
const SCRATCH: usize = 64 * 1024;
/// The epoll numbers of the listeners; connections use their index.
const CLIENTS: u64 = u64::MAX;
const LINES: u64 = u64::MAX - 1;
/// How every push begins.
const HEAD: &[u8] = b"{\"uid\":\"";

/// Serves until a signal ends the process.
pub(crate) fn serve(
    clients: SocketAddr,
    lines: SocketAddr,
    collect: bool,
) -> Result<Infallible, BenchError> {
    let open = |address| listen(address).map_err(BenchError::io(format!("listening on {address}")));
    let (clients, lines) = (open(clients)?, open(lines)?);
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(BenchError::sys("epoll"))?;
    let watch = |listener: &TcpListener, number| {
        epoll
            .add(listener, EpollEvent::new(EpollFlags::EPOLLIN, number))
            .map_err(BenchError::sys("watching a listener"))
    };
    watch(&clients, CLIENTS)?;
    watch(&lines, LINES)?;
    let mut floor = Floor {
        peers: Vec::new(),
        free: Vec::new(),
        names: Vec::new(),
        uids: HashMap::default(),
        input: vec![0; SCRATCH],
        frame: Vec::new(),
        answers: Vec::new(),
        collected: Vec::new(),
        waiting: Vec::new(),
        collect,
    };
    let mut events = vec![EpollEvent::empty(); 256];
    loop {
        let count = match epoll.wait(&mut events, EpollTimeout::NONE) {
            Ok(count) => count,
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(BenchError::sys("waiting for lines")(errno)),
        };
        for event in &events[..count] {
            let listener = match event.data() {
                CLIENTS => &clients,
                LINES => &lines,
                number => {
                    floor.turn(
                        usize::try_from(number).unwrap_or(usize::MAX),
                        event.events(),
                    );
                    continue;
                }
            };
            let Floor { peers, free, .. } = &mut floor;
            accept_all(listener, event.data(), &epoll, peers, free)?;
        }
        floor.flush();
    }
}

struct Floor {
    peers: Vec<Option<Peer>>,
    free: Vec<usize>,
    /// The uids of the peers, by their index.
    names: Vec<Option<Box<[u8]>>>,
    uids: HashMap<Box<[u8]>, usize, BuildHasherDefault<Fnv>>,
    input: Vec<u8>,
    frame: Vec<u8>,
    answers: Vec<u8>,
    /// What waits for the end of the turn, by the peers' index, and for whom anything does.
    collected: Vec<Vec<u8>>,
    waiting: Vec<usize>,
    collect: bool,
}

impl Floor {
    fn flush(&mut self) {
        while let Some(index) = self.waiting.pop() {
            if let Some(Some(peer)) = self.peers.get_mut(index) {
                // A peer that is gone shows in its own event.
                let _ = send(peer, &self.collected[index]);
            }
            self.collected[index].clear();
        }
    }

    fn turn(&mut self, index: usize, flags: EpollFlags) {
        if self.read(index, flags).is_err() {
            if let Some(Some(name)) = self.names.get_mut(index).map(Option::take) {
                self.uids.remove(&name);
            }
            self.peers[index] = None;
            self.free.push(index);
        }
    }

    /// One read, unless more has come than fits, and all that was said in it.
    fn read(&mut self, index: usize, flags: EpollFlags) -> Result<(), Over> {
        loop {
            let Some(Some(peer)) = self.peers.get_mut(index) else {
                return Ok(());
            };
            if !peer.unsent.is_empty() && flags.contains(EpollFlags::EPOLLOUT) {
                let unsent = std::mem::take(&mut peer.unsent);
                send(peer, &unsent)?;
            }
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
            let door = peer.door;
            let input = std::mem::take(&mut self.input);
            let used = if door == LINES {
                self.lines(index, &input[..total])
            } else {
                self.frames(index, &input[..total])
            };
            self.input = input;
            let used = used?;
            if let Some(Some(peer)) = self.peers.get_mut(index) {
                peer.leftover.clear();
                peer.leftover.extend_from_slice(&self.input[used..total]);
            }
            if total < self.input.len() {
                break;
            }
        }
        let over = EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR;
        if flags.intersects(over) {
            return Err(Over);
        }
        Ok(())
    }

    /// A client's handshake, or its uid. Returns the bytes used.
    fn frames(&mut self, index: usize, input: &[u8]) -> Result<usize, Over> {
        let Some(Some(peer)) = self.peers.get_mut(index) else {
            return Err(Over);
        };
        if !peer.upgraded {
            let Some(head) = head_length(input) else {
                return Ok(0);
            };
            let answer = answer_to(&input[..head]).ok_or(Over)?;
            send(peer, answer.as_bytes())?;
            peer.upgraded = true;
            return Ok(head);
        }
        let mut used = 0;
        while let Some(frame) = Frame::first(&input[used..]) {
            used += frame.length;
            let name: Box<[u8]> = frame.unmasked().into();
            if self.names.len() <= index {
                self.names.resize(index + 1, None);
            }
            if self.names[index].is_none() {
                self.names[index] = Some(name.clone());
                self.uids.insert(name, index);
            }
        }
        Ok(used)
    }

    /// Every whole line: passed on, and answered. Returns the bytes used.
    fn lines(&mut self, index: usize, input: &[u8]) -> Result<usize, Over> {
        self.answers.clear();
        let mut used = 0;
        while let Some(length) = memchr::memchr(b'\n', &input[used..]) {
            let line = &input[used..used + length];
            used += length + 1;
            let done = if line.starts_with(HEAD) {
                self.push(line)
            } else {
                self.broadcast(line)
            };
            let answer: &[u8] = if done.is_some() { b"ok\n" } else { b"fail\n" };
            self.answers.extend_from_slice(answer);
        }
        if let Some(Some(peer)) = self.peers.get_mut(index)
            && !self.answers.is_empty()
        {
            send(peer, &self.answers)?;
        }
        Ok(used)
    }

    fn push(&mut self, line: &[u8]) -> Option<()> {
        let rest = &line[HEAD.len()..];
        let uid = &rest[..memchr::memchr(b'"', rest)?];
        let target = *self.uids.get(uid)?;
        let peer = self.peers.get_mut(target)?.as_mut()?;
        if self.collect {
            if self.collected.len() <= target {
                self.collected.resize(target + 1, Vec::new());
            }
            if self.collected[target].is_empty() {
                self.waiting.push(target);
            }
            text_frame(line, &mut self.collected[target]);
            return Some(());
        }
        self.frame.clear();
        text_frame(line, &mut self.frame);
        send(peer, &self.frame).ok()
    }

    fn broadcast(&mut self, line: &[u8]) -> Option<()> {
        let line = line.strip_prefix(b"all ")?;
        let gap = memchr::memchr(b' ', line)?;
        let times: usize = std::str::from_utf8(&line[..gap]).ok()?.parse().ok()?;
        self.frame.clear();
        for _ in 0..times {
            text_frame(&line[gap + 1..], &mut self.frame);
        }
        let mut done = Some(());
        for peer in self.peers.iter_mut().flatten().filter(|peer| peer.upgraded) {
            done = done.and(send(peer, &self.frame).ok());
        }
        done
    }
}

/// An unmasked text frame of less than 64 KiB.
#[allow(
    clippy::cast_possible_truncation,
    reason = "each arm has checked that the length fits"
)]
fn text_frame(payload: &[u8], out: &mut Vec<u8>) {
    match payload.len() {
        size @ 0..=125 => out.extend_from_slice(&[0x81, size as u8]),
        size => {
            out.extend_from_slice(&[0x81, 126]);
            out.extend_from_slice(&(size as u16).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
}

/// A hash for short names that nobody chose to collide (FNV-1a).
#[derive(Debug)]
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xCBF2_9CE4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
