//! The differences between operating systems, in one place.
//!
//! | | Linux | macOS and other Unix systems | Windows |
//! |---|---|---|---|
//! | data of a file on the disk | `fdatasync` | `File::sync_all`: `F_FULLFSYNC` on Apple's systems | `FlushFileBuffers` |
//! | many files on the disk | one `syncfs` | a sync of each | a sync of each |
//! | names in a directory | `fsync` of it | `fsync` of it | `FlushFileBuffers` of it |
//! | space for a file | `fallocate` | its length is set | its length is set |
//! | early write-back | `fadvise` | none | none |
//! | rename to a new name | `renameat2` | check, then rename, under the lock | as on Unix |
//! | one process | `flock` | `flock` | `LockFileEx` |
//! | size of the volume | `statvfs` | `statvfs` | not known |
//! | files for their owner alone | mode bits | mode bits | what the directory hands down |

#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod portable;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(target_os = "linux")]
pub(crate) use linux::{
    begin_write_back, rename_new, reserve, sync_data, sync_file_system, try_lock,
};
#[cfg(not(target_os = "linux"))]
pub(crate) use portable::{
    begin_write_back, rename_new, reserve, sync_data, sync_file_system, try_lock,
};
#[cfg(unix)]
pub(crate) use unix::{
    NULL, OUT_OF_FILES, PASSING, create_dir, mode, open_dir, open_to_sync, read_at, space,
    with_mode, write_all_at,
};
#[cfg(windows)]
pub(crate) use windows::{
    NULL, OUT_OF_FILES, PASSING, create_dir, mode, open_dir, open_to_sync, read_at, space,
    with_mode, write_all_at,
};
