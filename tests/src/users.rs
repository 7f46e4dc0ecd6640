//! Many users of a hive of the program `routes`, what they receive, and whether that is right.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::DEADLINE;
use crate::books::{Account, Books, Entry, Fate, Sender};
use crate::routes::{Orders, Routes};
use crate::swarm::{Came, Swarm};

/// Clients with the uids `u0`, `u1`.., that receive numbered messages.
#[derive(Debug)]
pub struct Users {
    swarm: Swarm,
    books: Books,
    slots: Vec<usize>,
    dead: Vec<bool>,
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
            let books = &mut self.books;
            let limit = Duration::from_millis(10);
            self.swarm.turn(limit, |client, came| match came {
                Came::Text(text) => books.take(client, text),
                other => panic!("client {client} got {other:?}"),
            });
        }
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
