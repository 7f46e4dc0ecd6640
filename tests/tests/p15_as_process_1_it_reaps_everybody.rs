//! As process 1 of a container it is everybody's last parent: it reaps strangers, and takes none of them for its own.

use nix::sys::signal::Signal;
use workhive_tests::http::HttpClient;
use workhive_tests::text::TextClient;
use workhive_tests::{Hive, Port, Setup, eventually, proc, program, tools};

/// The options of unshare(1): process numbers of its own, and `/proc` to go with them.
const INSIDE: [&str; 4] = ["--pid", "--fork", "--kill-child", "--mount-proc"];

/// A hive in a namespace of its own, and its master as we know it; none if this machine does not allow it.
fn start(program: &[&str], options: &[&str]) -> Option<(Hive, u32)> {
    let unshare = tools::find("unshare")?;
    let setup = Setup::new(unshare.to_str().expect("a readable path"));
    let allowed = setup.command(&unshare).args(INSIDE).arg("true").output();
    if !allowed.is_ok_and(|output| output.status.success()) {
        tools::skip("namespaces are not allowed here");
        return None;
    }
    let setup = setup.words(INSIDE).words(program.iter().copied());
    let hive = setup.options(options.iter().copied()).start();
    let masters = proc::children(hive.pid());
    let &[master] = masters.as_slice() else {
        panic!("one child of unshare, not {masters:?}");
    };
    Some((hive, master))
}

#[test]
fn as_process_1_of_a_container_it_reaps_orphans_and_stops_on_sigterm() {
    let Some(nsenter) = tools::find("nsenter") else {
        return;
    };
    let port = Port::reserve();
    let program = [
        program!("workhive-under-test"),
        "echo",
        &format!("http://{port}"),
    ];
    let Some((mut hive, master)) = start(&program, &["--count", "2"]) else {
        return;
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
        (proc::children(master) == before && proc::zombies(master) == 0).then_some(())
    });
    // Its own children are still its own affair.
    let mark = hive.mark();
    proc::signal(before[0], Signal::SIGKILL);
    hive.wait_for_line_after(mark, " ready in ");
    assert_eq!(HttpClient::connect(port.addr()).get("/").status, 200);
    proc::signal(master, Signal::SIGTERM);
    assert!(hive.wait().success());
}

#[test]
fn grandchildren_whose_parents_have_died_are_reaped_and_are_nobodys_replacement() {
    strangers_are_reaped("fork");
}

#[test]
fn in_exec_mode_grandchildren_whose_parents_have_died_are_reaped_too() {
    strangers_are_reaped("exec");
}

fn strangers_are_reaped(spawn: &str) {
    let port = Port::reserve();
    let at = port.to_string();
    let program = [program!("obeys")];
    let options = [
        "--count", "2", "--drain", "1", "--spawn", spawn, "--text", &at,
    ];
    let Some((mut hive, master)) = start(&program, &options) else {
        return;
    };
    // The router and two workers.
    let before = proc::children(master);
    assert_eq!(before.len(), 3);
    let mut clients: Vec<_> = (0..8).map(|_| TextClient::connect(port.addr())).collect();
    for client in &mut clients {
        for _ in 0..5 {
            client.ask("run (sleep 0.1 >/dev/null 2>&1 &) ; (true &)");
        }
    }
    // They are reaped while the others come and go: by a death, and by a reload.
    let mark = hive.mark();
    proc::signal(before[1], Signal::SIGKILL);
    hive.wait_for_line_after(mark, " ready in ");
    proc::signal(master, Signal::SIGUSR1);
    hive.wait_for_line_after(mark, "reload: replaced 2 processes");
    eventually("nobody is left of them", || {
        let children = proc::children(master);
        (children.len() == 3 && proc::zombies(master) == 0).then_some(())
    });
    let ready = |line: &&String| line.contains("group=obeys") && line.contains(" ready in ");
    assert_eq!(hive.log().iter().filter(ready).count(), 2 + 1 + 2);
    // One that lives on is process 1's, and ends with it.
    TextClient::connect(port.addr()).ask("run sleep 300 >/dev/null 2>&1 &");
    let stranger = eventually("a stranger", || {
        let mut children = proc::children(master).into_iter();
        children.find(|pid| proc::name(*pid).as_deref() == Some("sleep"))
    });
    proc::signal(master, Signal::SIGTERM);
    assert!(hive.wait().success());
    eventually("its end", || (!proc::is_alive(stranger)).then_some(()));
}
