//! Requests to erase that wait for the approval of other tokens.
//!
//! A request names persons, so the trail has only its approvals (`admin_erasure_approved`). The
//! request itself is kept, sealed, next to the vault. So a restart forgets none. A day does.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use livetrail_engine::Clock;
use livetrail_trail::{
    Personal,
    personal::{Approval, ErasureRequest},
};

/// The most requests that wait.
const MOST: usize = 64;

/// A request waits this long.
pub(super) const PATIENCE: Duration = Duration::from_secs(86_400);

/// The requests that wait.
#[derive(Debug)]
pub(in crate::api) struct Approvals {
    /// The number of tokens that must agree, including the one that asks.
    needed: usize,
    /// Where they are kept.
    kept: Arc<Personal>,
    waiting: Mutex<BTreeMap<String, Waiting>>,
    /// Held while a request or an approval is recorded and kept: they come one at a time.
    turn: Mutex<()>,
}

#[derive(Debug)]
struct Waiting {
    approval: Approval,
    /// It is forgotten at this moment.
    until: Duration,
}

/// A moment by both clocks.
#[derive(Debug, Clone, Copy)]
pub(in crate::api) struct Now {
    pub(in crate::api) monotonic: Duration,
    pub(in crate::api) unix_ms: u64,
}

impl Now {
    pub(in crate::api) fn of(clock: &dyn Clock) -> Self {
        Self {
            monotonic: clock.monotonic(),
            unix_ms: clock.unix_ms(),
        }
    }
}

/// The result of a request or an approval.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Approved {
    /// The request has all approvals. It no longer waits. Unless it needed none, it is kept until
    /// [`Personal::forget_approval`].
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
    /// It cannot be kept. The text says why.
    NotKept(String),
}

/// A request that waits, for a list.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) request: ErasureRequest,
    pub(super) missing: usize,
}

impl Approvals {
    /// The requests that waited when an earlier process ended, as far as a day has not passed.
    pub(in crate::api) fn restored(needed: usize, kept: Arc<Personal>, now: Now) -> Self {
        let approvals = kept.approvals().into_iter();
        let waiting = approvals
            .filter(|approval| !approval.is_ready)
            .map(|approval| {
                let passed = now.unix_ms.saturating_sub(approval.since_ms);
                let left = PATIENCE.saturating_sub(Duration::from_millis(passed));
                let until = now.monotonic.saturating_add(left);
                (approval.request.id.clone(), Waiting { approval, until })
            });
        let restored = Self {
            needed,
            waiting: Mutex::new(waiting.take(MOST).collect()),
            kept,
            turn: Mutex::default(),
        };
        drop(restored.waiting(now.monotonic));
        restored
    }

    /// Takes a request of this token. Unless it needs no approval, `record` puts on record that the
    /// token agrees; if that fails, nothing waits. Blocks for the vault.
    pub(super) fn ask(
        &self,
        request: ErasureRequest,
        now: Now,
        record: impl FnOnce(&ErasureRequest) -> Result<(), Refused>,
    ) -> Result<Approved, Refused> {
        let _turn = self.turn();
        let (is_there, count) = {
            let waiting = self.waiting(now.monotonic);
            (waiting.contains_key(&request.id), waiting.len())
        };
        if is_there || self.kept.repeated_erasures().contains(&request.id) {
            return Err(Refused::Waits);
        }
        if self.needed <= 1 {
            return Ok(Approved::Ready(request));
        }
        if count >= MOST {
            return Err(Refused::TooMany);
        }
        record(&request)?;
        let id = request.id.clone();
        let first = Waiting {
            approval: Approval::new(request, now.unix_ms),
            until: now.monotonic.saturating_add(PATIENCE),
        };
        self.keep(&first.approval)?;
        self.waiting(now.monotonic).insert(id.clone(), first);
        let missing = self.needed.saturating_sub(1);
        Ok(Approved::Waits { id, missing })
    }

    /// This token approves a request. `record` puts that on record; if it fails, the token has not
    /// approved it. Blocks for the vault.
    pub(super) fn approve(
        &self,
        id: &str,
        by: &str,
        now: Now,
        record: impl FnOnce(&ErasureRequest) -> Result<(), Refused>,
    ) -> Result<Approved, Refused> {
        let _turn = self.turn();
        let found = self.waiting(now.monotonic);
        let mut next = found.get(id).ok_or(Refused::Unknown)?.approval.clone();
        drop(found);
        if next.by.contains(by) {
            return Err(Refused::SameToken);
        }
        record(&next.request)?;
        next.by.insert(by.to_owned());
        let missing = self.needed.saturating_sub(next.by.len());
        next.is_ready = missing == 0;
        self.keep(&next)?;
        let mut waiting = self.waiting(now.monotonic);
        if next.is_ready {
            waiting.remove(id);
            return Ok(Approved::Ready(next.request));
        }
        if let Some(found) = waiting.get_mut(id) {
            found.approval = next;
        }
        let id = id.to_owned();
        Ok(Approved::Waits { id, missing })
    }

    /// Whether a request needs the approval of another token.
    pub(super) const fn are_needed(&self) -> bool {
        self.needed > 1
    }

    /// How many requests wait.
    pub(in crate::api) fn count(&self, now: Duration) -> u64 {
        self.waiting(now).len() as u64
    }

