//! `workhive run`: programs that know nothing of workhive serve, are watched over, and are replaced without a loss.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

use nix::sys::signal::Signal;
use serde_json::Value;
use workhive_tests::foreign::{does, records, run, source};
use workhive_tests::http::HttpClient;
use workhive_tests::load::{Habit, Load};
use workhive_tests::text::TextClient;
use workhive_tests::{Port, eventually, proc, program, tools};

const WORKHIVE: &str = program!("workhive-under-test");

/// Serves, survives a kill, and is reloaded under load: the same for programs of all languages.
fn serves_and_is_replaced(command: &[String]) {
    for options in [&["--count", "3"][..], &["--count", "3", "--reuse-port"]] {
        let port = Port::reserve();
        let hive = run(WORKHIVE, options)
            .options(["--listen", &format!("tcp://{port}"), "--name", "web"])
            .runs(command.iter().cloned())
            .start();
        let before = hive.slots();
        assert_eq!(before.len(), 3);

        // Every process is asked; each knows its place.
        let mut seen = BTreeSet::new();
        eventually("all three have answered", || {
            let who = HttpClient::connect(port.addr()).get("/who").json();
            assert_eq!(who["fds"], "1");
            assert_eq!(who["pid"], who["own"].to_string());
            let slot: usize = who["slot"].as_str()?.parse().expect("a slot");
            assert_eq!(who["own"], before[slot]);
            seen.insert(slot);
            (seen.len() == 3).then_some(())
        });

        // Killed, its slot is filled again and the others stay.
        proc::signal(before[1], Signal::SIGKILL);
        let after = eventually("the slot is filled again", || {
            let after = hive.slots();
            (after.len() == 3 && after[1] != before[1]).then_some(after)
        });
        assert_eq!((after[0], after[2]), (before[0], before[2]));

        // No request is lost by a reload.
        let load = Load::new(port.addr(), 16, &[Habit::Fresh, Habit::Hasty]);
        load.serve(100);
        let reloaded = hive.verb::<&str>("reload", &[]);
        assert_eq!(reloaded.code, Some(0), "{reloaded:?}");
        load.serve(100);
        let tally = load.finish();
        assert_eq!(tally.failed(), 0, "{options:?}: {tally:?}");
        let last = hive.slots();
        assert!(last.len() == 3 && last.iter().all(|pid| !after.contains(pid)));
    }
}

#[test]
fn node_serves_survives_a_kill_and_loses_nothing_by_a_reload() {
    let Some(node) = tools::find("node") else {
        return;
    };
    serves_and_is_replaced(&[
        node.display().to_string(),
        source("server.js").display().to_string(),
    ]);
}

#[test]
fn the_example_of_the_readme_works_as_it_is_written() {
    let Some(node) = tools::find("node") else {
        return;
    };
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md"));
    let readme = readme.expect("a file");
    let (_, section) = readme.split_once("## Any program").expect("a section");
    let (_, example) = section.split_once("```js\n").expect("an example");
    let (example, _) = example.split_once("```").expect("its end");
    let port = Port::reserve();
    let setup = run(WORKHIVE, &["--count", "3", "--name", "web"])
        .options(["--listen", &format!("tcp://{port}")])
        .runs([node.display().to_string(), "server.js".to_owned()]);
    fs::write(setup.path("server.js"), example).expect("a file");
    let mut hive = setup.start();
    for (slot, pid) in hive.slots().into_iter().enumerate() {
        hive.wait_for_line(&format!(" INFO web[{slot}] {pid} up, pid {pid}"));
    }
    let response = HttpClient::connect(port.addr()).get("/");
    let slot = response.text().trim().strip_prefix("hello from process ");
    assert!(slot.is_some_and(|slot| ["0", "1", "2"].contains(&slot)));
    assert_eq!(hive.verb::<&str>("reload", &[]).code, Some(0));
    hive.signal(Signal::SIGTERM);
    assert!(hive.wait().success());
}

#[test]
fn python_serves_survives_a_kill_and_loses_nothing_by_a_reload() {
    let Some(python) = tools::find("python3") else {
        return;
    };
    serves_and_is_replaced(&[
        python.display().to_string(),
        source("server.py").display().to_string(),
    ]);
}

#[test]
fn go_serves_survives_a_kill_and_loses_nothing_by_a_reload() {
    let Some(go) = tools::find("go") else {
        return;
    };
    let directory = tempfile::tempdir().expect("a directory");
    let program = directory.path().join("server");
    let built = std::process::Command::new(go)
        .args(["build", "-o"])
        .arg(&program)
        .arg(source("server.go"))
        .env("GOFLAGS", "-mod=mod")
        .env("GO111MODULE", "off")
        .env("GOCACHE", concat!(env!("CARGO_TARGET_TMPDIR"), "/go"))
        .output()
        .expect("a compiler");
    assert!(built.status.success(), "{built:?}");
    serves_and_is_replaced(&[program.display().to_string()]);
}

