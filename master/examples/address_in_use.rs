//! Every process of a group opens the same listener: what happens without `reuse_port`, and with it.
//!
//! ```sh
//! cargo run --example address_in_use -- start --count 4               # three of four report EADDRINUSE
//! cargo run --example address_in_use -- start --count 1               # works
//! cargo run --example address_in_use -- start --count 4 --reuse-port  # all four serve
//! ```

use workhive::{Cli, Exit, Http, Listener, Response, Worker};

fn main() -> Exit {
    let cli = Cli::new("address_in_use")
        .option(
            "http",
            "ADDR",
            "127.0.0.1:2016",
            "Where every process listens",
        )
        .flag("reuse-port", "Let every process have a socket of its own");
    let args = match cli.parse() {
        Ok(args) => args,
        Err(exit) => return exit,
    };
    let address = format!("http://{}", args.value("http"));
    let reuse_port = args.flag("reuse-port");
    let worker = Worker::without_listener()
        .name("inner")
        .count(4)
        .on_worker_start(move |worker| {
            let pid = worker.pid();
            worker.listen(
                Listener::<Http>::new(address.clone())
                    .reuse_port(reuse_port)
                    .on_message(move |conn, _request| {
                        conn.send(Response::text(format!("hello from {pid}\n")))
                    }),
            )
        });
    args.run_all([worker])
}
