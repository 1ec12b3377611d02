//! Linux.

use std::{fs, io, num::NonZeroU64, path::Path};

use rustix::fs::{
    Advice, CWD, FallocateFlags, FlockOperation, RenameFlags, fadvise, fallocate, fdatasync, flock,
    renameat_with, syncfs,
};
use rustix::io::{Errno, retry_on_intr};

/// Returns when the file's data is on the disk.
pub(crate) fn sync_data(file: &fs::File) -> io::Result<()> {
    Ok(fdatasync(file)?)
}

/// Returns when all of a volume is on the disk. `None` where there is no such call.
pub(crate) fn sync_file_system(root: &fs::File) -> Option<io::Result<()>> {
    Some(syncfs(root).map_err(Into::into))
}

/// Starts writing a file's part of the page cache to the disk, up to its end without a length.
/// Linux does so when advised that the data will not be needed, and keeps the pages while it writes
/// them.
pub(crate) fn begin_write_back(file: &fs::File, offset: u64, len: Option<NonZeroU64>) {
    // It is only advice: if ignored, the sync takes longer.
    let _ = fadvise(file, offset, len, Advice::DontNeed);
}

/// Reserves space for a file.
pub(crate) fn reserve(file: &fs::File, len: u64) -> io::Result<()> {
    match retry_on_intr(|| fallocate(file, FallocateFlags::empty(), 0, len)) {
        Ok(()) => Ok(()),
        // Not every file system can reserve space. There only the length is set, and a write
        // reports `StorageFull`.
        Err(Errno::OPNOTSUPP) => file.set_len(len),
        Err(error) => Err(error.into()),
    }
}

/// Renames, unless the new name is taken.
pub(crate) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // The file system lacks it. We hold the directory's lock, so nobody takes the name
        // between check and rename.
        Err(Errno::INVAL | Errno::NOSYS) => {
            if to.try_exists()? {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            fs::rename(from, to)
        }
        other => Ok(other?),
    }
}

/// Locks a file for this process. `WouldBlock` when another one has it.
pub(crate) fn try_lock(file: &fs::File) -> io::Result<()> {
    Ok(flock(file, FlockOperation::NonBlockingLockExclusive)?)
}
