//! Records of what operators do. Each deed has one constructor, so that all its records have the
//! same fields.
//!
//! | deed | record | by |
//! |---|---|---|
//! | a session is ended | [`session_kicked`] | the HTTP API |
//! | a session is renewed | [`session_renewed`] | the HTTP API |
//! | sessions are ended at once | [`sessions_kicked`] | the HTTP API |
//! | a drain starts, or is given up | [`drain_started`], [`drain_cancelled`] | the HTTP API, a signal |
//! | a request to the API is refused | [`api_denied`] | the HTTP API |
//! | a request to erase is approved | [`erasure_approved`] | the HTTP API |
//! | the configuration is read again | [`config_changed`] | a signal |
//! | certificates are exchanged | [`certificates_changed`] | a change of their files, a signal |
//! | keys of viewers' tokens are exchanged | [`keys_changed`] | their file, their age, a signal |
//! | keys or tokens are added or removed | [`credentials_changed`] | a signal |
//! | entries are reviewed | [`reviewed`] | the HTTP API, `trail review` |
//!
//! The records of what operators do with the trail's files are in `livetrail-trail`.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use livetrail_audit::{AuditAction, AuditRecord, Outcome, Reason};
use livetrail_engine::{ClientAddress, PeerSource, SessionContext};
use livetrail_record::Value;
use livetrail_trail::looked;

use crate::output::cut;

/// The protocol of deeds over the HTTP API.
pub(crate) const HTTP_API: &str = "http-api";
/// The protocol of a change of files that the server watches.
const FILES: &str = "files";
/// The protocol of deeds by a signal.
const SIGNAL: &str = "signal";

/// A record lists this many names of keys of each kind.
const MOST_NAMES: usize = 64;

/// A record lists this many sessions.
const MOST_SESSIONS: usize = 2_500;

/// The user of the HTTP API, as far as the server knows it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Caller {
    /// The name of the token.
    pub(crate) token: Option<String>,
    /// Its address, and how it is known.
    pub(crate) client: Option<ClientAddress>,
    /// The `User-Agent` of the program, without any secret.
    pub(crate) agent: Option<String>,
}

impl Caller {
    fn on(self, record: AuditRecord) -> AuditRecord {
        let mut record = record.with_protocol(HTTP_API);
        if let Some(token) = self.token {
            record = record.with_principal(token.clone()).with_by(token);
        }
        if let Some(client) = self.client {
            record = at(record, client);
        }
        if let Some(agent) = self.agent {
            record = record.with_user_agent(agent);
        }
        record
    }
}

/// Adds an address to a record, and how it is known.
pub(crate) fn at(record: AuditRecord, client: ClientAddress) -> AuditRecord {
    let mut record = match client.peer.port() {
        // Only the IP address is known.
        0 => record.with_peer(client.peer.ip().to_string()),
        _ => record.with_peer(client.peer),
    };
    let source = Some(client.source.label()).filter(|_| client.source != PeerSource::Socket);
    for (field, text) in [
        ("via", client.via.map(|via| via.to_string())),
        ("peer_source", source.map(str::to_owned)),
    ] {
        if let Some(text) = text {
            // This fails only for a field of the table.
            let _ = record.extra.insert(field, Value::Text(text));
        }
    }
    record
}

/// How a deed came to the server.
#[derive(Debug)]
pub(crate) enum Deed {
    /// A request to the API.
    Api(Caller),
    /// A signal.
    Signal,
    /// A change of files that the server watches.
    Files,
}

impl Deed {
    fn on(self, record: AuditRecord) -> AuditRecord {
        match self {
            Self::Api(caller) => caller.on(record),
            Self::Signal => record.with_protocol(SIGNAL),
            Self::Files => record.with_protocol(FILES),
        }
    }
}

/// The server takes no new sessions. It has this many, which may continue until this time.
pub(crate) fn drain_started(sessions: u64, until_ms: u64, deed: Deed) -> AuditRecord {
    let mut record = AuditRecord::new(AuditAction::AdminDrainStarted, "")
        .with_outcome(Outcome::Success)
        .with_count(sessions);
    let until_ms = Value::Integer(i64::try_from(until_ms).unwrap_or(i64::MAX));
    // This fails only for a time that no clock shows.
    let _ = record.extra.insert("until_ms", until_ms);
    deed.on(record)
}

/// The server takes new sessions again.
pub(crate) fn drain_cancelled(deed: Deed) -> AuditRecord {
    let record =
        AuditRecord::new(AuditAction::AdminDrainCancelled, "").with_outcome(Outcome::Success);
    deed.on(record)
}

