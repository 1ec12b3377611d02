//! A stream that is segmented: its playlists, and the requests that wait for them.
//!
//! The feed changes them, requests read them. Both hold a lock for as long as it takes to find some
//! bytes, or to render a playlist once for all. Bytes are shared, never copied.

use std::{
    io::Write as _,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use livetrail_engine::{CodecId, StreamKey};
use livetrail_hls::{Decision, Found, Playlists, Reload, Resource};
use livetrail_segment::{Container, Event, Irregularity, Rendition};
use tokio::{sync::watch, time::sleep};

use super::{
    counts::{Counted, Counters},
    options::HlsOptions,
    refusal::Refusal,
    shared::Secret,
    viewers::Viewer,
};

/// A held request says this often that its viewer is there: more often than its lease is long.
const TOUCH_INTERVAL: Duration = Duration::from_secs(3);

/// A playlist as it is sent.
#[derive(Debug, Clone)]
pub(crate) struct Text {
    pub(crate) bytes: Bytes,
    pub(crate) is_gzip: bool,
}

/// Which playlists have changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Topic {
    /// A media playlist, and the parts of its rendition.
    Of(Rendition),
    /// The multivariant playlist.
    Multivariant,
}

/// A stream that is segmented. Cheap to share; nothing in it waits.
pub(crate) struct Live {
    key: StreamKey,
    container: Container,
    /// What the addresses of media have instead of a token, if caches may keep them.
    secret: Option<Secret>,
    state: Mutex<State>,
    /// Requests that are held wait for a change here.
    changes: [watch::Sender<()>; 4],
    /// When the last request came, in milliseconds of the engine's clock.
    asked_ms: AtomicU64,
    held: Arc<AtomicUsize>,
    /// Those of them that have no token.
    held_shared: Arc<AtomicUsize>,
    kept_bytes: AtomicUsize,
    counters: Arc<Counters>,
    limits: Limits,
}

/// The bounds of one stream.
#[derive(Debug, Clone, Copy)]
struct Limits {
    stream_bytes: usize,
    all_bytes: usize,
    held: usize,
    held_of_stream: usize,
    window: Duration,
}

struct State {
    playlists: Playlists,
    /// The first codec for which the container has no form.
    unsupported: Option<CodecId>,
    has_ended: bool,
    /// For each rendition the playlist and its delta update, with its compressed form.
    compressed: [[Option<(Bytes, Bytes)>; 2]; 3],
}

/// Who holds a request.
pub(crate) struct Holder<'a> {
    /// `None` for a request without a session.
    pub(crate) viewer: Option<&'a Viewer>,
    /// For a request without a token.
    pub(crate) is_shared: bool,
}

impl<'a> Holder<'a> {
    /// A client with a token, which may have a session.
    pub(crate) fn of(viewer: Option<&'a Viewer>) -> Self {
        Self {
            viewer,
            is_shared: false,
        }
    }

    /// A client without a token, such as a cache.
    pub(crate) fn shared() -> Self {
        Self {
            viewer: None,
            is_shared: true,
        }
    }
}

impl Live {
    pub(crate) fn new(
        key: StreamKey,
        secret: Option<Secret>,
        options: &HlsOptions,
        counters: Arc<Counters>,
        now_ms: u64,
    ) -> Result<Self, livetrail_hls::OptionsError> {
        let container = options.container(&key.app);
        let media_prefix = secret.as_ref().map(Secret::prefix).unwrap_or_default();
        Ok(Self {
            key,
            container,
            secret,
            state: Mutex::new(State {
                playlists: Playlists::new(options.playlists(container, media_prefix))?,
                unsupported: None,
                has_ended: false,
                compressed: Default::default(),
            }),
            changes: Default::default(),
            asked_ms: AtomicU64::new(now_ms),
            held: Arc::default(),
            held_shared: Arc::default(),
            kept_bytes: AtomicUsize::new(0),
            counters,
            limits: Limits {
                stream_bytes: options.max_stream_bytes,
                all_bytes: options.max_bytes,
                held: options.max_held,
                held_of_stream: options.max_held_per_stream,
                window: options.window,
            },
        })
    }

