//! What a process asks of the router.

use std::time::Instant;

use crate::route::agent::{Agent, Held, Request};
use crate::route::message::{MAX_EXCLUDED, Query, Table, ToRouter, is_name};
use crate::route::request::{AgentError, Push, PushId, QueryId, Receipt, Registered};
use crate::route::tables::Key;

impl<K: Key> Agent<K> {
    /// Sends a push on its way. If its outcome is wanted, an
    /// [`Event::Outcome`](crate::route::Event::Outcome) comes, always and once.
    pub fn push(&mut self, push: Push<'_>, now: Instant) -> Result<Option<PushId>, AgentError> {
        if !push.target.is_valid()
            || !push.action.is_valid()
            || push.exclude.len() > MAX_EXCLUDED
            || push.payload.len() > self.config.limits.payload
        {
            return Err(AgentError::TooLong);
        }
        let request = push.outcome.then_some(Request::Push);
        let message = |id| ToRouter::Push {
            id,
            target: push.target,
            exclude: push.exclude,
            action: push.action,
        };
        let number = self.request(request, message, push.payload, now)?;
        Ok(push.outcome.then_some(PushId(number)))
    }

    /// Asks something. An [`Event::Answer`](crate::route::Event::Answer) comes, always and once.
    pub fn query(&mut self, query: Query<'_>, now: Instant) -> Result<QueryId, AgentError> {
        if !query.is_valid() {
            return Err(AgentError::TooLong);
        }
        let message = |id| ToRouter::Query { id, query };
        self.request(Some(Request::Query), message, b"", now)
            .map(QueryId)
    }

    /// Sends a payload to every process that subscribes to a topic, this one included if it does.
    pub fn publish(
        &mut self,
        topic: &[u8],
        tag: u8,
        payload: &[u8],
        now: Instant,
    ) -> Result<(), AgentError> {
        if !is_name(topic) {
            return Err(AgentError::Name {
                length: topic.len(),
            });
        }
        self.request(None, |_| ToRouter::Publish { topic, tag }, payload, now)
            .map(drop)
    }

    /// Subscribes this process to a topic.
    pub fn subscribe(&mut self, topic: &[u8]) -> Result<Registered, AgentError> {
        if !is_name(topic) {
            return Err(AgentError::Name {
                length: topic.len(),
            });
        }
        if self.topics.insert(topic.to_vec()) {
            self.add(Table::Topics, topic, None);
        }
        Ok(self.registered())
    }

    /// Ends a subscription.
    pub fn unsubscribe(&mut self, topic: &[u8]) {
        if self.topics.remove(topic) {
            self.removed(Table::Topics, Some(topic.into()));
        }
    }

    /// Whether to be told of uids that come online and go offline on this host.
    pub fn watch(&mut self, on: bool) {
        if std::mem::replace(&mut self.watching, on) != on {
            self.control(&ToRouter::Watch { on });
        }
    }

    /// Says what became of a delivery: how many connections took it, and how many could not.
    pub fn report(&mut self, receipt: Receipt, delivered: u32, refused: u32) {
        if receipt.ask != 0 && receipt.link == self.link {
            self.control(&ToRouter::Report {
                ask: receipt.ask,
                delivered,
                refused,
            });
        }
    }

    /// Sends a frame, or keeps it for the next router.
    fn request<'m>(
        &mut self,
        request: Option<Request>,
        message: impl FnOnce(u64) -> ToRouter<'m>,
        payload: &[u8],
        now: Instant,
    ) -> Result<u64, AgentError> {
        let number = request.map_or(0, |request| self.requests.insert(request, now));
        let message = message(number);
        let sent = if self.is_connected() {
            self.send(&message, payload)
        } else {
            self.hold(number, &message, payload, now)
        };
        if let Err(error) = sent {
            self.requests.remove(number);
            self.counters.refused += 1;
            return Err(error);
        }
        Ok(number)
    }

    fn send(&mut self, message: &ToRouter<'_>, payload: &[u8]) -> Result<(), AgentError> {
        if self.out.push_data(message, payload) {
            return Ok(());
        }
        // Whether it would fit into an empty queue.
        let limits = self.out.limits();
        if payload.len() > limits.payload.min(limits.queue) || self.out.pending().is_empty() {
            return Err(AgentError::TooLong);
        }
        Err(AgentError::Full)
    }

    fn hold(
        &mut self,
        request: u64,
        message: &ToRouter<'_>,
        payload: &[u8],
        now: Instant,
    ) -> Result<(), AgentError> {
        if self.held_bytes + payload.len() > self.config.held {
            return Err(AgentError::Away);
        }
        let mut frame = Vec::new();
        if message.append(payload, &mut frame).is_err() {
            return Err(AgentError::TooLong);
        }
        if self.held_bytes + frame.len() > self.config.held {
            return Err(AgentError::Away);
        }
        self.held_bytes += frame.len();
        self.held.push_back(Held {
            since: now,
            request,
            frame,
        });
        Ok(())
    }
}
