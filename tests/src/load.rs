//! Many clients at once, and what became of their requests.

use std::fmt::Write as _;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::eventually;
use crate::http::HttpClient;
use crate::ws::WsClient;

/// How long a client thinks that does. An idle connection is one that may be closed just now.
const THOUGHT: Duration = Duration::from_millis(20);

/// The pieces of a slow upload.
const PIECES: usize = 8;

/// What a client does again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Habit {
    /// A new connection for every request, which says so (`Connection: close`).
    Fresh,
    /// A new connection for every request, closed by the client without a word.
    Hasty,
    /// One request after the other on one connection, until the server says that it closes it.
    KeepAlive,
    /// As `KeepAlive`, with bodies of 16 KiB that are sent in two pieces.
    Upload,
    /// As `Upload`, in eight pieces with a pause before each.
    SlowUpload,
    /// As `KeepAlive`, with a body, and with a pause before each request.
    Thoughtful,
    /// As `KeepAlive`, four requests at a time. Those behind an answer that says goodbye were not served, and are not
    /// missed.
    Pipelined,
    /// One message after the other on one WebSocket, until the server says 1012. Against `workhive echo websocket://..`.
    WebSocket,
}

/// All habits of clients that speak HTTP.
pub const HTTP: [Habit; 7] = [
    Habit::Fresh,
    Habit::Hasty,
    Habit::KeepAlive,
    Habit::Upload,
    Habit::SlowUpload,
    Habit::Thoughtful,
    Habit::Pipelined,
];

/// Clients at work against `workhive echo`.
#[derive(Debug)]
pub struct Load {
    done: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<Tally>>,
}

/// What became of the requests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Answered, whole and right.
    pub served: usize,
    /// The connection was refused.
    pub refused: usize,
    /// The connection was reset.
    pub reset: usize,
    /// The answer was cut off, or did not come.
    pub cut: usize,
    /// Everything else that went wrong.
    pub other: Vec<String>,
}

impl Tally {
    /// How many requests were not answered.
    pub fn failed(&self) -> usize {
        self.refused + self.reset + self.cut + self.other.len()
    }

    fn count(&mut self, result: io::Result<()>) {
        match result {
            Ok(()) => self.served += 1,
            Err(error) => match error.kind() {
                ErrorKind::ConnectionRefused => self.refused += 1,
                ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => self.reset += 1,
                ErrorKind::UnexpectedEof => self.cut += 1,
                _ => self.other.push(error.to_string()),
            },
        }
    }

    fn add(mut self, other: Self) -> Self {
        self.served += other.served;
        self.refused += other.refused;
        self.reset += other.reset;
        self.cut += other.cut;
        self.other.extend(other.other);
        self
    }
}

impl Load {
    /// Starts so many clients; their habits are those of `habits`, in turn.
    ///
    /// # Panics
    /// If there are more than 250.
    pub fn new(addr: SocketAddr, clients: usize, habits: &[Habit]) -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let served = Arc::new(AtomicUsize::new(0));
        let threads = (1_u8..=250)
            .zip(habits.iter().cycle())
            .take(clients)
            .map(|(number, habit)| {
                let client = Client {
                    source: Ipv4Addr::new(127, 1, 0, number).into(),
                    addr,
                    done: Arc::clone(&done),
                    served: Arc::clone(&served),
                    tally: Tally::default(),
                };
                let habit = *habit;
                thread::spawn(move || client.run(habit))
            })
            .collect::<Vec<_>>();
        assert_eq!(threads.len(), clients, "too many clients");
        Self {
            done,
            served,
            threads,
        }
    }

    /// Waits until so many more requests were served.
    ///
    /// # Panics
    /// If they are not.
    #[track_caller]
    pub fn serve(&self, more: usize) {
        let goal = self.served.load(Ordering::Relaxed) + more;
        eventually("requests are served", || {
            (self.served.load(Ordering::Relaxed) >= goal).then_some(())
        });
    }

    /// Lets the clients finish, and counts.
    ///
    /// # Panics
    /// If a client did.
    pub fn finish(mut self) -> Tally {
        self.done.store(true, Ordering::Relaxed);
        self.threads
            .drain(..)
            .map(|thread| thread.join().expect("a client does not panic"))
            .fold(Tally::default(), Tally::add)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // Of a test that has failed.
        self.done.store(true, Ordering::Relaxed);
    }
}

