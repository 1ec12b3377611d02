//! The sessions that are open, by id.

use std::collections::hash_map::{Entry, VacantEntry};

use uuid::Uuid;

use super::ids::UuidMap;
use super::session::Session;

/// A map of open sessions.
///
/// The map itself has only numbers, so that it stays small. The sessions are in slots; the slot
/// that was freed last is used next, while it is still in the processor's cache.
#[derive(Debug, Default)]
pub(super) struct OpenSessions {
    numbers: UuidMap<u32>,
    slots: Vec<Option<Session>>,
    free: Vec<u32>,
}

impl OpenSessions {
    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }

    pub(super) fn contains(&self, id: &Uuid) -> bool {
        self.numbers.contains_key(id)
    }

    pub(super) fn get(&self, id: &Uuid) -> Option<&Session> {
        self.slots.get(*self.numbers.get(id)? as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, id: &Uuid) -> Option<&mut Session> {
        let number = *self.numbers.get(id)?;
        self.slots.get_mut(number as usize)?.as_mut()
    }

    /// The place of a session that is not open. `None` if there is one with this id.
    pub(super) fn vacant(&mut self, id: Uuid) -> Option<Vacant<'_>> {
        match self.numbers.entry(id) {
            Entry::Occupied(_) => None,
            Entry::Vacant(number) => Some(Vacant {
                number,
                slots: &mut self.slots,
                free: &mut self.free,
            }),
        }
    }

    /// Adds a session. One with this id is replaced.
    pub(super) fn insert(&mut self, id: Uuid, session: Session) {
        self.remove(&id);
        if let Some(vacant) = self.vacant(id) {
            vacant.insert(session);
        }
    }

    pub(super) fn remove(&mut self, id: &Uuid) -> Option<Session> {
        let number = self.numbers.remove(id)?;
        self.free.push(number);
        self.slots.get_mut(number as usize)?.take()
    }

    /// In no particular order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Uuid, &Session)> {
        let numbers = self.numbers.iter();
        numbers.filter_map(|(id, number)| {
            let slot = self.slots.get(*number as usize)?;
            slot.as_ref().map(|session| (id, session))
        })
    }
}

/// The place of a session that is not open.
pub(super) struct Vacant<'a> {
    number: VacantEntry<'a, Uuid, u32>,
    slots: &'a mut Vec<Option<Session>>,
    free: &'a mut Vec<u32>,
}

impl Vacant<'_> {
    pub(super) fn insert(self, session: Session) {
        let number = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            // Memory ends before the numbers do.
            u32::try_from(self.slots.len().saturating_sub(1)).unwrap_or(u32::MAX)
        });
        if let Some(slot) = self.slots.get_mut(number as usize) {
            *slot = Some(session);
        }
        self.number.insert(number);
    }
}

impl FromIterator<(Uuid, Session)> for OpenSessions {
    fn from_iter<I: IntoIterator<Item = (Uuid, Session)>>(sessions: I) -> Self {
        let mut open = Self::default();
        for (id, session) in sessions {
            open.insert(id, session);
        }
        open
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::action::AuditAction;
    use crate::fields::AuditRecord;

    proptest! {
        /// Compared with a map that contains the sessions.
        #[test]
        fn it_is_a_map(steps in prop::collection::vec((0..9_u128, 0..4_u8, any::<u64>()), 0..200)) {
            let (mut open, mut known) = (OpenSessions::default(), HashMap::new());
            for (id, step, index) in steps {
                let id = Uuid::from_u128(id);
                let of = |session: Option<&Session>| session.map(|session| session.index);
                if step == 0 {
                    let removed = open.remove(&id).map(|session| session.index);
                    prop_assert_eq!(removed, known.remove(&id));
                } else if step > 1 || open.vacant(id).is_some() {
                    prop_assert!(step > 1 || !known.contains_key(&id));
                    let record = AuditRecord::new(AuditAction::PlayStarted, "live");
                    open.insert(id, Session::new(index, None, &record));
                    known.insert(id, index);
                }
                prop_assert_eq!(of(open.get(&id)), known.get(&id).copied());
                prop_assert_eq!(of(open.get_mut(&id).map(|s| &*s)), known.get(&id).copied());
                prop_assert_eq!(open.contains(&id), known.contains_key(&id));
                prop_assert_eq!(open.len(), known.len());
                let all: HashMap<_, _> = open.iter().map(|(id, s)| (*id, s.index)).collect();
                prop_assert_eq!(&all, &known);
            }
            prop_assert!(open.slots.len() <= 9);
        }
    }
}