/// Sessions were ended over the API, because they were meant by these words. A record has at most
/// [`MOST_SESSIONS`] of them, so there may be several records.
pub(crate) fn sessions_kicked(
    sessions: &[Arc<SessionContext>],
    meant: &str,
    caller: &Caller,
) -> Vec<AuditRecord> {
    let record = |part: &[Arc<SessionContext>]| {
        let count = u64::try_from(part.len()).unwrap_or(u64::MAX);
        let app = part.first().map(|first| &first.key.app);
        let one = app.filter(|app| part.iter().all(|session| session.key.app == **app));
        let app = one.map_or_else(String::new, ToString::to_string);
        let mut record = AuditRecord::new(AuditAction::AdminSessionsKicked, app)
            .with_outcome(Outcome::Success)
            .with_count(count)
            .with_detail(meant.to_owned());
        let ids = part.iter().flat_map(|it| it.session.as_uuid().into_bytes());
        let ids = STANDARD.encode(ids.collect::<Vec<_>>());
        // This fails only for a field of the table.
        let _ = record.extra.insert("sessions", Value::Text(ids));
        caller.clone().on(record)
    };
    sessions.chunks(MOST_SESSIONS).map(record).collect()
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

/// The grant of a session was renewed over the API, until this time.
pub(crate) fn session_renewed(
    session: &SessionContext,
    until_ms: u64,
    caller: Caller,
) -> AuditRecord {
    let app = session.key.app.as_str().to_owned();
    let mut record = AuditRecord::new(AuditAction::AdminSessionRenewed, app)
        .with_stream(session.key.stream_id.as_str())
        .with_session(session.session.as_uuid())
        .with_outcome(Outcome::Success);
    let until_ms = Value::Integer(i64::try_from(until_ms).unwrap_or(i64::MAX));
    // This fails only for a time that no clock shows.
    let _ = record.extra.insert("until_ms", until_ms);
    caller.on(record)
}

/// A request to the API was refused.
pub(crate) fn api_denied(caller: Caller, reason: Reason) -> AuditRecord {
    let record = AuditRecord::new(AuditAction::AdminDenied, "")
        .with_outcome(Outcome::Denied)
        .with_reason(reason);
    caller.on(record)
}

/// A token agrees with a request to erase. The request has this number and this legal basis.
pub(crate) fn erasure_approved(request: &str, basis: &str, caller: Caller) -> AuditRecord {
    let mut record =
        AuditRecord::new(AuditAction::AdminErasureApproved, "").with_outcome(Outcome::Success);
    for (field, text) in [("request", request), ("basis", basis)] {
        // This fails only for a field of the table.
        let _ = record.extra.insert(field, Value::Text(text.to_owned()));
    }
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

/// Certificates have changed. The text is how many were exchanged, and how many are not valid.
pub(crate) fn certificates_changed(is_valid: bool, changed: String, deed: Deed) -> AuditRecord {
    files_changed(is_valid, changed, deed)
}

/// The keys that seal the tokens of viewers have changed. The text has their ids, which are not
/// secret, or is that the file was refused.
pub(crate) fn keys_changed(is_valid: bool, changed: String, deed: Deed) -> AuditRecord {
    files_changed(is_valid, changed, deed)
}

fn files_changed(is_valid: bool, changed: String, deed: Deed) -> AuditRecord {
    let outcome = match is_valid {
        true => Outcome::Success,
        false => Outcome::Failed,
    };
    let record = AuditRecord::new(AuditAction::AdminConfigChanged, "")
        .with_outcome(outcome)
        .with_detail(changed);
    deed.on(record)
}

/// Keys or tokens were added or removed at a reload: for each kind its field, and the names. `None`
/// if there are none.
pub(crate) fn credentials_changed(
    changed: impl IntoIterator<Item = (&'static str, Vec<String>)>,
) -> Option<AuditRecord> {
    let mut record = AuditRecord::new(AuditAction::AdminCredentialsChanged, "")
        .with_protocol(SIGNAL)
        .with_outcome(Outcome::Success);
    let mut count: u64 = 0;
    for (field, names) in changed {
        count = count.saturating_add(u64::try_from(names.len()).unwrap_or(u64::MAX));
        let names = names.into_iter().take(MOST_NAMES);
        let names: Vec<_> = names.map(|name| Value::Text(cut(&name, 64))).collect();
        if !names.is_empty() {
            // This fails only for a field of the table.
            let _ = record.extra.insert(field, Value::List(names));
        }
    }
    (count > 0).then(|| record.with_count(count))
}

/// Who reviewed a part of the trail.
pub(crate) enum Reviewer {
    /// A caller of the API.
    Api(Caller),
    /// A user of the server's machine.
    Local(String),
}

/// A person states that they reviewed these entries, both included.
pub(crate) fn reviewed(by: Reviewer, entries: (u64, u64), note: String) -> AuditRecord {
    let record = looked::reviewed(entries, note);
    match by {
        Reviewer::Api(caller) => caller.on(record),
        Reviewer::Local(user) => record.with_protocol(looked::LOCAL).with_by(user),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_an_action_of_operators() {
        let operations = [
            erasure_approved("1", "art17", Caller::default()),
            api_denied(Caller::default(), Reason::Unauthorized),
            config_changed(Err("rtmp.listen".to_owned())),
            drain_started(1, 2, Deed::Signal),
            drain_cancelled(Deed::Signal),
            certificates_changed(true, String::new(), Deed::Files),
            keys_changed(true, String::new(), Deed::Files),
        ];
        for record in operations {
            assert!(record.action.is_admin(), "{}", record.action);
        }
    }
}
