//! A process of `workhive run --attach`: a program that was written for no hive in particular takes a seat in one.

use std::io;

use workhive_worker::{Program, Seat};

use crate::hosted::Home;
use crate::{Group, child, seated};

/// Takes the seat of this process, if it was started to take one by itself.
pub(crate) fn attach(home: &mut Home, groups: &[Group]) -> io::Result<Option<(Program, Seat)>> {
    if !seated::attaches() {
        return Ok(None);
    }
    let Some(taken) = seated::read() else {
        return Ok(None);
    };
    let mut taken = taken?;
    let name = taken.seat.place.group.clone();
    taken.settle(&name);
    let settled = program(groups, &taken.seat).and_then(|program| {
        let entered = taken.enter(home);
        // From here on the end of the link tells that the master is gone, and leaves time for a drain.
        let settled = entered.and_then(|()| Ok(nix::sys::prctl::set_pdeathsig(None)?));
        settled.map(|()| program).map_err(|error| error.to_string())
    });
    match settled {
        Ok(program) => Ok(Some((program, taken.seat))),
        Err(why) => {
            child::fail(&taken.seat, &why);
            Err(io::Error::other(why))
        }
    }
}

/// The program for the seat: that of the only group, if both have a listener or none.
fn program(groups: &[Group], seat: &Seat) -> Result<Program, String> {
    let [group] = groups else {
        return Err(format!(
            "one worker takes the place that this process has, and the program has {}",
            groups.len()
        ));
    };
    if let Some(problem) = group.problem() {
        return Err(problem.to_owned());
    }
    match (&group.address, &seat.listener) {
        (Some(address), None) => Err(format!(
            "the worker listens, at {address} as it says, and workhive run --attach has no socket for it: add --listen"
        )),
        (None, Some(inherited)) => Err(format!(
            "the worker has no address, and so no protocol, and workhive run --attach has a socket for it, at {}: give the \
             worker an address with its scheme, or leave --listen away",
            inherited.address
        )),
        _ => Ok(group.program.clone()),
    }
}
