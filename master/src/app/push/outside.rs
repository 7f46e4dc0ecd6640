//! Pushing from the command line to a server that runs.

use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Command};
use serde_json::{Value, json};
use workhive_ipc::route::{BINARY, Client, ClientError, LinkLimits, Push, TEXT, Target};
use workhive_worker::Address;

use super::order::checked;
use super::outcome::{as_json, told};
use crate::identity::Identity;
use crate::run::{complain, find};
use crate::{Exit, UsageError};

const NAME: &str = "workhive push";

const HOW_TO_FIND: &str = "\
The server is found by its --pid-file, or by its --ws address, as by the other verbs; or by the path of its push socket.";

/// What is to be done from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Send,
    Online,
    Rooms,
}

impl Verb {
    pub(super) fn of(word: &OsStr) -> Option<Self> {
        match word.to_str()? {
            "send" => Some(Self::Send),
            "online" => Some(Self::Online),
            "rooms" => Some(Self::Rooms),
            _ => None,
        }
    }
}

pub(super) fn run(verb: Verb, args: impl Iterator<Item = OsString>) -> Result<Exit, UsageError> {
    let command = command(verb);
    let args = std::iter::once(command.get_name().into()).chain(args);
    let matches = command
        .try_get_matches_from(args)
        .map_err(|error| UsageError::from_clap(&error))?;
    check_names(&matches)?;
    let mut client = match connect(&matches)? {
        Ok(client) => client,
        Err(exit) => return Ok(exit),
    };
    let out = Out {
        json: matches.get_flag("json"),
    };
    let done = match verb {
        Verb::Send => send(&mut client, &matches, &out),
        Verb::Online => online(&mut client, &matches, &out),
        Verb::Rooms => rooms(&mut client, &out),
    };
    Ok(done.unwrap_or_else(|failure| complain(NAME, &failure)))
}

fn command(verb: Verb) -> Command {
    let words = |id: &'static str, name: &'static str, help: &'static str| {
        Arg::new(id)
            .value_name(name)
            .help(help)
            .value_parser(clap::value_parser!(OsString))
    };
    let path = |id: &'static str, help: &'static str| {
        Arg::new(id)
            .long(id)
            .value_name("FILE")
            .help(help)
            .value_parser(clap::value_parser!(PathBuf))
    };
    let command = match verb {
        Verb::Send => Command::new("workhive push send")
            .about(
                "Sends a message to clients of a running push server, and prints what became of it",
            )
            .arg(
                words(
                    "uid",
                    "UID",
                    "To all connections of this uid; may be repeated",
                )
                .long("uid")
                .action(ArgAction::Append),
            )
            .arg(words("room", "ROOM", "To all members of this room").long("room"))
            .arg(
                Arg::new("all")
                    .long("all")
                    .action(ArgAction::SetTrue)
                    .help("To all clients"),
            )
            .group(
                ArgGroup::new("whom")
                    .args(["uid", "room", "all"])
                    .required(true),
            )
            .arg(
                words(
                    "data",
                    "DATA",
                    "The message; - sends every line of standard input as one",
                )
                .required(true),
            ),
        Verb::Online => Command::new("workhive push online")
            .about("Tells which of these uids have a connection to a running push server")
            .arg(
                words("uid", "UID", "A uid")
                    .required(true)
                    .action(ArgAction::Append)
                    .num_args(1..),
            ),
        Verb::Rooms => Command::new("workhive push rooms")
            .about("Lists the rooms of a running push server that have members"),
    };
    command
        .disable_version_flag(true)
        .arg(path(
            "pid-file",
            "The pid file that the server was started with",
        ))
        .arg(path("socket", "The server's push socket"))
        .arg(
            Arg::new("ws")
                .long("ws")
                .value_name("ADDR")
                .default_value("127.0.0.1:1234")
                .help("The address that the server was started with"),
        )
        .arg(
            Arg::new("json")
                .long("json")
                .action(ArgAction::SetTrue)
                .help("Print JSON"),
        )
        .after_help(format!("{}{HOW_TO_FIND}", what_it_says(verb)))
}

/// What a verb prints, and how it ends.
fn what_it_says(verb: Verb) -> &'static str {
    match verb {
        Verb::Send => {
            "\
Prints what became of each message: `delivered N`, `refused N` (their buffers are full), `offline` (nobody is there),
`unknown` (more may have it) or `unrouted` (nobody was asked; it can be sent again).

Exit codes: 0 every message was delivered to somebody; 1 one was not; 2 the command line makes no sense; 3 not running.

"
        }
        Verb::Online => {
            "\
Exit codes: 0 all are online; 1 one is not; 2 the command line makes no sense; 3 not running.

"
        }
        Verb::Rooms => "",
    }
}

