//! The names in a file's directory: the file, its companions, and the rotated files.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use livetrail_replica::ReplicaError;

use super::error;
use crate::lock;
use crate::sys::{self, inode_of};

/// The number of digits of the first index in a rotated file's name. The largest index fits.
const DIGITS: usize = 20;

/// The paths of a file and its companions.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The path of the file.
    pub(super) file: PathBuf,
    pub(super) cursor: PathBuf,
    pub(super) new_cursor: PathBuf,
    lock: PathBuf,
}

impl Place {
    pub(super) fn new(file: PathBuf) -> Self {
        let beside = |suffix| with_suffix(&file, suffix);
        Self {
            cursor: beside(".cursor"),
            new_cursor: beside(".cursor.new"),
            lock: beside(".lock"),
            file,
        }
    }

    /// The rotated name of the file that begins with this index.
    pub(super) fn rotated(&self, first: u64) -> PathBuf {
        with_suffix(&self.file, &format!(".{first:020}"))
    }

    pub(super) fn directory(&self) -> &Path {
        let parent = self.file.parent();
        parent
            .filter(|parent| !parent.as_os_str().is_empty())
            .unwrap_or_else(|| Path::new("."))
    }

    /// Locks out other writers as long as the result exists; the lock also ends with the process.
    /// The lock is on a file of its own, because rotation replaces the file and each commit
    /// replaces the cursor.
    pub(super) fn lock(&self) -> Result<File, ReplicaError> {
        let opened = open_options().truncate(false).open(&self.lock);
        let file = opened.map_err(|source| error::of_io("open", &self.lock, source))?;
        match lock::try_lock(&file) {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(error::locked(&self.file)),
            Err(TryLockError::Error(source)) => Err(error::of_io("lock", &self.lock, source)),
        }
    }

    /// The file, if it is there. This refuses links: their target may change, and nobody syncs the
    /// target's directory.
    pub(super) fn plain_file(&self) -> Result<Option<Metadata>, ReplicaError> {
        match fs::symlink_metadata(&self.file) {
            Ok(metadata) if metadata.is_file() => Ok(Some(metadata)),
            Ok(_) => Err(error::no_plain_file(&self.file)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error::of_io("look at", &self.file, error)),
        }
    }

    /// Finds the file under another name in this directory. An unfinished rotation or another
    /// program may have given it that name. It must have all `bytes` that were committed.
    pub(super) fn moved_away(
        &self,
        inode: Option<u64>,
        first: u64,
        bytes: u64,
    ) -> Result<Option<PathBuf>, ReplicaError> {
        let ours = self.rotated(first);
        if fs::symlink_metadata(&ours).is_ok_and(|found| found.is_file() && found.len() == bytes) {
            return Ok(Some(ours));
        }
        let Some(inode) = inode else {
            return Ok(None);
        };
        for name in self.beside()? {
            let path = self.directory().join(name);
            let same = |found: &Metadata| found.is_file() && inode_of(found) == Some(inode);
            if fs::symlink_metadata(&path).is_ok_and(|found| same(&found) && found.len() >= bytes) {
                return Ok(Some(path));
            }
        }
        Ok(None)
    }

    /// Removes the oldest rotated files until this many are left. If it cannot remove one, it logs
    /// that and tries again next time.
    pub(super) fn keep(&self, most: usize) -> Result<(), ReplicaError> {
        let mut rotated: Vec<_> = self.beside()?;
        rotated.retain(|name| self.is_rotated(name));
        rotated.sort_unstable();
        let more = rotated.len().saturating_sub(most);
        for name in rotated.into_iter().take(more) {
            let path = self.directory().join(name);
            match fs::remove_file(&path) {
                Ok(()) => {
                    tracing::info!(path = %path.display(), "removed: keep_files are kept, and there are newer ones");
                }
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "cannot remove a rotated file");
                }
            }
        }
        Ok(())
    }

    /// The rotated files in order, each with its first index.
    pub(super) fn rotated_files(&self) -> Result<Vec<(u64, PathBuf)>, ReplicaError> {
        let mut found: Vec<_> = self
            .beside()?
            .into_iter()
            .filter(|name| self.is_rotated(name))
            .filter_map(|name| {
                let text = name.to_str()?;
                let first = text.get(text.len().checked_sub(DIGITS)?..)?.parse().ok()?;
                Some((first, self.directory().join(name)))
            })
            .collect();
        found.sort_unstable();
        Ok(found)
    }

    /// Makes names durable: that of a new file or of a renamed file.
    pub(super) fn sync_directory(&self) -> Result<(), ReplicaError> {
        sys::sync_dir(self.directory())
            .map_err(|source| error::of_io("sync the directory of", &self.file, source))
    }

    /// Checks that lines can be written now. Writes nothing.
    pub(super) fn health(&self) -> Result<(), ReplicaError> {
        if self.plain_file()?.is_some() {
            let opened = File::options().append(true).open(&self.file);
            opened.map_err(|source| error::of_io("write to", &self.file, source))?;
        } else {
            self.beside()?;
        }
        Ok(())
    }

    /// The names in the directory that are the file's name with a suffix.
    fn beside(&self) -> Result<Vec<OsString>, ReplicaError> {
        let failed = |source| error::of_io("look into", self.directory(), source);
        let own = self.file.file_name().unwrap_or_default();
        let mut names = Vec::new();
        for entry in fs::read_dir(self.directory()).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            if name != own && bytes(&name).starts_with(bytes(own)) {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn is_rotated(&self, name: &OsStr) -> bool {
        let own = bytes(self.file.file_name().unwrap_or_default());
        let digits = bytes(name)
            .strip_prefix(own)
            .and_then(|rest| rest.strip_prefix(b"."));
        digits.is_some_and(|digits| digits.len() == DIGITS && digits.iter().all(u8::is_ascii_digit))
    }
}

/// Options for writing. Only the owner and the group may read the file, because it has personal
/// data.
pub(super) fn open_options() -> OpenOptions {
    let mut options = File::options();
    sys::for_group(options.write(true).create(true));
    options
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

fn bytes(name: &OsStr) -> &[u8] {
    name.as_encoded_bytes()
}
