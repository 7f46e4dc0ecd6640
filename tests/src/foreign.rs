//! Programs that know nothing of workhive: those of the folder `programs`, under `workhive run`.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::{Setup, eventually, tools};

/// The path of a program of the folder `programs`.
pub fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("programs")
        .join(name)
}

/// `workhive run` with these options; `path` is that of `workhive`.
pub fn run(path: &str, options: &[&str]) -> Setup {
    Setup::new(path)
        .words(["run"])
        .options(options.iter().copied())
}

/// The program that does what it is told, one thing after the other; none if there is no Python.
pub fn does(setup: Setup, what: &[&str]) -> Option<Setup> {
    let python = tools::find("python3")?.display().to_string();
    let setup = setup.runs([python, source("does.py").display().to_string()]);
    Some(setup.runs(what.iter().copied()))
}

/// What `record=..` has written into the file `record`, one for each process.
///
/// # Panics
/// If there are not so many in time.
#[track_caller]
pub fn records(setup: &Setup, count: usize) -> Vec<Value> {
    eventually("all processes have written", || {
        let text = std::fs::read_to_string(setup.path("record")).unwrap_or_default();
        let lines = text.lines();
        let all: Vec<Value> = lines
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        (all.len() >= count).then_some(all)
    })
}
