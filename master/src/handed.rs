//! What a master was handed by whoever started it: listening sockets by systemd, or by the master whose place it is to
//! take everything that outlives a master.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::PathBuf;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{SockaddrLike, SockaddrStorage, UnixAddr, getsockname, getsockopt, sockopt};
use serde::{Deserialize, Serialize};
use workhive_ipc::{NewEnd, ToPredecessor};
use workhive_worker::Address;

use crate::bound::{Bound, SocketFile};
use crate::exec::{FIRST_FD, Image};
use crate::kept::Opened;
use crate::{bound, exec, seated, sys};

/// The variable with the descriptor of what the predecessor has written down. [`seated::PID`] says whom it is for.
pub(crate) const STATE: &str = "WORKHIVE_SUCCESSION";

/// Most of it that is read, in bytes.
const MAX_STATE: u64 = 16 << 20;

/// What a predecessor hands over, in writing. Descriptors are numbers in the process that reads it.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Written {
    pub(crate) pid: u32,
    /// The hive's number in routing, and the next one of a process.
    pub(crate) epoch: u32,
    pub(crate) next_id: usize,
    /// True if the old master has a router, which is that of both as long as it lives.
    pub(crate) router: bool,
    /// Where the pid file is.
    pub(crate) path: PathBuf,
    /// The soft limit of descriptors that the first master was started with.
    pub(crate) descriptors: Option<u64>,
    pub(crate) counts: Vec<WrittenCount>,
    pub(crate) link: RawFd,
    pub(crate) pid_file: RawFd,
    pub(crate) control: RawFd,
    pub(crate) push: Option<RawFd>,
    pub(crate) groups: Vec<WrittenSocket>,
    pub(crate) shared: Vec<WrittenShared>,
    pub(crate) kept: Vec<WrittenKept>,
}

/// How many processes a group has, and was started with; and what is known of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WrittenCount {
    pub(crate) group: String,
    pub(crate) configured: u16,
    pub(crate) count: u16,
    /// Its program has said that it is ready.
    pub(crate) notifies: bool,
}

/// A group's listening socket; those of one address in the order in which they began to listen.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WrittenSocket {
    pub(crate) group: String,
    /// As it was asked for, and where it really is.
    pub(crate) asked: String,
    pub(crate) address: String,
    pub(crate) reuse_port: bool,
    pub(crate) file: Option<SocketFile>,
    pub(crate) fd: RawFd,
}

/// A socket that processes share by request.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WrittenShared {
    pub(crate) asked: String,
    pub(crate) address: String,
    pub(crate) said: Option<(String, Opened)>,
    pub(crate) file: Option<SocketFile>,
    pub(crate) fd: RawFd,
}

/// A socket that a process of a slot has opened.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WrittenKept {
    pub(crate) group: String,
    pub(crate) slot: u16,
    pub(crate) asked: String,
    pub(crate) opened: Opened,
    pub(crate) file: Option<SocketFile>,
    pub(crate) fd: RawFd,
}

impl Written {
    /// Puts it where the new process finds it.
    pub(crate) fn give_to(&self, image: &mut Image) -> io::Result<()> {
        // Memory without a name: an environment variable would be too short for a thousand sockets.
        let memory = memfd_create("workhive-succession", MFdFlags::MFD_CLOEXEC)?;
        let mut file = File::from(memory);
        file.write_all(&serde_json::to_vec(self)?)?;
        let fd = image.give(file);
        image.set(STATE, fd.to_string());
        image.set_pid(seated::PID);
        Ok(())
    }

    fn read(fd: OwnedFd) -> io::Result<Self> {
        use std::io::Seek;
        let mut file = File::from(fd);
        file.rewind()?;
        let mut text = Vec::new();
        file.take(MAX_STATE).read_to_end(&mut text)?;
        Ok(serde_json::from_slice(&text)?)
    }
}

/// A listening socket that nobody has claimed yet.
#[derive(Debug)]
struct Unclaimed {
    /// The group that it belonged to, and how the address was asked for there; none for systemd's.
    asked: Option<(String, Address)>,
    reuse_port: bool,
    bound: Bound,
}

/// A shared socket of the predecessor.
#[derive(Debug)]
pub(crate) struct HandedShared {
    pub(crate) asked: Address,
    pub(crate) address: Address,
    pub(crate) said: Option<(String, Opened)>,
    pub(crate) file: Option<SocketFile>,
    pub(crate) socket: OwnedFd,
}

/// A kept socket of the predecessor.
#[derive(Debug)]
pub(crate) struct HandedKept {
    pub(crate) group: String,
    pub(crate) slot: u16,
    pub(crate) asked: String,
    pub(crate) opened: Opened,
    pub(crate) file: Option<SocketFile>,
    pub(crate) socket: OwnedFd,
}

