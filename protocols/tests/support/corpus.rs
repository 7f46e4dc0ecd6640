//! Reads the corpus; `corpus/README.md` says how it is written.

use std::fs;
use std::path::PathBuf;

use super::subject::Limits;

const HANDSHAKE: &[u8] = b"GET /chat HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\n\r\n";

#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) limits: Limits,
    pub(crate) wire: Vec<u8>,
    pub(crate) expect: Vec<String>,
}

/// All cases of a protocol, by name.
pub(crate) fn cases(protocol: &str) -> Vec<Case> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(protocol);
    let mut cases: Vec<Case> = fs::read_dir(folder)
        .expect("the corpus is there")
        .map(|entry| entry.expect("a file").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "wire"))
        .map(|path| {
            let text = fs::read_to_string(&path).expect("readable text");
            let expect = fs::read_to_string(path.with_extension("expect")).expect("its outcome");
            let (wire, limits) = parse(&text);
            Case {
                name: path.file_stem().unwrap_or_default().display().to_string(),
                limits,
                wire,
                expect: expect.lines().map(str::to_owned).collect(),
            }
        })
        .collect();
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    cases
}

fn parse(text: &str) -> (Vec<u8>, Limits) {
    let mut wire = Vec::new();
    let mut limits = Limits::default();
    for line in text.lines() {
        let Some(directive) = line.strip_prefix('@') else {
            wire.extend(unescape(line));
            continue;
        };
        let (word, rest) = directive.split_once(' ').unwrap_or((directive, ""));
        match word {
            "max_message" => limits.max_message = rest.parse().ok(),
            "max_fragments" => limits.max_fragments = rest.parse().ok(),
            "handshake" => wire.extend(HANDSHAKE),
            "repeat" => wire.extend(repeated(rest)),
            "frame" => {
                let (first, payload) = rest.split_once(' ').unwrap_or((rest, ""));
                wire.extend(masked(first, unescape(payload)));
            }
            "frame-repeat" => {
                let (first, payload) = rest.split_once(' ').expect("@frame-repeat XX N TEXT");
                wire.extend(masked(first, repeated(payload)));
            }
            other => panic!("no directive @{other}"),
        }
    }
    (wire, limits)
}

fn repeated(rest: &str) -> Vec<u8> {
    let (count, text) = rest.split_once(' ').expect("N TEXT");
    unescape(text).repeat(count.parse().expect("a number"))
}

fn masked(first: &str, payload: Vec<u8>) -> Vec<u8> {
    let first = u8::from_str_radix(first, 16).expect("a byte in hex");
    client_frame(first, [0x37, 0xfa, 0x21, 0x3d], payload)
}

/// A frame as a client sends it.
pub(crate) fn client_frame(first: u8, mask: [u8; 4], mut payload: Vec<u8>) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..126 => frame.push(0x80 | u8::try_from(len).expect("it fits")),
        len @ 126..0x1_0000 => {
            frame.push(0xfe);
            frame.extend(u16::try_from(len).expect("it fits").to_be_bytes());
        }
        len => {
            frame.push(0xff);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    frame.extend(mask);
    for (byte, key) in payload.iter_mut().zip(mask.into_iter().cycle()) {
        *byte ^= key;
    }
    frame.extend(payload);
    frame
}

/// A handshake that is accepted.
pub(crate) fn handshake() -> &'static [u8] {
    HANDSHAKE
}

fn unescape(line: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once('\\') {
        bytes.extend(before.as_bytes());
        let (letter, behind) = after.split_at(1);
        rest = behind;
        match letter {
            "r" => bytes.push(b'\r'),
            "n" => bytes.push(b'\n'),
            "t" => bytes.push(b'\t'),
            "\\" => bytes.push(b'\\'),
            "x" => {
                let (hex, behind) = rest.split_at(2);
                bytes.push(u8::from_str_radix(hex, 16).expect("two hex digits"));
                rest = behind;
            }
            other => panic!("no escape \\{other}"),
        }
    }
    bytes.extend(rest.as_bytes());
    bytes
}
