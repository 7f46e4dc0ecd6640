//! A process whose loop is nested in the loop of a host: everything that the host does to it between two turns, and
//! everything that comes due, makes the one descriptor readable that the host waits for.

use std::cell::{Cell, RefCell};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use workhive_ipc::route::Process as Name;
use workhive_ipc::{MasterEnd, Received, StatsPage, ToMaster, pair};
use workhive_protocols::Text;
use workhive_worker::{
    Address, Definition, Error, Handle, Hosting, Inherited, Place, Process, Program, Running, Seat,
    bind, touch,
};

/// How long anything may take that takes microseconds on a quiet machine.
const LIMIT: Duration = Duration::from_secs(20);

/// A process of a hive that has no other, and the host that runs it.
struct Host {
    running: Running,
    master: MasterEnd,
    address: SocketAddr,
    page: StatsPage,
}

impl Host {
    fn begin(program: &Program) -> Self {
        let wildcard: Address = "127.0.0.1:0".parse().expect("an address");
        let listener = TcpListener::from(bind(&wildcard, false, 16).expect("a free port"));
        let address = listener.local_addr().expect("bound");
        let (master, control) = pair().expect("a link");
        let page = StatsPage::new(1).expect("a page");
        let seat = Seat {
            place: Place {
                group: "hosted".to_owned(),
                slot: 0,
                generation: 0,
                count: 1,
                process: Name {
                    epoch: 1,
                    slot: 0,
                    generation: 0,
                },
                alone: true,
            },
            listener: Some(Inherited {
                socket: listener.into(),
                address: Address::Tcp(address),
                shared: false,
            }),
            control,
            row: page.row(0).expect("the row"),
            drain: Duration::from_secs(10),
            stuck: Duration::from_mins(1),
            clients: None,
        };
        let hosting = Hosting {
            signals: false,
            nested: true,
        };
        Self {
            running: program.begin(seat, hosting).expect("it can begin"),
            master,
            address,
            page,
        }
    }

    /// One round of the host's loop: waits for our descriptor and runs what is due. False if nothing came in time.
    fn round(&mut self, limit: Duration) -> bool {
        let fd = self.running.poll_fd();
        if !readable(fd, limit) {
            return false;
        }
        assert!(!self.running.turn(Some(Duration::ZERO)), "it goes on");
        true
    }

    /// Runs the host's loop until something is true.
    fn until(&mut self, what: &str, mut done: impl FnMut() -> bool) {
        let limit = Instant::now() + LIMIT;
        while !done() {
            assert!(Instant::now() < limit, "{what}: not in {LIMIT:?}");
            self.round(Duration::from_millis(100));
        }
    }

    /// Runs what is left to do, until the descriptor stays quiet.
    fn settle(&mut self) {
        while self.round(Duration::ZERO) {}
    }

    fn connect(&self) -> TcpStream {
        let client = TcpStream::connect(self.address).expect("it listens");
        client
            .set_read_timeout(Some(LIMIT))
            .expect("an open socket");
        client
    }

    /// How many milliseconds it has been at its present turn, as its master sees it; none if it rests.
    fn busy_ms(&self) -> Option<u64> {
        let row = self.page.row(0).expect("the row");
        let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).expect("a clock");
        let now = u64::try_from(Duration::from(now).as_millis()).expect("not that long");
        let deadline = row.counters().heartbeat_deadline_ms;
        assert_ne!(deadline, 0, "a host that is stuck would not be noticed");
        (now + 60_000).checked_sub(deadline)
    }

    fn is_ready(&self) -> bool {
        matches!(
            self.master.recv(),
            Ok(Received::Message(ToMaster::Ready, None))
        )
    }
}

fn readable(fd: i32, limit: Duration) -> bool {
    let fd = borrowed(fd);
    let mut fds = [PollFd::new(fd, PollFlags::POLLIN)];
    let timeout = PollTimeout::try_from(limit.as_millis()).expect("a short time");
    poll(&mut fds, timeout).expect("a descriptor") > 0
}

