//! The WebSocket questions of the generator: numbered messages, each of which must come back as it went, in order.

use std::net::{SocketAddr, TcpStream};

use crate::connection::{Dialogue, Heard};
use crate::handshake::shake;

/// Bytes of payload per message.
pub(crate) const PAYLOAD: usize = 64;
/// Largest payload of a control frame, and of the short length form.
pub(crate) const SHORT: usize = 125;

pub(crate) const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;
pub(crate) const CLOSE: u8 = 0x8;
pub(crate) const PING: u8 = 0x9;
pub(crate) const PONG: u8 = 0xA;

/// Which kind of message is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Text: a server that follows the RFC checks that it is UTF-8. The floor does not.
    Text,
    /// Binary: nothing to check, so both servers do the same work.
    Binary,
}

/// Numbered messages on one WebSocket connection.
#[derive(Debug)]
pub(crate) struct WsDialogue {
    address: SocketAddr,
    opcode: u8,
    random: Random,
    /// The payload with the connection's own number in it; the message's number is filled in per message.
    pattern: [u8; PAYLOAD],
    asked: u64,
    heard: u64,
}

impl WsDialogue {
    /// The dialogue of the connection with this number.
    pub(crate) fn new(number: usize, address: SocketAddr, kind: Kind) -> Self {
        let mut pattern = *b"................ message of connection ........ , to be echoed .";
        pattern[39..47].copy_from_slice(format!("{:08}", number % 100_000_000).as_bytes());
        Self {
            address,
            opcode: match kind {
                Kind::Text => 0x1,
                Kind::Binary => 0x2,
            },
            random: Random(0x9E37_79B9_7F4A_7C15 ^ (number as u64 + 1)),
            pattern,
            asked: 0,
            heard: 0,
        }
    }

    /// The payload of a message: its number in hexadecimal, then words that name the connection.
    #[allow(
        clippy::cast_possible_truncation,
        reason = "only the lowest four bits are wanted"
    )]
    fn payload(&self, message: u64) -> [u8; PAYLOAD] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut payload = self.pattern;
        for (at, digit) in payload[..16].iter_mut().enumerate() {
            *digit = DIGITS[usize::from((message >> (60 - 4 * at)) as u8 & 15)];
        }
        payload
    }
}

impl Dialogue for WsDialogue {
    fn greet(&mut self, stream: &mut TcpStream) -> Result<(), String> {
        let mut seed = [0; 16];
        for chunk in seed.chunks_exact_mut(4) {
            chunk.copy_from_slice(&self.random.mask());
        }
        shake(stream, self.address, seed)
    }

    fn ask(&mut self, out: &mut Vec<u8>) {
        let payload = self.payload(self.asked);
        self.asked += 1;
        frame(self.opcode, &payload, self.random.mask(), out);
    }

    fn hear(&mut self, input: &[u8], reply: &mut Vec<u8>) -> Result<Heard, String> {
        let &[first, second, ..] = input else {
            return Ok(Heard::Partial);
        };
        let length = usize::from(second);
        if length > SHORT {
            return Err(format!(
                "a frame that is masked or too long (second byte {second:#04x})"
            ));
        }
        let Some(payload) = input.get(2..2 + length) else {
            return Ok(Heard::Partial);
        };
        if first == FIN | self.opcode {
            if *payload != self.payload(self.heard) {
                return Err(format!(
                    "message {} came back as {:?}",
                    self.heard,
                    String::from_utf8_lossy(payload)
                ));
            }
            self.heard += 1;
            return Ok(Heard::Answer(2 + length));
        }
        match first ^ FIN {
            PING => frame(PONG, payload, self.random.mask(), reply),
            PONG => {}
            CLOSE => {
                let code = payload.first_chunk().map(|&code| u16::from_be_bytes(code));
                return Err(format!("the server closed, code {code:?}"));
            }
            _ => return Err(format!("a frame that begins with {first:#04x}")),
        }
        Ok(Heard::Aside(2 + length))
    }
}

/// Appends one masked frame with the short length form, which fits everything the generator sends.
pub(crate) fn frame(opcode: u8, payload: &[u8], mask: [u8; 4], out: &mut Vec<u8>) {
    debug_assert!(payload.len() <= SHORT);
    #[allow(
        clippy::cast_possible_truncation,
        reason = "the short form holds at most 125"
    )]
    out.extend_from_slice(&[FIN | opcode, MASKED | payload.len() as u8]);
    out.extend_from_slice(&mask);
    let start = out.len();
    out.extend_from_slice(payload);
    for chunk in out[start..].chunks_mut(4) {
        for (byte, key) in chunk.iter_mut().zip(mask) {
            *byte ^= key;
        }
    }
}

/// Masks that differ from frame to frame, and choices. They need no secrecy, only variety at no cost (xorshift64).
#[derive(Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn mask(&mut self) -> [u8; 4] {
        let [a, b, c, d, ..] = self.next().to_be_bytes();
        [a, b, c, d]
    }

    /// The next 64 bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap_or(0) % end
    }
}

#[cfg(test)]
mod tests {
    use super::{Dialogue, Heard, Kind, PAYLOAD, WsDialogue};

    fn echo(dialogue: &WsDialogue, message: u64) -> Vec<u8> {
        let mut answer = vec![0x82, 64];
        answer.extend_from_slice(&dialogue.payload(message));
        answer
    }

    #[test]
    fn echoes_are_right_only_in_order() {
        let mut dialogue = WsDialogue::new(7, ([127, 0, 0, 1], 80).into(), Kind::Binary);
        let (first, second) = (echo(&dialogue, 0), echo(&dialogue, 1));
        assert!(dialogue.hear(&second, &mut Vec::new()).is_err());
        assert_eq!(
            dialogue.hear(&first[..40], &mut Vec::new()),
            Ok(Heard::Partial)
        );
        for answer in [first, second] {
            let heard = dialogue.hear(&answer, &mut Vec::new());
            assert_eq!(heard, Ok(Heard::Answer(2 + PAYLOAD)));
        }
    }

    #[test]
    fn a_ping_is_answered_and_is_no_answer() {
        let mut dialogue = WsDialogue::new(0, ([127, 0, 0, 1], 80).into(), Kind::Text);
        let mut reply = Vec::new();
        let heard = dialogue.hear(&[0x89, 2, b'h', b'i'], &mut reply);
        assert_eq!(heard, Ok(Heard::Aside(4)));
        assert_eq!(reply[..2], [0x8A, 0x82]);
        assert_eq!([reply[6] ^ reply[2], reply[7] ^ reply[3]], *b"hi");
    }
}
