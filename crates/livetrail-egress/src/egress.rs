//! The sender threads, for gateways.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use livetrail_engine::{Playback, Spread};
use tokio::sync::oneshot;

use crate::{
    format::Format,
    output::Output,
    rings::Rings,
    signal::WriteSignal,
    socket::Socket,
    thread::{Command, Thread, ThreadHandle},
    unwritten::Unwritten,
    viewer::{Attaching, ViewerHandle},
};

/// Without a send interval, viewers of one stream that one thread serves before the next thread
/// serves that stream as well. A thread has written to half of them after a quarter of a
/// millisecond.
const MIN_PER_THREAD: usize = 64;
/// The most with a send interval.
const MAX_PER_THREAD: usize = 1_024;
/// The approximate duration of a write.
const WRITE_TIME: Duration = Duration::from_micros(4);

/// The settings of the sender threads. Each gateway's configuration contains one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct EgressConfig {
    /// Threads; 0 is one for each processor. Default 0.
    pub threads: usize,
    /// How long a frame waits for the frames after it, so that fewer and larger writes send them
    /// together. Zero sends each frame as it comes. A viewer's first frames never wait.
    ///
    /// Default 10 ms, somewhat less than half the time of an AAC frame: most sound then travels
    /// with the picture next to it, and the last of a thousand viewers has both within 20 ms.
    pub send_interval: Duration,
    /// Whether the threads use io_uring where the system allows it: one system call then writes a
    /// frame to up to 256 viewers. Default true.
    ///
    /// Where io_uring does not work, that is logged, and each viewer costs one system call. If it
    /// stops working, it is tried again after a pause of 1 s, which doubles up to a minute. The
    /// process aborts if the kernel does not release borrowed memory: see [`livetrail_uring`].
    pub io_uring: bool,
}

impl Default for EgressConfig {
    fn default() -> Self {
        Self {
            threads: 0,
            // Half of 1,024 samples at 44.1 kHz are 11.6 ms. Publishers and timers are late by up
            // to 3 ms.
            send_interval: Duration::from_millis(10),
            io_uring: true,
        }
    }
}

/// The sender threads. Dropping it stops them once they have no viewers.
pub struct Egress<F: Format> {
    threads: Vec<ThreadHandle<F>>,
    rings: Arc<Rings>,
    spread: Arc<Spread>,
}

/// Counts an egress's threads that write by io_uring. It does not keep them alive.
#[derive(Debug, Clone)]
pub struct IoUringUse(Arc<Rings>);

impl IoUringUse {
    /// The current count.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.0.in_use()
    }
}

impl<F: Format> Egress<F> {
    /// Starts the threads; `name` becomes part of their names.
    ///
    /// # Errors
    /// The system cannot start a thread.
    pub fn start(name: &str, config: EgressConfig) -> io::Result<Self> {
        let count = match config.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            count => count,
        };
        let rings = Arc::new(Rings::new(name, config.io_uring));
        let threads = (0..count).map(|n| {
            let (thread, handle) = Thread::new(rings.clone(), config.send_interval);
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build()?;
            std::thread::Builder::new()
                .name(format!("{name}-egress-{n}"))
                .spawn(move || runtime.block_on(thread.run()))?;
            Ok(handle)
        });
        Ok(Self {
            threads: threads.collect::<io::Result<_>>()?,
            rings,
            spread: Spread::new(count, viewers_per_thread(config.send_interval)),
        })
    }

    /// The current number of viewers.
    #[must_use]
    pub fn viewers(&self) -> usize {
        self.spread.placed()
    }

    /// The number of threads that write by io_uring. A thread tries it before its first viewer.
    #[must_use]
    pub fn io_uring_threads(&self) -> usize {
        self.rings.in_use()
    }

    /// The same number for later, without access to the egress.
    #[must_use]
    pub fn io_uring_use(&self) -> IoUringUse {
        IoUringUse(self.rings.clone())
    }

    /// Attaches a viewer, whose socket gets `first` before any frame, and after what its cipher has
    /// pending. `None` when the threads are full or have stopped: the session has then ended.
    ///
    /// If the future is dropped, the session ends. Needs no runtime: each thread has its own.
    pub async fn attach(
        &self,
        playback: Playback,
        output: impl Into<Output>,
        first: Bytes,
        variant: F::Variant,
    ) -> Option<ViewerHandle<F>> {
        let Output { stream, mut cipher } = output.into();
        if let Some(cipher) = &mut cipher {
            cipher.hold(Some(playback.held_bytes()));
        }
        // Counted before the viewer can learn that it may play.
        let placed = self.spread.place(playback.key());
        let thread = self.threads.get(placed.worker())?.clone();
        let signal = Arc::new(WriteSignal::default());
        let mut unwritten = Unwritten::new(variant);
        unwritten.push(&first);
        let cap = playback.egress_cap().cloned();
        let (reply, answer) = oneshot::channel();
        let mut attaching = Attaching::new(answer, thread.clone());
        let command = Command::Attach {
            playback: Box::new(playback),
            socket: Socket::new(stream.clone(), cipher, unwritten, variant, signal.clone())
                .capped(cap),
            reply,
        };
        thread.commands.send(command).await.ok()?;
        let viewer = attaching.viewer().await?;
        Some(ViewerHandle::new(viewer, thread, stream, signal, placed))
    }
}

/// The number of a stream's viewers that share a thread: as many as it writes to in a quarter of
/// the send interval.
///
/// Splitting a stream over two threads lowers latency but raises cost, because both processors then
/// contend for the state that all sockets share. Measured with a thousand viewers at 10 ms: sharing
/// a thread for half of the interval saves 10 % of the processor time, and the last viewer gets a
/// frame after 21 ms instead of 18.
fn viewers_per_thread(send_interval: Duration) -> usize {
    let four_writes = WRITE_TIME.saturating_mul(4).as_nanos();
    let writes = send_interval.as_nanos().checked_div(four_writes);
    usize::try_from(writes.unwrap_or(0))
        .unwrap_or(usize::MAX)
        .clamp(MIN_PER_THREAD, MAX_PER_THREAD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_longer_send_interval_lets_more_viewers_share_a_thread_within_bounds() {
        for (micros, viewers) in [
            (0, 64),
            (500, 64),
            (2_000, 125),
            (8_000, 500),
            (10_000, 625),
            (1_000_000, 1_024),
        ] {
            assert_eq!(viewers_per_thread(Duration::from_micros(micros)), viewers);
        }
        assert_eq!(viewers_per_thread(Duration::MAX), 1_024);
    }
}
