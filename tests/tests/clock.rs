//! Timers, blocking work, and mail from other threads.

use workhive_tests::text::TextClient;
use workhive_tests::{Hive, Port, Setup, proc, program};

fn clock() -> (Hive, TextClient, Port) {
    let port = Port::reserve();
    let hive = Setup::new(program!("clock"))
        .options(["--text", &port.to_string()])
        .start();
    let client = TextClient::connect(port.addr());
    (hive, client, port)
}

#[test]
fn timers_fire_in_the_order_of_their_times() {
    let (_hive, mut client, _port) = clock();
    client.send("order");
    for delay in ["0", "20", "40", "60", "80", "100"] {
        assert_eq!(client.line(), delay);
    }
}

#[test]
fn a_repeating_timer_can_stop_itself() {
    let (_hive, mut client, _port) = clock();
    client.send("tick");
    for line in ["tick 1", "tick 2", "tick 3", "3 ticks, cancelled: true"] {
        assert_eq!(client.line(), line);
    }
}

#[test]
fn a_cancelled_timer_does_not_fire() {
    let (_hive, mut client, _port) = clock();
    assert_eq!(client.ask("cancel"), "quiet, (true, false)");
}

#[test]
fn a_timer_that_fails_or_panics_harms_nobody() {
    let (mut hive, mut client, _port) = clock();
    hive.expect("a timer that panics");
    let worker = hive.workers();
    assert_eq!(client.ask("bad"), "still here");
    hive.wait_for_line("a timer that fails");
    hive.wait_for_line("a timer panicked: a timer that panics");
    assert_eq!(hive.workers(), worker);
}

#[test]
fn a_timer_for_a_client_that_has_gone_reaches_nobody_else() {
    let (_hive, mut client, port) = clock();
    client.send("order");
    drop(client);
    // The next client gets the row in the table of connections that the first one had.
    let mut next = TextClient::connect(port.addr());
    assert_eq!(next.ask("cancel"), "quiet, (true, false)");
    assert_eq!(next.ask("cancel"), "quiet, (true, false)");
}

#[test]
fn the_result_of_blocking_work_comes_back_to_the_loop() {
    let (hive, mut client, _port) = clock();
    let worker = hive.workers()[0];
    assert_eq!(
        proc::threads(worker),
        1,
        "no thread before there is work for it"
    );
    for _ in 0..100 {
        assert_eq!(client.ask("work"), "42, elsewhere: true, back: true");
    }
    assert!((2..=9).contains(&proc::threads(worker)), "a small pool");
}

#[test]
fn blocking_work_that_panics_is_a_result_like_others() {
    let (mut hive, mut client, _port) = clock();
    hive.expect("work that panics");
    for _ in 0..10 {
        assert_eq!(client.ask("burst"), "panicked: work that panics");
    }
    // More panics than threads, and the pool still works.
    assert_eq!(client.ask("work"), "42, elsewhere: true, back: true");
}

#[test]
fn work_that_the_pool_cannot_take_is_refused_and_the_rest_is_done() {
    let (_hive, mut client, _port) = clock();
    let answer = client.ask("fill");
    let taken: usize = answer
        .split_once(" taken, 1024 may wait")
        .and_then(|(number, _)| number.parse().ok())
        .unwrap_or_else(|| panic!("{answer}"));
    assert!((1024..=1040).contains(&taken), "{answer}");
    for n in 1..=taken {
        assert_eq!(client.line(), format!("{n} back"));
    }
    assert_eq!(client.ask("work"), "42, elsewhere: true, back: true");
}

#[test]
fn another_thread_reaches_the_loop_by_mail_and_not_directly() {
    let (_hive, mut client, _port) = clock();
    for _ in 0..20 {
        assert_eq!(client.ask("mail"), "from a thread, directly refused: true");
    }
}

#[test]
fn a_process_that_ends_by_its_own_decision_is_replaced() {
    let (hive, mut client, port) = clock();
    let before = hive.workers();
    let mark = hive.mark();
    assert_eq!(client.ask("later"), "as you wish");
    hive.wait_for_line_after(mark, "drains by its own decision");
    hive.wait_for_line_after(mark, "slot=0 ready");
    assert_eq!(client.rest().expect("an end"), b"");
    let mut next = TextClient::connect(port.addr());
    assert_eq!(next.ask("hello"), "hello");
    assert!(!hive.slots().contains(&before[0]));
}
