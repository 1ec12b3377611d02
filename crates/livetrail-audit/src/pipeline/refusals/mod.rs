//! Combines refused attempts into few records.
//!
//! ```text
//! refusal ─▶ a known kind ────────────────▶ counted; one record per 10 s
//!         ─▶ a new kind within the cap ───▶ recorded in full, at once
//!         ─▶ a new kind beyond the cap ───▶ counted by "all others"; one record per 10 s
//!            or the table                   and action
//! ```
//!
//! A kind is address (IPv6 by /64), action, application, reason and principal. Everything here is
//! bounded, and only the worker uses it:
//!
//! - 1,024 kinds without a principal and 256 with one, each with a sketch of at most 1 KiB;
//! - one bucket of all others for each action;
//! - 8,192 addresses in [`before`].

mod attempt;
mod before;
mod bucket;
mod distinct;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::time::Duration;

use livetrail_engine::log;
use livetrail_record::{AuditRecord, Outcome};

use self::attempt::Attempt;
pub(crate) use self::attempt::{AddressGroup, Refused, peer_of};
use self::before::Before;
use self::bucket::Bucket;
use self::distinct::Distinct;
use super::counters::RefusalCounts;
use super::intake::{Offered, Overflow};

/// How long the refusals of a kind are counted before a record reports the count.
pub(crate) const WINDOW: Duration = Duration::from_secs(10);

/// The maximum number of kinds without a principal.
const MAX_KINDS: usize = 1_024;

/// The maximum number of kinds that name a known principal.
const MAX_PRINCIPALS: usize = 256;

/// At closing, this many seconds' records may be written at once.
const SECONDS_AT_CLOSE: u64 = 10;

/// The bounds on refusals that are logged one by one: per second, and for a kind between two of its
/// records.
const LOGGED_PER_SECOND: u32 = 20;
const LOGGED_OF_A_KIND: u64 = 10;

/// A record to write, and the numbers that it stands for.
#[derive(Debug)]
pub(crate) struct Aggregate {
    pub(crate) record: AuditRecord,
    /// The attempts that the record stands for.
    pub(crate) attempts: u64,
    /// The offers to the pipeline. A host's offer may stand for several attempts.
    pub(crate) offers: u64,
}

/// The counts since the last record.
#[derive(Debug, Default)]
struct Tally {
    attempts: u64,
    offers: u64,
    first_ts_ms: u64,
    last_ts_ms: u64,
    names: Distinct,
    /// The stream and the protocol, if all attempts of the kind have the same one.
    stream: Option<String>,
    protocol: Option<String>,
}

impl Tally {
    /// Keeps the values that all attempts have in common.
    fn common(&mut self, attempt: &Attempt<'_>) {
        let is_first = self.attempts == 0;
        for (common, of_this) in [
            (&mut self.stream, attempt.stream),
            (&mut self.protocol, attempt.protocol),
        ] {
            if is_first {
                *common = of_this.map(str::to_owned);
            } else if common.as_deref() != of_this {
                *common = None;
            }
        }
    }

    fn add(&mut self, attempts: u64, offers: u64, first_ts_ms: u64, last_ts_ms: u64) {
        if self.attempts == 0 {
            (self.first_ts_ms, self.last_ts_ms) = (first_ts_ms, last_ts_ms);
        }
        self.attempts = self.attempts.saturating_add(attempts);
        self.offers = self.offers.saturating_add(offers);
        self.first_ts_ms = self.first_ts_ms.min(first_ts_ms);
        self.last_ts_ms = self.last_ts_ms.max(last_ts_ms);
    }

    fn merge(&mut self, other: Self) {
        self.add(
            other.attempts,
            other.offers,
            other.first_ts_ms,
            other.last_ts_ms,
        );
        self.names.merge(other.names);
    }

    /// Creates the record of the counts.
    fn record(&self, mut record: AuditRecord) -> Aggregate {
        record.count = Some(self.attempts);
        record.distinct = Some(self.names.count(self.attempts));
        record.first_ts_ms = Some(self.first_ts_ms);
        record.last_ts_ms = Some(self.last_ts_ms);
        Aggregate {
            record,
            attempts: self.attempts,
            offers: self.offers,
        }
    }
}

/// A kind whose first refusal was recorded.
#[derive(Debug)]
struct Kind {
    what: Refused,
    /// The fields that all refusals of the kind have in common.
    sample: AuditRecord,
    group: Option<AddressGroup>,
    principal: bool,
    since: Duration,
    tally: Tally,
}

/// The refusals that no kind counts.
#[derive(Debug, Default)]
struct Others {
    since: Duration,
    tally: Tally,
    addresses: Distinct,
}

/// The state of all refused attempts.
#[derive(Debug)]
pub(crate) struct Refusals {
    keys: RandomState,
    kinds: HashMap<u64, Kind>,
    principals: usize,
    others: [Others; Refused::ALL.len()],
    before: Before,
    /// The shares of the cap.
    anyone: Bucket,
    known: Bucket,
    cap: u64,
    log: Bucket,
    counts: RefusalCounts,
    /// When the next record is due. `None` if nothing is counted.
    next_due: Option<Duration>,
    /// Whether the cap holds back a due record. That record goes before new kinds.
    behind: bool,
}

