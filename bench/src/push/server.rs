//! The servers that push, and how each of them is started.

use std::ffi::OsString;
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::error::BenchError;
use crate::master_log::parse_ready;
use crate::process::{self, Running, free_address};

/// How long a server may take to start.
const START: Duration = Duration::from_secs(15);
/// What `GatewayWorker` gets to link its processes with each other. A Gateway without a link drops its clients.
const LINKING: Duration = Duration::from_secs(2);
/// How a peer's checkout is named to the bench.
const WORKERMAN: &str = "WORKHIVE_BENCH_WORKERMAN";
const GATEWAYWORKER: &str = "WORKHIVE_BENCH_GATEWAYWORKER";
/// PHP at its best: compiled once, hot code as machine code.
const PHP: [&str; 6] = [
    "-d",
    "opcache.enable_cli=1",
    "-d",
    "opcache.jit=tracing",
    "-d",
    "opcache.jit_buffer_size=64M",
];

/// Where a server is met.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Doors {
    /// WebSocket clients.
    pub(crate) clients: SocketAddr,
    /// Lines of text.
    pub(crate) lines: SocketAddr,
}

/// A server under test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Subject {
    /// The least that can be done with one `send` per push.
    Floor,
    /// The least that can be done.
    CollectingFloor,
    /// `workhive push` with this many workers.
    Workhive(usize),
    /// The bench's own program, with this many workers.
    Crowd(usize),
    /// One process of Workerman, from this checkout.
    Workerman(PathBuf),
    /// `GatewayWorker` on Workerman.
    GatewayWorker {
        /// The checkouts.
        gateway: PathBuf,
        workerman: PathBuf,
        /// Gateway processes.
        gateways: usize,
        /// `BusinessWorker` processes.
        business: usize,
    },
}

impl Subject {
    /// Its name in tables.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Floor => "floor".to_owned(),
            Self::CollectingFloor => "floor, collects".to_owned(),
            Self::Workhive(count) | Self::Crowd(count) => format!("workhive {count}"),
            Self::Workerman(_) => "Workerman 1".to_owned(),
            Self::GatewayWorker { gateways, .. } => format!("GatewayWorker {gateways}"),
        }
    }

    /// True if all its work is done by one process, which then gets a core of its own.
    pub(crate) fn is_single(&self) -> bool {
        match self {
            Self::Floor | Self::CollectingFloor | Self::Workerman(_) => true,
            Self::Workhive(count) | Self::Crowd(count) => *count == 1,
            Self::GatewayWorker { .. } => false,
        }
    }

    /// How it is run, in a line.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Floor => {
                "one thread, one epoll, one `send` per push: the limit that one core has".to_owned()
            }
            Self::CollectingFloor => {
                "the same, with one `send` for all that one wait has brought to a client".to_owned()
            }
            Self::Workhive(1) => "`workhive push --count 1`".to_owned(),
            Self::Workhive(count) => format!("`workhive push --count {count} --reuse-port`"),
            Self::Crowd(count) => format!("a program of the bench with --count {count}"),
            Self::Workerman(checkout) => {
                format!("{}; {}", php_in_words(), version_of(checkout))
            }
            Self::GatewayWorker {
                gateway,
                workerman,
                gateways,
                business,
            } => format!(
                "{}; {} on {}; Register, {gateways} Gateways with SO_REUSEPORT, {business} BusinessWorkers that take \
                 lines with SO_REUSEPORT and call Gateway::sendToUid; `ok` is said without knowing the outcome",
                php_in_words(),
                version_of(gateway),
                version_of(workerman),
            ),
        }
    }
}

