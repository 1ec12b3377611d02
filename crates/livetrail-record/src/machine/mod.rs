//! Checks the session state machine and the `seq` continuity of a trail, record by record.
//!
//! Memory grows with the open sessions, the boots, and the losses of boots that still run. It never
//! grows with the trail's length. A bounded number of closed sessions is remembered (`recent.rs`),
//! so that a record after the last one of its session is reported as such. A still later record is
//! found too, as a record before the first one, unless it opens a session. Anyone who knows when
//! the ids were made finds that case.

mod boot;
mod finding;
mod ids;
mod open;
mod recent;
mod report;
mod session;
mod snapshot;

use std::collections::{BTreeMap, HashSet};

use uuid::Uuid;

use self::boot::{Boot, Orphan};
pub use self::boot::{BootEnd, BootSummary, LossCounts};
pub use self::finding::{Finding, Rule};
use self::ids::UuidSet;
pub use self::ids::{UuidHash, UuidMap};
use self::open::OpenSessions;
use self::recent::Recent;
pub use self::report::{OpenSession, SessionKind, TrailReport};
use self::session::Session;
use crate::action::{AuditAction, SessionRole};
use crate::fields::AuditRecord;
use crate::reason::{Outcome, Reason};

/// Checks a trail: feed every record in the trail's order, then finish.
///
/// The rules are [`Rule`]'s variants. They are reported at two times:
///
/// - At once: a violation that no later record can repair.
/// - At the boot's end (its `server_stopped`, the next boot's first record, or
///   [`finish`](Self::finish)): a missing first or last record of a session, if a loss that is not
///   yet reported may still explain it.
///
/// A loss explains a missing first record if a `records_dropped` of that boot counts a `*_started`
/// of that kind and its range begins before the session's next record. It explains a missing last
/// record if its range ends after the first one. Each counted record explains one session.
///
/// In a boot that still runs or that crashed, a `seq` may be missing if it is above the last one
/// that the trail has accounted for (the last `records_dropped` or a heartbeat's `last_seq`): it
/// was in the queue. It is counted as [`BootSummary::unsettled`] and is not a violation.
#[derive(Debug)]
pub struct TrailChecker {
    needs_boot_records: bool,
    /// Whether all boots write one after the other, whatever the names of their nodes.
    has_one_writer: bool,
    index: u64,
    findings_total: u64,
    closed_sessions: u64,
    sessions: OpenSessions,
    recent: Recent,
    boots: UuidMap<Boot>,
    ended: Vec<BootSummary>,
    ended_ids: UuidSet,
    /// For each node, the sessions that a crash left open and that the next boot has not yet
    /// closed.
    crashed: BTreeMap<Option<String>, HashSet<Uuid>>,
}

impl Default for TrailChecker {
    fn default() -> Self {
        Self::new()
    }
}

impl TrailChecker {
    /// A checker for the trail of a server: every boot begins with `server_started`.
    #[must_use]
    pub fn new() -> Self {
        Self {
            needs_boot_records: true,
            has_one_writer: false,
            index: 0,
            findings_total: 0,
            closed_sessions: 0,
            sessions: OpenSessions::default(),
            recent: Recent::default(),
            boots: UuidMap::default(),
            ended: Vec::new(),
            ended_ids: UuidSet::default(),
            crashed: BTreeMap::new(),
        }
    }

    /// A checker for the trail of an embedder whose pipeline writes no `server_started` and
    /// `server_stopped`.
    #[must_use]
    pub fn without_boot_records() -> Self {
        Self {
            needs_boot_records: false,
            ..Self::new()
        }
    }

    /// Sets that one process at a time writes the log. A new boot means that the one before it is
    /// over, even if the name of the node has changed.
    #[must_use]
    pub fn with_one_writer(mut self) -> Self {
        self.has_one_writer = true;
        self
    }