    pub(crate) fn key(&self) -> &StreamKey {
        &self.key
    }

    /// Whether this is the secret in the addresses of its media.
    pub(crate) fn is_secret(&self, text: &str) -> bool {
        self.secret.as_ref().is_some_and(|secret| secret.is(text))
    }

    /// For how long caches may keep its media: about as long as they can be fetched here.
    pub(crate) fn lifetime(&self) -> Duration {
        self.limits
            .window
            .max(self.longest_wait())
            .saturating_mul(2)
    }

    /// Notes a request.
    pub(crate) fn ask(&self, now_ms: u64) {
        self.asked_ms.fetch_max(now_ms, Relaxed);
    }

    pub(crate) fn asked_ms(&self) -> u64 {
        self.asked_ms.load(Relaxed)
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.state().has_ended
    }

    /// The numbers with which a stream that follows this one must start at least: of its first
    /// segment, and of its discontinuities.
    pub(crate) fn next_numbers(&self) -> (u64, u64) {
        let state = self.state();
        let sequence = state.playlists.next_sequence().unwrap_or(0);
        let discontinuity = state.playlists.discontinuity_sequence();
        (sequence, discontinuity.saturating_add(1))
    }

    /// The longest time that a request is held (section 6.2.5.2).
    pub(crate) fn longest_wait(&self) -> Duration {
        self.state().playlists.longest_wait()
    }

    /// Takes what the segmenter has made, and wakes the requests that wait for it. `streams` share
    /// the memory.
    pub(crate) fn apply(&self, events: &mut Vec<Event>, now_unix_ms: i64, streams: usize) {
        let (mut changed, mut segments) = ([false; 4], 0_u64);
        {
            let mut state = self.state();
            for event in events.drain(..) {
                match &event {
                    Event::Part(part) => note(&mut changed, Topic::Of(part.rendition)),
                    Event::Segment(segment) => {
                        segments = segments.saturating_add(1);
                        note(&mut changed, Topic::Of(segment.rendition));
                        note(&mut changed, Topic::Multivariant);
                    }
                    Event::Targets(_) => changed = [true; 4],
                    Event::Irregular(irregularity) => {
                        self.counters.irregular(irregularity);
                        if let Irregularity::UnsupportedCodec { codec } = irregularity {
                            self.note_unsupported(&mut state, *codec);
                        }
                        let stream = livetrail_engine::log::stream(&self.key);
                        tracing::debug!(%stream, what = irregularity.label(), "unusual input");
                    }
                    _ => {}
                }
                state.playlists.apply(event, now_unix_ms);
            }
            self.keep_within(&mut state, streams);
        }
        self.counters.segments.fetch_add(segments, Relaxed);
        self.wake(changed);
    }

    /// Warns of a stream's first codec that cannot be segmented. Its other tracks are.
    fn note_unsupported(&self, state: &mut State, codec: CodecId) {
        if state.unsupported.replace(codec).is_none() {
            let stream = livetrail_engine::log::stream(&self.key);
            let container = name_of(self.container);
            let codec = codec.label();
            tracing::warn!(%stream, codec, container, "HLS has no form for a track of a stream");
        }
    }

    /// Shortens the window if it is too large, or if all memory is used and this stream has more
    /// than its share.
    fn keep_within(&self, state: &mut State, streams: usize) {
        let kept = state.playlists.kept_bytes();
        let before = self.kept_bytes.swap(kept, Relaxed);
        let all = &self.counters.kept_bytes;
        all.fetch_add(kept, Relaxed);
        let all_kept = all.fetch_sub(before, Relaxed).saturating_sub(before);
        let most = if all_kept > self.limits.all_bytes {
            let share = self.limits.all_bytes.checked_div(streams.max(1));
            self.limits.stream_bytes.min(share.unwrap_or(0))
        } else {
            self.limits.stream_bytes
        };
        if kept <= most {
            return;
        }
        state.playlists.shrink(most);
        let left = state.playlists.kept_bytes();
        if left < kept {
            self.counters.shortened.fetch_add(1, Relaxed);
            self.kept_bytes.store(left, Relaxed);
            all.fetch_sub(kept.saturating_sub(left), Relaxed);
        }
    }