/// The peers that the environment names, and for each that it does not a line that says so.
pub(crate) fn peers(
    gateways: usize,
    business: usize,
) -> Result<(Vec<Subject>, Vec<String>), BenchError> {
    let (mut found, mut skipped) = (Vec::new(), Vec::new());
    let named = |variable| std::env::var_os(variable).map(PathBuf::from);
    let workerman = named(WORKERMAN);
    match &workerman {
        Some(checkout) => {
            holds(checkout, "src/Worker.php", WORKERMAN)?;
            found.push(Subject::Workerman(checkout.clone()));
        }
        None => skipped.push(format!(
            "Workerman: skipped; {WORKERMAN} names no checkout of it"
        )),
    }
    match named(GATEWAYWORKER) {
        Some(gateway) => {
            holds(&gateway, "src/Gateway.php", GATEWAYWORKER)?;
            let own = gateway.join("vendor/workerman/workerman");
            let workerman = if own.is_dir() { Some(own) } else { workerman };
            let workerman = workerman.ok_or_else(|| {
                BenchError::Server(format!(
                    "{} has no vendor/workerman/workerman, and {WORKERMAN} names none",
                    gateway.display()
                ))
            })?;
            found.push(Subject::GatewayWorker {
                gateway,
                workerman,
                gateways,
                business,
            });
        }
        None => skipped.push(format!(
            "GatewayWorker: skipped; {GATEWAYWORKER} names no checkout of it"
        )),
    }
    Ok((found, skipped))
}

fn holds(checkout: &Path, file: &str, variable: &str) -> Result<(), BenchError> {
    if checkout.join(file).is_file() {
        return Ok(());
    }
    Err(BenchError::Server(format!(
        "{variable}: there is no {file} in {}",
        checkout.display()
    )))
}

/// A running server with both its doors.
#[derive(Debug)]
pub(crate) struct PushServer {
    running: Running,
    subject: Subject,
    doors: Doors,
}

impl PushServer {
    /// Starts it, and waits until both doors are open and all its processes are there.
    pub(crate) fn start(subject: &Subject, core: Option<usize>) -> Result<Self, BenchError> {
        let place = process::place()?;
        let doors = Doors {
            clients: free_address()?,
            lines: free_address()?,
        };
        let (role, rest) = subject.command(doors, place.path())?;
        let mut arguments: Vec<OsString> = vec![role.into(), "--tied".into()];
        if let Some(core) = core {
            arguments.extend(["--core".into(), core.to_string().into()]);
        }
        arguments.extend(rest);
        let running = Running::start(subject.name(), arguments, place, false)?;
        let mut server = Self {
            running,
            subject: subject.clone(),
            doors,
        };
        server.await_ready()?;
        Ok(server)
    }

    /// Where it is met.
    pub(crate) fn doors(&self) -> Doors {
        self.doors
    }

    /// Which it is.
    pub(crate) fn subject(&self) -> &Subject {
        &self.subject
    }

    /// The server itself.
    pub(crate) fn running(&self) -> &Running {
        &self.running
    }

    /// Ends it.
    pub(crate) fn stop(self) -> Result<(), BenchError> {
        self.running.stop()
    }

    fn await_ready(&mut self) -> Result<(), BenchError> {
        let deadline = Instant::now() + START;
        while !self.is_ready() {
            self.running.check()?;
            if Instant::now() > deadline {
                return Err(self.running.failed("was not ready in time"));
            }
            sleep(Duration::from_millis(10));
        }
        if matches!(self.subject, Subject::GatewayWorker { .. }) {
            sleep(LINKING);
        }
        Ok(())
    }

    fn is_ready(&self) -> bool {
        if let Subject::Workhive(count) | Subject::Crowd(count) = self.subject {
            let log = self.running.log();
            return log.lines().filter_map(parse_ready).count() >= count;
        }
        let opens = |address| TcpStream::connect(address).is_ok();
        opens(self.doors.clients) && opens(self.doors.lines)
    }
}

