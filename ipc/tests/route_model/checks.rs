//! At the end of a history: is all as the model says?

use super::*;

impl Model {
    pub(crate) fn finish(&mut self) {
        if self.net.core.is_none() {
            self.net.start_router();
        }
        for process in std::mem::take(&mut self.stalled) {
            self.net.stall(process, false);
        }
        self.net.refuse = 0;
        self.net.wake();
        for dead in self.dead.clone() {
            let now = self.net.now;
            self.net.core().ended(dead, now);
        }
        for _ in 0..4 {
            self.net.settle();
            self.hear();
            self.advance(3000);
        }
        assert!(self.net.core().is_complete());
        assert_eq!(self.net.core().counters().waiting, 0);
        assert_eq!(self.net.core().next_deadline(), None);
        assert!(
            self.tickets
                .keys()
                .all(|(process, _)| self.dead.contains(process))
        );
        assert!(
            self.by_id
                .keys()
                .all(|(process, _)| self.dead.contains(process))
        );
        assert!(self.queries.is_empty());
        self.check_directory();
        self.check_deliveries();
        self.check_order();
        self.check_presence();
    }

    fn names(&self) -> BTreeSet<&Name> {
        (self.spans.iter())
            .filter(|span| span.until == NEVER)
            .map(|span| &span.name)
            .collect()
    }

    fn check_directory(&mut self) {
        let Some(asker) = self.processes.first().copied() else {
            return;
        };
        let uids: Vec<&[u8]> = UIDS.iter().chain(&SINGLES).copied().collect();
        let now = self.net.now;
        let agent = self.net.agent(asker);
        let online = agent.query(Query::Online(uids.clone()), now).unwrap();
        let totals = agent.query(Query::Totals, now).unwrap();
        self.net.settle();
        let names = self.names();
        let expected = uids
            .iter()
            .map(|uid| names.contains(&Name::Uid(uid.to_vec())))
            .collect();
        let is_uid = |name: &&&Name| matches!(name, Name::Uid(_));
        let uids = names.iter().filter(is_uid).count() as u64;
        let rooms = names.len() as u64 - uids;
        let got = self.net.take();
        let answer = |id| {
            got.iter().find_map(|(_, got)| match got {
                Got::Answer(query, Some(answer)) if *query == id => Some(answer.clone()),
                _ => None,
            })
        };
        let partial = false;
        assert_eq!(
            answer(online),
            Some(Answer::Online {
                online: expected,
                partial
            })
        );
        let processes = self.processes.len() as u64;
        assert_eq!(
            answer(totals),
            Some(Answer::Totals {
                uids,
                rooms,
                topics: 0,
                processes,
                partial
            })
        );
        for (single, name) in SINGLES.iter().map(|uid| (uid, Name::Uid(uid.to_vec()))) {
            let holders = self
                .spans
                .iter()
                .filter(|span| span.until == NEVER && span.name == name);
            assert!(holders.count() <= 1, "{single:?} has two connections");
        }
    }

    /// Whoever was bound before a push, and was so until all was over, has it.
    fn check_deliveries(&self) {
        for (number, sent) in self.sent.iter().enumerate() {
            let (end, outcome) = match (sent.id, sent.resolved) {
                (Some(_), Some(resolved)) => resolved,
                // Nobody was told what became of it.
                (Some(_), None) => continue,
                (None, _) => (self.step, Outcome::default()),
            };
            let within = |step: Step| (sent.issued..=end).contains(&step);
            let router_crashed = self.router_crashes.iter().any(|step| within(*step));
            // The sender must have lived for long enough to send it; what it wants to know about, it does hear of.
            let sender_died = self.crashes.iter().any(|(step, process)| {
                let known = sent.id.is_some() && !outcome.unknown;
                *process == sent.issuer && *step >= sent.issued && !known
            });
            // It may have waited for a router for too long, and nobody asked.
            let is_certain = self.router_crashes.is_empty()
                && self.relinked.is_empty()
                && !self.slow.contains(&sent.issuer);
            let dropped = sent.id.is_none() && !is_certain;
            if outcome.unrouted || router_crashed || sender_died || dropped {
                continue;
            }
            // One owner died or slept; all others have it, if not at the time of the outcome, then now.
            let mut end = end;
            if outcome.unknown {
                let sender_relinked = self.relinked.contains(&sent.issuer);
                if !self.router_crashes.is_empty() || self.padding > 100 || sender_relinked {
                    continue;
                }
                end = self.step;
            }
            if outcome.refused > 0 || (sent.id.is_none() && self.padding > 100) {
                continue;
            }
            for (index, connection) in self.connections.iter().enumerate() {
                let me = connection.process.connection(connection.key);
                let lived = |from: Step, until: Step| from <= sent.issued && until > end;
                if outcome.unknown && self.relinked.contains(&connection.process) {
                    continue;
                }
                let must = lived(connection.opened, connection.closed)
                    && !sent.exclude.contains(&me)
                    && match &sent.goal {
                        // The process itself had to be known to the router.
                        Goal::All => self.was_known(connection.process, sent.issued),
                        Goal::Connection(id) => {
                            *id == me && self.was_known(connection.process, sent.issued)
                        }
                        Goal::Names(names) => self.spans.iter().any(|span| {
                            span.connection == index
                                && names.contains(&span.name)
                                && lived(span.acked, span.until)
                        }),
                    };
                let got = connection.got.iter().any(|(n, _)| *n == number);
                let refused = connection.refused.contains(&number);
                assert!(
                    !must || got || refused,
                    "push {number} ({sent:?}) did not reach {me}"
                );
            }
        }
    }

    /// Whether something of this process had been acknowledged.
    fn was_known(&self, process: Process, step: Step) -> bool {
        self.spans
            .iter()
            .any(|span| span.acked <= step && self.connections[span.connection].process == process)
    }

    /// There is one order of all pushes, of which each connection saw a part, and each sender made one.
    fn check_order(&self) {
        let mut after: Vec<Vec<usize>> = vec![Vec::new(); self.sent.len()];
        for connection in &self.connections {
            for pair in connection.got.windows(2) {
                after[pair[0].0].push(pair[1].0);
            }
        }
        let mut last: BTreeMap<Process, usize> = BTreeMap::new();
        for (number, sent) in self.sent.iter().enumerate() {
            if let Some(before) = last.insert(sent.issuer, number) {
                after[before].push(number);
            }
        }
        let mut waits = vec![0; self.sent.len()];
        for next in after.iter().flatten() {
            waits[*next] += 1;
        }
        let mut ready: Vec<usize> = (0..waits.len()).filter(|n| waits[*n] == 0).collect();
        let mut ordered = 0;
        while let Some(number) = ready.pop() {
            ordered += 1;
            for next in &after[number] {
                waits[*next] -= 1;
                if waits[*next] == 0 {
                    ready.push(*next);
                }
            }
        }
        assert_eq!(
            ordered,
            self.sent.len(),
            "no one order explains what was received"
        );
    }

    /// One who watched from the beginning knows who is online, if the router never was away.
    fn check_presence(&self) {
        if !self.watched || !self.router_crashes.is_empty() || self.dead.contains(&self.watcher) {
            return;
        }
        let names = self.names();
        for uid in UIDS.iter().chain(&SINGLES) {
            let online = names.contains(&Name::Uid(uid.to_vec()));
            let told = self.presence.get(*uid).copied().unwrap_or(false);
            assert_eq!(told, online, "presence of {uid:?}");
        }
    }
}
