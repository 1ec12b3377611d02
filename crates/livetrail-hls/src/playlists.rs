//! The playlists of one stream.

use std::time::Duration;

use bytes::Bytes;
use livetrail_segment::{Event, Part, Rendition, Targets};

use crate::{
    name::Resource,
    options::{Options, OptionsError},
    reload::{Decision, Reload},
    render::{Media, Variant, multivariant},
    window::Window,
};

const RENDITIONS: [Rendition; 3] = [Rendition::Video, Rendition::Audio, Rendition::Muxed];

/// What a request for media finds.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Found {
    /// The content, in pieces that follow each other.
    Media(Vec<Bytes>),
    /// The part that the playlist announces as the next one: hold the request until it is there
    /// (section 6.2.6).
    Hinted,
    /// Answer 404.
    Missing,
}

/// All playlists of a stream, from the events of its segmenter.
///
/// **Loop contract.** The host passes each event to [`apply`](Self::apply), and answers requests
/// between two events. A request that must wait is decided again after an event that returns
/// `true`.
///
/// **Rendered once.** A playlist is rendered when it is first asked for after a change, and from
/// then on each request gets the same bytes. [`renderings`](Self::renderings) counts. It does not
/// depend on the number of requests.
///
/// **Rendition reports** name the last part of each other rendition at the time of the rendering. A
/// request that was held until a part came gets the newest. A playlist that is asked for again
/// before its own next part may be one part behind. It is not rendered again for that: only players
/// that block on reloads use the reports, and a player that asks for a part that is already there
/// is answered at once.
///
/// **Memory.** For each rendition, the segments of two windows ([`Options::window`]) and four
/// segments more, up to [`Options::max_bytes`]. Segments share their bytes with their parts.
#[derive(Debug)]
pub struct Playlists {
    options: Options,
    targets: Option<Targets>,
    windows: [Window; 3],
    discontinuity_sequence: u64,
    /// From the time line of the stream to wall time, in milliseconds, since the last
    /// discontinuity.
    wall_ms: Option<i64>,
    has_ended: bool,
    multivariant: Option<Bytes>,
    renderings: u64,
}

impl Playlists {
    /// The playlists of a stream that starts.
    ///
    /// # Errors
    /// An option outside its bounds.
    pub fn new(options: Options) -> Result<Self, OptionsError> {
        options.check()?;
        Ok(Self {
            options,
            targets: None,
            windows: Default::default(),
            discontinuity_sequence: 0,
            wall_ms: None,
            has_ended: false,
            multivariant: None,
            renderings: 0,
        })
    }

    /// Takes the next event of the segmenter. `now_unix_ms` is the wall time in milliseconds since
    /// 1970: the first part after a discontinuity sets the dates of all that follow it.
    ///
    /// Returns whether a playlist has changed, so that requests that wait are decided again.
    pub fn apply(&mut self, event: Event, now_unix_ms: i64) -> bool {
        match event {
            Event::Init(init) => {
                self.multivariant = None;
                self.discontinuity_sequence = init.discontinuity_sequence;
                self.window_mut(init.rendition).add_init(init);
                false
            }
            Event::Part(part) => {
                let start_unix_ms = self.date(&part, now_unix_ms);
                self.window_mut(part.rendition)
                    .add_part(part, start_unix_ms);
                true
            }
            Event::Segment(segment) => {
                self.multivariant = None;
                let (window, max_bytes) = (self.listed(), self.options.max_bytes);
                let of = self.window_mut(segment.rendition);
                of.add_segment(segment, window, max_bytes);
                true
            }
            Event::Targets(targets) => {
                self.targets = Some(targets);
                self.changed();
                true
            }
            Event::Discontinuity { sequence, .. } => {
                self.discontinuity_sequence = sequence;
                self.wall_ms = None;
                false
            }
            // Irregularities are for the host's log.
            _ => false,
        }
    }

    /// The stream has ended: playlists say so, and nothing waits any longer.
    pub fn end(&mut self) {
        self.has_ended = true;
        self.changed();
    }

    /// The multivariant playlist, as soon as it can name all codecs and rates.
    pub fn multivariant(&mut self) -> Option<Bytes> {
        if self.multivariant.is_none() {
            self.targets?;
            let mut variants = Vec::new();
            for (rendition, window) in RENDITIONS.into_iter().zip(&self.windows) {
                let Some(init) = window.init(window.last_init()) else {
                    continue;
                };
                // A rendition that has started is in it, or nothing is.
                let measured = window.last()?.segment.measured;
                variants.push(Variant {
                    rendition,
                    init,
                    measured,
                });
            }
            let text = multivariant(&variants)?;
            self.renderings = self.renderings.saturating_add(1);
            self.multivariant = Some(text.into());
        }
        self.multivariant.clone()
    }

