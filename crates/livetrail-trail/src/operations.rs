//! Records of what operators do with a trail. Each operation has one constructor, so that all its
//! records have the same fields.
//!
//! | operation | record | by |
//! |---|---|---|
//! | a key is changed | [`key_rotated`] | [`rotate`](crate::rotate) |
//! | old entries are removed | [`pruned`] | [`Maintenance::prune`](crate::Maintenance::prune), the policy of retention |
//! | a legal hold is set or lifted | [`held`] | [`Maintenance::record_hold`](crate::Maintenance::record_hold) |
//! | the clock is confirmed | [`clock_confirmed`] | [`Maintenance::confirm_clock`](crate::Maintenance::confirm_clock) |
//! | a trail follows one that is lost | [`trail_continued`] | [`Predecessor`](crate::Predecessor) |

use livetrail_audit::{AuditAction, AuditRecord};
use livetrail_record::Value;
use livetrail_tlog::VerifierKey;

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
