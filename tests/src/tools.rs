//! Foreign programs that a machine may lack.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;

/// The path of a program on `PATH`; if there is none, says that the test is skipped.
///
/// # Panics
/// If there is none and the environment says `CI=true`: there, nothing may be skipped.
pub fn find(program: &str) -> Option<PathBuf> {
    let found = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .map(|directory| directory.join(program))
        .find(|path| path.is_file());
    if found.is_none() {
        missing(&format!("there is no {program} on this machine"));
    }
    found
}

/// The path of a Python that has `module`; if there is none, says that the test is skipped.
///
/// # Panics
/// As [`find`].
pub fn python_with(module: &str) -> Option<PathBuf> {
    let python = find("python3")?;
    let has = Command::new(&python)
        .args(["-c", &format!("import {module}")])
        .output()
        .is_ok_and(|output| output.status.success());
    if !has {
        missing(&format!("python3 has no module {module}"));
    }
    has.then_some(python)
}

/// What a test needs is missing here; says that it is skipped.
///
/// # Panics
/// As [`find`].
pub fn missing(why: &str) {
    let ci = std::env::var("CI").is_ok_and(|value| value == "true");
    assert!(!ci, "nothing may be missing here: {why}");
    skip(why);
}

/// Says that a test is skipped, and why. Straight to standard error: what a test prints in the usual way is shown only
/// when it fails.
pub fn skip(why: &str) {
    // Without standard error there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}
