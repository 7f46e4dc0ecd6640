//! The contract between a protocol and the loop that drives it.

use std::fmt::Debug;
use std::rc::Rc;
use std::time::{Instant, SystemTime};

use crate::{EncodeError, Message, ProtocolError};

/// A protocol of one kind of listener: how bytes become messages, and messages bytes.
///
/// A connection has one `Decoder` and one `Encoder`. They are two values, because a message is lent to the
/// application out of the decoder while the application answers through the encoder.
///
/// The loop drives a connection by these rules:
///
/// 1. [`open`](Protocol::open) once, when the connection is accepted.
/// 2. [`decode`](Protocol::decode) with all bytes that are not consumed yet, again and again, until it says
///    [`Event::Partial`] (more bytes are needed) or [`Event::Wait`] (an answer must be sent first). Bytes that a step
///    did not consume are given again, at the front, next time. Input may be split anywhere.
/// 3. After every call the loop looks at [`Wire::flow`] and sends what stands in [`Wire::out`].
/// 4. Whenever it has finished with a connection for the moment, it asks for the
///    [`deadline`](Protocol::deadline); when that moment passes it calls [`expired`](Protocol::expired).
/// 5. An error from any of them ends the connection, after what stands in `out` was sent.
///
/// # Writing one
///
/// Most protocols need [`open`](Protocol::open), [`decode`](Protocol::decode) and [`encode`](Protocol::encode). Those
/// whose users push to user ids add [`push`](Protocol::push), those with timeouts of their own
/// [`deadline`](Protocol::deadline) and [`expired`](Protocol::expired). [`is_idle`](Protocol::is_idle) keeps a process
/// that drains from ending a connection in the middle of a message, and
/// [`max_unfinished`](Protocol::max_unfinished) says how long one can be.
///
/// This one is a byte for the length and so many bytes of payload, and knows one command, a length of zero, that it
/// answers itself:
///
/// ```
/// # mod workhive { pub use workhive_protocols::*; pub mod codec { pub use workhive_protocols::*; } }
/// use std::{rc::Rc, time::Instant};
///
/// use workhive::codec::{Answer, EncodeError, Event, NoOpening, ProtocolError, Step, Wire};
/// use workhive::{Message, Protocol};
///
/// struct Short;
///
/// #[derive(Clone, Debug)]
/// struct ShortConfig {
///     max_message: usize,
/// }
///
/// impl Default for ShortConfig {
///     fn default() -> Self {
///         Self { max_message: 255 }
///     }
/// }
///
/// struct ShortDecoder {
///     config: Rc<ShortConfig>,
///     unfinished: bool,
/// }
///
/// impl Protocol for Short {
///     const NAME: &'static str = "short"; // "short://127.0.0.1:7001"
///     type Config = ShortConfig; // what `configure` changes
///     type Decoder = ShortDecoder;
///     type Encoder = ();
///     type Message<'a> = Message<'a>; // what `on_message` is given
///     type Outgoing<'a> = Message<'a>; // what `send` takes
///     type Opening<'a> = NoOpening;
///     type Verdict = ();
///
///     fn open(config: &Rc<ShortConfig>, _now: Instant) -> (ShortDecoder, ()) {
///         let config = Rc::clone(config);
///         (ShortDecoder { config, unfinished: false }, ())
///     }
///
///     fn decode<'a>(
///         decoder: &'a mut ShortDecoder,
///         (): &mut (),
///         input: &'a mut [u8],
///         wire: &mut Wire<'_>,
///     ) -> Result<Step<Message<'a>, NoOpening>, ProtocolError> {
///         let input: &[u8] = input;
///         decoder.unfinished = !input.is_empty();
///         let Some((&length, rest)) = input.split_first() else {
///             return Ok(Step::new(0, Event::Partial));
///         };
///         let len = usize::from(length);
///         if len > decoder.config.max_message {
///             wire.out.extend_from_slice(b"\x08too long"); // the farewell, then the error
///             let rule = "a message is not longer than max_message";
///             return Err(ProtocolError::peer(Answer::None, rule, format!("{len} bytes")));
///         }
///         let Some(payload) = rest.get(..len) else {
///             return Ok(Step::new(0, Event::Partial)); // the same bytes come again, with more behind them
///         };
///         decoder.unfinished = false;
///         if len == 0 {
///             wire.out.push(0);
///             return Ok(Step::new(1, Event::Progress)); // done; the application need not see it
///         }
///         Ok(Step::new(1 + len, Event::Message(Message::from_wire(payload))))
///     }
///
///     fn encode((): &mut (), message: Message<'_>, wire: &mut Wire<'_>) -> Result<(), EncodeError> {
///         let len = message.len();
///         let length = u8::try_from(len).map_err(|_| EncodeError::TooLong { len, max: 255 })?;
///         wire.out.push(length);
///         wire.out.extend_from_slice(message.as_bytes());
///         Ok(())
///     }
///
///     fn push((): &mut (), payload: Message<'_>, wire: &mut Wire<'_>) -> Result<(), EncodeError> {
///         Self::encode(&mut (), payload, wire)
///     }
///
///     fn is_idle(decoder: &ShortDecoder, (): &()) -> bool {
///         !decoder.unfinished
///     }
///
///     fn max_unfinished(config: &ShortConfig) -> usize {
///         1 + config.max_message
///     }
/// }
/// #
/// # use std::time::SystemTime;
/// # let (mut out, now) = (Vec::new(), Instant::now());
/// # let date = workhive::codec::http_date(SystemTime::UNIX_EPOCH);
/// # let mut wire = Wire::new(&mut out, now, &date);
/// # let (mut decoder, ()) = Short::open(&Rc::new(ShortConfig { max_message: 100 }), now);
/// # let mut decode = |input: &[u8]| {
/// #     Short::decode(&mut decoder, &mut (), &mut input.to_vec(), &mut wire).map(|step| match step.event {
/// #         Event::Message(message) => (step.consumed, Some(Event::Message(message.into_owned()))),
/// #         Event::Partial => (step.consumed, None),
/// #         _ => (step.consumed, Some(Event::<Message<'static>, NoOpening>::Progress)),
/// #     })
/// # };
/// # assert_eq!(decode(b"\x02h"), Ok((0, None)));
/// # assert_eq!(decode(b"\x02hi\x01"), Ok((3, Some(Event::Message("hi".into())))));
/// # assert_eq!(decode(b"\0"), Ok((1, Some(Event::Progress))));
/// # assert!(decode(b"\x65").is_err());
/// # Short::encode(&mut (), "ok".into(), &mut wire)?;
/// # assert_eq!(out, b"\0\x08too long\x02ok");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// What is easily got wrong:
///
/// - [`Event::Partial`] with nothing consumed keeps the bytes: the loop gives them again, from the first on, with more
///   behind them. A decoder of long messages remembers how far it has looked, as [`Text`](crate::Text) does.
/// - After a [`ProtocolError`] the connection ends and [`goodbye`](Protocol::goodbye) is not called. A farewell is
///   written to [`Wire::out`] before the error is returned.
/// - [`Event::Progress`] must have consumed something, or it is taken for [`Event::Partial`].
/// - A codec that panics loses its connection, without a farewell; all others go on.
/// - Output is only appended. What was there before belongs to earlier messages.
pub trait Protocol: Sized + 'static {
    /// The scheme in addresses, status tables and logs: `"http"` in `http://127.0.0.1:80`.
    const NAME: &'static str;

    /// Limits and options; shared by all connections of a listener.
    type Config: Clone + Debug + Default + 'static;
    /// What is kept of the input between two calls. Small while the connection is idle.
    type Decoder: 'static;
    /// What is kept of the output side. Small while the connection is idle.
    type Encoder: 'static;
    /// One decoded unit, as the application sees it; lent from the input or from the decoder.
    type Message<'a>;
    /// What the application can send. [`Message`] for protocols that carry plain payloads.
    type Outgoing<'a>;
    /// What a peer says before the first message, for protocols with a handshake that the application may refuse;
    /// [`NoOpening`] for all others.
    type Opening<'a>;
    /// The application's answer to an opening; its default accepts. `()` where there is no opening.
    type Verdict: Default + 'static;

    /// True if a draining process should spread its goodbyes over the whole window: long-lived clients that would
    /// otherwise all come back in the same moment (WebSocket).
    const SPREAD: bool = false;

    /// True if a push to all reaches every connection; false if only those that take part in routing, by a uid, a room or
    /// session data. Can be set for a listener; this is its default.
    const ROUTED: bool = true;

    /// True for a message that is taken even if the send buffer is over its limit. Only for what the peer is waiting
    /// for and what there is at most one of, such as the response to a request: without it the connection would hang.
    fn must_take(message: &Self::Outgoing<'_>) -> bool {
        let _ = message;
        false
    }

    /// How many bytes the decoder may leave unconsumed with the loop: its longest message with its frame. The loop
    /// ends a connection of which [`Event::Partial`] leaves more, so that a decoder without a limit of its own does
    /// not take all memory. The default is 16 MiB.
    fn max_unfinished(config: &Self::Config) -> usize {
        let _ = config;
        16 * 1024 * 1024
    }

    /// The state of a new connection.
    fn open(config: &Rc<Self::Config>, now: Instant) -> (Self::Decoder, Self::Encoder);

    /// Takes one step through `input`. Limits are checked on declared sizes, before memory is taken.
    ///
    /// A decoder may keep unfinished bytes itself and consume them, or leave them unconsumed: the loop then keeps
    /// them and gives them again with more behind them. `input` may be changed in place (unmasking).
    fn decode<'a>(
        decoder: &'a mut Self::Decoder,
        encoder: &mut Self::Encoder,
        input: &'a mut [u8],
        wire: &mut Wire<'_>,
    ) -> Result<Step<Self::Message<'a>, Self::Opening<'a>>, ProtocolError>;

    /// Appends the bytes of `message` to the output. After an error nothing was appended.
    fn encode(
        encoder: &mut Self::Encoder,
        message: Self::Outgoing<'_>,
        wire: &mut Wire<'_>,
    ) -> Result<(), EncodeError>;

    /// Appends a payload that was pushed by somebody else (to a uid, to a room), in the protocol's natural form.
    /// The default says that this protocol cannot carry pushes.
    fn push(
        encoder: &mut Self::Encoder,
        payload: Message<'_>,
        wire: &mut Wire<'_>,
    ) -> Result<(), EncodeError> {
        let (_, _, _) = (encoder, payload, wire);
        Err(EncodeError::Misuse {
            rule: "this protocol cannot carry pushed messages",
        })
    }

    /// Appends a pushed payload as it is on the wire of every connection, where it is the same for all of them: it is
    /// then encoded once for all connections of a process, and each is only asked whether it
    /// [takes it](Protocol::takes_push). The default, `None`, says that [`push`](Protocol::push) is to be called for
    /// each. After an error nothing was appended.
    fn shared_push(payload: &Message<'_>, out: &mut Vec<u8>) -> Option<Result<(), EncodeError>> {
        let (_, _) = (payload, out);
        None
    }

    /// Whether a connection takes what [`shared_push`](Protocol::shared_push) has made.
    fn takes_push(encoder: &Self::Encoder) -> Result<(), EncodeError> {
        let _ = encoder;
        Ok(())
    }

    /// Appends the application's answer to an [`Event::Opening`]; a refusal also sets [`Wire::flow`].
    fn answer(
        encoder: &mut Self::Encoder,
        verdict: Self::Verdict,
        wire: &mut Wire<'_>,
    ) -> Result<(), EncodeError> {
        let (_, _, _) = (encoder, verdict, wire);
        Ok(())
    }

    /// Appends what the protocol says before the connection ends from this side (a close frame, an error
    /// response); nothing, for protocols that just stop.
    fn goodbye(encoder: &mut Self::Encoder, goodbye: &Goodbye, wire: &mut Wire<'_>) {
        let (_, _, _) = (encoder, goodbye, wire);
    }

    /// True if, after our [`goodbye`](Protocol::goodbye), decoding must go on until the peer said its own
    /// ([`Event::Finished`]), as in WebSocket's closing handshake.
    fn awaits_goodbye(encoder: &Self::Encoder) -> bool {
        let _ = encoder;
        false
    }

    /// The next moment at which [`expired`](Protocol::expired) has something to do.
    fn deadline(decoder: &Self::Decoder, encoder: &Self::Encoder) -> Option<Instant> {
        let (_, _) = (decoder, encoder);
        None
    }

    /// The deadline has passed ([`Wire::now`] says by how much): a ping to send, or a peer that was too slow.
    fn expired(
        decoder: &mut Self::Decoder,
        encoder: &mut Self::Encoder,
        wire: &mut Wire<'_>,
    ) -> Result<(), ProtocolError> {
        let (_, _, _) = (decoder, encoder, wire);
        Ok(())
    }

    /// True if nothing is in hand: no unfinished message, no answer owed. Idle connections may be closed while the
    /// process drains.
    fn is_idle(decoder: &Self::Decoder, encoder: &Self::Encoder) -> bool {
        let (_, _) = (decoder, encoder);
        true
    }

    /// The code and reason with which the peer said goodbye, if it did (WebSocket close frames).
    fn peer_goodbye(decoder: &Self::Decoder) -> Option<(u16, String)> {
        let _ = decoder;
        None
    }

    /// True while the peer waits for an answer of the application: a peer that has half-closed its side meanwhile
    /// still gets it.
    fn owes_answer(encoder: &Self::Encoder) -> bool {
        let _ = encoder;
        false
    }

    /// The process has begun to drain: from now on answers say that the connection ends (`Connection: close`).
    fn drain(encoder: &mut Self::Encoder) {
        let _ = encoder;
    }
}

