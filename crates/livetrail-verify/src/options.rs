//! The settings of a check.

use crate::personal::Openings;
use crate::sources::limits::Limits;
use crate::trail::Rules;
use crate::trust::policy::Policy;

/// A boot is silent when this many heartbeats in a row are missing.
pub(crate) const SILENT_HEARTBEATS: u64 = 3;

/// The settings of a check.
#[derive(Clone, Debug)]
pub struct Options {
    /// The trusted keys. Without a signing key, the keys in the trail itself are used, and the
    /// report states this.
    pub policy: Policy,
    /// The log's origin; by default the name of the first signing key.
    pub origin: Option<String>,
    /// Older checkpoints that the trail must contain: for each its name and the signed note.
    pub against: Vec<(String, Vec<u8>)>,
    /// Threads that read and hash; 0 for one per processor.
    pub threads: usize,
    /// Some remarks, such as silence, make the trail not sound; and a key must be given.
    pub strict: bool,
    /// Whether boots begin with `server_started`. The trail of an embedder without boot records has
    /// none.
    pub boot_records: bool,
    /// The interval of the trail's heartbeats, in seconds.
    pub heartbeat_s: u64,
    /// Whether a sink's lines may begin later than the log. Then only the rest is proven, and the
    /// report says from which entry on.
    pub without_head: bool,
    /// The current time, in milliseconds since 1970 (UTC). With it, the trail's age is reported,
    /// and silence at its end counts as silence. For a kept copy, give the time when it was made.
    pub now_ms: Option<u64>,
    /// Openings that somebody shows, and questions about personal fields. Answers are in
    /// [`PersonalReport`](crate::PersonalReport).
    pub openings: Openings,
    /// The limits for a place beyond this machine: a site, a bucket, a database. The time limit
    /// also applies to a sink's lines.
    pub limits: Limits,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            policy: Policy::default(),
            origin: None,
            against: Vec::new(),
            threads: 0,
            strict: false,
            boot_records: true,
            heartbeat_s: 60,
            without_head: false,
            now_ms: None,
            openings: Openings::default(),
            limits: Limits::default(),
        }
    }
}

impl Options {
    pub(crate) fn rules(&self) -> Rules {
        Rules {
            boot_records: self.boot_records,
            strict: self.strict,
            silent_ms: self
                .heartbeat_s
                .saturating_mul(1000)
                .saturating_mul(SILENT_HEARTBEATS),
            one_writer: true,
            now_ms: self.now_ms,
        }
    }

    pub(crate) fn threads(&self) -> usize {
        if self.threads > 0 {
            return self.threads;
        }
        std::thread::available_parallelism().map_or(1, Into::into)
    }
}