#[test]
fn a_program_gets_its_sockets_in_order_and_nothing_else() {
    let (first, second) = (Port::reserve(), Port::reserve());
    let setup = run(WORKHIVE, &["--count", "2", "--name", "web", "--notify"]);
    let unix = setup.path("web.sock").display().to_string();
    let record = format!("record={}", setup.path("record").display());
    let setup = setup
        .options(["--listen", &format!("tcp://{first}")])
        .options(["--listen", &format!("unix:{unix}")])
        .options(["--listen", &second.to_string()]);
    let Some(setup) = does(setup, &[&record, "serve", "notify=READY=1"]) else {
        return;
    };
    let hive = setup.start();
    for (index, port) in [(3, &first), (5, &second)] {
        let line = TextClient::connect(port.addr()).line();
        assert!(line.starts_with(&format!("{index} ")), "{line}");
    }
    let mut line = String::new();
    let mut client = UnixStream::connect(&unix).expect("a listener");
    client.read_to_string(&mut line).expect("a line");
    assert!(line.starts_with("4 "), "{line}");

    let workers = hive.workers();
    for row in records(hive.setup(), 2) {
        let env = &row["env"];
        let pid = u32::try_from(row["pid"].as_u64().expect("a number")).expect("a pid");
        assert!(workers.contains(&pid), "no shell between: {pid}");
        assert_eq!(env["LISTEN_FDS"], "3");
        assert_eq!(env["LISTEN_PID"], pid.to_string());
        assert_eq!(env["LISTEN_FDNAMES"], "web:web:web");
        assert_eq!(env["WATCHDOG_PID"], pid.to_string());
        assert_eq!(env["WATCHDOG_USEC"], "60000000");
        assert_eq!(env["WORKHIVE_GROUP"], "web");
        assert_eq!(env["WORKHIVE_COUNT"], "2");
        for foreign in ["WORKHIVE_SEAT", "WORKHIVE_PID"] {
            assert_eq!(env[foreign], Value::Null);
        }
        // A process group of its own: Ctrl-C in a terminal is the master's affair.
        assert_eq!(row["group"], pid);
        let fds = row["fds"].as_object().expect("a table");
        let numbers: BTreeSet<i32> = fds.keys().map(|fd| fd.parse().expect("a number")).collect();
        assert_eq!(numbers, (0..=5).collect(), "{fds:?}");
        assert_eq!(fds["0"], "/dev/null");
        assert!(fds["1"].as_str().expect("a path").starts_with("pipe:"));
        assert_eq!(fds["1"], fds["2"]);
        for socket in ["3", "4", "5"] {
            assert!(fds[socket].as_str().expect("a path").starts_with("socket:"));
        }
        // Whoever waits in accept(2) waits.
        assert_eq!(row["blocking"], serde_json::json!([true, true, true]));
    }
}

#[test]
fn with_reuse_port_each_process_has_a_socket_of_its_own_and_keeps_it() {
    let port = Port::reserve();
    let setup = run(
        WORKHIVE,
        &["--count", "3", "--reuse-port", "--notify", "--name", "web"],
    );
    let record = format!("record={}", setup.path("record").display());
    let setup = setup.options(["--listen", &port.to_string()]);
    let Some(setup) = does(setup, &[&record, "serve", "notify=READY=1"]) else {
        return;
    };
    let hive = setup.start();
    let sockets = |rows: &[Value]| -> BTreeSet<(String, String)> {
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        rows.iter()
            .map(|row| (text(&row["env"]["WORKHIVE_SLOT"]), text(&row["fds"]["3"])))
            .collect()
    };
    let before = sockets(&records(hive.setup(), 3));
    let different: BTreeSet<_> = before.iter().map(|(_, socket)| socket).collect();
    assert_eq!(different.len(), 3, "{before:?}");
    assert_eq!(hive.verb::<&str>("reload", &[]).code, Some(0));
    let after = sockets(&records(hive.setup(), 6)[3..]);
    assert_eq!(after, before);
    // The kernel chooses among all three.
    let mut seen = BTreeSet::new();
    eventually("all three have answered", || {
        let line = TextClient::connect(port.addr()).line();
        seen.insert(line.split(' ').nth(1)?.to_owned());
        (seen.len() == 3).then_some(())
    });
}

