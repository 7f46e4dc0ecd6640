//! A connection at a shared socket of which only a process knew that cannot take it is served by another one.

use std::io;
use std::time::{Duration, Instant};

use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use workhive_tests::text::TextClient;
use workhive_tests::{Hive, Port, Setup, eventually, proc, program};

struct Fixture {
    hive: Hive,
    port: Port,
    /// The processes of the two slots.
    first: u32,
    other: u32,
}

/// Two processes at one socket; the first slot is not filled again once it is empty.
fn obeys() -> Fixture {
    let port = Port::reserve();
    let setup = Setup::new(program!("obeys"));
    let fail = setup.path("fail");
    let setup = setup.options(["--count", "2", "--text", &port.to_string()]);
    let setup = setup.options(["--fail", fail.to_str().expect("a readable path")]);
    let mut hive = setup.start();
    hive.expect("this slot is to stay down");
    std::fs::write(&fail, "0").expect("a file");
    let (first, other) = (hive.slots()[0], hive.slots()[1]);
    Fixture {
        hive,
        port,
        first,
        other,
    }
}

impl Fixture {
    /// A connection that nobody has accepted, and of which nobody was told but this process, which is held back.
    fn strand(&self, held: &Held) -> TextClient {
        let begin = Instant::now();
        loop {
            assert!(begin.elapsed() < workhive_tests::DEADLINE, "never woken");
            let mut client = TextClient::connect(self.port.addr());
            client.send("who");
            // One of the two gets it. The other's turn comes after some.
            let socket = client.socket();
            socket.set_nonblocking(true).expect("open");
            let answered = eventually("an answer, or the process's wake-up", || {
                match socket.peek(&mut [0]) {
                    Ok(_) => Some(true),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        held.has_come().then_some(false)
                    }
                    Err(error) => panic!("{error}"),
                }
            });
            socket.set_nonblocking(false).expect("open");
            if !answered {
                // The other one, had it been woken, would not sleep before it has looked.
                eventually("the other process's sleep", || is_asleep(self.other));
                if self.waiting() == 1 {
                    return client;
                }
                // It was woken by something else.
                held.go_on();
            }
        }
    }

    /// How many connections are in the queue.
    fn waiting(&self) -> usize {
        // proc(5): local address, peer, state; the second of the two queues of a socket that listens is this one.
        let table = std::fs::read_to_string("/proc/net/tcp").expect("a table");
        let local = format!(":{:04X}", self.port.number());
        let mut rows = table
            .lines()
            .map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
        let row = rows.find(|row| row[1].ends_with(&local) && row[3] == "0A");
        let row = row.expect("a socket that listens");
        let (_, waiting) = row[4].split_once(':').expect("two queues");
        usize::from_str_radix(waiting, 16).expect("a number")
    }
}

/// A process that is traced: it sleeps in `epoll_wait(2)`, and when it is woken goes no further than to its end.
struct Held(Pid);

impl Held {
    fn new(pid: u32) -> Self {
        let pid = Pid::from_raw(pid.cast_signed());
        ptrace::attach(pid).expect("a child of ours may be traced");
        waitpid(pid, None).expect("a tracee");
        ptrace::syscall(pid, None).expect("it is stopped");
        let held = Self(pid);
        held.until_asleep();
        held
    }

    /// From the stop at the end of one wait into the next.
    fn go_on(&self) {
        ptrace::syscall(self.0, None).expect("it is stopped");
        self.until_asleep();
    }

    /// It stops at the beginning and the end of every call, until it is in one that takes its time.
    fn until_asleep(&self) {
        let pid = self.0.as_raw().cast_unsigned();
        eventually("sleep", || {
            if self.has_come() {
                ptrace::syscall(self.0, None).expect("it is stopped");
                return None;
            }
            is_asleep(pid)
        });
    }

    /// True once it has been stopped by the trace.
    fn has_come(&self) -> bool {
        let state = waitpid(self.0, Some(WaitPidFlag::WNOHANG));
        matches!(state.expect("a tracee"), WaitStatus::Stopped(..))
    }

    /// Lets go of it, with a signal.
    fn release(self, signal: Option<Signal>) {
        ptrace::detach(self.0, signal).expect("it is stopped");
    }
}

fn is_asleep(pid: u32) -> Option<()> {
    let state = proc::status_field(pid, "State:")?;
    state.starts_with('S').then_some(())
}

#[test]
fn a_connection_for_which_a_process_was_woken_that_was_killed_is_served_by_another() {
    let fixture = obeys();
    let held = Held::new(fixture.first);
    let mut client = fixture.strand(&held);
    held.release(Some(Signal::SIGKILL));
    assert!(client.line().starts_with("1 "));
}

#[test]
fn a_connection_for_which_a_process_was_woken_that_was_stopped_is_served_by_another() {
    let fixture = obeys();
    let pid = fixture.first;
    let held = Held::new(pid);
    let mut client = fixture.strand(&held);
    held.release(Some(Signal::SIGSTOP));
    assert!(client.line().starts_with("1 "));
    eventually("a stopped process", || {
        let state = proc::status_field(pid, "State:")?;
        state.starts_with('T').then_some(())
    });
    proc::signal(pid, Signal::SIGCONT);
    // It finds nothing there, and that is no trouble.
    eventually("an answer of the first process", || {
        let answer = TextClient::connect(fixture.port.addr()).ask("who");
        answer.starts_with("0 ").then_some(())
    });
}

#[test]
fn a_connection_for_which_a_process_was_woken_that_is_held_up_is_served_by_another() {
    let mut fixture = obeys();
    fixture.hive.expect("is stuck and is killed");
    let pid = fixture.first;
    let due = eventually("a connection to the slot", || {
        let mut client = TextClient::connect(fixture.port.addr());
        let is_there = client.ask("who").starts_with("0 ");
        is_there.then(|| {
            let due = Instant::now() + Duration::from_secs(2);
            assert!(client.ask("later 2000").starts_with("0 "));
            due
        })
    });
    let held = Held::new(pid);
    let mut client = fixture.strand(&held);
    // Timers come before sockets. Nobody tells when it is due but the clock.
    std::thread::sleep(due.saturating_duration_since(Instant::now()) + Duration::from_millis(10));
    held.release(None);
    assert!(client.line().starts_with("1 "));
    proc::signal(pid, Signal::SIGKILL);
}
