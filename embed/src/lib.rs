//! The C ABI of workhive: what `libworkhive.so` exports and `workhive.h` declares.
//!
//! It translates types, catches panics, copies bytes across, and holds no logic of its own. The header is made out of the
//! doc comments here, so they speak to those who write C: `embed/header` makes it, and checks that it is up to date.
//!
//! Every function is `unsafe` for the same reasons: pointers must be what the header says, for the time of the call.
//! Whatever else a caller gets wrong, such as a handle that was freed, the wrong thread, a length that cannot be, a
//! function that is called inside another one, is answered with a code.
#![expect(
    non_camel_case_types,
    reason = "the names of the header, which is made from these"
)]
#![allow(
    clippy::doc_markdown,
    reason = "the comments are those of a C header, where names stand as they are"
)]
#![allow(
    clippy::missing_safety_doc,
    reason = "the rules are the same for all, and stand at the top"
)]

// In the order of the header.

pub mod codes;

pub mod boundary;
pub mod bytes;
pub mod callback;

// Before anything runs.
pub mod options;
pub mod worker;

pub mod hive;
pub mod protocol;

// A hive at work.
pub mod run;
pub mod stats;
pub mod steer;

// In a running worker.
pub mod blocking;
pub mod listen;
pub mod log;
pub mod mailbox;
pub mod timer;

// Connections.
pub mod conn;

pub mod request;
pub mod response;

pub mod opening;

// The whole hive.
pub mod room;

pub mod members;
pub mod presence;
pub mod push;
pub mod topic;

#[cfg(feature = "fuzzing")]
pub mod fuzzing;

mod define;
mod error;
mod events;
mod handles;
mod lent;
mod sys;
