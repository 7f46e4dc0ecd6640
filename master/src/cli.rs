//! The command line that every program has, and what a program adds to it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, Command};
use log::LevelFilter;

use crate::config::Config;
use crate::count::Count;
use crate::hosted::Home;
use crate::line::Format;
use crate::options::{for_groups, standard};
use crate::own::{self, Chosen, Own};
use crate::run::say;
use crate::settings::GroupSettings;
use crate::{Exit, exec, seated};

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Start,
    Stop,
    Restart,
    Reload,
    Upgrade,
    Scale,
    Status,
    Connections,
    Check,
    ShowConfig,
}

pub(crate) const VERBS: [(&str, Verb); 10] = [
    ("start", Verb::Start),
    ("stop", Verb::Stop),
    ("restart", Verb::Restart),
    ("reload", Verb::Reload),
    ("upgrade", Verb::Upgrade),
    ("scale", Verb::Scale),
    ("status", Verb::Status),
    ("connections", Verb::Connections),
    ("check", Verb::Check),
    ("show-config", Verb::ShowConfig),
];

/// Verbs that need to know what the hive is made of.
const DEFINED: &[Verb] = &[Verb::Start, Verb::Restart, Verb::Check, Verb::ShowConfig];

/// Which of the standard options go with which verbs; the rest go with all.
const ONLY_WITH: &[(&str, &[Verb])] = &[
    ("to", &[Verb::Scale]),
    ("daemon", DEFINED),
    ("count", DEFINED),
    ("log-file", DEFINED),
    ("log-level", DEFINED),
    ("log-format", DEFINED),
    ("drain", DEFINED),
    ("boot-timeout", DEFINED),
    ("stuck-after", DEFINED),
    ("max-requests", DEFINED),
    ("max-lifetime", DEFINED),
    ("max-memory", DEFINED),
    ("spawn", DEFINED),
    ("user", DEFINED),
    ("group", DEFINED),
    ("nofile", DEFINED),
    ("nice", DEFINED),
    ("cpu-affinity", DEFINED),
    ("oom-score-adj", DEFINED),
    ("umask", DEFINED),
    ("chdir", DEFINED),
    ("graceful", &[Verb::Stop, Verb::Restart]),
    ("json", &[Verb::Status, Verb::Connections]),
    ("watch", &[Verb::Status]),
];

const AFTER_HELP: &str = "\
A process that is not ready in time (--boot-timeout) has failed, and is killed. A start fails when no process of a group
becomes ready in 5 attempts.

Exit codes: 0 done; 1 failed, the reason is on standard error; 2 the command line makes no sense; 3 not running.";

/// The command line of a program: the verbs `start` (when none is given), `stop`, `restart`, `reload`, `upgrade`,
/// `scale`, `status`, `connections`, `check` and `show-config` with their options, and options of the program's own.
///
/// ```
/// let args = workhive::Cli::new("push")
///     .about("Pushes messages to browsers")
///     .flag("reuse-port", "One listening socket for each process")
///     .option("ws", "ADDR", "127.0.0.1:1234", "Where browsers connect")
///     .parse_from(["push", "start", "-d", "--reuse-port"])?;
/// assert!(args.flag("reuse-port"));
/// assert_eq!(args.value("ws"), "127.0.0.1:1234");
/// # Ok::<(), workhive::UsageError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Cli {
    name: String,
    about: Option<String>,
    own: Vec<Own>,
}

