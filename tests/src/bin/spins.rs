//! A program whose callbacks never return for those who ask for that.

use workhive::{Cli, Exit, Http, Response, Result, Text, WebSocket, Worker};

fn main() -> Exit {
    let cli = Cli::new("spins")
        .option(
            "http",
            "ADDR",
            "127.0.0.1:0",
            "Where the path /stuck is the end",
        )
        .option(
            "text",
            "ADDR",
            "127.0.0.1:0",
            "Where the word stuck is the end",
        )
        .option("ws", "ADDR", "127.0.0.1:0", "The same in a message");
    let args = match cli.parse() {
        Ok(args) => args,
        Err(exit) => return exit,
    };
    let http = Worker::<Http>::new(args.value("http"))
        .name("http")
        .on_message(|conn, request| {
            if request.path() == "/stuck" {
                return spin();
            }
            // Past the request, this is nobody's doing.
            let after = request.path() == "/later";
            conn.send(Response::text("well"))?;
            if after {
                conn.process()
                    .after(std::time::Duration::ZERO, |_| spin())?;
            }
            Ok(())
        });
    let text = Worker::<Text>::new(args.value("text"))
        .name("text")
        .on_message(|conn, line| match line.as_bytes() {
            b"stuck" => spin(),
            _ => conn.send(line),
        });
    let websocket = Worker::<WebSocket>::new(args.value("ws"))
        .name("ws")
        .on_message(|conn, message| match message.as_bytes() {
            b"stuck" => spin(),
            _ => conn.send(message),
        });
    args.run_all([http.into_group(), text.into_group(), websocket.into_group()])
}

fn spin() -> Result {
    loop {
        std::hint::spin_loop();
    }
}
