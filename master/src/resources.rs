//! What the system gives, against what a hive may need: looked at before the first fork.
//!
//! Nothing of it keeps a hive from starting. It is said at the start, with the remedy, because later it shows as
//! connections that are refused when there are many, and as nothing else.

use nix::sys::resource::{Resource, getrlimit};

use crate::slot::Running;

/// With fewer descriptors than this, a process that serves a network is short of them.
const FEW: u64 = 4096;

/// What a remedy asks for.
const ENOUGH: u64 = 65_536;

/// Descriptors of the master for each process: its own and its link, and as many for the one that replaces it.
const EACH: u64 = 4;

/// Descriptors of the master for all the rest.
const REST: u64 = 64;

/// Longest queue of waiting connections, listen(2).
const SOMAXCONN: &str = "/proc/sys/net/core/somaxconn";

/// Warns of what is less than the hive may need.
pub(crate) fn look(groups: &[Running]) {
    let longest = std::fs::read_to_string(SOMAXCONN)
        .ok()
        .and_then(|text| text.trim().parse().ok());
    let hard = getrlimit(Resource::RLIMIT_NOFILE).map(|(_, hard)| hard);
    let needs: Vec<_> = groups.iter().map(Need::of).collect();
    for warning in warnings(&needs, longest, hard.ok()) {
        log::warn!("{warning}");
    }
}

/// What one group wants of the system.
#[derive(Debug, Clone)]
struct Need {
    name: String,
    processes: u64,
    /// If it listens, how many connections may wait.
    backlog: Option<u32>,
    sockets: u64,
    /// As many descriptors as its definition asks for, if it does.
    nofile: Option<u64>,
}

impl Need {
    fn of(running: &Running) -> Self {
        let definition = &running.definition;
        let processes = u64::from(definition.count);
        Self {
            name: definition.name.clone(),
            processes,
            backlog: definition.address.as_ref().map(|_| definition.backlog),
            sockets: if definition.reuse_port { processes } else { 1 },
            nofile: definition.manners.nofile,
        }
    }
}

fn warnings(needs: &[Need], longest: Option<u32>, hard: Option<u64>) -> Vec<String> {
    let mut warnings = Vec::new();
    let listening = needs.iter().filter(|need| need.backlog.is_some());
    let most = listening.clone().max_by_key(|need| need.backlog);
    if let Some(Need {
        name,
        backlog: Some(backlog),
        ..
    }) = most
        && let Some(longest) = longest.filter(|longest| longest < backlog)
    {
        warnings.push(format!(
            "the queue of group \"{name}\" is to hold {backlog} connections, and this system allows {longest}: \
             sysctl -w net.core.somaxconn={backlog}, or set a lower backlog"
        ));
    }
    let Some(hard) = hard else {
        return warnings;
    };
    let remedy = format!(
        "raise the hard limit (ulimit -Hn {ENOUGH}; LimitNOFILE={ENOUGH} in a unit of systemd; --ulimit nofile={ENOUGH} \
         for a container)"
    );
    if hard < FEW && listening.clone().any(|need| need.nofile.is_none()) {
        warnings.push(format!(
            "a process may have {hard} open descriptors at most, and every connection takes one: {remedy}"
        ));
    }
    let needed: u64 = needs
        .iter()
        .map(|need| need.processes * EACH + need.sockets)
        .sum();
    if hard < needed + REST {
        warnings.push(format!(
            "the master may have {hard} open descriptors at most, and may need {} for its processes: {remedy}",
            needed + REST
        ));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn need(backlog: Option<u32>) -> Need {
        Need {
            name: "push".to_owned(),
            processes: 4,
            backlog,
            sockets: 1,
            nofile: None,
        }
    }

    #[test]
    fn a_system_that_gives_enough_is_not_warned_of() {
        let needs = [need(Some(4096)), need(None)];
        assert!(warnings(&needs, Some(4096), Some(4096)).is_empty());
        assert!(warnings(&needs, None, None).is_empty());
    }

    #[test]
    fn a_short_queue_is_told_once_with_both_numbers() {
        let needs = [need(Some(512)), need(Some(4096))];
        let told = warnings(&needs, Some(128), Some(ENOUGH));
        assert_eq!(told.len(), 1, "{told:?}");
        for word in ["4096", "128", "net.core.somaxconn=4096"] {
            assert!(told[0].contains(word), "{told:?}");
        }
    }

    #[test]
    fn few_descriptors_are_told_with_the_remedy() {
        let told = warnings(&[need(Some(128))], None, Some(1024));
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("1024") && told[0].contains("LimitNOFILE"));
        // Who asks for few gets few.
        let wanted = Need {
            nofile: Some(256),
            ..need(Some(128))
        };
        assert!(warnings(&[wanted], None, Some(1024)).is_empty());
        assert!(warnings(&[need(None)], None, Some(1024)).is_empty());
    }

    #[test]
    fn a_master_of_many_needs_descriptors_too() {
        let many = Need {
            processes: 1024,
            sockets: 1024,
            ..need(None)
        };
        let told = warnings(&[many], None, Some(4096));
        assert!(told[0].contains("5184"), "{told:?}");
    }
}
