//! WebSocket, RFC 6455, server side.

mod close;
mod decoder;
mod encoder;
mod frame;
mod handshake;
mod mask;
mod utf8;

use std::rc::Rc;
use std::time::{Duration, Instant};

pub use decoder::WebSocketDecoder;
pub use encoder::WebSocketEncoder;
pub use handshake::{Handshake, Verdict};

use crate::{EncodeError, Goodbye, Message, Protocol, ProtocolError, Step, Wire};

/// WebSocket as RFC 6455 has it, without extensions.
///
/// The first event of a connection is an [`Opening`](crate::Event::Opening) with the [`Handshake`]; messages come
/// after [`answer`](Protocol::answer) has accepted it. Pings are answered, closing handshakes completed, and silent
/// peers pinged without the application's help.
///
/// The callbacks of a WebSocket listener are in the guide, the front page of the crate workhive, under "WebSocket".
///
/// # Driving the codec
///
/// What the loop does with it, by hand:
///
/// ```
/// # mod workhive { pub use workhive_protocols::*; pub mod codec { pub use workhive_protocols::*; } }
/// use std::{rc::Rc, time::{Instant, SystemTime}};
/// use workhive::codec::{Event, Wire, http_date};
/// use workhive::{Protocol, Verdict, WebSocket, WebSocketConfig};
///
/// let (mut out, now, date) = (Vec::new(), Instant::now(), http_date(SystemTime::UNIX_EPOCH));
/// let (mut decoder, mut encoder) = WebSocket::open(&Rc::new(WebSocketConfig::default()), now);
/// let mut wire = Wire::new(&mut out, now, &date);
/// let mut input = *b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
///     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
/// WebSocket::decode(&mut decoder, &mut encoder, &mut input, &mut wire)?;
/// WebSocket::answer(&mut encoder, Verdict::accept(), &mut wire)?;
/// wire.out.clear();
///
/// let mut input = *b"\x81\x82\0\0\0\0hi";
/// let step = WebSocket::decode(&mut decoder, &mut encoder, &mut input, &mut wire)?;
/// assert_eq!(step.event, Event::Message("hi".into()));
///
/// WebSocket::encode(&mut encoder, "ok".into(), &mut wire)?;
/// assert_eq!(out, b"\x81\x02ok");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub enum WebSocket {}

/// Limits of [`WebSocket`].
///
/// ```
/// # mod workhive { pub use workhive_protocols::*; }
/// use std::time::Duration;
/// use workhive::WebSocketConfig;
///
/// let mut config = WebSocketConfig::default();
/// config.ping_interval = Some(Duration::from_secs(55));
/// # let _ = config;
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebSocketConfig {
    /// The longest message in bytes, all fragments together; longer ones end with 1009. Default 10 MiB.
    pub max_message: usize,
    /// The most fragments of one message, an empty last one not counted; more end with 1008. Default 65,536.
    pub max_fragments: usize,
    /// The longest handshake in bytes; longer ones are answered 431. Default 16 KiB.
    pub max_head: usize,
    /// The most header fields of a handshake; more are answered 431. Default 100.
    pub max_headers: usize,
    /// How long the handshake may take from the accept on; then 408. Default 10 s.
    pub handshake_timeout: Duration,
    /// How long a peer may be silent before it is pinged; `None` for no pings. Default 25 s.
    pub ping_interval: Option<Duration>,
    /// How long a pinged peer may go on being silent; then 1001. Default 10 s.
    pub pong_timeout: Duration,
    /// How long to wait for the peer's close frame after ours. Default 5 s.
    pub close_timeout: Duration,
}

impl Default for WebSocketConfig {
    fn default() -> Self {
        Self {
            max_message: crate::MAX_MESSAGE,
            max_fragments: 65_536,
            max_head: crate::MAX_HEAD,
            max_headers: crate::MAX_HEADERS,
            handshake_timeout: Duration::from_secs(10),
            ping_interval: Some(Duration::from_secs(25)),
            pong_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(5),
        }
    }
}

