//! A program with handlers, children, an exit and a fork of its own, that lets a hive run in it, as hosts of other languages
//! do.
//!
//! Its first argument says in words what kind of host it is, and where it records what happens to it: `forks`, `refuses`
//! and `lies` fork by themselves, or do not; `nested` runs the master by a loop of its own, beside threads; `keeps` leaves
//! signals to nobody else; `again` starts another hive when the first is over; `logs` takes the lines of the log;
//! `vanishes` removes the program's file; `attaches` takes a place in a hive that is not its own, `listless` without an
//! address, `doubly` with two workers; `deaf` ignores the ends of its children; `elsewhere` goes to another directory before
//! it starts; `piped` ends when it writes to a pipe that nobody reads.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::fd::BorrowedFd;
use std::process::{Child, Command, ExitCode};
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, raise, sigaction};
use nix::unistd::ForkResult;
use workhive::host::{
    Forked, Host, HostedMaster, Hosting, Program, Seat, Signals, Started, log_with,
    put_signals_back, remember,
};
use workhive::{Cli, Group, Text, Worker};

/// Where this program writes down what happens to it.
static RECORD: OnceLock<String> = OnceLock::new();

/// How often each signal has reached this program's own handler.
static CAME: [AtomicI32; 32] = [const { AtomicI32::new(0) }; 32];

/// What the program's child ends with.
const CHILD: i32 = 77;

fn main() -> ExitCode {
    let mut args: Vec<String> = std::env::args().collect();
    let kinds = args.remove(1);
    let (record, kinds) = kinds.split_once(' ').unwrap_or((&kinds, ""));
    let is = |kind: &str| kinds.split(' ').any(|word| word == kind);
    let _ = RECORD.set(record.to_owned());
    install(&[Signal::SIGUSR2, Signal::SIGTERM]);
    if is("piped") {
        let usual = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
        // SAFETY: the default disposition runs no code.
        unsafe { sigaction(Signal::SIGPIPE, &usual) }.expect("a disposition");
    }
    remember();
    if is("elsewhere") {
        std::env::set_current_dir("/").expect("a directory");
    }
    at_exit();
    if is("nested") {
        for _ in 0..2 {
            thread::spawn(|| {
                loop {
                    thread::park();
                }
            });
        }
    }
    if is("logs") {
        log_with(Some(Arc::new(|level, text| {
            note(&format!("log {level} {text}"));
        })));
    }
    if is("vanishes") {
        let program = std::env::current_exe().expect("a program");
        std::fs::remove_file(program).expect("a program");
    }
    let child = Command::new("/bin/sh")
        .args(["-c", &format!("exit {CHILD}")])
        .spawn();
    if is("deaf") {
        let ignored = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
        // SAFETY: to ignore a signal runs no code.
        unsafe { sigaction(Signal::SIGCHLD, &ignored) }.expect("a disposition");
    }
    let mut code = start(&args, &is);
    if is("again") && code == Some(0) {
        note("again");
        code = start(&args, &is);
    }
    let Some(code) = code else {
        // A worker's end: the child is the master's.
        return ExitCode::SUCCESS;
    };
    settle(child);
    ExitCode::from(code)
}

/// Starts a hive; the exit code of one that is over in this process, and none in a worker process.
fn start(args: &[String], is: &dyn Fn(&str) -> bool) -> Option<u8> {
    let mut host = Host::new().nested(is("nested"));
    if is("keeps") {
        host = host.signals(Signals::Host);
    }
    for (word, fork) in [
        ("forks", fork as fn() -> io::Result<Forked>),
        ("refuses", || Err(io::Error::other("not today"))),
        ("lies", || Ok(Forked::Parent { child: 1 })),
    ] {
        if is(word) {
            host = host.fork_with(fork);
        }
    }
    let address = args
        .iter()
        .position(|word| word == "--text")
        .and_then(|at| args.get(at + 1));
    let address = address.map_or("127.0.0.1:0", String::as_str).to_owned();
    if is("attaches") {
        let mut groups = vec![if is("listless") {
            Worker::without_listener().name("listless").into()
        } else {
            group(&address)
        }];
        if is("doubly") {
            groups.push(group("127.0.0.1:0"));
        }
        println!("printed by {}", std::process::id());
        return match host.attach(groups) {
            Ok(Some((program, seat))) => {
                work(&program, seat, is("keeps"));
                None
            }
            Ok(None) => {
                println!("no place");
                Some(9)
            }
            Err(error) => {
                println!("{error}");
                Some(8)
            }
        };
    }
    let cli = Cli::new("hosted").option("text", "ADDR", "", "Where clients connect");
    match host.start(cli, args, [group(&address)]) {
        Started::Over(exit) => Some(exit.code()),
        Started::Master(master) => Some(drive(master, is("keeps"))),
        Started::Worker(program, seat) => {
            work(&program, seat, is("keeps"));
            None
        }
    }
}

