//! A program with two groups: one speaks text, the other HTTP.

use workhive::{Cli, Error, Exit, Http, Response, Text, Worker};

fn main() -> Exit {
    let cli = Cli::new("groups")
        .option("text", "ADDR", "127.0.0.1:0", "Where lines come in")
        .option("http", "ADDR", "127.0.0.1:0", "Where requests come in")
        .flag("broken", "Let the second group fail to start");
    let args = match cli.parse() {
        Ok(args) => args,
        Err(exit) => return exit,
    };
    let broken = args.flag("broken");
    let talk = Worker::<Text>::new(args.value("text"))
        .name("talk")
        .count(2)
        .on_message(|conn, line| conn.send(line));
    let web = Worker::<Http>::new(args.value("http"))
        .name("web")
        .on_worker_start(move |_worker| {
            if broken {
                return Err(Error::msg("no web today"));
            }
            Ok(())
        })
        .on_message(|conn, _request| conn.send(Response::text("hello")));
    args.run_all([talk.into_group(), web.into_group()])
}
