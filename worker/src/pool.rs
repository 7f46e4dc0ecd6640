//! Blocking work beside the loop, and mail to the loop from other threads.

use std::any::Any;
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, unbounded};
use mio::Waker;
use slab::Slab;

use crate::core::with;
use crate::driver::panic_text;
use crate::error::{BlockingError, Result, SendError};
use crate::process::Process;

/// Threads of the pool. They only wait for slow calls, so they are not tied to the number of cores.
const THREADS: usize = 4;
/// Pieces of work that may wait for a thread.
const QUEUE: usize = 1024;
/// Letters that may wait for the loop.
const LETTERS: usize = 65_536;

type Work = Box<dyn FnOnce() -> Box<dyn Any + Send> + Send>;
type Answer = std::result::Result<Box<dyn Any + Send>, String>;
type Finish = Box<dyn FnOnce(Answer, &mut dyn Any) -> Result>;
type Refused = (BlockingError, Work, Finish);

/// Queues work for this thread's pool; `then` gets what it returned, with the worker's state.
pub(crate) fn submit<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
    then: impl FnOnce(std::result::Result<T, BlockingError>, &mut dyn Any) -> Result + 'static,
) -> Result {
    let work: Work = Box::new(move || Box::new(work()));
    let finish: Finish = Box::new(move |answer, state| {
        let result = match answer.map(<Box<dyn Any + Send>>::downcast::<T>) {
            Ok(Ok(value)) => Ok(*value),
            Ok(Err(_)) => Err(BlockingError::Ended),
            Err(what) => Err(BlockingError::Panicked { what }),
        };
        then(result, state)
    });
    match with(|core| core.pool.submit(work, finish)) {
        Some(Ok(())) => Ok(()),
        Some(Err((refused, _work, _finish))) => Err(refused.into()),
        None => Err(SendError::NotOnLoop.into()),
    }
}

/// The threads, started when first needed: long after the fork, in the process that uses them.
pub(crate) struct Pool {
    waker: Arc<Waker>,
    threads: Option<Threads>,
    /// What to do with the results of the work in hand.
    finish: Slab<Finish>,
}

struct Threads {
    jobs: Sender<(usize, Work)>,
    results: Receiver<(usize, Answer)>,
}

impl Pool {
    pub(crate) fn new(waker: Arc<Waker>) -> Self {
        Self {
            waker,
            threads: None,
            finish: Slab::new(),
        }
    }

    fn threads(&mut self) -> io::Result<&Threads> {
        let threads = match self.threads.take() {
            Some(threads) => threads,
            None => start(&self.waker)?,
        };
        Ok(self.threads.insert(threads))
    }

    /// Queues `work`; `finish` runs on the loop with what it returned. What is refused is handed back, so that what it
    /// captured is dropped with the core free.
    fn submit(&mut self, work: Work, finish: Finish) -> std::result::Result<(), Refused> {
        let ticket = self.finish.insert(finish);
        let (refused, work) = match self.threads() {
            Err(error) => {
                let why = error.to_string();
                (BlockingError::Threads { why }, work)
            }
            Ok(threads) => match threads.jobs.try_send((ticket, work)) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Full((_, work))) => (BlockingError::Full { max: QUEUE }, work),
                Err(TrySendError::Disconnected((_, work))) => (BlockingError::Ended, work),
            },
        };
        Err((refused, work, self.finish.remove(ticket)))
    }

    /// How many results wait.
    pub(crate) fn finished(&self) -> usize {
        self.threads
            .as_ref()
            .map_or(0, |threads| threads.results.len())
    }

    /// The next piece of work that is finished.
    pub(crate) fn next(&mut self) -> Option<(Finish, Answer)> {
        let (ticket, answer) = self.threads.as_ref()?.results.try_recv().ok()?;
        Some((self.finish.try_remove(ticket)?, answer))
    }
}

