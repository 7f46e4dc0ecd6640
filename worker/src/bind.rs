//! Making listening sockets.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, TcpKeepalive, Type};

use crate::Address;

/// Probes after a minute of silence, and the end after four without an answer: two minutes in all.
const KEEPALIVE_AFTER: Duration = Duration::from_mins(1);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(15);
const KEEPALIVE_PROBES: u32 = 4;

/// A listening socket at `address`: non-blocking, close-on-exec, `SO_REUSEADDR`; with `reuse_port` also
/// `SO_REUSEPORT`, so that several sockets share the address (socket(7)). Accepted TCP connections inherit from it
/// `TCP_NODELAY` (the loop writes once a turn, so Nagle's algorithm could only add delay) and keep-alive probes, by
/// which a peer that lost its power is noticed (tcp(7)).
///
/// `backlog` is capped by `net.core.somaxconn` (listen(2)).
///
/// A Unix socket whose path is left over from a dead process is replaced; one that somebody accepts at is
/// `AddrInUse`.
///
/// ```
/// # mod workhive { pub use workhive_protocols::*; pub use workhive_worker::*; }
/// use workhive::{Address, bind};
///
/// let socket = bind(&"127.0.0.1:0".parse::<Address>().unwrap(), false, 128)?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn bind(address: &Address, reuse_port: bool, backlog: u32) -> io::Result<OwnedFd> {
    let socket = match address {
        Address::Tcp(address) => {
            let socket = Socket::new(Domain::for_address(*address), Type::STREAM, None)?;
            socket.set_reuse_address(true)?;
            if reuse_port {
                socket.set_reuse_port(true)?;
            }
            if address.is_ipv6() {
                // As nginx: "[::]:80" and "0.0.0.0:80" are two listeners that do not collide.
                socket.set_only_v6(true)?;
            }
            socket.bind(&SockAddr::from(*address))?;
            socket.set_tcp_nodelay(true)?;
            socket.set_tcp_keepalive(
                &TcpKeepalive::new()
                    .with_time(KEEPALIVE_AFTER)
                    .with_interval(KEEPALIVE_EVERY)
                    .with_retries(KEEPALIVE_PROBES),
            )?;
            socket
        }
        Address::Unix(path) => {
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
            let name = SockAddr::unix(path)?;
            if let Err(error) = socket.bind(&name) {
                if error.kind() != io::ErrorKind::AddrInUse || !is_left_over(path, &name) {
                    return Err(error);
                }
                std::fs::remove_file(path)?;
                socket.bind(&name)?;
            }
            socket
        }
    };
    socket.set_nonblocking(true)?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    Ok(socket.into())
}

/// Binds and lets go, without `SO_REUSEPORT`: fails if anybody listens at `address`, even somebody who shares it.
/// Without this, a second hive on a shared port would silently take half of the first one's connections.
pub fn probe(address: &Address) -> io::Result<()> {
    let Address::Tcp(address) = address else {
        return Ok(());
    };
    if address.port() == 0 {
        return Ok(());
    }
    let socket = Socket::new(Domain::for_address(*address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&SockAddr::from(*address))?;
    // With SO_REUSEADDR alone bind(2) succeeds beside a socket that is bound but does not listen; listen(2) decides.
    socket.listen(1)
}

/// True for the socket file of a process that is gone: a socket, at which nobody listens. Everything else at the path,
/// a file of another type above all, is somebody's and stays.
fn is_left_over(path: &Path, name: &SockAddr) -> bool {
    let is_socket =
        std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
    if !is_socket {
        return false;
    }
    let Ok(socket) = Socket::new(Domain::UNIX, Type::STREAM, None) else {
        return false;
    };
    // Non-blocking: a live listener whose queue is full says EAGAIN instead of making us wait.
    let refused = socket
        .set_nonblocking(true)
        .and_then(|()| socket.connect(name));
    refused.is_err_and(|error| error.raw_os_error() == Some(libc::ECONNREFUSED))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: &Path) -> Address {
        Address::Unix(path.to_path_buf())
    }

    #[test]
    fn only_a_socket_at_which_nobody_listens_is_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("s");

        std::fs::write(&path, "precious").expect("a file");
        let error = bind(&at(&path), false, 1).expect_err("a file is no socket");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert_eq!(std::fs::read(&path).expect("still there"), b"precious");
        std::fs::remove_file(&path).expect("removed");

        let datagrams = std::os::unix::net::UnixDatagram::bind(&path).expect("bound");
        bind(&at(&path), false, 1).expect_err("somebody receives there");
        drop(datagrams);
        std::fs::remove_file(&path).expect("removed");

        let first = bind(&at(&path), false, 1).expect("free");
        bind(&at(&path), false, 1).expect_err("somebody listens there");
        drop(first);
        bind(&at(&path), false, 1).expect("left over");
    }
}
