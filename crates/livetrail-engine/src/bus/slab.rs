//! Values in numbered slots: a look-up is an index, and a reused slot has another key.

use std::marker::PhantomData;

/// The key of a value in a [`Slab`]: a slot, and a number that no other value of the slab ever has.
pub(super) trait Key: Copy {
    fn new(slot: usize, number: u64) -> Self;
    fn slot(self) -> usize;
    fn number(self) -> u64;
}

/// Values with keys. Slots of removed values are reused, so there are never more slots than there
/// were values at once.
pub(super) struct Slab<K, V> {
    slots: Vec<Option<(u64, V)>>,
    free: Vec<usize>,
    next_number: u64,
    key: PhantomData<K>,
}

impl<K: Key, V> Slab<K, V> {
    pub(super) fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            next_number: 0,
            key: PhantomData,
        }
    }

    /// The number of values.
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Inserts the value that `make` builds from its key.
    pub(super) fn insert(&mut self, make: impl FnOnce(K) -> V) -> K {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        let key = K::new(slot, self.next_number);
        self.next_number += 1;
        debug_assert!(self.slots[slot].is_none(), "a free slot is empty");
        self.slots[slot] = Some((key.number(), make(key)));
        key
    }

    /// `None` if the value was removed.
    pub(super) fn get_mut(&mut self, key: K) -> Option<&mut V> {
        match self.slots.get_mut(key.slot())? {
            Some((number, value)) if *number == key.number() => Some(value),
            _ => None,
        }
    }

    /// The value in a slot, and its key.
    pub(super) fn key_at(&self, slot: usize) -> Option<K> {
        let (number, _) = self.slots.get(slot)?.as_ref()?;
        Some(K::new(slot, *number))
    }

    /// `None` if it was removed before.
    pub(super) fn remove(&mut self, key: K) -> Option<V> {
        let slot = self.slots.get_mut(key.slot())?;
        let (_, value) = slot.take_if(|(number, _)| *number == key.number())?;
        self.free.push(key.slot());
        Some(value)
    }

    /// The keys of all values.
    pub(super) fn keys(&self) -> impl Iterator<Item = K> {
        (0..self.slots.len()).filter_map(|slot| self.key_at(slot))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    struct Id(usize, u64);

    impl Key for Id {
        fn new(slot: usize, number: u64) -> Self {
            Self(slot, number)
        }
        fn slot(self) -> usize {
            self.0
        }
        fn number(self) -> u64 {
            self.1
        }
    }

    proptest! {
        /// A slab has the same values as a map by key, in as few slots as possible.
        #[test]
        fn a_key_finds_its_own_value_or_none(steps in prop::collection::vec((any::<bool>(), 0..8_usize), 0..60)) {
            let (mut slab, mut map, mut keys) = (Slab::new(), HashMap::new(), Vec::new());
            let mut most = 0;
            for (n, (adds, which)) in steps.into_iter().enumerate() {
                if adds {
                    let key: Id = slab.insert(|_| n);
                    prop_assert!(map.insert(key, n).is_none(), "a key is given once");
                    keys.push(key);
                } else if let Some(key) = keys.get(which) {
                    prop_assert_eq!(slab.remove(*key), map.remove(key));
                }
                most = most.max(map.len());
                prop_assert_eq!(slab.len(), map.len());
                for key in &keys {
                    prop_assert_eq!(slab.get_mut(*key).copied(), map.get(key).copied());
                }
                prop_assert_eq!(slab.keys().count(), map.len());
            }
            prop_assert!(slab.slots.len() <= most);
        }
    }
}
