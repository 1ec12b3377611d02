//! Records of what operators do with a trail. Each operation has one constructor, so that all its
//! records have the same fields.
//!
//! | operation | record | by |
//! |---|---|---|
//! | a key is changed | [`key_rotated`] | [`rotate`](crate::rotate) |
//! | old entries are removed | [`pruned`] | [`Maintenance::prune`](crate::Maintenance::prune), the policy of retention |
//! | a legal hold is set or lifted | [`held`] | [`Maintenance::record_hold`](crate::Maintenance::record_hold) |
//! | openings are erased | [`erased`], [`erasure_waits`], [`erasure_completed`] | [`personal`](crate::personal) |
//! | openings are held | [`openings_held`], [`held`] | [`personal`](crate::personal) |
//! | the clock is confirmed | [`clock_confirmed`] | [`Maintenance::confirm_clock`](crate::Maintenance::confirm_clock) |
//! | a trail follows one that is lost | [`trail_continued`] | [`Predecessor`](crate::Predecessor) |

use base64::{Engine as _, engine::general_purpose::STANDARD};
use livetrail_audit::{AuditAction, AuditRecord};
use livetrail_record::Value;
use livetrail_tlog::VerifierKey;
use livetrail_vault::SessionId;

use crate::personal::Words;

/// A record lists at most this many sessions: further records follow.
pub(crate) const MAX_SESSIONS: usize = 2_500;

/// What an erasure erases, as records say it.
const OPENINGS: &str = "openings";

/// A key of the trail is changed.
///
/// # Errors
/// No record can carry this key.
pub(crate) fn key_rotated(new: &VerifierKey, old: &VerifierKey) -> anyhow::Result<AuditRecord> {
    let text = |key: &VerifierKey| Value::Text(key.to_string());
    let record = AuditRecord::new(AuditAction::AdminKeyRotated, "");
    Ok(record
        .with_extra("vkey", text(new))?
        .with_extra("old_vkey", text(old))?)
}

/// All entries below `below` are removed by this policy. The range begins with the first entry that
/// ever existed, because the records of earlier removals are removed as well.
///
/// # Errors
/// No record can carry this number.
pub(crate) fn pruned(below: u64, policy: &str) -> anyhow::Result<AuditRecord> {
    let last = i64::try_from(below.saturating_sub(1))?;
    Ok(AuditRecord::new(AuditAction::AdminPruned, "")
        .with_extra("first_index", Value::Integer(0))?
        .with_extra("last_index", Value::Integer(last))?
        .with_extra("policy", Value::Text(policy.to_owned()))?)
}

/// A legal hold was set, from this entry on, or it was lifted.
///
/// # Errors
/// No record can carry this name or this number.
pub(crate) fn held(name: &str, from: Option<u64>) -> anyhow::Result<AuditRecord> {
    let record = AuditRecord::new(AuditAction::AdminHeld, "");
    let record = record.with_extra("hold", Value::Text(name.to_owned()))?;
    Ok(match from {
        Some(from) => record.with_extra("from_index", Value::Integer(i64::try_from(from)?))?,
        None => record.with_extra("lifted", Value::Bool(true))?,
    })
}

/// The openings of these sessions, at most [`MAX_SESSIONS`], are erased: for a request, or because
/// they have expired.
///
/// # Errors
/// No record can carry this.
pub(crate) fn erased(words: Option<&Words>, sessions: &[SessionId]) -> anyhow::Result<AuditRecord> {
    let record = match words {
        Some(words) => of_request(AuditAction::AdminErased, words)?,
        None => AuditRecord::new(AuditAction::AdminErased, "")
            .with_extra("basis", Value::Text(crate::personal::RETENTION.to_owned()))?,
    };
    let record = record.with_count(u64::try_from(sessions.len())?);
    Ok(record
        .with_extra("scope", Value::Text(OPENINGS.to_owned()))?
        .with_extra("sessions", listed(sessions))?)
}

