//! How a thread writes: one system call for many viewers where the system has io_uring, otherwise
//! one per viewer.

use std::{
    hint::black_box,
    io::{self, IoSlice},
    sync::Arc,
    time::Duration,
};

use livetrail_engine::{Deliver, LiveBatch, LiveViewers, Reason, SharedFrame, ViewerId};
use livetrail_uring::{BATCH, Ring};
use tokio::time::Instant;
use tracing::warn;

use crate::{
    cipher::MAX_SEALED_BYTES,
    clock,
    format::Format,
    prepared::Prepared,
    rings::{LONGEST_PAUSE, Rings},
    socket::Socket,
    sys,
};

/// Batches the writes of identical data from this many viewers up. Up to 6 there is no gain; 8 save
/// 10 % of the processor time, 16 save 25 %.
const WORTH_A_BATCH: usize = 8;

/// Bytes that are encrypted for the viewers of one batch, about; for further ones, each is written
/// to by itself. More than fits the processor's cache would have to be read again.
const MAX_ENCRYPTED_BYTES: usize = 1 << 20;

/// Writes the shard's frames. The thread that uses it must create it.
pub(crate) struct Sender {
    rings: Arc<Rings>,
    ring: Option<Ring>,
    /// When to ask for a ring again; `None` where the system has none.
    again: Option<Instant>,
    pause: Duration,
    /// Scratch, kept for its capacity: up to [`BATCH`].
    results: Vec<io::Result<usize>>,
    /// What is encrypted for the viewers of one batch. Kept for its capacity: up to
    /// [`MAX_ENCRYPTED_BYTES`].
    encrypted: Vec<u8>,
    /// Viewers whose frames wait for their caps. The thread takes them after each turn.
    pub(crate) capped: Vec<ViewerId>,
}

/// The same frames for each variant in use; there are few.
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

    /// The frames for a viewer that keeps up, as they go to many at once.
    fn together(&self, socket: &Socket<F>) -> Option<&Prepared<'a, F>> {
        let prepared = self.of(socket.variant).filter(|_| socket.is_clear())?;
        // More is encrypted bit by bit, as the socket takes it.
        let fits = socket.cipher.is_none() || prepared.bytes <= MAX_SEALED_BYTES;
        (prepared.is_one_write() && fits).then_some(prepared)
    }

    /// Writes to one viewer.
    fn send_alone(
        &self,
        viewer: ViewerId,
        socket: &mut Socket<F>,
        capped: &mut Vec<ViewerId>,
    ) -> usize {
        let nothing = |prepared: &Prepared<'_, F>| prepared.bytes == 0;
        if socket.is_clear() && self.of(socket.variant).is_some_and(nothing) {
            return self.frames.len();
        }
        send_to(viewer, socket, self.frames, capped)
    }
}

/// Writes frames to one viewer. Notes it if some of them wait for its cap.
fn send_to<F: Format>(
    viewer: ViewerId,
    socket: &mut Socket<F>,
    frames: &[Arc<SharedFrame>],
    capped: &mut Vec<ViewerId>,
) -> usize {
    let sent = socket.send(frames);
    if socket.needs_turn() {
        capped.push(viewer);
    }
    sent
}

