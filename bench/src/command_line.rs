//! The bench's command line.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, Command, value_parser};

/// The command line.
pub(crate) fn command() -> Command {
    let rates = [
        (
            "http",
            "GET / with one request in flight per connection",
            "1",
        ),
        (
            "http-pipeline",
            "GET / with many requests in flight per connection",
            "16",
        ),
        (
            "ws",
            "WebSocket echo with one message in flight per connection",
            "1",
        ),
        (
            "ws-pipeline",
            "WebSocket echo with many messages in flight per connection",
            "16",
        ),
    ];
    let rates = rates.map(|(name, about, depth)| {
        let command = Command::new(name).about(about).args(rate_arguments(depth));
        if name.starts_with("ws") {
            let help = "Text messages, whose UTF-8 workhive checks and the floor does not";
            command.arg(
                Arg::new("text")
                    .long("text")
                    .action(ArgAction::SetTrue)
                    .help(help),
            )
        } else {
            command
        }
    });
    Command::new("workhive-bench")
        .about("Side-by-side benchmarks of workhive's servers and the least a server can do")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands(rates)
        .subcommand(
            Command::new("idle")
                .about("Memory per idle WebSocket connection")
                .args([connections("10000"), versus()]),
        )
        .subcommand(
            Command::new("respawn")
                .about("Time until a killed worker's slot is ready again, under load")
                .args([
                    connections("64"),
                    counter("count", "N", "4", "Worker processes"),
                    counter("kills", "N", "20", "Workers to kill, one after the other"),
                    option(
                        "pace",
                        "MS",
                        "10",
                        "Pause between two questions of a connection",
                    )
                    .value_parser(value_parser!(u64)),
                ]),
        )
        .subcommands([
            push_command(),
            embed_command(),
            broadcast_command(),
            router_restart_command(),
            reload_command(),
            Command::new("supervise")
                .about(
                    "What the master costs: memory, CPU time when idle and in a storm of crashes",
                )
                .args([
                    counter("count", "N", "4", "Worker processes"),
                    option("seconds", "S", "20", "Length of each window").value_parser(seconds),
                ]),
        ])
        .subcommand(Command::new("route").about("What the router's core costs, without sockets"))
        .subcommands([
            serve_command(),
            floor_command(),
            push_floor_command(),
            peer_command(),
        ])
}

fn push_command() -> Command {
    Command::new("push")
        .about("Pushes by uid: rate, CPU time and latency, beside a floor and other servers")
        .long_about(
            "Pushes lines to WebSocket clients by their uid: `workhive push` with one and with more workers beside a \
             floor, all in turn in one run. Prints pushes per second with full windows, microseconds of CPU time per \
             push of all the server's processes together, and the microseconds from writing a line to its client's \
             receipt when nothing else is under way, in general and where sender and client are held by different \
             processes.\n\n\
             Other servers take part when the environment names checkouts of their sources (php must be installed): \
             WORKHIVE_BENCH_WORKERMAN, WORKHIVE_BENCH_GATEWAYWORKER.",
        )
        .args([
            counter("clients", "N", "200", "WebSocket clients, each with a uid"),
            counter("senders", "N", "8", "Text connections that push"),
            counter("window", "N", "32", "Lines under way on each of them"),
            option(
                "counts",
                "N,..",
                "1,2,4",
                "Numbers of workers that workhive is run with",
            )
            .value_parser(Counts::parse),
            counter(
                "gateways",
                "N",
                "2",
                "Gateways of GatewayWorker, and as many BusinessWorkers",
            ),
            counter("rounds", "N", "5", "Rounds, each of which measures every server"),
            option("seconds", "S", "2", "Length of each window of full load").value_parser(seconds),
            option("warm-up", "S", "0.5", "Load before each measured window").value_parser(seconds),
            option("alone", "S", "1", "Length of each window of pushes one at a time")
                .value_parser(seconds),
            counter(
                "tries",
                "N",
                "3",
                "How often a window is measured in all while other programs use the machine; the calmest counts",
            ),
            Arg::new("no-pin")
                .long("no-pin")
                .action(ArgAction::SetTrue)
                .help("Pin nothing; otherwise servers of one process and the load beside them get a core each"),
        ])
}

