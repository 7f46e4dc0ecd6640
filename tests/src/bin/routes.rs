//! A program whose processes do in the hive what they are told to, by every function that there is for it.
//!
//! Orders are JSON objects: lines on the text port, messages on the WebSocket port. What concerns a connection is done
//! to the one that says so. An order's `id` comes back as `re` of its answer; pushed messages come as they are.
//!
//! For load there is a short form, `>u NAME TEXT`, answered by the first word of the text and the outcome.

use serde_json::{Value, json};
use workhive::{
    Cli, Conn, ConnectionId, Error, Exit, Handle, Hive, Members, Message, Names, Outcome, Process,
    Protocol, Result, RouteError, Text, Uid, WebSocket, Worker,
};

/// Protocols that carry plain payloads.
trait Speaks: for<'m> Protocol<Outgoing<'m> = Message<'m>> {}

impl<P: for<'m> Protocol<Outgoing<'m> = Message<'m>>> Speaks for P {}

/// Connections that want to know what happens in this process.
#[derive(Default)]
struct State {
    watchers: Vec<Handle<Text>>,
}

impl State {
    fn tell(&mut self, event: &Value) -> Result {
        self.watchers.retain(|watcher| watcher.is_open());
        let event = event.to_string();
        self.watchers
            .iter()
            .try_for_each(|watcher| watcher.send(&*event))
    }
}

/// Where the answer to an order goes.
struct Reply<P> {
    to: Handle<P>,
    id: u64,
}

impl<P> Clone for Reply<P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P> Copy for Reply<P> {}

impl<P: Speaks> Reply<P> {
    fn send(self, mut answer: Value) -> Result {
        answer["re"] = self.id.into();
        self.to.send(answer.to_string())
    }
}

/// When an order is answered.
enum Told {
    Now(Value),
    Later,
}

fn done() -> Told {
    Told::Now(json!({ "ok": true }))
}

struct Order<'v>(&'v Value);

fn main() -> Exit {
    let cli = Cli::new("routes")
        .option("ws", "ADDR", "127.0.0.1:0", "Where members connect")
        .option("text", "ADDR", "127.0.0.1:0", "Where lines come in")
        .option("max-uids", "N", "1", "Uids that a member may have")
        .option("max-rooms", "N", "128", "Rooms in which a member may be");
    let args = match cli.parse() {
        Ok(args) => args,
        Err(exit) => return exit,
    };
    let number = |name: &str| args.value(name).parse::<u16>();
    let (Ok(max_uids), Ok(max_rooms)) = (number("max-uids"), number("max-rooms")) else {
        return Exit::USAGE;
    };
    let text = args.value("text").to_owned();
    let worker = Worker::<WebSocket>::new(args.value("ws"))
        .name("routes")
        .reuse_port(true)
        .max_uids(max_uids)
        .max_rooms(max_rooms)
        // A ping would move on what has got stuck, and hide it from the tests.
        .configure(|websocket| websocket.ping_interval = None)
        .state(|_place| Ok(State::default()))
        .on_uid_online(|worker, uid| presence(worker, uid, "online"))
        .on_uid_offline(|worker, uid| presence(worker, uid, "offline"))
        .on_worker_start(move |worker| {
            let lines = worker
                .listener::<Text>(text.clone())
                .reuse_port(true)
                .routed(false)
                .max_uids(u16::MAX)
                .max_rooms(u16::MAX)
                .max_send_buffer(64 << 20)
                .configure(|text| text.max_message = 11 << 20)
                .on_message(|conn, line| on_line(conn, line.as_text()?))
                .on_close(closed);
            worker.listen(lines)
        })
        .on_message(|conn, message| obey(conn, &serde_json::from_str(message.as_text()?)?))
        .on_close(closed);
    args.run_all([worker])
}

fn on_line(conn: &mut Conn<'_, Text, State>, line: &str) -> Result {
    if line.starts_with('>') {
        return quick(conn, line);
    }
    let order: Value = serde_json::from_str(line)?;
    if order["do"] == "watch" {
        let watcher = conn.handle();
        conn.state_mut().watchers.push(watcher);
    }
    obey(conn, &order)
}

fn presence(worker: &mut Process<'_, State>, uid: &Uid, what: &str) -> Result {
    let event = json!({ "event": what, "uid": shown(uid), "slot": worker.slot() });
    worker.state_mut().tell(&event)
}

fn closed<P: Speaks>(conn: &mut Conn<'_, P, State>) -> Result {
    let mut event = me(conn);
    event["event"] = "closed".into();
    let reason = conn.close_reason().map(ToString::to_string);
    event["reason"] = reason.into();
    conn.state_mut().tell(&event)
}

