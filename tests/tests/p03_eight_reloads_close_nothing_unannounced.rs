//! Eight reloads under clients of all habits: nothing is refused, reset or cut off, and no connection ends without notice.

use workhive_tests::load::{HTTP, Habit, Load};
use workhive_tests::{Port, Setup, program};

const RELOADS: usize = 8;

fn reloads(scheme: &str, options: &[&str], clients: usize, habits: &[Habit]) {
    let port = Port::reserve();
    let setup = Setup::echo(
        program!("workhive-under-test"),
        format!("{scheme}://{port}"),
    );
    let hive = setup.options(options.iter().copied()).start();
    let first = hive.slots();
    let load = Load::new(port.addr(), clients, habits);
    load.serve(clients);
    for _ in 0..RELOADS {
        let reloaded = hive.verb::<&str>("reload", &[]);
        assert_eq!(reloaded.code, Some(0), "{reloaded:?}");
        load.serve(clients * 2);
    }
    let tally = load.finish();
    assert_eq!(tally.failed(), 0, "{options:?} {habits:?}: {tally:?}");
    assert!(tally.served > RELOADS * clients, "{tally:?}");
    let last = hive.slots();
    assert_eq!(last.len(), first.len());
    assert!(last.iter().all(|pid| !first.contains(pid)));
}

#[test]
fn http_clients_of_all_habits_lose_nothing_with_inherited_listeners() {
    reloads("http", &["--count", "2"], 63, &HTTP);
}

#[test]
fn http_clients_of_all_habits_lose_nothing_with_reuse_port() {
    reloads("http", &["--count", "2", "--reuse-port"], 63, &HTTP);
}

#[test]
fn http_clients_of_all_habits_lose_nothing_in_exec_mode() {
    let exec = ["--count", "2", "--spawn", "exec"];
    reloads("http", &exec, 28, &HTTP);
    reloads("http", &[&exec[..], &["--reuse-port"]].concat(), 28, &HTTP);
}

#[test]
fn one_process_alone_loses_nothing_either() {
    reloads("http", &["--count", "1"], 21, &HTTP);
    reloads("http", &["--count", "1", "--reuse-port"], 21, &HTTP);
}

#[test]
fn websockets_are_all_told_1012_with_inherited_listeners() {
    let options = ["--count", "2", "--drain", "1"];
    reloads("websocket", &options, 32, &[Habit::WebSocket]);
}

#[test]
fn websockets_are_all_told_1012_with_reuse_port() {
    let options = ["--count", "2", "--drain", "1", "--reuse-port"];
    reloads("websocket", &options, 32, &[Habit::WebSocket]);
}
