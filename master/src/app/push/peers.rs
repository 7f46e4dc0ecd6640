//! What clients say to each other.

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use workhive_protocols::Message;
use workhive_worker::Result;

use super::clients::Client;
use super::order::{Name, checked, given, object};
use super::outcome::is_delivered;
use super::replies::Reading;

/// A message of a client, as JSON.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    join: Option<Name>,
    leave: Option<Name>,
    to: Option<Name>,
    #[serde(default, deserialize_with = "given")]
    data: Option<Box<RawValue>>,
}

/// A message that makes sense.
#[derive(Debug)]
enum Wish {
    Join(String),
    Leave(String),
    Send { to: String, data: Box<RawValue> },
}

/// A client that has said who it is says something more. Every message is answered, in its turn.
pub(super) fn on_message(conn: &mut Client<'_>, message: &Message<'_>) -> Result {
    let replies = conn.data().replies.clone();
    let (owed, reading) = replies.owe();
    if reading == Reading::Rests {
        conn.pause_recv();
    }
    let client = conn.handle();
    let wish = match understood(message.as_bytes()) {
        Ok(wish) => wish,
        Err(why) => return replies.answer(client, owed, json!({ "error": why }).to_string()),
    };
    let (what, name) = wish.name();
    let (what, name) = (what, name.to_owned());
    let told = replies.clone();
    let done = match wish {
        Wish::Join(room) => {
            let answer = json!({ "join": room, "ok": true }).to_string();
            conn.join_room_then(room, move |_| told.answer(client, owed, answer))
        }
        Wish::Leave(room) => conn.leave_room(room).and_then(|()| {
            told.answer(
                client,
                owed,
                json!({ "leave": name, "ok": true }).to_string(),
            )
        }),
        Wish::Send { to, data } => {
            let from = conn
                .uid()
                .map(|uid| String::from_utf8_lossy(&uid).into_owned());
            let envelope = format!(r#"{{"from":{},"data":{}}}"#, json!(from), data.get());
            let answered = to.clone();
            let hive = conn.hive().on_outcome(move |outcome| {
                let ok = is_delivered(outcome);
                told.answer(
                    client,
                    owed,
                    json!({ "to": answered, "ok": ok }).to_string(),
                )
            });
            hive.send_to_uid(to, envelope).map_err(Into::into)
        }
    };
    match done {
        Ok(()) => Ok(()),
        Err(error) => {
            let answer = json!({ what: name, "ok": false, "error": error.to_string() });
            replies.answer(client, owed, answer.to_string())
        }
    }
}

impl Wish {
    /// What it is, and what it is about.
    fn name(&self) -> (&'static str, &str) {
        match self {
            Self::Join(room) => ("join", room),
            Self::Leave(room) => ("leave", room),
            Self::Send { to, .. } => ("to", to),
        }
    }
}

fn understood(message: &[u8]) -> std::result::Result<Wish, String> {
    let said: Said = object(message)?;
    let wish = match (said.join, said.leave, said.to, said.data) {
        (Some(room), None, None, None) => Wish::Join(room.0),
        (None, Some(room), None, None) => Wish::Leave(room.0),
        (None, None, Some(to), Some(data)) => Wish::Send { to: to.0, data },
        (None, None, Some(_), None) => return Err("data is missing".to_owned()),
        _ => {
            return Err(
                "a message is {\"join\":room}, {\"leave\":room} or {\"to\":uid,\"data\":..}"
                    .to_owned(),
            );
        }
    };
    let (what, name) = wish.name();
    checked(if what == "to" { "uid" } else { "room" }, name)?;
    Ok(wish)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_of_three() {
        for (json, what, name) in [
            (r#"{"join":"lobby"}"#, "join", "lobby"),
            (r#"{"leave":7}"#, "leave", "7"),
            (r#"{"to":"u2","data":null}"#, "to", "u2"),
        ] {
            assert_eq!(
                understood(json.as_bytes()).expect(json).name(),
                (what, name)
            );
        }
    }

    #[test]
    fn what_makes_no_sense_says_why() {
        for (json, why) in [
            ("hello", "not a JSON object"),
            ("{}", "a message is"),
            (r#"{"to":"u2"}"#, "data is missing"),
            (r#"{"join":"a","leave":"b"}"#, "a message is"),
            (r#"{"join":"a","data":1}"#, "a message is"),
            (r#"{"join":""}"#, "a room has 1 to 255 bytes"),
            (r#"{"to":"","data":1}"#, "a uid has 1 to 255 bytes"),
            (r#"{"to":1e300,"data":1}"#, "as a string"),
            (r#"{"join":18446744073709551616}"#, "as a string"),
            (
                r#"{"from":"u1","to":"u2","data":1}"#,
                "unknown field `from`",
            ),
        ] {
            let error = understood(json.as_bytes()).expect_err(json);
            assert!(error.contains(why), "{json}: {error}");
        }
    }
}
