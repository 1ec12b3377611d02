//! Checks the meaning of records: sessions, boots, losses, heartbeats, and actions of operators.

use std::collections::{HashMap, HashSet, hash_map};
use std::ops::Range;

use livetrail_record::{
    AuditAction, AuditRecord, BootEnd, Finding as Broken, Reason, Rule, TrailChecker, TrailReport,
    Uuid, UuidMap, Value,
};
use livetrail_tlog::{Hash, KeyId, TreeHead, VerifiedCheckpoint, VerifierKey};

use crate::finding::{Class, Finding, Findings, Severity};
use crate::personal::{Holds, Openings, PersonalCheck, PersonalReport};
use crate::report::show::{date, span};
use crate::report::{BootReport, OpenSessionReport, PrunedReport, RotationReport, Sessions};
use crate::scan::entry::Entry;
use crate::trust::Trust;

/// The most simultaneously open sessions, boots, and irregular numbers of a trail that can be
/// checked. Without these bounds, the trail's author could make memory grow without limit.
const MAX_OPEN: usize = 1 << 20;
const MAX_BOOTS: usize = 1 << 20;
const MAX_IRREGULAR: u64 = 1 << 23;

/// The maximum number of positions at which entries are missing or are not records.
const MAX_SHIFTS: usize = 1 << 16;

/// The maximum number of prunings, rotations, and sessions closed by a crash behind a gap, that are
/// remembered.
const MAX_EVENTS: usize = 1 << 16;

/// The largest drift of the wall clock from the monotonic one between two records that is not a
/// step.
const CLOCK_STEP_MS: u64 = 2_000;

/// How long before its first record a session's id may have been made: an attempt waits for its
/// authenticator and for gates, and one record may summarise ten seconds of attempts.
const MAX_ID_AGE_MS: u64 = 600_000;

/// The rules for judging records.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) boot_records: bool,
    pub(crate) strict: bool,
    pub(crate) silent_ms: u64,
    /// Whether only one process at a time writes the trail.
    pub(crate) one_writer: bool,
    /// The current time, if the end of the trail is to be judged by it.
    pub(crate) now_ms: Option<u64>,
}

pub(crate) struct Trail {
    rules: Rules,
    checker: TrailChecker,
    /// The number of records fed to this checker.
    fed: u64,
    /// The number of records from which on, and by how much, an index in the log exceeds the
    /// checker's.
    shifts: Vec<(u64, u64)>,
    /// Entries were removed before those that this checker gets.
    after_gap: bool,
    boots: UuidMap<BootState>,
    crash_closed: HashSet<Uuid>,
    holds: Holds,
    /// Personal fields on record, and the questions about them.
    personal: PersonalCheck,
    /// The last record: its time, and whether it ended its boot.
    newest: Option<(u64, bool)>,
    irregular: u64,
    too_much: Option<&'static str>,
    sums: Sessions,
    merged: HashMap<Uuid, usize>,
    pub(crate) pruned: Vec<PrunedReport>,
    pub(crate) rotations: Vec<Rotation>,
}

/// The contents of a record of rotation.
pub(crate) struct Rotation {
    pub(crate) index: u64,
    pub(crate) new: VerifierKey,
    pub(crate) old: Option<VerifierKey>,
    ts_ms: u64,
    /// A trusted checkpoint covers the record.
    accepted: bool,
    /// That checkpoint.
    accepted_by: Option<String>,
    /// The new key has signed a trusted checkpoint.
    happened: bool,
    /// The tree of the hand-over, in a record that repeats a pruned one.
    handed_over: Option<TreeHead>,
}

impl Rotation {
    pub(crate) fn report(&self, trust: Option<&Trust>) -> RotationReport {
        RotationReport {
            index: self.index,
            key: self.new.to_string(),
            old_key: self.old.as_ref().map(ToString::to_string),
            ts_ms: self.ts_ms,
            accepted: self.accepted,
            accepted_by: self.accepted_by.clone(),
            old_key_until: trust
                .zip(self.old.as_ref())
                .and_then(|(trust, old)| trust.bound_of(old.id())),
        }
    }
}

