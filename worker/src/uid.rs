//! The application's user ids.

use std::fmt;
use std::ops::Deref;
use std::rc::Rc;

use crate::error::RouteError;

/// A user id: 1 to 255 bytes, any value.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Uid(Rc<[u8]>);

impl Uid {
    /// Longest uid, in bytes.
    pub const MAX: usize = 255;

    /// Checks the length.
    ///
    /// ```
    /// # mod workhive { pub use workhive_protocols::*; pub use workhive_worker::*; }
    /// use workhive::{RouteError, Uid};
    ///
    /// assert_eq!(&*Uid::new("u1")?, b"u1");
    /// assert_eq!(Uid::new(""), Err(RouteError::Length { what: "uid", len: 0 }));
    /// # Ok::<(), RouteError>(())
    /// ```
    pub fn new(uid: impl AsRef<[u8]>) -> Result<Self, RouteError> {
        let uid = uid.as_ref();
        if uid.is_empty() || uid.len() > Self::MAX {
            return Err(RouteError::Length {
                what: "uid",
                len: uid.len(),
            });
        }
        Ok(Self(uid.into()))
    }
}

impl Deref for Uid {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Uid({self})")
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.escape_ascii().fmt(f)
    }
}
