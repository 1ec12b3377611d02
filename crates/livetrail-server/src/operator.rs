//! Records of what operators do. Each deed has one constructor, so that all its records have the
//! same fields.
//!
//! | deed | record | by |
//! |---|---|---|
//! | a session is ended | [`session_kicked`] | the HTTP API |
//! | a wrong API token is shown | [`api_denied`] | the HTTP API |
//! | the configuration is read again | [`config_changed`] | a signal |
//! | a key is changed | [`key_rotated`] | `trail rotate-key` |
//! | old entries are removed | [`pruned`] | `trail prune`, the policy of retention |
//! | a legal hold is set or lifted | [`held`] | `trail hold` |
//! | the clock is confirmed | [`clock_confirmed`] | `trail confirm-clock` |
//! | a trail follows one that is lost | [`trail_continued`] | `trail init --after` |

use std::net::SocketAddr;

use livetrail_audit::{AuditAction, AuditRecord, Outcome, Reason};
use livetrail_engine::SessionContext;
use livetrail_record::Value;
use livetrail_tlog::VerifierKey;

/// The protocol of deeds over the HTTP API.
const HTTP_API: &str = "http-api";
/// The protocol of deeds by a signal.
const SIGNAL: &str = "signal";

/// The user of the HTTP API, as far as the server knows it.
#[derive(Debug, Default)]
pub(crate) struct Caller {
    /// The name of the token.
    pub(crate) token: Option<String>,
    /// The address of the connection.
    pub(crate) peer: Option<SocketAddr>,
    /// The `User-Agent` of the program, without any secret.
    pub(crate) agent: Option<String>,
}

impl Caller {
    fn on(self, record: AuditRecord) -> AuditRecord {
        let mut record = record.with_protocol(HTTP_API);
        if let Some(token) = self.token {
            record = record.with_principal(token.clone()).with_by(token);
        }
        if let Some(peer) = self.peer {
            record = record.with_peer(peer);
        }
        if let Some(agent) = self.agent {
            record = record.with_user_agent(agent);
        }
        record
    }
}

/// A session was ended over the API.
pub(crate) fn session_kicked(session: &SessionContext, caller: Caller) -> AuditRecord {
    let app = session.key.app.as_str().to_owned();
    let record = AuditRecord::new(AuditAction::AdminSessionKicked, app)
        .with_stream(session.key.stream_id.as_str())
        .with_session(session.session.as_uuid())
        .with_outcome(Outcome::Success);
    caller.on(record)
}

/// A wrong API token was used.
pub(crate) fn api_denied(caller: Caller) -> AuditRecord {
    let record = AuditRecord::new(AuditAction::AdminDenied, "")
        .with_outcome(Outcome::Denied)
        .with_reason(Reason::Unauthorized);
    caller.on(record)
}

/// The configuration was read again. The text is what changed, or where the error is.
pub(crate) fn config_changed(changed: Result<String, String>) -> AuditRecord {
    let (outcome, detail) = match changed {
        Ok(changes) => (Outcome::Success, changes),
        Err(place) => (Outcome::Failed, format!("refused: {place}")),
    };
    AuditRecord::new(AuditAction::AdminConfigChanged, "")
        .with_protocol(SIGNAL)
        .with_outcome(outcome)
        .with_detail(detail)
}

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
            api_denied(Caller::default()),
            config_changed(Err("rtmp.listen".to_owned())),
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
