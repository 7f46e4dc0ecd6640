//! Side-by-side benchmarks: workhive's echo server against the least that a server can do.
//!
//! `README.md` says what each benchmark prints and how to read it.

#![forbid(unsafe_code)]

mod broadcast;
mod clients;
mod command_line;
mod connection;
mod cpu;
mod duel;
mod embed;
mod error;
mod floor;
mod handshake;
mod http_load;
mod idle;
mod load;
mod master_log;
mod process;
mod push;
mod reload;
mod report;
mod respawn;
mod resync;
mod route;
mod server;
mod sockets;
mod subject;
mod supervise;
mod ws_load;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::ExitCode;
use std::time::Duration;

use clap::ArgMatches;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;

use crate::broadcast::Broadcast;
use crate::command_line::{Counts, command};
use crate::duel::Duel;
use crate::embed::Embed;
use crate::error::BenchError;
use crate::push::Push;
use crate::reload::{Reload, Servers};
use crate::respawn::Respawn;
use crate::resync::RouterRestart;
use crate::server::{Side, Speech};
use crate::supervise::Supervise;
use crate::ws_load::Kind;

fn main() -> ExitCode {
    let matches = command().get_matches();
    let Some((name, arguments)) = matches.subcommand() else {
        return ExitCode::FAILURE;
    };
    let done = match name {
        "serve" => return serve(arguments),
        "floor" => floor(arguments),
        "push-floor" => push_floor(arguments),
        "peer" => peer(arguments),
        _ => bench(name, arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("workhive-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs one benchmark.
fn bench(name: &str, arguments: &ArgMatches) -> Result<(), BenchError> {
    if cfg!(debug_assertions) {
        println!("built without --release: the numbers mean nothing");
    }
    if name == "route" {
        return route::run();
    }
    if name == "push" {
        return push_of(arguments).run();
    }
    if name == "embed" {
        return embed_of(arguments).run();
    }
    if name == "broadcast" {
        return broadcast_of(arguments).run();
    }
    if name == "router-restart" {
        return router_restart_of(arguments).run();
    }
    if name == "supervise" {
        let supervise = Supervise {
            count: *number(arguments, "count"),
            window: *number(arguments, "seconds"),
        };
        return supervise.run();
    }
    if name == "reload" {
        return reload_of(arguments).run();
    }
    let connections = *number(arguments, "connections");
    match name {
        "idle" => idle::run(connections, subject_of(arguments)),
        "respawn" => Respawn {
            connections,
            count: *number(arguments, "count"),
            kills: *number(arguments, "kills"),
            pace: Duration::from_millis(*number(arguments, "pace")),
        }
        .run(),
        _ => {
            let duel = Duel {
                speech: if name.starts_with("http") {
                    Speech::Http
                } else {
                    Speech::WebSocket
                },
                kind: match arguments.try_get_one::<bool>("text") {
                    Ok(Some(true)) => Kind::Text,
                    _ => Kind::Binary,
                },
                subject: subject_of(arguments),
                connections,
                depth: *number(arguments, "depth"),
                rounds: *number(arguments, "rounds"),
                warm_up: *number(arguments, "warm-up"),
                window: *number(arguments, "seconds"),
            };
            match arguments.get_one::<SocketAddr>("target") {
                Some(&target) => duel.run_against(target),
                None => duel.run(),
            }
        }
    }
}

/// Becomes workhive.
fn serve(arguments: &ArgMatches) -> ExitCode {
    if let Err(error) = prepare(arguments) {
        eprintln!("workhive-bench: {error}");
        return ExitCode::FAILURE;
    }
    let given = arguments.get_many::<OsString>("arguments");
    subject::serve(given.unwrap_or_default().cloned())
}

/// Becomes the floor.
fn floor(arguments: &ArgMatches) -> Result<(), BenchError> {
    prepare(arguments)?;
    let speech = match arguments.get_one::<String>("protocol").map(String::as_str) {
        Some("http") => Speech::Http,
        _ => Speech::WebSocket,
    };
    match floor::serve(speech, *number(arguments, "address"))? {}
}

/// Becomes the floor of pushing.
fn push_floor(arguments: &ArgMatches) -> Result<(), BenchError> {
    prepare(arguments)?;
    match push::floor::serve(
        *number(arguments, "clients"),
        *number(arguments, "lines"),
        arguments.get_flag("collect"),
    )? {}
}

/// Becomes another program, at its core and tied to the bench.
fn peer(arguments: &ArgMatches) -> Result<(), BenchError> {
    prepare(arguments)?;
    let mut line = arguments
        .get_many::<OsString>("arguments")
        .unwrap_or_default();
    let program = line.next().cloned().unwrap_or_default();
    let error = std::process::Command::new(&program).args(line).exec();
    Err(BenchError::io(format!("becoming {}", program.display()))(
        error,
    ))
}

fn push_of(arguments: &ArgMatches) -> Push {
    Push {
        clients: *number(arguments, "clients"),
        senders: *number(arguments, "senders"),
        window: *number(arguments, "window"),
        counts: number::<Counts>(arguments, "counts").0.clone(),
        gateways: *number(arguments, "gateways"),
        rounds: *number(arguments, "rounds"),
        warm_up: *number(arguments, "warm-up"),
        seconds: *number(arguments, "seconds"),
        alone: *number(arguments, "alone"),
        tries: *number(arguments, "tries"),
        pin: !arguments.get_flag("no-pin"),
    }
}

fn embed_of(arguments: &ArgMatches) -> Embed {
    Embed {
        connections: *number(arguments, "connections"),
        depths: number::<Counts>(arguments, "depths").0.clone(),
        rounds: *number(arguments, "rounds"),
        warm_up: *number(arguments, "warm-up"),
        window: *number(arguments, "seconds"),
        only: arguments.get_one("only").cloned(),
    }
}

fn broadcast_of(arguments: &ArgMatches) -> Broadcast {
    Broadcast {
        subject: subject_of(arguments),
        clients: *number(arguments, "clients"),
        at_once: *number(arguments, "at-once"),
        rounds: *number(arguments, "rounds"),
        warm_up: *number(arguments, "warm-up"),
        window: *number(arguments, "seconds"),
    }
}

fn router_restart_of(arguments: &ArgMatches) -> RouterRestart {
    RouterRestart {
        uids: *number(arguments, "uids"),
        count: *number(arguments, "count"),
        kills: *number(arguments, "kills"),
    }
}

fn reload_of(arguments: &ArgMatches) -> Reload {
    let milliseconds = |name| Duration::from_millis(*number(arguments, name));
    Reload {
        reloads: *number(arguments, "reloads"),
        pace: milliseconds("pace"),
        count: *number(arguments, "count"),
        drain: milliseconds("drain"),
        churning: *number(arguments, "churning"),
        rest: milliseconds("rest"),
        keeping: *number(arguments, "keep-alive"),
        think: milliseconds("think"),
        chatting: *number(arguments, "websockets"),
        servers: match number::<String>(arguments, "servers").as_str() {
            "workhive" => Servers::Workhive,
            "nginx" => Servers::Nginx,
            _ => Servers::Both,
        },
    }
}

/// What all servers do first: go to their core, and end with the bench even if that is killed.
fn prepare(arguments: &ArgMatches) -> Result<(), BenchError> {
    if let Some(&core) = arguments.get_one::<usize>("core") {
        cpu::pin(core)?;
    }
    if arguments.get_flag("tied") {
        set_pdeathsig(Signal::SIGTERM).map_err(BenchError::sys("tying the server to the bench"))?;
    }
    Ok(())
}

fn subject_of(arguments: &ArgMatches) -> Side {
    match arguments.get_one::<String>("versus").map(String::as_str) {
        Some("floor") => Side::Floor,
        _ => Side::Workhive,
    }
}

/// An argument that is required or has a default.
fn number<'a, T: Clone + Send + Sync + 'static>(arguments: &'a ArgMatches, name: &str) -> &'a T {
    arguments
        .get_one(name)
        .expect("the command line gives every such argument a default or requires it")
}
