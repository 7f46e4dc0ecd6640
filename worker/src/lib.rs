//! One worker process: event loop, listeners, connections, timers.

mod address;
mod bind;
mod seat;

pub use address::{Address, AddressError};
pub use bind::{bind, probe};
pub use seat::{Inherited, Place, Program, Seat};
