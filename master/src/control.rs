//! The control socket: where the command line talks to a running hive.
//!
//! A client is another program and may be slow, mute or mad. It gets a bounded buffer and a deadline, and the master
//! never waits for it.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use mio::net::{UnixListener, UnixStream};
use mio::{Interest, Registry, Token};
use nix::sys::socket::{Backlog, MsgFlags, getsockopt, send, sockopt::PeerCredentials};

use crate::local_socket::LocalSocket;
use crate::master::end_of;
use crate::protocol::{MAX_REQUEST, Reply, Request};

/// Names a client. From the same numbers as processes.
pub(crate) type ClientId = usize;

/// Most clients at a time.
const MAX_CLIENTS: usize = 32;

/// With so many bytes on their way to a client, no more are asked for.
const ROOM: usize = 64 * 1024;

/// How long a client may take to say what it wants, and to take the answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// The listening socket and its clients.
#[derive(Debug)]
pub(crate) struct ControlServer {
    listener: UnixListener,
    file: LocalSocket,
    clients: BTreeMap<ClientId, Client>,
}

#[derive(Debug)]
struct Client {
    stream: UnixStream,
    input: Vec<u8>,
    output: Vec<u8>,
    written: usize,
    /// When it last took something.
    took: Instant,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Reading,
    /// Its request takes time; it may wait for the answer as long as that takes.
    Waiting,
    /// The answer comes in pieces.
    Streaming,
    Writing,
}

/// What a client has come to.
#[derive(Debug)]
pub(crate) enum Progress {
    Nothing,
    Asks(Request),
    /// It has taken what there was of an answer that comes in pieces.
    Took,
}

impl ControlServer {
    /// Listens at `path`, for this user alone.
    pub(crate) fn bind(path: &Path) -> io::Result<Self> {
        let (file, listener) = LocalSocket::bind(path)?;
        Ok(Self {
            listener: UnixListener::from_std(listener),
            file,
            clients: BTreeMap::new(),
        })
    }

    /// The socket of the master before this one, whose clients find their way here from [`own`](Self::own) on.
    pub(crate) fn handed(socket: OwnedFd, path: &Path) -> Self {
        Self {
            listener: UnixListener::from_std(socket.into()),
            file: LocalSocket::handed(path),
            clients: BTreeMap::new(),
        }
    }

    /// The socket, for the master after this one.
    pub(crate) fn socket(&self) -> io::Result<OwnedFd> {
        self.listener.as_fd().try_clone_to_owned()
    }

    /// The socket is this process's from now on.
    pub(crate) fn own(&mut self) -> io::Result<()> {
        // Clients look who listens, and that is who has said so last: unix(7), SO_PEERCRED.
        nix::sys::socket::listen(&self.listener, Backlog::MAXCONN)?;
        self.file.own();
        Ok(())
    }