/// Runs the loop of a worker to its end.
fn work(program: &Program, seat: Seat, keeps: bool) {
    note("worker");
    let hosting = Hosting {
        signals: !keeps,
        nested: false,
    };
    let code = match program.begin(seat, hosting) {
        Ok(mut running) => {
            while !running.turn(None) {}
            running.finish()
        }
        Err(code) => code,
    };
    note(&format!("worker ended {code}"));
    put_signals_back().expect("dispositions");
    let usual = [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGPIPE];
    let usual = usual.map(|signal| disposition(signal).sa_sigaction == libc::SIG_DFL);
    raise(Signal::SIGTERM).expect("a signal");
    note(&format!("usual {usual:?}, came {}", came()));
}

fn group(address: &str) -> Group {
    Worker::<Text>::new(address)
        .name("hosted")
        .on_message(|conn, line| {
            let pid = std::process::id();
            if let Some((verb, uid)) = line.as_text()?.split_once(' ') {
                let reply = conn.handle();
                if verb == "bind" {
                    return conn.bind_uid_then(uid, |conn| conn.send("bound"));
                }
                let hive = conn.hive().on_outcome(move |outcome| {
                    reply.send(format!("delivered {}", outcome.delivered))
                });
                return Ok(hive.send_to_uid(uid, format!("pushed by {pid}"))?);
            }
            let answer = match line.as_text()? {
                "who" => {
                    let process = conn.process();
                    let place = process.place();
                    format!("{} {} {pid}", place.slot(), place.generation())
                }
                // What has reached the host's own handlers in this process.
                "came" => came(),
                "ignored" => {
                    // What a program that it starts would ignore.
                    let status = Command::new("/bin/grep")
                        .args(["SigIgn", "/proc/self/status"])
                        .output()?;
                    let line = String::from_utf8_lossy(&status.stdout).into_owned();
                    line.trim().trim_start_matches("SigIgn:").trim().to_owned()
                }
                "child" => {
                    let code = Command::new("/bin/sh").args(["-c", "exit 5"]).status()?;
                    code.code().unwrap_or(-1).to_string()
                }
                _ => "who, came, ignored, child, bind UID or push UID".to_owned(),
            };
            conn.send(answer)
        })
        .into()
}

/// A loop of the program's own, which has something else to do as well.
fn drive(mut master: HostedMaster, keeps: bool) -> u8 {
    let watched = master.poll_fd();
    // A copy of a host may end without knowing that it had a master in it.
    // SAFETY: the copy asks the master, which does nothing in it, and ends.
    match unsafe { nix::unistd::fork() }.expect("a copy") {
        ForkResult::Child => {
            let refused = master.turn(Some(Duration::ZERO)).is_err();
            master.signal(Signal::SIGTERM as i32);
            let code = master.finish().code();
            note(&format!("copy {refused} {code}"));
            // SAFETY: ends the copy, and runs nothing of the program.
            unsafe { libc::_exit(0) };
        }
        ForkResult::Parent { child } => {
            nix::sys::wait::waitpid(child, None).expect("the copy's end");
        }
    }
    let mut tick = Instant::now();
    let mut ticks = 0_u32;
    loop {
        // SAFETY: the descriptor is the master's, which lives, and stays the same.
        let fd = unsafe { BorrowedFd::borrow_raw(watched) };
        let until = (tick + Duration::from_millis(10)).saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(until.as_millis()).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(fd, PollFlags::POLLIN)];
        let readable = match nix::poll::poll(&mut fds, timeout) {
            Ok(number) => number > 0,
            Err(_) => false,
        };
        let told = keeps && CAME[Signal::SIGTERM as usize].swap(0, Ordering::Relaxed) > 0;
        if told {
            master.signal(Signal::SIGTERM as i32);
        }
        if (readable || told) && master.turn(Some(Duration::ZERO)).expect("a loop") {
            note(&format!("ticks {}", ticks > 0));
            return master.finish().code();
        }
        if tick.elapsed() >= Duration::from_millis(10) {
            tick = Instant::now();
            ticks += 1;
        }
    }
}

