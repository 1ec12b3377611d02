//! The sessions that were closed last.

use std::collections::VecDeque;

use uuid::Uuid;

use super::ids::UuidSet;

/// The maximum number of closed sessions that are remembered.
pub(crate) const RECENT_SESSIONS: usize = 65_536;

/// The closed sessions, at most [`RECENT_SESSIONS`] of them. An older one makes room for a new one.
///
/// The ids of most sessions contain the time and grow. An id above all that were ever closed is
/// none of them. Where all questions are of this kind, the set of them is never made: it exceeds
/// the processor's cache, and two accesses per session would wait for memory.
#[derive(Debug, Default)]
pub(super) struct Recent {
    /// In the order in which they were closed, each once.
    order: VecDeque<Uuid>,
    /// The largest id that was ever in `order`.
    largest: Uuid,
    /// The same ids, since the first question that needed them.
    set: Option<UuidSet>,
}

impl Recent {
    pub(super) fn contains(&mut self, id: Uuid) -> bool {
        if id > self.largest || self.order.is_empty() {
            return false;
        }
        let order = &self.order;
        let set = self
            .set
            .get_or_insert_with(|| order.iter().copied().collect());
        set.contains(&id)
    }

    /// Adds an id. Without a set it must not be there yet. That holds if [`contains`] was called
    /// for each id before it is added or becomes an open session: the answer needs the set.
    ///
    /// [`contains`]: Self::contains
    pub(super) fn insert(&mut self, id: Uuid) {
        if let Some(set) = &mut self.set
            && !set.insert(id)
        {
            return;
        }
        self.largest = self.largest.max(id);
        self.order.push_back(id);
        if self.order.len() > RECENT_SESSIONS
            && let Some(oldest) = self.order.pop_front()
            && let Some(set) = &mut self.set
        {
            set.remove(&oldest);
        }
    }

    /// Reads what `count` further ids and these will need.
    pub(super) fn read(&self, ids: impl Iterator<Item = Uuid>, count: usize) -> usize {
        let Some(set) = &self.set else { return 0 };
        let oldest = self.order.iter().take(count).copied();
        ids.chain(oldest).filter(|id| set.contains(id)).count()
    }

    /// The ids, in the order in which they were closed.
    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = &Uuid> {
        self.order.iter()
    }
}

impl FromIterator<Uuid> for Recent {
    fn from_iter<I: IntoIterator<Item = Uuid>>(ids: I) -> Self {
        let mut recent = Self {
            set: Some(UuidSet::default()),
            ..Self::default()
        };
        for id in ids {
            recent.insert(id);
        }
        recent.set = None;
        recent
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Compared with a list of all, for ids in any order.
        #[test]
        fn it_knows_the_ids_that_it_was_given(
            ids in prop::collection::vec((0..60_u128, any::<bool>()), 0..200),
            restored_at in 0..200_usize,
        ) {
            let mut recent = Recent::default();
            let mut known: Vec<Uuid> = Vec::new();
            for (at, (id, is_added)) in ids.into_iter().enumerate() {
                let id = Uuid::from_u128(id);
                // As the checker does, this asks before it adds.
                prop_assert_eq!(recent.contains(id), known.contains(&id));
                if is_added {
                    recent.insert(id);
                    if !known.contains(&id) {
                        known.push(id);
                    }
                }
                if at == restored_at {
                    recent = recent.iter().copied().collect();
                }
                prop_assert_eq!(recent.iter().copied().collect::<Vec<_>>(), known.clone());
            }
        }
    }

    #[test]
    fn ids_that_grow_need_no_set_and_the_oldest_is_forgotten() {
        let mut recent = Recent::default();
        let most = RECENT_SESSIONS as u128;
        for id in 1..=most + 10 {
            assert!(!recent.contains(Uuid::from_u128(id)));
            recent.insert(Uuid::from_u128(id));
        }
        assert!(recent.set.is_none());
        assert_eq!(recent.iter().len(), RECENT_SESSIONS);
        assert!(!recent.contains(Uuid::from_u128(10)) && recent.contains(Uuid::from_u128(11)));
        // From now on with a set.
        recent.insert(Uuid::from_u128(5));
        assert!(!recent.contains(Uuid::from_u128(11)) && recent.contains(Uuid::from_u128(5)));
        assert_eq!(recent.set.map(|set| set.len()), Some(RECENT_SESSIONS));
    }
}
