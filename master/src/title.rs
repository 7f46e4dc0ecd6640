//! What `ps` shows of a process: who it is and what it is at, in place of the arguments that it was started with.
//!
//! The kernel is told once, before the first fork, that the arguments are in a place of ours. From then on a title is
//! written there like anything else, without a system call: a forked process has a place of its own at the same address.
//! The arguments themselves stay where they were, for whoever asks for them. So a host that has titles of its own, which it
//! writes over its arguments, does no harm and takes none; only what it writes there is not shown any more.

use std::fmt::Write as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::{exec, sys};

/// Bytes in that place. Of a longer title the rest is not shown.
const ROOM: usize = 1024;

static TITLE: OnceLock<Title> = OnceLock::new();

/// The place, once there is one: the kernel may know of it for as long as the process lives.
static AREA: OnceLock<Box<[AtomicU8]>> = OnceLock::new();

/// The place, and whose it is.
struct Title {
    area: &'static [AtomicU8],
    /// The program's name, with which all titles of a hive begin.
    program: String,
}

/// Makes the place, for a program of this name. Where the kernel does not allow it, titles are not shown.
pub(crate) fn begin(program: &str) {
    if TITLE.get().is_some() {
        return;
    }
    let area = || std::iter::repeat_with(|| AtomicU8::new(0)).take(ROOM);
    let title = Title {
        area: AREA.get_or_init(|| area().collect()),
        program: program.to_owned(),
    };
    // While its last byte is not zero, what is in front of it counts up to the first zero (proc(5), setproctitle(3)).
    title.area[ROOM - 1].store(1, Ordering::Relaxed);
    title.write(&arguments());
    match sys::show_arguments(title.area) {
        Ok(()) => drop(TITLE.set(title)),
        Err(error) => log::debug!("the title stays as it is: {error}"),
    }
}

/// This process is the master. Its arguments stay visible: by them people find it.
pub(crate) fn master() {
    if let Some(title) = TITLE.get() {
        title.write(&format!("{}: master ({})", title.program, arguments()));
    }
}

/// This process has this place in the hive.
pub(crate) fn process(place: &str) {
    if let Some(title) = TITLE.get() {
        title.write(&format!("{}: {place}", title.program));
    }
}

/// It finishes what it has in hand.
pub(crate) fn draining() {
    if let Some(title) = TITLE.get() {
        title.append(" (draining)");
    }
}

impl Title {
    fn write(&self, text: &str) {
        self.put(0, text);
    }

    fn append(&self, text: &str) {
        let room = &self.area[..ROOM - 1];
        let end = room
            .iter()
            .position(|byte| byte.load(Ordering::Relaxed) == 0);
        self.put(end.unwrap_or(ROOM), text);
    }

    fn put(&self, at: usize, text: &str) {
        let room = self.area[..ROOM - 2].get(at..).unwrap_or_default();
        let end = text.floor_char_boundary(room.len());
        let bytes = text.as_bytes()[..end].iter().copied();
        // All that comes after it is to be zero.
        for (byte, value) in room.iter().zip(bytes.chain(std::iter::repeat(0))) {
            byte.store(value, Ordering::Relaxed);
        }
    }
}

/// The command line, for people.
fn arguments() -> String {
    let mut text = String::new();
    for argument in exec::arguments() {
        let space = if text.is_empty() { "" } else { " " };
        // Writing to a String does not fail.
        let _ = write!(text, "{space}{}", argument.display());
    }
    text.replace('\0', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn title() -> Title {
        let area: Vec<AtomicU8> = std::iter::repeat_with(|| AtomicU8::new(0))
            .take(ROOM)
            .collect();
        Title {
            area: area.leak(),
            program: "push".to_owned(),
        }
    }

    fn shown(title: &Title) -> String {
        let bytes = title.area.iter().map(|byte| byte.load(Ordering::Relaxed));
        String::from_utf8(bytes.take_while(|byte| *byte != 0).collect()).unwrap()
    }

    #[test]
    fn a_title_takes_the_place_of_the_one_before() {
        let title = title();
        title.write("push: master (push start)");
        title.write("push: push[2]");
        assert_eq!(shown(&title), "push: push[2]");
        title.append(" (draining)");
        assert_eq!(shown(&title), "push: push[2] (draining)");
    }

    #[test]
    fn a_title_that_is_too_long_is_cut() {
        let title = title();
        title.area[ROOM - 1].store(1, Ordering::Relaxed);
        title.write(&"é".repeat(ROOM));
        assert_eq!(shown(&title), "é".repeat((ROOM - 2) / 2));
        title.append("x");
        assert_eq!(title.area[ROOM - 2].load(Ordering::Relaxed), 0);
        assert_eq!(title.area[ROOM - 1].load(Ordering::Relaxed), 1);
    }
}