#[derive(Default)]
struct BootState {
    /// The first existing `seq` of a boot whose beginning was removed.
    begins_at: Option<u64>,
    next_seq: u64,
    last: Option<(u64, u64)>,
    /// The wall clock was set during the boot.
    stepped: bool,
}

impl Trail {
    pub(crate) fn new(rules: Rules) -> Self {
        Self {
            rules,
            checker: checker(rules),
            fed: 0,
            shifts: Vec::new(),
            after_gap: false,
            boots: UuidMap::default(),
            crash_closed: HashSet::new(),
            holds: Holds::default(),
            personal: PersonalCheck::default(),
            newest: None,
            irregular: 0,
            too_much: None,
            sums: Sessions::default(),
            merged: HashMap::new(),
            pruned: Vec::new(),
            rotations: Vec::new(),
        }
    }

    /// Compares these openings with the entries of the log.
    pub(crate) fn with_openings(mut self, openings: &Openings) -> Self {
        self.personal = PersonalCheck::new(openings);
        self
    }

    /// Reads what the next records will need. See [`TrailChecker::look_ahead`].
    pub(crate) fn look_ahead(&self, sessions: impl Iterator<Item = Uuid> + Clone) {
        self.checker.look_ahead(sessions);
    }

    /// Processes the entry at `index` of the log.
    pub(crate) fn feed_entry(&mut self, index: u64, entry: &Entry<'_>, findings: &mut Findings) {
        self.feed(index, entry.record, findings);
        self.personal.feed(index, entry, &self.holds, findings);
    }

    /// Processes the record at `index` of the log, without its personal fields: in a file trail
    /// they are in clear.
    pub(crate) fn feed(&mut self, index: u64, record: &AuditRecord, findings: &mut Findings) {
        self.shift_to(index);
        self.administration(index, record, findings);
        self.clock(index, record, findings);
        self.old_id(index, record, findings);
        if self.too_much.is_some() {
            return;
        }
        let broken = self.checker.feed(record);
        self.fed = self.fed.saturating_add(1);
        if !broken.is_empty() {
            for broken in broken {
                self.report(broken, Some(record), findings);
            }
        }
        self.limit();
    }

    /// Trusts the keys of rotations below `size`, which the trusted checkpoint of this name covers.
    /// Returns whether any of them is new.
    pub(crate) fn accept(&mut self, trust: &mut Trust, size: u64, checkpoint: &str) -> bool {
        let mut accepted = false;
        let new = self
            .rotations
            .iter_mut()
            .filter(|rotation| !rotation.accepted && rotation.index < size);
        for rotation in new {
            rotation.accepted = trust.add(&rotation.new);
            rotation.accepted_by = rotation.accepted.then(|| checkpoint.to_owned());
            if let Some(old) = &rotation.old {
                trust.add(old);
            }
            accepted = true;
        }
        accepted
    }

    /// Sets the bounds of retired keys from a trusted checkpoint in the tree: a record below it
    /// states that a key changed, and the successor has signed the checkpoint, or the old key has
    /// not.
    pub(crate) fn bound(&mut self, trust: &mut Trust, checkpoint: &VerifiedCheckpoint) {
        let head = checkpoint.head();
        let own = checkpoint.log_cosignatures().iter();
        let lines = || checkpoint.log_signatures().iter().chain(own.clone());
        let has_signed = |key: KeyId| lines().any(|line| line.key_id == key);
        for rotation in &mut self.rotations {
            if !rotation.accepted || rotation.index >= head.size {
                continue;
            }
            let by_new = has_signed(rotation.new.id());
            rotation.happened |= by_new;
            let Some(old) = rotation.old.as_ref().map(VerifierKey::id) else {
                continue;
            };
            if let Some(said) = rotation.handed_over.filter(|said| said.size <= head.size) {
                trust.bound(old, said, true);
            }
            let by_old = has_signed(old);
            if by_new || !by_old {
                trust.bound(old, head, by_new && by_old);
            }
        }
    }

