//! Timers: once, again and again, stopped, and one for each connection.
//!
//! ```sh
//! cargo run --example timers
//! nc 127.0.0.1 7000
//! ```

use std::time::{Duration, Instant};

use workhive::{Cli, Exit, Text, Worker};

fn main() -> Exit {
    let cli = Cli::new("timers").option("text", "ADDR", "127.0.0.1:7000", "Where clients connect");
    let args = match cli.parse() {
        Ok(args) => args,
        Err(exit) => return exit,
    };
    let worker = Worker::<Text>::new(args.value("text"))
        .state(|_place| Ok(0u32))
        .on_worker_start(|worker| {
            let started = Instant::now();
            let ticking = worker.every(Duration::from_millis(100), |worker| {
                *worker.state_mut() += 1;
                Ok(())
            })?;
            worker.after(Duration::from_millis(1050), move |worker| {
                worker.cancel(ticking);
                let (ticks, after) = (worker.state(), started.elapsed().as_millis());
                println!("{ticks} ticks in {after} ms, now stopped");
                Ok(())
            })?;
            Ok(())
        })
        .on_connect(|conn| {
            let client = conn.handle();
            let timer = conn
                .process()
                .every(Duration::from_millis(200), move |worker| {
                    client.send(format!("{} ticks so far", worker.state()))
                });
            timer.map(|_| ())
        });
    args.run_all([worker])
}
