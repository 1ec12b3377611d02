//! Looks after what nobody else can: streams that went silent, and subscribers that nobody polls any more.

use std::{
    sync::{
        Arc,
        atomic::Ordering::{AcqRel, Relaxed, Release},
    },
    time::Duration,
};

use crate::{
    engine::Inner,
    event::{Reason, Role, StreamEventKind},
    session::SessionCore,
};

/// Time between two sweeps.
const SWEEP_INTERVAL: Duration = Duration::from_millis(250);

/// Starts the janitor, unless it is at work: for after a session was registered. Building an engine needs no runtime, and an engine without sessions
/// has no janitor.
pub(crate) fn ensure(engine: &Arc<Inner>) {
    if engine.janitor.swap(true, AcqRel) {
        return;
    }
    let Ok(runtime) = tokio::runtime::Handle::try_current() else {
        engine.janitor.store(false, Release);
        return;
    };
    let engine = Arc::downgrade(engine);
    runtime.spawn(async move {
        let mut interval = tokio::time::interval(SWEEP_INTERVAL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            let Some(engine) = engine.upgrade() else {
                return;
            };
            sweep(&engine);
            if engine.registry().sessions.is_empty() && may_go(&engine) {
                return;
            }
        }
    });
}

/// Ends the work, unless a session came whose attempt saw it going on.
fn may_go(engine: &Inner) -> bool {
    // A swap: if an attempt came before it, its session is seen.
    engine.janitor.swap(false, AcqRel);
    engine.registry().sessions.is_empty() || engine.janitor.swap(true, AcqRel)
}

/// One round.
pub(crate) fn sweep(engine: &Inner) {
    let cores: Vec<_> = engine.registry().sessions.values().cloned().collect();
    let now_ms = engine.clock.monotonic().as_millis() as u64;
    let idle_timeout = engine.limits.load().idle_timeout;
    for core in &cores {
        match core.context.role {
            Role::Publish => reap_if_idle(core, now_ms, idle_timeout),
            Role::Play => evict_if_stalled(core, now_ms),
        }
    }
}

fn reap_if_idle(core: &SessionCore, now_ms: u64, idle_timeout: Duration) {
    let idle = Duration::from_millis(now_ms.saturating_sub(core.stream.qos.last_frame_ms()));
    if !idle_timeout.is_zero() && idle >= idle_timeout {
        core.end_with(
            Some(StreamEventKind::StreamReaped { idle }),
            Reason::Idle,
            None,
        );
    }
}

/// A subscriber moves itself forward when it is polled; one that is stuck in a write is not polled.
fn evict_if_stalled(core: &SessionCore, now_ms: u64) {
    let position = core.progress.carried().position;
    if core.stalled_at.swap(position, Relaxed) != position {
        core.stalled_since_ms.store(now_ms, Relaxed);
        return;
    }
    let stalled = Duration::from_millis(now_ms.saturating_sub(core.stalled_since_ms.load(Relaxed)));
    if stalled < core.stream.settings.subscriber_stall_timeout {
        return;
    }
    let lag = core.stream.head().saturating_sub(position);
    if core.stream.is_closed() {
        core.end(Reason::StreamEnded);
    } else if lag > core.stream.settings.subscriber_max_lag && !core.paused.load(Relaxed) {
        core.end_with(
            Some(StreamEventKind::SubscriberEvicted { lag }),
            Reason::Evicted,
            None,
        );
    }
}
