//! Arguments out of the fuzzer's bytes.

use std::cell::RefCell;

use workhive_embed::bytes::wh_bytes;

#[derive(Default)]
struct Source {
    data: Vec<u8>,
    at: usize,
    /// Bytes that were lent to calls, until the next run.
    lent: Vec<Box<[u8]>>,
    lists: Vec<Box<[wh_bytes]>>,
}

thread_local! {
    static SOURCE: RefCell<Source> = RefCell::default();
}

pub fn begin(data: &[u8]) {
    SOURCE.set(Source {
        data: data.to_vec(),
        ..Source::default()
    });
}

/// 0 at the end.
pub fn byte() -> u8 {
    SOURCE.with_borrow_mut(|source| {
        let byte = source.data.get(source.at).copied();
        source.at += 1;
        byte.unwrap_or(0)
    })
}

pub fn is_over() -> bool {
    SOURCE.with_borrow(|source| source.at >= source.data.len())
}

pub fn number() -> u64 {
    u64::from_le_bytes(std::array::from_fn(|_| byte()))
}

/// Up to so many bytes of the input.
pub fn slice(most: u8) -> Vec<u8> {
    (0..byte() % most.max(1)).map(|_| byte()).collect()
}

/// A small number, or one at an edge.
pub fn value() -> i64 {
    match byte() {
        small @ 0..=200 => i64::from(small % 100),
        201..=220 => number().cast_signed(),
        221 => i64::MAX,
        222 => i64::MIN,
        223 => -1,
        224..=240 => i64::from(byte()) * 1000,
        _ => 1,
    }
}

const WORDS: &[&[u8]] = &[
    b"text://127.0.0.1:0",
    b"http://127.0.0.1:0",
    b"ws://127.0.0.1:0",
    b"frame://127.0.0.1:0",
    b"tcp://127.0.0.1:0",
    b"own://127.0.0.1:0",
    b"own",
    b"127.0.0.1:1",
    b"unix:",
    b"nonsense://[::1]:0",
    b"u1",
    b"u2",
    b"room",
    b"00000001-0-0-1",
    b"Content-Type: text/plain\r\nX: y\n",
    b"Connection: close\n",
    b"Content-Length: 3\n",
    b"no field",
    b"\xff\xfe",
    b"line\nbreak",
    b"",
    b"fuzz",
    b"a=b",
    b"host",
    b"one line\n  another\nlast",
];

/// A pointer and a length, most of which make sense.
pub fn bytes() -> (*const u8, usize) {
    let kind = byte();
    let owned: Vec<u8> = match kind {
        0..=119 => WORDS[usize::from(kind) % WORDS.len()].to_vec(),
        120..=219 => slice(64),
        220..=229 => vec![b'x'; 255 + usize::from(kind - 220)],
        230 => vec![0; 70_000],
        231 => vec![b'y'; 2 * 1024 * 1024],
        232 => return (std::ptr::null(), 0),
        233 => return (std::ptr::null(), 5),
        _ => b"some".to_vec(),
    };
    let len = match kind {
        234 => 0,
        235 => usize::MAX,
        236 => 1 << 62,
        237 => usize::MAX / 2 + 1,
        238 => 1 << 47,
        _ => owned.len(),
    };
    SOURCE.with_borrow_mut(|source| {
        source.lent.push(owned.into_boxed_slice());
        (source.lent.last().expect("just pushed").as_ptr(), len)
    })
}

/// A list of bytes, and how many.
pub fn list() -> (*const wh_bytes, usize) {
    let items: Vec<wh_bytes> = (0..byte() % 4)
        .map(|_| {
            let (data, len) = bytes();
            wh_bytes { data, len }
        })
        .collect();
    let len = match byte() {
        255 => usize::MAX,
        254 => return (std::ptr::null(), 3),
        _ => items.len(),
    };
    SOURCE.with_borrow_mut(|source| {
        source.lists.push(items.into_boxed_slice());
        (source.lists.last().expect("just pushed").as_ptr(), len)
    })
}
