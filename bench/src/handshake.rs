//! The few lines of RFC 6455's opening that both ends of the bench need.

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
