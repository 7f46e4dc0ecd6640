//! The listeners that are open in this process, and accepting from them.

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::{Duration, Instant};

use mio::Token;
use slab::Slab;
use workhive_ipc::ToMaster;
use workhive_protocols::Protocol;

use crate::core::{Core, with};
use crate::entry::{Entry, Key, Peer};
use crate::error::ListenError;
use crate::holder::{Holder, holder, stranger};
use crate::listener::{AnyPlan, Listener, Sharing};
use crate::seat::Inherited;
use crate::sys::{unwatch, watch};
use crate::{Address, bind};

/// Tokens of listeners have this bit; tokens of connections never do.
pub(crate) const LISTENER: usize = 1 << 63;

/// A shared socket is taken out of epoll and put back after so many accepted connections: that moves this process
/// to the end of the kernel's queue of waiters, which otherwise wakes the same one again and again.
const REARM_EVERY: u32 = 16;

/// Connections accepted per event; a busy process leaves the rest to its siblings, or to its next turn.
const BUDGET_SHARED: u32 = 4;
const BUDGET_OWN: u32 = 32;

/// How long accepting rests when the process has no descriptors left.
const REST: Duration = Duration::from_millis(100);

enum Acceptor {
    Tcp(mio::net::TcpListener),
    Unix(mio::net::UnixListener),
}

impl Acceptor {
    fn new(socket: OwnedFd, address: &Address) -> Self {
        match address {
            Address::Tcp(_) => Self::Tcp(mio::net::TcpListener::from_std(socket.into())),
            Address::Unix(_) => Self::Unix(mio::net::UnixListener::from_std(socket.into())),
        }
    }

    fn accept(&self) -> io::Result<(OwnedFd, Peer)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept()?;
                let stream = std::net::TcpStream::from(stream);
                Ok((stream.into(), Peer::Tcp(peer)))
            }
            Self::Unix(listener) => {
                let (stream, peer) = listener.accept()?;
                let path = peer.as_pathname().map(std::path::Path::to_path_buf);
                let stream = std::os::unix::net::UnixStream::from(stream);
                Ok((stream.into(), Peer::Unix(path)))
            }
        }
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener) => listener.as_fd(),
        }
    }

    /// The real address: port 0 has become another one.
    fn local(&self, configured: &Address) -> Address {
        match self {
            Self::Tcp(listener) => listener
                .local_addr()
                .map_or_else(|_| configured.clone(), Address::Tcp),
            Self::Unix(_) => configured.clone(),
        }
    }
}

struct Open {
    acceptor: Acceptor,
    /// As it was asked for, and as it is.
    configured: Address,
    local: Address,
    plan: Rc<dyn AnyPlan>,
    /// Other processes accept from the same socket.
    exclusive: bool,
    paused: bool,
    /// In epoll.
    watched: bool,
    since_rearm: u32,
    retry_at: Option<Instant>,
    /// The socket of another process, which is down or stuck; with the number under which the master lent it.
    lent: Option<u32>,
}

/// All open listeners.
pub(crate) struct Listening {
    open: Slab<Open>,
}

impl Listening {
    pub(crate) fn new() -> Self {
        Self { open: Slab::new() }
    }

    pub(crate) fn addresses(&self) -> Vec<Address> {
        self.open
            .iter()
            .filter(|(_, open)| open.lent.is_none())
            .map(|(_, open)| open.local.clone())
            .collect()
    }

    /// When the first listener that rests may accept again.
    pub(crate) fn next_retry(&self) -> Option<Instant> {
        self.open.iter().filter_map(|(_, open)| open.retry_at).min()
    }

    fn find(&self, address: &Address) -> Option<usize> {
        self.open
            .iter()
            .filter(|(_, open)| open.lent.is_none())
            .find(|(_, open)| open.configured == *address || open.local == *address)
            .map(|(index, _)| index)
    }

    /// The sockets lent for a listener.
    fn lent(&self, configured: &Address) -> Vec<usize> {
        let lent = self.open.iter().filter(|(_, open)| open.lent.is_some());
        lent.filter(|(_, open)| open.configured == *configured)
            .map(|(index, _)| index)
            .collect()
    }
}

impl Core {
    /// Puts a listening socket to work.
    pub(crate) fn add_listener(
        &mut self,
        listener: Inherited,
        plan: Rc<dyn AnyPlan>,
    ) -> io::Result<()> {
        let acceptor = Acceptor::new(listener.socket, &listener.address);
        let local = acceptor.local(&listener.address);
        let index = self.listening.open.insert(Open {
            acceptor,
            configured: listener.address,
            local,
            plan,
            exclusive: listener.shared,
            paused: false,
            watched: false,
            since_rearm: 0,
            retry_at: None,
            lent: None,
        });
        let result = self.watch_listener(index);
        if result.is_err() {
            self.listening.open.remove(index);
        }
        result
    }

