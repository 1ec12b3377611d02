//! A live stream: its ring, the start of a late joiner, its listeners, and its quality figures.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::{
    budget::{HeldBytes, Share},
    listener::Listener,
    ring::{Published, Ring, RingWriter},
    wire::SharedFrame,
};
use crate::{
    app::AppSettings,
    event::Reason,
    frame::{MediaFrame, MediaKind, TimeBase},
    keyframes::Keyframes,
    qos::{Qos, QosWriter},
};

/// The maximum number of configurations of a stream: a further one is carried, but not kept for
/// late joiners.
const MAX_CONFIGS: usize = 32;

/// The maximum number of bytes of all configurations together.
const MAX_CONFIG_BYTES: u64 = 4 << 20;

/// After this long without a video frame, sound no longer waits for the picture: the camera was
/// switched off.
const NO_VIDEO_US: u64 = 1_000_000;

/// A stream shows which media it carries within this time from its first frame.
const SHOWN_US: u64 = 1_000_000;

/// A stream without a video frame for this long has no picture for a viewer that joins now.
const DARK_US: u64 = 5_000_000;

/// The media that a stream carries: what has come, not what was announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Carries {
    /// Sound has come.
    pub audio: bool,
    /// Video has come in the last five seconds.
    pub video: bool,
}

/// Where a viewer may start, and what it needs first. Replaced as a whole, so that a joining viewer
/// reads one consistent state.
pub(crate) struct Replay {
    /// The start of the current GOP, if the whole GOP is in the ring.
    pub(crate) gop: Option<Position>,
    /// The newest position whose configurations are known; they apply to each frame from there to
    /// the head.
    pub(crate) live: Position,
    /// Whether the stream has video: its viewers then start with a keyframe.
    pub(crate) has_video: bool,
}

/// A frame, and the decoder configurations and metadata that apply before it, with that frame's
/// time.
#[derive(Clone)]
pub(crate) struct Position {
    pub(crate) seq: u64,
    pub(crate) configs: Configs,
}

/// Configurations to deliver before a frame.
pub(crate) type Configs = Arc<[Arc<SharedFrame>]>;

/// A live stream.
pub(crate) struct Stream {
    pub(crate) settings: Arc<AppSettings>,
    pub(crate) qos: Qos,
    pub(crate) keyframes: Keyframes,
    pub(super) ring: Arc<Ring>,
    pub(super) replay: ArcSwap<Replay>,
    listeners: ArcSwap<Vec<Listener>>,
    closed: AtomicBool,
    /// It has or had a publisher.
    published: AtomicBool,
    /// It had a publisher, and has none now.
    paused: AtomicBool,
    /// When the newest frame came, by the engine's clock in microseconds.
    pushed_us: AtomicU64,
    /// The same of the newest video frame.
    video_us: AtomicU64,
    /// When the first frame came that is not a configuration.
    first_us: AtomicU64,
    /// Sound has come.
    has_audio: AtomicBool,
    /// Number of the frame after the newest video frame; 0 before the first.
    video_next: AtomicU64,
    /// The video track whose keyframes count: the lowest that has come. GOPs of other tracks begin
    /// elsewhere.
    gop_track: AtomicU8,
    /// Live viewers, for limits and for people.
    pub(crate) subscribers: AtomicU64,
    /// Readers that are not sessions, for people.
    pub(crate) taps: AtomicU64,
    /// Publishers of this stream: more than one while one takes over from another. Changed under
    /// the registry's lock.
    pub(crate) publishers: AtomicU64,
    /// How many publications have begun.
    pub(crate) publications: watch::Sender<u64>,
    /// Number of the first frame of the newest publication. A reader that sees one of its frames
    /// sees this too.
    pub(crate) publication_seq: AtomicU64,
}