    /// The keys that were retired according to records, from this record of a change on.
    pub(crate) fn given_up_since(&self, first: usize) -> Vec<KeyId> {
        let new = self.rotations.get(first..).unwrap_or_default().iter();
        new.filter_map(|rotation| rotation.old.as_ref().map(VerifierKey::id))
            .collect()
    }

    /// Reports records of one change of keys that contradict each other: a key has one successor.
    pub(crate) fn compare_rotations(&self, findings: &mut Findings) {
        for (at, rotation) in self.rotations.iter().enumerate() {
            let Some(old) = rotation.old.as_ref() else {
                continue;
            };
            let earlier = self.rotations.get(..at).unwrap_or_default();
            let Some(first) = earlier.iter().find(|one| one.old.as_ref() == Some(old)) else {
                continue;
            };
            let mut known = earlier.iter().filter(|one| one.old.as_ref() == Some(old));
            let known = known.find_map(|one| one.handed_over);
            let other_tree = known
                .zip(rotation.handed_over)
                .is_some_and(|(one, other)| one != other);
            if first.new == rotation.new && !other_tree {
                continue;
            }
            let text = format!(
                "entry {} says that the key {} was given up for {}, but entry {} says for {}",
                first.index,
                old.id(),
                first.new.id(),
                rotation.index,
                rotation.new.id()
            );
            // A recorded change that did not happen may be followed by another one.
            let finding = if first.happened || other_tree {
                Finding::failure(Class::Administration, text)
            } else {
                let text = format!("{text}; the first change did not happen");
                Finding::remark(Class::Administration, text)
            };
            findings.add(finding.at(rotation.index));
        }
    }

    /// A warning for users who have only an old key: a change from the signing key is on record,
    /// but nothing here is signed with the new one.
    pub(crate) fn untested_change(&self, checkpoint: &VerifiedCheckpoint) -> Option<Finding> {
        let size = checkpoint.head().size;
        let own = checkpoint.log_cosignatures().iter();
        let lines = checkpoint.log_signatures().iter().chain(own);
        let signed: Vec<KeyId> = lines.map(|line| line.key_id).collect();
        let rotation = self.rotations.iter().rev().find(|rotation| {
            let old = rotation.old.as_ref().map(VerifierKey::id);
            !rotation.happened
                && rotation.index < size
                && old.is_some_and(|old| signed.contains(&old))
        })?;
        let text = format!(
            "a change to the key {} is on record, but nothing here is signed with it: the change did not happen, or this trail was signed again \
             with the secret of the key that was given up. The old key alone cannot show which: ask for the new one",
            rotation.new
        );
        Some(Finding::remark(Class::Signature, text).at(rotation.index))
    }

    /// Entries are missing here.
    pub(crate) fn gap(&mut self, findings: &mut Findings) {
        self.end_segment(findings, false);
        self.checker = checker(self.rules);
        self.fed = 0;
        self.shifts.clear();
        self.boots.clear();
        self.after_gap = true;
    }

    /// Ends the check of personal fields. `size` is the number of entries that the checkpoint
    /// covers.
    pub(crate) fn finish_personal(
        &mut self,
        size: u64,
        findings: &mut Findings,
        problems: &mut Vec<String>,
    ) -> PersonalReport {
        let personal = std::mem::take(&mut self.personal);
        personal.finish(size, &self.holds, findings, problems)
    }

    /// Ends the trail. Returns why the state machine could not be checked to the end, if so.
    pub(crate) fn finish(mut self, findings: &mut Findings) -> (Sessions, Option<&'static str>) {
        self.end_segment(findings, true);
        self.age(findings);
        (self.sums, self.too_much)
    }

