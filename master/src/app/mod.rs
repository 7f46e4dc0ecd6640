//! The programs inside the `workhive` binary.

mod echo;
mod push;
mod run;

use std::ffi::OsString;

use crate::run::say;
use crate::{Cli, Exit, UsageError};

const HELP: &str = "\
workhive: a multi-process runtime for network services

Usage: workhive push [VERB] [OPTIONS]               push messages to WebSocket clients by their uid
       workhive push send|online|rooms ...          reach the clients of a running push server
       workhive run [VERB] --listen ADDR [OPTIONS] -- PROGRAM ARGS
                                                    watch over any program, in several processes
       workhive echo [VERB] SCHEME://ADDR [OPTIONS] answer with what was sent; for measuring and for test suites
       workhive --version

VERB is start (when none is given), stop, restart, reload, upgrade, scale, status, connections, check or show-config.
`workhive push --help`, `workhive run --help` and `workhive echo --help` list the options.
";

/// Runs the `workhive` binary with these arguments, of which the first is the program's name.
///
/// ```
/// let exit = workhive::app::main_from(["workhive", "--version"].map(Into::into));
/// assert_eq!(exit.code(), 0);
/// ```
pub fn main_from(args: impl IntoIterator<Item = OsString>) -> Exit {
    let mut args = args.into_iter().skip(1);
    let app = args.next().unwrap_or_default();
    let rest = args;
    let result = match app.to_str() {
        Some("push") => push::run(rest),
        Some("run") => run::run(rest),
        Some("echo") => echo::run(rest),
        Some("--version" | "-V") => {
            return say(concat!("workhive ", env!("CARGO_PKG_VERSION")));
        }
        Some("--help" | "-h" | "help") => {
            return say(HELP.trim_end());
        }
        Some("") => {
            eprint!("{HELP}");
            return Exit::USAGE;
        }
        _ => {
            let name = app.display();
            eprintln!(
                "error: there is no app \"{name}\": choose push, run or echo (workhive --help)"
            );
            return Exit::USAGE;
        }
    };
    result.unwrap_or_else(|error| error.report())
}

/// The command line of one app: `name` stands in front of its arguments as the program's name.
fn parse(
    cli: Cli,
    name: &str,
    args: impl Iterator<Item = OsString>,
) -> Result<crate::Args, UsageError> {
    cli.parse_from(std::iter::once(OsString::from(name)).chain(args))
}