    /// Accepts from another process's socket too, with the plan of the listener at the same address.
    fn borrow_socket(&mut self, id: u32, address: &str, socket: OwnedFd) -> io::Result<()> {
        let found = Address::parse(address).ok();
        let found = found.and_then(|(_, address)| self.listening.find(&address));
        let Some(own) = found.and_then(|index| self.listening.open.get(index)) else {
            log::debug!("nothing listens at {address} here: its queue is left to others");
            return Ok(());
        };
        let open = Open {
            acceptor: Acceptor::new(socket, &own.configured),
            configured: own.configured.clone(),
            local: own.local.clone(),
            plan: Rc::clone(&own.plan),
            exclusive: false,
            paused: own.paused,
            watched: false,
            since_rearm: 0,
            retry_at: None,
            lent: Some(id),
        };
        let index = self.listening.open.insert(open);
        let result = self.watch_listener(index);
        if result.is_err() {
            self.listening.open.remove(index);
        }
        result
    }

    fn watch_listener(&mut self, index: usize) -> io::Result<()> {
        let Some(open) = self.listening.open.get_mut(index) else {
            return Ok(());
        };
        open.retry_at = None;
        if open.watched || open.paused {
            return Ok(());
        }
        // Taken back below: without it a failure would leave the process deaf for good.
        open.retry_at = Some(self.clock.now() + REST);
        watch(
            &self.registry,
            open.acceptor.as_fd(),
            Token(LISTENER | index),
            open.exclusive,
        )?;
        open.retry_at = None;
        open.watched = true;
        open.since_rearm = 0;
        Ok(())
    }

    fn unwatch_listener(&mut self, index: usize) {
        if let Some(open) = self.listening.open.get_mut(index)
            && open.watched
        {
            open.watched = false;
            if let Err(error) = unwatch(&self.registry, open.acceptor.as_fd()) {
                log::error!("{} cannot be taken out of epoll: {error}", open.local);
            }
        }
    }

    fn close_listener(&mut self, index: usize) {
        self.unwatch_listener(index);
        // The file of a Unix socket stays: the master, or the next process of this slot, may still accept there.
        self.listening.open.try_remove(index);
    }

    /// Accepts one connection from a listener. None if there is none, or accepting has to rest.
    fn accept_one(&mut self, index: usize) -> Option<(Rc<dyn AnyPlan>, OwnedFd, Peer)> {
        loop {
            let open = self.listening.open.get_mut(index)?;
            match open.acceptor.accept() {
                Ok((socket, peer)) => {
                    open.since_rearm += 1;
                    return Some((Rc::clone(&open.plan), socket, peer));
                }
                Err(error) => match error.raw_os_error() {
                    Some(libc::EAGAIN) => return None,
                    // accept(2): the peer gave up between its handshake and our accept, or the network did. Not our
                    // trouble, and each such error takes one connection out of the queue.
                    Some(
                        libc::EINTR
                        | libc::ECONNABORTED
                        | libc::EPERM
                        | libc::EPROTO
                        | libc::ENETDOWN
                        | libc::ENETUNREACH
                        | libc::ENOPROTOOPT
                        | libc::EHOSTDOWN
                        | libc::EHOSTUNREACH
                        | libc::ENONET
                        | libc::EOPNOTSUPP,
                    ) => log::debug!("{}: accept: {error}", open.local),
                    // Above all: out of descriptors or memory. Level-triggered epoll would wake us for nothing until
                    // somebody closes one.
                    _ => {
                        log::error!(
                            "{} cannot accept: {error}; trying again in {REST:?}",
                            open.local
                        );
                        open.retry_at = Some(self.clock.now() + REST);
                        self.unwatch_listener(index);
                        return None;
                    }
                },
            }
        }
    }

    /// Lets listeners that rested accept again.
    pub(crate) fn retry_listeners(&mut self) {
        let now = self.clock.now();
        let due: Vec<usize> = self
            .listening
            .open
            .iter()
            .filter(|(_, open)| open.retry_at.is_some_and(|at| at <= now))
            .map(|(index, _)| index)
            .collect();
        for index in due {
            if let Err(error) = self.watch_listener(index) {
                log::error!("a listener cannot go on: {error}");
            }
        }
    }

    /// Moves this process to the end of the queue of those who wait for a shared socket, when it is time.
    fn rearm(&mut self, index: usize) {
        let open = self.listening.open.get(index);
        if open.is_some_and(|open| open.since_rearm >= REARM_EVERY) {
            self.wait_anew(index);
        }
    }

