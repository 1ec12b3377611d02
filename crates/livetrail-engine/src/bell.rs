//! How the engine's thread sleeps while it has nothing to do, and how a thread that gives it
//! something wakes it.
//!
//! The thread says that it is idle, looks once more, and only then sleeps. A thread that adds
//! something checks afterwards whether it is idle. So the thread sees what was added, or it is
//! woken. `tests/thread_model.rs` checks that in every order of steps.

use std::{sync::PoisonError, time::Duration};

use crate::sync::{Condvar, Mutex, MutexGuard};

/// What wakes the thread.
pub(crate) struct Bell {
    state: Mutex<State>,
    condvar: Condvar,
}

struct State {
    /// The thread has nothing to do, as far as it knows.
    idle: bool,
    rung: bool,
}

impl Bell {
    pub(crate) fn new() -> Self {
        let state = State {
            idle: false,
            rung: false,
        };
        Self {
            state: Mutex::new(state),
            condvar: Condvar::new(),
        }
    }

    /// Something was added: wakes the thread if it has nothing else to do.
    pub(crate) fn added(&self) {
        if self.state().idle {
            self.ring();
        }
    }

    /// Wakes the thread, or keeps it from its next sleep.
    pub(crate) fn ring(&self) {
        self.state().rung = true;
        self.condvar.notify_one();
    }

    /// Of the thread: whether there is nothing to do. It is woken for whatever is added from now
    /// on.
    pub(crate) fn is_idle(&self, nothing_there: impl FnOnce() -> bool) -> bool {
        self.state().idle = true;
        let nothing_there = nothing_there();
        if !nothing_there {
            self.state().idle = false;
        }
        nothing_there
    }

    /// Of the thread: sleeps until somebody rings, or about as long as `at_most`.
    pub(crate) fn sleep(&self, at_most: Option<Duration>) {
        let mut state = self.state();
        match at_most {
            None => {
                while !state.rung {
                    let woken = self.condvar.wait(state);
                    state = woken.unwrap_or_else(PoisonError::into_inner);
                }
            }
            Some(at_most) if !state.rung => {
                let woken = self.condvar.wait_timeout(state, at_most);
                state = woken.unwrap_or_else(PoisonError::into_inner).0;
            }
            Some(_) => {}
        }
        (state.idle, state.rung) = (false, false);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
