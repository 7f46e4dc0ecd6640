//! Which of the sockets that share an address new connections go to.
//!
//! The kernel spreads them by a hash of their addresses over all sockets that listen there with `SO_REUSEPORT`, whether
//! anybody accepts from them or not. A small program in classic BPF, which needs no rights, decides instead of the hash.

use std::io;
use std::os::fd::BorrowedFd;

use crate::sys::{attach_to_group, detach_from_group};

/// Most instructions of a classic BPF program (`BPF_MAXINSNS`).
const MAX_INSTRUCTIONS: usize = 4096;

/// Those that do not depend on how many sockets are left out.
const FIXED: usize = 3;

/// Lets new TCP connections go to some of the sockets only that listen at one address with `SO_REUSEPORT`: each of
/// these gets the same share of them. Connections that wait in the queues of the others stay there.
///
/// `socket` is any one of them, `total` is how many there are. `skip` names those that get nothing new by the order of
/// their listen(2) calls, from 0, and must be in ascending order. With nothing left the kernel's hash decides as
/// without this, and so it does after [`unsteer`]. It stays in force when this process ends, as long as a socket is there.
///
/// # Errors
/// [`InvalidInput`](io::ErrorKind::InvalidInput) if `skip` is not in ascending order, names a socket that there is not,
/// or is longer than 2,046. Else what setsockopt(2) with `SO_ATTACH_REUSEPORT_CBPF` said: a system may lack it.
///
/// ```
/// # mod workhive { pub use workhive_protocols::*; pub use workhive_worker::*; }
/// use std::net::TcpListener;
/// use std::os::fd::AsFd;
/// use workhive::{Address, bind, steer, unsteer};
///
/// let first = TcpListener::from(bind(&"127.0.0.1:0".parse::<Address>().unwrap(), true, 16)?);
/// let address = Address::Tcp(first.local_addr()?);
/// let second = bind(&address, true, 16)?;
/// // Nobody accepts from the second one now.
/// steer(first.as_fd(), 2, &[1])?;
/// unsteer(first.as_fd())?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn steer(socket: BorrowedFd<'_>, total: u32, skip: &[u32]) -> io::Result<()> {
    let program = program(total, skip)?;
    if program.is_empty() {
        return unsteer(socket);
    }
    attach_to_group(socket, &program)
}

/// Lets the kernel's hash decide again (`SO_DETACH_REUSEPORT_BPF`, Linux 5.3).
///
/// ```
/// # mod workhive { pub use workhive_protocols::*; pub use workhive_worker::*; }
/// use std::os::fd::AsFd;
/// use workhive::{Address, bind, unsteer};
///
/// let socket = bind(&"127.0.0.1:0".parse::<Address>().unwrap(), true, 16)?;
/// unsteer(socket.as_fd())?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn unsteer(socket: BorrowedFd<'_>) -> io::Result<()> {
    match detach_from_group(socket) {
        // Nothing was attached.
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        result => result,
    }
}

/// Chooses among those that are left by chance, and steps over each that is not; empty if nothing is left.
fn program(total: u32, skip: &[u32]) -> io::Result<Vec<libc::sock_filter>> {
    let misuse = |what: String| Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    if let Some(pair) = skip.array_windows().find(|[a, b]| a >= b) {
        return misuse(format!("sockets {pair:?} are not in ascending order"));
    }
    if let Some(last) = skip.last().filter(|last| **last >= total) {
        return misuse(format!("there is no socket {last} among {total}"));
    }
    if FIXED + 2 * skip.len() > MAX_INSTRUCTIONS {
        let most = (MAX_INSTRUCTIONS - FIXED) / 2;
        let count = skip.len();
        return misuse(format!(
            "{count} sockets cannot be left out, {most} at the most"
        ));
    }
    let left = total - u32::try_from(skip.len()).unwrap_or(total);
    if left == 0 {
        return Ok(Vec::new());
    }
    let random = (libc::SKF_AD_OFF + libc::SKF_AD_RANDOM).cast_unsigned();
    let mut program = vec![
        // A = random
        instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, random),
        // A = A % left
        instruction(libc::BPF_ALU | libc::BPF_MOD | libc::BPF_K, 0, left),
    ];
    for skipped in skip {
        // if A >= skipped: A = A + 1
        let at_least = libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K;
        program.push(instruction(at_least, 1, *skipped));
        let add = libc::BPF_ALU | libc::BPF_ADD | libc::BPF_K;
        program.push(instruction(add, 0, 1));
    }
    program.push(instruction(libc::BPF_RET | libc::BPF_A, 0, 0));
    Ok(program)
}

