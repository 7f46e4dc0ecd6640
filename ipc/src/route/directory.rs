//! Who has what: names, the members that own each, and back.

use crate::route::names::{Name, NameId, Names};

/// A process or a local client, as long as it is known; then the number is used again.
pub(crate) type MemberId = u16;

/// Names and their owners, in both directions.
///
/// Soft state: every row was told by its owner, and can be told again.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    names: Names<Owners>,
    /// `by_member[m]` holds the ids of exactly those names that have a row of `m`, each once; that row's `at` is the
    /// position.
    by_member: Vec<Vec<NameId>>,
}

#[derive(Debug, Clone, Copy)]
struct Row {
    member: MemberId,
    at: u32,
    seq: u64,
}

/// Nearly every uid has one owner: that one takes no memory of its own.
#[derive(Debug)]
struct Owners {
    first: Row,
    /// In no order; none of them is the member of `first`.
    more: Vec<Row>,
}

/// What adding a row changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Added {
    /// The name has its first owner.
    First,
    /// One more owner.
    Another,
    /// It was there: its number is renewed.
    Known,
}

impl Owners {
    fn iter(&self) -> impl Iterator<Item = &Row> {
        std::iter::once(&self.first).chain(&self.more)
    }

    fn find_mut(&mut self, member: MemberId) -> Option<&mut Row> {
        if self.first.member == member {
            return Some(&mut self.first);
        }
        self.more.iter_mut().find(|row| row.member == member)
    }
}

impl Directory {
    /// How many names there are.
    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    /// How many of them a member has.
    pub(crate) fn len_of(&self, member: MemberId) -> usize {
        self.by_member.get(usize::from(member)).map_or(0, Vec::len)
    }

    pub(crate) fn contains(&self, name: &[u8]) -> bool {
        self.names.id(name).is_some()
    }

    pub(crate) fn owners(&self, name: &[u8]) -> impl Iterator<Item = MemberId> {
        self.names
            .get(name)
            .into_iter()
            .flat_map(|owners| owners.iter().map(|row| row.member))
    }

    /// The names from an id on, each with its id.
    pub(crate) fn names_from(&self, from: NameId) -> impl Iterator<Item = (NameId, &Name)> {
        self.names
            .iter_from(from)
            .map(|(id, named)| (id, &named.name))
    }

    pub(crate) fn add(&mut self, name: &[u8], member: MemberId, seq: u64) -> Added {
        let slot = usize::from(member);
        if self.by_member.len() <= slot {
            self.by_member.resize_with(slot + 1, Vec::new);
        }
        let reverse = &mut self.by_member[slot];
        let row = Row {
            member,
            // As many as there are names, which fit.
            at: NameId::try_from(reverse.len()).unwrap_or(NameId::MAX),
            seq,
        };
        let mut added = Added::Known;
        let id = self.names.entry(name, || {
            added = Added::First;
            Owners {
                first: row,
                more: Vec::new(),
            }
        });
        if added == Added::Known
            && let Some(named) = self.names.at_mut(id)
        {
            if let Some(row) = named.value.find_mut(member) {
                row.seq = seq;
                return Added::Known;
            }
            named.value.more.push(row);
            added = Added::Another;
        }
        reverse.push(id);
        added
    }

    /// Removes a row, if there is one that is not newer than `seq`. Says whether it was the name's last.
    pub(crate) fn remove(&mut self, name: &[u8], member: MemberId, seq: u64) -> Option<bool> {
        let id = self.names.id(name)?;
        let row = *self.names.at_mut(id)?.value.find_mut(member)?;
        if row.seq > seq {
            return None;
        }
        let reverse = self.by_member.get_mut(usize::from(member))?;
        reverse.swap_remove(row.at as usize);
        if let Some(&moved) = reverse.get(row.at as usize)
            && let Some(named) = self.names.at_mut(moved)
            && let Some(other) = named.value.find_mut(member)
        {
            other.at = row.at;
        }
        Some(self.forget(id, member).is_some())
    }

    /// Removes all rows of a member, and tells the names that have no owner left.
    pub(crate) fn drop_member(&mut self, member: MemberId, mut lost: impl FnMut(Name)) {
        let Some(reverse) = self.by_member.get_mut(usize::from(member)) else {
            return;
        };
        for id in std::mem::take(reverse) {
            if let Some(name) = self.forget(id, member) {
                lost(name);
            }
        }
    }

    /// Removes the row from the name's side; the name itself, which is returned, if it was the last.
    fn forget(&mut self, id: NameId, member: MemberId) -> Option<Name> {
        let owners = &mut self.names.at_mut(id)?.value;
        if owners.first.member == member {
            match owners.more.pop() {
                Some(next) => owners.first = next,
                None => return Some(self.names.remove(id)?.name),
            }
        } else {
            owners.more.retain(|row| row.member != member);
            if owners.more.is_empty() {
                owners.more = Vec::new();
            }
        }
        None
    }

    /// Whether both directions say the same.
    #[cfg(test)]
    fn is_consistent(&self) -> bool {
        let rows: usize = self.by_member.iter().map(Vec::len).sum();
        let mut seen = 0;
        let all = self.names.iter().all(|(id, named)| {
            named.value.iter().all(|row| {
                seen += 1;
                self.by_member[usize::from(row.member)][row.at as usize] == id
            })
        });
        all && seen == rows
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_newer_row_survives_an_older_removal() {
        let mut directory = Directory::default();
        assert_eq!(directory.add(b"u", 3, 5), Added::First);
        assert_eq!(directory.add(b"u", 3, 9), Added::Known);
        assert_eq!(directory.add(b"u", 4, 1), Added::Another);
        assert_eq!(directory.remove(b"u", 3, 8), None);
        assert_eq!(directory.remove(b"u", 3, 9), Some(false));
        assert_eq!(directory.remove(b"u", 3, 9), None);
        assert_eq!(directory.remove(b"u", 4, 1), Some(true));
        assert_eq!(directory.len(), 0);
    }

    proptest! {
        #[test]
        fn it_does_as_a_plain_map_of_sets(ops in proptest::collection::vec((0u8..4, 0u8..12, 0u16..5), 0..200)) {
            let mut directory = Directory::default();
            let mut plain: BTreeMap<u8, BTreeSet<MemberId>> = BTreeMap::new();
            for (op, name, member) in ops {
                match op {
                    0 | 1 => {
                        directory.add(&[name], member, 1);
                        plain.entry(name).or_default().insert(member);
                    }
                    2 => {
                        let had = plain.get_mut(&name).is_some_and(|owners| owners.remove(&member));
                        prop_assert_eq!(directory.remove(&[name], member, 1).is_some(), had);
                    }
                    _ => {
                        let mut lost = BTreeSet::new();
                        directory.drop_member(member, |name| { lost.insert(name[0]); });
                        let mut expected = BTreeSet::new();
                        for (name, owners) in &mut plain {
                            if owners.remove(&member) && owners.is_empty() {
                                expected.insert(*name);
                            }
                        }
                        prop_assert_eq!(lost, expected);
                    }
                }
                plain.retain(|_, owners| !owners.is_empty());
                prop_assert!(directory.is_consistent());
                prop_assert_eq!(directory.len(), plain.len());
                for (name, owners) in &plain {
                    prop_assert_eq!(&directory.owners(&[*name]).collect::<BTreeSet<_>>(), owners);
                }
                for member in 0..5 {
                    let names = plain.values().filter(|owners| owners.contains(&member)).count();
                    prop_assert_eq!(directory.len_of(member), names);
                }
            }
        }
    }
}
