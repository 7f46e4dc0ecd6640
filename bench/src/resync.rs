//! `router-restart`: how long a hive whose router was killed takes until it knows again who is where.
//!
//! Few connections stand for many users: text connections that bind a thousand uids each. After the kill two kinds of
//! questions are sent at a steady pace, without waiting for answers: a push to a uid chosen at random, and whether a
//! thousand of them are online. The directory is back when all of a thousand are. Then every single uid is asked for
//! once more.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollTimeout};
use nix::sys::signal::Signal;

use crate::clients::Line;
use crate::connection::INTEREST;
use crate::error::BenchError;
use crate::idle::{Memory, make_room};
use crate::master_log::router_ready;
use crate::process::signal;
use crate::push::server::{Doors, PushServer, Subject};
use crate::report;
use crate::ws_load::Random;

/// Uids of one connection, bound with one line, which is one turn of the worker.
const EACH: usize = 1_000;
/// Uids of one question.
const SAMPLE: usize = 1_000;
/// Uids of one question when all are asked for.
const CENSUS: usize = 10_000;
/// Between two questions.
const PACE: Duration = Duration::from_millis(2);
/// How long anything may take.
const PATIENCE: Duration = Duration::from_mins(1);
/// Between the end of a round and the next kill: a router that has been up for a second is stable, and is replaced at
/// once.
const CALM: Duration = Duration::from_millis(1500);

/// What is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RouterRestart {
    /// Uids of all workers together.
    pub(crate) uids: usize,
    /// Workers.
    pub(crate) count: usize,
    /// How often the router is killed.
    pub(crate) kills: usize,
}

impl RouterRestart {
    /// Kills and prints.
    pub(crate) fn run(&self) -> Result<(), BenchError> {
        println!(
            "router-restart: {} uids in {} workers, {} kills of the router; a push and a question for {SAMPLE} uids \
             every {} ms; nothing is pinned",
            self.uids,
            self.count,
            self.kills,
            PACE.as_millis()
        );
        // Before the server starts: it inherits the limit.
        let room = make_room(self.uids.div_ceil(EACH))? * EACH;
        if room < self.uids {
            return Err(BenchError::Server(format!(
                "no room for more than {room} uids"
            )));
        }
        let server = PushServer::start(&Subject::Crowd(self.count), None)?;
        let outcome = self.kill_all(&server);
        outcome.map_err(|error| server.running().explain(&error))?;
        server.stop()
    }

    fn kill_all(&self, server: &PushServer) -> Result<(), BenchError> {
        let mut scene = Scene::new(server.doors(), self.uids)?;
        let start = Instant::now();
        scene.bind()?;
        let bound = start.elapsed();
        let census = scene.census()?;
        let router = router_of(server)?;
        println!(
            "bound in {:.2} s, all of them online ({:.2} s to ask for each); the router has {:.1} MiB of private memory",
            bound.as_secs_f64(),
            census.as_secs_f64(),
            Memory::of(&[router])?.private / (1024.0 * 1024.0),
        );
        println!(
            "{:>5}  {:>10} {:>10} {:>13}  {:>8} {:>9} {:>9} {:>8}  {:>10}",
            "",
            "router",
            "first push",
            "all of 1,000",
            "pushes",
            "pushes",
            "pushes",
            "offline",
            "asking for"
        );
        println!(
            "{:>5}  {:>10} {:>10} {:>13}  {:>8} {:>9} {:>9} {:>8}  {:>10}",
            "kill",
            "ready ms",
            "ok ms",
            "online ms",
            "ok",
            "unknown",
            "unrouted",
            "(wrong)",
            "all, ms"
        );
        let mut rounds = Vec::new();
        for kill in 1..=self.kills {
            std::thread::sleep(CALM);
            let round = scene.kill(server)?;
            let census = scene.census()?;
            println!(
                "{kill:>5}  {:>10.1} {:>10.1} {:>13.1}  {:>8} {:>9} {:>9} {:>8}  {:>10.0}",
                round.ready,
                round.pushed,
                round.online,
                round.became("ok"),
                round.became("unknown"),
                round.became("unrouted"),
                round.became("offline") + round.offline,
                census.as_secs_f64() * 1e3,
            );
            rounds.push(round);
        }
        let middle = |what: fn(&Round) -> f64| report::median(rounds.iter().map(what));
        println!(
            "median after the kill: router ready {:.1} ms, first push delivered {:.1} ms, directory of {} uids back \
             {:.1} ms (max {:.1} ms)",
            middle(|round| round.ready),
            middle(|round| round.pushed),
            self.uids,
            middle(|round| round.online),
            report::percentile(rounds.iter().map(|round| round.online), 1.0),
        );
        let wrong: usize = rounds
            .iter()
            .map(|round| round.offline + round.became("offline"))
            .sum();
        if wrong > 0 {
            return Err(BenchError::Server(format!(
                "{wrong} times a uid that is bound was said to be offline"
            )));
        }
        Ok(())
    }
}