/// What a connection knows of itself.
fn me<P: Speaks>(conn: &mut Conn<'_, P, State>) -> Value {
    let uids = conn.uids().iter().map(|uid| uid.to_vec()).collect();
    json!({
        "connection": conn.id().to_string(),
        "uid": conn.uid().map(|uid| shown(&uid)),
        "uids": sorted(uids),
        "rooms": sorted(conn.rooms()),
        "session": conn.session().map(|data| shown(&data)),
        "slot": conn.process().slot(),
        "pid": std::process::id(),
    })
}

/// A name or payload: a string if it is text, else its bytes.
fn shown(bytes: &[u8]) -> Value {
    std::str::from_utf8(bytes).map_or_else(|_| bytes.into(), Value::from)
}

fn sorted(mut names: Vec<Vec<u8>>) -> Value {
    names.sort_unstable();
    names.iter().map(|name| shown(name)).collect()
}

/// Errors by their name in the API.
fn named(error: &Error) -> String {
    match error.downcast_ref::<RouteError>() {
        Some(error) => format!("{error:?}"),
        None => error.to_string(),
    }
}

fn obey<P: Speaks>(conn: &mut Conn<'_, P, State>, order: &Value) -> Result {
    if let Some(orders) = order["batch"].as_array() {
        return orders.iter().try_for_each(|order| obey(conn, order));
    }
    let reply = Reply {
        to: conn.handle(),
        id: order["id"].as_u64().unwrap_or(0),
    };
    let order = Order(order);
    let mut told = as_connection(conn, &order, reply);
    if matches!(told, Ok(None)) {
        told = as_process(conn, &order);
    }
    if matches!(told, Ok(None)) {
        told = send(conn.hive(), &order, reply);
    }
    if matches!(told, Ok(None)) {
        told = steer(conn.hive(), &order, reply);
    }
    if matches!(told, Ok(None)) {
        told = ask(conn.hive(), &order, reply);
    }
    match told {
        Ok(Some(Told::Now(answer))) => reply.send(answer),
        Ok(Some(Told::Later)) => Ok(()),
        Ok(None) => reply.send(json!({ "error": "no such order" })),
        Err(error) => reply.send(json!({ "error": named(&error), "says": error.to_string() })),
    }
}

/// What concerns the connection that says it.
fn as_connection<P: Speaks>(
    conn: &mut Conn<'_, P, State>,
    order: &Order<'_>,
    reply: Reply<P>,
) -> Result<Option<Told>> {
    let answer = move |_: &mut Conn<'_, P, State>| reply.send(json!({ "ok": true }));
    match order.what() {
        "me" => return Ok(Some(Told::Now(me(conn)))),
        // The line has been understood before.
        "watch" => {}
        "bind_uid" => conn.bind_uid(order.name("uid")?)?,
        "bind_uid_then" => {
            conn.bind_uid_then(order.name("uid")?, answer)?;
            return Ok(Some(Told::Later));
        }
        "claim_uid" => conn.claim_uid(order.name("uid")?)?,
        "unbind_uid" => conn.unbind_uid(order.name("uid")?)?,
        "join_room" => conn.join_room(order.name("room")?)?,
        "join_room_then" => {
            conn.join_room_then(order.name("room")?, answer)?;
            return Ok(Some(Told::Later));
        }
        "leave_room" => conn.leave_room(order.name("room")?)?,
        "set_session" => conn.set_session(order.name("data")?)?,
        // So many at once: u0, u1...
        "bind_many" | "join_many" => {
            let from = order.0["from"].as_u64().unwrap_or(0);
            let end = from + order.0["count"].as_u64().unwrap_or(0);
            let names = (from..end).map(|n| format!("{}{n}", order.text("prefix")));
            let is_uid = order.what() == "bind_many";
            for name in names {
                if is_uid {
                    conn.bind_uid(name)?;
                } else {
                    conn.join_room(name)?;
                }
            }
            // What came before is in force when the last is.
            let last = format!("{}{}", order.text("prefix"), end.saturating_sub(1));
            if is_uid {
                conn.bind_uid_then(last, answer)?;
            } else {
                conn.join_room_then(last, answer)?;
            }
            return Ok(Some(Told::Later));
        }
        // The goodbye is the answer.
        "close" => {
            conn.close_with(3000, "as you wish");
            return Ok(Some(Told::Later));
        }
        _ => return Ok(None),
    }
    Ok(Some(done()))
}

