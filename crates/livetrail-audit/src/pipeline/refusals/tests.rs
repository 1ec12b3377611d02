//! Refused attempts, with a clock that the test sets.

use std::sync::Arc;

use livetrail_engine::{
    Reason, Role, SessionContext, SessionId, StreamEvent, StreamEventKind, StreamKey,
};
use livetrail_record::AuditAction;

use super::*;
use crate::pipeline::convert;
use crate::pipeline::intake::What;
use crate::pipeline::transition::Transition;

const START: u64 = 1_763_805_600_000;

struct Bench {
    refusals: Refusals,
    now: Duration,
    written: Vec<AuditRecord>,
}

impl Bench {
    fn new(per_second: u32) -> Self {
        Self {
            refusals: Refusals::new(per_second, Duration::ZERO),
            now: Duration::ZERO,
            written: Vec::new(),
        }
    }

    fn ts_ms(&self) -> u64 {
        START + u64::try_from(self.now.as_millis()).unwrap()
    }

    fn refuse(&mut self, peer: &str, stream: &str, principal: Option<&str>, reason: Reason) {
        let key = StreamKey::parse("live", stream).unwrap();
        let id = SessionId::at(self.ts_ms());
        let mut context = SessionContext::new(id, Role::Play, key);
        context.peer = Some(peer.parse().unwrap());
        context.principal = principal.map(Into::into);
        let kind = StreamEventKind::denied(Role::Play, reason, None);
        let event = StreamEvent::new(Arc::new(context), kind, self.ts_ms(), 0);
        let offered = Offered {
            seq: 0,
            ts_ms: event.ts_ms,
            mono_ms: 0,
            what: What::Transition {
                kind: Transition::of(&event.kind),
                context: Arc::clone(&event.context),
            },
        };
        let in_full = || convert::record_of(&Transition::of(&event.kind), &event.context);
        let found = self.refusals.refused(&offered, self.now, in_full);
        self.written.extend(found.map(|found| found.record));
    }

    fn wrong_key(&mut self, peer: &str, stream: &str) {
        self.refuse(peer, stream, None, Reason::Unauthorized);
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        let found = self.refusals.due(self.now);
        self.written
            .extend(found.into_iter().map(|found| found.record));
    }

    fn flush(&mut self) {
        let found = self.refusals.flush(self.now);
        self.written
            .extend(found.into_iter().map(|found| found.record));
    }

    fn attempts(&self) -> u64 {
        self.written
            .iter()
            .map(|record| record.count.unwrap_or(1))
            .sum()
    }
}

#[test]
fn the_first_of_a_kind_is_in_full_and_the_others_are_one_record() {
    let mut bench = Bench::new(10);
    for n in 0..1_000 {
        bench.now += Duration::from_millis(5);
        bench.wrong_key(
            &format!("192.0.2.7:{}", 1_000 + n),
            &format!("cam{}", n % 20),
        );
    }
    bench.pass(Duration::from_secs(4));
    assert_eq!(bench.written.len(), 1, "the window is not over");
    bench.pass(Duration::from_secs(2));
    let [first, others] = bench.written.as_slice() else {
        panic!("{:?}", bench.written);
    };
    assert_eq!((first.count, first.stream.as_deref()), (None, Some("cam0")));
    assert_eq!(
        (others.count, others.distinct, others.stream.as_deref()),
        (Some(999), Some(20), None)
    );
    assert_eq!(
        (others.first_ts_ms, others.last_ts_ms),
        (Some(START + 10), Some(START + 5_000))
    );
    assert_eq!(
        others.peer.as_ref().map(|peer| peer.expose()),
        Some("192.0.2.7")
    );
    assert_eq!(
        others.reason.as_ref().map(|reason| reason.label()),
        Some("unauthorized")
    );
    assert_eq!(others.action, AuditAction::PlayDenied);
    // An idle kind is forgotten, so its next refusal is a first one again.
    bench.pass(Duration::from_secs(11));
    bench.wrong_key("192.0.2.7:1", "cam0");
    assert_eq!((bench.written.len(), bench.attempts()), (3, 1_001));
    assert_eq!(bench.refusals.counts().attempts, 1_001);
}

#[test]
fn a_flood_that_goes_on_is_one_record_in_ten_seconds_and_names_what_has_one_name() {
    let mut bench = Bench::new(10);
    for _ in 0..60_000 {
        bench.wrong_key("192.0.2.7:1", "cam");
        bench.pass(Duration::from_millis(1));
    }
    bench.flush();
    assert_eq!(bench.attempts(), 60_000);
    assert!(bench.written.len() <= 8, "{}", bench.written.len());
    assert!(
        bench
            .written
            .iter()
            .all(|r| r.stream.as_deref() == Some("cam"))
    );
}

