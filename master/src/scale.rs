//! More processes in a group, or fewer, while it runs.
//!
//! Up, from one worker process to several: first comes the router, then a process that knows of it takes the place of
//! the one that routed for itself, then come the others. Down: the highest slots drain. Where every slot has a socket
//! of its own, those of the slots that are gone stay, and are served by siblings: closing a socket would reset
//! connections whose handshake is under way.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Instant;

use crate::clock::Span;
use crate::control::ClientId;
use crate::group::MAX_COUNT;
use crate::master::{Master, Mood, Order};
use crate::protocol::Reply;
use crate::router::NAME;
use crate::slot::{Phase, Slot, SlotId, processes};

/// Most slots of a hive that was scaled, all groups together. The stats page is made for as many, or for as many as
/// there are at the start if these are more.
pub(crate) const MAX_SLOTS: usize = 1024;

/// What is being done, and what waits.
#[derive(Debug, Default)]
pub(crate) struct Scaling {
    under_way: Option<UnderWay>,
    waiting: VecDeque<Wish>,
}

/// Most wishes that wait.
const MAX_WAITING: usize = 64;

/// How many processes somebody wants.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Wanted {
    Count(u16),
    OneMore,
    OneLess,
}

#[derive(Debug, Clone, Copy)]
struct Wish {
    group: usize,
    wanted: Wanted,
    client: Option<ClientId>,
}

#[derive(Debug)]
struct UnderWay {
    group: usize,
    /// How many there were, and are to be.
    from: u16,
    to: u16,
    step: Step,
    started: Instant,
    client: Option<ClientId>,
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The router is ready.
    Router,
    /// The process that routed for itself has been replaced.
    Replacement,
    /// The new slots are ready.
    Slots,
}

impl Scaling {
    pub(crate) fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    /// Those who wait for something that has not begun; it will not.
    pub(crate) fn take_waiting(&mut self) -> Vec<ClientId> {
        let wishes = self.waiting.drain(..);
        wishes.filter_map(|wish| wish.client).collect()
    }
}

impl Master {
    /// Somebody wants another number of processes: in the group of this name, or in the only one.
    pub(crate) fn request_scale(&mut self, name: Option<&str>, count: usize, client: ClientId) {
        let groups = self.groups.iter();
        let names = groups.map(|running| running.definition.name.as_str());
        let names: Vec<&str> = names.filter(|name| *name != NAME).collect();
        let group = match name {
            Some(name) => names.iter().position(|known| *known == name),
            None => (names.len() == 1).then_some(0),
        };
        let Some(group) = group else {
            let names = names.join(", ");
            let why = match name {
                Some(name) => format!("there is no group \"{name}\"; there are: {names}"),
                None => format!("which group? Say GROUP={count}; there are: {names}"),
            };
            self.reply(client, &Reply::failed(why));
            return;
        };
        let wanted = u16::try_from(count).unwrap_or(u16::MAX);
        self.wish(Wish {
            group,
            wanted: Wanted::Count(wanted),
            client: Some(client),
        });
    }

    /// One more or one fewer in the last group.
    pub(crate) fn step_scale(&mut self, wanted: Wanted) {
        let groups = self.groups.len() - usize::from(self.routing.group().is_some());
        if let Some(group) = groups.checked_sub(1) {
            self.wish(Wish {
                group,
                wanted,
                client: None,
            });
        }
    }

    fn wish(&mut self, wish: Wish) {
        if self.is_stopping() {
            self.refuse_scale(wish.client, "the hive is stopping");
        } else if self.scaling.waiting.len() >= MAX_WAITING {
            self.refuse_scale(wish.client, "too many such requests wait already");
        } else {
            self.scaling.waiting.push_back(wish);
        }
    }

    fn refuse_scale(&mut self, client: Option<ClientId>, why: &str) {
        log::warn!("not scaled: {why}");
        if let Some(client) = client {
            self.reply(client, &Reply::failed(why));
        }
    }

    /// Goes on with what is under way as far as it goes, and then with what waits.
    pub(crate) fn go_on_scaling(&mut self) {
        loop {
            if let Some(scaling) = &self.scaling.under_way {
                if self.is_stopping() {
                    return;
                }
                let (group, step) = (scaling.group, scaling.step);
                if !self.step_is_done(group, step) {
                    return;
                }
            } else if matches!(self.mood, Mood::Running)
                && !self.reload.is_under_way()
                && !self.succession.is_under_way()
            {
                match self.scaling.waiting.pop_front() {
                    Some(wish) => self.start_scaling(wish),
                    None => return,
                }
            } else {
                return;
            }
        }
    }

