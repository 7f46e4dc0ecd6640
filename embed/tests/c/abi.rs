//! The interface of C: every function, misused in every way.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::PathBuf;
use std::process::Stdio;

use workhive_tests::{DEADLINE, Setup, tools, wait};

use crate::cases::built::{build_folder, compile, linked_library};
use crate::cases::list::folder;
use crate::cases::under;

const SOURCES: [&str; 5] = ["abi", "abi_outside", "abi_conns", "abi_inside", "abi_later"];

fn sources() -> [PathBuf; 5] {
    SOURCES.map(|name| folder().join(format!("c/tests/{name}.c")))
}

/// The program, compiled with these options, in a folder of its own; `None` if there is no compiler.
fn program(name: &str, options: &[&str]) -> Option<Setup> {
    let cc = tools::find("cc")?;
    let (target, _lock) = build_folder(name);
    let program = target.join("abi");
    compile(&cc, &sources(), options, &linked_library(&target), &program);
    Some(Setup::new(program.to_str().expect("a readable path")))
}

/// Runs it to its end, which under valgrind takes its time, and sees whether it has found anything.
#[track_caller]
fn assert_clean(setup: &Setup) {
    let said = setup.path("said");
    let mut child = setup
        .verb_command::<&str>("start", &[])
        .stdout(Stdio::null())
        .stderr(File::create(&said).expect("a file"))
        .spawn()
        .expect("a program");
    let ended = wait::within(DEADLINE * 10, || {
        child.try_wait().expect("a child can be waited for")
    });
    let said = std::fs::read_to_string(said).expect("a file");
    let words = said.lines().last().unwrap_or_default();
    let checks = words.strip_suffix(" checks, 0 failures");
    let checks: Option<u32> = checks.and_then(|number| number.parse().ok());
    assert!(checks.is_some_and(|checks| checks > 1000), "{said}");
    assert!(
        ended.is_some_and(|status| status.success()),
        "{ended:?}: {said}"
    );
}

#[test]
fn misuse_gives_codes_in_a_forked_process() {
    if let Some(setup) = program("abi", &[]) {
        assert_clean(&setup);
    }
}

#[test]
fn misuse_gives_codes_in_a_process_that_was_executed() {
    if let Some(setup) = program("abi-exec", &[]) {
        assert_clean(&setup.options(["--spawn", "exec"]));
    }
}

#[test]
fn misuse_gives_codes_under_the_sanitizers_of_addresses_and_of_undefined_behaviour() {
    let options = ["-fsanitize=address,undefined", "-fno-omit-frame-pointer"];
    if let Some(setup) = program("abi-asan", &options) {
        assert_clean(&setup.env("UBSAN_OPTIONS", "halt_on_error=1"));
    }
}

#[test]
fn misuse_gives_codes_under_valgrind() {
    let Some(setup) = program("abi-valgrind", &[]) else {
        return;
    };
    if let Some((setup, _under)) = under::valgrind(setup, false) {
        assert_clean(&setup);
    }
}

#[test]
fn there_is_a_misuse_of_every_function_of_the_header() {
    let header = folder().join("include/workhive.h");
    let header = std::fs::read_to_string(header).expect("a header");
    let sources = sources().map(|path| std::fs::read_to_string(path).expect("a source"));
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let functions: BTreeSet<&str> = header
        .lines()
        .filter(|line| !line.starts_with("//") && !line.starts_with("typedef"))
        .filter_map(|line| line.split_once('(').map(|(before, _)| before))
        .filter_map(|before| before.rsplit(|c| !is_name(c)).next())
        .filter(|name| name.starts_with("wh_"))
        .collect();
    assert!(functions.len() > 100, "{functions:?}");
    let used = |name: &&str| {
        sources.iter().any(|source| {
            let mut places = source.match_indices(*name);
            places.any(|(at, _)| !source[at + name.len()..].starts_with(is_name))
        })
    };
    let forgotten: Vec<&str> = functions.into_iter().filter(|name| !used(name)).collect();
    assert_eq!(forgotten, [""; 0], "not in embed/c/tests/abi*.c");
}
