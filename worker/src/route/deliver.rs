//! The routing step of a turn: what has come is delivered, and those who wait are told.

use std::any::Any;

use workhive_ipc::route::{BINARY, Event, Receipt};
use workhive_protocols::{EncodeError, Goodbye, Message};

use crate::core::with;
use crate::entry::{CloseReason, Key, SharedPush};
use crate::error::SendError;
use crate::process::guard;
use crate::route::{self, REPLACED};
use crate::turn::contained;
use crate::uid::Uid;

/// Rounds between this process and the router in it, in one turn: what is pushed in answer to a push is delivered in
/// the next round.
const ROUNDS: usize = 8;

/// Receives, delivers, tells.
pub(crate) fn step(scratch: &mut [u8], state: &mut dyn Any) {
    if with(|core| core.routing.is_idle(core.clock.now())) != Some(false) {
        return;
    }
    route::tick();
    for _ in 0..ROUNDS {
        let more = with(|core| core.routing.side.receive(scratch, core.clock.now()));
        act(state);
        if more != Some(true) {
            break;
        }
    }
    if with(|core| core.routing.side.has_ended()) == Some(true) {
        route::lose(scratch, state);
    }
    // Those that were in force at once are told later all the same.
    while let Some(then) = with(|core| core.routing.next_registered()).flatten() {
        then(state);
    }
}

/// Something that an event asks for, free of what it borrowed.
enum Deed {
    Deliver(u8, Receipt),
    Close(u16, String),
    Kicked(Key, Uid),
    Registered,
    Outcome(route::ThenOutcome, workhive_ipc::route::Outcome),
    Answer(route::ThenAnswer, Option<workhive_ipc::route::Answer>),
    Topic(route::OnTopic, u8),
    Presence(route::OnPresence, Uid, bool),
    Bye(String),
    Broken(String),
    Nothing,
}

/// Acts upon all events that have come.
pub(crate) fn act(state: &mut dyn Any) {
    while let Some(deed) = with(|core| core.routing.next_deed()).flatten() {
        match deed {
            Deed::Deliver(tag, receipt) => deliver(tag, receipt),
            Deed::Close(code, reason) => {
                let to = with(|core| std::mem::take(&mut core.routing.to)).unwrap_or_default();
                let goodbye = Goodbye::Code { code, reason };
                for key in &to {
                    contained(*key, || {
                        with(|core| core.goodbye(*key, &goodbye, CloseReason::Local));
                    });
                }
                with(|core| core.routing.to = to);
            }
            Deed::Kicked(key, uid) => contained(key, || {
                let goodbye = Goodbye::Code {
                    code: REPLACED,
                    reason: "another connection has taken over".to_owned(),
                };
                log::debug!("a connection is closed: another one has claimed its uid {uid}");
                with(|core| {
                    core.goodbye(key, &goodbye, CloseReason::Local);
                    core.had_uid(key, uid);
                });
            }),
            Deed::Registered => {
                while let Some(then) = with(|core| core.routing.next_registered()).flatten() {
                    then(state);
                }
            }
            Deed::Outcome(then, outcome) => guard("the outcome of a push", || then(outcome)),
            Deed::Answer(then, answer) => guard("the answer to a question", || then(answer)),
            Deed::Topic(then, tag) => {
                let payload = with(|core| std::mem::take(&mut core.routing.payload));
                let payload = payload.unwrap_or_default();
                then(state, message(tag, &payload));
                with(|core| core.routing.payload = payload);
            }
            Deed::Presence(hook, uid, online) => hook(state, &uid, online),
            Deed::Bye(reason) => log::warn!("the router ends its link to this process: {reason}"),
            Deed::Broken(error) => {
                log::error!("the router's words are not understood: {error}");
                with(|core| core.routing.side.disconnect(core.clock.now()));
            }
            Deed::Nothing => {}
        }
    }
}