/// One kill; milliseconds since it.
#[derive(Debug, Default)]
struct Round {
    /// The new router's process is ready, as the master's log has it when it is next looked at.
    ready: f64,
    /// The first push that was sent after the kill and was answered ok.
    pushed: f64,
    /// The first question sent after the kill whose answer is that all are online.
    online: f64,
    /// Pushes by what became of them.
    outcomes: BTreeMap<String, usize>,
    /// Uids that were said to be offline.
    offline: usize,
}

impl Round {
    fn became(&self, what: &str) -> usize {
        self.outcomes.get(what).copied().unwrap_or(0)
    }
}

/// What has been heard.
#[derive(Debug, PartialEq, Eq)]
enum Word {
    /// `ok`, the answer to a line that binds.
    Bound,
    /// `ID ONLINE OFFLINE UNKNOWN`.
    Online(u64, [usize; 3]),
    /// `ID WORD`, the outcome of a push.
    Outcome(u64, String),
    /// `got ID`, the push itself.
    Got(u64),
}

struct Scene {
    epoll: Epoll,
    uids: usize,
    /// Who has the uids, and behind them who asks.
    lines: Vec<Line>,
    holders: usize,
    random: Random,
    next_id: u64,
    input: Vec<u8>,
}

impl Scene {
    fn new(doors: Doors, uids: usize) -> Result<Self, BenchError> {
        let epoll =
            Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(BenchError::sys("epoll"))?;
        let holders = uids.div_ceil(EACH);
        let mut lines = Vec::new();
        for number in 0..=holders {
            let line = Line::open(number, doors.lines)?;
            epoll
                .add(line.stream(), EpollEvent::new(INTEREST, number as u64))
                .map_err(BenchError::sys("watching a connection"))?;
            lines.push(line);
        }
        Ok(Self {
            epoll,
            uids,
            lines,
            holders,
            random: Random(0x9E6C_63D0_876A_68DE),
            next_id: 0,
            input: vec![0; 64 * 1024],
        })
    }

    /// Gives every holder its uids, and waits until the router has them all.
    fn bind(&mut self) -> Result<(), BenchError> {
        let mut due = self.holders;
        for holder in 0..self.holders {
            let (from, to) = (holder * EACH, ((holder + 1) * EACH).min(self.uids));
            self.lines[holder].send(format!("bind {from} {to}\n").as_bytes())?;
        }
        let start = Instant::now();
        while due > 0 {
            for word in self.turn(100)? {
                match word {
                    Word::Bound => due -= 1,
                    other => return Err(strange(&other)),
                }
            }
            patience(start, "binding")?;
        }
        Ok(())
    }

    /// Asks for every uid; an error unless all are online.
    fn census(&mut self) -> Result<Duration, BenchError> {
        let start = Instant::now();
        for from in (0..self.uids).step_by(CENSUS) {
            let to = (from + CENSUS).min(self.uids);
            let id = self.ask_online(from..to)?;
            let mut answer = None;
            while answer.is_none() {
                for word in self.turn(100)? {
                    match word {
                        Word::Online(to, counts) if to == id => answer = Some(counts),
                        other => return Err(strange(&other)),
                    }
                }
                patience(start, "asking for every uid")?;
            }
            if answer != Some([to - from, 0, 0]) {
                return Err(BenchError::Server(format!(
                    "uids {from} to {to}: online, offline, unknown are {answer:?}"
                )));
            }
        }
        Ok(start.elapsed())
    }