    /// The requests that wait, by their numbers.
    pub(super) fn shown(&self, now: Duration) -> Vec<Shown> {
        let shown = |found: &Waiting| Shown {
            request: found.approval.request.clone(),
            // After a restart fewer may be needed, and one more token still has to agree.
            missing: self.needed.saturating_sub(found.approval.by.len()).max(1),
        };
        self.waiting(now).values().map(shown).collect()
    }

    fn keep(&self, approval: &Approval) -> Result<(), Refused> {
        self.kept.keep_approval(approval).map_err(|error| {
            let why = livetrail_trail::chain(&error);
            tracing::error!("a request to erase cannot be kept: {why}");
            Refused::NotKept(why)
        })
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Code that holds this lock cannot panic.
    fn waiting(&self, now: Duration) -> MutexGuard<'_, BTreeMap<String, Waiting>> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|id, found| {
            let waits = now < found.until;
            if !waits {
                self.kept.forget_approval(id);
            }
            waits
        });
        waiting
    }
}

#[cfg(test)]
mod tests {
    use livetrail_trail::{Settings, create, personal::Whose};

    use super::*;

    const NOW: Now = Now {
        monotonic: Duration::from_secs(1_000),
        unix_ms: 1_700_000_000_000,
    };

    fn after(span: Duration) -> Now {
        Now {
            monotonic: NOW.monotonic + span,
            unix_ms: NOW.unix_ms + u64::try_from(span.as_millis()).unwrap(),
        }
    }

    /// A vault in a directory.
    fn vault(data: &std::path::Path) -> Arc<Personal> {
        let settings = Settings::new(data).origin("example.com/test");
        if !data.join("trail").exists() {
            create(&settings).unwrap();
        }
        Arc::new(Personal::read_only(&settings).unwrap())
    }

    fn request(id: &str, by: &str) -> ErasureRequest {
        ErasureRequest::new(id, "art17", by, Whose::Principal("alice".to_owned())).unwrap()
    }

    fn recorded(_: &ErasureRequest) -> Result<(), Refused> {
        Ok(())
    }

    #[test]
    fn a_request_runs_when_another_token_has_approved_it() {
        let data = tempfile::tempdir().unwrap();
        let vault = vault(data.path());
        let approvals = Approvals::restored(2, vault.clone(), NOW);
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
        let shown = approvals.shown(NOW.monotonic);
        assert_eq!((shown.len(), shown[0].missing), (1, 1));
        let ready = approvals.approve("1", "b", NOW, recorded);
        assert_eq!(ready, Ok(Approved::Ready(request("1", "a"))));
        let after = approvals.approve("1", "c", NOW, recorded);
        assert_eq!(after, Err(Refused::Unknown));
        // Without a need for approval a request runs at once.
        let ready = Approvals::restored(1, vault, NOW).ask(request("2", "a"), NOW, recorded);
        assert_eq!(ready, Ok(Approved::Ready(request("2", "a"))));
    }

    #[test]
    fn a_restart_forgets_no_request_and_no_approval() {
        let data = tempfile::tempdir().unwrap();
        let approvals = Approvals::restored(3, vault(data.path()), NOW);
        approvals.ask(request("1", "a"), NOW, recorded).unwrap();
        approvals.approve("1", "b", NOW, recorded).unwrap();
        approvals.ask(request("2", "a"), NOW, recorded).unwrap();
        drop(approvals);
        for file in std::fs::read_dir(data.path().join("personal")).unwrap() {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            assert!(!String::from_utf8_lossy(&bytes).contains("alice"));
        }

        let soon = after(Duration::from_secs(60));
        let approvals = Approvals::restored(3, vault(data.path()), soon);
        assert_eq!(approvals.count(soon.monotonic), 2);
        let own = approvals.approve("1", "b", soon, recorded);
        assert_eq!(own, Err(Refused::SameToken));
        let ready = approvals.approve("1", "c", soon, recorded);
        assert_eq!(ready, Ok(Approved::Ready(request("1", "a"))));
        // It has all approvals, so nobody is asked for one again.
        let again = Approvals::restored(3, vault(data.path()), soon);
        assert_eq!(again.count(soon.monotonic), 1);
        assert_eq!(vault(data.path()).approvals().len(), 2);

        let late = after(PATIENCE);
        let approvals = Approvals::restored(3, vault(data.path()), late);
        assert_eq!(approvals.count(late.monotonic), 0);
        assert_eq!(vault(data.path()).approvals().len(), 1, "a day has passed");
    }

    #[test]
    fn requests_that_wait_are_few_and_not_for_ever() {
        let data = tempfile::tempdir().unwrap();
        let approvals = Approvals::restored(3, vault(data.path()), NOW);
        for n in 0..MOST {
            approvals
                .ask(request(&n.to_string(), "a"), NOW, recorded)
                .unwrap();
        }
        let one_more = approvals.ask(request("x", "a"), NOW, recorded);
        assert_eq!(one_more, Err(Refused::TooMany));
        let later = after(PATIENCE);
        let late = approvals.approve("0", "b", later, recorded);
        assert_eq!(late, Err(Refused::Unknown));
        assert!(approvals.ask(request("x", "a"), later, recorded).is_ok());
    }
}
