//! Setters of a record that the table of fields does not make.

use crate::error::RecordError;
use crate::extra::Value;
use crate::fields::AuditRecord;

impl AuditRecord {
    /// Sets [`ts_ms`](Self::ts_ms): milliseconds since 1970 UTC.
    #[must_use]
    pub const fn with_ts_ms(mut self, ts_ms: u64) -> Self {
        self.ts_ms = ts_ms;
        self
    }

    /// Sets [`inferred`](Self::inferred).
    #[must_use]
    pub const fn with_inferred(mut self, inferred: bool) -> Self {
        self.inferred = inferred;
        self
    }

    /// Sets [`clock_synced`](Self::clock_synced).
    #[must_use]
    pub const fn with_clock_synced(mut self, synced: bool) -> Self {
        self.clock_synced = synced;
        self
    }

    /// Sets a field of [`extra`](Self::extra).
    ///
    /// # Errors
    /// The same as for [`Extra::insert`](crate::Extra::insert).
    pub fn with_extra(mut self, name: &str, value: Value) -> Result<Self, RecordError> {
        self.extra.insert(name, value)?;
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AuditAction, Personal};

    #[test]
    fn redaction_takes_out_all_personal_data_and_nothing_else() {
        let record = AuditRecord::new(AuditAction::PlayStarted, "live")
            .with_stream("cam")
            .with_principal("alice")
            .with_peer("192.0.2.7:5000")
            .with_user_agent("player/1")
            .with_detail("from the lobby");
        let shown = format!("{record:?}");
        assert!(
            !shown.contains("alice") && !shown.contains("192.0.2.7") && !shown.contains("lobby")
        );
        let redacted = record.redacted();
        assert!(
            redacted
                .principal
                .as_ref()
                .is_some_and(Personal::is_redacted)
        );
        assert!(redacted.detail.as_ref().is_some_and(Personal::is_redacted));
        assert_eq!(redacted.stream.as_deref(), Some("cam"));
        let loss = AuditRecord::new(AuditAction::RecordsDropped, "").with_detail("play_started:2");
        assert_eq!(loss.redacted().detail.unwrap().expose(), "play_started:2");
    }
}
