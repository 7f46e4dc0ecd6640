//! A program that leaves a mark wherever it begins, and tells which of its versions it is: what was written behind the
//! program in its file, as `VERSION=2`.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};

use workhive::{Cli, Exit, Result, Text, Worker};

/// What is looked through at the end of the file, in bytes.
const TAIL: i64 = 64;

fn main() -> Exit {
    let cli = Cli::new("begins")
        .option("text", "ADDR", "127.0.0.1:0", "Where clients connect")
        .option(
            "record",
            "FILE",
            "",
            "Where every process that begins leaves its pid",
        )
        .flag("thread", "Have a second thread from the beginning");
    let args = match cli.parse() {
        Ok(args) => args,
        Err(exit) => return exit,
    };
    if mark(args.value("record")).is_err() {
        return Exit::FAILURE;
    }
    if args.flag("thread") {
        std::thread::spawn(|| {
            loop {
                std::thread::park();
            }
        });
    }
    let worker = Worker::<Text>::new(args.value("text"))
        .name("begins")
        .on_message(|conn, line| {
            let place = conn.process().place().to_string();
            let answer = match line
                .as_text()?
                .split_once(' ')
                .unwrap_or((line.as_text()?, ""))
            {
                ("who", _) => format!("{place} {} {}", std::process::id(), version()?),
                ("panic", text) => panic!("{text}"),
                ("run", command) => {
                    let mut words = command.split(' ');
                    let output = std::process::Command::new(words.next().unwrap_or_default())
                        .args(words)
                        .output()?;
                    String::from_utf8_lossy(&output.stdout)
                        .trim()
                        .replace('\n', " ")
                }
                _ => "who, panic or run".to_owned(),
            };
            conn.send(answer)
        });
    args.run_all([worker])
}

fn mark(path: &str) -> std::io::Result<()> {
    if path.is_empty() {
        return Ok(());
    }
    let mut file = OpenOptions::new().append(true).create(true).open(path)?;
    file.write_all(format!("{}\n", std::process::id()).as_bytes())
}

fn version() -> Result<String> {
    let mut file = File::open("/proc/self/exe")?;
    file.seek(SeekFrom::End(-TAIL))?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail)?;
    let tail = String::from_utf8_lossy(&tail);
    let version = tail
        .rsplit_once("VERSION=")
        .map_or("0", |(_, version)| version);
    Ok(version.to_owned())
}
