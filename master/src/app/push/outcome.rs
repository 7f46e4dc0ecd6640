//! What has become of a push, for those who want to know.

use serde_json::{Value, json};
use workhive_worker::Outcome;

/// At the text port: `ok` if at least one connection has it, `fail` if certainly none has. What is not known is neither:
/// who sends it again may send it twice.
pub(super) fn word(outcome: Outcome) -> &'static str {
    match is_delivered(outcome) {
        Some(true) => "ok",
        Some(false) => "fail",
        None => "unknown",
    }
}

/// Whether at least one connection has it, if that is known.
pub(super) fn is_delivered(outcome: Outcome) -> Option<bool> {
    (outcome.is_delivered() || !outcome.unknown).then_some(outcome.is_delivered())
}

/// For programs.
pub(super) fn as_json(outcome: Outcome) -> Value {
    json!({
        "delivered": outcome.delivered,
        "refused": outcome.refused,
        "unknown": outcome.unknown,
        "unrouted": outcome.unrouted,
    })
}

/// For people: `delivered 2`, `offline`; with more to be said, `delivered 2, refused 1, unknown`.
pub(super) fn told(outcome: Outcome) -> String {
    let mut parts = Vec::new();
    if outcome.delivered > 0 {
        parts.push(format!("delivered {}", outcome.delivered));
    }
    if outcome.refused > 0 {
        parts.push(format!("refused {}", outcome.refused));
    }
    if outcome.unknown {
        parts.push("unknown".to_owned());
    }
    if outcome.unrouted {
        parts.push("unrouted".to_owned());
    }
    if parts.is_empty() {
        parts.push("offline".to_owned());
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(delivered: u32, refused: u32, unknown: bool, unrouted: bool) -> Outcome {
        Outcome {
            delivered,
            refused,
            unknown,
            unrouted,
        }
    }

    #[test]
    fn an_outcome_is_told_in_few_words() {
        for (found, in_a_word, text) in [
            (outcome(2, 0, false, false), "ok", "delivered 2"),
            (outcome(0, 0, false, false), "fail", "offline"),
            (outcome(0, 1, false, false), "fail", "refused 1"),
            (outcome(0, 0, true, false), "unknown", "unknown"),
            (outcome(0, 1, true, false), "unknown", "refused 1, unknown"),
            (outcome(0, 0, false, true), "fail", "unrouted"),
            (outcome(1, 0, true, false), "ok", "delivered 1, unknown"),
            (
                outcome(2, 1, true, false),
                "ok",
                "delivered 2, refused 1, unknown",
            ),
        ] {
            assert_eq!((word(found), told(found).as_str()), (in_a_word, text));
        }
    }

    #[test]
    fn programs_get_all_of_it() {
        let found = as_json(outcome(2, 1, true, false));
        let all = json!({"delivered": 2, "refused": 1, "unknown": true, "unrouted": false});
        assert_eq!(found, all);
    }
}