    /// A rendition's playlist, or its delta update if `skip` is set and there is something to skip.
    /// `None` before the first segment, and for a rendition that the stream does not have.
    pub fn media(&mut self, rendition: Rendition, skip: bool) -> Option<Bytes> {
        if skip && let Some(delta) = self.rendered(rendition, true) {
            return Some(delta);
        }
        self.rendered(rendition, false)
    }

    fn rendered(&mut self, rendition: Rendition, delta: bool) -> Option<Bytes> {
        let window = self.window(rendition);
        if !self.is_ready(window) {
            return None;
        }
        let [whole, skipping] = &window.rendered;
        let rendered = if delta { skipping } else { whole };
        if let Some(text) = rendered {
            return Some(text.clone());
        }
        let others = RENDITIONS.into_iter().filter(|other| *other != rendition);
        let others = others.filter_map(|other| Some((other, self.window(other).last_part()?)));
        let media = Media {
            rendition,
            window,
            targets: self.targets?,
            prefix: &self.options.media_prefix,
            low_latency: self.options.low_latency,
            discontinuity_sequence: self.discontinuity_sequence,
            others: others.collect(),
            has_ended: self.has_ended,
        };
        let text = Bytes::from(media.text(delta)?);
        self.renderings = self.renderings.saturating_add(1);
        let [whole, skipping] = &mut self.window_mut(rendition).rendered;
        *(if delta { skipping } else { whole }) = Some(text.clone());
        Some(text)
    }

    /// What becomes of a playlist request (section 6.2.5.2). A segment from the past gets the
    /// current playlist, also when it is no longer listed.
    #[must_use]
    pub fn decide(&self, rendition: Rendition, reload: &Reload) -> Decision {
        let window = self.window(rendition);
        let (true, Some(last)) = (self.is_ready(window), window.last()) else {
            return Decision::NotReady;
        };
        let (Some(sequence), false) = (reload.sequence, self.has_ended) else {
            return Decision::Now;
        };
        let last = &last.segment;
        let mut wanted = (sequence, reload.part.filter(|_| self.options.low_latency));
        // A part after the last of its segment is the first of the next.
        if let (of, Some(part)) = wanted
            && of == last.sequence
            && part >= last.parts.len() as u64
        {
            wanted = (of.saturating_add(1), Some(0));
        }
        let (sequence, part) = wanted;
        let open = last.sequence.saturating_add(1);
        let ahead = self.parts_ahead();
        let is_there = |part: u64| part < window.open().len() as u64;
        let is_far = |part: u64, from: usize| part >= ahead.saturating_add(from as u64);
        match (sequence.checked_sub(open), part) {
            (None, _) => Decision::Now,
            (Some(0), Some(part)) if is_there(part) => Decision::Now,
            (Some(0), Some(part)) if is_far(part, window.open().len()) => Decision::TooFar,
            (Some(1), Some(part)) if is_far(part, 0) => Decision::TooFar,
            (Some(0 | 1), _) => Decision::Wait,
            (Some(_), _) => Decision::TooFar,
        }
    }

    /// How many parts ahead of the last one a request may ask for: 3 s.
    fn parts_ahead(&self) -> u64 {
        let target = self
            .targets
            .map_or(Duration::from_secs(1), |targets| targets.part_target);
        let parts = 3_000_u128.div_ceil(target.as_millis().max(1));
        u64::try_from(parts).unwrap_or(u64::MAX).max(3)
    }

    /// How long a request is held: three target durations, and then it is answered with 503
    /// (section 6.2.5.2).
    #[must_use]
    pub fn longest_wait(&self) -> Duration {
        let seconds = self.targets.map_or(2, |targets| targets.target_duration_s);
        Duration::from_secs(u64::from(seconds).saturating_mul(3))
    }

    /// The content of an init segment, a segment or a part.
    #[must_use]
    pub fn find(&self, resource: Resource) -> Found {
        let found = match resource {
            Resource::Playlist(_) => None,
            Resource::Init(rendition, number) => {
                let init = self.window(rendition).init(number);
                let bytes = init.map(|init| init.bytes.clone());
                bytes
                    .filter(|bytes| !bytes.is_empty())
                    .map(|bytes| vec![bytes])
            }
            Resource::Segment(rendition, sequence) => {
                let segment = self.window(rendition).segment(sequence);
                segment.map(|segment| segment.pieces().cloned().collect())
            }
            Resource::Part(rendition, sequence, index) => {
                return self.part(rendition, sequence, index);
            }
        };
        found.map_or(Found::Missing, Found::Media)
    }

