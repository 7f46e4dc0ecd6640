//! How a program ended.

use std::process::{ExitCode, Termination};

/// How a program ended, to be returned from `main`.
///
/// | code | means |
/// |---|---|
/// | 0 | done |
/// | 1 | it failed; the reason is on standard error |
/// | 2 | the command line, or the definition of a group, makes no sense |
/// | 3 | there is no such hive running (`stop`, `reload`, `status`) |
///
/// ```
/// assert_eq!(workhive::Exit::SUCCESS.code(), 0);
/// ```
#[must_use = "return it from main, or the process ends with 0"]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit(u8);

impl Exit {
    /// Done.
    pub const SUCCESS: Self = Self(0);
    /// It failed.
    pub const FAILURE: Self = Self(1);
    /// The command line, or the definition of a group, makes no sense.
    pub const USAGE: Self = Self(2);
    /// There is no such hive running.
    pub const NOT_RUNNING: Self = Self(3);

    /// The exit code.
    ///
    /// ```
    /// assert_eq!(workhive::Exit::USAGE.code(), 2);
    /// ```
    pub fn code(self) -> u8 {
        self.0
    }
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        ExitCode::from(self.0)
    }
}
