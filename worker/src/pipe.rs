//! Bytes that go from one connection to another as they are.

use crate::core::Core;
use crate::entry::{Entry, Key, Phase, flag};
use crate::error::SendError;

impl Core {
    /// Whoever is piped into this connection and was held back may go on.
    pub(crate) fn wake_feeders(&mut self, key: Key) {
        if self.feeders.is_empty() {
            return;
        }
        for feeder in self.feeders.get(&key).cloned().unwrap_or_default() {
            if let Some(entry) = self.entry(feeder)
                && entry.has(flag::HELD)
            {
                entry.clear(flag::HELD);
                self.run_again(feeder);
            }
        }
    }

    /// Lets a connection's bytes go to another one; see [`Conn::pipe`](crate::Conn::pipe).
    pub(crate) fn pipe(&mut self, source: Key, target: Key) -> Result<(), SendError> {
        let open =
            |entry: Option<&mut Entry>| entry.is_some_and(|entry| entry.phase == Phase::Open);
        if !open(self.entry(target)) || !open(self.entry(source)) {
            return Err(SendError::Gone);
        }
        self.unpipe(source);
        self.feeders.entry(target).or_default().push(source);
        if let Some(entry) = self.entry(source) {
            entry.pipe = Some(target);
        }
        self.run_again(source);
        Ok(())
    }

    /// Forgets where a connection's bytes go.
    pub(crate) fn unpipe(&mut self, source: Key) -> Option<Key> {
        let target = self.entry(source)?.pipe.take()?;
        if let Some(sources) = self.feeders.get_mut(&target) {
            sources.retain(|other| *other != source);
            if sources.is_empty() {
                self.feeders.remove(&target);
            }
        }
        Some(target)
    }

    /// Appends bytes as they are to another connection's output. False if it is gone.
    pub(crate) fn feed(&mut self, source: Key, target: Key, bytes: &[u8]) -> bool {
        let spare = self.spare_buffer(target);
        let Some(entry) = self.entry(target) else {
            return false;
        };
        if entry.phase != Phase::Open {
            return false;
        }
        if let Some(buffer) = spare {
            entry.out = buffer;
        }
        entry.out.extend_from_slice(bytes);
        let hold = entry.queued() > entry.limits.high_water;
        self.mark_dirty(target);
        if hold && let Some(entry) = self.entry(source) {
            entry.set(flag::HELD);
        }
        true
    }
}
