//! What the router tells a process.

use std::ops::Range;

use crate::route::ConnectionId;
use crate::route::agent::{Agent, Note, Phase};
use crate::route::frame::{FrameError, Span};
use crate::route::message::{Action, FromRouter, Query, Table, Target, ToRouter};
use crate::route::request::{PushId, QueryId, Receipt, Ticket};
use crate::route::tables::Key;

impl<K: Key> Agent<K> {
    /// Acts upon a frame. What the process itself has to do or to know comes back.
    pub(super) fn frame(&mut self, span: Span) -> Result<Option<Note<K>>, FrameError> {
        // A copy, because acting upon the message changes everything else here; bodies are small.
        let mut body = std::mem::take(&mut self.body);
        body.clear();
        body.extend_from_slice(self.decoder.bytes(span.body));
        let note = FromRouter::from_body(&body).map(|message| self.act(message, span.payload));
        self.body = body;
        note
    }

    fn act(&mut self, message: FromRouter<'_>, payload: Range<usize>) -> Option<Note<K>> {
        match message {
            FromRouter::Ack { seq } => {
                self.acknowledged(seq);
                None
            }
            FromRouter::Deliver {
                ask,
                probe,
                target,
                exclude,
                action,
            } => {
                self.select(probe, &target, &exclude);
                let receipt = Receipt {
                    ask,
                    link: self.link,
                };
                self.deliver(action, payload, receipt)
            }
            FromRouter::Outcome { id, outcome } => {
                self.requests.remove(id)?;
                Some(Note::Outcome(PushId(id), outcome))
            }
            FromRouter::Kick { connection, uid } => self.kick(connection, uid),
            FromRouter::Presence { uid, online } => {
                (self.watching).then(|| Note::Presence(uid.to_vec(), online))
            }
            FromRouter::Topic { topic, tag } => self
                .topics
                .contains(topic)
                .then(|| Note::Topic(topic.to_vec(), tag, payload)),
            FromRouter::Ask { ask, query } => {
                self.answer(ask, &query);
                None
            }
            FromRouter::Answer { id, answer } => {
                self.requests.remove(id)?;
                Some(Note::Answer(QueryId(id), Some(answer)))
            }
            FromRouter::Bye { reason } => Some(Note::Bye(reason.to_owned())),
        }
    }

    fn acknowledged(&mut self, seq: u64) {
        if seq > self.acked {
            self.acked = seq;
            self.notes.push_back(Note::Registered(Ticket(seq)));
        }
        if self.phase == Phase::Syncing {
            self.phase = Phase::Ready;
            self.notes.push_back(Note::Synced);
        }
    }

    /// Fills `to` with the connections that are meant, and tells the router of names that are not here.
    fn select(&mut self, probe: bool, target: &Target<'_>, exclude: &[ConnectionId]) {
        let mut missing = Vec::new();
        self.tables
            .select(target, exclude, self.process, &mut self.to, |name| {
                missing.push(name);
            });
        if probe {
            return;
        }
        self.counters.misses += missing.len() as u64;
        let table = match target {
            Target::Uid(_) | Target::Uids(_) => Table::Uids,
            _ => Table::Rooms,
        };
        for name in missing {
            self.control(&ToRouter::Miss {
                seq: self.seq,
                table,
                name,
            });
        }
    }

    fn deliver(
        &mut self,
        action: Action<'_>,
        payload: Range<usize>,
        receipt: Receipt,
    ) -> Option<Note<K>> {
        if self.to.is_empty() {
            self.report(receipt, 0, 0);
            return None;
        }
        match action {
            Action::Message { tag } => Some(Note::Deliver(tag, payload, receipt)),
            Action::Close { code, reason } => {
                self.report(receipt, count(self.to.len()), 0);
                Some(Note::Close(code, reason.to_owned()))
            }
            Action::Join(room) => {
                let to = std::mem::take(&mut self.to);
                let joined = to
                    .iter()
                    .filter(|key| self.join_quietly(**key, room).is_ok());
                let joined = joined.count();
                // After the registrations, on the same link: when the outcome is there, they are in force.
                self.report(receipt, count(joined), count(to.len() - joined));
                self.to = to;
                None
            }
            Action::Leave(room) => {
                let to = std::mem::take(&mut self.to);
                for key in &to {
                    self.leave(*key, room);
                }
                self.report(receipt, count(to.len()), 0);
                self.to = to;
                None
            }
        }
    }

    fn kick(&mut self, connection: ConnectionId, uid: &[u8]) -> Option<Note<K>> {
        if Some(connection.process()) != self.process {
            return None;
        }
        let key = self.tables.key(connection.sequence())?;
        // One that has let go of its claim meanwhile, and perhaps bound the uid like anybody, is not meant.
        if !self.tables.has_claimed(key, uid) {
            return None;
        }
        self.unbind(key, uid);
        Some(Note::Kicked(key, uid.to_vec()))
    }

    fn answer(&mut self, ask: u64, query: &Query<'_>) {
        let answer = self
            .process
            .and_then(|process| self.tables.answer(query, process));
        if let Some(answer) = answer {
            self.control(&ToRouter::Answer { ask, answer });
        }
    }
}

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