/// A hold keeps openings that a request selects.
///
/// # Errors
/// No record can carry this.
pub(crate) fn erasure_waits(words: &Words, hold: &str) -> anyhow::Result<AuditRecord> {
    let record = of_request(AuditAction::AdminErasureWaits, words)?;
    Ok(record.with_extra("hold", Value::Text(hold.to_owned()))?)
}

/// The vault and all sinks have erased what a request selects.
///
/// # Errors
/// No record can carry this.
pub(crate) fn erasure_completed(words: &Words) -> anyhow::Result<AuditRecord> {
    let record = of_request(AuditAction::AdminErasureCompleted, words)?;
    Ok(record.with_extra("scope", Value::Text(OPENINGS.to_owned()))?)
}

fn of_request(action: AuditAction, words: &Words) -> anyhow::Result<AuditRecord> {
    let record = AuditRecord::new(action, "");
    let mut record = record.with_extra("request", Value::Text(words.request.clone()))?;
    if !words.basis.is_empty() {
        record = record.with_extra("basis", Value::Text(words.basis.clone()))?;
    }
    if !words.by.is_empty() {
        record = record.with_by(words.by.clone());
    }
    Ok(record)
}

/// A legal hold keeps the openings of sessions. These, at most [`MAX_SESSIONS`], are among them.
///
/// # Errors
/// No record can carry this.
pub(crate) fn openings_held(
    name: &str,
    scope: &str,
    from: u64,
    sessions: &[SessionId],
) -> anyhow::Result<AuditRecord> {
    let record = held(name, Some(from))?;
    let record = record.with_extra("scope", Value::Text(scope.to_owned()))?;
    Ok(record.with_extra("sessions", listed(sessions))?)
}

/// The times of a hold, in milliseconds since 1970.
///
/// # Errors
/// No record can carry these times.
pub(crate) fn with_times(
    record: AuditRecord,
    from_ms: u64,
    until_ms: u64,
) -> anyhow::Result<AuditRecord> {
    Ok(record
        .with_extra("from_ms", Value::Integer(i64::try_from(from_ms)?))?
        .with_extra("until_ms", Value::Integer(i64::try_from(until_ms)?))?)
}

fn listed(sessions: &[SessionId]) -> Value {
    Value::Text(STANDARD.encode(sessions.as_flattened()))
}

/// The operator confirmed the wall clock, which showed `wall_ms` then.
///
/// # Errors
/// No record can carry this time.
pub(crate) fn clock_confirmed(wall_ms: u64) -> anyhow::Result<AuditRecord> {
    let action = AuditAction::AdminClockConfirmed;
    let time = Value::Integer(i64::try_from(wall_ms)?);
    Ok(AuditRecord::new(action, "").with_extra("clock_ms", time)?)
}

/// This trail follows another one, whose last checkpoint this is.
///
/// # Errors
/// No record can carry one of the texts.
pub(crate) fn trail_continued(origin: String, checkpoint: String) -> anyhow::Result<AuditRecord> {
    let action = AuditAction::AdminTrailContinued;
    Ok(AuditRecord::new(action, "")
        .with_extra("old_origin", Value::Text(origin))?
        .with_extra("old_checkpoint", Value::Text(checkpoint))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_with_the_most_sessions_fits_an_entry() {
        let words = Words {
            request: "x".repeat(64),
            basis: "x".repeat(32),
            by: "x".repeat(128),
        };
        let most = vec![[255; 16]; MAX_SESSIONS];
        for record in [
            erased(Some(&words), &most),
            erased(None, &most),
            openings_held(&"x".repeat(64), "principal", u64::MAX >> 12, &most),
        ] {
            let entry = livetrail_record::encode_canonical(&record.unwrap()).unwrap();
            assert!(entry.len() < 60_000, "{}", entry.len());
        }
    }

    #[test]
    fn every_operation_is_an_action_of_operators() {
        let operations = [
            pruned(1, "older than 1d").unwrap(),
            held("case-1", None).unwrap(),
            clock_confirmed(1).unwrap(),
            trail_continued("example.com/old".to_owned(), "…".to_owned()).unwrap(),
        ];
        for record in operations {
            assert!(record.action.is_admin(), "{}", record.action);
        }
    }
}
