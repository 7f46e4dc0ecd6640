//! The one place where the bench calls workhive itself.

use std::ffi::OsString;
use std::process::{ExitCode, Termination};

/// Becomes the program `workhive` with these arguments, which begin after the program's name.
pub(crate) fn serve(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let program = std::iter::once(OsString::from("workhive"));
    workhive::app::main_from(program.chain(arguments)).report()
}
