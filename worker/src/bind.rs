//! Making listening sockets.

use std::io;
use std::os::fd::OwnedFd;

use socket2::{Domain, SockAddr, Socket, Type};

use crate::Address;

/// A listening socket at `address`: non-blocking, close-on-exec, `SO_REUSEADDR`; with `reuse_port` also
/// `SO_REUSEPORT`, so that several sockets share the address (socket(7)). Accepted TCP connections inherit
/// `TCP_NODELAY` from it: the loop writes once a turn, so Nagle's algorithm could only add delay.
///
/// `backlog` is capped by `net.core.somaxconn` (listen(2)).
///
/// A Unix socket whose path is left over from a dead process is replaced; one that somebody accepts at is
/// `AddrInUse`.
///
/// ```
/// use workhive_worker::{Address, bind};
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
            socket
        }
        Address::Unix(path) => {
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
            let name = SockAddr::unix(path)?;
            if let Err(error) = socket.bind(&name) {
                if error.kind() != io::ErrorKind::AddrInUse || is_alive(&name) {
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

fn is_alive(name: &SockAddr) -> bool {
    Socket::new(Domain::UNIX, Type::STREAM, None)
        .and_then(|socket| socket.connect(name))
        .is_ok()
}
