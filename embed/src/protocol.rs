//! What a worker speaks: a protocol of the library's, or one of the host's own, by callbacks.

use std::cell::RefCell;
use std::ffi::{c_char, c_void};
use std::mem::ManuallyDrop;
use std::rc::Rc;
use std::time::Instant;

use workhive::codec::{Answer, EncodeError, Event, NoOpening, ProtocolError, Step, Wire};
use workhive::{Message, Protocol};

use crate::boundary;
use crate::bytes;
use crate::callback::{User, call_for, wh_destroy_fn};
use crate::codes::{
    WH_ERR_CALLBACK, WH_ERR_NULL, WH_ERR_SCHEME, WH_ERR_TOO_LONG, WH_ERR_VALUE, WH_OK, wh_result,
};
use crate::error::{Failure, Outcome};
use crate::lent::Slot;
use crate::options::{
    WH_BODY_TIMEOUT, WH_CLOSE_TIMEOUT, WH_HANDSHAKE_TIMEOUT, WH_HEADER_TIMEOUT,
    WH_KEEP_ALIVE_TIMEOUT, WH_MAX_FRAGMENTS, WH_MAX_HEAD, WH_MAX_HEADERS, WH_MAX_MESSAGE,
    WH_PING_INTERVAL, WH_PONG_TIMEOUT,
};

/// Tells where the first package in `data` ends: its length, which may be more than `len` (the rest is waited for, and
/// the function asked again when it is there), 0 if more bytes are needed to tell, less than 0 if the peer broke the
/// protocol and its connection is to end.
pub type wh_input_fn =
    Option<unsafe extern "C" fn(user: *mut c_void, data: *const u8, len: usize) -> i64>;
/// Makes the message of a package, by `wh_sink_write`. Returns WH_OK, or anything else if the package makes no sense.
pub type wh_decode_fn = Option<
    unsafe extern "C" fn(user: *mut c_void, data: *const u8, len: usize, sink: *mut c_void) -> i32,
>;
/// Makes the bytes on the wire of a message, by `wh_sink_write`. Returns WH_OK, or anything else if that cannot be sent.
pub type wh_encode_fn = Option<
    unsafe extern "C" fn(user: *mut c_void, data: *const u8, len: usize, sink: *mut c_void) -> i32,
>;

type Input = unsafe extern "C" fn(user: *mut c_void, data: *const u8, len: usize) -> i64;
type Coder =
    unsafe extern "C" fn(user: *mut c_void, data: *const u8, len: usize, sink: *mut c_void) -> i32;

/// What a worker speaks.
#[derive(Debug, Clone)]
pub(crate) enum Speech {
    Tcp,
    Text,
    Frame,
    Http,
    WebSocket,
    Own(Rc<Own>),
}

impl Speech {
    /// By the scheme of an address.
    pub(crate) fn of(scheme: &str) -> Outcome<Self> {
        Ok(match scheme {
            "tcp" | "raw" => Self::Tcp,
            "text" => Self::Text,
            "frame" => Self::Frame,
            "http" => Self::Http,
            "websocket" | "ws" => Self::WebSocket,
            other => match REGISTERED.with_borrow(|all| find(all, other)) {
                Some(own) => Self::Own(own),
                None => {
                    return Err(Failure::made(
                        WH_ERR_SCHEME,
                        format!(
                            "\"{}://\" is no scheme: there are tcp, text, frame, http, websocket, ws, and those that were registered",
                            other.escape_debug()
                        ),
                    ));
                }
            },
        })
    }

    /// As connections and tables say it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Text => "text",
            Self::Frame => "frame",
            Self::Http => "http",
            Self::WebSocket => "websocket",
            Self::Own(own) => own.name,
        }
    }

    /// Whether it has an option that only some protocols have.
    pub(crate) fn has_option(&self, option: u32) -> bool {
        match option {
            WH_MAX_MESSAGE => !matches!(self, Self::Tcp),
            WH_MAX_HEAD | WH_MAX_HEADERS => matches!(self, Self::Http | Self::WebSocket),
            WH_HEADER_TIMEOUT | WH_BODY_TIMEOUT | WH_KEEP_ALIVE_TIMEOUT => {
                matches!(self, Self::Http)
            }
            WH_PING_INTERVAL | WH_PONG_TIMEOUT | WH_CLOSE_TIMEOUT | WH_HANDSHAKE_TIMEOUT
            | WH_MAX_FRAGMENTS => matches!(self, Self::WebSocket),
            _ => false,
        }
    }
}

/// A protocol of the host's own.
#[derive(Debug)]
pub(crate) struct Own {
    name: &'static str,
    input: Input,
    decode: Option<Coder>,
    encode: Option<Coder>,
    user: User,
}

thread_local! {
    /// Left as it is when the thread ends: see [`User`].
    static REGISTERED: RefCell<ManuallyDrop<Vec<Rc<Own>>>> =
        const { RefCell::new(ManuallyDrop::new(Vec::new())) };
    /// Why the last encode failed, until it is told.
    static REFUSED: RefCell<Option<String>> = const { RefCell::new(None) };
}

