//! Where a listener listens.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::str::FromStr;

/// An address to listen at: `127.0.0.1:8080`, `[::]:8080`, `localhost:8080`, `unix:/run/app.sock`.
///
/// A scheme in front (`http://127.0.0.1:8080`) is split off by [`Address::parse`].
///
/// ```
/// # mod workhive { pub use workhive_protocols::*; pub use workhive_worker::*; }
/// use workhive::Address;
///
/// let (scheme, address) = Address::parse("http://127.0.0.1:8080")?;
/// assert_eq!(scheme, Some("http"));
/// assert_eq!(address.to_string(), "127.0.0.1:8080");
/// assert!("127.0.0.1".parse::<Address>().is_err());
/// # Ok::<(), workhive::AddressError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// TCP over IPv4 or IPv6.
    Tcp(SocketAddr),
    /// A Unix stream socket at a path.
    Unix(PathBuf),
}

impl Address {
    /// Splits `scheme://` off, if there is one, and parses the rest. `unix:///path` and `unix:/path` mean the same.
    pub fn parse(text: &str) -> Result<(Option<&str>, Self), AddressError> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok((None, Self::unix(path, text)?));
        }
        match text.split_once("://") {
            Some((scheme, rest)) => Ok((Some(scheme), rest.parse()?)),
            None => Ok((None, text.parse()?)),
        }
    }

    fn unix(path: &str, text: &str) -> Result<Self, AddressError> {
        let path = path.strip_prefix("//").unwrap_or(path);
        if path.is_empty() {
            return Err(AddressError::new(text, "the path of the socket is missing"));
        }
        // unix(7): sun_path has 108 bytes, the last one is a NUL.
        if path.len() > 107 {
            return Err(AddressError::new(
                text,
                "the path of a Unix socket has at most 107 bytes",
            ));
        }
        Ok(Self::Unix(PathBuf::from(path)))
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Self::unix(path, text);
        }
        if let Ok(address) = text.parse() {
            return Ok(Self::Tcp(address));
        }
        let has_port = text
            .rsplit_once(':')
            .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
        if !has_port {
            return Err(AddressError::new(
                text,
                "it must end in a port, as in 127.0.0.1:8080",
            ));
        }
        match text.to_socket_addrs().map(|mut found| found.next()) {
            Ok(Some(address)) => Ok(Self::Tcp(address)),
            Ok(None) => Err(AddressError::new(text, "the host has no address")),
            Err(error) => Err(AddressError::new(
                text,
                format!("the host cannot be resolved: {error}"),
            )),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Text that is no address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressError {
    text: String,
    why: String,
}

impl AddressError {
    pub(crate) fn new(text: &str, why: impl Into<String>) -> Self {
        Self {
            text: text.to_owned(),
            why: why.into(),
        }
    }
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" is no address: {}", self.text, self.why)
    }
}

impl std::error::Error for AddressError {}