    /// Looks at all shared sockets. Of a new connection only one of those who wait is told, and of that only once: with
    /// it a connection may be lost sight of. To begin to wait is to be told what is there.
    pub(crate) fn look_again(&mut self) {
        let open = self.listening.open.iter();
        for index in open.map(|(index, _)| index).collect::<Vec<_>>() {
            self.wait_anew(index);
        }
    }

    fn wait_anew(&mut self, index: usize) {
        let open = self.listening.open.get(index);
        if open.is_some_and(|open| open.exclusive && open.watched) {
            self.unwatch_listener(index);
            if let Err(error) = self.watch_listener(index) {
                log::error!("a listener cannot go on: {error}");
            }
        }
    }
}

/// A listening socket is ready: takes a few connections and lets each begin. `begin` is called with the core free.
pub(crate) fn accept(index: usize, begin: &mut dyn FnMut(Key)) {
    let budget = with(|core| {
        core.listening.open.get(index).map(|open| {
            if open.exclusive {
                BUDGET_SHARED
            } else {
                BUDGET_OWN
            }
        })
    })
    .flatten()
    .unwrap_or(0);
    accept_up_to(index, budget, begin);
    with(|core| core.rearm(index));
}

fn accept_up_to(index: usize, budget: u32, begin: &mut dyn FnMut(Key)) -> u32 {
    for taken in 0..budget {
        let Some(Some((plan, socket, peer))) = with(|core| core.accept_one(index)) else {
            return taken;
        };
        let now = with(|core| core.clock.now()).unwrap_or_else(Instant::now);
        let limits = plan.limits();
        // Runs the protocol's and the user's constructors, with the core free.
        let Ok((driver, encoder)) = catch_unwind(AssertUnwindSafe(|| plan.connect(now))) else {
            log::error!("a connection's data could not be made: it is closed");
            continue;
        };
        let key = with(|core| {
            core.insert(|seq, millis| {
                Entry::new(seq, socket, peer, limits, driver, encoder, millis)
            })
        });
        match key {
            Some(Ok(key)) => begin(key),
            Some(Err((error, _entry))) => log::error!("a connection cannot be watched: {error}"),
            None => return taken,
        }
    }
    budget
}

/// Stops listening for good, after what is queued has been accepted: a queue that nobody else holds dies with its
/// socket.
pub(crate) fn close_all(begin: &mut dyn FnMut(Key)) {
    let indexes: Vec<usize> =
        with(|core| core.listening.open.iter().map(|(index, _)| index).collect())
            .unwrap_or_default();
    for index in indexes {
        accept_up_to(index, crate::DEFAULT_BACKLOG, begin);
        with(|core| core.close_listener(index));
    }
}

/// Accepts from the socket of a process that is down or stuck.
pub(crate) fn accept_from(id: u32, address: &str, socket: OwnedFd) {
    match with(|core| core.borrow_socket(id, address, socket)) {
        Some(Err(error)) => {
            log::error!("cannot accept for another process at {address}: {error}");
        }
        Some(Ok(())) => log::info!("accepting for another process at {address}"),
        None => {}
    }
}

/// No longer: what is queued there is for its own process, which is back.
pub(crate) fn accept_no_more(id: u32) {
    with(|core| {
        let open = &core.listening.open;
        let found = open.iter().find(|(_, open)| open.lent == Some(id));
        if let Some(index) = found.map(|(index, _)| index) {
            core.close_listener(index);
        }
    });
}

/// Opens a listener in this process.
pub(crate) fn open<P: Protocol, S: 'static, D: 'static>(
    listener: Listener<P, S, D>,
) -> Result<(), ListenError> {
    let address = listener.parse_address()?;
    let sharing = listener.sharing;
    let backlog = listener.backlog;
    // Of several at port 0 each gets a port of its own.
    let any = matches!(address, Address::Tcp(tcp) if tcp.port() == 0);
    if !any
        && with(|core| core.listening.find(&address))
            .flatten()
            .is_some()
    {
        let pid = std::process::id();
        let reuse_port = sharing == Sharing::ReusePort;
        return Err(in_use(&address, Some(Holder::Here { pid }), reuse_port));
    }
    let (socket, is_new) = match sharing {
        Sharing::Plain | Sharing::ReusePort => {
            kept_or_bound(&address, backlog, sharing == Sharing::ReusePort)?
        }
        Sharing::Shared => {
            let asked = with(|core| core.link.shared(&address, backlog));
            let socket = asked
                .unwrap_or_else(|| Err(not_here(&address)))
                .map_err(|error| match error {
                    ListenError::Os { address, error } => bind_error(&address, error, false),
                    other => other,
                })?;
            (socket, false)
        }
    };
    let listening = ToMaster::Listening {
        address: address.to_string(),
        reuse_port: sharing == Sharing::ReusePort,
        protocol: listener.protocol().to_owned(),
    };
    with(|core| core.link.announce(&listening, is_new.then_some(&socket)));
    let plan = listener.into_plan();
    let inherited = Inherited {
        socket,
        address: address.clone(),
        shared: sharing == Sharing::Shared,
    };
    with(|core| core.add_listener(inherited, plan))
        .unwrap_or_else(|| Err(io::Error::other("this thread runs no worker loop")))
        .map_err(|error| ListenError::Os { address, error })
}

