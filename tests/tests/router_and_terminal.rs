//! What a terminal sends to everybody is the master's affair: the router stays until the others have ended.

use nix::sys::signal::Signal;
use workhive_tests::{Port, Setup, proc, program};

#[test]
fn the_router_stays_whatever_key_was_pressed() {
    for (path, spawn) in [
        (program!("obeys"), "fork"),
        (program!("obeys"), "exec"),
        (program!("hosted"), "fork"),
        (program!("hosted"), "exec"),
    ] {
        let port = Port::reserve();
        let setup = Setup::new(path);
        let kinds = format!("{} forks", setup.path("record").display());
        let setup = if path.ends_with("hosted") {
            setup.words([kinds])
        } else {
            setup
        };
        let mut hive = setup
            .options([
                "--text",
                &port.to_string(),
                "--count",
                "2",
                "--spawn",
                spawn,
            ])
            .start();
        let router = hive.router().expect("a router");
        for signal in [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGHUP] {
            proc::signal(router, signal);
        }
        // It is told to drain by nobody, and by the next signal it is.
        let mark = hive.mark();
        assert_eq!(hive.verb::<&str>("reload", &[]).code, Some(0));
        assert_eq!(hive.router(), Some(router), "{path} {spawn}");
        proc::signal(router, Signal::SIGTERM);
        hive.wait_for_line_after(mark, "group=router slot=0 ready");
        assert!(hive.stop().success());
    }
}
