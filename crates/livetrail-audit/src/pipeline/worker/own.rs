//! Records that the worker makes itself: the first of a boot, heartbeats, and the ends of abandoned
//! sessions. And the numbers of such records.

use std::time::Duration;

use livetrail_record::{AuditAction, AuditRecord};

use super::records::crash_closure;
use super::send::Role;
use super::sleep::LONGEST_SLEEP;
use super::{LAST_REPORTS, Worker};
use crate::pipeline::sync::Ordering;

/// The first pause after the sink panicked at the first records of a boot. It doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(1);

impl Worker {
    /// Writes `server_started`, and the last records of the sessions that a crash left open.
    pub(super) fn begin(&mut self) {
        if !self.config.boot_records {
            return;
        }
        let recovered = std::mem::take(&mut self.config.recovered);
        let mut started = AuditRecord::new(AuditAction::ServerStarted, "");
        started.count = u64::try_from(recovered.len())
            .ok()
            .filter(|count| *count > 0);
        started.detail = self.config.started_detail.take().map(Into::into);
        self.wall.add_state(&mut started, self.config.clock_state);
        // No record may come before these. So if the sink panics at them, the worker writes them
        // again.
        self.first(0, &[started]);
        let closures: Vec<AuditRecord> = recovered.iter().map(crash_closure).collect();
        self.first(1, &closures);
    }

    /// Writes records that come before all others. The first attempt uses the numbers from `seq`
    /// on.
    ///
    /// It repeats the attempt until the sink has accepted all of them. After the pipeline is
    /// closed, the number of attempts is bounded.
    pub(super) fn first(&mut self, seq: u64, records: &[AuditRecord]) {
        let mut left: Vec<(u64, usize)> = (seq..).zip(0..records.len()).collect();
        let mut pause = FIRST_PAUSE;
        for tries in 1.. {
            for (seq, at) in left {
                self.push_own(seq, records[at].clone(), Role::First(at));
            }
            self.write();
            let stops = self.shared.stop.load(Ordering::Acquire) && tries >= LAST_REPORTS;
            let again = std::mem::take(&mut self.not_first);
            if again.is_empty() || stops || self.shared.abort.load(Ordering::Acquire) {
                return;
            }
            let number = |at| (self.next_number(), at);
            left = again.into_iter().map(number).collect();
            std::thread::park_timeout(pause);
            pause = (pause * 2).min(LONGEST_SLEEP);
        }
    }

    pub(super) fn what_is_due(&mut self) {
        let now = self.shared.clock.monotonic();
        for aggregate in self.refusals.due(now) {
            self.push_refusal(aggregate);
        }
        let due = self.timers.due(now);
        if due.heartbeat {
            // After this write, all records that the sink has accepted are accounted for.
            self.write();
            let mut heartbeat = AuditRecord::new(AuditAction::Heartbeat, "");
            heartbeat.last_seq = self.account.settled();
            self.wall.add_state(&mut heartbeat, self.config.clock_state);
            self.wall.add_step(&mut heartbeat, &self.shared.clock);
            self.push_next(heartbeat, Role::Plain);
        }
        if due.sweep && self.config.boot_records {
            for ended in self.sessions.abandoned() {
                self.push_end(ended);
            }
        } else if due.sweep {
            self.sessions.forget();
        }
        if due.sync && self.unsynced {
            self.write();
            let _ = self.sync();
        }
    }

    pub(super) fn push_end(&mut self, ended: AuditRecord) {
        let role = ended.session.map_or(Role::Plain, Role::End);
        self.push_next(ended, role);
    }

    /// The boot's next number, for a record of the worker.
    pub(super) fn next_number(&mut self) -> u64 {
        if let Some(seq) = self.shared.intake.own_number() {
            self.accounted += 1;
            self.seen = self.seen.max(seq + 1);
            return seq;
        }
        self.number_after_seal()
    }

    /// Adds a record of the worker with the boot's next number.
    pub(super) fn push_next(&mut self, record: AuditRecord, role: Role) {
        let seq = self.next_number();
        self.push_own(seq, record, role);
    }

    pub(super) fn push_own(&mut self, seq: u64, mut record: AuditRecord, role: Role) {
        if record.ts_ms == 0 {
            record.ts_ms = self.shared.clock.unix_ms();
            record.mono_ms = Some(self.shared.mono_ms());
        }
        self.push(seq, record, role, true);
    }

    fn push(&mut self, seq: u64, record: AuditRecord, role: Role, own: bool) {
        self.make_room();
        self.batch.append(record);
        self.complete(seq, role, own);
    }

    pub(super) fn number_after_seal(&mut self) -> u64 {
        let end = loop {
            match self.shared.intake.sealed_at() {
                Some(end) => break end,
                // Another thread is closing the pipeline now, and its next instruction sets this
                // number.
                None => std::thread::yield_now(),
            }
        };
        let seq = end + self.after_seal;
        self.after_seal += 1;
        seq
    }
}
