//! The checker with random trails: it accepts each right one and reports each tampered one.

#![allow(clippy::unwrap_used, reason = "tests")]

use livetrail_record::{AuditAction, AuditRecord, BootEnd, LossCounts, Reason, TrailChecker, Uuid};
use proptest::collection::vec;
use proptest::prelude::*;

const BOOT: Uuid = Uuid::from_u128(0xb001);
const NEXT: Uuid = Uuid::from_u128(0xb002);

/// The records of one session, in order.
fn script(kind: u8) -> Vec<(AuditAction, Option<Reason>)> {
    use AuditAction as A;
    match kind % 7 {
        0 => vec![(A::PublishDenied, None)],
        1 => vec![(A::PlayDenied, None)],
        2 => vec![
            (A::PublishStarted, None),
            (A::RateLimited, None),
            (A::PublishEnded, None),
        ],
        3 => vec![
            (A::PublishStarted, None),
            (A::StreamReaped, None),
            (A::PublishEnded, Some(Reason::Idle)),
        ],
        4 => vec![
            (A::PlayStarted, None),
            (A::SubscriberEvicted, None),
            (A::PlayEnded, Some(Reason::Evicted)),
        ],
        5 => vec![
            (A::PlayStarted, None),
            (A::TokenShared, None),
            (A::TokenRevoked, None),
            (A::PlayEnded, Some(Reason::Kicked)),
        ],
        _ => vec![
            (A::PlayStarted, None),
            (A::Event("lag".into()), None),
            (A::PlayEnded, None),
        ],
    }
}

#[derive(Debug, Clone)]
struct Plan {
    sessions: Vec<u8>,
    /// For each step: which session continues, whether its record is dropped, whether losses are
    /// reported now.
    steps: Vec<(u16, bool, bool)>,
}

fn plan() -> impl Strategy<Value = Plan> {
    let steps = vec(
        (
            any::<u16>(),
            prop::bool::weighted(0.3),
            prop::bool::weighted(0.2),
        ),
        1..80,
    );
    (vec(any::<u8>(), 1..12), steps).prop_map(|(sessions, steps)| Plan { sessions, steps })
}

struct Writer {
    records: Vec<AuditRecord>,
    next: u64,
    loss: LossCounts,
    range: Option<(u64, u64)>,
}

impl Writer {
    fn push(&mut self, record: AuditRecord) {
        self.records
            .push(record.with_boot(BOOT).with_seq(self.next));
        self.next += 1;
    }

    fn drop(&mut self, record: &AuditRecord) {
        self.loss.add(record.action.label(), 1);
        self.range = Some((self.range.map_or(self.next, |(first, _)| first), self.next));
        self.next += 1;
    }

    fn report(&mut self) {
        let Some((first, last)) = self.range.take() else {
            return;
        };
        let loss = std::mem::take(&mut self.loss);
        self.push(
            AuditRecord::new(AuditAction::RecordsDropped, "")
                .with_count(loss.total())
                .with_first_seq(first)
                .with_last_seq(last)
                .with_detail(loss.to_detail()),
        );
    }
}