#[test]
fn a_program_that_does_not_want_to_wait_is_not_made_to_when_another_one_starts() {
    let port = Port::reserve();
    let setup = run(WORKHIVE, &["--count", "2", "--notify", "--name", "web"]);
    let record = format!("record={}", setup.path("record").display());
    let setup = setup.options(["--listen", &port.to_string()]);
    let what = ["set_nonblocking", &record, "notify=READY=1"];
    let Some(setup) = does(setup, &what) else {
        return;
    };
    let hive = setup.start();
    let nonblocking = |pid: u32| {
        let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/3")).expect("a descriptor");
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
        u32::from_str_radix(flags.expect("flags").trim(), 8).expect("octal") & 0o4000 != 0
    };
    let before = hive.slots();
    assert!(nonblocking(before[0]));
    // The new one finds the socket as it is: it has it in common with the old one.
    proc::signal(before[1], Signal::SIGKILL);
    let rows = records(hive.setup(), 3);
    assert_eq!(rows[2]["env"]["WORKHIVE_SLOT"], "1");
    assert!(nonblocking(before[0]));
}

#[test]
fn a_program_that_is_not_there_is_a_usage_error_and_one_that_cannot_run_too() {
    let setup = run(WORKHIVE, &[]);
    let plain = setup.path("plain");
    fs::write(&plain, "no program").expect("a file");
    for (program, why) in [
        (
            "no-such-program-anywhere".to_owned(),
            "there is none in PATH",
        ),
        ("/no/such/program".to_owned(), "No such file"),
        (plain.display().to_string(), "ermission denied"),
    ] {
        let ended = run(WORKHIVE, &[])
            .runs([&program])
            .verb::<&str>("start", &[]);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        let named = ended
            .stderr
            .contains(&format!("cannot execute {program}: "));
        assert!(named && ended.stderr.contains(why), "{ended:?}");
    }
    let ended = run(WORKHIVE, &["--listen", "127.0.0.1:1"]).verb::<&str>("start", &[]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("the program is missing"), "{ended:?}");
    let ended = run(WORKHIVE, &["--max-requests", "5"])
        .runs(["true"])
        .verb::<&str>("start", &[]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("--max-lifetime"), "{ended:?}");
}

#[test]
fn a_program_that_ends_at_once_fails_the_start_after_five_attempts() {
    for (script, why) in [
        ("echo attempt; exit 3", "exited with code 3"),
        ("echo attempt; exit 0", "exited with code 0"),
        ("echo attempt; kill -SEGV $$", "SIGSEGV"),
    ] {
        let ended = run(WORKHIVE, &["--name", "web"])
            .runs(["sh", "-c", script])
            .verb::<&str>("start", &[]);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        let reason = ended.stderr.lines().last().expect("a reason");
        assert!(reason.contains(why), "{ended:?}");
        let attempts = ended
            .stderr
            .lines()
            .filter(|line| line.ends_with(" attempt"));
        assert_eq!(attempts.count(), 5, "{ended:?}");
    }
}

#[test]
fn a_reload_with_a_program_that_is_broken_keeps_the_old_processes() {
    let setup = run(WORKHIVE, &["--count", "2"]);
    let program = setup.path("server");
    let write = |text: &str, mode: u32| {
        // Replaced, not written over: one that runs cannot be.
        let new = program.with_extension("new");
        fs::write(&new, text).expect("a file");
        fs::set_permissions(&new, PermissionsExt::from_mode(mode)).expect("a file");
        fs::rename(&new, &program).expect("a directory");
    };
    write("#!/bin/sh\nexec sleep 1000\n", 0o755);
    let mut hive = setup.runs([program.display().to_string()]).start();
    hive.expect("the reload failed");
    hive.expect("ended before it was ready");
    hive.expect("cannot make a process");
    let before = hive.slots();
    for (text, mode, why) in [
        ("#!/bin/sh\nexit 1\n", 0o755, "exited with code 1"),
        ("#!/no/such/interpreter\n", 0o755, "No such file"),
        ("not a program", 0o755, "Exec format error"),
        ("#!/bin/sh\nexec sleep 1000\n", 0o644, "ermission denied"),
    ] {
        write(text, mode);
        let reload = hive.verb::<&str>("reload", &[]);
        assert_eq!(reload.code, Some(1), "{text}: {reload:?}");
        let named = reload.stderr.contains(&program.display().to_string());
        assert!(named && reload.stderr.contains(why), "{text}: {reload:?}");
        assert_eq!(hive.slots(), before, "{text}");
    }
    write("#!/bin/sh\necho new version\nexec sleep 1000\n", 0o755);
    let reload = hive.verb::<&str>("reload", &[]);
    assert_eq!(reload.code, Some(0), "{reload:?}");
    hive.wait_for_line(" new version");
}

