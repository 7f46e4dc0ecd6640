//! A chat over any number of processes: rooms, who comes and goes, words for one alone.
//!
//! ```sh
//! cargo run --example chat  # and open http://127.0.0.1:8080 in several windows; each shows its process
//! ```

use serde_json::{Value, json};
use workhive::{Cli, Conn, Exit, Group, Http, Message, Method, Process, Response, Result};
use workhive::{Error, Uid, WebSocket, Worker};

fn main() -> Exit {
    let cli = Cli::new("chat")
        .option("page", "ADDR", "127.0.0.1:8080", "Where the page is")
        .option("ws", "ADDR", "127.0.0.1:8081", "Where the page connects to");
    let args = match cli.parse() {
        Ok(args) => args,
        Err(exit) => return exit,
    };
    let (_, port) = args.value("ws").rsplit_once(':').unwrap_or_default();
    let html = PAGE.replace("WS_PORT", port);
    let page = Worker::<Http>::new(args.value("page"))
        .name("page")
        .on_message(
            move |conn, request| match (request.method(), request.path()) {
                (Method::Get, "/") => conn.send(Response::html(html.clone())),
                _ => conn.send(Response::status(404)),
            },
        );
    let chat = Worker::<WebSocket>::new(args.value("ws"))
        .name("chat")
        .count(4)
        .data(String::new) // the room
        .on_uid_online(|worker, name| tell_all(worker, name, "is online"))
        .on_uid_offline(|worker, name| tell_all(worker, name, "has gone"))
        .on_message(|conn, message| on_message(conn, &message));
    args.run_all([Group::from(page), Group::from(chat)])
}

fn line(who: &str, what: &str) -> String {
    json!({ "line": format!("{who} {what}") }).to_string()
}

fn text(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

/// Every process is told who comes and goes; one of them passes it on.
fn tell_all(worker: &mut Process<'_>, name: &Uid, what: &str) -> Result {
    if worker.slot() == 0 {
        worker.hive().send_to_all(line(&text(name), what))?;
    }
    Ok(())
}

fn on_message(conn: &mut Conn<'_, WebSocket, (), String>, message: &Message<'_>) -> Result {
    let said: Value = serde_json::from_str(message.as_text()?)?;
    let Some(name) = conn.uid() else {
        return enter(conn, &said);
    };
    let words = said["say"].as_str().unwrap_or_default();
    let Some(to) = said["to"].as_str() else {
        let said = line(&text(&name), &format!("says: {words}"));
        return Ok(conn.hive().send_to_room(conn.data(), said)?);
    };
    let (me, absent) = (conn.handle(), line(to, "is not there"));
    let hive = conn.hive().on_outcome(move |outcome| {
        let there = outcome.is_delivered();
        if there { Ok(()) } else { me.send(absent) }
    });
    let words = format!("says to you alone: {words}");
    Ok(hive.send_to_uid(to, line(&text(&name), &words))?)
}

/// The first message: `{"name":"ann","room":"lobby"}`.
fn enter(conn: &mut Conn<'_, WebSocket, (), String>, said: &Value) -> Result {
    let (Some(name), Some(room)) = (said["name"].as_str(), said["room"].as_str()) else {
        return Err(Error::msg("a name and a room come first"));
    };
    room.clone_into(conn.data_mut());
    conn.bind_uid(name)?;
    conn.join_room_then(room, |conn| {
        let (me, slot) = (conn.handle(), conn.process().slot());
        let hive = conn.hive();
        Ok(hive.room_members(conn.data(), None, move |page| {
            let here = page.members.iter().flat_map(|member| &member.uids);
            let here: Vec<_> = here.map(|name| text(name)).collect();
            me.send(json!({"slot": slot, "here": here}).to_string())
        })?)
    })
}

const PAGE: &str = r#"<!doctype html><meta charset="utf-8"><title>chat</title>
<form id="enter"><input name="name" placeholder="name" required autofocus>
  <input name="room" value="lobby" required><button>enter</button></form>
<form id="talk" hidden><input name="words" placeholder="words; @name words for one alone" size="50"><button>say</button></form>
<p id="where"></p><ul id="log"></ul>
<script>
const $ = id => document.getElementById(id);
$("enter").onsubmit = event => {
  event.preventDefault();
  const me = Object.fromEntries(new FormData($("enter")));
  const ws = new WebSocket(`ws://${location.hostname}:WS_PORT`);
  const inside = yes => { $("talk").hidden = !yes; $("enter").hidden = yes; };
  ws.onopen = () => ws.send(JSON.stringify(me));
  ws.onclose = () => { $("where").textContent = "disconnected"; inside(false); };
  ws.onmessage = ({data}) => {
    const {line, slot, here} = JSON.parse(data);
    if (line) return $("log").prepend(Object.assign(document.createElement("li"), {textContent: line}));
    $("where").textContent = `${me.name} in ${me.room}, process ${slot}; here: ${here.join(", ")}`;
    inside(true);
  };
  $("talk").onsubmit = event => {
    event.preventDefault();
    const [, to, alone] = /^@(\S+) (.*)/.exec($("talk").words.value) ?? [];
    ws.send(JSON.stringify(to ? {to, say: alone} : {say: $("talk").words.value}));
    $("talk").reset();
  };
};
</script>"#;
