//! The one seam to the disk: every file of a trail is made, read, synced, renamed and removed through [`Store`].
//!
//! Paths are relative to the trail's directory, with `/` between their parts; no part is `..`.

mod fault;
mod file_reserve;
mod key_file;
mod mem;
mod real;

use std::{fmt, io, sync::Arc};

pub(crate) use key_file::{read_key_file, write_key_file};

pub use fault::{Fault, FaultPlan, FaultStore, Op};
pub use file_reserve::RESERVED_FILES;
pub use mem::{MemStore, PowerCut};
pub use real::RealStore;

/// The smallest unit that a disk writes whole. A sector that was never written still has the zeros of its preallocation.
pub const SECTOR_BYTES: usize = 512;

/// Who may read a file that the store makes. The owner is the user that the process runs as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// 0600: what only the ledger needs.
    Private,
    /// 0440: entries, for the owner and its group.
    Entries,
    /// 0444: hash tiles, for everybody, and not to be changed.
    Tile,
    /// 0644: the checkpoint.
    Checkpoint,
}

impl Access {
    /// The Unix permission bits.
    #[must_use]
    pub const fn mode(self) -> u32 {
        match self {
            Self::Private => 0o600,
            Self::Entries => 0o440,
            Self::Tile => 0o444,
            Self::Checkpoint => 0o644,
        }
    }
}

/// One thing in a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// The name, without the directory.
    pub name: String,
    /// Whether it is a directory itself.
    pub is_dir: bool,
}

/// Room on the volume, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// What the volume holds in all.
    pub total_bytes: u64,
    /// What this process may still write.
    pub available_bytes: u64,
}

impl Space {
    /// The same volume with this many bytes more in use.
    #[must_use]
    pub const fn with_used(self, bytes: u64) -> Self {
        Self {
            total_bytes: self.total_bytes,
            available_bytes: self.available_bytes.saturating_sub(bytes),
        }
    }

    /// How full the volume is, in hundredths, rounded down; 0 for a volume without size.
    #[must_use]
    pub fn used_percent(&self) -> u8 {
        let used = u128::from(self.total_bytes.saturating_sub(self.available_bytes));
        let percent = used
            .saturating_mul(100)
            .checked_div(u128::from(self.total_bytes))
            .unwrap_or(0);
        u8::try_from(percent).unwrap_or(100)
    }
}

/// Holds a lock as long as it lives. The operating system lets go of it when the process ends, however it ends.
pub trait Lock: Send + Sync + fmt::Debug {}

/// An open file that is written in place: a segment of the write-ahead log.
///
/// `durable` below means: survives a power cut.
pub trait File: Send + fmt::Debug {
    /// Writes all of `bytes` at `offset`. Not durable before [`sync`](Self::sync).
    ///
    /// # Errors
    /// Whatever the system says. Any part of `bytes`, in any order, may have been written then.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// `fdatasync`: makes the contents and the length durable.
    ///
    /// # Errors
    /// Whatever the system says. What was written since the last good sync may then be lost **although a later sync
    /// succeeds**, because the pages count as clean after the error: whoever gets one must not sync this file again and
    /// believe it.
    fn sync(&mut self) -> io::Result<()>;

    /// Has the system begin to bring what was written there to the disk, so that a later [`sync`](Self::sync) finds less to do. Nothing of it is
    /// durable for that; a store that cannot does nothing.
    fn begin_sync(&mut self, offset: u64, len: u64) {
        let _ = (offset, len);
    }

    /// Reads up to `buffer.len()` bytes at `offset`; fewer only at the end of the file.
    ///
    /// # Errors
    /// Whatever the system says.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Cuts the file, or lengthens it with zeros.
    ///
    /// # Errors
    /// Whatever the system says.
    fn set_len(&mut self, len: u64) -> io::Result<()>;

    /// Length in bytes.
    ///
    /// # Errors
    /// Whatever the system says.
    fn byte_len(&self) -> io::Result<u64>;
}

/// A directory tree that a trail lives in.
///
/// What is durable when: contents of a file after a sync of that file; names after a sync of their directory; a rename
/// is atomic, and durable after a sync of the directories that it touches.
pub trait Store: Send + Sync + fmt::Debug {
    /// Where this is, for messages to people.
    fn place(&self) -> String;

    /// Reads a whole file. Meant for what is small: a tile, a bundle, a note.
    ///
    /// # Errors
    /// `NotFound`, or whatever the system says.
    fn read(&self, path: &str) -> io::Result<Vec<u8>>;

