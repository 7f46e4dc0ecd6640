//! What callbacks are lent: numbers in the shape of pointers, which are compared and never followed.

use std::cell::Cell;
use std::ffi::c_void;
use std::ptr::NonNull;

use crate::codes::{WH_ERR_NULL, WH_ERR_STATE};
use crate::error::{Failure, Outcome};

/// One thing of a kind that is lent at a time. What it is may borrow, so its type is that of whoever lends and looks:
/// [`lend`](Slot::lend) and [`get`](Slot::get) of one slot must agree on it.
pub(crate) struct Slot {
    /// The tag of what is lent, and where it is.
    current: Cell<Option<(usize, NonNull<c_void>)>>,
    next: Cell<usize>,
}

impl Slot {
    /// `kind` makes the tags of two slots different: 1 to 7.
    pub(crate) const fn new(kind: usize) -> Self {
        Self {
            current: Cell::new(None),
            next: Cell::new(kind),
        }
    }

    /// Lends `value` for as long as `use_it` runs.
    pub(crate) fn lend<T, R>(&self, value: &T, use_it: impl FnOnce(*mut c_void) -> R) -> R {
        let tag = self.next.get();
        // The next tag is another one, whatever is lent until then.
        self.next.set(tag.wrapping_add(8));
        let before = self
            .current
            .replace(Some((tag, NonNull::from(value).cast())));
        let given = Given { slot: self, before };
        let result = use_it(std::ptr::without_provenance_mut(tag));
        drop(given);
        result
    }

    /// Where that is which `tag` was lent for.
    pub(crate) fn get(&self, tag: *const c_void) -> Outcome<NonNull<c_void>> {
        if tag.is_null() {
            return Err(Failure::known(WH_ERR_NULL, "what was lent is NULL"));
        }
        match self.current.get() {
            Some((current, place)) if current == tag.addr() => Ok(place),
            _ => Err(Failure::known(
                WH_ERR_STATE,
                "it was lent to a callback that has returned, or never",
            )),
        }
    }
}

struct Given<'a> {
    slot: &'a Slot,
    before: Option<(usize, NonNull<c_void>)>,
}

impl Drop for Given<'_> {
    fn drop(&mut self) {
        self.slot.current.set(self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_lent_is_known_until_it_is_given_back_and_never_again() {
        let slot = Slot::new(1);
        let first = slot.lend(&1u32, |tag| {
            assert!(slot.get(tag).is_ok());
            assert!(slot.get(std::ptr::null()).is_err());
            assert!(slot.get(tag.wrapping_byte_add(8)).is_err());
            tag
        });
        assert_eq!(slot.get(first).expect_err("given back").code, WH_ERR_STATE);
        slot.lend(&2u32, |tag| {
            assert!(slot.get(tag).is_ok());
            assert!(slot.get(first).is_err(), "the one before is another");
        });
    }

    #[test]
    fn what_was_lent_before_comes_back_when_the_inner_one_is_given_back() {
        let slot = Slot::new(2);
        slot.lend(&1u32, |outer| {
            slot.lend(&2u32, |_| assert!(slot.get(outer).is_err()));
            assert!(slot.get(outer).is_ok());
        });
    }
}
