//! Many HTTP clients at once, and what became of their requests.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use crate::eventually;
use crate::http::HttpClient;

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
}

/// Clients at work against `workhive echo http://..`.
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
        let mut http = HttpClient::connect_from(self.source, self.addr)?;
        let mut number = 0_u32;
        loop {
            let body = match habit {
                Habit::Upload => format!("{number:08}").repeat(2048),
                _ => String::new(),
            };
            let expected = match habit {
                Habit::Fresh => {
                    http.send("GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")?;
                    "Hello, World!"
                }
                Habit::Hasty | Habit::KeepAlive => {
                    http.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n")?;
                    "Hello, World!"
                }
                Habit::Upload => {
                    let head = format!(
                        "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {}",
                        body.len()
                    );
                    let (first, second) = body.split_at(5000);
                    http.send(format!("{head}\r\n\r\n{first}"))?;
                    http.send(second)?;
                    &body
                }
            };
            let response = http.try_response(false)?;
            if response.status != 200 || response.body != expected.as_bytes() {
                return Err(io::Error::other(format!(
                    "a wrong answer: {}",
                    response.status
                )));
            }
            self.tally.count(Ok(()));
            self.served.fetch_add(1, Ordering::Relaxed);
            number += 1;
            if response.closes() {
                return match http.rest()? {
                    rest if rest.is_empty() => Ok(()),
                    _ => Err(io::Error::other("bytes behind the last answer")),
                };
            }
            if habit == Habit::Hasty || self.done.load(Ordering::Relaxed) {
                return Ok(());
            }
        }
    }
}