/// What a predecessor has handed over.
#[derive(Debug)]
pub(crate) struct Estate {
    pub(crate) pid: u32,
    pub(crate) epoch: u32,
    pub(crate) next_id: usize,
    pub(crate) router: bool,
    pub(crate) path: PathBuf,
    pub(crate) descriptors: Option<u64>,
    counts: Vec<WrittenCount>,
    pub(crate) link: NewEnd,
    pub(crate) pid_file: OwnedFd,
    pub(crate) control: OwnedFd,
    pub(crate) push: Option<OwnedFd>,
    pub(crate) shared: Vec<HandedShared>,
    pub(crate) kept: Vec<HandedKept>,
}

impl Estate {
    /// How many processes a group of `configured` is to have: as many as it was scaled to, unless it is to have another
    /// number now than it was started with.
    pub(crate) fn count(&self, group: &str, configured: u16) -> u16 {
        let mut counts = self.counts.iter();
        let found = counts.find(|count| count.group == group && count.configured == configured);
        found.map_or(configured, |count| count.count)
    }

    /// True if the program of a group is known to say when it is ready.
    pub(crate) fn notifies(&self, group: &str) -> bool {
        let mut counts = self.counts.iter();
        counts.any(|count| count.group == group && count.notifies)
    }
}

/// This process cannot even read its command line: if it was to take another master's place, that one is to know why.
pub(crate) fn refuse(reason: &str) {
    let fd = exec::addressed(STATE).and_then(|fd| fd.parse().ok());
    let written = fd.map(|fd| Written::read(sys::take_over(fd)?));
    if let Some(Ok(written)) = written
        && let Ok(link) = sys::take_over(written.link)
    {
        // If it cannot be told, it sees the end.
        let _ = NewEnd::from(link).send(&ToPredecessor::failed(reason), None);
    }
}

/// All that this process was handed.
#[derive(Debug, Default)]
pub(crate) struct Handed {
    sockets: Vec<Unclaimed>,
    pub(crate) estate: Option<Estate>,
}

impl Handed {
    /// Takes what there is. To be called once, before any descriptor is made: the numbers in the environment are those of
    /// the beginning.
    pub(crate) fn take() -> io::Result<Self> {
        let mut handed = Self::default();
        let is_own = |name: &str| {
            let pid = std::env::var(name).ok();
            pid.and_then(|pid| pid.parse().ok()) == Some(std::process::id())
        };
        if let Some(fd) = exec::addressed(STATE).and_then(|fd| fd.parse().ok()) {
            handed.take_estate(Written::read(sys::take_over(fd)?)?)?;
        } else if is_own("LISTEN_PID")
            && let Some(count) = exec::once("LISTEN_FDS").and_then(|count| count.parse().ok())
        {
            handed.take_activated(count);
        }
        Ok(handed)
    }

    fn take_estate(&mut self, written: Written) -> io::Result<()> {
        let own = sys::take_over;
        for socket in written.groups {
            self.sockets.push(Unclaimed {
                asked: Some((socket.group, bound::parse(&socket.asked)?)),
                reuse_port: socket.reuse_port,
                bound: Bound::handed(own(socket.fd)?, bound::parse(&socket.address)?, socket.file),
            });
        }
        let shared = written.shared.into_iter().map(|shared| {
            Ok(HandedShared {
                asked: bound::parse(&shared.asked)?,
                address: bound::parse(&shared.address)?,
                said: shared.said,
                file: shared.file,
                socket: own(shared.fd)?,
            })
        });
        let kept = written.kept.into_iter().map(|kept| {
            Ok(HandedKept {
                group: kept.group,
                slot: kept.slot,
                asked: kept.asked,
                opened: kept.opened,
                file: kept.file,
                socket: own(kept.fd)?,
            })
        });
        self.estate = Some(Estate {
            pid: written.pid,
            epoch: written.epoch,
            next_id: written.next_id,
            router: written.router,
            path: written.path,
            descriptors: written.descriptors,
            counts: written.counts,
            link: NewEnd::from(own(written.link)?),
            pid_file: own(written.pid_file)?,
            control: own(written.control)?,
            push: written.push.map(own).transpose()?,
            shared: shared.collect::<io::Result<_>>()?,
            kept: kept.collect::<io::Result<_>>()?,
        });
        Ok(())
    }