    fn start_scaling(&mut self, wish: Wish) {
        let Wish {
            group,
            wanted,
            client,
        } = wish;
        let definition = &self.groups[group].definition;
        let (name, from) = (definition.name.clone(), definition.count);
        let to = match wanted {
            Wanted::Count(count) => count,
            Wanted::OneMore => from.saturating_add(1),
            Wanted::OneLess => from.saturating_sub(1),
        };
        let groups = self
            .groups
            .iter()
            .filter(|running| running.definition.name != NAME);
        let others: usize = groups
            .map(|running| usize::from(running.definition.count))
            .sum();
        let all = others - usize::from(from) + usize::from(to);
        if !(1..=MAX_COUNT).contains(&usize::from(to)) {
            let why = format!("group \"{name}\" can have 1 to {MAX_COUNT} processes, not {to}");
            return self.refuse_scale(client, &why);
        }
        if to < from && definition.is_foreign() && definition.reuse_port {
            let why = format!(
                "group \"{name}\" cannot have fewer processes: each has a queue of its own, and what waits in those of \
                 the last ones would wait for nobody. Without --reuse-port it can"
            );
            return self.refuse_scale(client, &why);
        }
        if let Some(why) = definition.one_process.as_ref().filter(|_| to > 1) {
            let why = format!("group \"{name}\" cannot have {to} processes: {why}");
            return self.refuse_scale(client, &why);
        }
        if to > from && all > self.most_slots() {
            let most = self.most_slots();
            let why = format!("a running hive can have {most} processes at the most, not {all}");
            return self.refuse_scale(client, &why);
        }
        if to > from
            && let Err(error) = self.groups[group].grow_listeners(to)
        {
            let why = format!("group \"{name}\": no socket for one more process: {error}");
            return self.refuse_scale(client, &why);
        }
        log::info!(
            "scale: group \"{name}\" from {from} to {}",
            processes(usize::from(to))
        );
        // Those that are replaced on the way know the new number already.
        self.set_count(group, to);
        let step = if to > from && (self.routing.is_inside() || !self.slots_alone().is_empty()) {
            if self.routing.is_inside() {
                self.add_router();
            }
            Step::Router
        } else {
            self.fill(group, from..to);
            self.retire(group, to..from);
            Step::Slots
        };
        self.scaling.under_way = Some(UnderWay {
            group,
            from,
            to,
            step,
            started: Instant::now(),
            client,
        });
    }

    /// Looks whether what is waited for has come, and takes the next step then; false if it has not.
    fn step_is_done(&mut self, group: usize, step: Step) -> bool {
        let next = match step {
            Step::Router => {
                let router = SlotId {
                    group: self.routing.group().unwrap_or(0),
                    slot: 0,
                };
                if !self.is_served(router) {
                    let trouble = self.slot(router).trouble().map(str::to_owned);
                    return match trouble {
                        Some(why) => {
                            self.end_scaling(Err(format!("the router: {why}; it is tried again")));
                            true
                        }
                        None => false,
                    };
                }
                for slot in self.slots_alone() {
                    log::info!("{}: is replaced: there is a router now", self.place(slot));
                    self.replace(slot, "there is a router now".to_owned());
                }
                Step::Replacement
            }
            Step::Replacement => {
                let scaling = self.scaling.under_way.as_ref();
                let Some((from, to)) = scaling
                    .map(|scaling| (scaling.from, scaling.to))
                    .filter(|_| self.slots_alone().is_empty())
                else {
                    return false;
                };
                self.fill(group, from..to);
                Step::Slots
            }
            Step::Slots => return self.slots_are_settled(group),
        };
        if let Some(scaling) = &mut self.scaling.under_way {
            scaling.step = next;
        }
        true
    }

    /// True when every new slot works, or has failed.
    fn slots_are_settled(&mut self, group: usize) -> bool {
        let Some(scaling) = &self.scaling.under_way else {
            return false;
        };
        let new = (scaling.from..scaling.to).map(|slot| SlotId { group, slot });
        let open: Vec<SlotId> = new.filter(|slot| !self.is_served(*slot)).collect();
        let failed = open.iter().find_map(|slot| {
            let why = self.slot(*slot).trouble()?;
            Some(format!("{}: {why}; it is tried again", self.place(*slot)))
        });
        match failed {
            Some(why) => self.end_scaling(Err(why)),
            None if open.is_empty() => self.end_scaling(Ok(())),
            None => return false,
        }
        true
    }

    /// The process that routed for itself could not be replaced.
    pub(crate) fn scaling_failed(&mut self, why: &str) {
        let scaling = self.scaling.under_way.as_ref();
        if scaling.is_some_and(|scaling| scaling.step == Step::Replacement) {
            self.end_scaling(Err(why.to_owned()));
        }
    }

