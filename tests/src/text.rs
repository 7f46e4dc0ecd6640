//! A client of line protocols.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};

use nix::sys::socket::{setsockopt, sockopt::IpBindAddressNoPort};
use socket2::{Domain, Socket, Type};

use crate::DEADLINE;

/// A connection that lines are sent over, one at a time; also good for bytes of all kinds.
#[derive(Debug)]
pub struct TextClient {
    stream: BufReader<TcpStream>,
}

/// Connects, with a deadline on everything that follows.
///
/// # Errors
/// What connect(2) says.
pub fn connect(addr: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(addr)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.set_write_timeout(Some(DEADLINE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Connects from an address of this machine's. Each of 127.0.0.0/8 has ports of its own: clients that come and go by the
/// ten thousand do not run out of them.
///
/// # Errors
/// What connect(2) says.
pub fn connect_from(source: IpAddr, addr: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
    setsockopt(&socket, IpBindAddressNoPort, &true)?;
    socket.bind(&SocketAddr::new(source, 0).into())?;
    socket.set_read_timeout(Some(DEADLINE))?;
    socket.set_write_timeout(Some(DEADLINE))?;
    socket.set_tcp_nodelay(true)?;
    socket.connect(&addr.into())?;
    Ok(socket.into())
}

impl TextClient {
    /// Connects from an address of this machine's: [`connect_from`].
    ///
    /// # Errors
    /// What connect(2) says.
    pub fn connect_from(source: IpAddr, addr: SocketAddr) -> io::Result<Self> {
        let stream = connect_from(source, addr)?;
        Ok(Self {
            stream: BufReader::new(stream),
        })
    }

    /// Connects.
    ///
    /// # Panics
    /// If that fails.
    #[track_caller]
    pub fn connect(addr: SocketAddr) -> Self {
        let stream = connect(addr).unwrap_or_else(|error| panic!("{addr}: {error}"));
        Self {
            stream: BufReader::new(stream),
        }
    }

    /// Sends a line.
    ///
    /// # Panics
    /// If that fails.
    #[track_caller]
    pub fn send(&mut self, line: &str) {
        self.write(format!("{line}\n").as_bytes());
    }

    /// Sends bytes.
    ///
    /// # Panics
    /// If that fails.
    #[track_caller]
    pub fn write(&mut self, bytes: &[u8]) {
        self.stream
            .get_mut()
            .write_all(bytes)
            .expect("a peer that takes bytes");
    }

    /// Receives a line.
    ///
    /// # Panics
    /// If none comes.
    #[track_caller]
    pub fn line(&mut self) -> String {
        self.try_line()
            .expect("a line")
            .expect("a line, not the end")
    }

    /// Receives a line; `None` at the end of the stream.
    ///
    /// # Errors
    /// What read(2) says.
    pub fn try_line(&mut self) -> io::Result<Option<String>> {
        let mut line = String::new();
        match self.stream.read_line(&mut line)? {
            0 => Ok(None),
            _ => Ok(Some(line.trim_end_matches(['\r', '\n']).to_owned())),
        }
    }

    /// Sends a line and receives one.
    ///
    /// # Errors
    /// What the system says; `UnexpectedEof` if the connection ends instead.
    pub fn try_ask(&mut self, line: &str) -> io::Result<String> {
        self.stream
            .get_mut()
            .write_all(format!("{line}\n").as_bytes())?;
        self.try_line()?
            .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// Sends a line and receives one.
    ///
    /// # Panics
    /// If one of both fails.
    #[track_caller]
    pub fn ask(&mut self, line: &str) -> String {
        self.send(line);
        self.line()
    }

    /// Receives so many bytes.
    ///
    /// # Panics
    /// If fewer come.
    #[track_caller]
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.stream.read_exact(&mut bytes).expect("so many bytes");
        bytes
    }

    /// Receives all that comes until the end of the stream.
    ///
    /// # Errors
    /// What read(2) says: `ConnectionReset` instead of an end.
    pub fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.stream.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// What comes until the connection ends, in good order or by a reset.
    ///
    /// # Panics
    /// If it does not end.
    #[track_caller]
    pub fn until_gone(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self.stream.read_to_end(&mut bytes) {
            Err(error) if error.kind() != io::ErrorKind::ConnectionReset => {
                panic!("the connection does not end: {error}")
            }
            _ => bytes,
        }
    }

    /// Sends no more; receiving goes on.
    ///
    /// # Panics
    /// If the connection is gone.
    #[track_caller]
    pub fn half_close(&mut self) {
        self.stream
            .get_ref()
            .shutdown(Shutdown::Write)
            .expect("an open connection");
    }

    /// The socket.
    pub fn socket(&self) -> &TcpStream {
        self.stream.get_ref()
    }
}
