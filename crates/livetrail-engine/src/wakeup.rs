//! The sleep of the engine's idle thread, and its wake-up by a thread that adds work.
//!
//! The thread marks itself as idle, checks once more, and only then sleeps. A thread that adds work
//! checks afterwards whether the engine's thread is idle. So either the engine's thread sees the
//! work, or it is woken. `tests/models/thread.rs` checks this in every order of steps.

use std::{sync::PoisonError, time::Duration};

use crate::sync::{Condvar, Mutex, MutexGuard};

/// The signal that wakes the thread.
pub(crate) struct Wakeup {
    state: Mutex<State>,
    condvar: Condvar,
}

struct State {
    /// The thread has no work, as far as it knows.
    idle: bool,
    notified: bool,
}

impl Wakeup {
    pub(crate) fn new() -> Self {
        let state = State {
            idle: false,
            notified: false,
        };
        Self {
            state: Mutex::new(state),
            condvar: Condvar::new(),
        }
    }

    /// Wakes the thread after work was added, if the thread is idle.
    pub(crate) fn added(&self) {
        if self.state().idle {
            self.notify();
        }
    }

    /// Wakes the thread, or keeps it from its next sleep.
    pub(crate) fn notify(&self) {
        self.state().notified = true;
        self.condvar.notify_one();
    }

    /// For the thread: whether there is no work. From now on added work wakes it.
    pub(crate) fn is_idle(&self, nothing_there: impl FnOnce() -> bool) -> bool {
        self.state().idle = true;
        let nothing_there = nothing_there();
        if !nothing_there {
            self.state().idle = false;
        }
        nothing_there
    }

    /// For the thread: sleeps until it is woken, or for about `at_most`.
    pub(crate) fn sleep(&self, at_most: Option<Duration>) {
        let mut state = self.state();
        match at_most {
            None => {
                while !state.notified {
                    let woken = self.condvar.wait(state);
                    state = woken.unwrap_or_else(PoisonError::into_inner);
                }
            }
            Some(at_most) if !state.notified => {
                let woken = self.condvar.wait_timeout(state, at_most);
                state = woken.unwrap_or_else(PoisonError::into_inner).0;
            }
            Some(_) => {}
        }
        (state.idle, state.notified) = (false, false);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
