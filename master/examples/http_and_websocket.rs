//! One process, two protocols: what comes in over HTTP reaches the WebSocket clients.
//!
//! ```sh
//! cargo run --example http_and_websocket
//! curl -d 'dinner is ready' http://127.0.0.1:8080/
//! ```

use std::collections::HashSet;

use workhive::{Cli, Exit, Handle, Http, Method, Response, WebSocket, Worker};

/// The state of the process: everybody who is connected by WebSocket.
type Clients = HashSet<Handle<WebSocket>>;

fn main() -> Exit {
    let cli = Cli::new("http_and_websocket")
        .option(
            "http",
            "ADDR",
            "127.0.0.1:8080",
            "Where messages are POSTed",
        )
        .option("ws", "ADDR", "127.0.0.1:8081", "Where clients connect");
    let args = match cli.parse() {
        Ok(args) => args,
        Err(exit) => return exit,
    };
    let ws = args.value("ws").to_owned();
    let worker = Worker::<Http>::new(args.value("http"))
        .state(|_place| Ok(Clients::new()))
        .on_worker_start(move |worker| {
            let clients = worker
                .listener::<WebSocket>(ws.clone())
                .on_websocket_connected(|conn| {
                    let client = conn.handle();
                    conn.state_mut().insert(client);
                    Ok(())
                })
                .on_close(|conn| {
                    let client = conn.handle();
                    conn.state_mut().remove(&client);
                    Ok(())
                });
            worker.listen(clients)
        })
        .on_message(|conn, request| {
            if request.method() != Method::Post {
                return conn.send(Response::status(405).header("Allow", "POST"));
            }
            let text = String::from_utf8_lossy(request.body()).into_owned();
            let sent = conn
                .state()
                .iter()
                .filter(|client| client.send(&text).is_ok());
            let sent = sent.count();
            conn.send(Response::text(format!("sent to {sent}\n")))
        });
    args.run_all([worker])
}
