//! The one place where the bench calls workhive itself.

use std::ffi::OsString;
use std::process::{ExitCode, Termination};
use std::time::Duration;

use workhive::{
    Cli, Conn, Exit, Http, Listener, Message, Presence, Response, Result, Text, UsageError,
    WebSocket, Worker,
};

/// The bench's own programs.
const CROWD: &str = "crowd";
const DOORS: &str = "doors";
const STORM: &str = "storm";
/// How long a process lives that crashes when it is ready: the master is to have heard of it.
const LIFE: Duration = Duration::from_millis(100);

/// Becomes the program `workhive` with these arguments, which begin after the program's name; or, when the first of
/// them says so, the bench's own.
pub(crate) fn serve(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let program = std::iter::once(OsString::from("workhive"));
    let mut arguments = arguments.into_iter().peekable();
    let done = if arguments.next_if(|first| first == CROWD).is_some() {
        crowd(program.chain(arguments))
    } else if arguments.next_if(|first| first == DOORS).is_some() {
        doors(program.chain(arguments))
    } else if arguments.next_if(|first| first == STORM).is_some() {
        storm(program.chain(arguments))
    } else {
        return workhive::app::main_from(program.chain(arguments)).report();
    };
    done.unwrap_or_else(|error| error.report()).report()
}

/// HTTP, answered with the request's number and the process, and an echo of WebSocket messages at another address.
fn doors(arguments: impl IntoIterator<Item = OsString>) -> std::result::Result<Exit, UsageError> {
    let args = Cli::new("workhive-bench serve doors")
        .about("What the benchmarks reload")
        .option("http", "ADDR", "127.0.0.1:8080", "Where requests come in")
        .option("ws", "ADDR", "127.0.0.1:1234", "Where messages come in")
        .flag("reuse-port", "A listening socket for each process")
        .parse_from(arguments)?;
    let ws = args.value("ws").to_owned();
    let own = args.flag("reuse-port");
    let worker = Worker::<Http>::new(args.value("http"))
        .name(DOORS)
        .reuse_port(own)
        .on_worker_start(move |worker| {
            worker.listen(
                Listener::<WebSocket>::new(ws.clone())
                    .reuse_port(own)
                    .shared(!own)
                    .on_message(|conn, message| conn.send(message)),
            )
        })
        .on_message(|conn, request| {
            let number = request.header("x-number").unwrap_or("?");
            let text = format!("{number} {}", std::process::id());
            conn.send(Response::text(text))
        });
    Ok(args.run_all([worker]))
}

/// Processes that crash as soon as they are ready; or at boot, all but the very first of them.
fn storm(arguments: impl IntoIterator<Item = OsString>) -> std::result::Result<Exit, UsageError> {
    let args = Cli::new("workhive-bench serve storm")
        .about("What the benchmarks let crash")
        .option("at", "ADDR", "127.0.0.1:8080", "Where it would serve")
        .flag("boot", "Crash before it is ready")
        .parse_from(arguments)?;
    let boot = args.flag("boot");
    let worker = Worker::<Http>::new(args.value("at"))
        .name(STORM)
        .on_worker_start(move |worker| {
            let place = worker.place();
            if boot && (place.slot(), place.generation()) != (0, 0) {
                return Err(std::io::Error::other("this is how it always ends").into());
            }
            worker.after(LIFE, |_| std::process::exit(7))?;
            Ok(())
        });
    Ok(args.run_all([worker]))
}

/// WebSocket clients to whom much can be said with one line, and text connections that stand for many users:
///
/// - `all K PAYLOAD` sends the payload K times to everybody, all in one turn;
/// - `bind FROM TO` gives the text connection itself the uids of these numbers, without the last;
/// - `online ID N,..` says how many of these are online, offline and unknown;
/// - `push ID N` sends the line's id to that uid, and says what became of it.
fn crowd(arguments: impl IntoIterator<Item = OsString>) -> std::result::Result<Exit, UsageError> {
    let args = Cli::new("workhive-bench serve crowd")
        .about("What the benchmarks say much to with few lines")
        .option(
            "ws",
            "ADDR",
            "127.0.0.1:1234",
            "Where WebSocket clients connect",
        )
        .option("text", "ADDR", "127.0.0.1:5678", "Where lines come in")
        .parse_from(arguments)?;
    let text = args.value("text").to_owned();
    let worker = Worker::<WebSocket>::new(args.value("ws"))
        .name(CROWD)
        .reuse_port(true)
        .on_worker_start(move |worker| {
            worker.listen(
                Listener::<Text>::new(text.clone())
                    .reuse_port(true)
                    .routed(false)
                    .max_uids(u16::MAX)
                    .on_message(|conn, line| on_line(conn, &line)),
            )
        })
        .on_message(|conn, message| {
            if conn.uid().is_none() {
                conn.bind_uid(message.as_bytes())?;
            }
            Ok(())
        });
    Ok(args.run_all([worker]))
}

fn on_line(conn: &mut Conn<'_, Text>, line: &Message<'_>) -> Result {
    let line = line.as_text()?;
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    let (first, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let reply = conn.handle();
    match word {
        "all" => {
            let times: usize = first.parse()?;
            for _ in 1..times {
                conn.hive().send_to_all(rest)?;
            }
            let last = conn.hive().on_outcome(move |outcome| {
                reply.send(if outcome.is_delivered() { "ok" } else { "fail" })
            });
            last.send_to_all(rest)?;
        }
        "bind" => {
            let (from, to): (u32, u32) = (first.parse()?, rest.parse()?);
            for number in from..to.saturating_sub(1) {
                conn.bind_uid(uid(number))?;
            }
            conn.bind_uid_then(uid(to.saturating_sub(1)), |conn| conn.send("ok"))?;
        }
        "online" => {
            let id = first.to_owned();
            let numbers: std::result::Result<Vec<u32>, _> =
                rest.split(',').map(str::parse).collect();
            let uids = numbers?.into_iter().map(uid);
            conn.hive().are_uids_online(uids, move |presences| {
                let count = |what| presences.iter().filter(|one| **one == what).count();
                let counts = [Presence::Online, Presence::Offline, Presence::Unknown].map(count);
                reply.send(format!("{id} {} {} {}", counts[0], counts[1], counts[2]))
            })?;
        }
        "push" => {
            let id = first.to_owned();
            let payload = format!("got {id}");
            let hive = conn.hive().on_outcome(move |outcome| {
                let became = if outcome.is_delivered() {
                    "ok"
                } else if outcome.unrouted {
                    "unrouted"
                } else if outcome.unknown {
                    "unknown"
                } else {
                    "offline"
                };
                reply.send(format!("{id} {became}"))
            });
            hive.send_to_uid(uid(rest.parse()?), payload)?;
        }
        _ => conn.send("what?")?,
    }
    Ok(())
}

fn uid(number: u32) -> String {
    format!("user-{number}")
}
