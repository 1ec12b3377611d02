//! A trail in a bucket or a directory as a store that the ledger's reader can read.

use std::{fmt, io, sync::Arc};

use livetrail_ledger::{Access, File, Listed, Lock, SharedStore, Space, Store};
use livetrail_verify::{Source, SourceError};

/// The published checkpoint.
const CHECKPOINT: &str = "checkpoint";

/// The maximum number of bytes of a file of a trail: a bundle of 256 entries, each with the two
/// bytes of its length.
const MAX_FILE_BYTES: usize = 256 * (livetrail_tlog::MAX_ENTRY_BYTES + 2);

/// Reads from a source of trails. Every change is refused.
struct ReadOnly<S>(S);

/// A store that reads from this source.
pub(super) fn read_only(source: impl Source + 'static) -> SharedStore {
    Arc::new(ReadOnly(source))
}

impl<S: Source> ReadOnly<S> {
    fn file(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        self.0
            .read(path, MAX_FILE_BYTES)
            .map_err(|error| match error {
                SourceError::Io(error) => error,
                other => io::Error::other(other),
            })
    }
}

impl<S: Source> Store for ReadOnly<S> {
    fn place(&self) -> String {
        self.0.place()
    }

    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        // A bucket has several candidates for the newest checkpoint.
        let names = match path {
            CHECKPOINT => self.0.newest(),
            _ => vec![path.to_owned()],
        };
        for name in names {
            if let Some(bytes) = self.file(&name)? {
                return Ok(bytes);
            }
        }
        Err(io::ErrorKind::NotFound.into())
    }

    fn list(&self, path: &str) -> io::Result<Vec<Listed>> {
        let mut listed = Vec::new();
        let mut each = |name: &str, is_dir| {
            listed.push(Listed {
                name: name.to_owned(),
                is_dir,
            });
        };
        self.0.list(path, &mut each).map_err(io::Error::other)?;
        listed.sort();
        Ok(listed)
    }

    fn exists(&self, path: &str) -> io::Result<bool> {
        Ok(self.file(path)?.is_some())
    }

    fn write(&self, path: &str, _: &[u8], _: Access) -> io::Result<()> {
        refused(path)
    }

    fn preallocate(&self, path: &str, _: u64) -> io::Result<Box<dyn File>> {
        refused(path)
    }

    fn open(&self, path: &str, _: bool) -> io::Result<Box<dyn File>> {
        refused(path)
    }

    fn sync_files(&self, paths: &[String]) -> io::Result<()> {
        refused(&paths.concat())
    }

    fn sync_dir(&self, path: &str) -> io::Result<()> {
        refused(path)
    }

    fn rename(&self, from: &str, _: &str) -> io::Result<()> {
        refused(from)
    }

    fn rename_new(&self, from: &str, _: &str) -> io::Result<()> {
        refused(from)
    }

    fn create_dir(&self, path: &str) -> io::Result<Vec<String>> {
        refused(path)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        refused(path)
    }

    fn remove_dir(&self, path: &str) -> io::Result<()> {
        refused(path)
    }

    fn lock(&self, path: &str) -> io::Result<Box<dyn Lock>> {
        refused(path)
    }

    fn space(&self) -> io::Result<Space> {
        refused("the volume")
    }
}

fn refused<T>(path: &str) -> io::Result<T> {
    let words = format!("{path}: this place is only read");
    Err(io::Error::new(io::ErrorKind::Unsupported, words))
}

impl<S: Source> fmt::Debug for ReadOnly<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ReadOnly").field(&self.0.place()).finish()
    }
}
