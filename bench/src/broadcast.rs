//! `broadcast`: what it costs to say something to everybody.

use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollTimeout};

use crate::clients::Line;
use crate::connection::INTEREST;
use crate::cpu::{self, Cores};
use crate::error::BenchError;
use crate::idle::make_room;
use crate::push::server::{Doors, PushServer, Subject};
use crate::report::{self, DELIVERIES, Round, Sample};
use crate::server::Side;

/// Bytes of a message, its number included.
const PAYLOAD: usize = 64;
/// Silence for this long, with a broadcast under way, means that the server has lost some of it.
const STALL: Duration = Duration::from_secs(10);

/// What is measured, and for how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Broadcast {
    /// What the floor is compared with.
    pub(crate) subject: Side,
    /// WebSocket clients.
    pub(crate) clients: usize,
    /// Broadcasts that one line asks for, all in one turn.
    pub(crate) at_once: usize,
    /// Rounds of both servers.
    pub(crate) rounds: usize,
    /// Load before each measured window.
    pub(crate) warm_up: Duration,
    /// Each measured window.
    pub(crate) window: Duration,
}

impl Broadcast {
    /// Runs all rounds and prints as it goes.
    pub(crate) fn run(mut self) -> Result<(), BenchError> {
        let cores = Cores::choose()?;
        // Before a server starts: it inherits the limit.
        self.clients = make_room(self.clients)?;
        if let Some(core) = cores.load {
            cpu::pin(core)?;
        }
        println!(
            "broadcast: {} WebSocket clients of one worker, {PAYLOAD} bytes to each of them {} in one turn, the next \
             when all have it; {} rounds of {:.1} s after {:.1} s of warm-up; {}",
            self.clients,
            times(self.at_once),
            self.rounds,
            self.window.as_secs_f64(),
            self.warm_up.as_secs_f64(),
            cores.describe()
        );
        println!(
            "the floor is a loop of one `send` per client, of bytes made once; a delivery is a message that a client \
             has received, in order and byte for byte, or the run fails"
        );
        println!("{}", report::heading(self.subject, DELIVERIES));
        let mut rounds = Vec::with_capacity(self.rounds);
        for number in 1..=self.rounds {
            let round = Round {
                floor: self.measure(Side::Floor, cores)?,
                subject: self.measure(self.subject, cores)?,
            };
            println!("{}", report::line(&number.to_string(), &round));
            rounds.push(round);
        }
        print!("{}", report::summary(&rounds, self.subject, DELIVERIES));
        Ok(())
    }

    fn measure(&self, side: Side, cores: Cores) -> Result<Sample, BenchError> {
        let subject = match side {
            Side::Floor => Subject::Floor,
            Side::Workhive => Subject::Crowd(1),
        };
        let server = PushServer::start(&subject, cores.server)?;
        let sample = self
            .sample(&server)
            .map_err(|error| server.running().explain(&error))?;
        server.stop()?;
        Ok(sample)
    }

    fn sample(&self, server: &PushServer) -> Result<Sample, BenchError> {
        let mut family = server.running().family();
        let master = match server.subject() {
            Subject::Floor => Vec::new(),
            _ => vec![family.remove(0)],
        };
        let own = [std::process::id()];
        let times = || -> Result<[Duration; 3], BenchError> {
            Ok([
                cpu::time_of(&family)?,
                cpu::time_of(&master)?,
                cpu::time_of(&own)?,
            ])
        };
        let mut hall = Hall::open(server.doors(), self.clients, self.at_once)?;
        hall.run(self.warm_up)?;
        let before = times()?;
        let (answers, elapsed) = hall.run(self.window)?;
        let after = times()?;
        Ok(Sample {
            answers,
            elapsed,
            worker: after[0].saturating_sub(before[0]),
            master: after[1].saturating_sub(before[1]),
            load: after[2].saturating_sub(before[2]),
        })
    }
}

fn times(count: usize) -> String {
    match count {
        1 => "once".to_owned(),
        count => format!("{count} times"),
    }
}

