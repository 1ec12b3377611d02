//! The verifier's report.

pub(crate) mod parts;
pub(crate) mod show;
mod text;

use serde::Serialize;

use crate::finding::Finding;
use crate::personal::PersonalReport;

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Everything holds.
    Sound,
    /// Something is wrong.
    NotSound,
    /// Nothing wrong was found, but not everything could be checked.
    CouldNotCheck,
}

impl Verdict {
    /// The exit code of the command: 0, 1, 2.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Sound => 0,
            Self::NotSound => 1,
            Self::CouldNotCheck => 2,
        }
    }
}

/// The kind of a trail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TrailKind {
    /// A Merkle log with signed checkpoints.
    Ledger,
    /// A file of lines: no cryptographic evidence.
    File,
    /// A sink's lines of JSON, compared with a signed checkpoint.
    Lines,
}

/// The whole report. Its JSON form is made by serde; fields are only ever added.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The report's format, 1.
    pub format: u32,
    /// The answer.
    pub verdict: Verdict,
    /// The place that was checked.
    pub place: String,
    /// The kind of trail found there.
    pub kind: TrailKind,
    /// The latest checkpoint, if it could be read.
    pub checkpoint: Option<CheckpointReport>,
    /// The newest checkpoint that the required witnesses have cosigned; later entries are not
    /// cosigned yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cosigned: Option<CosignedReport>,
    /// The trusted keys.
    pub keys: KeysReport,
    /// The counts.
    pub figures: Figures,
    /// Older checkpoints.
    pub older: OlderReport,
    /// Sessions and boots.
    pub sessions: Sessions,
    /// Personal fields on record, and the answers about them.
    pub personal: PersonalReport,
    /// Prunings on record.
    pub pruned: Vec<PrunedReport>,
    /// Rotations on record.
    pub rotations: Vec<RotationReport>,
    /// The index of the first entry with a failure.
    pub first_index: Option<u64>,
    /// The number of findings that make the trail not sound.
    pub failures: u64,
    /// The number of remarks.
    pub remarks: u64,
    /// The findings, failures first; at most [`MAX_FINDINGS`](crate::MAX_FINDINGS).
    pub findings: Vec<Finding>,
    /// Everything that could not be checked, and why.
    pub problems: Vec<String>,
    /// Facts without influence on the verdict.
    pub notes: Vec<String>,
}

/// The latest checkpoint.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct CheckpointReport {
    /// The origin, which identifies the log.
    pub origin: String,
    /// Entries.
    pub size: u64,
    /// Root, base64.
    pub root: String,
    /// Whether the signature was verified.
    pub verified: bool,
    /// The signers, `name+id`.
    pub signed_by: Vec<String>,
    /// The log's own cosignatures.
    pub log_cosigned: Vec<CosignatureReport>,
    /// Witnesses' cosignatures.
    pub witnessed: Vec<CosignatureReport>,
}

/// One cosignature.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct CosignatureReport {
    /// `name+id`.
    pub by: String,
    /// The time, in seconds since 1970.
    pub time_s: u64,
}

/// The newest checkpoint with the cosignatures that the policy requires.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct CosignedReport {
    /// Entries.
    pub size: u64,
    /// Its cosigners, and the times.
    pub by: Vec<CosignatureReport>,
}

/// The keys.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct KeysReport {
    /// The keys were found in the trail itself. That shows that the trail is consistent, but not
    /// whose it is.
    pub from_trail: bool,
    /// The current signing keys.
    pub log: Vec<String>,
    /// The log's second keys.
    pub log_cosigners: Vec<String>,
    /// The log's retired keys, each with size and root of the tree up to which it counts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub retired: Vec<String>,
    /// Witnesses.
    pub witnesses: Vec<String>,
}

/// The counts.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct Figures {
    /// Entries whose hashes are in the computed tree.
    pub entries: u64,
    /// The index of the first entry: above 0 if a sink's first files are missing, and that was
    /// allowed.
    pub from: u64,
    /// Records that were read and checked.
    pub records: u64,
    /// Bytes of bundles and level-0 tiles.
    pub bytes: u64,
    /// Hash tiles that were compared byte by byte.
    pub tiles: u64,
    /// Further files, of earlier widths, that were compared.
    pub old_files: u64,
    /// Files, or entries in lines, that no checkpoint covers yet.
    pub beyond: u64,
    /// Files under `tile/` that do not belong to the log.
    pub strays: u64,
    /// Entries that were removed.
    pub removed: u64,
    /// Lines of a sink that repeat earlier ones, with the same bytes.
    pub repeated: u64,
}

