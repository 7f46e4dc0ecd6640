//! What a connection does when its socket, its clock or the loop calls: decode, call back, end.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Instant;

use workhive_protocols::{Event, Flow, Goodbye, Protocol, ProtocolError, Step, Wire};

use crate::conn::Conn;
use crate::core::{Core, Notice, find, with};
use crate::entry::{AnyEncoder, CloseReason, Key, Phase, encoder_of, flag};
use crate::error::{ConnectionError, Result};
use crate::input::Read;
use crate::listener::{Callbacks, Plan};

/// Bytes that one connection may read in one turn, so that a loud peer does not starve the others.
const READ_BUDGET: usize = 256 * 1024;

/// The typed half of a connection, as the loop calls it. It is taken out of the connection's row for the time of the
/// call: the core is free while callbacks run.
pub(crate) trait Driver {
    /// The connection has been accepted.
    fn connected(&mut self, key: Key, state: &mut dyn Any);
    /// There are bytes to read, or a reason not to read them is gone.
    fn turn(&mut self, key: Key, scratch: &mut [u8], state: &mut dyn Any);
    /// The protocol's deadline has passed.
    fn expired(&mut self, key: Key, state: &mut dyn Any);
    /// Something went wrong that the connection cannot survive.
    fn failed(&mut self, key: Key, error: ConnectionError, state: &mut dyn Any);
    fn notice(&mut self, key: Key, notice: Notice, state: &mut dyn Any);
    /// The process goes away, and the protocol's goodbye comes next.
    fn leaving(&mut self, key: Key, state: &mut dyn Any);
    /// The connection is gone.
    fn closed(&mut self, key: Key, reason: &CloseReason, state: &mut dyn Any);
    fn deadline(&self, encoder: &mut dyn AnyEncoder) -> Option<Instant>;
    fn is_idle(&self, encoder: &mut dyn AnyEncoder) -> bool;
    /// The driver with its types, for those who know them.
    fn as_any(&mut self) -> &mut dyn Any;
}

pub(crate) struct Typed<P: Protocol, S, D> {
    decoder: P::Decoder,
    data: D,
    plan: Rc<Plan<P, S, D>>,
}

impl<P: Protocol, S: 'static, D: 'static> Typed<P, S, D> {
    pub(crate) fn new(decoder: P::Decoder, data: D, plan: Rc<Plan<P, S, D>>) -> Self {
        Self {
            decoder,
            data,
            plan,
        }
    }