    /// The socket is another process's from now on. Clients that are here stay.
    pub(crate) fn disown(&mut self, registry: &Registry) {
        self.file.disown();
        if let Err(error) = registry.deregister(&mut self.listener) {
            log::debug!("cannot stop polling the control socket: {error}");
        }
    }

    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut self.listener, token, Interest::READABLE)
    }

    /// Takes one waiting client in, under the id that `id` gives; false if none waits.
    pub(crate) fn accept(
        &mut self,
        registry: &Registry,
        id: ClientId,
    ) -> io::Result<Option<ClientId>> {
        loop {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if self.clients.len() >= MAX_CLIENTS {
                log::warn!(
                    "more than {MAX_CLIENTS} clients at the control socket; one more is turned away"
                );
                continue;
            }
            // The file's mode keeps others out; this also does where somebody has changed it.
            let peer = match getsockopt(&stream, PeerCredentials) {
                Ok(peer) => peer.uid(),
                Err(errno) => {
                    log::warn!("a client without credentials is turned away: {errno}");
                    continue;
                }
            };
            if peer != 0 && peer != nix::unistd::geteuid().as_raw() {
                log::warn!("user {peer} is turned away from the control socket");
                continue;
            }
            if let Err(error) = registry.register(
                &mut stream,
                Token(end_of(id)),
                Interest::READABLE | Interest::WRITABLE,
            ) {
                log::warn!("cannot poll a client: {error}");
                continue;
            }
            let client = Client {
                stream,
                input: Vec::new(),
                output: Vec::new(),
                written: 0,
                took: Instant::now(),
                state: State::Reading,
            };
            self.clients.insert(id, client);
            return Ok(Some(id));
        }
    }

    /// Goes on with a client about which something was reported.
    pub(crate) fn advance(&mut self, registry: &Registry, id: ClientId) -> Progress {
        let Some(client) = self.clients.get_mut(&id) else {
            return Progress::Nothing;
        };
        let went = match client.state {
            State::Reading => client.read(),
            // Only to learn of its end.
            State::Waiting => client.read().map(|_| None),
            State::Writing | State::Streaming => client.write().map(|()| None),
        };
        if client.state == State::Streaming && went.is_ok() {
            return Progress::Took;
        }
        match went {
            Ok(Some(line)) => {
                client.state = State::Waiting;
                match serde_json::from_slice(&line) {
                    Ok(request) => return Progress::Asks(request),
                    Err(error) => {
                        self.answer(registry, id, &Reply::failed(format!("no request: {error}")));
                    }
                }
            }
            Ok(None) => {}
            Err(_) => self.close(registry, id),
        }
        Progress::Nothing
    }

    /// Answers a client and lets it go when it has taken the answer.
    pub(crate) fn answer(
        &mut self,
        registry: &Registry,
        id: ClientId,
        answer: &impl serde::Serialize,
    ) {
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        client.state = State::Writing;
        // Plain structs of text and numbers always serialize.
        client.output = serde_json::to_vec(answer).unwrap_or_default();
        client.output.push(b'\n');
        if client.write().is_err() {
            self.close(registry, id);
        }
    }

    /// One piece of an answer that comes in pieces; each is a line.
    pub(crate) fn stream(
        &mut self,
        registry: &Registry,
        id: ClientId,
        piece: &impl serde::Serialize,
    ) {
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        if client.state != State::Streaming {
            client.state = State::Streaming;
            client.took = Instant::now();
        }
        let piece = serde_json::to_vec(piece).unwrap_or_default();
        client.output.extend_from_slice(&piece);
        client.output.push(b'\n');
        if client.write().is_err() {
            self.close(registry, id);
        }
    }

    /// The last piece.
    pub(crate) fn finish(
        &mut self,
        registry: &Registry,
        id: ClientId,
        piece: &impl serde::Serialize,
    ) {
        self.stream(registry, id, piece);
        if let Some(client) = self.clients.get_mut(&id) {
            client.state = State::Writing;
            if client.write().is_err() {
                self.close(registry, id);
            }
        }
    }

    /// Whether the client has taken most of what it was sent; none if it is gone.
    pub(crate) fn has_room(&self, id: ClientId) -> Option<bool> {
        let client = self.clients.get(&id)?;
        Some(client.output.len() - client.written < ROOM)
    }

    /// The client's time is up, unless it waits for something that takes time, or has taken something meanwhile. True if
    /// it is to be looked at again.
    pub(crate) fn expire(&mut self, registry: &Registry, id: ClientId) -> bool {
        let Some(client) = self.clients.get(&id) else {
            return false;
        };
        match client.state {
            State::Waiting => return false,
            State::Streaming if client.output.is_empty() || client.took.elapsed() < PATIENCE => {
                return true;
            }
            _ => self.close(registry, id),
        }
        false
    }

    fn close(&mut self, registry: &Registry, id: ClientId) {
        if let Some(mut client) = self.clients.remove(&id)
            && let Err(error) = registry.deregister(&mut client.stream)
        {
            log::debug!("cannot stop polling a client: {error}");
        }
    }
}

