//! A set of sessions, as a condition of a query.

use std::sync::Arc;

use crate::error::IndexError;

/// The maximum number of sessions in a [`SessionSet`]: 1 MiB of ids.
pub const MAX_SESSIONS: usize = 65_536;

/// Sessions, or other ids under which the vault has openings, sorted. A copy shares them.
///
/// A person's entries are found with it: the vault knows the sessions, the index their entries.
/// More sessions than [`MAX_SESSIONS`] are asked for in [pages](Self::pages).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionSet(Arc<[[u8; 16]]>);

impl SessionSet {
    /// The set of these ids, in any order, each counted once.
    ///
    /// # Errors
    /// [`IndexError::TooManySessions`] when there are more than [`MAX_SESSIONS`] in the list.
    pub fn new(ids: impl IntoIterator<Item = [u8; 16]>) -> Result<Self, IndexError> {
        let mut pages = Self::pages(ids);
        let set = pages.next().unwrap_or_default();
        match pages.next() {
            None => Ok(set),
            Some(_) => Err(IndexError::TooManySessions),
        }
    }

    /// Sets of at most [`MAX_SESSIONS`] of these ids, in the order of the list. One set is in
    /// memory at a time. An id that is twice in the list may be in two sets.
    pub fn pages(ids: impl IntoIterator<Item = [u8; 16]>) -> impl Iterator<Item = Self> {
        let mut ids = ids.into_iter();
        std::iter::from_fn(move || {
            let mut page: Vec<[u8; 16]> = ids.by_ref().take(MAX_SESSIONS).collect();
            page.sort_unstable();
            page.dedup();
            (!page.is_empty()).then(|| Self(page.into()))
        })
    }

    /// Whether the set has this id.
    #[must_use]
    pub fn contains(&self, id: &[u8; 16]) -> bool {
        self.0.binary_search(id).is_ok()
    }

    /// The number of ids.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the set has no id. Such a condition matches no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The ids, sorted.
    pub fn iter(&self) -> impl Iterator<Item = &[u8; 16]> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(numbers: std::ops::Range<u128>) -> impl Iterator<Item = [u8; 16]> {
        numbers.rev().map(u128::to_be_bytes)
    }

    #[test]
    fn a_set_has_its_bound_and_pages_have_all() {
        let most = MAX_SESSIONS as u128;
        let set = SessionSet::new(ids(0..most)).unwrap();
        assert_eq!(set.len(), MAX_SESSIONS);
        assert!(set.contains(&3_u128.to_be_bytes()) && !set.contains(&most.to_be_bytes()));
        assert!(matches!(
            SessionSet::new(ids(0..most + 1)),
            Err(IndexError::TooManySessions)
        ));
        let pages: Vec<_> = SessionSet::pages(ids(0..most + 1)).collect();
        assert_eq!(
            pages.iter().map(SessionSet::len).collect::<Vec<_>>(),
            [MAX_SESSIONS, 1]
        );
        assert!(SessionSet::new([]).unwrap().is_empty());
        let twice = SessionSet::new([[7; 16], [3; 16], [7; 16]]).unwrap();
        assert_eq!(twice.iter().collect::<Vec<_>>(), [&[3; 16], &[7; 16]]);
    }
}
