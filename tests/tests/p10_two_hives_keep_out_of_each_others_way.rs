//! Two hives do not mix: the second start is refused by its pid file or by its port, says who was first, and leaves
//! nothing behind.

use std::net::TcpListener;
use std::path::Path;

use workhive_tests::http::HttpClient;
use workhive_tests::text::TextClient;
use workhive_tests::{Port, Running, Setup, program};

fn echo(port: &Port) -> Setup {
    Setup::echo(program!("workhive-under-test"), format!("http://{port}"))
}

#[test]
fn a_second_start_with_the_same_pid_file_is_refused() {
    let port = Port::reserve();
    let hive = echo(&port).start();
    for arguments in [&[][..], &["-d"]] {
        let second = hive.verb("start", arguments);
        assert_eq!(second.code, Some(1), "{second:?}");
        assert!(second.stderr.contains("already running"), "{second:?}");
        assert!(
            second.stderr.contains(&hive.pid().to_string()),
            "{second:?}"
        );
    }
    assert_eq!(HttpClient::connect(port.addr()).get("/").status, 200);
    assert_eq!(
        hive.setup().daemon(),
        hive.pid(),
        "the pid file is still the first one's"
    );
}

#[test]
fn a_pid_file_left_over_is_in_nobodys_way_whomever_its_number_belongs_to() {
    let port = Port::reserve();
    let setup = echo(&port);
    // The number of a process that lives, and is not a hive.
    std::fs::write(setup.pid_file(), format!("{}\n", std::process::id())).expect("a file");
    let hive = setup.start();
    assert_eq!(hive.setup().daemon(), hive.pid());
}

#[test]
fn a_pid_file_that_is_a_directory_is_named() {
    let port = Port::reserve();
    let setup = echo(&port);
    std::fs::create_dir(setup.pid_file()).expect("a directory");
    let ended = setup.verb::<&str>("start", &[]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(
        ended
            .stderr
            .contains(setup.pid_file().to_str().expect("a path")),
        "{ended:?}"
    );
}

#[test]
fn a_pid_file_in_a_place_that_is_not_there_or_takes_no_files_is_named() {
    let port = Port::reserve();
    let setup = echo(&port);
    let missing = setup.path("no/such/directory/hive.pid");
    // Not even root makes a file there.
    for pid_file in [missing.as_path(), Path::new("/proc/hive.pid")] {
        for daemon in [&["-d"][..], &[]] {
            let mut command = setup.command(program!("workhive-under-test"));
            command
                .args(["echo", &format!("http://{port}"), "start"])
                .args(daemon)
                .arg("--pid-file")
                .arg(pid_file)
                .arg("--log-file")
                .arg(setup.path("hive.log"));
            let ended = Running::new(command).finish();
            setup.assert_failed(&ended, pid_file.to_str().expect("a readable path"));
            assert!(ended.stderr.contains("--pid-file"), "{ended:?}");
        }
    }
}

#[test]
fn of_two_configurations_with_one_port_the_second_learns_who_has_it() {
    let port = Port::reserve();
    let setup = Setup::new(program!("obeys"));
    let start = |name: &str| {
        let path = setup.path(&format!("{name}.toml"));
        let pid_file = setup.path(&format!("{name}.pid"));
        let text = format!("daemon = true\npid-file = \"{}\"\n", pid_file.display());
        std::fs::write(&path, text).expect("a file");
        let mut command = setup.command(program!("obeys"));
        command
            .args(["start", "--text", &port.to_string(), "--config"])
            .arg(&path);
        (path, Running::new(command).finish())
    };
    let (first, started) = start("first");
    assert_eq!(started.code, Some(0), "{started:?}");
    let (second, refused) = start("second");
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains(&port.to_string()), "{refused:?}");
    let status = |path: &Path| {
        let mut command = setup.command(program!("obeys"));
        command.args(["status", "--json", "--config"]).arg(path);
        Running::new(command).finish()
    };
    assert_eq!(status(&second).code, Some(3));
    let status = status(&first);
    assert_eq!(status.code, Some(0), "{status:?}");
    let status: serde_json::Value = serde_json::from_str(&status.stdout).expect("JSON");
    let pids = std::iter::once(&status).chain(status["workers"].as_array().expect("a list"));
    let mut pids = pids.map(|row| row["pid"].to_string());
    assert!(pids.any(|pid| refused.stderr.contains(&pid)), "{refused:?}");
    assert!(
        TextClient::connect(port.addr())
            .ask("who")
            .starts_with("0 0 ")
    );
    let mut command = setup.command(program!("obeys"));
    command.args(["stop", "--config"]).arg(&first);
    assert_eq!(Running::new(command).finish().code, Some(0));
    assert!(!setup.path("first.pid").exists());
}

#[test]
fn a_port_that_is_taken_is_named_with_its_holder() {
    let port = Port::reserve();
    let _taken = TcpListener::bind(port.addr()).expect("a free port");
    let own = std::process::id().to_string();
    for options in [&[][..], &["--reuse-port"], &["-d"]] {
        let setup = echo(&port);
        let ended = setup.verb("start", options);
        setup.assert_failed(&ended, &port.to_string());
        assert!(ended.stderr.contains(&own), "{own} is missing: {ended:?}");
    }
}

#[test]
fn two_hives_do_not_share_a_port_even_with_reuse_port() {
    let port = Port::reserve();
    let first = echo(&port)
        .options(["--reuse-port", "--count", "2"])
        .start();
    let setup = echo(&port).options(["--reuse-port", "--count", "2"]);
    let second = setup.verb::<&str>("start", &[]);
    setup.assert_failed(&second, &port.to_string());
    let holder = std::iter::once(first.pid())
        .chain(first.workers())
        .any(|pid| second.stderr.contains(&pid.to_string()));
    assert!(holder, "{second:?}");
}

#[test]
fn a_listener_inside_a_process_whose_port_is_taken_fails_the_start() {
    let (ws, text) = (Port::reserve(), Port::reserve());
    let _taken = TcpListener::bind(text.addr()).expect("a free port");
    let setup = Setup::new(program!("workhive-under-test"))
        .words(["push"])
        .options(["--ws", &ws.to_string(), "--text", &text.to_string()]);
    let ended = setup.verb::<&str>("start", &[]);
    setup.assert_failed(&ended, &text.to_string());
    assert!(ended.stderr.contains("EADDRINUSE"), "{ended:?}");
    assert!(
        ended.stderr.contains(&std::process::id().to_string()),
        "{ended:?}"
    );
}