    /// Kills the router and asks until all is as it was.
    fn kill(&mut self, server: &PushServer) -> Result<Round, BenchError> {
        let mut round = Round::default();
        let old = router_of(server)?;
        let (mut asked, mut pushed, mut got) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let mut outcomes: BTreeMap<u64, String> = BTreeMap::new();
        let start = Instant::now();
        signal(old, Signal::SIGKILL);
        let mut next = start;
        let since = || start.elapsed().as_secs_f64() * 1e3;
        // What is still under way at the end is waited for: each question has its answer, and each push its outcome.
        while round.online == 0.0
            || round.ready == 0.0
            || round.pushed == 0.0
            || !asked.is_empty()
            || outcomes.len() < pushed.len()
        {
            patience(start, "waiting for the directory")?;
            let now = Instant::now();
            if now >= next && (round.online == 0.0 || round.pushed == 0.0) {
                next = now + PACE;
                let sample: Vec<usize> =
                    (0..SAMPLE).map(|_| self.random.below(self.uids)).collect();
                asked.insert(self.ask_online(sample)?);
                pushed.insert(self.push()?);
            }
            let words = self.turn(1)?;
            if round.ready == 0.0 && router_of(server).is_ok_and(|new| new != old) {
                round.ready = since();
            }
            for word in words {
                match word {
                    Word::Online(id, [online, offline, _]) if asked.remove(&id) => {
                        round.offline += offline;
                        if online == SAMPLE && round.online == 0.0 {
                            round.online = since();
                        }
                    }
                    Word::Outcome(id, became) if pushed.contains(&id) => {
                        if became == "ok" && round.pushed == 0.0 {
                            round.pushed = since();
                        }
                        if outcomes.insert(id, became).is_some() {
                            return Err(strange(&Word::Outcome(id, "a second outcome".to_owned())));
                        }
                    }
                    Word::Got(id) if pushed.contains(&id) && got.insert(id) => {}
                    other => return Err(strange(&other)),
                }
            }
        }
        let end = Instant::now();
        while end.elapsed() < Duration::from_millis(100) {
            for word in self.turn(10)? {
                match word {
                    Word::Got(id) if pushed.contains(&id) && got.insert(id) => {}
                    other => return Err(strange(&other)),
                }
            }
        }
        for (id, became) in outcomes {
            let wrong = match became.as_str() {
                "ok" => !got.contains(&id),
                "unknown" => false,
                _ => got.contains(&id),
            };
            if wrong {
                return Err(BenchError::Server(format!(
                    "push {id} was answered {became}, but was {}received",
                    if got.contains(&id) { "" } else { "not " }
                )));
            }
            *round.outcomes.entry(became).or_default() += 1;
        }
        Ok(round)
    }

    fn ask_online(&mut self, uids: impl IntoIterator<Item = usize>) -> Result<u64, BenchError> {
        let id = self.id();
        let uids: Vec<String> = uids.into_iter().map(|uid| uid.to_string()).collect();
        self.say(&format!("online {id} {}\n", uids.join(",")))?;
        Ok(id)
    }

    fn push(&mut self) -> Result<u64, BenchError> {
        let (id, uid) = (self.id(), self.random.below(self.uids));
        self.say(&format!("push {id} {uid}\n"))?;
        Ok(id)
    }

    fn say(&mut self, line: &str) -> Result<(), BenchError> {
        self.lines[self.holders].send(line.as_bytes())
    }

    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// One wait and all that it brings.
    fn turn(&mut self, milliseconds: u16) -> Result<Vec<Word>, BenchError> {
        let mut events = [EpollEvent::empty(); 64];
        let timeout = EpollTimeout::from(milliseconds);
        let count = match self.epoll.wait(&mut events, timeout) {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            Err(errno) => return Err(BenchError::sys("waiting for answers")(errno)),
        };
        let mut words = Vec::new();
        for event in &events[..count] {
            let number = usize::try_from(event.data()).unwrap_or(usize::MAX);
            let Some(line) = self.lines.get_mut(number) else {
                continue;
            };
            line.lines(event.events(), &mut self.input, |line| {
                let text = String::from_utf8_lossy(line);
                let word = parse(&text).ok_or_else(|| format!("{text:?}"))?;
                words.push(word);
                Ok(())
            })?;
        }
        Ok(words)
    }
}

fn parse(line: &str) -> Option<Word> {
    let words: Vec<&str> = line.split(' ').collect();
    Some(match words[..] {
        ["ok"] => Word::Bound,
        ["got", id] => Word::Got(id.parse().ok()?),
        [id, became] => Word::Outcome(id.parse().ok()?, became.to_owned()),
        [id, online, offline, unknown] => Word::Online(
            id.parse().ok()?,
            [
                online.parse().ok()?,
                offline.parse().ok()?,
                unknown.parse().ok()?,
            ],
        ),
        _ => return None,
    })
}

/// The router that the master's log last said is ready.
fn router_of(server: &PushServer) -> Result<u32, BenchError> {
    let log = server.running().log();
    let last = log.lines().rev().find_map(router_ready);
    last.ok_or_else(|| BenchError::Server("its log names no router".to_owned()))
}

fn patience(start: Instant, doing: &str) -> Result<(), BenchError> {
    if start.elapsed() > PATIENCE {
        return Err(BenchError::Server(format!(
            "{doing} took longer than {} s",
            PATIENCE.as_secs()
        )));
    }
    Ok(())
}

fn strange(word: &Word) -> BenchError {
    BenchError::Server(format!("out of place: {word:?}"))
}

#[cfg(test)]
mod tests {
    use super::{Word, parse};

    #[test]
    fn every_word_is_told_from_the_others() {
        assert_eq!(parse("ok"), Some(Word::Bound));
        assert_eq!(parse("got 7"), Some(Word::Got(7)));
        let outcome = Word::Outcome(7, "ok".to_owned());
        assert_eq!(parse("7 ok"), Some(outcome));
        assert_eq!(parse("7 1 2 3"), Some(Word::Online(7, [1, 2, 3])));
        assert_eq!(parse("what?"), None);
    }
}
