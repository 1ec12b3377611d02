//! The severity of a record, for destinations that sort by it.

use livetrail_record::{AuditRecord, Outcome, Severity};

/// The severity of the record's action. The outcome raises it, and so does an inferred record:
/// nobody saw its event, and a later start added it.
pub(crate) fn of_record(record: &AuditRecord) -> Severity {
    let raised = match record.outcome {
        Some(Outcome::Failed) => Severity::Error,
        Some(Outcome::Denied) => Severity::Warning,
        _ if record.inferred => Severity::Warning,
        _ => Severity::Informational,
    };
    record.action.severity().max(raised)
}

#[cfg(test)]
mod tests {
    use livetrail_record::AuditAction;

    use super::*;

    #[test]
    fn refusals_and_losses_stand_out() {
        let of = |action| of_record(&AuditRecord::new(action, "live"));
        assert_eq!(of(AuditAction::RecordsDropped), Severity::Error);
        for refused in [
            AuditAction::PlayDenied,
            AuditAction::PublishDenied,
            AuditAction::SubscriberEvicted,
        ] {
            assert_eq!(of(refused), Severity::Warning);
        }
        assert_eq!(of(AuditAction::AdminReplicaWentBack), Severity::Warning);
        assert_eq!(of(AuditAction::AdminHeld), Severity::Notice);
        assert_eq!(of(AuditAction::PlayStarted), Severity::Informational);
        assert_eq!(of(AuditAction::Heartbeat), Severity::Informational);
        let mut record = AuditRecord::new(AuditAction::PlayEnded, "live");
        record.inferred = true;
        assert_eq!(of_record(&record), Severity::Warning);
        record.outcome = Some(Outcome::Failed);
        assert_eq!(of_record(&record), Severity::Error);
    }
}
