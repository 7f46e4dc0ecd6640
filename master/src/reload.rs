//! Replacing every process by a new one, slot by slot, without a moment in which fewer serve.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use workhive_ipc::ToWorker;

use crate::clock::Span;
use crate::control::ClientId;
use crate::master::{Master, Mood, Order, Timer};
use crate::protocol::Reply;
use crate::recycle::AGAIN;
use crate::slot::{Drains, Phase, Process, ProcessId, SlotId, processes};

/// Most replaced processes of one slot that may still finish what they have in hand: with more, frequent reloads under
/// long connections would fill the memory. The next reload waits for one of them, which is never longer than a drain.
pub(crate) const OLD: usize = 8;

/// How long a process that was told to drain may take to say that it does, before a reload is over without that: it may
/// be in the middle of something, or stopped.
const HEAR: Duration = Duration::from_secs(1);

/// The reload that is under way, and those that wait.
#[derive(Debug, Default)]
pub(crate) struct Reload {
    under_way: Option<UnderWay>,
    /// One more is wanted after this one. Any number of requests make one.
    again: bool,
    /// Clients that wait for the one more.
    waiting: Vec<ClientId>,
    /// What became of the last one.
    pub(crate) last: Option<String>,
}

#[derive(Debug)]
struct UnderWay {
    started: Instant,
    left: VecDeque<SlotId>,
    /// The slot that is being replaced.
    now: Option<SlotId>,
    /// The slot that has too many replaced processes to go on, or is being replaced for another reason.
    held: Option<SlotId>,
    replaced: usize,
    /// Until when those who were replaced may say that they drain.
    heard_by: Option<Instant>,
    told: usize,
    waiting: Vec<ClientId>,
}

impl Reload {
    pub(crate) fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    /// Those who wait for a reload that has not begun; it will not.
    pub(crate) fn take_waiting(&mut self) -> Vec<ClientId> {
        self.again = false;
        std::mem::take(&mut self.waiting)
    }
}

impl Master {
    /// Somebody wants a reload: now, or after the one that is under way.
    pub(crate) fn request_reload(&mut self, client: Option<ClientId>) {
        match self.mood {
            Mood::Stopping { .. } => {
                log::warn!("no reload: the hive is stopping");
                if let Some(client) = client {
                    self.reply(client, &Reply::failed("the hive is stopping"));
                }
            }
            Mood::Starting => {
                log::info!("reload: as soon as the hive has started");
                self.reload.again = true;
                self.reload.waiting.extend(client);
            }
            Mood::Running
                if self.reload.is_under_way()
                    || self.scaling.is_under_way()
                    || self.succession.is_under_way() =>
            {
                log::info!("reload: once more after what is under way");
                self.reload.again = true;
                self.reload.waiting.extend(client);
            }
            Mood::Running => self.start_reload(client.into_iter().collect()),
        }
    }

    pub(crate) fn start_pending_reload(&mut self) {
        if self.scaling.is_under_way() || self.succession.is_under_way() {
            return;
        }
        if std::mem::take(&mut self.reload.again) && !self.is_stopping() {
            let waiting = std::mem::take(&mut self.reload.waiting);
            self.start_reload(waiting);
        }
    }

    fn start_reload(&mut self, waiting: Vec<ClientId>) {
        let mut left = VecDeque::new();
        let mut tell = Vec::new();
        for (group, running) in self.groups.iter().enumerate() {
            if self.routing.group() == Some(group) {
                // It stays: what it knows is what keeps the clients of the others together meanwhile.
                continue;
            }
            if running.definition.reloadable {
                left.extend((0..running.definition.count).map(|slot| SlotId { group, slot }));
            } else {
                tell.extend(running.slots.iter().filter_map(|slot| slot.current));
            }
        }
        log::info!(
            "reload: {} to replace, {} to tell",
            processes(left.len()),
            tell.len()
        );
        self.notifier.reloading();
        for id in &tell {
            self.send(*id, ToWorker::Reload, None);
        }
        self.reload.under_way = Some(UnderWay {
            started: Instant::now(),
            left,
            now: None,
            held: None,
            replaced: 0,
            heard_by: None,
            told: tell.len(),
            waiting,
        });
        self.reload_next();
    }