    /// Calls user code for this connection outside of the usual callbacks; an `Err` ends it all the same.
    pub(crate) fn call(
        &mut self,
        name: &'static str,
        key: Key,
        state: &mut S,
        callback: impl FnOnce(&mut Conn<'_, P, S, D>) -> Result,
    ) {
        if let Err(error) = guarded(name, key, &mut self.data, state, callback) {
            self.fail(key, error, state);
        }
    }

    /// Runs the decoder over `input` until it needs more, or may not go on. Returns how much is done with.
    fn consume(&mut self, key: Key, input: &mut [u8], state: &mut S) -> usize {
        let mut done = 0;
        while done < input.len() {
            match self.step(key, &mut input[done..], state) {
                Next::Go(consumed) => done += consumed,
                Next::Stop(consumed) => return done + consumed,
                Next::Piped(target) => {
                    // A callback has piped this connection: what stands behind its message goes there too.
                    with(|core| core.feed(key, target, &input[done..]));
                    return input.len();
                }
                Next::Ignored(consumed) => {
                    done += consumed;
                    // Nobody will ever answer.
                    with(|core| {
                        if core
                            .entry(key)
                            .is_some_and(|entry| entry.encoder.owes_answer())
                        {
                            core.goodbye(key, &Goodbye::Failure, CloseReason::Local);
                        }
                    });
                }
                Next::Answer(consumed, verdict) => {
                    done += consumed;
                    if let Err(error) = self.answer(key, verdict, state) {
                        self.fail(key, error, state);
                        return input.len();
                    }
                }
                Next::Finished => {
                    with(|core| core.end(key, CloseReason::Peer));
                    return input.len();
                }
                Next::Fail(error) => {
                    self.fail(key, error, state);
                    return input.len();
                }
                Next::FailProtocol(error) => {
                    self.fail_protocol(key, error, state);
                    return input.len();
                }
            }
        }
        done
    }

    /// One step of the decoder and the callback that it leads to. What the step lent is given back on return.
    fn step(&mut self, key: Key, input: &mut [u8], state: &mut S) -> Next<P::Verdict> {
        let (phase, step) = match decode::<P>(key, &mut self.decoder, input) {
            Decoded::Step(phase, step) => (phase, step),
            Decoded::Stop => return Next::Stop(0),
            Decoded::Piped(target) => return Next::Piped(target),
            Decoded::Failed(error) => return Next::FailProtocol(error),
        };
        let Step { consumed, event } = step;
        let data = &mut self.data;
        let callbacks = &self.plan.callbacks;
        match event {
            Event::Partial | Event::Wait => Next::Stop(consumed),
            // A codec that does nothing and wants to be called again would be called for ever.
            Event::Progress if consumed == 0 => Next::Stop(0),
            Event::Progress => Next::Go(consumed),
            Event::Message(message) => match &callbacks.message {
                // After our goodbye, what the peer said before it heard that no longer counts.
                None if phase == Phase::Open => Next::Ignored(consumed),
                Some(callback) if phase == Phase::Open => {
                    let result = guarded("on_message", key, data, state, |conn| {
                        callback(conn, message)
                    });
                    result.map_or_else(Next::Fail, |()| Next::Go(consumed))
                }
                _ => Next::Go(consumed),
            },
            Event::Opening(opening) => match &callbacks.opening {
                Some(callback) => {
                    let verdict = guarded("on_websocket_connect", key, data, state, |conn| {
                        callback(conn, opening)
                    });
                    verdict.map_or_else(Next::Fail, |verdict| Next::Answer(consumed, verdict))
                }
                None => Next::Answer(consumed, P::Verdict::default()),
            },
            Event::Finished => Next::Finished,
        }
    }

    /// Sends the application's answer to an opening and, if it accepted, calls `on_websocket_connected`.
    fn answer(
        &mut self,
        key: Key,
        verdict: P::Verdict,
        state: &mut S,
    ) -> std::result::Result<(), ConnectionError> {
        let sent = with(|core| {
            core.send(key, true, |encoder, wire| match encoder_of::<P>(encoder) {
                Some(encoder) => P::answer(encoder, verdict, wire),
                None => Ok(()),
            })
        });
        if let Some(Err(error)) = sent {
            return Err(ConnectionError::Callback {
                callback: "on_websocket_connect",
                error: error.into(),
            });
        }
        let accepted = with(|core| {
            core.entry(key)
                .is_some_and(|entry| entry.phase == Phase::Open)
        });
        match &self.plan.callbacks.opened {
            Some(callback) if accepted == Some(true) => guarded(
                "on_websocket_connected",
                key,
                &mut self.data,
                state,
                |conn| callback(conn),
            ),
            _ => Ok(()),
        }
    }

    /// The codec has written its answer already; what is left is to tell the application and to end.
    fn fail_protocol(&mut self, key: Key, error: ProtocolError, state: &mut S) {
        let error = ConnectionError::Protocol(error);
        log::debug!("{}: {error}", describe(key));
        self.tell(key, &error, state);
        with(|core| core.end(key, CloseReason::Error(error)));
    }

    /// A callback has failed: the peer is told in the protocol's words.
    fn fail(&mut self, key: Key, error: ConnectionError, state: &mut S) {
        match &error {
            ConnectionError::Callback { .. } | ConnectionError::Panic { .. } => {
                log::warn!("{}: {error}", describe(key));
            }
            _ => log::debug!("{}: {error}", describe(key)),
        }
        let goodbye = match &error {
            ConnectionError::Idle { .. } => Goodbye::Idle,
            _ => Goodbye::Failure,
        };
        self.tell(key, &error, state);
        with(|core| match error {
            error @ ConnectionError::Io(_) => core.destroy(key, CloseReason::Error(error)),
            error => core.goodbye(key, &goodbye, CloseReason::Error(error)),
        });
    }

    fn tell(&mut self, key: Key, error: &ConnectionError, state: &mut S) {
        if let Some(callback) = &self.plan.callbacks.error {
            let result = guarded("on_error", key, &mut self.data, state, |conn| {
                callback(conn, error)
            });
            if let Err(error) = result {
                log::warn!("{}: {error}", describe(key));
            }
        }
    }

    fn plain(
        &mut self,
        key: Key,
        name: &'static str,
        state: &mut dyn Any,
        which: impl FnOnce(&Callbacks<P, S, D>) -> Option<&PlainCallback<P, S, D>>,
    ) {
        let Some(state) = state.downcast_mut::<S>() else {
            return;
        };
        let plan = Rc::clone(&self.plan);
        let Some(callback) = which(&plan.callbacks) else {
            return;
        };
        let result = guarded(name, key, &mut self.data, state, |conn| callback(conn));
        if let Err(error) = result {
            self.fail(key, error, state);
        }
    }
}

type PlainCallback<P, S, D> = Box<dyn Fn(&mut Conn<'_, P, S, D>) -> Result>;

/// Calls user code for a connection; an `Err` and a panic both become the error of this one connection.
fn guarded<P: Protocol, S: 'static, D: 'static, T>(
    name: &'static str,
    key: Key,
    data: &mut D,
    state: &mut S,
    callback: impl FnOnce(&mut Conn<'_, P, S, D>) -> Result<T>,
) -> std::result::Result<T, ConnectionError> {
    let mut conn = Conn::new(key, state, data, None);
    // The state may be left half-changed by a panic; that is the application's to bear, as in any server that
    // outlives a failed request. Ours is never borrowed here.
    match catch_unwind(AssertUnwindSafe(|| callback(&mut conn))) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(ConnectionError::Callback {
            callback: name,
            error,
        }),
        Err(panic) => Err(ConnectionError::Panic {
            callback: name,
            what: panic_text(panic.as_ref()),
        }),
    }
}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "something that is no text".to_owned())
}

