//! The surroundings that a group asks for: limits, priority, CPUs, umask, working directory.

use std::fs;

use workhive_tests::{Hive, Port, Setup, eventually, proc, program, tools};

fn obeys(options: &[&str]) -> Setup {
    let port = Port::reserve().to_string();
    Setup::new(program!("obeys"))
        .options(["--text", &port])
        .options(options.iter().copied())
}

/// The soft and the hard limit of open descriptors.
fn nofile(pid: u32) -> (String, String) {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).expect("limits");
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let mut fields = line.expect("a line").split_ascii_whitespace().skip(3);
    let mut next = || fields.next().expect("a limit").to_owned();
    (next(), next())
}

/// The nice value: field 19 of the line, proc(5).
fn nice(pid: u32) -> i32 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
    let (_, rest) = stat.rsplit_once(") ").expect("a name");
    let field = rest.split(' ').nth(16).expect("a nice value");
    field.parse().expect("a number")
}

fn oom_score_adj(pid: u32) -> i32 {
    let text = fs::read_to_string(format!("/proc/{pid}/oom_score_adj"));
    text.expect("a score").trim().parse().expect("a number")
}

fn cpus(pid: u32) -> String {
    proc::status_field(pid, "Cpus_allowed_list:").expect("a list")
}

/// What a process can be asked to have, as `/proc` shows it.
fn all(pid: u32) -> [String; 6] {
    let directory = fs::read_link(format!("/proc/{pid}/cwd")).expect("a directory");
    [
        nofile(pid).0,
        nice(pid).to_string(),
        cpus(pid),
        oom_score_adj(pid).to_string(),
        proc::status_field(pid, "Umask:").expect("a umask"),
        directory.display().to_string(),
    ]
}

#[test]
fn processes_get_the_limits_priority_cpus_umask_and_directory_that_were_asked_for() {
    let hive = obeys(&["--nofile", "200", "--nice", "7", "--cpu-affinity", "0"])
        .options(["--oom-score-adj", "321", "--umask", "027", "--chdir", "/"])
        .options(["--count", "2"])
        .start();
    for pid in hive.workers() {
        assert_eq!(all(pid), ["200", "7", "0", "321", "0027", "/"]);
        assert_eq!(nofile(pid), ("200".to_owned(), "200".to_owned()));
    }
    // Neither the master nor the router are concerned.
    for pid in [hive.pid(), hive.router().expect("a router")] {
        let there = all(pid);
        assert_eq!(there[0], nofile(pid).1, "as many as allowed");
        assert_eq!(there[1..4], all(std::process::id())[1..4]);
        assert_ne!(there[5], "/");
    }
}

#[test]
fn those_that_come_later_get_the_same() {
    let hive = obeys(&["--nice", "3", "--umask", "077"]).start();
    let worker = hive.workers();
    assert_eq!(hive.verb::<&str>("reload", &[]).code, Some(0));
    let next = eventually("a new process", || {
        let now = hive.workers();
        (now.len() == 1 && now != worker).then(|| now[0])
    });
    assert_eq!((nice(next), &*all(next)[4]), (3, "0077"));
}

#[test]
fn with_auto_each_slot_has_a_cpu_of_those_that_are_allowed_in_turn() {
    let hive = obeys(&["--cpu-affinity", "auto", "--count", "3"]).start();
    let own = cpus(std::process::id());
    let allowed: Vec<u32> = own
        .split(',')
        .flat_map(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let number = |text: &str| text.parse::<u32>().expect("a number");
            number(first)..=number(last)
        })
        .collect();
    for (slot, pid) in hive.slots().into_iter().enumerate() {
        assert_eq!(cpus(pid), allowed[slot % allowed.len()].to_string());
    }
}

#[test]
fn what_needs_rights_is_done_before_they_are_given_up() {
    if !nix::unistd::geteuid().is_root() {
        return tools::skip("not root");
    }
    let hive = obeys(&["--user", "nobody", "--nice", "-3"]).start();
    let worker = hive.workers()[0];
    let uid = proc::status_field(worker, "Uid:").expect("a uid");
    assert!(!uid.starts_with('0'), "{uid}");
    assert_eq!(nice(worker), -3);
}

