//! Sources of a trail's files: a directory, a web site, a map.

#[cfg(feature = "s3")]
pub(crate) mod bucket;
#[cfg(feature = "host")]
pub(crate) mod directory;
pub(crate) mod limits;
#[cfg(feature = "postgres")]
pub(crate) mod postgres;
#[cfg(feature = "site")]
pub(crate) mod site;
#[cfg(feature = "site")]
mod web;

use std::collections::BTreeMap;
use std::io;

use thiserror::Error;

/// Why a file could not be read, other than that it does not exist.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SourceError {
    /// It has more bytes than such a file may have.
    #[error("has more than {most} bytes")]
    TooLong {
        /// The bound.
        most: usize,
    },
    /// It is a directory, a device or similar.
    #[error("is not a file")]
    NotAFile,
    /// Any other error: then nothing is known about the trail.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// A source of a trail's files.
///
/// ```
/// use livetrail_verify::{Options, Source, SourceError, VerifyError, verify};
///
/// /// The files of an archive that was unpacked into memory.
/// struct Archive(Vec<(String, Vec<u8>)>);
///
/// impl Source for Archive {
///     fn read(&self, path: &str, most: usize) -> Result<Option<Vec<u8>>, SourceError> {
///         let file = self.0.iter().find(|(name, _)| name == path);
///         match file.map(|(_, bytes)| bytes) {
///             Some(bytes) if bytes.len() > most => Err(SourceError::TooLong { most }),
///             found => Ok(found.cloned()),
///         }
///     }
///
///     fn list(&self, _: &str, _: &mut dyn FnMut(&str, bool)) -> Result<bool, SourceError> {
///         Ok(false)
///     }
///
///     fn lists(&self) -> bool {
///         false
///     }
///
///     fn place(&self) -> String {
///         "backup.tar".to_owned()
///     }
/// }
///
/// let archive = Archive(vec![("README".to_owned(), b"no trail".to_vec())]);
/// let error = verify(&archive, &Options::default(), &mut |_, _| {}).unwrap_err();
/// assert!(matches!(error, VerifyError::NoTrail { place } if place == "backup.tar"));
/// ```
pub trait Source: Send + Sync {
    /// The contents of the file at `path`, relative to the trail and with `/`, or `None` when it
    /// does not exist. Reads at most `most` + 1 bytes.
    ///
    /// # Errors
    /// [`SourceError`].
    fn read(&self, path: &str, most: usize) -> Result<Option<Vec<u8>>, SourceError>;

    /// Like [`read`](Self::read), but puts the contents into `into`, whose memory it may use again.
    /// Returns `false` when the file does not exist.
    ///
    /// # Errors
    /// [`SourceError`].
    fn read_into(&self, path: &str, most: usize, into: &mut Vec<u8>) -> Result<bool, SourceError> {
        let read = self.read(path, most)?;
        Ok(read.map(|bytes| *into = bytes).is_some())
    }

    /// Calls `each` with every name in a directory and whether that is a directory too. Returns
    /// `false` when there is no such directory, or when this source cannot list.
    ///
    /// # Errors
    /// [`SourceError::Io`].
    fn list(&self, dir: &str, each: &mut dyn FnMut(&str, bool)) -> Result<bool, SourceError>;

    /// Whether [`list`](Self::list) works.
    fn lists(&self) -> bool;

    /// The place, for people.
    fn place(&self) -> String;

    /// Files that were overwritten or deleted, in a place that keeps first versions.
    /// [`read`](Self::read) returns the first version. Empty by default.
    fn alterations(&self) -> Vec<Alteration> {
        Vec::new()
    }

    /// Whether somebody else controls the source, who could continue without end. Such a source is
    /// read only within the limits of the check, and its tree only under a checkpoint that a
    /// trusted key has signed or may yet vouch for.
    fn is_remote(&self) -> bool {
        false
    }

    /// Candidates for the newest checkpoint, in the order in which they are tried. A name other
    /// than `checkpoint` ends with the size that it must have.
    fn newest(&self) -> Vec<String> {
        vec!["checkpoint".to_owned()]
    }

    /// Other statements of the place about the trail's size, besides the newest checkpoint and the
    /// archive. Empty by default.
    fn size_claims(&self) -> Vec<SizeClaim> {
        Vec::new()
    }
}

/// A place's statement about a trail's size.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SizeClaim {
    /// A further checkpoint: its name and the note.
    Checkpoint {
        /// Its name, for people.
        name: String,
        /// The note, or the bytes in its place.
        note: Vec<u8>,
        /// Readers without the history see this checkpoint, so it must be the newest.
        is_shown: bool,
    },
    /// Entries beyond the newest checkpoint, none of which is signed, and why that is suspicious.
    Beyond {
        /// The first of them.
        first: u64,
        /// The explanation.
        text: String,
        /// Whether an honest writer leaves this state while it catches up.
        may_be_honest: bool,
    },
}

/// Changes to a file whose first version still exists.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Alteration {
    /// The file, relative to the trail.
    pub path: String,
    /// The number of its versions.
    pub versions: u64,
    /// Whether it has a delete marker.
    pub is_deleted: bool,
}

/// Reads all of `from`, which has `length` bytes as far as known.
#[cfg(feature = "site")]
pub(crate) fn read_at_most(
    from: impl io::Read,
    length: usize,
    most: usize,
) -> Result<Vec<u8>, SourceError> {
    let mut bytes = Vec::with_capacity(length.min(most).saturating_add(1));
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    io::Read::read_to_end(&mut from.take(limit), &mut bytes)?;
    if bytes.len() > most {
        return Err(SourceError::TooLong { most });
    }
    Ok(bytes)
}

/// Files in memory, for tests and the fuzzer.
#[derive(Clone, Debug, Default)]
pub struct Files(pub BTreeMap<String, Vec<u8>>);

impl Source for Files {
    fn read(&self, path: &str, most: usize) -> Result<Option<Vec<u8>>, SourceError> {
        match self.0.get(path) {
            Some(bytes) if bytes.len() > most => Err(SourceError::TooLong { most }),
            found => Ok(found.cloned()),
        }
    }

    fn list(&self, dir: &str, each: &mut dyn FnMut(&str, bool)) -> Result<bool, SourceError> {
        let prefix = format!("{dir}/");
        let mut last = None;
        for path in self.0.keys() {
            let Some(rest) = path.strip_prefix(&prefix) else {
                continue;
            };
            let (name, is_dir) = rest
                .split_once('/')
                .map_or((rest, false), |(name, _)| (name, true));
            if last != Some(name) {
                each(name, is_dir);
                last = Some(name);
            }
        }
        Ok(last.is_some())
    }

    fn lists(&self) -> bool {
        true
    }

    fn place(&self) -> String {
        "memory".to_owned()
    }
}