fn embed_command() -> Command {
    Command::new("embed")
        .about("Python, Node and PHP on workhive beside the servers that they usually have")
        .long_about(
            "Hello over HTTP and an echo of WebSocket messages, by one process of a program in each language, beside \
             gunicorn and websockets (Python), the http of Node and ws, and Workerman (PHP). A language takes part when \
             the environment says where all it needs is: WORKHIVE_BENCH_PYTHON, an interpreter that has workhive, \
             gunicorn and websockets; WORKHIVE_BENCH_NODE, a directory whose node_modules has workhive and ws; \
             WORKHIVE_BENCH_WORKERMAN, a checkout, with WORKHIVE_LIBRARY for the PHP package.",
        )
        .args([
            connections("64"),
            option("depths", "D,..", "1,16", "Numbers of questions in flight per connection")
                .value_parser(Counts::parse),
            counter("rounds", "N", "3", "Rounds of both sides of each pair"),
            option("seconds", "S", "2", "Length of each measured window").value_parser(seconds),
            option("warm-up", "S", "1", "Load before it, not counted").value_parser(seconds),
            Arg::new("only")
                .long("only")
                .value_name("LANGUAGE")
                .value_parser(PossibleValuesParser::new(["python", "node", "php"]))
                .help("Only this language"),
        ])
}

fn broadcast_command() -> Command {
    Command::new("broadcast")
        .about("CPU time to say something to everybody, beside a bare loop of `send`")
        .long_about(
            "One worker holds many WebSocket clients and is told by a line to send a message to all of them, over and \
             over. Prints deliveries per second and the worker's microseconds of CPU time per delivery, beside a loop \
             that sends a ready frame to each socket, in turn in one run. With --at-once K one line asks for K \
             messages in one turn, which should leave in one write per connection.",
        )
        .args([
            counter("clients", "N", "2000", "WebSocket clients"),
            counter("at-once", "K", "1", "Messages to all in one turn"),
            counter("rounds", "N", "5", "Rounds, each of which measures both servers"),
            option("seconds", "S", "3", "Length of each measured window").value_parser(seconds),
            option("warm-up", "S", "0.5", "Load before each measured window").value_parser(seconds),
            versus(),
        ])
}

fn router_restart_command() -> Command {
    Command::new("router-restart")
        .about("Time until a hive whose router was killed knows all user ids again")
        .long_about(
            "A hive whose workers hold many user ids loses its router by SIGKILL. Prints, in milliseconds since the \
             kill, when the new router's process was ready, when a push was first delivered, and when a thousand uids \
             chosen at random were all online; what became of the pushes of that time; and how long it takes to ask \
             for every uid. It fails if a bound uid was ever said to be offline, or a push was lost without saying so.",
        )
        .args([
            counter("uids", "N", "1000000", "User ids of all workers together"),
            counter("count", "N", "2", "Worker processes; at least 2, or there is no router"),
            counter("kills", "N", "5", "Kills, one after the other"),
        ])
}

fn reload_command() -> Command {
    let milliseconds =
        |name, default, help| option(name, "MS", default, help).value_parser(value_parser!(u64));
    Command::new("reload")
        .about("What clients notice of reloads, and how long these take; nginx beside it")
        .long_about(
            "Replaces all processes of a hive again and again while clients connect for one request each, post on \
             connections that they keep, and hold WebSockets; with one listening socket for all processes and with \
             one for each. Counts every connection that was refused, reset, cut, or closed without a word, and every \
             request without an answer: any of them fails the run. nginx goes through the same when it is installed, \
             without WebSockets, of which it has no echo.",
        )
        .args([
            counter("reloads", "N", "100", "Reloads of each server"),
            milliseconds("pace", "300", "Time from one reload to the next"),
            counter("count", "N", "4", "Worker processes"),
            milliseconds("drain", "2000", "How long a replaced process may take to end"),
            counter("churning", "N", "64", "Clients with a connection for each request"),
            milliseconds("rest", "10", "Their pause between two connections"),
            counter("keep-alive", "N", "16", "Clients that post on a connection that they keep"),
            milliseconds("think", "200", "Their pause between two requests, and that of WebSockets"),
            counter("websockets", "N", "100", "WebSockets"),
            option("servers", "WHICH", "both", "Which servers")
                .value_parser(PossibleValuesParser::new(["both", "workhive", "nginx"])),
        ])
}

/// Numbers with commas between them.
#[derive(Debug, Clone)]
pub(crate) struct Counts(pub(crate) Vec<usize>);

impl Counts {
    fn parse(text: &str) -> Result<Self, String> {
        let counts = text
            .split(',')
            .map(|one| match one.trim().parse::<usize>() {
                Ok(0) => Err("must be at least 1".to_owned()),
                other => other.map_err(|error| error.to_string()),
            });
        counts.collect::<Result<_, _>>().map(Self)
    }
}