    /// The stream has ended: playlists say so, and nothing waits any longer.
    pub(crate) fn end(&self) {
        {
            let mut state = self.state();
            state.has_ended = true;
            state.playlists.end();
        }
        self.wake([true; 4]);
    }

    fn wake(&self, changed: [bool; 4]) {
        for (change, has_changed) in self.changes.iter().zip(changed) {
            if has_changed {
                change.send_replace(());
            }
        }
    }

    /// The multivariant playlist. Held until the stream's first segments are there.
    pub(crate) async fn multivariant(&self, holder: Holder<'_>) -> Result<Bytes, Refusal> {
        let look = |state: &mut State| match state.rendered(&self.counters, Playlists::multivariant)
        {
            Some(text) => Some(Ok(text)),
            None if state.has_ended => Some(Err(Refusal::Missing)),
            None => None,
        };
        let found = self.hold(Topic::Multivariant, holder, look).await;
        // A stream without any track that can be played would be waited for in vain for ever.
        found.map_err(|refusal| match (refusal, self.state().unsupported) {
            (Refusal::InVain(_), Some(codec)) => Refusal::Codec(codec, name_of(self.container)),
            (refusal, _) => refusal,
        })
    }

    /// A media playlist. A blocking reload is held until the playlist has what it asks for.
    pub(crate) async fn playlist(
        &self,
        rendition: Rendition,
        reload: &Reload,
        takes_gzip: bool,
        holder: Holder<'_>,
    ) -> Result<Text, Refusal> {
        let look = |state: &mut State| match state.playlists.decide(rendition, reload) {
            Decision::Now => {
                let text = state.text(rendition, reload.skip, takes_gzip, &self.counters);
                Some(text.ok_or(Refusal::Missing))
            }
            Decision::TooFar => Some(Err(Refusal::TooFar)),
            Decision::Wait => None,
            // All renditions of the stream are in the multivariant playlist.
            _ if state.has_ended || state.playlists.multivariant().is_some() => {
                Some(Err(Refusal::Missing))
            }
            _ => None,
        };
        self.hold(Topic::Of(rendition), holder, look).await
    }

    /// The content of a segment, a part or an init segment, and the number of its frames. The next
    /// part is waited for (section 6.2.6).
    pub(crate) async fn media(
        &self,
        resource: Resource,
        holder: Holder<'_>,
    ) -> Result<(Vec<Bytes>, u64), Refusal> {
        let rendition = match resource {
            Resource::Playlist(rendition)
            | Resource::Init(rendition, _)
            | Resource::Segment(rendition, _)
            | Resource::Part(rendition, ..) => rendition,
        };
        let look = |state: &mut State| match state.playlists.find(resource) {
            Found::Media(pieces) => Some(Ok((pieces, state.playlists.frames(resource)))),
            Found::Hinted => None,
            _ => Some(Err(Refusal::Missing)),
        };
        self.hold(Topic::Of(rendition), holder, look).await
    }

