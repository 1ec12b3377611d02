//! Locks on files that keep two senders apart.

use std::fs::{File, TryLockError};
use std::thread;
use std::time::Duration;

/// Further attempts at a lock that nobody should have.
const FURTHER: usize = 50;

/// The interval between two attempts.
const INTERVAL: Duration = Duration::from_millis(5);

/// Locks a file. May block for 250 ms.
///
/// A program that this process starts has all open files, and so their locks, until its own code
/// runs. If it was started just before a file was closed, the lock outlives that by moments.
///
/// # Errors
/// Another process has the lock, or the system cannot lock the file.
pub(crate) fn try_lock(file: &File) -> Result<(), TryLockError> {
    for _ in 0..FURTHER {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => thread::sleep(INTERVAL),
            answer => return answer,
        }
    }
    file.try_lock()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_is_released_meanwhile_is_taken_and_another_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let open = || File::create(dir.path().join("lock")).unwrap();
        let (held, ours) = (open(), open());
        held.lock().unwrap();
        assert!(matches!(try_lock(&ours), Err(TryLockError::WouldBlock)));
        thread::scope(|scope| {
            let waiting = scope.spawn(|| try_lock(&ours));
            held.unlock().unwrap();
            assert!(waiting.join().unwrap().is_ok());
        });
    }
}
