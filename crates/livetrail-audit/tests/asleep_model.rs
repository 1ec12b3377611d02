//! The sleeping worker under a model checker: every interleaving of two producers and the worker that the memory model allows.

#![allow(
    dead_code,
    reason = "the module is the library's, of which the model needs the protocol alone"
)]

mod sync {
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering};
}

#[path = "../src/pipeline/asleep.rs"]
mod asleep;

use asleep::Asleep;
use loom::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    sync::{Arc, Condvar, Mutex},
    thread,
};

const PRODUCERS: usize = 2;

/// How often the worker looks once more at a number whose record is on its way. After that it would do the same again and again until the record
/// is there: the model lets the producers come to their end instead.
const LOOKS: usize = 2;

/// The next number, a place in the queue for each, and what parks the worker.
struct Pipeline {
    next: AtomicU64,
    queue: [AtomicBool; PRODUCERS],
    asleep: Asleep,
    woken: Mutex<bool>,
    wake: Condvar,
}

impl Pipeline {
    fn produce(&self) {
        let number = Asleep::number(&self.next);
        self.queue[number as usize].swap(true, Ordering::AcqRel);
        if self.asleep.rouse() {
            *self.woken.lock().unwrap() = true;
            self.wake.notify_one();
        }
    }

    /// Takes what is there from number `taken` on.
    fn take(&self, mut taken: usize) -> usize {
        while taken < PRODUCERS && self.queue[taken].swap(false, Ordering::Acquire) {
            taken += 1;
        }
        taken
    }

    fn park(&self) {
        let mut woken = self.woken.lock().unwrap();
        while !std::mem::take(&mut *woken) {
            woken = self.wake.wait(woken).unwrap();
        }
    }
}

/// A worker that sleeps whenever it may, and then without a limit: it gets every record, or the model deadlocks, which loom reports.
#[test]
fn a_worker_that_sleeps_is_woken_for_every_record() {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(|| {
        let pipeline = Arc::new(Pipeline {
            next: AtomicU64::new(0),
            queue: std::array::from_fn(|_| AtomicBool::new(false)),
            asleep: Asleep::new(),
            woken: Mutex::new(false),
            wake: Condvar::new(),
        });
        let producers: Vec<_> = (0..PRODUCERS)
            .map(|_| {
                let pipeline = Arc::clone(&pipeline);
                thread::spawn(move || pipeline.produce())
            })
            .collect();
        let (mut taken, mut looks) = (0, 0);
        while looks < LOOKS {
            taken = pipeline.take(taken);
            if taken == PRODUCERS {
                break;
            }
            if pipeline.asleep.lie_down([(&pipeline.next, taken as u64)]) {
                pipeline.park();
                pipeline.asleep.get_up();
            } else {
                looks += 1;
                thread::yield_now();
            }
        }
        for producer in producers {
            producer.join().unwrap();
        }
        assert_eq!(pipeline.take(taken), PRODUCERS);
    });
}
