//! Offering a transition allocates nothing. This test has its own binary, because the counter
//! covers the whole process.

#[path = "it/common.rs"]
mod common;

use std::alloc::System;

use common::{Memory, context, started};
use livetrail_audit::{AuditAction, AuditPipeline, AuditRecord};
use livetrail_engine::{Observer, Role};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[test]
fn offering_allocates_nothing_whether_there_is_room_or_not() {
    let sink = Memory::closed();
    let pipeline = AuditPipeline::new(sink.clone(), 100);
    let event = started(&context(Role::Publish, "cam"));
    pipeline.on_event(&event);
    // From here on the worker waits for the sink, and it does not allocate either.
    sink.wait_for_call();
    let records: Vec<_> = (0..10)
        .map(|_| AuditRecord::new(AuditAction::Event("scene".to_owned()), "live"))
        .collect();

    let region = Region::new(ALLOCATOR);
    for _ in 0..90 {
        pipeline.on_event(&event);
    }
    for record in records {
        assert_eq!(pipeline.record(record), Ok(()));
    }
    assert_eq!(pipeline.queue_depth(), 100);
    for _ in 0..1_000 {
        pipeline.on_event(&event);
    }
    let change = region.change();
    assert_eq!((change.allocations, change.reallocations), (0, 0));
    assert_eq!(pipeline.dropped(), 1_000);
    sink.open();
    drop(pipeline);
    assert_eq!(sink.len(), 102);
}
