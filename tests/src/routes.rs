//! Hives of the program `routes`, and the two kinds of clients that tell them what to do.

use std::collections::VecDeque;

use serde_json::{Value, json};
use tungstenite::Message;

use crate::text::TextClient;
use crate::ws::WsClient;
use crate::{Hive, Port, Setup};

/// A hive whose processes do what they are told to.
#[derive(Debug)]
pub struct Routes {
    /// The hive.
    pub hive: Hive,
    /// Where members connect.
    pub ws: Port,
    /// Where lines come in.
    pub text: Port,
    count: usize,
}

impl Routes {
    /// So many processes; `path` is that of the program `routes`.
    ///
    /// # Panics
    /// If they do not become ready.
    #[track_caller]
    pub fn start(path: &str, count: usize, options: &[&str]) -> Self {
        let (ws, text) = (Port::reserve(), Port::reserve());
        let setup = Setup::new(path)
            .options(["--ws", &ws.to_string(), "--text", &text.to_string()])
            .options(["--count", &count.to_string()])
            .options(options.iter().copied());
        let hive = setup.start();
        Self {
            hive,
            ws,
            text,
            count,
        }
    }

    /// How many processes there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// A WebSocket client in the process of a slot; slots beyond the last begin anew, so that the same test runs with
    /// any number of processes.
    ///
    /// # Panics
    /// If none can be had there.
    #[track_caller]
    pub fn member(&self, slot: usize) -> Member {
        let slot = slot % self.count;
        // The kernel chooses the process, by a hash of the client's port among other things.
        for _ in 0..TRIES {
            let member = Member::connect(WsClient::connect(self.ws.addr()));
            if member.slot == slot {
                return member;
            }
            // It has left when this returns, and is in nobody's way.
            member.close();
        }
        panic!("no connection to the process of slot {slot}");
    }

    /// A member with a uid that is in force.
    ///
    /// # Panics
    /// As [`member`](Self::member).
    #[track_caller]
    pub fn user(&self, slot: usize, uid: &str) -> Member {
        let mut member = self.member(slot);
        member.must("bind_uid_then", json!({ "uid": uid }));
        member
    }

    /// A member of rooms; all of it is in force.
    ///
    /// # Panics
    /// As [`member`](Self::member).
    #[track_caller]
    pub fn guest(&self, slot: usize, rooms: &[&str]) -> Member {
        let mut member = self.member(slot);
        for room in rooms {
            member.must("join_room_then", json!({ "room": room }));
        }
        member
    }

    /// Clients in the process of a slot that have uids together: `PREFIX0`, `PREFIX1`.., all of them in force.
    ///
    /// # Panics
    /// As [`caller`](Self::caller).
    #[track_caller]
    pub fn holders(&self, slot: usize, prefix: &str, uids: usize) -> Vec<Caller> {
        let each = 500;
        let parts = (0..uids).step_by(each).map(|from| {
            let mut holder = self.caller(slot);
            let count = each.min(uids - from);
            let order = json!({ "prefix": prefix, "from": from, "count": count });
            holder.must("bind_many", order);
            holder
        });
        parts.collect()
    }

    /// A client that sends lines to the process of a slot.
    ///
    /// # Panics
    /// If none can be had there.
    #[track_caller]
    pub fn caller(&self, slot: usize) -> Caller {
        let slot = slot % self.count;
        (0..TRIES)
            .map(|_| Caller::connect(TextClient::connect(self.text.addr())))
            .find(|caller| caller.slot == slot)
            .expect("a connection to the right process")
    }
}

/// How often a connection to one process of a few is tried: that all miss it does not happen.
const TRIES: usize = 1000;

/// Runs a test in a hive of one process, and in one of four; `path` is that of the program `routes`.
#[track_caller]
pub fn alone_and_together(path: &str, options: &[&str], test: impl Fn(&Routes)) {
    for count in [1, 4] {
        test(&Routes::start(path, count, options));
    }
}

