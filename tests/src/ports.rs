//! Ports that no other test has.
//!
//! The programs under test need their ports on the command line, so port 0 does not do. Ports are taken from a range
//! below the ephemeral one, so that no outgoing connection can have them, and each is reserved by a locked file for as
//! long as the test runs: other test programs on this machine, and other threads of this one, pass it over.

use std::fs::{File, OpenOptions};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

const FIRST: u16 = 12_000;
const COUNT: u16 = 8_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A TCP port of 127.0.0.1 that belongs to one test until this is dropped.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _lock: File,
}

impl Port {
    /// Reserves a port on which nobody listens.
    ///
    /// # Panics
    /// If all are taken, or the directory of the locks cannot be used.
    pub fn reserve() -> Self {
        // A user's own: what root has made, nobody else could write to.
        let name = format!("workhive-test-ports-{}", nix::unistd::getuid());
        let directory = std::env::temp_dir().join(name);
        match std::fs::create_dir(&directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                panic!("{}: {error}", directory.display())
            }
            _ => {}
        }
        // Test programs that run side by side start their search at different places.
        let start = std::process::id().wrapping_mul(97);
        for _ in 0..COUNT {
            let step = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
            let offset = start.wrapping_add(step) % u32::from(COUNT);
            let number = FIRST + u16::try_from(offset).expect("less than COUNT");
            let path = directory.join(number.to_string());
            let lock = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            if lock.try_lock().is_ok() && TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok() {
                return Self {
                    number,
                    _lock: lock,
                };
            }
        }
        panic!("no port is free from {FIRST} on");
    }

    /// Its number.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// `127.0.0.1` with this port.
    pub fn addr(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.number).into()
    }
}

impl std::fmt::Display for Port {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.addr().fmt(f)
    }
}
