//! A program whose processes each open the same HTTP listener, and a text listener of their own to be told what to do
//! with it.

use workhive::{Cli, Exit, Http, Listener, Process, Response, Result, Text, Worker};

fn main() -> Exit {
    let cli = Cli::new("listens_inside")
        .option("http", "ADDR", "127.0.0.1:0", "Where all processes listen")
        .option(
            "sharing",
            "HOW",
            "plain",
            "plain, reuse_port, shared or both",
        )
        .option(
            "text",
            "ADDR,ADDR..",
            "",
            "Where the process of each slot takes orders",
        )
        .flag(
            "tolerant",
            "Go on without the HTTP listener if it cannot be had",
        );
    let args = match cli.parse() {
        Ok(args) => args,
        Err(exit) => return exit,
    };
    let http = args.value("http").to_owned();
    let sharing = args.value("sharing").to_owned();
    let orders: Vec<String> = args.value("text").split(',').map(str::to_owned).collect();
    let tolerant = args.flag("tolerant");
    let worker = Worker::without_listener()
        .name("inside")
        .on_worker_start(move |worker| {
            let place = worker.place();
            let opened = open(worker, &http, &sharing);
            match (&opened, tolerant) {
                (Err(error), true) => println!("slot {} does without: {error}", place.slot()),
                _ => opened?,
            }
            let Some(address) = orders
                .get(place.slot())
                .filter(|address| !address.is_empty())
            else {
                return Ok(());
            };
            let (http, sharing) = (http.clone(), sharing.clone());
            worker.listen(
                Listener::<Text>::new(address).on_message(move |conn, line| {
                    let mut worker = conn.process();
                    let done = match line.as_text()? {
                        "listen" => open(&mut worker, &http, &sharing),
                        "unlisten" => worker.unlisten(&http),
                        "pause" => worker.pause_accept(&http),
                        "resume" => worker.resume_accept(&http),
                        _ => Ok(()),
                    };
                    let listening: Vec<_> =
                        worker.listeners().iter().map(ToString::to_string).collect();
                    conn.send(match done {
                        Ok(()) => listening.join(" "),
                        Err(error) => format!("error: {error}"),
                    })
                }),
            )
        });
    args.run_all([worker])
}

fn open(worker: &mut Process<'_>, address: &str, sharing: &str) -> Result {
    let place = worker.place();
    let answer = format!("{} {} {}", place.slot(), place.generation(), worker.pid());
    worker.listen(
        Listener::<Http>::new(address)
            .reuse_port(sharing == "reuse_port" || sharing == "both")
            .shared(sharing == "shared" || sharing == "both")
            .on_message(move |conn, request| match request.path() {
                "/" => conn.send(Response::text("Hello, World!")),
                _ => conn.send(Response::text(answer.clone())),
            }),
    )
}