impl route::Routing {
    /// Who is to be told next that a registration is in force.
    fn next_registered(&mut self) -> Option<route::ThenRegistered> {
        let first = self.registrations.front()?;
        (first.ticket <= self.registered)
            .then(|| self.registrations.pop_front())?
            .map(|registration| registration.then)
    }

    fn next_deed(&mut self) -> Option<Deed> {
        let Self {
            side,
            outcomes,
            answers,
            registered,
            topics,
            on_presence,
            to,
            payload,
            ..
        } = self;
        Some(match side.poll()? {
            Event::Deliver {
                to: keys,
                tag,
                payload: bytes,
                receipt,
            } => {
                to.clear();
                to.extend_from_slice(keys);
                payload.clear();
                payload.extend_from_slice(bytes);
                Deed::Deliver(tag, receipt)
            }
            Event::Close {
                to: keys,
                code,
                reason,
            } => {
                to.clear();
                to.extend_from_slice(keys);
                Deed::Close(code, reason)
            }
            Event::Kicked { key, uid } => {
                Uid::new(uid).map_or(Deed::Nothing, |uid| Deed::Kicked(key, uid))
            }
            Event::Registered(ticket) => {
                *registered = (*registered).max(ticket);
                Deed::Registered
            }
            Event::Outcome { push, outcome } => outcomes
                .remove(&push)
                .map_or(Deed::Nothing, |then| Deed::Outcome(then, outcome)),
            Event::Answer { query, answer } => answers
                .remove(&query)
                .map_or(Deed::Nothing, |then| Deed::Answer(then, answer)),
            Event::Topic {
                topic,
                tag,
                payload: bytes,
            } => match topics.get(&topic) {
                Some(then) => {
                    payload.clear();
                    payload.extend_from_slice(bytes);
                    Deed::Topic(then.clone(), tag)
                }
                None => Deed::Nothing,
            },
            Event::Presence { uid, online } => match (on_presence, Uid::new(uid)) {
                (Some(hook), Ok(uid)) => Deed::Presence(hook.clone(), uid, online),
                _ => Deed::Nothing,
            },
            Event::Synced => {
                log::debug!("the router knows what this process has");
                Deed::Nothing
            }
            Event::Bye(reason) => Deed::Bye(reason),
            Event::Broken(error) => Deed::Broken(error.to_string()),
        })
    }
}

/// Buffers that grew beyond this are given back.
const KEEP: usize = 256 * 1024;

/// Sends the payload to those it is for, and says how many took it. What all connections of a protocol get is encoded
/// once.
fn deliver(tag: u8, receipt: Receipt) {
    let taken = with(|core| {
        let routing = &mut core.routing;
        (
            std::mem::take(&mut routing.to),
            std::mem::take(&mut routing.payload),
        )
    });
    let Some((to, mut payload)) = taken else {
        return;
    };
    let (mut delivered, mut refused) = (0_u32, 0_u32);
    let mut count = |result: Option<Result<(), SendError>>| match result {
        Some(Ok(())) => delivered = delivered.saturating_add(1),
        // Nobody is there, or not yet: the handshake is not complete.
        Some(Err(SendError::Gone | SendError::Encode(EncodeError::NotOpen))) | None => {}
        Some(Err(_)) => refused = refused.saturating_add(1),
    };
    let message = message(tag, &payload);
    if let [key] = to[..] {
        contained(key, || count(with(|core| core.push(key, &message))));
    } else {
        let mut shared = SharedPush::default();
        for key in &to {
            contained(*key, || {
                count(with(|core| core.push_shared(*key, &message, &mut shared)));
            });
        }
    }
    payload.clear();
    payload.shrink_to(KEEP);
    with(|core| {
        core.routing
            .side
            .agent()
            .report(receipt, delivered, refused);
        core.routing.to = to;
        core.routing.payload = payload;
    });
}

/// A payload as the sender gave it. What claims to be text and is not comes as bytes.
fn message(tag: u8, payload: &[u8]) -> Message<'_> {
    if tag == BINARY {
        return Message::from(payload);
    }
    Message::from_wire(payload)
}
