//! Holds on record: the entries and the openings that they keep.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use livetrail_record::{AuditRecord, Uuid, Value};

use super::sessions_of;
use crate::finding::{Class, Finding, Findings};

/// The maximum number of holds in force, and of sessions that they list together. A server has at
/// most 1,024 holds on openings.
const MAX_HOLDS: usize = 1 << 16;
const MAX_LISTED: usize = 1 << 19;

/// The maximum number of bytes of a hold's name. A server's has at most 255.
const MAX_NAME_BYTES: usize = 255;

/// The holds in force.
#[derive(Debug, Default)]
pub(crate) struct Holds {
    named: HashMap<Arc<str>, Hold>,
    covered: HashMap<Uuid, Covered>,
    listed: usize,
    too_much: Option<&'static str>,
}

#[derive(Debug, Default)]
struct Hold {
    /// The first entry that it keeps.
    from: Option<u64>,
    /// The sessions whose openings it keeps.
    sessions: Vec<Uuid>,
}

/// A session whose opening is kept.
#[derive(Debug)]
struct Covered {
    /// A hold that lists it. `None` if the first one was lifted and another is still in force.
    by: Option<Arc<str>>,
    /// How often holds in force list it.
    times: u32,
}

impl Holds {
    /// Processes an `admin_held` record.
    pub(crate) fn held(&mut self, index: u64, record: &AuditRecord, findings: &mut Findings) {
        let mut wrong = |text: &str| {
            findings.add(Finding::failure(Class::Administration, text).at(index));
        };
        let Some(Value::Text(name)) = record.extra.get("hold") else {
            return wrong("a record of a hold without its name");
        };
        if name.len() > MAX_NAME_BYTES {
            return wrong("a record of a hold whose name has more than 255 bytes");
        }
        if record.extra.get("lifted") == Some(&Value::Bool(true)) {
            return self.lift(name);
        }
        let number = |name| match record.extra.get(name) {
            None => Some(None),
            Some(Value::Integer(number)) => u64::try_from(*number).ok().map(Some),
            Some(_) => None,
        };
        let sessions = match record.extra.get("sessions") {
            None => Some(None),
            Some(_) => sessions_of(record).map(Some),
        };
        match (number("from_index"), sessions) {
            // Neither says what it keeps.
            (Some(None), Some(None)) | (None, _) | (_, None) => wrong(
                "a record of a hold that is neither lifted nor has a valid from_index or sessions",
            ),
            (Some(from), Some(sessions)) => self.set(name, from, sessions),
        }
    }

    fn set(&mut self, name: &str, from: Option<u64>, sessions: Option<Vec<Uuid>>) {
        if self.named.len() >= MAX_HOLDS && !self.named.contains_key(name) {
            self.too_much = Some("more than 65,536 are in force at once");
            return;
        }
        let name: Arc<str> = match self.named.get_key_value(name) {
            Some((known, _)) => Arc::clone(known),
            None => Arc::from(name),
        };
        let hold = self.named.entry(Arc::clone(&name)).or_default();
        hold.from = match (hold.from, from) {
            // Sessions are added to what the hold keeps already. A hold on entries is moved.
            (Some(before), Some(from)) if sessions.is_some() => Some(before.min(from)),
            (before, from) => from.or(before),
        };
        for session in sessions.unwrap_or_default() {
            if self.listed >= MAX_LISTED {
                self.too_much = Some("those in force list more than 524,288 sessions");
                return;
            }
            self.listed = self.listed.saturating_add(1);
            hold.sessions.push(session);
            let covered = self.covered.entry(session).or_insert_with(|| Covered {
                by: Some(Arc::clone(&name)),
                times: 0,
            });
            covered.times = covered.times.saturating_add(1);
        }
    }

    fn lift(&mut self, name: &str) {
        let Some((name, hold)) = self.named.remove_entry(name) else {
            return;
        };
        self.listed = self.listed.saturating_sub(hold.sessions.len());
        for session in hold.sessions {
            let Entry::Occupied(mut covered) = self.covered.entry(session) else {
                continue;
            };
            let rest = covered.get_mut();
            rest.times = rest.times.saturating_sub(1);
            if rest.by.as_ref().is_some_and(|by| Arc::ptr_eq(by, &name)) {
                rest.by = None;
            }
            if rest.times == 0 {
                covered.remove();
            }
        }
    }

    /// The names of the holds that keep entries up to this one, and the first entry that each
    /// keeps.
    pub(crate) fn keeping(&self, last: u64) -> Vec<(&str, u64)> {
        let holds = self.named.iter();
        let from = holds.filter_map(|(name, hold)| Some((name.as_ref(), hold.from?)));
        let mut keeping: Vec<_> = from.filter(|(_, from)| *from <= last).collect();
        keeping.sort_unstable();
        keeping
    }

    /// The first of these sessions whose opening a hold keeps, with the hold's name if it is known.
    pub(super) fn covering(&self, sessions: &[Uuid]) -> Option<(Uuid, Option<&str>)> {
        sessions.iter().find_map(|session| {
            let covered = self.covered.get(session)?;
            Some((*session, covered.by.as_deref()))
        })
    }

    /// The number of holds in force that list sessions, and of the sessions that they list.
    pub(super) fn of_openings(&self) -> (usize, usize) {
        let lists = |hold: &&Hold| !hold.sessions.is_empty();
        (
            self.named.values().filter(lists).count(),
            self.covered.len(),
        )
    }

    /// Why holds were not checked to the end, if so.
    pub(super) const fn too_much(&self) -> Option<&'static str> {
        self.too_much
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(from: u32, to: u32) -> Vec<Uuid> {
        (from..to).map(|id| Uuid::from_u128(id.into())).collect()
    }

    #[test]
    fn holds_that_list_too_many_sessions_are_reported_and_take_no_more_memory() {
        let most = u32::try_from(MAX_LISTED).unwrap();
        let mut holds = Holds::default();
        holds.set("one", None, Some(ids(0, most - 1)));
        holds.set("two", None, Some(ids(0, 1)));
        assert_eq!((holds.too_much(), holds.listed), (None, MAX_LISTED));
        holds.set("two", None, Some(ids(most, most + 9)));
        assert!(holds.too_much().is_some());
        assert_eq!(holds.listed, MAX_LISTED);
        let session = Uuid::from_u128(0);
        assert_eq!(holds.covering(&[session]), Some((session, Some("one"))));
        // What is lifted makes room.
        holds.lift("one");
        assert_eq!((holds.listed, holds.covered.len()), (1, 1));
        assert_eq!(holds.covering(&[session]), Some((session, None)));
        holds.lift("two");
        assert_eq!(holds.covering(&[session]), None);
        assert_eq!((holds.listed, holds.of_openings()), (0, (0, 0)));
    }

    #[test]
    fn too_many_holds_are_reported() {
        let mut holds = Holds::default();
        for number in 0..=MAX_HOLDS {
            holds.set(&number.to_string(), Some(5), None);
        }
        assert_eq!(holds.named.len(), MAX_HOLDS);
        assert!(holds.too_much().is_some());
        holds.set("0", Some(7), None);
        assert!(holds.keeping(4).is_empty());
        assert_eq!(holds.keeping(6).len(), MAX_HOLDS - 1, "one was moved");
    }
}