fn borrowed(fd: i32) -> BorrowedFd<'static> {
    // SAFETY: the caller has it from `poll_fd` of a process that is not finished.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

fn line_from(client: &TcpStream) -> String {
    let mut line = String::new();
    BufReader::new(client).read_line(&mut line).expect("a line");
    line
}

/// Where the first connection's handle goes.
type Met = Rc<Cell<Option<Handle<Text>>>>;

/// Remembers who connected, and answers with what it hears.
fn remembers(met: &Met) -> Program {
    let met = Rc::clone(met);
    Definition::<Text>::new("127.0.0.1:0")
        .map_listener(|listener| {
            listener
                .on_connect(move |conn| {
                    met.set(Some(conn.handle()));
                    Ok(())
                })
                .on_message(|conn, line| conn.send(line))
        })
        .into_program()
}

#[test]
fn the_host_hears_of_sockets_by_one_descriptor() {
    let met = Met::default();
    let mut host = Host::begin(&remembers(&met));
    assert!(
        !host.running.turn(Some(Duration::ZERO)),
        "the first turn starts it"
    );
    assert!(host.is_ready());
    host.settle();
    assert!(
        !host.round(Duration::from_millis(50)),
        "nothing to do, nothing readable"
    );
    let mut client = host.connect();
    client.write_all(b"hello\n").expect("open");
    host.until("the connection", || met.get().is_some());
    host.settle();
    assert_eq!(line_from(&client), "hello\n");
    assert_eq!(host.running.finish(), 0);
}

#[test]
fn what_the_host_sends_between_two_turns_leaves_at_once() {
    let met = Met::default();
    let mut host = Host::begin(&remembers(&met));
    host.running.turn(Some(Duration::ZERO));
    let client = host.connect();
    host.until("the connection", || met.get().is_some());
    host.settle();
    touch();
    let conn = met.get().expect("it has connected");
    conn.send("from the host").expect("it is open");
    assert!(
        host.round(LIMIT),
        "the descriptor says that there is something to do"
    );
    assert_eq!(line_from(&client), "from the host\n");
    assert_eq!(conn.untyped().protocol(), Some("text"));
    assert!(conn.untyped().typed::<Text>().is_some());
    let (index, seq) = conn.untyped().into_raw();
    assert_eq!(Handle::from_raw(index, seq), conn.untyped());
    assert_eq!(Handle::from_raw(index, seq + 1).protocol(), None);
    assert_eq!(host.running.finish(), 0);
    assert_eq!(conn.untyped().protocol(), None);
}

#[test]
fn timers_wake_the_host_and_are_set_from_its_own_time() {
    let met = Met::default();
    let mut host = Host::begin(&remembers(&met));
    host.running.turn(Some(Duration::ZERO));
    host.settle();
    // The loop's time stands still between its turns, and when it was touched last; the host's does not.
    touch();
    let later = Instant::now() + Duration::from_millis(60);
    while Instant::now() < later {
        std::hint::spin_loop();
    }
    let rang = Rc::new(Cell::new(None));
    touch();
    let set_at = Instant::now();
    Process::here(|process| {
        let rang = Rc::clone(&rang);
        process.after(Duration::from_millis(50), move |_| {
            rang.set(Some(Instant::now()));
            Ok(())
        })
    })
    .expect("a timer");
    host.until("the timer", || rang.get().is_some());
    let rang = rang.get().expect("it has rung");
    assert!(
        rang - set_at >= Duration::from_millis(50),
        "not before its time"
    );
    assert_eq!(host.running.finish(), 0);
}

#[test]
fn the_host_is_called_for_the_first_turn_too() {
    let mut host = Host::begin(&remembers(&Met::default()));
    assert!(
        host.round(LIMIT),
        "the descriptor says that there is something to do"
    );
    assert!(host.is_ready());
    assert_eq!(host.running.finish(), 0);
}

