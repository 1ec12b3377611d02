//! Signals from a sender thread to a viewer's connection.

use std::{
    io,
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Waker},
};

use bytes::Bytes;

use crate::{cipher::Cipher, lock};

/// A sender thread's reports to a viewer's connection about the socket.
#[derive(Default)]
pub(crate) struct WriteSignal {
    /// The socket is full: the connection waits until it is writable, then sends a command.
    full: AtomicBool,
    /// Counts writes of data that the socket had not taken at once.
    writes: AtomicUsize,
    /// Writing failed. The connection learns why when it reads.
    failed: OnceLock<io::Error>,
    /// The bytes that were unwritten when the viewer left, and its cipher.
    left: Mutex<(Bytes, Option<Box<Cipher>>)>,
    waker: Mutex<Option<Waker>>,
}

impl WriteSignal {
    pub(crate) fn set_full(&self) {
        if !self.full.swap(true, Ordering::AcqRel) {
            self.wake();
        }
    }

    /// Marks the socket as full without waking the connection, which does this itself.
    pub(crate) fn keep_full(&self) {
        self.full.store(true, Ordering::Release);
    }

    pub(crate) fn clear_full(&self) {
        self.full.store(false, Ordering::Release);
    }

    pub(crate) fn is_full(&self) -> bool {
        self.full.load(Ordering::Acquire)
    }

    pub(crate) fn set_failed(&self, error: io::Error) {
        let _ = self.failed.set(error);
        self.wake();
    }

    pub(crate) fn failed(&self) -> Option<io::ErrorKind> {
        self.failed.get().map(io::Error::kind)
    }

    /// The socket took something. Only one thread writes, so a load and a store are enough.
    pub(crate) fn count_write(&self) {
        let writes = self.writes.load(Ordering::Relaxed);
        self.writes.store(writes.wrapping_add(1), Ordering::Relaxed);
    }

    pub(crate) fn writes(&self) -> usize {
        self.writes.load(Ordering::Relaxed)
    }

    pub(crate) fn leave(&self, unwritten: Bytes, cipher: Option<Box<Cipher>>) {
        *lock(&self.left) = (unwritten, cipher);
    }

    pub(crate) fn take_left(&self) -> (Bytes, Option<Box<Cipher>>) {
        std::mem::take(&mut lock(&self.left))
    }

    fn wake(&self) {
        let waker = lock(&self.waker).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(crate) fn register(&self, cx: &Context<'_>) {
        let mut waker = lock(&self.waker);
        if !waker
            .as_ref()
            .is_some_and(|known| known.will_wake(cx.waker()))
        {
            *waker = Some(cx.waker().clone());
        }
    }
}