fn check_names(matches: &ArgMatches) -> Result<(), UsageError> {
    for what in ["uid", "room"] {
        // Not every verb has both.
        let names = matches.try_get_many::<OsString>(what).ok().flatten();
        for name in names.unwrap_or_default() {
            checked(what, name.as_bytes()).map_err(UsageError::new)?;
        }
    }
    Ok(())
}

/// The connection to the server that the options name.
fn connect(matches: &ArgMatches) -> Result<Result<Client, Exit>, UsageError> {
    let path = |name: &str| matches.get_one::<PathBuf>(name);
    let socket = if let Some(socket) = path("socket") {
        socket.clone()
    } else {
        let ws = matches.get_one::<String>("ws").map_or("", String::as_str);
        let (_, address) =
            Address::parse(ws).map_err(|error| UsageError::new(format!("--ws: {error}")))?;
        let pid_file = path("pid-file").map(PathBuf::as_path);
        let identity = Identity::new(NAME, Some(&address), pid_file);
        match find(NAME, &identity, pid_file.is_some()) {
            Ok(_pid) => identity.push_socket,
            Err(exit) => return Ok(Err(exit)),
        }
    };
    Ok(Client::connect(socket).map_err(|error| {
        let failed = complain(NAME, &error);
        match error {
            ClientError::Connect { source, .. }
                if matches!(
                    source.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
                ) =>
            {
                Exit::NOT_RUNNING
            }
            _ => failed,
        }
    }))
}

/// Why something could not be done.
#[derive(Debug)]
enum Failure {
    Client(ClientError),
    Input(io::Error),
    /// At this line of standard input, from 1.
    Line {
        number: usize,
        why: ClientError,
    },
    TooLong {
        number: usize,
    },
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Client(error) => error.fmt(f),
            Self::Input(error) => write!(f, "cannot read standard input: {error}"),
            Self::Line { number, why } => write!(f, "line {number} of standard input: {why}"),
            Self::TooLong { number } => write!(
                f,
                "line {number} of standard input is too long: a message has at most {} MiB",
                longest() >> 20
            ),
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self::Client(error)
    }
}

/// What is printed, in one form or the other.
struct Out {
    json: bool,
}

impl Out {
    fn say(&self, text: &str, json: &Value) {
        let mut out = io::stdout();
        // A reader that has seen enough (head) is no failure.
        let _ = if self.json {
            writeln!(out, "{json}")
        } else {
            writeln!(out, "{text}")
        };
    }
}

fn send(client: &mut Client, matches: &ArgMatches, out: &Out) -> Result<Exit, Failure> {
    let words = |name: &str| -> Vec<&[u8]> {
        let found = matches.get_many::<OsString>(name).unwrap_or_default();
        found.map(|word| word.as_bytes()).collect()
    };
    let (uids, rooms) = (words("uid"), words("room"));
    let target = match (uids.as_slice(), rooms.as_slice()) {
        ([uid], _) => Target::Uid(uid),
        (_, [room]) => Target::Room(room),
        ([], _) => Target::All,
        _ => Target::Uids(uids),
    };
    let mut exit = Exit::SUCCESS;
    let mut one = |payload: &[u8]| -> Result<(), ClientError> {
        let tag = if str::from_utf8(payload).is_ok() {
            TEXT
        } else {
            BINARY
        };
        let outcome = client.push(Push::message(target.clone(), tag, payload))?;
        if !outcome.is_delivered() {
            exit = Exit::FAILURE;
        }
        out.say(&told(outcome), &as_json(outcome));
        Ok(())
    };
    match words("data").as_slice() {
        [b"-"] => each_line(io::stdin().lock(), longest(), |number, line| {
            one(line).map_err(|why| Failure::Line { number, why })
        })?,
        data => one(data.first().copied().unwrap_or_default())?,
    }
    Ok(exit)
}

/// Longest message, in bytes.
fn longest() -> usize {
    LinkLimits::default().payload
}

/// Calls back with each line and its number, without its end.
fn each_line(
    mut input: impl BufRead,
    longest: usize,
    mut each: impl FnMut(usize, &[u8]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        // A line that never ends is not kept until it does.
        let enough = longest + "\r\n".len();
        let mut start = input.by_ref().take(enough as u64);
        if start.read_until(b'\n', &mut line).map_err(Failure::Input)? == 0 {
            break;
        }
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        if text.len() > longest {
            return Err(Failure::TooLong { number });
        }
        each(number, text)?;
    }
    Ok(())
}

