//! The generator of pushes: one thread, one epoll, clients that listen under their uid and connections that push.
//!
//! Every push carries the number of its sender and its place in what that sender said. It counts once the server has
//! answered `ok` and the client of that uid has received it, once, byte for byte, and in its sender's order. A sender's
//! window holds the pushes of which either is missing, so a server that answers early gains nothing by it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::clients::Line;
use crate::connection::INTEREST;
use crate::error::BenchError;
use crate::push::server::Doors;
use crate::ws_load::Random;

/// Events taken per wait.
const EVENTS: usize = 512;
/// Bytes read at once.
const SCRATCH: usize = 256 * 1024;
/// Silence for this long, with pushes under way, means that the server has lost some.
const STALL: Duration = Duration::from_secs(10);
/// How long all uids together may take until they can be reached.
const BOUND: Duration = Duration::from_secs(15);
/// What the push of a greeting says in place of a number.
const HELLO: &[u8] = b"hello, everybody";
/// How every push ends.
const TAIL: &[u8] = b"\"}";

/// How many of whom.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Crowd {
    /// WebSocket clients, `u1` and so on.
    pub(crate) clients: usize,
    /// Text connections that push.
    pub(crate) senders: usize,
    /// Pushes under way on each of those.
    pub(crate) window: usize,
}

/// All connections of one run.
#[derive(Debug)]
pub(crate) struct PushLoad {
    epoll: Epoll,
    events: Vec<EpollEvent>,
    clients: Vec<Client>,
    senders: Vec<Sender>,
    window: usize,
    random: Random,
    input: Vec<u8>,
    output: Vec<u8>,
    /// Whether every uid has been reached from every sender; until then `fail` is no error.
    bound: bool,
    received_at: Option<Instant>,
}

/// A client, and the pushes that are on their way to it.
#[derive(Debug)]
struct Client {
    line: Line,
    /// The bytes of a push to it, up to the sender's number.
    head: Vec<u8>,
    /// For each sender the numbers of its pushes, in order.
    due: Vec<VecDeque<u64>>,
    /// For each sender whether its greeting has come.
    greeted: Vec<bool>,
}

#[derive(Debug)]
struct Sender {
    line: Line,
    sent: u64,
    answered: u64,
    received: u64,
}

impl Sender {
    fn done(&self) -> u64 {
        self.answered.min(self.received)
    }
}

impl PushLoad {
    /// Opens every connection and waits until every uid can be reached from every sender.
    pub(crate) fn connect(doors: Doors, crowd: Crowd) -> Result<Self, BenchError> {
        let epoll =
            Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(BenchError::sys("epoll"))?;
        let mut load = Self {
            epoll,
            events: vec![EpollEvent::empty(); EVENTS],
            clients: Vec::with_capacity(crowd.clients),
            senders: Vec::with_capacity(crowd.senders),
            window: crowd.window,
            random: Random(0x2545_F491_4F6C_DD1D),
            input: vec![0; SCRATCH],
            output: Vec::new(),
            bound: false,
            received_at: None,
        };
        for number in 0..crowd.clients {
            let uid = format!("u{}", number + 1);
            let line = Line::client(number, doors.clients, &uid)?;
            load.watch(&line, number)?;
            load.clients.push(Client {
                line,
                head: format!("{{\"uid\":\"{uid}\",\"percent\":\"88%\",\"push\":\"").into_bytes(),
                due: vec![VecDeque::new(); crowd.senders],
                greeted: vec![false; crowd.senders],
            });
        }
        for number in 0..crowd.senders {
            let line = Line::open(crowd.clients + number, doors.lines)?;
            load.watch(&line, crowd.clients + number)?;
            load.senders.push(Sender {
                line,
                sent: 0,
                answered: 0,
                received: 0,
            });
        }
        load.greet()?;
        Ok(load)
    }

    /// This side's ports of the clients, and of the senders.
    pub(crate) fn ports(&self) -> (Vec<u16>, Vec<u16>) {
        (
            self.clients.iter().map(|one| one.line.port()).collect(),
            self.senders.iter().map(|one| one.line.port()).collect(),
        )
    }