/// What concerns this process.
fn as_process<P: Speaks>(conn: &mut Conn<'_, P, State>, order: &Order<'_>) -> Result<Option<Told>> {
    match order.what() {
        "subscribe" => {
            let topic = order.name("topic")?;
            let shown = shown(&topic);
            conn.process().subscribe(topic, move |worker, message| {
                let event = json!({
                    "event": "topic",
                    "topic": shown,
                    "text": self::shown(message.as_bytes()),
                    "is_text": message.is_text(),
                    "slot": worker.slot(),
                });
                worker.state_mut().tell(&event)
            })?;
            Ok(Some(done()))
        }
        "unsubscribe" => {
            let was = conn.process().unsubscribe(order.name("topic")?);
            Ok(Some(Told::Now(json!({ "was": was }))))
        }
        _ => Ok(None),
    }
}

/// Messages.
fn send<P: Speaks>(hive: Hive, order: &Order<'_>, reply: Reply<P>) -> Result<Option<Told>> {
    let (hive, told) = order.options(hive, reply)?;
    let payload = order.payload();
    match order.what() {
        "send_to_uid" => hive.send_to_uid(order.name("uid")?, payload)?,
        "send_to_uids" => hive.send_to_uids(order.names("uids")?, payload)?,
        "send_to_connection" => hive.send_to_connection(order.connection()?, payload)?,
        "send_to_room" => hive.send_to_room(order.name("room")?, payload)?,
        "send_to_rooms" => hive.send_to_rooms(order.names("rooms")?, payload)?,
        "send_to_all" => hive.send_to_all(payload)?,
        "publish" => hive.publish(order.name("topic")?, payload)?,
        _ => return Ok(None),
    }
    Ok(Some(told))
}

/// What is done with connections, beside sending to them.
fn steer<P: Speaks>(hive: Hive, order: &Order<'_>, reply: Reply<P>) -> Result<Option<Told>> {
    let (hive, told) = order.options(hive, reply)?;
    let (code, reason) = (order.code(), order.text("reason"));
    match order.what() {
        "close_uid" => hive.close_uid(order.name("uid")?, code, reason)?,
        "close_connection" => hive.close_connection(order.connection()?, code, reason)?,
        "close_room" => hive.close_room(order.name("room")?, code, reason)?,
        "join_uid" => hive.join_uid(order.name("uid")?, order.name("room")?)?,
        "leave_uid" => hive.leave_uid(order.name("uid")?, order.name("room")?)?,
        "join_connection" => hive.join_connection(order.connection()?, order.name("room")?)?,
        "leave_connection" => hive.leave_connection(order.connection()?, order.name("room")?)?,
        "dismiss_room" => hive.dismiss_room(order.name("room")?)?,
        _ => return Ok(None),
    }
    Ok(Some(told))
}

/// Questions.
fn ask<P: Speaks>(hive: Hive, order: &Order<'_>, reply: Reply<P>) -> Result<Option<Told>> {
    let members = move |page: Members| reply.send(page_of(&page));
    let names = move |page: Names| {
        let names: Vec<_> = page.names.iter().map(|name| shown(name)).collect();
        reply.send(json!({ "names": names, "next": page.next, "partial": page.partial }))
    };
    let from = order.0["from"].as_u64().unwrap_or(0);
    let from = u32::try_from(from)?;
    match order.what() {
        "is_uid_online" => hive.is_uid_online(order.name("uid")?, move |presence| {
            reply.send(json!({ "presence": format!("{presence:?}") }))
        })?,
        "are_uids_online" => hive.are_uids_online(order.names("uids")?, move |presences| {
            let presences: Vec<_> = presences.iter().map(|one| format!("{one:?}")).collect();
            reply.send(json!({ "presences": presences }))
        })?,
        "connections_of_uid" => {
            hive.connections_of_uid(order.name("uid")?, order.after()?, members)?;
        }
        "room_members" => hive.room_members(order.name("room")?, order.after()?, members)?,
        "connections" => hive.connections(order.after()?, members)?,
        "room_size" => hive.room_size(order.name("room")?, move |count| {
            reply.send(json!({ "connections": count.connections, "partial": count.partial }))
        })?,
        "online_count" => hive.online_count(move |count| {
            reply.send(json!({ "connections": count.connections, "partial": count.partial }))
        })?,
        "totals" => hive.totals(move |totals| {
            reply.send(json!({
                "uids": totals.uids,
                "rooms": totals.rooms,
                "topics": totals.topics,
                "processes": totals.processes,
                "partial": totals.partial,
            }))
        })?,
        "uids" => hive.uids(from, names)?,
        "rooms" => hive.rooms(from, names)?,
        "session" => hive.session(order.connection()?, move |session| {
            let data = session.data.map(|data| shown(&data));
            reply.send(json!({ "data": data, "partial": session.partial }))
        })?,
        _ => return Ok(None),
    }
    Ok(Some(Told::Later))
}

