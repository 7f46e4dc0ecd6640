//! A program that does in its callbacks what it is told to: fail, panic, end, push back, pipe.

use std::collections::HashMap;
use std::time::Duration;

use workhive::{
    Cli, Conn, Error, Exit, Handle, Http, Listener, Message, Raw, Response, Result, SendError,
    Text, WebSocket, Worker,
};

/// What all listeners of the process share.
#[derive(Default)]
struct State {
    messages: usize,
    sinks: HashMap<String, Handle<Text>>,
}

/// What a connection knows about itself.
#[derive(Default)]
struct Own {
    lines: usize,
    full: usize,
}

fn main() -> Exit {
    let cli = Cli::new("callbacks")
        .option(
            "text",
            "ADDR",
            "127.0.0.1:0",
            "Where lines are taken as orders",
        )
        .option(
            "ws",
            "ADDR",
            "127.0.0.1:0",
            "The same for WebSocket messages",
        )
        .option(
            "http",
            "ADDR",
            "127.0.0.1:0",
            "The same for the paths of requests",
        )
        .option(
            "ping",
            "ADDR",
            "127.0.0.1:0",
            "WebSocket with impatient pings",
        )
        .option(
            "idle",
            "ADDR",
            "127.0.0.1:0",
            "Where 300 ms of silence are the end",
        );
    let args = match cli.parse() {
        Ok(args) => args,
        Err(exit) => return exit,
    };
    let [ws, http, ping, idle] =
        ["ws", "http", "ping", "idle"].map(|name| args.value(name).to_owned());
    let worker = Worker::<Text>::new(args.value("text"))
        .name("callbacks")
        .state(|_place| Ok(State::default()))
        .data(Own::default)
        .max_send_buffer(64 * 1024)
        .on_worker_start(move |worker| {
            let messages = worker
                .listener::<WebSocket>(ws.clone())
                .on_message(|conn, message| {
                    conn.state_mut().messages += 1;
                    fail(message.as_text()?)?;
                    conn.send(message)
                })
                .on_close(|conn| {
                    println!("websocket closed: {}", reason(conn.close_reason()));
                    Ok(())
                });
            worker.listen(messages)?;
            let requests = worker
                .listener::<Http>(http.clone())
                .on_message(|conn, request| {
                    conn.state_mut().messages += 1;
                    fail(request.path().trim_start_matches('/'))?;
                    conn.send(Response::text(conn.state().messages.to_string()))
                });
            worker.listen(requests)?;
            let impatient = worker
                .listener::<WebSocket>(ping.clone())
                .configure(|websocket| {
                    websocket.ping_interval = Some(Duration::from_millis(200));
                    websocket.pong_timeout = Duration::from_millis(500);
                })
                .on_message(|conn, message| conn.send(message));
            worker.listen(impatient)?;
            worker.listen(
                Listener::<Raw>::new(idle.clone())
                    .idle_timeout(Duration::from_millis(300))
                    .on_message(|conn, bytes| conn.send(bytes)),
            )
        })
        .on_message(|conn, line| obey(conn, &line))
        .on_error(|conn, error| {
            println!("error of {}: {error}", conn.id());
            Ok(())
        })
        .on_close(|conn| {
            println!("text closed: {}", reason(conn.close_reason()));
            Ok(())
        })
        .on_buffer_full(|conn| {
            conn.data_mut().full += 1;
            Ok(())
        })
        .on_buffer_drain(|conn| {
            let times = conn.data().full;
            conn.send(format!("drained, full {times} times"))
        });
    args.run_all([worker])
}

fn reason(reason: Option<&workhive::CloseReason>) -> String {
    reason.map_or_else(|| "nobody knows".to_owned(), ToString::to_string)
}

fn fail(word: &str) -> Result {
    match word {
        "err" => Err(Error::msg("told to fail")),
        "panic" => panic!("told to panic"),
        _ => Ok(()),
    }
}

fn obey(conn: &mut Conn<'_, Text, State, Own>, line: &Message<'_>) -> Result {
    conn.state_mut().messages += 1;
    conn.data_mut().lines += 1;
    let line = line.as_text()?;
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    match word {
        "err" | "panic" => fail(word),
        "id" => conn.send(conn.id().to_string()),
        "messages" => conn.send(conn.state().messages.to_string()),
        "lines" => conn.send(conn.data().lines.to_string()),
        "addresses" => {
            let local = conn.local_addr().map(|local| local.to_string());
            conn.send(format!(
                "{} {}",
                conn.remote_addr(),
                local.unwrap_or_default()
            ))
        }
        "counters" => conn.send(format!("{} {}", conn.messages(), conn.bytes_read())),
        "close" | "end" => {
            // More than the buffers between us take at once.
            conn.send("x".repeat(rest.parse()?))?;
            if word == "close" {
                conn.close();
            } else {
                conn.end();
            }
            match conn.send("too late") {
                Err(error) if matches!(error.downcast_ref(), Some(SendError::Gone)) => Ok(()),
                other => Err(Error::msg(format!("sent behind the end: {other:?}"))),
            }
        }
        "destroy" => {
            conn.send("lost")?;
            conn.destroy();
            Ok(())
        }
        "flood" => flood(conn),
        "pause" => {
            let (client, time) = (conn.handle(), Duration::from_millis(rest.parse()?));
            conn.send("paused")?;
            conn.pause_recv();
            conn.process().after(time, move |_| {
                client.send("resumed")?;
                client.resume_recv();
                Ok(())
            })?;
            Ok(())
        }
        "sink" => {
            let sink = conn.handle();
            conn.state_mut().sinks.insert(rest.to_owned(), sink);
            conn.send("ready")
        }
        "pipe" => {
            let sink = conn.state().sinks.get(rest).copied();
            conn.send("piped")?;
            conn.pipe(sink.ok_or_else(|| Error::msg("no such sink"))?)
        }
        _ => conn.send(line),
    }
}

/// Sends lines of 1 KiB until one is refused, and one more; says later how many were taken.
fn flood(conn: &mut Conn<'_, Text, State, Own>) -> Result {
    let line = "f".repeat(1023);
    for taken in 0..1_000_000 {
        let Err(error) = conn.send(&*line) else {
            continue;
        };
        let Some(SendError::Full { max, .. }) = error.downcast_ref() else {
            return Err(error);
        };
        println!("refused after {taken} lines, {max} bytes may wait");
        return match conn.send(&*line) {
            Err(_) => Ok(()),
            Ok(()) => Err(Error::msg("taken after a refusal")),
        };
    }
    Err(Error::msg("never refused"))
}
