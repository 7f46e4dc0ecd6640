//! WebSocket clients: one that obeys the protocol, and one that sends whatever it is told to.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use tungstenite::client::IntoClientRequest;
use tungstenite::error::ProtocolError;
use tungstenite::{Message, WebSocket};

use crate::text;

/// A client that obeys the protocol.
#[derive(Debug)]
pub struct WsClient {
    socket: WebSocket<TcpStream>,
}

impl WsClient {
    /// Connects and shakes hands.
    ///
    /// # Panics
    /// If that fails.
    #[track_caller]
    pub fn connect(addr: SocketAddr) -> Self {
        Self::try_connect(addr).unwrap_or_else(|error| panic!("{addr}: {error}"))
    }

    /// Connects and shakes hands.
    ///
    /// # Errors
    /// Why it could not.
    pub fn try_connect(addr: SocketAddr) -> io::Result<Self> {
        Self::shake_hands(addr, "/", &[])
    }

    /// Connects and shakes hands with a path and header fields of its own.
    ///
    /// # Panics
    /// If that fails.
    #[track_caller]
    pub fn ask(addr: SocketAddr, path: &str, fields: &[(&'static str, &str)]) -> Self {
        Self::shake_hands(addr, path, fields)
            .unwrap_or_else(|error| panic!("{addr}{path}: {error}"))
    }

    fn shake_hands(
        addr: SocketAddr,
        path: &str,
        fields: &[(&'static str, &str)],
    ) -> io::Result<Self> {
        let stream = text::connect(addr)?;
        let failed = |error: tungstenite::Error| io::Error::other(error.to_string());
        let mut request = format!("ws://{addr}{path}")
            .into_client_request()
            .map_err(failed)?;
        for (name, value) in fields {
            let value = value.parse().map_err(io::Error::other)?;
            request.headers_mut().insert(*name, value);
        }
        match tungstenite::client(request, stream) {
            Ok((socket, _)) => Ok(Self { socket }),
            Err(error) => Err(io::Error::other(error.to_string())),
        }
    }

    /// Sends a text message.
    ///
    /// # Panics
    /// If that fails.
    #[track_caller]
    pub fn send(&mut self, text: &str) {
        self.send_message(Message::text(text));
    }

    /// Sends a message.
    ///
    /// # Panics
    /// If that fails.
    #[track_caller]
    pub fn send_message(&mut self, message: Message) {
        self.socket
            .send(message)
            .expect("a peer that takes messages");
    }

    /// Receives a message, other than ping and pong.
    ///
    /// # Panics
    /// If none comes.
    #[track_caller]
    pub fn message(&mut self) -> Message {
        let end = std::time::Instant::now() + crate::DEADLINE;
        loop {
            match self.socket.read().expect("a message") {
                Message::Ping(_) | Message::Pong(_) => {
                    assert!(std::time::Instant::now() < end, "nothing comes but pings");
                }
                message => return message,
            }
        }
    }

    /// Receives a text message.
    ///
    /// # Panics
    /// If what comes is none.
    #[track_caller]
    pub fn text(&mut self) -> String {
        match self.message() {
            Message::Text(text) => text.to_string(),
            other => panic!("not a text message: {other:?}"),
        }
    }

    /// Sends a text message and receives one; `None` if the peer says instead that it restarts (1012).
    ///
    /// # Errors
    /// What the system says; `UnexpectedEof` for a connection that ends without a goodbye.
    pub fn try_exchange(&mut self, text: &str) -> io::Result<Option<String>> {
        let failed = |error| match error {
            tungstenite::Error::Io(error) => error,
            tungstenite::Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
                io::ErrorKind::UnexpectedEof.into()
            }
            error => io::Error::other(error.to_string()),
        };
        self.socket.send(Message::text(text)).map_err(failed)?;
        loop {
            match self.socket.read().map_err(failed)? {
                Message::Ping(_) | Message::Pong(_) => {}
                Message::Text(text) => return Ok(Some(text.to_string())),
                Message::Close(Some(frame)) if u16::from(frame.code) == 1012 => {
                    while self.socket.read().is_ok() {}
                    return Ok(None);
                }
                other => return Err(io::Error::other(format!("not a text message: {other:?}"))),
            }
        }
    }

    /// Sends a ping and waits for its pong: by then the peer has handled all that was sent before.
    ///
    /// # Panics
    /// If something else comes first.
    #[track_caller]
    pub fn ping(&mut self) {
        self.send_message(Message::Ping("are you there".into()));
        let answer = self.socket.read().expect("a pong");
        assert_eq!(answer, Message::Pong("are you there".into()));
    }

    /// Receives the peer's goodbye, completes it, and returns its code.
    ///
    /// # Panics
    /// If a message comes instead, or a close frame without a code.
    #[track_caller]
    pub fn close_code(&mut self) -> u16 {
        self.goodbye().0
    }

    /// Receives the peer's goodbye, completes it, and returns its code and its reason.
    ///
    /// # Panics
    /// As [`close_code`](Self::close_code).
    #[track_caller]
    pub fn goodbye(&mut self) -> (u16, String) {
        let goodbye = match self.message() {
            Message::Close(Some(frame)) => (frame.code.into(), frame.reason.to_string()),
            other => panic!("not a close frame with a code: {other:?}"),
        };
        // Sends the answer, and waits for the end of the stream.
        while self.socket.read().is_ok() {}
        goodbye
    }

    /// Says goodbye, and waits for the peer's.
    pub fn close(mut self) {
        // The peer may have gone already.
        let _ = self.socket.close(None);
        while self.socket.read().is_ok() {}
    }
}

/// A client that sends whatever bytes it is told to.
#[derive(Debug)]
pub struct RawWs {
    stream: TcpStream,
}

/// A frame as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Whether it is the last of its message.
    pub fin: bool,
    /// What it is: 1 text, 2 binary, 8 close, 9 ping, 10 pong.
    pub opcode: u8,
    /// What it carries.
    pub payload: Vec<u8>,
}

impl Frame {
    /// The code of a close frame.
    pub fn close_code(&self) -> Option<u16> {
        match (self.opcode, self.payload.first_chunk::<2>()) {
            (8, Some(code)) => Some(u16::from_be_bytes(*code)),
            _ => None,
        }
    }
}

impl RawWs {
    /// Connects and shakes hands.
    ///
    /// # Panics
    /// If that fails.
    #[track_caller]
    pub fn connect(addr: SocketAddr) -> Self {
        let stream = text::connect(addr).unwrap_or_else(|error| panic!("{addr}: {error}"));
        let mut client = Self { stream };
        client.write(
            b"GET / HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        );
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            client.stream.read_exact(&mut byte).expect("a whole head");
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).expect("ASCII");
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        // The key of RFC 6455 section 1.3, and its answer.
        assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
        client
    }

    /// Sends bytes.
    ///
    /// # Panics
    /// If that fails.
    #[track_caller]
    pub fn write(&mut self, bytes: &[u8]) {
        self.stream
            .write_all(bytes)
            .expect("a peer that takes bytes");
    }

    /// Sends a masked frame.
    ///
    /// # Panics
    /// If that fails.
    #[track_caller]
    pub fn send(&mut self, fin: bool, opcode: u8, payload: &[u8]) {
        self.write(&frame(fin, opcode, payload));
    }

    /// Receives a frame.
    ///
    /// # Panics
    /// If none comes.
    #[track_caller]
    pub fn frame(&mut self) -> Frame {
        self.try_frame().expect("a frame")
    }

    /// Receives a frame.
    ///
    /// # Errors
    /// What read(2) says; `UnexpectedEof` at the end.
    pub fn try_frame(&mut self) -> io::Result<Frame> {
        let mut start = [0; 2];
        self.stream.read_exact(&mut start)?;
        let len = match start[1] {
            126 => {
                let mut len = [0; 2];
                self.stream.read_exact(&mut len)?;
                u64::from(u16::from_be_bytes(len))
            }
            127 => {
                let mut len = [0; 8];
                self.stream.read_exact(&mut len)?;
                u64::from_be_bytes(len)
            }
            len => u64::from(len),
        };
        let mut payload = vec![0; usize::try_from(len).map_err(io::Error::other)?];
        self.stream.read_exact(&mut payload)?;
        Ok(Frame {
            fin: start[0] & 0x80 != 0,
            opcode: start[0] & 0x0f,
            payload,
        })
    }

    /// True if the peer has closed the connection and sent nothing more before.
    ///
    /// # Panics
    /// If it was reset.
    #[track_caller]
    pub fn is_at_end(&mut self) -> bool {
        let mut byte = [0];
        self.stream.read(&mut byte).expect("an end, not a reset") == 0
    }
}

/// A masked frame, as a client sends it.
pub fn frame(fin: bool, opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let mut bytes = vec![if fin { 0x80 | opcode } else { opcode }];
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(len @ 0..=0x7d), _) => bytes.push(0x80 | len),
        (_, Ok(len)) => {
            bytes.push(0xfe);
            bytes.extend_from_slice(&len.to_be_bytes());
        }
        _ => {
            bytes.push(0xff);
            bytes.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(&mask);
    bytes.extend(
        payload
            .iter()
            .zip(mask.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    bytes
}