fn rate_arguments(depth: &'static str) -> Vec<Arg> {
    vec![
        option("seconds", "S", "3", "Length of each measured window").value_parser(seconds),
        option("warm-up", "S", "0.5", "Load before each measured window").value_parser(seconds),
        counter(
            "rounds",
            "N",
            "5",
            "Rounds, each of which measures both servers",
        ),
        connections("64"),
        counter(
            "depth",
            "D",
            depth,
            "Requests in flight per connection, sent in one write",
        ),
        versus(),
        Arg::new("target")
            .long("target")
            .value_name("ADDRESS")
            .value_parser(value_parser!(SocketAddr))
            .conflicts_with("versus")
            .help("Load a server that runs already, and print its rate alone"),
    ]
}

/// How the bench starts workhive.
fn serve_command() -> Command {
    Command::new("serve")
        .about("Be workhive, with the arguments that follow")
        .args([core(), tied()])
        .arg(
            Arg::new("arguments")
                .num_args(0..)
                .trailing_var_arg(true)
                .allow_hyphen_values(true)
                .value_parser(value_parser!(OsString)),
        )
}

/// How the bench starts the floor.
fn floor_command() -> Command {
    Command::new("floor")
        .about("Be the floor, until a signal ends it")
        .args([core(), tied()])
        .arg(
            Arg::new("protocol")
                .required(true)
                .value_parser(PossibleValuesParser::new(["http", "websocket"])),
        )
        .arg(
            Arg::new("address")
                .required(true)
                .value_parser(value_parser!(SocketAddr)),
        )
}

fn push_floor_command() -> Command {
    let door = |name| {
        Arg::new(name)
            .required(true)
            .value_parser(value_parser!(SocketAddr))
    };
    Command::new("push-floor")
        .about("Be the floor of pushing, until a signal ends it")
        .args([core(), tied(), door("clients"), door("lines")])
        .arg(
            Arg::new("collect")
                .long("collect")
                .action(ArgAction::SetTrue)
                .help("Send what one wait has brought to a client in one write"),
        )
}

/// How the bench starts the programs of others.
fn peer_command() -> Command {
    Command::new("peer")
        .about("Be another program, with the arguments that follow")
        .args([core(), tied()])
        .arg(
            Arg::new("arguments")
                .num_args(1..)
                .required(true)
                .trailing_var_arg(true)
                .allow_hyphen_values(true)
                .value_parser(value_parser!(OsString)),
        )
}

fn core() -> Arg {
    Arg::new("core")
        .long("core")
        .value_name("N")
        .value_parser(value_parser!(usize))
        .help("Stay on this core")
}

fn tied() -> Arg {
    Arg::new("tied")
        .long("tied")
        .action(ArgAction::SetTrue)
        .help("End with the process that started this one")
}

fn versus() -> Arg {
    Arg::new("versus")
        .long("versus")
        .value_parser(PossibleValuesParser::new(["workhive", "floor"]))
        .help("What the floor is compared with; itself shows how much the ratio wanders by chance")
}

fn connections(default: &'static str) -> Arg {
    counter("connections", "N", default, "Connections")
}

fn counter(
    name: &'static str,
    value: &'static str,
    default: &'static str,
    help: &'static str,
) -> Arg {
    option(name, value, default, help).value_parser(|text: &str| match text.parse::<usize>() {
        Ok(0) => Err("must be at least 1".to_owned()),
        other => other.map_err(|error| error.to_string()),
    })
}

fn option(
    name: &'static str,
    value: &'static str,
    default: &'static str,
    help: &'static str,
) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name(value)
        .default_value(default)
        .help(help)
}

/// A length of time in seconds, with or without a fraction.
fn seconds(text: &str) -> Result<Duration, String> {
    let value: f64 = text
        .parse()
        .map_err(|_| "not a number of seconds".to_owned())?;
    match Duration::try_from_secs_f64(value) {
        Ok(time) if !time.is_zero() => Ok(time),
        _ => Err("must be more than nothing".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::command;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn arguments_for_workhive_pass_untouched() {
        let line = [
            "workhive-bench",
            "serve",
            "--core",
            "0",
            "echo",
            "http://127.0.0.1:1",
            "--count",
            "1",
        ];
        let matches = command().try_get_matches_from(line).unwrap();
        let (_, serve) = matches.subcommand().unwrap();
        let passed: Vec<_> = serve
            .get_many::<std::ffi::OsString>("arguments")
            .unwrap()
            .collect();
        assert_eq!(passed, ["echo", "http://127.0.0.1:1", "--count", "1"]);
    }
}
