//! The sending side: handshake answers, messages, close frames.

use std::time::Instant;

use super::close;
use super::frame::{self, Opcode};
use super::handshake::{Asked, Verdict};
use crate::http::{refuse, refuse_with};
use crate::{Answer, EncodeError, Flow, Goodbye, Message, ProtocolError, Wire, reason};

/// The sending side of a [`WebSocket`](super::WebSocket) connection, and where the connection stands.
#[derive(Debug)]
pub struct WebSocketEncoder {
    state: State,
}

#[derive(Debug)]
pub(super) enum State {
    /// The handshake has not come.
    Connecting,
    /// It has come, and waits for the application's verdict.
    Asked(Box<Asked>),
    Open,
    /// We have sent a close frame then, the peer has not.
    Closing(Instant),
    Closed,
}

impl WebSocketEncoder {
    pub(super) fn new() -> Self {
        Self {
            state: State::Connecting,
        }
    }

    pub(super) fn state(&self) -> &State {
        &self.state
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.state, State::Open)
    }

    /// The handshake is there.
    pub(super) fn ask(&mut self, asked: Asked) {
        self.state = State::Asked(Box::new(asked));
    }

    pub(super) fn answer(
        &mut self,
        verdict: &Verdict,
        wire: &mut Wire<'_>,
    ) -> Result<(), EncodeError> {
        let State::Asked(asked) = &self.state else {
            return Err(EncodeError::Misuse {
                rule: "a verdict answers a handshake, once",
            });
        };
        verdict.check(asked)?;
        if let Some((status, line)) = &verdict.refuse {
            refuse_with(wire, *status, &verdict.headers, line, false);
            self.state = State::Closed;
            return Ok(());
        }
        let out = &mut *wire.out;
        out.extend_from_slice(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Accept: ",
        );
        out.extend_from_slice(&asked.accept);
        out.extend_from_slice(b"\r\n");
        let subprotocol = verdict
            .subprotocol
            .iter()
            .map(|name| ("Sec-WebSocket-Protocol", name.as_ref()));
        let headers = verdict
            .headers
            .iter()
            .map(|(name, value)| (name.as_ref(), value.as_ref()));
        for (name, value) in subprotocol.chain(headers) {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(value.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"\r\n");
        self.state = State::Open;
        Ok(())
    }

    pub(super) fn message(
        &mut self,
        message: &Message<'_>,
        wire: &mut Wire<'_>,
    ) -> Result<(), EncodeError> {
        self.check_open()?;
        write_message(message, wire.out);
        Ok(())
    }

    pub(super) fn check_open(&self) -> Result<(), EncodeError> {
        if self.is_open() {
            Ok(())
        } else {
            Err(EncodeError::NotOpen)
        }
    }

    /// After a close frame was sent nothing is (RFC 6455 5.5.1): pings are then left unanswered.
    pub(super) fn pong(&mut self, payload: &[u8], wire: &mut Wire<'_>) {
        if self.is_open() {
            frame::write(wire.out, Opcode::Pong, payload);
        }
    }

    pub(super) fn ping(&mut self, wire: &mut Wire<'_>) {
        if self.is_open() {
            frame::write(wire.out, Opcode::Ping, b"");
        }
    }

    /// The peer has sent a close frame: echo its code, unless ours went first.
    pub(super) fn peer_closed(&mut self, code: u16, wire: &mut Wire<'_>) {
        if self.is_open() {
            close::write(wire.out, code, "");
        }
        self.finish(wire);
    }

    /// Nothing more will be said.
    pub(super) fn finish(&mut self, wire: &mut Wire<'_>) {
        self.state = State::Closed;
        wire.raise(Flow::Close);
    }

    /// Tells the peer what it did wrong, if it can still be told.
    pub(super) fn fail(&mut self, mut error: ProtocolError, wire: &mut Wire<'_>) -> ProtocolError {
        match (&self.state, error.answer) {
            (State::Connecting, Answer::Status(426)) => {
                let headers = [
                    ("Sec-WebSocket-Version".into(), "13".into()),
                    ("Upgrade".into(), "websocket".into()),
                ];
                refuse_with(wire, 426, &headers, error.rule, false);
            }
            (State::Connecting, Answer::Status(status)) => {
                refuse(wire, status, error.rule, false);
            }
            (State::Open, Answer::Close(code)) => {
                close::write(wire.out, code, "");
                wire.raise(Flow::End);
            }
            _ => {
                error.answer = Answer::None;
                wire.raise(Flow::Close);
            }
        }
        self.state = State::Closed;
        error
    }

    pub(super) fn goodbye(&mut self, goodbye: &Goodbye, wire: &mut Wire<'_>) {
        match self.state {
            State::Connecting | State::Asked(_) => {
                let status = match goodbye {
                    Goodbye::Failure => Some(500),
                    Goodbye::Restart => Some(503),
                    _ => None,
                };
                if let Some(status) = status {
                    refuse(wire, status, reason(status), false);
                }
                self.state = State::Closed;
            }
            State::Open => {
                let (code, reason) = close::words(goodbye);
                close::write(wire.out, code, reason);
                self.state = State::Closing(wire.now);
            }
            State::Closing(_) | State::Closed => {}
        }
    }

    pub(super) fn awaits_goodbye(&self) -> bool {
        matches!(self.state, State::Closing(_))
    }
}

/// A message as it is for every client: servers do not mask (RFC 6455 5.1).
pub(super) fn write_message(message: &Message<'_>, out: &mut Vec<u8>) {
    let opcode = if message.is_text() {
        Opcode::Text
    } else {
        Opcode::Binary
    };
    frame::write(out, opcode, message.as_bytes());
}