    /// Checks a whole trail. Returns the findings in the order in which they were made, and the
    /// report.
    pub fn check<'a>(
        mut self,
        records: impl IntoIterator<Item = &'a AuditRecord>,
    ) -> (Vec<Finding>, TrailReport) {
        let mut findings = Vec::new();
        for record in records {
            findings.extend(self.feed(record));
        }
        let (rest, report) = self.finish();
        findings.extend(rest);
        (findings, report)
    }

    /// Takes the trail's next record. Returns the violations that are now known.
    pub fn feed(&mut self, record: &AuditRecord) -> Vec<Finding> {
        let mut found = Found::default();
        self.feed_boot(record, &mut found);
        self.feed_session(record, &mut found);
        if record.action == AuditAction::ServerStopped
            && let Some(boot) = record.boot
        {
            self.end_boot(boot, BootEnd::Stopped, &mut found);
        }
        self.index = self.index.saturating_add(1);
        self.count(found)
    }

    /// Reads what the next records will need, which are of these sessions, and changes nothing. The
    /// state of many open sessions exceeds the processor's cache. Each record then waits for memory
    /// several times. Here the reads do not depend on each other, so the processor waits for many
    /// at once.
    ///
    /// Useful before some ten records are [fed](Self::feed); optional.
    pub fn look_ahead(&self, sessions: impl Iterator<Item = Uuid> + Clone) {
        let (mut read, mut count) = (0_usize, 0_usize);
        for session in sessions.clone() {
            read = read.wrapping_add(self.sessions.get(&session).map_or(0, Session::read));
            count = count.saturating_add(1);
        }
        read = read.wrapping_add(self.recent.read(sessions, count));
        std::hint::black_box(read);
    }

    /// Ends the trail. Returns the findings that were still open, and the report.
    #[must_use]
    pub fn finish(mut self) -> (Vec<Finding>, TrailReport) {
        let mut found = Found::default();
        let mut running: Vec<(u64, Uuid)> = self
            .boots
            .iter()
            .map(|(id, boot)| (boot.summary.first_index, *id))
            .collect();
        running.sort_unstable();
        for (_, boot) in running {
            self.end_boot(boot, BootEnd::Running, &mut found);
        }
        let findings = self.count(found);
        let open = self.sessions.iter();
        let mut open: Vec<OpenSession> = open.map(|(id, session)| session.report(*id)).collect();
        open.sort_unstable_by_key(|session| session.index);
        self.ended.sort_by_key(|boot| boot.first_index);
        let report = TrailReport {
            records: self.index,
            closed_sessions: self.closed_sessions,
            open,
            boots: self.ended,
            findings_total: self.findings_total,
        };
        (findings, report)
    }

    /// How many sessions are open now.
    #[must_use]
    pub fn open_sessions(&self) -> usize {
        self.sessions.len()
    }

    /// The place of a finding at the present record.
    const fn at(&self, record: &AuditRecord) -> At {
        At {
            index: self.index,
            boot: record.boot,
            session: record.session,
        }
    }

    fn count(&mut self, found: Found) -> Vec<Finding> {
        let more = u64::try_from(found.0.len()).unwrap_or(u64::MAX);
        self.findings_total = self.findings_total.saturating_add(more);
        found.0
    }

    // ---- Boots ----

    fn feed_boot(&mut self, record: &AuditRecord, found: &mut Found) {
        let Some(id) = record.boot else { return };
        let at = self.at(record);
        if self.ended_ids.contains(&id) {
            found.add(at, Rule::AfterBootEnd);
            return;
        }
        let begins = record.action == AuditAction::ServerStarted;
        if !self.boots.contains_key(&id) {
            if begins {
                self.crash_others(self.writer_of(record).as_ref(), found);
            } else if self.needs_boot_records {
                found.add(at, Rule::BootNotBegun);
            }
            self.boots
                .insert(id, Boot::new(id, record.node.clone(), self.index));
        } else if begins {
            found.add(at, Rule::BootBegunTwice);
        }
        if !begins && !self.crashed.is_empty() && !is_crash_closure(record) {
            self.give_up_crashed(self.writer_of(record).as_ref(), found);
        }
        if let Some(boot) = self.boots.get_mut(&id) {
            boot.feed(record, at, found);
        }
    }

    /// The writer of consecutive boots: the node, or the owner of the log.
    fn writer_of(&self, record: &AuditRecord) -> Option<String> {
        record.node.clone().filter(|_| !self.has_one_writer)
    }

    /// A node's new boot means that its earlier boots have crashed.
    fn crash_others(&mut self, node: Option<&String>, found: &mut Found) {
        let mut others: Vec<(u64, Uuid)> = self
            .boots
            .iter()
            .filter(|(_, boot)| self.has_one_writer || boot.summary.node.as_ref() == node)
            .map(|(id, boot)| (boot.summary.first_index, *id))
            .collect();
        others.sort_unstable();
        for (_, boot) in others {
            self.end_boot(boot, BootEnd::Crashed, found);
            let left = self
                .sessions
                .iter()
                .filter(|(_, session)| session.boot == Some(boot))
                .map(|(id, _)| *id);
            self.crashed.entry(node.cloned()).or_default().extend(left);
        }
    }

    /// The new boot continued without closing the sessions that the crash left open.
    fn give_up_crashed(&mut self, node: Option<&String>, found: &mut Found) {
        let Some(left) = self.crashed.remove(&node.cloned()) else {
            return;
        };
        let mut left: Vec<(Uuid, Session)> = left
            .iter()
            .filter_map(|id| Some((*id, self.sessions.remove(id)?)))
            .collect();
        left.sort_unstable_by_key(|(_, session)| session.index);
        for (id, session) in left {
            let at = At::session(self.index, session.boot, id);
            found.add(at, Rule::CrashLeftOpen);
            self.remember(id);
        }
    }

    fn end_boot(&mut self, id: Uuid, end: BootEnd, found: &mut Found) {
        let Some(mut boot) = self.boots.remove(&id) else {
            return;
        };
        // The sessions are in the trail's order, so that the same trail always gives the same
        // findings in the same order. The map has no such order.
        let of_boot = self.sessions.iter().filter(|(_, s)| s.boot == Some(id));
        let mut of_boot: Vec<(u64, Uuid)> = of_boot.map(|(id, s)| (s.index, *id)).collect();
        of_boot.sort_unstable();
        let mut open = Vec::with_capacity(of_boot.len());
        for (_, session_id) in of_boot {
            let Some(session) = self.sessions.get_mut(&session_id) else {
                continue;
            };
            if let Some(orphan) = session.take_missing_start() {
                boot.missing_start(
                    Orphan {
                        kind: session.kind,
                        ..orphan
                    },
                    found,
                );
            }
            let at = At::session(self.index, Some(id), session_id);
            let seq = session.seq.unwrap_or_default();
            open.push(Orphan {
                at,
                kind: session.kind,
                seq,
            });
        }
        if end == BootEnd::Stopped {
            for session in open.iter().filter_map(|orphan| orphan.at.session) {
                self.sessions.remove(&session);
                self.remember(session);
            }
        }
        let mut wrong = boot.end(end, self.index, open, found);
        wrong.sort_by_key(|orphan| orphan.seq);
        for orphan in wrong {
            found.add(orphan.at, Rule::OpenAtStop);
        }
        if end != BootEnd::Running {
            self.ended_ids.insert(id);
        }
        self.ended.push(boot.summary);
    }

    // ---- Sessions ----

    fn feed_session(&mut self, record: &AuditRecord, found: &mut Found) {
        let at = self.at(record);
        if contradicts_itself(record) {
            found.add(at, Rule::RefusalMalformed);
        }
        let role = record.action.role();
        if role == SessionRole::Apart {
            return;
        }
        let Some(session) = record.session else {
            // Recordings and free-form events may concern a stream as a whole.
            if !matches!(role, SessionRole::Inside(_) | SessionRole::InsideAny) {
                found.add(at, Rule::NoSession);
            }
            return;
        };
        let contradicts = match role {
            SessionRole::Opens(_) => record.outcome == Some(Outcome::Denied),
            SessionRole::Refuses => record.outcome == Some(Outcome::Success),
            _ => false,
        };
        if contradicts {
            found.add(at, Rule::WrongOutcome);
        }
        match role {
            SessionRole::Opens(kind) => self.open(session, Some(kind), record, found),
            SessionRole::Refuses => {
                if self.sessions.contains(&session) {
                    found.add(at, Rule::DeniedWhileOpen);
                } else if self.recent.contains(session) {
                    found.add(at, Rule::OpenedAgain);
                } else {
                    self.close(session);
                }
            }
            SessionRole::Closes(kind) => self.closes(session, kind, record, found),
            SessionRole::Inside(kind) => self.inside(session, Some(kind), record, found),
            SessionRole::InsideAny => self.inside(session, None, record, found),
            SessionRole::Apart => {}
        }
    }

    fn open(
        &mut self,
        session: Uuid,
        kind: Option<SessionKind>,
        record: &AuditRecord,
        found: &mut Found,
    ) {
        let at = self.at(record);
        let Some(vacant) = self.sessions.vacant(session) else {
            found.add(at, Rule::StartedTwice);
            return;
        };
        if self.recent.contains(session) {
            found.add(at, Rule::OpenedAgain);
        } else {
            vacant.insert(Session::new(self.index, kind, record));
        }
    }

    fn closes(
        &mut self,
        session: Uuid,
        kind: SessionKind,
        record: &AuditRecord,
        found: &mut Found,
    ) {
        let at = self.at(record);
        let Some(mut open) = self.sessions.remove(&session) else {
            if let Some(orphan) = self.orphan(session, Some(kind), record, found) {
                self.missing_start(orphan, found);
            }
            self.close(session);
            return;
        };
        if let Some(orphan) = open.take_missing_start() {
            self.missing_start(
                Orphan {
                    kind: Some(kind),
                    ..orphan
                },
                found,
            );
        }
        let stream = record.stream.as_deref();
        if !open.is_of(&record.app, stream) {
            let name = |app: &str, stream: Option<&str>| format!("{app}/{}", stream.unwrap_or("-"));
            let opened = name(open.app(), open.stream());
            let found_here = name(&record.app, stream);
            found.add(
                at,
                Rule::WrongStream {
                    opened,
                    found: found_here,
                },
            );
        }
        let crashed = is_crash_closure(record);
        if open.boot != record.boot && !crashed {
            found.add(at, Rule::WrongBoot);
        }
        if crashed && (open.boot == record.boot || !record.inferred) {
            found.add(at, Rule::CrashClosure);
        }
        if open.kind.is_some_and(|open| open != kind) {
            found.add(at, Rule::WrongKind);
        }
        // An inferred last record cannot know the reason.
        if let Some(due) = open.due()
            && record.reason.as_ref() != Some(due)
            && !record.inferred
        {
            let expected = due.clone();
            found.add(at, Rule::WrongEnd { expected });
        }
        self.close(session);
    }

    fn inside(
        &mut self,
        session: Uuid,
        kind: Option<SessionKind>,
        record: &AuditRecord,
        found: &mut Found,
    ) {
        let at = self.at(record);
        if !self.sessions.contains(&session) {
            let missing_start = self.orphan(session, kind, record, found);
            if self.recent.contains(session) {
                return;
            }
            // The session is known from here on.
            let mut opened = Session::new(self.index, kind, record);
            opened.set_missing_start(missing_start);
            self.sessions.insert(session, opened);
        }
        let Some(open) = self.sessions.get_mut(&session) else {
            return;
        };
        if open.boot != record.boot {
            found.add(at, Rule::WrongBoot);
        }
        if open.kind.is_some() && kind.is_some() && open.kind != kind {
            found.add(at, Rule::WrongKind);
        }
        open.kind = open.kind.or(kind);
        match record.action {
            AuditAction::SubscriberEvicted => open.set_due(Reason::Evicted),
            AuditAction::StreamReaped => open.set_due(Reason::Idle),
            _ => {}
        }
    }

    /// A record of a session that is not open: either it comes after the last record, or the first
    /// record is missing. If the first is missing, a loss may explain the returned orphan.
    fn orphan(
        &mut self,
        session: Uuid,
        kind: Option<SessionKind>,
        record: &AuditRecord,
        found: &mut Found,
    ) -> Option<Orphan> {
        let at = self.at(record);
        if self.recent.contains(session) {
            found.add(at, Rule::AfterLast);
            return None;
        }
        let boot = record.boot.filter(|id| self.boots.contains_key(id));
        match (boot, record.seq) {
            (Some(_), Some(seq)) => Some(Orphan { at, kind, seq }),
            _ => {
                found.add(at, Rule::BeforeFirst);
                None
            }
        }
    }

    fn missing_start(&mut self, orphan: Orphan, found: &mut Found) {
        match orphan.at.boot.and_then(|id| self.boots.get_mut(&id)) {
            Some(boot) => boot.missing_start(orphan, found),
            None => found.add(orphan.at, Rule::BeforeFirst),
        }
    }

    fn close(&mut self, session: Uuid) {
        self.closed_sessions = self.closed_sessions.saturating_add(1);
        self.remember(session);
    }

    fn remember(&mut self, session: Uuid) {
        for left in self.crashed.values_mut() {
            left.remove(&session);
        }
        self.recent.insert(session);
    }
}