impl Stream {
    pub(crate) fn new(settings: Arc<AppSettings>, share: Share, now_ms: u64) -> Self {
        Self {
            ring: Arc::new(Ring::new(settings.ring_capacity, share)),
            replay: ArcSwap::from_pointee(Replay {
                gop: None,
                live: Position {
                    seq: 0,
                    configs: Arc::new([]),
                },
                has_video: false,
            }),
            listeners: ArcSwap::default(),
            closed: AtomicBool::new(false),
            published: AtomicBool::new(false),
            paused: AtomicBool::new(false),
            pushed_us: AtomicU64::new(0),
            video_us: AtomicU64::new(0),
            first_us: AtomicU64::new(u64::MAX),
            has_audio: AtomicBool::new(false),
            video_next: AtomicU64::new(0),
            gop_track: AtomicU8::new(u8::MAX),
            subscribers: AtomicU64::new(0),
            taps: AtomicU64::new(0),
            publishers: AtomicU64::new(0),
            publications: watch::Sender::new(0),
            publication_seq: AtomicU64::new(0),
            qos: Qos::new(now_ms),
            keyframes: Keyframes::default(),
            settings,
        }
    }

    /// Sequence number of the next frame.
    pub(crate) fn head(&self) -> u64 {
        self.ring.head()
    }

    /// An account of the memory budget for what is held for one viewer.
    pub(crate) fn held_bytes(&self) -> HeldBytes {
        self.ring.held_bytes()
    }

    /// When the newest frame came, by the engine's clock in microseconds.
    pub(crate) fn pushed_us(&self) -> u64 {
        self.pushed_us.load(Ordering::Relaxed)
    }

    /// The frames that are published now, as far as they still exist.
    pub(super) fn published(&self) -> Published<'_> {
        self.ring.read()
    }

    /// Whether there is a picture to wait for from frame `seq` on: the stream has shown that it has
    /// video, and has not stopped sending it [`NO_VIDEO_US`] before its newest frame.
    ///
    /// Call this after reading the frames: a reader that has seen a video frame gets `true`.
    pub(crate) fn has_video(&self, seq: u64) -> bool {
        if !self.replay.load().has_video {
            return false;
        }
        let since = || {
            let newest = self.pushed_us.load(Ordering::Relaxed);
            newest.saturating_sub(self.video_us.load(Ordering::Relaxed))
        };
        self.video_next.load(Ordering::Relaxed) > seq || since() < NO_VIDEO_US
    }

    /// The media that it carries; `None` in its first second.
    pub(super) fn carries(&self) -> Option<Carries> {
        let newest = self.pushed_us();
        if newest.saturating_sub(self.first_us.load(Ordering::Relaxed)) < SHOWN_US {
            return None;
        }
        let dark = newest.saturating_sub(self.video_us.load(Ordering::Relaxed)) >= DARK_US;
        Some(Carries {
            audio: self.has_audio.load(Ordering::Relaxed),
            video: self.video_next.load(Ordering::Relaxed) > 0 && !dark,
        })
    }

    /// Whether decoding can start at this frame.
    pub(super) fn is_start(&self, frame: &MediaFrame) -> bool {
        frame.is_keyframe() && frame.track <= self.gop_track.load(Ordering::Relaxed)
    }

    /// The current decoder configurations and metadata.
    pub(crate) fn configs(&self) -> Vec<MediaFrame> {
        self.replay
            .load()
            .live
            .configs
            .iter()
            .map(|c| c.frame().clone())
            .collect()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Marks the end: no frame follows. Wakes each viewer, even if handles to the stream remain.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.notify();
    }

    /// Marks that it has no publisher for a while: a viewer that joins now waits for the next
    /// publisher, and gets nothing of the last one's frames.
    pub(crate) fn pause(&self) {
        self.replay.store(Arc::new(Replay {
            gop: None,
            live: Position {
                seq: self.head(),
                configs: Arc::new([]),
            },
            has_video: false,
        }));
        self.paused.store(true, Ordering::Release);
        self.notify();
    }

    /// Whether it had a publisher and has none now.
    pub(crate) fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Acquire)
    }

    /// Why its viewers end when it is closed.
    pub(crate) fn close_reason(&self) -> Reason {
        if self.published.load(Ordering::Relaxed) {
            Reason::StreamEnded
        } else {
            Reason::StreamNotFound
        }
    }

    pub(crate) fn notify(&self) {
        for listener in self.listeners.load().iter() {
            listener.notify();
        }
    }

    pub(crate) fn listen(&self, listener: &Listener) {
        self.listeners.rcu(|all| {
            let mut all = Vec::clone(all);
            all.push(listener.clone());
            all
        });
        // A frame or the end may have come between the caller's last check and now.
        listener.notify();
    }

    pub(crate) fn unlisten(&self, listener: &Listener) {
        self.listeners.rcu(|all| {
            let mut all = Vec::clone(all);
            if let Some(at) = all.iter().position(|l| l.same(listener)) {
                all.swap_remove(at);
            }
            all
        });
    }
}

