//! A program with threads, allocations and children of its own before its hive starts, as hosts of other languages have.

use std::fs::OpenOptions;
use std::io::Write;
use std::process::Command;
use std::thread;
use std::time::Duration;

use workhive::{Cli, Exit, Text, Worker};

fn main() -> Exit {
    let cli = Cli::new("hosts")
        .option("text", "ADDR", "127.0.0.1:0", "Where clients connect")
        .option(
            "children",
            "FILE",
            "",
            "Where the exit codes of children are recorded, as long as it is there: a line for each, with the code that was due",
        );
    let args = match cli.parse() {
        Ok(args) => args,
        Err(exit) => return exit,
    };
    let record = args.value("children").to_owned();
    if !record.is_empty() {
        for _ in 0..2 {
            thread::spawn(allocate);
        }
        thread::spawn(move || have_children(&record));
    }
    let worker = Worker::<Text>::new(args.value("text"))
        .name("hosts")
        .on_message(|conn, _line| {
            let process = conn.process();
            let place = process.place();
            let answer = format!("{} {} {}", place.slot(), place.generation(), process.pid());
            conn.send(answer)
        });
    args.run_all([worker])
}

/// Keeps the allocator's locks busy: a child that was forked at the wrong moment would wait for them for ever.
fn allocate() {
    let mut kept = Vec::new();
    for size in (1..).map(|n: usize| n * 37 % 4096) {
        kept.push(vec![1_u8; size]);
        if kept.len() > 1000 {
            kept.clear();
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Waits for its own children, one after the other.
fn have_children(record: &str) {
    for due in (0..100).cycle() {
        let ended = Command::new("/bin/sh")
            .args(["-c", &format!("exit {due}")])
            .status();
        let came = match ended {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        let Ok(mut file) = OpenOptions::new().append(true).open(record) else {
            return;
        };
        // At once: all processes of the hive write here.
        let line = format!("{} {due} {came}\n", std::process::id());
        file.write_all(line.as_bytes()).expect("a file");
        thread::sleep(Duration::from_millis(5));
    }
}
