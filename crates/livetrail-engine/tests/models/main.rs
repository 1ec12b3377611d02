//! Protocols of the engine under a model checker: each interleaving that the memory model allows.
//!
//! The modules are the library's own. They take their atomics and locks from `crate::sync`, which
//! is the model checker's here.

#![allow(
    dead_code,
    reason = "the modules are the library's, of which the models need the protocols alone"
)]

mod bus;
mod thread;

#[path = "../../src/bus/budget.rs"]
#[allow(
    unreachable_pub,
    dead_code,
    reason = "part of it is the crate's interface"
)]
mod budget;
#[path = "../../src/lease.rs"]
mod lease;
#[path = "../../src/bus/marks.rs"]
mod marks;
#[path = "../../src/outbox.rs"]
mod outbox;
#[path = "../../src/bus/ring.rs"]
mod ring;
#[path = "../../src/wakeup.rs"]
mod wakeup;

/// Checks `run` in each interleaving with up to two preemptions. They reach every order of the
/// protocols' steps.
fn model(run: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(run);
}

mod sync {
    use std::{
        sync::{Arc, OnceLock},
        task::Waker,
    };

    pub(crate) use loom::{
        hint::spin_loop,
        sync::{
            Condvar, Mutex, MutexGuard,
            atomic::{AtomicBool, AtomicU64, Ordering},
        },
        thread::yield_now,
    };

    #[derive(Default)]
    pub(crate) struct AtomicWaker(loom::future::AtomicWaker);

    impl AtomicWaker {
        pub(crate) fn register(&self, waker: &Waker) {
            self.0.register_by_ref(waker);
        }

        pub(crate) fn wake(&self) {
            self.0.wake();
        }
    }

    pub(crate) struct Slot<T>(Mutex<Option<Arc<T>>>);

    impl<T> Slot<T> {
        pub(crate) fn empty() -> Self {
            Self(Mutex::new(None))
        }

        pub(crate) fn load(&self) -> Loaded<T> {
            self.load_full()
        }

        pub(crate) fn load_full(&self) -> Option<Arc<T>> {
            self.0.lock().unwrap().clone()
        }

        pub(crate) fn swap(&self, value: Option<Arc<T>>) -> Option<Arc<T>> {
            std::mem::replace(&mut *self.0.lock().unwrap(), value)
        }
    }

    pub(crate) type Loaded<T> = Option<Arc<T>>;

    /// A cell as a reader sees it in the library: the value is there for a reader that has seen
    /// that it is set.
    pub(crate) struct Cell<T> {
        filled: AtomicBool,
        value: OnceLock<Arc<T>>,
    }

    impl<T> Default for Cell<T> {
        fn default() -> Self {
            Self {
                filled: AtomicBool::new(false),
                value: OnceLock::new(),
            }
        }
    }

    impl<T> Cell<T> {
        pub(crate) fn get(&self) -> Option<&Arc<T>> {
            let filled = self.filled.load(Ordering::Acquire);
            filled.then(|| self.value.get()).flatten()
        }

        pub(crate) fn set(&self, value: Arc<T>) -> Result<(), Arc<T>> {
            self.value.set(value)?;
            self.filled.store(true, Ordering::Release);
            Ok(())
        }
    }

    pub(crate) const SEGMENT_FRAMES: usize = 2;
}

/// A frame is only its number and its size here.
mod wire {
    pub(crate) struct SharedFrame {
        pub(crate) seq: u64,
        pub(crate) payload: Vec<u8>,
    }

    impl SharedFrame {
        pub(crate) fn seq(&self) -> u64 {
            self.seq
        }
    }
}
