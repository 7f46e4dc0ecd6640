//! Surroundings that are not the usual ones: few descriptors, a container.

use workhive_tests::http::HttpClient;
use workhive_tests::{Port, Setup, program, tools};

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
