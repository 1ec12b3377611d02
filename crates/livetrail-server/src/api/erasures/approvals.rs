//! Requests to erase that wait for the approval of other tokens.
//!
//! They are in memory alone, because they name persons. A restart forgets them, and so does a day.
//! The trail has each approval (`admin_erasure_approved`), so a request that was forgotten is
//! on record without an erasure.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use livetrail_trail::personal::ErasureRequest;

/// The most requests that wait.
const MOST: usize = 64;

/// A request waits this long.
pub(super) const PATIENCE: Duration = Duration::from_secs(86_400);

/// The requests that wait.
#[derive(Debug)]
pub(in crate::api) struct Approvals {
    /// The number of tokens that must agree, including the one that asks.
    needed: usize,
    waiting: Mutex<BTreeMap<String, Waiting>>,
}

#[derive(Debug)]
struct Waiting {
    request: ErasureRequest,
    since: Duration,
    /// The tokens that agree.
    by: BTreeSet<String>,
}

/// The result of a request or an approval.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Approved {
    /// The request has all approvals. It no longer waits.
    Ready(ErasureRequest),
    /// The request with this number waits for this many further tokens.
    Waits { id: String, missing: usize },
}

/// Why a request or an approval is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// A request with this number waits.
    Waits,
    /// Too many wait.
    TooMany,
    /// No such request waits.
    Unknown,
    /// The same token has agreed already.
    SameToken,
    /// It cannot be put on record.
    NotRecorded,
}

/// A request that waits, for a list.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) request: ErasureRequest,
    pub(super) missing: usize,
}

impl Approvals {
    pub(in crate::api) fn new(needed: usize) -> Self {
        Self {
            needed,
            waiting: Mutex::default(),
        }
    }

    /// Takes a request of this token. Unless it needs no approval, `record` puts on record that the
    /// token agrees; if that fails, nothing waits.
    pub(super) fn ask(
        &self,
        request: ErasureRequest,
        now: Duration,
        record: impl FnOnce(&ErasureRequest) -> Result<(), Refused>,
    ) -> Result<Approved, Refused> {
        let mut waiting = self.waiting(now);
        if waiting.contains_key(&request.id) {
            return Err(Refused::Waits);
        }
        if self.needed <= 1 {
            return Ok(Approved::Ready(request));
        }
        if waiting.len() >= MOST {
            return Err(Refused::TooMany);
        }
        record(&request)?;
        let id = request.id.clone();
        let first = Waiting {
            by: BTreeSet::from([request.by.clone()]),
            request,
            since: now,
        };
        waiting.insert(id.clone(), first);
        let missing = self.needed.saturating_sub(1);
        Ok(Approved::Waits { id, missing })
    }

    /// This token approves a request. `record` puts that on record; if it fails, the token has not
    /// approved it.
    pub(super) fn approve(
        &self,
        id: &str,
        by: &str,
        now: Duration,
        record: impl FnOnce(&ErasureRequest) -> Result<(), Refused>,
    ) -> Result<Approved, Refused> {
        let mut waiting = self.waiting(now);
        let found = waiting.get_mut(id).ok_or(Refused::Unknown)?;
        if found.by.contains(by) {
            return Err(Refused::SameToken);
        }
        record(&found.request)?;
        found.by.insert(by.to_owned());
        let missing = self.needed.saturating_sub(found.by.len());
        if missing == 0
            && let Some(found) = waiting.remove(id)
        {
            return Ok(Approved::Ready(found.request));
        }
        let id = id.to_owned();
        Ok(Approved::Waits { id, missing })
    }

    /// How many requests wait.
    pub(in crate::api) fn count(&self, now: Duration) -> u64 {
        self.waiting(now).len() as u64
    }

    /// The requests that wait, by their numbers.
    pub(super) fn shown(&self, now: Duration) -> Vec<Shown> {
        let shown = |found: &Waiting| Shown {
            request: found.request.clone(),
            missing: self.needed.saturating_sub(found.by.len()),
        };
        self.waiting(now).values().map(shown).collect()
    }

    /// Code that holds this lock cannot panic.
    fn waiting(&self, now: Duration) -> MutexGuard<'_, BTreeMap<String, Waiting>> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|_, found| now.saturating_sub(found.since) < PATIENCE);
        waiting
    }
}

#[cfg(test)]
mod tests {
    use livetrail_trail::personal::Whose;

    use super::*;

    const NOW: Duration = Duration::from_secs(1_000);

    fn request(id: &str, by: &str) -> ErasureRequest {
        ErasureRequest::new(id, "art17", by, Whose::Principal("alice".to_owned())).unwrap()
    }

    fn recorded(_: &ErasureRequest) -> Result<(), Refused> {
        Ok(())
    }

    #[test]
    fn a_request_runs_when_another_token_has_approved_it() {
        let approvals = Approvals::new(2);
        let waits = |missing| {
            let id = "1".to_owned();
            Ok(Approved::Waits { id, missing })
        };
        assert_eq!(approvals.ask(request("1", "a"), NOW, recorded), waits(1));
        let again = approvals.ask(request("1", "b"), NOW, recorded);
        assert_eq!(again, Err(Refused::Waits));
        let own = approvals.approve("1", "a", NOW, recorded);
        assert_eq!(own, Err(Refused::SameToken));
        let unrecorded = approvals.approve("1", "b", NOW, |_| Err(Refused::NotRecorded));
        assert_eq!(unrecorded, Err(Refused::NotRecorded));
        let shown = approvals.shown(NOW);
        assert_eq!((shown.len(), shown[0].missing), (1, 1));
        let ready = approvals.approve("1", "b", NOW, recorded);
        assert_eq!(ready, Ok(Approved::Ready(request("1", "a"))));
        let after = approvals.approve("1", "c", NOW, recorded);
        assert_eq!(after, Err(Refused::Unknown));
        // Without a need for approval a request runs at once.
        let ready = Approvals::new(1).ask(request("2", "a"), NOW, recorded);
        assert_eq!(ready, Ok(Approved::Ready(request("2", "a"))));
    }

    #[test]
    fn requests_that_wait_are_few_and_not_for_ever() {
        let approvals = Approvals::new(3);
        for n in 0..MOST {
            approvals
                .ask(request(&n.to_string(), "a"), NOW, recorded)
                .unwrap();
        }
        let one_more = approvals.ask(request("x", "a"), NOW, recorded);
        assert_eq!(one_more, Err(Refused::TooMany));
        let later = NOW + PATIENCE;
        let late = approvals.approve("0", "b", later, recorded);
        assert_eq!(late, Err(Refused::Unknown));
        assert!(approvals.ask(request("x", "a"), later, recorded).is_ok());
    }
}