impl Cli {
    /// The command line of the program `name`. The name also goes into the name of the pid file, so two programs
    /// should not share one.
    ///
    /// ```
    /// let cli = workhive::Cli::new("push");
    /// ```
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            about: None,
            own: Vec::new(),
        }
    }

    /// One line about the program, for `--help`.
    ///
    /// ```
    /// let cli = workhive::Cli::new("push").about("Pushes messages to browsers");
    /// ```
    pub fn about(mut self, text: impl Into<String>) -> Self {
        self.about = Some(text.into());
        self
    }

    /// Adds `--name`, which is there or not.
    ///
    /// ```
    /// let cli = workhive::Cli::new("push").flag("reuse-port", "One listening socket for each process");
    /// ```
    pub fn flag(mut self, name: impl Into<String>, help: impl Into<String>) -> Self {
        self.own.push(Own {
            name: name.into(),
            help: help.into(),
            value: None,
            many: false,
        });
        self
    }

    /// Adds `--name PLACEHOLDER`, which has a default. One that is empty means that there is none.
    ///
    /// ```
    /// let cli = workhive::Cli::new("push").option("ws", "ADDR", "127.0.0.1:1234", "Where browsers connect");
    /// ```
    pub fn option(
        mut self,
        name: impl Into<String>,
        placeholder: impl Into<String>,
        default: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        let value = Some((placeholder.into(), default.into()));
        self.own.push(Own {
            name: name.into(),
            help: help.into(),
            value,
            many: false,
        });
        self
    }

    /// Adds `--name PLACEHOLDER`, which may be given several times, or not at all: [`Args::values`].
    ///
    /// ```
    /// let args = workhive::Cli::new("push")
    ///     .list("allow", "ADDR", "From where clients may connect")
    ///     .parse_from(["push", "--allow", "10.0.0.1", "--allow", "10.0.0.2"])?;
    /// assert_eq!(args.values("allow"), ["10.0.0.1", "10.0.0.2"]);
    /// # Ok::<(), workhive::UsageError>(())
    /// ```
    pub fn list(
        mut self,
        name: impl Into<String>,
        placeholder: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        self.own.push(Own {
            name: name.into(),
            help: help.into(),
            value: Some((placeholder.into(), String::new())),
            many: true,
        });
        self
    }

    /// Reads the arguments of this process. When they make no sense, or ask for help, the answer has been printed
    /// and the exit is all that is left to do.
    ///
    /// ```no_run
    /// fn main() -> workhive::Exit {
    ///     let args = match workhive::Cli::new("push").parse() {
    ///         Ok(args) => args,
    ///         Err(exit) => return exit,
    ///     };
    ///     args.run_all([workhive::Group::new("push", workhive::Program::new("none", |_seat| 0))])
    /// }
    /// ```
    pub fn parse(self) -> Result<Args, Exit> {
        self.parse_from(std::env::args_os())
            .map_err(|error| error.report())
    }

    /// Reads arguments, of which the first is the program's name.
    ///
    /// ```
    /// assert!(workhive::Cli::new("push").parse_from(["push", "stop", "--json"]).is_err());
    /// ```
    pub fn parse_from<I>(self, args: I) -> Result<Args, UsageError>
    where
        I: IntoIterator,
        I::Item: Into<OsString> + Clone,
    {
        self.parse_in(&mut Home::own(), args)
    }

    /// The same, in whosever process this is.
    pub(crate) fn parse_in<I>(self, home: &mut Home, args: I) -> Result<Args, UsageError>
    where
        I: IntoIterator,
        I::Item: Into<OsString> + Clone,
    {
        // The router needs neither a command line nor a configuration that makes sense.
        seated::enter_router(&self.name, home);
        let command = self.command()?;
        let matches = command
            .try_get_matches_from(args)
            .map_err(|error| UsageError::from_clap(&error))?;
        self.read(&matches)
    }

    fn command(&self) -> Result<Command, UsageError> {
        let mut command = Command::new(self.name.clone())
            .disable_version_flag(true)
            .help_template("{about-with-newline}{usage-heading} {usage}\n\n{all-args}{after-help}")
            .args(standard())
            .args(for_groups())
            .after_help(AFTER_HELP);
        if let Some(about) = &self.about {
            command = command.about(about.clone());
        }
        for own in &self.own {
            let plain = !own.name.is_empty()
                && !own.name.starts_with('-')
                && own
                    .name
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || c == '-');
            let taken = own.name == "help"
                || command
                    .get_arguments()
                    .any(|arg| arg.get_id() == own.name.as_str());
            if !plain || taken {
                return Err(UsageError::new(format!(
                    "the program defines the option --{}, which {}",
                    own.name,
                    if taken {
                        "exists already"
                    } else {
                        "is no name for an option"
                    }
                )));
            }
            command = command.arg(own.arg());
        }
        Ok(command)
    }

    fn read(self, matches: &ArgMatches) -> Result<Args, UsageError> {
        let word = matches
            .get_one::<String>("verb")
            .map_or("start", String::as_str);
        let verb = VERBS
            .iter()
            .find(|(name, _)| *name == word)
            .map_or(Verb::Start, |(_, verb)| *verb);
        for &(option, verbs) in ONLY_WITH {
            if matches.value_source(option) == Some(ValueSource::CommandLine)
                && !verbs.contains(&verb)
            {
                let given = if option == "to" {
                    "a number of processes".to_owned()
                } else {
                    format!("--{option}")
                };
                return Err(UsageError::new(format!("{given} does not go with {word}")));
            }
        }
        let text = |name: &str| matches.get_one::<String>(name).cloned();
        let path = |name: &str| matches.get_one::<PathBuf>(name).cloned();
        let config = match path("config") {
            Some(path) => Config::load(&path).map_err(UsageError::new)?,
            None => Config::default(),
        };
        let own = own::choose(&self.own, matches, &config.options).map_err(UsageError::new)?;
        let given = |name: &str| matches.value_source(name) == Some(ValueSource::CommandLine);
        let level = match &config.hive.log_level {
            Some(level) if !given("log-level") => Some(level.clone()),
            _ => text("log-level"),
        };
        Ok(Args {
            name: self.name,
            verb,
            daemon: matches.get_flag("daemon") || config.hive.daemon == Some(true),
            graceful: matches.get_flag("graceful"),
            json: matches.get_flag("json"),
            watch: matches.get_flag("watch"),
            counts: matches
                .get_many("count")
                .unwrap_or_default()
                .cloned()
                .collect(),
            scale: matches.get_one("to").cloned(),
            pid_file: path("pid-file").or_else(|| config.hive.pid_file.clone()),
            log_file: path("log-file").or_else(|| config.hive.log_file.clone()),
            log_level: level
                .and_then(|level| LevelFilter::from_str(&level).ok())
                .unwrap_or(LevelFilter::Info),
            log_format: matches
                .get_one("log-format")
                .copied()
                .or(config.hive.log_format)
                .unwrap_or_default(),
            settings: GroupSettings {
                count: None,
                drain: matches.get_one("drain").copied(),
                boot_timeout: matches.get_one("boot-timeout").copied(),
                stuck_after: matches.get_one("stuck-after").copied(),
                max_requests: matches.get_one("max-requests").copied(),
                max_lifetime: matches.get_one("max-lifetime").copied(),
                max_memory: matches.get_one("max-memory").copied(),
                spawn: matches.get_one("spawn").copied(),
                user: text("user"),
                group: text("group"),
                nofile: matches.get_one("nofile").copied(),
                nice: matches.get_one("nice").copied(),
                cpu_affinity: matches.get_one("cpu-affinity").cloned(),
                oom_score_adj: matches.get_one("oom-score-adj").copied(),
                umask: matches.get_one("umask").copied(),
                chdir: path("chdir"),
            },
            config,
            own,
        })
    }
}

