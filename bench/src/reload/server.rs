//! The servers that are reloaded, and how each of them is started.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{ChildStderr, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::error::BenchError;
use crate::process::{self, Running, children, free_address, signal};

/// How long a server may take to start.
const START: Duration = Duration::from_secs(10);

/// Whose master it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The bench's own program on workhive.
    Workhive,
    /// nginx, whose program is here.
    Nginx(PathBuf),
}

/// What to start.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    pub(crate) kind: Kind,
    /// A listening socket for each process, or one for all.
    pub(crate) reuse_port: bool,
    pub(crate) count: usize,
    /// How long a replaced process may take to end.
    pub(crate) drain: Duration,
    /// The core it is pinned to.
    pub(crate) core: Option<usize>,
}

impl Subject {
    /// Its name in tables.
    pub(crate) fn name(&self) -> String {
        let kind = match self.kind {
            Kind::Workhive => "workhive",
            Kind::Nginx(_) => "nginx",
        };
        let mode = if self.reuse_port {
            "reuse-port"
        } else {
            "shared"
        };
        format!("{kind}, {mode}")
    }

    /// The command line with which this program becomes the server.
    fn arguments(&self, http: SocketAddr, ws: SocketAddr, place: &Path) -> Vec<OsString> {
        let role = match self.kind {
            Kind::Workhive => "serve",
            Kind::Nginx(_) => "peer",
        };
        let mut arguments: Vec<OsString> = vec![role.into(), "--tied".into()];
        if let Some(core) = self.core {
            arguments.extend(["--core".into(), core.to_string().into()]);
        }
        match &self.kind {
            Kind::Workhive => {
                arguments.extend([
                    "doors".into(),
                    "--http".into(),
                    http.to_string().into(),
                    "--ws".into(),
                    ws.to_string().into(),
                    "--count".into(),
                    self.count.to_string().into(),
                    "--drain".into(),
                    self.drain.as_secs_f64().to_string().into(),
                    "--pid-file".into(),
                    place.join("hive.pid").into(),
                ]);
                if self.reuse_port {
                    arguments.push("--reuse-port".into());
                }
            }
            Kind::Nginx(program) => arguments.extend([
                program.into(),
                "-p".into(),
                place.into(),
                "-c".into(),
                place.join("nginx.conf").into(),
                // Where it writes before it has read where to.
                "-e".into(),
                place.join("log").into(),
            ]),
        }
        arguments
    }
}

/// nginx, if it is installed.
pub(crate) fn nginx() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<PathBuf> = std::env::split_paths(&path).collect();
    // Debian's place, which is not on everybody's path.
    places.push("/usr/sbin".into());
    places
        .into_iter()
        .map(|place| place.join("nginx"))
        .find(|program| program.is_file())
}

/// What it calls itself.
pub(crate) fn version(nginx: &Path) -> String {
    let said = Command::new(nginx).arg("-v").output();
    let said = said.map(|output| String::from_utf8_lossy(&output.stderr).trim().to_owned());
    said.unwrap_or_default()
        .trim_start_matches("nginx version: ")
        .to_owned()
}

/// A configuration that answers as the bench's own program does: the request's number, and the process.
fn nginx_configuration(subject: &Subject, http: SocketAddr, place: &Path) -> String {
    let place = place.display();
    let mode = if subject.reuse_port { " reuseport" } else { "" };
    let bodies = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let bodies = bodies.map(|name| format!("  {name}_temp_path {place}/{name};\n"));
    format!(
        "daemon off;\n\
         worker_processes {};\n\
         worker_shutdown_timeout {}ms;\n\
         pid {place}/nginx.pid;\n\
         error_log {place}/log warn;\n\
         events {{ worker_connections 2048; }}\n\
         http {{\n\
         {}\
         \x20 access_log off;\n\
         \x20 default_type text/plain;\n\
         \x20 server {{\n\
         \x20   listen {http} backlog=4096{mode};\n\
         \x20   location / {{ return 200 \"$http_x_number $pid\"; }}\n\
         \x20 }}\n\
         }}\n",
        subject.count,
        subject.drain.as_millis(),
        bodies.concat(),
    )
}

/// A running server. Dropping it ends the server and everything that it started.
#[derive(Debug)]
pub(crate) struct Server {
    running: Running,
    pub(crate) kind: Kind,
    /// Where it answers requests.
    pub(crate) http: SocketAddr,
    /// Where it holds chats, if it does.
    pub(crate) ws: Option<SocketAddr>,
}

impl Server {
    /// Starts it on free ports, and waits until it has answered a request. What workhive's master logs after that
    /// comes out of the pipe.
    pub(crate) fn start(subject: &Subject) -> Result<(Self, Option<ChildStderr>), BenchError> {
        let place = process::place()?;
        let (http, ws) = (free_address()?, free_address()?);
        let own = subject.kind == Kind::Workhive;
        if !own {
            fs::write(
                place.path().join("nginx.conf"),
                nginx_configuration(subject, http, place.path()),
            )
            .map_err(BenchError::io("writing nginx's configuration"))?;
        }
        let arguments = subject.arguments(http, ws, place.path());
        let mut running = Running::start(subject.name(), arguments, place, own)?;
        let log = running.take_log();
        let mut server = Self {
            running,
            kind: subject.kind.clone(),
            http,
            ws: own.then_some(ws),
        };
        server.await_answer()?;
        Ok((server, log))
    }

    fn await_answer(&mut self) -> Result<(), BenchError> {
        let deadline = Instant::now() + START;
        while let Err(error) = ask(self.http) {
            self.running.check()?;
            if Instant::now() > deadline {
                return Err(self.running.failed(&format!("does not serve: {error}")));
            }
            // Once per start, so a poll by sleeping is good enough.
            sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// All processes that work now.
    pub(crate) fn workers(&self) -> Result<BTreeSet<u32>, BenchError> {
        let list =
            children(self.running.pid()).map_err(BenchError::io("looking for the workers"))?;
        Ok(list.into_iter().collect())
    }

    /// Asks it to replace its processes.
    pub(crate) fn reload(&self) {
        let with = match self.kind {
            Kind::Workhive => Signal::SIGUSR1,
            Kind::Nginx(_) => Signal::SIGHUP,
        };
        signal(self.running.pid(), with);
    }

    /// An error of a run against this server, with the server's name and the end of its log, if that is a file.
    pub(crate) fn explain(&self, error: &BenchError) -> BenchError {
        self.running.explain(error)
    }

    /// Ends the server as an operator would, and says so if it had to be forced.
    pub(crate) fn stop(self) -> Result<(), BenchError> {
        self.running.stop()
    }
}

/// One request, on a connection of its own.
fn ask(address: SocketAddr) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(START))?;
    let request =
        format!("GET / HTTP/1.1\r\nHost: {address}\r\nX-Number: 0\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if answer.starts_with("HTTP/1.1 200 ") {
        Ok(())
    } else {
        Err(std::io::Error::other(answer))
    }
}
