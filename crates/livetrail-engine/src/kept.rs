//! Streams that are kept for their viewers while they have no publisher: before the first one
//! comes, and while an encoder reconnects
//! ([`AppSpec::wait_for_publisher`](crate::AppSpec::wait_for_publisher)).
//!
//! The stream stays the same, with its ring, its viewers and their cursors. There is one writer: a
//! publisher leaves it here when its handle is dropped, and the next one takes it. So two
//! publishers can never write at once, whatever happens to a stale connection.
//!
//! **Bounds.** A stream is kept for at most the time that its application allows, and only while it
//! has viewers. [`Limits::max_waiting_viewers`](crate::Limits) bounds viewers that come while there
//! is no publisher, and [`MAX_UNPUBLISHED`] bounds streams that were never published.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use crate::{
    bus::{Stream, Writer},
    event::Reason,
    identity::StreamKey,
    lifecycle::SessionCore,
};

/// The maximum number of streams that have waiting viewers and were never published.
const MAX_UNPUBLISHED: usize = 256;

/// Streams without a publisher, and writers for their next publisher.
#[derive(Default)]
pub(crate) struct KeptStreams {
    streams: HashMap<StreamKey, Kept>,
}

struct Kept {
    stream: Arc<Stream>,
    /// `None` while a handle of the previous publisher exists.
    writer: Option<Writer>,
    /// When it ends, by the engine's clock; `None` while it has a publisher.
    until: Option<Duration>,
}

impl KeptStreams {
    pub(crate) fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    pub(crate) fn get(&self, key: &StreamKey) -> Option<&Arc<Stream>> {
        self.streams.get(key).map(|kept| &kept.stream)
    }

    /// Whether this stream is kept.
    fn holds(&self, key: &StreamKey, stream: &Arc<Stream>) -> bool {
        self.get(key).is_some_and(|kept| Arc::ptr_eq(kept, stream))
    }

    /// Viewers of streams that have no publisher.
    pub(crate) fn viewers(&self) -> u64 {
        let waiting = self.streams.values().filter(|kept| kept.until.is_some());
        waiting
            .map(|kept| kept.stream.subscribers.load(Relaxed))
            .sum()
    }

    /// Keeps a stream that was never published. Returns `false` if there are too many.
    pub(crate) fn wait(&mut self, key: &StreamKey, stream: &Arc<Stream>, until: Duration) -> bool {
        if self.streams.len() >= MAX_UNPUBLISHED {
            return false;
        }
        self.streams.insert(
            key.clone(),
            Kept {
                stream: stream.clone(),
                writer: Some(Writer::new(stream.clone())),
                until: Some(until),
            },
        );
        true
    }

    /// Notes that a publisher has started on this stream.
    pub(crate) fn published(&mut self, key: &StreamKey) {
        if let Some(kept) = self.streams.get_mut(key) {
            kept.until = None;
        }
    }

    /// Keeps a stream that has lost its publisher, which may still have the writer.
    pub(crate) fn keep(&mut self, key: &StreamKey, stream: &Arc<Stream>, until: Duration) {
        stream.pause();
        match self.streams.entry(key.clone()) {
            Entry::Occupied(mut kept) if Arc::ptr_eq(&kept.get().stream, stream) => {
                kept.get_mut().until = Some(until);
            }
            // Another stream of this name has waiting viewers; the viewers of this one have lost.
            Entry::Occupied(_) => stream.close(),
            Entry::Vacant(vacant) => {
                vacant.insert(Kept {
                    stream: stream.clone(),
                    writer: None,
                    until: Some(until),
                });
            }
        }
    }

    /// Keeps the writer of a publisher whose handle is gone for the next publisher, if the stream
    /// continues.
    pub(crate) fn park(&mut self, key: &StreamKey, stream: &Arc<Stream>, writer: Writer) {
        if self.holds(key, stream) {
            if let Some(kept) = self.streams.get_mut(key) {
                kept.writer = Some(writer);
            }
        } else if !stream.is_closed() && !self.streams.contains_key(key) {
            self.streams.insert(
                key.clone(),
                Kept {
                    stream: stream.clone(),
                    writer: Some(writer),
                    until: None,
                },
            );
        }
    }

    /// Takes the writer of this stream, for its publisher.
    pub(crate) fn take_writer(&mut self, key: &StreamKey, stream: &Arc<Stream>) -> Option<Writer> {
        if !self.holds(key, stream) {
            return None;
        }
        let writer = self.streams.get_mut(key)?.writer.take()?;
        self.streams.remove(key);
        Some(writer)
    }

    /// Forgets this stream.
    pub(crate) fn forget(&mut self, key: &StreamKey, stream: &Arc<Stream>) {
        if self.holds(key, stream) {
            self.streams.remove(key);
        }
    }

    /// Takes the streams whose time is over, and those without viewers.
    pub(crate) fn take_expired(&mut self, now: Duration) -> Vec<Arc<Stream>> {
        let is_over = |kept: &Kept| {
            let watched = kept.stream.subscribers.load(Relaxed) > 0;
            kept.until.is_some_and(|until| until <= now || !watched)
        };
        let over = self.streams.extract_if(|_, kept| is_over(kept));
        over.map(|(_, kept)| kept.stream).collect()
    }

    /// Takes all streams.
    pub(crate) fn take_all(&mut self) -> Vec<Arc<Stream>> {
        let all = std::mem::take(&mut self.streams);
        all.into_values().map(|kept| kept.stream).collect()
    }
}

/// Whether viewers wait for another publisher after one has ended for this reason.
pub(crate) fn may_come_back(core: &SessionCore, reason: &Reason) -> bool {
    !core.stream.settings.wait_for_publisher.is_zero()
        && !matches!(
            reason,
            Reason::Kicked | Reason::CredentialsRevoked | Reason::ServerShutdown
        )
}