/// A connection in a log line.
fn describe(key: Key) -> String {
    with(|core| {
        core.entry(key)
            .map(|entry| format!("{} connection from {}", entry.limits.protocol, entry.peer))
    })
    .flatten()
    .unwrap_or_else(|| "a connection that has ended".to_owned())
}

/// What follows from a step.
enum Next<V> {
    Go(usize),
    Stop(usize),
    /// A message that no callback wants.
    Ignored(usize),
    /// The bytes go to another connection.
    Piped(Key),
    Answer(usize, V),
    Finished,
    Fail(ConnectionError),
    FailProtocol(ProtocolError),
}

enum Decoded<M, O> {
    Step(Phase, Step<M, O>),
    Stop,
    Piped(Key),
    Failed(ProtocolError),
}

/// One step of the decoder, with the core borrowed: what the codec writes goes straight into the send buffer.
fn decode<'a, P: Protocol>(
    key: Key,
    decoder: &'a mut P::Decoder,
    input: &'a mut [u8],
) -> Decoded<P::Message<'a>, P::Opening<'a>> {
    with(|core| {
        let Some(entry) = find(&mut core.entries, key) else {
            return Decoded::Stop;
        };
        if !entry.may_decode() {
            return Decoded::Stop;
        }
        if let Some(target) = entry.pipe {
            return Decoded::Piped(target);
        }
        if entry.queued() > entry.limits.high_water && entry.phase == Phase::Open {
            entry.set(flag::HELD);
            return Decoded::Stop;
        }
        core.glimpse.show(input, entry.limits.protocol);
        let now = core.clock.now_millis();
        let before = entry.out.len();
        let mut wire = Wire::new(&mut entry.out, core.clock.now(), core.clock.date());
        let Some(encoder) = encoder_of::<P>(entry.encoder.as_mut()) else {
            return Decoded::Stop;
        };
        let result = P::decode(decoder, encoder, input, &mut wire);
        let flow = wire.flow;
        if entry.out.len() > before {
            core.mark_dirty(key);
        }
        let Some(entry) = core.entry(key) else {
            return Decoded::Stop;
        };
        let phase = entry.phase;
        if !matches!(
            result,
            Ok(Step {
                event: Event::Progress,
                ..
            })
        ) {
            entry.last_active = now;
        }
        match &result {
            Ok(Step {
                event: Event::Message(_),
                ..
            }) => {
                entry.messages += 1;
                core.counters.messages += 1;
            }
            Ok(Step {
                event: Event::Wait, ..
            }) => entry.set(flag::WAIT),
            Ok(Step {
                event: Event::Finished,
                ..
            }) => {
                entry
                    .reason
                    .get_or_insert_with(|| Box::new(CloseReason::Peer));
            }
            Err(_) => {
                if flow == Flow::Close {
                    entry.set(flag::CLOSE);
                }
            }
            _ => core.apply(key, flow),
        }
        match result {
            Ok(step) => {
                if matches!(step.event, Event::Message(_) | Event::Finished) {
                    core.apply(key, flow);
                }
                Decoded::Step(phase, step)
            }
            Err(error) => Decoded::Failed(error),
        }
    })
    .unwrap_or(Decoded::Stop)
}

