//! Shared memory with one row for each process of the hive.
//!
//! The master makes the page before its first fork and assigns the rows; a worker writes its counters once a turn of
//! its loop. Everything is a relaxed atomic: a reader may see one counter a turn ahead of another, and nobody ever
//! waits. A row outlives its process, so the last figures of one that died can still be read.

use std::fmt;
use std::io;
use std::iter::FusedIterator;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::ftruncate;

use crate::sys::Mapping;

/// Longest group name in a row, in bytes; a longer one is cut.
const NAME: usize = 63;

/// Four cache lines: what the master writes, what the worker writes, what never changes, and what the worker rarely
/// writes. They do not share lines, so a busy worker does not slow down its master.
#[repr(C, align(64))]
#[derive(Debug)]
struct Cells {
    pid: AtomicU64,
    group: AtomicU64,
    slot: AtomicU64,
    generation: AtomicU64,
    state: AtomicU64,
    started_at: AtomicU64,
    /// What the process could not do before it ran any code of its own: the step, and the error number below it.
    boot_error: AtomicU64,
    glimpse: AtomicU64,
    counters: [AtomicU64; 8],
    /// A length byte, then the name.
    name: [AtomicU64; 8],
    /// The longest turn of late, and when that began.
    lag: AtomicU64,
    spare: [AtomicU64; 7],
}

/// The whole page. The master makes one; forked processes inherit the mapping.
///
/// ```
/// use workhive_ipc::{Counters, SlotState, StatsPage};
///
/// let page = StatsPage::new(4)?;
/// let row = page.row(0).unwrap();
/// row.assign(0, "push", 2, 1);
/// row.set_pid(4711);
/// row.set_state(SlotState::Ready);
/// row.publish(&Counters { messages: 10, ..Counters::default() });
/// assert_eq!(page.row(0).unwrap().counters().messages, 10);
/// assert_eq!(row.find_pid(4711), Some(("push".to_owned(), 2)));
/// assert!(page.row(4).is_none());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct StatsPage {
    shared: Rc<Shared>,
    file: Rc<OwnedFd>,
}

#[derive(Debug)]
struct Shared {
    mapping: Mapping,
    rows: usize,
}

impl Shared {
    fn cells(&self) -> &[Cells] {
        // SAFETY: `Cells` is made of AtomicU64 only, is valid for any bytes, and aligns to 64.
        unsafe { self.mapping.slice::<Cells>(self.rows) }
    }
}

impl StatsPage {
    /// What the rows look like: another number means that they cannot be read by this version.
    pub const LAYOUT: u32 = 2;

    /// A page of `rows` empty rows, 256 bytes each, in a memfd (`memfd_create(2)`) that cannot change its size.
    ///
    /// ```
    /// assert!(workhive_ipc::StatsPage::new(8).is_ok());
    /// assert!(workhive_ipc::StatsPage::new(0).is_err());
    /// ```
    pub fn new(rows: usize) -> io::Result<Self> {
        let bytes = rows
            .checked_mul(size_of::<Cells>())
            .and_then(NonZeroUsize::new)
            .ok_or(io::ErrorKind::InvalidInput)?;
        let length = i64::try_from(bytes.get()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let file = memfd_create(
            "workhive-stats",
            MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING,
        )?;
        ftruncate(&file, length)?;
        // Were the file to shrink, reading a row would be a SIGBUS.
        fcntl(
            &file,
            FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW),
        )?;
        Self::map(file, rows, bytes)
    }

