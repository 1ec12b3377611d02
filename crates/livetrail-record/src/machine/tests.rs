//! Tests of the checker with small trails. Each is right, or wrong in one way.

use AuditAction::{
    PlayDenied, PlayEnded, PlayStarted, PublishDenied, PublishEnded, PublishStarted, RateLimited,
    ServerStarted, ServerStopped, StreamReaped, SubscriberEvicted,
};

use super::recent::RECENT_SESSIONS;
use super::*;
use crate::reason::Outcome;

const BOOT: Uuid = Uuid::from_u128(0xb001);
const NEXT_BOOT: Uuid = Uuid::from_u128(0xb002);
const A: Uuid = Uuid::from_u128(0xa);
const B: Uuid = Uuid::from_u128(0xb);

/// Builds a trail, and numbers the records of each boot.
#[derive(Default)]
struct Trail {
    records: Vec<AuditRecord>,
    next: UuidMap<u64>,
}

impl Trail {
    fn begun() -> Self {
        Self::default().server(BOOT, ServerStarted)
    }

    fn push(mut self, boot: Uuid, record: AuditRecord) -> Self {
        let next = self.next.entry(boot).or_default();
        self.records.push(record.with_boot(boot).with_seq(*next));
        *next += 1;
        self
    }

    fn server(self, boot: Uuid, action: AuditAction) -> Self {
        self.push(boot, AuditRecord::new(action, ""))
    }

    fn of(self, session: Uuid, action: AuditAction) -> Self {
        self.push(BOOT, AuditRecord::new(action, "live").with_session(session))
    }

    fn ended(self, session: Uuid, action: AuditAction, reason: Reason) -> Self {
        let record = AuditRecord::new(action, "live")
            .with_session(session)
            .with_reason(reason);
        self.push(BOOT, record)
    }

    fn crash_closed(self, session: Uuid, action: AuditAction) -> Self {
        let record = AuditRecord::new(action, "live")
            .with_session(session)
            .with_outcome(Outcome::Failed)
            .with_reason(Reason::ServerCrash)
            .with_inferred(true);
        self.push(NEXT_BOOT, record)
    }

    /// Skips numbers, as if their records were lost.
    fn lost(mut self, count: u64) -> Self {
        *self.next.entry(BOOT).or_default() += count;
        self
    }

    fn reported(self, first: u64, last: u64, detail: &str) -> Self {
        let count = LossCounts::parse(detail).map_or(0, |counts| counts.total());
        let record = AuditRecord::new(AuditAction::RecordsDropped, "")
            .with_count(count)
            .with_first_seq(first)
            .with_last_seq(last)
            .with_detail(detail);
        self.push(BOOT, record)
    }

    fn heartbeat(self, settled: u64) -> Self {
        self.push(
            BOOT,
            AuditRecord::new(AuditAction::Heartbeat, "").with_last_seq(settled),
        )
    }

    fn stopped(self) -> Self {
        self.server(BOOT, ServerStopped)
    }

    fn check(&self) -> (Vec<Rule>, TrailReport) {
        let (findings, report) = TrailChecker::new().check(&self.records);
        assert_eq!(report.findings_total, findings.len() as u64);
        (
            findings.into_iter().map(|finding| finding.rule).collect(),
            report,
        )
    }

    fn sound(&self) -> TrailReport {
        let (rules, report) = self.check();
        assert_eq!(rules, []);
        report
    }

    fn wrong(&self, expected: &[Rule]) {
        assert_eq!(self.check().0, expected);
    }
}

#[test]
fn a_day_of_normal_life_is_sound() {
    let report = Trail::begun()
        .of(A, PublishStarted)
        .of(B, PlayStarted)
        .of(Uuid::from_u128(1), PlayDenied)
        .of(Uuid::from_u128(2), PublishDenied)
        .of(A, RateLimited)
        .of(B, AuditAction::Event("subscriber_lagged".into()))
        .of(B, SubscriberEvicted)
        .ended(B, PlayEnded, Reason::Evicted)
        .of(A, StreamReaped)
        .ended(A, PublishEnded, Reason::Idle)
        .of(A, AuditAction::AdminSessionKicked)
        .heartbeat(10)
        .stopped()
        .sound();
    assert_eq!(report.closed_sessions, 4);
    assert_eq!(report.open, []);
    assert_eq!(report.boots[0].end, BootEnd::Stopped);
}

#[test]
fn a_running_trail_says_what_is_open() {
    let report = Trail::begun()
        .of(A, PublishStarted)
        .of(B, PlayStarted)
        .sound();
    assert_eq!(
        report.open.iter().map(|s| s.session).collect::<Vec<_>>(),
        [A, B]
    );
    assert_eq!(report.boots[0].end, BootEnd::Running);
}