    fn end_segment(&mut self, findings: &mut Findings, last: bool) {
        let checker = std::mem::replace(&mut self.checker, checker(self.rules));
        let (broken, report) = checker.finish();
        for broken in broken {
            self.report(broken, None, findings);
        }
        self.merge(report, last);
    }

    fn merge(&mut self, report: TrailReport, last: bool) {
        let sums = &mut self.sums;
        sums.closed = sums.closed.saturating_add(report.closed_sessions);
        for boot in report.boots {
            let begins_at = self.boots.get(&boot.boot).and_then(|state| state.begins_at);
            let unsettled = boot.unsettled.saturating_sub(begins_at.unwrap_or(0));
            let at = *self.merged.entry(boot.boot).or_insert_with(|| {
                sums.boots.push(BootReport {
                    boot: boot.boot.to_string(),
                    node: boot.node.clone(),
                    first_index: shifted(&self.shifts, boot.first_index),
                    ..BootReport::default()
                });
                sums.boots.len().saturating_sub(1)
            });
            if let Some(merged) = sums.boots.get_mut(at) {
                merged.records = merged.records.saturating_add(boot.records);
                merged.dropped = merged.dropped.saturating_add(boot.dropped);
                merged.unsettled = unsettled;
                merged.end = match boot.end {
                    BootEnd::Stopped => "stopped",
                    BootEnd::Crashed => "crashed",
                    _ => "running",
                };
            }
        }
        if last {
            sums.open_total = u64::try_from(report.open.len()).unwrap_or(u64::MAX);
            sums.open = report
                .open
                .iter()
                .take(OpenSessionReport::MOST)
                .map(|open| OpenSessionReport {
                    session: open.session.to_string(),
                    kind: open.kind.map(|kind| format!("{kind:?}").to_lowercase()),
                    app: open.app.clone(),
                    stream: open.stream.clone(),
                    ts_ms: open.ts_ms,
                    index: shifted(&self.shifts, open.index),
                })
                .collect();
        } else {
            let open = u64::try_from(report.open.len()).unwrap_or(u64::MAX);
            sums.open_at_gaps = sums.open_at_gaps.saturating_add(open);
        }
    }

    fn shift_to(&mut self, index: u64) {
        let shift = index.saturating_sub(self.fed);
        let known = self.shifts.last().map_or(0, |(_, shift)| *shift);
        if shift != known && self.shifts.len() < MAX_SHIFTS {
            self.shifts.push((self.fed, shift));
        }
    }

    fn report(&self, broken: Broken, record: Option<&AuditRecord>, findings: &mut Findings) {
        if self.after_gap && self.explained_by_gap(&broken, record) {
            return;
        }
        let mut finding = Finding::failure(Class::Sessions, broken.rule.to_string())
            .at(shifted(&self.shifts, broken.index));
        finding.session = broken.session.map(|id| id.to_string());
        finding.boot = broken.boot.map(|id| id.to_string());
        findings.add(finding);
    }

    /// Whether the missing records may be among the removed entries.
    fn explained_by_gap(&self, broken: &Broken, record: Option<&AuditRecord>) -> bool {
        let begins_at = broken
            .boot
            .and_then(|boot| self.boots.get(&boot))
            .and_then(|boot| boot.begins_at);
        match &broken.rule {
            Rule::BootNotBegun => begins_at.is_some(),
            Rule::BeforeFirst => {
                begins_at.is_some()
                    || broken
                        .session
                        .is_some_and(|session| self.crash_closed.contains(&session))
            }
            Rule::SeqMissing { first, .. } => begins_at.is_some_and(|begin| *first < begin),
            Rule::LossCount { .. } => begins_at
                .zip(record.and_then(|record| record.first_seq))
                .is_some_and(|(begin, first)| first < begin),
            _ => false,
        }
    }

