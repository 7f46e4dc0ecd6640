//! Values by name, in an order that does not depend on a hash.

use std::collections::HashMap;
use std::sync::Arc;

/// Which entry, as long as it exists; then the number is used again.
pub(crate) type NameId = u32;

/// Values by name. An entry also has a small number, by which others refer to it and in whose order all can be walked.
#[derive(Debug)]
pub(crate) struct Names<T> {
    index: HashMap<Arc<[u8]>, NameId>,
    /// `entries[id]` is Some exactly if an entry of `index` has this id.
    entries: Vec<Option<Named<T>>>,
    /// The ids of all None in `entries`.
    free: Vec<NameId>,
}

#[derive(Debug)]
pub(crate) struct Named<T> {
    pub(crate) name: Arc<[u8]>,
    pub(crate) value: T,
}

impl<T> Default for Names<T> {
    fn default() -> Self {
        Self {
            index: HashMap::new(),
            entries: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl<T> Names<T> {
    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    pub(crate) fn id(&self, name: &[u8]) -> Option<NameId> {
        self.index.get(name).copied()
    }

    pub(crate) fn get(&self, name: &[u8]) -> Option<&T> {
        self.at(self.id(name)?).map(|named| &named.value)
    }

    pub(crate) fn at(&self, id: NameId) -> Option<&Named<T>> {
        self.entries.get(id as usize)?.as_ref()
    }

    pub(crate) fn at_mut(&mut self, id: NameId) -> Option<&mut Named<T>> {
        self.entries.get_mut(id as usize)?.as_mut()
    }

    /// The entry of this name, made if there is none.
    pub(crate) fn entry(&mut self, name: &[u8], make: impl FnOnce() -> T) -> NameId {
        if let Some(id) = self.id(name) {
            return id;
        }
        let name: Arc<[u8]> = name.into();
        let named = Some(Named {
            name: Arc::clone(&name),
            value: make(),
        });
        let id = if let Some(id) = self.free.pop() {
            self.entries[id as usize] = named;
            id
        } else {
            self.entries.push(named);
            // Four thousand million names would take hundreds of gigabytes first.
            NameId::try_from(self.entries.len() - 1).expect("fewer than 2^32 names")
        };
        self.index.insert(name, id);
        id
    }

    pub(crate) fn remove(&mut self, id: NameId) -> Option<Named<T>> {
        let named = self.entries.get_mut(id as usize)?.take()?;
        self.index.remove(&named.name);
        self.free.push(id);
        Some(named)
    }

    /// The entries from `from` on.
    pub(crate) fn iter_from(&self, from: NameId) -> impl Iterator<Item = (NameId, &Named<T>)> {
        (from..)
            .zip(self.entries.iter().skip(from as usize))
            .filter_map(|(id, named)| Some((id, named.as_ref()?)))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (NameId, &Named<T>)> {
        self.iter_from(0)
    }
}
