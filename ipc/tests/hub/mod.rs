//! A hive of one process on a thread, for clients to connect to.

use std::io::{ErrorKind, Read, Write};
use std::ops::Deref;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use workhive_ipc::route::{
    AgentConfig, CoreConfig, CoreEvent, Event, LinkId, Local, Process, Push,
};

/// A path for a socket that no other test has.
pub(crate) fn path() -> SocketPath {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("workhive-client-{}-{number}.sock", std::process::id());
    SocketPath(std::env::temp_dir().join(name))
}

/// Where a socket is, until the test is over.
pub(crate) struct SocketPath(PathBuf);

impl Deref for SocketPath {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl AsRef<Path> for SocketPath {
    fn as_ref(&self) -> &Path {
        self
    }
}

impl Drop for SocketPath {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// The hive. It ends when this is dropped, and its socket is gone.
pub(crate) struct Hub {
    path: PathBuf,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Hub {
    /// Listens at the path. The one process has connections `0..connections`, each with its number as uid; the even
    /// ones are in the room "even".
    pub(crate) fn start(path: &Path, connections: u64) -> Self {
        Self::with(path, connections, CoreConfig::default(), |_| ())
    }

    pub(crate) fn with(
        path: &Path,
        connections: u64,
        config: CoreConfig,
        prepare: impl FnOnce(&mut Local<u64>) + Send + 'static,
    ) -> Self {
        let _ = std::fs::remove_file(path);
        let listener = UnixListener::bind(path).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut hive = Hive::new(listener, connections, config);
            prepare(&mut hive.local);
            while !stopped.load(Ordering::Relaxed) {
                hive.turn();
            }
        });
        Self {
            path: path.to_owned(),
            stop,
            thread: Some(thread),
        }
    }

    pub(crate) fn stop(self) {
        drop(self);
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes it.
        let _ = UnixStream::connect(&self.path);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking());
        }
        let _ = std::fs::remove_file(&self.path);
    }
}

struct Hive {
    listener: UnixListener,
    local: Local<u64>,
    streams: Vec<(UnixStream, LinkId)>,
}

impl Hive {
    fn new(listener: UnixListener, connections: u64, config: CoreConfig) -> Self {
        listener.set_nonblocking(true).unwrap();
        let process = Process {
            epoch: 1,
            slot: 0,
            generation: 1,
        };
        let mut local = Local::new(process, AgentConfig::default(), config, Instant::now());
        for key in 0..connections {
            local.agent().open(key);
            let uid = key.to_string();
            local.agent().bind(key, uid.as_bytes(), false).unwrap();
            if key % 2 == 0 {
                local.agent().join(key, b"even").unwrap();
            }
        }
        // Whoever publishes here hears it again elsewhere.
        local.agent().subscribe(b"echo").unwrap();
        let mut hive = Self {
            listener,
            local,
            streams: Vec::new(),
        };
        hive.pump();
        hive
    }

    fn turn(&mut self) {
        let readable = self.wait();
        for index in (0..self.streams.len()).rev() {
            if readable[index] {
                self.read(index);
            }
        }
        while let Ok((stream, _)) = self.listener.accept() {
            stream.set_nonblocking(true).unwrap();
            let link = self.local.core().connect_client();
            self.streams.push((stream, link));
        }
        self.local.tick(Instant::now());
        self.pump();
        for index in 0..self.streams.len() {
            self.write(index);
        }
        while let Some(event) = self.local.next_event() {
            if let CoreEvent::Ended { link, .. } = event {
                self.streams.retain(|(_, other)| *other != link);
                self.local.core().closed(link, Instant::now());
            }
        }
    }

    fn wait(&mut self) -> Vec<bool> {
        let mut fds = Vec::new();
        for (stream, link) in &self.streams {
            let mut what = PollFlags::POLLIN;
            let waits = !self.local.core().output(*link).is_empty();
            what.set(PollFlags::POLLOUT, waits);
            fds.push(PollFd::new(stream.as_fd(), what));
        }
        fds.push(PollFd::new(self.listener.as_fd(), PollFlags::POLLIN));
        poll(&mut fds, PollTimeout::from(100_u16)).unwrap();
        fds.iter().map(|fd| fd.any() == Some(true)).collect()
    }

    fn read(&mut self, index: usize) {
        let mut buffer = vec![0; 64 * 1024];
        let (stream, link) = &mut self.streams[index];
        let now = Instant::now();
        match stream.read(&mut buffer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Ok(0) | Err(_) => {
                self.local.core().closed(*link, now);
                self.streams.swap_remove(index);
            }
            Ok(bytes) => self.local.core().receive(*link, &buffer[..bytes], now),
        }
    }

    fn write(&mut self, index: usize) {
        let (stream, link) = &mut self.streams[index];
        let core = self.local.core();
        while !core.output(*link).is_empty() {
            match stream.write(core.output(*link)) {
                Ok(bytes) => core.sent(*link, bytes),
                Err(_) => break,
            }
        }
    }

    fn pump(&mut self) {
        let now = Instant::now();
        while self.local.pump(now) {
            let mut reports = Vec::new();
            let mut echoes = Vec::new();
            while let Some(event) = self.local.poll() {
                match event {
                    Event::Deliver { to, receipt, .. } => reports.push((receipt, to.len())),
                    Event::Topic { tag, payload, .. } => echoes.push((tag, payload.to_vec())),
                    _ => {}
                }
            }
            for (receipt, count) in reports {
                let count = u32::try_from(count).unwrap();
                self.local.agent().report(receipt, count, 0);
            }
            for (tag, payload) in echoes {
                let agent = self.local.agent();
                agent.publish(b"answers", tag, &payload, now).unwrap();
            }
        }
    }
}

/// A push of a few bytes to a uid, or to all for an empty one.
pub(crate) fn hello(uid: &[u8]) -> Push<'_> {
    use workhive_ipc::route::Target;
    let target = if uid.is_empty() {
        Target::All
    } else {
        Target::Uid(uid)
    };
    Push::message(target, 0, b"hello")
}