    /// The page of a master that has executed this program anew: `file` is what [`as_fd`](AsFd::as_fd) gave there, and
    /// `rows` and `layout` what [`len`](Self::len) and [`LAYOUT`](Self::LAYOUT) were. `InvalidData` if that master's
    /// rows are not as ours: it is of another version.
    ///
    /// ```
    /// use std::os::fd::AsFd;
    /// use workhive_ipc::StatsPage;
    ///
    /// let page = StatsPage::new(4)?;
    /// let there = StatsPage::open(page.as_fd().try_clone_to_owned()?, page.len(), StatsPage::LAYOUT)?;
    /// there.row(1).unwrap().set_pid(7);
    /// assert_eq!(page.row(1).unwrap().pid(), 7);
    /// assert!(StatsPage::open(page.as_fd().try_clone_to_owned()?, 5, StatsPage::LAYOUT).is_err());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn open(file: OwnedFd, rows: usize, layout: u32) -> io::Result<Self> {
        let wrong = |why| io::Error::new(io::ErrorKind::InvalidData, why);
        if layout != Self::LAYOUT {
            return Err(wrong("the stats page is of another version of workhive"));
        }
        let bytes = rows
            .checked_mul(size_of::<Cells>())
            .and_then(NonZeroUsize::new)
            .ok_or(io::ErrorKind::InvalidInput)?;
        // Only what cannot shrink is mapped.
        let sealed = fcntl(&file, FcntlArg::F_GET_SEALS)?;
        let length = nix::sys::stat::fstat(&file)?.st_size;
        let sealed = sealed & libc::F_SEAL_SHRINK != 0;
        if !sealed || usize::try_from(length) != Ok(bytes.get()) {
            return Err(wrong("this descriptor is no stats page of that size"));
        }
        Self::map(file, rows, bytes)
    }

    fn map(file: OwnedFd, rows: usize, bytes: NonZeroUsize) -> io::Result<Self> {
        let mapping = Mapping::shared(&file, bytes)?;
        Ok(Self {
            shared: Rc::new(Shared { mapping, rows }),
            file: Rc::new(file),
        })
    }

    /// How many rows there are.
    ///
    /// ```
    /// assert_eq!(workhive_ipc::StatsPage::new(3)?.len(), 3);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[allow(clippy::len_without_is_empty)] // A page has at least one row.
    pub fn len(&self) -> usize {
        self.shared.rows
    }

    /// The row at `index`; `None` past the last.
    ///
    /// ```
    /// assert!(workhive_ipc::StatsPage::new(3)?.row(2).is_some());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn row(&self, index: usize) -> Option<Row> {
        (index < self.shared.rows).then(|| Row {
            shared: Rc::clone(&self.shared),
            index,
        })
    }

    /// All rows, the empty ones too.
    ///
    /// ```
    /// assert_eq!(workhive_ipc::StatsPage::new(3)?.rows().count(), 3);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn rows(&self) -> impl FusedIterator<Item = Row> + use<> {
        rows(&self.shared)
    }
}

fn rows(shared: &Rc<Shared>) -> impl FusedIterator<Item = Row> + use<> {
    let shared = Rc::clone(shared);
    (0..shared.rows).map(move |index| Row {
        shared: Rc::clone(&shared),
        index,
    })
}

impl AsFd for StatsPage {
    /// The memory behind the page, to be handed to a program that is executed.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// One process's row.
#[derive(Clone)]
pub struct Row {
    shared: Rc<Shared>,
    index: usize,
}

impl Row {
    fn cells(&self) -> &Cells {
        // Rows are only made for indexes inside the page.
        &self.shared.cells()[self.index]
    }

    /// Which row of the page it is.
    ///
    /// ```
    /// assert_eq!(workhive_ipc::StatsPage::new(3)?.row(2).unwrap().index(), 2);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn index(&self) -> usize {
        self.index
    }

