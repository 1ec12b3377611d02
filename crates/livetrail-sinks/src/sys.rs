//! The differences between operating systems, in one place.
//!
//! | | Linux | macOS and other Unix systems | Windows |
//! |---|---|---|---|
//! | files for their owner and group | mode bits | mode bits | what the directory hands down |
//! | a file under another name | its inode | its inode | only a name of ours |
//! | a file without a name | no links | no links | never: an open file keeps its name |
//! | names in a directory on the disk | `fsync` of it | `fsync` of it | `FlushFileBuffers` of it |
//! | the end of a file that is standard output | read by `/proc` | not read | not read |
//! | standard output is the null device | found | found | not found |

use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io;
use std::path::Path;

#[cfg(unix)]
mod unix {
    use super::*;
    use std::os::fd::AsFd as _;
    use std::os::unix::fs::{
        DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _,
    };

    /// Creates files that only their owner and group may read.
    pub(crate) fn for_group(options: &mut OpenOptions) -> &mut OpenOptions {
        options.mode(0o640)
    }

    /// Creates directories that only their owner and group may enter.
    pub(crate) fn dirs_for_group(builder: &mut DirBuilder) -> &mut DirBuilder {
        builder.mode(0o750)
    }

    /// A file's inode. The file keeps it under every name.
    pub(crate) fn inode_of(metadata: &Metadata) -> Option<u64> {
        Some(metadata.ino())
    }

    /// Whether an open file no longer has a name.
    pub(crate) fn is_deleted(metadata: &Metadata) -> bool {
        metadata.nlink() == 0
    }

    /// Makes the names in a directory durable.
    pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    /// A second handle for the process's standard output.
    pub(crate) fn standard_output() -> io::Result<File> {
        io::stdout().as_fd().try_clone_to_owned().map(File::from)
    }

    /// Opens an open file again, to read it. Only Linux can.
    #[cfg(target_os = "linux")]
    pub(crate) fn reopen(file: &File) -> io::Result<File> {
        use std::os::fd::AsRawFd as _;
        File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))
    }

    /// Opens an open file again, to read it. Only Linux can.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn reopen(_file: &File) -> io::Result<File> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Whether a file is `/dev/null`.
    pub(crate) fn is_nowhere(file: &File) -> bool {
        let device = |found: Metadata| found.file_type().is_char_device().then(|| found.rdev());
        let here = file.metadata().ok().and_then(device);
        let nowhere = std::fs::metadata("/dev/null").ok().and_then(device);
        here.is_some() && here == nowhere
    }
}

#[cfg(windows)]
mod windows {
    use super::*;
    use std::os::windows::fs::OpenOptionsExt as _;
    use std::os::windows::io::AsHandle as _;

    /// `FILE_FLAG_BACKUP_SEMANTICS`: a directory can be opened.
    const BACKUP_SEMANTICS: u32 = 0x0200_0000;

    /// There are no permission bits: a file has what its directory hands down.
    pub(crate) fn for_group(options: &mut OpenOptions) -> &mut OpenOptions {
        options
    }

    /// There are no permission bits: a directory has what its parent hands down.
    pub(crate) fn dirs_for_group(builder: &mut DirBuilder) -> &mut DirBuilder {
        builder
    }

    /// Not known: a file is found only under a name that we gave it.
    pub(crate) fn inode_of(_metadata: &Metadata) -> Option<u64> {
        None
    }

    /// Never: a file that is open here keeps its name.
    pub(crate) fn is_deleted(_metadata: &Metadata) -> bool {
        false
    }

    /// Makes the names in a directory durable.
    pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
        let mut options = File::options();
        options.read(true).write(true);
        options
            .custom_flags(BACKUP_SEMANTICS)
            .open(path)?
            .sync_all()
    }

    /// A second handle for the process's standard output.
    pub(crate) fn standard_output() -> io::Result<File> {
        io::stdout()
            .as_handle()
            .try_clone_to_owned()
            .map(File::from)
    }

    /// Opens an open file again, to read it. Only Linux can.
    pub(crate) fn reopen(_file: &File) -> io::Result<File> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Whether a file is the null device, which is not known.
    pub(crate) fn is_nowhere(_file: &File) -> bool {
        false
    }
}

#[cfg(unix)]
pub(crate) use unix::{
    dirs_for_group, for_group, inode_of, is_deleted, is_nowhere, reopen, standard_output, sync_dir,
};
#[cfg(windows)]
pub(crate) use windows::{
    dirs_for_group, for_group, inode_of, is_deleted, is_nowhere, reopen, standard_output, sync_dir,
};
