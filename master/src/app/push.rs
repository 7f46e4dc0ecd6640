//! The push server: WebSocket clients say who they are, a text line reaches them by that name.

use std::ffi::OsString;

use serde::Deserialize;
use workhive_protocols::{Message, Text, WebSocket};
use workhive_worker::{Conn, Listener, Result, Uid};

use crate::{Cli, Exit, UsageError, Worker};

/// WebSocket close code for messages that break the application's rules (RFC 6455 section 7.4.1).
const POLICY: u16 = 1008;

pub(super) fn run(args: impl Iterator<Item = OsString>) -> std::result::Result<Exit, UsageError> {
    let cli = Cli::new("workhive push")
        .about("Pushes lines to WebSocket clients by their uid")
        .option(
            "ws",
            "ADDR",
            "127.0.0.1:1234",
            "Where clients connect; the first message of each is its uid",
        )
        .option(
            "text",
            "ADDR",
            "127.0.0.1:5678",
            "Where lines like {\"uid\":\"u1\",...} come in; each is pushed whole and answered ok or fail",
        )
        .flag("reuse-port", "Let every process have listening sockets of its own");
    let args = super::parse(cli, "workhive push", args)?;
    let text = args.value("text").to_owned();
    let reuse_port = args.flag("reuse-port");
    let worker = Worker::<WebSocket>::new(args.value("ws"))
        .name("push")
        .reuse_port(reuse_port)
        .on_worker_start(move |worker| {
            worker.listen(
                Listener::<Text>::new(text.clone())
                    .reuse_port(reuse_port)
                    .routed(false)
                    .on_message(|conn, line| on_line(conn, &line)),
            )
        })
        .on_message(|conn, message| {
            // What a client says after its uid has no meaning here.
            if conn.uid().is_some() {
                return Ok(());
            }
            match Uid::new(message.as_bytes()) {
                Ok(uid) => conn.bind_uid(&*uid),
                Err(error) => {
                    conn.close_with(POLICY, error.to_string());
                    Ok(())
                }
            }
        });
    Ok(args.run_all([worker]))
}

/// A line for somebody: pushed whole, answered with what became of it.
fn on_line(conn: &mut Conn<'_, Text>, line: &Message<'_>) -> Result {
    let uid = match uid_of(line.as_bytes()) {
        Ok(uid) => uid,
        Err(why) => return conn.send(format!("error: {why}")),
    };
    let reply = conn.handle();
    let hive = conn
        .hive()
        .on_outcome(move |outcome| reply.send(if outcome.is_delivered() { "ok" } else { "fail" }));
    match hive.send_to_uid(&*uid, line) {
        Ok(()) => Ok(()),
        Err(error) => conn.send(format!("error: {error}")),
    }
}

/// The uid of a line. PHP programs send numbers as readily as strings, so both are taken.
fn uid_of(line: &[u8]) -> std::result::Result<Uid, String> {
    #[derive(Deserialize)]
    struct Line {
        uid: Option<serde_json::Value>,
    }
    if !line.trim_ascii_start().starts_with(b"{") {
        return Err("the line is not a JSON object with a uid".to_owned());
    }
    let line: Line = serde_json::from_slice(line)
        .map_err(|error| format!("the line is not a JSON object with a uid: {error}"))?;
    let uid = match line.uid {
        Some(serde_json::Value::String(uid)) => uid,
        Some(serde_json::Value::Number(uid)) => uid.to_string(),
        Some(other) => return Err(format!("the uid must be a string or a number, not {other}")),
        None => return Err("the line has no uid".to_owned()),
    };
    Uid::new(uid).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::uid_of;

    #[test]
    fn a_uid_is_a_string_or_a_number() {
        assert_eq!(
            &*uid_of(br#"{"uid":"uid1","percent":"88%"}"#).expect("a uid"),
            b"uid1"
        );
        assert_eq!(&*uid_of(br#"{"uid":17}"#).expect("a uid"), b"17");
    }

    #[test]
    fn a_line_without_a_usable_uid_says_why() {
        for (line, why) in [
            ("", "not a JSON object"),
            ("hello", "not a JSON object"),
            ("[1,2", "not a JSON object"),
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
}
