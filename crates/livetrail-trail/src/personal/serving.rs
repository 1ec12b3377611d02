//! Whether a server takes the requests of commands.
//!
//! A server holds an exclusive lock on `requests.lock` in the vault's directory for as long as it
//! takes requests. The system releases the lock when the process ends, however it ends. A command
//! tries a shared lock, which it releases at once.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

const LOCK: &str = "requests.lock";

/// The lock of a server.
#[derive(Debug)]
pub(super) struct Serving {
    _lock: File,
}

impl Serving {
    /// Waits for commands that look at the lock now.
    pub(super) fn begin(directory: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true).mode(0o600);
        let lock = options.open(directory.join(LOCK))?;
        lock.lock()?;
        Ok(Self { _lock: lock })
    }
}

/// A server, as a command sees it.
#[derive(Debug)]
pub(super) struct Watched {
    file: PathBuf,
    was_serving: bool,
}

impl Watched {
    pub(super) fn new(directory: &Path) -> Self {
        Self {
            file: directory.join(LOCK),
            was_serving: false,
        }
    }

    /// Whether the server took requests at an earlier call, and no longer does. A server that has
    /// not begun yet, or that holds no lock, has not ended.
    pub(super) fn has_ended(&mut self) -> bool {
        let is_serving = match File::open(&self.file).map(|file| file.try_lock_shared()) {
            Ok(Ok(())) => false,
            Ok(Err(TryLockError::WouldBlock)) => true,
            // Nothing is known.
            Ok(Err(TryLockError::Error(_))) | Err(_) => return false,
        };
        self.was_serving |= is_serving;
        self.was_serving && !is_serving
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_has_ended_only_after_it_has_served() {
        let directory = tempfile::tempdir().unwrap();
        let mut watched = Watched::new(directory.path());
        assert!(!watched.has_ended(), "there is no server");
        drop(Serving::begin(directory.path()).unwrap());
        assert!(!watched.has_ended(), "nobody has seen one");
        let serving = Serving::begin(directory.path()).unwrap();
        assert!(!watched.has_ended());
        drop(serving);
        assert!(watched.has_ended());
        let _next = Serving::begin(directory.path()).unwrap();
        assert!(!watched.has_ended(), "the next one takes requests");
    }
}
