//! How a program in each language is found and started: the one place that knows.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use workhive_tests::tools;

use super::list::folder;

/// A language.
pub(crate) struct Language {
    name: &'static str,
    prepare: fn() -> Option<Vec<String>>,
    command: OnceLock<Option<Vec<String>>>,
}

/// C programs are compiled, with the header and the library of this checkout; the other packages are used as they lie in
/// the checkout, that of Node with its addon built.
static ALL: [Language; 4] = [
    Language::new("C", c),
    Language::new("Python", python),
    Language::new("PHP", php),
    Language::new("Node", node),
];

impl Language {
    const fn new(name: &'static str, prepare: fn() -> Option<Vec<String>>) -> Self {
        Self {
            name,
            prepare,
            command: OnceLock::new(),
        }
    }

    /// The language of this name.
    ///
    /// # Panics
    /// If there is none.
    pub(crate) fn named(name: &str) -> &'static Self {
        let found = ALL.iter().find(|language| language.name == name);
        found.unwrap_or_else(|| panic!("there is no language {name}"))
    }

    /// The command that starts the case server; `None` if this machine lacks the language.
    pub(crate) fn command(&self) -> Option<&[String]> {
        self.command.get_or_init(self.prepare).as_deref()
    }

    /// What its environment has beyond the usual.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        let mut found = vec![("WORKHIVE_LIBRARY".to_owned(), text(&library()))];
        if self.name == "Python" {
            found.push(("PYTHONPATH".to_owned(), text(&folder().join("python/src"))));
        }
        found
    }
}

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

/// A folder for what is built for tests, and a lock: one builds at a time.
pub(crate) fn build_folder(name: &str) -> (PathBuf, File) {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&path).expect("a folder");
    let lock = File::create(path.join(".lock")).expect("a file");
    lock.lock().expect("a lock");
    (path, lock)
}

fn c() -> Option<Vec<String>> {
    let cc = tools::find("cc")?;
    let (target, _lock) = build_folder("cases-c");
    let names = [
        "cases",
        "cases_orders",
        "cases_pages",
        "cases_push",
        "cases_netstring",
    ];
    let sources = names.map(|name| folder().join(format!("c/tests/{name}.c")));
    let program = target.join("cases");
    compile(&cc, &sources, &[], &linked_library(&target), &program);
    Some(vec![text(&program)])
}

fn python() -> Option<Vec<String>> {
    let python = tools::find("python3")?;
    Some(vec![text(&python), program("python/tests/cases.py")])
}

fn php() -> Option<Vec<String>> {
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
        return None;
    }
    Some(vec![text(&php), program("php/tests/cases.php")])
}

fn node() -> Option<Vec<String>> {
    let node = tools::find("node")?;
    Some(vec![text(&node), program("node/test/cases.js")])
}

fn program(name: &str) -> String {
    let path = folder().join(name);
    assert!(path.is_file(), "there is no {}", path.display());
    text(&path)
}

fn text(path: &Path) -> String {
    path.to_str().expect("a readable path").to_owned()
}
