//! Who holds an address: found out when `bind` has failed, so that the error can say it.

use std::collections::HashSet;
use std::fmt;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::Address;

/// The process that listens at an address.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Holder {
    /// This very process.
    Here {
        /// Its process id.
        pid: u32,
    },
    /// A process of this hive.
    Sibling {
        /// Its group.
        group: String,
        /// Its slot.
        slot: u16,
        /// Its process id.
        pid: u32,
    },
    /// Some other process.
    Other {
        /// Its process id.
        pid: u32,
        /// The name of its program, as in `ps`.
        name: String,
    },
}

impl Holder {
    /// The process id.
    pub fn pid(&self) -> u32 {
        match self {
            Self::Here { pid } | Self::Sibling { pid, .. } | Self::Other { pid, .. } => *pid,
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Here { pid } => write!(f, "this process itself ({pid})"),
            Self::Sibling { group, slot, pid } => {
                write!(f, "process {pid} of this hive (group {group}, slot {slot})")
            }
            Self::Other { pid, name } => write!(f, "process {pid} ({name})"),
        }
    }
}

/// Finds a process that listens at `address`, other than this one: by the listening sockets in `/proc/net/tcp` and
/// the descriptors in `/proc/PID/fd` (proc(5)). A process of this hive, as `sibling` tells by its id, is preferred.
/// None if there is none, or if it belongs to somebody whose descriptors we may not see.
///
/// ```
/// # mod workhive { pub use workhive_protocols::*; pub use workhive_worker::*; }
/// use workhive::{Address, holder};
///
/// let nobody: Address = "127.0.0.1:1".parse()?;
/// assert_eq!(holder(&nobody, |_pid| None), None);
/// # Ok::<(), workhive::AddressError>(())
/// ```
pub fn holder(address: &Address, sibling: impl Fn(u32) -> Option<(String, u16)>) -> Option<Holder> {
    let sockets = listening_inodes(address);
    if sockets.is_empty() {
        return None;
    }
    let own = std::process::id();
    let mut other = None;
    for pid in pids().filter(|pid| *pid != own) {
        if !holds(pid, &sockets) {
            continue;
        }
        if let Some((group, slot)) = sibling(pid) {
            return Some(Holder::Sibling { group, slot, pid });
        }
        other.get_or_insert_with(|| Holder::Other {
            pid,
            name: name(pid),
        });
    }
    other
}

/// Finds a listener at `address` that no process of this hive has: neither those with the ids in `hive`, nor this one. It
/// shares the port with us, and takes connections that are meant for us.
///
/// All processes of a hive may come here at once when it starts. So nobody looks through the descriptors of the others,
/// unless there is somebody else who has one of these sockets: most often a program that one of us has started.
pub(crate) fn stranger(address: &Address, hive: &HashSet<u32>) -> Option<Holder> {
    let mut sockets = listening_inodes(address);
    let own = std::process::id();
    let others = pids().filter(|pid| *pid != own && !hive.contains(pid));
    let suspects: Vec<u32> = others.filter(|pid| holds(*pid, &sockets)).collect();
    if suspects.is_empty() {
        return None;
    }
    for pid in hive.iter().chain([&own]) {
        for inode in inodes_of(*pid) {
            sockets.remove(&inode);
        }
    }
    suspects
        .into_iter()
        .find(|pid| holds(*pid, &sockets))
        .map(|pid| Holder::Other {
            pid,
            name: name(pid),
        })
}

fn pids() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

fn holds(pid: u32, sockets: &HashSet<u64>) -> bool {
    inodes_of(pid).any(|inode| sockets.contains(&inode))
}

fn inodes_of(pid: u32) -> impl Iterator<Item = u64> {
    fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let target = fs::read_link(entry.ok()?.path()).ok()?;
            let inode = target
                .to_str()?
                .strip_prefix("socket:[")?
                .strip_suffix(']')?;
            inode.parse().ok()
        })
}

fn name(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm"))
        .map_or_else(|_| "unknown".to_owned(), |name| name.trim_end().to_owned())
}