impl Client {
    /// Reads what there is. `Some` is a whole line; an error means that the client is done with.
    fn read(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut buffer = [0; 1024];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(length) => {
                    self.input.extend_from_slice(&buffer[..length]);
                    if let Some(end) = self.input.iter().position(|byte| *byte == b'\n') {
                        self.input.truncate(end);
                        return Ok(Some(std::mem::take(&mut self.input)));
                    }
                    if self.input.len() > MAX_REQUEST {
                        return Err(io::ErrorKind::InvalidData.into());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes what it takes. An error also means that it has everything, and that nothing more comes.
    fn write(&mut self) -> io::Result<()> {
        while self.written < self.output.len() {
            match self.send() {
                Ok(length) => {
                    self.written += length;
                    self.took = Instant::now();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if self.state == State::Streaming {
            self.output.clear();
            self.written = 0;
            return Ok(());
        }
        Err(io::ErrorKind::UnexpectedEof.into())
    }

    /// write(2) would be a SIGPIPE when the client is gone, and a host may not ignore that.
    fn send(&self) -> io::Result<usize> {
        let rest = &self.output[self.written..];
        let sent = send(self.stream.as_raw_fd(), rest, MsgFlags::MSG_NOSIGNAL);
        Ok(sent?)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::os::unix::net::UnixStream as Stream;

    use mio::Poll;

    use super::*;

    struct Fixture {
        poll: Poll,
        server: ControlServer,
        directory: tempfile::TempDir,
    }

    fn fixture() -> Fixture {
        let directory = tempfile::tempdir().unwrap();
        let server = ControlServer::bind(&directory.path().join("a.sock")).unwrap();
        Fixture {
            poll: Poll::new().unwrap(),
            server,
            directory,
        }
    }

    impl Fixture {
        fn connect(&mut self, id: ClientId) -> Stream {
            let stream = Stream::connect(self.directory.path().join("a.sock")).unwrap();
            assert_eq!(
                self.server.accept(self.poll.registry(), id).unwrap(),
                Some(id)
            );
            stream
        }

        fn advance(&mut self, id: ClientId) -> Progress {
            self.server.advance(self.poll.registry(), id)
        }
    }

    #[test]
    fn a_request_may_come_byte_by_byte_and_gets_one_answer() {
        let mut fixture = fixture();
        let mut stream = fixture.connect(20);
        for byte in br#"{"command":"status"}"# {
            stream.write_all(&[*byte]).unwrap();
            assert!(matches!(fixture.advance(20), Progress::Nothing));
        }
        stream.write_all(b"\n").unwrap();
        assert!(matches!(
            fixture.advance(20),
            Progress::Asks(Request::Status)
        ));
        fixture
            .server
            .answer(fixture.poll.registry(), 20, &Reply::done("yes"));
        let mut line = String::new();
        let mut reader = BufReader::new(stream);
        reader.read_line(&mut line).unwrap();
        assert_eq!(line, "{\"ok\":true,\"message\":\"yes\"}\n");
        assert!(fixture.server.clients.is_empty());
        assert_eq!(reader.read_line(&mut line).unwrap(), 0);
    }

    #[test]
    fn a_mad_client_is_let_go() {
        let mut fixture = fixture();
        let mut stream = fixture.connect(20);
        stream.write_all(&vec![b'x'; 3 * MAX_REQUEST]).unwrap();
        assert!(matches!(fixture.advance(20), Progress::Nothing));
        assert!(fixture.server.clients.is_empty());
        let mut stream = fixture.connect(21);
        stream.write_all(b"jump\n").unwrap();
        assert!(matches!(fixture.advance(21), Progress::Nothing));
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        assert!(line.contains("\"ok\":false"), "{line}");
    }

    #[test]
    fn a_client_that_does_not_read_blocks_nobody_and_expires() {
        let mut fixture = fixture();
        let mut stream = fixture.connect(20);
        stream.write_all(b"{\"command\":\"reload\"}\n").unwrap();
        assert!(matches!(
            fixture.advance(20),
            Progress::Asks(Request::Reload)
        ));
        fixture.server.expire(fixture.poll.registry(), 20);
        assert_eq!(fixture.server.clients.len(), 1, "it waits for its reload");
        fixture
            .server
            .answer(fixture.poll.registry(), 20, &"x".repeat(4 << 20));
        assert_eq!(fixture.server.clients.len(), 1);
        fixture.server.expire(fixture.poll.registry(), 20);
        assert!(fixture.server.clients.is_empty());
    }

    #[test]
    fn an_answer_may_come_in_pieces_and_waits_for_who_takes_it() {
        let mut fixture = fixture();
        let mut stream = fixture.connect(20);
        stream
            .write_all(b"{\"command\":\"connections\"}\n")
            .unwrap();
        assert!(matches!(
            fixture.advance(20),
            Progress::Asks(Request::Connections)
        ));
        let piece = "x".repeat(10_000);
        let mut pieces = 0;
        while fixture.server.has_room(20) == Some(true) {
            fixture.server.stream(fixture.poll.registry(), 20, &piece);
            pieces += 1;
            assert!(pieces < 10_000);
        }
        assert!(fixture.server.expire(fixture.poll.registry(), 20));
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        for left in (0..pieces).rev() {
            line.clear();
            reader.read_line(&mut line).unwrap();
            assert_eq!(line.len(), piece.len() + 3);
            assert!(matches!(fixture.advance(20), Progress::Took), "{left}");
        }
        fixture.server.finish(fixture.poll.registry(), 20, &true);
        line.clear();
        reader.read_line(&mut line).unwrap();
        assert_eq!(line, "true\n");
        assert_eq!(reader.read_line(&mut line).unwrap(), 0);
        assert_eq!(fixture.server.has_room(20), None);
    }

    #[test]
    fn there_are_only_so_many_clients() {
        let mut fixture = fixture();
        let streams: Vec<_> = (0..MAX_CLIENTS)
            .map(|index| fixture.connect(20 + index))
            .collect();
        let _one_more = Stream::connect(fixture.directory.path().join("a.sock")).unwrap();
        assert_eq!(
            fixture.server.accept(fixture.poll.registry(), 99).unwrap(),
            None
        );
        drop(streams);
        for id in 20..20 + MAX_CLIENTS {
            fixture.advance(id);
        }
        assert!(fixture.server.clients.is_empty());
    }
}