    fn part(&self, rendition: Rendition, sequence: u64, index: u32) -> Found {
        let window = self.window(rendition);
        let is_open = window.next_sequence() == Some(sequence);
        let parts = if is_open {
            window.open()
        } else {
            window
                .segment(sequence)
                .map_or(&[][..], |segment| &segment.parts)
        };
        let at = usize::try_from(index).unwrap_or(usize::MAX);
        match parts.get(at) {
            Some(part) => Found::Media(vec![part.bytes.clone()]),
            None if is_open && at == parts.len() && !self.has_ended => Found::Hinted,
            None => Found::Missing,
        }
    }

    /// The number of frames in a segment or a part; 0 for anything else.
    #[must_use]
    pub fn frames(&self, resource: Resource) -> u64 {
        match resource {
            Resource::Playlist(_) | Resource::Init(..) => 0,
            Resource::Segment(rendition, sequence) => self.window(rendition).frames(sequence, None),
            Resource::Part(rendition, sequence, index) => {
                self.window(rendition).frames(sequence, Some(index))
            }
        }
    }

    /// The size of all segments, parts and init segments that are kept, in bytes.
    #[must_use]
    pub fn kept_bytes(&self) -> usize {
        let sizes = self.windows.iter().map(Window::kept_bytes);
        sizes.fold(0, usize::saturating_add)
    }

    /// Forgets the oldest segments, listed or not, so that all renditions together keep no more
    /// than this many bytes, each its share. The last segment and the open one are always kept.
    /// Returns whether a playlist has changed.
    pub fn shrink(&mut self, max_bytes: usize) -> bool {
        let kept = self.kept_bytes();
        if kept <= max_bytes {
            return false;
        }
        let share = |bytes: usize| {
            let share = (bytes as u128).saturating_mul(max_bytes as u128);
            usize::try_from(share.checked_div(kept as u128).unwrap_or(0)).unwrap_or(max_bytes)
        };
        let shrunk = self.windows.iter_mut().map(|window| {
            let share = share(window.kept_bytes());
            window.shrink(share)
        });
        shrunk.fold(false, |all, one| all | one)
    }

    /// The number of the segment that comes next, the highest of all renditions; `None` before the
    /// first part.
    #[must_use]
    pub fn next_sequence(&self) -> Option<u64> {
        let numbers = self.windows.iter().filter_map(Window::next_sequence);
        numbers.max()
    }

    /// The numbers that never change, once they are known.
    #[must_use]
    pub fn targets(&self) -> Option<Targets> {
        self.targets
    }

    /// The number of the last discontinuity.
    #[must_use]
    pub fn discontinuity_sequence(&self) -> u64 {
        self.discontinuity_sequence
    }

    /// How often a playlist was rendered.
    #[must_use]
    pub fn renderings(&self) -> u64 {
        self.renderings
    }

    /// The wall time of a part's start.
    fn date(&mut self, part: &Part, now_unix_ms: i64) -> i64 {
        let ms = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        let start = ms(part.start);
        let wall = *self.wall_ms.get_or_insert_with(|| {
            let end = ms(part.start.saturating_add(part.duration));
            now_unix_ms.saturating_sub(end)
        });
        start.saturating_add(wall)
    }

    /// How much a playlist lists: at least three target durations.
    fn listed(&self) -> Duration {
        self.options.window.max(self.longest_wait())
    }

    fn is_ready(&self, window: &Window) -> bool {
        self.targets.is_some() && window.last().is_some()
    }

    fn changed(&mut self) {
        for window in &mut self.windows {
            window.rendered = [None, None];
        }
    }

    fn window(&self, rendition: Rendition) -> &Window {
        let [video, audio, muxed] = &self.windows;
        match rendition {
            Rendition::Video => video,
            Rendition::Audio => audio,
            Rendition::Muxed => muxed,
        }
    }

    fn window_mut(&mut self, rendition: Rendition) -> &mut Window {
        let [video, audio, muxed] = &mut self.windows;
        match rendition {
            Rendition::Video => video,
            Rendition::Audio => audio,
            Rendition::Muxed => muxed,
        }
    }
}