/// What may be done with a connection's bytes at this moment.
enum Reading {
    Decode,
    /// Both codecs are bypassed: the bytes go to another connection.
    Pipe(Key),
    /// We only wait for the end.
    Discard,
    No,
}

fn reading(core: &mut Core, key: Key) -> Reading {
    let Some(entry) = core.entry(key) else {
        return Reading::No;
    };
    if !entry.has(flag::READABLE) {
        return Reading::No;
    }
    match (entry.phase, entry.pipe) {
        (Phase::Lingering, _) => Reading::Discard,
        (Phase::Open | Phase::Goodbye, _) if !entry.may_decode() => Reading::No,
        (Phase::Open, Some(target)) => Reading::Pipe(target),
        (Phase::Open | Phase::Goodbye, _) => Reading::Decode,
        _ => Reading::No,
    }
}

impl<P: Protocol, S: 'static, D: 'static> Driver for Typed<P, S, D> {
    fn connected(&mut self, key: Key, state: &mut dyn Any) {
        with(|core| core.glimpse.clear());
        self.plain(key, "on_connect", state, |callbacks| {
            callbacks.connect.as_ref()
        });
        with(|core| core.mark_dirty(key));
    }

    fn turn(&mut self, key: Key, scratch: &mut [u8], state: &mut dyn Any) {
        let Some(state) = state.downcast_mut::<S>() else {
            return;
        };
        let mut input = with(|core| {
            if let Some(buffer) = core.spare_buffer(key)
                && let Some(entry) = core.entry(key)
            {
                entry.out = buffer;
            }
            core.entry(key)
                .map(|entry| std::mem::take(&mut entry.input))
        })
        .flatten()
        .unwrap_or_default();
        if !input.is_empty() {
            let done = self.consume(key, &mut input, state);
            input.drain(..done);
        }
        let mut budget = READ_BUDGET;
        while budget > 0 {
            let read = with(|core| match reading(core, key) {
                Reading::No => None,
                how => core.read(key, scratch).map(|read| (how, read)),
            });
            let Some(Some((how, read))) = read else {
                break;
            };
            match (how, read) {
                (_, Read::Nothing) => break,
                (_, Read::End) => {
                    with(|core| end_of_stream(core, key));
                    break;
                }
                (Reading::Discard, Read::Error(error)) => {
                    let error = CloseReason::Error(ConnectionError::Io(error));
                    with(|core| core.destroy(key, error));
                    break;
                }
                (_, Read::Error(error)) => {
                    self.fail(key, ConnectionError::Io(error), state);
                    break;
                }
                (Reading::Pipe(target), Read::Bytes(len)) => {
                    budget = budget.saturating_sub(len);
                    let fed = with(|core| core.feed(key, target, &scratch[..len]));
                    if fed != Some(true) {
                        with(|core| core.end(key, CloseReason::Local));
                        break;
                    }
                }
                (Reading::Decode, Read::Bytes(len)) => {
                    budget = budget.saturating_sub(len);
                    if input.is_empty() {
                        let done = self.consume(key, &mut scratch[..len], state);
                        input.extend_from_slice(&scratch[done..len]);
                    } else {
                        input.extend_from_slice(&scratch[..len]);
                        let done = self.consume(key, &mut input, state);
                        input.drain(..done);
                    }
                    if input.len() > self.plan.limits.max_input {
                        let error = ProtocolError::peer(
                            workhive_protocols::Answer::None,
                            "the codec left more unfinished bytes than the loop keeps",
                            format!("{} bytes", input.len()),
                        );
                        self.fail_protocol(key, error, state);
                        break;
                    }
                }
                (_, Read::Bytes(len)) => budget = budget.saturating_sub(len),
            }
        }
        with(|core| {
            let Some(entry) = core.entry(key) else {
                return;
            };
            if !input.is_empty() && entry.phase <= Phase::Goodbye {
                entry.input = input;
            }
            let more = entry.has(flag::READABLE)
                && (entry.may_decode() || entry.phase == Phase::Lingering);
            if more {
                core.run_again(key);
            }
            core.give_back(key);
            core.mark_dirty(key);
        });
    }

