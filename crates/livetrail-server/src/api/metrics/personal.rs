//! Metrics of personal data: the vault, and openings and requests that wait.

use livetrail_engine::Clock as _;

use super::{Now, writer::Writer};

impl Now {
    pub(super) fn personal(&self, w: &mut Writer<'_>) -> std::fmt::Result {
        let status = self.0.inner.trail.personal().status();
        w.gauge(
            "personal_vault_failing",
            "1 while the vault takes no openings: no checkpoint covers new entries until it does",
            u64::from(status.failing.is_some()),
        )?;
        w.gauge(
            "personal_openings_waiting",
            "Openings in the write-ahead log that are not in the vault yet",
            status.waiting,
        )?;
        w.gauge(
            "personal_oldest_key_seconds",
            "How long the oldest retired key has waited for openings in the write-ahead log",
            status.waiting_seconds,
        )?;
        w.gauge(
            "personal_erasures_awaiting_approval",
            "Requests to erase that wait for the approval of another token",
            self.0
                .inner
                .approvals
                .count(self.0.inner.engine.clock().monotonic()),
        )?;
        for (name, help, value) in [
            (
                "personal_openings_kept",
                "Openings that were put into the vault",
                status.kept,
            ),
            (
                "personal_refusals_not_kept",
                "Openings of refusals that were not kept, because of the vault's bounds",
                status.refusals_not_kept,
            ),
            (
                "personal_openings_lost",
                "Openings that could not be read, because keys of the vault were lost",
                status.lost,
            ),
        ] {
            w.counter(name, help, value)?;
        }
        // While the vault cannot be read, there is nothing to say about its rows.
        let Some(vault) = self.1 else { return Ok(()) };
        for (name, help, value) in [
            (
                "personal_vault_rows",
                "Openings in the vault that are not erased",
                vault.rows,
            ),
            (
                "personal_erased_sessions",
                "Sessions whose openings are erased",
                vault.erased_sessions,
            ),
            ("personal_holds", "Legal holds on openings", vault.holds),
            (
                "personal_erasures_held",
                "Requests to erase that wait for a hold",
                vault.waiting,
            ),
        ] {
            w.gauge(name, help, value)?;
        }
        Ok(())
    }
}