/// The arguments of a program, understood.
///
/// ```
/// let args = workhive::Cli::new("push").parse_from(["push", "start", "--count", "4"])?;
/// assert_eq!(args.name(), "push");
/// # Ok::<(), workhive::UsageError>(())
/// ```
#[derive(Debug, Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
pub struct Args {
    pub(crate) name: String,
    pub(crate) verb: Verb,
    pub(crate) daemon: bool,
    pub(crate) graceful: bool,
    pub(crate) json: bool,
    pub(crate) watch: bool,
    pub(crate) counts: Vec<Count>,
    pub(crate) scale: Option<Count>,
    pub(crate) pid_file: Option<PathBuf>,
    pub(crate) log_file: Option<PathBuf>,
    pub(crate) log_level: LevelFilter,
    pub(crate) log_format: Format,
    pub(crate) settings: GroupSettings,
    pub(crate) config: Config,
    /// What the options of the program's own are set to.
    pub(crate) own: BTreeMap<String, Chosen>,
}

impl Args {
    /// The program's name.
    ///
    /// ```
    /// let args = workhive::Cli::new("push").parse_from(["./push"])?;
    /// assert_eq!(args.name(), "push");
    /// # Ok::<(), workhive::UsageError>(())
    /// ```
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether a flag made by [`Cli::flag`] was given; false if there is no such flag.
    ///
    /// ```
    /// let args = workhive::Cli::new("push").flag("fast", "Be fast").parse_from(["push", "--fast"])?;
    /// assert!(args.flag("fast"));
    /// # Ok::<(), workhive::UsageError>(())
    /// ```
    pub fn flag(&self, name: &str) -> bool {
        matches!(self.own.get(name), Some(Chosen::Flag(true)))
    }