/// Whether a record has contradictory facts about refused attempts. A refusal may stand for many.
/// Then it has their number, the first and last time, and the number of different names. It has one
/// session and one `seq` like any other record.
fn contradicts_itself(record: &AuditRecord) -> bool {
    let starts = matches!(record.action.role(), SessionRole::Opens(_));
    let backwards = record
        .first_ts_ms
        .zip(record.last_ts_ms)
        .is_some_and(|(first, last)| first > last);
    let refused = record.action.is_refusal()
        && (backwards
            || record.count == Some(0)
            || record
                .distinct
                .is_some_and(|names| names > record.count.unwrap_or(1)));
    refused || (record.refused_before.is_some() && !starts)
}

/// Whether the record closes a session that an earlier boot left open.
fn is_crash_closure(record: &AuditRecord) -> bool {
    matches!(record.action.role(), SessionRole::Closes(_))
        && record.reason == Some(Reason::ServerCrash)
}

/// The place of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct At {
    index: u64,
    boot: Option<Uuid>,
    session: Option<Uuid>,
}

impl At {
    const fn session(index: u64, boot: Option<Uuid>, session: Uuid) -> Self {
        Self {
            index,
            boot,
            session: Some(session),
        }
    }
}

/// The findings of one step.
#[derive(Debug, Default)]
pub(crate) struct Found(Vec<Finding>);

impl Found {
    fn add(&mut self, at: At, rule: Rule) {
        self.0.push(Finding {
            index: at.index,
            boot: at.boot,
            session: at.session,
            rule,
        });
    }
}

#[cfg(test)]
mod tests;
