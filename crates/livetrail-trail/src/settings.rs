//! Where a trail is, and how it is kept.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use livetrail_ledger::{Options, Witness, WitnessOptions};

use super::Followers;

/// Where a trail is, and how it is kept. [`Settings::new`] has a default for everything but the
/// directory.
///
/// ```
/// use std::time::Duration;
/// use livetrail_trail::{Retention, Settings};
///
/// let retention = Retention::default().age(Duration::from_secs(30 * 86_400)).bytes(10 << 30);
/// let mut settings = Settings::new("/var/lib/studio")
///     .origin("example.com/studio-1")
///     .node("studio-1")
///     .retention(retention);
/// settings.verify_every = Some(Duration::from_secs(86_400));
/// settings.ledger.checkpoint_interval = Duration::from_secs(5);
/// assert_eq!(settings.retention.bytes, Some(10 << 30));
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Settings {
    /// The data directory. The trail is in `trail` below it.
    pub data: PathBuf,
    /// The log's name, such as `example.com/studio-1`. Without one, [`create`](super::create())
    /// makes a name, and [`Trail::open`](super::Trail::open) takes that of the trail.
    pub origin: Option<String>,
    /// The file with the key that signs checkpoints. Without one it is in the trail's private part.
    pub signer_key_file: Option<PathBuf>,
    /// The file with the key that cosigns checkpoints with the time. Without one, it is there as
    /// well.
    pub cosigner_key_file: Option<PathBuf>,
    /// How the log is written.
    pub ledger: Options,
    /// Limits on the age and the size of the trail. Beyond them entries are removed.
    pub retention: Retention,
    /// The directory of the vault of personal data, which may be on another volume. Without one it
    /// is `personal` in the data directory. It is never in `trail`.
    pub personal: Option<PathBuf>,
    /// The file with the vault's key. Without one it is in the vault's directory.
    pub vault_key_file: Option<PathBuf>,
    /// How long openings are kept, by application. At most as long as their entries.
    pub openings: livetrail_vault::Retention,
    /// The applications whose stream names are personal. Their entries have a token in place of the
    /// name.
    pub personal_names: BTreeSet<String>,
    /// How often the server verifies the trail itself. `None` is never.
    pub verify_every: Option<Duration>,
    /// The witnesses that cosign the checkpoints.
    pub witnesses: Vec<Witness>,
    /// How often witnesses are asked, and when an answer is overdue.
    pub witness: WitnessOptions,
    /// The sinks that follow the trail.
    pub followers: Followers,
    /// The name of this process in the records: 1 to 255 bytes without control characters and `/`.
    pub node: String,
}

impl Settings {
    /// Settings for a trail in this data directory.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self {
            data: data.into(),
            origin: None,
            signer_key_file: None,
            cosigner_key_file: None,
            ledger: Options::default(),
            retention: Retention::default(),
            personal: None,
            vault_key_file: None,
            openings: livetrail_vault::Retention::default(),
            personal_names: BTreeSet::new(),
            verify_every: None,
            witnesses: Vec::new(),
            witness: WitnessOptions::default(),
            followers: Followers::none(),
            node: "livetrail".to_owned(),
        }
    }

    /// Sets the name of the log.
    #[must_use]
    pub fn origin(mut self, origin: impl Into<String>) -> Self {
        self.origin = Some(origin.into());
        self
    }

    /// Sets the name of the process.
    #[must_use]
    pub fn node(mut self, node: impl Into<String>) -> Self {
        self.node = node.into();
        self
    }

    /// Sets the followers.
    #[must_use]
    pub fn followers(mut self, followers: Followers) -> Self {
        self.followers = followers;
        self
    }

    /// Sets the policy of retention.
    #[must_use]
    pub fn retention(mut self, retention: Retention) -> Self {
        self.retention = retention;
        self
    }
}

/// Limits beyond which a trail removes entries. The default keeps everything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retention {
    /// Entries that are older are removed.
    pub age: Option<Duration>,
    /// If the bundles of entries take more bytes than this, the oldest are removed.
    pub bytes: Option<u64>,
}

impl Retention {
    /// Removes entries that are older.
    #[must_use]
    pub const fn age(mut self, age: Duration) -> Self {
        self.age = Some(age);
        self
    }

    /// Removes the oldest entries if the bundles of entries take more bytes than this.
    #[must_use]
    pub const fn bytes(mut self, bytes: u64) -> Self {
        self.bytes = Some(bytes);
        self
    }
}