/// Checks that nothing has come for members but what was received already: the next message is the next one sent.
///
/// # Panics
/// If something has.
#[track_caller]
pub fn nothing_more<'m>(caller: &mut Caller, members: impl IntoIterator<Item = &'m mut Member>) {
    for member in members {
        let order = json!({ "connection": member.id, "text": "the next" });
        assert_eq!(caller.delivered("send_to_connection", order), 1);
        assert_eq!(member.text(), "the next");
    }
}

/// A client that gives orders and gets answers, among other things that come.
pub trait Orders {
    /// Sends a text.
    fn say(&mut self, text: &str);

    /// Receives an answer or an event; whatever else comes is kept.
    fn hear(&mut self) -> Value;

    /// Where answers are kept that nobody has waited for yet.
    fn heard(&mut self) -> &mut VecDeque<Value>;

    /// A number for the next order.
    fn number(&mut self) -> u64;

    /// Gives an order without waiting for the answer, and returns its number.
    fn order(&mut self, what: &str, mut with: Value) -> u64 {
        let number = self.number();
        with["do"] = what.into();
        with["id"] = number.into();
        self.say(&with.to_string());
        number
    }

    /// Waits for something that `wanted` likes, among what has come already and what comes.
    fn wait(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        if let Some(at) = self.heard().iter().position(&wanted) {
            return self.heard().remove(at).expect("it has just been found");
        }
        loop {
            let value = self.hear();
            if wanted(&value) {
                return value;
            }
            self.heard().push_back(value);
        }
    }

    /// The answer to an order.
    fn answer(&mut self, number: u64) -> Value {
        let mut answer = self.wait(|value| value["re"] == number);
        let fields = answer.as_object_mut().expect("an answer is an object");
        fields.remove("re");
        answer
    }

    /// Gives an order, and waits for the answer.
    fn ask(&mut self, what: &str, with: Value) -> Value {
        let number = self.order(what, with);
        self.answer(number)
    }

    /// Gives an order that must be taken.
    ///
    /// # Panics
    /// If the answer is anything but ok.
    #[track_caller]
    fn must(&mut self, what: &str, with: Value) {
        let answer = self.ask(what, with.clone());
        assert_eq!(answer, json!({ "ok": true }), "{what} {with}");
    }

    /// Gives an order that must be refused, and returns the error's name.
    ///
    /// # Panics
    /// If it is not refused.
    #[track_caller]
    fn refused(&mut self, what: &str, with: Value) -> String {
        let answer = self.ask(what, with.clone());
        let error = answer["error"].as_str();
        let error = error.unwrap_or_else(|| panic!("{what} {with}: {answer}"));
        // What it says is for people, on one line.
        let says = answer["says"].as_str().unwrap_or_default();
        assert!(!says.is_empty() && !says.contains('\n'), "{answer}");
        error.to_owned()
    }

    /// Sends something, waits for what has become of it, and returns how many connections have got it.
    ///
    /// # Panics
    /// If some have refused it, or not all is known.
    #[track_caller]
    fn delivered(&mut self, what: &str, with: Value) -> u64 {
        let outcome = self.outcome(what, with.clone());
        assert_eq!(
            (
                &outcome["refused"],
                &outcome["unknown"],
                &outcome["unrouted"]
            ),
            (&json!(0), &json!(false), &json!(false)),
            "{what} {with}: {outcome}"
        );
        outcome["delivered"].as_u64().expect("a number")
    }

    /// Sends something, and waits for what has become of it.
    fn outcome(&mut self, what: &str, mut with: Value) -> Value {
        with["outcome"] = true.into();
        self.ask(what, with)
    }

    /// An event of this name.
    fn event(&mut self, name: &str) -> Value {
        self.wait(|value| value["event"] == name)
    }
}

/// A WebSocket client.
#[derive(Debug)]
pub struct Member {
    ws: WsClient,
    /// The id of the connection.
    pub id: String,
    /// The slot of its process.
    pub slot: usize,
    /// The process.
    pub pid: u32,
    next: u64,
    heard: VecDeque<Value>,
    pushed: VecDeque<Message>,
}

impl Member {
    fn connect(ws: WsClient) -> Self {
        let mut member = Self {
            ws,
            id: String::new(),
            slot: 0,
            pid: 0,
            next: 0,
            heard: VecDeque::new(),
            pushed: VecDeque::new(),
        };
        let me = member.ask("me", json!({}));
        (member.id, member.slot, member.pid) = place(&me);
        member
    }

