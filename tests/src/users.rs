//! Many users of a hive of the program `routes`, what they receive, and whether that is right.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::DEADLINE;
use crate::books::{Account, Books, Entry, Fate, Sender};
use crate::routes::{Orders, Routes};
use crate::swarm::{Came, Swarm};

/// Clients with the uids `u0`, `u1`.., that receive numbered messages. One that is told 1012 comes back at once.
#[derive(Debug)]
pub struct Users {
    swarm: Swarm,
    books: Books,
    slots: Vec<usize>,
    dead: Vec<bool>,
    ties: Vec<Tie>,
    /// Connections that have ended.
    lives: Vec<Life>,
}

/// How far the connection of a user is.
#[derive(Debug)]
enum Tie {
    /// Its handshake is under way.
    Opening,
    /// It has said who it is.
    Binding,
    /// Its uid is in force.
    Bound(Life),
    /// It was told to come back.
    Leaving(Life),
}

/// A connection of a user, from when its uid was in force.
#[derive(Debug)]
struct Life {
    client: usize,
    since: Instant,
    /// By sender, the numbers of what has come.
    came: HashMap<usize, HashSet<usize>>,
}

impl Life {
    fn new(client: usize) -> Self {
        Self {
            client,
            since: Instant::now(),
            came: HashMap::new(),
        }
    }
}

impl Users {
    /// So many; their uids are in force.
    ///
    /// # Panics
    /// If they are not.
    #[track_caller]
    pub fn connect(routes: &Routes, count: usize) -> Self {
        let mut swarm = Swarm::connect(routes.ws.addr(), count);
        let answers = swarm.ask_all(|n| {
            let orders = json!({ "batch": [
                { "do": "me", "id": 1 },
                { "do": "join_room", "room": "everybody", "id": 2 },
                { "do": "bind_uid_then", "uid": format!("u{n}"), "id": 3 },
            ]});
            (orders.to_string(), 1)
        });
        // The first of the three answers has come; these come after the others.
        swarm.ask_all(|n| {
            let order = json!({ "do": "bind_uid_then", "uid": format!("u{n}"), "id": 4 });
            (order.to_string(), 4)
        });
        let slot = |answer: &String| {
            let answer: Value = serde_json::from_str(answer).expect("JSON");
            let slot = answer["slot"].as_u64().expect("a slot");
            usize::try_from(slot).expect("a slot")
        };
        Self {
            swarm,
            books: Books::default(),
            slots: answers.iter().map(slot).collect(),
            dead: vec![false; count],
            ties: (0..count)
                .map(|client| Tie::Bound(Life::new(client)))
                .collect(),
            lives: Vec::new(),
        }
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.swarm.len()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.swarm.is_empty()
    }

    /// The users whose connections are in the process of a slot.
    pub fn at(&self, slot: usize) -> Vec<usize> {
        let numbers = 0..self.len();
        numbers.filter(|n| self.slots[*n] == slot).collect()
    }

    /// The process of a slot dies, or has: its users are given up.
    pub fn give_up(&mut self, slot: usize) {
        for client in self.at(slot) {
            self.dead[client] = true;
            self.swarm.drop_client(client);
        }
    }

    /// Those who have not been given up.
    fn living(&self) -> Vec<usize> {
        let numbers = 0..self.len();
        numbers.filter(|n| !self.dead[*n]).collect()
    }

    /// How many messages have come.
    pub fn received(&self) -> usize {
        self.books.count()
    }

    /// Receives what comes, until `done`, which is asked every few milliseconds.
    ///
    /// # Panics
    /// If that does not come in time, or something comes that should not.
    #[track_caller]
    pub fn until(&mut self, mut done: impl FnMut(&Books) -> bool) {
        let end = Instant::now() + DEADLINE * 2;
        while !done(&self.books) {
            assert!(
                Instant::now() < end,
                "only {} messages have come",
                self.books.count()
            );
            self.turn();
        }
    }

