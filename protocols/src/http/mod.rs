//! HTTP/1.0 and HTTP/1.1, server side.

mod chunked;
mod decoder;
mod encoder;
mod lines;
mod method;
mod request;
mod response;
mod status;

use std::rc::Rc;
use std::time::{Duration, Instant};

pub use decoder::HttpDecoder;
pub use encoder::HttpEncoder;
pub(crate) use encoder::{refuse, refuse_with};
pub use lines::Lines;
pub use method::Method;
pub use request::Request;
pub use response::{Body, Chunk, Reply, Response};
pub use status::reason;

use crate::{EncodeError, Flow, Goodbye, Message, NoOpening, Protocol, ProtocolError, Step, Wire};

/// HTTP/1.0 and HTTP/1.1 as RFC 9110 and RFC 9112 have it, strict where leniency helps request smuggling.
///
/// Each [`Request`] gets one answer, in order: a second request of a pipeline is decoded when the first has been
/// answered. Broken requests are answered here and never reach the application.
///
/// How requests are answered in callbacks is in the guide, the front page of the crate workhive, under "HTTP" and
/// "Streaming a response".
///
/// # Driving the codec
///
/// What the loop does with it, by hand:
///
/// ```
/// # mod workhive { pub use workhive_protocols::*; pub mod codec { pub use workhive_protocols::*; } }
/// use std::{rc::Rc, time::{Instant, SystemTime}};
/// use workhive::codec::{Event, Wire, http_date};
/// use workhive::{Http, HttpConfig, Protocol, Response};
///
/// let (mut out, now, date) = (Vec::new(), Instant::now(), http_date(SystemTime::UNIX_EPOCH));
/// let (mut decoder, mut encoder) = Http::open(&Rc::new(HttpConfig::default()), now);
/// let mut wire = Wire::new(&mut out, now, &date);
///
/// let mut input = *b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
/// let step = Http::decode(&mut decoder, &mut encoder, &mut input, &mut wire)?;
/// assert_eq!(step.consumed, input.len());
///
/// Http::encode(&mut encoder, Response::text("hi").into(), &mut wire)?;
/// assert!(out.starts_with(b"HTTP/1.1 200 OK\r\n") && out.ends_with(b"\r\n\r\nhi"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub enum Http {}

/// Limits of [`Http`].
///
/// ```
/// # mod workhive { pub use workhive_protocols::*; }
/// use workhive::HttpConfig;
///
/// let mut config = HttpConfig::default();
/// config.max_message = 64 * 1024;
/// # let _ = config;
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpConfig {
    /// The longest body in bytes, without chunking; longer ones are answered 413. Default 10 MiB.
    pub max_message: usize,
    /// The longest head in bytes, with its empty line; longer ones are answered 431. Also bounds the trailers and
    /// all chunk extensions of a body. Default 16 KiB.
    pub max_head: usize,
    /// The most header fields; more are answered 431. Default 100.
    pub max_headers: usize,
    /// How long a head may take from its first byte on; then 408. Default 10 s.
    pub header_timeout: Duration,
    /// How long a body may make no progress; then 408. Default 60 s.
    pub body_timeout: Duration,
    /// How long a connection may be idle, before its first request and between two. Default 75 s.
    pub keep_alive_timeout: Duration,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            max_message: crate::MAX_MESSAGE,
            max_head: crate::MAX_HEAD,
            max_headers: crate::MAX_HEADERS,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_mins(1),
            keep_alive_timeout: Duration::from_secs(75),
        }
    }
}

impl Protocol for Http {
    const NAME: &'static str = "http";
    /// What is pushed becomes a chunk of the response: only of use to those who have asked for one.
    const ROUTED: bool = false;

    type Config = HttpConfig;
    type Decoder = HttpDecoder;
    type Encoder = HttpEncoder;
    type Message<'a> = Request<'a>;
    type Outgoing<'a> = Reply<'a>;
    type Opening<'a> = NoOpening;
    type Verdict = ();

    /// A head, with the empty line that may stand before it; an unfinished body is kept by the decoder.
    fn max_unfinished(config: &HttpConfig) -> usize {
        config.max_head.saturating_add(2)
    }

    fn open(config: &Rc<HttpConfig>, now: Instant) -> (HttpDecoder, HttpEncoder) {
        (HttpDecoder::new(Rc::clone(config)), HttpEncoder::new(now))
    }

    fn decode<'a>(
        decoder: &'a mut HttpDecoder,
        encoder: &mut HttpEncoder,
        input: &'a mut [u8],
        wire: &mut Wire<'_>,
    ) -> Result<Step<Request<'a>, NoOpening>, ProtocolError> {
        let input: &'a [u8] = input;
        let is_head = decoder.method_is_head(input);
        decoder.step(encoder, input, wire).inspect_err(|error| {
            encoder.fail(error, is_head, wire);
        })
    }

    fn encode(
        encoder: &mut HttpEncoder,
        reply: Reply<'_>,
        wire: &mut Wire<'_>,
    ) -> Result<(), EncodeError> {
        encoder.reply(&reply, wire)
    }

    /// Appends a chunk to the response that is being streamed; there is no other place for a pushed payload.
    fn push(
        encoder: &mut HttpEncoder,
        payload: Message<'_>,
        wire: &mut Wire<'_>,
    ) -> Result<(), EncodeError> {
        encoder.chunk(&Chunk::from(payload.as_bytes()), wire)
    }

    /// Answers 500 after a failure and 503 at a restart, if an answer is owed and has not begun.
    fn goodbye(encoder: &mut HttpEncoder, goodbye: &Goodbye, wire: &mut Wire<'_>) {
        encoder.goodbye(goodbye, wire);
    }

    fn deadline(decoder: &HttpDecoder, encoder: &HttpEncoder) -> Option<Instant> {
        decoder.deadline(encoder)
    }

    fn expired(
        decoder: &mut HttpDecoder,
        encoder: &mut HttpEncoder,
        wire: &mut Wire<'_>,
    ) -> Result<(), ProtocolError> {
        if decoder
            .deadline(encoder)
            .is_none_or(|deadline| wire.now < deadline)
        {
            return Ok(());
        }
        if decoder.is_between_requests() {
            encoder.end();
            wire.raise(Flow::End);
            return Ok(());
        }
        let error = decoder.too_slow();
        encoder.fail(&error, decoder.method_is_head(&[]), wire);
        Err(error)
    }

    fn is_idle(decoder: &HttpDecoder, encoder: &HttpEncoder) -> bool {
        decoder.is_between_requests() && !encoder.is_busy()
    }

    /// Everything but a chunk in the middle of a stream: the peer waits for it, and there is no other.
    fn must_take(message: &Reply<'_>) -> bool {
        !matches!(message, Reply::Chunk(chunk) if !chunk.last)
    }

    fn owes_answer(encoder: &HttpEncoder) -> bool {
        encoder.is_busy()
    }

    fn drain(encoder: &mut HttpEncoder) {
        encoder.drain();
    }
}
