//! Ending the hive.

use std::time::Duration;

use crate::error::StartError;
use crate::life::STOP;
use crate::logger;
use crate::master::{Master, Mood};
use crate::slot::processes;

/// How long the end of the last process, killed perhaps, may take to be seen.
const LAST: Duration = Duration::from_millis(500);

impl Master {
    /// Ends the hive: gracefully, within each group's drain; or now. Asked again, it becomes more urgent, never less:
    /// graceful, then now, then SIGKILL.
    pub(crate) fn stop(&mut self, graceful: bool) {
        match &mut self.mood {
            Mood::Stopping {
                graceful: false, ..
            } if !graceful => {
                let ids: Vec<_> = self.processes.keys().copied().collect();
                log::warn!("asked again to stop now: killing {}", processes(ids.len()));
                self.stop_predecessor(false);
                for id in ids {
                    self.kill(id);
                }
                return;
            }
            // A second request for what is being done already, or for less.
            Mood::Stopping { graceful: now, .. } if *now == graceful || graceful => return,
            Mood::Stopping { graceful: now, .. } => *now = false,
            Mood::Starting => {
                let reason = Some(StartError::System {
                    what: "start",
                    error: std::io::Error::other("it was told to stop before it was ready"),
                });
                // A foreground hive that is stopped while it starts has done as it was told.
                let reason = reason.filter(|_| self.word.is_some());
                self.mood = Mood::Stopping { graceful, reason };
            }
            Mood::Running => {
                self.mood = Mood::Stopping {
                    graceful,
                    reason: None,
                }
            }
        }
        self.end_all(graceful);
    }

    /// The hive cannot go on: ends it now, with a reason.
    pub(crate) fn fail(&mut self, reason: StartError) {
        self.tell_failure(&reason);
        if self.is_stopping() || logger::path().is_some() {
            log::error!("{reason}");
        }
        // Else it is the last word of the program, on the standard error to which it logs too.
        // Processes of one that was to take over serve already.
        let graceful = self.is_heir();
        if !self.is_stopping() {
            self.mood = Mood::Stopping {
                graceful,
                reason: Some(reason),
            };
        }
        self.end_all(graceful);
    }

    fn end_all(&mut self, graceful: bool) {
        self.cancel_reload();
        self.cancel_scaling();
        self.cancel_upgrade(graceful);
        self.tell_stopping();
        self.stop_predecessor(graceful);
        // The router may be on its way, and is still needed by those that drain.
        let routing = &self.routing;
        self.orders
            .retain(|order| graceful && routing.is_router(order.slot));
        // From now on the workers' copies are the last ones: when they have accepted what waits and close theirs, new
        // connections are refused, rather than left to wait for nobody.
        self.shared.clear();
        self.loans.clear();
        for running in &mut self.groups {
            running.listeners = crate::listeners::GroupListeners::default();
            for slot in &mut running.slots {
                slot.kept.clear();
            }
        }
        let workers = self.processes.iter();
        let workers = workers.filter(|(_, process)| !self.is_router(process.slot));
        let workers: Vec<_> = workers.map(|(id, _)| *id).collect();
        for id in workers {
            if graceful {
                self.drain(id);
            } else {
                self.end(id);
            }
        }
        self.release_router();
    }

    /// How the hive ended, once it has.
    pub(crate) fn ended(&mut self) -> Option<Result<(), StartError>> {
        if !self.is_stopping()
            || !self.processes.is_empty()
            || self.succession.is_under_way()
            || self.predecessor_drains().is_some()
        {
            return None;
        }
        let Mood::Stopping { reason, .. } = &mut self.mood else {
            return None;
        };
        let reason = reason.take();
        if reason.is_none() {
            log::info!("stopped");
        }
        Some(reason.map_or(Ok(()), Err))
    }

    /// The longest that a graceful stop can take.
    pub(crate) fn longest_stop(&self) -> Duration {
        let longest = self
            .groups
            .iter()
            .map(|running| running.definition.drain)
            .max();
        // The router ends after all the others.
        let router = if self.routing.is_inside() {
            Duration::ZERO
        } else {
            STOP
        };
        longest.unwrap_or_default() + STOP + router + LAST
    }
}