    fn expired(&mut self, key: Key, state: &mut dyn Any) {
        let Some(state) = state.downcast_mut::<S>() else {
            return;
        };
        let decoder = &mut self.decoder;
        let result = with(|core| {
            let entry = find(&mut core.entries, key)?;
            let mut wire = Wire::new(&mut entry.out, core.clock.now(), core.clock.date());
            let encoder = encoder_of::<P>(entry.encoder.as_mut())?;
            let result = P::expired(decoder, encoder, &mut wire);
            let flow = wire.flow;
            if result.is_ok() {
                core.apply(key, flow);
            }
            core.mark_dirty(key);
            Some(result)
        });
        if let Some(Some(Err(error))) = result {
            self.fail_protocol(key, error, state);
        }
    }

    fn failed(&mut self, key: Key, error: ConnectionError, state: &mut dyn Any) {
        if let Some(state) = state.downcast_mut::<S>() {
            self.fail(key, error, state);
        }
    }

    fn notice(&mut self, key: Key, notice: Notice, state: &mut dyn Any) {
        let open = with(|core| {
            let entry = core.entry(key)?;
            entry.clear(flag::NOTICED);
            let open = entry.phase == Phase::Open;
            core.mark_dirty(key);
            Some(open)
        });
        if open.flatten() != Some(true) {
            return;
        }
        match notice {
            Notice::BufferFull => self.plain(key, "on_buffer_full", state, |callbacks| {
                callbacks.buffer_full.as_ref()
            }),
            Notice::BufferDrain => self.plain(key, "on_buffer_drain", state, |callbacks| {
                callbacks.buffer_drain.as_ref()
            }),
        }
    }

    fn leaving(&mut self, key: Key, state: &mut dyn Any) {
        let (Some(state), Some(callback)) = (
            state.downcast_mut::<S>(),
            self.plan.callbacks.goodbye.as_ref(),
        ) else {
            return;
        };
        let hears = with(|core| {
            let entry = core.entry(key).filter(|entry| entry.phase == Phase::Open)?;
            let encoder = encoder_of::<P>(entry.encoder.as_mut())?;
            // An HTTP client that has not asked anything cannot be told anything.
            Some((P::ROUTED || P::owes_answer(encoder)) && P::takes_push(encoder).is_ok())
        });
        if hears.flatten() != Some(true) {
            return;
        }
        let result = guarded("on_goodbye", key, &mut self.data, state, |conn| {
            callback(conn)
        });
        if let Err(error) = result {
            log::warn!("{}: {error}", describe(key));
        }
    }

    fn closed(&mut self, key: Key, reason: &CloseReason, state: &mut dyn Any) {
        let (Some(state), Some(callback)) = (
            state.downcast_mut::<S>(),
            self.plan.callbacks.close.as_ref(),
        ) else {
            return;
        };
        let peer_close = P::peer_goodbye(&self.decoder);
        let mut conn = Conn::new(key, state, &mut self.data, Some((reason, peer_close)));
        match catch_unwind(AssertUnwindSafe(|| callback(&mut conn))) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => log::warn!("on_close returned an error: {error}"),
            Err(panic) => log::warn!("on_close panicked: {}", panic_text(panic.as_ref())),
        }
    }

    fn deadline(&self, encoder: &mut dyn AnyEncoder) -> Option<Instant> {
        P::deadline(&self.decoder, encoder_of::<P>(encoder)?)
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }

    fn is_idle(&self, encoder: &mut dyn AnyEncoder) -> bool {
        encoder_of::<P>(encoder).is_none_or(|encoder| P::is_idle(&self.decoder, encoder))
    }
}

/// The peer sends no more. What it is still owed is settled at the end of the turn.
fn end_of_stream(core: &mut Core, key: Key) {
    let Some(entry) = core.entry(key) else {
        return;
    };
    match entry.phase {
        Phase::Open => {
            core.mark_dirty(key);
        }
        Phase::Ending => {}
        _ => core.destroy(key, CloseReason::Peer),
    }
}
