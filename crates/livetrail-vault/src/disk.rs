//! The vault's directory: a store of `livetrail-ledger`, and the names of the files in it.

use std::{fmt, io};

use livetrail_ledger::{Access, File, Lock, SharedStore};

use crate::error::VaultError;

/// Marks this directory as a vault, and has its identifier.
pub(crate) const VAULT: &str = "vault";
/// Locked by the one process that has the vault open.
pub(crate) const LOCK: &str = "lock";
/// Holds and waiting requests, sealed.
pub(crate) const STATE: &str = "state";
/// The sessions that are being erased. It exists only while an erasure runs, or after a crash.
pub(crate) const ERASING: &str = "erasing";
/// A file before it has its name.
const STAGED: &str = ".new";

const KEYS: &str = ".keys";
const ROWS: &str = ".rows";
const INDEX: &str = ".index";
const TOMBSTONES: &str = ".gone";

pub(crate) fn keys(segment: u64) -> String {
    format!("{segment:016x}{KEYS}")
}

pub(crate) fn rows(segment: u64) -> String {
    format!("{segment:016x}{ROWS}")
}

pub(crate) fn index(segment: u64) -> String {
    format!("{segment:016x}{INDEX}")
}

pub(crate) fn tombstones(run: u64) -> String {
    format!("{run:016x}{TOMBSTONES}")
}

/// Whether the file belongs in a copy of the vault. [`VAULT`] does, too, and is written last.
pub(crate) fn is_copied(name: &str) -> bool {
    let numbered = [KEYS, ROWS, INDEX, TOMBSTONES];
    [STATE, ERASING].contains(&name) || numbered.iter().any(|suffix| number(name, suffix).is_some())
}

/// The numbered files of a vault.
#[derive(Debug, Default)]
pub(crate) struct Listed {
    pub(crate) keys: Vec<u64>,
    pub(crate) rows: Vec<u64>,
    pub(crate) indexes: Vec<u64>,
    pub(crate) tombstones: Vec<u64>,
    /// Files that a crash left under their temporary names.
    pub(crate) staged: Vec<String>,
}

/// A store whose errors name the file.
#[derive(Clone)]
pub(crate) struct Disk(pub(crate) SharedStore);

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Disk({})", self.0.place())
    }
}

impl Disk {
    pub(crate) fn place(&self) -> String {
        self.0.place()
    }