/// The publisher's end of a stream.
pub(crate) struct Writer {
    stream: Arc<Stream>,
    ring: RingWriter,
    qos: QosWriter,
    configs: Vec<MediaFrame>,
    has_video: bool,
    begun: bool,
    has_audio: bool,
    gop_track: u8,
    gop: Option<Gop>,
    /// Frames of the previous GOP, as far as it was replayed.
    last_gop_frames: u64,
    /// Time of the newest frame, and its unit.
    newest: (i64, TimeBase),
    /// Set for a second or later publisher of this stream.
    resumed: Option<Resumed>,
}

/// A publisher that continues another's stream: its times are shifted, so that the stream's times
/// continue.
struct Resumed {
    /// The stream's time when the publisher started, in milliseconds.
    began_ms: i64,
    /// The shift of its times, in milliseconds; known with its first frame that is not a
    /// configuration.
    shift_ms: Option<i64>,
    /// No keyframe has come: frames that depend on a missing one are not sent.
    need_keyframe: bool,
}

impl Resumed {
    /// Shifts the frame's times. Returns `false` if it must not be sent.
    fn takes(&mut self, frame: &mut MediaFrame) -> bool {
        let ticks = |ms: i64| {
            let ticks = i128::from(ms) * i128::from(frame.time_base.hz()) / 1_000;
            i64::try_from(ticks).unwrap_or(if ms < 0 { i64::MIN } else { i64::MAX })
        };
        if frame.is_config() && self.shift_ms.is_none() {
            (frame.dts, frame.pts) = (ticks(self.began_ms), ticks(self.began_ms));
            return true;
        }
        if frame.kind == MediaKind::Video && !frame.is_config() && self.need_keyframe {
            if !frame.is_keyframe() {
                return false;
            }
            self.need_keyframe = false;
        }
        let shift_ms = *self.shift_ms.get_or_insert_with(|| {
            let first_ms = frame.time_base.to_millis(frame.dts);
            self.began_ms.saturating_sub(first_ms)
        });
        let shift = ticks(shift_ms);
        frame.dts = frame.dts.saturating_add(shift);
        frame.pts = frame.pts.saturating_add(shift);
        true
    }
}

/// The GOP that is being written.
struct Gop {
    /// Its keyframe's number.
    seq: u64,
    video_frames: u64,
    bytes: u64,
    truncated: bool,
}

/// A GOP has just outgrown its cache.
pub(crate) struct Truncated {
    pub(crate) frames: u64,
    pub(crate) bytes: u64,
}

impl Writer {
    pub(crate) fn new(stream: Arc<Stream>) -> Self {
        Self {
            ring: RingWriter::new(stream.ring.clone(), stream.settings.ring_bytes()),
            qos: QosWriter::default(),
            configs: Vec::new(),
            has_video: false,
            begun: false,
            has_audio: false,
            gop_track: u8::MAX,
            gop: None,
            last_gop_frames: 0,
            newest: (0, TimeBase::MILLIS),
            resumed: None,
            stream,
        }
    }