#[test]
fn a_process_that_rests_in_its_hosts_loop_is_not_busy_until_its_next_turn_is_due() {
    let mut host = Host::begin(&remembers(&Met::default()));
    host.settle();
    assert_eq!(host.busy_ms(), None);
    touch();
    Process::here(|process| process.after(Duration::from_millis(30), |_| Ok(()))).expect("a timer");
    host.running.turn(Some(Duration::ZERO));
    // The host does not call: from then on it is.
    let limit = Instant::now() + LIMIT;
    while host.busy_ms().is_none() {
        assert!(Instant::now() < limit, "it is not seen to be busy");
        readable(host.running.poll_fd(), Duration::from_millis(50));
    }
    host.settle();
    assert_eq!(host.busy_ms(), None);
    assert_eq!(host.running.finish(), 0);
}

#[test]
fn an_edge_triggered_host_hears_of_more_than_one_turn_can_take() {
    let counted = Rc::new(Cell::new(0));
    let heard = Rc::clone(&counted);
    let program = Definition::<Text>::new("127.0.0.1:0")
        .map_listener(|listener| {
            listener.on_message(move |_, _| {
                heard.set(heard.get() + 1);
                Ok(())
            })
        })
        .into_program();
    // Two descriptors for each of them.
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, most.min(20_000), most).expect("as many as are allowed");
    let mut host = Host::begin(&program);
    host.settle();
    // More than the loop takes from the kernel at once, all of which are ready in the same moment.
    let mut clients = Vec::new();
    for _ in 0..1100 {
        clients.push(host.connect());
        host.settle();
    }
    let edge = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).expect("an epoll instance");
    let event = EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, 0);
    edge.add(borrowed(host.running.poll_fd()), event)
        .expect("a descriptor that can be watched");
    for client in &mut clients {
        client.write_all(b"hello\n").expect("open");
    }
    let mut events = [EpollEvent::empty()];
    while counted.get() < clients.len() {
        let told = edge
            .wait(&mut events, EpollTimeout::from(20_000u16))
            .expect("waiting");
        assert_eq!(told, 1, "{} of {} were heard", counted.get(), clients.len());
        host.running.turn(Some(Duration::ZERO));
    }
    assert_eq!(host.running.finish(), 0);
}

#[test]
fn a_timer_that_was_cancelled_leaves_nothing_to_do() {
    let mut host = Host::begin(&remembers(&Met::default()));
    host.settle();
    touch();
    Process::here(|process| {
        let timer = process.after(Duration::from_millis(20), |_| Ok(()))?;
        assert!(process.cancel(timer));
        Ok::<(), Error>(())
    })
    .expect("a timer");
    host.settle();
    // Also when its time has passed.
    assert!(!host.round(Duration::from_millis(40)));
    host.running.turn(Some(Duration::ZERO));
    assert!(
        !host.round(Duration::from_millis(40)),
        "it would go on for ever"
    );
    assert_eq!(host.running.finish(), 0);
}

#[test]
fn a_timer_that_a_long_callback_starts_has_all_its_time() {
    let rang = Rc::new(Cell::new(None));
    let told = Rc::clone(&rang);
    let program = Definition::<Text>::new("127.0.0.1:0")
        .on_worker_start(move |worker| {
            let later = Instant::now() + Duration::from_millis(60);
            while Instant::now() < later {
                std::hint::spin_loop();
            }
            let (told, set_at) = (Rc::clone(&told), Instant::now());
            worker.after(Duration::from_millis(50), move |_| {
                told.set(Some(set_at.elapsed()));
                Ok(())
            })?;
            Ok(())
        })
        .into_program();
    let mut host = Host::begin(&program);
    host.until("the timer", || rang.get().is_some());
    let took = rang.get().expect("it has rung");
    assert!(took >= Duration::from_millis(50), "{took:?}");
    assert_eq!(host.running.finish(), 0);
}

