//! Bytes and texts that cross the border, and the places where results go.

use std::cell::RefCell;
use std::ops::Deref;

use crate::codes::{WH_ERR_LENGTH, WH_ERR_NULL, WH_ERR_TOO_LONG, WH_ERR_UTF8, WH_ERR_VALUE};
use crate::error::{Failure, Outcome};

/// More bytes than a process can have at one place.
const MAX_LEN: usize = isize::MAX as usize >> if usize::BITS == 64 { 16 } else { 0 };

/// Longer than any text that makes sense.
const MAX_TEXT: usize = 16 * 1024 * 1024;

/// More than any list that makes sense.
const MAX_LIST: usize = 1024 * 1024;

/// Memory that is not worth a question: what protocols take by default, and more.
const SURELY: usize = 32 * 1024 * 1024;

/// Bytes that are lent; `data` may be NULL if `len` is 0.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct wh_bytes {
    /// The first of them.
    pub data: *const u8,
    /// How many there are.
    pub len: usize,
}

impl wh_bytes {
    /// What stands for "there is none".
    pub(crate) const NONE: Self = Self {
        data: std::ptr::null(),
        len: 0,
    };

    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self {
            data: bytes.as_ptr(),
            len: bytes.len(),
        }
    }

    pub(crate) fn of_option(bytes: Option<&[u8]>) -> Self {
        bytes.map_or(Self::NONE, Self::of)
    }
}

/// The bytes that a caller lends for the time of its call.
///
/// # Safety
/// There are `len` bytes at `data`, or `data` is NULL, and they stay as they are while the result is used.
pub(crate) unsafe fn bytes<'a>(data: *const u8, len: usize) -> Outcome<&'a [u8]> {
    if len == 0 {
        return Ok(&[]);
    }
    if data.is_null() {
        return Err(Failure::known(
            WH_ERR_NULL,
            "bytes are NULL, and their length is not 0",
        ));
    }
    check_len(len)?;
    // SAFETY: not NULL, no longer than memory can be, and the caller's promise for the rest.
    Ok(unsafe { std::slice::from_raw_parts(data, len) })
}

/// The same for text.
///
/// # Safety
/// As for [`bytes`].
pub(crate) unsafe fn text<'a>(data: *const std::ffi::c_char, len: usize) -> Outcome<&'a str> {
    // SAFETY: passed on.
    let bytes = unsafe { bytes(data.cast(), len) }?;
    if len > MAX_TEXT {
        return Err(Failure::made(
            WH_ERR_LENGTH,
            format!(
                "a text of {len} bytes is too long: names, headers and reasons have at most {MAX_TEXT}"
            ),
        ));
    }
    as_text(bytes)
}

/// Refuses bytes that there is no memory to copy: a protocol that wrote them would end the process.
pub(crate) fn check_room(len: usize) -> Outcome {
    if len <= SURELY {
        return Ok(());
    }
    // Twice, since a buffer that grows may do so by half of what it has. Nothing of it is ever touched.
    let mut probe = Vec::<u8>::new();
    probe.try_reserve_exact(len.saturating_mul(2)).map_err(|_| {
        Failure::made(
            WH_ERR_TOO_LONG,
            format!("there is no memory to send {len} bytes at once: send them in pieces"),
        )
    })
}

pub(crate) fn as_text(bytes: &[u8]) -> Outcome<&str> {
    str::from_utf8(bytes).map_err(|error| {
        Failure::made(
            WH_ERR_UTF8,
            format!(
                "text is not UTF-8, from its byte {} on",
                error.valid_up_to()
            ),
        )
    })
}

