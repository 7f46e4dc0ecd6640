//! The push server: WebSocket clients say who they are; lines, HTTP requests, other clients and the command line reach
//! them by that name, in whichever process they are.

mod clients;
mod counted;
mod http;
mod jwt;
mod key;
mod options;
mod order;
mod outcome;
mod outside;
mod peers;
mod replies;
mod server;
mod text;
mod token;

use std::ffi::OsString;

use crate::{Exit, Group, UsageError};
use options::Options;

/// `workhive push`, with these arguments behind it.
pub(super) fn run(args: impl Iterator<Item = OsString>) -> Result<Exit, UsageError> {
    let mut args = args.peekable();
    if let Some(verb) = args.peek().and_then(|word| outside::Verb::of(word)) {
        return outside::run(verb, args.skip(1));
    }
    let args = super::parse(options::cli(), "workhive push", args)?;
    if args.starts() {
        let options = Options::read(&args)?;
        return Ok(args.run_all([server::worker(options)]));
    }
    // The others only need the address by which the hive is known.
    let known_by = crate::Worker::<workhive_protocols::WebSocket>::new(args.value("ws"));
    Ok(args.run_all([Group::from(known_by.name("push"))]))
}