    /// Keeps every window full for `duration`; returns the pushes that were completed and the time it really took.
    pub(crate) fn run(&mut self, duration: Duration) -> Result<(u64, Duration), BenchError> {
        let (start, before) = (Instant::now(), self.done());
        let (mut last, mut heard) = (before, start);
        loop {
            for sender in 0..self.senders.len() {
                self.refill(sender)?;
            }
            self.turn(100)?;
            let (now, done) = (Instant::now(), self.done());
            if done > last {
                (last, heard) = (done, now);
            } else if now - heard > STALL {
                return Err(self.stalled());
            }
            if now - start >= duration {
                return Ok((done - before, now - start));
            }
        }
    }

    /// Pushes nothing more and waits for all that is under way.
    pub(crate) fn drain(&mut self) -> Result<(), BenchError> {
        let (mut last, mut heard) = (self.done(), Instant::now());
        while self.senders.iter().any(|one| one.done() < one.sent) {
            self.turn(100)?;
            if self.done() > last {
                (last, heard) = (self.done(), Instant::now());
            } else if heard.elapsed() > STALL {
                return Err(self.stalled());
            }
        }
        Ok(())
    }

    /// Listens a moment longer: what comes now was not pushed, or is a second copy.
    pub(crate) fn listen(&mut self, moment: Duration) -> Result<(), BenchError> {
        let start = Instant::now();
        while start.elapsed() < moment {
            self.turn(10)?;
        }
        Ok(())
    }

    /// One push with nothing else under way: the time from before its line was written until its client had read it.
    pub(crate) fn ask(&mut self, sender: usize, client: usize) -> Result<Duration, BenchError> {
        self.output.clear();
        self.say(sender, client);
        self.received_at = None;
        let start = Instant::now();
        self.senders[sender].line.send(&self.output)?;
        while self.senders[sender].done() < self.senders[sender].sent {
            self.turn(1000)?;
            if start.elapsed() > STALL {
                return Err(self.stalled());
            }
        }
        Ok(self.received_at.map_or(STALL, |at| at - start))
    }

    /// Writes what fits into a sender's window, once that is at least half of it.
    fn refill(&mut self, sender: usize) -> Result<(), BenchError> {
        let one = &self.senders[sender];
        let under_way = usize::try_from(one.sent - one.done()).unwrap_or(usize::MAX);
        let room = self.window.saturating_sub(under_way);
        if room * 2 < self.window {
            return Ok(());
        }
        self.output.clear();
        for _ in 0..room {
            let client = self.random.below(self.clients.len());
            self.say(sender, client);
        }
        self.senders[sender].line.send(&self.output)
    }

    /// Appends the line of one push to the output and expects it at its client.
    fn say(&mut self, sender: usize, client: usize) {
        let number = self.senders[sender].sent;
        self.senders[sender].sent += 1;
        let client = &mut self.clients[client];
        client.due[sender].push_back(number);
        self.output.extend_from_slice(&client.head);
        self.output.extend_from_slice(&digits(sender as u64)[12..]);
        self.output.extend_from_slice(&digits(number));
        self.output.extend_from_slice(TAIL);
        self.output.push(b'\n');
    }

    /// Pushes a greeting from every sender to every client that has not had it, until all have.
    fn greet(&mut self) -> Result<(), BenchError> {
        let start = Instant::now();
        loop {
            let mut missing = 0;
            for sender in 0..self.senders.len() {
                self.output.clear();
                for client in self.clients.iter().filter(|client| !client.greeted[sender]) {
                    missing += 1;
                    self.output.extend_from_slice(&client.head);
                    self.output.extend_from_slice(&digits(sender as u64)[12..]);
                    self.output.extend_from_slice(HELLO);
                    self.output.extend_from_slice(TAIL);
                    self.output.push(b'\n');
                    self.senders[sender].sent += 1;
                }
                self.senders[sender].line.send(&self.output)?;
            }
            if missing == 0 {
                break;
            }
            if start.elapsed() > BOUND {
                return Err(BenchError::Server(format!(
                    "{missing} greetings have not come after {} s",
                    BOUND.as_secs()
                )));
            }
            while self.senders.iter().any(|one| one.answered < one.sent) && start.elapsed() <= BOUND
            {
                self.turn(10)?;
            }
            self.listen(Duration::from_millis(100))?;
        }
        self.bound = true;
        for sender in &mut self.senders {
            (sender.sent, sender.answered, sender.received) = (0, 0, 0);
        }
        Ok(())
    }

