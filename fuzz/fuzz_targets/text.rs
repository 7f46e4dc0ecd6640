#![no_main]

mod invariance;

use libfuzzer_sys::fuzz_target;
use workhive_protocols::Text;

fuzz_target!(|data: &[u8]| invariance::check::<Text>(b"", data));
