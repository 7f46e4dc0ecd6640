//! An HTTP client that is told what to send, byte by byte, and reads answers strictly.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};

use crate::text;

/// A connection to an HTTP server.
#[derive(Debug)]
pub struct HttpClient {
    stream: BufReader<TcpStream>,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The version's minor number.
    pub minor: u8,
    /// The status.
    pub status: u16,
    /// Names, in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body, without chunking.
    pub body: Vec<u8>,
}

impl Response {
    /// The value of a header field.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str())
    }

    /// True if the server says that it closes the connection after this.
    pub fn closes(&self) -> bool {
        self.header("connection")
            .is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// If it is none.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The body as text.
    ///
    /// # Panics
    /// If it is none.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("UTF-8")
    }
}

impl HttpClient {
    /// Connects.
    ///
    /// # Panics
    /// If that fails.
    #[track_caller]
    pub fn connect(addr: SocketAddr) -> Self {
        let stream = text::connect(addr).unwrap_or_else(|error| panic!("{addr}: {error}"));
        Self {
            stream: BufReader::new(stream),
        }
    }

    /// Connects from an address of this machine's: [`text::connect_from`].
    ///
    /// # Errors
    /// What connect(2) says.
    pub fn connect_from(source: IpAddr, addr: SocketAddr) -> io::Result<Self> {
        let stream = text::connect_from(source, addr)?;
        Ok(Self {
            stream: BufReader::new(stream),
        })
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// What write(2) says.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes.as_ref())
    }

    /// GET.
    ///
    /// # Errors
    /// What the system says; `UnexpectedEof` for an answer that is cut off.
    pub fn try_get(&mut self, path: &str) -> io::Result<Response> {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"))?;
        self.try_response(false)
    }

    /// GET.
    ///
    /// # Panics
    /// If there is no answer.
    #[track_caller]
    pub fn get(&mut self, path: &str) -> Response {
        self.try_get(path).expect("an answer")
    }

    /// POST.
    ///
    /// # Panics
    /// If there is no answer.
    #[track_caller]
    pub fn post(&mut self, path: &str, body: &[u8]) -> Response {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        self.send(head).expect("a peer that takes bytes");
        self.send(body).expect("a peer that takes bytes");
        self.response()
    }

    /// Asks for something, with header fields (lines that end in CR LF) and a body.
    ///
    /// # Panics
    /// If there is no answer.
    #[track_caller]
    pub fn ask(&mut self, method: &str, path: &str, fields: &str, body: &str) -> Response {
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n{fields}\r\n"
        );
        self.send(head + body).expect("a peer that takes bytes");
        self.response()
    }

    /// Reads an answer.
    ///
    /// # Panics
    /// If there is none.
    #[track_caller]
    pub fn response(&mut self) -> Response {
        self.try_response(false).expect("an answer")
    }

    /// Reads the answer to a HEAD request, which has no body whatever its header fields say.
    ///
    /// # Panics
    /// If there is none.
    #[track_caller]
    pub fn head_response(&mut self) -> Response {
        self.try_response(true).expect("an answer")
    }

    /// Reads an answer.
    ///
    /// # Errors
    /// What the system says; `UnexpectedEof` for an answer that is cut off, `InvalidData` for one that makes no sense.
    pub fn try_response(&mut self, to_head: bool) -> io::Result<Response> {
        let line = self.head_line()?;
        let mut parts = line.splitn(3, ' ');
        let (version, status) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
        let minor = match version {
            "HTTP/1.0" => 0,
            "HTTP/1.1" => 1,
            _ => return Err(invalid(&line)),
        };
        let mut response = Response {
            minor,
            status: status.parse().map_err(|_| invalid(&line))?,
            headers: Vec::new(),
            body: Vec::new(),
        };
        loop {
            let line = self.head_line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').ok_or_else(|| invalid(&line))?;
            response
                .headers
                .push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        if to_head || matches!(response.status, 100..=199 | 204 | 304) {
            return Ok(response);
        }
        if response.header("transfer-encoding") == Some("chunked") {
            self.chunks(&mut response.body)?;
        } else if let Some(length) = response.header("content-length") {
            let length = length.parse().map_err(|_| invalid(length))?;
            response.body = vec![0; length];
            self.stream.read_exact(&mut response.body)?;
        } else {
            self.stream.read_to_end(&mut response.body)?;
        }
        Ok(response)
    }

    fn chunks(&mut self, body: &mut Vec<u8>) -> io::Result<()> {
        loop {
            let line = self.head_line()?;
            let len = usize::from_str_radix(&line, 16).map_err(|_| invalid(&line))?;
            let start = body.len();
            body.resize(start + len, 0);
            self.stream.read_exact(&mut body[start..])?;
            if !self.head_line()?.is_empty() {
                return Err(invalid("no line break behind a chunk"));
            }
            if len == 0 {
                return Ok(());
            }
        }
    }

    /// A line that ends in CR LF.
    fn head_line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        match line.strip_suffix("\r\n") {
            Some(line) => Ok(line.to_owned()),
            None if line.is_empty() => Err(io::ErrorKind::UnexpectedEof.into()),
            None => Err(invalid(&line)),
        }
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

    /// True if the server has closed the connection, and has sent nothing more before.
    ///
    /// # Panics
    /// If neither bytes nor an end come.
    #[track_caller]
    pub fn is_at_end(&mut self) -> bool {
        self.stream
            .fill_buf()
            .expect("an end, not a reset")
            .is_empty()
    }

    /// The socket.
    pub fn socket(&self) -> &TcpStream {
        self.stream.get_ref()
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}
