//! The programs that are measured, and how each of them is started.

use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::error::BenchError;
use crate::process::{self, Running, free_address};
use crate::server::{Speech, asked};

/// How long a server may take to start.
const START: Duration = Duration::from_secs(20);

/// An interpreter that has workhive, gunicorn and websockets.
const PYTHON: &str = "WORKHIVE_BENCH_PYTHON";
/// A directory whose `node_modules` has workhive and ws.
const NODE: &str = "WORKHIVE_BENCH_NODE";
/// A checkout of Workerman.
const WORKERMAN: &str = "WORKHIVE_BENCH_WORKERMAN";

/// A program on workhive, and the server that its language usually has.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) language: &'static str,
    pub(crate) speech: Speech,
    pub(crate) ours: Contestant,
    pub(crate) theirs: Contestant,
}

/// A program, as a command that is given the protocol and the address.
#[derive(Debug, Clone)]
pub(crate) struct Contestant {
    pub(crate) name: String,
    /// Files that it consists of: name and text.
    files: Vec<(&'static str, &'static str)>,
    settings: Vec<(&'static str, OsString)>,
    /// `{place}` stands for where the files are, `{address}` for where to listen, `{protocol}` for what to speak.
    line: Vec<OsString>,
}

/// The pairs for which all is there, and a line for each language that lacks something.
pub(crate) fn pairs() -> Result<(Vec<Pair>, Vec<String>), BenchError> {
    let (mut found, mut skipped) = (Vec::new(), Vec::new());
    match python() {
        Ok(pairs) => found.extend(pairs),
        Err(why) => skipped.push(format!("python: skipped; {why}")),
    }
    match node() {
        Ok(pairs) => found.extend(pairs),
        Err(why) => skipped.push(format!("node: skipped; {why}")),
    }
    match php() {
        Ok(pairs) => found.extend(pairs),
        Err(why) => skipped.push(format!("php: skipped; {why}")),
    }
    if found.is_empty() {
        return Err(BenchError::Server(skipped.join("\n")));
    }
    Ok((found, skipped))
}

fn python() -> Result<Vec<Pair>, String> {
    let python = std::env::var_os(PYTHON).ok_or_else(|| {
        format!("{PYTHON} names no Python with workhive, gunicorn and websockets")
    })?;
    let has = "import workhive, gunicorn, websockets; print(gunicorn.__version__, websockets.__version__)";
    let versions = said(Command::new(&python).args(["-c", has]))?;
    let (gunicorn, websockets) = versions.split_once(' ').unwrap_or((&versions, ""));
    let run = |file: &str| -> Vec<OsString> {
        let mut line = vec![python.clone()];
        line.extend(
            [
                format!("{{place}}/{file}"),
                "{protocol}".into(),
                "{address}".into(),
            ]
            .map(Into::into),
        );
        line
    };
    let ours = Contestant {
        name: "workhive".to_owned(),
        files: vec![("ours.py", include_str!("ours.py"))],
        settings: Vec::new(),
        line: run("ours.py"),
    };
    let guni = Contestant {
        name: format!("gunicorn {gunicorn}, one gthread worker with 4 threads"),
        files: vec![("hello_wsgi.py", include_str!("hello_wsgi.py"))],
        settings: vec![("PYTHONPATH", "{place}".into())],
        line: [
            python.clone(),
            "-m".into(),
            "gunicorn".into(),
            "--worker-class=gthread".into(),
            "--threads=4".into(),
            "--keep-alive=75".into(),
            "--bind={address}".into(),
            "hello_wsgi:hello".into(),
        ]
        .into(),
    };
    let sockets = Contestant {
        name: format!("websockets {websockets} on asyncio"),
        files: vec![("echo_asyncio.py", include_str!("echo_asyncio.py"))],
        settings: Vec::new(),
        line: run("echo_asyncio.py"),
    };
    Ok(vec![
        Pair {
            language: "python",
            speech: Speech::Http,
            ours: ours.clone(),
            theirs: guni,
        },
        Pair {
            language: "python",
            speech: Speech::WebSocket,
            ours,
            theirs: sockets,
        },
    ])
}

fn node() -> Result<Vec<Pair>, String> {
    let root = std::env::var_os(NODE).map(PathBuf::from).ok_or_else(|| {
        format!("{NODE} names no directory whose node_modules has workhive and ws")
    })?;
    let modules = root.join("node_modules");
    let has =
        "require('workhive'); console.log(require('ws/package.json').version, process.version)";
    let versions = said(
        Command::new("node")
            .args(["-e", has])
            .env("NODE_PATH", &modules),
    )?;
    let (ws, version) = versions.split_once(' ').unwrap_or((&versions, ""));
    let program = |name: String, file: &'static str, text: &'static str| Contestant {
        name,
        files: vec![(file, text)],
        settings: vec![("NODE_PATH", modules.clone().into())],
        line: [
            "node".into(),
            format!("{{place}}/{file}"),
            "{protocol}".into(),
            "{address}".into(),
        ]
        .map(OsString::from)
        .into(),
    };
    let ours = program("workhive".to_owned(), "ours.js", include_str!("ours.js"));
    let http = program(
        format!("http of Node {version}"),
        "theirs.js",
        include_str!("theirs.js"),
    );
    let ws = program(format!("ws {ws}"), "theirs.js", include_str!("theirs.js"));
    Ok(vec![
        Pair {
            language: "node",
            speech: Speech::Http,
            ours: ours.clone(),
            theirs: http,
        },
        Pair {
            language: "node",
            speech: Speech::WebSocket,
            ours,
            theirs: ws,
        },
    ])
}

fn php() -> Result<Vec<Pair>, String> {
    let checkout = std::env::var_os(WORKERMAN)
        .map(PathBuf::from)
        .ok_or_else(|| format!("{WORKERMAN} names no checkout of Workerman"))?;
    if !checkout.join("src/Worker.php").is_file() {
        return Err(format!(
            "there is no src/Worker.php in {}",
            checkout.display()
        ));
    }
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("../embed/php/autoload.php");
    if !ours.is_file() {
        return Err(format!("there is no {}", ours.display()));
    }
    let has = "echo extension_loaded('FFI') ? PHP_VERSION : 'no FFI', ', ', \
               extension_loaded('event') ? 'event loop of the extension event' : 'stream_select loop';";
    let versions = said(Command::new("php").args(["-r", has]))?;
    // The same program for both: what it requires makes the difference.
    let program = |name: String, autoload: PathBuf, checkout: PathBuf| Contestant {
        name,
        files: vec![
            ("both.php", include_str!("both.php")),
            ("workerman.php", include_str!("workerman.php")),
        ],
        settings: vec![
            ("BENCH_AUTOLOAD", autoload.into()),
            ("BENCH_WORKERMAN", checkout.into()),
            ("BENCH_PLACE", "{place}".into()),
        ],
        line: [
            "php",
            "-d",
            "opcache.enable_cli=1",
            "-d",
            "opcache.jit=tracing",
            "-d",
            "opcache.jit_buffer_size=64M",
            "{place}/both.php",
            "start",
            "{protocol}",
            "{address}",
        ]
        .map(OsString::from)
        .into(),
    };
    let pair = |speech| Pair {
        language: "php",
        speech,
        ours: program("workhive".to_owned(), ours.clone(), checkout.clone()),
        theirs: program(
            format!("Workerman, PHP {versions}"),
            PathBuf::from("{place}/workerman.php"),
            checkout.clone(),
        ),
    };
    Ok(vec![pair(Speech::Http), pair(Speech::WebSocket)])
}

/// What a program prints, without the line's end; why there is none otherwise.
fn said(command: &mut Command) -> Result<String, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        let why = why
            .lines()
            .rfind(|line| !line.trim().is_empty())
            .unwrap_or("");
        return Err(format!("{program}: {why}"));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// One of them at work.
#[derive(Debug)]
pub(crate) struct Server {
    running: Running,
    speech: Speech,
    address: SocketAddr,
}

impl Contestant {
    /// Starts it at a free port, and at a core if one is given.
    pub(crate) fn start(&self, speech: Speech, core: Option<usize>) -> Result<Server, BenchError> {
        let place = process::place()?;
        for (name, text) in &self.files {
            fs::write(place.path().join(name), text)
                .map_err(BenchError::io("writing a program"))?;
        }
        let address = free_address()?;
        let filled = |part: &OsString| -> OsString {
            let part = part.to_string_lossy();
            part.replace("{place}", &place.path().to_string_lossy())
                .replace("{address}", &address.to_string())
                .replace("{protocol}", speech.scheme())
                .into()
        };
        let mut line: Vec<OsString> = vec!["peer".into(), "--tied".into()];
        if let Some(core) = core {
            line.extend(["--core".into(), core.to_string().into()]);
        }
        line.push("env".into());
        for (name, value) in &self.settings {
            let mut setting = OsString::from(name);
            setting.push("=");
            setting.push(filled(value));
            line.push(setting);
        }
        line.extend(self.line.iter().map(filled));
        Ok(Server {
            running: Running::start(self.name.clone(), line, place, false)?,
            speech,
            address,
        })
    }
}

impl Server {
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// All its processes.
    pub(crate) fn family(&self) -> Vec<u32> {
        self.running.family()
    }

    /// Waits until it has answered a question rightly.
    pub(crate) fn await_ready(&mut self) -> Result<(), BenchError> {
        let deadline = Instant::now() + START;
        while let Err(error) = asked(self.speech, self.address) {
            self.running.check()?;
            if Instant::now() > deadline || matches!(error, BenchError::Wrong { .. }) {
                return Err(self.running.failed(&format!("does not serve: {error}")));
            }
            sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    pub(crate) fn explain(&self, error: &BenchError) -> BenchError {
        self.running.explain(error)
    }

    pub(crate) fn stop(self) -> Result<(), BenchError> {
        self.running.stop()
    }
}
