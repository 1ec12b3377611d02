//! The order of a session's events: a thread that finds the outbox free delivers, any other leaves
//! the message there.
//!
//! `tests/models/thread.rs` checks in every order of steps that each message is delivered once, in
//! the order of the posts, never two at a time, and none after the last.

use std::{collections::VecDeque, sync::PoisonError};

use crate::sync::{Mutex, MutexGuard};

/// The maximum number of queued messages, in addition to the last; further ones are dropped. An
/// observer that blocks a thread for this long breaks its promise.
const MAX_WAITING: usize = 64;

/// Messages of one session.
pub(crate) struct Outbox<M> {
    state: Mutex<State<M>>,
}

struct State<M> {
    /// A thread is delivering.
    busy: bool,
    /// The last message was posted.
    over: bool,
    waiting: VecDeque<M>,
}

impl<M> Outbox<M> {
    /// An outbox from which its maker delivers: messages of others stay queued for
    /// [`next`](Self::next).
    pub(crate) fn busy() -> Self {
        Self {
            state: Mutex::new(State {
                busy: true,
                over: false,
                waiting: VecDeque::new(),
            }),
        }
    }

    /// Posts a message, unless the last was posted. `Some`: the caller must deliver it, and then
    /// everything that [`next`](Self::next) returns.
    pub(crate) fn post(&self, message: M) -> Option<M> {
        let mut state = self.state();
        if state.over {
            return None;
        }
        if !state.busy {
            state.busy = true;
            return Some(message);
        }
        if state.waiting.len() < MAX_WAITING {
            state.waiting.push_back(message);
        }
        None
    }

    /// Posts the last message, unless the last was posted. If it is this one, `decided` runs before
    /// any thread delivers it.
    pub(crate) fn post_last(&self, message: M, decided: impl FnOnce()) -> Option<M> {
        let mut state = self.state();
        if state.over {
            return None;
        }
        state.over = true;
        decided();
        if !state.busy {
            state.busy = true;
            return Some(message);
        }
        state.waiting.push_back(message);
        None
    }

    /// Puts a message back that the caller had to deliver; [`next`](Self::next) returns it. The
    /// outbox still belongs to the caller.
    pub(crate) fn put_back(&self, message: M) {
        self.state().waiting.push_front(message);
    }

    /// The next message to deliver; with `None` the outbox becomes free.
    pub(crate) fn next(&self) -> Option<M> {
        let mut state = self.state();
        let message = state.waiting.pop_front();
        state.busy = message.is_some();
        message
    }

    fn state(&self) -> MutexGuard<'_, State<M>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
