//! Losses: from the banks of the producers to a record that counts them.

use std::time::Duration;

use livetrail_record::LossKind;

use super::records::loss_record;
use super::send::Role;
use super::take::Space;
use super::timers::SHED_REPORT_INTERVAL;
use super::{LAST_REPORTS, Worker};
use crate::pipeline::loss::Loss;
use crate::pipeline::sync::Ordering;

/// How long the report of a loss may wait for held records. After that the held records are lost,
/// too.
const PARKED_AT_MOST: Duration = Duration::from_secs(10);

impl Worker {
    /// Takes the counted losses over from the banks, and reports what can be reported.
    pub(super) fn report_losses(&mut self) {
        self.harvest_losses();
        if !self.account.is_pending() {
            return;
        }
        let now = self.shared.clock.monotonic();
        if !self.timers.may_report_loss(now) {
            return;
        }
        let Some(loss) = self.account.report() else {
            if self.parked.is_held_longer_than(PARKED_AT_MOST, now) {
                self.lose_parked();
            }
            return;
        };
        if self.space != Space::ALL {
            self.timers.pause_loss_reports(now, SHED_REPORT_INTERVAL);
        }
        self.push_loss(loss);
    }

    /// Reports all losses, because they must be on record before the boot ends. The sink may panic
    /// at a report, too.
    pub(super) fn report_last_losses(&mut self) {
        for _ in 0..LAST_REPORTS {
            self.harvest_losses();
            let Some(loss) = self.account.report() else {
                return;
            };
            self.push_loss(loss);
            self.write();
        }
    }

    /// Takes the counted losses over from the banks.
    pub(super) fn harvest_losses(&mut self) {
        if let Some(loss) = self.harvester.take(&self.shared.intake.losses) {
            // The worker accounted for its own losses when it popped them.
            let again = self.lost_again.min(loss.total());
            self.lost_again -= again;
            self.accounted += loss.total() - again;
            self.sessions.ends_lost(
                loss.count(LossKind::PublishEnded),
                loss.count(LossKind::PlayEnded),
            );
            let now = self.shared.clock.unix_ms();
            let last = &self.shared.published.last_loss_ms;
            last.store(now.max(1), Ordering::Relaxed);
            self.account.lost(loss);
        }
    }

    pub(super) fn push_loss(&mut self, loss: Loss) {
        tracing::warn!(
            records = loss.total(),
            first_seq = loss.first_seq,
            last_seq = loss.last_seq,
            "the audit queue was full, the disk nearly so, or the sink panicked: records were dropped"
        );
        let attempts = std::mem::take(&mut self.lost_attempts);
        let record = loss_record(&loss, attempts);
        self.push_next(record, Role::Loss(Box::new(loss), attempts));
    }
}
