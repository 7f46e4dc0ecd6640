//! `workhive run`: watches over any program, which is handed its listening sockets.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use nix::sys::signal::Signal;

use crate::exec::find;
use crate::group::Command;
use crate::{Args, Cli, Exit, Group, UsageError};

const ABOUT: &str = "\
Runs any program in several processes and watches over them: workhive run --count 4 --listen tcp://0.0.0.0:8000 -- \
PROGRAM ARGS

The program finds its listening sockets at descriptors 3, 4 and so on, in the order of --listen; LISTEN_FDS, LISTEN_PID \
and LISTEN_FDNAMES are set as sd_listen_fds(3) has it, and WORKHIVE_SLOT tells which process it is. It is ready when it \
says so to NOTIFY_SOCKET (sd_notify(3)), or when it has lived for a second. SIGTERM tells it to finish; what it prints \
goes to the log.

With --attach the program is one that uses the library and takes its place by itself (wh_worker_attach): it serves at \
--listen, its clients are reached by uid from all processes, and it is told to finish by its link to the master.";

pub(super) fn run(args: impl Iterator<Item = OsString>) -> Result<Exit, UsageError> {
    let mut ours: Vec<OsString> = args.collect();
    let mut theirs = match ours.iter().position(|argument| argument == "--") {
        Some(at) => ours.split_off(at),
        None => Vec::new(),
    }
    .into_iter()
    .skip(1);
    let cli = Cli::new("workhive run")
        .about(ABOUT)
        .list(
            "listen",
            "ADDR",
            "Where it listens: tcp://HOST:PORT or unix:/PATH; may be repeated",
        )
        .flag(
            "reuse-port",
            "Let every process have a listening socket of its own",
        )
        .option(
            "name",
            "NAME",
            "",
            "What its processes are called; the program's name if left away",
        )
        .flag(
            "attach",
            "It takes its place by itself, with the library: it is then a process like those of a program of its own, \
             with routing, status and a drain",
        )
        .flag(
            "notify",
            "It says when it is ready: wait for that from the first start on",
        )
        .option(
            "stop-signal",
            "SIGNAL",
            "TERM",
            "What tells it to finish what it has in hand",
        );
    let mut args = super::parse(cli, "workhive run", ours.into_iter())?;
    let program = theirs.next();
    let group = match (program, args.starts()) {
        (Some(program), _) => group(&args, &program, theirs.collect())?,
        (None, false) => placeholder(&args)?,
        (None, true) => {
            return Err(UsageError::new(
                "the program is missing: workhive run --count 4 --listen tcp://127.0.0.1:8000 -- PROGRAM ARGS",
            ));
        }
    };
    if args.flag("attach") && args.flag("notify") {
        return Err(UsageError::new(
            "--notify does not go with --attach: a program that takes its place says by that when it is ready",
        ));
    }
    if args.flag("attach") && args.values("listen").len() > 1 {
        return Err(UsageError::new(
            "--attach takes one --listen: a program that has taken its place can listen at more addresses by itself",
        ));
    }
    if args.counts_requests() && !args.flag("attach") {
        return Err(UsageError::new(
            "--max-requests does not go with run: only the program knows what a request is. Choose --max-lifetime or \
             --max-memory",
        ));
    }
    if group.address.is_none() {
        // Without an address the name is what tells one from another.
        args.name = format!("workhive run {}", group.name);
    }
    Ok(args.run_all([group]))
}

fn group(args: &Args, program: &OsStr, rest: Vec<OsString>) -> Result<Group, UsageError> {
    let signal = args.value("stop-signal").to_ascii_uppercase();
    let signal = format!("SIG{}", signal.strip_prefix("SIG").unwrap_or(&signal));
    let stop_signal: Signal = signal.parse().map_err(|_| {
        UsageError::new(format!(
            "--stop-signal: \"{}\" is no signal: write TERM, QUIT, INT or another name of signal(7)",
            args.value("stop-signal")
        ))
    })?;
    let mut addresses = args.values("listen").iter().map(|given| address(given));
    let first = addresses.next().transpose()?;
    let command = Command {
        more: addresses.collect::<Result<_, _>>()?,
        attaches: args.flag("attach"),
        notifies: args.flag("notify"),
        program: program.to_owned(),
        args: rest,
        stop_signal,
    };
    let name = match args.value("name") {
        "" => command.name(),
        name => name.to_owned(),
    };
    let mut group = Group::of_command(name, command).reuse_port(args.flag("reuse-port"));
    if let Some(first) = first {
        group = group.address(first);
    }
    if args.starts()
        && let Err(error) = find(Path::new(program))
    {
        let why = format!("cannot execute {}: {error}", program.display());
        return Ok(group.refused(why));
    }
    Ok(group)
}

/// For the verbs that only have to find a hive.
fn placeholder(args: &Args) -> Result<Group, UsageError> {
    let program = match args.value("name") {
        "" => "program",
        name => name,
    };
    group(args, OsStr::new(program), Vec::new())
}

fn address(given: &str) -> Result<workhive_worker::Address, UsageError> {
    let plain = given.strip_prefix("tcp://").unwrap_or(given);
    let plain = match plain.strip_prefix("unix://") {
        Some(path) => format!("unix:{path}"),
        None => plain.to_owned(),
    };
    plain
        .parse()
        .map_err(|error| UsageError::new(format!("--listen {given}: {error}")))
}
