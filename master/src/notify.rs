//! What a hive tells the service manager that has started it, systemd above all: `sd_notify(3)`.
//!
//! Nothing here waits: a manager that does not read is told later what matters, and the rest not at all.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

use crate::exec::Image;
use crate::master::{Master, Mood, Timer};
use crate::slot::{Phase, processes};

/// Where the manager listens.
const SOCKET: &str = "NOTIFY_SOCKET";
/// How often it wants to hear that the hive lives, in microseconds, and of whom.
const WATCHDOG_USEC: &str = "WATCHDOG_USEC";
const WATCHDOG_PID: &str = "WATCHDOG_PID";

/// How soon a manager that did not read is told again.
const AGAIN: Duration = Duration::from_millis(100);

/// Most notices that wait for that.
const MAX_UNSENT: usize = 16;

/// Tells the manager, if there is one.
#[derive(Debug, Default)]
pub(crate) struct Notifier(Option<Manager>);

#[derive(Debug)]
struct Manager {
    socket: UnixDatagram,
    address: SocketAddr,
    /// The address as it was given.
    name: OsString,
    /// How long it waits for a sign of life before it ends the hive.
    watchdog: Option<Duration>,
    unsent: VecDeque<String>,
    /// True while a timer for those is set.
    again: bool,
    /// What it was told last about how things are.
    status: String,
    /// True once another master speaks for the hive.
    retired: bool,
}

impl Notifier {
    /// The manager that the environment names.
    pub(crate) fn from_env() -> Self {
        let [socket, usec, pid] = [SOCKET, WATCHDOG_USEC, WATCHDOG_PID].map(std::env::var_os);
        let manager = socket.filter(|name| !name.is_empty()).and_then(|name| {
            let manager = Manager::new(&name, watchdog(usec.as_deref(), pid.as_deref()));
            manager
                .inspect_err(|error| {
                    log::warn!(
                        "the service manager cannot be told anything: {SOCKET}={}: {error}",
                        name.display()
                    );
                })
                .ok()
        });
        Self(manager)
    }

    /// The hive is ready, and this is its master: for the manager, the process that was started may have been another.
    fn ready(&mut self, status: &str) {
        let pid = std::process::id();
        self.tell(format!("READY=1\nMAINPID={pid}\nSTATUS={status}"));
    }

    /// A reload begins. systemd compares the time with that of its own request.
    pub(crate) fn reloading(&mut self) {
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
        self.tell(format!(
            "RELOADING=1\nMONOTONIC_USEC={}\nSTATUS=reloading",
            now.as_micros()
        ));
    }

    /// It is over, well or not: the hive serves.
    pub(crate) fn reloaded(&mut self, how: &str) {
        self.tell(format!("READY=1\nSTATUS=reload: {}", one_line(how)));
    }

    /// The hive ends, and that may take so long.
    fn stopping(&mut self, within: Duration) {
        self.tell(format!(
            "STOPPING=1\nEXTEND_TIMEOUT_USEC={}\nSTATUS=stopping",
            within.as_micros()
        ));
    }

    /// Another process is the master from now on, and speaks for the hive.
    pub(crate) fn main_pid(&mut self, pid: Pid) {
        self.tell(format!("MAINPID={pid}"));
        if let Some(manager) = &mut self.0 {
            manager.retired = true;
        }
    }

    /// What that process is to find in its environment.
    pub(crate) fn pass_on(&self, image: &mut Image) {
        let Some(manager) = &self.0 else {
            return;
        };
        image.set(SOCKET, &manager.name);
        if let Some(within) = manager.watchdog {
            image.set(WATCHDOG_USEC, within.as_micros().to_string());
            image.set_pid(WATCHDOG_PID);
        }
    }

    fn tell(&mut self, text: String) {
        if let Some(manager) = self.0.as_mut().filter(|manager| !manager.retired) {
            manager.tell(text);
        }
    }
}

impl Manager {
    fn new(name: &OsStr, watchdog: Option<Duration>) -> io::Result<Self> {
        let address = match name.as_bytes() {
            // An abstract name: no file (unix(7)).
            [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest)?,
            [b'/', ..] => SocketAddr::from_pathname(name)?,
            _ => return Err(io::Error::other("it is neither a path nor begins with @")),
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            address,
            name: name.to_owned(),
            watchdog,
            unsent: VecDeque::new(),
            again: false,
            status: String::new(),
            retired: false,
        })
    }

    /// Something that must arrive, and in this order.
    fn tell(&mut self, text: String) {
        if self.unsent.len() == MAX_UNSENT {
            self.unsent.pop_front();
        }
        self.unsent.push_back(text);
        self.send_unsent();
    }

    fn send_unsent(&mut self) {
        while let Some(text) = self.unsent.front() {
            match self.send(text) {
                Err(error) if is_full(&error) => return,
                Err(error) => log::debug!("the service manager cannot be told: {error}"),
                Ok(()) => {}
            }
            self.unsent.pop_front();
        }
    }

    fn send(&self, text: &str) -> io::Result<()> {
        // To the address each time: a manager that has restarted listens at a new socket there.
        self.socket.send_to_addr(text.as_bytes(), &self.address)?;
        Ok(())
    }
}

fn is_full(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock || error.raw_os_error() == Some(libc::ENOBUFS)
}