impl Sender {
    pub(crate) fn new(rings: Arc<Rings>) -> Self {
        let mut sender = Self {
            ring: None,
            again: None,
            pause: rings.first_pause,
            rings,
            results: Vec::new(),
            encrypted: Vec::new(),
            capped: Vec::new(),
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

    /// Drops the ring, which the kernel refused for longer than a moment. Another one may work.
    fn retire(&mut self) {
        if self.ring.take().is_some() {
            self.rings.close();
            self.ask_later();
        }
    }

    fn ask_later(&mut self) {
        self.again = clock::now().checked_add(self.pause);
        self.pause = self.pause.saturating_mul(2).min(LONGEST_PAUSE);
    }

    /// Whether there is a ring. Asks for one again when a pause is over.
    fn has_ring(&mut self) -> bool {
        if self.again.is_some_and(|again| again <= clock::now()) {
            self.open();
        }
        self.ring.is_some()
    }

    /// Writes to all viewers of a batch with one system call.
    fn send_together<F: Format>(
        &mut self,
        variants: &mut Variants<'_, F>,
        mut batch: LiveBatch<'_, Socket<F>>,
    ) {
        for socket in batch.states().filter(|socket| socket.is_clear()) {
            variants.prepare(socket.variant);
        }
        let mut encrypted = std::mem::take(&mut self.encrypted);
        encrypted.clear();
        for socket in batch.states_mut().filter(|socket| socket.cipher.is_some()) {
            if encrypted.len() < MAX_ENCRYPTED_BYTES
                && let Some(prepared) = variants.together(socket)
            {
                socket.encrypt_prepared(prepared, &mut encrypted);
            }
        }
        self.results.clear();
        if let Some(ring) = &mut self.ring {
            let mut records = [IoSlice::new(&[]); BATCH];
            let ciphers = batch.states().filter_map(|socket| socket.cipher.as_ref());
            let of_batch = ciphers.filter_map(|cipher| cipher.of_batch(&encrypted));
            for (slot, of_viewer) in records.iter_mut().zip(of_batch) {
                *slot = IoSlice::new(of_viewer);
            }
            let mut records = records.iter().map(std::slice::from_ref);
            let sends = batch.states().filter_map(|socket| {
                let slices = match &socket.cipher {
                    None => &variants.together(socket)?.slices[..],
                    Some(cipher) => {
                        cipher.of_batch(&encrypted)?;
                        records.next()?
                    }
                };
                Some((sys::handle(&socket.stream), slices))
            });
            if let Err(error) = ring.send(sends, &mut self.results) {
                let error: &dyn std::error::Error = &error;
                let pause = self.pause;
                warn!(
                    error,
                    ?pause,
                    "io_uring failed: one system call per viewer for a while"
                );
                self.retire();
            }
        }
        let (mut results, capped) = (self.results.drain(..), &mut self.capped);
        // Without a result, the write was not tried.
        let not_tried = || Err(io::ErrorKind::WouldBlock.into());
        batch.take(|viewer, socket| {
            if let Some(cipher) = &mut socket.cipher {
                if cipher.of_batch(&encrypted).is_none() {
                    return variants.send_alone(viewer, socket, capped);
                }
                let result = results.next().unwrap_or_else(not_tried);
                let kept = cipher.sent_of_batch(result, &encrypted);
                return socket.sent_encrypted(kept, variants.frames);
            }
            match variants.together(socket) {
                Some(prepared) => {
                    let result = results.next().unwrap_or_else(not_tried);
                    socket.sent_prepared(result, prepared, variants.frames)
                }
                None => variants.send_alone(viewer, socket, capped),
            }
        });
        drop(results);
        self.encrypted = encrypted;
    }
}

impl<F: Format> Deliver<Socket<F>> for Sender {
    fn deliver(
        &mut self,
        viewer: ViewerId,
        socket: &mut Socket<F>,
        frames: &[Arc<SharedFrame>],
    ) -> usize {
        send_to(viewer, socket, frames, &mut self.capped)
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
            // The only memory that a write reads outside the shard.
            black_box(sys::handle(&socket.stream));
        };
        let capped = &mut self.capped;
        viewers.for_each_touched(touch, |viewer, socket| {
            if socket.is_clear() {
                variants.prepare(socket.variant);
            }
            match variants.together(socket) {
                Some(prepared) => socket.send_prepared(prepared, frames),
                None => variants.send_alone(viewer, socket, capped),
            }
        });
    }

    fn ended(&mut self, _viewer: ViewerId, socket: Socket<F>, _reason: Reason) {
        // The connection learns of it from the session.
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
                "a system without io_uring is not asked again"
            );
            return;
        }
        for pauses in 1..4u32 {
            let retired = clock::now();
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