    /// Sockets of systemd, `sd_listen_fds(3)`: those that are of no use are let go of, and named when there is a log.
    fn take_activated(&mut self, count: RawFd) {
        for fd in FIRST_FD..FIRST_FD.saturating_add(count.clamp(0, 4096)) {
            let Ok(socket) = sys::take_over(fd) else {
                continue;
            };
            let listens = getsockopt(&socket, sockopt::AcceptConn) == Ok(true);
            if let Some(address) = address_of(socket.as_fd()).filter(|_| listens) {
                // systemd hands over sockets that wait, unless it is told otherwise (systemd.socket(5), NonBlocking=).
                // A socket has no other flag that could be lost here.
                let set = fcntl(
                    &socket,
                    FcntlArg::F_SETFL(OFlag::O_RDWR | OFlag::O_NONBLOCK),
                );
                if set.is_err() {
                    continue;
                }
                let reuse_port = getsockopt(&socket, sockopt::ReusePort) == Ok(true);
                self.sockets.push(Unclaimed {
                    asked: None,
                    reuse_port,
                    bound: Bound::handed(socket, address, None),
                });
            }
        }
    }

    /// The sockets for a group's listener at an address, in their order.
    pub(crate) fn claim(&mut self, group: &str, address: &Address, reuse_port: bool) -> Vec<Bound> {
        let fits = |socket: &Unclaimed| {
            let asked = socket.asked.as_ref();
            let same = asked.is_some_and(|(of, asked)| of == group && asked == address);
            (same || socket.bound.address == *address) && socket.reuse_port == reuse_port
        };
        let claimed = self.sockets.extract_if(.., |socket| fits(socket));
        claimed.map(|socket| socket.bound).collect()
    }

    /// Hands what was handed to this process by its starter on to one that is to be in its place. To be called before the
    /// image is given anything else.
    pub(crate) fn pass_on(&self, image: &mut Image) -> io::Result<()> {
        if self.sockets.is_empty() {
            return Ok(());
        }
        for socket in &self.sockets {
            image.give(socket.bound.socket.try_clone()?);
        }
        image.set("LISTEN_FDS", self.sockets.len().to_string());
        image.set_pid("LISTEN_PID");
        Ok(())
    }

    /// Where sockets are that nobody has claimed. They are closed with this.
    pub(crate) fn unclaimed(&self) -> impl Iterator<Item = &Address> {
        self.sockets.iter().map(|socket| &socket.bound.address)
    }
}

/// Where a listening socket is; none for kinds that nobody here serves.
fn address_of(socket: BorrowedFd<'_>) -> Option<Address> {
    let name = getsockname::<SockaddrStorage>(socket.as_raw_fd()).ok()?;
    if let Some(v4) = name.as_sockaddr_in() {
        return Some(Address::Tcp(SocketAddr::V4((*v4).into())));
    }
    if let Some(v6) = name.as_sockaddr_in6() {
        return Some(Address::Tcp(SocketAddr::V6((*v6).into())));
    }
    if name.family() != Some(nix::sys::socket::AddressFamily::Unix) {
        return None;
    }
    let name = getsockname::<UnixAddr>(socket.as_raw_fd()).ok()?;
    name.path().map(|path| Address::Unix(PathBuf::from(path)))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn unclaimed(group: Option<(&str, &str)>, reuse_port: bool) -> Unclaimed {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let there = Address::Tcp(listener.local_addr().unwrap());
        Unclaimed {
            asked: group.map(|(group, asked)| (group.to_owned(), asked.parse().unwrap())),
            reuse_port,
            bound: Bound::handed(listener.into(), there, None),
        }
    }

    #[test]
    fn a_group_gets_its_own_sockets_in_their_order_and_no_others() {
        let any: Address = "127.0.0.1:0".parse().unwrap();
        let all = [
            unclaimed(Some(("a", "127.0.0.1:0")), true),
            unclaimed(Some(("b", "127.0.0.1:0")), true),
            unclaimed(Some(("a", "127.0.0.1:0")), true),
        ];
        let there: Vec<_> = all
            .iter()
            .map(|socket| socket.bound.address.clone())
            .collect();
        let mut handed = Handed {
            sockets: all.into(),
            estate: None,
        };
        assert!(handed.claim("a", &any, false).is_empty());
        let claimed = handed.claim("a", &any, true);
        let claimed: Vec<_> = claimed
            .into_iter()
            .map(|bound| bound.address.clone())
            .collect();
        assert_eq!(claimed, [there[0].clone(), there[2].clone()]);
        assert_eq!(handed.unclaimed().collect::<Vec<_>>(), [&there[1]]);
    }

    #[test]
    fn a_socket_without_a_group_goes_to_whoever_listens_there() {
        let socket = unclaimed(None, false);
        let address = socket.bound.address.clone();
        let mut handed = Handed {
            sockets: vec![socket],
            estate: None,
        };
        assert_eq!(handed.claim("a", &address, false).len(), 1);
        assert!(handed.claim("a", &address, false).is_empty());
    }

    #[test]
    fn the_address_of_a_socket_is_read_from_it() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let there = Address::Tcp(listener.local_addr().unwrap());
        assert_eq!(address_of(listener.as_fd()), Some(there));
        let file = File::open("/dev/null").unwrap();
        assert_eq!(address_of(file.as_fd()), None);
    }
}