/// What the manager would show on another line could be taken for another notice.
fn one_line(text: &str) -> String {
    text.replace(|c: char| c.is_control(), " ")
}

/// How long the manager waits for a sign of life, if it does, and if it waits for this process.
fn watchdog(usec: Option<&OsStr>, pid: Option<&OsStr>) -> Option<Duration> {
    let number = |text: &OsStr| text.to_str()?.parse::<u64>().ok();
    let usec = usec.and_then(number).filter(|usec| *usec > 0)?;
    match pid {
        Some(pid) if number(pid) != Some(u64::from(std::process::id())) => None,
        _ => Some(Duration::from_micros(usec)),
    }
}

impl Master {
    pub(crate) fn tell_ready(&mut self) {
        let status = self.status_line();
        self.notifier.ready(&status);
    }

    /// The hive stops. A new master that could not start says it to the old one alone.
    pub(crate) fn tell_stopping(&mut self) {
        if !self.is_heir() {
            let within = self.longest_stop();
            self.notifier.stopping(within);
        }
    }

    /// At the end of each turn: how many processes are ready, if that has changed.
    pub(crate) fn tell_manager(&mut self) {
        if self.notifier.0.is_none() || self.is_heir() {
            return;
        }
        let status = self.status_line();
        let Some(manager) = &mut self.notifier.0 else {
            return;
        };
        manager.send_unsent();
        if manager.unsent.is_empty() {
            if manager.status != status && !manager.retired {
                // One that is lost is followed by others.
                let _ = manager.send(&format!("STATUS={status}"));
                manager.status = status;
            }
        } else if !manager.again {
            manager.again = true;
            self.timers.at(Instant::now() + AGAIN, Timer::Notify);
        }
    }

    /// What was not sent is tried again at the end of this turn.
    pub(crate) fn on_notify_timer(&mut self) {
        if let Some(manager) = &mut self.notifier.0 {
            manager.again = false;
        }
    }

    /// Sets the timer for the next sign of life, twice in the time that the manager waits. It comes from the loop
    /// itself: one that is stuck gives none.
    pub(crate) fn ping_later(&mut self) {
        let watchdog = self
            .notifier
            .0
            .as_ref()
            .and_then(|manager| manager.watchdog);
        if let Some(within) = watchdog {
            self.timers.at(Instant::now() + within / 2, Timer::Ping);
        }
    }

    pub(crate) fn ping(&mut self) {
        let heir = self.is_heir();
        if let Some(manager) = &self.notifier.0
            && !heir
            && !manager.retired
        {
            // One that is not taken is followed by another.
            let _ = manager.send("WATCHDOG=1");
        }
        self.ping_later();
    }

    fn status_line(&self) -> String {
        let workers = self.processes.values();
        let workers = workers.filter(|process| !self.is_router(process.slot));
        let ready = workers
            .filter(|process| process.phase == Phase::Ready)
            .count();
        let groups = self.groups.iter().enumerate();
        let wanted: usize = groups
            .filter(|(group, _)| self.routing.group() != Some(*group))
            .map(|(_, running)| usize::from(running.definition.count))
            .sum();
        match &self.mood {
            Mood::Stopping { .. } => format!("stopping, {} left", processes(self.workers())),
            _ => format!("{ready} of {} ready", processes(wanted)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 1024];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    #[test]
    fn the_watchdog_is_for_the_process_that_it_names() {
        let own = std::process::id().to_string();
        let of =
            |usec: &str, pid: Option<&str>| watchdog(Some(OsStr::new(usec)), pid.map(OsStr::new));
        assert_eq!(of("3000000", Some(&own)), Some(Duration::from_secs(3)));
        assert_eq!(of("3000000", None), Some(Duration::from_secs(3)));
        assert_eq!(of("3000000", Some("1")), None);
        assert_eq!(of("3000000", Some("x")), None);
        assert_eq!(of("0", None), None);
        assert_eq!(of("-1", None), None);
        assert_eq!(watchdog(None, Some(OsStr::new(&own))), None);
    }

    #[test]
    fn a_manager_that_does_not_read_is_told_later_and_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let there = UnixDatagram::bind(&path).unwrap();
        let mut manager = Manager::new(path.as_os_str(), None).unwrap();
        let mut filled = 0;
        while manager.send("STATUS=filler").is_ok() {
            filled += 1;
        }
        manager.tell("RELOADING=1".to_owned());
        manager.tell("READY=1".to_owned());
        assert_eq!(manager.unsent.len(), 2);
        for _ in 0..filled {
            assert_eq!(received(&there), "STATUS=filler");
        }
        manager.send_unsent();
        assert!(manager.unsent.is_empty());
        assert_eq!(received(&there), "RELOADING=1");
        assert_eq!(received(&there), "READY=1");
    }

    #[test]
    fn a_manager_that_is_gone_is_not_waited_for() {
        let mut manager = Manager::new(OsStr::new("/no/such/socket"), None).unwrap();
        manager.tell("READY=1".to_owned());
        assert!(manager.unsent.is_empty());
        assert!(Manager::new(OsStr::new("vsock:2:1"), None).is_err());
    }

    #[test]
    fn a_status_is_one_line() {
        assert_eq!(one_line("no\nREADY=1"), "no READY=1");
    }
}
