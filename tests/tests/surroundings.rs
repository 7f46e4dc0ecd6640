//! Surroundings that are not the usual ones: few descriptors, a container.

use nix::sys::signal::Signal;
use workhive_tests::http::HttpClient;
use workhive_tests::{Port, Setup, eventually, proc, program, tools};

#[test]
fn a_process_without_descriptors_lets_clients_wait_until_it_has_some() {
    let port = Port::reserve();
    let mut hive = Setup::new("/bin/sh")
        .words(["-c", "ulimit -n 64 && exec \"$@\"", "sh"])
        .words([
            program!("workhive-under-test"),
            "echo",
            &format!("http://{port}"),
        ])
        .start();
    hive.expect("cannot accept");
    let worker = hive.workers();
    let mut clients: Vec<_> = (0..100).map(|_| HttpClient::connect(port.addr())).collect();
    for client in &mut clients {
        client
            .send("GET / HTTP/1.1\r\nHost: test\r\n\r\n")
            .expect("a queue that takes it");
    }
    hive.wait_for_line("cannot accept");
    // Each that is served makes room for another.
    for mut client in clients {
        assert_eq!(client.response().text(), "Hello, World!");
    }
    assert_eq!(hive.workers(), worker, "the process lives on");
}

#[test]
fn a_low_limit_of_descriptors_is_warned_of_with_the_remedy() {
    let port = Port::reserve();
    let hive = Setup::new("/bin/sh")
        .words(["-c", "ulimit -n 1000 && exec \"$@\"", "sh"])
        .words([
            program!("workhive-under-test"),
            "echo",
            &format!("http://{port}"),
        ])
        .start();
    let told = hive.wait_for_line(" WARN ");
    assert!(
        told.contains("1000") && told.contains("LimitNOFILE"),
        "{told}"
    );
}

#[test]
fn a_queue_longer_than_the_system_allows_is_warned_of_with_the_remedy() {
    let Some(unshare) = tools::find("unshare") else {
        return;
    };
    // The limit belongs to the network namespace.
    let lower = "echo 99 > /proc/sys/net/core/somaxconn && exec \"$@\"";
    let setup = Setup::new(unshare.to_str().expect("a readable path"));
    let words = ["--net", "sh", "-c", lower, "sh"];
    let allowed = setup.command(&unshare).args(words).arg("true").output();
    if !allowed.is_ok_and(|output| output.status.success()) {
        return tools::skip("namespaces are not allowed here");
    }
    let hive = setup
        .words(words)
        .words([program!("workhive-under-test"), "echo", "http://0.0.0.0:0"])
        .start();
    let told = hive.wait_for_line("net.core.somaxconn=4096");
    assert!(told.contains(" WARN ") && told.contains(" 99"), "{told}");
}

/// The zombies among the children of a process.
fn zombies(parent: u32) -> usize {
    let everybody = std::fs::read_dir("/proc").expect("a process table");
    let stats = everybody.flatten().filter_map(|entry| {
        let text = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        Some(text.rsplit_once(") ")?.1.to_owned())
    });
    stats
        .filter(|stat| stat.starts_with(&format!("Z {parent} ")))
        .count()
}

#[test]
fn as_process_1_of_a_container_it_reaps_orphans_and_stops_on_sigterm() {
    let (Some(unshare), Some(nsenter)) = (tools::find("unshare"), tools::find("nsenter")) else {
        return;
    };
    let inside = ["--pid", "--fork", "--kill-child", "--mount-proc"];
    let port = Port::reserve();
    let setup = Setup::new(unshare.to_str().expect("a readable path"));
    let allowed = setup.command(&unshare).args(inside).arg("true").output();
    if !allowed.is_ok_and(|output| output.status.success()) {
        return tools::skip("namespaces are not allowed here");
    }
    let mut hive = setup
        .words(inside)
        .words([
            program!("workhive-under-test"),
            "echo",
            &format!("http://{port}"),
        ])
        .options(["--count", "2"])
        .start();
    let masters = proc::children(hive.pid());
    let &[master] = masters.as_slice() else {
        panic!("one child of unshare, not {masters:?}");
    };
    let before = proc::children(master);
    // With the router.
    assert_eq!(before.len(), 3);
    // Processes whose parents end before them: they become children of process 1.
    for _ in 0..20 {
        let mut command = hive.setup().command(&nsenter);
        command.args(["--target", &master.to_string(), "--pid", "--mount"]);
        let left = command
            .args(["--", "sh", "-c", "(sleep 0.05 &)"])
            .output()
            .expect("it runs");
        assert!(left.status.success(), "{left:?}");
    }
    eventually("the orphans end, and are reaped", || {
        (proc::children(master) == before && zombies(master) == 0).then_some(())
    });
    // Its own children are still its own affair.
    let mark = hive.mark();
    proc::signal(before[0], Signal::SIGKILL);
    hive.wait_for_line_after(mark, " ready in ");
    assert_eq!(HttpClient::connect(port.addr()).get("/").status, 200);
    proc::signal(master, Signal::SIGTERM);
    assert!(hive.wait().success());
}
