//! The errors: refusals to open a trail (nothing was changed), reasons why a running log stopped,
//! and operations that are merely not possible now.

use std::{io, sync::Arc};

use livetrail_tlog::Hash;

use crate::upkeep::space::Pressure;

/// Why a trail was not created, opened or read. Each error is a refusal: the cause is left
/// unchanged, for a person to examine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// The store failed.
    #[error("cannot {op} {path}")]
    Io {
        /// The operation.
        op: &'static str,
        /// The file or directory.
        path: String,
        /// The system's error.
        source: io::Error,
    },
    /// There is no trail in this directory.
    #[error(
        "there is no trail in {place} (no private/log.json): correct the path, or create a trail there explicitly"
    )]
    NoTrail {
        /// The directory.
        place: String,
    },
    /// The directory is not empty.
    #[error(
        "{place} has a trail already, or part of one ({found}): open it, or choose another directory"
    )]
    Exists {
        /// The directory.
        place: String,
        /// What was found.
        found: String,
    },
    /// Another process writes this trail.
    #[error("another process has the trail in {place} open: stop it first; a trail has one writer")]
    Locked {
        /// The directory.
        place: String,
    },
    /// The directory cannot be written.
    #[error(
        "the trail in {place} cannot be written: make the directory writable for this user, or remount it read-write"
    )]
    ReadOnly {
        /// The directory.
        place: String,
        /// The system's error.
        source: io::Error,
    },
    /// `private/log.json` has an unknown format.
    #[error("cannot read private/log.json ({what}): restore it from a back-up of this trail")]
    Manifest {
        /// The mistake in it.
        what: String,
    },
    /// The trail was written by another version of the format.
    #[error(
        "the trail has format {found} and this program writes format {wanted}: use the program's matching version"
    )]
    Format {
        /// The format in `private/log.json`.
        found: u64,
        /// The format of this program.
        wanted: u64,
    },
    /// The trail has another origin than the one configured.
    #[error(
        "the trail is of origin {found:?} and the configuration says {wanted:?}: correct the path or the origin"
    )]
    Origin {
        /// The configured origin.
        wanted: String,
        /// The trail's origin.
        found: String,
    },
    /// The trail was signed with another key than the one configured.
    #[error(
        "the trail is of the {role} key {found} and the key given is {wanted}: give the key that the trail was made with"
    )]
    Key {
        /// Signer or cosigner.
        role: &'static str,
        /// The verifier key of the given key.
        wanted: String,
        /// The trail's verifier key.
        found: String,
    },
    /// A key that the log has used and retired before.
    #[error(
        "the log has given up the key {key} before: make a new one; a key that was given up may be known to others"
    )]
    KeyRetired {
        /// The verifier key.
        key: String,
    },
    /// A hand-over is not signed by both the retired key and its successor.
    #[error("{path} is not a hand-over of that key: restore it from a copy of the trail")]
    HandOver {
        /// The file.
        path: String,
        /// The broken rule.
        source: livetrail_tlog::Error,
    },
    /// A change of keys was begun and not completed: the old key may no longer sign.
    #[error(
        "the key {key} was given up, and the change to the next one is not complete: put the file with the next key (`.next`) back, then start the server or run `livetrail trail rotate-key` again"
    )]
    KeyGivenUp {
        /// The verifier key.
        key: String,
    },
    /// The log is empty, so no entry records the change of keys.
    #[error("the log has no entry: first seal one that records the change of keys")]
    RotationUnrecorded,
    /// A key file may be read by others.
    #[error(
        "the key file {path} has mode {mode:04o}: a secret key is for its owner alone, run `chmod 600 {path}`"
    )]
    KeyMode {
        /// The file.
        path: String,
        /// Its permission bits.
        mode: u32,
    },
    /// A file is not a key file.
    #[error("{path} is not a key file: it must have one line of 64 hexadecimal digits")]
    KeyFile {
        /// The file.
        path: String,
    },
    /// A key file does not exist.
    #[error(
        "there is no key file {path}: restore it from a back-up; only its own key continues a trail"
    )]
    KeyMissing {
        /// The file.
        path: String,
    },
    /// An option is out of its bounds.
    #[error("{what}")]
    Options {
        /// The option, and its bound.
        what: String,
    },
    /// The log has companions of entries that are not sealed, and no store for them was given.
    #[error(
        "entry {index} of the write-ahead log has a companion that its store does not have yet: open the trail with its store of companions, as the program did that wrote it"
    )]
    CompanionsUnkept {
        /// The last entry that has one.
        index: u64,
    },
    /// Entries are to have companions, and no store was given that keeps them.
    #[error("entries with companions need a store that keeps the companions")]
    NoCompanionStore,
    /// The published checkpoint does not exist.
    #[error("the trail has no file `checkpoint`: restore it from a back-up, replica or witness")]
    CheckpointMissing,
    /// The published checkpoint is not signed by this trail's key, or is not a checkpoint.
    #[error(
        "the published checkpoint is not this trail's: restore it from a back-up, replica or witness"
    )]
    CheckpointInvalid {
        /// The violation.
        source: livetrail_tlog::Error,
    },
    /// A checkpoint from elsewhere is not signed with keys of this trail, or is not a checkpoint.
    #[error("the checkpoint is not signed with a key of this trail")]
    CheckpointForeign {
        /// The violation.
        source: livetrail_tlog::Error,
    },
    /// A checkpoint from elsewhere is larger than the hand-over under which its keys were retired.
    #[error(
        "the checkpoint of {size} entries is signed with a key that was given up at {bound} entries: it proves nothing beyond those"
    )]
    CheckpointRetired {
        /// The checkpoint's size.
        size: u64,
        /// The size of the hand-over.
        bound: u64,
    },
    /// An earlier start held signing back until these parties had reported what they have seen.
    /// They have not.
    #[error(
        "signing waits since an earlier start for {}: make it answer, or configure it as not required; until then the trail stays closed, because its later records must not be signed",
        names.join(", ")
    )]
    SigningHeld {
        /// The parties that have not answered.
        names: Vec<String>,
    },
    /// `private/held` has an unknown format.
    #[error(
        "cannot read private/held: its first line must be \"livetrail-held/v1\", followed by one name per line"
    )]
    HeldFile,
    /// `private/intent` does not exist or has an unknown format.
    #[error(
        "private/intent {what}: without it nobody knows what was signed last; restore the whole trail from one copy"
    )]
    Intent {
        /// The problem.
        what: &'static str,
    },
    /// More was published than was ever intended.
    #[error(
        "the checkpoint covers {checkpoint} entries and private/intent only {intent}: the directory is put together from copies of different times; restore one whole copy"
    )]
    IntentBehind {
        /// Size in the intent.
        intent: u64,
        /// Size of the checkpoint.
        checkpoint: u64,
    },
    /// Another root was intended for the same size: signing would be a fork.
    #[error(
        "for size {size} private/intent has root {intent} and the trail's files give {found}: do not sign; restore one whole copy"
    )]
    IntentRoot {
        /// The size.
        size: u64,
        /// In the intent.
        intent: Hash,
        /// In the checkpoint or the files.
        found: Hash,
    },
    /// The write-ahead log has no segment although the trail has entries.
    #[error(
        "private/wal has no segment although {sealed} entries are sealed: restore the whole trail from one copy"
    )]
    WalMissing {
        /// Size of the checkpoint.
        sealed: u64,
    },
    /// The write-ahead log ends before the intended tree.
    #[error(
        "private/wal ends at entry {end} although {intent} entries were durable: the log was cut; restore one whole copy"
    )]
    WalShort {
        /// The index after its last record.
        end: u64,
        /// Size in the intent.
        intent: u64,
    },
    /// A segment is missing.
    #[error(
        "private/wal continues at entry {found} instead of entry {wanted}: a segment is missing; restore one whole copy"
    )]
    WalGap {
        /// The next index expected.
        wanted: u64,
        /// The first index of the next segment.
        found: u64,
    },
    /// A segment is damaged, not torn.
    #[error(
        "{path} is damaged at byte {offset}: {what}. This is not a torn tail: restore the file from a back-up"
    )]
    WalCorrupt {
        /// The segment.
        path: String,
        /// The position.
        offset: u64,
        /// The damage.
        what: String,
    },
    /// The write-ahead log records a larger published tree than the checkpoint.
    #[error(
        "private/wal records a checkpoint of {known} entries and the published one has {checkpoint}: an older checkpoint was put back; restore one whole copy"
    )]
    RolledBack {
        /// The size in the write-ahead log.
        known: u64,
        /// Size of the checkpoint.
        checkpoint: u64,
    },
    /// A tile or bundle under the published checkpoint is missing.
    #[error(
        "{path} is missing, although the published checkpoint covers it: restore it from a back-up or replica"
    )]
    FileMissing {
        /// The file.
        path: String,
    },
    /// An entry that was pruned by policy.
    #[error("entry {index} was pruned: the trail has its hash, and entries from {below} on")]
    Pruned {
        /// The index asked for; for a bundle, that of its first entry.
        index: u64,
        /// The first entry that still exists.
        below: u64,
    },
    /// `private/pruned` has an unknown format.
    #[error("cannot read private/pruned: restore it, or delete it and prune again")]
    PrunedFile,
    /// Pruning would remove entries that must be kept.
    #[error(
        "can prune only entries below {bound}, not those below {below}: a replica, a hold or the log itself needs the others, and only whole bundles are removed"
    )]
    PruneBeyond {
        /// The bound asked for.
        below: u64,
        /// The bound that is allowed.
        bound: u64,
    },
    /// The entry that records the pruning is not sealed.
    #[error(
        "nothing was pruned: the entry {record} that records it must follow the pruned entries and be covered by the published checkpoint of {sealed} entries"
    )]
    PruneUnrecorded {
        /// Its index.
        record: u64,
        /// Size of the checkpoint.
        sealed: u64,
    },
    /// A tile or bundle under the published checkpoint differs from what the checkpoint covers.
    #[error(
        "{path} is not what the published checkpoint covers ({what}): restore it from a back-up or replica"
    )]
    FileCorrupt {
        /// The file.
        path: String,
        /// The difference.
        what: String,
    },
    /// The tiles do not give the signed root.
    #[error(
        "the tiles of size {size} give root {found} and the checkpoint has {signed}: restore the tiles from a back-up or replica"
    )]
    Root {
        /// Size of the checkpoint.
        size: u64,
        /// The checkpoint's.
        signed: Hash,
        /// The root that the tiles give.
        found: Hash,
    },
    /// An outside party has seen more of this log than exists here.
    #[error(
        "{source_name} has seen {theirs} entries of this trail and here are {ours}: an older copy was restored. Nothing was signed: restore the newest copy; if it is lost, start a new log with a new origin and new keys, whose first entry contains the last checkpoint of this one"
    )]
    FloorAhead {
        /// The party.
        source_name: String,
        /// The size that it has seen.
        theirs: u64,
        /// The size here.
        ours: u64,
    },
    /// An outside party has seen another root for a size that exists here.
    #[error(
        "{source_name} has seen root {theirs} for size {size} and here it is {ours}: the trail has forked. Nothing was signed: find the copy that was published and restore it; if it is lost, start a new log with a new origin and new keys, whose first entry contains the last checkpoint of this one"
    )]
    FloorRoot {
        /// The party.
        source_name: String,
        /// The size.
        size: u64,
        /// The root that it has seen.
        theirs: Hash,
        /// The root here.
        ours: Hash,
    },
    /// An outside party has seen another tree than the one here.
    #[error(
        "{source_name} has seen {size} entries of another tree than the one here: the trail has forked. Nothing was signed: find the copy that was published and restore it; if it is lost, start a new log with a new origin and new keys, whose first entry contains the last checkpoint of this one"
    )]
    FloorFork {
        /// The party.
        source_name: String,
        /// The size of the tree that it has seen.
        size: u64,
    },
    /// Not the address of a witness.
    #[error(
        "{url:?} is not the address of a witness: http:// or https://, a host, and a path if it has one"
    )]
    WitnessUrl {
        /// The value given.
        url: String,
    },
    /// A replica's cursor or a hold has an unknown format.
    #[error("cannot read {path}: restore it, or delete it if that replica no longer exists")]
    Cursor {
        /// The file.
        path: String,
    },
    /// Not a name of a replica or hold.
    #[error("{name:?} is not a name of a cursor: 1 to 64 letters, digits, `-` and `_`")]
    CursorName {
        /// The value given.
        name: String,
    },
    /// A new hold has the name of a replica.
    #[error("{name:?} is the cursor of a replica: give the hold another name")]
    CursorTaken {
        /// The name.
        name: String,
    },
    /// The hold to lift does not exist.
    #[error("there is no hold {name:?}")]
    NoHold {
        /// The name.
        name: String,
    },
    /// An entry that the published checkpoint does not cover.
    #[error("there is no entry {index} under the published checkpoint of {size} entries")]
    BeyondPublished {
        /// The index asked for.
        index: u64,
        /// Size of the checkpoint.
        size: u64,
    },
    /// The ledger was closed, or has stopped.
    #[error("the trail is closed")]
    Closed,
    /// A format or proof could not be made.
    #[error(transparent)]
    Log(#[from] livetrail_tlog::Error),
    /// The log stopped while it was being opened.
    #[error("the trail stopped while it was being opened")]
    Stopped(#[from] Fatal),
}

impl LedgerError {
    /// Whether the error means that entries do not exist: they were pruned, or their file is
    /// missing.
    #[must_use]
    pub const fn is_absence(&self) -> bool {
        matches!(self, Self::Pruned { .. } | Self::FileMissing { .. })
    }

    pub(crate) fn io(op: &'static str, path: impl Into<String>, source: io::Error) -> Self {
        Self::Io {
            op,
            path: path.into(),
            source,
        }
    }
}

/// Why a running log stopped. It no longer signs or accepts anything; durable entries stay durable,
/// and the next start continues from there or reports the problem.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fatal {
    /// A batch could not be made durable, neither in its segment nor in a new one.
    #[error("cannot make entry {index} and those after it durable")]
    WalWrite {
        /// The first index that is not durable.
        index: u64,
        /// The system's error.
        source: io::Error,
    },
    /// The store failed in a step that must not be repeated.
    #[error("cannot {op} {path}")]
    Store {
        /// The operation.
        op: &'static str,
        /// The file or directory.
        path: String,
        /// The system's error.
        source: io::Error,
    },
    /// A tile or bundle exists already, with other bytes (I2).
    #[error(
        "{path} already exists with other bytes than the log's: another program writes here, or an old copy was mixed in"
    )]
    FileDiffers {
        /// The file.
        path: String,
    },
    /// The data read back differ from those written: disk or memory is faulty.
    #[error(
        "{path} was read back before signing and differs from what was written ({what}): check memory and disk; nothing was signed"
    )]
    Reread {
        /// The file.
        path: String,
        /// The difference.
        what: String,
    },
    /// The tree read back is not the one to be signed, or does not contain the one signed last.
    #[error(
        "the tree of size {size} read back before signing has root {found} instead of {wanted}: check memory and disk; nothing was signed"
    )]
    RereadRoot {
        /// The size.
        size: u64,
        /// The root to be signed, or signed before.
        wanted: Hash,
        /// The root that the files give.
        found: Hash,
    },
    /// Signing would go back, or fork.
    #[error("refused to sign size {size}: size {intent} was intended before")]
    SignBehind {
        /// The size to be signed.
        size: u64,
        /// The last intent.
        intent: u64,
    },
    /// The key could not sign, or its signature is invalid.
    #[error("cannot sign the checkpoint")]
    Sign {
        /// The reason.
        source: livetrail_tlog::Error,
    },
    /// The tree could not grow.
    #[error("the tree cannot grow")]
    Tree {
        /// The reason.
        source: livetrail_tlog::Error,
    },
    /// An outside party has seen more or another root. The ledger's owner reported it.
    #[error("signing was stopped: {reason}")]
    Halted {
        /// In the owner's words.
        reason: String,
    },
    /// The disk did not answer while the ledger was being closed.
    #[error("the disk did not answer in time: the last appended entries may not be durable")]
    Hung,
    /// A thread of the ledger panicked: our bug.
    #[error("a thread of the ledger panicked")]
    Panicked,
}

