//! A reader's cursor in a stream: where it starts, what it gets next, and what happens if it is too
//! slow.

use std::sync::Arc;

use super::{
    stream::{Configs, Stream},
    wire::SharedFrame,
};
use crate::frame::MediaKind;

/// A reader's cursor. It holds no frames except the configurations that it has yet to return.
pub(crate) struct Cursor {
    /// Number of the next frame to read.
    next: u64,
    /// Video is skipped until a keyframe comes.
    need_keyframe: bool,
    sound: Sound,
    /// Configurations to return before the next frame.
    configs: Configs,
    configs_done: usize,
    /// Lag that the replay itself caused. It is forgiven until the reader has caught up once.
    grace: u64,
}

/// The result of [`Cursor::collect`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Frames, possibly none for now.
    Frames,
    /// The reader was too far behind and was moved forward; it skipped this many frames. Collect
    /// again.
    Skipped(u64),
    /// No frames are left, and none will come.
    End,
}

impl Cursor {
    /// A cursor for a new reader: at the current GOP if it is available, else at the next keyframe.
    pub(crate) fn join(stream: &Stream) -> Self {
        let mut cursor = Self {
            next: 0,
            need_keyframe: true,
            sound: Sound::default(),
            configs: Arc::new([]),
            configs_done: 0,
            grace: 0,
        };
        cursor.restart(stream, 0);
        cursor
    }

    /// How many frames this cursor is behind the newest.
    pub(crate) fn lag(&self, stream: &Stream) -> u64 {
        stream.head().saturating_sub(self.next)
    }

    /// Number of the next frame to read.
    pub(crate) fn position(&self) -> u64 {
        self.next
    }

    /// Puts up to `limit` frames, all below `until`, into `out`, without moving.
    /// [`commit`](Self::commit) moves past the frames that were taken.
    ///
    /// `out` begins with the due configurations. Moves past frames that this reader does not get.
    pub(crate) fn collect(
        &mut self,
        stream: &Stream,
        out: &mut Vec<Arc<SharedFrame>>,
        limit: usize,
        until: u64,
    ) -> Found {
        out.clear();
        // Closed is read before the head: frames published before the end are still returned.
        let closed = stream.is_closed();
        let mut published = stream.ring.read();
        let head = published.head();
        let lag = head.saturating_sub(self.next);
        if lag <= stream.settings.subscriber_max_lag {
            self.grace = 0;
        }
        if self.next < stream.ring.tail() || lag > stream.settings.subscriber_max_lag + self.grace {
            return self.skip(stream);
        }
        out.extend(
            self.configs[self.configs_done..]
                .iter()
                .take(limit)
                .cloned(),
        );
        let mut need_keyframe = self.need_keyframe;
        let mut seq = self.next;
        while seq < head.min(until) && out.len() < limit {
            let Some(frame) = published.get(seq) else {
                // The frame was freed meanwhile.
                return self.skip(stream);
            };
            let starts = stream.is_start(frame);
            if !need_keyframe || frame.is_config() || starts || self.sound.goes(frame, stream) {
                need_keyframe &= !starts;
                out.push(frame.clone());
            } else if out.is_empty() {
                self.next = seq + 1;
            }
            seq += 1;
        }
        if out.is_empty() && closed && self.next >= head {
            Found::End
        } else {
            Found::Frames
        }
    }

    /// Moves past the first `taken` frames of [`collect`](Self::collect).
    pub(crate) fn commit(&mut self, stream: &Stream, frames: &[Arc<SharedFrame>], taken: usize) {
        let configs = (self.configs.len() - self.configs_done).min(taken);
        self.configs_done += configs;
        if self.configs_done == self.configs.len() && !self.configs.is_empty() {
            self.configs = Arc::new([]);
            self.configs_done = 0;
        }
        for frame in frames.iter().take(taken).skip(configs) {
            self.next = frame.seq() + 1;
            self.need_keyframe &= !stream.is_start(frame);
        }
    }

    /// Whether the next frame is `seq` and this reader takes it, whatever it is. Such readers can
    /// share one batch. If there is no video to wait for, no reader waits for a keyframe.
    pub(crate) fn is_live_at(&self, seq: u64, has_video: bool) -> bool {
        self.next == seq
            && !(self.need_keyframe && has_video)
            && self.configs_done == self.configs.len()
    }

    /// Moves a live reader that has taken all frames below `seq`.
    pub(crate) fn move_live(&mut self, seq: u64) {
        self.next = seq;
        self.grace = 0;
    }

    /// Continues at the newest keyframe, with configurations: the current GOP's if it lies ahead,
    /// else the next one's.
    fn skip(&mut self, stream: &Stream) -> Found {
        let from = self.next;
        self.restart(stream, from + 1);
        Found::Skipped(self.next - from)
    }

    /// Finds the newest start position that is not before `floor`.
    fn restart(&mut self, stream: &Stream, floor: u64) {
        // The head is read before the replay: a configuration below that head is then in the
        // replay.
        let head = stream.head();
        let replay = stream.replay.load();
        let gop = replay
            .gop
            .as_ref()
            .filter(|gop| gop.seq >= floor && gop.seq >= stream.ring.tail());
        let (next, configs) = match gop {
            Some(gop) => (gop.seq, &gop.configs),
            None => (head.max(replay.live.seq).max(floor), &replay.live.configs),
        };
        if gop.is_none() && replay.has_video {
            // Its picture begins with the next keyframe, which may be far away.
            stream.keyframes.want(stream.pushed_us());
        }
        self.next = next;
        self.need_keyframe = true;
        self.sound = Sound::default();
        self.configs = configs.clone();
        self.configs_done = 0;
        self.grace = head.saturating_sub(self.next);
    }
}

/// For a reader without a keyframe: since when sound and data that it could take wait for one, by
/// the engine's clock in microseconds.
///
/// Sound that runs ahead of the picture makes players stall, so it waits for the keyframe, but only
/// for [`SOUND_WAITS_US`], because the keyframe may be minutes away. If no video comes, it does not
/// wait at all.
#[derive(Debug, Clone, Copy, Default)]
struct Sound {
    since_us: Option<u64>,
}

/// The maximum time that sound waits for a keyframe.
const SOUND_WAITS_US: u64 = 2_000_000;

impl Sound {
    fn goes(&mut self, frame: &SharedFrame, stream: &Stream) -> bool {
        if frame.kind == MediaKind::Video {
            return false;
        }
        let now = stream.pushed_us();
        let waited = now.saturating_sub(*self.since_us.get_or_insert(now));
        waited >= SOUND_WAITS_US || !stream.has_video(frame.seq())
    }
}
