//! A table of bounded size that forgets what was unused for longest.

use std::{collections::HashMap, hash::Hash};

/// Two generations of entries. A full young generation becomes the old one, and the old one is
/// forgotten. An entry that is used comes back into the young one. So the table never has more than
/// twice `half` entries, and an entry survives as long as it is used more often than `half` others
/// are added.
pub(crate) struct Cache<K, V> {
    half: usize,
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K: Eq + Hash, V: Clone> Cache<K, V> {
    /// A table of at most this many entries, at least two.
    pub(crate) fn new(entries: usize) -> Self {
        Self {
            half: (entries / 2).max(1),
            young: HashMap::new(),
            old: HashMap::new(),
        }
    }

    pub(crate) fn get(&mut self, key: &K) -> Option<V> {
        if let Some(value) = self.young.get(key) {
            return Some(value.clone());
        }
        let (key, value) = self.old.remove_entry(key)?;
        self.insert(key, value.clone());
        Some(value)
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        if self.young.len() >= self.half && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.old.remove(&key);
        self.young.insert(key, value);
    }

    pub(crate) fn remove(&mut self, key: &K) {
        self.young.remove(key);
        self.old.remove(key);
    }

    /// The number of entries.
    pub(crate) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_used_stays() {
        let mut cache = Cache::new(8);
        cache.insert(0, "used");
        for n in 1..100 {
            cache.insert(n, "once");
            assert_eq!(cache.get(&0), Some("used"));
        }
        assert_eq!(cache.get(&1), None);
    }

    proptest! {
        #[test]
        fn it_is_bounded_and_answers_with_the_last_value(
            entries in 0_usize..20,
            steps in prop::collection::vec((0_u8..40, 0_u8..3), 0..200),
        ) {
            let mut cache = Cache::new(entries);
            let mut last = HashMap::new();
            for (n, (key, what)) in steps.into_iter().enumerate() {
                match what {
                    0 => {
                        cache.remove(&key);
                        last.remove(&key);
                    }
                    1 => {
                        cache.insert(key, n);
                        last.insert(key, n);
                        prop_assert_eq!(cache.get(&key), Some(n));
                    }
                    _ => {
                        if let Some(found) = cache.get(&key) {
                            prop_assert_eq!(Some(&found), last.get(&key));
                        }
                    }
                }
                prop_assert!(cache.len() <= entries.max(2));
            }
        }
    }
}
