//! Records for which the sink has no space now.

use std::collections::VecDeque;
use std::time::Duration;

use livetrail_record::UuidMap;
use uuid::Uuid;

use crate::pipeline::intake::Offered;

/// The records that wait for space, in order. These are the starts of strict sessions, hosts'
/// records, and the ends of sessions whose start is here. There are at most as many as the queue
/// holds.
pub(super) struct Parked {
    offers: VecDeque<Offered>,
    /// The sessions of these records, and the number of records of each.
    sessions: UuidMap<usize>,
    capacity: usize,
    since: Duration,
}

impl Parked {
    pub(super) fn with_capacity(capacity: usize) -> Self {
        Self {
            offers: VecDeque::new(),
            sessions: UuidMap::default(),
            capacity,
            since: Duration::ZERO,
        }
    }

    /// Returns the record if there is no slot.
    pub(super) fn push(&mut self, offered: Offered, now: Duration) -> Result<(), Offered> {
        if self.offers.len() >= self.capacity {
            return Err(offered);
        }
        if self.offers.is_empty() {
            self.since = now;
        }
        if let Some(session) = offered.what.session() {
            *self.sessions.entry(session).or_default() += 1;
        }
        self.offers.push_back(offered);
        Ok(())
    }

    pub(super) fn pop(&mut self) -> Option<Offered> {
        let offered = self.offers.pop_front()?;
        if let Some(session) = offered.what.session()
            && let Some(times) = self.sessions.get_mut(&session)
        {
            *times -= 1;
            if *times == 0 {
                self.sessions.remove(&session);
            }
        }
        Some(offered)
    }

    /// Takes all records of a session.
    pub(super) fn remove(&mut self, session: &Uuid) -> Vec<Offered> {
        if self.sessions.remove(session).is_none() {
            return Vec::new();
        }
        let mut removed = Vec::new();
        for offered in std::mem::take(&mut self.offers) {
            if offered.what.session().as_ref() == Some(session) {
                removed.push(offered);
            } else {
                self.offers.push_back(offered);
            }
        }
        removed
    }

    pub(super) fn has(&self, session: &Uuid) -> bool {
        self.sessions.contains_key(session)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.offers.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.offers.len()
    }

    pub(super) fn is_held_longer_than(&self, time: Duration, now: Duration) -> bool {
        !self.offers.is_empty() && now.saturating_sub(self.since) >= time
    }
}
