//! The times at which the worker's periodic work is due.

use std::time::Duration;

/// How often records that were dropped for want of space are reported. A report for each record
/// would take the saved space. A report also waits this long after the sink panicked at it.
pub(super) const SHED_REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// How often the worker searches for sessions whose end was dropped.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);

/// The periodic work, and the next report of losses.
#[derive(Debug)]
pub(super) struct Timers {
    heartbeat: Every,
    sweep: Every,
    sync: Every,
    /// The earliest time of the next report of losses.
    loss_report: Duration,
}

/// The work that is due at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) heartbeat: bool,
    /// The search for sessions whose end was dropped.
    pub(super) sweep: bool,
    pub(super) sync: bool,
}

/// One period.
#[derive(Debug)]
struct Every {
    /// The interval; `None` means never.
    interval: Option<Duration>,
    next: Option<Duration>,
}

impl Every {
    /// A time after the end of the clock's range is never due.
    fn new(interval: Option<Duration>, now: Duration) -> Self {
        let next = interval.and_then(|interval| now.checked_add(interval));
        Self { interval, next }
    }

    /// Whether the work is due. If so, it is due again one interval from now.
    fn is_due(&mut self, now: Duration) -> bool {
        let is_due = self.next.is_some_and(|next| next <= now);
        if is_due {
            *self = Self::new(self.interval, now);
        }
        is_due
    }
}

impl Timers {
    /// The first heartbeat and the first sync are due after one interval each. `None` means never.
    pub(super) fn new(heartbeat: Option<Duration>, sync: Option<Duration>, now: Duration) -> Self {
        Self {
            heartbeat: Every::new(heartbeat, now),
            sweep: Every::new(Some(SWEEP_INTERVAL), now),
            sync: Every::new(sync, now),
            loss_report: now,
        }
    }

    /// The work that is due now. It counts as done.
    pub(super) fn due(&mut self, now: Duration) -> Due {
        Due {
            heartbeat: self.heartbeat.is_due(now),
            sweep: self.sweep.is_due(now),
            sync: self.sync.is_due(now),
        }
    }

    /// The next time at which work is due. A sync is due only if there is something to sync.
    pub(super) fn next_due(&self, unsynced: bool) -> Option<Duration> {
        let sync = self.sync.next.filter(|_| unsynced);
        [self.heartbeat.next, self.sweep.next, sync]
            .into_iter()
            .flatten()
            .min()
    }

    /// Whether a loss may be reported now.
    pub(super) fn may_report_loss(&self, now: Duration) -> bool {
        now >= self.loss_report
    }

    /// Delays the next report of losses by this pause.
    pub(super) const fn pause_loss_reports(&mut self, now: Duration, pause: Duration) {
        self.loss_report = now.saturating_add(pause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn what_was_due_is_due_again_after_its_interval() {
        let mut timers = Timers::new(Some(S(60)), Some(S(5)), S(100));
        let due = |heartbeat, sweep, sync| Due {
            heartbeat,
            sweep,
            sync,
        };
        assert_eq!(timers.due(S(104)), due(false, false, false));
        assert_eq!(timers.next_due(true), Some(S(105)));
        assert_eq!(timers.next_due(false), Some(S(160)));
        assert_eq!(timers.due(S(107)), due(false, false, true));
        assert_eq!(timers.due(S(111)), due(false, false, false));
        assert_eq!(timers.due(S(200)), due(true, true, true));
        assert_eq!(timers.due(S(200)), due(false, false, false));
    }

    #[test]
    fn what_is_due_after_the_end_of_time_is_never_due() {
        let mut timers = Timers::new(Some(Duration::MAX), None, S(1));
        let due = timers.due(Duration::MAX);
        assert!(!due.heartbeat && !due.sync && due.sweep);
    }
}
