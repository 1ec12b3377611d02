//! The records that the worker itself makes.

use livetrail_record::{
    AuditAction, AuditRecord, LossCounts, LossKind, OpenSession, Outcome, Reason, SessionKind,
    Value,
};

use crate::pipeline::loss::Loss;

/// Creates a `records_dropped` record. `refused_attempts` is the number of attempts for which the
/// lost records of refusals stood.
pub(super) fn loss_record(loss: &Loss, refused_attempts: u64) -> AuditRecord {
    let mut counts = LossCounts::new();
    for kind in LossKind::ALL {
        counts.add(kind.label(), loss.count(*kind));
    }
    let mut record = AuditRecord::new(AuditAction::RecordsDropped, "")
        .with_count(loss.total())
        .with_first_seq(loss.first_seq)
        .with_last_seq(loss.last_seq)
        .with_detail(counts.to_detail());
    record.first_ts_ms = Some(loss.first_ts_ms);
    record.last_ts_ms = Some(loss.last_ts_ms);
    if refused_attempts > 0
        && let Ok(attempts) = i64::try_from(refused_attempts)
    {
        // This fails only for a number of 2^53 or more. Then the record has no such field.
        let _ = record
            .extra
            .insert("refused_attempts", Value::Integer(attempts));
    }
    record
}

pub(super) fn crash_closure(session: &OpenSession) -> AuditRecord {
    let action = match session.kind {
        Some(SessionKind::Publish) => AuditAction::PublishEnded,
        _ => AuditAction::PlayEnded,
    };
    let mut record = AuditRecord::new(action, session.app.clone())
        .with_session(session.session)
        .with_outcome(Outcome::Failed)
        .with_reason(Reason::ServerCrash)
        .with_inferred(true);
    record.stream.clone_from(&session.stream);
    record.protocol.clone_from(&session.protocol);
    record.principal.clone_from(&session.principal);
    record.peer.clone_from(&session.peer);
    record
}
