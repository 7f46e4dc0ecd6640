//! Who holds which connection, as the kernel tells it.

use std::collections::BTreeSet;
use std::fs;

use crate::error::BenchError;

/// The clients' ports of the connections that a process holds on this server port.
pub(crate) fn held_ports(pid: u32, port: u16) -> Result<BTreeSet<u16>, BenchError> {
    let doing = || BenchError::io(format!("reading the sockets of process {pid}"));
    let mut inodes = BTreeSet::new();
    for file in fs::read_dir(format!("/proc/{pid}/fd")).map_err(doing())? {
        let path = file.map_err(doing())?.path();
        // A descriptor may be closed while the directory is read.
        let Ok(link) = fs::read_link(path) else {
            continue;
        };
        let link = link.to_string_lossy();
        if let Some(inode) = link
            .strip_prefix("socket:[")
            .and_then(|rest| rest.strip_suffix(']'))
        {
            inodes.insert(inode.to_owned());
        }
    }
    let table = fs::read_to_string("/proc/net/tcp").map_err(doing())?;
    Ok(table
        .lines()
        .filter_map(|line| connection_row(line, port))
        .filter(|(_, inode)| inodes.contains(*inode))
        .map(|(client, _)| client)
        .collect())
}

/// The client's port and the inode of an established connection to `port`, from one row of `/proc/net/tcp`.
fn connection_row(line: &str, port: u16) -> Option<(u16, &str)> {
    const ESTABLISHED: &str = "01";
    let mut fields = line.split_whitespace().skip(1);
    let port_in = |address: &str| u16::from_str_radix(address.rsplit_once(':')?.1, 16).ok();
    let local = port_in(fields.next()?)?;
    let remote = port_in(fields.next()?)?;
    let state = fields.next()?;
    let inode = fields.nth(5)?;
    (local == port && state == ESTABLISHED).then_some((remote, inode))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::held_ports;

    #[test]
    fn the_ports_of_held_connections_are_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let client = TcpStream::connect(address).unwrap();
        // Not accepted: the client's own row has the ports the other way round, so nobody holds it.
        assert!(
            held_ports(std::process::id(), address.port())
                .unwrap()
                .is_empty()
        );
        let _accepted = listener.accept().unwrap();
        let ports = held_ports(std::process::id(), address.port()).unwrap();
        assert_eq!(
            ports.into_iter().collect::<Vec<_>>(),
            [client.local_addr().unwrap().port()]
        );
    }
}