fn page_of(page: &Members) -> Value {
    let members: Vec<_> = page
        .members
        .iter()
        .map(|member| {
            let uids = sorted(member.uids.clone());
            json!({ "connection": member.id.to_string(), "uids": uids })
        })
        .collect();
    json!({ "members": members, "more": page.more, "partial": page.partial })
}

impl Order<'_> {
    fn what(&self) -> &str {
        self.text("do")
    }

    fn text(&self, key: &str) -> &str {
        self.0[key].as_str().unwrap_or("")
    }

    fn name(&self, key: &str) -> Result<Vec<u8>> {
        bytes(&self.0[key])
    }

    fn names(&self, key: &str) -> Result<Vec<Vec<u8>>> {
        let names = self.0[key].as_array().map_or(&[][..], Vec::as_slice);
        names.iter().map(bytes).collect()
    }

    fn connection(&self) -> Result<ConnectionId> {
        Ok(self.text("connection").parse()?)
    }

    fn after(&self) -> Result<Option<ConnectionId>> {
        let after = self.0["after"].as_str().map(str::parse);
        Ok(after.transpose()?)
    }

    fn code(&self) -> u16 {
        let code = self.0["code"].as_u64().unwrap_or(1000);
        u16::try_from(code).unwrap_or(u16::MAX)
    }

    /// A string is text, a list of numbers is not; a number is so many bytes of text.
    fn payload(&self) -> Message<'static> {
        match &self.0["text"] {
            Value::Array(_) => Message::from(self.name("text").unwrap_or_default()),
            text => {
                let text = bytes(text).unwrap_or_default();
                Message::from(String::from_utf8_lossy(&text).into_owned())
            }
        }
    }

    /// Whom to leave out, and whether the outcome is the answer.
    fn options<P: Speaks>(&self, mut hive: Hive, reply: Reply<P>) -> Result<(Hive, Told)> {
        let except = self.0["except"].as_array().map_or(&[][..], Vec::as_slice);
        for id in except {
            hive = hive.except(id.as_str().unwrap_or("").parse()?);
        }
        if self.0["outcome"] != true {
            return Ok((hive, done()));
        }
        let hive = hive.on_outcome(move |outcome| {
            reply.send(json!({
                "delivered": outcome.delivered,
                "refused": outcome.refused,
                "unknown": outcome.unknown,
                "unrouted": outcome.unrouted,
            }))
        });
        Ok((hive, Told::Later))
    }
}

/// Bytes: a string, a list of numbers, or how many.
fn bytes(value: &Value) -> Result<Vec<u8>> {
    match value {
        Value::String(text) => Ok(text.clone().into_bytes()),
        Value::Number(len) => Ok(vec![b'x'; usize::try_from(len.as_u64().unwrap_or(0))?]),
        Value::Array(bytes) => bytes
            .iter()
            .map(|byte| Ok(u8::try_from(byte.as_u64().unwrap_or(u64::MAX))?))
            .collect(),
        other => Err(Error::msg(format!("not a name: {other}"))),
    }
}

/// `>u NAME TEXT` sends to a uid, `>m NAME,NAME TEXT` to uids, `>r NAME TEXT` to a room, `>a - TEXT` to all. Answered
/// with `WORD DELIVERED REFUSED KNOWN`, where the last is `known`, `unknown` or `unrouted`; or `WORD error ERROR`.
fn quick(conn: &mut Conn<'_, Text, State>, line: &str) -> Result {
    let mut words = line.splitn(3, ' ');
    let (Some(kind), Some(name), Some(text)) = (words.next(), words.next(), words.next()) else {
        return conn.send("error");
    };
    let word = text.split(' ').next().unwrap_or(text).to_owned();
    let reply = conn.handle();
    let answer = move |word: &str, outcome: Outcome| {
        let known = match outcome {
            Outcome { unrouted: true, .. } => "unrouted",
            Outcome { unknown: true, .. } => "unknown",
            _ => "known",
        };
        let (delivered, refused) = (outcome.delivered, outcome.refused);
        reply.send(format!("{word} {delivered} {refused} {known}"))
    };
    let token = word.clone();
    let hive = conn
        .hive()
        .on_outcome(move |outcome| answer(&token, outcome));
    let sent = match kind {
        ">u" => hive.send_to_uid(name, text),
        ">m" => hive.send_to_uids(name.split(','), text),
        ">r" => hive.send_to_room(name, text),
        ">a" => hive.send_to_all(text),
        _ => return conn.send("error"),
    };
    match sent {
        Ok(()) => Ok(()),
        Err(error) => conn.send(format!("{word} error {error:?}")),
    }
}
