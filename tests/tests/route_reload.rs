//! Processes are replaced while everybody pushes: clients come back, and whoever is there is reached.

use nix::sys::signal::Signal;
use workhive_ipc::route::Client;
use workhive_tests::books::{Fate, Sender};
use workhive_tests::routes::Routes;
use workhive_tests::users::Users;
use workhive_tests::{proc, program};

#[test]
fn while_the_hive_reloads_every_push_is_answered_truthfully_and_who_is_bound_is_reached() {
    let hive = Routes::start(program!("routes"), 4, &["--drain", "1"]);
    let before = hive.hive.slots();
    let mut users = Users::connect(&hive, 120);
    let senders: Vec<_> = (0..3)
        .map(|sender| {
            let program = Client::connect(hive.hive.path("hive.push.sock")).expect("a router");
            Sender::outside(program, sender, 20, 0, move |n| (n * 7 + sender * 31) % 120)
        })
        .collect();
    for round in 1..=2 {
        let more = users.received() + 2000;
        users.until(|books| books.count() > more);
        let (mark, old) = (hive.hive.mark(), hive.hive.slots());
        hive.hive.signal(Signal::SIGUSR1);
        users.until(|_| {
            let log = hive.hive.log();
            log[mark..]
                .iter()
                .any(|line| line.contains("replaced 4 processes"))
        });
        // Each has been told to come back, some more than once: one that comes back early may meet a process that
        // goes next.
        users.until(|_| !old.iter().any(|pid| proc::is_alive(*pid)));
        while !users.are_bound() {
            let more = users.received() + 1;
            users.until(|books| books.count() >= more);
        }
        assert!(users.comebacks() >= round * 120, "{}", users.comebacks());
    }
    let (accounts, met) = users.settle(&hive, senders);
    let checked = users.check_gaps(&accounts);
    println!(
        "{met:?}, {} comebacks, {checked} messages without a gap",
        users.comebacks()
    );
    // What is on its way to a process that goes when its last client has gone is answered by nobody. That is rare.
    let unknown = met.get(&Fate::Unknown(0)).copied().unwrap_or(0);
    assert!(unknown < 100, "{met:?}");
    for fate in met.keys() {
        assert!(
            matches!(fate, Fate::Delivered(_) | Fate::Offline | Fate::Unknown(0)),
            "{met:?}"
        );
    }
    assert!(met[&Fate::Delivered(1)] > 4000, "{met:?}");
    assert!(checked > 4000, "{checked}");
    let after = hive.hive.slots();
    assert!(after.iter().all(|pid| !before.contains(pid)), "{after:?}");
}
