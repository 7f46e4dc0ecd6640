//! The few lines of RFC 6455's opening that both ends of the bench need.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use memchr::memmem;

/// What the RFC has every server append to the client's key.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The `Sec-WebSocket-Accept` that answers a `Sec-WebSocket-Key`.
pub(crate) fn accept_for(key: &[u8]) -> String {
    let mut hash = sha1_smol::Sha1::new();
    hash.update(key);
    hash.update(GUID);
    STANDARD.encode(hash.digest().bytes())
}

/// A fresh `Sec-WebSocket-Key` from sixteen bytes.
pub(crate) fn key_from(bytes: [u8; 16]) -> String {
    STANDARD.encode(bytes)
}

/// A client's side of the opening, on a blocking stream. `seed` makes the key.
pub(crate) fn shake(
    stream: &mut TcpStream,
    address: SocketAddr,
    seed: [u8; 16],
) -> Result<(), String> {
    let key = key_from(seed);
    let request = format!(
        "GET / HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
    );
    stream
        .write_all(request.as_bytes())
        .map_err(|error| format!("sending the handshake: {error}"))?;
    let mut answer = Vec::with_capacity(512);
    let head_end = loop {
        let mut piece = [0; 1024];
        match stream.read(&mut piece) {
            Ok(0) => return Err("closed during the handshake".to_owned()),
            Ok(count) => answer.extend_from_slice(&piece[..count]),
            Err(error) => return Err(format!("waiting for the handshake: {error}")),
        }
        if let Some(end) = head_length(&answer) {
            break end;
        }
    };
    if head_end != answer.len() {
        return Err("the server spoke before it was asked".to_owned());
    }
    if !answer.starts_with(b"HTTP/1.1 101 ") {
        return Err(format!(
            "handshake refused: {}",
            String::from_utf8_lossy(&answer)
        ));
    }
    if header(&answer, "sec-websocket-accept") != Some(accept_for(key.as_bytes()).as_bytes()) {
        return Err("the handshake's accept does not fit the key".to_owned());
    }
    Ok(())
}

/// A server's answer to the opening that `head` is; none if it is none.
pub(crate) fn answer_to(head: &[u8]) -> Option<String> {
    let key = header(head, "sec-websocket-key")?;
    Some(format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        accept_for(key)
    ))
}

/// Length of the head that `bytes` begins with, its blank line included.
pub(crate) fn head_length(bytes: &[u8]) -> Option<usize> {
    memmem::find(bytes, b"\r\n\r\n").map(|at| at + 4)
}

/// The first value of a header, without the spaces around it. Names compare without case.
pub(crate) fn header<'a>(head: &'a [u8], name: &str) -> Option<&'a [u8]> {
    head.split(|&byte| byte == b'\n').skip(1).find_map(|line| {
        let colon = memchr::memchr(b':', line)?;
        line[..colon]
            .eq_ignore_ascii_case(name.as_bytes())
            .then(|| line[colon + 1..].trim_ascii())
    })
}

#[cfg(test)]
mod tests {
    use super::{accept_for, head_length, header};

    #[test]
    fn the_key_of_the_rfc_gives_the_accept_of_the_rfc() {
        assert_eq!(
            accept_for(b"dGhlIHNhbXBsZSBub25jZQ=="),
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
    }

    #[test]
    fn a_header_is_found_whatever_its_case() {
        let head = b"GET / HTTP/1.1\r\nhOST:  here \r\n\r\n";
        assert_eq!(header(head, "Host"), Some(&b"here"[..]));
        assert_eq!(header(head, "Hos"), None);
        assert_eq!(head_length(head), Some(head.len()));
    }
}
