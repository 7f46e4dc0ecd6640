//! The text port: a line of JSON is pushed whole to the uid in it, and answered with what became of it.

use serde::Deserialize;
use workhive_protocols::{Message, Text};
use workhive_worker::{Conn, Listener, Result};

use super::order::{Name, checked, object};
use super::outcome::word;
use super::replies::{Reading, Replies};
use super::server::State;

/// The listener at the text port.
pub(super) fn listener(listener: Listener<Text, State>) -> Listener<Text, State, Replies> {
    // Whoever sends lines here is no client.
    listener
        .routed(false)
        .data(Replies::default)
        .on_message(|conn, line| on_line(conn, &line))
}

fn on_line(conn: &mut Conn<'_, Text, State, Replies>, line: &Message<'_>) -> Result {
    let is_order = match line.as_bytes().trim_ascii_start() {
        // Somebody at a terminal.
        [] => return Ok(()),
        [first, ..] => *first == b'{',
    };
    let replies = conn.data().clone();
    let (owed, reading) = replies.owe();
    if reading == Reading::Rests {
        conn.pause_recv();
    }
    let reply = conn.handle();
    if !is_order {
        // Perhaps another protocol, whose lines somebody else has a say in: a page on the Internet can make the browsers
        // of this machine send requests here, with whatever it likes in their bodies.
        conn.pause_recv();
        replies.end();
        warn_of_strangers(conn);
    }
    let told = replies.clone();
    let sent = uid_of(line.as_bytes()).and_then(|uid| {
        conn.hive()
            .on_outcome(move |outcome| told.answer(reply, owed, word(outcome)))
            .send_to_uid(uid, line)
            .map_err(|error| error.to_string())
    });
    match sent {
        Ok(()) => Ok(()),
        Err(why) => replies.answer(reply, owed, format!("error: {why}")),
    }
}

fn warn_of_strangers(conn: &mut Conn<'_, Text, State, Replies>) {
    let now = conn.process().now();
    if let Some(times) = conn.state_mut().strangers.note(now) {
        log::warn!(
            "{}: a line at the text port was no JSON object, closed ({times} since this was last said)",
            conn.remote_addr()
        );
    }
}

/// The uid of a line.
fn uid_of(line: &[u8]) -> std::result::Result<String, String> {
    #[derive(Deserialize)]
    struct Line {
        uid: Option<Name>,
    }
    let line: Line = object(line).map_err(|why| format!("the line makes no sense: {why}"))?;
    let uid = line.uid.ok_or("the line has no uid")?.0;
    checked("uid", &uid)?;
    Ok(uid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uid_is_a_string_or_a_number() {
        assert_eq!(
            uid_of(br#"{"uid":"uid1","percent":"88%"}"#).expect("a uid"),
            "uid1"
        );
        assert_eq!(uid_of(br#"{"uid":17}"#).expect("a uid"), "17");
    }

    #[test]
    fn a_line_without_a_usable_uid_says_why() {
        for (line, why) in [
            ("", "not a JSON object"),
            ("hello", "not a JSON object"),
            ("[1,2", "not a JSON object"),
            (r#"{"uid":"u1""#, "EOF"),
            (r#"["uid1"]"#, "not a JSON object"),
            ("{}", "has no uid"),
            (r#"{"uid":null}"#, "has no uid"),
            (r#"{"uid":["a"]}"#, "string or a number"),
            (r#"{"uid":""}"#, "1 to 255 bytes"),
            (r#"{"uid":12345678901234567890123}"#, "as a string"),
            (r#"{"uid":1.5}"#, "as a string"),
        ] {
            let error = uid_of(line.as_bytes()).expect_err(line);
            assert!(error.contains(why), "{line}: {error}");
            assert!(!error.contains('\n'), "one line: {error}");
        }
    }
}