#[test]
fn readiness_can_wait_for_the_application() {
    let program = Definition::<Text>::new("127.0.0.1:0")
        .on_worker_start(|worker| {
            worker.defer_ready();
            Ok(())
        })
        .map_listener(|listener| listener.on_message(|conn, line| conn.send(line)))
        .into_program();
    let mut host = Host::begin(&program);
    host.running.turn(Some(Duration::ZERO));
    host.settle();
    assert!(!host.is_ready());
    touch();
    Process::here(|process| {
        process.ready();
    });
    assert!(host.round(LIMIT));
    assert!(host.is_ready());
    let mut client = host.connect();
    client.write_all(b"are you there?\n").expect("open");
    let answered = || readable(std::os::fd::AsRawFd::as_raw_fd(&client), Duration::ZERO);
    host.until("the answer", answered);
    assert_eq!(line_from(&client), "are you there?\n");
    assert_eq!(host.running.finish(), 0);
}

#[test]
fn a_process_that_will_not_be_ready_says_why() {
    let program = Definition::<Text>::new("127.0.0.1:0")
        .on_worker_start(|worker| {
            worker.defer_ready();
            Ok(())
        })
        .into_program();
    let mut host = Host::begin(&program);
    host.running.turn(Some(Duration::ZERO));
    touch();
    Process::here(|process| process.not_ready("no catalogue"));
    assert!(host.running.turn(Some(LIMIT)), "it is to end");
    let said = host.master.recv().expect("a message");
    let Received::Message(ToMaster::BootFailed { reason }, None) = said else {
        panic!("it says something else");
    };
    assert_eq!(reason, "no catalogue");
    assert_eq!(host.running.finish(), 1);
}

#[test]
fn work_that_goes_on_after_a_callback_can_fail_its_connection() {
    let met = Met::default();
    let why = Rc::new(RefCell::new(String::new()));
    let (seen, heard) = (Rc::clone(&met), Rc::clone(&why));
    let program = Definition::<Text>::new("127.0.0.1:0")
        .map_listener(|listener| {
            listener
                .on_connect(move |conn| {
                    seen.set(Some(conn.handle()));
                    Ok(())
                })
                .on_error(move |_, error| {
                    *heard.borrow_mut() = error.to_string();
                    Ok(())
                })
        })
        .into_program();
    let mut host = Host::begin(&program);
    host.running.turn(Some(Duration::ZERO));
    let (client, other) = (host.connect(), host.connect());
    host.until("a connection", || met.get().is_some());
    host.settle();
    let conn = met.get().expect("it has connected");
    touch();
    assert!(conn.hold());
    conn.fail(Error::msg("the database is gone"));
    conn.release();
    host.until("the error", || !why.borrow().is_empty());
    assert!(
        why.borrow().ends_with("the database is gone"),
        "{}",
        why.borrow()
    );
    host.settle();
    // One of the two, whichever was accepted last.
    let ended = [&client, &other].into_iter().filter(|client| {
        client.set_nonblocking(true).expect("an open socket");
        matches!(client.peek(&mut [0]), Ok(0))
    });
    assert_eq!(ended.count(), 1);
    assert_eq!(host.running.finish(), 0);
}

#[test]
fn a_host_between_two_turns_can_bind_uids() {
    let met = Met::default();
    let mut host = Host::begin(&remembers(&met));
    host.running.turn(Some(Duration::ZERO));
    let client = host.connect();
    host.until("the connection", || met.get().is_some());
    host.settle();
    let conn = met.get().expect("it has connected").untyped();
    touch();
    let bound = Rc::new(Cell::new(false));
    let told = Rc::clone(&bound);
    conn.bind_uid_then("u1", move || {
        told.set(true);
        Ok(())
    })
    .expect("it is open");
    host.until("the binding", || bound.get());
    touch();
    Process::here(|process| process.hive().send_to_uid("u1", "to whom it concerns"))
        .expect("a hive");
    host.settle();
    assert_eq!(line_from(&client), "to whom it concerns\n");
    assert_eq!(conn.uids().len(), 1);
    assert_eq!(host.running.finish(), 0);
}
