//! A pipeline to which nothing comes sleeps, and the next offer wakes it. Alone in its process, because it looks at threads by their name.

mod common;

use std::{fs, time::Duration};

use common::{Memory, wait_until};
use livetrail_audit::{AuditAction, AuditPipeline, AuditRecord};
use livetrail_clock::{Clock as _, SystemClock};

/// A worker that only polled would be up as often as this: it wakes some 100 times a second.
const SILENCE: Duration = Duration::from_millis(500);

/// Less than the longest sleep, so that who is not woken is late most of the time.
const SOON: Duration = Duration::from_millis(2_500);

/// How often the worker's thread has been put to sleep; `None` until it has run, and so has its name.
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
