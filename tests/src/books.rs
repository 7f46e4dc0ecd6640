//! What was pushed, what its senders were told, and what has come: the three have to agree.
//!
//! Messages are numbered by each sender, and begin with `SENDER-NUMBER`. The senders use the short form of the program
//! `routes`, whose answers say what became of each.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use workhive_ipc::route::{Client, Outcome, Push, Target};

use crate::eventually;
use crate::text::TextClient;

/// What became of a push, as its sender was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fate {
    /// So many connections have it.
    Delivered(u32),
    /// Certainly, nobody was there.
    Offline,
    /// Somebody was there and could not take it.
    Refused,
    /// At least so many have it.
    Unknown(u32),
    /// It was not sent to anybody.
    Unrouted,
    /// It was refused at once.
    Error,
}

/// The books of one sender: for each of its messages whom it was for, what became of it, and how long that took.
#[derive(Debug, Default)]
pub struct Account {
    entries: Vec<Entry>,
}

/// One message.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// Whom it was for.
    pub client: usize,
    /// What became of it.
    pub fate: Fate,
    /// When it was written.
    pub sent: Instant,
    /// From then until the answer was read.
    pub took: Duration,
}

impl Account {
    /// All messages, by their numbers.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// How many of its messages met such a fate.
    pub fn count(&self, wanted: impl Fn(Fate) -> bool) -> usize {
        let fates = self.entries.iter().map(|entry| entry.fate);
        fates.filter(|fate| wanted(*fate)).count()
    }

    /// One more message.
    pub fn push(&mut self, entry: Entry) {
        self.entries.push(entry);
    }
}

/// A thread that pushes, a few at a time, until it is told to end.
#[derive(Debug)]
pub struct Sender {
    done: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    thread: JoinHandle<Account>,
}

impl Sender {
    /// Pushes over a connection to a process, `window` messages at a time, to the uids `uN`, where N is what `pick` says
    /// for each message; so many bytes are added to each.
    pub fn inside(
        mut text: TextClient,
        sender: usize,
        window: usize,
        fill: usize,
        pick: impl FnMut(usize) -> usize + Send + 'static,
    ) -> Self {
        let fill = "f".repeat(fill);
        Self::start(window, pick, move |from, clients, told| {
            let lines: String = (from..)
                .zip(clients)
                .flat_map(|(n, client)| {
                    [
                        format!(">u u{client} {sender}-{n} "),
                        fill.clone(),
                        "\n".into(),
                    ]
                })
                .collect();
            text.write(lines.as_bytes());
            // Answers come when they are known, in any order.
            for _ in clients {
                let (n, fate) = understood(&text.line(), sender);
                told(n, fate);
            }
        })
    }

    /// The same as a program beside the hive, at its push socket.
    ///
    /// # Panics
    /// The thread does, if the router is lost.
    pub fn outside(
        mut program: Client,
        sender: usize,
        window: usize,
        fill: usize,
        pick: impl FnMut(usize) -> usize + Send + 'static,
    ) -> Self {
        let fill = "f".repeat(fill);
        Self::start(window, pick, move |from, clients, told| {
            let pushed: Vec<_> = (from..)
                .zip(clients)
                .map(|(n, client)| {
                    let (uid, text) = (format!("u{client}"), format!("{sender}-{n} {fill}"));
                    let push = Push::message(Target::Uid(uid.as_bytes()), 0, text.as_bytes());
                    (n, program.send(push).expect("a push that can be sent"))
                })
                .collect();
            for (n, push) in pushed {
                let outcome = program.wait(push).expect("an outcome");
                told(n, Fate::from(outcome));
            }
        })
    }

    /// The same as a program that connects again when the router ends, or another one takes its place.
    ///
    /// # Panics
    /// The thread does, if nobody listens at `path` for too long.
    pub fn returning(
        path: PathBuf,
        sender: usize,
        window: usize,
        pick: impl FnMut(usize) -> usize + Send + 'static,
    ) -> Self {
        let mut program: Option<Client> = None;
        Self::start(window, pick, move |from, clients, told| {
            let connected = program
                .get_or_insert_with(|| eventually("a router", || Client::connect(&path).ok()));
            let mut pushed = Vec::new();
            let mut lost = false;
            for (n, client) in (from..).zip(clients) {
                let (uid, text) = (format!("u{client}"), format!("{sender}-{n} "));
                let push = Push::message(Target::Uid(uid.as_bytes()), 0, text.as_bytes());
                if let Ok(push) = connected.send(push) {
                    pushed.push((n, push));
                } else {
                    // Perhaps it has left, and perhaps not.
                    lost = true;
                    told(n, Fate::Unknown(0));
                }
            }
            for (n, push) in pushed {
                if let Ok(outcome) = connected.wait(push) {
                    told(n, Fate::from(outcome));
                } else {
                    lost = true;
                    told(n, Fate::Unknown(0));
                }
            }
            if lost {
                program = None;
            }
        })
    }

