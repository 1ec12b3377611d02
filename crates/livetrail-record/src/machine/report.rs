//! What the checker says of a trail: sessions that are open, boots, and how many findings there
//! were.

use uuid::Uuid;

use super::boot::{BootSummary, Orphan};
use crate::personal::Personal;
use crate::reason::Reason;

/// What a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SessionKind {
    /// It sends a stream.
    Publish,
    /// It watches one.
    Play,
}

/// A session with its first record in the trail and not its last.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenSession {
    /// The session.
    pub session: Uuid,
    /// Publish or play; `None` when the first record was lost and none since has told.
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
    /// Who, as its first record that is there says.
    pub principal: Option<Personal>,
    /// From where, likewise.
    pub peer: Option<Personal>,
    /// The index of its first record that is there.
    pub index: u64,
    pub(super) seq: Option<u64>,
    pub(super) due: Option<Reason>,
    /// The session's first record is missing; decided when the kind of the session is known.
    pub(super) missing_start: Option<Orphan>,
}

/// What the whole trail says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TrailReport {
    /// How many records were fed.
    pub records: u64,
    /// How many sessions have their last record.
    pub closed_sessions: u64,
    /// Sessions that were open in boots that run, or that crashed with no boot after them, by
    /// index. This is no violation: a next boot closes them.
    pub open: Vec<OpenSession>,
    /// Every boot in order of appearance.
    pub boots: Vec<BootSummary>,
    /// How many findings there were in all, those that
    /// [`TrailChecker::feed`](super::TrailChecker::feed) returned included.
    pub findings_total: u64,
}

impl TrailReport {
    /// Whether every rule holds.
    #[must_use]
    pub const fn is_sound(&self) -> bool {
        self.findings_total == 0
    }
}