    /// Gives the row to a process that is about to be forked: zeroes the counters, sets who it is, with state
    /// [`SlotState::Starting`]. The pid follows by [`Row::set_pid`]. A name is cut at 63 bytes.
    ///
    /// ```
    /// let row = workhive_ipc::StatsPage::new(1)?.row(0).unwrap();
    /// row.assign(0, "push", 3, 7);
    /// assert_eq!((row.group(), row.slot(), row.generation()), ("push".to_owned(), 3, 7));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn assign(&self, group_index: u16, group: &str, slot: u16, generation: u32) {
        let cells = self.cells();
        cells.pid.store(0, Ordering::Relaxed);
        self.publish(&Counters::default());
        let cut = &group.as_bytes()[..group.floor_char_boundary(NAME)];
        let mut bytes = [0; NAME + 1];
        bytes[0] = u8::try_from(cut.len()).unwrap_or(0);
        bytes[1..=cut.len()].copy_from_slice(cut);
        for (cell, word) in cells.name.iter().zip(bytes.as_chunks::<8>().0) {
            cell.store(u64::from_ne_bytes(*word), Ordering::Relaxed);
        }
        cells.group.store(group_index.into(), Ordering::Relaxed);
        cells.slot.store(slot.into(), Ordering::Relaxed);
        cells.generation.store(generation.into(), Ordering::Relaxed);
        cells.started_at.store(0, Ordering::Relaxed);
        cells.boot_error.store(0, Ordering::Relaxed);
        cells.lag.store(0, Ordering::Relaxed);
        cells.glimpse.store(0, Ordering::Relaxed);
        self.set_state(SlotState::Starting);
    }

    /// Gives the row back: state [`SlotState::Empty`], no pid.
    ///
    /// ```
    /// let row = workhive_ipc::StatsPage::new(1)?.row(0).unwrap();
    /// row.set_pid(5);
    /// row.clear();
    /// assert_eq!(row.pid(), 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn clear(&self) {
        self.cells().pid.store(0, Ordering::Release);
        self.set_state(SlotState::Empty);
    }

    /// The process; 0 if none.
    ///
    /// ```
    /// let row = workhive_ipc::StatsPage::new(1)?.row(0).unwrap();
    /// assert_eq!(row.pid(), 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn pid(&self) -> u32 {
        // Acquire, with the Release of `set_pid`: who sees the pid sees whose it is.
        u32::try_from(self.cells().pid.load(Ordering::Acquire)).unwrap_or(0)
    }

    /// Sets the process.
    ///
    /// ```
    /// let row = workhive_ipc::StatsPage::new(1)?.row(0).unwrap();
    /// row.set_pid(7);
    /// assert_eq!(row.pid(), 7);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_pid(&self, pid: u32) {
        self.cells().pid.store(pid.into(), Ordering::Release);
    }

    /// The group's place in the hive's list of groups.
    ///
    /// ```
    /// let row = workhive_ipc::StatsPage::new(1)?.row(0).unwrap();
    /// row.assign(3, "push", 0, 0);
    /// assert_eq!(row.group_index(), 3);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn group_index(&self) -> u16 {
        u16::try_from(self.cells().group.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// The group's name.
    ///
    /// ```
    /// let row = workhive_ipc::StatsPage::new(1)?.row(0).unwrap();
    /// row.assign(0, "push", 0, 0);
    /// assert_eq!(row.group(), "push");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn group(&self) -> String {
        let mut bytes = [0; NAME + 1];
        for (cell, word) in self.cells().name.iter().zip(bytes.as_chunks_mut::<8>().0) {
            *word = cell.load(Ordering::Relaxed).to_ne_bytes();
        }
        let length = usize::from(bytes[0]).min(NAME);
        String::from_utf8_lossy(&bytes[1..=length]).into_owned()
    }

    /// The slot in its group.
    ///
    /// ```
    /// let row = workhive_ipc::StatsPage::new(1)?.row(0).unwrap();
    /// row.assign(0, "push", 2, 0);
    /// assert_eq!(row.slot(), 2);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn slot(&self) -> u16 {
        u16::try_from(self.cells().slot.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// How often the slot had been filled before.
    ///
    /// ```
    /// let row = workhive_ipc::StatsPage::new(1)?.row(0).unwrap();
    /// row.assign(0, "push", 0, 9);
    /// assert_eq!(row.generation(), 9);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn generation(&self) -> u32 {
        u32::try_from(self.cells().generation.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// What the process is at.
    ///
    /// ```
    /// let row = workhive_ipc::StatsPage::new(1)?.row(0).unwrap();
    /// assert_eq!(row.state(), workhive_ipc::SlotState::Empty);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn state(&self) -> SlotState {
        SlotState::from_number(self.cells().state.load(Ordering::Relaxed))
    }

    /// Sets what the process is at.
    ///
    /// ```
    /// let row = workhive_ipc::StatsPage::new(1)?.row(0).unwrap();
    /// row.set_state(workhive_ipc::SlotState::Ready);
    /// assert_eq!(row.state(), workhive_ipc::SlotState::Ready);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_state(&self, state: SlotState) {
        self.cells().state.store(state as u64, Ordering::Relaxed);
    }

    /// When the process was started, in milliseconds of Unix time; 0 if it never was.
    ///
    /// ```
    /// let row = workhive_ipc::StatsPage::new(1)?.row(0).unwrap();
    /// assert_eq!(row.started_at(), 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn started_at(&self) -> u64 {
        self.cells().started_at.load(Ordering::Relaxed)
    }

    /// Sets when the process was started, in milliseconds of Unix time.
    ///
    /// ```
    /// let row = workhive_ipc::StatsPage::new(1)?.row(0).unwrap();
    /// row.set_started_at(1_767_323_045_678);
    /// assert_eq!(row.started_at(), 1_767_323_045_678);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_started_at(&self, unix_ms: u64) {
        self.cells().started_at.store(unix_ms, Ordering::Relaxed);
    }

    /// What the process could not do before it ran any code of its own: a number for the step, and the error number,
    /// errno(3).
    ///
    /// ```
    /// let row = workhive_ipc::StatsPage::new(1)?.row(0).unwrap();
    /// row.assign(0, "push", 2, 1);
    /// assert_eq!(row.boot_error(), None);
    /// row.set_boot_error(1, 2);
    /// assert_eq!(row.boot_error(), Some((1, 2)));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn boot_error(&self) -> Option<(u16, i32)> {
        let word = self.cells().boot_error.load(Ordering::Relaxed);
        let step = u16::try_from(word >> 32).ok()?;
        let errno = i32::try_from(word & 0xffff_ffff).ok()?;
        (step > 0).then_some((step, errno))
    }

    /// Says what the process could not do. One store, so that a child may do it between fork(2) and execve(2).
    ///
    /// ```
    /// workhive_ipc::StatsPage::new(1)?.row(0).unwrap().set_boot_error(1, 13);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_boot_error(&self, step: u16, errno: i32) {
        let word = u64::from(step) << 32 | u64::from(errno.unsigned_abs());
        self.cells().boot_error.store(word, Ordering::Relaxed);
    }

    /// Where in the process its [`Glimpse`](crate::Glimpse) is; 0 if it has none.
    ///
    /// ```
    /// let row = workhive_ipc::StatsPage::new(1)?.row(0).unwrap();
    /// assert_eq!(row.glimpse(), 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn glimpse(&self) -> u64 {
        self.cells().glimpse.load(Ordering::Relaxed)
    }

    /// Sets where in the process its [`Glimpse`](crate::Glimpse) is.
    ///
    /// ```
    /// let row = workhive_ipc::StatsPage::new(1)?.row(0).unwrap();
    /// let glimpse = workhive_ipc::Glimpse::default();
    /// row.set_glimpse(glimpse.address());
    /// assert_eq!(row.glimpse(), glimpse.address());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_glimpse(&self, address: u64) {
        self.cells().glimpse.store(address, Ordering::Relaxed);
    }

    /// Writes all counters. Eight stores to one cache line, no system call.
    ///
    /// ```
    /// let row = workhive_ipc::StatsPage::new(1)?.row(0).unwrap();
    /// row.publish(&workhive_ipc::Counters { accepted: 1, ..Default::default() });
    /// assert_eq!(row.counters().accepted, 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn publish(&self, counters: &Counters) {
        for (cell, value) in self.cells().counters.iter().zip(counters.to_words()) {
            cell.store(value, Ordering::Relaxed);
        }
    }

    /// Reads all counters.
    ///
    /// ```
    /// let row = workhive_ipc::StatsPage::new(1)?.row(0).unwrap();
    /// assert_eq!(row.counters(), workhive_ipc::Counters::default());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn counters(&self) -> Counters {
        let mut words = [0; 8];
        for (word, cell) in words.iter_mut().zip(&self.cells().counters) {
            *word = cell.load(Ordering::Relaxed);
        }
        Counters::from_words(words)
    }

    /// Sets the heartbeat deadline alone: by when, in milliseconds of the monotonic clock, the loop will be back from
    /// what it does now. 0 while it waits for events, so that an idle worker is never taken for a stuck one.
    ///
    /// ```
    /// let row = workhive_ipc::StatsPage::new(1)?.row(0).unwrap();
    /// row.set_deadline(60_000);
    /// assert_eq!(row.counters().heartbeat_deadline_ms, 60_000);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_deadline(&self, monotonic_ms: u64) {
        self.cells().counters[7].store(monotonic_ms, Ordering::Relaxed);
    }

    /// The longest turn of the process's loop of late, and since when, in seconds of the monotonic clock: as long, at
    /// most, did others wait for their turn. None if there was none.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let row = workhive_ipc::StatsPage::new(1)?.row(0).unwrap();
    /// assert_eq!(row.lag(), None);
    /// row.set_lag(7, Duration::from_millis(3));
    /// assert_eq!(row.lag(), Some((7, Duration::from_millis(3))));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn lag(&self) -> Option<(u32, Duration)> {
        let word = self.cells().lag.load(Ordering::Relaxed);
        let since = u32::try_from(word >> 32).ok()?;
        let longest = Duration::from_micros(word & 0xffff_ffff);
        (word > 0).then_some((since, longest))
    }

    /// Says what the longest turn was since that second. In microseconds, an hour at the most.
    ///
    /// ```
    /// workhive_ipc::StatsPage::new(1)?.row(0).unwrap().set_lag(7, std::time::Duration::from_millis(3));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_lag(&self, since: u32, longest: Duration) {
        let longest = u32::try_from(longest.as_micros()).unwrap_or(u32::MAX);
        let word = u64::from(since) << 32 | u64::from(longest);
        self.cells().lag.store(word, Ordering::Relaxed);
    }

    /// All rows of the page, this one and the empty ones included.
    ///
    /// ```
    /// assert_eq!(workhive_ipc::StatsPage::new(3)?.row(1).unwrap().siblings().count(), 3);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn siblings(&self) -> impl FusedIterator<Item = Self> + use<> {
        rows(&self.shared)
    }

    /// Which group and slot the process `pid` fills, if it is one of this hive.
    ///
    /// ```
    /// let row = workhive_ipc::StatsPage::new(1)?.row(0).unwrap();
    /// row.assign(0, "push", 2, 0);
    /// row.set_pid(7);
    /// assert_eq!(row.find_pid(7), Some(("push".to_owned(), 2)));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn find_pid(&self, pid: u32) -> Option<(String, u16)> {
        if pid == 0 {
            return None;
        }
        self.siblings()
            .find(|row| row.pid() == pid)
            .map(|row| (row.group(), row.slot()))
    }
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Row")
            .field("index", &self.index)
            .field("pid", &self.pid())
            .field("group", &self.group())
            .field("slot", &self.slot())
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