/// What one call of [`Protocol::decode`] did.
#[derive(Debug, PartialEq, Eq)]
pub struct Step<M, O> {
    /// How many bytes of the input are done with.
    pub consumed: usize,
    /// What they meant.
    pub event: Event<M, O>,
}

impl<M, O> Step<M, O> {
    /// A step that took `consumed` bytes and yields `event`.
    pub fn new(consumed: usize, event: Event<M, O>) -> Self {
        Self { consumed, event }
    }
}

/// What a step of a decoder yields.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<M, O> {
    /// Nothing complete yet: call again when there are more bytes.
    Partial,
    /// Something was done that the application need not see (a ping was answered): call again with the rest.
    Progress,
    /// A message for the application.
    Message(M),
    /// The peer's opening: the application's verdict goes to [`Protocol::answer`], then call again.
    Opening(O),
    /// The next message must wait until the application has answered the last one (HTTP pipelining).
    Wait,
    /// The peer has said goodbye in the protocol's words; nothing it sends after this counts.
    Finished,
}

/// The opening of protocols that have none; a value of this type cannot exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoOpening {}

/// Why this side ends a connection; each protocol has its own words for it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Goodbye {
    /// The application closed it (WebSocket 1000).
    Normal,
    /// The application closed it with a code and a reason of its own (WebSocket; others treat it as `Normal`).
    Code {
        /// The close code, RFC 6455 section 7.4.
        code: u16,
        /// The reason, at most 123 bytes of UTF-8.
        reason: String,
    },
    /// A callback failed (WebSocket 1011, HTTP 500 if an answer was owed).
    Failure,
    /// This process is going away and another one serves (WebSocket 1012).
    Restart,
    /// The peer was silent for too long (WebSocket 1001).
    Idle,
}

