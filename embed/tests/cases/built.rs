//! What is built for tests: the library by cargo, all else by the tests themselves.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::list::folder;

/// The shared library that cargo has built for this test, or that the environment names.
pub(crate) fn library() -> PathBuf {
    if let Some(path) = std::env::var_os("WORKHIVE_LIBRARY") {
        return path.into();
    }
    let program = std::env::current_exe().expect("a path");
    let mut folders = program.ancestors().skip(1).take(2);
    let found = folders.find_map(|folder| {
        let path = folder.join("libworkhive_embed.so");
        path.is_file().then_some(path)
    });
    found.unwrap_or_else(|| panic!("no libworkhive_embed.so beside {}", program.display()))
}

/// A copy of a library without what only debuggers read, a tenth of its size; as it is where there is no `strip`.
pub(crate) fn stripped(library: &Path, target: &Path) -> PathBuf {
    let copy = target.join("libworkhive.so");
    let strip = Command::new("strip")
        .arg("--strip-debug")
        .arg("-o")
        .args([&copy, library])
        .status();
    if strip.is_ok_and(|status| status.success()) {
        copy
    } else {
        library.to_owned()
    }
}

/// A folder for what is built for tests, and a lock: one builds at a time.
pub(crate) fn build_folder(name: &str) -> (PathBuf, File) {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&path).expect("a folder");
    let lock = File::create(path.join(".lock")).expect("a file");
    lock.lock().expect("a lock");
    (path, lock)
}

/// A folder in which the library has the names by which compiler and loader look for it.
pub(crate) fn linked_library(target: &Path) -> PathBuf {
    let target = target.join("lib");
    std::fs::create_dir_all(&target).expect("a folder");
    for name in ["libworkhive.so", "libworkhive.so.1"] {
        let link = target.join(name);
        // There is none, or it is one of an earlier run.
        let _ = std::fs::remove_file(&link);
        std::os::unix::fs::symlink(library(), &link).expect("a link");
    }
    target
}

/// Makes a shared library of a C source.
///
/// # Panics
/// With what the compiler says, if that is anything.
pub(crate) fn shared(cc: &Path, source: &Path, library: &Path) {
    let output = Command::new(cc)
        .args([
            "-std=c11", "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC",
        ])
        .arg(source)
        .arg("-o")
        .arg(library)
        .output()
        .expect("a compiler");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}

/// Compiles C sources with the header of this checkout.
///
/// # Panics
/// With what the compiler says, if that is anything.
pub(crate) fn compile(
    cc: &Path,
    sources: &[PathBuf],
    options: &[&str],
    lib: &Path,
    program: &Path,
) {
    let output = Command::new(cc)
        .args([
            "-std=c11",
            "-Wall",
            "-Wextra",
            "-Wpedantic",
            "-Werror",
            "-g",
            "-O1",
        ])
        .args(options)
        .arg("-I")
        .arg(folder().join("include"))
        .args(sources)
        .arg("-o")
        .arg(program)
        .arg("-L")
        .arg(lib)
        .arg(format!("-Wl,-rpath,{}", lib.display()))
        .args(["-lworkhive", "-lpthread"])
        .output()
        .expect("a compiler");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}
