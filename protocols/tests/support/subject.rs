//! What each protocol adds to the miniature loop.

use workhive_protocols::{
    Answer, Flow, Frame, FrameConfig, Handshake, Http, HttpConfig, Message, Protocol, Request,
    Response, Text, TextConfig, Verdict, WebSocket, WebSocketConfig, Wire,
};

use super::{Run, spell};

/// Limits that a case sets.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Limits {
    pub(crate) max_message: Option<usize>,
    pub(crate) max_fragments: Option<usize>,
}

pub(crate) trait Subject: Protocol {
    fn configure(limits: Limits) -> Self::Config;
    fn describe(message: &Self::Message<'_>, events: &mut Vec<String>);
    fn describe_opening(_opening: &Self::Opening<'_>, _events: &mut Vec<String>) {}
    fn respond(_encoder: &mut Self::Encoder, _wire: &mut Wire<'_>) {}
    fn accept(_encoder: &mut Self::Encoder, _wire: &mut Wire<'_>) {}
    fn at_end(_decoder: &Self::Decoder, _events: &mut Vec<String>) {}
    /// All that happened, as lines of the corpus. Also checks that the output is what it must be.
    fn lines(run: &Run) -> Vec<String>;
}

fn stay(run: &Run) -> String {
    if run.idle { "idle" } else { "waiting" }.to_owned()
}

fn describe_payload(message: &Message<'_>, events: &mut Vec<String>) {
    events.push(match message {
        Message::Text(text) if text.is_ascii() => format!("text {}", spell(text.as_bytes())),
        Message::Text(text) => format!("text \"{text}\""),
        Message::Binary(bytes) => format!("binary {}", spell(bytes)),
    });
}

fn plain_lines(run: &Run) -> Vec<String> {
    let mut lines = run.events.clone();
    if let Some(error) = &run.error {
        assert_eq!(error.answer, Answer::None);
        lines.push("failed".to_owned());
    } else {
        lines.push(stay(run));
    }
    assert!(run.out.is_empty());
    lines
}

impl Subject for Text {
    fn configure(limits: Limits) -> TextConfig {
        let mut config = TextConfig::default();
        config.max_message = limits.max_message.unwrap_or(config.max_message);
        config
    }

    fn describe(message: &Message<'_>, events: &mut Vec<String>) {
        if let Message::Text(text) = message
            && text.contains('\0')
        {
            return events.push(format!("text \"{}\"", text.replace('\0', "\\0")));
        }
        describe_payload(message, events);
    }

    fn lines(run: &Run) -> Vec<String> {
        plain_lines(run)
    }
}

impl Subject for Frame {
    fn configure(limits: Limits) -> FrameConfig {
        let mut config = FrameConfig::default();
        config.max_message = limits.max_message.unwrap_or(config.max_message);
        config
    }

    fn describe(message: &Message<'_>, events: &mut Vec<String>) {
        describe_payload(message, events);
    }

    fn lines(run: &Run) -> Vec<String> {
        plain_lines(run)
    }
}

impl Subject for Http {
    fn configure(limits: Limits) -> HttpConfig {
        let mut config = HttpConfig::default();
        config.max_message = limits.max_message.unwrap_or(config.max_message);
        config
    }

    fn describe(request: &Request<'_>, events: &mut Vec<String>) {
        let line = format!("request {} {}", request.method(), request.path());
        let mut words = vec![line.as_bytes().escape_ascii().to_string()];
        if let Some(query) = request.query() {
            words.push(format!("?{query}"));
        }
        words.push(format!("1.{}", request.version().1));
        let host = request.host().unwrap_or_default();
        if host != "example.com" {
            words.push(format!("host={host}"));
        }
        if !request.body().is_empty() {
            words.push(format!("body={}", spell(request.body())));
        }
        events.push(words.join(" "));
        if request.headers().count() > 50 {
            events.push(format!("fields {}", request.headers().count()));
            return;
        }
        for (name, value) in request.headers() {
            let lower = name.to_ascii_lowercase();
            let ordinary = [
                "host",
                "content-length",
                "transfer-encoding",
                "connection",
                "expect",
            ];
            if !ordinary.contains(&lower.as_str()) {
                events.push(format!("field {name}={}", spell(value)));
            }
        }
        for (name, value) in request.trailers() {
            events.push(format!("trailer {name}={}", spell(value)));
        }
    }

    fn respond(encoder: &mut Self::Encoder, wire: &mut Wire<'_>) {
        Self::encode(encoder, Response::text("ok").into(), wire).expect("an answer is owed");
    }

    fn lines(run: &Run) -> Vec<String> {
        let mut lines = Vec::new();
        let mut out = run.out.as_slice();
        for event in &run.events {
            if let Some(rest) = out.strip_prefix(b"HTTP/1.1 100 Continue\r\n\r\n") {
                out = rest;
                lines.push("continue".to_owned());
            }
            lines.push(event.clone());
            if event.starts_with("request ") {
                let head = event.starts_with("request HEAD ");
                let (status, body) = response(&mut out, head);
                assert_eq!((status, body), (200, if head { "" } else { "ok" }));
            }
        }
        if let Some(rest) = out.strip_prefix(b"HTTP/1.1 100 Continue\r\n\r\n") {
            out = rest;
            lines.push("continue".to_owned());
        }
        if let Some(error) = &run.error {
            assert_eq!(run.flow, Flow::End);
            let before = out;
            let without_body = out.ends_with(b"\r\n\r\n");
            let (status, body) = response(&mut out, without_body);
            assert!(body.is_empty() || body.lines().count() == 1, "{body}");
            let head = &before[..before.len() - body.len()];
            let head = str::from_utf8(head).expect("a head is text");
            assert!(head.contains("\r\nConnection: close\r\n"), "{head}");
            assert_eq!(error.answer, Answer::Status(status));
            lines.push(format!("refused {status}"));
        } else if run.flow == Flow::End {
            lines.push("end".to_owned());
        } else {
            lines.push(stay(run));
        }
        assert!(out.is_empty(), "more was sent: {}", out.escape_ascii());
        lines
    }
}

/// Takes one response off the front of `out`: its status and body.
fn response<'a>(out: &mut &'a [u8], without_body: bool) -> (u16, &'a str) {
    let text = str::from_utf8(out).expect("our responses are text");
    let (head, rest) = text.split_once("\r\n\r\n").expect("a complete head");
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.strip_prefix("HTTP/1.1 "))
        .and_then(|line| line.get(..3))
        .expect("a status line");
    let mut length = None;
    let mut date = false;
    for line in lines {
        let (name, value) = line.split_once(": ").expect("a field line");
        if name == "Content-Length" {
            assert!(length.is_none(), "two lengths");
            length = Some(value.parse::<usize>().expect("a number"));
        }
        date |= name == "Date" && value.len() == 29;
    }
    assert!(date, "no Date in {head}");
    let len = if without_body {
        0
    } else {
        length.expect("a length")
    };
    let (body, rest) = rest.split_at(len);
    *out = rest.as_bytes();
    (status.parse().expect("a number"), body)
}

impl Subject for WebSocket {
    fn configure(limits: Limits) -> WebSocketConfig {
        let mut config = WebSocketConfig::default();
        config.max_message = limits.max_message.unwrap_or(config.max_message);
        config.max_fragments = limits.max_fragments.unwrap_or(config.max_fragments);
        config
    }

    fn describe(message: &Message<'_>, events: &mut Vec<String>) {
        describe_payload(message, events);
    }

    fn describe_opening(handshake: &Handshake<'_>, events: &mut Vec<String>) {
        let mut words = vec![format!("opening {}", handshake.path())];
        let offers: Vec<_> = handshake.protocols().collect();
        if !offers.is_empty() {
            words.push(format!("offers={}", offers.join(",")));
        }
        if let Some(origin) = handshake.origin() {
            words.push(format!("origin={origin}"));
        }
        events.push(words.join(" "));
    }

    fn accept(encoder: &mut Self::Encoder, wire: &mut Wire<'_>) {
        Self::answer(encoder, Verdict::accept(), wire).expect("a verdict is owed");
    }

    fn at_end(decoder: &Self::Decoder, events: &mut Vec<String>) {
        if let Some((code, reason)) = Self::peer_close(decoder) {
            events.push(format!("closed {code} \"{reason}\""));
        }
    }

    fn lines(run: &Run) -> Vec<String> {
        let mut lines = run.events.clone();
        let mut out = run.out.as_slice();
        if run.events.is_empty() {
            let Some(error) = &run.error else {
                return vec![stay(run)];
            };
            let (status, _) = response(&mut out, false);
            assert_eq!(error.answer, Answer::Status(status));
            assert_eq!(run.flow, Flow::End);
            return vec![format!("refused {status}")];
        }
        let end = out
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .expect("a complete head");
        let head = str::from_utf8(&out[..end]).expect("a head is text");
        assert!(head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"));
        assert!(
            head.contains("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
            "{head}"
        );
        out = &out[end + 4..];
        let mut sent = None;
        while let Some((opcode, payload)) = server_frame(&mut out) {
            assert!(sent.is_none(), "a frame behind the close frame");
            match opcode {
                0xa => lines.push(format!("pong {}", spell(payload))),
                0x8 => {
                    sent = Some(match payload {
                        [high, low, ..] => u16::from_be_bytes([*high, *low]).to_string(),
                        _ => "empty".to_owned(),
                    });
                }
                other => panic!("opcode {other}"),
            }
        }
        match (&run.error, sent) {
            (Some(error), Some(code)) => {
                assert_eq!(run.flow, Flow::End);
                assert_eq!(format!("{:?}", error.answer), format!("Close({code})"));
                lines.push(format!("failed {code}"));
            }
            (None, Some(code)) => {
                assert_eq!(run.flow, Flow::Close);
                lines.push(format!("sent {code}"));
            }
            (None, None) => lines.push(stay(run)),
            (Some(error), None) => panic!("{error}, and the peer was not told"),
        }
        lines
    }
}

/// Takes one unmasked frame off the front of `out`: its opcode and payload.
fn server_frame<'a>(out: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (&[first, second], rest) = out.split_first_chunk::<2>()?;
    assert_eq!(first & 0xf0, 0x80, "one whole frame, no reserved bits");
    assert!(second < 126, "only control frames are expected");
    let (payload, rest) = rest.split_at(usize::from(second));
    *out = rest;
    Some((first & 0x0f, payload))
}
