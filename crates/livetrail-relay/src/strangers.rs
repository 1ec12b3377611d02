//! What strangers can make a node do: a viewer of a stream that nobody has costs an attempt at each
//! origin, and anyone can think of names.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use livetrail_engine::{Reason, StreamKey};

/// The maximum number of remembered answers. The oldest is forgotten first.
const MAX_ANSWERS: usize = 4_096;

/// Negative answers, each remembered for the same time.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    reasons: HashMap<StreamKey, (Duration, Reason)>,
    /// In the order in which they are forgotten.
    order: VecDeque<(Duration, StreamKey)>,
}

impl Answers {
    /// Why this stream cannot be had, if that is remembered.
    pub(crate) fn get(&mut self, key: &StreamKey, now: Duration) -> Option<Reason> {
        self.forget(now);
        self.reasons.get(key).map(|(_, reason)| reason.clone())
    }

    /// Remembers that a stream cannot be had, until this time.
    pub(crate) fn remember(
        &mut self,
        key: &StreamKey,
        reason: Reason,
        now: Duration,
        until: Duration,
    ) {
        self.forget(now);
        if until <= now {
            return;
        }
        if self.order.len() >= MAX_ANSWERS {
            self.pop();
        }
        self.reasons.insert(key.clone(), (until, reason));
        self.order.push_back((until, key.clone()));
    }

    fn forget(&mut self, now: Duration) {
        while self.order.front().is_some_and(|(until, _)| *until <= now) {
            self.pop();
        }
    }

    fn pop(&mut self) {
        let Some((until, key)) = self.order.pop_front() else {
            return;
        };
        // A newer answer about the same stream stays.
        if self.reasons.get(&key).is_some_and(|(of, _)| *of == until) {
            self.reasons.remove(&key);
        }
    }
}

/// A rate: a number per second, and as many at once.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// When all that was taken would be used up at the rate.
    used_until: Duration,
}

impl Pace {
    /// Takes one, if the rate allows it.
    pub(crate) fn take(&mut self, per_second: u32, now: Duration) -> bool {
        let each = Duration::from_secs(1).checked_div(per_second);
        let Some(each) = each else { return false };
        let used_until = self.used_until.max(now).saturating_add(each);
        let allowed = used_until.saturating_sub(now) <= Duration::from_secs(1);
        if allowed {
            self.used_until = used_until;
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn key(n: usize) -> StreamKey {
        StreamKey::parse("live", &format!("cam-{n}")).unwrap()
    }

    #[test]
    fn an_answer_is_remembered_for_its_time() {
        let mut answers = Answers::default();
        let mut note = |n, now, until| {
            answers.remember(&key(n), Reason::StreamNotFound, now, until);
        };
        note(1, Duration::ZERO, 2 * SECOND);
        note(1, SECOND, 3 * SECOND);
        note(2, SECOND, SECOND);
        assert_eq!(answers.get(&key(2), SECOND), None);
        let at = |answers: &mut Answers, now| answers.get(&key(1), now);
        assert_eq!(at(&mut answers, 2 * SECOND), Some(Reason::StreamNotFound));
        assert_eq!(at(&mut answers, 3 * SECOND), None);
        assert!(answers.reasons.is_empty() && answers.order.is_empty());
    }

    #[test]
    fn answers_are_bounded_and_the_oldest_is_forgotten() {
        let mut answers = Answers::default();
        for n in 0..=MAX_ANSWERS {
            answers.remember(&key(n), Reason::StreamNotFound, Duration::ZERO, SECOND);
        }
        assert_eq!(answers.reasons.len(), MAX_ANSWERS);
        assert_eq!(answers.get(&key(0), Duration::ZERO), None);
        assert!(answers.get(&key(MAX_ANSWERS), Duration::ZERO).is_some());
    }

    #[test]
    fn a_rate_allows_as_many_at_once_and_then_one_after_the_other() {
        let mut pace = Pace::default();
        let mut taken = |now| (0..1_000).filter(|_| pace.take(10, now)).count();
        assert_eq!(taken(Duration::ZERO), 10);
        assert_eq!(taken(SECOND / 10), 1);
        assert_eq!(taken(20 * SECOND), 10);
        assert!(!Pace::default().take(0, SECOND));
    }
}
