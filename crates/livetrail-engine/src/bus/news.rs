//! The wait of a reader that polls for itself.

use std::{sync::Arc, task::Waker};

use super::{listener::Listener, marks::Wake, stream::Stream};

/// A reader's wake-up. It is among the stream's listeners only once the reader has waited.
#[derive(Default)]
pub(crate) struct News {
    wake: Arc<Wake>,
    listener: Option<Listener>,
}

impl News {
    /// Adds it to the stream's listeners. `Some` if it was not among them.
    pub(crate) fn listen(&mut self, stream: &Stream) -> Option<&Listener> {
        if self.listener.is_some() {
            return None;
        }
        let listener = Listener::Single(self.wake.clone());
        stream.listen(&listener);
        Some(self.listener.insert(listener))
    }

    /// Removes it from the stream's listeners.
    pub(crate) fn unlisten(&mut self, stream: &Stream) {
        if let Some(listener) = self.listener.take() {
            stream.unlisten(&listener);
        }
    }

    /// Whether there was news since the last check; if not, the next news wakes `waker`.
    pub(crate) fn has_some_or_wakes(&self, waker: &Waker) -> bool {
        self.wake.take_or_register(waker)
    }
}