    /// The next pushed message.
    ///
    /// # Panics
    /// If the connection ends instead.
    #[track_caller]
    pub fn pushed(&mut self) -> Message {
        if let Some(message) = self.pushed.pop_front() {
            return message;
        }
        loop {
            match self.sort() {
                Ok(answer) => self.heard.push_back(answer),
                Err(Message::Close(frame)) => panic!("not a message: {frame:?}"),
                Err(message) => return message,
            }
        }
    }

    /// The next pushed message, which must be a text.
    ///
    /// # Panics
    /// If it is none.
    #[track_caller]
    pub fn text(&mut self) -> String {
        match self.pushed() {
            Message::Text(text) => text.to_string(),
            other => panic!("not a text message: {other:?}"),
        }
    }

    /// The code and the reason with which the connection is closed; its goodbye is answered.
    ///
    /// # Panics
    /// If messages come before that, or no code.
    #[track_caller]
    pub fn closed(mut self) -> (u16, String) {
        assert!(self.pushed.is_empty(), "{:?}", self.pushed);
        loop {
            match self.sort() {
                Ok(answer) => self.heard.push_back(answer),
                Err(Message::Close(Some(frame))) => {
                    self.ws.close();
                    return (frame.code.into(), frame.reason.to_string());
                }
                Err(other) => panic!("not a close frame with a code: {other:?}"),
            }
        }
    }

    /// Says goodbye, and waits for the peer's.
    pub fn close(self) {
        self.ws.close();
    }

    /// An answer, or else a message.
    #[track_caller]
    fn sort(&mut self) -> Result<Value, Message> {
        let message = self.ws.message();
        let Message::Text(text) = &message else {
            return Err(message);
        };
        match serde_json::from_str::<Value>(text) {
            Ok(value) if value["re"].is_u64() => Ok(value),
            _ => Err(message),
        }
    }
}

impl Orders for Member {
    fn say(&mut self, text: &str) {
        self.ws.send(text);
    }

    #[track_caller]
    fn hear(&mut self) -> Value {
        loop {
            match self.sort() {
                Ok(answer) => return answer,
                Err(Message::Close(frame)) => panic!("not an answer: {frame:?}"),
                Err(message) => self.pushed.push_back(message),
            }
        }
    }

    fn heard(&mut self) -> &mut VecDeque<Value> {
        &mut self.heard
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

/// A client that sends lines.
#[derive(Debug)]
pub struct Caller {
    text: TextClient,
    /// The id of the connection.
    pub id: String,
    /// The slot of its process.
    pub slot: usize,
    /// The process.
    pub pid: u32,
    next: u64,
    heard: VecDeque<Value>,
}

impl Caller {
    fn connect(text: TextClient) -> Self {
        let mut caller = Self {
            text,
            id: String::new(),
            slot: 0,
            pid: 0,
            next: 0,
            heard: VecDeque::new(),
        };
        let me = caller.ask("me", json!({}));
        (caller.id, caller.slot, caller.pid) = place(&me);
        caller
    }

    /// From now on it is told what happens in its process.
    #[track_caller]
    pub fn watch(&mut self) {
        self.must("watch", json!({}));
    }

    /// A push in the short form, to be answered by a line.
    pub fn push(&mut self, line: &str) {
        self.text.send(line);
    }

    /// The connection below, for lines of all kinds.
    pub fn into_text(self) -> TextClient {
        self.text
    }
}

impl Orders for Caller {
    fn say(&mut self, text: &str) {
        self.text.send(text);
    }

    #[track_caller]
    fn hear(&mut self) -> Value {
        let line = self.text.line();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    fn heard(&mut self) -> &mut VecDeque<Value> {
        &mut self.heard
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

fn place(me: &Value) -> (String, usize, u32) {
    let number = |name: &str| me[name].as_u64().expect("a number");
    (
        me["connection"].as_str().expect("an id").to_owned(),
        usize::try_from(number("slot")).expect("a slot"),
        u32::try_from(number("pid")).expect("a pid"),
    )
}
