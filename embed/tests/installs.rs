//! `embed/install` puts the library where C programs find it by pkg-config.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Output};

const PROGRAM: &str = r#"
#include <stdio.h>
#include <workhive.h>

int main(void)
{
    if (wh_abi_version() != WH_ABI_VERSION)
        return 1;
    wh_hive hive;
    wh_worker worker;
    if (wh_hive_new("installed", 9, &hive) || wh_worker_new("http://127.0.0.1:0", 18, &worker))
        return 2;
    if (wh_hive_add(hive, worker) || wh_hive_free(hive))
        return 3;
    if (wh_hive_free(hive) != WH_ERR_HANDLE)
        return 4;
    printf("%s %s\n", wh_version(), wh_last_error(NULL));
    return 0;
}
"#;

fn library() -> std::path::PathBuf {
    let test = std::env::current_exe().expect("the path of this test");
    let directory = test.parent().expect("target/debug/deps");
    directory.join("libworkhive_embed.so")
}

fn install(prefix: &Path, more: &[(&str, &str)]) -> Output {
    Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("install"))
        .env("PREFIX", prefix)
        .env("LIBRARY", library())
        .env_remove("DESTDIR")
        .env_remove("LIBDIR")
        .env_remove("INCLUDEDIR")
        .envs(more.iter().copied())
        .output()
        .expect("bash")
}

#[track_caller]
fn succeeded(output: Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The program of the README.
fn example() -> String {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = std::fs::read_to_string(readme).expect("the README");
    let (_, rest) = readme.split_once("```c\n").expect("a program in C");
    let (program, _) = rest.split_once("```").expect("its end");
    program.to_owned()
}

#[test]
fn a_program_finds_what_was_installed_and_runs() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let prefix = directory.path().join("usr");
    succeeded(install(&prefix, &[]));
    let lib = prefix.join("lib");
    assert_eq!(
        std::fs::read_link(lib.join("libworkhive.so")).ok(),
        Some("libworkhive.so.1".into())
    );

    let flags = Command::new("pkg-config")
        .args(["--cflags", "--libs", "workhive"])
        .env("PKG_CONFIG_PATH", lib.join("pkgconfig"))
        .output();
    let Ok(flags) = flags else {
        assert!(
            std::env::var_os("CI").is_none(),
            "pkg-config is not installed"
        );
        eprintln!("SKIPPED: pkg-config is not installed");
        return;
    };
    let flags = succeeded(flags);
    let build = |name: &str, text: &str| {
        let source = directory.path().join(name).with_extension("c");
        std::fs::write(&source, text).expect("written");
        let program = directory.path().join(name);
        succeeded(
            Command::new("cc")
                .args([
                    "-std=c99",
                    "-Wall",
                    "-Wextra",
                    "-Wpedantic",
                    "-Werror",
                    "-o",
                ])
                .args([&program, &source])
                .args(flags.split_whitespace().map(OsString::from))
                .output()
                .expect("cc, of the same package as the linker"),
        );
        program
    };
    let programs = [build("installed", PROGRAM), build("hello", &example())];
    // It asks for libworkhive.so.1: the link without a number is not needed to run.
    std::fs::remove_file(lib.join("libworkhive.so")).expect("removed");
    let run = |program: &Path, argument: &str| {
        succeeded(
            Command::new(program)
                .arg(argument)
                .env("LD_LIBRARY_PATH", &lib)
                .output()
                .expect("it runs"),
        )
    };
    assert_eq!(
        run(&programs[1], "check"),
        "hello: makes sense, 4 processes\n"
    );
    let said = run(&programs[0], "");
    assert!(said.starts_with(env!("CARGO_PKG_VERSION")), "{said}");
    assert!(
        said.trim_end().ends_with("is no hive, or no longer"),
        "{said}"
    );
}

#[test]
fn a_package_is_installed_below_its_directory_with_the_paths_that_it_will_have() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let root = directory.path().to_str().expect("UTF-8");
    let more = [("DESTDIR", root), ("LIBDIR", "/usr/lib/x86_64-linux-gnu")];
    succeeded(install(Path::new("/usr"), &more));
    let pc = directory
        .path()
        .join("usr/lib/x86_64-linux-gnu/pkgconfig/workhive.pc");
    let pc = std::fs::read_to_string(pc).expect("the pkg-config file");
    assert!(
        pc.contains("prefix=/usr\nlibdir=/usr/lib/x86_64-linux-gnu\nincludedir=/usr/include\n")
    );
    assert!(
        pc.contains(concat!("\nVersion: ", env!("CARGO_PKG_VERSION"), "\n")),
        "{pc}"
    );
    assert!(directory.path().join("usr/include/workhive.h").is_file());
}

#[test]
fn a_path_that_is_not_absolute_is_refused() {
    let output = install(Path::new("here"), &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("\"here\" is not"));
}
