//! A process that listens at an address where it listens already is told so, and its first listener loses nothing.

use workhive_tests::http::HttpClient;
use workhive_tests::text::TextClient;
use workhive_tests::{Hive, Port, Setup, program};

fn ask_twice(http: &str, sharing: &str) -> (String, Hive) {
    let orders = Port::reserve();
    let hive = Setup::new(program!("listens_inside"))
        .options(["--http", http, "--sharing", sharing])
        .options(["--text", &orders.to_string()])
        .start();
    (TextClient::connect(orders.addr()).ask("listen"), hive)
}

#[test]
fn a_second_listener_of_a_process_at_one_address_is_refused() {
    for sharing in ["plain", "reuse_port", "shared"] {
        let http = Port::reserve();
        let (answer, hive) = ask_twice(&http.to_string(), sharing);
        assert!(answer.starts_with("error: "), "{sharing}: {answer}");
        assert!(
            answer.to_lowercase().contains("in use"),
            "{sharing}: {answer}"
        );
        for _ in 0..10 {
            assert_eq!(HttpClient::connect(http.addr()).get("/").status, 200);
        }
        drop(hive);
    }
}

#[test]
fn so_is_one_at_the_path_of_a_unix_socket() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("http.sock");
    let (answer, _hive) = ask_twice(&format!("unix:{}", path.display()), "plain");
    assert!(
        answer.starts_with("error: ") && answer.contains("in use"),
        "{answer}"
    );
}

#[test]
fn ports_that_the_system_chooses_are_as_many_as_are_asked_for() {
    let (answer, _hive) = ask_twice("127.0.0.1:0", "plain");
    // Beside the one for orders.
    assert_eq!(answer.split(' ').count(), 3, "{answer}");
}
