//! The text port: a line of JSON is pushed whole to the uid in it, and answered with what became of it.

use serde::Deserialize;
use workhive_protocols::{Message, Text};
use workhive_worker::{Conn, Listener, Outcome, Result};

use super::order::{Name, checked, object};
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
    if is_http(line.as_bytes()) {
        // A page on the Internet can make the browsers of this machine send requests here, with lines in their bodies.
        log::warn!("{}: HTTP at the text port, closed", conn.remote_addr());
        conn.close();
        return Ok(());
    }
    let replies = conn.data().clone();
    let (owed, reading) = replies.owe();
    if reading == Reading::Rests {
        conn.pause_recv();
    }
    let reply = conn.handle();
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

/// True for the first line of an HTTP request, which is never a line for us.
fn is_http(line: &[u8]) -> bool {
    let line = line.trim_ascii();
    !line.starts_with(b"{") && (line.ends_with(b" HTTP/1.1") || line.ends_with(b" HTTP/1.0"))
}

/// Whether at least one connection has it. What is not certain has not been done.
fn word(outcome: Outcome) -> &'static str {
    if outcome.is_delivered() { "ok" } else { "fail" }
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
        ] {
            let error = uid_of(line.as_bytes()).expect_err(line);
            assert!(error.contains(why), "{line}: {error}");
            assert!(!error.contains('\n'), "one line: {error}");
        }
    }

    #[test]
    fn requests_of_browsers_are_seen_by_their_first_line() {
        for line in ["POST / HTTP/1.1", "GET /a HTTP/1.0 "] {
            assert!(is_http(line.as_bytes()), "{line}");
        }
        for line in [
            r#"{"uid":"u1","x":"POST / HTTP/1.1"#,
            "HTTP/1.1",
            "hello",
            "",
        ] {
            assert!(!is_http(line.as_bytes()), "{line}");
        }
    }

    #[test]
    fn only_what_somebody_has_is_ok() {
        let outcome = Outcome::default();
        assert_eq!(word(outcome), "fail");
        let unknown = Outcome {
            unknown: true,
            ..outcome
        };
        assert_eq!(word(unknown), "fail");
        assert_eq!(
            word(Outcome {
                delivered: 1,
                ..unknown
            }),
            "ok"
        );
        assert_eq!(
            word(Outcome {
                refused: 1,
                ..outcome
            }),
            "fail"
        );
    }
}
