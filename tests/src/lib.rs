//! The harness of the behaviour tests: it starts real programs, talks to them over real sockets, and sees to it that
//! nothing of them is left when a test ends, however it ends.
//!
//! | module | has |
//! |---|---|
//! | [`hive`] | a program under test: started, watched, stopped |
//! | [`http`], [`text`], [`ws`] | clients |
//! | [`load`] | many clients at once, and what became of their requests |
//! | [`swarm`] | WebSocket clients by the thousand |
//! | [`books`], [`users`] | what was pushed to many, and what became of it |
//! | [`proc`] | what `/proc` tells about processes |
//! | [`push`] | a push server, and its clients |
//! | [`routes`] | hives that route, and the clients that tell them what to do |
//! | [`ports`] | ports that no other test has |
//! | [`tools`] | foreign programs that a machine may lack |
//! | [`wait`] | the one place where a test waits for a condition |

pub mod books;
pub mod hive;
pub mod http;
pub mod load;
pub mod log;
pub mod ports;
pub mod proc;
pub mod push;
pub mod routes;
pub mod swarm;
pub mod text;
pub mod tools;
pub mod users;
pub mod wait;
pub mod ws;

pub use hive::{Finished, Hive, Running, Setup};
pub use ports::Port;
pub use wait::{DEADLINE, eventually};

/// The path of a program that cargo has built for the tests of this package.
///
/// To be used in `tests/*.rs` only: cargo tells the paths to integration tests.
#[macro_export]
macro_rules! program {
    ($name:literal) => {
        env!(concat!("CARGO_BIN_EXE_", $name))
    };
}
