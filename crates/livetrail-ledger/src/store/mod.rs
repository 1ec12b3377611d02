//! The only interface to the disk: every file of a trail is created, read, synced, renamed and
//! removed through [`Store`].
//!
//! Paths are relative to the trail's directory, with `/` between their parts; no part is `..`.

mod fault;
mod file_reserve;
mod key_file;
mod mem;
mod real;
pub(crate) mod sys;

use std::{fmt, io, sync::Arc};

pub(crate) use key_file::{read_key_file, write_key_file};

pub use fault::{Fault, FaultPlan, FaultStore, Op};
pub use file_reserve::RESERVED_FILES;
pub use mem::{MemStore, PowerCut};
pub use real::RealStore;

/// The smallest unit that a disk writes as a whole. A sector that was never written still has the
/// zeros of its preallocation.
pub const SECTOR_BYTES: usize = 512;

/// Who may read a file that the store creates. The owner is the user of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Access {
    /// 0600: files for the ledger only.
    Private,
    /// 0440: entries, for the owner and its group.
    Entries,
    /// 0444: hash tiles, readable by everyone and never changed.
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

/// An entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// The name, without the directory.
    pub name: String,
    /// Whether it is a directory itself.
    pub is_dir: bool,
}

/// Space on the volume, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// The volume's total size.
    pub total_bytes: u64,
    /// The space that this process may still use.
    pub available_bytes: u64,
}

impl Space {
    /// The same volume with this many more bytes in use.
    #[must_use]
    pub const fn with_used(self, bytes: u64) -> Self {
        Self {
            total_bytes: self.total_bytes,
            available_bytes: self.available_bytes.saturating_sub(bytes),
        }
    }

    /// How full the volume is, in percent, rounded down; 0 for a volume without size.
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

/// Holds a lock as long as it exists. The operating system releases it when the process ends,
/// however it ends.
///
/// ```
/// use std::io::ErrorKind;
/// use livetrail_ledger::{MemStore, Store as _};
///
/// let store = MemStore::new();
/// let lock = store.lock("lock")?;
/// assert_eq!(store.lock("lock").unwrap_err().kind(), ErrorKind::WouldBlock);
/// drop(lock);
/// assert!(store.lock("lock").is_ok());
/// # Ok::<(), std::io::Error>(())
/// ```
pub trait Lock: Send + Sync + fmt::Debug {}

/// An open file that is written in place: a segment of the write-ahead log.
///
/// *Durable* means below: survives a power cut.
///
/// ```
/// use livetrail_ledger::{MemStore, PowerCut, Store as _};
///
/// let store = MemStore::new();
/// let mut segment = store.preallocate("segment", 4_096)?;
/// segment.sync()?;
/// store.sync_dir("")?;
/// segment.write_at(0, b"a batch")?;
/// let lost = store.power_cut(PowerCut::Synced).read("segment")?;
/// assert_eq!(lost[..7], [0; 7]);
/// segment.sync()?;
/// let kept = store.power_cut(PowerCut::Synced).read("segment")?;
/// assert_eq!(kept[..7], *b"a batch");
/// # Ok::<(), std::io::Error>(())
/// ```
pub trait File: Send + fmt::Debug {
    /// Writes all of `bytes` at `offset`. Not durable before [`sync`](Self::sync).
    ///
    /// # Errors
    /// Errors of the system. Then any part of `bytes`, in any order, may have been written.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// `fdatasync`: makes the contents and the length durable.
    ///
    /// # Errors
    /// Errors of the system. Data written since the last successful sync may then be lost
    /// **although a later sync succeeds**, because the pages count as clean after the error. So
    /// after an error, do not sync this file again and rely on it.
    fn sync(&mut self) -> io::Result<()>;

    /// Makes the system start writing this range to the disk, so that a later [`sync`](Self::sync)
    /// has less to do. That does not make it durable; a store without this ability does nothing.
    fn begin_sync(&mut self, offset: u64, len: u64) {
        let _ = (offset, len);
    }

    /// Reads up to `buffer.len()` bytes at `offset`; fewer only at the end of the file.
    ///
    /// # Errors
    /// Any I/O error.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Truncates the file, or extends it with zeros.
    ///
    /// # Errors
    /// Any I/O error.
    fn set_len(&mut self, len: u64) -> io::Result<()>;

    /// Length in bytes.
    ///
    /// # Errors
    /// Any I/O error.
    fn byte_len(&self) -> io::Result<u64>;
}

/// The directory tree that contains a trail.
///
/// Durability: contents of a file after a sync of that file; names after a sync of their directory.
/// A rename is atomic, and durable after a sync of the directories that it changes.
///
/// A file that is replaced so that a power cut leaves the old contents or the new:
///
/// ```
/// use livetrail_ledger::{Access, MemStore, PowerCut, Store};
///
/// fn replace(store: &dyn Store, path: &str, bytes: &[u8]) -> std::io::Result<()> {
///     let new = format!("{path}.new");
///     store.write(&new, bytes, Access::Private)?;
///     store.sync_files(&[new.clone()])?;
///     store.rename(&new, path)?;
///     store.sync_dir("")
/// }
///
/// let store = MemStore::new();
/// replace(&store, "state", b"old")?;
/// store.write("state.new", b"new", Access::Private)?;
/// store.rename("state.new", "state")?;
/// // The contents and the name are not durable yet.
/// assert_eq!(store.read("state")?, b"new");
/// assert_eq!(store.power_cut(PowerCut::Synced).read("state")?, b"old");
/// replace(&store, "state", b"new")?;
/// assert_eq!(store.power_cut(PowerCut::Synced).read("state")?, b"new");
/// # Ok::<(), std::io::Error>(())
/// ```
pub trait Store: Send + Sync + fmt::Debug {
    /// The place, for messages to people.
    fn place(&self) -> String;