    /// Checks monotonic and wall time, and the bounds on the state machine's memory.
    fn clock(&mut self, index: u64, record: &AuditRecord, findings: &mut Findings) {
        let is_closure = record.inferred && record.reason == Some(Reason::ServerCrash);
        if self.after_gap
            && is_closure
            && let Some(session) = record.session
            && self.crash_closed.len() < MAX_EVENTS
        {
            self.crash_closed.insert(session);
        }
        match record.action {
            AuditAction::Heartbeat => self.sums.heartbeats = self.sums.heartbeats.saturating_add(1),
            AuditAction::RecordsDropped => self.irregular = self.irregular.saturating_add(1),
            AuditAction::LogStopped => {
                let text = "the log had stopped while the server continued: an unknown number of records is missing";
                findings.add(Finding::remark(Class::Sessions, text.to_owned()).at(index));
            }
            _ => {}
        }
        let before = self.newest;
        self.newest = Some((record.ts_ms, record.action == AuditAction::ServerStopped));
        let Some(id) = record.boot else { return };
        let after_gap = self.after_gap;
        let boot = match self.boots.entry(id) {
            hash_map::Entry::Occupied(known) => known.into_mut(),
            hash_map::Entry::Vacant(new) => {
                // Between boots no second clock shows how much time passed; only a step back is
                // visible.
                if before.is_some_and(|(last_ms, _)| {
                    record.ts_ms.saturating_add(CLOCK_STEP_MS) < last_ms
                }) {
                    self.sums.clock_steps = self.sums.clock_steps.saturating_add(1);
                }
                new.insert(BootState {
                    begins_at: (after_gap && record.action != AuditAction::ServerStarted)
                        .then_some(record.seq.unwrap_or(0)),
                    next_seq: record.seq.unwrap_or(0),
                    last: None,
                    stepped: false,
                })
            }
        };
        if record.seq != Some(boot.next_seq) {
            self.irregular = self.irregular.saturating_add(1);
        }
        boot.next_seq = record.seq.unwrap_or(boot.next_seq).saturating_add(1);
        let Some(mono_ms) = record.mono_ms else {
            return;
        };
        if let Some((last_mono_ms, last_ts_ms)) = boot.last.replace((mono_ms, record.ts_ms)) {
            let passed_ms = mono_ms.saturating_sub(last_mono_ms);
            let expected_ms = last_ts_ms.saturating_add(passed_ms);
            if record.ts_ms.abs_diff(expected_ms) > CLOCK_STEP_MS {
                self.sums.clock_steps = self.sums.clock_steps.saturating_add(1);
                boot.stepped = true;
            }
            if passed_ms > self.rules.silent_ms {
                let severity = if self.rules.strict {
                    Severity::Failure
                } else {
                    Severity::Remark
                };
                let text = format!(
                    "nothing was recorded for {} s before this record",
                    passed_ms / 1000
                );
                findings.add(Finding {
                    severity,
                    boot: Some(id.to_string()),
                    ..Finding::remark(Class::Silent, text).at(index)
                });
            }
        }
    }

    /// A session's id contains the time when it was made. An id that is much older than the session
    /// was used before, so long ago that the state machine has forgotten it. In a boot whose clock
    /// was set, times prove nothing.
    fn old_id(&self, index: u64, record: &AuditRecord, findings: &mut Findings) {
        let opens = matches!(
            record.action,
            AuditAction::PublishStarted
                | AuditAction::PlayStarted
                | AuditAction::PublishDenied
                | AuditAction::PlayDenied
        );
        let made_ms = record.session.filter(|_| opens).and_then(made_ms);
        let (Some(session), Some(made_ms)) = (record.session, made_ms) else {
            return;
        };
        let age_ms = record.ts_ms.saturating_sub(made_ms);
        if age_ms <= MAX_ID_AGE_MS {
            return;
        }
        let boot = record.boot.and_then(|boot| self.boots.get(&boot));
        if boot.is_none_or(|boot| boot.stepped) {
            return;
        }
        let text = format!(
            "the session's id was made {} before its first record: it is used a second time, or the record was written late",
            span(age_ms)
        );
        findings.add(Finding {
            session: Some(session.to_string()),
            ..Finding::failure(Class::Sessions, text).at(index)
        });
    }

