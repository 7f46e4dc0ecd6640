//! Hives of the program `obeys`, whose processes do as their clients tell them.

use std::path::PathBuf;

use crate::text::TextClient;
use crate::{Hive, Port, Setup, eventually};

/// A hive of `obeys`.
#[derive(Debug)]
pub struct Obeys {
    /// The hive.
    pub hive: Hive,
    /// Where its processes listen.
    pub port: Port,
    fail: PathBuf,
}

/// Which process has answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Who {
    /// Its slot.
    pub slot: usize,
    /// How often the slot had been filled before.
    pub generation: u32,
    /// Its pid.
    pub pid: u32,
}

impl Who {
    /// What an answer of `obeys` says.
    pub fn said(answer: &str) -> Option<Self> {
        let mut words = answer.split_ascii_whitespace();
        Some(Self {
            slot: words.next()?.parse().ok()?,
            generation: words.next()?.parse().ok()?,
            pid: words.next()?.parse().ok()?,
        })
    }

    /// Which process a client is connected to.
    ///
    /// # Panics
    /// If it does not answer.
    #[track_caller]
    pub fn serves(client: &mut TextClient) -> Self {
        let answer = client.ask("who");
        Self::said(&answer).unwrap_or_else(|| panic!("not an answer of obeys: {answer}"))
    }
}

impl Obeys {
    /// Starts a hive; `path` is that of `obeys`.
    ///
    /// # Panics
    /// If it does not become ready.
    #[track_caller]
    pub fn start(path: &str, options: &[&str]) -> Self {
        let port = Port::reserve();
        let setup = Setup::new(path).options(["--text", &port.to_string()]);
        Self::start_with(setup, port, options)
    }

    /// Starts a hive whose processes open the listener themselves, each with a socket of its own.
    ///
    /// # Panics
    /// If it does not become ready.
    #[track_caller]
    pub fn start_inside(path: &str, options: &[&str]) -> Self {
        let port = Port::reserve();
        let setup = Setup::new(path).options(["--inside", &port.to_string()]);
        Self::start_with(setup, port, options)
    }

    fn start_with(setup: Setup, port: Port, options: &[&str]) -> Self {
        let fail = setup.path("fail");
        let hive = setup
            .options(["--fail", fail.to_str().expect("a readable path")])
            .options(options.iter().copied())
            .start();
        Self { hive, port, fail }
    }

    /// From now on processes of these slots cannot start. The log may say so.
    ///
    /// # Panics
    /// If the file that says so cannot be written.
    pub fn hold_down(&mut self, slots: &str) {
        self.hive.expect("this slot is to stay down");
        std::fs::write(&self.fail, slots).expect("a file");
    }

    /// All can start again.
    ///
    /// # Panics
    /// If they could before.
    pub fn let_up(&self) {
        std::fs::remove_file(&self.fail).expect("a file");
    }

    /// Connects to whichever process accepts.
    ///
    /// # Panics
    /// If none does.
    #[track_caller]
    pub fn client(&self) -> TextClient {
        TextClient::connect(self.port.addr())
    }

    /// Connects to the process of a slot.
    ///
    /// # Panics
    /// If it does not accept.
    #[track_caller]
    pub fn client_of(&self, slot: usize) -> TextClient {
        eventually("a connection to the slot", || {
            let mut client = self.client();
            (Who::serves(&mut client).slot == slot).then_some(client)
        })
    }

    /// A client for each of the slots.
    ///
    /// # Panics
    /// If one of them does not accept.
    #[track_caller]
    pub fn clients(&self, count: usize) -> Vec<TextClient> {
        (0..count).map(|slot| self.client_of(slot)).collect()
    }
}
