//! Verdicts, closing handshakes and keep-alive of WebSocket. What becomes of frames is in the corpus.

mod support;

use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use support::corpus::{client_frame, handshake};
use workhive_protocols::{
    Answer, Blame, EncodeError, Event, Flow, Goodbye, HttpDate, Message, Protocol, ProtocolError,
    Verdict, WebSocket, WebSocketConfig, WebSocketDecoder, WebSocketEncoder, Wire, http_date,
};

const MASK: [u8; 4] = [1, 2, 3, 4];

/// A connection with its time and its output in hand.
struct Connection {
    decoder: WebSocketDecoder,
    encoder: WebSocketEncoder,
    start: Instant,
    now: Instant,
    date: HttpDate,
    out: Vec<u8>,
    flow: Flow,
}

impl Connection {
    fn new() -> Self {
        let now = Instant::now();
        let (decoder, encoder) = WebSocket::open(&Rc::new(WebSocketConfig::default()), now);
        Self {
            decoder,
            encoder,
            start: now,
            now,
            date: http_date(SystemTime::UNIX_EPOCH),
            out: Vec::new(),
            flow: Flow::Open,
        }
    }

    fn asked(more: &str) -> Self {
        let mut connection = Self::new();
        let head = str::from_utf8(handshake()).expect("it is text");
        let head = head.replace("\r\n\r\n", &format!("\r\n{more}\r\n"));
        assert_eq!(connection.feed(head.as_bytes()), Ok("opening".to_owned()));
        connection
    }

    fn open() -> Self {
        let mut connection = Self::asked("");
        connection.answer(Verdict::accept()).expect("it is owed");
        connection.take();
        connection
    }