fn online(client: &mut Client, matches: &ArgMatches, out: &Out) -> Result<Exit, Failure> {
    let uids = matches.get_many::<OsString>("uid").unwrap_or_default();
    let uids: Vec<&[u8]> = uids.map(|uid| uid.as_bytes()).collect();
    let online = client.online(&uids)?;
    for (uid, online) in uids.iter().zip(&online) {
        let word = if *online { "online" } else { "offline" };
        out.say(
            &format!("{} {word}", printable(uid)),
            &json!({ "uid": String::from_utf8_lossy(uid), "online": online }),
        );
    }
    let all = online.iter().all(|online| *online);
    Ok(if all { Exit::SUCCESS } else { Exit::FAILURE })
}

fn rooms(client: &mut Client, out: &Out) -> Result<Exit, Failure> {
    let mut rooms = client.rooms()?;
    rooms.sort_unstable();
    for room in rooms {
        out.say(&printable(&room), &json!(String::from_utf8_lossy(&room)));
    }
    Ok(Exit::SUCCESS)
}

/// Names are bytes of the application: they must not reach a terminal as they are, nor leave their line.
fn printable(name: &[u8]) -> String {
    crate::table::plain(&String::from_utf8_lossy(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(verb: Verb, words: &[&str]) -> Result<ArgMatches, clap::Error> {
        command(verb).try_get_matches_from(std::iter::once(NAME).chain(words.iter().copied()))
    }

    #[test]
    fn a_message_has_one_kind_of_receivers_and_one_text() {
        for words in [
            &["--uid", "u1", "hello"][..],
            &["--uid", "u1", "--uid", "u2", "hello"],
            &["--room", "lobby", "hello"],
            &["--all", "hello", "--json"],
            &["--all", "-"],
            &["--all", "--socket", "/tmp/a", "--", "--uid"],
        ] {
            matches(Verb::Send, words).unwrap_or_else(|error| panic!("{words:?}: {error}"));
        }
        for words in [
            &[][..],
            &["hello"],
            &["--all"],
            &["--all", "--uid", "u1", "hello"],
            &["--uid", "u1", "--room", "lobby", "hello"],
            &["--all", "hello", "world"],
            // Rather a mistake than a message.
            &["--all", "--jsn"],
        ] {
            assert!(matches(Verb::Send, words).is_err(), "{words:?}");
        }
        assert!(matches(Verb::Online, &[]).is_err());
        assert!(matches(Verb::Rooms, &["lobby"]).is_err());
    }

    #[test]
    fn names_are_neither_empty_nor_too_long() {
        let long = "u".repeat(256);
        for (verb, words, why) in [
            (
                Verb::Send,
                &["--uid", "", "x"][..],
                "a uid has 1 to 255 bytes, this one has 0",
            ),
            (
                Verb::Send,
                &["--uid", "u1", "--uid", &long, "x"],
                "this one has 256",
            ),
            (
                Verb::Send,
                &["--room", "", "x"],
                "a room has 1 to 255 bytes",
            ),
            (Verb::Online, &["u1", ""], "a uid has 1 to 255 bytes"),
        ] {
            let error = check_names(&matches(verb, words).unwrap()).unwrap_err();
            assert!(error.to_string().contains(why), "{words:?}: {error}");
            assert_eq!(error.report(), Exit::USAGE);
        }
        for (verb, words) in [
            (Verb::Send, &["--all", ""][..]),
            (Verb::Online, &["u1"]),
            (Verb::Rooms, &[]),
        ] {
            check_names(&matches(verb, words).unwrap()).unwrap();
        }
    }

    #[test]
    fn lines_end_in_one_way_or_the_other_and_not_too_late() {
        let read = |input: &str| {
            let mut lines = Vec::new();
            let done = each_line(input.as_bytes(), 4, |number, line| {
                lines.push((number, String::from_utf8_lossy(line).into_owned()));
                Ok(())
            });
            (lines, done.err().map(|failure| failure.to_string()))
        };
        let line = |number, text: &str| (number, text.to_owned());
        assert_eq!(read(""), (vec![], None));
        let three = vec![line(1, "a"), line(2, ""), line(3, "four")];
        assert_eq!(read("a\n\nfour"), (three.clone(), None));
        assert_eq!(read("a\r\n\r\nfour\r\n"), (three, None));
        for long in ["a\nfours", "a\nfours\n", "a\nfours\r\n", "a\nmany more\n"] {
            let (lines, error) = read(long);
            assert_eq!(lines, [line(1, "a")]);
            let error = error.unwrap_or_default();
            assert!(
                error.contains("line 2 of standard input is too long"),
                "{error}"
            );
        }
    }

    #[test]
    fn names_give_the_terminal_no_orders() {
        assert_eq!(printable(b"a\x1b[2J\nb"), "a\\u{1b}[2J\\nb");
        assert_eq!(printable("größe".as_bytes()), "größe");
    }
}