impl Refusals {
    /// Writes at most `per_second` records per second. Half of them, rounded down, are for refusals
    /// that name a principal.
    pub(crate) fn new(per_second: u32, now: Duration) -> Self {
        let known = per_second / 2;
        Self {
            keys: RandomState::new(),
            kinds: HashMap::new(),
            principals: 0,
            others: Default::default(),
            before: Before::new(),
            anyone: Bucket::new(per_second - known, now),
            known: Bucket::new(known, now),
            cap: u64::from(per_second),
            log: Bucket::new(LOGGED_PER_SECOND, now),
            counts: RefusalCounts::default(),
            next_due: None,
            behind: false,
        }
    }

    /// The counts of the attempts so far.
    pub(crate) const fn counts(&self) -> RefusalCounts {
        self.counts
    }

    /// Adds a refused attempt. Returns the record to write now. It calls `record` at most once, for
    /// the full record.
    pub(crate) fn refused(
        &mut self,
        offered: &Offered,
        now: Duration,
        record: impl FnOnce() -> AuditRecord,
    ) -> Option<Aggregate> {
        let attempt = Attempt::of(offered)?;
        let group = attempt.group();
        if let Some(group) = group {
            self.before.refused(group, attempt.count, now);
        }
        self.counts.attempts += attempt.count;
        let key = self.keys.hash_one((
            group,
            attempt.what,
            attempt.app_of_kind(),
            attempt.reason,
            attempt.principal,
        ));
        let name = self.keys.hash_one((attempt.app, attempt.stream));
        if let Some(kind) = self.kinds.get_mut(&key) {
            if kind.tally.attempts < LOGGED_OF_A_KIND && self.log.take(now) {
                log_attempt(&attempt);
            }
            kind.tally.common(&attempt);
            count(&mut kind.tally, &attempt, name);
            due(&mut self.next_due, kind.since);
            self.counts.aggregated += attempt.count;
            return None;
        }
        if self.log.take(now) {
            log_attempt(&attempt);
        }
        if !self.has_token_for(attempt.principal.is_some(), now) {
            let others = &mut self.others[attempt.what as usize];
            if others.tally.attempts == 0 {
                others.since = now;
                due(&mut self.next_due, now);
            }
            count(&mut others.tally, &attempt, name);
            others.addresses.add(self.keys.hash_one(group));
            self.counts.suppressed += attempt.count;
            return None;
        }
        let record = record();
        self.principals += usize::from(attempt.principal.is_some());
        self.kinds.insert(
            key,
            Kind {
                what: attempt.what,
                sample: sample_of(&record, &attempt),
                group,
                principal: attempt.principal.is_some(),
                since: now,
                tally: Tally::default(),
            },
        );
        due(&mut self.next_due, now);
        Some(Aggregate {
            record,
            attempts: attempt.count,
            offers: 1,
        })
    }

    /// Adds refusals that found no slot. Only their counts and times are known.
    pub(crate) fn overflowed(&mut self, overflow: &Overflow, now: Duration) {
        for (others, attempts) in self.others.iter_mut().zip(overflow.attempts) {
            if attempts == 0 {
                continue;
            }
            if others.tally.attempts == 0 {
                others.since = now;
                due(&mut self.next_due, now);
            }
            let (first, last) = (overflow.first_ts_ms, overflow.last_ts_ms);
            others.tally.add(attempts, attempts, first, last);
            self.counts.attempts += attempts;
            self.counts.suppressed += attempts;
        }
    }

    /// The number of refused attempts from this address since its last admitted one. `None` if
    /// there were none.
    pub(crate) fn admitted(&mut self, peer: Option<IpAddr>, now: Duration) -> Option<u64> {
        self.before.admitted(AddressGroup::from(peer?), now)
    }

    /// When the caller should call [`due`](Self::due) again.
    pub(crate) const fn next_due(&self) -> Option<Duration> {
        self.next_due
    }

    /// The records to write now, as far as the cap allows.
    pub(crate) fn due(&mut self, now: Duration) -> Vec<Aggregate> {
        if self.next_due.is_none_or(|due| due > now) {
            return Vec::new();
        }
        let mut found = self.others_due(now, false);
        self.behind = false;
        let Self {
            kinds,
            anyone,
            known,
            behind,
            principals,
            ..
        } = self;
        kinds.retain(|_, kind| {
            if now < kind.since.saturating_add(WINDOW) {
                return true;
            }
            if kind.tally.attempts == 0 {
                *principals -= usize::from(kind.principal);
                return false;
            }
            let allowed = (kind.principal && known.take(now)) || anyone.take(now);
            if allowed {
                found.push(kind.take(now));
            } else {
                *behind = true;
            }
            true
        });
        self.schedule(now);
        found
    }

