//! The text of playlists (RFC 8216bis section 4.4).

use std::{fmt::Write as _, time::Duration};

use livetrail_segment::{Init, Measured, Part, Rendition, Targets};

use crate::{
    date::Date,
    name::Resource,
    window::{Kept, Window},
};

/// `EXT-X-SKIP` needs version 9 (section 8).
const VERSION: u32 = 9;
/// The most `EXT-X-DISCONTINUITY` tags in front of a segment.
const MAX_DISCONTINUITIES: u64 = 64;

/// A media playlist of a window.
pub(crate) struct Media<'a> {
    pub(crate) rendition: Rendition,
    pub(crate) window: &'a Window,
    pub(crate) targets: Targets,
    pub(crate) prefix: &'a str,
    pub(crate) low_latency: bool,
    /// The discontinuity sequence number of what comes next.
    pub(crate) discontinuity_sequence: u64,
    /// The other renditions, each with its last part.
    pub(crate) others: Vec<(Rendition, (u64, u32))>,
    pub(crate) has_ended: bool,
}

impl Media<'_> {
    /// The whole playlist, or without the segments that a delta update skips; `None` if it skips
    /// none.
    pub(crate) fn text(&self, delta: bool) -> Option<String> {
        let skipped = if delta { self.skipped() } else { 0 };
        if delta && skipped == 0 {
            return None;
        }
        let mut out = String::with_capacity(4_096);
        self.head(&mut out);
        if skipped > 0 {
            line(
                &mut out,
                format_args!("#EXT-X-SKIP:SKIPPED-SEGMENTS={skipped}"),
            );
        }
        let target = Duration::from_secs(u64::from(self.targets.target_duration_s));
        let mut before: Option<&Kept> = None;
        // From the start of a segment to the end of the playlist.
        let mut left = self.window.duration();
        let open = self.window.open().iter().map(|part| part.duration);
        left = open.fold(left, Duration::saturating_add);
        let last = self.window.last().map(|kept| kept.segment.sequence);
        for (at, kept) in self.window.listed().enumerate() {
            if at >= skipped {
                // No part is further from the end than three target durations (section 6.2.2). The
                // last segment has its parts, however long it is.
                let is_near = left < target.saturating_mul(3);
                let is_last = last == Some(kept.segment.sequence);
                let has_parts = self.low_latency && (is_near || is_last);
                self.segment(&mut out, kept, before, has_parts);
            }
            left = left.saturating_sub(kept.segment.duration);
            before = Some(kept);
        }
        self.tail(&mut out, before);
        Some(out)
    }

    /// The number of segments before the skip boundary (section 6.2.5.1).
    fn skipped(&self) -> usize {
        let boundary = skip_until(self.targets);
        let mut left = self.window.duration();
        let is_skipped = |kept: &&Kept| {
            left = left.saturating_sub(kept.segment.duration);
            left > boundary
        };
        self.window.listed().take_while(is_skipped).count()
    }

    fn head(&self, out: &mut String) {
        let Targets {
            target_duration_s,
            part_target,
            ..
        } = self.targets;
        line(out, format_args!("#EXTM3U\n#EXT-X-VERSION:{VERSION}"));
        line(
            out,
            format_args!("#EXT-X-TARGETDURATION:{target_duration_s}"),
        );
        let _ = write!(
            out,
            "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL="
        );
        let _ = write!(out, "{}", Seconds(skip_until(self.targets)));
        if self.low_latency {
            let hold_back = Seconds(part_target.saturating_mul(3));
            line(out, format_args!(",PART-HOLD-BACK={hold_back}"));
            let target = Seconds(part_target);
            line(out, format_args!("#EXT-X-PART-INF:PART-TARGET={target}"));
        } else {
            out.push('\n');
        }
        let first = self.window.listed().next();
        let sequence = first.map_or(0, |kept| kept.segment.sequence);
        line(out, format_args!("#EXT-X-MEDIA-SEQUENCE:{sequence}"));
        let discontinuity = first.map_or(0, |kept| kept.segment.discontinuity_sequence);
        line(
            out,
            format_args!("#EXT-X-DISCONTINUITY-SEQUENCE:{discontinuity}"),
        );
    }

    fn segment(&self, out: &mut String, kept: &Kept, before: Option<&Kept>, has_parts: bool) {
        let segment = &kept.segment;
        let of = segment.discontinuity_sequence;
        self.start(out, before, of, kept.init, kept.start_unix_ms);
        if has_parts {
            segment.parts.iter().for_each(|part| self.part(out, part));
        }
        let name = Resource::Segment(self.rendition, segment.sequence);
        let duration = Seconds(segment.duration);
        line(
            out,
            format_args!("#EXTINF:{duration},\n{}{name}", self.prefix),
        );
    }

    /// What precedes a segment: discontinuities, a new init segment, its date.
    fn start(
        &self,
        out: &mut String,
        before: Option<&Kept>,
        discontinuity_sequence: u64,
        init: u64,
        unix_ms: i64,
    ) {
        if let Some(before) = before {
            let from = before.segment.discontinuity_sequence;
            let steps = discontinuity_sequence.saturating_sub(from);
            for _ in 0..steps.min(MAX_DISCONTINUITIES) {
                out.push_str("#EXT-X-DISCONTINUITY\n");
            }
        }
        let has_bytes = self
            .window
            .init(init)
            .is_some_and(|init| !init.bytes.is_empty());
        if has_bytes && before.is_none_or(|before| before.init != init) {
            let name = Resource::Init(self.rendition, init);
            line(
                out,
                format_args!("#EXT-X-MAP:URI=\"{}{name}\"", self.prefix),
            );
        }
        line(
            out,
            format_args!("#EXT-X-PROGRAM-DATE-TIME:{}", Date(unix_ms)),
        );
    }

    fn part(&self, out: &mut String, part: &Part) {
        let name = Resource::Part(self.rendition, part.sequence, part.index);
        let duration = Seconds(part.duration);
        let prefix = self.prefix;
        let _ = write!(
            out,
            "#EXT-X-PART:DURATION={duration},URI=\"{prefix}{name}\""
        );
        out.push_str(if part.independent {
            ",INDEPENDENT=YES\n"
        } else {
            "\n"
        });
    }

    /// The open segment, the next part, and the other renditions.
    fn tail(&self, out: &mut String, before: Option<&Kept>) {
        if self.has_ended {
            out.push_str("#EXT-X-ENDLIST\n");
            return;
        }
        if !self.low_latency {
            return;
        }
        let open = self.window.open();
        if !open.is_empty() {
            let (init, date) = (self.window.last_init(), self.window.open_unix_ms());
            self.start(out, before, self.discontinuity_sequence, init, date);
            open.iter().for_each(|part| self.part(out, part));
        }
        if let Some(sequence) = self.window.next_sequence() {
            let index = u32::try_from(open.len()).unwrap_or(u32::MAX);
            let name = Resource::Part(self.rendition, sequence, index);
            let prefix = self.prefix;
            line(
                out,
                format_args!("#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"{prefix}{name}\""),
            );
        }
        for (other, (sequence, part)) in &self.others {
            let name = Resource::Playlist(*other);
            let last = format_args!("LAST-MSN={sequence},LAST-PART={part}").to_string();
            line(
                out,
                format_args!("#EXT-X-RENDITION-REPORT:URI=\"{name}\",{last}"),
            );
        }
    }
}

