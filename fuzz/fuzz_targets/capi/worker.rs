//! A worker at work in this process, without a master, with clients that send the fuzzer's bytes.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use socket2::SockRef;
use workhive_embed::codes::WH_OK;
use workhive_embed::hive::{WH_HIVE_SIGNALS, wh_hive_add, wh_hive_free, wh_hive_set_int};
use workhive_embed::run::{wh_finish, wh_poll_fd, wh_run_once};
use workhive_ipc::route::Process as Name;
use workhive_ipc::{ListenOutcome, MasterEnd, Received, StatsPage, ToMaster, ToWorker, pair};
use workhive_worker::{Address, Inherited, Place, Seat};

use crate::arguments::{byte, is_over, slice};
use crate::calls::{self, check};

/// One for all runs.
fn listener() -> &'static TcpListener {
    static LISTENER: OnceLock<TcpListener> = OnceLock::new();
    LISTENER.get_or_init(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a socket");
        listener
    })
}

/// Answers what a worker waits for, and nothing else.
fn master(end: &MasterEnd) {
    loop {
        let (id, outcome) = match end.recv_within(Duration::from_secs(20)) {
            Ok(Received::Message(ToMaster::RequestKept { id, .. }, _)) => {
                (id, ListenOutcome::NotKept)
            }
            Ok(Received::Message(ToMaster::RequestShared { id, .. }, _)) => {
                (id, ListenOutcome::Refused { errno: 13 })
            }
            Ok(Received::Message(..)) => continue,
            _ => return,
        };
        let _ = end.send(&ToWorker::Listener { id, outcome }, None);
    }
}

fn seat(address: SocketAddr, page: &StatsPage, control: workhive_ipc::WorkerEnd) -> Seat {
    Seat {
        place: Place {
            group: "fuzz".to_owned(),
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
            socket: listener().try_clone().expect("a descriptor").into(),
            address: Address::Tcp(address),
            shared: false,
        }),
        control,
        row: page.row(0).expect("the row"),
        drain: Duration::from_millis(50),
        stuck: Duration::from_mins(1),
        clients: None,
    }
}

/// What a client says first, by protocol.
fn greeting(protocol: u8) -> Vec<u8> {
    match protocol {
        2 => b"GET /chat?x=1 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
               Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
            .to_vec(),
        1 => b"GET /?q HTTP/1.1\r\nHost: x\r\nA: b\r\n\r\n".to_vec(),
        _ => Vec::new(),
    }
}

/// A piece of what a client says: as it comes, or in the words of its protocol.
fn words(protocol: u8) -> Vec<u8> {
    let raw = slice(64);
    if byte() % 4 == 0 {
        return raw;
    }
    let len = u8::try_from(raw.len()).expect("at most 63");
    match protocol {
        0 => [raw.as_slice(), b"\n"].concat(),
        1 => {
            let head = format!("POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: {len}\r\n\r\n");
            [head.as_bytes(), &raw].concat()
        }
        // A masked frame (RFC 6455 5.2) with a mask of zeros.
        2 => [
            &[0x80 | (byte() % 11), 0x80 | len, 0, 0, 0, 0],
            raw.as_slice(),
        ]
        .concat(),
        3 => [&[0, 0, 0, len + 4], raw.as_slice()].concat(),
        _ => raw,
    }
}

fn client(address: SocketAddr, protocol: u8) -> Option<TcpStream> {
    let mut client = TcpStream::connect(address).ok()?;
    client.set_nonblocking(true).ok()?;
    // A reset at the end: no port is kept for minutes.
    SockRef::from(&client)
        .set_linger(Some(Duration::ZERO))
        .ok()?;
    if byte() % 8 > 0 {
        let _ = client.write(&greeting(protocol));
    }
    Some(client)
}

/// A hive with one worker, seated; turns, clients and calls; its end.
pub fn run() {
    const SCHEMES: [&str; 6] = ["text", "http", "websocket", "frame", "tcp", "own"];
    let address = listener().local_addr().expect("bound");
    let protocol = byte() % 6;
    if protocol == 5 {
        calls::register();
    }
    let worker =
        calls::new_worker(format!("{}://{address}", SCHEMES[usize::from(protocol)]).as_bytes());
    for _ in 0..byte() % 4 {
        calls::set_option(worker);
    }
    for _ in 0..8 + byte() % 16 {
        calls::listen_to(worker);
    }
    let hive = calls::new_hive();
    check(wh_hive_set_int(hive, WH_HIVE_SIGNALS, 1));
    if check(wh_hive_add(hive, worker)) != WH_OK {
        return;
    }
    let page = StatsPage::new(1).expect("a page");
    let (end, control) = pair().expect("a link");
    let master = thread::spawn(move || master(&end));
    assert!(workhive_embed::fuzzing::sit(
        hive,
        seat(address, &page, control)
    ));
    let (mut over, mut fd, mut code) = (0, 0, 0);
    if byte() % 2 == 0 {
        // SAFETY: there is room for a number.
        check(unsafe { wh_poll_fd(hive, &raw mut fd) });
    }
    // SAFETY: likewise. on_worker_start.
    check(unsafe { wh_run_once(hive, 0, &raw mut over) });
    let mut clients: Vec<TcpStream> = (0..1 + byte() % 3)
        .filter_map(|_| client(address, protocol))
        .collect();
    for turn in 0..60 {
        match byte() % 8 {
            0 => calls::any(),
            1 => clients.truncate(usize::from(byte() % 3)),
            2 if clients.len() < 4 => clients.extend(client(address, protocol)),
            _ => {
                let which = usize::from(byte()) % clients.len().max(1);
                if let Some(client) = clients.get_mut(which) {
                    let _ = client.write(&words(protocol));
                    let _ = client.read(&mut [0; 4096]);
                }
            }
        }
        // SAFETY: likewise.
        if check(unsafe { wh_run_once(hive, i64::from(turn % 4 == 0), &raw mut over) }) != WH_OK {
            break;
        }
        if over == 1 || (is_over() && turn > 8) {
            break;
        }
    }
    drop(clients);
    // SAFETY: likewise. It may be finished, or freed, already.
    check(unsafe { wh_finish(hive, &raw mut code) });
    check(wh_hive_free(hive));
    master.join().expect("it ends with the link");
}
