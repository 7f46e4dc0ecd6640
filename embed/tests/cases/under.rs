//! Case servers whose workers run under valgrind.
//!
//! The master does without, since valgrind knows no process descriptors (`pidfd_open(2)`): workers are executed anew, and
//! a small library that is preloaded into them (`under.c`) executes them once more, under valgrind.

use tempfile::TempDir;
use workhive_tests::{DEADLINE, Hive, Setup, tools, wait};

use super::built::{build_folder, shared};
use super::list::folder;

/// Functions of the library in a stack, or, if it has no names, its file.
const OURS: [&str; 3] = ["workhive::", "workhive_", "libworkhive"];

/// What is in the logs of valgrind is looked at when this is dropped, after the hive has ended.
pub(crate) struct Under {
    logs: TempDir,
    /// Interpreters have complaints of their own: then, one counts only if it is about what the library does, and not about
    /// what an interpreter does that the library has called.
    of_library: bool,
}

/// The setup with all that its workers need to run under valgrind; `None` if this machine has no valgrind.
pub(crate) fn valgrind(setup: Setup, of_library: bool) -> Option<(Setup, Under)> {
    let valgrind = tools::find("valgrind")?;
    let cc = tools::find("cc")?;
    let (target, _lock) = build_folder("under");
    let library = target.join("under.so");
    shared(&cc, &folder().join("tests/under/under.c"), &library);
    let logs = tempfile::tempdir().expect("a temporary directory");
    let command = [
        valgrind.display().to_string(),
        format!("--log-file={}/%p", logs.path().display()),
        format!(
            "--suppressions={}",
            folder().join("tests/under/valgrind.supp").display()
        ),
        "--leak-check=full".to_owned(),
        "--show-leak-kinds=definite,indirect".to_owned(),
        "--errors-for-leak-kinds=definite,indirect".to_owned(),
        "--num-callers=40".to_owned(),
    ];
    let setup = setup
        .options(["--spawn", "exec", "--boot-timeout", "300"])
        .env("LD_PRELOAD", library.display().to_string())
        .env("WORKHIVE_TEST_UNDER", command.join(" "))
        .env("PYTHONMALLOC", "malloc")
        .env("USE_ZEND_ALLOC", "0");
    Some((setup, Under { logs, of_library }))
}

/// Starts a hive, and waits until it is ready. That takes its time: everything is a hundred times slower.
#[track_caller]
pub(crate) fn start(setup: Setup) -> Hive {
    let hive = setup.launch();
    let ready = wait::within(DEADLINE * 10, || {
        let log = hive.log();
        log.iter()
            .any(|line| line == "Press Ctrl+C to stop.")
            .then_some(())
    });
    assert!(ready.is_some(), "the hive is not ready");
    hive
}

impl Under {
    /// What valgrind has complained about, each complaint with its stack.
    ///
    /// # Panics
    /// If nothing ran under valgrind.
    fn complaints(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.logs.path()).expect("a folder");
        let logs: Vec<String> = entries
            .map(|entry| std::fs::read_to_string(entry.expect("an entry").path()).expect("a log"))
            .collect();
        assert!(!logs.is_empty(), "nothing ran under valgrind");
        let mut found = Vec::new();
        for log in &logs {
            // Each line begins with the pid. One that has only that ends a complaint.
            let lines = log
                .lines()
                .map(|line| line.splitn(3, "==").nth(2).unwrap_or(line));
            let lines: Vec<&str> = lines.collect();
            for block in lines.split(|line| line.trim().is_empty()) {
                let is_stack = block.iter().any(|line| line.contains("   at 0x"));
                let is_ours = |line: &&str| OURS.iter().any(|word| line.contains(word));
                let mut inner = block.iter().take_while(|line| !line.contains("Py"));
                if is_stack && (!self.of_library || inner.any(is_ours)) {
                    found.push(block.join("\n"));
                }
            }
        }
        found
    }
}

impl Drop for Under {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let complaints = self.complaints();
            assert!(
                complaints.is_empty(),
                "valgrind: {}",
                complaints.join("\n\n")
            );
        }
    }
}
