#![no_main]

mod invariance;

use libfuzzer_sys::fuzz_target;
use workhive_protocols::Frame;

fuzz_target!(|data: &[u8]| invariance::check::<Frame>(b"", data));
