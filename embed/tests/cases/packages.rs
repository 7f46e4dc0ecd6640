//! The packages' own tests, on what is installed the way their users do it.

use std::process::Command;

use workhive_tests::http::HttpClient;
use workhive_tests::{Port, Setup, tools};

use super::built::{build_folder, library};
use super::installed;
use super::list::folder;

/// Runs the tests of a language's package, unless the machine lacks the language.
pub(crate) fn own_tests(language: &str) {
    let setup = Setup::new("env");
    match language {
        "C" => c(),
        "Python" => python(&setup),
        "PHP" => php(&setup),
        "Node" => node(&setup),
        other => panic!("there is no language {other}"),
    }
    assert_eq!(setup.family(), [0; 0], "processes are left");
}

/// The library is installed at a place of its own, where `pkg-config` finds it and `make` makes the examples with it.
fn c() {
    let needed = ["cc", "make", "pkg-config"].map(tools::find);
    let [Some(_), Some(make), Some(_)] = needed else {
        return;
    };
    let (target, _lock) = build_folder("installed");
    let prefix = target.join("prefix");
    // There is none, or it is one of an earlier run.
    let _ = std::fs::remove_dir_all(&prefix);
    let mut install = Command::new(folder().join("install"));
    install.env("PREFIX", &prefix).env("LIBRARY", library());
    assert_passes(&mut install);
    let examples = target.join("examples");
    std::fs::create_dir_all(&examples).expect("a folder");
    for name in ["Makefile", "hello.c", "push.c", "chat.c"] {
        let from = folder().join("c/examples").join(name);
        std::fs::copy(from, examples.join(name)).expect("an example");
    }
    let lib = prefix.join("lib");
    let mut build = Command::new(make);
    build
        .arg("-B")
        .current_dir(&examples)
        .env("PKG_CONFIG_PATH", lib.join("pkgconfig"))
        .env("CFLAGS", "-O2 -Werror")
        .env("LDFLAGS", format!("-Wl,-rpath,{}", lib.display()));
    assert_passes(&mut build);

    let port = Port::reserve();
    let hello = examples.join("hello");
    let hive = Setup::new(hello.to_str().expect("a readable path"))
        .env("HELLO_HTTP", format!("http://{port}"))
        .start();
    assert_eq!(hive.workers().len(), 4);
    let mut client = HttpClient::connect(port.addr());
    assert_eq!(client.get("/").text(), "Hello, World!");
    assert_eq!(client.get("/elsewhere").status, 404);
}

fn python(setup: &Setup) {
    let Some(environment) = installed::python() else {
        return;
    };
    let package = folder().join("python");
    let command = |name: &str, options: &[&str]| {
        let mut command = setup.command(environment.join("bin").join(name));
        command.args(options).current_dir(&package);
        command.env("WORKHIVE_LIBRARY", library());
        command
    };
    assert_passes(&mut command("pytest", &["-q", "-p", "no:cacheprovider"]));
    assert_passes(&mut command("mypy", &["--cache-dir=/dev/null"]));
}

fn php(setup: &Setup) {
    let (Some(_), Some(phpunit)) = (installed::php(), tools::find("phpunit")) else {
        return;
    };
    let mut command = setup.command(phpunit);
    command
        .arg("--do-not-cache-result")
        .env("WORKHIVE_LIBRARY", library())
        .current_dir(folder().join("php"));
    assert_passes(&mut command);
}

fn node(setup: &Setup) {
    let (Some(_), Some(npm)) = (installed::node(), tools::find("npm")) else {
        return;
    };
    let package = folder().join("node");
    let mut install = setup.command(&npm);
    install
        .args(["ci", "--no-audit", "--no-fund"])
        .current_dir(&package);
    if installed::done(install).is_none() {
        return;
    }
    let mut test = setup.command(&npm);
    test.arg("test").current_dir(&package);
    // The program of `workhive run`, if it was built beside this test.
    let target = library();
    let program = target.ancestors().skip(1).take(2);
    let program = program.map(|folder| folder.join("workhive"));
    if let Some(program) = program.into_iter().find(|path| path.is_file()) {
        test.env("WORKHIVE_PROGRAM", program);
    }
    assert_passes(&mut test);
}

/// Runs a command to its good end.
///
/// # Panics
/// With what it says, if that is a bad one.
#[track_caller]
fn assert_passes(command: &mut Command) {
    let output = command.output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{command:?}:\n{said}\n{complained}"
    );
}
