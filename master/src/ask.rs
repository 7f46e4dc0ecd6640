//! The command line's side of the control socket.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

use crate::identity::Identity;
use crate::protocol::{ListingPart, Request};

/// How long a hive that has its pid file may take to make its control socket.
const JUST_STARTING: Duration = Duration::from_secs(1);

/// The longest answer that is read, in bytes: the status of a hive with every slot taken.
const MAX_ANSWER: u64 = 64 << 20;

/// Connects to the control socket of the hive whose master is process `pid`.
fn connect(identity: &Identity, pid: u32) -> io::Result<UnixStream> {
    let start = Instant::now();
    let stream = loop {
        match UnixStream::connect(&identity.socket) {
            Ok(stream) => break stream,
            // The hive is just starting: it has the pid file, and is about to replace the socket of its predecessor.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound
                ) && start.elapsed() < JUST_STARTING =>
            {
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(error) => return Err(error),
        }
    };
    // Who listens, socket(7); 0 if it is in another pid namespace and has no number here.
    let there = getsockopt(&stream, PeerCredentials)?.pid();
    if there != 0 && there != pid.cast_signed() {
        return Err(io::Error::other(format!(
            "{} belongs to process {there}, and not to the hive, process {pid}",
            identity.socket.display()
        )));
    }
    Ok(stream)
}

/// One request to a running hive, and its answer.
pub(crate) fn ask<T: serde::de::DeserializeOwned>(
    identity: &Identity,
    pid: u32,
    request: &Request,
    limit: Option<Duration>,
) -> io::Result<T> {
    let stream = request_of(identity, pid, request, limit)?;
    let mut answer = String::new();
    BufReader::new(stream.take(MAX_ANSWER)).read_line(&mut answer)?;
    if answer.is_empty() {
        return Err(too_early());
    }
    Ok(serde_json::from_str(&answer)?)
}

/// One request to a running hive whose answer comes in pieces. `limit` is for each of them.
pub(crate) fn ask_all(
    identity: &Identity,
    pid: u32,
    request: &Request,
    limit: Option<Duration>,
    mut each: impl FnMut(ListingPart) -> io::Result<()>,
) -> io::Result<()> {
    let mut stream = BufReader::new(request_of(identity, pid, request, limit)?);
    loop {
        let mut line = String::new();
        stream.by_ref().take(MAX_ANSWER).read_line(&mut line)?;
        if line.is_empty() {
            return Err(too_early());
        }
        let part = serde_json::from_str(&line)?;
        let done = matches!(part, ListingPart::Done(_));
        each(part)?;
        if done {
            return Ok(());
        }
    }
}

/// Puts a question.
fn request_of(
    identity: &Identity,
    pid: u32,
    request: &Request,
    limit: Option<Duration>,
) -> io::Result<UnixStream> {
    let mut stream = connect(identity, pid)?;
    stream.set_read_timeout(limit)?;
    stream.set_write_timeout(limit)?;
    let mut line = serde_json::to_string(request)?;
    line.push('\n');
    stream.write_all(line.as_bytes())?;
    Ok(stream)
}

fn too_early() -> io::Error {
    io::Error::new(
        io::ErrorKind::UnexpectedEof,
        "the hive ended before it had answered",
    )
}