    /// Reports the age of the newest record, and whether that is silence: a boot that did not stop
    /// records something at each heartbeat.
    fn age(&mut self, findings: &mut Findings) {
        let Some((newest_ms, stopped)) = self.newest else {
            return;
        };
        self.sums.newest_ms = Some(newest_ms);
        self.sums.stopped = stopped;
        let Some(now_ms) = self.rules.now_ms else {
            return;
        };
        let age_ms = now_ms.saturating_sub(newest_ms);
        self.sums.age_ms = Some(age_ms);
        if stopped || age_ms <= self.rules.silent_ms {
            return;
        }
        let text = format!(
            "nothing was recorded for {} since {}, and the server did not stop: it is not running, or this is an older copy (give its time with --as-of)",
            span(age_ms),
            date(newest_ms)
        );
        let severity = if self.rules.strict {
            Severity::Failure
        } else {
            Severity::Remark
        };
        findings.add(Finding {
            severity,
            ..Finding::remark(Class::Silent, text)
        });
    }

    fn limit(&mut self) {
        self.too_much = if self.checker.open_sessions() > MAX_OPEN {
            Some("more than 1,048,576 sessions are open at once")
        } else if self.boots.len() > MAX_BOOTS {
            Some("the trail has more than 1,048,576 boots")
        } else if self.irregular > MAX_IRREGULAR {
            Some("more than 8,388,608 records are out of order or report losses")
        } else {
            return;
        };
    }

    fn administration(&mut self, index: u64, record: &AuditRecord, findings: &mut Findings) {
        match &record.action {
            AuditAction::AdminPruned => self.pruning(index, record, findings),
            AuditAction::AdminHeld => self.holds.held(index, record, findings),
            AuditAction::AdminKeyRotated => self.rotation(index, record, findings),
            _ => {}
        }
    }

    /// `admin_pruned` with `first_index` and `last_index` concerns this log; without them another
    /// store.
    fn pruning(&mut self, index: u64, record: &AuditRecord, findings: &mut Findings) {
        let number = |name| match record.extra.get(name) {
            Some(Value::Integer(number)) => u64::try_from(*number).ok(),
            _ => None,
        };
        let named = record
            .extra
            .get("first_index")
            .or(record.extra.get("last_index"));
        if named.is_none() {
            return;
        }
        let range = number("first_index").zip(number("last_index"));
        let Some((first, last)) = range.filter(|(first, last)| first <= last && *last < index)
        else {
            let text = "a pruning record with an invalid range, or one that covers later entries";
            findings.add(Finding::failure(Class::Administration, text).at(index));
            return;
        };
        for (name, from) in self.holds.keeping(last) {
            let text = format!(
                "entries up to {last} were removed, although the hold {name:?} keeps those from {from} on and was not lifted"
            );
            findings.add(Finding::failure(Class::NotPruned, text).at(index));
        }
        let policy = match record.extra.get("policy") {
            Some(Value::Text(policy)) => Some(policy.clone()),
            _ => None,
        };
        if self.pruned.len() < MAX_EVENTS {
            self.pruned.push(PrunedReport {
                first,
                last,
                record: index,
                policy,
            });
        }
    }

