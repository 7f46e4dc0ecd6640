//! The one place where the bench calls workhive itself.

use std::ffi::OsString;
use std::process::ExitCode;

/// Becomes the program `workhive` with these arguments, which begin after the program's name.
pub(crate) fn serve(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let _arguments: Vec<OsString> = std::iter::once(OsString::from("workhive"))
        .chain(arguments)
        .collect();
    // To be: `workhive::app::main_from(_arguments).report()`, with `use std::process::Termination`.
    eprintln!("workhive is not part of this build of the bench yet");
    ExitCode::FAILURE
}