impl WebSocket {
    /// The code and reason of the peer's close frame, once it has come; 1005 stands for a frame without a code.
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; }
    /// use std::{rc::Rc, time::Instant};
    /// use workhive::{Protocol, WebSocket, WebSocketConfig};
    ///
    /// let (decoder, _) = WebSocket::open(&Rc::new(WebSocketConfig::default()), Instant::now());
    /// assert_eq!(WebSocket::peer_close(&decoder), None);
    /// ```
    pub fn peer_close(decoder: &WebSocketDecoder) -> Option<(u16, &str)> {
        decoder.peer_close()
    }
}

impl Protocol for WebSocket {
    const NAME: &'static str = "websocket";
    const SPREAD: bool = true;

    type Config = WebSocketConfig;
    type Decoder = WebSocketDecoder;
    type Encoder = WebSocketEncoder;
    type Message<'a> = Message<'a>;
    type Outgoing<'a> = Message<'a>;
    type Opening<'a> = Handshake<'a>;
    type Verdict = Verdict;

    /// A handshake, later a control frame or the head of a data frame: its payload is kept by the decoder.
    fn max_unfinished(config: &WebSocketConfig) -> usize {
        config.max_head.max(frame::LONGEST_HEAD_AND_CONTROL)
    }

    fn open(config: &Rc<WebSocketConfig>, now: Instant) -> (WebSocketDecoder, WebSocketEncoder) {
        (
            WebSocketDecoder::new(Rc::clone(config), now),
            WebSocketEncoder::new(),
        )
    }

    fn decode<'a>(
        decoder: &'a mut WebSocketDecoder,
        encoder: &mut WebSocketEncoder,
        input: &'a mut [u8],
        wire: &mut Wire<'_>,
    ) -> Result<Step<Message<'a>, Handshake<'a>>, ProtocolError> {
        decoder
            .step(encoder, input, wire)
            .map_err(|error| encoder.fail(error, wire))
    }

    fn encode(
        encoder: &mut WebSocketEncoder,
        message: Message<'_>,
        wire: &mut Wire<'_>,
    ) -> Result<(), EncodeError> {
        encoder.message(&message, wire)
    }

    fn push(
        encoder: &mut WebSocketEncoder,
        payload: Message<'_>,
        wire: &mut Wire<'_>,
    ) -> Result<(), EncodeError> {
        encoder.message(&payload, wire)
    }

    fn shared_push(payload: &Message<'_>, out: &mut Vec<u8>) -> Option<Result<(), EncodeError>> {
        encoder::write_message(payload, out);
        Some(Ok(()))
    }

    fn takes_push(encoder: &WebSocketEncoder) -> Result<(), EncodeError> {
        encoder.check_open()
    }

    fn answer(
        encoder: &mut WebSocketEncoder,
        verdict: Verdict,
        wire: &mut Wire<'_>,
    ) -> Result<(), EncodeError> {
        encoder.answer(&verdict, wire)
    }

    /// Before the handshake is complete this is an HTTP response (500 after a failure, 503 at a restart) or nothing;
    /// afterwards a close frame. A code that must not be sent (RFC 6455 7.4.1) becomes 1000.
    fn goodbye(encoder: &mut WebSocketEncoder, goodbye: &Goodbye, wire: &mut Wire<'_>) {
        encoder.goodbye(goodbye, wire);
    }

    fn awaits_goodbye(encoder: &WebSocketEncoder) -> bool {
        encoder.awaits_goodbye()
    }

    fn deadline(decoder: &WebSocketDecoder, encoder: &WebSocketEncoder) -> Option<Instant> {
        decoder.deadline(encoder)
    }

    fn expired(
        decoder: &mut WebSocketDecoder,
        encoder: &mut WebSocketEncoder,
        wire: &mut Wire<'_>,
    ) -> Result<(), ProtocolError> {
        decoder
            .expired(encoder, wire)
            .map_err(|error| encoder.fail(error, wire))
    }

    fn is_idle(decoder: &WebSocketDecoder, encoder: &WebSocketEncoder) -> bool {
        decoder.is_idle(encoder)
    }

    fn peer_goodbye(decoder: &WebSocketDecoder) -> Option<(u16, String)> {
        decoder
            .peer_close()
            .map(|(code, reason)| (code, reason.to_owned()))
    }
}
