//! The end of the pipeline: each number is accounted for, each session ends, and the boot ends.

use std::time::Duration;

use livetrail_clock::{Clock as _, SystemClock};
use livetrail_record::{AuditAction, AuditRecord, LossKind};

use super::Worker;
use super::send::Role;
use crate::pipeline::CloseReport;
use crate::pipeline::loss::Loss;
use crate::pipeline::sync::Ordering;

/// How long closing waits for a producer that has taken a number and not used it yet.
const STRAGGLER_PATIENCE: Duration = Duration::from_secs(1);

/// How long closing waits for space for held records. The wait is never longer than half the close
/// deadline.
const SPACE_PATIENCE: Duration = Duration::from_secs(5);

impl Worker {
    /// The pipeline is closed and the queue is empty. This accounts for every number, ends the open
    /// sessions, and ends the boot.
    pub(super) fn close(mut self) -> CloseReport {
        let end = loop {
            if let Some(end) = self.shared.intake.sealed_at() {
                break end;
            }
            std::thread::yield_now();
        };
        // A host's clock may stand still, so this uses the system's clock.
        let real = SystemClock::new();
        let mut began = real.monotonic();
        let for_space = SPACE_PATIENCE.min(self.config.close_deadline / 2);
        loop {
            self.round();
            if self.shared.abort.load(Ordering::Acquire) {
                break;
            }
            let waited = real.monotonic().saturating_sub(began);
            if !self.parked.is_empty() {
                if waited < for_space {
                    std::thread::park_timeout(Duration::from_millis(1));
                    continue;
                }
                self.lose_parked();
                self.harvest_losses();
                began = real.monotonic();
                continue;
            }
            let refusals = self.shared.intake.refusals.offered() - self.refusals_taken;
            if self.account.unresolved(end) == 0 && refusals == 0 {
                break;
            }
            if waited >= STRAGGLER_PATIENCE {
                self.give_up_stragglers(end, refusals);
                break;
            }
            std::thread::park_timeout(Duration::from_micros(100));
        }
        let now = self.shared.clock.monotonic();
        for aggregate in self.refusals.flush(now) {
            self.push_refusal(aggregate);
        }
        if self.config.boot_records {
            self.write();
            for ended in self.sessions.all() {
                self.push_end(ended);
            }
        }
        self.write();
        self.report_last_losses();
        if self.config.boot_records {
            self.push_next(
                AuditRecord::new(AuditAction::ServerStopped, ""),
                Role::Plain,
            );
        }
        self.write();
        let durable = self.sync().is_ok();
        self.sink.shutdown();
        self.shared
            .account(durable, self.shared.abort.load(Ordering::Acquire))
    }

    /// Counts the numbers of producers that never used them. Their records are lost, and nobody
    /// knows their actions.
    pub(super) fn give_up_stragglers(&mut self, end: u64, refusals: u64) {
        let unresolved = self.account.unresolved(end);
        tracing::error!(
            records = unresolved,
            refusals,
            "records were offered and never arrived"
        );
        self.shared.intake.lose_refusals(refusals);
        if unresolved == 0 {
            return;
        }
        let now = self.shared.clock.unix_ms();
        let numbers = (self.account.first_missing(end), end - 1);
        let loss = Loss::of_kind(LossKind::Other, unresolved, numbers, (now, now));
        self.account.lost(loss);
    }
}
