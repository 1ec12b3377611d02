//! The errors of a vault.

use std::{io, path::PathBuf};

use livetrail_ledger::LedgerError;

/// The reason why an operation of the vault failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VaultError {
    /// Users other than the owner may enter the directory.
    #[error(
        "{0}: mode {mode:04o} gives access to other users than the owner: run chmod 700 {0}",
        path.display()
    )]
    DirectoryMode {
        /// The vault's directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A file could not be used.
    #[error("cannot {op} {path} in the vault")]
    Io {
        /// The operation.
        op: &'static str,
        /// The file or directory.
        path: String,
        /// The system's error.
        source: io::Error,
    },
    /// Another process has the vault open.
    #[error("another process has the vault open: {place}")]
    InUse {
        /// The vault's directory.
        place: String,
    },
    /// The key file cannot be read or written.
    #[error("cannot use the vault's key")]
    Key(#[source] LedgerError),
    /// The vault exists, but its key file does not.
    #[error(
        "the vault's key file {} is missing: restore it from its back-up; without it no opening can \
         be read again, while the trail and its proofs are not affected",
        path.display()
    )]
    KeyLost {
        /// The key file.
        path: PathBuf,
    },
    /// The key belongs to another vault.
    #[error("the key in the key file is not the key of this vault: {place}")]
    WrongKey {
        /// The vault's directory.
        place: String,
    },
    /// There are rows, but the file that identifies the vault is missing.
    #[error("{place}: the file `vault` is missing, but there are rows: restore it from a back-up")]
    NotAVault {
        /// The vault's directory.
        place: String,
    },
    /// A file contradicts itself or another one.
    #[error("{path} in the vault is damaged: {what}")]
    Damaged {
        /// The file.
        path: String,
        /// The damage found.
        what: &'static str,
    },
    /// An opening is too large.
    #[error(
        "an opening has {bytes} bytes: at most {} are allowed",
        crate::MAX_OPENING_BYTES
    )]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// A name is too long or empty.
    #[error("{what} has {bytes} bytes: 1 to {most} are allowed")]
    Name {
        /// What the name is for.
        what: &'static str,
        /// Its length.
        bytes: usize,
        /// The maximum length.
        most: usize,
    },
    /// A prefix is longer than an address.
    #[error("a network prefix of {bits} bits is longer than the address")]
    Prefix {
        /// The prefix's length.
        bits: u8,
    },
    /// A bounded list is full.
    #[error("no more than {most} {what} are allowed")]
    Full {
        /// The items of which there are too many.
        what: &'static str,
        /// The bound.
        most: usize,
    },
    /// The name is taken by another hold or request.
    #[error("there is already a {what} with this name: {name}")]
    Exists {
        /// A hold or a request.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// There is no such hold.
    #[error("there is no hold with this name: {name}")]
    UnknownHold {
        /// The name.
        name: String,
    },
    /// There is no key for this segment: it was destroyed, or never created.
    #[error("there is no key for the segment {segment}")]
    NoSegmentKey {
        /// The segment.
        segment: u64,
    },
    /// Sealed bytes do not open: another key, another place, or damage.
    #[error("sealed bytes do not open: wrong key, wrong place or damage")]
    Unsealable,
    /// The system gives no random bytes.
    #[error("the system has no randomness")]
    Randomness,
    /// The vault was closed, together with its log.
    #[error("the vault is closed")]
    Closed,
    /// The vault was opened to read only.
    #[error("the vault was opened only for reading")]
    ReadOnly,
    /// There is no vault in this directory.
    #[error("there is no vault in {place}")]
    Missing {
        /// The directory.
        place: String,
    },
    /// An earlier operation failed, so the state in memory may differ from the disk.
    #[error("an earlier operation of the vault failed: open it again, which repairs it")]
    Reopen,
    /// The caller could not put an erasure on record, so nothing was erased.
    #[error("the erasure could not be put on record, so nothing of it was erased")]
    Record(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl VaultError {
    pub(crate) fn io(op: &'static str, path: &str) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { op, path, source }
    }

    pub(crate) fn damaged(path: &str, what: &'static str) -> Self {
        Self::Damaged {
            path: path.to_owned(),
            what,
        }
    }
}
