//! What was promised never changes: the library and the header have exactly what `abi.txt` says.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::mem::offset_of;
use std::path::{Path, PathBuf};
use std::process::Command;

use workhive_embed::bytes::wh_bytes;
use workhive_embed::conn::{wh_close_info, wh_conn_stats};
use workhive_embed::members::wh_member;
use workhive_embed::presence::wh_totals;
use workhive_embed::push::wh_outcome;
use workhive_embed::request::wh_request_view;
use workhive_embed::stats::{wh_place, wh_stats};

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The lines of `abi.txt` that begin with a word, without it.
fn promised(kind: &str) -> BTreeSet<String> {
    read("abi.txt")
        .lines()
        .filter_map(|line| line.strip_prefix(kind)?.strip_prefix(' '))
        .map(str::to_owned)
        .collect()
}

/// The declarations of the header, one a line: without comments, and with one space where there are any.
fn declarations() -> Vec<String> {
    let header = read("include/workhive.h");
    let (_, header) = header
        .split_once("#ifndef WORKHIVE_H")
        .expect("the first line after the rules");
    let (mut all, mut one, mut depth) = (Vec::new(), String::new(), 0);
    for line in header.lines().filter(|line| !line.starts_with('#')) {
        let code = line.split("//").next().unwrap_or_default();
        for word in code.split_whitespace() {
            if one.is_empty() && (word == "extern" || word == "\"C\"" || word == "{") {
                continue;
            }
            depth += word.matches('{').count();
            depth -= word.matches('}').count().min(depth);
            let space = if one.is_empty() { "" } else { " " };
            write!(one, "{space}{word}").expect("a String takes it");
            if depth == 0 && word.ends_with(';') {
                all.push(std::mem::take(&mut one));
            }
        }
    }
    all
}

/// The names of the functions that were promised.
fn functions() -> BTreeSet<String> {
    promised("function")
        .iter()
        .filter_map(|line| line.split('(').next()?.rsplit([' ', '*']).next())
        .map(str::to_owned)
        .collect()
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
    assert_eq!(exported, functions());
}

#[test]
fn the_header_declares_the_promised_functions_and_types() {
    let (types, functions): (BTreeSet<_>, BTreeSet<_>) = declarations()
        .into_iter()
        .partition(|declaration| declaration.starts_with("typedef "));
    assert_eq!(functions, promised("function"));
    assert_eq!(types, promised("type"));
}

#[test]
fn the_header_has_the_promised_numbers() {
    let header = read("include/workhive.h");
    let numbers: BTreeSet<String> = header
        .lines()
        .filter_map(|line| line.strip_prefix("#define "))
        .filter(|line| line.starts_with("WH_"))
        .map(str::to_owned)
        .collect();
    assert_eq!(numbers, promised("number"));
}

macro_rules! layout {
    ($name:ident: $($field:ident)*) => {{
        let mut line = format!("{} {}:", stringify!($name), size_of::<$name>());
        $(write!(line, " {} {}", stringify!($field), offset_of!($name, $field)).expect("a String takes it");)*
        line
    }};
}

#[test]
#[cfg(target_pointer_width = "64")]
fn structs_are_laid_out_as_promised() {
    let layouts = BTreeSet::from([
        layout!(wh_bytes: data len),
        layout!(wh_close_info: reason peer_code peer_reason text),
        layout!(wh_conn_stats: bytes_in bytes_out messages_in queued),
        layout!(wh_member: id uids uid_count),
        layout!(wh_outcome: delivered refused unknown is_delivered is_unrouted),
        layout!(wh_place: group slot count generation pid),
        layout!(
            wh_request_view:
            method target path query body version_major version_minor keep_alive reserved
        ),
        layout!(wh_stats: connections accepted messages_in bytes_in bytes_out send_failures timers),
        layout!(wh_totals: uids rooms topics processes),
    ]);
    assert_eq!(layouts, promised("layout"));
}

#[test]
fn every_code_has_its_name() {
    for line in promised("number") {
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
