//! The checker's report about a trail: open sessions, boots, and the number of findings.

use uuid::Uuid;

use super::boot::{BootSummary, Orphan};
use crate::personal::Personal;
use crate::reason::Reason;

/// The kind of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SessionKind {
    /// It sends a stream.
    Publish,
    /// It watches a stream.
    Play,
}

/// A session whose first record is in the trail and whose last record is not.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenSession {
    /// The session.
    pub session: Uuid,
    /// Publish or play. `None` if the first record was lost and no later one shows the kind.
    pub kind: Option<SessionKind>,
    /// The application.
    pub app: String,
    /// The stream.
    pub stream: Option<String>,
    /// The boot that opened it, in a trail that has boots.
    pub boot: Option<Uuid>,
    /// The node that opened it.
    pub node: Option<String>,
    /// When it was opened, in milliseconds since 1970 UTC.
    pub ts_ms: u64,
    /// Its wire protocol.
    pub protocol: Option<String>,
    /// The principal of the first record that exists.
    pub principal: Option<Personal>,
    /// The peer of the same record.
    pub peer: Option<Personal>,
    /// The index of the first record that exists.
    pub index: u64,
    pub(super) seq: Option<u64>,
    pub(super) due: Option<Reason>,
    /// The session's first record is missing. This is judged when the kind of the session is known.
    pub(super) missing_start: Option<Orphan>,
}

/// The report about the whole trail.
#[derive(Debug, Clone, PartialEq, Eq)]
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