    /// The value of an option made by [`Cli::option`], given or default; empty if there is no such option.
    ///
    /// ```
    /// let args = workhive::Cli::new("push").option("ws", "ADDR", "a:1", "Where").parse_from(["push", "--ws", "b:2"])?;
    /// assert_eq!(args.value("ws"), "b:2");
    /// # Ok::<(), workhive::UsageError>(())
    /// ```
    pub fn value(&self, name: &str) -> &str {
        match self.own.get(name) {
            Some(Chosen::Value(value)) => value,
            _ => "",
        }
    }

    /// The values of an option made by [`Cli::list`], in their order; none if there is no such option.
    ///
    /// ```
    /// let args = workhive::Cli::new("push").list("allow", "ADDR", "Who may").parse_from(["push", "--allow=a"])?;
    /// assert_eq!(args.values("allow"), ["a"]);
    /// assert!(args.values("deny").is_empty());
    /// # Ok::<(), workhive::UsageError>(())
    /// ```
    pub fn values(&self, name: &str) -> &[String] {
        match self.own.get(name) {
            Some(Chosen::Values(values)) => values,
            _ => &[],
        }
    }

    /// True if it matters what the hive is made of, above all because it is to be started: the other verbs only have to
    /// find one.
    pub(crate) fn starts(&self) -> bool {
        DEFINED.contains(&self.verb)
    }

    /// True if processes are to be replaced after so many messages.
    pub(crate) fn counts_requests(&self) -> bool {
        self.settings.max_requests.is_some()
    }

    pub(crate) fn pid_file(&self) -> Option<&Path> {
        self.pid_file.as_deref()
    }
}

/// A command line that makes no sense, or that asks for help.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageError {
    text: String,
    help: bool,
}

impl UsageError {
    pub(crate) fn new(text: impl fmt::Display) -> Self {
        Self {
            text: format!("error: {text}\n\nFor more information, try '--help'."),
            help: false,
        }
    }

    /// What clap says: its help is an answer too.
    pub(crate) fn from_clap(error: &clap::Error) -> Self {
        Self {
            text: error.to_string().trim_end().to_owned(),
            help: matches!(
                error.kind(),
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
            ),
        }
    }

    /// Prints the text (help to standard output, an error to standard error) and returns how to end: 0 after help, 2
    /// after an error.
    ///
    /// ```
    /// let error = workhive::Cli::new("push").parse_from(["push", "jump"]).unwrap_err();
    /// assert_eq!(error.report().code(), 2);
    /// ```
    pub fn report(&self) -> Exit {
        if self.help {
            say(&self.text)
        } else {
            // Without a standard error there is only the exit code.
            let _ = writeln!(io::stderr(), "{self}");
            let reason = self.text.lines().take_while(|line| !line.is_empty());
            let reason = reason.collect::<Vec<_>>().join(" ");
            exec::refuse(reason.trim_start_matches("error: "));
            Exit::USAGE
        }
    }
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for UsageError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Args, UsageError> {
        Cli::new("push")
            .flag("reuse-port", "help")
            .option("ws", "ADDR", "127.0.0.1:1", "help")
            .parse_from(std::iter::once("push").chain(words.iter().copied()))
    }

    #[test]
    fn start_is_the_verb_when_there_is_none() {
        assert_eq!(parse(&[]).unwrap().verb, Verb::Start);
        assert!(parse(&["-d"]).unwrap().daemon);
        assert_eq!(
            parse(&["--count", "2", "stop"]).unwrap_err().report(),
            Exit::USAGE
        );
    }

    #[test]
    fn options_stand_before_or_after_the_verb() {
        for words in [["--ws", "x:1", "start"], ["start", "--ws", "x:1"]] {
            assert_eq!(parse(&words).unwrap().value("ws"), "x:1");
        }
        let args = parse(&["restart", "-dg", "--drain", "0.5"]).unwrap();
        assert!(args.daemon && args.graceful);
        assert_eq!(
            args.settings.drain,
            Some(std::time::Duration::from_millis(500))
        );
    }

