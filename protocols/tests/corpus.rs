//! Known bytes have known outcomes, however they are cut.

mod support;

use support::corpus::cases;
use support::{Subject, run};
use workhive_protocols::{Frame, Http, Text, WebSocket};

fn check<P: Subject>(least: usize) {
    let cases = cases(P::NAME);
    assert!(cases.len() >= least, "only {} cases", cases.len());
    let mut wrong = Vec::new();
    for case in cases {
        let config = P::configure(case.limits);
        // Nothing to feed is one empty piece.
        let whole = run::<P>(&config, [case.wire.as_slice()]);
        let lines = P::lines(&whole);
        if lines != case.expect {
            wrong.push(format!(
                "{}: {lines:?} instead of {:?}",
                case.name, case.expect
            ));
        }
        for size in [1, 2, 3, 7, 64, 1000] {
            let pieces = run::<P>(&config, case.wire.chunks(size));
            if pieces != whole {
                wrong.push(format!(
                    "{} in pieces of {size}: {pieces:?} instead of {whole:?}",
                    case.name
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn http_requests_have_their_expected_outcome() {
    check::<Http>(200);
}

#[test]
fn websocket_frames_have_their_expected_outcome() {
    check::<WebSocket>(140);
}

#[test]
fn lines_have_their_expected_outcome() {
    check::<Text>(15);
}

#[test]
fn frames_have_their_expected_outcome() {
    check::<Frame>(15);
}