#[test]
fn one_address_with_ever_new_applications_and_names_is_one_kind() {
    let mut bench = Bench::new(10);
    for n in 0..100 {
        bench.refuse("192.0.2.7:1", &format!("a{n}"), None, Reason::AppNotFound);
        bench.refuse("192.0.2.7:1", &format!("a{n}"), None, Reason::BadName);
        bench.refuse("[2001:db8::1]:1", "cam", None, Reason::Unauthorized);
        bench.refuse("[2001:db8::2]:1", "cam", None, Reason::Unauthorized);
    }
    assert_eq!(bench.written.len(), 3);
    bench.flush();
    assert_eq!((bench.written.len(), bench.attempts()), (6, 400));
    let peers: Vec<_> = bench.written[3..]
        .iter()
        .map(|r| r.peer.as_ref().unwrap().expose())
        .collect();
    assert!(peers.contains(&"2001:db8::/64"), "{peers:?}");
}

#[test]
fn however_many_addresses_there_are_records_are_few_and_every_attempt_is_counted() {
    let mut bench = Bench::new(10);
    for round in 0..4 {
        for n in 0_u32..65_536 {
            let [_, _, c, d] = n.to_be_bytes();
            bench.wrong_key(&format!("10.{round}.{c}.{d}:1"), "cam");
            if n % 64 == 0 {
                bench.pass(Duration::from_millis(10));
            }
        }
    }
    let seconds = bench.now.as_secs();
    assert!(bench.refusals.kinds.len() <= MAX_KINDS);
    // Five records per second are for anyone, and the first second allows as many again.
    let most = 5 * (seconds + 2) + 3;
    let written = u64::try_from(bench.written.len()).unwrap();
    assert!(written <= most, "{written} in {seconds} s");
    bench.flush();
    assert_eq!(bench.attempts(), 4 * 65_536);
    let others = bench.written.iter().filter(|r| r.peer.is_none());
    let others: Vec<_> = others.collect();
    assert!(others.len() <= 6, "{}", others.len());
    let detail = others[0].detail.as_ref().unwrap().expose();
    assert!(detail.starts_with("all others, from "), "{detail}");
}

#[test]
fn noise_does_not_push_out_what_names_a_principal() {
    let mut bench = Bench::new(10);
    let mut named = 0;
    for n in 0_u32..20_000 {
        let [_, b, c, d] = n.to_be_bytes();
        bench.wrong_key(&format!("10.{b}.{c}.{d}:1"), "cam");
        if n % 1_000 == 0 {
            let stream = format!("cam{n}");
            let principal = format!("studio-{n}");
            bench.refuse(
                "192.0.2.7:1",
                &stream,
                Some(&principal),
                Reason::LimitReached,
            );
            named += 1;
        }
        bench.pass(Duration::from_millis(1));
    }
    let principals = bench
        .written
        .iter()
        .filter(|r| r.principal.is_some())
        .count();
    assert_eq!(principals, named);
}

#[test]
fn without_a_cap_for_records_only_all_others_are_counted() {
    let mut bench = Bench::new(0);
    for _ in 0..100 {
        bench.refuse("192.0.2.7:1", "cam", Some("studio"), Reason::LimitReached);
    }
    assert_eq!(bench.written.len(), 0);
    bench.pass(WINDOW);
    assert_eq!((bench.written.len(), bench.attempts()), (1, 100));
    assert_eq!(bench.refusals.counts().suppressed, 100);
    assert_eq!(bench.refusals.next_due(), None);
}

#[test]
fn what_there_was_no_slot_for_is_counted_with_all_others() {
    let mut bench = Bench::new(10);
    let overflow = Overflow {
        attempts: [3, 40_000, 2],
        first_ts_ms: 7,
        last_ts_ms: 9,
    };
    bench.refusals.overflowed(&overflow, bench.now);
    bench.flush();
    let found: Vec<_> = bench
        .written
        .iter()
        .map(|r| {
            (
                r.action.label(),
                r.count,
                r.distinct,
                r.first_ts_ms,
                r.last_ts_ms,
            )
        })
        .collect();
    let times = (Some(7), Some(9));
    assert_eq!(
        found,
        [
            ("publish_denied", Some(3), Some(0), times.0, times.1),
            ("play_denied", Some(40_000), Some(0), times.0, times.1),
            ("admin_denied", Some(2), Some(0), times.0, times.1),
        ]
    );
}
