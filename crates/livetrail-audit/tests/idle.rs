//! An idle pipeline sleeps, and the next offer wakes it. This test is alone in its process, because
//! it finds threads by their names.

#[path = "it/common.rs"]
mod common;

use std::{fs, time::Duration};

use common::{Memory, wait_until};
use livetrail_audit::{AuditAction, AuditPipeline, AuditRecord};
use livetrail_clock::{Clock as _, SystemClock};

/// The time without offers. A worker that only polls would wake about 100 times a second.
const SILENCE: Duration = Duration::from_millis(500);

/// Less than the longest sleep. So a worker that nobody wakes is late most of the time.
const SOON: Duration = Duration::from_millis(2_500);

/// How often the worker's thread has gone to sleep. `None` until the thread has run and has its
/// name.
fn sleeps() -> Option<u64> {
    let mut sleeps = None;
    for task in fs::read_dir("/proc/self/task").unwrap() {
        let task = task.unwrap().path();
        let name = fs::read_to_string(task.join("comm")).unwrap_or_default();
        if name.trim() == "audit-worker" {
            let status = fs::read_to_string(task.join("status")).unwrap();
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            assert!(sleeps.is_none(), "one worker");
            sleeps = line.map(|line| line.trim().parse().unwrap());
        }
    }
    sleeps
}

#[test]
fn an_idle_worker_sleeps_until_an_offer_wakes_it() {
    let sink = Memory::new();
    let clock = SystemClock::new();
    let pipeline = AuditPipeline::new(sink.clone(), 1_024);
    wait_until(|| sleeps().is_some());
    for offered in 1..=3 {
        let (mut since, mut last) = (clock.monotonic(), sleeps());
        wait_until(|| {
            let now = sleeps();
            if std::mem::replace(&mut last, now) != now {
                since = clock.monotonic();
            }
            clock.monotonic() - since >= SILENCE
        });
        let begin = clock.monotonic();
        let event = AuditRecord::new(AuditAction::Event("e".into()), "live");
        assert_eq!(pipeline.record(event), Ok(()));
        wait_until(|| sink.len() == offered);
        let waited = clock.monotonic() - begin;
        assert!(waited < SOON, "{waited:?}");
    }
    drop(pipeline);
    assert_eq!(sink.len(), 3);
}