    /// Looks again after each change until there is an answer, for at most
    /// [`longest_wait`](Self::longest_wait). Cancel safe.
    async fn hold<T>(
        &self,
        topic: Topic,
        holder: Holder<'_>,
        mut look: impl FnMut(&mut State) -> Option<Result<T, Refusal>>,
    ) -> Result<T, Refusal> {
        let [video, audio, muxed, multivariant] = &self.changes;
        let change = match topic {
            Topic::Of(Rendition::Video) => video,
            Topic::Of(Rendition::Audio) => audio,
            Topic::Of(Rendition::Muxed) => muxed,
            Topic::Multivariant => multivariant,
        };
        // A change after this one wakes.
        let mut news = change.subscribe();
        if let Some(found) = look(&mut self.state()) {
            return found;
        }
        let _held = self.count_held(&holder)?;
        let longest = self.longest_wait();
        let mut over = std::pin::pin!(sleep(longest));
        loop {
            tokio::select! {
                _ = news.changed() => {}
                () = over.as_mut() => {
                    self.counters.held_in_vain.fetch_add(1, Relaxed);
                    return Err(Refusal::InVain(longest.checked_div(3).unwrap_or(longest)));
                }
                () = sleep(TOUCH_INTERVAL) => {}
            }
            if let Some(viewer) = holder.viewer {
                viewer.touch()?;
            }
            if let Some(found) = look(&mut self.state()) {
                return found;
            }
        }
    }

    /// Counts a held request within all bounds.
    fn count_held(&self, holder: &Holder<'_>) -> Result<[Option<Counted>; 4], Refusal> {
        let counted = || {
            let of_viewer = holder.viewer.map(|viewer| {
                let held = viewer.hold();
                held.ok_or(Refusal::Limit("requests held for one viewer"))
            });
            // The other half is for viewers.
            let of_shared = holder.is_shared.then(|| {
                let most = self.limits.held_of_stream.div_ceil(2);
                let held = Counted::new(&self.held_shared, most);
                held.ok_or(Refusal::Limit("hls.max_held_per_stream"))
            });
            let (of_viewer, of_shared) = (of_viewer.transpose()?, of_shared.transpose()?);
            let of_stream = Counted::new(&self.held, self.limits.held_of_stream);
            let of_stream = of_stream.ok_or(Refusal::Limit("hls.max_held_per_stream"))?;
            let of_all = Counted::new(&self.counters.held, self.limits.held);
            let of_all = of_all.ok_or(Refusal::Limit("hls.max_held"))?;
            Ok([of_viewer, of_shared, Some(of_stream), Some(of_all)])
        };
        let counted = counted();
        if counted.is_err() {
            self.counters.held_over_limit.fetch_add(1, Relaxed);
        }
        counted
    }

    /// The lock cannot be poisoned: nothing that can panic runs under it.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let kept = self.kept_bytes.load(Relaxed);
        self.counters.kept_bytes.fetch_sub(kept, Relaxed);
    }
}

impl State {
    /// Renders something, and counts if it was not rendered before.
    fn rendered<T>(&mut self, counters: &Counters, render: impl FnOnce(&mut Playlists) -> T) -> T {
        let before = self.playlists.renderings();
        let rendered = render(&mut self.playlists);
        let more = self.playlists.renderings().saturating_sub(before);
        counters.renderings.fetch_add(more, Relaxed);
        rendered
    }

    /// A playlist, compressed once for all who take it so.
    fn text(
        &mut self,
        rendition: Rendition,
        skip: bool,
        takes_gzip: bool,
        counters: &Counters,
    ) -> Option<Text> {
        let bytes = self.rendered(counters, |playlists| playlists.media(rendition, skip))?;
        if !takes_gzip {
            let is_gzip = false;
            return Some(Text { bytes, is_gzip });
        }
        let [whole, delta] = self.compressed.get_mut(index(Topic::Of(rendition)))?;
        let kept = if skip { delta } else { whole };
        let is_of = |of: &Bytes| of.as_ptr() == bytes.as_ptr() && of.len() == bytes.len();
        let gzip = match kept {
            Some((of, gzip)) if is_of(of) => gzip.clone(),
            _ => {
                counters.compressions.fetch_add(1, Relaxed);
                let gzip = compress(&bytes);
                *kept = Some((bytes, gzip.clone()));
                gzip
            }
        };
        Some(Text {
            bytes: gzip,
            is_gzip: true,
        })
    }
}

