//! Waking readers: the writer marks what has news, and wakes a reader only if it was not marked
//! already.
//!
//! A writer and a worker share only these two types to agree on what to check.
//! `tests/models/bus.rs` checks them in every order of steps that the memory model allows.

use crate::sync::{AtomicBool, AtomicU64, AtomicWaker, Ordering, spin_loop, yield_now};

/// How many checks for a mark take about as long as one yield while no other thread wants the
/// processor.
const LOOKS_A_YIELD: u32 = 32;

/// A task's waker with a flag in front of it, so that a busy reader costs the writer one atomic
/// operation.
#[derive(Default)]
pub(crate) struct Wake {
    marked: AtomicBool,
    waker: AtomicWaker,
}

impl Wake {
    /// Sets the mark, and wakes the reader if it was not set.
    pub(crate) fn wake(&self) {
        if !self.marked.swap(true, Ordering::AcqRel) {
            self.waker.wake();
        }
    }

    /// Clears the mark: the reader is about to check everything that was marked until now.
    pub(crate) fn take(&self) {
        self.marked.swap(false, Ordering::AcqRel);
    }

    /// Checks up to `times` times whether the mark is set, and yields the processor to other
    /// threads in between. Returns whether it is set, and does not clear it.
    pub(crate) fn look(&self, times: u32) -> bool {
        (1..=times).any(|n| {
            let marked = self.marked.load(Ordering::Relaxed);
            if !marked && n % LOOKS_A_YIELD == 0 {
                // The writer may be waiting for this very processor.
                yield_now();
            } else if !marked {
                spin_loop();
            }
            marked
        })
    }

    /// Clears the mark and returns whether it was set. If it was not, the next mark wakes `waker`.
    pub(crate) fn take_or_register(&self, waker: &std::task::Waker) -> bool {
        if self.marked.swap(false, Ordering::AcqRel) {
            return true;
        }
        self.waker.register(waker);
        // A mark between the two: the waker may have missed it.
        self.marked.swap(false, Ordering::AcqRel)
    }
}

/// Which of a worker's streams have news: a bitmap with a summary. Marking takes at most two atomic
/// operations, and finding is proportional to the number of marks.
pub(crate) struct Marks {
    wake: Wake,
    summary: Box<[AtomicU64]>,
    words: Box<[AtomicU64]>,
}

impl Marks {
    /// For `64 * words` streams.
    pub(crate) fn new(words: usize) -> Self {
        let zeros = |n: usize| (0..n).map(|_| AtomicU64::new(0)).collect();
        Self {
            wake: Wake::default(),
            summary: zeros(words.div_ceil(64)),
            words: zeros(words),
        }
    }

    /// The part that wakes the worker.
    pub(crate) fn wake(&self) -> &Wake {
        &self.wake
    }

    /// Marks the stream with this number. Wakes the worker unless it was notified already and has
    /// not checked since.
    pub(crate) fn mark(&self, number: usize) {
        let (word, bit) = (number / 64, 1 << (number % 64));
        if self.words[word].fetch_or(bit, Ordering::AcqRel) & bit == 0 {
            self.summary[word / 64].fetch_or(1 << (word % 64), Ordering::AcqRel);
            self.wake.wake();
        }
    }

    /// Adds the marked numbers to `into`, and clears the marks.
    pub(crate) fn take(&self, into: &mut Vec<usize>) {
        for (i, summary) in self.summary.iter().enumerate() {
            // A load costs less than a swap, and most are empty.
            if summary.load(Ordering::Acquire) == 0 {
                continue;
            }
            for word in bits(summary.swap(0, Ordering::AcqRel)) {
                let word = i * 64 + word;
                into.extend(
                    bits(self.words[word].swap(0, Ordering::AcqRel)).map(|bit| word * 64 + bit),
                );
            }
        }
    }
}

/// The numbers of the bits that are set.
fn bits(mut word: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let bit = (word != 0).then(|| word.trailing_zeros() as usize);
        word &= word.wrapping_sub(1);
        bit
    })
}