    /// Makes a file with these contents, or replaces the contents of one. Nothing of it is durable yet.
    ///
    /// # Errors
    /// Whatever the system says. The file may then be there with any part of the contents.
    fn write(&self, path: &str, bytes: &[u8], access: Access) -> io::Result<()>;

    /// As [`write`](Self::write), and has the system begin to bring it to the disk, so that a sync of many files finds less to do. Nothing of it is
    /// durable for that.
    ///
    /// # Errors
    /// As for [`write`](Self::write).
    fn write_early(&self, path: &str, bytes: &[u8], access: Access) -> io::Result<()> {
        self.write(path, bytes, access)
    }

    /// Makes a file of `len` zero bytes, with the space for it reserved. Replaces one of the same name.
    ///
    /// # Errors
    /// `StorageFull` when there is not that much room, or whatever the system says.
    fn preallocate(&self, path: &str, len: u64) -> io::Result<Box<dyn File>>;

    /// Opens a file that is there, for reading and writing in place; with `read_only` for reading alone.
    ///
    /// # Errors
    /// `NotFound`, or whatever the system says.
    fn open(&self, path: &str, read_only: bool) -> io::Result<Box<dyn File>>;

    /// Makes the contents of these files durable, all of them; not their names.
    ///
    /// # Errors
    /// Whatever the system says; as with [`File::sync`] the contents must then be written again before another sync means
    /// anything.
    fn sync_files(&self, paths: &[String]) -> io::Result<()>;

    /// Makes the names in a directory durable. The trail's own directory is `""`.
    ///
    /// # Errors
    /// Whatever the system says.
    fn sync_dir(&self, path: &str) -> io::Result<()>;

    /// Gives a file another name, atomically, in place of a file that may have that name.
    ///
    /// # Errors
    /// Whatever the system says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Gives a file another name, atomically, unless that name is taken.
    ///
    /// # Errors
    /// `AlreadyExists` when it is taken, or whatever the system says.
    fn rename_new(&self, from: &str, to: &str) -> io::Result<()>;

    /// Makes a directory and those above it. One that is there is fine. Returns those made, uppermost first.
    ///
    /// # Errors
    /// Whatever the system says.
    fn create_dir(&self, path: &str) -> io::Result<Vec<String>>;

    /// Removes a file. One that is not there is fine.
    ///
    /// # Errors
    /// Whatever the system says.
    fn remove(&self, path: &str) -> io::Result<()>;

    /// Removes a directory with the files in it. One that is not there is fine.
    ///
    /// # Errors
    /// Whatever the system says.
    fn remove_dir(&self, path: &str) -> io::Result<()>;

    /// What is in a directory, sorted by name; nothing when it is not there.
    ///
    /// # Errors
    /// Whatever the system says.
    fn list(&self, path: &str) -> io::Result<Vec<Listed>>;

    /// Whether a file of that name is there.
    ///
    /// # Errors
    /// Whatever the system says.
    fn exists(&self, path: &str) -> io::Result<bool>;

    /// Takes the lock named by this file, which is made if it is not there.
    ///
    /// # Errors
    /// `WouldBlock` when somebody holds it, or whatever the system says.
    fn lock(&self, path: &str) -> io::Result<Box<dyn Lock>>;

    /// Room on the volume.
    ///
    /// # Errors
    /// Whatever the system says.
    fn space(&self) -> io::Result<Space>;

    /// Another store of the same place, for those who only read: what this one keeps for the log is not for them. `None` when this one keeps
    /// nothing.
    fn for_reading(&self) -> Option<SharedStore> {
        None
    }
}

/// Writes a small file so that after a crash there is the old one whole or the new one whole.
///
/// The sequence: write `<path>.new`; sync it; rename it over `path`; sync the directory. A crash before the rename is durable leaves the old
/// file (and perhaps a stray `.new`, which the next write replaces); after it, the new one. The sad path that remains: a rename that the system
/// reported as failed may be durable all the same, so an error here means *either*, never *the old one*.
pub(crate) fn replace(
    store: &dyn Store,
    path: &str,
    bytes: &[u8],
    access: Access,
) -> io::Result<()> {
    // A file of `Access::Checkpoint` is staged beside the private ones, so that nobody is served half of it.
    let staged = format!("{}.new", crate::layout::staging_place(path));
    store.remove(&staged)?;
    store.write(&staged, bytes, access)?;
    store.sync_files(std::slice::from_ref(&staged))?;
    store.rename(&staged, path)?;
    store.sync_dir(parent(path))?;
    Ok(())
}

/// The directory that `path` is in; `""` for the trail's own.
pub(crate) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// A store that others may hold as well.
pub type SharedStore = Arc<dyn Store>;
