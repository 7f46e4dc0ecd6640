//! The options that every program has.

use std::path::PathBuf;
use std::str::FromStr;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction};

use crate::cli::VERBS;
use crate::count::Count;
use crate::cpus::Affinity;
use crate::line::Format;
use crate::manners::{Umask, nice, oom_score};
use crate::settings::{many_seconds, seconds, size, some, some_seconds, spawn};

const STANDARD: &str = "Standard options";
const GROUPS: &str = "Options for the groups, with start and restart";

fn flag(name: &'static str, short: Option<char>, help: &'static str) -> Arg {
    let arg = Arg::new(name)
        .long(name)
        .action(ArgAction::SetTrue)
        .help(help)
        .help_heading(STANDARD);
    match short {
        Some(short) => arg.short(short),
        None => arg,
    }
}

fn option(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name(value)
        .help(help)
        .help_heading(STANDARD)
}

/// What to do, and what concerns the hive as a whole.
pub(crate) fn standard() -> Vec<Arg> {
    vec![
        Arg::new("verb")
            .value_name("VERB")
            .value_parser(PossibleValuesParser::new(VERBS.map(|(name, _)| name)))
            .help("What to do; start if left away"),
        Arg::new("to")
            .value_name("[GROUP=]N")
            .value_parser(Count::from_str)
            .help("scale: how many processes the only group is to have, or the one that is named"),
        flag(
            "daemon",
            Some('d'),
            "start, restart: leave the terminal; return when all is ready, or has failed",
        ),
        flag(
            "graceful",
            Some('g'),
            "stop, restart: let the processes finish what they have in hand",
        ),
        option(
            "config",
            "FILE",
            "A file in TOML with what these options say; those that are given here win. Other verbs than start want it \
             too if it names the pid file",
        )
        .value_parser(clap::value_parser!(PathBuf)),
        option(
            "count",
            "N",
            "start: processes of every group, or group=N for one; may be repeated",
        )
        .action(ArgAction::Append)
        .value_parser(Count::from_str),
        option(
            "pid-file",
            "FILE",
            "The pid file; beside it are the control socket, with the extension .sock, and the push socket, .push.sock",
        )
        .value_parser(clap::value_parser!(PathBuf)),
        option(
            "log-file",
            "FILE",
            "start: log here instead of to standard error (a daemon: to a .log file beside the pid file); SIGHUP opens \
             it anew",
        )
        .value_parser(clap::value_parser!(PathBuf)),
        option(
            "log-level",
            "LEVEL",
            "start: off, error, warn, info, debug or trace",
        )
        .default_value("info")
        .value_parser(PossibleValuesParser::new([
            "off", "error", "warn", "info", "debug", "trace",
        ]))
        .hide_possible_values(true),
        option(
            "log-format",
            "FORMAT",
            "start: text, or json for one object a line [default: text]",
        )
        .value_parser(Format::from_str),
        flag("json", None, "status, connections: as JSON"),
        flag(
            "watch",
            None,
            "status: again every second, with rates, until the hive ends; with --json one line each time",
        ),
    ]
}

/// What each group may be told, by a flag for all of them.
pub(crate) fn for_groups() -> Vec<Arg> {
    let option = |name, value, help| option(name, value, help).help_heading(GROUPS);
    vec![
        option(
            "drain",
            "SECONDS",
            "how long processes may take to finish, then they are killed",
        )
        .value_parser(seconds),
        option(
            "boot-timeout",
            "SECONDS",
            "how long a process may take to become ready [default: 60]",
        )
        .value_parser(some_seconds),
        option(
            "stuck-after",
            "SECONDS",
            "how long a process may be at one thing, then it is stuck, and is killed [default: 60]",
        )
        .value_parser(some_seconds),
        option(
            "max-requests",
            "N",
            "replace a process, as reload does, after so many messages (and up to a tenth more)",
        )
        .value_parser(some),
        option(
            "max-lifetime",
            "SECONDS",
            "the same for one that has become so old",
        )
        .value_parser(many_seconds),
        option(
            "max-memory",
            "SIZE",
            "the same for one that uses so much memory, in bytes or with K, M or G behind it",
        )
        .value_parser(size),
        option(
            "spawn",
            "HOW",
            "fork: processes are copies of the master [default]; exec: the program is started anew for each, so that a \
             reload runs the program file as it is then",
        )
        .value_parser(spawn),
        option(
            "user",
            "USER",
            "run the processes as this user (needs root)",
        ),
        option("group", "GROUP", "run the processes as this Unix group"),
        option(
            "nofile",
            "N",
            "how many descriptors a process may have open [default: the hard limit]",
        )
        .value_parser(some),
        option("nice", "N", "their nice value, -20 to 19")
            .allow_negative_numbers(true)
            .value_parser(nice),
        option(
            "cpu-affinity",
            "CPUS",
            "on which CPUs they run: a list such as 0,2-5, or auto for one each",
        )
        .value_parser(Affinity::from_str),
        option(
            "oom-score-adj",
            "N",
            "how likely they are to be killed when memory runs out, -1000 to 1000",
        )
        .allow_negative_numbers(true)
        .value_parser(oom_score),
        option(
            "umask",
            "OCTAL",
            "which permissions the files that they make do not get, such as 027",
        )
        .value_parser(Umask::from_str),
        option("chdir", "DIR", "their working directory")
            .value_parser(clap::value_parser!(PathBuf)),
    ]
}
