//! A copy of the note in memory, for a disk that fails. It outlives the process, but not a restart
//! of the machine.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _},
    os::unix::{
        ffi::OsStrExt as _,
        fs::{MetadataExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use livetrail_tlog::leaf_hash;
use rustix::fs::OFlags;

use super::NOTE_BYTES;

/// A file system in memory, to which any user may write. A system without it has no copy.
const MEMORY: &str = "/dev/shm";

/// The copy of one trail's note. The file exists from the log's stop to the next start.
#[derive(Debug, Default)]
pub(super) struct Spare {
    path: Option<PathBuf>,
    file: Mutex<Option<File>>,
}

impl Spare {
    /// The copy for the trail in this data directory. Its name comes from the directory's path.
    pub(super) fn of(data: &Path) -> Self {
        let path = data.canonicalize().ok().map(|data| {
            let hash = leaf_hash(data.as_os_str().as_bytes());
            let (name, _) = hash.as_bytes().split_at(16);
            let name: String = name.iter().map(|byte| format!("{byte:02x}")).collect();
            Path::new(MEMORY).join(format!("livetrail-loss-{name}"))
        });
        Self {
            path,
            file: Mutex::default(),
        }
    }

    #[cfg(test)]
    pub(super) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The note of an earlier process of this user. Files of other users are ignored.
    pub(super) fn read(&self) -> Option<Vec<u8>> {
        let path = self.path.as_ref()?;
        match read_own(path) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!("{} is left alone: {error}", path.display());
                None
            }
        }
    }

    /// Writes the note with one call.
    pub(super) fn write(&self, lines: &str) -> io::Result<()> {
        let mut file = self.file();
        if file.is_none() {
            *file = Some(self.create()?);
        }
        file.as_ref()
            .map_or(Ok(()), |file| super::write(file, lines))
    }

    /// Removes the copy, because the disk has the note for good, or a start has reported it.
    pub(super) fn remove(&self) {
        self.file().take();
        let Some(path) = &self.path else { return };
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!("{} cannot be removed: {error}", path.display());
            }
            _ => {}
        }
    }

    fn create(&self) -> io::Result<File> {
        let path = self.path.as_ref();
        let path = path.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        // An existing file is not ours, because ours was removed at the start.
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
    }

    fn file(&self) -> MutexGuard<'_, Option<File>> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read_own(path: &Path) -> io::Result<Vec<u8>> {
    // The flags refuse a link to another place, and a pipe that never answers.
    let flags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).bits();
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.cast_signed())
        .open(path)?;
    let found = file.metadata()?;
    if !found.is_file() || found.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::other("it is not a file of this user's"));
    }
    let mut bytes = Vec::new();
    file.take(NOTE_BYTES as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}
