//! The packages, built and installed the way their users do it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use workhive_tests::tools;

use super::built::{build_folder, library, stripped};
use super::list::folder;

/// An environment of its own in which the wheel is installed, and what its tests need; `None` if that is not to be had.
pub(crate) fn python() -> Option<PathBuf> {
    let python = tools::find("python3")?;
    let cc = tools::find("cc")?;
    let (target, _lock) = build_folder("python");
    let venv = target.join("venv");
    if is_current(&target, "python") {
        return Some(venv);
    }
    let library = stripped(&library(), &target);
    let package = folder().join("python");
    let wheels = || std::fs::read_dir(package.join("dist")).expect("a folder");
    let steps = [
        vec![package.join("build")],
        vec![
            python.clone(),
            "-m".into(),
            "venv".into(),
            "--clear".into(),
            venv.clone(),
        ],
    ];
    for step in steps {
        let command = run(
            &step,
            &package,
            &[
                ("WORKHIVE_LIBRARY", &library),
                ("CC", &cc),
                ("PYTHON", &python),
            ],
        );
        done(command)?;
    }
    let mut install = vec![venv.join("bin/pip"), "--quiet".into(), "install".into()];
    install.extend(wheels().map(|entry| entry.expect("an entry").path()));
    install.extend(["pytest==9.2.0", "websockets==17.4", "mypy==2.4.1"].map(PathBuf::from));
    done(run(&install, &package, &[]))?;
    make_current(&target);
    Some(venv)
}

/// The addon is built where the package lies; `None` if this machine has no Node, or not its headers.
pub(crate) fn node() -> Option<PathBuf> {
    let node = tools::find("node")?;
    let (target, _lock) = build_folder("node");
    let package = folder().join("node");
    if !is_current(&target, "node") || !package.join("native/workhive.node").is_file() {
        let library = stripped(&library(), &target);
        done(run(
            &[package.join("build")],
            &package,
            &[("WORKHIVE_LIBRARY", &library)],
        ))?;
        make_current(&target);
    }
    Some(node)
}

/// PHP with what the package needs of it; `None` if this machine lacks it.
pub(crate) fn php() -> Option<PathBuf> {
    let php = tools::find("php")?;
    let has = Command::new(&php)
        .args([
            "-r",
            "exit(extension_loaded('FFI') && extension_loaded('pcntl') ? 0 : 1);",
        ])
        .output()
        .is_ok_and(|output| output.status.success());
    if !has {
        tools::missing("php has no FFI or no pcntl");
    }
    has.then_some(php)
}

/// A command in a folder, with these paths in its environment.
fn run(words: &[PathBuf], folder: &Path, environment: &[(&str, &Path)]) -> Command {
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).current_dir(folder);
    // Else a language that is told where packages are does not see those of an environment.
    command.env_remove("PYTHONPATH").env_remove("PYTHONHOME");
    for (name, value) in environment {
        command.env(name, value);
    }
    command
}

/// Runs a step of an installation; without it, the machine lacks something.
pub(crate) fn done(mut command: Command) -> Option<()> {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    if output.status.success() {
        return Some(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    tools::missing(&format!("{command:?} has failed: {said}"));
    None
}

/// Whether a folder was made after the library and the sources of a package were last changed.
fn is_current(target: &Path, package: &str) -> bool {
    let time = |path: &Path| path.metadata().and_then(|it| it.modified());
    let Ok(made) = time(&target.join(".made")) else {
        return false;
    };
    let package = folder().join(package);
    let header = folder().join("include/workhive.h");
    let mut sources = vec![header, library()];
    for place in ["", "src", "src/workhive", "native", "lib"] {
        let entries = std::fs::read_dir(package.join(place)).into_iter().flatten();
        sources.extend(entries.map(|entry| entry.expect("an entry").path()));
    }
    let is_source = |path: &PathBuf| {
        let endings = ["py", "c", "h", "js", "mjs", "ts", "toml", "cfg", "json"];
        let ending = path.extension().and_then(|ending| ending.to_str());
        ending.is_some_and(|ending| endings.contains(&ending) || ending == "so") && path.is_file()
    };
    // The library is a copy where a package has one.
    let is_ours = |path: &PathBuf| *path == library() || !path.to_string_lossy().contains(".so");
    let changed = |path: &PathBuf| time(path).unwrap_or_else(|_| SystemTime::now());
    sources
        .iter()
        .filter(|path| is_source(path) && is_ours(path))
        .all(|path| changed(path) <= made)
}

fn make_current(target: &Path) {
    std::fs::write(target.join(".made"), "").expect("a file");
}
