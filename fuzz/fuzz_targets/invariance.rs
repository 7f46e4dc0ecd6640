//! The rule that all targets check: any cut of the bytes gives the same events, the same output, the same error.

#[path = "../../protocols/tests/support/mod.rs"]
pub(crate) mod support;

use support::subject::Limits;
use support::{Subject, run};

/// Limits small enough to be met.
const SMALL: Limits = Limits {
    max_message: Some(300),
    max_fragments: Some(5),
};

/// The first bytes of `data` choose where the rest is cut; `before` goes in front of it.
pub(crate) fn check<P: Subject>(before: &[u8], data: &[u8]) {
    let Some((seed, rest)) = data.split_first_chunk::<4>() else {
        return;
    };
    let bytes = [before, rest].concat();
    let config = P::configure(SMALL);
    let whole = run::<P>(&config, [bytes.as_slice()]);
    let cut = run::<P>(&config, pieces(&bytes, *seed));
    assert_eq!(whole.events, cut.events);
    assert_eq!(whole.error, cut.error);
    assert_eq!((whole.flow, whole.idle), (cut.flow, cut.idle));
    assert_eq!(without_continue(&whole.out), without_continue(&cut.out));
    let single = run::<P>(&config, bytes.chunks(1));
    assert_eq!((whole.events, whole.error), (single.events, single.error));
}

/// Pieces whose lengths follow the seed, round and round.
fn pieces(bytes: &[u8], seed: [u8; 4]) -> Vec<&[u8]> {
    let mut rest = bytes;
    let mut pieces = Vec::new();
    for len in seed.into_iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, behind) = rest.split_at(rest.len().min(usize::from(len % 61) + 1));
        pieces.push(piece);
        rest = behind;
    }
    pieces
}

/// Whether `100 Continue` is sent depends on what has come: it is no part of the rule.
fn without_continue(out: &[u8]) -> String {
    String::from_utf8_lossy(out).replace("HTTP/1.1 100 Continue\r\n\r\n", "")
}