impl Subject {
    /// This program's subcommand that becomes the server, and what follows it.
    fn command(
        &self,
        doors: Doors,
        place: &Path,
    ) -> Result<(&'static str, Vec<OsString>), BenchError> {
        let (clients, lines) = (doors.clients.to_string(), doors.lines.to_string());
        let write = |name: &str, program: &str| {
            let path = place.join(name);
            fs::write(&path, program)
                .map(|()| path)
                .map_err(BenchError::io("writing a peer's program"))
        };
        Ok(match self {
            Self::Floor => ("push-floor", vec![clients.into(), lines.into()]),
            Self::CollectingFloor => (
                "push-floor",
                vec!["--collect".into(), clients.into(), lines.into()],
            ),
            Self::Workhive(count) | Self::Crowd(count) => {
                let own = matches!(self, Self::Crowd(_));
                let mut line: Vec<OsString> = vec![
                    if own { "crowd" } else { "push" }.into(),
                    "--ws".into(),
                    clients.into(),
                    "--text".into(),
                    lines.into(),
                    "--count".into(),
                    count.to_string().into(),
                    "--pid-file".into(),
                    place.join("hive.pid").into(),
                ];
                line.extend((*count > 1 && !own).then(|| OsString::from("--reuse-port")));
                ("serve", line)
            }
            Self::Workerman(checkout) => {
                let program = write("push.php", include_str!("workerman.php"))?;
                let settings = [
                    ("BENCH_WORKERMAN", checkout.into()),
                    ("BENCH_PLACE", place.into()),
                    ("BENCH_CLIENTS", clients.into()),
                    ("BENCH_LINES", lines.into()),
                ];
                ("peer", php(program, settings))
            }
            Self::GatewayWorker {
                gateway,
                workerman,
                gateways,
                business,
            } => {
                let program = write("push.php", include_str!("gatewayworker.php"))?;
                let settings = [
                    ("BENCH_WORKERMAN", workerman.into()),
                    ("BENCH_GATEWAYWORKER", gateway.into()),
                    ("BENCH_PLACE", place.into()),
                    ("BENCH_CLIENTS", clients.into()),
                    ("BENCH_LINES", lines.into()),
                    ("BENCH_REGISTER", free_address()?.to_string().into()),
                    ("BENCH_LINKS", free_row(*gateways)?.to_string().into()),
                    ("BENCH_GATEWAYS", gateways.to_string().into()),
                    ("BENCH_BUSINESS", business.to_string().into()),
                ];
                ("peer", php(program, settings))
            }
        })
    }
}

/// The command line of a PHP program with these settings in its environment.
fn php(
    program: PathBuf,
    settings: impl IntoIterator<Item = (&'static str, OsString)>,
) -> Vec<OsString> {
    let mut line: Vec<OsString> = vec!["env".into()];
    for (name, value) in settings {
        let mut setting = OsString::from(name);
        setting.push("=");
        setting.push(value);
        line.push(setting);
    }
    line.push("php".into());
    line.extend(PHP.map(OsString::from));
    line.push(program.into());
    line.push("start".into());
    line
}

/// The PHP that will be used.
fn php_in_words() -> String {
    let ask = "echo 'PHP ', PHP_VERSION, ', ', \
               function_exists('opcache_get_status') && (opcache_get_status(false)['jit']['on'] ?? false) \
               ? 'opcache and JIT' : 'no JIT', ', ', \
               extension_loaded('event') ? 'event loop of the extension event' : 'stream_select loop';";
    let said = Command::new("php").args(PHP).args(["-r", ask]).output();
    said.map_or_else(
        |error| format!("no PHP ({error})"),
        |output| String::from_utf8_lossy(&output.stdout).into_owned(),
    )
}

/// The name of a checkout's directory and its newest commit, if git can tell.
fn version_of(checkout: &Path) -> String {
    let name = checkout.file_name().unwrap_or_default().to_string_lossy();
    let asked = Command::new("git")
        .arg("-C")
        .arg(checkout)
        .args(["log", "-1", "--format=%h of %cs"])
        .output();
    let said = asked.map_or_else(
        |_| String::new(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    );
    if said.is_empty() {
        name.into_owned()
    } else {
        format!("{name} at {said}")
    }
}

/// The first of so many neighbouring ports that were all free a moment ago, below those that the kernel gives to
/// connections.
fn free_row(length: usize) -> Result<u16, BenchError> {
    for _ in 0..50 {
        let first = free_address()?.port() / 2;
        let row = (first..).take(length);
        if row.clone().count() == length
            && row
                .into_iter()
                .all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok())
        {
            return Ok(first);
        }
    }
    Err(BenchError::Server(
        "no row of free ports for its links".to_owned(),
    ))
}