/// Plays the plan. Every session ends, unless the record of its end is dropped.
fn trail(plan: &Plan) -> Writer {
    let mut writer = Writer {
        records: Vec::new(),
        next: 0,
        loss: LossCounts::new(),
        range: None,
    };
    writer.push(AuditRecord::new(AuditAction::ServerStarted, ""));
    let mut left: Vec<_> = plan
        .sessions
        .iter()
        .zip(1_u128..)
        .map(|(kind, id)| (Uuid::from_u128(id), script(*kind).into_iter()))
        .collect();
    let ends = std::iter::repeat_n((0, false, false), plan.sessions.len() * 5);
    for (which, dropped, report) in plan.steps.iter().copied().chain(ends) {
        if left.is_empty() {
            break;
        }
        let at = usize::from(which) % left.len();
        let (session, script) = &mut left[at];
        let Some((action, reason)) = script.next() else {
            left.remove(at);
            continue;
        };
        let mut record = AuditRecord::new(action, "live").with_session(*session);
        record.reason = reason;
        if dropped {
            writer.drop(&record)
        } else {
            writer.push(record)
        }
        if report {
            writer.report();
        }
    }
    writer
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn a_right_trail_is_never_blamed(plan in plan()) {
        let mut writer = trail(&plan);
        let (findings, _) = TrailChecker::new().check(&writer.records);
        prop_assert_eq!(findings, [], "running");
        writer.report();
        writer.push(AuditRecord::new(AuditAction::ServerStopped, ""));
        let (findings, report) = TrailChecker::new().check(&writer.records);
        prop_assert_eq!(findings, [], "stopped");
        prop_assert_eq!(report.open, []);
        prop_assert_eq!(report.boots[0].end, BootEnd::Stopped);
    }

    #[test]
    fn a_crash_anywhere_is_never_blamed_once_closed(plan in plan(), at in any::<prop::sample::Index>()) {
        let mut records = trail(&plan).records;
        records.truncate(1 + at.index(records.len()));
        let (_, report) = TrailChecker::new().check(&records);
        let mut seq = 0..;
        let mut next = |record: AuditRecord| record.with_boot(NEXT).with_seq(seq.next().unwrap());
        records.push(next(AuditRecord::new(AuditAction::ServerStarted, "")));
        for open in report.open {
            let publish = open.kind == Some(livetrail_record::SessionKind::Publish);
            let action = if publish { AuditAction::PublishEnded } else { AuditAction::PlayEnded };
            records.push(next(
                AuditRecord::new(action, open.app)
                    .with_session(open.session)
                    .with_reason(Reason::ServerCrash)
                    .with_inferred(true),
            ));
        }
        records.push(next(AuditRecord::new(AuditAction::ServerStopped, "")));
        let (findings, report) = TrailChecker::new().check(&records);
        prop_assert_eq!(findings, []);
        prop_assert_eq!(report.open, []);
    }

    #[test]
    fn a_removed_doubled_or_moved_record_is_found(
        plan in plan(),
        at in any::<prop::sample::Index>(),
        how in 0..3_u8,
    ) {
        let mut writer = trail(&plan);
        writer.report();
        writer.push(AuditRecord::new(AuditAction::ServerStopped, ""));
        let mut records = writer.records;
        let last = records.len() - 1;
        let at = at.index(last);
        match how {
            0 => {
                records.remove(at);
            }
            1 => records.insert(at, records[at].clone()),
            _ => {
                // The swap is within a session, so that the order is wrong and not only unusual.
                let session = records[at].session;
                let Some(other) = (at + 1..last).find(|i| records[*i].session == session && session.is_some()) else {
                    return Ok(());
                };
                // Two records between the first and the last one may be swapped.
                let inside = |a: &AuditAction| !a.label().ends_with("ed") || a.label().starts_with("stream_") || matches!(a, AuditAction::RateLimited | AuditAction::SubscriberEvicted | AuditAction::TokenShared | AuditAction::TokenRevoked);
                if inside(&records[at].action) && inside(&records[other].action) {
                    return Ok(());
                }
                records.swap(at, other);
            }
        }
        let (findings, report) = TrailChecker::new().check(&records);
        prop_assert!(!findings.is_empty());
        prop_assert_eq!(report.findings_total, findings.len() as u64);
    }

    #[test]
    fn a_checker_that_was_saved_and_restored_anywhere_says_the_same(
        plan in plan(),
        crash in any::<prop::sample::Index>(),
        moves in vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..3),
        saves in vec(any::<prop::sample::Index>(), 1..4),
    ) {
        let writer = trail(&plan);
        let mut records = writer.records;
        // A crash, a next boot that closes some sessions, and records in wrong places.
        let again = records.clone();
        records.truncate(1 + crash.index(records.len()));
        let next = |record: AuditRecord| record.with_boot(NEXT);
        records.extend(again.into_iter().map(next));
        for (from, to) in moves {
            let record = records.remove(from.index(records.len()));
            records.insert(to.index(records.len()), record);
        }
        let whole = TrailChecker::new().check(&records);
        let mut checker = TrailChecker::new();
        let mut findings = Vec::new();
        let at: Vec<usize> = saves.iter().map(|save| save.index(records.len())).collect();
        for (i, record) in records.iter().enumerate() {
            if at.contains(&i) {
                checker = TrailChecker::restore(&checker.save()).unwrap();
            }
            findings.extend(checker.feed(record));
        }
        let (last, report) = checker.finish();
        findings.extend(last);
        prop_assert_eq!((findings, report), whole);
    }
}
