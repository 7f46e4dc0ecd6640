//! The HTTP questions of the generator, and what a right answer is.

use std::net::SocketAddr;
use std::rc::Rc;

use crate::connection::{Dialogue, Heard};
use crate::handshake::{head_length, header};

/// What the server under test says to `GET /`.
const BODY: &[u8] = b"Hello, World!";

/// `GET /` on one keep-alive connection.
#[derive(Debug, Clone)]
pub(crate) struct HttpDialogue {
    request: Rc<[u8]>,
    /// The last answer that was parsed and found right. Most answers equal it byte for byte, which is the cheapest
    /// full check there is; one that differs, say in its date, is parsed and takes its place.
    known: Vec<u8>,
}

impl HttpDialogue {
    /// A dialogue with the server at `address`; clones share the request.
    pub(crate) fn new(address: SocketAddr) -> Self {
        let request = format!(
            "GET / HTTP/1.1\r\n\
             Host: {address}\r\n\
             User-Agent: workhive-bench\r\n\
             Accept: text/plain,text/html;q=0.9,*/*;q=0.8\r\n\
             Connection: keep-alive\r\n\r\n"
        );
        Self {
            request: request.into_bytes().into(),
            known: Vec::new(),
        }
    }
}

impl Dialogue for HttpDialogue {
    fn ask(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.request);
    }

    fn hear(&mut self, input: &[u8], _reply: &mut Vec<u8>) -> Result<Heard, String> {
        if !self.known.is_empty() && input.starts_with(&self.known) {
            return Ok(Heard::Answer(self.known.len()));
        }
        let Some(length) = right_answer(input)? else {
            return Ok(Heard::Partial);
        };
        self.known.clear();
        self.known.extend_from_slice(&input[..length]);
        Ok(Heard::Answer(length))
    }
}

/// The length of the answer that `input` begins with, `None` when its end has not come, an error when it is not the
/// answer that was asked for.
fn right_answer(input: &[u8]) -> Result<Option<usize>, String> {
    let Some(head_end) = head_length(input) else {
        return Ok(None);
    };
    let head = &input[..head_end];
    if !head.starts_with(b"HTTP/1.1 200 ") {
        return Err(format!("status line {:?}", first_line(head)));
    }
    let length = header(head, "content-length")
        .and_then(|value| std::str::from_utf8(value).ok()?.parse::<usize>().ok())
        .ok_or("no usable Content-Length")?;
    if length != BODY.len() {
        return Err(format!("Content-Length {length}, not {}", BODY.len()));
    }
    if !header(head, "content-type").is_some_and(|value| value.starts_with(b"text/plain")) {
        return Err("Content-Type is not text/plain".to_owned());
    }
    let Some(body) = input.get(head_end..head_end + length) else {
        return Ok(None);
    };
    if body != BODY {
        return Err(format!("body {:?}", String::from_utf8_lossy(body)));
    }
    Ok(Some(head_end + length))
}

fn first_line(head: &[u8]) -> String {
    let line = head.split(|&byte| byte == b'\r').next().unwrap_or(head);
    String::from_utf8_lossy(line).into_owned()
}

#[cfg(test)]
mod tests {
    use super::HttpDialogue;
    use crate::connection::{Dialogue, Heard};

    fn answer(date: &str) -> Vec<u8> {
        format!(
            "HTTP/1.1 200 OK\r\ndate: {date}\r\ncontent-type: text/plain; charset=utf-8\r\n\
             content-length: 13\r\n\r\nHello, World!"
        )
        .into_bytes()
    }

    #[test]
    fn a_new_date_is_still_right_and_every_cut_is_partial() {
        let mut dialogue = HttpDialogue::new(([127, 0, 0, 1], 80).into());
        for date in ["one", "one", "three"] {
            let whole = answer(date);
            for cut in 0..whole.len() {
                let heard = dialogue.hear(&whole[..cut], &mut Vec::new());
                assert_eq!(heard, Ok(Heard::Partial), "cut at {cut}");
            }
            let heard = dialogue.hear(&whole, &mut Vec::new());
            assert_eq!(heard, Ok(Heard::Answer(whole.len())));
        }
    }

    #[test]
    fn another_status_is_wrong() {
        let mut dialogue = HttpDialogue::new(([127, 0, 0, 1], 80).into());
        let heard = dialogue.hear(
            b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n",
            &mut Vec::new(),
        );
        assert!(heard.is_err());
    }
}