/// One instruction; with a condition, and how many to pass over if it does not hold.
fn instruction(code: u32, otherwise: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter {
        // All codes have 16 bits.
        code: u16::try_from(code).unwrap_or_default(),
        jt: 0,
        jf: otherwise,
        k,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;

    use super::*;
    use crate::{Address, bind};

    const CLIENTS: usize = 400;

    /// Sockets of one address, in the order in which they listen.
    fn group(count: u32) -> Vec<TcpListener> {
        let any: Address = "127.0.0.1:0".parse().expect("an address");
        let first = TcpListener::from(bind(&any, true, 1024).expect("bound"));
        let address = Address::Tcp(first.local_addr().expect("bound"));
        let mut all = vec![first];
        all.extend((1..count).map(|_| bind(&address, true, 1024).expect("bound").into()));
        all
    }

    /// Which share of new connections each socket gets.
    fn shares(group: &[TcpListener]) -> Vec<usize> {
        let address = group[0].local_addr().expect("bound");
        // A connection is in a queue when connect(2) is back.
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| TcpStream::connect(address).expect("a connection"))
            .collect();
        let count = |listener: &TcpListener| std::iter::from_fn(|| listener.accept().ok()).count();
        let shares: Vec<usize> = group.iter().map(count).collect();
        assert_eq!(shares.iter().sum::<usize>(), clients.len(), "{shares:?}");
        shares
    }

    /// Looks who gets nothing; all others must get something.
    fn without(group: &[TcpListener]) -> Vec<u32> {
        (0..)
            .zip(shares(group))
            .filter_map(|(index, share)| (share == 0).then_some(index))
            .collect()
    }

    #[test]
    fn sockets_that_are_left_out_get_nothing_and_the_others_get_their_shares() {
        let group = group(4);
        for skip in [
            &[0][..],
            &[1],
            &[3],
            &[0, 3],
            &[1, 2],
            &[0, 1, 2],
            &[1, 2, 3],
        ] {
            steer(group[2].as_fd(), 4, skip).expect("attached");
            assert_eq!(without(&group), skip);
        }
        steer(group[0].as_fd(), 4, &[]).expect("attached");
        assert_eq!(without(&group), []);
        // Each is due 133; that one gets 60 by chance happens once in more than 10^12 runs.
        steer(group[0].as_fd(), 4, &[2]).expect("attached");
        let shares = shares(&group);
        assert!(
            [0, 1, 3].iter().all(|index| shares[*index] > 60),
            "{shares:?}"
        );
    }

    #[test]
    fn the_kernel_decides_again_when_nothing_is_left_or_nobody_steers() {
        let group = group(3);
        steer(group[0].as_fd(), 3, &[0, 2]).expect("attached");
        assert_eq!(without(&group), [0, 2]);
        unsteer(group[1].as_fd()).expect("detached");
        assert_eq!(without(&group), []);
        unsteer(group[1].as_fd()).expect("nothing to do");
        steer(group[0].as_fd(), 3, &[1]).expect("attached");
        steer(group[0].as_fd(), 3, &[0, 1, 2]).expect("detached");
        assert_eq!(without(&group), []);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let group = group(1);
        let refused = |total, skip: &[u32]| {
            let error = steer(group[0].as_fd(), total, skip).expect_err("misuse");
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{error}");
            error.to_string()
        };
        assert_eq!(refused(2, &[2]), "there is no socket 2 among 2");
        assert_eq!(
            refused(9, &[0, 5, 5]),
            "sockets [5, 5] are not in ascending order"
        );
        let many: Vec<u32> = (0..2047).collect();
        assert_eq!(
            refused(4000, &many),
            "2047 sockets cannot be left out, 2046 at the most"
        );
        steer(group[0].as_fd(), 4000, &many[..2046]).expect("as many as the kernel takes");
    }

    #[test]
    fn a_socket_that_shares_its_address_with_nobody_cannot_be_steered() {
        let alone = TcpListener::bind("127.0.0.1:0").expect("bound");
        steer(alone.as_fd(), 2, &[0]).expect_err("no SO_REUSEPORT");
    }
}
