//! Timers: once, again and again, stopped, and one for each connection.
//!
//! ```sh
//! cargo run --example timers
//! nc 127.0.0.1 7000
//! ```

use std::time::{Duration, Instant};

use workhive::{Cli, Exit, Text, TimerId, Worker};

fn main() -> Exit {
    let cli = Cli::new("timers").option("text", "ADDR", "127.0.0.1:7000", "Where clients connect");
    let args = match cli.parse() {
        Ok(args) => args,
        Err(exit) => return exit,
    };
    let worker = Worker::<Text>::new(args.value("text"))
        .state(|_place| Ok(0u32))
        .data(|| None::<TimerId>)
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
            let every = Duration::from_millis(200);
            let timer = conn.process().every(every, move |worker| {
                client.send(format!("{} ticks so far", worker.state()))
            })?;
            *conn.data_mut() = Some(timer);
            Ok(())
        })
        .on_close(|conn| {
            // A timer does not end with the connection that started it.
            if let Some(timer) = conn.data_mut().take() {
                conn.process().cancel(timer);
            }
            Ok(())
        });
    args.run_all([worker])
}
