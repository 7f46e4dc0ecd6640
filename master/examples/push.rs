//! Push to a user by name, in one process.
//!
//! ```sh
//! cargo run --example push
//! # in a browser:  ws = new WebSocket("ws://127.0.0.1:1234"); ws.onopen = () => ws.send("uid1");
//! printf '{"uid":"uid1","percent":"88%%"}\n' | nc 127.0.0.1 5678
//! ```

use workhive::{Cli, Error, Exit, Listener, Result, Text, WebSocket, Worker};

fn main() -> Exit {
    let cli = Cli::new("push")
        .option("ws", "ADDR", "127.0.0.1:1234", "Where browsers connect")
        .option(
            "text",
            "ADDR",
            "127.0.0.1:5678",
            "Where lines to push come in",
        );
    let args = match cli.parse() {
        Ok(args) => args,
        Err(exit) => return exit,
    };
    let text = args.value("text").to_owned();
    let worker = Worker::<WebSocket>::new(args.value("ws"))
        .name("push")
        .count(1)
        .on_worker_start(move |worker| {
            worker.listen(
                Listener::<Text>::new(text.clone()).on_message(|conn, line| {
                    let reply = conn.handle();
                    let uid = uid_of(line.as_text()?)?;
                    let hive = conn.hive().on_outcome(move |outcome| {
                        reply.send(if outcome.is_delivered() { "ok" } else { "fail" })
                    });
                    Ok(hive.send_to_uid(uid, line)?)
                }),
            )
        })
        .on_message(|conn, message| {
            if conn.uid().is_none() {
                conn.bind_uid(message.as_text()?)?;
            }
            Ok(())
        });
    args.run_all([worker])
}

fn uid_of(line: &str) -> Result<String> {
    let line: serde_json::Value = serde_json::from_str(line)?;
    match line["uid"].as_str() {
        Some(uid) => Ok(uid.to_owned()),
        None => Err(Error::msg("the line has no uid")),
    }
}
