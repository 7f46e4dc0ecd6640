//! How a client writes, reads and waits; and how its stream begins and ends.

use std::io;
use std::time::Instant;

use crate::route::client::{Client, Message, State};
use crate::route::client_error::{ClientError, Loss};
use crate::route::request::{Event, PushId};
use crate::route::stream::Stream;

/// Bytes of messages on topics that may wait to be taken.
const MOST_WAITING: usize = 16 * 1024 * 1024;

impl Client {
    /// Waits for something, as long as a call may take.
    pub(super) fn until<T>(
        &mut self,
        mut done: impl FnMut(&mut Self) -> Option<T>,
    ) -> Result<T, ClientError> {
        let deadline = self.deadline();
        loop {
            if let Some(done) = done(self) {
                return Ok(done);
            }
            if let Err(error) = self.step(deadline) {
                // It may be among the last that came.
                return done(self).ok_or(error);
            }
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        Instant::now().checked_add(self.timeout)
    }

    /// Connects, if that is necessary.
    pub(super) fn open(&mut self) -> Result<(), ClientError> {
        // The hive may have been restarted since the last call. Nobody has to know if nothing was going on.
        let is_idle = self.in_flight == 0 && self.agent.output().is_empty();
        if self.stream.is_some() && is_idle && self.agent.topics.is_empty() {
            // An error has closed the stream.
            let _ = self.take_in();
        }
        if self.stream.is_some() {
            return Ok(());
        }
        let stream = Stream::connect(&self.path, self.deadline()).map_err(|source| {
            ClientError::Connect {
                path: self.path.clone(),
                source,
            }
        })?;
        self.heard = false;
        self.bye = None;
        self.agent.connected(Instant::now());
        // The hello. An error is found again by whoever wants something.
        if let Ok(bytes) = stream.write(self.agent.output()) {
            self.agent.sent(bytes);
        }
        self.stream = Some(stream);
        Ok(())
    }

    /// Writes and reads what is possible at once; if nothing is, waits until something is.
    pub(super) fn step(&mut self, deadline: Option<Instant>) -> Result<(), ClientError> {
        let Some(stream) = &self.stream else {
            return Err(self.lost());
        };
        let mut failed = None;
        let mut moved = false;
        if !self.agent.output().is_empty() {
            match stream.write(self.agent.output()) {
                Ok(bytes) => {
                    self.agent.sent(bytes);
                    moved = bytes > 0;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => failed = Some(error.kind()),
            }
        }
        // Also if it cannot be written to any more: perhaps the router has said why.
        moved |= self.take_in()?;
        if let Some(kind) = failed.filter(|_| !moved) {
            return Err(self.lose(Loss::Io(kind)));
        }
        if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return Err(ClientError::Timeout {
                path: self.path.clone(),
                after: self.timeout,
            });
        }
        if moved {
            return Ok(());
        }
        let Some(stream) = &self.stream else {
            return Err(self.lost());
        };
        let waited = stream.wait(!self.agent.output().is_empty(), deadline);
        waited.map_err(|error| self.lose(Loss::Io(error.kind())))
    }

    /// Reads what is there; false if nothing is.
    fn take_in(&mut self) -> Result<bool, ClientError> {
        let Some(stream) = &self.stream else {
            return Err(self.lost());
        };
        let bytes = match stream.read(&mut self.scratch) {
            Ok(0) => return Err(self.lose_at_end(Loss::Ended)),
            Ok(bytes) => bytes,
            Err(error) => {
                return match error.kind() {
                    io::ErrorKind::WouldBlock => Ok(false),
                    // It was closed before it had read everything.
                    io::ErrorKind::ConnectionReset => Err(self.lose_at_end(Loss::Ended)),
                    kind => Err(self.lose(Loss::Io(kind))),
                };
            }
        };
        self.heard = true;
        self.agent.receive(&self.scratch[..bytes]);
        match self.hear() {
            Some(loss) => Err(self.lose(loss)),
            None => Ok(true),
        }
    }

    /// Acts upon what has come. Says why the stream cannot go on, if that is so.
    fn hear(&mut self) -> Option<Loss> {
        while let Some(event) = self.agent.poll() {
            match event {
                Event::Outcome { push, outcome } => {
                    if let Some(state) = self.sent.get_mut(&push)
                        && matches!(state, State::InFlight)
                    {
                        *state = State::Done(outcome);
                        self.in_flight -= 1;
                    }
                }
                Event::Answer { query, answer } => {
                    if let Some((asked, place)) = &mut self.asked
                        && *asked == query
                    {
                        *place = answer;
                    }
                }
                Event::Registered(ticket) => self.registered = self.registered.max(Some(ticket)),
                Event::Topic {
                    topic,
                    tag,
                    payload,
                } => {
                    let message = Message {
                        topic,
                        tag,
                        payload: payload.to_vec(),
                    };
                    if self.waiting + message.size() > MOST_WAITING {
                        self.missed += 1;
                        continue;
                    }
                    self.waiting += message.size();
                    self.messages.push_back(message);
                }
                Event::Bye(reason) => self.bye = Some(reason),
                Event::Broken(error) => return Some(Loss::Nonsense(error)),
                // A client has no connections, and does not watch.
                Event::Deliver { .. }
                | Event::Close { .. }
                | Event::Kicked { .. }
                | Event::Presence { .. }
                | Event::Synced => {}
            }
        }
        None
    }

    /// The stream has ended.
    fn lose_at_end(&mut self, loss: Loss) -> ClientError {
        let loss = match self.bye.take() {
            Some(reason) => Loss::Dismissed(reason),
            None if !self.heard => Loss::Unheard,
            None => loss,
        };
        self.lose(loss)
    }

    /// Gives up the stream.
    pub(super) fn lose(&mut self, loss: Loss) -> ClientError {
        self.stream = None;
        self.agent.disconnected();
        // It says of all that was in flight that it is unknown: why, we say.
        while self.agent.poll().is_some() {}
        for state in self.sent.values_mut() {
            if matches!(state, State::InFlight) {
                *state = State::Lost;
            }
        }
        self.in_flight = 0;
        self.asked = None;
        self.loss = loss;
        self.lost()
    }

    pub(super) fn lost(&self) -> ClientError {
        ClientError::Lost {
            path: self.path.clone(),
            why: self.loss.clone(),
        }
    }

    pub(super) fn incomplete(&self) -> ClientError {
        ClientError::Incomplete {
            path: self.path.clone(),
        }
    }

    /// Nobody will wait for it any more.
    pub(super) fn forget(&mut self, id: PushId) {
        if let Some(State::InFlight) = self.sent.remove(&id) {
            self.in_flight -= 1;
        }
    }
}
