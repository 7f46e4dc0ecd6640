//! Handles: numbers that stay safe when what they named is gone.
//!
//! A number has a tag for its kind in bits 60 to 62, a generation in 28 bits below it and a row in the low 32 bits. Bit 63
//! is never set. Connections have the tag 0 and numbers of their own: 37 bits of the connection's sequence above 23 bits
//! of its row. So no number of one kind is ever taken for one of another.

use std::sync::atomic::{AtomicU32, Ordering};

use workhive::Handle;
use workhive_worker::Untyped;

use crate::codes::WH_ERR_HANDLE;
use crate::error::{Failure, Outcome};

/// What a handle names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Hive = 1,
    Worker = 2,
    Timer = 3,
    Mailbox = 4,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Hive => "hive",
            Self::Worker => "worker",
            Self::Timer => "timer",
            Self::Mailbox => "mailbox",
        }
    }
}

const GENERATIONS: u32 = 1 << 28;

/// How far apart the generations begin in the tables of different threads, so that a handle of a thread that has ended
/// names nothing of another one.
const APART: u32 = 1 << 16;
static TABLES: AtomicU32 = AtomicU32::new(0);

/// All that handles of one kind name.
pub(crate) struct Table<T> {
    kind: Kind,
    /// The first generation of every row, once there is one.
    first: Option<u32>,
    rows: Vec<Row<T>>,
    /// Rows that can be given out again.
    free: Vec<u32>,
}

struct Row<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Table<T> {
    pub(crate) const fn new(kind: Kind) -> Self {
        Self {
            kind,
            first: None,
            rows: Vec::new(),
            free: Vec::new(),
        }
    }

    pub(crate) fn insert(&mut self, value: T) -> u64 {
        let row = if let Some(row) = self.free.pop() {
            row
        } else {
            let first = *self.first.get_or_insert_with(|| {
                let table = TABLES.fetch_add(1, Ordering::Relaxed);
                table.wrapping_mul(APART) % (GENERATIONS / 2)
            });
            self.rows.push(Row {
                generation: first,
                value: None,
            });
            // Memory ends before the numbers do.
            u32::try_from(self.rows.len() - 1).unwrap_or(u32::MAX)
        };
        let entry = &mut self.rows[row as usize];
        entry.value = Some(value);
        (u64::from(self.kind as u8) << 60) | (u64::from(entry.generation) << 32) | u64::from(row)
    }

    fn row(&self, handle: u64) -> Option<u32> {
        if handle >> 60 != u64::from(self.kind as u8) {
            return None;
        }
        let row = u32::try_from(handle & 0xffff_ffff).ok()?;
        let entry = self.rows.get(row as usize)?;
        (u64::from(entry.generation) == (handle >> 32) & u64::from(GENERATIONS - 1)).then_some(row)
    }

    pub(crate) fn get(&self, handle: u64) -> Outcome<&T> {
        self.row(handle)
            .and_then(|row| self.rows[row as usize].value.as_ref())
            .ok_or_else(|| wrong(handle, self.kind.name()))
    }

    pub(crate) fn values(&mut self) -> impl Iterator<Item = &mut T> {
        self.rows.iter_mut().filter_map(|row| row.value.as_mut())
    }

    /// Takes what the handle names out; the handle is none from now on.
    pub(crate) fn remove(&mut self, handle: u64) -> Outcome<T> {
        let row = self
            .row(handle)
            .filter(|row| self.rows[*row as usize].value.is_some());
        let row = row.ok_or_else(|| wrong(handle, self.kind.name()))?;
        let entry = &mut self.rows[row as usize];
        entry.generation += 1;
        // A row whose generations are used up is not given out any more.
        if entry.generation < GENERATIONS {
            self.free.push(row);
        }
        entry
            .value
            .take()
            .ok_or_else(|| wrong(handle, self.kind.name()))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.iter().all(|row| row.value.is_none())
    }
}