#[test]
fn what_the_system_refuses_fails_the_start_with_the_value_and_a_remedy() {
    let Some(setpriv) = tools::find("setpriv") else {
        return;
    };
    // Root without these rights is what one is in most containers.
    let without: &[&str] = if nix::unistd::geteuid().is_root() {
        &["--bounding-set", "-sys_nice,-sys_resource"]
    } else {
        &["--no-new-privs"]
    };
    for (options, words) in [
        (["--nice", "-5"], ["-5", "CAP_SYS_NICE"]),
        (["--oom-score-adj", "-900"], ["-900", "CAP_SYS_RESOURCE"]),
        (["--nofile", "500"], ["500", "LimitNOFILE"]),
    ] {
        let port = Port::reserve().to_string();
        let setup = Setup::new(setpriv.to_str().expect("a readable path"))
            .words(without.iter().copied())
            .words(["sh", "-c", "ulimit -n 300 && exec \"$@\"", "sh"])
            .words([program!("obeys")])
            .options(["--text", &port])
            .options(options);
        let ended = setup.verb::<&str>("start", &[]);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        let last = ended.stderr.lines().last().unwrap_or_default();
        for word in words {
            assert!(last.contains(word), "{word}: {ended:?}");
        }
        assert!(setup.family().is_empty());
    }
}

/// What `check` says, with its exit code.
fn check(options: &[&str]) -> (Option<i32>, String) {
    let setup = obeys(&[]);
    let ended = setup.verb("check", options);
    (ended.code, ended.stderr)
}

#[test]
fn what_cannot_be_is_found_by_check() {
    for (options, code, words) in [
        (["--nice", "20"], 2, "-20 to 19"),
        (["--umask", "9"], 2, "no umask"),
        (["--cpu-affinity", "all"], 2, "\"all\""),
        (["--oom-score-adj", "1001"], 2, "-1000 to 1000"),
        (["--nofile", "0"], 2, "from 1 on"),
        (["--cpu-affinity", "0,1023"], 1, "no CPU 1023"),
        (["--chdir", "/no/such/place"], 1, "/no/such/place"),
        (["--nofile", "99999999999"], 1, "fs.nr_open"),
    ] {
        let (ended, complaint) = check(&options);
        assert_eq!(ended, Some(code), "{options:?}: {complaint}");
        assert!(complaint.contains(words), "{options:?}: {complaint}");
    }
    let (ended, complaint) = check(&["--nice", "-20", "--umask", "027", "--chdir", "/"]);
    assert_eq!(ended, Some(0), "{complaint}");
}

fn config(text: &str) -> (Setup, String) {
    let setup = obeys(&[]);
    let path = setup.path("hive.toml");
    fs::write(&path, text).expect("a file");
    let path = path.to_str().expect("a readable path").to_owned();
    (setup, path)
}

#[test]
fn a_configuration_file_can_ask_for_it_too() {
    let text = "[all]\nnice = 4\nnofile = 300\ncpu-affinity = 0\n[groups.obeys]\nchdir = \"/\"\n\
                umask = \"027\"\noom-score-adj = 100\n";
    let (setup, path) = config(text);
    let shown = setup.verb("show-config", &["--config", &path]);
    for line in [
        "nice = 4",
        "nofile = 300",
        "cpu-affinity = \"0\"",
        "chdir = \"/\"",
        "umask = \"027\"",
        "oom-score-adj = 100",
    ] {
        assert!(shown.stdout.lines().any(|found| found == line), "{shown:?}");
    }
    fs::write(&path, &shown.stdout).expect("a file");
    let again = setup.verb("show-config", &["--config", &path]);
    assert_eq!(again.stdout, shown.stdout);

    fs::write(&path, text).expect("a file");
    let hive: Hive = setup.options(["--config", &path]).start();
    let worker = hive.workers()[0];
    assert_eq!(all(worker), ["300", "4", "0", "100", "0027", "/"]);
}

#[test]
fn mistakes_in_the_file_are_told_with_line_and_column() {
    for (text, words) in [
        ("[all]\nnice = 99", "-20 to 19"),
        ("[all]\numask = 27", "octal digits"),
        ("[all]\ncpu-affinity = \"9-1\"", "no list of CPUs"),
    ] {
        let (setup, path) = config(text);
        let ended = setup.verb("check", &["--config", &path]);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.stderr.contains("line 2, column"), "{ended:?}");
        assert!(ended.stderr.contains(words), "{ended:?}");
    }
}
