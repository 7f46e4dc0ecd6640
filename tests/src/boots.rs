//! Hives of the program `boots`, whose processes start, or do not, as a file says.

use std::fs::{File, OpenOptions};
use std::path::PathBuf;

use nix::sys::stat::Mode;

use crate::text::TextClient;
use crate::{Finished, Hive, Port, Setup, eventually};

/// A hive of `boots` that is still to be started.
#[derive(Debug)]
pub struct BootsSetup {
    setup: Setup,
    port: Port,
}

/// A hive of `boots`.
#[derive(Debug)]
pub struct Boots {
    /// The hive.
    pub hive: Hive,
    /// Where its processes listen.
    pub port: Port,
    /// The end of the pipe for which processes wait. While it is open, none waits.
    open: Option<File>,
}

impl Boots {
    /// How it is to be started; `path` is that of `boots`.
    ///
    /// # Panics
    /// If its files cannot be made.
    pub fn setup(path: &str, options: &[&str]) -> BootsSetup {
        let port = Port::reserve();
        let setup = Setup::new(path).options(["--text", &port.to_string()]);
        let [fail, record, pipe] = ["fail", "record", "fail.pipe"].map(|name| setup.path(name));
        nix::unistd::mkfifo(&pipe, Mode::S_IRWXU).expect("a pipe");
        let setup = setup
            .options(["--fail", fail.to_str().expect("a readable path")])
            .options(["--record", record.to_str().expect("a readable path")])
            .options(options.iter().copied());
        BootsSetup { setup, port }
    }

    /// Starts it.
    ///
    /// # Panics
    /// If it does not become ready.
    #[track_caller]
    pub fn start(path: &str, options: &[&str]) -> Self {
        Self::setup(path, options).start()
    }

    /// New processes do from now on what `how` says.
    ///
    /// # Panics
    /// If the file that says so cannot be written.
    pub fn fail(&self, how: &str) {
        std::fs::write(self.hive.path("fail"), how).expect("a file");
    }

    /// New processes wait from now on, and do not become ready.
    pub fn hold(&mut self) {
        self.open = None;
        self.fail("wait");
    }

    /// New processes can start again.
    ///
    /// # Panics
    /// If they could before.
    pub fn mend(&self) {
        std::fs::remove_file(self.hive.path("fail")).expect("a file to remove");
    }

    /// Lets go those that wait, and those that will come.
    ///
    /// # Panics
    /// If nothing was held, or wrong.
    pub fn let_go(&mut self) {
        self.mend();
        // Open for both, it does not wait for the other end; and whoever comes too late to see that the file is gone
        // finds it open (fifo(7)).
        let open = OpenOptions::new()
            .read(true)
            .write(true)
            .open(self.hive.path("fail.pipe"));
        self.open = Some(open.expect("a pipe"));
    }

    /// A process that is not one of those.
    ///
    /// # Panics
    /// If none comes.
    #[track_caller]
    pub fn newcomer(&self, known: &[u32]) -> u32 {
        eventually("a new process", || {
            let mut workers = self.hive.workers().into_iter();
            workers.find(|pid| !known.contains(pid))
        })
    }

    /// Connects to whichever process accepts.
    ///
    /// # Panics
    /// If none does.
    #[track_caller]
    pub fn client(&self) -> TextClient {
        TextClient::connect(self.port.addr())
    }

    /// How many processes were started so far.
    pub fn attempts(&self) -> usize {
        attempts(self.hive.path("record"))
    }
}

impl BootsSetup {
    /// Processes do from the first on what `how` says.
    ///
    /// # Panics
    /// If the file that says so cannot be written.
    pub fn fail(self, how: &str) -> Self {
        std::fs::write(self.setup.path("fail"), how).expect("a file");
        self
    }

    /// Starts the hive.
    ///
    /// # Panics
    /// If it does not become ready.
    #[track_caller]
    pub fn start(self) -> Boots {
        Boots {
            hive: self.setup.start(),
            port: self.port,
            open: None,
        }
    }

    /// Starts the hive, and does not wait for anything.
    ///
    /// # Panics
    /// If there is no such program.
    #[track_caller]
    pub fn launch(self) -> Boots {
        Boots {
            hive: self.setup.launch(),
            port: self.port,
            open: None,
        }
    }

    /// Runs a start that will not succeed to its end.
    ///
    /// # Panics
    /// If it does not end in time.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Finished {
        self.setup.verb("start", arguments)
    }

    /// How it is started.
    pub fn as_setup(&self) -> &Setup {
        &self.setup
    }

    /// How many processes were started.
    pub fn attempts(&self) -> usize {
        attempts(self.setup.path("record"))
    }
}

fn attempts(record: PathBuf) -> usize {
    let text = std::fs::read_to_string(record).unwrap_or_default();
    text.lines().count()
}
