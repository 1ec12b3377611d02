//! The lock of the pipeline's small states.

use std::sync::{Mutex, MutexGuard, PoisonError};

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic under one of these locks leaves only plain values.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