/// What a process is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum SlotState {
    /// The row belongs to no process.
    Empty = 0,
    /// Forked, not yet ready.
    Starting = 1,
    /// It serves.
    Ready = 2,
    /// It finishes what it has in hand.
    Draining = 3,
    /// It has been told to end now.
    Stopping = 4,
    /// It has failed; the slot waits before the next attempt.
    Backoff = 5,
}

impl SlotState {
    fn from_number(number: u64) -> Self {
        match number {
            1 => Self::Starting,
            2 => Self::Ready,
            3 => Self::Draining,
            4 => Self::Stopping,
            5 => Self::Backoff,
            _ => Self::Empty,
        }
    }

    /// The state in one lower-case word, for tables.
    ///
    /// ```
    /// assert_eq!(workhive_ipc::SlotState::Ready.name(), "ready");
    /// ```
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Draining => "draining",
            Self::Stopping => "stopping",
            Self::Backoff => "backoff",
        }
    }
}

/// What a worker counts. All but `connections` and the deadline only ever grow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections open now.
    pub connections: u64,
    /// Connections accepted.
    pub accepted: u64,
    /// Messages decoded.
    pub messages: u64,
    /// Bytes received from peers.
    pub bytes_read: u64,
    /// Bytes handed to the system for peers.
    pub bytes_written: u64,
    /// Sends that were refused: no room, or nobody there.
    pub send_failures: u64,
    /// Timers set now.
    pub timers: u64,
    /// See [`Row::set_deadline`].
    pub heartbeat_deadline_ms: u64,
}