/// `CAN-SKIP-UNTIL`: the least that is allowed (section 4.4.3.8).
fn skip_until(targets: Targets) -> Duration {
    Duration::from_secs(u64::from(targets.target_duration_s).saturating_mul(6))
}

/// A rendition in the multivariant playlist.
pub(crate) struct Variant<'a> {
    pub(crate) rendition: Rendition,
    pub(crate) init: &'a Init,
    pub(crate) measured: Measured,
}

/// The multivariant playlist. Audio next to video is a rendition of its own.
pub(crate) fn multivariant(variants: &[Variant<'_>]) -> Option<String> {
    let of = |rendition| {
        variants
            .iter()
            .find(move |variant| variant.rendition == rendition)
    };
    let audio = of(Rendition::Audio);
    let main = of(Rendition::Muxed).or_else(|| of(Rendition::Video));
    let (main, audio) = match main {
        Some(main) => (main, audio),
        None => (audio?, None),
    };
    let mut out = String::with_capacity(512);
    line(&mut out, format_args!("#EXTM3U\n#EXT-X-VERSION:{VERSION}"));
    if let Some(audio) = audio {
        out.push_str(
            "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"audio\",NAME=\"audio\",DEFAULT=YES,AUTOSELECT=YES",
        );
        if let Some(channels) = audio.init.channels {
            let _ = write!(out, ",CHANNELS=\"{channels}\"");
        }
        let name = Resource::Playlist(Rendition::Audio);
        line(&mut out, format_args!(",URI=\"{name}\""));
    }
    let sum = |rate: fn(&Measured) -> u64| {
        rate(&main.measured).saturating_add(audio.map_or(0, |audio| rate(&audio.measured)))
    };
    let (peak, average) = (sum(|of| of.peak_bps), sum(|of| of.average_bps));
    let _ = write!(
        out,
        "#EXT-X-STREAM-INF:BANDWIDTH={peak},AVERAGE-BANDWIDTH={average}"
    );
    let _ = write!(out, ",CODECS=\"{}", main.init.codecs);
    if let Some(audio) = audio {
        let _ = write!(out, ",{}", audio.init.codecs);
    }
    out.push('"');
    if let Some((width, height)) = main.init.picture {
        let _ = write!(out, ",RESOLUTION={width}x{height}");
    }
    let rate = main.measured.frames_per_1000_s;
    if rate > 0 {
        let _ = write!(out, ",FRAME-RATE={}.{:03}", rate / 1_000, rate % 1_000);
    }
    if audio.is_some() {
        out.push_str(",AUDIO=\"audio\"");
    }
    line(
        &mut out,
        format_args!("\n{}", Resource::Playlist(main.rendition)),
    );
    Some(out)
}

/// Writing to a string cannot fail.
fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
    out.push('\n');
}

/// Seconds with up to six decimals, rounded down.
struct Seconds(Duration);

impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:06}", self.0.as_secs(), self.0.subsec_micros())
    }
}