#[test]
fn the_number_of_processes_can_be_changed_live() {
    for options in [&["--count", "2"][..], &["--count", "2", "--reuse-port"]] {
        let port = Port::reserve();
        let setup = run(WORKHIVE, options).options(["--notify", "--name", "web"]);
        let record = format!("record={}", setup.path("record").display());
        let setup = setup.options(["--listen", &port.to_string()]);
        let what = [&record, "serve", "notify=READY=1"];
        let Some(setup) = does(setup, &what) else {
            return;
        };
        let hive = setup.start();
        let scaled = hive.verb("scale", &["4"]);
        assert_eq!(scaled.code, Some(0), "{scaled:?}");
        assert_eq!(hive.slots().len(), 4);
        for row in records(hive.setup(), 4) {
            // A socket that is new waits too.
            assert_eq!(row["blocking"], serde_json::json!([true]), "{row}");
        }
        let scaled = hive.verb("scale", &["1"]);
        if options.contains(&"--reuse-port") {
            // What waits in the queues of the last ones would wait for nobody.
            assert_eq!(scaled.code, Some(1), "{scaled:?}");
            assert!(scaled.stderr.contains("cannot have fewer"), "{scaled:?}");
            assert_eq!(hive.slots().len(), 4);
            continue;
        }
        assert_eq!(scaled.code, Some(0), "{scaled:?}");
        eventually("three have ended", || {
            (hive.workers().len() == 1).then_some(())
        });
        let who = TextClient::connect(port.addr()).line();
        assert!(who.starts_with("3 0 "), "{who}");
    }
}

#[test]
fn the_verbs_find_it_by_the_same_address_and_say_so_if_there_is_none() {
    let port = Port::reserve();
    let listen = format!("tcp://{port}");
    let Some(setup) = does(run(WORKHIVE, &[]), &["notify=READY=1"]) else {
        return;
    };
    // Without --pid-file, in a runtime directory of its own.
    let runtime = setup.path("runtime");
    fs::create_dir(&runtime).expect("a directory");
    let verb = |verb: &str, rest: &[&str]| {
        let mut command = setup.command(WORKHIVE);
        command
            .env("XDG_RUNTIME_DIR", &runtime)
            .args(["run", verb, "--listen", &listen])
            .args(rest);
        workhive_tests::Running::new(command).finish()
    };
    let none = verb("status", &[]);
    assert!(none.code.is_some_and(|code| code > 0), "{none:?}");
    assert!(none.stderr.contains("not running"), "{none:?}");
    let does = source("does.py").display().to_string();
    let program = ["-d", "--", "python3", &does, "notify=READY=1"];
    let started = verb("start", &program);
    assert_eq!(started.code, Some(0), "{started:?}");
    let twice = verb("start", &program);
    assert_eq!(twice.code, Some(1), "{twice:?}");
    assert!(twice.stderr.contains("already running"), "{twice:?}");
    let status = verb("status", &[]);
    assert!(
        status.stdout.contains(&format!("tcp://{port}")),
        "{status:?}"
    );
    assert_eq!(verb("reload", &[]).code, Some(0));
    assert_eq!(verb("stop", &[]).code, Some(0));
    assert_eq!(verb("status", &[]).code, none.code);
    assert!(setup.family().is_empty());
}

#[test]
fn a_hive_inside_a_hive_has_its_own_place() {
    let setup = run(WORKHIVE, &["--count", "2", "--name", "outer"]);
    let record = format!("record={}", setup.path("record").display());
    let inner = WORKHIVE;
    let Some(python) = tools::find("python3") else {
        return;
    };
    let script = format!(
        "exec {inner} run --name inner --notify --pid-file {pids}/inner$WORKHIVE_SLOT.pid -- {python} {does} {record} \
         notify=READY=1",
        pids = setup.path("").display(),
        python = python.display(),
        does = source("does.py").display(),
    );
    let hive = setup.runs(["sh", "-c", &script]).start();
    for row in records(hive.setup(), 2) {
        assert_eq!(row["env"]["WORKHIVE_GROUP"], "inner");
        assert_eq!(row["env"]["WORKHIVE_SLOT"], "0");
        assert_eq!(row["env"]["WORKHIVE_COUNT"], "1");
        assert_eq!(row["env"]["LISTEN_PID"], row["pid"].to_string());
    }
}

#[test]
fn a_relative_program_and_a_working_directory_go_together() {
    let setup = run(WORKHIVE, &["--notify", "--chdir", "/"]);
    let record = setup.path("record").display().to_string();
    let path = setup.path("server");
    fs::write(
        &path,
        format!(
            "#!/bin/sh\nexec python3 {} record={record} notify=READY=1\n",
            source("does.py").display()
        ),
    )
    .expect("a file");
    fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("a file");
    if tools::find("python3").is_none() {
        return;
    }
    let hive = setup.runs(["./server"]).start();
    let row = &records(hive.setup(), 1)[0];
    assert_eq!(row["cwd"], "/");
}
