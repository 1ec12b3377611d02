//! The checker's report about a trail: open sessions, boots, and the number of findings.

use uuid::Uuid;

use super::boot::{BootSummary, Orphan};
use crate::personal::Personal;
use crate::reason::Reason;

/// The kind of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum SessionKind {
    /// It sends a stream.
    Publish,
    /// It watches a stream.
    Play,
}

/// A session whose first record is in the trail and whose last record is not. Its serialized form
/// has neither the principal nor the peer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct OpenSession {
    /// The session.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serialize::text"))]
    pub session: Uuid,
    /// Publish or play. `None` if the first record was lost and no later one shows the kind.
    pub kind: Option<SessionKind>,
    /// The application.
    pub app: String,
    /// The stream.
    pub stream: Option<String>,
    /// The boot that opened it, in a trail that has boots.
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "crate::serialize::optional_text")
    )]
    pub boot: Option<Uuid>,
    /// The node that opened it.
    pub node: Option<String>,
    /// When it was opened, in milliseconds since 1970 UTC.
    pub ts_ms: u64,
    /// Its wire protocol.
    pub protocol: Option<String>,
    /// The principal of the first record that exists. Redacted if the checker was restored.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub principal: Option<Personal>,
    /// The peer of the same record.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub peer: Option<Personal>,
    /// The index of the first record that exists.
    pub index: u64,
    #[cfg_attr(feature = "serde", serde(skip))]
    pub(super) seq: Option<u64>,
    #[cfg_attr(feature = "serde", serde(skip))]
    pub(super) due: Option<Reason>,
    /// The session's first record is missing. This is judged when the kind of the session is known.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub(super) missing_start: Option<Orphan>,
}

/// The report about the whole trail.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct TrailReport {
    /// How many records were fed.
    pub records: u64,
    /// How many sessions have their last record.
    pub closed_sessions: u64,
    /// Sessions that are open in boots that run, or in boots that crashed without a boot after
    /// them, by index. They are not a violation: a later boot closes them.
    pub open: Vec<OpenSession>,
    /// Every boot in order of appearance.
    pub boots: Vec<BootSummary>,
    /// The number of all findings, including those that
    /// [`TrailChecker::feed`](super::TrailChecker::feed) returned.
    pub findings_total: u64,
}

impl TrailReport {
    /// Whether every rule holds.
    #[must_use]
    pub const fn is_sound(&self) -> bool {
        self.findings_total == 0
    }
}

#[cfg(all(test, feature = "serde"))]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::machine::{BootEnd, Finding, Rule};

    #[test]
    fn a_report_is_serialized_without_personal_data() {
        let id = Uuid::from_u128(7);
        let report = TrailReport {
            records: 2,
            closed_sessions: 0,
            open: vec![OpenSession {
                session: id,
                kind: Some(SessionKind::Play),
                app: "live".to_owned(),
                stream: Some("cam".to_owned()),
                boot: Some(id),
                node: None,
                ts_ms: 5,
                protocol: Some("rtmp".to_owned()),
                principal: Some(Personal::from("alice")),
                peer: Some(Personal::from("192.0.2.7:1")),
                index: 1,
                seq: None,
                due: None,
                missing_start: None,
            }],
            boots: vec![BootSummary {
                boot: id,
                node: None,
                first_index: 0,
                records: 2,
                dropped: 0,
                unsettled: 0,
                end: BootEnd::Running,
            }],
            findings_total: 1,
        };
        let id = id.to_string();
        assert_eq!(
            serde_json::to_value(report).unwrap(),
            json!({
                "records": 2,
                "closed_sessions": 0,
                "open": [{
                    "session": id,
                    "kind": "play",
                    "app": "live",
                    "stream": "cam",
                    "boot": id,
                    "node": null,
                    "ts_ms": 5,
                    "protocol": "rtmp",
                    "index": 1,
                }],
                "boots": [{
                    "boot": id,
                    "node": null,
                    "first_index": 0,
                    "records": 2,
                    "dropped": 0,
                    "unsettled": 0,
                    "end": "running",
                }],
                "findings_total": 1,
            })
        );
        let finding = Finding {
            index: 1,
            boot: None,
            session: None,
            rule: Rule::NoSession,
        };
        let finding = serde_json::to_value(finding).unwrap();
        assert_eq!(finding["rule"], "the record names no session");
        assert_eq!(finding["boot"], json!(null));
    }
}
