//! What a thread writes with: one system call for many viewers where the system has io_uring, else one for each.

use std::{
    hint::black_box,
    io::{self, IoSlice},
    os::fd::{AsFd as _, AsRawFd as _},
    sync::{
        Arc, Once,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use livetrail_engine::{Deliver, LiveBatch, LiveViewers, Reason, SharedFrame, ViewerId};
use livetrail_uring::{BATCH, Ring};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::{
    format::Format,
    socket::{MAX_SLICES, Socket},
};

/// From so many viewers on that get the same at once their writes are handed over together: up to six cost the same either way, eight a
/// tenth less, sixteen a quarter.
const WORTH_A_BATCH: usize = 8;

/// How the threads of one egress write.
#[derive(Debug)]
pub(crate) struct Rings {
    name: String,
    wanted: bool,
    /// Threads that have one.
    in_use: AtomicUsize,
    said: Once,
    /// How long a thread goes without one after the kernel refused it, at first.
    first_pause: Duration,
}

impl Rings {
    pub(crate) fn new(name: &str, wanted: bool) -> Self {
        Self {
            name: name.to_owned(),
            wanted,
            in_use: AtomicUsize::new(0),
            said: Once::new(),
            first_pause: FIRST_PAUSE,
        }
    }

    pub(crate) fn in_use(&self) -> usize {
        self.in_use.load(Ordering::Relaxed)
    }

    /// One for the thread that asks; what is the same for all of them is said once. `Err` says whether it may be had later.
    fn open(&self) -> Result<Ring, bool> {
        if !self.wanted {
            return Err(false);
        }
        match Ring::new() {
            Ok(ring) => {
                let name = &self.name;
                self.said
                    .call_once(|| debug!(name, "the writes to many viewers are one system call"));
                self.in_use.fetch_add(1, Ordering::Relaxed);
                Ok(ring)
            }
            Err(error) => {
                let passing = error.is_passing();
                let error: &dyn std::error::Error = &error;
                let name = &self.name;
                self.said
                    .call_once(|| info!(name, error, "each viewer is written to by itself"));
                Err(passing)
            }
        }
    }
}

/// After a refusal a thread goes without a ring for this long, then for twice as long after each further one, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Writes what the shard offers. Made by the thread that uses it.
pub(crate) struct Sender {
    rings: Arc<Rings>,
    ring: Option<Ring>,
    /// When a ring is asked for again; never where the system has none.
    again: Option<Instant>,
    pause: Duration,
    /// Scratch, kept for its capacity: up to [`BATCH`].
    results: Vec<io::Result<usize>>,
}

/// Frames as they are sent to every viewer of one variant.
pub(crate) struct Prepared<'a, F: Format> {
    variant: F::Variant,
    pub(crate) slices: Vec<IoSlice<'a>>,
    pub(crate) bytes: usize,
}

impl<'a, F: Format> Prepared<'a, F> {
    fn new(frames: &'a [Arc<SharedFrame>], variant: F::Variant) -> Self {
        let parts = frames
            .iter()
            .flat_map(|frame| F::parts(frame, variant))
            .map(IoSlice::new);
        let slices: Vec<_> = parts.collect();
        let bytes = slices
            .iter()
            .fold(0_usize, |sum, slice| sum.saturating_add(slice.len()));
        Self {
            variant,
            slices,
            bytes,
        }
    }

    /// Whether it is one write that says something.
    fn is_one_write(&self) -> bool {
        self.bytes > 0 && self.slices.len() <= MAX_SLICES
    }
}

/// The same frames for each variant that is there; they are few.
struct Variants<'a, F: Format> {
    frames: &'a [Arc<SharedFrame>],
    all: Vec<Prepared<'a, F>>,
}

impl<'a, F: Format> Variants<'a, F> {
    fn prepare(&mut self, variant: F::Variant) {
        if self.of(variant).is_none() {
            self.all.push(Prepared::new(self.frames, variant));
        }
    }

    fn of(&self, variant: F::Variant) -> Option<&Prepared<'a, F>> {
        self.all.iter().find(|p| p.variant == variant)
    }

    /// What a viewer that keeps up gets with the others.
    fn together(&self, socket: &Socket<F>) -> Option<&Prepared<'a, F>> {
        let prepared = self.of(socket.variant).filter(|_| socket.is_clear())?;
        prepared.is_one_write().then_some(prepared)
    }

    /// Writes to a viewer by itself.
    fn send_alone(&self, socket: &mut Socket<F>) -> usize {
        let nothing = |prepared: &Prepared<'_, F>| prepared.bytes == 0;
        if socket.is_clear() && self.of(socket.variant).is_some_and(nothing) {
            return self.frames.len();
        }
        socket.send(self.frames)
    }
}

