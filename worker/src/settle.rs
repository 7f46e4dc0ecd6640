//! A connection's times: what happens when one has passed, and which is the next.

use std::any::Any;
use std::io;
use std::time::Duration;

use crate::core::{Core, find, with};
use crate::entry::{CloseReason, Key, Phase, earlier, flag};
use crate::error::ConnectionError;
use crate::turn::{contained, dispatch};
use crate::wheel::NEVER;

/// Connections whose time has come.
pub(crate) fn run_deadlines(state: &mut dyn Any) {
    loop {
        let bucket = with(|core| core.wheel.pop(core.clock.now_millis())).flatten();
        let Some((tick, keys)) = bucket else {
            return;
        };
        for key in keys {
            let due = with(|core| {
                let now = core.clock.now_millis();
                let entry = core.entry(key)?;
                if entry.armed != tick {
                    return None; // entered again for an earlier tick since
                }
                entry.armed = NEVER;
                let deadline = entry.deadline;
                if deadline > now {
                    core.set_deadline(key, deadline); // moved back since
                    return None;
                }
                Some(())
            });
            if due.flatten().is_some() {
                expire(key, state);
            }
        }
    }
}

impl Core {
    /// The end of a turn for one connection: output, the peer's end, the next deadline.
    pub(crate) fn settle(&mut self, key: Key) {
        let Some(entry) = self.entry(key) else {
            return;
        };
        entry.clear(flag::DIRTY);
        if !entry.has(flag::BLOCKED) {
            self.flush(key);
        }
        if let Some(entry) = self.entry(key)
            && entry.has(flag::EOF)
            && entry.phase == Phase::Open
        {
            // A peer that sends no more is served as long as there is something for it.
            if !entry.has_more() {
                self.end(key, CloseReason::Peer);
                self.settle(key);
                return;
            }
        }
        let Some(entry) = find(&mut self.entries, key) else {
            return;
        };
        let mut deadline = entry.deadline;
        if entry.phase == Phase::Open
            && let Some(driver) = &entry.driver
        {
            deadline = entry.drain_at.min(entry.send_deadline());
            // While we do not read, or have yet to read, the peer cannot be blamed for its silence. And while it takes
            // what we send, it is alive.
            if !entry.is_excused() {
                let protocol = driver.deadline(entry.encoder.as_mut());
                deadline = earlier(deadline, protocol, &self.clock).min(entry.silence_deadline().0);
            }
            // A codec whose deadline has passed for good is asked again with each tick, not with each turn.
            deadline = deadline.max(self.clock.now_millis() + 1);
        }
        self.set_deadline(key, deadline);
    }
}

/// A connection's deadline has passed.
fn expire(key: Key, state: &mut dyn Any) {
    enum Due {
        Idle(Duration),
        Stalled,
        Drain,
        Protocol,
        Close,
    }
    let due = with(|core| {
        let now = core.clock.now_millis();
        let entry = core.entry(key)?;
        let due = match entry.phase {
            Phase::Open => match entry.silence_deadline() {
                _ if entry.drain_at <= now => Due::Drain,
                _ if entry.send_deadline() <= now => Due::Stalled,
                _ if entry.is_excused() => return None,
                (at, silence) if at <= now => Due::Idle(silence),
                _ => Due::Protocol,
            },
            Phase::Closed => return None,
            // The goodbye was not answered, the last bytes did not leave, or the peer did not close in time.
            _ => Due::Close,
        };
        // Timers come before sockets. What looks like silence of a peer may be that of this process, which had no CPU:
        // what has come is read first, in this very turn.
        if matches!(due, Due::Idle(_) | Due::Protocol) && entry.has_unread() {
            core.mark_dirty(key);
            return None;
        }
        Some(due)
    })
    .flatten();
    match due {
        Some(Due::Idle(after)) => dispatch(key, |driver| {
            driver.failed(key, ConnectionError::Idle { after }, state);
        }),
        Some(Due::Stalled) => dispatch(key, |driver| {
            let error = io::Error::from_raw_os_error(libc::ETIMEDOUT);
            driver.failed(key, ConnectionError::Io(error), state);
        }),
        Some(Due::Drain) => {
            let mut leaves = None;
            contained(key, || leaves = with(|core| core.is_to_leave(key)));
            if leaves == Some(true) {
                dispatch(key, |driver| driver.leaving(key, state));
                contained(key, || {
                    with(|core| core.leave_to_others(key));
                });
            }
        }
        Some(Due::Protocol) => dispatch(key, |driver| driver.expired(key, state)),
        Some(Due::Close) => {
            with(|core| core.destroy(key, CloseReason::Local));
        }
        None => {}
    }
    with(|core| core.mark_dirty(key));
}