    /// One wait and all that it reports.
    fn turn(&mut self, milliseconds: u16) -> Result<(), BenchError> {
        let timeout = EpollTimeout::from(milliseconds);
        let count = match self.epoll.wait(&mut self.events, timeout) {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            Err(errno) => return Err(BenchError::sys("waiting for pushes")(errno)),
        };
        for at in 0..count {
            let (number, flags) = (self.events[at].data(), self.events[at].events());
            let number = usize::try_from(number).unwrap_or(usize::MAX);
            match number.checked_sub(self.clients.len()) {
                None => self.receive(number, flags)?,
                Some(sender) if sender < self.senders.len() => self.answers(sender, flags)?,
                Some(_) => {}
            }
        }
        Ok(())
    }

    fn receive(&mut self, client: usize, flags: EpollFlags) -> Result<(), BenchError> {
        let Client {
            line,
            head,
            due,
            greeted,
        } = &mut self.clients[client];
        let (senders, bound) = (&mut self.senders, self.bound);
        let received_at = &mut self.received_at;
        line.messages(flags, &mut self.input, |payload| {
            let strange = || format!("received {:?}", String::from_utf8_lossy(payload));
            let rest = payload.strip_prefix(head.as_slice()).ok_or_else(strange)?;
            let rest = rest.strip_suffix(TAIL).ok_or_else(strange)?;
            let (sender, number) = rest.split_at_checked(4).ok_or_else(strange)?;
            let sender = value(sender)
                .and_then(|sender| usize::try_from(sender).ok())
                .filter(|&sender| sender < senders.len())
                .ok_or_else(strange)?;
            if number == HELLO && !bound {
                greeted[sender] = true;
                return Ok(());
            }
            let number = value(number).ok_or_else(strange)?;
            match due[sender].front() {
                Some(&next) if next == number => {}
                Some(&next) if next < number => {
                    return Err(format!(
                        "push {number} of sender {sender} came before {next}, or that was lost"
                    ));
                }
                _ => {
                    return Err(format!(
                        "push {number} of sender {sender} came a second time"
                    ));
                }
            }
            due[sender].pop_front();
            senders[sender].received += 1;
            *received_at = Some(Instant::now());
            Ok(())
        })
    }

    fn answers(&mut self, sender: usize, flags: EpollFlags) -> Result<(), BenchError> {
        let bound = self.bound;
        let Sender {
            line,
            sent,
            answered,
            ..
        } = &mut self.senders[sender];
        line.lines(flags, &mut self.input, |answer| {
            if answer != b"ok" && (bound || answer != b"fail") {
                return Err(format!("answer {:?}", String::from_utf8_lossy(answer)));
            }
            *answered += 1;
            if answered > sent {
                return Err("an answer without a line".to_owned());
            }
            Ok(())
        })
    }

    fn done(&self) -> u64 {
        self.senders.iter().map(Sender::done).sum()
    }

    fn watch(&self, line: &Line, number: usize) -> Result<(), BenchError> {
        self.epoll
            .add(line.stream(), EpollEvent::new(INTEREST, number as u64))
            .map_err(BenchError::sys("watching a connection"))
    }

    fn stalled(&self) -> BenchError {
        let sum = |what: fn(&Sender) -> u64| self.senders.iter().map(what).sum::<u64>();
        BenchError::Server(format!(
            "nothing for {} s: of {} pushes {} were answered ok and {} received",
            STALL.as_secs(),
            sum(|one| one.sent),
            sum(|one| one.answered),
            sum(|one| one.received),
        ))
    }
}