    pub(crate) fn lock(&self) -> Result<Box<dyn Lock>, VaultError> {
        self.0.lock(LOCK).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => VaultError::InUse {
                place: self.place(),
            },
            _ => VaultError::io("lock", LOCK)(error),
        })
    }

    /// A whole small file, or `None` when it does not exist.
    pub(crate) fn read(&self, path: &str) -> Result<Option<Vec<u8>>, VaultError> {
        match self.0.read(path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(VaultError::io("read", path)(error)),
        }
    }

    pub(crate) fn open(&self, path: &str) -> Result<Open, VaultError> {
        self.handle(path, false)
    }

    pub(crate) fn open_to_read(&self, path: &str) -> Result<Open, VaultError> {
        self.handle(path, true)
    }

    fn handle(&self, path: &str, read_only: bool) -> Result<Open, VaultError> {
        let file = self
            .0
            .open(path, read_only)
            .map_err(VaultError::io("open", path))?;
        Ok(Open {
            file,
            path: path.to_owned(),
        })
    }

    /// Creates a file of zeros with its space reserved.
    pub(crate) fn preallocate(&self, path: &str, len: u64) -> Result<Open, VaultError> {
        let file = self
            .0
            .preallocate(path, len)
            .map_err(VaultError::io("create", path))?;
        Ok(Open {
            file,
            path: path.to_owned(),
        })
    }

    /// Creates a file, or replaces its contents. Not durable yet.
    pub(crate) fn write(&self, path: &str, bytes: &[u8]) -> Result<(), VaultError> {
        self.0
            .write(path, bytes, Access::Private)
            .map_err(VaultError::io("write", path))
    }

    /// The name of a file that is being written.
    pub(crate) fn staged(path: &str) -> String {
        format!("{path}{STAGED}")
    }

    /// Gives a written file its name: syncs it, renames it, syncs the directory. After an error,
    /// either the old or the new file has the name.
    pub(crate) fn publish(&self, path: &str) -> Result<(), VaultError> {
        let staged = Self::staged(path);
        self.0
            .sync_files(std::slice::from_ref(&staged))
            .map_err(VaultError::io("sync", &staged))?;
        self.0
            .rename(&staged, path)
            .map_err(VaultError::io("rename", &staged))?;
        self.sync_dir()
    }

    /// Replaces a small file, so that after a crash the whole old one or the whole new one exists.
    pub(crate) fn replace(&self, path: &str, bytes: &[u8]) -> Result<(), VaultError> {
        self.write(&Self::staged(path), bytes)?;
        self.publish(path)
    }

    /// Removes a file. A missing one is fine. Not durable before [`sync_dir`](Self::sync_dir).
    pub(crate) fn remove(&self, path: &str) -> Result<(), VaultError> {
        self.0.remove(path).map_err(VaultError::io("remove", path))
    }

    pub(crate) fn sync_dir(&self) -> Result<(), VaultError> {
        self.0
            .sync_dir("")
            .map_err(VaultError::io("sync", "the directory"))
    }

    /// The names of all files.
    pub(crate) fn names(&self) -> Result<Vec<String>, VaultError> {
        let listed = self
            .0
            .list("")
            .map_err(VaultError::io("list", "the directory"))?;
        let files = listed.into_iter().filter(|entry| !entry.is_dir);
        Ok(files.map(|entry| entry.name).collect())
    }

    pub(crate) fn list(&self) -> Result<Listed, VaultError> {
        let mut listed = Listed::default();
        for name in self.names()? {
            if name.ends_with(STAGED) {
                listed.staged.push(name);
            } else if let Some(number) = number(&name, KEYS) {
                listed.keys.push(number);
            } else if let Some(number) = number(&name, ROWS) {
                listed.rows.push(number);
            } else if let Some(number) = number(&name, INDEX) {
                listed.indexes.push(number);
            } else if let Some(number) = number(&name, TOMBSTONES) {
                listed.tombstones.push(number);
            }
        }
        Ok(listed)
    }
}

fn number(name: &str, suffix: &str) -> Option<u64> {
    let digits = name.strip_suffix(suffix)?;
    let plain = digits.len() == 16
        && digits
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    plain
        .then(|| u64::from_str_radix(digits, 16).ok())
        .flatten()
}

/// An open file.
pub(crate) struct Open {
    file: Box<dyn File>,
    path: String,
}

impl fmt::Debug for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Open({})", self.path)
    }
}

impl Open {
    pub(crate) fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), VaultError> {
        self.file
            .write_at(offset, bytes)
            .map_err(VaultError::io("write", &self.path))
    }

    pub(crate) fn sync(&mut self) -> Result<(), VaultError> {
        self.file.sync().map_err(VaultError::io("sync", &self.path))
    }

    pub(crate) fn set_len(&mut self, len: u64) -> Result<(), VaultError> {
        self.file
            .set_len(len)
            .map_err(VaultError::io("truncate", &self.path))
    }

    pub(crate) fn len(&self) -> Result<u64, VaultError> {
        self.file
            .byte_len()
            .map_err(VaultError::io("measure", &self.path))
    }

    /// Fills the buffer. A shorter file counts as damaged.
    pub(crate) fn read_exact_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), VaultError> {
        let read = self
            .file
            .read_at(offset, buffer)
            .map_err(VaultError::io("read", &self.path))?;
        if read == buffer.len() {
            Ok(())
        } else {
            Err(VaultError::damaged(&self.path, "it is too short"))
        }
    }

    pub(crate) fn read_array<const N: usize>(&self, offset: u64) -> Result<[u8; N], VaultError> {
        let mut bytes = [0; N];
        self.read_exact_at(offset, &mut bytes)?;
        Ok(bytes)
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }
}