impl Fatal {
    pub(crate) fn store(op: &'static str, path: impl Into<String>, source: io::Error) -> Self {
        Self::Store {
            op,
            path: path.into(),
            source,
        }
    }
}

/// Why entries were not accepted. The log continues unless it is [`AppendError::Stopped`].
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// An entry is longer than 65,535 bytes. No entry of the call was accepted.
    #[error("entry {at} of the call has {bytes} bytes and may have 65,535")]
    EntryTooLong {
        /// The position of the entry in the call, from 0.
        at: usize,
        /// Its length.
        bytes: usize,
    },
    /// A companion is longer than [`MAX_COMPANION_BYTES`](crate::MAX_COMPANION_BYTES). No entry of
    /// the call was accepted.
    #[error("the companion of entry {at} of the call has {bytes} bytes and may have 98,304")]
    CompanionTooLong {
        /// The position of the entry in the call, from 0.
        at: usize,
        /// The companion's length.
        bytes: usize,
    },
    /// An entry has a companion, and the ledger was opened without a store for companions. No entry
    /// of the call was accepted.
    #[error(
        "entry {at} of the call has a companion, and the ledger was opened without a store for companions"
    )]
    NoCompanionStore {
        /// The position of the entry in the call, from 0.
        at: usize,
    },
    /// The call has more bytes than the queue can ever hold.
    #[error(
        "the call has {bytes} bytes with frames and the queue holds {limit}: append in smaller pieces"
    )]
    TooMuch {
        /// The number of bytes, with frames.
        bytes: usize,
        /// The queue's bound.
        limit: usize,
    },
    /// The queue is full now.
    #[error("the queue is full")]
    QueueFull,
    /// The disk is too full for entries of this class.
    #[error("the disk is too full ({pressure:?})")]
    NoSpace {
        /// How full.
        pressure: Pressure,
    },
    /// The ledger was closed.
    #[error("the ledger is closed")]
    Closed,
    /// The log stopped.
    #[error("the log stopped")]
    Stopped(#[source] Arc<Fatal>),
}

impl AppendError {
    /// Whether nothing will ever be accepted again.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        matches!(self, Self::Closed | Self::Stopped(_))
    }
}

/// Why a wait ended early.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// The timeout is over. The entry may still become durable.
    #[error("not durable in time")]
    TimedOut,
    /// The ledger was closed, and the entry was never appended.
    #[error("the ledger is closed")]
    Closed,
    /// The log stopped before.
    #[error("the log stopped")]
    Stopped(#[source] Arc<Fatal>),
}