#[test]
fn a_session_out_of_order_or_doubled_is_found() {
    Trail::begun().of(A, PlayEnded).wrong(&[Rule::BeforeFirst]);
    Trail::begun()
        .of(A, RateLimited)
        .of(A, PublishEnded)
        .wrong(&[Rule::BeforeFirst]);
    let played = || Trail::begun().of(A, PlayStarted);
    played().of(A, PlayStarted).wrong(&[Rule::StartedTwice]);
    played().of(A, PlayDenied).wrong(&[Rule::DeniedWhileOpen]);
    played().of(A, PublishEnded).wrong(&[Rule::WrongKind]);
    played().of(A, StreamReaped).wrong(&[Rule::WrongKind]);
    played()
        .of(A, PlayEnded)
        .of(A, PlayEnded)
        .wrong(&[Rule::AfterLast]);
    played()
        .of(A, PlayEnded)
        .of(A, SubscriberEvicted)
        .wrong(&[Rule::AfterLast]);
    played()
        .of(A, PlayEnded)
        .of(A, PlayStarted)
        .wrong(&[Rule::OpenedAgain]);
    Trail::begun()
        .of(A, PlayDenied)
        .of(A, PlayDenied)
        .wrong(&[Rule::OpenedAgain]);
    played().stopped().wrong(&[Rule::OpenAtStop]);
    Trail::begun()
        .push(BOOT, AuditRecord::new(PlayStarted, "live"))
        .wrong(&[Rule::NoSession]);
}

#[test]
fn eviction_and_reaping_need_their_end() {
    Trail::begun()
        .of(A, PlayStarted)
        .of(A, SubscriberEvicted)
        .ended(A, PlayEnded, Reason::ClientClosed)
        .wrong(&[Rule::WrongEnd {
            expected: Reason::Evicted,
        }]);
    Trail::begun()
        .of(A, PublishStarted)
        .of(A, StreamReaped)
        .ended(A, PublishEnded, Reason::Kicked)
        .wrong(&[Rule::WrongEnd {
            expected: Reason::Idle,
        }]);
}

#[test]
fn a_hole_in_seq_is_found_at_the_boots_end_and_settled_ones_at_once() {
    Trail::begun()
        .lost(2)
        .stopped()
        .wrong(&[Rule::SeqMissing { first: 1, last: 2 }]);
    let settled = Trail::begun().lost(2).heartbeat(2);
    settled.wrong(&[Rule::SeqMissing { first: 1, last: 2 }]);
    let report = Trail::begun().lost(2).heartbeat(0).sound();
    assert_eq!(report.boots[0].unsettled, 2);
}

#[test]
fn records_of_a_boot_may_change_places_but_not_occur_twice() {
    let mut trail = Trail::begun()
        .of(A, PlayStarted)
        .of(B, PlayStarted)
        .of(A, PlayEnded)
        .of(B, PlayEnded);
    trail.records.swap(2, 3);
    let trail = trail.stopped();
    trail.sound();
    let mut twice = trail;
    let again = twice.records[1].clone().with_session(Uuid::from_u128(7));
    twice.records.insert(3, again);
    let rules = twice.check().0;
    assert_eq!(rules, [Rule::SeqTwice { seq: 1 }, Rule::OpenAtStop]);
}

#[test]
fn a_reported_loss_explains_what_it_counts_and_no_more() {
    // The first record of A is lost, and A's end comes before the report.
    Trail::begun()
        .lost(1)
        .of(A, PlayEnded)
        .reported(1, 1, "play_started:1")
        .stopped()
        .sound();
    // A's end comes after the report.
    Trail::begun()
        .lost(1)
        .reported(1, 1, "play_started:1")
        .of(A, PlayEnded)
        .stopped()
        .sound();
    // The last record is lost.
    Trail::begun()
        .of(A, PlayStarted)
        .lost(1)
        .reported(2, 2, "play_ended:1")
        .stopped()
        .sound();
    // The lost record has another action, or came too late, or explains only one session.
    Trail::begun()
        .lost(1)
        .of(A, PlayEnded)
        .reported(1, 1, "publish_started:1")
        .stopped()
        .wrong(&[Rule::BeforeFirst]);
    Trail::begun()
        .of(A, PlayEnded)
        .lost(1)
        .reported(2, 2, "play_started:1")
        .stopped()
        .wrong(&[Rule::BeforeFirst]);
    Trail::begun()
        .lost(1)
        .of(A, PlayEnded)
        .of(B, PlayEnded)
        .reported(1, 1, "play_started:1")
        .stopped()
        .wrong(&[Rule::BeforeFirst]);
    Trail::begun()
        .lost(1)
        .reported(1, 1, "play_ended:1")
        .of(A, PlayStarted)
        .stopped()
        .wrong(&[Rule::OpenAtStop]);
}