    /// Starts a publisher's writes, possibly after another publisher.
    pub(crate) fn begin(&mut self, now: Duration) {
        let stream = &self.stream;
        let first_seq = self.ring.next_seq();
        stream.publication_seq.store(first_seq, Ordering::Release);
        stream.paused.store(false, Ordering::Release);
        stream.publications.send_modify(|begun| *begun += 1);
        stream.qos.touch(now.as_millis() as u64);
        if !stream.published.swap(true, Ordering::Relaxed) {
            return;
        }
        let silent_us = (now.as_micros() as u64).saturating_sub(stream.pushed_us());
        let silent_ms = i64::try_from(silent_us / 1_000).unwrap_or(i64::MAX).max(1);
        let (time, base) = self.newest;
        self.resumed = Some(Resumed {
            began_ms: base.to_millis(time).saturating_add(silent_ms),
            shift_ms: None,
            need_keyframe: true,
        });
        // No state of the other publisher applies to the new frames.
        stream.first_us.store(u64::MAX, Ordering::Relaxed);
        stream.has_audio.store(false, Ordering::Relaxed);
        stream.gop_track.store(u8::MAX, Ordering::Relaxed);
        (self.begun, self.has_audio, self.has_video) = (false, false, false);
        self.gop_track = u8::MAX;
        self.qos = QosWriter::default();
        self.configs.clear();
        self.ring.other_bytes = 0;
        (self.gop, self.last_gop_frames) = (None, 0);
        let place = self.place(self.ring.next_seq(), None);
        self.publish_replay(None, place);
    }

    /// Publishes a frame and wakes the listeners. Never waits.
    pub(crate) fn push(&mut self, mut frame: MediaFrame, now: Duration) -> Option<Truncated> {
        if let Some(resumed) = &mut self.resumed
            && !resumed.takes(&mut frame)
        {
            return None;
        }
        if !frame.is_config() {
            self.newest = (frame.dts, frame.time_base);
        }
        let now_ms = now.as_millis() as u64;
        let now_us = now.as_micros() as u64;
        self.stream.pushed_us.store(now_us, Ordering::Relaxed);
        self.qos.frame(&self.stream.qos, &frame, now_ms);
        let seq = self.ring.next_seq();
        self.note(seq, &frame, now_us);
        let truncated = self.keep(seq, &frame);
        let keep = self.keep_frames(seq);
        self.ring.push(Arc::new(SharedFrame::new(seq, frame)), keep);
        self.stream.notify();
        truncated
    }

    /// Sets what readers decide by. This happens before the frame is published: a reader that sees
    /// the frame sees this too.
    fn note(&mut self, seq: u64, frame: &MediaFrame, now_us: u64) {
        let stream = &self.stream;
        if frame.kind == MediaKind::Video {
            stream.video_us.store(now_us, Ordering::Relaxed);
        }
        if frame.is_config() {
            return;
        }
        if !std::mem::replace(&mut self.begun, true) {
            stream.first_us.store(now_us, Ordering::Relaxed);
        }
        match frame.kind {
            MediaKind::Video => {
                stream.video_next.store(seq + 1, Ordering::Relaxed);
                if frame.track < self.gop_track {
                    self.gop_track = frame.track;
                    stream.gop_track.store(frame.track, Ordering::Relaxed);
                }
                // A reader that joins after this frame, and needs a keyframe, asks after this.
                stream.keyframes.frame(stream.is_start(frame), now_us);
            }
            MediaKind::Audio if !self.has_audio => {
                self.has_audio = true;
                stream.has_audio.store(true, Ordering::Relaxed);
            }
            MediaKind::Audio | MediaKind::Data => {}
        }
    }

    /// Updates the start of late joiners before the frame is published. A joiner that sees the new
    /// replay waits for the frame; one that sees the old replay finds the frame in the ring.
    fn keep(&mut self, seq: u64, frame: &MediaFrame) -> Option<Truncated> {
        if frame.is_config() {
            self.keep_config(seq, frame);
            return None;
        }
        if frame.kind == MediaKind::Video && !self.has_video && !frame.is_keyframe() {
            // A viewer that only heard sound until now must not get a picture that it cannot
            // decode.
            self.has_video = true;
            self.publish_replay(None, self.stream.replay.load().live.clone());
        }
        if frame.is_keyframe() && frame.track == self.gop_track {
            self.begin_gop(seq, frame);
        }
        let settings = &self.stream.settings;
        let gop = self.gop.as_mut()?;
        gop.video_frames += u64::from(frame.kind == MediaKind::Video);
        gop.bytes += frame.payload.len() as u64;
        let frames = seq + 1 - gop.seq;
        let fits = gop.video_frames <= settings.gop_cache_frames as u64
            && frames <= settings.gop_ring_frames() as u64
            && gop.bytes <= settings.gop_cache_bytes as u64;
        if fits || gop.truncated {
            return None;
        }
        gop.truncated = true;
        let truncated = Truncated {
            frames,
            bytes: gop.bytes,
        };
        self.publish_replay(None, self.place(seq, Some(frame)));
        Some(truncated)
    }

