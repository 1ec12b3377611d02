//! Linux, macOS and other Unix systems.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::Path,
};

use rustix::{
    fs::statvfs,
    io::{Errno, retry_on_intr},
};

use super::super::Space;

/// A file that is always there, to keep a descriptor open on.
pub(crate) const NULL: &str = "/dev/null";

/// The process or the machine cannot open further files.
pub(crate) const OUT_OF_FILES: [i32; 2] =
    [Errno::MFILE.raw_os_error(), Errno::NFILE.raw_os_error()];

/// Conditions that end without a repair of the trail.
pub(crate) const PASSING: [i32; 5] = [
    Errno::MFILE.raw_os_error(),
    Errno::NFILE.raw_os_error(),
    Errno::NOMEM.raw_os_error(),
    Errno::AGAIN.raw_os_error(),
    Errno::INTR.raw_os_error(),
];

/// Creates files with these permissions.
pub(crate) fn with_mode(options: &mut OpenOptions, mode: u32) -> &mut OpenOptions {
    options.mode(mode)
}

/// Creates a directory with these permissions.
pub(crate) fn create_dir(path: &Path, mode: u32) -> io::Result<()> {
    DirBuilder::new().mode(mode).create(path)
}

/// A file's permissions.
pub(crate) fn mode(metadata: &fs::Metadata) -> u32 {
    metadata.mode() & 0o7777
}

/// Opens a directory to sync it.
pub(crate) fn open_dir(path: &Path) -> io::Result<fs::File> {
    fs::File::open(path)
}

/// Opens a file to sync it.
pub(crate) fn open_to_sync(path: &Path) -> io::Result<fs::File> {
    fs::File::open(path)
}

/// Writes at an offset.
pub(crate) fn write_all_at(file: &fs::File, bytes: &[u8], offset: u64) -> io::Result<()> {
    file.write_all_at(bytes, offset)
}

/// Reads at an offset.
pub(crate) fn read_at(file: &fs::File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    file.read_at(buffer, offset)
}

/// The size of the volume.
pub(crate) fn space(root: &Path) -> io::Result<Space> {
    let stat = retry_on_intr(|| statvfs(root))?;
    // `f_blocks` includes the blocks reserved for root; for us they count as used.
    let reserved = stat.f_bfree.saturating_sub(stat.f_bavail);
    Ok(Space {
        total_bytes: stat
            .f_blocks
            .saturating_sub(reserved)
            .saturating_mul(stat.f_frsize),
        available_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
    })
}
