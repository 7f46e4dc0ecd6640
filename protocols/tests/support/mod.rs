//! What the tests of this crate share: a loop in miniature, and words for what it saw.
#![allow(dead_code, reason = "each test binary uses its own part of this")]

pub(crate) mod corpus;
pub(crate) mod subject;

use std::fmt;
use std::rc::Rc;
use std::time::{Instant, SystemTime};

use workhive_protocols::{Event, Flow, ProtocolError, Step, Wire, http_date};

pub(crate) use subject::Subject;

/// What one connection has done.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) events: Vec<String>,
    pub(crate) out: Vec<u8>,
    pub(crate) error: Option<ProtocolError>,
    pub(crate) flow: Flow,
    pub(crate) idle: bool,
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?} {:?}", self.events, self.error, self.flow)?;
        write!(f, " idle: {}, out: {}", self.idle, self.out.escape_ascii())
    }
}

/// Feeds `pieces` one after another to a new connection, as the loop would, and answers everything.
pub(crate) fn run<'a, P: Subject>(
    config: &P::Config,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Run {
    let now = Instant::now();
    let date = http_date(SystemTime::UNIX_EPOCH);
    let (mut decoder, mut encoder) = P::open(&Rc::new(config.clone()), now);
    let mut out = Vec::new();
    let mut wire = Wire::new(&mut out, now, &date);
    let mut events = Vec::new();
    let mut buffer: Vec<u8> = Vec::new();
    let mut error = None;
    'connection: for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match step::<P>(
                &mut decoder,
                &mut encoder,
                &mut buffer,
                &mut wire,
                &mut events,
            ) {
                Ok((consumed, next)) => {
                    drop(buffer.drain(..consumed));
                    match next {
                        Next::Step => {}
                        Next::Read => {
                            let most = P::max_unfinished(config);
                            assert!(buffer.len() <= most, "more left than max_unfinished");
                            break;
                        }
                        Next::Stop => break 'connection,
                    }
                }
                Err(found) => {
                    error = Some(found);
                    break 'connection;
                }
            }
        }
        if wire.flow != Flow::Open {
            break;
        }
    }
    let flow = wire.flow;
    P::at_end(&decoder, &mut events);
    Run {
        events,
        flow,
        // A connection that is over is neither idle nor waiting.
        idle: error.is_none() && P::is_idle(&decoder, &encoder),
        error,
        out,
    }
}

enum Next {
    Step,
    Read,
    Stop,
}

fn step<P: Subject>(
    decoder: &mut P::Decoder,
    encoder: &mut P::Encoder,
    input: &mut [u8],
    wire: &mut Wire<'_>,
    events: &mut Vec<String>,
) -> Result<(usize, Next), ProtocolError> {
    let there = input.len();
    let Step { consumed, event } = P::decode(decoder, encoder, input, wire)?;
    assert!(consumed <= there, "more consumed than there was");
    let next = match event {
        Event::Partial => Next::Read,
        Event::Progress => Next::Step,
        Event::Message(message) => {
            P::describe(&message, events);
            drop(message);
            P::respond(encoder, wire);
            Next::Step
        }
        Event::Opening(opening) => {
            P::describe_opening(&opening, events);
            drop(opening);
            P::accept(encoder, wire);
            Next::Step
        }
        Event::Wait => panic!("everything was answered"),
        Event::Finished => Next::Stop,
    };
    Ok((consumed, next))
}

/// Bytes as the corpus spells them, or their number if there are many.
pub(crate) fn spell(bytes: &[u8]) -> String {
    if bytes.len() > 200 || (bytes.len() > 30 && bytes.iter().all(|byte| byte == &bytes[0])) {
        return format!("{} bytes", bytes.len());
    }
    format!("\"{}\"", bytes.escape_ascii())
}