/// A number in sixteen hexadecimal digits.
fn digits(number: u64) -> [u8; 16] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; 16];
    for (at, digit) in text.iter_mut().enumerate() {
        *digit = DIGITS[usize::try_from(number >> (60 - 4 * at) & 15).unwrap_or(0)];
    }
    text
}

/// And back.
fn value(text: &[u8]) -> Option<u64> {
    text.iter().try_fold(0, |value, &digit| {
        let digit = char::from(digit).to_digit(16)?;
        Some(value << 4 | u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::{SocketAddr, TcpListener};
    use std::thread;
    use std::time::Duration;

    use super::{Crowd, PushLoad, digits, value};
    use crate::error::BenchError;
    use crate::handshake::{answer_to, head_length};
    use crate::push::server::Doors;

    #[test]
    fn a_number_comes_back() {
        for number in [0, 1, 0xABC_DEF0_1234, u64::MAX] {
            assert_eq!(value(&digits(number)), Some(number));
        }
        assert_eq!(value(b"hello"), None);
    }

    /// A server for one client and one sender. What `answer` makes of the number of a line and of its payload are the
    /// payloads that the client gets, and what the sender is told.
    fn server(
        mut answer: impl FnMut(usize, String) -> (Vec<String>, &'static str) + Send + 'static,
    ) -> Doors {
        let listen = || TcpListener::bind("127.0.0.1:0").unwrap();
        let (clients, lines) = (listen(), listen());
        let at = |listener: &TcpListener| -> SocketAddr { listener.local_addr().unwrap() };
        let doors = Doors {
            clients: at(&clients),
            lines: at(&lines),
        };
        thread::spawn(move || {
            let (mut client, _) = clients.accept().unwrap();
            let mut head = vec![0; 4096];
            let mut length = 0;
            while head_length(&head[..length]).is_none() {
                length += client.read(&mut head[length..]).unwrap();
            }
            let hello = answer_to(&head[..length]).unwrap();
            client.write_all(hello.as_bytes()).unwrap();
            let (mut sender, _) = lines.accept().unwrap();
            let reader = BufReader::new(sender.try_clone().unwrap());
            for (number, line) in reader.lines().enumerate() {
                let Ok(line) = line else { return };
                let (payloads, told) = answer(number, line);
                for payload in payloads {
                    let length = u8::try_from(payload.len()).unwrap();
                    let _ = client.write_all(&[&[0x81, length], payload.as_bytes()].concat());
                }
                let _ = sender.write_all(format!("{told}\n").as_bytes());
            }
        });
        doors
    }

    /// The greeting, three pushes one after the other, and a moment more.
    fn three_pushes(doors: Doors) -> Result<(), BenchError> {
        let crowd = Crowd {
            clients: 1,
            senders: 1,
            window: 1,
        };
        let mut load = PushLoad::connect(doors, crowd)?;
        for _ in 0..3 {
            load.ask(0, 0)?;
        }
        load.listen(Duration::from_millis(50))
    }

    #[test]
    fn a_server_that_does_its_work_passes_even_if_it_has_to_be_greeted_twice() {
        let doors = server(|number, line| match number {
            0 => (vec![], "fail"),
            _ => (vec![line], "ok"),
        });
        three_pushes(doors).unwrap();
    }

    #[test]
    fn a_second_copy_is_noticed() {
        let doors = server(|number, line| match number {
            2 => (vec![line.clone(), line], "ok"),
            _ => (vec![line], "ok"),
        });
        let error = three_pushes(doors).unwrap_err().to_string();
        assert!(error.contains("a second time"), "{error}");
    }

    #[test]
    fn a_push_to_somebody_else_is_noticed() {
        let doors = server(|number, line| match number {
            2 => (vec![line.replace("u1", "u2")], "ok"),
            _ => (vec![line], "ok"),
        });
        let error = three_pushes(doors).unwrap_err().to_string();
        assert!(error.contains("u2"), "{error}");
    }

    #[test]
    fn fail_is_noticed() {
        let doors = server(|number, line| match number {
            2 => (vec![line], "fail"),
            _ => (vec![line], "ok"),
        });
        let error = three_pushes(doors).unwrap_err().to_string();
        assert!(error.contains("fail"), "{error}");
    }
}