/// A row of bytes.
///
/// # Safety
/// There are `count` of them at `list`, each with as many bytes as it says, or `list` is NULL.
pub(crate) unsafe fn list<'a>(list: *const wh_bytes, count: usize) -> Outcome<Vec<&'a [u8]>> {
    if count == 0 {
        return Ok(Vec::new());
    }
    if list.is_null() {
        return Err(Failure::known(
            WH_ERR_NULL,
            "a list is NULL, and its length is not 0",
        ));
    }
    if count > MAX_LIST {
        return Err(Failure::made(
            WH_ERR_LENGTH,
            format!("a list has at most {MAX_LIST} entries, not {count}"),
        ));
    }
    if !list.is_aligned() {
        return Err(Failure::known(WH_ERR_VALUE, "a list is not aligned"));
    }
    // SAFETY: not NULL, aligned, no longer than memory can be, and the caller's promise for the rest.
    let list = unsafe { std::slice::from_raw_parts(list, count) };
    list.iter()
        // SAFETY: the caller's promise for each.
        .map(|item| unsafe { bytes(item.data, item.len) })
        .collect()
}

fn check_len(len: usize) -> Outcome {
    if len > MAX_LEN {
        return Err(Failure::made(
            WH_ERR_LENGTH,
            format!("a length of {len} bytes cannot be"),
        ));
    }
    Ok(())
}

/// Where a result goes.
pub(crate) struct Out<T>(*mut T);

impl<T> Out<T> {
    /// Checked before anything is done, so that nothing is done whose result has no place.
    ///
    /// # Safety
    /// `place` is NULL, or there is room for a `T` until the call ends.
    pub(crate) unsafe fn new(place: *mut T) -> Outcome<Self> {
        if place.is_null() {
            return Err(Failure::known(
                WH_ERR_NULL,
                "the pointer to where the result goes is NULL",
            ));
        }
        Ok(Self(place))
    }

    pub(crate) fn set(self, value: T) {
        // SAFETY: not NULL, and by the promise at its making there is room. It need not be aligned.
        unsafe { self.0.write_unaligned(value) };
    }

    /// Writes as much of a struct that grows at its end as the caller knows.
    pub(crate) fn set_up_to(self, value: T, size: usize) -> Outcome
    where
        T: Copy,
    {
        if size == 0 || size > 4096 {
            return Err(Failure::made(
                WH_ERR_LENGTH,
                format!("{size} is no size of this struct: pass its sizeof"),
            ));
        }
        let ours = size_of::<T>();
        // SAFETY: the caller has room for `size` bytes. What a newer caller knows beyond ours is zeroed.
        unsafe {
            std::ptr::copy_nonoverlapping(
                std::ptr::from_ref(&value).cast::<u8>(),
                self.0.cast::<u8>(),
                ours.min(size),
            );
            if size > ours {
                self.0.cast::<u8>().add(ours).write_bytes(0, size - ours);
            }
        }
        Ok(())
    }
}

/// Which function lends: each has a buffer of its own.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shelf {
    Remote,
    Local,
    Id,
    Uid,
    Uids,
    Rooms,
    Session,
    Place,
}

const SHELVES: usize = Shelf::Place as usize + 1;

thread_local! {
    static SHOWN: RefCell<[Vec<u8>; SHELVES]> = const { RefCell::new([const { Vec::new() }; SHELVES]) };
    static LISTED: RefCell<[Vec<wh_bytes>; SHELVES]> = const { RefCell::new([const { Vec::new() }; SHELVES]) };
}

/// Keeps bytes until this thread's next call that needs the shelf, and lends them.
pub(crate) fn show(shelf: Shelf, fill: impl FnOnce(&mut Vec<u8>)) -> wh_bytes {
    SHOWN.with_borrow_mut(|shelves| {
        let bytes = &mut shelves[shelf as usize];
        bytes.clear();
        fill(bytes);
        wh_bytes::of(bytes)
    })
}

/// The same for many; lent is their list.
pub(crate) fn show_list(
    shelf: Shelf,
    items: &[impl Deref<Target = [u8]>],
) -> (*const wh_bytes, usize) {
    let all = show(shelf, |bytes| {
        for item in items {
            bytes.extend_from_slice(item);
        }
    });
    LISTED.with_borrow_mut(|lists| {
        let list = &mut lists[shelf as usize];
        list.clear();
        let mut data = all.data;
        for item in items {
            let len = item.len();
            list.push(wh_bytes { data, len });
            data = data.wrapping_add(len);
        }
        (list.as_ptr(), list.len())
    })
}