/// The inodes of the sockets that listen at `address`, or at one that includes it or is included by it.
fn listening_inodes(address: &Address) -> HashSet<u64> {
    let mut found = HashSet::new();
    match address {
        Address::Tcp(wanted) => {
            for file in ["/proc/net/tcp", "/proc/net/tcp6"] {
                let Ok(table) = fs::File::open(file) else {
                    continue;
                };
                // The sockets that listen come first. Behind them may be any number of connections.
                let rows = BufReader::new(table).lines().skip(1);
                let rows = rows.map_while(|line| tcp_row(&line.ok()?));
                found.extend(
                    rows.filter_map(|(local, inode)| collides(local, *wanted).then_some(inode)),
                );
            }
        }
        Address::Unix(wanted) => {
            let table = fs::read_to_string("/proc/net/unix").unwrap_or_default();
            let wanted = wanted.to_string_lossy();
            // Num RefCount Protocol Flags Type St Inode Path
            found.extend(table.lines().filter_map(|line| {
                let mut fields = line.split_ascii_whitespace();
                let inode: u64 = fields.nth(6)?.parse().ok()?;
                (fields.next()? == wanted).then_some(inode)
            }));
        }
    }
    found
}

/// Local address and inode of a row of `/proc/net/tcp` that listens (state 0A).
fn tcp_row(line: &str) -> Option<(SocketAddr, u64)> {
    let mut fields = line.split_ascii_whitespace();
    let local = fields.nth(1)?;
    let (_remote, state) = (fields.next()?, fields.next()?);
    if state != "0A" {
        return None;
    }
    let inode = fields.nth(5)?.parse().ok()?;
    let (ip, port) = local.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    Some((SocketAddr::new(hex_ip(ip)?, port), inode))
}

/// The kernel prints addresses as 32-bit words in the byte order of the machine.
fn hex_ip(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let word = u32::from_str_radix(hex.get(at * 8..at * 8 + 8)?, 16).ok()?;
        Some(word.to_ne_bytes())
    };
    match hex.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let mut bytes = [0; 16];
            for (at, chunk) in bytes.chunks_exact_mut(4).enumerate() {
                chunk.copy_from_slice(&word(at)?);
            }
            Some(Ipv6Addr::from(bytes).into())
        }
        _ => None,
    }
}

fn collides(one: SocketAddr, other: SocketAddr) -> bool {
    let (a, b) = (one.ip().to_canonical(), other.ip().to_canonical());
    one.port() == other.port() && (a == b || a.is_unspecified() || b.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_the_kernels_table_is_read() {
        let line = "   1: 0100007F:162E 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 21567 1 0000000000000000 100 0 0 10 0";
        let (address, inode) = tcp_row(line).expect("a listening row");
        assert_eq!(address.port(), 0x162e);
        if cfg!(target_endian = "little") {
            assert_eq!(address.ip(), Ipv4Addr::LOCALHOST);
        }
        assert_eq!(inode, 21567);
        assert_eq!(tcp_row(&line.replace(" 0A ", " 01 ")), None);
        assert_eq!(tcp_row("  sl  local_address rem_address   st"), None);
    }

    #[test]
    fn this_process_is_found_by_another_look_at_the_same_tables() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = Address::Tcp(listener.local_addr().expect("bound"));
        let sockets = listening_inodes(&address);
        assert!(holds(std::process::id(), &sockets));
        assert_eq!(holder(&address, |_| None), None, "itself is not reported");
        drop(listener);
        assert!(listening_inodes(&address).is_empty());
    }

    #[test]
    fn a_wildcard_collides_with_every_address_of_its_port() {
        let at = |text: &str| text.parse::<SocketAddr>().expect("an address");
        assert!(collides(at("0.0.0.0:80"), at("127.0.0.1:80")));
        assert!(collides(at("[::]:80"), at("127.0.0.1:80")));
        assert!(!collides(at("127.0.0.2:80"), at("127.0.0.1:80")));
        assert!(!collides(at("0.0.0.0:81"), at("127.0.0.1:80")));
    }
}