    fn end_scaling(&mut self, result: Result<(), String>) {
        let Some(scaling) = self.scaling.under_way.take() else {
            return;
        };
        if scaling.step != Step::Slots {
            // It has come to nothing.
            self.set_count(scaling.group, scaling.from);
        }
        let name = &self.groups[scaling.group].definition.name;
        let reply = match result {
            Ok(()) if scaling.to < scaling.from => Reply::done(format!(
                "group \"{name}\" has {} now; {} may finish what is in hand",
                processes(usize::from(scaling.to)),
                processes(usize::from(scaling.from - scaling.to)),
            )),
            Ok(()) => Reply::done(format!(
                "group \"{name}\" has {} now, after {}",
                processes(usize::from(scaling.to)),
                Span(scaling.started.elapsed())
            )),
            Err(why) => Reply::failed(format!("group \"{name}\" could not be scaled: {why}")),
        };
        if reply.ok {
            log::info!("scale: {}", reply.message);
        } else {
            log::error!("scale: {}", reply.message);
        }
        if let Some(client) = scaling.client {
            self.reply(client, &reply);
        }
        self.start_pending_reload();
    }

    /// The hive stops: whoever waits for more processes waits in vain.
    pub(crate) fn cancel_scaling(&mut self) {
        let under_way = self.scaling.under_way.take();
        let clients = under_way.into_iter().map(|scaling| scaling.client);
        let clients = clients.chain(self.scaling.waiting.drain(..).map(|wish| wish.client));
        for client in clients.flatten().collect::<Vec<_>>() {
            self.reply(client, &Reply::failed("the hive is stopping"));
        }
    }

    fn add_router(&mut self) {
        let at = self.routing.add_router(&mut self.groups);
        // It could start whenever it was tried; a hive that runs does not end because it could not now.
        self.groups[at].proven = true;
        self.orders.push_front(Order {
            slot: SlotId { group: at, slot: 0 },
            beside: false,
        });
    }

    fn set_count(&mut self, group: usize, count: u16) {
        let running = &mut self.groups[group];
        let before = std::mem::replace(&mut running.definition.count, count);
        let slots = running.slots.len().max(usize::from(count));
        running.slots.resize_with(slots, Slot::default);
        for slot in before..count {
            // Its socket is there already.
            self.slot_down(SlotId { group, slot });
        }
    }

    fn fill(&mut self, group: usize, new: Range<u16>) {
        self.orders.extend(new.map(|slot| Order {
            slot: SlotId { group, slot },
            beside: false,
        }));
    }

    /// Slots that the group has no more: their processes may finish what they have in hand.
    fn retire(&mut self, group: usize, gone: Range<u16>) {
        let mut left = Vec::new();
        for slot in gone.clone() {
            let slot = &mut self.groups[group].slots[usize::from(slot)];
            let ids = [slot.current.take(), slot.next.take()];
            slot.old.extend(ids.into_iter().flatten());
            left.extend(ids.into_iter().flatten());
            slot.awaited = false;
            slot.replacing = None;
            slot.backoff.reset();
        }
        // Only now is it clear who stays, and can serve their queues.
        for slot in gone.clone() {
            self.slot_down(SlotId { group, slot });
        }
        for id in left {
            self.drain(id);
        }
        for slot in gone {
            self.settle_retired(SlotId { group, slot });
        }
    }

    /// When nobody is left in a slot that is gone, sockets that no sibling can serve go too.
    pub(crate) fn settle_retired(&mut self, at: SlotId) {
        let running = &mut self.groups[at.group];
        if at.slot < running.definition.count {
            return;
        }
        let slot = &mut running.slots[usize::from(at.slot)];
        if !slot.old.is_empty() {
            return;
        }
        let processes = self.processes.values();
        let siblings: Vec<_> = processes
            .filter(|process| process.slot.group == at.group)
            .collect();
        let gone = slot.kept.close_unless(|address| {
            siblings
                .iter()
                .any(|process| process.listening.contains_key(address))
        });
        for address in gone {
            log::info!("{}: nobody listens at {address} any more", self.place(at));
        }
    }

    /// The slots of processes that route for themselves, although there is a router.
    fn slots_alone(&self) -> Vec<SlotId> {
        let processes = self.processes.iter();
        let alone =
            processes.filter(|(id, process)| process.alone && self.current_slot(**id).is_some());
        alone.map(|(_, process)| process.slot).collect()
    }

    /// True if a ready process is there.
    fn is_served(&self, at: SlotId) -> bool {
        let current = self.slot(at).current.and_then(|id| self.processes.get(&id));
        current.is_some_and(|process| process.phase == Phase::Ready)
    }

    /// How many slots the stats page has rows for.
    fn most_slots(&self) -> usize {
        // The router has its own.
        self.page.len() / crate::master::ROWS_PER_SLOT - 1
    }
}
