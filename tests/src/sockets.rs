//! What the kernel has at a port.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::os::fd::AsFd;

use crate::{Port, proc, sys};

/// The states of `/proc/net/tcp` (`tcp_states.h`).
const SYN_RECV: &str = "03";
const LISTEN: &str = "0A";

/// The listening sockets at a port, as `/proc/PID/fd` names them.
///
/// # Panics
/// If the system has no table of sockets.
pub fn listening(port: &Port) -> BTreeSet<String> {
    let rows = rows(port, LISTEN).into_iter();
    rows.map(|row| format!("socket:[{}]", row[9])).collect()
}

/// How many descriptors of a process lead to listening sockets at a port.
pub fn listening_of(pid: u32, port: &Port) -> usize {
    let sockets = listening(port);
    let descriptors = proc::descriptors(pid).into_iter();
    descriptors
        .filter(|(_, there)| there.to_str().is_some_and(|there| sockets.contains(there)))
        .count()
}

/// How many handshakes are under way at a port, the first answer sent and not yet the last one received.
///
/// # Panics
/// If the system has no table of sockets.
pub fn handshakes(port: &Port) -> usize {
    let rows = rows(port, SYN_RECV).into_iter();
    // The table is not of one moment: what moves while it is read may be there twice.
    let peers: BTreeSet<String> = rows.map(|mut row| row.swap_remove(2)).collect();
    peers.len()
}

/// From now on the kernel leaves handshakes at a port unfinished until data comes: the listening sockets are looked for
/// among those of a process, our child. Returns how many there were.
///
/// # Errors
/// `PermissionDenied` where the descriptors of a child are not to be had, as in some containers.
pub fn hold_handshakes(pid: u32, port: &Port) -> io::Result<usize> {
    let sockets = listening(port);
    let mut held = 0;
    for (number, there) in proc::descriptors(pid) {
        if there.to_str().is_some_and(|there| sockets.contains(there)) {
            let socket = sys::descriptor_of(pid, number)?;
            sys::defer_accept(socket.as_fd(), 60)?;
            held += 1;
        }
    }
    Ok(held)
}

/// The rows of `/proc/net/tcp` about a port of ours in a state. The second column is our address, the fourth the state,
/// the tenth the inode (`proc_net_tcp(5)`).
fn rows(port: &Port, state: &str) -> Vec<Vec<String>> {
    let wanted = format!(":{:04X}", port.number());
    let table = BufReader::new(File::open("/proc/net/tcp").expect("a table of sockets"));
    let rows = table.lines().map_while(Result::ok).skip(1);
    let rows = rows.map(|line| line.split_ascii_whitespace().map(str::to_owned).collect());
    rows.filter(|row: &Vec<String>| row.len() > 9)
        // Those that listen come first. Behind them are all connections of this machine, which may be many.
        .take_while(|row| state != LISTEN || row[3] == LISTEN)
        .filter(|row| row[3] == state && row[1].ends_with(&wanted))
        .collect()
}
