//! The ring and the wake-up of a shard under a model checker: every interleaving of a writer and a reader that the memory
//! model allows.
//!
//! A slot of the ring is a lock here, and in the library an atomic pointer; both hand the frame over whole. What is checked is
//! the order of head, tail and slots, and that no mark is lost between a worker's look and its sleep.

#![allow(
    dead_code,
    reason = "the modules are the library's, of which the models need the protocols alone"
)]

mod sync {
    use std::{sync::Arc, task::Waker};

    pub(crate) use loom::{
        hint::spin_loop,
        sync::atomic::{AtomicBool, AtomicU64, Ordering},
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

    pub(crate) struct Slot<T>(loom::sync::Mutex<Option<Arc<T>>>);

    impl<T> Slot<T> {
        pub(crate) fn empty() -> Self {
            Self(loom::sync::Mutex::new(None))
        }

        pub(crate) fn load_full(&self) -> Option<Arc<T>> {
            self.0.lock().unwrap().clone()
        }

        pub(crate) fn swap(&self, value: Option<Arc<T>>) -> Option<Arc<T>> {
            std::mem::replace(&mut *self.0.lock().unwrap(), value)
        }
    }
}

/// A frame is its number and its size here.
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

#[path = "../src/bus/marks.rs"]
mod marks;
#[path = "../src/bus/ring.rs"]
mod ring;

use std::{future::poll_fn, sync::Arc, task::Poll};

use marks::Marks;
use ring::{Ring, RingWriter};
use wire::SharedFrame;

/// Two preemptions reach every order of the protocols' steps.
fn check(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(model);
}

/// Two writers mark streams, one of them twice, while the worker sleeps, looks and sleeps again. A mark that is lost would
/// leave the worker asleep for ever, which the checker reports as a deadlock.
#[test]
fn a_worker_that_sleeps_is_woken_for_every_mark() {
    a_worker_is_woken_for_every_mark(0);
}

/// The same of a worker that looks for news once more before it sleeps, as it does while frames come close together.
#[test]
fn a_worker_that_looks_before_it_sleeps_is_woken_for_every_mark() {
    a_worker_is_woken_for_every_mark(1);
}

fn a_worker_is_woken_for_every_mark(looks: u32) {
    check(move || {
        let marks = Arc::new(Marks::new(2));
        let writers = [vec![0, 64], vec![64]].map(|numbers| {
            let marks = marks.clone();
            loom::thread::spawn(move || numbers.into_iter().for_each(|number| marks.mark(number)))
        });
        let (mut seen, mut found) = ([false; 2], Vec::new());
        while seen != [true, true] {
            marks.wake().look(looks);
            loom::future::block_on(poll_fn(|cx| {
                if marks.wake().take_or_register(cx.waker()) {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            }));
            found.clear();
            marks.wake().take();
            marks.take(&mut found);
            for number in &found {
                seen[number / 64] = true;
            }
        }
        writers.into_iter().for_each(|w| w.join().unwrap());
        // What was marked after the last look is still marked, or was seen.
        marks.take(&mut found);
        assert!(found.iter().all(|number| [0, 64].contains(number)));
    });
}

/// A mark that is set after the frame is there: a worker that takes the mark sees the frame, or is marked again.
#[test]
fn whoever_takes_the_last_mark_sees_the_last_frame() {
    check(|| {
        let (marks, ring) = (Arc::new(Marks::new(1)), Arc::new(Ring::new(4)));
        let writer = {
            let (marks, ring) = (marks.clone(), ring.clone());
            loom::thread::spawn(move || {
                let mut writer = RingWriter::new(ring, usize::MAX);
                for seq in 0..2 {
                    writer.push(frame(seq), u64::MAX);
                    marks.mark(0);
                }
            })
        };
        let (mut next, mut found) = (0, Vec::new());
        while next < 2 {
            loom::future::block_on(poll_fn(|cx| {
                if marks.wake().take_or_register(cx.waker()) {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            }));
            found.clear();
            marks.take(&mut found);
            if found.contains(&0) {
                next = ring.head();
            }
        }
        writer.join().unwrap();
    });
}

/// A reader beside a writer that overwrites: each frame below the head is there, whole and under its own number, or the
/// tail says that the reader was too slow.
#[test]
fn a_frame_below_the_head_is_there_or_the_tail_is_beyond_it() {
    for (max_bytes, keep) in [(usize::MAX, u64::MAX), (2, u64::MAX), (usize::MAX, 1)] {
        check(move || {
            let ring = Arc::new(Ring::new(2));
            let writer = {
                let ring = ring.clone();
                loom::thread::spawn(move || {
                    let mut writer = RingWriter::new(ring, max_bytes);
                    (0..3).for_each(|seq| writer.push(frame(seq), keep));
                })
            };
            let head = ring.head();
            for seq in 0..head {
                match ring.get(seq) {
                    Some(frame) => assert_eq!(frame.seq(), seq),
                    None => assert!(ring.tail() > seq, "{seq} is gone without a word"),
                }
            }
            assert!(ring.tail() <= ring.head());
            writer.join().unwrap();
            assert_eq!(ring.head(), 3);
        });
    }
}

fn frame(seq: u64) -> Arc<SharedFrame> {
    Arc::new(SharedFrame {
        seq,
        payload: vec![0],
    })
}