    fn begin_gop(&mut self, seq: u64, frame: &MediaFrame) {
        self.has_video = true;
        let place = self.place(seq, Some(frame));
        if !self.stream.settings.keeps_gops() {
            return self.publish_replay(None, place);
        }
        self.last_gop_frames = self.gop_frames(seq);
        self.gop = Some(Gop {
            seq,
            video_frames: 0,
            bytes: 0,
            truncated: false,
        });
        self.publish_replay(Some(place.clone()), place);
    }

    /// How many of the newest frames a reader may need once frame `seq` is there: the allowed lag,
    /// and before that the replay in which the reader may still be, which does not count as lag.
    fn keep_frames(&self, seq: u64) -> u64 {
        let settings = &self.stream.settings;
        let replay = self.last_gop_frames.max(self.gop_frames(seq));
        let behind = settings.subscriber_max_lag.saturating_add(replay);
        // A host that requested a deeper ring has a use for it.
        behind
            .saturating_add(settings.spare_ring_frames() as u64)
            .saturating_add(2)
    }

    /// Frames below `seq` of the GOP that is being written, as far as it is replayed.
    fn gop_frames(&self, seq: u64) -> u64 {
        let cached = self.stream.settings.gop_ring_frames() as u64;
        let gop = self.gop.as_ref();
        gop.map_or(0, |gop| {
            seq.saturating_sub(gop.seq).min(cached.saturating_add(1))
        })
    }

    fn keep_config(&mut self, seq: u64, frame: &MediaFrame) {
        self.has_video |= frame.kind == MediaKind::Video;
        // A further description of a track is kept next to its configuration.
        let key = |c: &MediaFrame| (c.kind, c.track, c.is_metadata());
        let known = self.configs.iter().position(|c| key(c) == key(frame));
        let before = known.map_or(0, |known| self.configs[known].payload.len() as u64);
        let others = self.ring.other_bytes - before;
        let fits = others + frame.payload.len() as u64 <= MAX_CONFIG_BYTES;
        match known {
            Some(known) if fits => self.configs[known] = frame.clone(),
            // The earlier configuration no longer applies.
            Some(known) => drop(self.configs.remove(known)),
            None if fits && self.configs.len() < MAX_CONFIGS => self.configs.push(frame.clone()),
            None => return,
        }
        let kept = if fits { frame.payload.len() as u64 } else { 0 };
        self.ring.other_bytes = others + kept;
        // A viewer that starts at the GOP's keyframe finds this configuration in the ring.
        let gop = self.stream.replay.load().gop.clone();
        self.publish_replay(gop, self.place(seq + 1, None));
    }

    /// Configurations get the time of the frame after them: a client that takes its clock from the
    /// first message must not wait for the time between.
    fn place(&self, seq: u64, before: Option<&MediaFrame>) -> Position {
        let configs = self.configs.iter().map(|config| {
            let mut config = config.clone();
            if let Some(frame) = before {
                (config.dts, config.pts, config.time_base) =
                    (frame.dts, frame.dts, frame.time_base);
            }
            let stream = Arc::downgrade(&self.stream);
            Arc::new(SharedFrame::replayed(seq, config, stream))
        });
        Position {
            seq,
            configs: configs.collect(),
        }
    }

    fn publish_replay(&self, gop: Option<Position>, live: Position) {
        self.stream.replay.store(Arc::new(Replay {
            gop,
            live,
            has_video: self.has_video,
        }));
    }
}
