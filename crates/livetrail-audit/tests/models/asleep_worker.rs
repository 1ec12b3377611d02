//! The sleeping worker under a model checker: every interleaving of two producers and the worker
//! that the memory model allows.

use crate::asleep::Asleep;
use loom::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    sync::{Arc, Condvar, Mutex},
    thread,
};

const PRODUCERS: usize = 2;

/// How often the worker checks a number again whose record has not arrived. Further checks would
/// only repeat until the record is there. Instead, the model then runs the producers to their end.
const LOOKS: usize = 2;

/// The next number, a slot for each number, and the parking of the worker.
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
        if self.asleep.wake() {
            *self.woken.lock().unwrap() = true;
            self.wake.notify_one();
        }
    }

    /// Takes the records that are there, from number `taken` on.
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

/// The worker sleeps whenever it may, and without a time limit. It gets every record, or the model
/// deadlocks and loom reports that.
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
            if pipeline
                .asleep
                .fall_asleep([(&pipeline.next, taken as u64)])
            {
                pipeline.park();
                pipeline.asleep.resume();
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
