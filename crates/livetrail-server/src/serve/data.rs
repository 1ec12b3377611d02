//! The data directory: made at the first start, used by one server at a time.

use std::{
    fs::{DirBuilder, File, TryLockError},
    io::{Read, Seek, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};

/// The trail's name in the data directory.
pub(crate) const TRAIL_FILE: &str = "trail.tsv";

/// Locked while a server uses the directory. It stays when the server goes: removing it would let two servers hold two locks.
const LOCK_FILE: &str = "lock";

/// The trail has personal data: it is for its owner and group.
const DIRECTORY_MODE: u32 = 0o750;

/// The trail that a path means: a data directory's, or the file itself.
pub(crate) fn trail_file(path: &Path) -> PathBuf {
    if path.is_dir() {
        path.join(TRAIL_FILE)
    } else {
        path.to_owned()
    }
}

/// The right to use a data directory. The system takes it away when the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct DataLock {
    _file: File,
}

impl DataLock {
    /// Makes the directory if it is not there, and takes the lock.
    ///
    /// # Errors
    /// Another server uses the directory; it cannot be made or written.
    pub(crate) fn take(directory: &Path) -> anyhow::Result<Self> {
        if !directory.is_dir() {
            DirBuilder::new()
                .recursive(true)
                .mode(DIRECTORY_MODE)
                .create(directory)
                .with_context(|| {
                    format!("cannot make the data directory {}", directory.display())
                })?;
            tracing::info!(directory = %directory.display(), "made the data directory");
        }
        let path = directory.join(LOCK_FILE);
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // For people only; the lock is what counts.
                let _ = (&mut file).take(32).read_to_string(&mut holder);
                bail!(
                    "the data directory {} is in use by another livetrail server (process {}); stop it, or give \
                     another directory with --data",
                    directory.display(),
                    holder.trim()
                );
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
        let written = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        written.with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_server() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("new/data");
        let first = DataLock::take(&data).unwrap();
        let refusal = DataLock::take(&data).unwrap_err().to_string();
        assert!(refusal.contains("in use"), "{refusal}");
        assert!(
            refusal.contains(&std::process::id().to_string()),
            "{refusal}"
        );
        drop(first);
        DataLock::take(&data).unwrap();
    }
}