    /// `round` sends the messages from a number on to some clients, and says what became of each.
    fn start(
        window: usize,
        mut pick: impl FnMut(usize) -> usize + Send + 'static,
        mut round: impl FnMut(usize, &[usize], &mut dyn FnMut(usize, Fate)) + Send + 'static,
    ) -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicUsize::new(0));
        let (stop, count) = (Arc::clone(&done), Arc::clone(&answered));
        let thread = thread::spawn(move || {
            let mut account = Account::default();
            while !stop.load(Ordering::Relaxed) {
                let from = account.entries.len();
                let clients: Vec<_> = (from..from + window).map(&mut pick).collect();
                let sent = Instant::now();
                account.entries.extend(clients.iter().map(|&client| Entry {
                    client,
                    fate: Fate::Error,
                    sent,
                    took: Duration::ZERO,
                }));
                round(from, &clients, &mut |n, fate| {
                    account.entries[n].fate = fate;
                    account.entries[n].took = sent.elapsed();
                    count.fetch_add(1, Ordering::Relaxed);
                });
            }
            account
        });
        Self {
            done,
            answered,
            thread,
        }
    }

    /// How many answers it has got.
    pub fn answered(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }

    /// Tells it to end after the messages that are under way.
    pub fn end(&self) {
        self.done.store(true, Ordering::Relaxed);
    }

    /// True if it has ended.
    pub fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// If it has, because an answer was missing.
    #[track_caller]
    pub fn finish(self) -> Account {
        self.end();
        self.thread.join().expect("a sender that was answered")
    }
}

/// An answer: `SENDER-NUMBER DELIVERED REFUSED known`, or `SENDER-NUMBER error ERROR`.
fn understood(line: &str, sender: usize) -> (usize, Fate) {
    let wrong = || -> ! { panic!("not an answer to sender {sender}: {line}") };
    let words: Vec<_> = line.split(' ').collect();
    let (&[token, first, ref rest @ ..], true) = (&words[..], words.len() > 2) else {
        wrong()
    };
    let number = token
        .strip_prefix(&format!("{sender}-"))
        .and_then(|number| number.parse().ok());
    let Some(number) = number else { wrong() };
    if first == "error" {
        return (number, Fate::Error);
    }
    let (Ok(delivered), Ok(refused)) = (first.parse(), rest[0].parse()) else {
        wrong()
    };
    let (unknown, unrouted) = match rest.get(1) {
        Some(&"known") => (false, false),
        Some(&"unknown") => (true, false),
        Some(&"unrouted") => (false, true),
        _ => wrong(),
    };
    let outcome = Outcome {
        delivered,
        refused,
        unknown,
        unrouted,
    };
    (number, Fate::from(outcome))
}

impl From<Outcome> for Fate {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome { unrouted: true, .. } => Self::Unrouted,
            Outcome { unknown: true, .. } => Self::Unknown(outcome.delivered),
            Outcome {
                delivered: 0,
                refused: 0,
                ..
            } => Self::Offline,
            Outcome { delivered: 0, .. } => Self::Refused,
            _ => Self::Delivered(outcome.delivered),
        }
    }
}

/// What has come.
#[derive(Debug, Default)]
pub struct Books {
    /// By sender, number and client; how often.
    came: HashMap<(usize, usize, usize), u32>,
    /// By client and sender: the last number.
    last: HashMap<(usize, usize), usize>,
    /// Messages to many, by client.
    shouts: HashSet<(usize, String)>,
}

impl Books {
    /// A message has come for a client. Returns its sender and its number, if it has them.
    ///
    /// # Panics
    /// If it has come before, or later ones of its sender have.
    #[track_caller]
    pub fn take(&mut self, client: usize, text: &str) -> Option<(usize, usize)> {
        if text.starts_with('#') {
            let shout = (client, text.to_owned());
            assert!(
                self.shouts.insert(shout),
                "client {client} got {text} twice"
            );
            return None;
        }
        let (sender, number) = token(text);
        let last = self.last.insert((client, sender), number);
        assert!(
            last < Some(number),
            "client {client} got message {number} of sender {sender} after {last:?}"
        );
        *self.came.entry((sender, number, client)).or_default() += 1;
        Some((sender, number))
    }

    /// The connection of a client has ended; another connection of it begins anew.
    pub fn forget(&mut self, client: usize) {
        self.last.retain(|(other, _), _| *other != client);
    }

    /// How many clients have got a message that begins with `#`; it is for many, and has no number.
    pub fn heard(&self, shout: &str) -> usize {
        self.shouts.iter().filter(|(_, text)| text == shout).count()
    }

    /// Whether a message has come for a client.
    pub fn has(&self, client: usize, sender: usize, number: usize) -> bool {
        self.came.contains_key(&(sender, number, client))
    }

    /// How many have come.
    pub fn count(&self) -> usize {
        self.came.len()
    }

    /// Compares what has come with what the senders were told; returns how often each fate was met.
    ///
    /// # Panics
    /// If the two do not agree.
    #[track_caller]
    pub fn settle(&self, accounts: &[Account]) -> HashMap<Fate, usize> {
        let mut met = HashMap::new();
        let mut explained = 0;
        for (sender, account) in accounts.iter().enumerate() {
            for (number, entry) in account.entries.iter().enumerate() {
                *met.entry(entry.fate).or_default() += 1;
                let came = self.came.get(&(sender, number, entry.client));
                explained += usize::from(came.is_some());
                let came = came.copied().unwrap_or(0);
                let right = match entry.fate {
                    Fate::Delivered(count) => came == count,
                    Fate::Unknown(count) => came >= count,
                    Fate::Offline | Fate::Refused | Fate::Unrouted | Fate::Error => came == 0,
                };
                assert!(
                    right,
                    "message {number} of sender {sender} to {}: {:?}, and it came {came} times",
                    entry.client, entry.fate
                );
            }
        }
        // And nothing came to anybody else.
        assert_eq!(explained, self.came.len(), "something was misrouted");
        met
    }
}

/// The sender and the number with which a message begins.
///
/// # Panics
/// If it does not begin so.
#[track_caller]
pub fn token(text: &str) -> (usize, usize) {
    let token = text.split(' ').next().unwrap_or_default();
    let numbers = token
        .split_once('-')
        .and_then(|(sender, number)| Some((sender.parse().ok()?, number.parse().ok()?)));
    numbers.unwrap_or_else(|| panic!("not a numbered message: {text:.100}"))
}