thread_local! {
    static SINK: Slot = const { Slot::new(3) };
}

fn find(all: &[Rc<Own>], name: &str) -> Option<Rc<Own>> {
    all.iter().find(|own| own.name == name).cloned()
}

/// Why an encode that has failed just now did so.
pub(crate) fn take_refusal() -> Option<Failure> {
    REFUSED
        .take()
        .map(|why| Failure::made(WH_ERR_CALLBACK, why))
}

impl Own {
    fn code(&self, coder: Coder, data: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
        let out = RefCell::new(out);
        let (code, why) = SINK.with(|slot| {
            slot.lend(&out, |sink| {
                boundary::codec(|| {
                    call_for(|| {
                        // SAFETY: the host's own function; the bytes and the sink are good until it returns.
                        unsafe { coder(self.user.pointer, data.as_ptr(), data.len(), sink) }
                    })
                })
            })
        });
        if code == WH_OK {
            Ok(())
        } else {
            Err(why.unwrap_or_else(|| format!("it returned {code}")))
        }
    }
}

/// The protocol of listeners whose bytes the host understands by itself.
#[derive(Debug)]
pub(crate) enum Foreign {}

#[derive(Debug, Clone)]
pub(crate) struct ForeignConfig {
    pub(crate) own: Option<Rc<Own>>,
    pub(crate) max_message: usize,
}

impl Default for ForeignConfig {
    fn default() -> Self {
        Self {
            own: None,
            max_message: 10 * 1024 * 1024,
        }
    }
}

pub(crate) struct ForeignDecoder {
    config: Rc<ForeignConfig>,
    /// How long the package is that has begun; 0 if that is not known.
    expected: usize,
    is_unfinished: bool,
}

fn broken(rule: &'static str, found: impl Into<String>) -> ProtocolError {
    ProtocolError::peer(Answer::None, rule, found.into())
}

impl Protocol for Foreign {
    const NAME: &'static str = "own";

    type Config = ForeignConfig;
    type Decoder = ForeignDecoder;
    type Encoder = Rc<ForeignConfig>;
    type Message<'a> = Message<'a>;
    type Outgoing<'a> = Message<'a>;
    type Opening<'a> = NoOpening;
    type Verdict = ();

    fn max_unfinished(config: &ForeignConfig) -> usize {
        config.max_message
    }

    fn open(config: &Rc<ForeignConfig>, _now: Instant) -> (ForeignDecoder, Rc<ForeignConfig>) {
        let decoder = ForeignDecoder {
            config: Rc::clone(config),
            expected: 0,
            is_unfinished: false,
        };
        (decoder, Rc::clone(config))
    }

    fn decode<'a>(
        decoder: &'a mut ForeignDecoder,
        _encoder: &mut Rc<ForeignConfig>,
        input: &'a mut [u8],
        _wire: &mut Wire<'_>,
    ) -> Result<Step<Message<'a>, NoOpening>, ProtocolError> {
        let input: &[u8] = input;
        decoder.is_unfinished = !input.is_empty();
        let Some(own) = decoder.config.own.clone() else {
            return Ok(Step::new(input.len(), Event::Partial));
        };
        if input.is_empty() || input.len() < decoder.expected {
            return Ok(Step::new(0, Event::Partial));
        }
        let max = decoder.config.max_message;
        let (found, why) = boundary::codec(|| {
            call_for(|| {
                // SAFETY: the host's own function; the bytes are good until it returns.
                unsafe { (own.input)(own.user.pointer, input.as_ptr(), input.len()) }
            })
        });
        let len = match usize::try_from(found) {
            Err(_) => {
                let why = why.unwrap_or_else(|| format!("input returned {found}"));
                return Err(broken("bytes are what the protocol's input takes", why));
            }
            Ok(len) if len > max || (len == 0 && input.len() > max) => {
                let found = format!("{} bytes", len.max(input.len()));
                return Err(broken("a package is not longer than max_message", found));
            }
            Ok(0) => return Ok(Step::new(0, Event::Partial)),
            Ok(len) => len,
        };
        let Some(package) = input.get(..len) else {
            decoder.expected = len;
            return Ok(Step::new(0, Event::Partial));
        };
        decoder.expected = 0;
        decoder.is_unfinished = input.len() > len;
        let Some(decode) = own.decode else {
            return Ok(Step::new(len, Event::Message(Message::from_wire(package))));
        };
        // Of its own, and gone with it: a connection that has nothing to say keeps no memory.
        let mut message = Vec::new();
        own.code(decode, package, &mut message)
            .map_err(|why| broken("a package is what the protocol's decode takes", why))?;
        let message = match String::from_utf8(message) {
            Ok(text) => Message::from(text),
            Err(not_text) => Message::from(not_text.into_bytes()),
        };
        Ok(Step::new(len, Event::Message(message)))
    }

    fn encode(
        config: &mut Rc<ForeignConfig>,
        message: Message<'_>,
        wire: &mut Wire<'_>,
    ) -> Result<(), EncodeError> {
        let own = config.own.clone();
        let Some((own, encode)) = own.and_then(|own| own.encode.map(|encode| (own, encode))) else {
            wire.out.extend_from_slice(message.as_bytes());
            return Ok(());
        };
        let before = wire.out.len();
        own.code(encode, message.as_bytes(), wire.out)
            .map_err(|why| {
                wire.out.truncate(before);
                REFUSED.set(Some(format!("the protocol's encode has failed: {why}")));
                EncodeError::Misuse {
                    rule: "the protocol's encode takes the message",
                }
            })
    }

    fn push(
        config: &mut Rc<ForeignConfig>,
        payload: Message<'_>,
        wire: &mut Wire<'_>,
    ) -> Result<(), EncodeError> {
        Self::encode(config, payload, wire)
    }

    fn is_idle(decoder: &ForeignDecoder, _config: &Rc<ForeignConfig>) -> bool {
        !decoder.is_unfinished
    }
}

