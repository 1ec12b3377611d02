//! The engine's own thread. It ends silent streams, viewers that are no longer polled, viewings
//! whose lease is over, and sessions whose grant has expired. It also fires expired tickets (see
//! `timers`).
//!
//! It is a thread, so that it needs no runtime and outlives any. It starts with the first session
//! or ticket, sleeps while there are none, and ends with the engine.

use std::{
    sync::{
        Arc, Weak,
        atomic::Ordering::{AcqRel, Relaxed, Release},
    },
    time::Duration,
};

use crate::{
    egress::Needs,
    engine::Inner,
    event::{Reason, Role, StreamEventKind},
    lease::Lease,
    lifecycle::SessionCore,
    timers::{Outcome, Purpose, Ticket},
    wakeup::Wakeup,
};

/// The interval between two sweeps.
const SWEEP_INTERVAL: Duration = Duration::from_millis(250);

/// Makes sure that the thread runs, after a new session.
pub(crate) fn ensure(engine: &Arc<Inner>) {
    if engine.has_thread.swap(true, AcqRel) {
        engine.wakeup.added();
    } else {
        start(engine);
    }
}

/// Wakes the thread, after a new ticket.
pub(crate) fn wake(engine: &Arc<Inner>) {
    ensure(engine);
    engine.wakeup.notify();
}

fn start(engine: &Arc<Inner>) {
    let (wakeup, engine) = (engine.wakeup.clone(), Arc::downgrade(engine));
    let running = Running(engine.clone());
    let spawned = std::thread::Builder::new()
        .name("livetrail-engine".to_owned())
        .spawn(move || {
            let running = running;
            run(&wakeup, &running.0);
        });
    if let Err(error) = spawned {
        // The closure is gone, and with it `Running`: the next session or ticket tries again.
        tracing::error!(%error, "cannot start the engine's thread; deadlines and timeouts have no effect until it starts");
    }
}

/// Clears the flag when the thread ends, for any reason.
struct Running(Weak<Inner>);

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(engine) = self.0.upgrade() {
            engine.has_thread.store(false, Release);
        }
    }
}

fn run(wakeup: &Wakeup, engine: &Weak<Inner>) {
    let mut swept = Duration::ZERO;
    loop {
        let at_most = {
            let Some(engine) = engine.upgrade() else {
                return;
            };
            fire(&engine, engine.timers.take_due());
            let now = engine.timers.now();
            if now.saturating_sub(swept) >= SWEEP_INTERVAL {
                sweep(&engine);
                swept = now;
            }
            time_to_sleep(&engine, swept)
        };
        wakeup.sleep(at_most);
    }
}

/// How long there is no work, or `None` if there is nothing to watch.
fn time_to_sleep(engine: &Inner, swept: Duration) -> Option<Duration> {
    let nothing_there = || engine.timers.is_empty() && engine.registry().is_empty();
    if engine.wakeup.is_idle(nothing_there) {
        return None;
    }
    let next_sweep = swept.saturating_add(SWEEP_INTERVAL);
    let deadline = engine.timers.next_deadline().unwrap_or(Duration::MAX);
    Some(next_sweep.min(deadline).saturating_sub(engine.timers.now()))
}

/// One round.
pub(crate) fn sweep(engine: &Arc<Inner>) {
    let now = engine.clock.monotonic();
    fire(engine, engine.timers.take_due_by(now));
    let (cores, over) = {
        let mut registry = engine.registry();
        let cores: Vec<_> = registry.sessions.values().cloned().collect();
        (cores, registry.kept.take_expired(now))
    };
    for stream in over {
        stream.close();
    }
    let limits = **engine.limits.load();
    let now_ms = now.as_millis() as u64;
    let has_cap = |core: &Arc<SessionCore>| core.stream.settings.egress_bits_per_second > 0;
    if limits.egress_bits_per_second > 0 || cores.iter().any(has_cap) {
        let viewers = cores.iter().filter(|core| core.context.role == Role::Play);
        let needs = Needs::of(viewers);
        engine.registry().set_needs(&needs);
    }
    for core in &cores {
        if core.grant.has_expired(now_ms) {
            core.end(Reason::TokenExpired);
            continue;
        }
        match core.context.role {
            Role::Publish => {
                end_if_it_never_sent(core, now_ms, limits.first_frame_timeout);
                reap_if_idle(core, now_ms, limits.idle_timeout);
            }
            Role::Play => match &core.lease {
                Some(lease) => end_if_over(core, lease, now_ms),
                None => evict_if_stalled(core, now_ms),
            },
        }
    }
}

/// Fires expired tickets: does what each ticket's purpose demands.
pub(crate) fn fire(engine: &Inner, tickets: Vec<Arc<Ticket>>) {
    for ticket in tickets {
        match &ticket.purpose {
            Purpose::Sleep => {
                ticket.settle(Outcome::Came);
            }
            Purpose::Attempt(context, reason) => {
                stop_attempt(engine, &ticket, context, reason.clone())
            }
            Purpose::Gate(core, reason) => core.end(reason.clone()),
        }
        ticket.wake();
    }
}

/// Refuses a waiting attempt, unless its awaited result has arrived.
pub(crate) fn stop_attempt(
    engine: &Inner,
    ticket: &Ticket,
    context: &Arc<crate::event::SessionContext>,
    reason: Reason,
) {
    if ticket.settle(Outcome::Stopped(reason.clone())) {
        engine.refuse(context, reason);
    }
}

fn end_if_it_never_sent(core: &Arc<SessionCore>, now_ms: u64, timeout: Duration) {
    let admitted_ms = core.admitted_ms.load(Relaxed);
    if timeout.is_zero() || admitted_ms == u64::MAX || core.progress.carried().frames > 0 {
        return;
    }
    let idle = Duration::from_millis(now_ms.saturating_sub(admitted_ms));
    if idle >= timeout {
        reap(core, idle);
    }
}

fn reap_if_idle(core: &Arc<SessionCore>, now_ms: u64, idle_timeout: Duration) {
    // The stream that this publisher continues may have been silent for longer than the publisher
    // has been here.
    let since_ms = core.stream.qos.last_frame_ms();
    let since_ms = since_ms.max(core.started.as_millis() as u64);
    let idle = Duration::from_millis(now_ms.saturating_sub(since_ms));
    if !idle_timeout.is_zero() && idle >= idle_timeout {
        reap(core, idle);
    }
}

fn reap(core: &Arc<SessionCore>, idle: Duration) {
    core.end_with(
        Some(StreamEventKind::StreamReaped { idle }),
        Reason::Idle,
        None,
    );
}

/// Ends a viewer without a cursor when its lease ends, and not earlier: clients can still fetch the
/// last segments of a stream that has ended.
fn end_if_over(core: &Arc<SessionCore>, lease: &Lease, now_ms: u64) {
    // A request that is held after the end of the stream is answered at once.
    if lease.is_held() && !core.stream.is_closed() {
        return;
    }
    if lease.expire(now_ms) {
        core.end(if core.stream.is_closed() {
            core.stream.close_reason()
        } else {
            Reason::Idle
        });
    }
}

/// A viewer moves itself forward when it is polled; a viewer that is stuck in a write is not
/// polled.
fn evict_if_stalled(core: &Arc<SessionCore>, now_ms: u64) {
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
        core.end(core.stream.close_reason());
    } else if lag > core.stream.settings.subscriber_max_lag && !core.paused.load(Relaxed) {
        core.end_with(
            Some(StreamEventKind::SubscriberEvicted { lag }),
            Reason::Evicted,
            None,
        );
    }
}