    fn with<T>(
        &mut self,
        act: impl FnOnce(&mut WebSocketDecoder, &mut WebSocketEncoder, &mut Wire<'_>) -> T,
    ) -> T {
        let mut wire = Wire::new(&mut self.out, self.now, &self.date);
        wire.flow = self.flow;
        let result = act(&mut self.decoder, &mut self.encoder, &mut wire);
        self.flow = wire.flow;
        result
    }

    /// Feeds bytes until a step says more than that it made progress.
    fn feed(&mut self, bytes: &[u8]) -> Result<String, ProtocolError> {
        let mut input = bytes.to_vec();
        self.with(|decoder, encoder, wire| {
            loop {
                let step = WebSocket::decode(decoder, encoder, &mut input, wire)?;
                let consumed = step.consumed;
                let name = match step.event {
                    Event::Partial => "partial".to_owned(),
                    Event::Progress => String::new(),
                    Event::Message(message) => format!("{:?}", message.as_bytes().len()),
                    Event::Wait => "wait".to_owned(),
                    Event::Finished => "finished".to_owned(),
                    Event::Opening(_) => "opening".to_owned(),
                };
                input.drain(..consumed);
                if !name.is_empty() {
                    return Ok(name);
                }
            }
        })
    }

    fn frame(&mut self, first: u8, payload: &[u8]) -> Result<String, ProtocolError> {
        self.feed(&client_frame(first, MASK, payload.to_vec()))
    }

    fn answer(&mut self, verdict: Verdict) -> Result<(), EncodeError> {
        self.with(|_, encoder, wire| WebSocket::answer(encoder, verdict, wire))
    }

    fn send(&mut self, message: Message<'_>) -> Result<(), EncodeError> {
        self.with(|_, encoder, wire| WebSocket::encode(encoder, message, wire))
    }

    fn goodbye(&mut self, goodbye: &Goodbye) -> Vec<u8> {
        self.with(|_, encoder, wire| WebSocket::goodbye(encoder, goodbye, wire));
        self.take()
    }

    fn deadline(&self) -> Option<Duration> {
        WebSocket::deadline(&self.decoder, &self.encoder).map(|deadline| deadline - self.start)
    }

    fn expire_at(&mut self, seconds: u64) -> Result<(), ProtocolError> {
        self.now = self.start + Duration::from_secs(seconds);
        self.with(WebSocket::expired)
    }

    fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    fn take_text(&mut self) -> String {
        String::from_utf8(self.take()).expect("it is text")
    }
}

fn is_partial(result: &Result<String, ProtocolError>) -> bool {
    result.as_deref() == Ok("partial")
}

#[test]
fn an_accepted_handshake_is_answered_to_the_byte() {
    let mut connection = Connection::asked("Sec-WebSocket-Protocol: chat, superchat\r\n");
    let verdict = Verdict::accept()
        .subprotocol("superchat")
        .header("X-Node", "3");
    connection.answer(verdict).expect("it is owed");
    assert_eq!(
        connection.take_text(),
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
         Sec-WebSocket-Protocol: superchat\r\nX-Node: 3\r\n\r\n"
    );
    assert!(
        connection.answer(Verdict::accept()).is_err(),
        "there is one verdict"
    );
}

#[test]
fn a_refused_handshake_gets_a_response_and_the_connection_ends() {
    let mut connection = Connection::asked("");
    let verdict = Verdict::refuse(401)
        .header("WWW-Authenticate", "Bearer")
        .body("who are you?");
    connection.answer(verdict).expect("it is owed");
    let text = connection.take_text();
    assert!(text.starts_with("HTTP/1.1 401 Unauthorized\r\n"), "{text}");
    assert!(text.contains("\r\nWWW-Authenticate: Bearer\r\n"));
    assert!(text.contains("\r\nConnection: close\r\nContent-Length: 13\r\n\r\nwho are you?\n"));
    assert_eq!(connection.flow, Flow::End);
    assert_eq!(connection.frame(0x81, b"x"), Ok("finished".to_owned()));
    assert_eq!(connection.send("x".into()), Err(EncodeError::NotOpen));
}

#[test]
fn a_verdict_cannot_break_the_handshake() {
    let broken = [
        Verdict::accept().header("x", "a\r\nb: c"),
        Verdict::accept().header("x\ny", "a"),
        Verdict::accept().header("Sec-WebSocket-Accept", "x"),
        Verdict::accept().header("Upgrade", "h2c"),
        Verdict::accept().header("Sec-WebSocket-Extensions", "permessage-deflate"),
        Verdict::accept().subprotocol("not offered"),
        Verdict::accept().subprotocol("a\r\nb"),
        Verdict::refuse(200),
        Verdict::refuse(600),
        Verdict::refuse(403).header("Content-Length", "0"),
    ];
    for verdict in broken {
        let mut connection = Connection::asked("Sec-WebSocket-Protocol: chat\r\n");
        let result = connection.answer(verdict.clone());
        assert!(
            matches!(result, Err(EncodeError::Misuse { .. })),
            "{verdict:?}"
        );
        assert!(connection.take().is_empty());
        connection
            .answer(Verdict::accept())
            .expect("still possible");
    }
}

#[test]
fn a_wrong_version_is_told_the_right_one() {
    let head = str::from_utf8(handshake())
        .expect("text")
        .replace(": 13", ": 8");
    let mut connection = Connection::new();
    let error = connection.feed(head.as_bytes()).expect_err("it is refused");
    assert_eq!(error.answer, Answer::Status(426));
    let text = connection.take_text();
    assert!(
        text.contains("\r\nSec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n"),
        "{text}"
    );
    assert!(text.contains("\r\nConnection: Upgrade\r\n"), "{text}");
}

#[test]
fn nothing_is_sent_or_decoded_before_the_verdict() {
    let mut connection = Connection::asked("");
    assert_eq!(connection.send("x".into()), Err(EncodeError::NotOpen));
    assert_eq!(connection.frame(0x81, b"x"), Ok("wait".to_owned()));
    assert_eq!(connection.deadline(), None);
    assert!(!WebSocket::is_idle(
        &connection.decoder,
        &connection.encoder
    ));
}

#[test]
fn messages_are_single_unmasked_frames_of_every_length_form() {
    let mut connection = Connection::open();
    for (len, head) in [
        (0, &[0x82, 0][..]),
        (125, &[0x82, 125]),
        (126, &[0x82, 126, 0, 126]),
        (65_535, &[0x82, 126, 255, 255]),
        (65_536, &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
    ] {
        let payload = vec![7u8; len];
        connection.send((&payload).into()).expect("it is open");
        assert_eq!(connection.take(), [head, &payload].concat());
    }
    connection.send("hé".into()).expect("it is open");
    assert_eq!(connection.take(), b"\x81\x03h\xc3\xa9");
}

#[test]
fn each_goodbye_has_its_code() {
    let code = |code, reason: &str| Goodbye::Code {
        code,
        reason: reason.to_owned(),
    };
    let long = "é".repeat(100);
    for (goodbye, expected, reason) in [
        (Goodbye::Normal, 1000, ""),
        (Goodbye::Failure, 1011, ""),
        (Goodbye::Restart, 1012, ""),
        (Goodbye::Idle, 1001, ""),
        (code(4001, "bye"), 4001, "bye"),
        (code(1005, "bye"), 1000, "bye"),
        (code(4001, &long), 4001, &long[..122]),
    ] {
        let sent = Connection::open().goodbye(&goodbye);
        let mut expected = u16::to_be_bytes(expected).to_vec();
        expected.extend(reason.as_bytes());
        assert_eq!(sent[0], 0x88, "{goodbye:?}");
        assert_eq!(usize::from(sent[1]), expected.len());
        assert_eq!(sent[2..], expected);
    }
}

#[test]
fn before_the_handshake_goodbye_is_said_in_http() {
    for mut connection in [Connection::new(), Connection::asked("")] {
        assert!(
            connection
                .goodbye(&Goodbye::Restart)
                .starts_with(b"HTTP/1.1 503 ")
        );
        assert_eq!(connection.flow, Flow::End);
        assert!(!WebSocket::awaits_goodbye(&connection.encoder));
    }
    assert!(
        Connection::asked("")
            .goodbye(&Goodbye::Failure)
            .starts_with(b"HTTP/1.1 500 ")
    );
    assert!(Connection::new().goodbye(&Goodbye::Normal).is_empty());
}

#[test]
fn after_our_goodbye_the_peer_is_heard_until_its_own() {
    let mut connection = Connection::open();
    assert!(is_partial(&connection.frame(0x01, b"begun")));
    assert!(!connection.goodbye(&Goodbye::Normal).is_empty());
    assert!(WebSocket::awaits_goodbye(&connection.encoder));
    assert_eq!(connection.send("x".into()), Err(EncodeError::NotOpen));
    assert!(
        connection.goodbye(&Goodbye::Failure).is_empty(),
        "it is said once"
    );
    assert!(is_partial(&connection.frame(0x00, b"more")));
    assert!(is_partial(
        &connection.frame(0x80, b"\xff not checked any more")
    ));
    assert!(is_partial(&connection.frame(0x89, b"ping")));
    assert!(is_partial(
        &connection.feed(b"\x82\xff\0\0\x7f\0\0\0\0\0\0\0\0\0abc")
    ));
    // That frame is longer than any limit, is not kept, and will not end. Another connection hears the peer's close.
    assert!(connection.take().is_empty());

    let mut connection = Connection::open();
    connection.goodbye(&Goodbye::Normal);
    assert!(is_partial(&connection.frame(0x82, b"late")));
    assert_eq!(
        connection.frame(0x88, b"\x03\xe9gone"),
        Ok("finished".to_owned())
    );
    assert!(connection.take().is_empty());
    assert_eq!(connection.flow, Flow::Close);
    assert!(!WebSocket::awaits_goodbye(&connection.encoder));
    assert_eq!(
        WebSocket::peer_close(&connection.decoder),
        Some((1001, "gone"))
    );
}

#[test]
fn a_peer_that_breaks_a_rule_after_our_goodbye_is_not_told_twice() {
    let mut connection = Connection::open();
    connection.goodbye(&Goodbye::Normal);
    let error = connection.feed(b"\xff").expect_err("reserved bits");
    assert_eq!(error.answer, Answer::None);
    assert!(connection.take().is_empty());
    assert_eq!(connection.flow, Flow::Close);
}

#[test]
fn a_peer_that_never_says_goodbye_is_left_after_a_while() {
    let mut connection = Connection::open();
    connection.now += Duration::from_secs(1);
    connection.goodbye(&Goodbye::Normal);
    assert_eq!(connection.deadline(), Some(Duration::from_secs(6)));
    assert_eq!(
        (connection.expire_at(5), connection.flow),
        (Ok(()), Flow::Open)
    );
    assert_eq!(
        (connection.expire_at(6), connection.flow),
        (Ok(()), Flow::Close)
    );
}

#[test]
fn a_silent_peer_is_pinged_and_then_left() {
    let mut connection = Connection::open();
    assert_eq!(connection.deadline(), Some(Duration::from_secs(25)));
    assert_eq!(connection.expire_at(24), Ok(()));
    assert!(connection.take().is_empty());
    assert_eq!(connection.expire_at(25), Ok(()));
    assert_eq!(connection.take(), b"\x89\x00");
    assert_eq!(connection.deadline(), Some(Duration::from_secs(35)));
    let error = connection.expire_at(35).expect_err("it was silent");
    assert_eq!(
        (error.blame, error.answer),
        (Blame::Time, Answer::Close(1001))
    );
    assert_eq!(connection.take(), b"\x88\x02\x03\xe9");
    assert_eq!(connection.flow, Flow::End);
}

#[test]
fn any_byte_is_a_sign_of_life() {
    let mut connection = Connection::open();
    assert_eq!(connection.expire_at(25), Ok(()));
    connection.now = connection.start + Duration::from_secs(30);
    assert_eq!(connection.feed(&[0x8a]), Ok("partial".to_owned()));
    assert_eq!(connection.deadline(), Some(Duration::from_secs(55)));
}

#[test]
fn a_handshake_that_does_not_come_is_answered_408() {
    let mut connection = Connection::new();
    assert_eq!(connection.feed(b"GET"), Ok("partial".to_owned()));
    assert_eq!(connection.deadline(), Some(Duration::from_secs(10)));
    let error = connection.expire_at(10).expect_err("it is too late");
    assert_eq!(
        (error.blame, error.answer),
        (Blame::Time, Answer::Status(408))
    );
    assert!(connection.take_text().starts_with("HTTP/1.1 408 "));
}

#[test]
fn only_an_unfinished_message_keeps_a_connection_busy() {
    let mut connection = Connection::open();
    let idle = |c: &Connection| WebSocket::is_idle(&c.decoder, &c.encoder);
    assert!(idle(&connection));
    assert!(is_partial(&connection.frame(0x01, b"a")));
    assert!(!idle(&connection));
    assert_eq!(connection.frame(0x80, b"b"), Ok("2".to_owned()));
    assert!(idle(&connection));
}

#[test]
fn an_idle_connection_is_small() {
    assert!(size_of::<WebSocketDecoder>() + size_of::<WebSocketEncoder>() < 200);
}
