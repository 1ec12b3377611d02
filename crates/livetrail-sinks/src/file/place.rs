//! The names of a file's folder: the file, what is beside it, and what was rotated.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use livetrail_replica::ReplicaError;

use super::error;

/// Digits of the first index in a rotated file's name: as many as the largest index has.
const DIGITS: usize = 20;

/// Where a file and what belongs to it are.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The file.
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

    /// Where the file goes that begins with this index, when another goes on.
    pub(super) fn rotated(&self, first: u64) -> PathBuf {
        with_suffix(&self.file, &format!(".{first:020}"))
    }

    pub(super) fn directory(&self) -> &Path {
        let parent = self.file.parent();
        parent
            .filter(|parent| !parent.as_os_str().is_empty())
            .unwrap_or_else(|| Path::new("."))
    }

    /// Keeps others out as long as what this gives is there; it ends with the process, too. The lock is on a file of its own, because
    /// the file itself and its cursor get other files' places.
    pub(super) fn lock(&self) -> Result<File, ReplicaError> {
        let opened = open_options().truncate(false).open(&self.lock);
        let file = opened.map_err(|source| error::of_io("open", &self.lock, source))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(error::locked(&self.file)),
            Err(TryLockError::Error(source)) => Err(error::of_io("lock", &self.lock, source)),
        }
    }

    /// The file, if it is there. Links are refused: what they name may change, and is in a directory that nobody syncs.
    pub(super) fn plain_file(&self) -> Result<Option<Metadata>, ReplicaError> {
        match fs::symlink_metadata(&self.file) {
            Ok(metadata) if metadata.is_file() => Ok(Some(metadata)),
            Ok(_) => Err(error::no_plain_file(&self.file)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error::of_io("look at", &self.file, error)),
        }
    }

    /// The file under another name: what a rotation that was cut short has left, or what somebody else has moved away and left in
    /// this folder. It must have all `bytes` that were committed.
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

    /// Removes rotated files, so that these many are left. What cannot be removed is told, and tried again next time.
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

    /// The rotated files, each with the index that it begins with, in order.
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

    /// Makes names durable: of a new file, of a file that was renamed.
    pub(super) fn sync_directory(&self) -> Result<(), ReplicaError> {
        let synced = File::open(self.directory()).and_then(|directory| directory.sync_all());
        synced.map_err(|source| error::of_io("sync the directory of", &self.file, source))
    }

    /// Whether lines could be written now. Writes nothing.
    pub(super) fn health(&self) -> Result<(), ReplicaError> {
        if self.plain_file()?.is_some() {
            let opened = File::options().append(true).open(&self.file);
            opened.map_err(|source| error::of_io("write to", &self.file, source))?;
        } else {
            self.beside()?;
        }
        Ok(())
    }

    /// Names in the folder that begin with the file's, and are longer.
    fn beside(&self) -> Result<Vec<OsString>, ReplicaError> {
        let told = |source| error::of_io("look into", self.directory(), source);
        let own = self.file.file_name().unwrap_or_default();
        let mut names = Vec::new();
        for entry in fs::read_dir(self.directory()).map_err(told)? {
            let name = entry.map_err(told)?.file_name();
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

/// Writing, and readable by owner and group alone: there is personal data in it.
pub(super) fn open_options() -> OpenOptions {
    let mut options = File::options();
    options.write(true).create(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o640);
    }
    options
}

/// A file's number in its file system, which it keeps under whatever name.
pub(super) fn inode_of(metadata: &Metadata) -> Option<u64> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        Some(metadata.ino())
    }
    #[cfg(not(unix))]
    {
        let _ = metadata;
        None
    }
}

/// Whether a file that is open has no name any more.
pub(super) fn is_deleted(metadata: &Metadata) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        metadata.nlink() == 0
    }
    #[cfg(not(unix))]
    {
        let _ = metadata;
        false
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

fn bytes(name: &OsStr) -> &[u8] {
    name.as_encoded_bytes()
}