/// Registers a protocol of one's own: addresses may begin with `scheme` from now on. To be done in each process, before
/// the first wh_worker_new that uses it. A scheme that was registered before is replaced, for workers made from then on.
/// `scheme`: a to z, 0 to 9, '+', '-' and '.', a letter first; not a built-in one. `input` finds the packages in what
/// peers send. `decode` makes messages of them; without it (NULL) the package is the message. `encode` makes the bytes
/// of what is sent; without it they are what was given. The three may call nothing but wh_sink_write, wh_fail_text and
/// wh_log. A package is not longer than WH_MAX_MESSAGE.
/// Errors: WH_ERR_VALUE, WH_ERR_NULL for no `input`.
/// Thread: the loop's. Ownership: `user` belongs to the library until it calls `destroy`: if this call fails, or
/// when the scheme has been replaced and its last connection has ended.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_protocol_register(
    scheme: *const c_char,
    len: usize,
    input: wh_input_fn,
    decode: wh_decode_fn,
    encode: wh_encode_fn,
    user: *mut c_void,
    destroy: wh_destroy_fn,
) -> wh_result {
    let user = User::new(user, destroy);
    boundary::beginning(move || {
        // SAFETY: the caller's promise.
        let scheme = unsafe { bytes::text(scheme, len) }?;
        let Some(input) = input else {
            return Err(Failure::known(WH_ERR_NULL, "input is NULL"));
        };
        let built_in = [
            "tcp",
            "raw",
            "text",
            "frame",
            "http",
            "https",
            "websocket",
            "ws",
            "wss",
            "unix",
            "udp",
            "ssl",
        ];
        let plain = scheme.starts_with(|c: char| c.is_ascii_lowercase())
            && scheme.len() <= 32
            && scheme
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c));
        if !plain || built_in.contains(&scheme) {
            return Err(Failure::made(
                WH_ERR_VALUE,
                format!(
                    "\"{}\" cannot be a protocol of one's own: a letter, then letters, digits, '+', '-', '.', 32 at most, \
                     and none of {}",
                    scheme.escape_debug(),
                    built_in.join(", ")
                ),
            ));
        }
        let before = REGISTERED.with_borrow(|all| find(all, scheme));
        // Leaked once for each scheme that a process knows: connections lend it for as long as they like.
        let name = before.map_or_else(|| &*scheme.to_owned().leak(), |own| own.name);
        let own = Rc::new(Own {
            name,
            input,
            decode,
            encode,
            user,
        });
        // Those before are dropped here, when nothing is borrowed: they call the host.
        let _before: Vec<_> = REGISTERED.with_borrow_mut(|all| {
            let before = all.extract_if(.., |known| known.name == name).collect();
            all.push(own);
            before
        });
        Ok(())
    })
}

/// Appends to the message, inside decode, or to what goes on the wire, inside encode.
/// `sink`: what the callback was given.
/// Errors: WH_ERR_STATE for a sink of a callback that has returned, WH_ERR_TOO_LONG if there is no memory.
/// Thread: the loop's. Ownership: the bytes are copied.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wh_sink_write(
    sink: *mut c_void,
    data: *const u8,
    len: usize,
) -> wh_result {
    boundary::in_codec(|| {
        // SAFETY: the caller's promise.
        let data = unsafe { bytes::bytes(data, len) }?;
        let place = SINK.with(|slot| slot.get(sink))?;
        // SAFETY: this slot only ever lends this type, and for longer than the callback that calls us runs.
        let out = unsafe { place.cast::<RefCell<&mut Vec<u8>>>().as_ref() };
        let mut out = out.borrow_mut();
        if out.try_reserve(data.len()).is_err() {
            return Err(Failure::made(
                WH_ERR_TOO_LONG,
                format!("there is no memory for {len} bytes more"),
            ));
        }
        out.extend_from_slice(data);
        Ok(())
    })
}