    #[test]
    fn what_makes_no_sense_says_so_in_one_line() {
        for (words, word) in [
            (&["jump"][..], "jump"),
            (&["stop", "--json"], "--json does not go with stop"),
            (&["--count", "0"], "--count"),
            (&["--count", "x=0"], "--count"),
            (&["--count", "1025"], "--count"),
            (&["--drain=-1"], "drain"),
            (&["--drain", "nan"], "drain"),
            (&["--log-level", "loud"], "loud"),
            (&["--nothing"], "--nothing"),
        ] {
            let error = parse(words).unwrap_err();
            assert!(
                error.to_string().lines().next().unwrap().contains(word),
                "{error}"
            );
            assert_eq!(error.report(), Exit::USAGE);
        }
    }

    /// With a file that says this.
    fn parse_with(text: &str, words: &[&str]) -> Result<Args, UsageError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hive.toml");
        std::fs::write(&path, text).unwrap();
        let path = path.to_str().unwrap();
        Cli::new("push")
            .flag("reuse-port", "help")
            .option("ws", "ADDR", "127.0.0.1:1", "help")
            .option("size", "N", "", "help")
            .list("allow", "ADDR", "help")
            .parse_from(["push", "--config", path].iter().chain(words))
    }

    #[test]
    fn options_of_the_program_can_stand_in_the_file_and_the_command_line_wins() {
        let text = "[options]\nws = \"a:1\"\nsize = 7\nreuse-port = true\nallow = [\"x\", 5]\n";
        let args = parse_with(text, &[]).unwrap();
        assert!(args.flag("reuse-port"));
        assert_eq!((args.value("ws"), args.value("size")), ("a:1", "7"));
        assert_eq!(args.values("allow"), ["x", "5"]);
        // Also when the word is the default.
        let args = parse_with(text, &["--ws", "127.0.0.1:1", "--allow", "y"]).unwrap();
        assert_eq!(args.value("ws"), "127.0.0.1:1");
        assert_eq!(args.values("allow"), ["y"]);
        let args = parse_with("[options]\nallow = \"z\"\nreuse-port = false", &[]).unwrap();
        assert_eq!(args.values("allow"), ["z"]);
        assert_eq!(args.value("ws"), "127.0.0.1:1");
        assert!(!args.flag("reuse-port"));
        assert!(
            parse_with("[options]\nreuse-port = false", &["--reuse-port"])
                .unwrap()
                .flag("reuse-port")
        );
    }

    #[test]
    fn options_in_the_file_that_make_no_sense_are_told_with_line_and_column() {
        for (text, words) in [
            (
                "[options]\n  wss = 1",
                "line 2, column 3: there is no option \"wss\"; this program has: reuse-port, ws",
            ),
            (
                "[options]\nws = true",
                "line 2, column 1: option \"ws\": it must be a text",
            ),
            (
                "[options]\nws = [\"a\"]",
                "line 2, column 1: option \"ws\": it must be a text",
            ),
            (
                "[options]\nreuse-port = \"yes\"",
                "line 2, column 1: option \"reuse-port\": it must be true or false",
            ),
            (
                "[options]\nallow = [true]",
                "line 2, column 1: option \"allow\": it must be a list",
            ),
            ("options = 3", "line 1, column"),
            ("[options]\nws = 1979-05-27", "line 2, column"),
        ] {
            let error = parse_with(text, &[]).unwrap_err();
            assert!(error.to_string().contains(words), "{text}: {error}");
            assert_eq!(error.report(), Exit::USAGE);
        }
    }

    #[test]
    fn help_is_not_an_error() {
        let help = parse(&["--help"]).unwrap_err();
        assert_eq!(help.report(), Exit::SUCCESS);
        for word in ["--ws", "--reuse-port", "reload", "--pid-file"] {
            assert!(help.to_string().contains(word), "{help}");
        }
    }

    #[test]
    fn a_program_cannot_take_a_standard_option() {
        for name in ["count", "help", "verb", "a b", "", "-x"] {
            let cli = Cli::new("push").flag(name, "help");
            assert_eq!(
                cli.parse_from(["push"]).unwrap_err().report(),
                Exit::USAGE,
                "{name}"
            );
        }
        let twice = Cli::new("push").flag("x", "").option("x", "X", "", "");
        assert!(twice.parse_from(["push"]).is_err());
    }
}
