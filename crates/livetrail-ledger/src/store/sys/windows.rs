//! Windows.

use std::{
    fs::{self, OpenOptions},
    io,
    os::windows::fs::{FileExt as _, OpenOptionsExt as _},
    path::Path,
};

use super::super::Space;

/// A file that is always there, to keep a handle open on.
pub(crate) const NULL: &str = "NUL";

/// `FILE_FLAG_BACKUP_SEMANTICS`: a directory can be opened.
const BACKUP_SEMANTICS: u32 = 0x0200_0000;

/// `ERROR_TOO_MANY_OPEN_FILES`.
pub(crate) const OUT_OF_FILES: [i32; 1] = [4];

/// `ERROR_TOO_MANY_OPEN_FILES`, `ERROR_NOT_ENOUGH_MEMORY`, `ERROR_OUTOFMEMORY`,
/// `ERROR_NO_SYSTEM_RESOURCES`: conditions that end without a repair of the trail.
pub(crate) const PASSING: [i32; 4] = [4, 8, 14, 1450];

/// There are no permission bits: a file inherits the permissions of its directory.
pub(crate) fn with_mode(options: &mut OpenOptions, _mode: u32) -> &mut OpenOptions {
    options
}

/// Creates a directory.
pub(crate) fn create_dir(path: &Path, _mode: u32) -> io::Result<()> {
    fs::create_dir(path)
}

/// There are no permission bits: none is set.
pub(crate) fn mode(_metadata: &fs::Metadata) -> u32 {
    0
}

/// Opens a directory to sync it.
pub(crate) fn open_dir(path: &Path) -> io::Result<fs::File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(BACKUP_SEMANTICS)
        .open(path)
}

/// Opens a file to sync it, which takes the right to write.
pub(crate) fn open_to_sync(path: &Path) -> io::Result<fs::File> {
    OpenOptions::new().write(true).open(path)
}

/// Writes at an offset. Moves the file's own position, which nothing else uses.
pub(crate) fn write_all_at(file: &fs::File, mut bytes: &[u8], offset: u64) -> io::Result<()> {
    let mut at = offset;
    while !bytes.is_empty() {
        match file.seek_write(bytes, at) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                bytes = bytes.get(written..).unwrap_or_default();
                at = at.saturating_add(u64::try_from(written).unwrap_or(u64::MAX));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads at an offset. Moves the file's own position, which nothing else uses.
pub(crate) fn read_at(file: &fs::File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    file.seek_read(buffer, offset)
}

/// Not known: nothing is refused before a write fails.
pub(crate) fn space(_root: &Path) -> io::Result<Space> {
    Err(io::ErrorKind::Unsupported.into())
}