    /// The counts that are not recorded yet. The cap allows ten seconds' records. All others count
    /// the rest.
    pub(crate) fn flush(&mut self, now: Duration) -> Vec<Aggregate> {
        let mut found = Vec::new();
        let mut left = self.cap.saturating_mul(SECONDS_AT_CLOSE);
        let mut kinds: Vec<Kind> = std::mem::take(&mut self.kinds).into_values().collect();
        // A map has a different order each time.
        kinds.sort_by_key(|kind| (!kind.principal, kind.since, kind.tally.first_ts_ms));
        for mut kind in kinds {
            if kind.tally.attempts == 0 {
                continue;
            }
            if left > 0 {
                left -= 1;
                found.push(kind.take(now));
            } else {
                let others = &mut self.others[kind.what as usize];
                others.tally.merge(kind.tally);
                others.addresses.add(self.keys.hash_one(kind.group));
            }
        }
        self.principals = 0;
        found.extend(self.others_due(now, true));
        self.next_due = None;
        found
    }

    /// Whether a new kind may have a record. Due records go first, and the number of kinds is
    /// bounded.
    fn has_token_for(&mut self, principal: bool, now: Duration) -> bool {
        if principal {
            return self.principals < MAX_PRINCIPALS
                && (self.known.take(now) || (!self.behind && self.anyone.take(now)));
        }
        self.kinds.len() - self.principals < MAX_KINDS && !self.behind && self.anyone.take(now)
    }

    fn others_due(&mut self, now: Duration, all: bool) -> Vec<Aggregate> {
        let mut found = Vec::new();
        for (what, others) in Refused::ALL.into_iter().zip(&mut self.others) {
            let counted = others.tally.attempts > 0;
            if !counted || !(all || now >= others.since.saturating_add(WINDOW)) {
                continue;
            }
            // There is at most one such record for each action in ten seconds. It takes from the
            // cap and does not wait for it.
            self.anyone.take_anyway(now);
            let others = std::mem::take(others);
            let mut record = AuditRecord::new(what.action(), "").with_outcome(Outcome::Denied);
            let addresses = others.addresses.count(others.tally.attempts);
            record.detail = Some(format!("all others, from {addresses} addresses").into());
            found.push(others.tally.record(record));
        }
        found
    }

    fn schedule(&mut self, now: Duration) {
        let kinds = self.kinds.values().map(|kind| kind.since);
        let others = self.others.iter();
        let others = others.filter(|others| others.tally.attempts > 0);
        let since = kinds.chain(others.map(|others| others.since)).min();
        self.next_due = since.map(|since| since.saturating_add(WINDOW));
        if self.behind {
            // By then the cap allows one more record.
            let pause = Duration::from_millis(1_000 / self.cap.max(1));
            self.next_due = Some(now.saturating_add(pause));
        }
    }
}

impl Kind {
    /// The record of the counts. Then the counts start again from zero.
    fn take(&mut self, now: Duration) -> Aggregate {
        let mut tally = std::mem::take(&mut self.tally);
        self.since = now;
        let mut record = self.sample.clone();
        record.stream = tally.stream.take();
        record.protocol = tally.protocol.take();
        tally.record(record)
    }
}

impl Refused {
    /// Whether the record of such refusals names a session of its own.
    pub(crate) fn opens_session(record: &AuditRecord) -> bool {
        Self::of(&record.action).is_some_and(Self::has_session)
    }
}

/// Logs an attempt for people, and for programs that block addresses if personal data is shown.
fn log_attempt(attempt: &Attempt<'_>) {
    let Some(address) = attempt.peer.map(|peer| peer.to_canonical()) else {
        return;
    };
    // The address comes first, so that no text of a client can come before it.
    tracing::info!(
        address = log::personal(address),
        action = attempt.what.action().label(),
        reason = attempt.reason.unwrap_or_default(),
        app = attempt.app,
        stream = log::name(attempt.app, attempt.stream.unwrap_or_default()),
        count = attempt.count,
        session = attempt.session.map(tracing::field::display),
        "refused"
    );
}

fn count(tally: &mut Tally, attempt: &Attempt<'_>, name: u64) {
    tally.add(attempt.count, 1, attempt.first_ts_ms, attempt.last_ts_ms);
    tally.names.add(name);
}

/// Schedules the record of a count that started at `since`: it is due one window later.
fn due(next: &mut Option<Duration>, since: Duration) {
    let at = since.saturating_add(WINDOW);
    *next = Some(next.map_or(at, |next| next.min(at)));
}

/// The fields that a kind's records have in common. Ports, user agents and details differ between
/// attempts.
fn sample_of(record: &AuditRecord, attempt: &Attempt<'_>) -> AuditRecord {
    let app = attempt.app_of_kind().unwrap_or_default();
    let mut sample = AuditRecord::new(record.action.clone(), app).with_outcome(Outcome::Denied);
    sample.reason.clone_from(&record.reason);
    sample.principal.clone_from(&record.principal);
    sample.by.clone_from(&record.by);
    sample.peer = attempt.group().map(|group| group.to_string().into());
    sample
}

#[cfg(test)]
mod tests;