/// What must happen to the connection once the output has been sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Flow {
    /// It stays.
    #[default]
    Open,
    /// Send, half-close, linger until the peer has read it, then close: the last answer must not be lost.
    End,
    /// Send, then close at once: both sides have said goodbye.
    Close,
}

/// A date in the form of RFC 9110 section 5.6.7, `Sun, 06 Nov 1994 08:49:37 GMT`.
pub type HttpDate = [u8; 29];

/// `time` in the form that `Date` headers have. Make it once a second, not once a response.
///
/// Times that the form cannot express (before 1970, after the year 9999) become the start of 1970.
///
/// ```
/// # mod workhive { pub use workhive_protocols::*; pub mod codec { pub use workhive_protocols::*; } }
/// use std::time::{Duration, SystemTime};
/// use workhive::codec::http_date;
///
/// let date = http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777));
/// assert_eq!(&date, b"Sun, 06 Nov 1994 08:49:37 GMT");
/// ```
pub fn http_date(time: SystemTime) -> HttpDate {
    const LAST_SECOND: u64 = 253_402_300_799;
    // httpdate panics outside of this range.
    let time = match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) if since.as_secs() <= LAST_SECOND => time,
        _ => SystemTime::UNIX_EPOCH,
    };
    let text = httpdate::fmt_http_date(time);
    let mut date = *b"Thu, 01 Jan 1970 00:00:00 GMT";
    if let Ok(exact) = <HttpDate>::try_from(text.as_bytes()) {
        date = exact;
    }
    date
}

/// The way out of a codec: where output goes, and what time it is.
#[derive(Debug)]
pub struct Wire<'a> {
    /// The connection's send buffer; codecs only ever append.
    pub out: &'a mut Vec<u8>,
    /// The time of this turn of the loop.
    pub now: Instant,
    /// The same time for `Date` headers.
    pub date: &'a HttpDate,
    /// What becomes of the connection after this output. Codecs raise it, they never lower it.
    pub flow: Flow,
}

impl<'a> Wire<'a> {
    /// A way out that appends to `out`.
    pub fn new(out: &'a mut Vec<u8>, now: Instant, date: &'a HttpDate) -> Self {
        Self {
            out,
            now,
            date,
            flow: Flow::Open,
        }
    }

    /// Raises the flow, never lowers it.
    pub(crate) fn raise(&mut self, flow: Flow) {
        if self.flow != Flow::Close && flow != Flow::Open {
            self.flow = flow;
        }
    }
}
