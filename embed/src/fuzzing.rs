//! A seat that a fuzz target has made, so that it can run a worker in its own process, without a master.

use workhive_worker::Seat;

use crate::hive::{self, wh_hive};
use crate::run::Stage;
use crate::stats;

/// Sits the hive's only worker down, as wh_hive_start does in a new process. False if the hive has none, or was started.
pub fn sit(hive: wh_hive, seat: Seat) -> bool {
    hive::with(hive, |hive| {
        let (_, groups) = hive.host();
        let fits = matches!(hive.stage, Stage::Defined) && groups.len() == 1;
        if let Some(group) = groups.first().filter(|_| fits) {
            stats::sit(&seat);
            hive.stage = Stage::Seated(Box::new((group.program().clone(), seat)));
        }
        Ok(fits)
    })
    .unwrap_or(false)
}
