//! File descriptors that the log reserves for itself, so that a server whose connections use all
//! others can still write its trail.
//!
//! They are open on the null device. When a file cannot be opened for lack of descriptors, one of
//! them is closed and the file gets its number. When that file is closed, the reserve is refilled.
//! In between, another thread may take the number: then the next one is released, and finally the
//! step is tried again like any other step with a temporary error.

use std::{
    fs::File,
    io,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::sys::NULL;
use crate::passing::is_out_of_files;

/// The number that a store reserves once it is locked for writing: twice the number that the three
/// threads of a ledger open at once.
pub const RESERVED_FILES: usize = 8;

#[derive(Debug, Default)]
pub(super) struct FileReserve {
    kept: Mutex<Vec<File>>,
    /// The number wanted: 0 before [`begin`](Self::begin).
    wanted: AtomicUsize,
    /// The number missing; read without the lock.
    missing: AtomicUsize,
}

impl FileReserve {
    /// Reserves descriptors from now on.
    pub(super) fn begin(&self) {
        self.wanted.store(RESERVED_FILES, Ordering::Relaxed);
        self.missing.store(RESERVED_FILES, Ordering::Relaxed);
        self.fill_up();
    }

    /// Opens a file or a directory; releases a descriptor for it when there are no others.
    pub(super) fn open<T>(&self, open: impl Fn() -> io::Result<T>) -> io::Result<T> {
        loop {
            let opened = open();
            match &opened {
                Err(error) if is_out_of_files(error) && self.give_up_one() => {}
                _ => return opened,
            }
        }
    }

    /// Refills the reserve, as far as descriptors are available again.
    pub(super) fn fill_up(&self) {
        if self.missing.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut kept = self.kept();
        let wanted = self.wanted.load(Ordering::Relaxed);
        while kept.len() < wanted {
            let Ok(file) = File::open(NULL) else {
                break;
            };
            kept.push(file);
        }
        self.missing
            .store(wanted.saturating_sub(kept.len()), Ordering::Relaxed);
    }

    fn give_up_one(&self) -> bool {
        let mut kept = self.kept();
        let given_up = kept.pop().is_some();
        if given_up {
            self.missing.fetch_add(1, Ordering::Relaxed);
        }
        given_up
    }

    fn kept(&self) -> MutexGuard<'_, Vec<File>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use rustix::io::Errno;

    use super::*;

    #[test]
    fn a_descriptor_is_given_up_for_a_file_and_taken_back() {
        let reserve = FileReserve::default();
        let tries = Cell::new(0);
        // Another thread takes the first released number.
        let open = || {
            tries.set(tries.get() + 1);
            if tries.get() < 3 {
                Err(io::Error::from(Errno::MFILE))
            } else {
                Ok(())
            }
        };
        assert!(reserve.open(open).is_err(), "nothing is kept yet");
        reserve.begin();
        assert_eq!(reserve.kept().len(), RESERVED_FILES);
        tries.set(0);
        reserve.open(open).unwrap();
        assert_eq!(reserve.kept().len(), RESERVED_FILES - 2);
        reserve.fill_up();
        assert_eq!(reserve.kept().len(), RESERVED_FILES);
        let never = || Err::<(), _>(io::Error::from(Errno::NFILE));
        assert!(is_out_of_files(&reserve.open(never).unwrap_err()));
        assert_eq!(reserve.kept().len(), 0);
        let denied = || Err::<(), _>(io::Error::from(Errno::ACCESS));
        reserve.fill_up();
        assert!(reserve.open(denied).is_err());
        assert_eq!(reserve.kept().len(), RESERVED_FILES, "of no use here");
    }
}