/// This slot's own socket at an address, and whether it is new: the one that its previous process had, or one of which
/// the master is then to keep a duplicate. So a replacement takes over what is queued, and finds the port free although its predecessor
/// still drains.
fn kept_or_bound(
    address: &Address,
    backlog: u32,
    reuse_port: bool,
) -> Result<(OwnedFd, bool), ListenError> {
    if reuse_port && matches!(address, Address::Unix(_)) {
        return Err(ListenError::Misuse {
            rule: "reuse_port needs TCP: Unix sockets have no SO_REUSEPORT; use shared(true)",
        });
    }
    let kept = with(|core| core.link.kept(address)).unwrap_or_else(|| Err(not_here(address)))?;
    if let Some(socket) = kept {
        return Ok((socket, false));
    }
    let socket = bind(address, reuse_port, backlog)
        .map_err(|error| bind_error(address, error, reuse_port))?;
    if reuse_port && let Some(other) = uninvited(address) {
        return Err(in_use(address, Some(other), true));
    }
    Ok((socket, true))
}

/// `SO_REUSEPORT` lets any process of the same user in. Another hive on the same port would silently take a part of
/// the connections, so look whether everybody there is one of us.
fn uninvited(address: &Address) -> Option<Holder> {
    let mut hive: HashSet<u32> = with(|core| {
        let rows = core.row.siblings();
        rows.map(|row| row.pid()).filter(|pid| *pid != 0).collect()
    })?;
    // The master keeps our sockets.
    hive.insert(nix::unistd::getppid().as_raw().cast_unsigned());
    stranger(address, &hive)
}

fn not_here(address: &Address) -> ListenError {
    ListenError::NoMaster {
        address: address.clone(),
        why: "this thread runs no worker loop".to_owned(),
    }
}

fn bind_error(address: &Address, error: io::Error, reuse_port: bool) -> ListenError {
    if error.kind() != io::ErrorKind::AddrInUse {
        return ListenError::Os {
            address: address.clone(),
            error,
        };
    }
    let found = with(|core| holder(address, |pid| core.row.find_pid(pid))).flatten();
    in_use(address, found, reuse_port)
}

fn in_use(address: &Address, holder: Option<Holder>, reuse_port: bool) -> ListenError {
    ListenError::AddressInUse {
        address: address.clone(),
        holder,
        reuse_port,
    }
}

fn lookup(text: &str) -> Result<(Address, usize), ListenError> {
    let (_, address) = Address::parse(text)?;
    match with(|core| core.listening.find(&address)).flatten() {
        Some(index) => Ok((address, index)),
        None => Err(crate::process::unknown(address)),
    }
}

/// Closes a listener; its connections stay.
pub(crate) fn close(text: &str) -> Result<(), ListenError> {
    let (_, index) = lookup(text)?;
    with(|core| {
        if let Some(open) = core.listening.open.get(index) {
            core.link.tell(&ToMaster::Unlistened {
                address: open.configured.to_string(),
            });
            if let (false, Address::Unix(path)) = (open.exclusive, &open.configured) {
                // Best effort: a file that stays is replaced by the next who binds there.
                let _ = std::fs::remove_file(path);
            }
        }
        let configured = core
            .listening
            .open
            .get(index)
            .map(|open| open.configured.clone());
        for lent in configured.map_or(Vec::new(), |address| core.listening.lent(&address)) {
            core.close_listener(lent);
        }
        core.close_listener(index);
    });
    Ok(())
}

/// Pauses or resumes accepting.
pub(crate) fn pause(text: &str, paused: bool) -> Result<(), ListenError> {
    let (address, index) = lookup(text)?;
    with(|core| {
        let configured = core
            .listening
            .open
            .get(index)
            .map(|open| open.configured.clone());
        let lent = configured.map_or(Vec::new(), |address| core.listening.lent(&address));
        std::iter::once(index).chain(lent).try_for_each(|index| {
            if let Some(open) = core.listening.open.get_mut(index) {
                open.paused = paused;
            }
            if paused {
                core.unwatch_listener(index);
                Ok(())
            } else {
                core.watch_listener(index)
            }
        })
    })
    .unwrap_or(Ok(()))
    .map_err(|error| ListenError::Os { address, error })
}
