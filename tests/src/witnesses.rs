//! Clients that know which process serves them: what they lose can be laid at the door of a death, or at nobody's.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use nix::sys::signal::Signal;

use crate::obeys::Who;
use crate::text::TextClient;
use crate::{eventually, proc};

/// How many lines a client sends over one connection.
const LINES: usize = 20;

/// Clients at work against a hive of `obeys`.
#[derive(Debug)]
pub struct Witnesses {
    done: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<Vec<Loss>>>,
}

/// A connection that has failed.
#[derive(Debug, Clone, Copy)]
pub struct Loss {
    /// When the client began to connect.
    pub opened: Instant,
    /// When it noticed.
    pub noticed: Instant,
    /// The process that had the connection, if it had said so.
    pub owner: Option<u32>,
    /// What the system said.
    pub kind: ErrorKind,
}

/// The violent death of a process.
#[derive(Debug, Clone, Copy)]
pub struct Death {
    /// Which process it was.
    pub pid: u32,
    begin: Instant,
    end: Instant,
}

impl Death {
    /// Kills a process, and waits until it is dead.
    ///
    /// # Panics
    /// If it survives.
    #[track_caller]
    pub fn of(pid: u32) -> Self {
        let [death] = Self::of_all([pid]);
        death
    }

    /// Kills processes at once, and waits until they are dead.
    ///
    /// # Panics
    /// If one survives.
    #[track_caller]
    pub fn of_all<const N: usize>(pids: [u32; N]) -> [Self; N] {
        let begin = Instant::now();
        for pid in pids {
            proc::signal(pid, Signal::SIGKILL);
        }
        eventually("the death of all of them", || {
            pids.iter().all(|pid| !proc::is_alive(*pid)).then_some(())
        });
        let end = Instant::now();
        pids.map(|pid| Self { pid, begin, end })
    }

    /// Whether a loss is one of those that this death must cause: the connection was its, or might have been, and was
    /// there at the time.
    pub fn explains(&self, loss: &Loss) -> bool {
        loss.kind != ErrorKind::ConnectionRefused
            && loss.owner.is_none_or(|owner| owner == self.pid)
            && loss.opened <= self.end
            && loss.noticed >= self.begin
    }
}

impl Witnesses {
    /// Starts so many clients.
    ///
    /// # Panics
    /// If there are more than 250.
    pub fn new(addr: SocketAddr, clients: u8) -> Self {
        assert!(clients <= 250, "too many clients");
        let done = Arc::new(AtomicBool::new(false));
        let served = Arc::new(AtomicUsize::new(0));
        let threads = (1..=clients)
            .map(|number| {
                let (done, served) = (Arc::clone(&done), Arc::clone(&served));
                thread::spawn(move || {
                    let mut losses = Vec::new();
                    while !done.load(Ordering::Relaxed) {
                        let opened = Instant::now();
                        let mut owner = None;
                        if let Err(error) = visit(number, addr, &mut owner, &served) {
                            losses.push(Loss {
                                opened,
                                noticed: Instant::now(),
                                owner,
                                kind: error.kind(),
                            });
                        }
                    }
                    losses
                })
            })
            .collect();
        Self {
            done,
            served,
            threads,
        }
    }

    /// Waits until so many more lines were answered.
    ///
    /// # Panics
    /// If they are not.
    #[track_caller]
    pub fn serve(&self, more: usize) {
        let goal = self.served.load(Ordering::Relaxed) + more;
        eventually("lines are answered", || {
            (self.served.load(Ordering::Relaxed) >= goal).then_some(())
        });
    }

    /// Lets the clients finish, and returns what they have lost that no death explains.
    ///
    /// # Panics
    /// If a client did.
    pub fn unexplained(mut self, deaths: &[Death]) -> Vec<Loss> {
        self.done.store(true, Ordering::Relaxed);
        let losses = self
            .threads
            .drain(..)
            .flat_map(|thread| thread.join().expect("a client does not panic"));
        losses
            .filter(|loss| !deaths.iter().any(|death| death.explains(loss)))
            .collect()
    }
}

impl Drop for Witnesses {
    fn drop(&mut self) {
        // Of a test that has failed.
        self.done.store(true, Ordering::Relaxed);
    }
}

/// One connection, from its beginning to its end. All its lines are answered by one process.
fn visit(
    number: u8,
    addr: SocketAddr,
    owner: &mut Option<u32>,
    served: &AtomicUsize,
) -> io::Result<()> {
    let source = Ipv4Addr::new(127, 1, 0, number).into();
    let mut client = TextClient::connect_from(source, addr)?;
    for _ in 0..LINES {
        let answer = client.try_ask("who")?;
        let who = Who::said(&answer).ok_or_else(|| io::Error::other(answer))?;
        if *owner.get_or_insert(who.pid) != who.pid {
            return Err(io::Error::other("served by two processes"));
        }
        served.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}