    /// Reads a whole file. For small files: a tile, a bundle, a note.
    ///
    /// # Errors
    /// `NotFound`, or errors of the system.
    fn read(&self, path: &str) -> io::Result<Vec<u8>>;

    /// Creates a file with these contents, or replaces the contents of an existing one. Not durable
    /// yet.
    ///
    /// # Errors
    /// Errors of the system. Then the file may exist with any part of the contents.
    fn write(&self, path: &str, bytes: &[u8], access: Access) -> io::Result<()>;

    /// Like [`write`](Self::write); also makes the system start writing the file to the disk, so
    /// that a sync of many files has less to do. That does not make it durable.
    ///
    /// # Errors
    /// As for [`write`](Self::write).
    fn write_early(&self, path: &str, bytes: &[u8], access: Access) -> io::Result<()> {
        self.write(path, bytes, access)
    }

    /// Creates a file of `len` zero bytes, with its space reserved. Replaces a file of the same
    /// name.
    ///
    /// # Errors
    /// `StorageFull` when there is too little space, or errors of the system.
    fn preallocate(&self, path: &str, len: u64) -> io::Result<Box<dyn File>>;

    /// Opens an existing file for reading and writing in place; with `read_only` only for reading.
    ///
    /// # Errors
    /// `NotFound`, or errors of the system.
    fn open(&self, path: &str, read_only: bool) -> io::Result<Box<dyn File>>;

    /// Makes the contents of all these files durable, but not their names.
    ///
    /// # Errors
    /// Errors of the system; as with [`File::sync`] the contents must then be written again before
    /// another sync means anything.
    fn sync_files(&self, paths: &[String]) -> io::Result<()>;

    /// Makes the names in a directory durable. The trail's own directory is `""`.
    ///
    /// # Errors
    /// Any I/O error.
    fn sync_dir(&self, path: &str) -> io::Result<()>;

    /// Renames a file atomically, and replaces an existing file of that name.
    ///
    /// # Errors
    /// Any I/O error.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Renames a file atomically, unless that name is taken.
    ///
    /// # Errors
    /// `AlreadyExists` when it is taken, or errors of the system.
    fn rename_new(&self, from: &str, to: &str) -> io::Result<()>;

    /// Creates a directory and its parents. An existing one is fine. Returns those created,
    /// uppermost first.
    ///
    /// # Errors
    /// Any I/O error.
    fn create_dir(&self, path: &str) -> io::Result<Vec<String>>;

    /// Removes a file. A missing one is fine.
    ///
    /// # Errors
    /// Any I/O error.
    fn remove(&self, path: &str) -> io::Result<()>;

    /// Removes a directory with the files in it. A missing one is fine.
    ///
    /// # Errors
    /// Any I/O error.
    fn remove_dir(&self, path: &str) -> io::Result<()>;

    /// The entries of a directory, sorted by name; nothing when it does not exist.
    ///
    /// # Errors
    /// Any I/O error.
    fn list(&self, path: &str) -> io::Result<Vec<Listed>>;

    /// Whether a file of that name exists.
    ///
    /// # Errors
    /// Any I/O error.
    fn exists(&self, path: &str) -> io::Result<bool>;

    /// Takes the lock named by this file, which is created if necessary.
    ///
    /// # Errors
    /// `WouldBlock` when somebody holds it, or errors of the system.
    fn lock(&self, path: &str) -> io::Result<Box<dyn Lock>>;

    /// Space on the volume.
    ///
    /// # Errors
    /// Any I/O error.
    fn space(&self) -> io::Result<Space>;

    /// Another store of the same place for readers, which must not use the reserve that this one
    /// keeps for the log. `None` when this one has no reserve.
    fn for_reading(&self) -> Option<SharedStore> {
        None
    }
}

/// Writes a small file so that after a crash either the whole old one or the whole new one exists.
///
/// The sequence: write `<path>.new`; sync it; rename it over `path`; sync the directory. A crash
/// before the rename is durable leaves the old file (and perhaps a stray `.new`, which the next
/// write replaces); a later crash leaves the new one. The sad path that remains: a rename that the
/// system reported as failed may be durable all the same. So an error here means *either*, never
/// *the old one*.
pub(crate) fn replace(
    store: &dyn Store,
    path: &str,
    bytes: &[u8],
    access: Access,
) -> io::Result<()> {
    // A file of `Access::Checkpoint` is staged among the private files, so that no reader gets half
    // of it.
    let staged = format!("{}.new", crate::layout::staging_path(path));
    store.remove(&staged)?;
    store.write(&staged, bytes, access)?;
    store.sync_files(std::slice::from_ref(&staged))?;
    store.rename(&staged, path)?;
    store.sync_dir(parent(path))?;
    Ok(())
}

/// The directory of `path`; `""` for the trail's own.
pub(crate) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// A store that several owners share.
pub type SharedStore = Arc<dyn Store>;