impl Sender {
    pub(crate) fn new(rings: Arc<Rings>) -> Self {
        let mut sender = Self {
            ring: None,
            again: None,
            pause: rings.first_pause,
            rings,
            results: Vec::new(),
        };
        sender.open();
        sender
    }

    fn open(&mut self) {
        self.again = None;
        match self.rings.open() {
            Ok(ring) => self.ring = Some(ring),
            Err(true) => self.ask_later(),
            Err(false) => {}
        }
    }

    /// The kernel refused it for longer than a moment. Another may work.
    fn retire(&mut self) {
        if self.ring.take().is_some() {
            self.rings.in_use.fetch_sub(1, Ordering::Relaxed);
            self.ask_later();
        }
    }

    fn ask_later(&mut self) {
        self.again = Instant::now().checked_add(self.pause);
        self.pause = self.pause.saturating_mul(2).min(LONGEST_PAUSE);
    }

    /// Whether there is a ring, which may have been refused before.
    fn has_ring(&mut self) -> bool {
        if self.again.is_some_and(|again| again <= Instant::now()) {
            self.open();
        }
        self.ring.is_some()
    }

    /// Writes to all of a batch with one system call.
    fn send_together<F: Format>(
        &mut self,
        variants: &mut Variants<'_, F>,
        batch: LiveBatch<'_, Socket<F>>,
    ) {
        for socket in batch.states().filter(|socket| socket.is_clear()) {
            variants.prepare(socket.variant);
        }
        self.results.clear();
        if let Some(ring) = &mut self.ring {
            let sends = batch.states().filter_map(|socket| {
                let prepared = variants.together(socket)?;
                Some((socket.stream.as_fd(), &prepared.slices[..]))
            });
            if let Err(error) = ring.send(sends, &mut self.results) {
                let error: &dyn std::error::Error = &error;
                let pause = self.pause;
                warn!(
                    error,
                    ?pause,
                    "each viewer is written to by itself for a while"
                );
                self.retire();
            }
        }
        let mut results = self.results.drain(..);
        batch.take(|_, socket| match variants.together(socket) {
            Some(prepared) => {
                let result = results.next();
                // Without one it has not been tried.
                let result = result.unwrap_or(Err(io::ErrorKind::WouldBlock.into()));
                socket.sent_prepared(result, prepared, variants.frames)
            }
            None => variants.send_alone(socket),
        });
    }
}

impl<F: Format> Deliver<Socket<F>> for Sender {
    fn deliver(
        &mut self,
        _viewer: ViewerId,
        socket: &mut Socket<F>,
        frames: &[Arc<SharedFrame>],
    ) -> usize {
        socket.send(frames)
    }

    fn deliver_live(
        &mut self,
        frames: &[Arc<SharedFrame>],
        viewers: &mut LiveViewers<'_, Socket<F>>,
    ) {
        let all = Vec::with_capacity(2);
        let mut variants = Variants::<F> { frames, all };
        if viewers.len() >= WORTH_A_BATCH && self.has_ring() {
            viewers.for_each_batch(BATCH, |batch| self.send_together(&mut variants, batch));
            return;
        }
        let touch = |socket: &Socket<F>| {
            // All that a write reads which is not in the shard itself.
            black_box(socket.stream.as_raw_fd());
        };
        viewers.for_each_touched(touch, |_, socket| {
            if socket.is_clear() {
                variants.prepare(socket.variant);
            }
            match variants.together(socket) {
                Some(prepared) => socket.send_prepared(prepared, frames),
                None => variants.send_alone(socket),
            }
        });
    }

    fn ended(&mut self, _viewer: ViewerId, socket: Socket<F>, _reason: Reason) {
        // The connection hears of it from the session.
        socket.hand_over();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_whose_ring_was_refused_gets_another_after_a_pause() {
        let mut rings = Rings::new("test", true);
        rings.first_pause = Duration::from_millis(20);
        let rings = Arc::new(rings);
        let mut sender = Sender::new(rings.clone());
        if sender.ring.is_none() {
            assert!(
                sender.again.is_none(),
                "a system without it is not asked again"
            );
            return;
        }
        for pauses in 1..4u32 {
            let retired = Instant::now();
            sender.retire();
            assert_eq!(rings.in_use(), 0);
            assert_eq!(sender.pause, rings.first_pause * 2u32.pow(pauses));
            while !sender.has_ring() {
                assert!(retired.elapsed() < Duration::from_secs(20));
                std::thread::sleep(Duration::from_millis(1));
            }
            assert!(retired.elapsed() >= sender.pause / 2);
            assert_eq!(rings.in_use(), 1);
        }
        sender.pause = LONGEST_PAUSE;
        sender.retire();
        assert_eq!(sender.pause, LONGEST_PAUSE);
        let unwanted = Sender::new(Arc::new(Rings::new("test", false)));
        assert!(unwanted.ring.is_none() && unwanted.again.is_none());
    }
}
