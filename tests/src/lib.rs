//! The harness of the behaviour tests: it starts real programs, talks to them over real sockets, and sees to it that
//! nothing of them is left when a test ends, however it ends.
//!
//! | module | has |
//! |---|---|
//! | [`setup`], [`hive`] | a program under test: started, watched, stopped |
//! | [`running`] | other commands |
//! | [`http`], [`text`], [`ws`] | clients |
//! | [`foreign`] | programs that know nothing of workhive |
//! | [`load`] | many clients at once, and what became of their requests |
//! | [`swarm`] | WebSocket clients by the thousand |
//! | [`boots`] | hives whose processes start, or do not, as they are told |
//! | [`books`], [`users`] | what was pushed to many, and what became of it |
//! | [`proc`] | what `/proc` tells about processes |
//! | [`program_file`] | a program file that changes while the program runs |
//! | [`push`] | a push server, and its clients |
//! | [`routes`] | hives that route, and the clients that tell them what to do |
//! | [`obeys`] | hives whose processes do as they are told |
//! | [`ports`] | ports that no other test has |
//! | [`sockets`] | what the kernel has at a port |
//! | [`tools`] | foreign programs that a machine may lack |
//! | [`wait`] | the one place where a test waits for a condition |
//! | [`witnesses`] | clients that know who serves them, and what they have lost |

pub mod books;
pub mod boots;
pub mod foreign;
pub mod hive;
pub mod http;
pub mod load;
pub mod log;
pub mod obeys;
pub mod ports;
pub mod proc;
pub mod program_file;
pub mod push;
pub mod routes;
pub mod running;
pub mod setup;
pub mod sockets;
pub mod swarm;
mod sys;
pub mod text;
pub mod tools;
pub mod users;
pub mod wait;
pub mod witnesses;
pub mod ws;

pub use hive::Hive;
pub use ports::Port;
pub use running::{Finished, Running};
pub use setup::Setup;
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
