//! The streams that are segmented, and their start.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use livetrail_engine::{Clock, Engine, StreamKey, log};
use livetrail_segment::Segmenter;

use super::{
    counts::Counters,
    feed::Feed,
    live::Live,
    options::{HlsCdn, HlsOptions},
    refusal::Refusal,
    shared::Secret,
};

/// 2020-01-01T00:00:00Z. Numbers of segments count from here, so that they grow over a restart.
const EPOCH_UNIX_MS: u64 = 1_577_836_800_000;
/// No segment is shorter, but for those that end with a discontinuity.
const SHORTEST_SEGMENT_MS: u64 = 500;

/// The streams that are segmented. Cloning gives another handle.
#[derive(Clone)]
pub(crate) struct Streams(Arc<Inner>);

struct Inner {
    /// Bounded by [`HlsOptions::max_streams`].
    live: Mutex<HashMap<StreamKey, Arc<Live>>>,
    count: AtomicUsize,
    options: HlsOptions,
    counters: Arc<Counters>,
}

impl Streams {
    pub(crate) fn new(options: HlsOptions, counters: Arc<Counters>) -> Self {
        Self(Arc::new(Inner {
            live: Mutex::default(),
            count: AtomicUsize::new(0),
            options,
            counters,
        }))
    }

    pub(crate) fn options(&self) -> &HlsOptions {
        &self.0.options
    }

    pub(crate) fn len(&self) -> usize {
        self.0.count.load(Relaxed)
    }

    /// How long a viewer of the stream stays without a request.
    pub(crate) fn lease(&self, live: &Live) -> Duration {
        self.0.options.idle.max(live.longest_wait())
    }

    /// The stream, if it is segmented. This is no request of a viewer: on demand, it does not keep
    /// the stream.
    pub(crate) fn find(&self, key: &StreamKey) -> Option<Arc<Live>> {
        self.live().get(key).cloned()
    }

    /// The stream, which is segmented from now on if it was not. `None` if the engine does not have
    /// it; a stream that has just ended is returned.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub(crate) fn open(
        &self,
        engine: &Engine,
        key: &StreamKey,
    ) -> Result<Option<Arc<Live>>, Refusal> {
        let Inner {
            options, counters, ..
        } = &*self.0;
        let now_ms = now_ms(&*engine.clock());
        let mut all = self.live();
        let present = all.get(key).cloned();
        if let Some(live) = &present {
            live.ask(now_ms);
            if !live.has_ended() {
                return Ok(present);
            }
        }
        let Ok(tap) = engine.tap(key) else {
            return Ok(present);
        };
        if present.is_none() && all.len() >= options.max_streams {
            counters.streams_over_limit.fetch_add(1, Relaxed);
            return Err(Refusal::Limit("hls.max_streams"));
        }
        if counters.kept_bytes.load(Relaxed) >= options.max_bytes {
            counters.streams_over_memory.fetch_add(1, Relaxed);
            return Err(Refusal::Limit("hls.max_bytes"));
        }
        let (sequence, discontinuity) = first_numbers(engine.clock().unix_ms(), present.as_deref());
        let container = options.container(&key.app);
        let segmenter = Segmenter::new(options.segmenter(container, sequence, discontinuity));
        let secret = match options.cdn {
            HlsCdn::None => None,
            HlsCdn::Segments => Some(Secret::new().ok_or(Refusal::Limit("random bytes"))?),
        };
        let live = Live::new(key.clone(), secret, options, counters.clone(), now_ms);
        let (Ok(segmenter), Ok(live)) = (segmenter, live) else {
            // The options were checked when they were set.
            return Ok(present);
        };
        let live = Arc::new(live);
        all.insert(key.clone(), live.clone());
        self.0.count.store(all.len(), Relaxed);
        drop(all);
        counters.streams_started.fetch_add(1, Relaxed);
        tracing::debug!(stream = %log::stream(key), sequence, "segmented from now on");
        let feed = Feed {
            tap,
            segmenter,
            live: live.clone(),
            streams: self.clone(),
        };
        tokio::spawn(feed.run(engine.clock()));
        Ok(Some(live))
    }

    /// Forgets a stream, unless another of its name has followed.
    pub(crate) fn remove(&self, live: &Arc<Live>) {
        let mut all = self.live();
        remove(&mut all, live);
        self.0.count.store(all.len(), Relaxed);
    }

    /// Forgets a stream if the last request for it came before this time of the engine's clock.
    /// Returns whether it is forgotten: no request finds it from now on.
    pub(crate) fn remove_unless_asked(&self, live: &Arc<Live>, since_ms: u64) -> bool {
        let mut all = self.live();
        if live.asked_ms() >= since_ms {
            return false;
        }
        remove(&mut all, live);
        self.0.count.store(all.len(), Relaxed);
        true
    }

    /// The lock cannot be poisoned: nothing that can panic runs under it.
    fn live(&self) -> MutexGuard<'_, HashMap<StreamKey, Arc<Live>>> {
        self.0.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn remove(all: &mut HashMap<StreamKey, Arc<Live>>, live: &Arc<Live>) {
    if all
        .get(live.key())
        .is_some_and(|present| Arc::ptr_eq(present, live))
    {
        all.remove(live.key());
    }
}

/// Milliseconds of the engine's clock.
pub(super) fn now_ms(clock: &dyn Clock) -> u64 {
    u64::try_from(clock.monotonic().as_millis()).unwrap_or(u64::MAX)
}

/// The numbers of a stream's first segment and discontinuity: larger than all before, also than
/// those before a restart of the server (section 6.2.2).
fn first_numbers(now_unix_ms: u64, before: Option<&Live>) -> (u64, u64) {
    let since_ms = now_unix_ms.saturating_sub(EPOCH_UNIX_MS);
    let (sequence, discontinuity) = before.map_or((0, 0), Live::next_numbers);
    (
        sequence.max(since_ms / SHORTEST_SEGMENT_MS),
        // A small number, one more each hour: hls.js walks through an array of this length, and
        // hangs for seconds if it has hundreds of millions of entries.
        discontinuity.max(since_ms / 3_600_000),
    )
}
