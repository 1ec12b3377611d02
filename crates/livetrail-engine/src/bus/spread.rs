//! Chooses the worker for a new viewer: a stream's viewers together, the workers evenly.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::identity::StreamKey;

/// Spreads viewers over workers, each of which has a [`Shard`](crate::Shard).
///
/// A frame costs each worker with a viewer of its stream one wake-up, however few viewers it
/// serves. So a stream's viewers go to one worker, as long as that worker serves them all sooner
/// than another would be awake. Beyond that, groups of that size go to the worker with the fewest
/// viewers.
pub struct Spread {
    together: usize,
    state: Mutex<State>,
}

struct State {
    /// Viewers of each worker.
    workers: Box<[usize]>,
    /// The same for each stream with viewers.
    streams: HashMap<StreamKey, Box<[usize]>>,
}

impl Spread {
    /// Spreads over `workers` (at least one), with a stream's viewers in groups of `together` (at
    /// least one).
    ///
    /// `together` weighs a wake-up against the time in which another worker could serve half of the
    /// group. After a placement a worker never has more than `2 * together` viewers more than
    /// another.
    #[must_use]
    pub fn new(workers: usize, together: usize) -> Arc<Self> {
        Arc::new(Self {
            together: together.max(1),
            state: Mutex::new(State {
                workers: vec![0; workers.max(1)].into(),
                streams: HashMap::new(),
            }),
        })
    }

    /// Chooses a worker for one more viewer of this stream.
    #[must_use]
    pub fn place(self: &Arc<Self>, stream: &StreamKey) -> Placed {
        let mut state = self.lock();
        let worker = state.choose(stream, self.together);
        state.add(stream, worker);
        Placed {
            spread: self.clone(),
            stream: stream.clone(),
            worker,
        }
    }

    /// The number of placed viewers.
    #[must_use]
    pub fn placed(&self) -> usize {
        self.lock().workers.iter().sum()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The worker whose group of this stream has started and is not full, unless it has too many
    /// viewers already; else the worker with the fewest.
    fn choose(&self, stream: &StreamKey, together: usize) -> usize {
        let fewest = (0..self.workers.len()).min_by_key(|&worker| self.workers[worker]);
        let fewest = fewest.unwrap_or(0);
        let most = self.workers[fewest].saturating_add(together.saturating_mul(2));
        let begun = self.streams.get(stream).and_then(|here| {
            let begun = (0..here.len())
                .filter(|&worker| here[worker] % together > 0 && self.workers[worker] < most);
            begun.max_by_key(|&worker| here[worker] % together)
        });
        begun.unwrap_or(fewest)
    }

    fn add(&mut self, stream: &StreamKey, worker: usize) {
        self.workers[worker] += 1;
        match self.streams.get_mut(stream) {
            Some(here) => here[worker] += 1,
            None => {
                let mut here = vec![0; self.workers.len()];
                here[worker] = 1;
                self.streams.insert(stream.clone(), here.into());
            }
        }
    }

    fn remove(&mut self, stream: &StreamKey, worker: usize) {
        self.workers[worker] -= 1;
        if let Some(here) = self.streams.get_mut(stream) {
            here[worker] -= 1;
            if here.iter().all(|&count| count == 0) {
                self.streams.remove(stream);
            }
        }
    }
}

/// A viewer's worker. Dropping it frees the slot for another viewer.
pub struct Placed {
    spread: Arc<Spread>,
    stream: StreamKey,
    worker: usize,
}

impl Placed {
    /// The worker, from 0.
    #[must_use]
    pub fn worker(&self) -> usize {
        self.worker
    }
}

impl Drop for Placed {
    fn drop(&mut self) {
        self.spread.lock().remove(&self.stream, self.worker);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stream(n: usize) -> StreamKey {
        StreamKey::parse("live", &format!("s{n}")).unwrap()
    }

    #[test]
    fn a_streams_viewers_share_a_worker_until_their_group_is_full() {
        let spread = Spread::new(2, 16);
        let places: Vec<_> = (0..40).map(|_| spread.place(&stream(0))).collect();
        let workers: Vec<_> = places.iter().map(Placed::worker).collect();
        assert_eq!(
            workers,
            [[0; 16], [1; 16]]
                .concat()
                .into_iter()
                .chain([0; 8])
                .collect::<Vec<_>>()
        );
        let other = spread.place(&stream(1));
        assert_eq!(other.worker(), 1, "who is alone goes where fewest are");
        drop(places);
        assert_eq!(spread.placed(), 1);
        assert_eq!(
            spread.lock().streams.len(),
            1,
            "a stream without viewers is forgotten"
        );
    }

    proptest! {
        /// Whatever viewers come and go: none is forgotten or counted twice, and none goes to a
        /// worker that has many more than another.
        #[test]
        fn workers_are_evenly_used_while_viewers_come_and_go(
            workers in 1..5usize,
            together in 1..20usize,
            steps in prop::collection::vec((0..6usize, any::<prop::sample::Index>(), any::<bool>()), 0..300),
        ) {
            let spread = Spread::new(workers, together);
            let mut there = Vec::new();
            for (n, which, leaves) in steps {
                if leaves && !there.is_empty() {
                    there.swap_remove(which.index(there.len()));
                } else {
                    let before = spread.lock().workers.clone();
                    let placed = spread.place(&stream(n));
                    let fewest = before.iter().min().unwrap();
                    prop_assert!(before[placed.worker()] < fewest + 2 * together);
                    there.push(placed);
                }
                let mut counts = vec![0; workers];
                there.iter().for_each(|placed| counts[placed.worker()] += 1);
                prop_assert_eq!(&counts[..], &spread.lock().workers[..]);
                prop_assert_eq!(spread.placed(), there.len());
            }
            drop(there);
            prop_assert!(spread.lock().streams.is_empty());
        }
    }
}
