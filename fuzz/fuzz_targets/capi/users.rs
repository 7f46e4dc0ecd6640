//! What comes with callbacks: destroyed exactly once, and never used after.

use std::ffi::c_void;
use std::sync::{Mutex, PoisonError};

use crate::callbacks;

#[derive(Clone, Copy)]
struct User {
    destroyed: u8,
    /// It may outlive the run: that of a protocol, or of blocking work that the loop did not wait for.
    may_stay: bool,
}

static USERS: Mutex<Vec<User>> = Mutex::new(Vec::new());
/// Numbers of a past run are not those of this one.
static FIRST: Mutex<usize> = Mutex::new(1);

fn all<R>(what: impl FnOnce(&mut Vec<User>) -> R) -> R {
    what(&mut USERS.lock().unwrap_or_else(PoisonError::into_inner))
}

fn first() -> usize {
    *FIRST.lock().unwrap_or_else(PoisonError::into_inner)
}

pub fn begin() {
    let past = all(|users| std::mem::take(users).len());
    *FIRST.lock().unwrap_or_else(PoisonError::into_inner) += past;
}

fn new(may_stay: bool) -> *mut c_void {
    let index = all(|users| {
        users.push(User {
            destroyed: 0,
            may_stay,
        });
        users.len() - 1
    });
    std::ptr::without_provenance_mut(first() + index)
}

pub fn user() -> *mut c_void {
    new(false)
}

pub fn staying_user() -> *mut c_void {
    new(true)
}

/// A function is called with it.
pub fn used(user: *mut c_void) {
    let Some(index) = user.addr().checked_sub(first()) else {
        return; // of a past run: it was allowed to stay
    };
    all(|users| assert_eq!(users[index].destroyed, 0, "it was destroyed"));
}

pub unsafe extern "C" fn destroy(user: *mut c_void) {
    let Some(index) = user.addr().checked_sub(first()) else {
        return;
    };
    all(|users| {
        users[index].destroyed += 1;
        assert_eq!(users[index].destroyed, 1, "it is destroyed once");
    });
    callbacks::act();
}

pub fn end() {
    all(|users| {
        for (index, user) in users.iter().enumerate() {
            assert!(
                user.destroyed == 1 || user.may_stay,
                "the {index}th was not destroyed"
            );
        }
    });
}
