//! Who is who: processes and connections, by names that never come back.

use std::fmt;
use std::str::FromStr;

use bincode::{Decode, Encode};

/// A process of the hive, as routing names it.
///
/// The slot counts over the whole hive, not within a group: it is the number of the process's row in the stats page.
/// The generation counts over the whole hive too: every process of it has a larger one than those started before.
///
/// ```
/// use workhive_ipc::route::Process;
///
/// let process = Process { epoch: 0xbee, slot: 2, generation: 7 };
/// assert_eq!(process.to_string(), "00000bee-2-7");
/// assert_eq!(process.connection(9).process(), process);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
pub struct Process {
    /// Random, one for each start of the hive.
    pub epoch: u32,
    /// Its row in the stats page.
    pub slot: u16,
    /// Larger than that of every process started before.
    pub generation: u32,
}

impl Process {
    /// The connection of this process with this sequence number.
    pub fn connection(self, sequence: u64) -> ConnectionId {
        ConnectionId {
            epoch: self.epoch,
            slot: self.slot,
            generation: self.generation,
            sequence,
        }
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}-{}-{}", self.epoch, self.slot, self.generation)
    }
}

/// Names a connection in the whole hive. No id of a past process, and none of a past connection, ever comes back.
///
/// Ids are in the order of their processes, then of the connections' age. The text form can be parsed again.
///
/// ```
/// use workhive_ipc::route::{ConnectionId, Process};
///
/// let id = Process { epoch: 0xbee, slot: 2, generation: 7 }.connection(9);
/// assert_eq!(id.to_string(), "00000bee-2-7-9");
/// assert_eq!("00000bee-2-7-9".parse(), Ok(id));
/// assert!("00000bee-2-7".parse::<ConnectionId>().is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
pub struct ConnectionId {
    epoch: u32,
    slot: u16,
    generation: u32,
    sequence: u64,
}

impl ConnectionId {
    /// The process that accepted or dialled it.
    pub fn process(self) -> Process {
        Process {
            epoch: self.epoch,
            slot: self.slot,
            generation: self.generation,
        }
    }

    /// Its number within that process.
    pub fn sequence(self) -> u64 {
        self.sequence
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.process(), self.sequence)
    }
}

impl FromStr for ConnectionId {
    type Err = ConnectionIdError;

    fn from_str(text: &str) -> Result<Self, ConnectionIdError> {
        // `parse` would also take a sign.
        let number = |part: &str| part.bytes().all(|byte| byte.is_ascii_hexdigit());
        let mut parts = text.split('-');
        let mut part = || parts.next().filter(|part| number(part));
        let (Some(epoch), Some(slot), Some(generation), Some(sequence)) =
            (part(), part(), part(), part())
        else {
            return Err(ConnectionIdError);
        };
        if parts.next().is_some() {
            return Err(ConnectionIdError);
        }
        Ok(Self {
            epoch: u32::from_str_radix(epoch, 16).map_err(|_| ConnectionIdError)?,
            slot: slot.parse().map_err(|_| ConnectionIdError)?,
            generation: generation.parse().map_err(|_| ConnectionIdError)?,
            sequence: sequence.parse().map_err(|_| ConnectionIdError)?,
        })
    }
}

/// The text names no connection. It should look as `0badcafe-2-7-9`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionIdError;

impl fmt::Display for ConnectionIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this is no connection id; one looks as 0badcafe-2-7-9")
    }
}

impl std::error::Error for ConnectionIdError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_is_no_id_is_refused() {
        for text in [
            "",
            "-",
            "1-2-3",
            "1-2-3-4-5",
            "1-2-3-+4",
            "1--3-4",
            "1-65536-3-4",
            "123456789-2-3-4",
            "1-2-3-4 ",
        ] {
            assert_eq!(
                text.parse::<ConnectionId>(),
                Err(ConnectionIdError),
                "{text:?}"
            );
        }
    }
}
