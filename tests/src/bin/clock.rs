//! A program that starts timers, blocking work and threads as it is told to, and reports what comes back.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use workhive::{BlockingError, Cli, Conn, Error, Exit, Handle, Process, Result, Text, Worker};

/// How often the ticking timer has ticked, and how much of the work that was queued has come back.
#[derive(Default)]
struct State {
    ticks: u32,
    back: usize,
}

/// Shut until somebody opens it.
type Gate = Arc<(Mutex<bool>, Condvar)>;

fn main() -> Exit {
    let cli = Cli::new("clock").option("text", "ADDR", "127.0.0.1:0", "Where clients connect");
    let args = match cli.parse() {
        Ok(args) => args,
        Err(exit) => return exit,
    };
    let worker = Worker::<Text>::new(args.value("text"))
        .name("clock")
        .state(|_place| Ok(State::default()))
        .on_message(|conn, line| match line.as_text()? {
            "order" => order(conn),
            "tick" => tick(conn),
            "cancel" => cancel(conn),
            "bad" => bad(conn),
            "work" => work(conn),
            "burst" => burst(conn),
            "fill" => fill(conn),
            "mail" => mail(conn),
            "later" => stop_later(conn),
            other => conn.send(other),
        });
    args.run_all([worker])
}

fn millis(number: u64) -> Duration {
    Duration::from_millis(number)
}

/// Timers that are not started in the order of their times.
fn order(conn: &mut Conn<'_, Text, State>) -> Result {
    let client = conn.handle();
    let mut process = conn.process();
    for delay in [60, 20, 40, 0, 100, 80] {
        process.after(millis(delay), move |_| client.send(delay.to_string()))?;
    }
    Ok(())
}

/// A timer that stops itself when it has run three times.
fn tick(conn: &mut Conn<'_, Text, State>) -> Result {
    let client = conn.handle();
    conn.state_mut().ticks = 0;
    let id = Arc::new(Mutex::new(None));
    let own = Arc::clone(&id);
    let timer = conn.process().every(millis(10), move |process| {
        process.state_mut().ticks += 1;
        let ticks = process.state().ticks;
        if ticks == 3 {
            let id = own.lock().unwrap_or_else(PoisonError::into_inner).take();
            let cancelled = id.is_some_and(|id| process.cancel(id));
            process.after(millis(50), move |process| {
                client.send(format!(
                    "{} ticks, cancelled: {cancelled}",
                    process.state().ticks
                ))
            })?;
        }
        client.send(format!("tick {ticks}"))
    })?;
    *id.lock().unwrap_or_else(PoisonError::into_inner) = Some(timer);
    Ok(())
}

fn cancel(conn: &mut Conn<'_, Text, State>) -> Result {
    let client = conn.handle();
    let mut process = conn.process();
    let timer = process.after(millis(10), move |_| client.send("not cancelled"))?;
    let answers = (process.cancel(timer), process.cancel(timer));
    process.after(millis(60), move |_| {
        client.send(format!("quiet, {answers:?}"))
    })?;
    Ok(())
}

/// Timers that fail, and one that does not.
fn bad(conn: &mut Conn<'_, Text, State>) -> Result {
    let client = conn.handle();
    let mut process = conn.process();
    process.after(millis(0), |_| Err(Error::msg("a timer that fails")))?;
    process.after(millis(5), |_| panic!("a timer that panics"))?;
    process.after(millis(10), move |_| client.send("still here"))?;
    Ok(())
}

fn work(conn: &mut Conn<'_, Text, State>) -> Result {
    let client = conn.handle();
    let here = std::thread::current().id();
    conn.process().blocking(
        move || (6 * 7, std::thread::current().id() != here),
        move |_process, result| {
            let (number, elsewhere) = result?;
            let back = std::thread::current().id() == here;
            client.send(format!("{number}, elsewhere: {elsewhere}, back: {back}"))
        },
    )
}

fn burst(conn: &mut Conn<'_, Text, State>) -> Result {
    let client = conn.handle();
    conn.process().blocking(
        || -> u32 { panic!("work that panics") },
        move |_process, result| match result {
            Err(BlockingError::Panicked { what }) => client.send(format!("panicked: {what}")),
            other => client.send(format!("not expected: {other:?}")),
        },
    )
}

/// Queues work that cannot go on, until no more is taken; then lets it go on.
fn fill(conn: &mut Conn<'_, Text, State>) -> Result {
    let client = conn.handle();
    let gate = Gate::default();
    conn.state_mut().back = 0;
    let mut process = conn.process();
    for taken in 0..100_000 {
        let Err(error) = queue(&mut process, &gate, client) else {
            continue;
        };
        match error.downcast_ref() {
            Some(BlockingError::Full { max }) => {
                client.send(format!("{taken} taken, {max} may wait"))?;
            }
            _ => return Err(error),
        }
        let (open, changed) = &*gate;
        *open.lock().unwrap_or_else(PoisonError::into_inner) = true;
        changed.notify_all();
        return Ok(());
    }
    Err(Error::msg("never refused"))
}

fn queue(process: &mut Process<'_, State>, gate: &Gate, client: Handle<Text>) -> Result {
    let gate = Arc::clone(gate);
    process.blocking(
        move || {
            let (open, changed) = &*gate;
            let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
            while !*open {
                open = changed.wait(open).unwrap_or_else(PoisonError::into_inner);
            }
        },
        move |process, result| {
            result?;
            process.state_mut().back += 1;
            client.send(format!("{} back", process.state().back))
        },
    )
}

fn mail(conn: &mut Conn<'_, Text, State>) -> Result {
    let client = conn.handle();
    let mailbox = conn.process().mailbox()?;
    std::thread::spawn(move || {
        // On this thread a handle is of no use, and says so.
        let direct = client.send("directly").is_err();
        let posted = mailbox.post(move |process| {
            process.state_mut().ticks += 1;
            client.send(format!("from a thread, directly refused: {direct}"))
        });
        assert!(posted.is_ok(), "the loop lives");
    });
    Ok(())
}

/// The process ends by its own decision.
fn stop_later(conn: &mut Conn<'_, Text, State>) -> Result {
    conn.send("as you wish")?;
    conn.process().stop();
    Ok(())
}
