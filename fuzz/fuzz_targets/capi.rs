//! The C interface: calls in any order with any arguments, outside of a loop and inside the loop of a worker, in its
//! callbacks too, while clients send what they like.
//!
//! What must hold: nothing crashes or hangs; every result is a code of the header, and never WH_ERR_PANIC; an error has a
//! text; what came with a callback is destroyed exactly once by the time all is freed, and its function not called after.
#![no_main]

#[path = "capi/arguments.rs"]
mod arguments;
#[path = "capi/callbacks.rs"]
mod callbacks;
#[path = "capi/calls.rs"]
mod calls;
#[path = "capi/users.rs"]
mod users;
#[path = "capi/worker.rs"]
mod worker;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    arguments::begin(data);
    users::begin();
    for _ in 0..arguments::byte() % 32 {
        calls::any();
    }
    if arguments::byte() % 4 > 0 {
        worker::run();
    }
    calls::free_all();
    users::end();
});