#[test]
fn a_lost_first_record_is_explained_for_all_that_follows() {
    Trail::begun()
        .lost(1)
        .of(A, AuditAction::Event("subscriber_lagged".into()))
        .of(A, SubscriberEvicted)
        .ended(A, PlayEnded, Reason::Evicted)
        .reported(1, 1, "play_started:1")
        .stopped()
        .sound();
}

#[test]
fn a_loss_whose_numbers_do_not_fit_is_found() {
    Trail::begun()
        .lost(3)
        .reported(1, 3, "play_ended:2")
        .stopped()
        .wrong(&[Rule::LossCount {
            said: 2,
            missing: 3,
        }]);
    Trail::begun()
        .lost(1)
        .reported(2, 1, "play_ended:1")
        .wrong(&[Rule::LossMalformed]);
    Trail::begun()
        .lost(1)
        .reported(1, 1, "nonsense")
        .wrong(&[Rule::LossMalformed]);
    Trail::begun()
        .lost(2)
        .reported(1, 2, "event:2")
        .reported(2, 3, "event:1")
        .wrong(&[
            Rule::LossOverlap,
            Rule::LossCount {
                said: 1,
                missing: 0,
            },
        ]);
    // A range may contain written records.
    Trail::begun()
        .lost(1)
        .of(A, PlayDenied)
        .lost(2)
        .of(B, PlayDenied)
        .reported(1, 4, "event:3")
        .stopped()
        .sound();
    // A record below the range must not be missing.
    Trail::begun()
        .lost(1)
        .of(A, PlayDenied)
        .lost(1)
        .reported(3, 3, "event:1")
        .wrong(&[Rule::SeqMissing { first: 1, last: 1 }]);
}

#[test]
fn a_crash_is_closed_by_the_next_boot_before_anything_else() {
    let crashed = || {
        Trail::begun()
            .of(A, PublishStarted)
            .of(B, PlayStarted)
            .server(NEXT_BOOT, ServerStarted)
    };
    let report = crashed()
        .crash_closed(A, PublishEnded)
        .crash_closed(B, PlayEnded)
        .server(NEXT_BOOT, ServerStopped)
        .sound();
    assert_eq!(report.boots[0].end, BootEnd::Crashed);
    assert_eq!(report.closed_sessions, 2);
    crashed()
        .crash_closed(A, PublishEnded)
        .server(NEXT_BOOT, ServerStopped)
        .wrong(&[Rule::CrashLeftOpen]);
    // Both boots crashed. The third boot closes the rest.
    let third = Uuid::from_u128(0xb003);
    let close = AuditRecord::new(PlayEnded, "live")
        .with_session(B)
        .with_reason(Reason::ServerCrash)
        .with_inferred(true);
    crashed()
        .crash_closed(A, PublishEnded)
        .server(third, ServerStarted)
        .push(third, close)
        .server(third, ServerStopped)
        .sound();
}

#[test]
fn a_crash_loses_what_was_queued_without_a_false_alarm() {
    let report = Trail::begun()
        .of(A, PublishStarted)
        .lost(1)
        .of(B, PlayEnded)
        .server(NEXT_BOOT, ServerStarted)
        .crash_closed(A, PublishEnded)
        .server(NEXT_BOOT, ServerStopped)
        .sound();
    assert_eq!(report.boots[0].unsettled, 1);
    // One missing number excuses one missing first record.
    Trail::begun()
        .lost(1)
        .of(A, PlayEnded)
        .of(B, PlayEnded)
        .server(NEXT_BOOT, ServerStarted)
        .wrong(&[Rule::BeforeFirst]);
}

#[test]
fn a_crash_closure_is_inferred_and_from_a_later_boot() {
    Trail::begun()
        .of(A, PlayStarted)
        .ended(A, PlayEnded, Reason::ServerCrash)
        .wrong(&[Rule::CrashClosure]);
    Trail::begun()
        .of(A, PlayStarted)
        .server(NEXT_BOOT, ServerStarted)
        .push(
            NEXT_BOOT,
            AuditRecord::new(PlayEnded, "live")
                .with_session(A)
                .with_reason(Reason::Idle),
        )
        .wrong(&[Rule::CrashLeftOpen, Rule::AfterLast]);
}

