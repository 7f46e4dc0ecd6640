//! A program whose processes start, or do not, as a file says.
//!
//! Every attempt is recorded: one line with slot, generation and pid. Lines that clients send are answered with the
//! same three numbers.

use std::fs::OpenOptions;
use std::io::Write;

use workhive::{Cli, Error, Exit, Process, Result, Text, Worker};

fn main() -> Exit {
    let cli = Cli::new("boots")
        .option("text", "ADDR", "127.0.0.1:0", "Where clients connect")
        .option("record", "FILE", "", "Where every attempt is recorded")
        .option(
            "fail",
            "FILE",
            "",
            "While it exists: how to fail. error, exit, panic, abort, wait; or a slot and one of them",
        )
        .flag("steady", "Do not replace the processes at a reload")
        .flag("reuse-port", "Let every process have a socket of its own");
    let args = match cli.parse() {
        Ok(args) => args,
        Err(exit) => return exit,
    };
    let (record, fail) = (
        args.value("record").to_owned(),
        args.value("fail").to_owned(),
    );
    let worker = Worker::<Text>::new(args.value("text"))
        .name("boots")
        .reuse_port(args.flag("reuse-port"))
        .reloadable(!args.flag("steady"))
        .on_worker_reload(|worker| {
            println!("told to reload: {}", whoami(worker));
            Ok(())
        })
        .on_worker_stop(|worker| {
            println!("stopped in good order: {}", whoami(worker));
            Ok(())
        })
        .on_worker_start(move |worker| {
            if !record.is_empty() {
                let mut file = OpenOptions::new().append(true).create(true).open(&record)?;
                writeln!(file, "{}", whoami(worker))?;
            }
            boot(worker, &fail)
        })
        .on_message(|conn, _line| {
            let answer = whoami(&conn.process());
            conn.send(answer)
        });
    args.run_all([worker])
}

fn whoami(worker: &Process<'_>) -> String {
    let place = worker.place();
    format!("{} {} {}", place.slot(), place.generation(), worker.pid())
}

fn boot(worker: &Process<'_>, fail: &str) -> Result {
    let how = std::fs::read_to_string(fail).unwrap_or_default();
    let how = match how.trim().split_once(' ') {
        Some((slot, how)) if slot == worker.slot().to_string() => how.to_owned(),
        Some(_) => return Ok(()),
        None => how.trim().to_owned(),
    };
    match how.as_str() {
        "error" => return Err(Error::msg("the database is on fire")),
        "exit" => std::process::exit(7),
        "panic" => panic!("the boot has burst"),
        // Until somebody opens the other end of the pipe beside the file.
        "wait" => drop(std::fs::File::open(format!("{fail}.pipe"))?),
        "abort" => std::process::abort(),
        _ => {}
    }
    Ok(())
}
