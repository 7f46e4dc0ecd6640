//! What a process has in hand, for its master to look at once it is stuck.

use std::sync::atomic::{AtomicU64, Ordering};

/// Says where in the memory of a process the bytes are that it works on.
///
/// It lives in that process, so that all it costs is a few stores to memory that nobody else uses. Its address is in the
/// process's [`Row`](crate::Row), and whoever may look into the process finds the rest from there.
#[derive(Debug, Default)]
pub struct Glimpse {
    /// In the order of the fields of [`Sight`].
    words: [AtomicU64; 4],
}

impl Glimpse {
    /// Where this is, as [`Row::set_glimpse`](crate::Row::set_glimpse) takes it.
    ///
    /// ```
    /// assert_ne!(workhive_ipc::Glimpse::default().address(), 0);
    /// ```
    pub fn address(&self) -> u64 {
        self.words.as_ptr().expose_provenance() as u64
    }

    /// These bytes are worked on now; `protocol` is what they are in.
    ///
    /// ```
    /// workhive_ipc::Glimpse::default().show(b"GET / HTTP/1.1\r\n", "http");
    /// ```
    pub fn show(&self, bytes: &[u8], protocol: &'static str) {
        let words = [
            bytes.as_ptr().expose_provenance() as u64,
            bytes.len() as u64,
            protocol.as_ptr().expose_provenance() as u64,
            protocol.len() as u64,
        ];
        for (cell, word) in self.words.iter().zip(words) {
            cell.store(word, Ordering::Relaxed);
        }
    }

    /// Nothing is worked on any more.
    ///
    /// ```
    /// workhive_ipc::Glimpse::default().clear();
    /// ```
    pub fn clear(&self) {
        self.words[1].store(0, Ordering::Relaxed);
    }
}

/// What stands in a [`Glimpse`]: addresses in the process that it was copied from, which may say anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sight {
    /// Where the bytes are.
    pub address: u64,
    /// How many they are; not 0.
    pub len: u64,
    /// Where the name of their protocol is.
    pub protocol: u64,
    /// The length of that name.
    pub protocol_len: u64,
}

impl Sight {
    /// How many bytes a [`Glimpse`] takes.
    pub const SIZE: usize = size_of::<Glimpse>();

    /// Reads a copy of a [`Glimpse`]; `None` if nothing is worked on.
    ///
    /// ```
    /// use workhive_ipc::Sight;
    ///
    /// assert_eq!(Sight::from_bytes(&[0; Sight::SIZE]), None);
    /// ```
    pub fn from_bytes(bytes: &[u8; Self::SIZE]) -> Option<Self> {
        let [address, len, protocol, protocol_len] = bytes.as_chunks::<8>().0 else {
            return None;
        };
        let sight = Self {
            address: u64::from_ne_bytes(*address),
            len: u64::from_ne_bytes(*len),
            protocol: u64::from_ne_bytes(*protocol),
            protocol_len: u64::from_ne_bytes(*protocol_len),
        };
        (sight.len != 0).then_some(sight)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy(glimpse: &Glimpse) -> [u8; Sight::SIZE] {
        let mut bytes = [0; Sight::SIZE];
        for (place, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(&glimpse.words) {
            *place = word.load(Ordering::Relaxed).to_ne_bytes();
        }
        bytes
    }

    #[test]
    fn what_is_shown_is_seen_until_it_is_done_with() {
        let glimpse = Glimpse::default();
        assert_eq!(Sight::from_bytes(&copy(&glimpse)), None);
        let (bytes, protocol) = (b"one\ntwo\n", "text");
        glimpse.show(bytes, protocol);
        let sight = Sight::from_bytes(&copy(&glimpse)).unwrap();
        assert_eq!(sight.address, bytes.as_ptr().addr() as u64);
        assert_eq!(sight.protocol, protocol.as_ptr().addr() as u64);
        assert_eq!((sight.len, sight.protocol_len), (8, 4));
        glimpse.clear();
        assert_eq!(Sight::from_bytes(&copy(&glimpse)), None);
    }
}