#[test]
fn a_boot_has_one_beginning_and_one_end() {
    Trail::default()
        .of(A, PlayDenied)
        .wrong(&[Rule::BootNotBegun]);
    Trail::begun()
        .server(BOOT, ServerStarted)
        .wrong(&[Rule::BootBegunTwice]);
    Trail::begun()
        .stopped()
        .of(A, PlayDenied)
        .wrong(&[Rule::AfterBootEnd]);
    let trail = Trail::default().of(A, PlayDenied);
    let (findings, report) = TrailChecker::without_boot_records().check(&trail.records);
    assert_eq!(findings, []);
    assert!(report.is_sound());
    let mut unnumbered = Trail::begun();
    unnumbered
        .records
        .push(AuditRecord::new(AuditAction::Heartbeat, "").with_boot(BOOT));
    unnumbered.wrong(&[Rule::NoSeq]);
}

#[test]
fn nodes_do_not_end_each_others_boots() {
    let on =
        |node: &str, boot, action| AuditRecord::new(action, "").with_node(node).with_boot(boot);
    let trail = Trail::default()
        .push(BOOT, on("a", BOOT, ServerStarted))
        .push(NEXT_BOOT, on("b", NEXT_BOOT, ServerStarted))
        .push(BOOT, on("a", BOOT, ServerStopped))
        .push(NEXT_BOOT, on("b", NEXT_BOOT, ServerStopped));
    trail.sound();
}

#[test]
fn records_without_a_boot_are_checked_for_their_sessions_alone() {
    let record = |action, session| AuditRecord::new(action, "live").with_session(session);
    let trail = [
        record(PlayStarted, A),
        record(PlayEnded, A),
        record(PlayEnded, B),
    ];
    let (findings, _) = TrailChecker::new().check(&trail);
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].rule, Rule::BeforeFirst);
    assert_eq!(findings[0].index, 2);
    assert_eq!(findings[0].session, Some(B));
}

#[test]
fn memory_does_not_grow_with_closed_sessions() {
    let mut checker = TrailChecker::new();
    checker.feed(&Trail::begun().records[0]);
    for n in 0..u64::try_from(RECENT_SESSIONS).unwrap() + 100 {
        let record = AuditRecord::new(PlayDenied, "live")
            .with_session(Uuid::from_u128(u128::from(n)))
            .with_boot(BOOT)
            .with_seq(n + 1);
        assert_eq!(checker.feed(&record), []);
    }
    assert_eq!(checker.open_sessions(), 0);
    assert_eq!(checker.recent.iter().len(), RECENT_SESSIONS);
}

#[test]
fn findings_of_one_moment_come_in_the_trails_order() {
    let mut trail = Trail::begun();
    for session in (0..40).rev().map(|id| Uuid::from_u128(0x100 + id)) {
        trail = trail.of(session, RateLimited);
    }
    let (findings, _) = TrailChecker::new().check(&trail.stopped().records);
    let order: Vec<u64> = findings
        .iter()
        .filter(|finding| finding.rule == Rule::BeforeFirst)
        .map(|finding| finding.index)
        .collect();
    assert_eq!(order, (1..=40).collect::<Vec<u64>>());
}

#[test]
fn a_refusal_may_stand_for_many_attempts_with_one_session_and_one_number() {
    let many = || {
        AuditRecord::new(PlayDenied, "live")
            .with_session(A)
            .with_count(4_000)
            .with_distinct(3_999)
            .with_first_ts_ms(10)
            .with_last_ts_ms(20)
    };
    let admitted = AuditRecord::new(PlayStarted, "live")
        .with_session(B)
        .with_refused_before(4_001);
    let trail = Trail::begun()
        .push(BOOT, many())
        .push(BOOT, admitted)
        .of(B, PlayEnded)
        .push(
            BOOT,
            AuditRecord::new(AuditAction::AdminDenied, "").with_count(7),
        )
        .server(BOOT, ServerStopped);
    let (findings, report) = TrailChecker::new().check(&trail.records);
    assert_eq!(findings, []);
    assert_eq!(report.closed_sessions, 2);
    let wrong = [
        many().with_count(0),
        many().with_first_ts_ms(21),
        many().with_distinct(4_001),
        many().with_refused_before(1),
    ];
    for record in wrong {
        let trail = Trail::begun().push(BOOT, record);
        let (findings, _) = TrailChecker::new().check(&trail.records);
        let rules: Vec<_> = findings.into_iter().map(|finding| finding.rule).collect();
        assert_eq!(rules, [Rule::RefusalMalformed]);
    }
}
