//! A program whose processes do as their clients tell them: answer, be busy, be stuck, eat memory, run programs, fail,
//! end.

use std::hash::{BuildHasher, RandomState};
use std::process::Command;
use std::time::{Duration, Instant};

use workhive::{Cli, Error, Exit, Listener, Process, Result, Text, Worker};

fn main() -> Exit {
    let cli = Cli::new("obeys")
        .option("text", "ADDR", "127.0.0.1:0", "Where clients connect")
        .option(
            "inside",
            "ADDR",
            "",
            "Where each process also listens, by its own doing and with a socket of its own",
        )
        .option(
            "fail",
            "FILE",
            "",
            "While it exists, processes of the slots in it cannot start",
        )
        .option(
            "groups",
            "NAMES",
            "obeys",
            "The groups, with a comma between them; the others listen nowhere",
        )
        .flag("reuse-port", "Let every process have a socket of its own");
    let args = match cli.parse() {
        Ok(args) => args,
        Err(exit) => return exit,
    };
    let (fail, inside) = (
        args.value("fail").to_owned(),
        args.value("inside").to_owned(),
    );
    let mut names = args.value("groups").split(',');
    let first = Worker::<Text>::new(args.value("text"))
        .name(names.next().unwrap_or_default())
        .reuse_port(args.flag("reuse-port"))
        .state(|_place| Ok(Vec::<Vec<u8>>::new()))
        .on_worker_start(move |worker| {
            let slots = std::fs::read_to_string(&fail).unwrap_or_default();
            let mut slots = slots.split_ascii_whitespace();
            if slots.any(|slot| slot == worker.slot().to_string()) {
                return Err(Error::msg("this slot is to stay down"));
            }
            if inside.is_empty() {
                return Ok(());
            }
            let listener = Listener::<Text, _>::new(&*inside).reuse_port(true);
            worker.listen(listener.on_message(|conn, line| {
                let answer = obey(&mut conn.process(), line.as_text()?)?;
                conn.send(answer)
            }))
        })
        .on_message(|conn, line| {
            let answer = obey(&mut conn.process(), line.as_text()?)?;
            conn.send(answer)
        });
    let mut groups = vec![first.into_group()];
    groups.extend(names.map(|name| Worker::without_listener().name(name).into_group()));
    args.run_all(groups)
}

fn obey(worker: &mut Process<'_, Vec<Vec<u8>>>, line: &str) -> Result<String> {
    let place = worker.place();
    match line.split_once(' ').unwrap_or((line, "")) {
        ("spin", _) => loop {
            std::hint::spin_loop();
        },
        ("busy", millis) => {
            let end = Instant::now() + Duration::from_millis(millis.parse()?);
            while Instant::now() < end {
                std::hint::spin_loop();
            }
        }
        ("run", script) => {
            let output = Command::new("/bin/sh").args(["-c", script]).output()?;
            let words: Vec<_> = std::str::from_utf8(&output.stdout)?
                .split_ascii_whitespace()
                .collect();
            return Ok(words.join(" "));
        }
        ("fail", why) => return Err(Error::msg(why)),
        ("random", _) => {
            // What a program gets that has nothing but the standard library.
            let keys = RandomState::new();
            return Ok(format!(
                "{:016x}{:016x}",
                keys.hash_one(0),
                keys.hash_one(1)
            ));
        }
        ("later", millis) => {
            let time = Duration::from_millis(millis.parse()?);
            worker.after(time, |_worker| {
                loop {
                    std::hint::spin_loop();
                }
            })?;
        }
        ("eat", mebibytes) => {
            let bytes = mebibytes.parse::<usize>()? << 20;
            worker.state_mut().push(vec![1; bytes]);
        }
        ("exit", code) => std::process::exit(code.parse()?),
        _ => {}
    }
    Ok(format!(
        "{} {} {} {}",
        place.slot(),
        place.generation(),
        worker.pid(),
        place.count()
    ))
}
