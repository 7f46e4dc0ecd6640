//! Names and numbers never move: the library and the header have exactly what `abi.txt` says.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The names of functions, and names of numbers with these.
fn promised() -> (BTreeSet<String>, BTreeSet<String>) {
    read("abi.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(str::to_owned)
        .partition(|line| line.starts_with("wh_"))
}

/// The header without its comments.
fn header() -> Vec<String> {
    let text = read("include/workhive.h");
    let lines = text.lines().filter(|line| !line.starts_with("//"));
    lines.map(str::to_owned).collect()
}

/// Beside this test: the one that `cargo test` has built, while the one above is that of the last `cargo build`.
fn library() -> PathBuf {
    let test = std::env::current_exe().expect("the path of this test");
    let directory = test.parent().expect("target/debug/deps");
    directory.join("libworkhive_embed.so")
}

#[test]
fn the_library_exports_the_promised_functions_and_nothing_else() {
    let output = Command::new("nm")
        .args(["-D", "--defined-only", "--format=posix"])
        .arg(library())
        .output()
        .expect("nm, of the same package as the linker");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("names");
    let exported: BTreeSet<String> = text
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect();
    assert_eq!(exported, promised().0);
}

#[test]
fn the_header_declares_the_promised_functions() {
    let declared: BTreeSet<String> = header()
        .iter()
        .filter(|line| !line.starts_with("typedef"))
        .filter_map(|line| {
            let start = line.find("wh_")?;
            let (before, after) = line.split_at_checked(line.find('(')?)?;
            let name = before.rsplit([' ', '*']).next()?;
            (start < before.len() && !after.is_empty() && name.starts_with("wh_"))
                .then(|| name.to_owned())
        })
        .collect();
    assert_eq!(declared, promised().0);
}

#[test]
fn the_header_has_the_promised_numbers() {
    let numbers: BTreeSet<String> = header()
        .iter()
        .filter_map(|line| line.strip_prefix("#define "))
        .filter(|line| line.starts_with("WH_"))
        .map(str::to_owned)
        .collect();
    assert_eq!(numbers, promised().1);
}

#[test]
fn every_code_has_its_name() {
    for line in promised().1 {
        let (name, number) = line.split_once(' ').expect("a name and a number");
        if name != "WH_OK" && name != "WH_PENDING" && !name.starts_with("WH_ERR_") {
            continue;
        }
        let number = number.parse().expect("a number");
        let named = workhive_embed::codes::wh_result_name(number);
        // SAFETY: it is static, and ends in a zero byte.
        let named = unsafe { std::ffi::CStr::from_ptr(named) };
        assert_eq!(named.to_str(), Ok(name));
    }
}

#[test]
fn the_library_asks_to_be_found_by_the_number_of_its_interface() {
    let output = Command::new("readelf")
        .arg("-d")
        .arg(library())
        .output()
        .expect("readelf, of the same package as the linker");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let wanted = format!("[libworkhive.so.{}]", workhive_embed::codes::WH_ABI_VERSION);
    assert!(
        text.lines()
            .any(|line| line.contains("SONAME") && line.ends_with(&wanted)),
        "{text}"
    );
}
