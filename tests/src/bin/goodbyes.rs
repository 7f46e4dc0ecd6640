//! A program that says goodbye in words of its own when its processes go away.

use workhive::{Cli, Error, Exit, Http, Response, Text, WebSocket, Worker};

fn main() -> Exit {
    let cli = Cli::new("goodbyes")
        .option(
            "ws",
            "ADDR",
            "127.0.0.1:0",
            "Where a message says what is done at the goodbye",
        )
        .option("text", "ADDR", "127.0.0.1:0", "Where lines are echoed")
        .option(
            "http",
            "ADDR",
            "127.0.0.1:0",
            "Where /wait is answered at the goodbye, and nothing else",
        );
    let args = match cli.parse() {
        Ok(args) => args,
        Err(exit) => return exit,
    };
    let websocket = Worker::<WebSocket>::new(args.value("ws"))
        .name("ws")
        .data(String::new)
        .on_message(|conn, message| {
            message.as_text()?.clone_into(conn.data_mut());
            conn.send("noted")
        })
        .on_goodbye(|conn| match conn.data().as_str() {
            "err" => Err(Error::msg("told to fail")),
            "panic" => panic!("told to panic"),
            "close" => {
                conn.close_with(4000, "moved");
                Ok(())
            }
            "destroy" => {
                conn.destroy();
                Ok(())
            }
            _ => conn.send("come back soon"),
        })
        .on_close(|_conn| {
            println!("websocket closed");
            Ok(())
        });
    let text = Worker::<Text>::new(args.value("text"))
        .name("text")
        .on_message(|conn, line| conn.send(line))
        .on_goodbye(|conn| conn.send("come back soon"));
    let http = Worker::<Http>::new(args.value("http"))
        .name("http")
        .on_message(|conn, request| match request.path() {
            "/wait" => Ok(()),
            _ => conn.send(Response::text("at once")),
        })
        .on_goodbye(|conn| conn.send(Response::status(503)));
    args.run_all([websocket.into_group(), text.into_group(), http.into_group()])
}