    /// Goes on to the next slot, or ends.
    fn reload_next(&mut self) {
        let Some(reload) = &mut self.reload.under_way else {
            return;
        };
        if let Some(slot) = reload.left.front().copied() {
            let books = &self.groups[slot.group].slots[usize::from(slot.slot)];
            if books.next.is_some() {
                // It may have been started before the reload was asked for.
                reload.held = Some(slot);
                return;
            }
            if books.old.len() >= OLD {
                reload.held = Some(slot);
                log::info!(
                    "reload: waits until one of {OLD} replaced processes of {} has ended",
                    self.place(slot)
                );
                return;
            }
            reload.left.pop_front();
            reload.now = Some(slot);
            self.orders.push_back(Order { slot, beside: true });
            return;
        }
        // Until they have heard of it, they go on to accept: whoever is told of the end is to find the new ones only.
        let now = Instant::now();
        let heard_by = *reload.heard_by.get_or_insert(now + HEAR);
        if heard_by == now + HEAR {
            self.timers.at(heard_by, Timer::Heard);
        }
        let unheard = |process: &Process| {
            process.phase == Phase::Draining
                && process.link.is_some()
                && process.drains == Drains::Silent
        };
        if now < heard_by && self.processes.values().any(unheard) {
            return;
        }
        let Some(reload) = &self.reload.under_way else {
            return;
        };
        let told = match reload.told {
            0 => String::new(),
            told => format!(", told {told}"),
        };
        let text = format!(
            "replaced {}{told} in {}",
            processes(reload.replaced),
            Span(reload.started.elapsed())
        );
        log::info!("reload: {text}");
        self.end_reload(&Reply::done(&text));
    }

    /// Something has changed for those who were replaced: a reload that only waits for them may be over.
    pub(crate) fn go_on_reloading(&mut self) {
        let under_way = self.reload.under_way.as_ref();
        if under_way.is_some_and(|reload| reload.heard_by.is_some()) {
            self.reload_next();
        }
    }

    /// A new process is ready and has taken its slot over: lets the old one go, and does not wait for that.
    pub(crate) fn reloaded(&mut self, at: SlotId, replaced: Option<ProcessId>) {
        if let Some(id) = replaced {
            self.groups[at.group].slots[usize::from(at.slot)]
                .old
                .push(id);
            self.drain(id);
        }
        let slot = &mut self.groups[at.group].slots[usize::from(at.slot)];
        if let Some(why) = slot.replacing.take() {
            slot.recycled += 1;
            slot.last_recycle = Some(why);
        }
        match &mut self.reload.under_way {
            Some(reload) if reload.now == Some(at) => {
                reload.now = None;
                reload.replaced += 1;
                self.reload_next();
            }
            _ => self.resume_reload(at),
        }
    }

    /// Replaces the process of one slot, without a reload.
    pub(crate) fn replace(&mut self, at: SlotId, why: String) {
        let slot = &mut self.groups[at.group].slots[usize::from(at.slot)];
        if slot.next.is_none() && slot.replacing.is_none() {
            slot.replacing = Some(why);
            self.orders.push_back(Order {
                slot: at,
                beside: true,
            });
        }
    }

    /// A new process that was to replace another did not become ready.
    pub(crate) fn replacement_failed(&mut self, at: SlotId, why: &str) {
        let now = self.reload.under_way.as_ref().and_then(|reload| reload.now);
        if now == Some(at) {
            self.reload_failed(why);
            return;
        }
        let slot = &mut self.groups[at.group].slots[usize::from(at.slot)];
        if let Some(wanted) = slot.replacing.take()
            && !self.is_stopping()
        {
            let slot = &mut self.groups[at.group].slots[usize::from(at.slot)];
            slot.recycle_not_before = Some(Instant::now() + AGAIN);
            log::error!(
                "{}: could not be replaced ({wanted}), the old process stays: {why}",
                self.place(at)
            );
            self.scaling_failed(why);
        }
        self.resume_reload(at);
    }

    /// Something about a slot has changed: a reload that waited for that goes on.
    pub(crate) fn resume_reload(&mut self, at: SlotId) {
        if let Some(reload) = &mut self.reload.under_way
            && reload.held == Some(at)
        {
            reload.held = None;
            self.reload_next();
        }
    }

    /// A new process did not become ready: the old ones stay, the rest of the slots is left as it is.
    fn reload_failed(&mut self, why: &str) {
        if !self.reload.is_under_way() || self.is_stopping() {
            return;
        }
        let text = format!("the reload failed, the old processes stay: {why}");
        log::error!("{text}");
        self.end_reload(&Reply::failed(&text));
    }

    fn end_reload(&mut self, reply: &Reply) {
        let Some(reload) = self.reload.under_way.take() else {
            return;
        };
        self.reload.last = Some(reply.message.clone());
        self.notifier.reloaded(&reply.message);
        for client in reload.waiting {
            self.reply(client, reply);
        }
        self.start_pending_reload();
    }

    /// The hive stops: whoever waits for a reload waits in vain.
    pub(crate) fn cancel_reload(&mut self) {
        let under_way = self.reload.under_way.take().map(|reload| reload.waiting);
        let waiting = std::mem::take(&mut self.reload.waiting);
        self.reload.again = false;
        for client in under_way.into_iter().flatten().chain(waiting) {
            self.reply(client, &Reply::failed("the hive is stopping"));
        }
    }
}