fn start(waker: &Arc<Waker>) -> io::Result<Threads> {
    let (jobs, queue) = bounded::<(usize, Work)>(QUEUE);
    // Bounded by the work in hand, which is bounded by the queue.
    let (sender, results) = unbounded();
    for number in 0..THREADS {
        let (queue, sender, waker) = (queue.clone(), sender.clone(), Arc::clone(waker));
        thread::Builder::new()
            .name(format!("blocking-{number}"))
            .spawn(move || {
                for (ticket, work) in queue {
                    let answer = catch_unwind(AssertUnwindSafe(work))
                        .map_err(|panic| panic_text(panic.as_ref()));
                    // Both fail only when the loop is gone, and with it whoever would want the result.
                    if sender.send((ticket, answer)).is_err() || waker.wake().is_err() {
                        return;
                    }
                }
            })?;
    }
    Ok(Threads { jobs, results })
}

pub(crate) type Letter = Box<dyn FnOnce(&mut dyn Any) -> Result + Send>;

/// The loop's letter box. Made when somebody first wants to post: it takes 1.5 MiB, and time at the start of a process.
pub(crate) struct Mail {
    waker: Arc<Waker>,
    letters: Option<(Sender<Letter>, Receiver<Letter>)>,
}

impl Mail {
    pub(crate) fn new(waker: Arc<Waker>) -> Self {
        Self {
            waker,
            letters: None,
        }
    }

    /// Ends the loop's wait, as a letter would.
    pub(crate) fn wake(&self) {
        if let Err(error) = self.waker.wake() {
            log::error!("the loop cannot be woken: {error}");
        }
    }

    pub(crate) fn next(&self) -> Option<Letter> {
        self.letters.as_ref()?.1.try_recv().ok()
    }

    /// How many letters wait.
    pub(crate) fn len(&self) -> usize {
        self.letters
            .as_ref()
            .map_or(0, |(_, receiver)| receiver.len())
    }

    pub(crate) fn mailbox<S>(&mut self) -> Mailbox<S> {
        let (sender, _) = self.letters.get_or_insert_with(|| bounded(LETTERS));
        Mailbox {
            waker: Arc::clone(&self.waker),
            sender: sender.clone(),
            state: PhantomData,
        }
    }
}

/// A way to a worker's loop from any thread: what is posted runs there, with the worker's state.
///
/// ```no_run
/// # mod workhive { pub use workhive_protocols::*; pub use workhive_worker::*; }
/// # fn example(process: &mut workhive::Process<'_, Vec<String>>) -> workhive::Result {
/// let mailbox = process.mailbox()?;
/// std::thread::spawn(move || {
///     let line = "computed elsewhere".to_owned();
///     let posted = mailbox.post(move |process| {
///         process.state_mut().push(line);
///         Ok(())
///     });
///     if let Err(busy) = posted {
///         eprintln!("not posted: {busy}");
///     }
/// });
/// # Ok(())
/// # }
/// ```
pub struct Mailbox<S> {
    waker: Arc<Waker>,
    sender: Sender<Letter>,
    state: PhantomData<fn(S)>,
}

impl<S: 'static> Mailbox<S> {
    /// Posts work for the loop. An `Err` that it returns there is logged.
    ///
    /// # Errors
    /// [`BlockingError::Full`] if 65,536 letters wait already, [`BlockingError::Ended`] if the loop is gone.
    pub fn post(
        &self,
        letter: impl FnOnce(&mut Process<'_, S>) -> Result + Send + 'static,
    ) -> std::result::Result<(), BlockingError> {
        let letter: Letter = Box::new(move |state| match state.downcast_mut::<S>() {
            Some(state) => letter(&mut Process::new(state)),
            None => Ok(()),
        });
        match self.sender.try_send(letter) {
            Ok(()) => self.waker.wake().map_err(|_| BlockingError::Ended),
            Err(TrySendError::Full(_)) => Err(BlockingError::Full { max: LETTERS }),
            Err(TrySendError::Disconnected(_)) => Err(BlockingError::Ended),
        }
    }
}

impl<S> Clone for Mailbox<S> {
    fn clone(&self) -> Self {
        Self {
            waker: Arc::clone(&self.waker),
            sender: self.sender.clone(),
            state: PhantomData,
        }
    }
}

impl<S> fmt::Debug for Mailbox<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox")
            .field("waiting", &self.sender.len())
            .finish_non_exhaustive()
    }
}
