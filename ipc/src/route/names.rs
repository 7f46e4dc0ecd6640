//! Values by name, in an order that does not depend on a hash.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::collections::hash_map;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

/// A uid, room or topic, owned. Short ones, which most are, take no memory of their own: a lookup among a million
/// of them touches one cache line, not two.
#[derive(Debug, Clone)]
pub(crate) enum Name {
    Short { length: u8, bytes: [u8; SHORT] },
    Long(Arc<[u8]>),
}

/// So that a `Name` has three words.
const SHORT: usize = 22;

impl From<&[u8]> for Name {
    fn from(name: &[u8]) -> Self {
        let mut bytes = [0; SHORT];
        match (bytes.get_mut(..name.len()), u8::try_from(name.len())) {
            (Some(place), Ok(length)) => {
                place.copy_from_slice(name);
                Self::Short { length, bytes }
            }
            _ => Self::Long(name.into()),
        }
    }
}

impl Deref for Name {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Short { length, bytes } => &bytes[..usize::from(*length).min(SHORT)],
            Self::Long(name) => name,
        }
    }
}

// All as the bytes, so that a map can be asked for bytes.
impl Borrow<[u8]> for Name {
    fn borrow(&self) -> &[u8] {
        self
    }
}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Name {}

/// Which entry, as long as it exists; then the number is used again.
pub(crate) type NameId = u32;

/// Values by name. An entry also has a small number, by which others refer to it and in whose order all can be walked.
#[derive(Debug)]
pub(crate) struct Names<T> {
    index: HashMap<Name, NameId>,
    /// `entries[id]` is Some exactly if an entry of `index` has this id.
    entries: Vec<Option<Named<T>>>,
    /// The ids of all None in `entries`.
    free: Vec<NameId>,
}

#[derive(Debug)]
pub(crate) struct Named<T> {
    pub(crate) name: Name,
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
        let vacant = match self.index.entry(name.into()) {
            hash_map::Entry::Occupied(entry) => return *entry.get(),
            hash_map::Entry::Vacant(vacant) => vacant,
        };
        let named = Some(Named {
            name: vacant.key().clone(),
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
        vacant.insert(id);
        id
    }

    pub(crate) fn remove(&mut self, id: NameId) -> Option<Named<T>> {
        let named = self.entries.get_mut(id as usize)?.take()?;
        self.index.remove(&*named.name);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_its_bytes_however_long() {
        assert_eq!(size_of::<Name>(), 24);
        for length in [1, 21, 22, 23, 255] {
            let bytes = vec![b'x'; length];
            let name = Name::from(&bytes[..]);
            assert_eq!(&*name, bytes);
            assert_eq!(matches!(name, Name::Long(_)), length > SHORT);
            let mut names = Names::default();
            let id = names.entry(&bytes, || 1);
            assert_eq!((names.get(&bytes), names.get(b"")), (Some(&1), None));
            assert_eq!(names.entry(&bytes, || 2), id);
            assert_eq!(names.remove(id).map(|named| named.value), Some(1));
            assert_eq!(names.len(), 0);
        }
    }
}