struct Client {
    source: IpAddr,
    addr: SocketAddr,
    done: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
    tally: Tally,
}

impl Client {
    fn run(mut self, habit: Habit) -> Tally {
        while !self.done.load(Ordering::Relaxed) {
            if let Err(error) = self.visit(habit) {
                self.tally.count(Err(error));
            }
        }
        self.tally
    }

    /// One connection, from its beginning to its end.
    fn visit(&mut self, habit: Habit) -> io::Result<()> {
        if habit == Habit::WebSocket {
            return self.talk();
        }
        let mut http = HttpClient::connect_from(self.source, self.addr)?;
        let mut number = 0_u32;
        loop {
            for expected in habit.ask(&mut http, number)? {
                let response = http.try_response(false)?;
                if response.status != 200 || response.body != expected.as_bytes() {
                    return Err(io::Error::other(format!(
                        "a wrong answer: {}",
                        response.status
                    )));
                }
                self.served();
                if response.closes() {
                    return match http.rest()? {
                        rest if rest.is_empty() => Ok(()),
                        _ => Err(io::Error::other("bytes behind the last answer")),
                    };
                }
            }
            number += 1;
            if habit == Habit::Hasty || self.done.load(Ordering::Relaxed) {
                return Ok(());
            }
        }
    }

    /// One WebSocket, from its handshake to its goodbye.
    fn talk(&mut self) -> io::Result<()> {
        let mut client = WsClient::try_connect(self.addr)?;
        let mut number = 0_u32;
        while !self.done.load(Ordering::Relaxed) {
            thread::sleep(THOUGHT);
            let text = number.to_string();
            match client.try_exchange(&text)? {
                Some(answer) if answer == text => self.served(),
                Some(answer) => return Err(io::Error::other(format!("a wrong echo: {answer}"))),
                None => return Ok(()),
            }
            number += 1;
        }
        client.close();
        Ok(())
    }

    fn served(&mut self) {
        self.tally.count(Ok(()));
        self.served.fetch_add(1, Ordering::Relaxed);
    }
}

impl Habit {
    /// Sends what is sent before anything is read, and returns the bodies of the answers.
    fn ask(self, http: &mut HttpClient, number: u32) -> io::Result<Vec<String>> {
        let hello = || vec!["Hello, World!".to_owned()];
        match self {
            Self::Fresh => {
                http.send("GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")?;
                Ok(hello())
            }
            Self::Hasty | Self::KeepAlive => {
                http.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n")?;
                Ok(hello())
            }
            Self::Upload => {
                let body = format!("{number:08}").repeat(2048);
                let (first, second) = body.split_at(5000);
                http.send(post(&body, first))?;
                http.send(second)?;
                Ok(vec![body])
            }
            Self::SlowUpload => {
                let body = format!("{number:08}").repeat(2048);
                http.send(post(&body, ""))?;
                for piece in body.as_bytes().chunks(body.len() / PIECES) {
                    thread::sleep(THOUGHT);
                    http.send(piece)?;
                }
                Ok(vec![body])
            }
            Self::Thoughtful => {
                thread::sleep(THOUGHT);
                let body = format!("{number:08}");
                http.send(post(&body, &body))?;
                Ok(vec![body])
            }
            Self::Pipelined => {
                let bodies: Vec<_> = (0..4).map(|part| format!("{number:08}/{part}")).collect();
                let mut all = String::new();
                for body in &bodies {
                    // Writing to a String does not fail.
                    let _ = write!(all, "{}", post(body, body));
                }
                http.send(all)?;
                Ok(bodies)
            }
            // It speaks another protocol: see `talk`.
            Self::WebSocket => Err(ErrorKind::Unsupported.into()),
        }
    }
}

/// The head of a request with this body, and what goes with it.
fn post(body: &str, first: &str) -> String {
    format!(
        "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n{first}",
        body.len()
    )
}
