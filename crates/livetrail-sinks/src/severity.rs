//! How much a record wants to be looked at, for places that sort by that.

use livetrail_record::{AuditAction, AuditRecord, Outcome};

/// How much a record wants to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Severity {
    /// Records were lost, or something failed.
    Error,
    /// Somebody was refused, cut off or held back, or a copy of the trail misses something.
    Warning,
    /// The server or an operator did something.
    Notice,
    /// A session's usual course, and that the trail is alive.
    Informational,
}

/// Of a record.
pub(crate) fn of_record(record: &AuditRecord) -> Severity {
    use AuditAction as Action;
    match &record.action {
        Action::RecordsDropped => Severity::Error,
        _ if record.outcome == Some(Outcome::Failed) => Severity::Error,
        Action::PublishDenied
        | Action::PlayDenied
        | Action::SubscriberEvicted
        | Action::RateLimited
        | Action::StreamReaped
        | Action::AdminReplicaLeftBehind
        | Action::AdminReplicaGap => Severity::Warning,
        Action::Other(label) if label == "admin_replica_went_back" => Severity::Warning,
        // What nobody saw and a later start inferred.
        _ if record.inferred || record.outcome == Some(Outcome::Denied) => Severity::Warning,
        Action::ServerStarted | Action::ServerStopped => Severity::Notice,
        action if action.is_admin() => Severity::Notice,
        _ => Severity::Informational,
    }
}

#[cfg(test)]
mod tests {
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
        let went_back = AuditAction::Other("admin_replica_went_back".to_owned());
        assert_eq!(of(went_back), Severity::Warning);
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
