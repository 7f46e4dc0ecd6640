#![no_main]

mod invariance;

use invariance::support::corpus::handshake;
use libfuzzer_sys::fuzz_target;
use workhive_protocols::WebSocket;

fuzz_target!(|data: &[u8]| {
    // Bare, to reach the handshake, and behind a good one, to reach the frames.
    invariance::check::<WebSocket>(b"", data);
    invariance::check::<WebSocket>(handshake(), data);
});
