//! What the standard library does on every system.

use std::{fs, io, num::NonZeroU64, path::Path};

/// Returns when the file's data is on the disk: `F_FULLFSYNC` on Apple's systems, which `fsync` is
/// not enough for there, and `FlushFileBuffers` on Windows.
pub(crate) fn sync_data(file: &fs::File) -> io::Result<()> {
    file.sync_all()
}

/// Returns when all of a volume is on the disk. `None`: there is no such call.
pub(crate) fn sync_file_system(_root: &fs::File) -> Option<io::Result<()>> {
    None
}

/// Starts writing a file's part of the page cache to the disk. There is no such call.
pub(crate) fn begin_write_back(_file: &fs::File, _offset: u64, _len: Option<NonZeroU64>) {}

/// Reserves space for a file: sets its length. A write reports `StorageFull`.
pub(crate) fn reserve(file: &fs::File, len: u64) -> io::Result<()> {
    file.set_len(len)
}

/// Renames, unless the new name is taken. We hold the directory's lock, so nobody takes the name
/// between check and rename.
pub(crate) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    if to.try_exists()? {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    fs::rename(from, to)
}

/// Locks a file for this process. `WouldBlock` when another one has it.
pub(crate) fn try_lock(file: &fs::File) -> io::Result<()> {
    file.try_lock().map_err(|error| match error {
        fs::TryLockError::WouldBlock => io::ErrorKind::WouldBlock.into(),
        fs::TryLockError::Error(error) => error,
    })
}