    /// `admin_key_rotated` with the new `vkey`, and the `old_vkey` that it replaces.
    fn rotation(&mut self, index: u64, record: &AuditRecord, findings: &mut Findings) {
        let key = |name| match record.extra.get(name) {
            Some(Value::Text(key)) => Some(key.parse::<VerifierKey>()),
            Some(_) => Some("".parse()),
            None => None,
        };
        let (Some(Ok(new)), None | Some(Ok(_))) = (key("vkey"), key("old_vkey")) else {
            let text = "a record of key rotation with invalid keys";
            findings.add(Finding::failure(Class::Administration, text).at(index));
            return;
        };
        if self.rotations.len() < MAX_EVENTS {
            self.rotations.push(Rotation {
                index,
                new,
                old: key("old_vkey").and_then(Result::ok),
                ts_ms: record.ts_ms,
                accepted: false,
                accepted_by: None,
                happened: false,
                handed_over: handed_over(record),
            });
        }
    }
}

/// The tree of the hand-over in a repeated record of a change of keys.
fn handed_over(record: &AuditRecord) -> Option<TreeHead> {
    let Some(Value::Integer(size)) = record.extra.get("handed_over_size") else {
        return None;
    };
    let Some(Value::Text(root)) = record.extra.get("handed_over_root") else {
        return None;
    };
    Some(TreeHead {
        size: u64::try_from(*size).ok()?,
        root: Hash::parse(root).ok()?,
    })
}

/// The time in a session's id, if its version contains one (UUIDv7).
fn made_ms(session: Uuid) -> Option<u64> {
    if session.get_version_num() != 7 {
        return None;
    }
    let (seconds, nanos) = session.get_timestamp()?.to_unix();
    seconds
        .checked_mul(1000)?
        .checked_add(u64::from(nanos / 1_000_000))
}

fn checker(rules: Rules) -> TrailChecker {
    let checker = if rules.boot_records {
        TrailChecker::new()
    } else {
        TrailChecker::without_boot_records()
    };
    if rules.one_writer {
        checker.with_one_writer()
    } else {
        checker
    }
}

fn shifted(shifts: &[(u64, u64)], fed: u64) -> u64 {
    let at = shifts.partition_point(|(from, _)| *from <= fed);
    let shift = at
        .checked_sub(1)
        .and_then(|at| shifts.get(at))
        .map_or(0, |(_, shift)| *shift);
    fed.saturating_add(shift)
}

/// Ranges of missing entries.
#[derive(Debug, Default)]
pub(crate) struct Removed {
    ranges: Vec<Range<u64>>,
    pub(crate) entries: u64,
    /// There were more ranges than can be kept.
    overflow: Option<u64>,
}

impl Removed {
    pub(crate) fn add(&mut self, range: Range<u64>) -> bool {
        self.entries = self
            .entries
            .saturating_add(range.end.saturating_sub(range.start));
        if let Some(last) = self.ranges.last_mut()
            && last.end == range.start
        {
            last.end = range.end;
            return false;
        }
        if self.ranges.len() < MAX_EVENTS {
            self.ranges.push(range);
        } else {
            self.overflow.get_or_insert(range.start);
        }
        true
    }

    /// The ranges that no record of pruning covers.
    pub(crate) fn unexplained(&self, pruned: &[PrunedReport]) -> Vec<Range<u64>> {
        let mut covers: Vec<_> = pruned
            .iter()
            .map(|pruned| pruned.first..pruned.last.saturating_add(1))
            .collect();
        covers.sort_by_key(|cover| cover.start);
        let mut covers = covers.into_iter().peekable();
        let mut covered = 0_u64;
        let mut missing = Vec::new();
        for range in &self.ranges {
            let mut at = range.start;
            loop {
                while let Some(cover) = covers.next_if(|cover| cover.start <= at.max(covered)) {
                    covered = covered.max(cover.end);
                }
                if covered >= range.end {
                    break;
                }
                at = at.max(covered);
                let next = covers.peek().map_or(u64::MAX, |cover| cover.start);
                let end = range.end.min(next);
                missing.push(at..end);
                at = end;
                if at >= range.end {
                    break;
                }
            }
        }
        if let Some(start) = self.overflow {
            missing.push(start..start.saturating_add(1));
        }
        missing
    }
}