    fn turn(&mut self) {
        let Self {
            swarm, books, ties, ..
        } = self;
        let mut gone = Vec::new();
        let limit = Duration::from_millis(10);
        swarm.turn(limit, |client, came| {
            let tie = &mut ties[client];
            match (came, tie) {
                (Came::Text(text), tie) if text.contains("\"re\":5") => {
                    assert!(matches!(tie, Tie::Binding), "{tie:?}: {text}");
                    *tie = Tie::Bound(Life::new(client));
                }
                (Came::Text(text), Tie::Bound(life)) => {
                    if let Some((sender, number)) = books.take(client, text) {
                        life.came.entry(sender).or_default().insert(number);
                    }
                }
                (Came::Text(text), Tie::Binding) => drop(books.take(client, text)),
                (Came::Closed(1012), tie) => {
                    *tie = match std::mem::replace(tie, Tie::Opening) {
                        Tie::Bound(life) => Tie::Leaving(life),
                        _ => Tie::Leaving(Life::new(client)),
                    }
                }
                (Came::Gone, Tie::Leaving(_)) => gone.push(client),
                (came, tie) => panic!("client {client} got {came:?}: {tie:?}"),
            }
        });
        for client in gone {
            books.forget(client);
            swarm.open(client);
            if let Tie::Leaving(life) = std::mem::replace(&mut ties[client], Tie::Opening) {
                self.lives.push(life);
            }
        }
        for (client, tie) in ties.iter_mut().enumerate() {
            if matches!(tie, Tie::Opening) && swarm.is_open(client) {
                let order = json!({ "do": "bind_uid_then", "uid": format!("u{client}"), "id": 5 });
                swarm.send(client, &order.to_string());
                *tie = Tie::Binding;
            }
        }
    }

    /// How many connections have ended and were replaced.
    pub fn comebacks(&self) -> usize {
        self.lives.len()
    }

    /// True if the uids of all are in force.
    pub fn are_bound(&self) -> bool {
        self.ties.iter().all(|tie| matches!(tie, Tie::Bound(_)))
    }

    /// Checks that every connection has got all that was sent to it from when its uid was in force, up to the last
    /// message of each sender that it has got; but for those of which nobody knows. Returns how many messages that were.
    ///
    /// # Panics
    /// If one is missing.
    #[track_caller]
    pub fn check_gaps(&self, accounts: &[Account]) -> usize {
        let present = self.ties.iter().filter_map(|tie| match tie {
            Tie::Bound(life) | Tie::Leaving(life) => Some(life),
            _ => None,
        });
        let mut checked = 0;
        for life in self.lives.iter().chain(present) {
            for (sender, account) in accounts.iter().enumerate() {
                let Some(came) = life.came.get(&sender) else {
                    continue;
                };
                let last = came.iter().max().copied().unwrap_or(0);
                for (number, entry) in account.entries().iter().enumerate().take(last) {
                    let known = !matches!(entry.fate, Fate::Unknown(_));
                    if known && entry.client == life.client && entry.sent > life.since {
                        assert!(
                            came.contains(&number),
                            "message {number} of sender {sender} to {}: {entry:?}",
                            life.client
                        );
                        checked += 1;
                    }
                }
            }
        }
        checked
    }

    /// Lets the senders end, sends one more message to each user, and compares what has come by then with what the
    /// senders were told. Returns what they did, and how often each fate was met.
    ///
    /// # Panics
    /// If the two do not agree, or a user is not reached.
    #[track_caller]
    pub fn settle(
        &mut self,
        routes: &Routes,
        senders: Vec<Sender>,
    ) -> (Vec<Account>, HashMap<Fate, usize>) {
        senders.iter().for_each(Sender::end);
        self.until(|_| senders.iter().all(Sender::has_ended));
        let mut accounts: Vec<_> = senders.into_iter().map(Sender::finish).collect();
        let last = accounts.len();
        let mut caller = routes.caller(0);
        let mut ends = Account::default();
        let living = self.living();
        for &client in &living {
            let text = format!("{last}-{}", ends.entries().len());
            let order = json!({ "uid": format!("u{client}"), "text": text });
            assert_eq!(caller.delivered("send_to_uid", order), 1, "u{client}");
            ends.push(Entry {
                client,
                fate: Fate::Delivered(1),
                sent: Instant::now(),
                took: Duration::ZERO,
            });
        }
        // What was sent before has come before.
        self.until(|books| {
            (0..)
                .zip(&living)
                .all(|(n, client)| books.has(*client, last, n))
        });
        accounts.push(ends);
        let met = self.books.settle(&accounts);
        accounts.pop();
        (accounts, met)
    }
}