fn wrong(handle: u64, kind: &str) -> Failure {
    Failure::made(
        WH_ERR_HANDLE,
        format!("{handle:#x} is no {kind}, or no longer"),
    )
}

const ROW_BITS: u32 = 23;
const SEQ_BITS: u32 = 37;

/// The number of a connection; None if the process has more connections than there are numbers.
pub(crate) fn number_of(handle: Handle<Untyped>) -> Option<u64> {
    let (row, seq) = handle.into_raw();
    (row < 1 << ROW_BITS && seq > 0 && seq < 1 << SEQ_BITS)
        .then_some((seq << ROW_BITS) | u64::from(row))
}

/// The connection that a number stands for; it may have ended.
pub(crate) fn connection(number: u64) -> Outcome<Handle<Untyped>> {
    let seq = number >> ROW_BITS;
    match u32::try_from(number & ((1 << ROW_BITS) - 1)) {
        Ok(row) if seq > 0 && seq < 1 << SEQ_BITS => Ok(Handle::<Untyped>::from_raw(row, seq)),
        _ => Err(wrong(number, "connection")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_freed_handle_names_nothing_and_never_another() {
        let mut table = Table::new(Kind::Timer);
        let first = table.insert('a');
        assert_eq!(table.remove(first).expect("it is there"), 'a');
        let second = table.insert('b');
        assert_eq!(
            first & 0xffff_ffff,
            second & 0xffff_ffff,
            "the row is used again"
        );
        assert_eq!(
            table.get(first).expect_err("it was freed").code,
            WH_ERR_HANDLE
        );
        assert_eq!(
            table.remove(first).expect_err("it was freed").code,
            WH_ERR_HANDLE
        );
        assert_eq!(table.get(second).ok(), Some(&'b'));
    }

    #[test]
    fn no_handle_is_zero_has_the_top_bit_or_is_one_of_another_kind() {
        let kinds = [Kind::Hive, Kind::Worker, Kind::Timer, Kind::Mailbox];
        for kind in kinds {
            let mut table = Table::new(kind);
            let handle = table.insert(());
            assert_ne!(handle, 0);
            assert_eq!(handle >> 63, 0);
            assert!(connection(handle).is_err());
            for other in kinds.into_iter().filter(|other| *other != kind) {
                let mut others = Table::new(other);
                others.insert(());
                assert!(others.get(handle).is_err());
            }
        }
    }

    #[test]
    fn a_handle_of_one_table_names_nothing_in_the_next() {
        let (mut one, mut next) = (Table::new(Kind::Hive), Table::new(Kind::Hive));
        let handle = one.insert(());
        next.insert(());
        assert!(next.get(handle).is_err());
    }

    #[test]
    fn a_row_is_not_used_again_when_its_generations_are_used_up() {
        let mut table = Table::new(Kind::Hive);
        let handle = table.insert(());
        table.remove(handle).expect("it is there");
        table.rows[0].generation = GENERATIONS - 1;
        let last = table.insert(());
        assert_eq!(last & 0xffff_ffff, 0);
        table.remove(last).expect("it is there");
        assert_eq!(table.insert(()) & 0xffff_ffff, 1, "another row");
    }

    #[test]
    fn connections_have_numbers_that_lead_back_to_them() {
        for (row, seq) in [(0, 1), (7, 1), ((1 << 23) - 1, (1 << 37) - 1)] {
            let handle = Handle::<Untyped>::from_raw(row, seq);
            let number = number_of(handle).expect("within the numbers");
            assert_eq!(number >> 60, 0);
            assert_eq!(connection(number).expect("a connection"), handle);
        }
        assert_eq!(number_of(Handle::<Untyped>::from_raw(1 << 23, 1)), None);
        assert_eq!(number_of(Handle::<Untyped>::from_raw(0, 1 << 37)), None);
        for wrong in [0, 1, 1 << 60, u64::MAX, 1 << 63] {
            assert_eq!(
                connection(wrong).expect_err("no connection").code,
                WH_ERR_HANDLE
            );
        }
    }
}