fn name_of(container: Container) -> &'static str {
    match container {
        Container::Cmaf => "fragmented MP4",
        Container::MpegTs => "MPEG-TS",
    }
}

fn index(topic: Topic) -> usize {
    match topic {
        Topic::Of(Rendition::Video) => 0,
        Topic::Of(Rendition::Audio) => 1,
        Topic::Of(Rendition::Muxed) => 2,
        Topic::Multivariant => 3,
    }
}

fn note(changed: &mut [bool; 4], topic: Topic) {
    if let Some(changed) = changed.get_mut(index(topic)) {
        *changed = true;
    }
}

fn compress(bytes: &[u8]) -> Bytes {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    // Writing to a vector cannot fail.
    let _ = gzip.write_all(bytes);
    gzip.finish().unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use std::{
        future::Future,
        task::{Context, Poll, Waker},
    };

    use livetrail_engine::{FrameFlags, MediaFrame};
    use livetrail_segment::Segmenter;
    use tokio::task::unconstrained;

    use super::*;

    /// A stream of sound, and how it continues.
    struct Source {
        live: Arc<Live>,
        segmenter: Segmenter,
        next: i64,
    }

    impl Source {
        fn new(options: &HlsOptions) -> Self {
            let key = StreamKey::parse("live", "cam").unwrap();
            let mut source = Self {
                live: Arc::new(Live::new(key, None, options, Arc::default(), 0).unwrap()),
                segmenter: Segmenter::new(options.segmenter(Container::Cmaf, 0, 0)).unwrap(),
                next: 0,
            };
            let config = vec![0x11, 0x90].into();
            let config = MediaFrame::audio(CodecId::Aac, 0, FrameFlags::CONFIG, config);
            source.push(&config);
            source
        }

        fn push(&mut self, frame: &MediaFrame) {
            let mut events = Vec::new();
            self.segmenter.push(frame, &mut events);
            self.live.apply(&mut events, 0, 1);
        }

        fn run(&mut self, frames: i64) {
            for _ in 0..frames {
                let time_ms = self.next * 1_024 / 48;
                let payload = vec![0x21; 60].into();
                let frame = MediaFrame::audio(CodecId::Aac, time_ms, FrameFlags::NONE, payload);
                self.push(&frame);
                self.next += 1;
            }
        }
    }

    #[tokio::test]
    async fn ten_thousand_requests_are_held_and_the_next_is_refused_by_the_name_of_the_bound() {
        let mut source = Source::new(&HlsOptions::default());
        source.run(300);
        let (live, counters) = (source.live.clone(), source.live.counters.clone());
        let sequence = live.next_numbers().0;
        let reload = Reload::parse(&format!("_HLS_msn={sequence}")).unwrap();
        let ask = || live.playlist(Rendition::Audio, &reload, false, Holder::of(None));
        // A task of the runtime may do no more than some steps of this at once.
        let held = (0..10_000).map(|_| Box::pin(unconstrained(ask())));
        let mut held: Vec<_> = held.collect();
        let mut cx = Context::from_waker(Waker::noop());
        for request in &mut held {
            assert!(request.as_mut().poll(&mut cx).is_pending());
        }
        let refused = ask().await.unwrap_err();
        assert_eq!(refused, Refusal::Limit("hls.max_held_per_stream"));
        assert_eq!(counters.held_over_limit.load(Relaxed), 1);

        source.run(100);
        let mut texts = held.iter_mut().map(|request| {
            let Poll::Ready(Ok(text)) = request.as_mut().poll(&mut cx) else {
                panic!("the segment is there");
            };
            text.bytes
        });
        let first = texts.next().unwrap();
        assert!(texts.all(|text| text.as_ptr() == first.as_ptr()));
        assert_eq!(counters.renderings.load(Relaxed), 1);
        assert_eq!(counters.held.load(Relaxed), 0);
        assert!(ask().await.is_ok());
    }
}