/// What the program finds when its hive is over: its child, and its handlers.
fn settle(child: io::Result<Child>) {
    // That of a daemon is its starter's.
    let ended = child.and_then(|mut child| child.wait());
    let code = ended.ok().and_then(|status| status.code());
    note(&format!("child {:?}", code == Some(CHILD)));
    let mask = SigSet::thread_get_mask().expect("a mask");
    note(&format!(
        "blocked {}, children ignored {}",
        mask.iter().count(),
        disposition(Signal::SIGCHLD).sa_sigaction == libc::SIG_IGN
    ));
    for signal in [Signal::SIGUSR2, Signal::SIGTERM] {
        let before = CAME[signal as usize].load(Ordering::Relaxed);
        raise(signal).expect("a signal");
        let after = CAME[signal as usize].load(Ordering::Relaxed);
        note(&format!("{signal} {}", after - before));
    }
}

/// The program's own way to make a copy of itself.
fn fork() -> io::Result<Forked> {
    note(&format!("fork, on stack {}", is_on_stack(Signal::SIGTERM)));
    // SAFETY: this program has one thread when it comes here, so its copy may run any code.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => Ok(Forked::Parent {
            child: child.as_raw(),
        }),
        ForkResult::Child => {
            note("forked");
            Ok(Forked::Child)
        }
    }
}

extern "C" fn on_signal(signal: i32) {
    CAME[usize::try_from(signal).unwrap_or(0)].fetch_add(1, Ordering::Relaxed);
}

fn install(signals: &[Signal]) {
    let action = SigAction::new(
        SigHandler::Handler(on_signal),
        SaFlags::SA_RESTART,
        SigSet::empty(),
    );
    for signal in signals {
        // SAFETY: the handler adds to a number, and does nothing else.
        unsafe { sigaction(*signal, &action) }.expect("a handler");
    }
}

/// True if the handler of a signal runs on the alternate stack of a thread that has one.
fn is_on_stack(signal: Signal) -> bool {
    disposition(signal).sa_flags & libc::SA_ONSTACK != 0
}

fn disposition(signal: Signal) -> libc::sigaction {
    let mut found = std::mem::MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: nothing is changed, and what is there now is written to the room that is given.
    let result = unsafe { libc::sigaction(signal as i32, std::ptr::null(), found.as_mut_ptr()) };
    assert_eq!(result, 0);
    // SAFETY: the call has written it.
    unsafe { found.assume_init() }
}

fn came() -> String {
    let signals = [Signal::SIGTERM, Signal::SIGUSR1, Signal::SIGUSR2];
    let counts = signals.map(|signal| CAME[signal as usize].load(Ordering::Relaxed).to_string());
    counts.join(" ")
}

fn at_exit() {
    extern "C" fn goodbye() {
        note("exit");
    }
    // SAFETY: the function lives as long as the program, and may run at its end.
    let result = unsafe { libc::atexit(goodbye) };
    assert_eq!(result, 0);
}

/// Writes a line down, with this process's number in front.
fn note(text: &str) {
    let path = RECORD.get().expect("a record");
    let file = OpenOptions::new().append(true).create(true).open(path);
    // At once: all processes write here.
    let line = format!("{} {text}\n", std::process::id());
    file.and_then(|mut file| file.write_all(line.as_bytes()))
        .expect("a record");
}
