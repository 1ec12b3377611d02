//! What can go wrong: refusals to open (nothing was changed), what stops a running log, and what is merely not possible now.

use std::{io, sync::Arc};

use livetrail_tlog::Hash;

use crate::space::Pressure;

/// Why a trail was not created, opened or read. Every one is a refusal: what was wrong is left as it was, for a person to look at.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// The store failed.
    #[error("cannot {op} {path}")]
    Io {
        /// What was tried.
        op: &'static str,
        /// With which file or directory.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// There is no trail in this place.
    #[error(
        "there is no trail in {place} (no private/log.json): correct the path, or create a trail there explicitly"
    )]
    NoTrail {
        /// The directory.
        place: String,
    },
    /// There is something in this place already.
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
        /// What the system said.
        source: io::Error,
    },
    /// `private/log.json` cannot be understood.
    #[error(
        "private/log.json cannot be understood ({what}): restore it from a back-up of this trail"
    )]
    Manifest {
        /// What is wrong with it.
        what: String,
    },
    /// The trail was written by another version of the format.
    #[error(
        "the trail has format {found} and this program writes format {wanted}: use the program's matching version"
    )]
    Format {
        /// In `private/log.json`.
        found: u64,
        /// What this program writes.
        wanted: u64,
    },
    /// The trail has another origin than the one configured.
    #[error(
        "the trail is of origin {found:?} and the configuration says {wanted:?}: correct the path or the origin"
    )]
    Origin {
        /// What was asked for.
        wanted: String,
        /// The trail's.
        found: String,
    },
    /// The trail was signed with another key than the one configured.
    #[error(
        "the trail is of the {role} key {found} and the key given is {wanted}: give the key that the trail was made with"
    )]
    Key {
        /// Signer or cosigner.
        role: &'static str,
        /// The verifier key of the key that was given.
        wanted: String,
        /// The trail's.
        found: String,
    },
    /// A key that the log has used before and given up.
    #[error(
        "the log has given up the key {key} before: make a new one; a key that was given up may be known to others"
    )]
    KeyRetired {
        /// The verifier key.
        key: String,
    },
    /// A hand-over is not signed by the key that was given up and by its successor.
    #[error("{path} is not the hand-over of that key: restore it from a copy of the trail")]
    HandOver {
        /// The file.
        path: String,
        /// Which rule it breaks.
        source: livetrail_tlog::Error,
    },
    /// A change of keys was handed over and did not end: the key may not sign any more.
    #[error(
        "the key {key} was given up, and the change to the next one did not end: put the file with the next key (`.next`) back where it was, then start the server or run `livetrail trail rotate-key` again"
    )]
    KeyGivenUp {
        /// The verifier key.
        key: String,
    },
    /// The log is empty, so no entry says that its keys change.
    #[error("the log has no entry: one that records the change of keys must be sealed first")]
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
    /// A key file is not one.
    #[error("the key file {path} is not one: it has one line of 64 hexadecimal digits")]
    KeyFile {
        /// The file.
        path: String,
    },
    /// A key file is not there.
    #[error(
        "there is no key file {path}: restore it from a back-up; a trail goes on only with its own key"
    )]
    KeyMissing {
        /// The file.
        path: String,
    },
    /// An option is out of its bounds.
    #[error("{what}")]
    Options {
        /// Which, and the bound.
        what: String,
    },
    /// The published checkpoint is not there.
    #[error(
        "the trail has no file `checkpoint`: somebody removed it; restore it from a back-up, replica or witness"
    )]
    CheckpointMissing,
    /// The published checkpoint is not signed by this trail's key, or is no checkpoint.
    #[error(
        "the published checkpoint is not this trail's: restore it from a back-up, replica or witness"
    )]
    CheckpointInvalid {
        /// What is wrong with it.
        source: livetrail_tlog::Error,
    },
    /// A checkpoint that came from elsewhere is not signed with keys of this trail, or is not a checkpoint.
    #[error("the checkpoint is not signed with a key of this trail")]
    CheckpointForeign {
        /// What is wrong with it.
        source: livetrail_tlog::Error,
    },
    /// A checkpoint that came from elsewhere is larger than the hand-over under which the keys that signed it were given up.
    #[error(
        "the checkpoint of {size} entries is signed with a key that was given up at {bound} entries: it proves nothing beyond those"
    )]
    CheckpointRetired {
        /// The checkpoint's size.
        size: u64,
        /// The size of the hand-over.
        bound: u64,
    },
    /// An earlier start held signing back until these had said what they have seen, and they have not.
    #[error(
        "signing waits since an earlier start for {}: make it answer, or say in the configuration that it is not required; until then the trail does not go on, because what was recorded since must not be signed",
        names.join(", ")
    )]
    SigningHeld {
        /// Who has not answered.
        names: Vec<String>,
    },
    /// `private/held` cannot be understood.
    #[error(
        "private/held cannot be understood: it begins with \"livetrail-held/v1\" and has one name in each further line"
    )]
    HeldFile,
    /// `private/intent` is not there or cannot be understood.
    #[error(
        "private/intent {what}: without it nobody knows what was signed last; restore the whole trail from one copy"
    )]
    Intent {
        /// What is wrong with it.
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
        /// What the checkpoint or the files say.
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
    /// The write-ahead log ends before what was to be signed.
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
        "private/wal goes on at entry {found} where entry {wanted} is wanted: a segment is missing; restore one whole copy"
    )]
    WalGap {
        /// The index that should come next.
        wanted: u64,
        /// The index that the next segment begins with.
        found: u64,
    },
    /// A segment is damaged, not torn.
    #[error(
        "{path} is damaged at byte {offset}: {what}. This is no torn tail: restore the file from a back-up"
    )]
    WalCorrupt {
        /// The segment.
        path: String,
        /// Where.
        offset: u64,
        /// What is wrong.
        what: String,
    },
    /// The write-ahead log knows of a larger published tree than the checkpoint.
    #[error(
        "private/wal knows of a checkpoint of {known} entries and the published one has {checkpoint}: an older checkpoint was put back; restore one whole copy"
    )]
    RolledBack {
        /// Size that the log knows of.
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
        /// What was asked for; of a bundle, its first.
        index: u64,
        /// The first entry that is still there.
        below: u64,
    },
    /// `private/pruned` cannot be understood.
    #[error(
        "private/pruned cannot be understood: restore it; or remove it, and the next pruning says once more what has gone"
    )]
    PrunedFile,
    /// Pruning would go past what must be kept.
    #[error(
        "entries below {below} cannot be pruned, only those below {bound}: a replica, a hold or the log itself needs the others, and bundles go whole"
    )]
    PruneBeyond {
        /// What was asked for.
        below: u64,
        /// What may go.
        bound: u64,
    },
    /// The entry that says what is pruned is not sealed.
    #[error(
        "nothing was pruned: the entry {record} that says so must come after what goes, and under the published checkpoint of {sealed} entries"
    )]
    PruneUnrecorded {
        /// Its index.
        record: u64,
        /// Size of the checkpoint.
        sealed: u64,
    },
    /// A tile or bundle under the published checkpoint is not what the checkpoint says.
    #[error(
        "{path} is not what the published checkpoint covers ({what}): restore it from a back-up or replica"
    )]
    FileCorrupt {
        /// The file.
        path: String,
        /// What is wrong with it.
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
        /// What the tiles give.
        found: Hash,
    },
    /// Somebody outside has seen more of this log than is here.
    #[error(
        "{source_name} has seen {theirs} entries of this trail and here are {ours}: an older copy was restored. Nothing was signed: restore the newest copy; if it is lost, go on as a new log with a new origin and new keys, whose first entry carries the last checkpoint of this one"
    )]
    FloorAhead {
        /// Who.
        source_name: String,
        /// The size that they have seen.
        theirs: u64,
        /// What is here.
        ours: u64,
    },
    /// Somebody outside has seen another root for a size that is here.
    #[error(
        "{source_name} has seen root {theirs} for size {size} and here it is {ours}: the trail has forked. Nothing was signed: find the copy that was published and restore it; if it is lost, go on as a new log with a new origin and new keys, whose first entry carries the last checkpoint of this one"
    )]
    FloorRoot {
        /// Who.
        source_name: String,
        /// The size.
        size: u64,
        /// What they have seen.
        theirs: Hash,
        /// What is here.
        ours: Hash,
    },
    /// Somebody outside has seen another tree than the one that is here.
    #[error(
        "{source_name} has seen {size} entries of another tree than the one here: the trail has forked. Nothing was signed: find the copy that was published and restore it; if it is lost, go on as a new log with a new origin and new keys, whose first entry carries the last checkpoint of this one"
    )]
    FloorFork {
        /// Who.
        source_name: String,
        /// The size of the tree that they have seen.
        size: u64,
    },
    /// Not the address of a witness.
    #[error(
        "{url:?} is not the address of a witness: http:// or https://, a host, and a path if it has one"
    )]
    WitnessUrl {
        /// What was given.
        url: String,
    },
    /// A replica's cursor or hold cannot be understood.
    #[error(
        "{path} cannot be understood: restore it, or remove it if that replica is gone for good"
    )]
    Cursor {
        /// The file.
        path: String,
    },
    /// Not a name of a replica or hold.
    #[error("{name:?} is not a name of a cursor: 1 to 64 letters, digits, `-` and `_`")]
    CursorName {
        /// What was given.
        name: String,
    },
    /// A hold was to have the name of a replica.
    #[error("{name:?} is the cursor of a replica: give the hold another name")]
    CursorTaken {
        /// The name.
        name: String,
    },
    /// A hold was to be lifted that is not there.
    #[error("there is no hold {name:?}")]
    NoHold {
        /// The name.
        name: String,
    },
    /// An entry that the published checkpoint does not cover.
    #[error("there is no entry {index} under the published checkpoint of {size} entries")]
    BeyondPublished {
        /// What was asked for.
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
    /// Whether it says that entries are not there, be it that they were pruned or that their file is missing.
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

/// Why a running log stopped. It signs and takes nothing more; what is durable stays so, and the next start goes on from there or
/// says what is wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fatal {
    /// A batch could not be made durable, neither in its segment nor in a new one.
    #[error("cannot make entry {index} and those after it durable")]
    WalWrite {
        /// The first index that is not durable.
        index: u64,
        /// What the system said.
        source: io::Error,
    },
    /// The store failed where nothing may be tried again.
    #[error("cannot {op} {path}")]
    Store {
        /// What was tried.
        op: &'static str,
        /// With which file or directory.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// A tile or bundle is there already, with other bytes (I2).
    #[error(
        "{path} is there with other bytes than the log's: somebody else writes here, or an old copy was mixed in"
    )]
    FileDiffers {
        /// The file.
        path: String,
    },
    /// What was read back is not what was written: the disk or the memory lies.
    #[error(
        "{path} was read back before signing and is not what was written ({what}): check memory and disk; nothing was signed"
    )]
    Reread {
        /// The file.
        path: String,
        /// What is wrong with it.
        what: String,
    },
    /// The tree read back is not the one to be signed, or does not contain the one signed last.
    #[error(
        "the tree of size {size} read back before signing has root {found} instead of {wanted}: check memory and disk; nothing was signed"
    )]
    RereadRoot {
        /// The size.
        size: u64,
        /// What was to be signed, or was signed.
        wanted: Hash,
        /// What the files give.
        found: Hash,
    },
    /// Signing would go back, or fork.
    #[error("refused to sign size {size}: size {intent} was intended before")]
    SignBehind {
        /// What was to be signed.
        size: u64,
        /// The last intent.
        intent: u64,
    },
    /// The key could not sign, or its signature is not good.
    #[error("cannot sign the checkpoint")]
    Sign {
        /// Why.
        source: livetrail_tlog::Error,
    },
    /// The tree could not grow.
    #[error("the tree cannot grow")]
    Tree {
        /// Why.
        source: livetrail_tlog::Error,
    },
    /// Somebody outside has seen more or another root: told by the owner of the ledger.
    #[error("signing was stopped: {reason}")]
    Halted {
        /// In the owner's words.
        reason: String,
    },
    /// The disk did not answer while the ledger was being closed.
    #[error("the disk did not answer in time: what was appended last may not be durable")]
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

/// Why entries were not taken. The log goes on unless it is [`AppendError::Stopped`].
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// An entry is longer than 65,535 bytes. None of the call's entries was taken.
    #[error("entry {at} of the call has {bytes} bytes and may have 65,535")]
    EntryTooLong {
        /// Which of the call's entries, from 0.
        at: usize,
        /// Its length.
        bytes: usize,
    },
    /// The call has more bytes than the queue can ever hold.
    #[error(
        "the call has {bytes} bytes with frames and the queue holds {limit}: append in smaller pieces"
    )]
    TooMuch {
        /// With frames.
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
    /// Whether nothing will ever be taken again.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        matches!(self, Self::Closed | Self::Stopped(_))
    }
}

/// Why a wait ended without what was waited for.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// The time is up. The entry may still become durable.
    #[error("not durable in time")]
    TimedOut,
    /// The ledger was closed, and the entry was never appended.
    #[error("the ledger is closed")]
    Closed,
    /// The log stopped before.
    #[error("the log stopped")]
    Stopped(#[source] Arc<Fatal>),
}