/// Older checkpoints.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct OlderReport {
    /// Given by the user.
    pub given: u64,
    /// Found in the trail.
    pub archived: u64,
    /// Found in the trail, each the last of a retired key.
    pub handed_over: u64,
    /// Found in the trail, published because witnesses have cosigned them. Read when the policy
    /// requires witnesses.
    pub cosigned: u64,
    /// Found elsewhere in the place: versions of a bucket's newest checkpoint, or a table's
    /// checkpoint that its rows do not reach.
    pub elsewhere: u64,
    /// Contained in the tree and signed by a trusted key.
    pub consistent: u64,
}

/// Sessions and boots.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct Sessions {
    /// Sessions with their last record.
    pub closed: u64,
    /// Sessions that are open at the end of the trail.
    pub open_total: u64,
    /// The first of them, at most 100.
    pub open: Vec<OpenSessionReport>,
    /// Sessions whose remaining records were pruned.
    pub open_at_gaps: u64,
    /// Heartbeats.
    pub heartbeats: u64,
    /// How often the wall clock was set by more than two seconds.
    pub clock_steps: u64,
    /// The time of the newest record, in milliseconds since 1970 (UTC).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newest_ms: Option<u64>,
    /// The age of that record in milliseconds, if the check knows the current time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_ms: Option<u64>,
    /// The newest record says that the server stopped.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub stopped: bool,
    /// The number of boots.
    pub boots_total: u64,
    /// The last of them, at most 100.
    pub boots: Vec<BootReport>,
    /// The number of boots that ended with a crash.
    pub crashes: u64,
    /// Records that the trail reports as lost.
    pub dropped: u64,
    /// Records that were lost in crashes, as far as the numbers show.
    pub unsettled: u64,
}

impl Sessions {
    pub(crate) fn sum_up(&mut self) {
        self.boots_total = u64::try_from(self.boots.len()).unwrap_or(u64::MAX);
        for boot in &self.boots {
            self.crashes = self
                .crashes
                .saturating_add(u64::from(boot.end == "crashed"));
            self.dropped = self.dropped.saturating_add(boot.dropped);
            self.unsettled = self.unsettled.saturating_add(boot.unsettled);
        }
        let more = self.boots.len().saturating_sub(BootReport::MOST);
        self.boots.drain(..more);
    }
}

/// A session without its last record.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct OpenSessionReport {
    /// The session.
    pub session: String,
    /// `publish` or `play`, if known.
    pub kind: Option<String>,
    /// The application.
    pub app: String,
    /// The stream.
    pub stream: Option<String>,
    /// The time of its opening, in milliseconds since 1970.
    pub ts_ms: u64,
    /// The index of its first record.
    pub index: u64,
}

impl OpenSessionReport {
    pub(crate) const MOST: usize = 100;
}

/// A boot.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct BootReport {
    /// The boot.
    pub boot: String,
    /// Its node.
    pub node: Option<String>,
    /// The index of its first record.
    pub first_index: u64,
    /// Records that exist.
    pub records: u64,
    /// Records that it reports as lost.
    pub dropped: u64,
    /// Numbers that are missing at a crash or at the end.
    pub unsettled: u64,
    /// `stopped`, `crashed` or `running`.
    pub end: &'static str,
}

impl BootReport {
    pub(crate) const MOST: usize = 100;
}

/// A pruning on record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PrunedReport {
    /// The first entry.
    pub first: u64,
    /// The last entry.
    pub last: u64,
    /// The index of the record of it.
    pub record: u64,
    /// The policy that the record names.
    pub policy: Option<String>,
}

/// A rotation on record.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct RotationReport {
    /// The index of the record.
    pub index: u64,
    /// The new key.
    pub key: String,
    /// The key that it replaces.
    pub old_key: Option<String>,
    /// The time of the record, in milliseconds since 1970 (UTC).
    pub ts_ms: u64,
    /// A trusted checkpoint covers the record, so the new key is trusted.
    pub accepted: bool,
    /// That checkpoint: its file in the trail, or the name under which it was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accepted_by: Option<String>,
    /// The size of the tree under which the old key was retired, as far as the trail or the given
    /// keys state it: above it the old key does not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old_key_until: Option<u64>,
}