impl Counters {
    fn to_words(self) -> [u64; 8] {
        [
            self.connections,
            self.accepted,
            self.messages,
            self.bytes_read,
            self.bytes_written,
            self.send_failures,
            self.timers,
            self.heartbeat_deadline_ms,
        ]
    }

    fn from_words(words: [u64; 8]) -> Self {
        let [
            connections,
            accepted,
            messages,
            bytes_read,
            bytes_written,
            send_failures,
            timers,
            heartbeat_deadline_ms,
        ] = words;
        Self {
            connections,
            accepted,
            messages,
            bytes_read,
            bytes_written,
            send_failures,
            timers,
            heartbeat_deadline_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_takes_four_cache_lines() {
        assert_eq!(size_of::<Cells>(), 256);
    }

    #[test]
    fn a_forked_process_writes_and_this_one_reads() {
        let page = StatsPage::new(8).unwrap();
        let row = page.row(7).unwrap();
        row.assign(1, "echo", 2, 3);
        // SAFETY: the child only stores to shared memory and exits, both async-signal-safe.
        match unsafe { nix::unistd::fork() }.unwrap() {
            nix::unistd::ForkResult::Child => {
                row.publish(&Counters {
                    accepted: 5,
                    bytes_written: 6,
                    ..Counters::default()
                });
                // SAFETY: ends the child without running this process's exit handlers.
                unsafe { libc::_exit(0) }
            }
            nix::unistd::ForkResult::Parent { child } => {
                nix::sys::wait::waitpid(child, None).unwrap();
            }
        }
        assert_eq!(
            page.row(7).unwrap().counters(),
            Counters {
                accepted: 5,
                bytes_written: 6,
                ..Counters::default()
            }
        );
        assert_eq!(page.row(6).unwrap().counters(), Counters::default());
    }

    #[test]
    fn long_names_are_cut_between_characters() {
        let row = StatsPage::new(1).unwrap().row(0).unwrap();
        row.assign(0, &"é".repeat(40), 0, 0);
        assert_eq!(row.group(), "é".repeat(31));
    }

    #[test]
    fn a_row_that_was_given_back_is_found_by_no_pid() {
        let page = StatsPage::new(2).unwrap();
        let row = page.row(1).unwrap();
        row.assign(0, "echo", 1, 0);
        row.set_pid(42);
        assert_eq!(page.row(0).unwrap().find_pid(42), Some(("echo".into(), 1)));
        row.clear();
        assert_eq!(page.row(0).unwrap().find_pid(42), None);
        assert_eq!(row.find_pid(0), None);
    }

    #[test]
    fn a_page_without_rows_is_refused() {
        assert!(StatsPage::new(0).is_err());
        assert!(StatsPage::new(usize::MAX).is_err());
    }
}