/// Everybody who listens, and one connection that speaks.
struct Hall {
    epoll: Epoll,
    events: Vec<EpollEvent>,
    clients: Vec<Client>,
    speaker: Line,
    at_once: usize,
    /// Lines said and answered.
    said: u64,
    answered: u64,
    /// Clients that have all of the last line's messages.
    complete: usize,
    input: Vec<u8>,
}

struct Client {
    line: Line,
    /// Messages received.
    heard: u64,
}

impl Hall {
    fn open(doors: Doors, clients: usize, at_once: usize) -> Result<Self, BenchError> {
        let epoll =
            Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(BenchError::sys("epoll"))?;
        let watch = |line: &Line, number: usize| {
            epoll
                .add(line.stream(), EpollEvent::new(INTEREST, number as u64))
                .map_err(BenchError::sys("watching a connection"))
        };
        let mut all = Vec::with_capacity(clients);
        for number in 0..clients {
            let line = Line::client(number, doors.clients, &format!("u{number}"))?;
            watch(&line, number)?;
            all.push(Client { line, heard: 0 });
        }
        let speaker = Line::open(clients, doors.lines)?;
        watch(&speaker, clients)?;
        Ok(Self {
            epoll,
            events: vec![EpollEvent::empty(); 512],
            clients: all,
            speaker,
            at_once,
            said: 0,
            answered: 0,
            complete: 0,
            input: vec![0; 64 * 1024],
        })
    }

    /// One broadcast after the other for `duration`; returns the deliveries and the time it really took.
    fn run(&mut self, duration: Duration) -> Result<(u64, Duration), BenchError> {
        let (start, mut deliveries) = (Instant::now(), 0);
        while start.elapsed() < duration {
            self.broadcast()?;
            deliveries += (self.clients.len() * self.at_once) as u64;
        }
        Ok((deliveries, start.elapsed()))
    }

    fn broadcast(&mut self) -> Result<(), BenchError> {
        let payload = payload(self.said);
        self.said += 1;
        self.complete = 0;
        let mut line = format!("all {} ", self.at_once).into_bytes();
        line.extend_from_slice(&payload);
        line.push(b'\n');
        let start = Instant::now();
        self.speaker.send(&line)?;
        while self.answered < self.said || self.complete < self.clients.len() {
            let count = match self
                .epoll
                .wait(&mut self.events, EpollTimeout::from(1000u16))
            {
                Ok(count) => count,
                Err(Errno::EINTR) => 0,
                Err(errno) => return Err(BenchError::sys("waiting for messages")(errno)),
            };
            if start.elapsed() > STALL {
                return Err(BenchError::Server(format!(
                    "after {} s {} of {} clients have broadcast {}",
                    STALL.as_secs(),
                    self.complete,
                    self.clients.len(),
                    self.said
                )));
            }
            for at in 0..count {
                let (number, flags) = (self.events[at].data(), self.events[at].events());
                let number = usize::try_from(number).unwrap_or(usize::MAX);
                let Some(client) = self.clients.get_mut(number) else {
                    let answered = &mut self.answered;
                    self.speaker.lines(flags, &mut self.input, |answer| {
                        *answered += 1;
                        (answer == b"ok")
                            .then_some(())
                            .ok_or_else(|| format!("answer {:?}", String::from_utf8_lossy(answer)))
                    })?;
                    continue;
                };
                let all = self.said * self.at_once as u64;
                let Client { line, heard } = client;
                let before = *heard;
                line.messages(flags, &mut self.input, |message| {
                    *heard += 1;
                    if message != payload || *heard > all {
                        return Err(format!(
                            "message {heard} of {all} is {:?}",
                            String::from_utf8_lossy(message)
                        ));
                    }
                    Ok(())
                })?;
                self.complete += usize::from(*heard == all && before < all);
            }
        }
        Ok(())
    }
}

/// The message of this number.
fn payload(number: u64) -> [u8; PAYLOAD] {
    let mut payload = *b"....................: a message for everybody who can hear it  .";
    payload[..20].copy_from_slice(format!("{number:020}").as_bytes());
    payload
}
